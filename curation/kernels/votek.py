"""Vote-k: rows that many rows are near to, and few of whose voters have been heard already.

Weights are whole numbers, so that sums are exact and a tie is a tie; it goes to the smaller index.

N rows, K neighbours of each, E votes (neighbours that are there), M rows chosen, L levels of weight
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]


@numba.njit(cache=True, nogil=True)
def vote_k(neighbour_NK: I32, weight_L: I64, wanted: int) -> I64:
    """Choose rows one by one, each time the one with the most votes.

    A row votes for its neighbours until it is chosen itself; its vote weighs weight_L[c], c being
    how many of its neighbours have been chosen (the last weight where c is L or more).

    neighbour_NK  int32[N, K]  distinct rows near each row, itself aside; -1 for none
    weight_L      int64[L]     non-increasing; N times the first fits into 63 bits
    returns       int64[M]     rows in the order of choice; M is the smaller of wanted and N
    """
    count = len(neighbour_NK)
    start, voter_E = _voters(neighbour_NK)
    votes_N = np.zeros(count, dtype=np.int64)
    for n in range(count):
        votes_N[n] = (start[n + 1] - start[n]) * weight_L[0]
    heard_N = np.zeros(count, dtype=np.int64)
    is_chosen_N = np.zeros(count, dtype=np.bool_)
    chosen_M = np.empty(min(wanted, count), dtype=np.int64)
    for m in range(chosen_M.size):
        best = _highest(votes_N, is_chosen_N)
        chosen_M[m] = best
        is_chosen_N[best] = True
        _change(votes_N, neighbour_NK[best], -_level(weight_L, heard_N[best]))
        for e in range(start[best], start[best + 1]):
            voter = voter_E[e]
            before = _level(weight_L, heard_N[voter])
            heard_N[voter] += 1
            if not is_chosen_N[voter]:
                after = _level(weight_L, heard_N[voter])
                _change(votes_N, neighbour_NK[voter], after - before)
    return chosen_M


@numba.njit(cache=True, nogil=True)
def _voters(neighbour_NK: I32) -> tuple[I64, I32]:
    """Return (start int64[N+1], voter int32[E]): who votes for each row, in ascending order."""
    count, width = neighbour_NK.shape
    start = np.zeros(count + 1, dtype=np.int64)
    for n in range(count):
        for k in range(width):
            if neighbour_NK[n, k] >= 0:
                start[neighbour_NK[n, k] + 1] += 1
    for n in range(count):
        start[n + 1] += start[n]
    at = start[:-1].copy()
    voter_E = np.empty(start[count], dtype=np.int32)
    for n in range(count):
        for k in range(width):
            row = neighbour_NK[n, k]
            if row >= 0:
                voter_E[at[row]] = n
                at[row] += 1
    return start, voter_E


@numba.njit(cache=True, nogil=True)
def _highest(votes_N: I64, is_chosen_N: npt.NDArray[np.bool_]) -> int:
    best = -1
    for n in range(votes_N.size):
        if not is_chosen_N[n] and (best < 0 or votes_N[n] > votes_N[best]):
            best = n
    return best


@numba.njit(cache=True, nogil=True)
def _level(weight_L: I64, heard: int) -> np.int64:
    weight: np.int64 = weight_L[min(heard, weight_L.size - 1)]
    return weight


@numba.njit(cache=True, nogil=True)
def _change(votes_N: I64, neighbour_K: I32, by: np.int64) -> None:
    for k in range(neighbour_K.size):
        if neighbour_K[k] >= 0:
            votes_N[neighbour_K[k]] += by
