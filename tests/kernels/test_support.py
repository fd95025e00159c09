"""What a rewrite's source supports, beside slow definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curation import Faithful
from curation.kernels.keys import add, empty, has, make_table
from tests.oracles.faithful import SCALES, SPELLED, UNITS, copied, unsupported

FILLERS = ("patients", "took", "about", "each", "bottle", "holds")
PLAIN = ("5", "10", "0.5", "1,200", "1200", "1200.0", "90", "13", "25", "3,000,000", "7")
NUMBERS = (
    st.tuples(
        st.sampled_from((*PLAIN, *SPELLED)),
        st.sampled_from(("", "", *(f" {scale}" for scale in SCALES))),
        st.sampled_from(("", "", *(unit if unit == "%" else f" {unit}" for unit in UNITS))),
    )
    .filter(lambda parts: parts[2] != "%" or (parts[0] in PLAIN and not parts[1]))
    .map("".join)
)
TEXTS = st.lists(
    st.tuples(st.sampled_from(FILLERS), NUMBERS), max_size=6
).map(lambda pairs: " ".join(f"{word} {number}" for word, number in pairs) + " holds")  # fmt: skip


def told(rows: list[tuple[str | None, str | None]], **settings: Any) -> list[dict[str, Any]]:
    columns = [[text for text, _ in rows], [source for _, source in rows]]
    arrays = [pa.array(column, pa.large_string()) for column in columns]
    batch = pa.RecordBatch.from_arrays(arrays, ["text", "source_text"])
    found: list[dict[str, Any]] = Faithful(**settings).annotate(batch).to_pylist()
    return found


@settings(max_examples=400, deadline=None)
@given(TEXTS, TEXTS)
@example("took 1,200 mg holds", "took 1200.0 milligrams holds")
@example("took 18 days holds", "took 18 each 27 days holds")
@example("took 7 million holds", "took 7 thousand holds")
@example("took three million holds", "took 3,000,000 holds")
def test_numbers_and_units_are_those_of_the_slow_definition(text: str, source: str) -> None:
    """A dose that no source gives would be trained on, or a right one thrown away."""
    row = told([(text, source)])[0]
    missing, other = unsupported(text, source)
    if text in source:
        missing = other = 0
    assert (row["unsupported_number_count"], row["unsupported_unit_count"]) == (missing, other)


WORDS = st.lists(st.sampled_from("ab bc cd de ef".split()), max_size=30)


@settings(deadline=None)
@given(WORDS, WORDS, st.integers(2, 5))
def test_copied_words_are_those_of_the_slow_definition(
    text: list[str], source: list[str], words: int
) -> None:
    """A rewrite that only repeats its source would look like a new one."""
    row = told([("ab " + " ".join(text), " ".join(source))], copy_words=words)[0]
    text = ["ab", *text]
    if " ".join(source) in " ".join(text) and len(" ".join(source)) >= 20:
        return  # the passage is taken off
    assert row["copied_frac"] == np.float32(copied(text, source, words) / len(text))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5))
def test_a_row_does_not_depend_on_the_rows_before_it(rows: list[tuple[str, str]]) -> None:
    """A source would vouch for the rewrite of another one."""
    rows = [*rows, ("took 5 mg holds well", "took 5 mg"), ("took 5 mg holds well", "took 7 mg")]
    twice = [row for pair in rows for row in (pair, (pair[1], pair[1]), pair)]
    assert told(twice) == [told([row])[0] for row in twice]


@settings(deadline=None)
@given(st.lists(st.integers(1, 2**64 - 1), max_size=60), st.lists(st.integers(1, 2**64 - 1)))
def test_a_set_holds_what_was_put_in_since_it_was_emptied(one: list[int], two: list[int]) -> None:
    """A key that is lost makes a false alarm; one that stays makes the next row's pass."""
    table = make_table(max(len(one), len(two)))
    for keys in (one, two):
        empty(table, len(keys))
        for key in keys:
            add(table, np.uint64(key))
    assert all(has(table, np.uint64(key)) for key in two)
    assert not any(has(table, np.uint64(key)) for key in set(one) - set(two))
