from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.kernels import components as kernel
from curation.kernels.candidates import Preference
from tests.oracles import near as oracle

edges = st.dictionaries(
    st.tuples(st.integers(0, 11), st.integers(0, 11)).filter(lambda e: e[0] != e[1]),
    st.integers(1, 5),
    max_size=25,
)


def ranked(order: list[int]) -> Preference:
    """Rows preferred in this order."""
    tie = np.empty(len(order), np.uint64)
    tie[order] = np.arange(len(order), dtype=np.uint64)
    same = np.zeros(len(order), np.uint64)
    return Preference(same, same.astype(np.uint32), tie)


def packed(found: dict[tuple[int, int], int], order: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (worse above, better below), ascending, and their similarities."""
    place = {row: at for at, row in enumerate(order)}
    pairs = {}
    for (one, other), alike in found.items():
        worse, better = (one, other) if place[one] > place[other] else (other, one)
        pairs[worse << 32 | better] = alike / 5
    keys = sorted(pairs)
    return np.array(keys, np.uint64), np.array([pairs[key] for key in keys])


@settings(deadline=None)
@given(edges, st.permutations(list(range(12))), st.booleans())
def test_what_stays_is_what_taking_rows_by_preference_keeps(
    found: dict[tuple[int, int], int], order: list[int], backwards: bool
) -> None:
    """A chain of small differences would drag different documents into one group."""
    pair_P, alike_P = packed(found, order)
    alike = {(int(p) >> 32, int(p) & 0xFFFFFFFF): a for p, a in zip(pair_P, alike_P, strict=True)}

    def similarity(one: str, other: str) -> float:
        pair = (int(one), int(other))
        return alike.get(pair, alike.get(pair[::-1], 0.0))

    wanted = oracle.settled([str(row) for row in order], similarity, 0.1)
    state = np.zeros(12, np.uint8)
    kernel.open_rows(pair_P, state)
    left = 1
    while left:
        decided, left = kernel.settle(pair_P, state, backwards)
        assert decided or not left, "each turn decides the best row that is open"
        backwards = not backwards
    twin, best = np.full(12, -1, np.int64), np.zeros(12)
    kernel.choose_twins(pair_P, alike_P, state, twin, best, ranked(order))
    for row in range(12):
        verdict = wanted[str(row)]
        assert (state[row] == kernel.GOES) == (verdict is not None)
        if verdict is not None:
            assert best[row] == pytest.approx(verdict[1])
            assert (twin[row], best[row]) == (int(verdict[0]), pytest.approx(verdict[1]))


def test_a_chain_of_a_thousand_is_settled_in_a_few_turns() -> None:
    """Each version of a page is like the one before: there can be many."""
    size = 1000
    pair_P = np.array([(n + 1) << 32 | n for n in range(size - 1)], np.uint64)
    for backwards in (False, True):
        state = np.zeros(size, np.uint8)
        kernel.open_rows(pair_P, state)
        turns, left, back = 0, 1, backwards
        while left:
            left = kernel.settle(pair_P, state, back)[1]
            turns, back = turns + 1, not back
        assert turns <= 3
        assert state.tolist() == [kernel.STAYS, kernel.GOES] * (size // 2)


def test_rows_that_go_already_keep_nothing() -> None:
    """A row that repeats last month's must not be the reason why another one goes."""
    pair_P = np.array([1 << 32 | 0], np.uint64)
    state = np.array([kernel.GOES, kernel.STAYS], np.uint8)
    kernel.open_rows(pair_P, state)
    assert kernel.settle(pair_P, state, False) == (1, 0)
    assert state.tolist() == [kernel.GOES, kernel.STAYS]


@settings(deadline=None)
@given(edges, st.permutations(list(range(12))))
def test_joined_rows_are_connected_components_led_by_the_best(
    found: dict[tuple[int, int], int], order: list[int]
) -> None:
    """The unverified mode is there for comparison: it has to be what the others do."""
    pair_P, _ = packed(found, order)
    parent = np.arange(12, dtype=np.uint32)
    kernel.join(pair_P, parent, ranked(order))
    groups = oracle.components(
        [str(row) for row in range(12)], [(str(a), str(b)) for a, b in found]
    )
    place = {str(row): at for at, row in enumerate(order)}
    wanted = [int(min(groups[str(row)], key=place.__getitem__)) for row in range(12)]
    assert kernel.roots(parent).tolist() == wanted


def test_a_row_that_goes_already_is_not_looked_at_again() -> None:
    """It repeats last month's: it would stay after all, and be published a second time."""
    pair_P = np.array([1 << 32 | 0, 2 << 32 | 1], np.uint64)
    state = np.array([kernel.STAYS, kernel.GOES, kernel.STAYS], np.uint8)
    kernel.open_rows(pair_P, state)
    assert state.tolist() == [kernel.STAYS, kernel.GOES, kernel.OPEN]
    assert kernel.settle(pair_P, state, False) == (1, 0)
    assert state.tolist() == [kernel.STAYS, kernel.GOES, kernel.STAYS]
