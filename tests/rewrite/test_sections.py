from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.measure import DATA, records
from curation import Sections
from curation.arrow import bytes_and_offsets
from curation.errors import RecipeError
from curation.testing import check_stage
from tests.oracles import headings as oracle
from tests.oracles.spaces import RUN
from tests.oracles.text import hard_text, spaced_text


def sections(
    *texts: str | None, titles: list[str | None] | None = None, **more: Any
) -> list[dict[str, Any]]:
    columns = {"text": pa.array(texts, pa.large_string())}
    if titles is not None:
        columns["title"] = pa.array(titles, pa.large_string())
    made = Sections(**{"form": "plain", **more}).rewrite(pa.record_batch(columns))
    return list(made.to_pylist())


def places(*texts: str, **more: Any) -> list[tuple[str, str]]:
    return [(row["section_path"], row["text"]) for row in sections(*texts, **more)]


def test_the_stage_keeps_its_contract() -> None:
    """Pieces that depend on their batch are another corpus at another worker count."""
    check_stage(Sections())
    check_stage(Sections(form="plain", max_chars=30))


_MARKDOWN = ["# A", "## B ##", "###", "#no", "    # code", "```", "~~~~", "===", "---", "# \t"]
_NUMBERED = ["1 One", "1.2 Two", "2. item", "3.4.5 Deep Title", "10.0.0.1 Host", "- item", "| - |"]
_CAPITALS = ["INTRODUCTION", "\xc9TUDES DE CAS", "USA", "stra\xdfe LOUD"]
_KEYED = [
    "a: b",
    "key_1:",
    "key:x",
    "# B",
    "#! x",
    "3 A long Title of words",
    "4 One long line here",
    "# C",
    "ls",
    "All.",
]
_OTHERS = ["", "", " ", "Some text.", "A line", "\r", "\u3000", "x\u2028y"]
_lines = st.sampled_from(_MARKDOWN + _NUMBERED + _CAPITALS + _KEYED + _OTHERS)
_documents = st.lists(_lines, max_size=14).map("\n".join) | hard_text | spaced_text


@settings(deadline=None, max_examples=300)
@given(_documents)
def test_headings_are_those_of_the_slow_definition(text: str) -> None:
    """Where a kernel and its definition part, nobody can say what a section is."""
    from curation.arrow import bytes_and_offsets
    from curation.kernels.headings import BODY, LEVEL, LINE, TITLE, TITLE_STOP, find_headings

    found = find_headings(*bytes_and_offsets(pa.array([text], pa.large_string())))
    data = text.encode()
    made = [
        (row[LINE], row[LEVEL], data[row[TITLE] : row[TITLE_STOP]].decode(), row[BODY])
        for row in found.tolist()
    ]
    assert made == oracle.headings(text)


@settings(deadline=None)
@given(st.lists(st.none() | _documents, max_size=4), st.integers(1, 40))
def test_sections_lose_nothing_but_white_space(texts: list[str | None], max_chars: int) -> None:
    """A corpus that is cut must hold every word of the corpus that was whole, in order."""
    rows = sections(*texts, max_chars=max_chars)
    for at, text in enumerate(texts):
        own = [row for row in rows if row["parent"] == at]
        assert RUN.sub("", "".join(row["text"] for row in own)) == RUN.sub("", text or "")
        assert [row["section_number"] for row in own] == [*range(1, len(own) + 1)]
        assert all(0 < len(row["text"]) <= max_chars for row in own)
        assert all(row["section_path"].endswith(row["section_title"]) for row in own)
        assert all(0 < len(row["section_title"]) <= 120 for row in own)


@settings(deadline=None)
@given(_documents)
def test_sections_of_sections_are_the_same_pieces(text: str) -> None:
    """A recipe that cuts twice by mistake must not shred its corpus."""
    once = [row["text"] for row in sections(text)]
    again = [row["text"] for row in sections(*once)]
    assert RUN.sub("", "".join(again)) == RUN.sub("", "".join(once))


def test_the_path_is_the_way_down_to_a_section() -> None:
    """The condition under which a model learns a section is its place in the whole."""
    text = (
        "# Guide\nWelcome.\n## Install #\nRun it.\n### On Linux\nRun.\n## Use\nUse it.\n# End\nBye."
    )
    assert [path for path, _ in places(text)] == [
        "Guide",
        "Guide > Install",
        "Guide > Install > On Linux",
        "Guide > Use",
        "End",
    ]


def test_a_heading_stays_in_its_text_and_one_without_text_goes_with_the_next() -> None:
    """A row of nothing but a heading teaches nothing."""
    text = "# Guide\n\n## Install\nRun it.\n\n# Use\n"
    assert places(text) == [("Guide > Install", "# Guide\n\n## Install\nRun it."), ("Use", "# Use")]


