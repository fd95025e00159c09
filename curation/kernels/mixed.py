"""The lines of texts, and how many of a text's characters stand in lines of another language.

B bytes of all texts, N texts, M lines, L languages
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]

_LINE_FEED = 0x0A


@numba.njit(cache=True, nogil=True)
def split_lines(data_B: U8, offset: I64) -> tuple[I64, I64, I64]:
    """Cut texts at line feeds and the ends of lines at ASCII white space; drop blank lines.

    data_B   uint8[B]    UTF-8, all texts laid end to end
    offset   int64[N+1]  text n owns data_B[offset[n]:offset[n+1]]; need not start at 0
    returns  int64[M]    where each line begins
             int64[M]    where it ends
             int64[M]    its text; ascending
    """
    room = offset.size - 1
    for at in range(offset[0], offset[-1]):
        room += data_B[at] == _LINE_FEED
    start_M = np.empty(room, dtype=np.int64)
    stop_M = np.empty(room, dtype=np.int64)
    text_M = np.empty(room, dtype=np.int64)
    lines = 0
    for n in range(offset.size - 1):
        at = offset[n]
        while at < offset[n + 1]:
            begin = at
            while at < offset[n + 1] and data_B[at] != _LINE_FEED:
                at += 1
            end = at
            while begin < end and _is_space(data_B[begin]):
                begin += 1
            while begin < end and _is_space(data_B[end - 1]):
                end -= 1
            if begin < end:
                start_M[lines], stop_M[lines], text_M[lines] = begin, end, n
                lines += 1
            at += 1
    return start_M[:lines], stop_M[:lines], text_M[:lines]


@numba.njit(cache=True, nogil=True)
def _is_space(byte: int) -> bool:
    return byte == 0x20 or 0x09 <= byte <= 0x0D


@numba.njit(cache=True, nogil=True)
def minority_shares(text_M: I64, label_M: I32, size_M: I64, texts: int, labels: int) -> F32:
    """Return the share of each text's size in lines that are not of its commonest label.

    text_M   int64[M]    the text of each line, ascending
    label_M  int32[M]    its label, below ``labels``; a line below 0 does not count
    size_M   int64[M]    its size
    returns  float32[N]  0..1; -1 for a text in which no line counts
    """
    share_N = np.full(texts, -1.0, dtype=np.float32)
    size_L = np.zeros(labels, dtype=np.int64)
    first = 0
    while first < text_M.size:
        last, total, most = first, 0, 0
        while last < text_M.size and text_M[last] == text_M[first]:
            if label_M[last] >= 0:
                size_L[label_M[last]] += size_M[last]
                total += size_M[last]
                most = max(most, size_L[label_M[last]])
            last += 1
        if total:
            share_N[text_M[first]] = (total - most) / total
        for line in range(first, last):
            size_L[max(label_M[line], 0)] = 0
        first = last
    return share_N
