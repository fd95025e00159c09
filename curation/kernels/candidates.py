"""Which documents are worth comparing: those that share a band of their sketches.

A bucket holds the rows with one key of one band. Its rows are compared with each other or, where
they are many, with the few that are preferred most, so that a million pages of one template give
a million pairs and not half a billion. Which ones these are depends on the rows' preference alone,
never on their order.

A pair is one number: the row that would go in the upper 32 bits, the one that would stay in the
lower. "Better" means preferred: a smaller ``first``, then a greater count, then a smaller ``tie``.

N rows, E entries of a band (a key and a row), P pairs, K pivots of a bucket, I rows of an index
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.leaf import Int, leaf

U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

#: Rows of a large bucket that all others in it are compared with.
MOST_PIVOTS = 128
#: Comparisons of one bucket beyond which it has fewer pivots, down to a single one.
MOST_PAIRS = 1 << 22


class Preference(NamedTuple):
    """Which of two rows stays, as arrays over all rows.

    first_N  uint64[N]  the user's rule; smaller is better
    count_N  uint32[N]  shingles; more are better
    tie_N    uint64[N]  hash of the id
    """

    first_N: U64
    count_N: U32
    tie_N: U64


@leaf
def is_better(one: Int, other: Int, rank: Preference) -> bool:
    """Say whether a row is preferred to another."""
    if rank.first_N[one] != rank.first_N[other]:
        return bool(rank.first_N[one] < rank.first_N[other])
    if rank.count_N[one] != rank.count_N[other]:
        return bool(rank.count_N[one] > rank.count_N[other])
    return bool(rank.tie_N[one] < rank.tie_N[other])


@leaf
def pivots_of(size: int) -> int:
    """Return how many pivots a bucket of so many rows has: all that it has, if they are few."""
    return min(size, MOST_PIVOTS + 1, max(1, MOST_PAIRS // size))


@numba.njit(cache=True, nogil=True)
def bucket_pairs(key_E: U64, row_E: U32, rank: Preference) -> U64:
    """Return the pairs of one band's buckets; a pair may come twice.

    key_E     uint64[E]  keys, ascending
    row_E     uint32[E]  their rows
    rank      which of two rows stays
    """
    pair_P = np.empty(max(1024, key_E.size), dtype=np.uint64)
    pivot_K = np.empty(MOST_PIVOTS + 1, dtype=np.int64)
    made, start = 0, 0
    while start < key_E.size:
        stop = start + 1
        while stop < key_E.size and key_E[stop] == key_E[start]:
            stop += 1
        bucket_B = row_E[start:stop]
        start = stop
        if bucket_B.size < 2:
            continue
        pivots = pivots_of(bucket_B.size)
        if made + pivots * bucket_B.size > pair_P.size:
            larger_P = np.empty(2 * pair_P.size + pivots * bucket_B.size, dtype=np.uint64)
            larger_P[:made] = pair_P[:made]
            pair_P = larger_P
        _choose(bucket_B, pivot_K[:pivots], rank)
        for k in range(pivots):
            pivot = pivot_K[k]
            for row in bucket_B:
                if is_better(pivot, row, rank):
                    pair_P[made] = np.uint64(row) << np.uint64(32) | np.uint64(pivot)
                    made += 1
    return pair_P[:made].copy()


@leaf
def _choose(bucket_B: U32, pivot_K: I64, rank: Preference) -> None:
    """Fill in the best rows of a bucket, the best one first."""
    held = 0
    for row in bucket_B:
        if held == pivot_K.size and not is_better(row, pivot_K[-1], rank):
            continue
        held = min(held + 1, pivot_K.size)
        at = held - 1
        while at > 0 and is_better(row, pivot_K[at - 1], rank):
            pivot_K[at] = pivot_K[at - 1]
            at -= 1
        pivot_K[at] = row


@numba.njit(cache=True, nogil=True)
def index_pairs(key_E: U64, row_E: U32, key_I: U64, row_I: U32) -> U64:
    """Return the pairs of rows with rows of an index that share a band; a pair may come twice.

    key_E, row_E  one band's keys of the rows, ascending, and their rows
    key_I, row_I  the same band's keys of the index, ascending, and their rows
    returns       uint64[P]: the row in the upper 32 bits, the index's row in the lower
    """
    pair_P = np.empty(max(1024, key_E.size), dtype=np.uint64)
    made, low = 0, 0
    for e in range(key_E.size):
        key = key_E[e]
        if e == 0 or key != key_E[e - 1]:
            low += np.searchsorted(key_I[low:], key)
        at = low
        while at < key_I.size and key_I[at] == key and at - low < MOST_PIVOTS:
            if made == pair_P.size:
                larger_P = np.empty(2 * pair_P.size, dtype=np.uint64)
                larger_P[:made] = pair_P[:made]
                pair_P = larger_P
            pair_P[made] = np.uint64(row_E[e]) << np.uint64(32) | np.uint64(row_I[at])
            made, at = made + 1, at + 1
    return pair_P[:made].copy()
