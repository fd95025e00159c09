"""A set of hashes that is filled for one row and emptied for the next.

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
#: Slots for each key that may come, so that most keys are found at the first look.
_ROOM = 2


class Table(NamedTuple):
    """A set of keys.

    key_T   uint64[T]  0 for an empty slot; only the first ``last_1[0] + 1`` are in use, so that
                       a short text's table stays in the processor's cache
    last_1  int64[1]
    """

    key_T: U64
    last_1: I64


@numba.njit(cache=True, nogil=True)
def make_table(keys: int) -> Table:
    """Return a set with room for so many keys."""
    return Table(np.zeros(_slots(keys), dtype=np.uint64), np.zeros(1, dtype=np.int64))


@leaf
def _slots(keys: int) -> int:
    slots = 256
    while slots < _ROOM * keys:
        slots *= 2
    return slots


@leaf
def empty(table: Table, keys: int) -> None:
    """Empty the set; it is to take so many keys, of which ``make_table`` knew."""
    slots = _slots(keys)
    table.key_T[:slots] = 0
    table.last_1[0] = slots - 1


@leaf
def add(table: Table, key: np.uint64) -> None:
    """Put a key in."""
    slot = np.int64((key * _MIX) >> np.uint64(24)) & table.last_1[0]
    while table.key_T[slot] and table.key_T[slot] != key:
        slot = (slot + 1) & table.last_1[0]
    table.key_T[slot] = key


@leaf
def has(table: Table, key: np.uint64) -> bool:
    """Say whether a key was put in."""
    slot = np.int64((key * _MIX) >> np.uint64(24)) & table.last_1[0]
    while table.key_T[slot]:
        if table.key_T[slot] == key:
            return True
        slot = (slot + 1) & table.last_1[0]
    return False
