"""Paths of addresses against the patterns of robots.txt files: RFC 9309, section 2.2.

``*`` stands for any characters and ``$`` for the end of the path; a pattern without ``$`` matches
whatever begins as it says. Of the rules that match, the longest counts, and of two as long the
one that allows.

B bytes of paths, N paths, P bytes of patterns, R rules with a pattern each, G groups of rules,
M names
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.leaf import leaf
from curation.kernels.members import Members, find

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
Bool_R = npt.NDArray[np.bool_]

HEX = np.frombuffer(b"0123456789ABCDEF", dtype=np.uint8)
_ROBOTS = np.frombuffer(b"/robots.txt", dtype=np.uint8)


class Rules(NamedTuple):
    """Rules that belong to names, a group to each.

    names    Members  M hosts or domains
    group    int64[M+1]  name m has the rules group[m]:group[m+1]
    flag_R   bool[R]  of robots.txt: the rule allows; of domains: it spares the domain itself
    data_P   uint8[P]  patterns, as ``spell_paths`` writes them, laid end to end
    offset   int64[R+1]  rule r has the pattern data_P[offset[r]:offset[r+1]]
    """

    names: Members
    group: I64
    flag_R: Bool_R
    data_P: U8
    offset: I64


@numba.njit(cache=True, nogil=True)
def spell_paths(data_B: U8, start_N: I64, stop_N: I64, pattern: bool) -> tuple[U8, I64]:
    """Write paths, or patterns, so that bytes can be compared; return them and their offsets.

    Whatever is no visible ASCII is percent-encoded, unreserved characters are not, and hex digits
    are upper-case (RFC 9309, 2.2.2). A path begins with a slash; its own ``*`` and ``$`` are
    percent-encoded, as is a ``$`` within a pattern.
    """
    offset = np.zeros(start_N.size + 1, dtype=np.int64)
    room = 0
    for n in range(start_N.size):
        room += 3 * (stop_N[n] - start_N[n]) + 1
    out_B = np.empty(room, dtype=np.uint8)
    for n in range(start_N.size):
        at, stop, made = start_N[n], stop_N[n], offset[n]
        if not pattern and (at == stop or data_B[at] != ord("/")):
            out_B[made] = ord("/")
            made += 1
            if at < stop and data_B[at] == ord("\\"):
                at += 1
        while at < stop:
            byte, width, plain = _character(data_B, at, stop)
            if pattern and width == 1:
                last = at + 1 == stop
                plain |= byte == ord("*") or (byte == ord("$") and last)
            made = _put(out_B, made, byte, plain)
            at += width
        offset[n + 1] = made
    return out_B[: offset[-1]], offset


@leaf
def _character(data_B: U8, at: int, stop: int) -> tuple[int, int, bool]:
    """Return a byte of a path, how many bytes spell it, and if it is written as itself."""
    byte = int(np.int64(data_B[at]))
    if byte != ord("%"):
        hidden = byte <= 0x20 or byte >= 0x7F or byte == ord("*") or byte == ord("$")
        return byte, 1, not hidden
    if at + 2 >= stop:
        return byte, 1, True
    high, low = _hex(int(np.int64(data_B[at + 1]))), _hex(int(np.int64(data_B[at + 2])))
    if high < 0 or low < 0:
        return byte, 1, True
    byte = 16 * high + low
    letter = ord("a") <= (byte | 0x20) <= ord("z")
    digit = ord("0") <= byte <= ord("9")
    mark = byte == ord("-") or byte == ord(".") or byte == ord("_") or byte == ord("~")
    return byte, 3, letter or digit or mark


@leaf
def _hex(byte: int) -> int:
    if ord("0") <= byte <= ord("9"):
        return byte - ord("0")
    lower = byte | 0x20
    return lower - ord("a") + 10 if ord("a") <= lower <= ord("f") else -1


@leaf
def _put(out_B: U8, made: int, byte: int, plain: bool) -> int:
    if plain:
        out_B[made] = byte
        return made + 1
    out_B[made] = ord("%")
    out_B[made + 1] = HEX[byte >> 4]
    out_B[made + 2] = HEX[byte & 15]
    return made + 3


@leaf
def matches(data_P: U8, at_p: int, stop_p: int, data_B: U8, at: int, stop: int) -> bool:
    """Return whether a pattern matches a path, both as ``spell_paths`` writes them."""
    to_end = stop_p > at_p and data_P[stop_p - 1] == ord("$")
    if to_end:
        stop_p -= 1
    star, retry = -1, at
    while True:
        if at_p == stop_p and (at == stop or not to_end):
            return True
        if at_p < stop_p and data_P[at_p] == ord("*"):
            at_p += 1
            star, retry = at_p, at
        elif at_p < stop_p and at < stop and data_P[at_p] == data_B[at]:
            at_p, at = at_p + 1, at + 1
        elif star < 0 or retry >= stop:
            return False
        else:
            retry += 1
            at_p, at = star, retry


@numba.njit(cache=True, nogil=True)
def disallowed(rules: Rules, host_B: U8, host_offset: I64, path_B: U8, offset: I64) -> I64:
    """Return int64[N]: the robots.txt rule that forbids each path of its host, -1 where none does.

    /robots.txt itself is always allowed.
    """
    found_N = np.full(offset.size - 1, -1, dtype=np.int64)
    for n in range(found_N.size):
        m = find(rules.names, host_B, host_offset[n], host_offset[n + 1])
        start, stop = offset[n], offset[n + 1]
        if m < 0 or _is_robots(path_B, start, stop):
            continue
        best, longest = -1, -1
        for r in range(rules.group[m], rules.group[m + 1]):
            first, last = rules.offset[r], rules.offset[r + 1]
            length = last - first
            better = length > longest or (length == longest and rules.flag_R[r])
            if better and matches(rules.data_P, first, last, path_B, start, stop):
                best, longest = r, length
        if best >= 0 and not rules.flag_R[best]:
            found_N[n] = best
    return found_N


@leaf
def _is_robots(path_B: U8, start: int, stop: int) -> bool:
    if stop - start != _ROBOTS.size:
        return False
    same = True
    for at in range(_ROBOTS.size):
        same &= path_B[start + at] == _ROBOTS[at]
    return same


@numba.njit(cache=True, nogil=True)
def covered(rules: Rules, host_B: U8, host_offset: I64, path_B: U8, offset: I64) -> I64:
    """Return int64[N]: the rule of a domain list that covers each address, -1 where none does.

    A rule covers the hosts below its domain, and the domain itself unless its flag says
    otherwise. Rules of the longest domain come first, and within it those given first.
    """
    found_N = np.full(offset.size - 1, -1, dtype=np.int64)
    for n in range(found_N.size):
        host, stop = host_offset[n], host_offset[n + 1]
        at = host
        while at < stop and found_N[n] < 0:
            m = find(rules.names, host_B, at, stop)
            if m >= 0:
                found_N[n] = _first_rule(rules, m, at > host, path_B, offset[n], offset[n + 1])
            while at < stop and host_B[at] != ord("."):
                at += 1
            at += 1
    return found_N


@leaf
def _first_rule(rules: Rules, m: int, below: bool, path_B: U8, start: int, stop: int) -> int:
    for r in range(rules.group[m], rules.group[m + 1]):
        first, last = rules.offset[r], rules.offset[r + 1]
        if not below and rules.flag_R[r]:
            continue
        if matches(rules.data_P, first, last, path_B, start, stop):
            return r
    return -1
