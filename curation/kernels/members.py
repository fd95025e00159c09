"""Lists of byte strings as hash tables: which member, if any, a span of bytes equals.

A block list may hold millions of entries, and each worker holds all of them: a Python set takes
some 130 bytes for each, this table the entry's own bytes and 16 to 24 more. Members are compared
byte for byte, so two strings with one hash are never taken for each other.

B bytes of the rows, N rows, K bytes of all members laid end to end, M members, H slots
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.leaf import leaf

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

#: FNV-1a, 64 bits: http://www.isthe.com/chongo/tech/comp/fnv
_BASIS, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_HALF = np.uint64(32)


class Members(NamedTuple):
    """A list that can be looked up.

    data_K   uint8[K]    the members, laid end to end
    offset   int64[M+1]  member m is data_K[offset[m]:offset[m+1]]
    slot_H   int32[H]    which member lies in a slot, -1 for none; H is a power of two
    """

    data_K: U8
    offset: I64
    slot_H: I32


def make_members(data_K: U8, offset: I64) -> Members:
    """Return a table of the members; of equal ones the first is found."""
    slots = 1 << max(2 * (offset.size - 1), 1).bit_length()
    slot_H = np.full(slots, -1, dtype=np.int32)
    made = Members(np.ascontiguousarray(data_K), np.ascontiguousarray(offset), slot_H)
    _fill(made)
    return made


@numba.njit(cache=True, nogil=True)
def find_spans(members: Members, data_B: U8, start_N: I64, stop_N: I64) -> I64:
    """Return int64[N]: which member data_B[start_N[n]:stop_N[n]] equals, -1 for none."""
    found_N = np.empty(start_N.size, dtype=np.int64)
    for n in range(start_N.size):
        found_N[n] = find(members, data_B, start_N[n], stop_N[n])
    return found_N


@leaf
def find(members: Members, data_B: U8, start: int, stop: int) -> int:
    """Return which member the bytes from ``start`` to ``stop`` equal, -1 for none."""
    slot = _slot(members, data_B, start, stop)
    return int(members.slot_H[slot])


@numba.njit(cache=True, nogil=True)
def _fill(members: Members) -> None:
    for m in range(members.offset.size - 1):
        slot = _slot(members, members.data_K, members.offset[m], members.offset[m + 1])
        if members.slot_H[slot] < 0:
            members.slot_H[slot] = m


@leaf
def _slot(members: Members, data_B: U8, start: int, stop: int) -> int:
    """Return the slot that holds the bytes, or the empty one where they would go."""
    value = _BASIS
    for at in range(start, stop):
        value = (value ^ np.uint64(data_B[at])) * _PRIME
    last = members.slot_H.size - 1
    slot = int(value ^ (value >> _HALF)) & last
    while members.slot_H[slot] >= 0:
        m = members.slot_H[slot]
        first = members.offset[m]
        if members.offset[m + 1] - first == stop - start:
            same = 0
            while same < stop - start and members.data_K[first + same] == data_B[start + same]:
                same += 1
            if same == stop - start:
                break
        slot = (slot + 1) & last
    return slot
