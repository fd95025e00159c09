from __future__ import annotations

import string
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import DsirQuality, FineWebQuality, GopherQuality
from curation.annotate.quality import ENGLISH_STOP_WORDS, GOPHER_STOP_WORDS
from curation.errors import RecipeError
from tests.annotate.golden import GOLDEN_TEXTS, check_golden
from tests.oracles import counts, lines, words
from tests.oracles.nasty import column, nasty_text

Row = tuple[float | None, ...]
batches = st.lists(st.none() | nasty_text, max_size=5)


def rows(stage: Any, texts: list[str | None]) -> list[Row]:
    made = stage.annotate(pa.record_batch({"text": column(texts)}))
    return [tuple(row.values()) for row in made.to_pylist()]


def share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def as_stored(row: Row, stage: Any) -> Row:
    """Return a row with its shares as float32."""
    return tuple(
        None if value is None else float(np.float32(value)) if kind == pa.float32() else value
        for value, kind in zip(row, stage.writes.types, strict=True)
    )


def wanted(stage: Any, texts: list[str | None], one: Callable[[str], Row]) -> list[Row]:
    nothing = (None,) * len(stage.writes)
    return [nothing if text is None else as_stored(one(text), stage) for text in texts]


# ---------------------------------------------------------------- oracles


@settings(deadline=None)  # the first call compiles
@given(batches, st.sampled_from(["unicode", "space"]))
def test_gopher_statistics_are_those_of_the_definition(texts: list[str | None], rule: str) -> None:
    """Ten rules with published thresholds are asked of these columns."""

    def one(text: str) -> Row:
        found = words.RULES[rule](text)
        sense, chars, letters, stop, _ = counts.kinds(found, GOPHER_STOP_WORDS)
        hashes, ellipses = lines.marks(text)
        return (
            len(found),
            sense,
            share(chars, sense),
            share(hashes, len(found)),
            share(ellipses, len(found)),
            *lines.gopher(text),
            share(letters, len(found)),
            stop,
        )

    stage = GopherQuality(words=rule)
    assert rows(stage, texts) == wanted(stage, texts, one)


@settings(deadline=None)  # the first call compiles
@given(batches, st.sampled_from([0, 30]))
def test_fineweb_statistics_are_those_of_the_definition(
    texts: list[str | None], short: int
) -> None:
    """FineWeb's four rules are asked of these columns."""

    def one(text: str) -> Row:
        ratio = share(text.count("\n"), len(words.unicode(text)))
        return (*lines.fineweb(text, short), ratio)

    stage = FineWebQuality(words="unicode", short_line_chars=short)
    assert rows(stage, texts) == wanted(stage, texts, one)


dsir_text = st.lists(
    st.sampled_from(
        ["The", "the", "cat", "of", "É", "é", "3", "42", "$", "...", ".", "Ⅷ", "\n", "x"]
    ),
    max_size=40,
).map(" ".join)


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.none() | dsir_text, max_size=4))
def test_dsir_statistics_are_those_of_the_definition(texts: list[str | None]) -> None:
    """The filter by which DSIR's authors took a quarter of the Pile away."""

    def one(text: str) -> Row:
        found = words.space(text.lower())
        empty = (*ENGLISH_STOP_WORDS, *string.punctuation)
        return (
            len(found),
            share(counts.commonest(found), len(found)),
            share(sum(word not in empty for word in found), len(found)),
            share(sum(word not in [*string.digits] for word in found), len(found)),
        )

    stage = DsirQuality(words="space")
    assert rows(stage, texts) == wanted(stage, texts, one)


# ---------------------------------------------------------------- golden and edges


@pytest.mark.parametrize("stage", [GopherQuality(), FineWebQuality(), DsirQuality()], ids=str)
def test_texts_are_judged_as_in_the_golden(stage: Any) -> None:
    """Stored columns were made by the old rules; one that moves needs a new version."""
    check_golden(stage, "quality.json")


def test_english_is_the_splitter_unless_another_is_asked_for() -> None:
    """The thresholds of Gopher and FineWeb were used with spaCy's words."""
    text = "I don't know the cat and John's dog."
    for stage in (GopherQuality(), DsirQuality()):
        assert rows(stage, [text])[0][0] == 11
    by_space = GopherQuality(words="space")
    assert rows(by_space, [text])[0][0] == 8


def test_stop_words_are_the_users() -> None:
    """Another language has words of its own; in English they count in their very case."""
    text = "The dog and the cat, und die Katze."
    assert rows(GopherQuality(), [text])[0][-1] == 2
    assert rows(GopherQuality(stop_words=("und", "die", "der", "The")), [text])[0][-1] == 3
    assert rows(GopherQuality(stop_words=()), [text])[0][-1] == 0
    assert rows(DsirQuality(stop_words=("katze",), words="space"), ["Katze Hund"])[0][2] == 0.5


@pytest.mark.parametrize("bad", ["", " ", "two words", "und ", "a\u3000b", "\n"])
@pytest.mark.parametrize("kind", [GopherQuality, DsirQuality])
def test_a_stop_word_that_no_splitter_finds_is_refused(kind: Any, bad: str) -> None:
    """A list with a stray space would count nothing, and drop the whole corpus."""
    with pytest.raises(RecipeError, match="a stop word is one word"):
        kind(stop_words=("und", bad))


def test_null_empty_and_blank_texts_have_no_shares() -> None:
    """A share of nothing is unknown; as 0 it would pass rules that ask for little."""
    gopher = [(None,) * 9, (0, 0, None, None, None, None, None, None, 0)]
    gopher.append((0, 0, None, None, None, 0, 0, None, 0))
    assert rows(GopherQuality(), [None, "", " \n"]) == gopher
    assert rows(FineWebQuality(), [None, "", " \n"]) == [(None,) * 4] * 3
    dsir = [(None,) * 4, (0, None, None, None), (0, None, None, None)]
    assert rows(DsirQuality(), [None, "", " \n"]) == dsir
    assert len(GOLDEN_TEXTS) >= 12
