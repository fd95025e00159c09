from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.kernels import candidates as kernel


def rank_of(first: list[int], count: list[int], tie: list[int]) -> kernel.Preference:
    return kernel.Preference(
        np.array(first, np.uint64), np.array(count, np.uint32), np.array(tie, np.uint64)
    )


def order(rank: kernel.Preference) -> list[int]:
    """Rows, the most preferred first."""
    return np.lexsort((rank.tie_N, -rank.count_N.astype(int), rank.first_N)).tolist()


def pairs(keys: list[int], rank: kernel.Preference) -> list[tuple[int, int]]:
    """Return (row that would go, row that would stay), each once."""
    key = np.array(keys, np.uint64)
    by_key = np.argsort(key, kind="stable")
    found = kernel.bucket_pairs(key[by_key], by_key.astype(np.uint32), rank)
    return sorted({(int(p) >> 32, int(p) & 0xFFFFFFFF) for p in found.tolist()})


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2)), max_size=17))
def test_rows_of_a_small_bucket_are_all_compared_the_worse_with_the_better(
    rows: list[tuple[int, int, int]],
) -> None:
    """A pair that is left out is a copy that stays."""
    rank = rank_of([r[1] for r in rows], [r[2] for r in rows], list(range(len(rows))))
    place = {row: at for at, row in enumerate(order(rank))}
    keys = [r[0] for r in rows]
    wanted = sorted(
        (one, other)
        for one in range(len(rows))
        for other in range(len(rows))
        if keys[one] == keys[other] and place[other] < place[one]
    )
    assert pairs(keys, rank) == wanted


@pytest.mark.parametrize(("size", "pivots"), [(129, 129), (130, 129), (500, 129), (200_000, 20)])
def test_rows_of_a_flood_are_compared_with_the_best_alone(size: int, pivots: int) -> None:
    """A million pages of one template would make half a billion pairs."""
    random = np.random.default_rng(1)
    tie = random.permutation(size)
    rank = rank_of([0] * size, [7] * size, tie.tolist())
    keys, rows = np.zeros(size, np.uint64), np.arange(size, dtype=np.uint32)
    found = kernel.bucket_pairs(keys, rows, rank)
    best = set(np.argsort(tie)[:pivots].tolist())
    assert {*(found & np.uint64(0xFFFFFFFF)).tolist()} <= best
    assert len(found) == pivots * size - pivots * (pivots + 1) // 2
    assert len({*(found >> np.uint64(32)).tolist()}) == size - 1
    again = kernel.bucket_pairs(keys, rows[::-1].copy(), rank)
    assert sorted(again.tolist()) == sorted(found.tolist()), "the order of rows must not matter"


def test_a_bucket_never_has_more_pairs_than_the_limits_say() -> None:
    """Memory and time are planned by them."""
    for size in (2, 129, 1000, 10**5, 10**6, 10**7, 10**9):
        pivots = kernel.pivots_of(size)
        assert 1 <= pivots <= kernel.MOST_PIVOTS + 1
        assert pivots * size <= max(size, kernel.MOST_PAIRS)


@settings(deadline=None)
@given(st.lists(st.integers(0, 6), max_size=9), st.lists(st.integers(0, 6), max_size=9))
def test_rows_meet_the_rows_of_an_index_that_have_their_key(
    here: list[int], there: list[int]
) -> None:
    """A new crawl would be published with what last month's had already."""
    key_E, key_I = np.sort(np.array(here, np.uint64)), np.sort(np.array(there, np.uint64))
    rows = np.arange(len(here), dtype=np.uint32), np.arange(len(there), dtype=np.uint32)
    found = kernel.index_pairs(key_E, rows[0], key_I, rows[1])
    wanted = [
        (e, i) for e, a in enumerate(sorted(here)) for i, b in enumerate(sorted(there)) if a == b
    ]
    assert [(int(p) >> 32, int(p) & 0xFFFFFFFF) for p in found.tolist()] == wanted


def test_a_flood_of_an_index_is_met_by_its_first_rows_alone() -> None:
    """Two crawls that hold a million pages of one template would make a trillion pairs."""
    most = kernel.MOST_PIVOTS
    here, there = np.array([5] * 700 + [6], np.uint64), np.array([4, *[5] * most, 5, 6], np.uint64)
    rows = np.arange(len(here), dtype=np.uint32), np.arange(len(there), dtype=np.uint32)
    found = kernel.index_pairs(here, rows[0], there, rows[1])
    wanted = [(e, i) for e in range(700) for i in range(1, 1 + most)] + [(700, most + 2)]
    assert [(int(p) >> 32, int(p) & 0xFFFFFFFF) for p in found.tolist()] == wanted


def test_pairs_of_many_buckets_are_all_kept() -> None:
    """There is room for a number of pairs at first; those made before it grew must not go."""
    size = kernel.MOST_PIVOTS + 30
    keys = np.repeat(np.arange(40, dtype=np.uint64), size)
    rank = rank_of([0] * len(keys), [1] * len(keys), list(range(len(keys))))
    pair_P = kernel.bucket_pairs(keys, np.arange(len(keys), dtype=np.uint32), rank)
    upper, lower = pair_P >> np.uint64(32), pair_P & np.uint64(0xFFFFFFFF)
    assert (upper // np.uint64(size)).tolist() == (lower // np.uint64(size)).tolist()
    pivots = kernel.pivots_of(size)
    assert (
        np.unique(pair_P).size == pair_P.size == 40 * (pivots * size - pivots * (pivots + 1) // 2)
    )
