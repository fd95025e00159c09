"""Where personal data may begin, and how what several finders found becomes one list of spans.

Each kind of personal data is found from an anchor: a byte that it cannot do without and that
prose seldom holds ('@' for an address of mail, the first digit of a run for a phone number). One
pass over the text lists the anchors; the finders (``pii_emails.py``, ``pii_addresses.py``,
``pii_phones.py``, ``pii_accounts.py``, ``pii_secrets.py``) look at a bounded number of bytes
around each, so that no input takes longer than in proportion to its length.

Numba's cache watches a kernel's own file alone: whoever changes a table here empties the cache
(``__pycache__/*.nb?``) of the finders.

B bytes of all documents laid end to end, N documents, A anchors, S spans, R rows, K kinds
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

#: The kinds, in the order of their codes.
KINDS = ("email", "ip", "phone", "card", "iban", "secret")
EMAIL, IP, PHONE, CARD, IBAN, SECRET = range(6)
#: Where spans of two kinds overlap, the one that ranks higher names what they make together.
RANK_K = np.array([3, 1, 0, 4, 5, 6])

#: What an ASCII byte is, as bits; a byte of a longer character has none but WIDE.
DIGIT, UPPER, LOWER, HEX, UNDER, DASH, WIDE = 1, 2, 4, 8, 16, 32, 64
LETTER, ALNUM = UPPER | LOWER, DIGIT | UPPER | LOWER
CLASS = np.zeros(256, dtype=np.uint8)
CLASS[48:58] = DIGIT | HEX
CLASS[65:91] = UPPER
CLASS[97:123] = LOWER
CLASS[[*b"ABCDEFabcdef"]] |= HEX
CLASS[[*b"_"]] = UNDER
CLASS[[*b"-"]] = DASH
CLASS[128:] = WIDE

#: Bytes that are anchors wherever they stand, and digits, which are where a run of them begins.
_MARK, _DIGIT = 1, 2
_ANCHOR = np.zeros(256, dtype=np.uint8)
_ANCHOR[[*b"@:=_-AJS"]] = _MARK
_ANCHOR[48:58] = _DIGIT


@numba.njit(cache=True, nogil=True)
def anchors(data_B: U8, offset: I64) -> tuple[I64, I64]:
    """List the places where personal data may be.

    data_B   uint8[B]       UTF-8, all documents laid end to end
    offset   int64[N+1]     document n owns data_B[offset[n]:offset[n+1]]; need not start at 0
    returns  int64[A], each the places, ascending, and the document of each
    """
    count = offset.size - 1
    # memory that is not written to costs nothing
    place_A = np.empty(offset[count] - offset[0] + 1, dtype=np.int64)
    row_A = np.empty(place_A.size, dtype=np.int64)
    made = 0
    for n in range(count):
        begin, before = made, 0
        for at in range(offset[n], offset[n + 1]):
            kind = _ANCHOR[data_B[at]]
            place_A[made] = at  # written over by the next unless it counts: no branch
            made += (kind & 1) | ((kind >> 1) & (1 - (before >> 1)))
            before = kind
        row_A[begin:made] = n
    return place_A[:made], row_A[:made]


def in_order(span_SF: I64) -> I64:
    """Return spans in the order of the text, those that overlap made one.

    span_SF  int64[S, 3]  kind, first byte, byte after the last; in any order
    returns  int64[S, 3]  likewise; ascending, no two of them overlapping
    """
    order = np.argsort(span_SF[:, 1], kind="stable")
    return _united(np.ascontiguousarray(span_SF[order]))


@numba.njit(cache=True, nogil=True)
def _united(span_SF: I64) -> I64:
    united_SF = np.empty_like(span_SF)
    made = 0
    for s in range(span_SF.shape[0]):
        kind, start, stop = span_SF[s, 0], span_SF[s, 1], span_SF[s, 2]
        if made and start < united_SF[made - 1, 2]:
            last_F = united_SF[made - 1]
            if RANK_K[kind] > RANK_K[last_F[0]]:
                last_F[0] = kind
            last_F[2] = max(last_F[2], stop)
        else:
            united_SF[made, 0], united_SF[made, 1], united_SF[made, 2] = kind, start, stop
            made += 1
    return united_SF[:made]


@numba.njit(cache=True, nogil=True)
def copy_masked(data_B: U8, offset: I64, row_R: I64, span_SF: I64) -> tuple[U8, I64]:
    """Copy some documents, what was found in them replaced by brackets: '[]]]]' for five bytes.

    row_R    int64[R]     the documents, ascending
    span_SF  int64[S, 3]  spans, all of them inside these documents, ascending
    returns  uint8[...], int64[R+1]
    """
    made = np.zeros(row_R.size + 1, dtype=np.int64)
    for r in range(row_R.size):
        made[r + 1] = made[r] + offset[row_R[r] + 1] - offset[row_R[r]]
    copied_B = np.empty(made[-1], dtype=np.uint8)
    for r in range(row_R.size):
        copied_B[made[r] : made[r + 1]] = data_B[offset[row_R[r]] : offset[row_R[r] + 1]]
    r = 0
    for s in range(span_SF.shape[0]):
        while span_SF[s, 1] >= offset[row_R[r] + 1]:
            r += 1
        shift = made[r] - offset[row_R[r]]
        copied_B[span_SF[s, 1] + shift : span_SF[s, 2] + shift] = 0x5D
        copied_B[span_SF[s, 1] + shift] = 0x5B
    return copied_B, made
