"""Bad input, end to end: what can be read is read, the rest is an error row, the books balance."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation import (
    Build,
    ExactDuplicates,
    ExtractHtml,
    ExtractPdf,
    Jsonl,
    Normalize,
    Parquet,
    Pdf,
    Recipe,
    TextFiles,
    TextHash,
    TextSize,
    Warc,
    col,
    keep,
)
from curation.audit import check_store, count_reasons
from curation.errors import RecipeError, ResourceError
from curation.stage import Source
from curation.store import Store
from tests.extract.pdf_writer import paragraph, pdf

PAGE = "<html><body><p>{}</p></body></html>"
WORDS = "A sentence that has enough words to be kept, number {}."


def curate(source: Source | list[Source], store: Path, *, workers: int = 0) -> Build:
    """Extract, normalize, count, deduplicate; the ledger and the parts must agree."""
    recipe = Recipe(
        source=source,
        steps=[
            *([ExtractHtml()] if "html" in names(source) else []),
            *([ExtractPdf()] if "pdf" in names(source) else []),
            Normalize(),
            TextSize(),
            keep(col("word_count") >= 3, because="too short"),
            TextHash(),
            ExactDuplicates(),
            keep(col("duplicate_of").is_null(), because="exact duplicate"),
        ],
        max_error_frac=1.0,
    )
    build = recipe.run(store=store, workers=workers)
    ledger, counted = build.ledger(), count_reasons(build)
    assert ledger.balances
    assert counted.get("", 0) == ledger.rows_out == build.documents().collect().height
    assert build.errors().height == ledger.errors
    assert [problem for _, problem in check_store(Store(store)) if problem] == []
    return build


def names(source: Source | list[Source]) -> list[str]:
    """Return the payloads of a source or of several."""
    members = source if isinstance(source, list) else [source]
    return [name for member in members for name in member.payload.names]


def warc_record(number: int) -> bytes:
    """Return one response record as it stands in a WARC file."""
    body = PAGE.format(WORDS.format(number)).encode()
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"
    http += f"Content-Length: {len(body)}\r\n\r\n".encode() + body
    head = (
        "WARC/1.0\r\nWARC-Type: response\r\nWARC-Date: 2026-01-01T00:00:00Z\r\n"
        f"WARC-Record-ID: <urn:uuid:{number:08}-0000-0000-0000-000000000000>\r\n"
        f"WARC-Target-URI: https://example.org/{number}\r\n"
        f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(http)}\r\n\r\n"
    )
    return head.encode() + http + b"\r\n\r\n"


def test_a_truncated_gzip_gives_the_records_before_the_cut_and_one_error_row(tmp_path, store):
    """Whoever's download broke off is hurt if it fails."""
    members = [gzip.compress(warc_record(n)) for n in range(10)]
    (tmp_path / "cut.warc.gz").write_bytes(b"".join(members)[: -len(members[-1]) // 2])
    build = curate(Warc(str(tmp_path / "cut.warc.gz")), store)
    assert build.ledger().rows_out == 9
    [reason] = build.errors()["reason"]
    assert "cut.warc.gz" in reason


def test_a_broken_record_in_the_middle_costs_that_record_alone(tmp_path, store):
    """Whoever's crawler crashed once is hurt if the rest of the file goes with it."""
    records = [warc_record(n) for n in range(10)]
    records[4] = records[4].replace(b"Content-Length", b"Content-Lenxth", 1)
    (tmp_path / "broken.warc").write_bytes(b"".join(records))
    build = curate(Warc(str(tmp_path / "broken.warc")), store)
    assert build.ledger().rows_out == 9
    assert build.errors().height == 1


def test_one_line_of_another_encoding_costs_that_line_alone(tmp_path, store):
    """Whoever has ten thousand lines and one Latin-1 byte is hurt if more than one goes."""
    lines = [json.dumps({"text": WORDS.format(n)}).encode() for n in range(10_000)]
    lines[999] = '{"text": "Caf\xe9 with enough words to be kept"}'.encode("latin-1")
    (tmp_path / "mixed.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    build = curate(Jsonl(str(tmp_path / "mixed.jsonl")), store)
    assert build.ledger().rows_out == 9_999
    [reason] = build.errors()["reason"]
    assert f"mixed.jsonl at {sum(len(line) + 1 for line in lines[:999])}" in reason


def test_lines_that_are_no_objects_are_error_rows_that_name_their_place(tmp_path, store):
    """Whoever has a hand-edited file is hurt if it fails."""
    lines = [json.dumps({"text": WORDS.format(n)}) for n in range(4)]
    (tmp_path / "a.jsonl").write_text("\n".join([*lines, "[1]", "3", "{", "null", ""]))
    build = curate(Jsonl(str(tmp_path / "a.jsonl")), store)
    assert build.ledger().rows_out == 4
    assert build.errors().height == 4
    assert all("a.jsonl at" in reason for reason in build.errors()["reason"])


@pytest.mark.parametrize(
    "encoding", ["utf-16", "utf-8-sig", "shift_jis", "windows-1251", "gb18030"]
)
def test_text_and_pages_in_legacy_encodings_come_out_right(tmp_path, store, encoding):
    """Whoever curates what is not English is hurt if it fails."""
    text = {
        "shift_jis": "これは日本語の文章です。 十分に 長い 文です。 東京は日本の首都です。",
        "windows-1251": "Это русский текст, в котором достаточно слов, чтобы его узнать по буквам.",
        "gb18030": "这是一个 中文的 句子， 有足够的 字来识别编码。 北京是中国的首都。",
    }.get(encoding, "Grüße aus Köln: ein Satz mit genügend Wörtern für alle Fälle.")
    (tmp_path / "a.txt").write_bytes(text.encode(encoding))
    meta = f'<html><head><meta charset="{encoding}"></head><body><p>{text} HTML</p></body></html>'
    (tmp_path / "b.html").write_bytes(meta.encode(encoding))
    build = curate(TextFiles(str(tmp_path)), store)
    texts = build.documents(columns=["id", "text"]).collect()["text"].to_list()
    assert texts == [text, f"{text} HTML"]


def test_empty_files_of_every_kind_are_error_rows(tmp_path, store):
    """Whoever counts files against documents is hurt if one vanishes."""
    for name in ("a.txt", "a.html", "a.jsonl", "a.parquet", "a.warc", "a.pdf"):
        (tmp_path / name).write_bytes(b"")
    below = str(tmp_path)
    sources = [
        TextFiles(below, name="t"),
        Jsonl(below, name="j"),
        Parquet(below, name="p"),
        Warc(below, name="w"),
        Pdf(below, name="d"),
    ]
    build = curate(sources, store)
    ledger = build.ledger()
    assert ledger.rows_in == 6
    assert ledger.rows_out == 0
    assert ledger.errors + sum(ledger.dropped.values()) == 6


@pytest.mark.slow
def test_a_document_of_a_hundred_megabytes_passes(tmp_path, store):
    """Whoever has one giant dump among small files is hurt if it fails."""
    line = WORDS.format(1) + "\n"
    giant = line * (100_000_000 // len(line))
    rows = [{"text": WORDS.format(0)}, {"text": giant}, {"text": WORDS.format(2)}]
    with open(tmp_path / "a.jsonl", "w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    build = curate(Jsonl(str(tmp_path / "a.jsonl")), store, workers=1)
    assert build.ledger().rows_out == 3
    sizes = build.documents(columns=["text_bytes"]).collect()["text_bytes"].to_list()
    assert sizes[1] == len(giant.rstrip("\n"))


def test_deep_giant_and_binary_pages_are_text_or_error_rows(tmp_path, store):
    """Whoever crawls the open web is hurt if one page ends the run."""
    deep = "<div>" * 10_000 + WORDS.format(1) + "</div>" * 10_000
    (tmp_path / "deep.html").write_text(f"<html><body>{deep}</body></html>")
    (tmp_path / "giant.html").write_bytes(b"<html><body>" + b"<p>word</p>" * 9_000_000)
    (tmp_path / "image.html").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40)
    (tmp_path / "good.html").write_text(PAGE.format(WORDS.format(2)))
    build = curate(TextFiles(str(tmp_path)), store, workers=1)
    kept = build.documents(columns=["id"]).collect()["id"].to_list()
    assert "good.html#0" in kept
    assert {"giant.html#0", "image.html#0"} <= set(build.errors()["id"])


def test_encrypted_and_damaged_pdfs_are_error_rows(tmp_path, store):
    """Whoever has a folder of collected papers is hurt if it fails."""
    from pypdf import PdfReader, PdfWriter

    good = pdf([paragraph([WORDS.format(n) for n in range(5)])])
    (tmp_path / "good.pdf").write_bytes(good)
    (tmp_path / "cut.pdf").write_bytes(good[: len(good) // 3])
    (tmp_path / "junk.pdf").write_bytes(b"not a PDF at all" * 100)
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(good)))
    writer.encrypt("secret", algorithm="RC4-128")
    with open(tmp_path / "locked.pdf", "wb") as file:
        writer.write(file)
    build = curate(Pdf(str(tmp_path)), store)
    assert build.documents(columns=["id"]).collect()["id"].to_list() == ["good.pdf#0"]
    reasons = dict(build.errors().select("id", "reason").iter_rows())
    assert set(reasons) == {"cut.pdf#0", "junk.pdf#0", "locked.pdf#0"}
    assert "encrypted" in reasons["locked.pdf#0"]


def test_a_parquet_file_without_the_text_column_is_named_before_anything_runs(tmp_path, store):
    """Whoever mistyped a column name is hurt if it shows after hours."""
    pq.write_table(pa.table({"txet": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(RecipeError, match=r"(?s)a\.parquet.*txet"):
        curate(Parquet(str(tmp_path / "a.parquet")), store)


def test_a_path_that_matches_nothing_says_where_it_looked(tmp_path, store):
    """Whoever mistyped a path is hurt if it fails."""
    (tmp_path / "crawl.jsonl").touch()
    with pytest.raises(RecipeError, match=r"(?s)matches no file.*crawl\.jsonl"):
        curate(Jsonl(str(tmp_path / "crwal.jsonl")), store)


def test_a_file_that_cannot_be_opened_ends_the_run_with_its_name(tmp_path, store, monkeypatch):
    """Whoever lacks a permission is hurt if the file is skipped in silence."""
    (tmp_path / "a.jsonl").write_text('{"text": "fine and long enough"}\n')
    source = Jsonl(str(tmp_path / "a.jsonl"))

    def forbidden(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("curation.sources.jsonlines.open_file", forbidden, raising=False)
    monkeypatch.setattr("curation.sources.tables.open_file", forbidden, raising=False)
    with pytest.raises(ResourceError, match=r"a\.jsonl cannot be read"):
        curate(source, store)
