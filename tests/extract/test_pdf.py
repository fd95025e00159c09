"""ExtractPdf: paragraphs, broken words, running heads, columns, and what damaged files get."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curation.extract.pdf import ExtractPdf
from tests.extract.pdf_writer import paragraph, pdf

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "pdf"


def extract(*files: bytes | None, stage: ExtractPdf | None = None, **passed: Any) -> list[Any]:
    """Return one dict a file; ``passed`` fills the columns that may be read."""
    arrays = {"pdf": pa.array(list(files), pa.large_binary())}
    for name in ExtractPdf.may_read:
        arrays[name] = pa.array(passed.get(name) or [None] * len(files), pa.large_string())
    out = (stage or ExtractPdf()).annotate(pa.RecordBatch.from_pydict(arrays))
    return [{"error": None, **row} for row in out.to_pylist()]


def text(pages: Sequence[Sequence[Any]]) -> str:
    (row,) = extract(pdf(pages))
    assert row["error"] is None
    return str(row["text"])


def test_lines_of_a_paragraph_become_one_line_and_paragraphs_stay_apart() -> None:
    """A model trained on text that breaks every 80 characters learns to break it there."""
    first = [
        "The first paragraph is long enough to",
        "fill three lines of this small page and",
        "ends.",
    ]
    second = ["A second one follows after some white", "space, and it has two lines."]
    page = [*paragraph(first), *paragraph(second, top=640)]
    assert text([page]) == " ".join(first) + "\n\n" + " ".join(second)


def test_a_first_line_indent_begins_a_paragraph() -> None:
    """Books set no white between paragraphs: without the indent a chapter is one line."""
    lines = [
        "The last full line of the paragraph ends.",
        "which ends here, at the margin of the text.",
    ]
    page = [
        *paragraph(lines),
        *paragraph(["The next begins with an indent and goes"], left=80, top=676),
        *paragraph(["on at the margin, like every other line."], top=664),
    ]
    assert text([page]).count("\n") == 1


def test_a_short_line_and_bullets_end_a_line() -> None:
    """Lists and addresses run together into nonsense where every line is joined."""
    page = paragraph(
        ["Things to bring to the meeting on Monday:", "- bread", "- butter, salted", "- a knife"]
    )
    assert text([page]).split("\n")[1:] == ["- bread", "- butter, salted", "- a knife"]


def test_a_word_broken_at_the_end_of_a_line_is_made_whole() -> None:
    """Broken words are the commonest damage of PDF text: 'infor- mation' is two unknown words."""
    page = paragraph(
        ["This information is about the extrac-", "tion of text, and of more infor-", "mation."]
    )
    assert "extraction of text" in text([page])
    assert "more information." in text([page])


def test_a_compound_keeps_its_hyphen_where_the_document_writes_it_so() -> None:
    """'wellknown' is no word; the document itself says how it spells its compounds."""
    page = paragraph(["It is a well-known fact that this is well-", "known to all who read here."])
    assert text([page]).endswith("this is well-known to all who read here.")


def test_a_document_that_breaks_no_words_keeps_all_its_hyphens() -> None:
    """Word processors do not hyphenate: there each hyphen at a line's end is a compound's."""
    page = paragraph(
        [
            "A cross-site request and a user-friendly",
            "form; what is more, a cross-",
            "site form and then a user-",
            "friendly request with a max-",
            "age of ten.",
        ]
    )
    assert "max-age" in text([page])


def test_running_heads_and_page_numbers_go_and_the_text_between_them_stays() -> None:
    """A head in the middle of a sentence on each page breaks every sentence that runs over."""
    words = ["apples", "pears", "plums", "figs", "dates"]
    pages = [
        [
            (60, 770, 9, "A Handbook of Fruit"),
            *paragraph([f"This page speaks of {word} and of what", "they cost today."]),
            (290, 30, 9, str(number)),
        ]
        for number, word in enumerate(words, start=11)
    ]
    found = text(pages)
    assert "Handbook" not in found
    assert not any(str(number) in found for number in range(11, 16))
    assert all(word in found for word in words)


def test_rows_of_a_table_at_the_foot_of_pages_are_no_page_numbers() -> None:
    """Rows that differ by numbers alone look like running feet once digits are masked."""
    pages = [
        [*paragraph(["Some text of the page that comes first."]), (60, 40, 10, f"Total {value}")]
        for value in (512, 77, 9, 1308)
    ]
    assert all(f"Total {value}" in text(pages) for value in (512, 77, 9, 1308))


def test_a_sentence_that_runs_over_the_page_is_joined() -> None:
    """Each page's end would otherwise cut a sentence in two."""
    first = paragraph(
        ["The sentence begins on this page and runs", "to its very end where it goes right on"]
    )
    second = paragraph(["over to the next page, where it ends."])
    assert "right on over to" in text([first, second])


