"""Addresses of mail: RFC 5321's limits, and the letters that people's addresses are made of.

The local part is letters, digits and . _ % + - (with an apostrophe between two of them), not the
whole of RFC 5322's atom: its { | } = / and ` stand beside addresses in text and code far more
often than in them. Letters may be Latin, Greek or Cyrillic (U+00C0 to U+04FF); scripts without
spaces are left out, since there an address touches the words around it.

B bytes of all documents laid end to end, N documents, A anchors, S spans, E file endings
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.pii import ALNUM, CLASS, EMAIL, LETTER

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

#: RFC 5321, 4.5.3.1: bytes of a local part and of a domain; RFC 1035: bytes of a label.
MAX_LOCAL, MAX_DOMAIN, MAX_LABEL = 64, 255, 63

_LOCAL = np.array([bool(c & ALNUM) for c in CLASS])
_LOCAL[[*b"_%+-"]] = True


def _packed(word: bytes) -> int:
    return int.from_bytes(word, "big")


#: Endings of file names, none of them a top-level domain: "icon@2x.png" is no address.
_FILES = b"png jpg jpeg gif svg webp ico bmp tif tiff css scss less js jsx ts tsx json html htm"
_FILES += b" xml php txt pdf yml yaml rb go exe dll log conf cfg ini"
_FILE_E = np.array([_packed(word) for word in _FILES.split()])


@numba.njit(cache=True, nogil=True)
def find_emails(data_B: U8, offset: I64, place_A: I64, row_A: I64) -> I64:
    """Return the spans of addresses of mail.

    data_B   uint8[B]       UTF-8, all documents laid end to end
    offset   int64[N+1]     document n owns data_B[offset[n]:offset[n+1]]
    place_A  int64[A]       anchors, and row_A the document of each
    returns  int64[S, 3]    kind, first byte, byte after the last
    """
    span_SF = np.empty((place_A.size, 3), dtype=np.int64)
    made = 0
    for a in range(place_A.size):
        at = place_A[a]
        if data_B[at] != 0x40:
            continue
        first, last = offset[row_A[a]], offset[row_A[a] + 1]
        start = _local_start(data_B, first, at)
        if start == at:
            continue
        stop = _domain_stop(data_B, at + 1, last)
        if stop == 0 or _is_other(data_B, first, start, stop, last):
            continue
        span_SF[made, 0], span_SF[made, 1], span_SF[made, 2] = EMAIL, start, stop
        made += 1
    return span_SF[:made].copy()


@numba.njit(cache=True, nogil=True)
def _local_start(data_B: U8, first: int, at: int) -> int:
    """Return where the local part before the '@' at ``at`` begins; ``at`` where there is none."""
    if at > first and data_B[at - 1] == 0x2E:
        return at
    low = at
    while low > first and at - low <= MAX_LOCAL:
        byte = data_B[low - 1]
        dot = byte == 0x2E and low - 1 > first and data_B[low - 2] != 0x2E
        if _LOCAL[byte] or dot:
            low -= 1
        elif byte == 0x27 and low < at and low - 1 > first:
            if not CLASS[data_B[low]] & ALNUM or not CLASS[data_B[low - 2]] & ALNUM:
                break
            low -= 1
        elif low - 1 > first and _is_wide_letter(data_B[low - 2], byte):
            low -= 2
        else:
            break
    if at - low > MAX_LOCAL or (low > first and data_B[low - 1] == 0x40):
        return at
    while low < at and (data_B[low] == 0x2E or data_B[low] == 0x2D or data_B[low] == 0x25):
        low += 1
    while low < at and data_B[low] == 0x2B:
        low += 1
    return low


@numba.njit(cache=True, nogil=True)
def _is_wide_letter(byte: int, after: int) -> bool:
    """Say whether two bytes are a character of U+00C0..U+04FF, the signs x and / left out."""
    if byte == 0xC3 and (after == 0x97 or after == 0xB7):
        return False
    return 0xC3 <= byte <= 0xD3 and 0x80 <= after <= 0xBF


@numba.njit(cache=True, nogil=True)
def _domain_stop(data_B: U8, start: int, last: int) -> int:
    """Return where the domain that begins at ``start`` ends; 0 where there is none.

    The last label is letters, or ASCII's spelling of them ("xn--p1ai"); what comes after the
    last label of that kind is no part of the domain.
    """
    at, label, labels, good, good_label = start, start, 0, 0, 0
    while True:
        after = _label_stop(data_B, label, last)
        at = after
        while at > label and data_B[at - 1] == 0x2D:
            at -= 1
        if at == label or at - label > MAX_LABEL or at - start > MAX_DOMAIN:
            break
        labels += 1
        if labels > 1 and _is_top(data_B, label, at):
            good, good_label = at, label
        if at < after or after + 1 >= last or data_B[after] != 0x2E:
            break
        label = after + 1
    return 0 if good == 0 or _is_file_ending(data_B, good_label, good) else good


@numba.njit(cache=True, nogil=True)
def _label_stop(data_B: U8, at: int, last: int) -> int:
    """Return where the run of letters, digits and inner hyphens ends; it is not followed far."""
    limit = min(last, at + MAX_LABEL + 2)
    if at < last and data_B[at] == 0x2D:
        return at
    while at < limit:
        if CLASS[data_B[at]] & ALNUM or data_B[at] == 0x2D:
            at += 1
        elif at + 1 < last and _is_wide_letter(data_B[at], data_B[at + 1]):
            at += 2
        else:
            break
    return at


@numba.njit(cache=True, nogil=True)
def _is_top(data_B: U8, start: int, stop: int) -> bool:
    """Say whether a label can be the last one."""
    if stop - start > 4 and data_B[start + 2] == 0x2D and data_B[start + 3] == 0x2D:
        named = data_B[start] | 0x20 == 0x78 and data_B[start + 1] | 0x20 == 0x6E
        for at in range(start, stop):
            named &= data_B[at] < 0x80
        return bool(named)
    letters = 0
    for at in range(start, stop):
        if data_B[at] < 0x80 and not CLASS[data_B[at]] & LETTER:
            return False
        letters += data_B[at] & 0xC0 != 0x80
    return letters > 1


@numba.njit(cache=True, nogil=True)
def _is_file_ending(data_B: U8, start: int, stop: int) -> bool:
    if stop - start > 4:
        return False
    packed = 0
    for at in range(start, stop):
        packed = packed << 8 | (data_B[at] | 0x20)
    known = False
    for ending in _FILE_E:
        known |= ending == packed
    return known


@numba.njit(cache=True, nogil=True)
def _is_other(data_B: U8, first: int, start: int, stop: int, last: int) -> bool:
    """Say whether what looks like an address names a repository or the user of a URL."""
    git = start + 3 < stop and data_B[start + 3] == 0x40
    git = git and data_B[start] == 0x67 and data_B[start + 1] == 0x69 and data_B[start + 2] == 0x74
    if git and stop < last and data_B[stop] == 0x3A:
        return True
    at = start  # scheme://user@host, scheme://user:password@host
    while at > first and start - at <= MAX_LOCAL:
        byte = data_B[at - 1]
        if not (_LOCAL[byte] or byte == 0x2E or byte == 0x3A):
            break
        at -= 1
    slashes = at - 3 >= first and data_B[at - 1] == 0x2F and data_B[at - 2] == 0x2F
    return slashes and data_B[at - 3] == 0x3A
