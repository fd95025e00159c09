"""Addresses of machines on the internet: IPv4 and IPv6 that lead to somebody.

Public is what IANA's special-purpose registries call globally reachable (Python's
``ipaddress.is_global``), with these differences, each to keep C++ names such as ``a::b`` out or a
person's address in: an IPv6 address must lie in 2000::/3, all that IANA has handed out; one that
holds an IPv4 address (mapped, NAT64, 6to4) is judged by that; addresses of groups (multicast) are
nobody's.

B bytes of all documents laid end to end, N documents, A anchors, S spans, G 8 groups of 16 bits,
W words
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.pii import ALNUM, CLASS, DIGIT, HEX, IP, LETTER, UNDER, WIDE

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

#: Networks whose addresses lead to nobody: first address and bits. Sources: the IANA IPv4
#: special-purpose address registry; 192.0.0.0/24 as a whole; multicast, RFC 5771.
_NETWORKS = """
    0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24
    192.0.2.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4
    240.0.0.0/4
"""


def _range(network: str) -> tuple[int, int]:
    address, bits = network.split("/")
    low = int.from_bytes(bytes(map(int, address.split("."))), "big")
    return low, low + (1 << (32 - int(bits))) - 1


_RESERVED = np.array([_range(network) for network in _NETWORKS.split()])

#: Words before a number with three dots that make it no address: "version 1.2.3.4".
_VERSION = b"v ver version versions rev revision release releases build firmware update patch"
_VERSION += (
    b" section sections sec chapter clause article paragraph figure table appendix oid driver"
)
#: Words after "and" or "or" that do.
_LATER = b"later earlier above below newer older higher lower prior before up"
#: Words that make four single digits an address.
_ADDRESS = b"ip ips ipv address addresses host hosts server servers dns nameserver gateway client"
_ADDRESS += b" from to ping at via"


def _hashed(word: bytes) -> int:
    """Return the hash that ``_word_before`` gives a word of lower case."""
    value = 0
    for byte in reversed(word):
        value = value * 31 + byte
    return value


_VERSION_W = np.array([_hashed(word) for word in _VERSION.split()])
_LATER_W = np.array([_hashed(word) for word in _LATER.split()])
_ADDRESS_W = np.array([_hashed(word) for word in _ADDRESS.split()])


@numba.njit(cache=True, nogil=True)
def find_addresses(data_B: U8, offset: I64, place_A: I64, row_A: I64) -> I64:
    """Return the spans of public IPv4 and IPv6 addresses.

    data_B   uint8[B]       UTF-8, all documents laid end to end
    offset   int64[N+1]     document n owns data_B[offset[n]:offset[n+1]]
    place_A  int64[A]       anchors, and row_A the document of each
    returns  int64[S, 3]    kind, first byte, byte after the last
    """
    span_SF = np.empty((place_A.size, 3), dtype=np.int64)
    group_G = np.zeros(8, dtype=np.int64)
    made, version = 0, -9
    for a in range(place_A.size):
        at = place_A[a]
        first, last = offset[row_A[a]], offset[row_A[a] + 1]
        start, stop = at, 0
        if CLASS[data_B[at]] & DIGIT:
            stop, version = _ipv4(data_B, first, at, last, version)
        elif data_B[at] == 0x3A:
            start = _ipv6_start(data_B, first, at)
            stop = _ipv6(data_B, start, last, group_G) if start >= 0 else 0
        if stop:
            span_SF[made, 0], span_SF[made, 1], span_SF[made, 2] = IP, start, stop
            made += 1
    return span_SF[:made].copy()


# ---------------------------------------------------------------- IPv4


@numba.njit(cache=True, nogil=True)
def _ipv4(data_B: U8, first: int, at: int, last: int, version: int) -> tuple[int, int]:
    """Return where a public IPv4 address that begins at ``at`` ends; 0 where there is none.

    version  where the last version number ended, which is returned too: in "versions 9.0.115.0
             and 9.0.124.0" the second is none either
    """
    value, stop = _four_octets(data_B, at, last)
    if stop == 0:
        return 0, version
    if (first <= version and 2 <= at - version <= 6) or _word_before(data_B, first, at, _VERSION_W):
        return 0, stop
    if _word_after(data_B, stop, last):
        return 0, stop
    if not _is_public(value) or _touches(data_B, stop, last) or not _may_begin(data_B, first, at):
        return 0, version
    return (0 if _is_section(data_B, first, at, stop, last) else stop), version


@numba.njit(cache=True, nogil=True)
def _four_octets(data_B: U8, at: int, last: int) -> tuple[int, int]:
    """Return the value and the end of four numbers below 256 with dots between; else (0, 0)."""
    value = 0
    for octet in range(4):
        if octet:
            if at >= last or data_B[at] != 0x2E:
                return 0, 0
            at += 1
        begin, number = at, 0
        while at < last and at - begin < 4 and CLASS[data_B[at]] & DIGIT:
            number = number * 10 + data_B[at] - 48
            at += 1
        width = at - begin
        if width == 0 or number > 255 or (width > 1 and data_B[begin] == 48):
            return 0, 0
        value = value << 8 | number
    return value, at


@numba.njit(cache=True, nogil=True)
def _is_public(value: int) -> bool:
    for network in range(_RESERVED.shape[0]):
        if _RESERVED[network, 0] <= value <= _RESERVED[network, 1]:
            return False
    return True


@numba.njit(cache=True, nogil=True)
def _touches(data_B: U8, stop: int, last: int) -> bool:
    """Say whether the number goes on: "1.2.3.4.5", "1.2.3.4-rc1", "1.2.3.4a"."""
    if stop >= last:
        return False
    if CLASS[data_B[stop]] & (ALNUM | UNDER):
        return True
    if stop + 1 >= last:
        return False
    after = CLASS[data_B[stop + 1]]
    if data_B[stop] == 0x2E:
        return bool(after & ALNUM)
    return bool(data_B[stop] in (0x2D, 0x2B) and after & LETTER)


@numba.njit(cache=True, nogil=True)
def _may_begin(data_B: U8, first: int, at: int) -> bool:
    """Say whether an address may begin after the byte before: not in "v1.2.3.4", "==1.2.3.4"."""
    if at == first:
        return True
    byte = data_B[at - 1]
    if CLASS[byte] & (ALNUM | UNDER) or byte == 0x2E or byte == 0x5E or byte == 0x7E:
        return False
    if byte == 0x23 or byte == 0xA7:  # '#', the section sign's second byte
        return False
    if at - 1 == first:
        return True
    before = data_B[at - 2]
    if byte == 0x2D or byte == 0x2F:  # package-1.2.3.4, Product/1.2.3.4
        return not CLASS[before] & LETTER
    compares = before == 0x3D or before == 0x3E or before == 0x3C or before == 0x7E
    return not (byte == 0x3D and compares)


@numba.njit(cache=True, nogil=True)
def _word_before(data_B: U8, first: int, at: int, word_W: I64) -> bool:
    """Say whether the word before, past at most three bytes of marks, is a certain one."""
    low = at
    while low > first and at - low < 3 and not CLASS[data_B[low - 1]] & ~WIDE:
        low -= 1
    stop, value = low, 0
    while low > first and stop - low < 12 and CLASS[data_B[low - 1]] & LETTER:
        value = value * 31 + (data_B[low - 1] | 0x20)
        low -= 1
    if low == stop:
        return False
    known = False
    for word in word_W:
        known |= word == value
    return known


@numba.njit(cache=True, nogil=True)
def _word_after(data_B: U8, stop: int, last: int) -> bool:
    """Say whether "and later", "or newer" or the like follows, as behind a release's number."""
    at = stop + 1
    while at < last and at - stop < 5 and CLASS[data_B[at]] & LETTER:
        at += 1
    if at - stop < 3 or at - stop > 4 or data_B[stop] != 0x20 or data_B[at - 1] not in (0x64, 0x72):
        return False
    low = at = at + 1
    while at < last and at - low < 8 and CLASS[data_B[at]] & LETTER:
        at += 1
    return at > low and _word_before(data_B, low, at, _LATER_W)


