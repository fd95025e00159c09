from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import TextShape
from tests.annotate.golden import check_golden
from tests.oracles import counts as oracle
from tests.oracles.nasty import column, nasty_text

Row = tuple[float | None, ...]


def rows(texts: list[str | None]) -> list[Row]:
    made = TextShape().annotate(pa.record_batch({"text": column(texts)}))
    return [tuple(row.values()) for row in made.to_pylist()]


def wanted(text: str | None) -> Row:
    if text is None:
        return (None,) * 10
    chars, *classes, longest_word, curly, lorem = oracle.characters(text)
    shares = [float(np.float32(found / chars)) if chars else None for found in classes]
    lines = text.split("\n")
    return (*shares, len(lines), max(map(len, lines)), longest_word, curly, lorem)


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.none() | nasty_text, max_size=5))
def test_the_shape_of_a_text_is_what_python_counts(texts: list[str | None]) -> None:
    """Tables, code and pages of links are told from prose by these shares."""
    assert rows(texts) == [wanted(text) for text in texts]


def test_texts_are_measured_as_in_the_golden() -> None:
    """Stored columns were made by the old rules; one that moves needs a new version."""
    check_golden(TextShape(), "shape.json")


def test_an_empty_text_has_one_empty_line_and_no_shares() -> None:
    """A share of nothing is unknown; as 0 it would pass rules that ask for little."""
    assert rows([None, ""]) == [(None,) * 10, (*[None] * 5, 1, 0, 0, 0, 0)]
    assert rows([]) == []
