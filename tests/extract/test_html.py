"""ExtractHtml: the right characters, the main content, and what hostile pages get."""

from __future__ import annotations

import codecs
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import RecipeError
from curation.extract.encoding import decode, is_binary
from curation.extract.html import ExtractHtml

GOLDEN = Path(__file__).parents[1] / "golden" / "extract"
EXTRACTORS = ("resiliparse", "trafilatura", "trafilatura-fast")

LETTERS = st.text(
    st.characters(min_codepoint=32, exclude_categories=("Cs", "Cc", "Cn")), min_size=1
)


def extract(*pages: bytes | None, stage: ExtractHtml | None = None, **passed: Any) -> list[Any]:
    """Return one dict a page; ``passed`` fills the columns that may be read."""
    arrays = {"html": pa.array(list(pages), pa.large_binary())}
    for name in ExtractHtml.may_read:
        arrays[name] = pa.array(passed.get(name) or [None] * len(pages), pa.large_string())
    out = (stage or ExtractHtml()).annotate(pa.RecordBatch.from_pydict(arrays))
    return [{"error": None, **row} for row in out.to_pylist()]


# ---------------------------------------------------------------- encoding

SAMPLES = {
    "ru": "Съешь же ещё этих мягких французских булок, да выпей чаю. ",
    "ja": "これは日本語の文章です。東京は日本の首都であり、大都市です。",
    "ko": "이것은 한국어 문장입니다. 서울은 대한민국의 수도이다. ",
    "zh": "这是一个中文句子。北京是中华人民共和国的首都，也是政治中心。",
    "pl": "Zażółć gęślą jaźń. Warszawa jest stolicą Polski i dużym miastem. ",
    "de": "Größe und Übermaß führen zu schönen Rätseln. Äpfel für Öl. ",
    "el": "Η Αθήνα είναι η πρωτεύουσα της Ελλάδας και η μεγαλύτερη πόλη. ",
}
LEGACY = [
    ("ru", "windows-1251"),
    ("ru", "koi8-r"),
    ("ja", "shift_jis"),
    ("ja", "euc-jp"),
    ("ja", "iso-2022-jp"),
    ("ko", "euc-kr"),
    ("zh", "gb18030"),
    ("zh", "gbk"),
    ("pl", "windows-1250"),
    ("pl", "iso-8859-2"),
    ("de", "windows-1252"),
    ("el", "windows-1253"),
]


@given(LETTERS, st.sampled_from(["utf-8-sig", "utf-16"]))
def test_a_byte_order_mark_decides(text: str, encoding: str) -> None:
    """Files saved by Windows programs start with one; ignored, the text is noise."""
    assert decode(text.encode(encoding), "windows-1251")[0] == text


@given(LETTERS, st.sampled_from(["utf-16-le", "utf-16-be"]))
def test_markup_in_utf_16_without_a_mark_is_recognised(text: str, encoding: str) -> None:
    """Read as anything else, such a page is one NUL for every letter."""
    page = f"<!DOCTYPE html><html><head><title>Some page or other</title></head><p>{text[:20]}"
    assert decode(page.encode(encoding))[0] == page
    assert not is_binary(page.encode(encoding))


@given(LETTERS)
def test_utf_8_needs_no_declaration(text: str) -> None:
    """Sniffers take short UTF-8 for Latin: 'schön' becomes 'schÃ¶n' on a tenth of the pages."""
    assert decode(text.encode())[0] == text


@settings(max_examples=300)
@given(
    LETTERS, st.sampled_from(["utf-8", "gb18030", "shift_jis", "koi8-r", "windows-1252", "euc-kr"])
)
def test_the_declared_encoding_is_followed(text: str, charset: str) -> None:
    """The author of a page knows better than statistics over its bytes."""
    codec = {"shift_jis": "cp932", "euc-kr": "cp949"}.get(charset, charset)
    text = text.encode(codec, "ignore").decode(codec)
    page = f'<html><meta charset="{charset}"><p>{text}'
    assert decode(page.encode(codec))[0] == page
    assert decode(f"<p>{text}".encode(codec), charset)[0] == f"<p>{text}"


@pytest.mark.parametrize(("language", "charset"), LEGACY)
def test_legacy_pages_come_out_right(language: str, charset: str) -> None:
    """The older half of the web is written in these."""
    text = SAMPLES[language] * 6
    raw = f"<html><body><p>{text}</p></body></html>".encode(charset)
    declared = raw.replace(
        b"<body>", b'<meta http-equiv=x content="text/html; charset=%s"><body>' % charset.encode()
    )
    assert text in decode(declared)[0]
    assert text in decode(raw, charset.upper())[0]
    assert text in decode(raw)[0] or charset == "iso-8859-2"  # too close to windows-1250 to tell


