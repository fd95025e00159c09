from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.kernels.jaccard import Sets, piece_starts, similarities

some_set = st.sets(st.integers(0, 30).map(lambda n: n * 0x9E3779B97F4A7C15 % 2**64), max_size=12)


def laid(sets: list[set[int]]) -> Sets:
    count = np.array([len(one) for one in sets], np.uint32)
    start = np.concatenate([[0], np.cumsum(count)[:-1]]).astype(np.int64)
    return Sets(start, count, np.array([v for one in sets for v in one], np.uint64))


@settings(deadline=None)
@given(st.lists(some_set, min_size=1, max_size=5), st.lists(some_set, min_size=1, max_size=5))
def test_similarity_is_what_both_have_of_what_either_has(
    mine: list[set[int]], theirs: list[set[int]]
) -> None:
    """Copies are dropped by this number and by nothing else."""
    pairs = [(m, t) for m in range(len(mine)) for t in range(len(theirs))]
    pair_P = np.array([m << 32 | t for m, t in pairs], np.uint64)
    wanted = [
        len(mine[m] & theirs[t]) / len(mine[m] | theirs[t]) if mine[m] | theirs[t] else 0.0
        for m, t in pairs
    ]
    assert similarities(pair_P, laid(mine), laid(theirs), 0.0).tolist() == wanted
    found = similarities(pair_P, laid(mine), laid(theirs), 0.5)
    for value, truth in zip(found.tolist(), wanted, strict=True):
        assert value == truth or (value == 0.0 and truth < 0.5)


def test_sets_of_very_different_sizes_take_turns() -> None:
    """The table is made smaller and larger again as rows come; what it held must not show."""
    sizes = [1, 5000, 2, 300, 1]
    sets = [set(range(1, 2 * size + 1, 2)) for size in sizes]
    pairs = [(m, t) for m in range(5) for t in range(5)]
    pair_P = np.array([m << 32 | t for m, t in pairs], np.uint64)
    found = similarities(pair_P, laid(sets), laid(sets), 0.0)
    wanted = [min(sizes[m], sizes[t]) / max(sizes[m], sizes[t]) for m, t in pairs]
    assert found.tolist() == wanted


@pytest.mark.parametrize(("least", "mine", "theirs"), [(0.55, 55, 100), (0.07, 7, 100)])
def test_a_pair_of_just_the_least_similarity_is_found(least: float, mine: int, theirs: int) -> None:
    """A copy that a threshold names would stay, by a rounding error of the shortcut."""
    small, large = set(range(1, 2 * mine, 2)), set(range(1, 2 * theirs, 2))
    for one, other in ((small, large), (large, small)):
        found = similarities(np.array([0], np.uint64), laid([one]), laid([other]), least)
        assert found.tolist() == [mine / theirs]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=20),
    st.lists(st.integers(1, 9), min_size=5, max_size=5),
    st.lists(st.integers(1, 9), min_size=4, max_size=4),
    st.integers(1, 40),
)
def test_a_piece_is_as_long_as_its_different_sets_allow(
    pairs: list[tuple[int, int]], mine: list[int], theirs: list[int], most: int
) -> None:
    """One page that all others are compared with would be read again for every single pair."""

    def taken(piece: list[tuple[int, int]]) -> int:
        rows, others = {row for row, _ in piece}, {other for _, other in piece}
        return sum(mine[row] for row in rows) + sum(theirs[other] for other in others)

    wanted, piece = [], []
    for place, pair in enumerate(pairs):
        if piece and taken([*piece, pair]) > most:
            wanted.append(place)
            piece = []
        piece.append(pair)
    row_P, other_P = np.array(pairs, np.int64).reshape(-1, 2).T.copy()
    found = piece_starts(row_P, other_P, np.array(mine), np.array(theirs), most)
    assert found.tolist() == wanted
