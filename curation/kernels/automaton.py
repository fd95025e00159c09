"""Many strings looked for in one walk: the automaton of Aho and Corasick, 1975, over bytes.

The table is dense, one row for each state and one column for each class of bytes that some string
tells from the rest, so that a byte costs two loads. States at which a string ends have the highest
numbers: one comparison tells that there is nothing to report, which is nearly always so.

B bytes of all documents, N documents, K bytes of all strings, M strings, S states, L classes of
bytes, C code points
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.leaf import leaf
from curation.kernels.unicode import before, decode

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]
Bool_C = npt.NDArray[np.bool_]

#: Class of a byte that is passed over, as if it were not there.
SKIP = 255
#: Cells of the largest table that is made.
MOST_CELLS = 1 << 28


class Automaton(NamedTuple):
    """The automaton of M strings.

    class_256  uint8[256]   class of a byte; 0 for bytes of no string, SKIP for those passed over
    row_SL     int32[S*L]   where the row of the next state begins, after a byte of a class; a
                            state is known by that place, so that nothing has to be multiplied
    classes    int          L
    first_hit  int          rows from here on end a string
    string_S   int32[S]     string that is the whole of a state, -1 for none
    shorter_S  int32[S]     state of the next shorter string that ends here too, 0 for none
    """

    class_256: U8
    row_SL: I32
    classes: int
    first_hit: int
    string_S: I32
    shorter_S: I32


def make_automaton(data_K: U8, offset: I64, class_256: U8) -> Automaton:
    """Return the automaton of different strings that are not empty.

    data_K     uint8[K]    strings laid end to end
    offset     int64[M+1]  string m is data_K[offset[m]:offset[m+1]]
    class_256  uint8[256]  classes of bytes, none of them SKIP in a string
    raises     ValueError where the table would have more than MOST_CELLS cells
    """
    classes = int(class_256[class_256 != SKIP].max()) + 1
    cells = (int(offset[-1] - offset[0]) + 1) * classes
    if cells > MOST_CELLS:
        raise ValueError(f"a table of {cells:,} cells, where {MOST_CELLS:,} are allowed")
    return Automaton(class_256, *_build(data_K, offset, class_256, classes))


@numba.njit(cache=True, nogil=True)
def _build(data_K: U8, offset: I64, class_256: U8, classes: int) -> tuple[I32, int, int, I32, I32]:
    room = offset[-1] - offset[0] + 1
    next_SL = np.zeros((room, classes), dtype=np.int32)  # memory not written to costs nothing
    string_S = np.full(room, -1, dtype=np.int32)
    count = 1
    for m in range(offset.size - 1):
        state = 0
        for at in range(offset[m], offset[m + 1]):
            kind = class_256[data_K[at]]
            if next_SL[state, kind] == 0:
                next_SL[state, kind] = count
                count += 1
            state = next_SL[state, kind]
        string_S[state] = m
    shorter_S, is_hit_S = _link(next_SL[:count], string_S[:count])
    return _renumber(next_SL[:count], string_S[:count], shorter_S, is_hit_S)


@numba.njit(cache=True, nogil=True)
def _link(next_SL: I32, string_S: I32) -> tuple[I32, Bool_C]:
    """Complete the table, breadth first; return shorter_S, and which states end a string."""
    count, classes = next_SL.shape
    fail_S = np.zeros(count, dtype=np.int32)
    shorter_S = np.zeros(count, dtype=np.int32)
    is_hit_S = string_S >= 0
    queue_S = np.empty(count, dtype=np.int32)
    read, written = 0, 1
    queue_S[0] = 0
    while read < written:
        state = queue_S[read]
        read += 1
        fail = fail_S[state]
        for kind in range(classes):
            child = next_SL[state, kind]
            after_fail = next_SL[fail, kind] if state else 0
            if child == 0:
                next_SL[state, kind] = after_fail
                continue
            fail_S[child] = after_fail
            shorter_S[child] = after_fail if string_S[after_fail] >= 0 else shorter_S[after_fail]
            is_hit_S[child] |= shorter_S[child] > 0
            queue_S[written] = child
            written += 1
    return shorter_S, is_hit_S


@numba.njit(cache=True, nogil=True)
def _renumber(
    next_SL: I32, string_S: I32, shorter_S: I32, is_hit_S: Bool_C
) -> tuple[I32, int, int, I32, I32]:
    """Give the states that end a string the highest numbers."""
    count, classes = next_SL.shape
    first_hit = count - is_hit_S.sum()
    new_S = np.empty(count, dtype=np.int32)
    low, high = 0, first_hit
    for state in range(count):
        if is_hit_S[state]:
            new_S[state] = high
            high += 1
        else:
            new_S[state] = low
            low += 1
    out_SL = np.empty((count, classes), dtype=np.int32)
    out_string_S = np.empty(count, dtype=np.int32)
    out_shorter_S = np.empty(count, dtype=np.int32)
    for state in range(count):
        out_string_S[new_S[state]] = string_S[state]
        out_shorter_S[new_S[state]] = new_S[shorter_S[state]]
        for kind in range(classes):
            out_SL[new_S[state], kind] = classes * new_S[next_SL[state, kind]]
    return out_SL.ravel(), classes, classes * first_hit, out_string_S, out_shorter_S


@numba.njit(cache=True, nogil=True)
def first_strings(automaton: Automaton, data_B: U8, offset: I64) -> I64:
    """Return int64[N]: which string ends first in each document, -1 for none.

    Of several that end at one place it is the longest.
    """
    found_N = np.full(offset.size - 1, -1, dtype=np.int64)
    for n in range(found_N.size):
        row = 0
        for at in range(offset[n], offset[n + 1]):
            kind = automaton.class_256[data_B[at]]
            if kind == SKIP:
                continue
            row = automaton.row_SL[row + kind]
            if row >= automaton.first_hit:
                state = row // automaton.classes
                own = automaton.string_S[state]
                shorter = automaton.string_S[automaton.shorter_S[state]]
                found_N[n] = own if own >= 0 else shorter
                break
    return found_N


@numba.njit(cache=True, nogil=True)
def count_strings(
    automaton: Automaton, chars_M: I64, data_B: U8, offset: I64, fold_C: I32, word_C: Bool_C
) -> U32:
    """Count how often the strings occur in each document, overlapping ones too.

    chars_M  int64[M]  code points of each string, which are folded
    fold_C   int32[C]  code point that stands for a code point in comparisons
    word_C   bool[C]   characters that may not flank an occurrence; empty if any may
    returns  uint32[N]
    """
    count_N = np.zeros(offset.size - 1, dtype=np.uint32)
    for n in range(count_N.size):
        place = offset[n], offset[n + 1]
        count_N[n] = _count(automaton, chars_M, data_B, *place, fold_C, word_C)
    return count_N


@leaf
def _count(
    automaton: Automaton,
    chars_M: I64,
    data_B: U8,
    start: int,
    stop: int,
    fold_C: I32,
    word_C: Bool_C,
) -> int:
    count, row, at = 0, 0, start
    while at < stop:
        byte = data_B[at]
        if byte < 0x80:
            row = automaton.row_SL[row + automaton.class_256[byte]]
            at += 1
        else:
            code, width = decode(data_B, at, stop)
            row = _feed(automaton, row, data_B, at, at + width, fold_C[code] - code)
            at += width
        if row >= automaton.first_hit:
            count += _ending(automaton, chars_M, row, data_B, start, at, stop, word_C)
    return count


@leaf
def _feed(automaton: Automaton, row: int, data_B: U8, at: int, stop: int, change: int) -> int:
    """Return the row after a character; ``change`` leads from its code to the folded one."""
    if change == 0:
        for place in range(at, stop):
            row = automaton.row_SL[row + automaton.class_256[data_B[place]]]
        return row
    code = decode(data_B, at, stop)[0] + change
    if code < 0x80:
        return int(automaton.row_SL[row + automaton.class_256[code]])
    if code < 0x800:
        lead, shift = 0xC0 | (code >> 6), 0
    elif code < 0x10000:
        lead, shift = 0xE0 | (code >> 12), 6
    else:
        lead, shift = 0xF0 | (code >> 18), 12
    row = automaton.row_SL[row + automaton.class_256[lead]]
    while shift >= 0:
        tail = 0x80 | ((code >> shift) & 0x3F)
        row = automaton.row_SL[row + automaton.class_256[tail]]
        shift -= 6
    return row


@leaf
def _ending(  # noqa: PLR0913  a leaf takes the document as it lies, since it can make no slice
    automaton: Automaton,
    chars_M: I64,
    row: int,
    data_B: U8,
    start: int,
    at: int,
    stop: int,
    word_C: Bool_C,
) -> int:
    """Return how many strings end at a place of a document and are flanked as they should be."""
    if word_C.size and at < stop and word_C[decode(data_B, at, stop)[0]]:
        return 0
    state = row // automaton.classes
    if automaton.string_S[state] < 0:
        state = automaton.shorter_S[state]
    count = 0
    while state:
        begin = at
        if word_C.size:
            for _ in range(chars_M[automaton.string_S[state]]):
                begin = before(data_B, begin, start)
        free = begin == start or not word_C.size
        if free or not word_C[decode(data_B, before(data_B, begin, start), begin)[0]]:
            count += 1
        state = automaton.shorter_S[state]
    return count