def test_a_document_of_headings_only_is_one_section() -> None:
    """There is nothing under any of them."""
    assert places("# A\n## B\n\n## C\n") == [("A > C", "# A\n## B\n\n## C")]


def test_underlines_number_signs_and_capitals_are_headings() -> None:
    """Text from books and standards has no Markdown in it."""
    assert [p for p, _ in places("Top\n===\na\n\nSub\n---\nb")] == ["Top", "Top > Sub"]
    plain = "1 Scope\n\nThis.\n\n1.1 Terms used\nThat.\n\nANNEX A\n\nMore."
    assert [p for p, _ in places(plain)] == ["1 Scope", "1 Scope > 1.1 Terms used", "ANNEX A"]


@pytest.mark.parametrize(
    "text",
    [
        "```\n# a comment\n```\nText here.",
        "Intro.\n1. item one\n2. item two",
        "He said NOTHING\nand left.",
        "Mail from\n\n10.0.0.1 was lost.",
        "Some words\nin lower case\n---\nmore",
        "    # indented code",
        "#hashtag and more",
        "a\n\nUSA\n\nb",
        "#!/bin/sh\n\n# comment\n\necho a\n\n# COMMENT\n\nALL OF IT\n\nend",
        "# first step\necho a\n\n# second step\ncd ..",
        "title: X\nstatus: test\n# a comment\nlevel: low",
        "title: X\nlist:\n  - y\n\n# a comment\nlevel: low",
        "title: X\nlevel: low\n\n# a comment",
        "title: X\n\npath: a/b\n---\ntitle: Y\n\npath: c\n---\n",
        "Some prose\nand more.\n\nregression_path: a/b\n---\nand more",
        "Do this.\n\n1. First do this thing\n\nText\n\n2. Then do that thing\n\nText",
    ],
)
def test_what_is_no_heading_cuts_nothing(text: str) -> None:
    """Comments of code, lists and numbers would cut a text to pieces."""
    ((path, whole),) = places(text)
    assert whole == text.strip()
    assert path == text.split("\n")[0].strip()


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("# One\na\n\n# Two\n\nb", ["One", "Two"]),
        ("# One\na\n\n## Two\nb", ["One", "One > Two"]),
        ("# One\na\n\n# Two\n", ["One", "Two"]),
        ("# One\nThis is it.\n# Two\nAnd this", ["One", "Two"]),
        ("# Ports\n\nhttp: 80\nssh: 22\n\n# Hosts\n\na: 1", ["Ports", "Hosts"]),
        ("Note: short\n===\na\n\nPart two: long\n---\nb", ["Note: short"] * 2),
        ("a: 1\nb: 2\n\nFINDINGS\n\nc: 3", ["a: 1", "FINDINGS"]),
        ("2 Terms and definitions\n\na\n\n3. How the Body Reacts to It\n\nb",
         ["2 Terms and definitions", "3. How the Body Reacts to It"]),
        ("```\na: 1\nb: 2\nc: 3\n```\nPart\n# One\nfine\n## Two\nb",
         ["```", "One", "One > Two"]),
    ],
)  # fmt: skip
def test_headings_beside_keys_and_in_short_texts_are_headings(text: str, paths: list[str]) -> None:
    """What keeps comments out must not keep headings out."""
    found = [path for path, _ in places(text)]
    assert [path.split(" > Part two")[0] for path in found] == paths


def test_what_a_document_is_does_not_hang_on_the_next() -> None:
    """Rows that depend on the batch are other rows at another worker count."""
    one, two = "# One\na\n\n# Two\n", "text"
    assert [p for p, _ in places(one, two)] == ["One", "Two", "text"]


def test_a_document_without_headings_has_its_title_or_its_first_line() -> None:
    """Each piece has a place, were it only its document's name."""
    rows = sections("Words.\nMore.", "Words.", "\n\n Words.", titles=["A  title\n", None, " "])
    assert [row["section_path"] for row in rows] == ["A title", "Words.", "Words."]
    assert places("Before.\n# A\nb", titles=["T"])[0] == ("T", "Before.")


def test_the_path_stands_before_the_text_where_that_is_wanted() -> None:
    """The published form: the structure is the condition, the chunk what is learnt under it."""
    (_, row) = sections("# A\nIt begins.\n## B\nText.", form="path")
    assert row["text"] == "A > B\n\n## B\nText."
    assert (row["prompt_id"], row["rewriter"], row["model_id"]) == (
        "sections-path@1",
        "Sections@1",
        None,
    )


