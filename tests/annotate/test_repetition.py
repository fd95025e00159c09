from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import GopherRepetition
from tests.annotate.golden import check_golden
from tests.oracles import repetition as oracle
from tests.oracles import words
from tests.oracles.nasty import column, nasty_text

Row = tuple[float | None, ...]


def rows(texts: list[str | None], stage: GopherRepetition) -> list[Row]:
    made = stage.annotate(pa.record_batch({"text": column(texts)}))
    return [tuple(row.values()) for row in made.to_pylist()]


def wanted(text: str | None) -> Row:
    if text is None:
        return (None,) * 13
    found = (*oracle.by_line(text), *oracle.by_word(text, words.unicode(text)))
    return tuple(None if x is None else float(np.float32(x)) for x in found)


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.none() | nasty_text, max_size=5))
def test_the_shares_are_those_of_the_definition(texts: list[str | None]) -> None:
    """Thirteen rules with published thresholds are asked of these columns."""
    assert rows(texts, GopherRepetition(words="unicode")) == [wanted(text) for text in texts]


def test_the_columns_stand_in_the_order_of_their_names() -> None:
    """Two shares that have changed places pass every comparison of sums."""
    text = "a b c d e f g h i j k\na b c d e f g h i j k\n\nx\n\nx\n\ny"
    stage = GopherRepetition(words="space")
    (row,) = stage.annotate(pa.record_batch({"text": column([text])})).to_pylist()
    named = dict(zip(row, wanted(text), strict=True))
    assert row == named
    assert len(set(row.values())) >= 8


def test_texts_are_measured_as_in_the_golden() -> None:
    """Stored columns were made by the old rules; one that moves needs a new version."""
    check_golden(GopherRepetition(), "repetition.json")


def test_null_and_empty_texts_have_no_shares_and_blank_ones_no_repeats() -> None:
    """A share of nothing is unknown; as 0 it would pass every rule."""
    found = rows([None, "", " "], GopherRepetition())
    assert found == [(None,) * 13, (None,) * 13, (0,) * 13]
