"""A set of hashes that is filled for one row and emptied for the next by counting on.

T slots, a power of two
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.leaf import leaf

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

_MIX = np.uint64(0xBF58476D1CE4E5B9)


class Table(NamedTuple):
    """A set of keys that is emptied by counting on.

    key_T    uint64[T]
    stamp_T  int64[T]   the row that a slot was filled for
    now_1    int64[1]   the row at hand
    """

    key_T: U64
    stamp_T: I64
    now_1: I64


@numba.njit(cache=True, nogil=True)
def make_table(least: int) -> Table:
    """Return an empty set with so many slots at least."""
    size = 1 << 12
    while size < least:
        size *= 2
    return Table(
        np.empty(size, dtype=np.uint64),
        np.zeros(size, dtype=np.int64),
        np.zeros(1, dtype=np.int64),
    )


@leaf
def add(table: Table, key: np.uint64) -> None:
    """Put a key in."""
    last = table.key_T.size - 1
    slot = np.int64((key * _MIX) >> np.uint64(24)) & last
    while table.stamp_T[slot] == table.now_1[0]:
        if table.key_T[slot] == key:
            return
        slot = (slot + 1) & last
    table.key_T[slot], table.stamp_T[slot] = key, table.now_1[0]


@leaf
def has(table: Table, key: np.uint64) -> bool:
    """Say whether a key was put in."""
    last = table.key_T.size - 1
    slot = np.int64((key * _MIX) >> np.uint64(24)) & last
    while table.stamp_T[slot] == table.now_1[0]:
        if table.key_T[slot] == key:
            return True
        slot = (slot + 1) & last
    return False
