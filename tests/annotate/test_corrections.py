from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import LineCorrections, refinedweb_rules
from curation.errors import RecipeError
from tests.conftest import ROOT
from tests.oracles.corrections import Rules, corrected
from tests.oracles.text import hard_text

GOLDEN = Path(__file__).parents[1] / "golden" / "corrections.txt"
NEWS = ROOT.parent / "shared" / "data" / "text" / "wikinews.jsonl.zst"

Row = tuple[str | None, int | None, float | None]


def rows(texts: pa.Array | list[str | None], **choice: Any) -> list[Row]:
    column = pa.array(texts, pa.large_string()) if isinstance(texts, list) else texts
    made = LineCorrections(**choice).annotate(pa.record_batch({"text": column}))
    return [tuple(row.values()) for row in made.to_pylist()]


def row(text: str, **choice: Any) -> Row:
    return rows([text], **choice)[0]


def wanted(text: str | None, **choice: Any) -> Row:
    if text is None:
        return None, None, None
    kept, lines, frac = corrected(text, Rules(**choice))
    return kept, lines, None if frac is None else float(np.float32(frac))


def golden() -> list[tuple[str, str, str]]:
    """Return (what becomes of it, rule, line)."""
    lines = [line for line in GOLDEN.read_text("utf-8").splitlines() if line and line[0] != "#"]
    return [(*line.split("\t", 2),) for line in lines]  # type: ignore[misc]


@pytest.mark.parametrize(("fate", "rule", "line"), golden(), ids=lambda value: value[:40])
def test_a_line_becomes_what_the_golden_says(fate: str, rule: str, line: str) -> None:
    """A golden that moves needs a new version: stored texts were made by the old rules."""
    left = {"kept": [line], "gone": []}.get(fate, [fate])
    around = ["some words before", "", line, "", "and some after"]
    text = "\n".join(["some words before", "", *left, "", "and some after"])
    assert row("\n".join(around))[:2] == (text, int(fate == "gone")), rule


# ---------------------------------------------------------------- oracle

_PIECES = (
    "3",
    "45",
    "1.2K",
    "12,5",
    "likes",
    "Comment",
    "replies",
    "liked",
    "Sign-in",
    "sign-ins",
    "Read more...",
    "read more\u2026",
    "items in cart",
    "BIG",
    "DEAL",
    "word",
    "a",
    "\xe9",
    "\xc9\xc8",
    "\u4e2d",
    "\u0663",
    "\xb2",
    "\u2167",
    "\u01c5",
    "\u2022",
    ".",
    "_",
    "\r",
    "\x1c",
    "\U0001f44d",
)
piece = st.sampled_from(_PIECES)
gap = st.sampled_from([" ", " ", " ", "", "  ", "\t", "\xa0", "\u3000", "\u2028"])
line_text = st.lists(st.tuples(gap, piece), max_size=13).map(lambda ps: "".join(map("".join, ps)))
page = st.lists(line_text | hard_text, max_size=6).map("\n".join)

choices = st.fixed_dictionaries(
    {},
    optional={
        "upper_frac": st.sampled_from([0.0, 0.25, 0.5, 2 / 3, 1.0]),
        "min_line_words": st.integers(0, 4),
        "max_pattern_words": st.integers(0, 13),
        "counters": st.just(()) | st.just(("[0-9]+ [a-z]+", "big")),
        "line_starts": st.just(()) | st.just(("big", "read")),
        "line_ends": st.just(()) | st.just(("deal", "[0-9]+")),
        "line_parts": st.just(()) | st.just(("word|a", "[.]")),
    },
)


@settings(deadline=None, max_examples=300)  # the first call compiles
@given(st.lists(st.none() | page, max_size=5), st.integers(0, 2), choices)
def test_pages_are_corrected_as_by_the_definition(
    texts: list[str | None], skip: int, choice: dict[str, Any]
) -> None:
    """What a correction takes out is gone from the corpus, and nobody reads what it took."""
    column = pa.array(texts, pa.large_string())
    made = [wanted(text, **choice) for text in texts]
    assert rows(column, **choice) == made
    assert rows(column[skip:], **choice) == made[skip:]


@settings(deadline=None, max_examples=200)
@given(line_text, choices)
def test_a_line_is_corrected_as_by_the_definition(line: str, choice: dict[str, Any]) -> None:
    """Where a page has many lines, one that is wrong is seldom found."""
    assert row(line, **choice) == wanted(line, **choice)


@settings(deadline=None, max_examples=200)
@given(page, st.booleans())
def test_whole_lines_are_removed_once_and_for_all(text: str, trailing: bool) -> None:
    """A text that changes each time it is looked at has no end and no fingerprint."""
    bare: dict[str, Any] = {"line_starts": (), "line_ends": (), "line_parts": ()}
    once = row(text + "\n" * trailing, **bare)[0]
    assert once is not None
    twice = row(once, **bare)
    assert twice == (once, 0, 0 if once.split() else None)
    lines = iter(text.split("\n"))
    assert all(line in lines for line in once.split("\n") if line.split())  # in order, untouched


