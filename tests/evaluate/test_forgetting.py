from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from curation.errors import RecipeError
from curation.evaluate.forgetting import flips, forgetting, mcnemar
from curation.evaluate.measures import ITEMS, Evaluation, Measure

Row = tuple[str, str, str, float, float]
BITS = Measure(name="general/bits_per_byte", unit="bits per byte", better="lower")
RIGHT = Measure(name="exam/accuracy_per_char", unit="share", chance=0.25)
PROB = Measure(name="exam/correct_prob", unit="probability")
SCHEMA = pl.DataFrame(ITEMS.empty_table()).schema


def evaluation(rows: list[Row], *measures: Measure) -> Evaluation:
    items = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    return Evaluation({m.name: m for m in measures}, items, {}, {})


def bits(values: dict[str, tuple[float, float]]) -> list[Row]:
    return [(BITS.name, item, "wiki", *pair) for item, pair in values.items()]


def marks(values: dict[str, float], name: str = RIGHT.name) -> list[Row]:
    return [(name, item, "", value, 1.0) for item, value in values.items()]


def test_values_are_those_of_the_items_in_common() -> None:
    """A model whose longest items were left out would seem to have forgotten them, or nothing."""
    before = evaluation(bits({"a": (30, 10), "b": (10, 10), "old": (900, 10)}), BITS)
    after = evaluation(bits({"b": (40, 10), "new": (1, 10), "a": (20, 10), "c": (2, 1)}), BITS)
    (row,) = forgetting(before, after).to_dicts()
    assert row == {
        "measure": BITS.name,
        "unit": "bits per byte",
        "better": "lower",
        "before": 2.0,
        "after": 3.0,
        "change": 1.0,
        "worse": 1.0,
        "items": 2,
        "only_before": 1,
        "only_after": 2,
        "right_to_wrong": None,
        "wrong_to_right": None,
        "mcnemar_p": None,
    }
    assert forgetting(after, before)["worse"].to_list() == [-1.0]


def test_items_that_changed_sides_are_counted() -> None:
    """A mean that stays the same would hide that half of what was known is gone."""
    before = evaluation(marks({"a": 1, "b": 1, "c": 0, "d": 0.5, "e": 1, "gone": 1}), RIGHT)
    after = evaluation(marks({"a": 0, "b": 0.5, "c": 1, "d": 0, "e": 1, "come": 0}), RIGHT)
    (row,) = forgetting(before, after).to_dicts()
    assert (row["right_to_wrong"], row["wrong_to_right"], row["items"]) == (2, 1, 5)
    assert row["mcnemar_p"] == 1.0
    assert (row["before"], row["after"]) == (0.7, 0.5)
    assert row["worse"] == pytest.approx(0.2)
    assert flips(before, after).rows() == [
        (RIGHT.name, "a", "", "right to wrong"),
        (RIGHT.name, "b", "", "right to wrong"),
        (RIGHT.name, "c", "", "wrong to right"),
    ]


def test_probabilities_have_no_sides() -> None:
    """A probability of 1 would be called right, and a table be full of nonsense."""
    one = evaluation(marks({"a": 1}, PROB.name), PROB)
    other = evaluation(marks({"a": 0}, PROB.name), PROB)
    assert forgetting(one, other)["right_to_wrong"].to_list() == [None]
    assert flips(one, other).is_empty()


def test_measures_of_one_evaluation_are_told() -> None:
    """A task that was only measured once would drop out of the panel in silence."""
    before = evaluation([*bits({"a": (2, 1)}), *marks({"a": 1})], BITS, RIGHT)
    after = evaluation([*bits({"a": (3, 1)}), *marks({"a": 1}, PROB.name)], BITS, PROB)
    table = forgetting(before, after)
    assert table["measure"].to_list() == [BITS.name, RIGHT.name, PROB.name]
    assert table["change"].to_list() == [1.0, None, None]
    assert table["only_before"].to_list() == [0, 1, 0]
    assert table["only_after"].to_list() == [0, 0, 1]
    assert table["mcnemar_p"].to_list() == [None] * 3


def test_a_measure_without_items_has_a_row() -> None:
    """A panel whose items were all too long would end in an exception."""
    empty = evaluation([], RIGHT)
    (row,) = forgetting(empty, empty).to_dicts()
    assert (row["before"], row["items"], row["change"]) == (None, 0, None)


def test_other_items_of_the_same_name_are_refused() -> None:
    """Two different texts would be compared as if one model had got worse at one of them."""
    one, other = evaluation(bits({"a": (2, 1)}), BITS), evaluation(bits({"a": (2, 3)}), BITS)
    for compare in (forgetting, flips):
        with pytest.raises(RecipeError, match="the item a of general/bits_per_byte"):
            compare(one, other)
    turned = Measure(name=BITS.name, unit=BITS.unit, better="higher")
    with pytest.raises(RecipeError, match="is not the same"):
        forgetting(one, evaluation(bits({"a": (2, 1)}), turned))


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_the_exact_binomial_test(lost: int, won: int) -> None:
    """Losses would be called chance, or chance losses."""
    expected = binomtest(lost, lost + won).pvalue if lost + won else 1.0
    assert mcnemar(lost, won) == pytest.approx(expected)


def test_mcnemar_bears_many_changes() -> None:
    """A test of thousands of items would end in an overflow."""
    assert mcnemar(3000, 3000) == 1.0
    assert 0 <= mcnemar(1000, 3000) < 1e-200


@given(st.permutations(range(6)))
def test_the_order_of_items_changes_nothing(order: list[int]) -> None:
    """Items would be matched by where they stand."""
    rows = marks({f"i{n}": float(n % 2) for n in range(6)})
    before = evaluation(marks({f"i{n}": float(n % 3 == 0) for n in range(6)}), RIGHT)
    whole = forgetting(before, evaluation(rows, RIGHT))
    assert whole.equals(forgetting(before, evaluation([rows[n] for n in order], RIGHT)))
