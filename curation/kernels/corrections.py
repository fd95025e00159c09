"""Lines that are corrected: which ones are unwanted, which are short, and the text without them.

Lines end at line feeds, and white space at a line's ends is not looked at. Only lines that may
change are listed; what lies between two of them is copied as it is, and so costs little.

B bytes of all documents laid end to end, N documents, L listed lines of all documents, S bytes of
some lines laid end to end, M lines of those, C code points
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.leaf import leaf
from curation.kernels.unicode import DIGIT, SPACE, UPPER, decode

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
I64 = npt.NDArray[np.int64]
LineArray = npt.NDArray[np.void]

#: What becomes of a listed line; from 0 on, it is the index of the line that takes its place.
KEPT, REMOVED, SHORT = -1, -2, -3

LINE_TYPE = np.dtype(
    [
        ("start", np.int64),
        ("stop", np.int64),
        ("first", np.int64),
        ("last", np.int64),
        ("words", np.int64),
        ("fate", np.int64),
    ],
    align=True,
)


class Listed(NamedTuple):
    """The lines of a batch of documents that may change, and how many words there are in all.

    offset  int64[N+1]    document n owns line_L[offset[n]:offset[n+1]]
    line_L  LINE_TYPE[L]  start  place of its first byte, and
                          stop   of its line feed, among the bytes of all documents
                          first  place of its first character that is not white space, and
                          last   of the byte after the last such character
                          words  runs between white space, at least one; for ``lay_out`` those
                                 of them that go, where the fate is not KEPT
                          fate   REMOVED, or SHORT: its words are few enough for patterns
    word_N  int64[N]      words of all lines, listed or not
    """

    offset: I64
    line_L: LineArray
    word_N: I64


def list_lines(
    data_B: U8,
    offset: I64,
    flag_C: U32,
    *,
    upper_frac: float,
    min_words: int,
    short_words: int,
) -> Listed:
    """List the lines to be removed, and the short ones.

    data_B       uint8[B]    UTF-8, all documents laid end to end
    offset       int64[N+1]  document n owns data_B[offset[n]:offset[n+1]]; need not start at 0
    upper_frac   a line with a larger share of capital letters is removed
    min_words    a line with fewer words is removed, unless it is blank
    short_words  a line with so many words at most is short
    """
    return Listed(*_list(data_B, offset, flag_C, upper_frac, min_words, short_words))


@numba.njit(cache=True, nogil=True)
def _list(
    data_B: U8, offset: I64, flag_C: U32, upper_frac: float, min_words: int, short_words: int
) -> tuple[I64, LineArray, I64]:
    count = offset.size - 1
    line_offset = np.zeros(count + 1, dtype=np.int64)
    word_N = np.zeros(count, dtype=np.int64)
    most = count
    for byte in data_B[offset[0] : offset[count]]:
        most += byte == 0x0A
    line_L = np.empty(most, dtype=LINE_TYPE)  # memory that is not written to costs nothing
    made = 0
    for n in range(count):
        at, end = offset[n], offset[n + 1]
        while at < end:
            stop = at
            for byte in data_B[at:end]:
                if byte == 0x0A:
                    break
                stop += 1
            first, last, words, removed = _judge(data_B, at, stop, flag_C, upper_frac, min_words)
            word_N[n] += words
            if words > 0 and (removed or words <= short_words):
                line = line_L[made]
                line.start, line.stop, line.first, line.last = at, stop, first, last
                line.words, line.fate = words, REMOVED if removed else SHORT
                made += 1
            at = stop + 1
        line_offset[n + 1] = made
    return line_offset, line_L[:made], word_N


@leaf
def _judge(
    data_B: U8, at: int, stop: int, flag_C: U32, upper_frac: float, min_words: int
) -> tuple[int, int, int, bool]:
    """Return a line's first and last place without white space, its words, and whether it goes.

    A line goes that is mainly capital letters, or digits and white space alone, or has too few
    words. A line without any is blank, and it is for the caller to leave it.
    """
    first, last = stop, stop
    words, chars, upto, capitals, digits, visible = 0, 0, 0, 0, 0, 0
    after_space = True
    while at < stop:
        code, width = decode(data_B, at, stop)
        flags = flag_C[code]
        space = flags & SPACE != 0
        if not space:
            if words == 0:
                first, chars = at, 0
            words += after_space
            visible += 1
            capitals += flags & UPPER != 0
            digits += flags & DIGIT != 0
            last, upto = at + width, chars + 1
        after_space = space
        chars += 1
        at += width
    removed = words < min_words or digits == visible or capitals / max(upto, 1) > upper_frac
    return first, last, words, removed


@numba.njit(cache=True, nogil=True)
def copy_lines(data_B: U8, line_L: LineArray) -> tuple[U8, I64]:
    """Return the text of lines, white space at their ends left out, laid end to end.

    returns  uint8[S], int64[M+1]: line m is bytes[offset[m]:offset[m+1]]
    """
    offset = np.zeros(line_L.size + 1, dtype=np.int64)
    for m in range(line_L.size):
        offset[m + 1] = offset[m] + line_L[m].last - line_L[m].first
    text_S = np.empty(offset[-1], dtype=np.uint8)
    for m in range(line_L.size):
        text_S[offset[m] : offset[m + 1]] = data_B[line_L[m].first : line_L[m].last]
    return text_S, offset


@numba.njit(cache=True, nogil=True)
def lay_out(
    data_B: U8, offset: I64, line_offset: I64, line_L: LineArray, edit_S: U8, edit_offset: I64
) -> tuple[U8, I64, I64, I64]:
    """Return the documents with each listed line as its fate says, joined by line feeds.

    data_B, offset       the documents
    line_offset, line_L  their listed lines, none of them SHORT
    edit_S, edit_offset  the lines that take others' place; none is longer than the other was
    returns              uint8[B], int64[N+1]  the documents
                         int64[N], int64[N]    how many of their lines and words went
    """
    count = offset.size - 1
    text_B = np.empty(offset[count] - offset[0], dtype=np.uint8)
    text_offset = np.zeros(count + 1, dtype=np.int64)
    line_N = np.zeros(count, dtype=np.int64)
    word_N = np.zeros(count, dtype=np.int64)
    out = 0
    for n in range(count):
        at = offset[n]
        empty = True  # no line of this document has been written: not even a blank one
        for index in range(line_offset[n], line_offset[n + 1]):
            line = line_L[index]
            if line.fate == KEPT:
                continue
            if at < line.start:
                out = _write_line(text_B, out, data_B[at : line.start - 1], empty)
                empty = False
            if line.fate >= 0:
                edit_B = edit_S[edit_offset[line.fate] : edit_offset[line.fate + 1]]
                out = _write_line(text_B, out, edit_B, empty)
                empty = False
            else:
                line_N[n] += 1
            word_N[n] += line.words
            at = line.stop + 1
        if at <= offset[n + 1]:  # else the last line was listed
            out = _write_line(text_B, out, data_B[at : offset[n + 1]], empty)
        text_offset[n + 1] = out
    return text_B[:out], text_offset, line_N, word_N


@numba.njit(cache=True, nogil=True)
def _write_line(text_B: U8, out: int, line_B: U8, is_first: bool) -> int:
    """Write one or more lines, after a line feed where they are not the first; return the end."""
    if not is_first:
        text_B[out] = 0x0A
        out += 1
    text_B[out : out + line_B.size] = line_B
    return out + line_B.size