def test_a_first_line_is_not_said_twice() -> None:
    """A document that begins twice teaches a model to begin twice."""
    rows = sections("One two three.\n\nFour five six.", form="path", max_chars=20)
    assert [row["text"] for row in rows] == [
        "One two three.",
        "One two three.\n\nFour five six.",
    ]
    for text in ("# A\n\nText.", "  # A\n# B\n\nText.", "# A\n## B\nText.", "PART ONE\n\nText."):
        (row,) = sections(text, form="path")
        assert row["text"] == text.strip()
    first, second = sections("# A\nOne two three.\n\nFour five six.", form="path", max_chars=20)
    assert (first["text"], second["text"]) == ("# A\nOne two three.", "A\n\nFour five six.")
    rows = sections("Zero.\n# A\nOne.\n# B\nTwo.", None, "# C\nIt.\n## D\nOne.", form="path")
    texts = ["Zero.", "# A\nOne.", "# B\nTwo.", "# C\nIt.", "C > D\n\n## D\nOne."]
    assert [row["text"] for row in rows] == texts
    (row,) = sections("One.", titles=["T"], form="path")
    assert row["text"] == "T\n\nOne."


def test_long_sections_are_cut_and_each_piece_has_the_path() -> None:
    """A section longer than a model's context is of no use in one piece."""
    rows = sections("# A\n" + "One two three.\n\n" * 40, max_chars=100)
    assert len(rows) > 5
    assert {row["section_path"] for row in rows} == {"A"}
    (row,) = sections("# " + "x" * 500 + "\nb")
    assert row["section_title"] == "x" * 120
    assert len(sections("word " * 200_000)) == 167


def test_blank_documents_make_no_row_and_line_ends_of_windows_are_line_ends() -> None:
    """Empty pieces would be counted as documents all the way to training."""
    assert sections(None, "", " \n\t") == []
    assert [p for p, _ in places("# A\r\ntext\r\n\r\nB\r\n---\r\nmore")] == ["A", "A > B"]


@pytest.mark.parametrize("more", [{"form": "tree"}, {"max_chars": 0}])
def test_settings_that_make_no_sense_are_refused(more: dict[str, Any]) -> None:
    """A mistake is found before a byte is read."""
    with pytest.raises(RecipeError):
        Sections(**more)


@pytest.mark.skipif(not DATA.exists(), reason="the real texts of ../shared/data are not here")
def test_the_titles_of_real_documents_are_their_headings() -> None:
    """Cheat sheets are Markdown of many hands."""
    texts = [r["text"] for r in records("domains/cybersecurity.jsonl.zst")[:118]]
    rows = sections(*texts)
    assert {row["parent"] for row in rows} == {*range(118)}
    for row in rows:
        heading = row["section_title"].split(" ")[0]
        assert heading in texts[row["parent"]]
    first = [row["section_path"] for row in rows if row["parent"] == 0]
    assert "AI Agent Security Cheat Sheet > Introduction" in first


def passages(texts: list[str | None], max_chars: int) -> list[tuple[int, str]]:
    from curation.kernels.headings import cut_passages

    data, offset = bytes_and_offsets(pa.array(texts, pa.large_string()))
    found = zip(*cut_passages(data, offset, max_chars), strict=True)
    return [(int(n), bytes(data[a:b]).decode()) for n, a, b in found]


@settings(deadline=None)
@given(st.lists(st.none() | _documents, max_size=4), st.integers(1, 60))
def test_passages_lose_nothing_and_are_as_long_as_may_be(
    texts: list[str | None], max_chars: int
) -> None:
    """A model would be shown half a document, or more than fits into its context."""
    found = passages(texts, max_chars)
    for n, text in enumerate(texts):
        own = [passage for document, passage in found if document == n]
        assert "".join(RUN.sub("", passage) for passage in own) == RUN.sub("", text or "")
        assert all(0 < len(passage) <= max_chars for passage in own)


def test_a_passage_is_whole_sections_and_ends_with_no_heading() -> None:
    """A heading at a passage's end tells the model of what it is not shown."""
    parts = [f"## Part {n}\n\n{'word ' * 8}end." for n in range(5)]
    found = [passage for _, passage in passages(["\n\n".join(parts), "another"], 130)]
    assert found == ["\n\n".join(parts[:2]), "\n\n".join(parts[2:4]), parts[4], "another"]
    long = f"# Long\n\n{'A sentence of words. ' * 20}\n\n# Next\n\nIt follows."
    assert [passage for _, passage in passages([long], 130)][-1] == "# Next\n\nIt follows."