@numba.njit(cache=True, nogil=True)
def _is_section(data_B: U8, first: int, at: int, stop: int, last: int) -> bool:
    """Say whether four single digits number a section or a release: "4.1.3.1 Key Management".

    Ten thousand addresses of four thousand million are so short, and what lies there is a
    resolver or an example. It counts where its digits repeat (8.8.4.4), in a URL, before a port
    or a mask, in quotes, or behind a word such as "address".
    """
    if stop - at > 7 or (data_B[at] == data_B[at + 2] and data_B[at + 4] == data_B[at + 6]):
        return False
    if at > first and data_B[at - 1] in (0x2F, 0x22, 0x27, 0x60, 0x5B, 0x40):
        return False
    if stop + 1 < last and data_B[stop] in (0x2F, 0x3A) and CLASS[data_B[stop + 1]] & DIGIT:
        return False
    return not _word_before(data_B, first, at, _ADDRESS_W)


# ---------------------------------------------------------------- IPv6


@numba.njit(cache=True, nogil=True)
def _ipv6_start(data_B: U8, first: int, at: int) -> int:
    """Return where the address whose first colon is at ``at`` would begin; -1 for none."""
    low = at
    while low > first and at - low < 5 and CLASS[data_B[low - 1]] & HEX:
        low -= 1
    if at - low > 4:
        return -1
    if low > first:
        byte = data_B[low - 1]
        if CLASS[byte] & (ALNUM | UNDER) or byte == 0x3A or byte == 0x2E:
            return -1
    return low