def column_lines(name: str) -> list[str]:
    return [f"{name} line {i:02d} of a column of the page" for i in range(12)]


@pytest.mark.parametrize("in_turns", [True, False])
def test_two_columns_are_read_one_after_the_other(in_turns: bool) -> None:
    """Read across, two columns give sentences that nobody wrote: the worst text a PDF can give."""
    left = paragraph(column_lines("left"), left=50)
    right = paragraph(column_lines("right"), left=320)
    page = [p for pair in zip(left, right, strict=True) for p in pair] if in_turns else left + right
    found = " ".join(text([page]).split())
    assert found == " ".join(column_lines("left") + column_lines("right"))


def test_rows_of_a_table_stay_lines() -> None:
    """A table whose rows are joined cannot be read at all."""
    rows = [("Name", "Price"), ("Apple", "1.20"), ("Pear", "2.30"), ("Plum", "0.90")]
    page = [
        cell
        for i, (name, price) in enumerate(rows)
        for cell in ((60, 700 - 12 * i, 10, name), (260, 700 - 12 * i, 10, price))
    ]
    assert [line.split() for line in text([page]).split("\n")] == [list(row) for row in rows]


def test_a_table_of_many_columns_is_no_page_of_two() -> None:
    """Cut at the middle, each row of a list of names ends up in two places."""
    rows = [[f"First{i} Last{i} {word}" for word in ("aa", "bb", "cc", "dd")] for i in range(12)]
    page = [
        (50 + 125 * j, 700 - 12 * i, 10, cell)
        for i, row in enumerate(rows)
        for j, cell in enumerate(row)
    ]
    found = [line.split() for line in text([page]).split("\n") if line]
    assert found == [" ".join(row).split() for row in rows]


def test_title_and_page_count_are_written_and_null_files_go_through() -> None:
    """A source that mixes PDF with text files loses the text of the latter otherwise."""
    rows = extract(pdf([paragraph(["Hello."])] * 3, title="On (Fruit)"), None, text=[None, "kept"])
    assert rows[0] == {
        "text": "Hello.\n\nHello.\n\nHello.",
        "title": "On (Fruit)",
        "page_count": 3,
        "unread_page_count": 0,
        "error": None,
    }
    counts = {"page_count": None, "unread_page_count": None}
    assert rows[1] == {"text": "kept", "title": None, **counts, "error": None}


def test_an_encrypted_file_is_an_error_row_that_says_so() -> None:
    """Without the word a user looks for damage in a file that only wants its password."""
    lock = b"/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O (%s) /U (%s) >>" % (
        b"o" * 32,
        b"u" * 32,
    )
    locked = pdf([paragraph(["Secret."])]).replace(b"/Info 4 0 R", lock + b" /ID [(a) (a)]")
    secret, plain = extract(locked, pdf([paragraph(["Open."])]))
    assert "encrypted" in secret["error"]
    assert secret["text"] is None
    assert (plain["text"], plain["error"]) == ("Open.", None)


@pytest.mark.parametrize("junk", [b"", b"%PDF-1.4\n", b"not a pdf", bytes(1000)])
def test_what_is_no_pdf_is_an_error_row(junk: bytes) -> None:
    """One truncated download must not end a run over a million files."""
    (row,) = extract(junk)
    assert "damaged" in row["error"]
    assert row["text"] is None


def test_a_file_cut_off_at_any_place_is_read_or_an_error_and_never_a_crash() -> None:
    """Truncation is what crawls do to large files: what can be read is read."""
    whole = pdf([paragraph([f"Page number {n} of the file."]) for n in range(4)])
    rows = extract(*(whole[:cut] for cut in range(0, len(whole), 150)))
    assert all((row["text"] is None) == (row["error"] is not None) for row in rows)
    (no_table,) = extract(whole.replace(b"startxref\n", b"startxref\n9"))
    assert no_table["error"] is None
    assert "Page number 3" in no_table["text"]


def test_a_file_over_max_pages_is_an_error_and_not_cut_short() -> None:
    """Text cut off in silence looks like a short document."""
    (row,) = extract(pdf([paragraph(["Page."])] * 3), stage=ExtractPdf(max_pages=2))
    assert "max_pages=2" in row["error"]


@pytest.mark.parametrize("language", ["en", "de", "fr"])
def test_a_real_manual_loses_its_running_head_and_keeps_its_sentences(language: str) -> None:
    """The writer above makes no PDF like Word's; these are what Word makes."""
    path = SHARED / f"asvs-4.0.3-{language}.pdf"
    if not path.exists():
        pytest.skip(f"no {path.name} in ../shared/data/pdf")
    (row,) = extract(path.read_bytes())
    assert row["text"].count("Application Security Verification Standard 4.0.3") < 10
    long_lines = [line for line in row["text"].split("\n") if len(line) > 200]
    assert len(long_lines) > 150
    assert "\ufffe" not in row["text"]
