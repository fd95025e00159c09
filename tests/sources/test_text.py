"""Text, HTML and PDF files, a file a row, and several sources as one."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import IntegrityError, RecipeError
from curation.sources.pdf import Pdf
from curation.sources.tables import Jsonl
from curation.sources.text import TextFiles, decode_text
from curation.sources.union import Union
from tests.sources.conftest import check_reread, read_rows, wanted


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-8", "Grüße aus Köln, naïve café – größer"),
        ("utf-8-sig", "Grüße aus Köln"),
        ("utf-16", "Grüße aus Köln, sagte sie"),
        ("utf-16-le", "A plain sentence without a mark."),
        ("utf-16-be", "A plain sentence without a mark."),
        ("utf-32", "Grüße aus Köln"),
        ("windows-1251", "Съешь же ещё этих мягких французских булок, да выпей чаю. " * 5),
        ("shift_jis", "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。" * 5),
        ("windows-1252", "Die Straße führt über die Brücke, und für später gibt es Äpfel. " * 5),
    ],
)
def test_text_of_any_encoding_is_read(encoding: str, text: str, tmp_path: Path) -> None:
    """Documents of other decades and systems would be noise in the corpus."""
    (tmp_path / "a.txt").write_bytes(text.encode(encoding))
    source = TextFiles(str(tmp_path))
    (row,) = read_rows(source)
    assert row["text"] == text
    assert row["encoding"]
    assert row["id"] == "a.txt#0"
    check_reread(source)


@given(st.text(min_size=1, max_size=200))
def test_valid_utf8_is_never_guessed_to_be_something_else(text: str) -> None:
    """A sniffed encoding would garble a text that was plain to read."""
    found, encoding = decode_text(text.encode())
    if encoding == "utf-8" and not text.startswith("\ufeff"):
        assert found == text


def test_binary_and_empty_files_are_error_rows(tmp_path: Path) -> None:
    """An image named .txt would go into the corpus as a document of noise."""
    (tmp_path / "a.txt").write_bytes(bytes(range(256)) * 20)
    (tmp_path / "b.md").write_bytes(b"")
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(b"hello there" * 999)[:-20])
    (tmp_path / "d.txt").write_bytes(b"fine")
    rows = read_rows(TextFiles(str(tmp_path)))
    assert [row["text"] for row in rows] == [None, None, None, "fine"]
    for row, said in zip(rows, ("no text", "empty", "truncated"), strict=False):
        assert said in row["error"]
        assert row["file"] in row["error"]


def test_html_is_handed_on_as_bytes_and_compressed_files_are_opened(tmp_path: Path) -> None:
    """The extractor needs the bytes: the page itself states its encoding."""
    html = "<p>naïve".encode("latin-1")
    (tmp_path / "a.html").write_bytes(html)
    (tmp_path / "b.HTM.gz").write_bytes(gzip.compress(html))
    (tmp_path / "c.md.zst").write_bytes(zstandard.compress(b"# Title"))
    source = TextFiles(str(tmp_path), name="pages", license="MIT")
    rows = read_rows(source)
    assert [row["html"] for row in rows] == [html, html, None]
    assert [row["text"] for row in rows] == [None, None, "# Title"]
    assert {(row["source"], row["license"]) for row in rows} == {("pages", "MIT")}
    check_reread(source)


def test_real_pages_and_documents_are_read(data: Path) -> None:
    """The measurements of extraction would rest on part of the pages."""
    pages = read_rows(TextFiles(str(data / "html/scrapinghub/html/*.html.gz")))
    assert len(pages) == 181
    assert not any(row["error"] for row in pages)
    assert sum(b"<" in row["html"] for row in pages) == 181
    papers = read_rows(Pdf(str(data / "pdf")))
    assert len(papers) == 3
    assert all(row["pdf"].startswith(b"%PDF") for row in papers)
    markdown = read_rows(TextFiles(str(data / "pdf")))
    assert len(markdown) > 3
    assert {row["encoding"] for row in markdown} == {"utf-8"}


def test_what_is_no_pdf_is_an_error_row(tmp_path: Path) -> None:
    """A saved error page named .pdf would crash the extractor or pass for an empty document."""
    (tmp_path / "a.pdf").write_bytes(b"<html>404</html>")
    (tmp_path / "b.pdf").write_bytes(b"\r\n\r\n%PDF-1.4 and so on")
    source = Pdf(str(tmp_path))
    rows = read_rows(source)
    assert "not a PDF" in rows[0]["error"]
    assert rows[1]["pdf"].startswith(b"\r\n\r\n%PDF")
    check_reread(source)


def test_a_changed_or_missing_file_is_told_when_it_is_read_again(tmp_path: Path) -> None:
    """Scores of one document would stand beside the text of another."""
    (tmp_path / "a.txt").write_text("before")
    source = TextFiles(str(tmp_path))
    shard = source.plan()[0]
    wants = [wanted(batch, lambda n: True) for batch in source.read(shard)]
    (tmp_path / "a.txt").write_text("another length")
    with pytest.raises(IntegrityError):
        list(source.reread(shard, wants))
    (tmp_path / "a.txt").unlink()
    with pytest.raises(FileNotFoundError):
        list(source.reread(shard, wants))


def test_a_union_reads_its_members_in_order(tmp_path: Path) -> None:
    """A corpus of two sources would need two builds, or mix up whose payload is whose."""
    (tmp_path / "a.txt").write_text("from a file")
    (tmp_path / "b.html").write_text("<p>page")
    lines = [json.dumps({"text": "from a line", "n": 5})]
    (tmp_path / "c.jsonl").write_text("\n".join(lines))
    table = Jsonl(str(tmp_path / "c.jsonl"), columns=(("n", "int32"),), name="lines")
    source = Union((TextFiles(str(tmp_path)), table))
    assert [shard.part for shard in source.plan()] == [0, 1]
    rows = read_rows(source)
    assert [row["text"] for row in rows] == ["from a file", None, "from a line"]
    assert [row["html"] for row in rows] == [None, b"<p>page", None]
    assert [row["n"] for row in rows] == [None, None, 5]
    assert source.payload.names == ["html", "text"]
    check_reread(source)
    other = Union((TextFiles(str(tmp_path)), Jsonl(str(tmp_path / "c.jsonl"))))
    assert source.identity() != other.identity()


def test_a_union_whose_ids_would_clash_is_refused(tmp_path: Path) -> None:
    """Two documents would share an id, and ``why`` would tell of the wrong one."""
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_text(folder)
    members = (TextFiles(str(tmp_path / "x")), TextFiles(str(tmp_path / "y")))
    with pytest.raises(RecipeError, match="share ids"):
        Union(members).plan()
    with pytest.raises(RecipeError, match="no sources"):
        Union(())
    a = Jsonl("a.jsonl", columns=(("n", "int32"),))
    b = Jsonl("b.jsonl", columns=(("n", "string"),))
    with pytest.raises(RecipeError, match="disagree"):
        Union((a, b))
