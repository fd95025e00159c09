"""How alike documents really are: the Jaccard similarity of their sets of shingles.

P pairs, S shingles, T slots of a table, M sets, K pieces
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.leaf import leaf

F64 = npt.NDArray[np.float64]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

_LOWER = np.uint64(0xFFFFFFFF)


class Sets(NamedTuple):
    """Sets of shingles: row n's are shingle_S[start_N[n]:][:count_N[n]].

    start_N    int64[N]
    count_N    uint32[N]
    shingle_S  uint64[S]  different ones
    """

    start_N: I64
    count_N: U32
    shingle_S: U64


@numba.njit(cache=True, nogil=True)
def similarities(pair_P: U64, sets: Sets, others: Sets, least: float) -> F64:
    """Return float64[P]: the Jaccard similarity of each pair.

    It is 0 where the sizes of the two sets show that it is below ``least``.

    pair_P     uint64[P]  a row in the upper 32 bits, one of the others in the lower; ascending,
                          so that a row's table is made once for all its pairs
    sets       of the rows
    others     of the others; they may be the very same
    """
    similarity_P = np.empty(pair_P.size, dtype=np.float64)
    table_T = np.empty(2, dtype=np.uint64)
    held, slots = np.int64(-1), 2
    for p in range(pair_P.size):
        row = np.int64(pair_P[p] >> np.uint64(32))
        other = np.int64(pair_P[p] & _LOWER)
        mine_S = sets.shingle_S[sets.start_N[row] :][: sets.count_N[row]]
        theirs_S = others.shingle_S[others.start_N[other] :][: others.count_N[other]]
        # a quotient rounds as the similarity does, a product might overshoot it
        larger = max(mine_S.size, theirs_S.size)
        if larger == 0 or min(mine_S.size, theirs_S.size) / larger < least:
            similarity_P[p] = 0.0
            continue
        if row != held:
            while slots < 4 * mine_S.size:
                slots *= 2
            while slots > 8 * mine_S.size and slots > 2:
                slots //= 2
            if slots > table_T.size:
                table_T = np.empty(slots, dtype=np.uint64)
            _fill(mine_S, table_T[:slots])
            held = row
        shared = _count_held(theirs_S, table_T[:slots])
        both = mine_S.size + theirs_S.size - shared
        similarity_P[p] = shared / both if both > 0 else 0.0
    return similarity_P


@numba.njit(cache=True, nogil=True)
def piece_starts(
    row_P: I64, other_P: I64, bytes_M: I64, other_bytes_M: I64, most_bytes: int
) -> I64:
    """Return int64[K]: where to cut pairs so that what a piece looks at fits in memory.

    A set counts once in a piece, however many pairs have it. A pair that is larger than all
    memory is a piece by itself.

    row_P, other_P          int64[P]  the sets of each pair, as places in the next two
    bytes_M, other_bytes_M  int64[M]  what each set takes
    returns                 the first pair of each piece but for the first piece
    """
    piece_M = np.full(bytes_M.size, -1, dtype=np.int64)  # the latest piece that has the set
    other_piece_M = np.full(other_bytes_M.size, -1, dtype=np.int64)
    start_K = np.empty(row_P.size, dtype=np.int64)
    piece, taken, first = 0, 0, 0
    for p in range(row_P.size):
        row, other = row_P[p], other_P[p]
        added = bytes_M[row] if piece_M[row] != piece else 0
        added += other_bytes_M[other] if other_piece_M[other] != piece else 0
        if p > first and taken + added > most_bytes:
            start_K[piece] = p
            piece, taken, first = piece + 1, 0, p
            added = bytes_M[row] + other_bytes_M[other]
        piece_M[row] = other_piece_M[other] = piece
        taken += added
    return start_K[:piece].copy()


@leaf
def _fill(shingle_S: U64, table_T: U64) -> None:
    table_T[:] = 0
    mask = np.uint64(table_T.size - 1)
    for s in range(shingle_S.size):
        value = shingle_S[s] | np.uint64(1)  # an empty slot is 0
        slot = (value >> np.uint64(20)) & mask
        while table_T[slot] != 0:
            slot = (slot + np.uint64(1)) & mask
        table_T[slot] = value


@leaf
def _count_held(shingle_S: U64, table_T: U64) -> int:
    mask, found = np.uint64(table_T.size - 1), 0
    for s in range(shingle_S.size):
        value = shingle_S[s] | np.uint64(1)
        slot = (value >> np.uint64(20)) & mask
        while table_T[slot] != 0 and table_T[slot] != value:
            slot = (slot + np.uint64(1)) & mask
        found += table_T[slot] == value
    return found
