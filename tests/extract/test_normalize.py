"""Normalize: what it removes, what it keeps, and that doing it twice changes nothing."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.extract.normalize import Normalize

#: Unicode at large and, more often, the characters that the stage is about.
ANY_TEXT = st.text(
    st.one_of(
        st.characters(exclude_categories=("Cs",)),
        st.sampled_from(
            "a é\u0301\u0300 \t\n\r\x0b\x0c\x85\u2028\u00a0\u3000\u200b\u00ad\ufeff\ufffe\0"
        ),
    ),
    max_size=60,
)


def normalized(texts: Sequence[str | None], stage: Normalize | None = None) -> list[str | None]:
    batch = pa.RecordBatch.from_pydict({"text": pa.array(list(texts), pa.large_string())})
    out = (stage or Normalize()).annotate(batch)
    assert out.schema.equals(Normalize.writes)
    found: list[str | None] = out["text"].to_pylist()
    return found


def one(text: str, stage: Normalize | None = None) -> str:
    (found,) = normalized([text], stage)
    assert found is not None
    return found


@settings(max_examples=400)
@given(st.lists(st.none() | ANY_TEXT, max_size=4), st.booleans())
def test_doing_it_twice_changes_nothing(texts: list[str | None], indentation: bool) -> None:
    """A corpus normalised again by its next user would change, and with it every hash."""
    stage = Normalize(indentation=indentation)
    once = normalized(texts, stage)
    assert normalized(once, stage) == once
    assert [t is None for t in once] == [t is None for t in texts]


@settings(max_examples=400)
@given(ANY_TEXT)
def test_the_result_has_nothing_that_it_promises_to_remove(text: str) -> None:
    """Tokenizers spend tokens on each leftover, and duplicates that differ by one stay."""
    found = one(text)
    assert unicodedata.is_normalized("NFC", found)
    assert found == found.strip()
    assert "\n\n\n" not in found
    assert all(line == line.rstrip(" \t") for line in found.split("\n"))
    assert not [c for c in found if unicodedata.category(c) == "Cc" and c not in "\n\t"]
    assert not [c for c in found if ord(c) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(c) <= 0xFDEF]


@settings(max_examples=200)
@given(ANY_TEXT, ANY_TEXT)
def test_a_row_does_not_depend_on_the_rows_beside_it(text: str, beside: str) -> None:
    """Only dirty rows are touched: a mask off by one would give a row another row's text."""
    assert normalized([beside, text, None, beside])[1] == one(text)


@settings(max_examples=200)
@given(ANY_TEXT)
def test_letters_and_digits_all_stay(text: str) -> None:
    """A cleaner that eats letters of one script makes that script vanish from the corpus."""
    kept = [c for c in unicodedata.normalize("NFC", text) if unicodedata.category(c)[0] in "LN"]
    # NFC of what is left after removal may compose more (a letter and an accent now meet).
    found = unicodedata.normalize("NFD", one(text))
    wanted = unicodedata.normalize("NFD", "".join(kept))
    assert [c for c in found if unicodedata.category(c)[0] in "LN"] == [
        c for c in wanted if unicodedata.category(c)[0] in "LN"
    ]


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("", ""),
        ("plain text.\nTwo lines.", "plain text.\nTwo lines."),
        ("e\u0301te\u0301", "été"),
        ("a\r\nb\rc\u2028d\u2029e\x85f\x0bg\x0ch", "a\nb\nc\nd\ne\nf\ng\nh"),
        ("a\u00a0b\u3000c\u2009d", "a b c d"),
        (
            "zero\u200bwidth, soft\u00adhyphen, \ufeffmark, \0nul",
            "zerowidth, softhyphen, mark, nul",
        ),
        ("a  b \t c\td", "a b c d"),
        ("end   \n\n\n\n  \nnext", "end\n\nnext"),
        ("e\u200b\u0301", "é"),
        ("def f():\n    return  1\n\ttab", "def f():\n    return 1\n\ttab"),
        ("می\u200cخواهم 👨\u200d👩\u200d👧", "می\u200cخواهم 👨\u200d👩\u200d👧"),
        ("\U0001fffe\U0010ffff\ufdd0x", "x"),
    ],
)
def test_examples(dirty: str, clean: str) -> None:
    """The properties above hold for a stage that returns nothing at all; these do not."""
    assert one(dirty) == clean


def test_indentation_goes_where_it_is_not_wanted() -> None:
    """Prose that a page indented for looks keeps columns of blanks otherwise."""
    assert one("a\n    b\n\t\tc", Normalize(indentation=False)) == "a\n b\n c"


def test_mojibake_is_repaired_when_asked_and_good_text_is_left_alone() -> None:
    """Text decoded twice is noise to a model; text 'repaired' without need is damage of our own."""
    rows = ["schÃ¶n, â€œquotedâ€\x9d", None, "schön, “quoted”", "plain"]
    assert normalized(rows, Normalize(mojibake=True)) == [
        "schön, “quoted”",
        None,
        "schön, “quoted”",
        "plain",
    ]
    assert one("schÃ¶n") == "schÃ¶n"


def test_an_empty_batch_and_a_batch_of_nulls_are_done() -> None:
    """The engine hands over what a selection left, which may be nothing."""
    assert normalized([]) == []
    assert normalized([None, None], Normalize(mojibake=True)) == [None, None]
