"""Addresses taken apart: the host, what follows it, the registered domain, the words.

What a host is follows tldextract's lenient reading, which takes addresses without a scheme too,
and browsers where the two differ: a backslash ends the host as a slash does. A host is made of
letters, digits, dots, hyphens and underscores, or is an IPv6 address in brackets, and is 253
bytes long at most, as DNS has it; anything else is no host.

B bytes of all addresses laid end to end, N addresses, M words
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
Bool_N = npt.NDArray[np.bool_]

HOST_BYTES = 253

#: What a byte is, as bits: it may stand in a host, in an IPv6 address, in a scheme, in a word.
IN_NAME, IN_IPV6, IN_SCHEME, IN_WORD = 1, 2, 4, 8
_ALNUM = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
KIND = np.zeros(256, dtype=np.uint8)
for _bytes, _kind in (
    (_ALNUM + b".-_", IN_NAME),
    (b"0123456789abcdefABCDEF:.", IN_IPV6),
    (_ALNUM + b"+-.", IN_SCHEME),
    (_ALNUM, IN_WORD),
):
    KIND[list(_bytes)] |= _kind

#: What a rule of the Public Suffix List says of the name under which it is kept.
PLAIN, WILDCARD, EXCEPTION = 1, 2, 4


class Parts(NamedTuple):
    """Where the parts of each address lie.

    host_B       uint8[B']   hosts, ASCII letters lower-cased, laid end to end
    host_offset  int64[N+1]  host n is host_B[host_offset[n]:host_offset[n+1]]; empty for none
    ascii_N      bool[N]     False where the host holds other characters, and was not judged
    begin_N      int64[N]    byte of the address itself, white space aside
    after_N      int64[N]    byte after the host, where a port may begin
    path_N       int64[N]    byte after the port
    stop_N       int64[N]    byte after the query; a fragment begins there
    """

    host_B: U8
    host_offset: I64
    ascii_N: Bool_N
    begin_N: I64
    after_N: I64
    path_N: I64
    stop_N: I64


def split_urls(data_B: U8, offset: I64) -> Parts:
    """Take addresses apart.

    data_B  uint8[B]    UTF-8, all addresses laid end to end
    offset  int64[N+1]  address n owns data_B[offset[n]:offset[n+1]]; need not start at 0
    """
    return Parts(*_split(data_B, offset))


@numba.njit(cache=True, nogil=True)
def _split(data_B: U8, offset: I64) -> tuple[U8, I64, Bool_N, I64, I64, I64, I64]:
    count = offset.size - 1
    host_B = np.empty(offset[count] - offset[0], dtype=np.uint8)
    host_offset = np.zeros(count + 1, dtype=np.int64)
    ascii_N = np.ones(count, dtype=np.bool_)
    begin_N, after_N = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    path_N, stop_N = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    made = 0
    for n in range(count):
        begin, stop = _trimmed(data_B, offset[n], offset[n + 1])
        at = _after_scheme(data_B, begin, stop)
        path = _past_authority(data_B, at, stop)
        start, after = _host_span(data_B, at, path)
        size, ascii_N[n] = _copy_host(data_B, start, after, host_B[made:])
        made += size
        host_offset[n + 1] = made
        begin_N[n], after_N[n], path_N[n] = begin, after, path
        stop_N[n] = _until_fragment(data_B, path, stop)
    return host_B[:made], host_offset, ascii_N, begin_N, after_N, path_N, stop_N


@leaf
def _trimmed(data_B: U8, begin: int, stop: int) -> tuple[int, int]:
    """Leave out spaces and control characters at either end."""
    while begin < stop and data_B[begin] <= 0x20:
        begin += 1
    while begin < stop and data_B[stop - 1] <= 0x20:
        stop -= 1
    return begin, stop


@leaf
def _after_scheme(data_B: U8, begin: int, stop: int) -> int:
    """Return where the authority begins: after ``scheme://`` or ``//`` if there is one."""
    at = begin
    while at < stop and KIND[data_B[at]] & IN_SCHEME:
        at += 1
    if begin < at < stop and data_B[at] == ord(":"):
        at += 1
    elif at > begin:
        return begin
    if at + 1 < stop and data_B[at] == ord("/") and data_B[at + 1] == ord("/"):
        return at + 2
    return begin


@leaf
def _past_authority(data_B: U8, at: int, stop: int) -> int:
    while at < stop:
        byte = data_B[at]
        if byte == ord("/") or byte == ord("?") or byte == ord("#") or byte == ord("\\"):
            break
        at += 1
    return at


@leaf
def _host_span(data_B: U8, at: int, stop: int) -> tuple[int, int]:
    """Return where the host of an authority begins, after user and password, and ends."""
    start = stop
    while start > at and data_B[start - 1] != ord("@"):
        start -= 1
    after = start
    if start < stop and data_B[start] == ord("["):
        while after < stop and data_B[after] != ord("]"):
            after += 1
        return start, min(after + 1, stop)
    while after < stop and data_B[after] != ord(":"):
        after += 1
    return start, after


@leaf
def _copy_host(data_B: U8, start: int, stop: int, out: U8) -> tuple[int, bool]:
    """Write a host in lower case; return its length, 0 if it is none, and if it is ASCII."""
    start, stop = _trimmed(data_B, start, stop)
    while start < stop and data_B[stop - 1] == ord("."):
        stop -= 1
    if stop - start > HOST_BYTES:
        return 0, True
    wanted, inner, end = IN_NAME, start, stop
    if stop - start > 3 and data_B[start] == ord("[") and data_B[stop - 1] == ord("]"):
        wanted, inner, end = IN_IPV6, start + 1, stop - 1
    fits, plain = True, True
    for at in range(start, stop):
        byte = data_B[at]
        out[at - start] = byte | 0x20 if ord("A") <= byte <= ord("Z") else byte
        plain &= byte < 0x80
        fits &= at < inner or at >= end or KIND[byte] & wanted != 0
    return (0, True) if plain and not fits else (stop - start, plain)


@leaf
def _until_fragment(data_B: U8, at: int, stop: int) -> int:
    while at < stop and data_B[at] != ord("#"):
        at += 1
    return at


@numba.njit(cache=True, nogil=True)
def gather(data_B: U8, start_N: I64, stop_N: I64) -> tuple[U8, I64]:
    """Return copies of spans laid end to end, and their offsets (int64[N+1])."""
    offset = np.zeros(start_N.size + 1, dtype=np.int64)
    for n in range(start_N.size):
        offset[n + 1] = offset[n] + max(stop_N[n] - start_N[n], 0)
    out_B = np.empty(offset[-1], dtype=np.uint8)
    for n in range(start_N.size):
        for at in range(offset[n + 1] - offset[n]):
            out_B[offset[n] + at] = data_B[start_N[n] + at]
    return out_B, offset


@numba.njit(cache=True, nogil=True)
def registered_domains(
    host_B: U8, host_offset: I64, suffixes: Members, kind_M: U8, depth: int
) -> I64:
    """Return where in ``host_B`` the registered domain of each host begins, -1 where it has none.

    suffixes  names of the Public Suffix List; ``*.ck`` and ``!www.ck`` are kept as ck and www.ck
    kind_M    uint8[M]  PLAIN, WILDCARD and EXCEPTION, for each name
    depth     labels of the longest name

    That is one label and the public suffix. A host that is a public suffix, or ends in none, has
    no registered domain.
    """
    start_N = np.full(host_offset.size - 1, -1, dtype=np.int64)
    for n in range(start_N.size):
        start, stop = host_offset[n], host_offset[n + 1]
        suffix = _public_suffix(host_B, start, stop, suffixes, kind_M, depth)
        if suffix - 2 < start or host_B[suffix - 2] == ord("."):
            continue
        start_N[n] = _label(host_B, start, suffix - 1)
    return start_N


@leaf
def _public_suffix(
    host_B: U8, start: int, stop: int, suffixes: Members, kind_M: U8, depth: int
) -> int:
    """Return where the longest public suffix of a host begins, ``start`` where it has none."""
    best, right, at = start, stop, stop + 1
    for _ in range(depth):
        if at <= start:
            break
        right, at = at, _label(host_B, start, at - 1)
        m = find(suffixes, host_B, at, stop)
        if m < 0:
            continue
        if kind_M[m] & EXCEPTION:
            return right
        if kind_M[m] & PLAIN:
            best = at
        if kind_M[m] & WILDCARD and at > start:
            best = _label(host_B, start, at - 1)
    return best


@leaf
def _label(host_B: U8, start: int, stop: int) -> int:
    """Return where the label that ends at ``stop`` begins."""
    while stop > start and host_B[stop - 1] != ord("."):
        stop -= 1
    return stop


@numba.njit(cache=True, nogil=True)
def bare_urls(
    data_B: U8, host_B: U8, host_offset: I64, begin_N: I64, after_N: I64, stop_N: I64
) -> tuple[U8, I64]:
    """Return each address as it is compared with others, and the offsets (int64[N+1]).

    That is host, port, path and query, without scheme, user, fragment and one slash at the end;
    an address without a host is itself.
    """
    count = begin_N.size
    room = host_B.size + 1
    for n in range(count):
        room += stop_N[n] - begin_N[n]
    out_B, offset = np.empty(room, dtype=np.uint8), np.zeros(count + 1, dtype=np.int64)
    made = 0
    for n in range(count):
        first = made
        for at in range(host_offset[n], host_offset[n + 1]):
            out_B[made] = host_B[at]
            made += 1
        for at in range(after_N[n] if made > first else begin_N[n], stop_N[n]):
            out_B[made] = data_B[at]
            made += 1
        if made - first > 1 and out_B[made - 1] == ord("/"):
            made -= 1
        offset[n + 1] = made
    return out_B[:made], offset


@numba.njit(cache=True, nogil=True)
def listed_words(data_B: U8, offset: I64, words: Members) -> tuple[I64, I64]:
    """Find the words of each address that a list holds.

    words    M members of lower-case letters a to z and digits
    returns  (int64[F], int64[N+1]): the members found in address n, each once and in the order in
             which they come, are found_F[offset[n]:offset[n+1]]

    A word is a run of ASCII letters and digits between other characters, in any case.
    """
    count = offset.size - 1
    found_F = np.empty(16, dtype=np.int64)
    found_offset = np.zeros(count + 1, dtype=np.int64)
    seen_M = np.full(words.offset.size, -1, dtype=np.int64)
    lower_B = np.empty(_longest(offset), dtype=np.uint8)
    made = 0
    for n in range(count):
        at, stop = offset[n], offset[n + 1]
        while at < stop:
            size, at = _next_word(data_B, at, stop, lower_B)
            m = find(words, lower_B, 0, size) if size else -1
            if m < 0 or seen_M[m] == n:
                continue
            seen_M[m] = n
            if made == found_F.size:
                larger_F = np.empty(2 * made, dtype=np.int64)
                larger_F[:made] = found_F
                found_F = larger_F
            found_F[made] = m
            made += 1
        found_offset[n + 1] = made
    return found_F[:made], found_offset


@leaf
def _longest(offset: I64) -> int:
    longest = 0
    for n in range(offset.size - 1):
        longest = max(longest, int(offset[n + 1] - offset[n]))
    return longest


@leaf
def _next_word(data_B: U8, at: int, stop: int, lower_B: U8) -> tuple[int, int]:
    """Write the next word in lower case; return its length, 0 at the end, and where it ends."""
    while at < stop and not KIND[data_B[at]] & IN_WORD:
        at += 1
    size = 0
    while at < stop and KIND[data_B[at]] & IN_WORD:
        byte = data_B[at]
        lower_B[size] = byte | 0x20 if byte >= ord("A") else byte
        size, at = size + 1, at + 1
    return size, at
