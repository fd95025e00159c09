"""Groups of documents out of pairs of them.

Two readings of "the same group" are at hand. ``join`` makes connected components: whatever is
chained together is one group, as unverified deduplication has it. ``settle`` breaks chains: a row
goes only if it is paired with a row that stays, and two rows that stay are never paired. Taking
rows from the most preferred to the least, each stays unless it is paired with one that stayed;
there is one such outcome, and it does not depend on the order in which pairs are looked at.

A pair is one number, see ``candidates.py``: the row that would go above, the one that would stay
below. N rows, P pairs
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.candidates import Preference, is_better
from curation.kernels.leaf import Int, leaf

F64 = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

#: What is known of a row.
STAYS, OPEN, GOES = 0, 1, 2

_LOWER = np.uint64(0xFFFFFFFF)


@numba.njit(cache=True, nogil=True)
def open_rows(pair_P: U64, state_N: U8) -> None:
    """Mark as OPEN the rows that a pair might make go, but for those that go already."""
    for p in range(pair_P.size):
        row = np.int64(pair_P[p] >> np.uint64(32))
        if state_N[row] == STAYS:
            state_N[row] = OPEN


@numba.njit(cache=True, nogil=True)
def settle(pair_P: U64, state_N: U8, backwards: bool) -> tuple[int, int]:
    """Decide the OPEN rows that can be decided; return how many were, and how many were not.

    pair_P   uint64[P]  all pairs of the rows that would go, ascending
    state_N  uint8[N]   STAYS, OPEN or GOES; changed in place
    """
    decided, left, done = 0, 0, 0
    while done < pair_P.size:
        at = pair_P.size - 1 - done if backwards else done
        row = np.int64(pair_P[at] >> np.uint64(32))
        repeats, free = False, True
        state = state_N[row]
        while done < pair_P.size:
            at = pair_P.size - 1 - done if backwards else done
            if np.int64(pair_P[at] >> np.uint64(32)) != row:
                break
            other = state_N[np.int64(pair_P[at] & _LOWER)]
            if other == STAYS:
                repeats = True
            elif other == OPEN:
                free = False
            done += 1
        if state != OPEN:
            continue
        if repeats or free:
            state_N[row] = GOES if repeats else STAYS
            decided += 1
        else:
            left += 1
    return decided, left


@numba.njit(cache=True, nogil=True)
def choose_twins(
    pair_P: U64,
    similarity_P: F64,
    state_N: U8,
    twin_N: I64,
    twin_similarity_N: F64,
    rank: Preference,
) -> None:
    """Give each row that goes the row it is most like among those that stay.

    twin_N             int64[N]    -1 where none has been found yet; changed in place
    twin_similarity_N  float64[N]  likewise
    rank               which of two equals is taken
    """
    for p in range(pair_P.size):
        row = np.int64(pair_P[p] >> np.uint64(32))
        other = np.int64(pair_P[p] & _LOWER)
        if state_N[row] != GOES or state_N[other] != STAYS:
            continue
        known, found = twin_N[row], similarity_P[p]
        if known >= 0 and found < twin_similarity_N[row]:
            continue
        if known < 0 or found > twin_similarity_N[row] or is_better(other, known, rank):
            twin_N[row] = other
            twin_similarity_N[row] = found


@numba.njit(cache=True, nogil=True)
def join(pair_P: U64, parent_N: U32, rank: Preference) -> None:
    """Unite the components of each pair's rows; a component's root is the row preferred most.

    parent_N  uint32[N]  each row's parent, its own number for a root; changed in place
    """
    for p in range(pair_P.size):
        one = root_of(np.int64(pair_P[p] >> np.uint64(32)), parent_N)
        other = root_of(np.int64(pair_P[p] & _LOWER), parent_N)
        if one == other:
            continue
        if is_better(one, other, rank):
            parent_N[other] = one
        else:
            parent_N[one] = other


@leaf
def root_of(row: Int, parent_N: U32) -> Int:
    """Return the root of a row's component, halving the way to it."""
    while parent_N[row] != row:
        parent_N[row] = parent_N[parent_N[row]]
        row = np.int64(parent_N[row])
    return row


@numba.njit(cache=True, nogil=True)
def roots(parent_N: U32) -> I64:
    """Return int64[N]: the root of each row's component."""
    root_N = np.empty(parent_N.size, dtype=np.int64)
    for n in range(parent_N.size):
        root_N[n] = root_of(n, parent_N)
    return root_N