@pytest.mark.skipif(not NEWS.exists(), reason="../shared/data is not on this machine")
def test_news_are_corrected_as_by_the_definition() -> None:
    """Invented lines have the lengths that their inventor thought of."""
    import zstandard

    with NEWS.open("rb") as file, zstandard.open(file, "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line, _ in zip(lines, range(500), strict=False)]
    shouted = [f"{text}\n{text[:60].upper()} ABCD\n7 likes" for text in texts]
    assert rows(texts) == [wanted(text) for text in texts]
    assert rows(shouted) == [wanted(text) for text in shouted]


# ---------------------------------------------------------------- edges


def test_null_and_empty_texts_stay_what_they_are() -> None:
    """A share of no words is unknown, and not nothing."""
    assert rows([None, "", " \n\n\t"]) == [(None, None, None), ("", 0, None), (" \n\n\t", 0, None)]


def test_a_text_may_lose_all_its_lines() -> None:
    """The row stays, with an empty text, for a rule to drop it with a reason."""
    assert rows(["3 likes", "Home\n", "A\nB\nC"]) == [("", 1, 1), ("", 1, 1), ("", 3, 1)]


def test_lines_end_at_line_feeds_alone() -> None:
    """A page with carriage returns would be one line, or its lines would all be edited."""
    text = "first line\r\n 3 likes \r\n second line\r\n"
    assert row(text) == ("first line\r\n second line\r\n", 1, np.float32(2 / 6))
    assert row("one\x85two\u2028three\x0bfour here")[1] == 0


def test_an_edit_counts_the_words_that_went_and_no_line() -> None:
    """The rule on five words in a hundred would be asked about words that are still there."""
    text = "Sign-in to read the rest of it now\n\na b"
    assert row(text) == ("to read the rest of it now\n\na b", 0, np.float32(1 / 10))


def test_every_pattern_of_a_list_is_looked_for() -> None:
    """The user's second pattern would be a comment."""
    lists = {"line_parts": ("x+", "one|two"), "line_starts": ("(a|b)c", "menu:")}
    assert row("menu: the two xx words are", **lists)[0] == "the words are"
    assert row("bc menu: is two one here", **lists)[0] == "menu: is here"
    assert row("new NEW One thing here", line_parts=("(?-i)NEW", "one"))[0] == "new thing here"


def test_edits_are_only_made_where_a_list_has_patterns() -> None:
    """An empty list of patterns would fit everywhere."""
    none: dict[str, Any] = dict.fromkeys(("counters", "line_starts", "line_ends", "line_parts"), ())
    text = "Sign-in to items in cart and Read more...\n3 likes\n"
    assert row(text, **none) == (text, 0, 0)
    assert row("one two", **none, min_line_words=3)[1] == 1


def test_a_rule_can_be_turned_off() -> None:
    """A language without spaces writes a sentence as one word."""
    text = "\u4e2d\u6587\u6ca1\u6709\u7a7a\u683c\nLOUD AND CLEAR"
    assert row(text)[:2] == ("", 2)
    assert row(text, min_line_words=0, upper_frac=1.0) == (text, 0, 0)


def test_a_line_of_great_length_takes_no_great_time() -> None:
    """Ten words may be ten megabytes, and an engine that backtracks would never return."""
    text = "sign-in " + "a" * 3_000_000 + " " + "read more.. " + "[" * 1_000_000 + " items in car"
    made = row(text, line_parts=("(?:a*)*b", "items in cart"))[0]
    assert made == text.removeprefix("sign-in ")


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize("name", ["counters", "line_starts", "line_ends", "line_parts"])
@pytest.mark.parametrize("pattern", ["(", "(?=a)", "(a)\\1", "a)|(b", "\\Qab"])
def test_a_pattern_that_cannot_be_read_ends_the_recipe(name: str, pattern: str) -> None:
    """A run would fail at its first short line, hours later."""
    with pytest.raises(RecipeError, match=f"cannot read a pattern of its {name}") as told:
        LineCorrections(**{name: ("fine", pattern)})
    assert told.value.facts["found"] == repr(pattern)
    assert "look-around" in told.value.facts["remedy"]


@pytest.mark.parametrize("pattern", ["", "x*", "\\b", "^", "$", "a|b*", "(?:)", "\\B"])
def test_a_pattern_that_fits_nothing_at_all_ends_the_recipe(pattern: str) -> None:
    """It would fit every short line, and take its blanks out."""
    with pytest.raises(RecipeError, match="fits nothing"):
        LineCorrections(line_parts=(pattern,))


@pytest.mark.parametrize(
    "choice",
    [{"upper_frac": -0.1}, {"upper_frac": 1.1}, {"min_line_words": -1}, {"max_pattern_words": -1}],
)
def test_a_setting_out_of_range_ends_the_recipe(choice: dict[str, Any]) -> None:
    """A share given in per cent would keep every line."""
    with pytest.raises(RecipeError, match="0 to 1"):
        LineCorrections(**choice)


# ---------------------------------------------------------------- rule


def test_the_rule_drops_documents_that_lost_more_than_a_twentieth() -> None:
    """RefinedWeb drops what was mainly buttons, and keeps what had one."""
    texts = ["Home\n" + " ".join(["word"] * words) for words in (19, 18)]
    texts += ["nothing to correct", "Home", "", "\n"]
    fracs = [*(frac for _, _, frac in rows(texts)), 0.0501]
    table = pl.DataFrame({"removed_word_frac": pl.Series(fracs, dtype=pl.Float32)})
    [rule] = refinedweb_rules()
    kept = table.select(rule.rule)["removed_word_frac"].to_list()
    assert kept == [True, False, True, False, None, None, False]
    assert "refinedweb" in rule.because