@pytest.mark.parametrize(
    ("page", "charset", "name"),
    [
        (b"\xef\xbb\xbf<meta charset=koi8-r>\xc3\xa9", "big5", "utf-8"),
        ("<meta charset=utf-8>д".encode("cp1251"), "windows-1251", "cp1251"),
        ("<!-- <meta charset=koi8-r> --><meta charset=cp1251>д".encode("cp1251"), None, "cp1251"),
        (b"<?xml version='1.0' encoding='iso-8859-1'?><p>\xe9", None, "cp1252"),
        ("<meta charset=utf-16><p>é".encode(), None, "utf-8"),
        ("<meta charset=no-such-thing><p>é".encode(), "neither", "utf-8"),
        ("<meta charset=utf-8><p>Größe über öde Äcker".encode("cp1252"), "utf-8", "cp1252"),
    ],
)
def test_who_is_believed_first(page: bytes, charset: str | None, name: str) -> None:
    """The order is the standard's; a wrong order reads the same bytes as other letters."""
    assert decode(page, charset)[1] == name


@given(
    st.binary(max_size=300),
    st.none() | st.sampled_from(["utf-8", "utf-16", "gbk", "x", "", "base64", "rot13"]),
)
def test_no_bytes_and_no_label_are_fatal(page: bytes, charset: str | None) -> None:
    """A codec that raises, or one that is no character encoding at all, would end the row."""
    text, name = decode(page, charset)
    text.encode()
    assert codecs.lookup(name)


def test_one_broken_byte_does_not_change_the_encoding_of_the_page() -> None:
    """One bad byte in a UTF-8 page must not turn all its letters into Latin noise."""
    page = ("<meta charset=utf-8><p>" + SAMPLES["ru"] * 4).encode() + b"\xff end"
    assert decode(page)[0].endswith("\ufffd end")
    assert SAMPLES["ru"] in decode(page)[0]


# ---------------------------------------------------------------- content


@pytest.mark.parametrize("extractor", EXTRACTORS)
def test_the_main_content_of_a_page_matches_the_golden(extractor: Any) -> None:
    """A change of library or option that alters every corpus shows here as a diff."""
    page = (GOLDEN / "page.html").read_bytes()
    (row,) = extract(page, stage=ExtractHtml(extractor=extractor))
    golden = json.loads((GOLDEN / "page.json").read_text(encoding="utf-8"))
    assert row == golden[extractor], "a golden that moves needs a new version of ExtractHtml"


@pytest.mark.parametrize("extractor", EXTRACTORS)
def test_content_that_the_extractor_misses_is_taken_whole(extractor: Any) -> None:
    """Pages in odd markup came out empty: one in forty of a crawl, whole articles lost."""
    words = " ".join(f"word{i} and so on." for i in range(200))
    page = f"<html><body><nav>Menu</nav><div class='sidebar comment'><span>{words}</span></div>"
    (row,) = extract(page.encode(), stage=ExtractHtml(extractor=extractor))
    assert "word199 and so on." in row["text"]
    assert "Menu" not in row["text"]


def test_lists_of_a_plainly_written_page_are_content_and_menus_are_not() -> None:
    """resiliparse takes every list near <body> for a menu: manuals lose all their steps."""
    prose = "<p>" + "A paragraph of some length. " * 30
    menu = "<ul><li><a href=/>Home</a><li><a href=/a>About</a></ul>"
    page = f"<html><body>{menu}{prose}<ul><li>Beat the eggs.<li>Heat the pan.</ul>{prose}"
    (row,) = extract(page.encode())
    assert "Beat the eggs." in row["text"]
    assert "About" not in row["text"]


def test_rows_without_a_page_go_through_unchanged() -> None:
    """A recipe over web pages and plain files loses the files' text otherwise."""
    rows = extract(
        None,
        b"<p>Page",
        None,
        text=["kept", "old", None],
        title=["T", "old", None],
        encoding=["e", "old", None],
    )
    assert [row["text"] for row in rows] == ["kept", "Page", None]
    assert [row["title"] for row in rows] == ["T", None, None]
    assert [row["encoding"] for row in rows] == ["e", "utf-8", None]