@numba.njit(cache=True, nogil=True)
def _ipv6(data_B: U8, at: int, last: int, group_G: I64) -> int:
    """Return where a public IPv6 address that begins at ``at`` ends; 0 where there is none.

    group_G  int64[8]  written to
    """
    count, gap, low = 0, -1, at  # gap: before which group the '::' stands
    if at + 1 < last and data_B[at] == 0x3A:
        if data_B[at + 1] != 0x3A:
            return 0
        gap, at = 0, at + 2
    while at < last and count < 8 and CLASS[data_B[at]] & HEX:
        begin, value = at, 0
        while at < last and at - begin < 5 and CLASS[data_B[at]] & HEX:
            value = value << 4 | _nibble(data_B[at])
            at += 1
        if at - begin > 4:
            return 0
        if at < last and data_B[at] == 0x2E and count < 7 and count + gap > 0:
            four, stop = _four_octets(data_B, begin, last)
            if stop == 0:  # a full stop behind an address
                group_G[count] = value
                count += 1
                break
            group_G[count], group_G[count + 1] = four >> 16, four & 0xFFFF
            count, at = count + 2, stop
            break
        group_G[count] = value
        count += 1
        if at + 1 >= last or data_B[at] != 0x3A:
            break
        if data_B[at + 1] == 0x3A and gap < 0:
            gap, at = count, at + 2
        elif CLASS[data_B[at + 1]] & HEX and count < 8:
            at += 1
        else:
            break
    if (gap < 0) != (count == 8) or at - low < 3:
        return 0
    if at < last and (CLASS[data_B[at]] & (ALNUM | UNDER) or data_B[at] == 0x3A):
        return 0
    _spread(group_G, count, gap)
    return at if _leads_to_somebody(group_G) else 0


@numba.njit(cache=True, nogil=True)
def _nibble(byte: int) -> int:
    return byte - 48 if byte < 58 else (byte | 0x20) - 87


@numba.njit(cache=True, nogil=True)
def _spread(group_G: I64, count: int, gap: int) -> None:
    """Put the groups after the '::' at the end, and zeros in between."""
    if gap < 0:
        return
    for g in range(count - gap):
        group_G[7 - g] = group_G[count - 1 - g]
    group_G[gap : 8 - (count - gap)] = 0


@numba.njit(cache=True, nogil=True)
def _leads_to_somebody(group_G: I64) -> bool:
    one, two = group_G[0], group_G[1]
    four = group_G[6] << 16 | group_G[7]
    if group_G[:5].sum() == 0 and group_G[5] == 0xFFFF:  # ::ffff:0:0/96, IPv4-mapped
        return _is_public(four)
    if one == 0x64 and two == 0xFF9B and group_G[2:6].sum() == 0:  # NAT64, RFC 6052
        return _is_public(four)
    if one == 0x2002:  # 6to4, RFC 3056
        return _is_public(two << 16 | group_G[2])
    if one == 0x2001 and (two < 0x200 or two == 0xDB8):  # 2001::/23, documentation
        return False
    if one == 0x3FFF and two < 0x1000:  # documentation, RFC 9637
        return False
    return bool(0x2000 <= one <= 0x3FFF)