def test_plain_text_is_not_parsed_as_markup() -> None:
    """A C source served as text/plain loses everything between '<' and '>' in a parser."""
    source = b"if (a <b && c> d)\n    return <this>;"
    (row,) = extract(source, http_content_type=["text/plain; charset=utf-8"])
    assert row["text"] == source.decode()


def test_the_title_is_one_line_and_null_where_absent() -> None:
    """Titles wrapped in the source carry its line breaks into tables and prompts."""
    rows = extract(b"<title>\n A &amp;\n  B </title><p>x", b"<p>x", b"<title> </title><p>x")
    assert [row["title"] for row in rows] == ["A & B", None, None]


def test_a_row_does_not_depend_on_the_rows_before_it() -> None:
    """trafilatura keeps a cache of text it has seen; with it a third copy comes out empty."""
    page = (GOLDEN / "page.html").read_bytes()
    for extractor in ("trafilatura", "trafilatura-fast"):
        rows = extract(*[page] * 6, stage=ExtractHtml(extractor=extractor))
        assert len({row["text"] for row in rows}) == 1


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize("extractor", EXTRACTORS)
def test_bad_pages_are_values_and_the_good_one_among_them_is_read(extractor: Any) -> None:
    """One page in ten thousand is rubbish: each must cost its own row and no more."""
    png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)) * 4
    pages = {
        "empty": b"",
        "blank": b"  \n ",
        "png": png,
        "pdf": b"%PDF-1.4\n%\xe2\xe3\xcf\xd3 1 0 obj",
        "nuls": bytes(1000),
        "too large": b"x" * 20_001,
        "a nul": b"<p>Some\0 words &#0; &#xD800; &#x110000; here</p>",
        "good": b"<html><body><p>A good page.</p></body></html>",
    }
    rows = extract(*pages.values(), stage=ExtractHtml(extractor=extractor, max_bytes=20_000))
    found = dict(zip(pages, rows, strict=True))
    assert [found[name]["text"] for name in ("empty", "blank")] == ["", ""]
    assert all("binary" in found[name]["error"] for name in ("png", "pdf", "nuls"))
    assert "max_bytes=20,000" in found["too large"]["error"]
    assert found["a nul"]["text"].startswith("Some words")
    assert (found["good"]["text"], found["good"]["error"]) == ("A good page.", None)


HOSTILE = {
    "deep div": "'<div>' * 100000 + 'found it'",
    "deep mixed": "'<article><DIV>' * 10000 + 'found it'",
    "deep table": "'<table><tr><td>' * 10000 + 'found it'",
    "deep list": "'<ul><li>' * 10000 + 'found it'",
    "options": "'<select>' + '<option>a' * 100000 + '</select><p>found it'",
    "open tags": "'<b><i><font color=1>' * 20000 + '<p>found it'",
    "brackets": "'<p>found it' + '<' * 500000",
    "comment": "'<p>found it</p>' + '<!--' * 100000",
    "attributes": "'<p ' + ' '.join(f'a{i}=1' for i in range(200000)) + '>x'",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_markup_neither_hangs_nor_crashes_the_process(name: str) -> None:
    """Time limits do not reach into C: a page that is quadratic there stops a worker for hours."""
    code = f"""
from tests.extract.test_html import extract, ExtractHtml, EXTRACTORS
page = ({HOSTILE[name]}).encode()
for extractor in EXTRACTORS:
    row, = extract(page, stage=ExtractHtml(extractor=extractor, time_limit_s=30))
    assert "found it" in (row["text"] or "") or row["error"], (extractor, row)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_page_over_the_time_limit_is_an_error_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hung page must not hold up the pages behind it."""

    def hang(*_: object) -> str:
        while True:
            pass

    monkeypatch.setattr("curation.extract.html._by_trafilatura", hang)
    stage = ExtractHtml(extractor="trafilatura", time_limit_s=0.05)
    slow, empty = extract(b"<p>slow", b"", stage=stage)
    assert "longer than 0.05 s" in slow["error"]
    assert empty["text"] == ""


def test_extraction_writes_nothing_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """A line for every page without content buries the log of a run over a billion."""
    with caplog.at_level(logging.DEBUG):
        extract(b"<p>", b"x", stage=ExtractHtml(extractor="trafilatura"))
    assert not caplog.records


def test_settings_that_make_no_sense_are_refused() -> None:
    """A negative limit would make every row an error, hours later."""
    with pytest.raises(RecipeError):
        ExtractHtml(max_bytes=0)
    with pytest.raises(RecipeError):
        ExtractHtml(extractor="readability")  # type: ignore[arg-type]
