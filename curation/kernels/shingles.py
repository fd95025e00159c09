r"""Runs of n words or characters (shingles) as 64-bit hashes.

Three units can be counted:

word   runs of letters, marks, numbers and connectors, lower-cased, as the regular expression
       ``\w+`` finds them; in scripts without white space between words, each character
char   code points, lower-cased, a run of white space being one space and the ends trimmed
token  what stands between white space, as it is: for text that another program has cut

A shingle of words or characters is a polynomial of its units' hashes modulo 2^64, so that the next
one follows from it in one step, and then a bijection of that. A text with fewer units than a
shingle has, but at least one, is one shingle, so that copies of short texts are found. A shingle of
tokens is XXH64 of their bytes with a space between them, and a text with too few has none: that is
datatrove's definition.

B bytes of all documents laid end to end, N documents, S shingles of all documents, C code points,
R units of a shingle, T slots of a table
"""

from __future__ import annotations

import functools
from pathlib import Path

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.hashing import xxh64
from curation.kernels.leaf import Int, leaf
from curation.kernels.ngrams import permute
from curation.kernels.unicode import (
    CODE_POINTS,
    MARK,
    SINGLE,
    SPACE,
    WORD,
    decode,
    flag_table,
)

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

UNITS = ("word", "char", "token")

_FILE = Path(__file__).with_name("lowercase.txt")

# An entry of the table: the code point it is lowered to, and what it is.
_CODE = np.uint32(0x1FFFFF)
_WORD, _SINGLE, _MARK, _SPACE = (np.uint32(1 << bit) for bit in (24, 25, 26, 27))
_IN_WORD = _WORD | _SINGLE

_UNIT_BASE = np.uint64(0x9FB21C651E98DF25)
_RUN_BASE = np.uint64(0xC6A4A7935BD1E995)
_SEED = np.uint64(0x2545F4914F6CDD1D)
#: Texts of more shingles than this are sorted and not put into a table.
_TABLED = 1 << 20
#: Marks a text of fewer units than a shingle: its one shingle is no other text's.
_SHORT = np.uint64(0x94D049BB133111EB)
_SPACE_UNIT = np.uint32(0x20)
#: Bytes of ASCII in a number, and what no such number has in common with a code point.
_EIGHT, _WIDE = 8, np.uint64(1 << 62)
_NO_SEED = np.uint64(0)


@functools.cache
def fold_table() -> U32:
    """Return uint32[C]: what each code point is lowered to, and what kind of character it is."""
    table = np.arange(CODE_POINTS, dtype=np.uint32)
    for line in _FILE.read_text(encoding="ascii").splitlines():
        first, last, step, shift = line.split()
        codes = np.arange(int(first, 16), int(last, 16) + 1, int(step))
        table[codes] = codes + int(shift)
    flags = flag_table()
    table[(flags & (WORD | SINGLE)) == WORD] |= _WORD  # a character by itself ends a word too
    for flag, bit in ((SINGLE, _SINGLE), (MARK, _MARK), (SPACE, _SPACE)):
        table[(flags & flag) != 0] |= bit
    table.flags.writeable = False
    return table


@leaf
def shingle(text_B: U8, unit: int, fold_C: U32, recent_R: U64, word_W: U64, shingle_S: U64) -> int:
    """Write one text's shingles in their order, repeats included; return how many there are.

    unit       index into UNITS
    fold_C     ``fold_table``
    recent_R   uint64[R]  scratch, as long as a shingle
    word_W     uint64[W]  scratch for tokens, W > bytes of the text / 8
    shingle_S  uint64[S]  S > bytes of the text; takes the shingles
    """
    if unit == 0:
        return _words(text_B, fold_C, recent_R, shingle_S)
    if unit == 1:
        return _chars(text_B, fold_C, recent_R, shingle_S)
    return _tokens(text_B, fold_C, recent_R, word_W, shingle_S)


@leaf
def _leaving(length: int) -> np.uint64:
    """Return what the unit that leaves a shingle has been multiplied by."""
    factor = np.uint64(1)
    for _ in range(length):
        factor *= _RUN_BASE
    return factor


@leaf
def _words(text_B: U8, fold_C: U32, recent_R: U64, shingle_S: U64) -> int:
    leaving, length = _leaving(recent_R.size), recent_R.size
    recent_R[:] = 0
    run = np.uint64(0)
    words, slot, made, at, stop = 0, 0, 0, 0, text_B.size
    while at < stop:
        code: Int = np.int64(text_B[at])
        width = 1
        if code >= 0x80:
            code, width = decode(text_B, at, stop)
        entry = fold_C[code]
        at += width
        if not entry & _IN_WORD:
            continue
        value, at = _past_word(text_B, at, entry, fold_C)
        run = run * _RUN_BASE + value - recent_R[slot] * leaving
        recent_R[slot] = value
        words, slot = words + 1, slot + 1
        slot = 0 if slot == length else slot
        if words >= length:
            shingle_S[made] = permute(run, _SEED)
            made += 1
    if made == 0 and words > 0:
        shingle_S[0] = permute(run, _SHORT)
        made = 1
    return made


@leaf
def _past_word(text_B: U8, at: int, entry: Int, fold_C: U32) -> tuple[np.uint64, int]:
    """Return the hash of the word whose first character has been read, and where it ends.

    Eight bytes of ASCII are taken in at once; any other character by itself, under a mark.
    """
    goes_on = _MARK if entry & _SINGLE else _WORD
    value, eight, room = _SEED, np.uint64(0), _EIGHT
    while True:
        code = entry & _CODE
        if code < 0x80:
            if room == 0:
                value, eight, room = (value ^ eight) * _UNIT_BASE, np.uint64(0), _EIGHT
            eight = eight << np.uint64(8) | np.uint64(code)
            room -= 1
        else:
            value = ((value ^ eight) * _UNIT_BASE ^ np.uint64(code) ^ _WIDE) * _UNIT_BASE
            eight, room = np.uint64(0), _EIGHT
        if at == text_B.size:
            break
        following: Int = np.int64(text_B[at])
        width = 1
        if following >= 0x80:
            following, width = decode(text_B, at, text_B.size)
        entry = fold_C[following]
        if not entry & goes_on:
            break
        at += width
    value = (value ^ eight) * _UNIT_BASE
    return value ^ (value >> np.uint64(32)), at


@leaf
def _chars(text_B: U8, fold_C: U32, recent_R: U64, shingle_S: U64) -> int:
    leaving, length = _leaving(recent_R.size), recent_R.size
    recent_R[:] = 0
    run, at, stop = np.uint64(0), 0, text_B.size
    chars, slot, made, space = 0, 0, 0, 0
    while at < stop:
        code, width = decode(text_B, at, stop)
        entry = fold_C[code]
        at += width
        if entry & _SPACE:
            space = 1
            continue
        for unit in range(2):
            if unit == 0 and (space == 0 or chars == 0):
                continue
            value = np.uint64(_SPACE_UNIT if unit == 0 else entry & _CODE) + _SEED
            run = run * _RUN_BASE + value - recent_R[slot] * leaving
            recent_R[slot] = value
            chars, slot = chars + 1, slot + 1
            slot = 0 if slot == length else slot
            if chars >= length:
                shingle_S[made] = permute(run, _SEED)
                made += 1
        space = 0
    if made == 0 and chars > 0:
        shingle_S[0] = permute(run, _SHORT)
        made = 1
    return made


@leaf
def _tokens(text_B: U8, fold_C: U32, begin_R: U64, word_W: U64, shingle_S: U64) -> int:
    """Hash runs of tokens; ``begin_R`` holds where the latest tokens begin."""
    byte_B = word_W.view(np.uint8)
    length, stop = begin_R.size, text_B.size
    tokens, made, at = 0, 0, 0
    while at < stop:
        while at < stop and fold_C[decode(text_B, at, stop)[0]] & _SPACE:
            at += decode(text_B, at, stop)[1]
        if at == stop:
            break
        begin_R[tokens % length] = np.uint64(at)
        while at < stop and not fold_C[decode(text_B, at, stop)[0]] & _SPACE:
            at += decode(text_B, at, stop)[1]
        tokens += 1
        if tokens >= length:
            begin = np.int64(begin_R[tokens % length])
            size = _joined(text_B, begin, at, fold_C, byte_B)
            shingle_S[made] = xxh64(word_W, byte_B, size, _NO_SEED)
            made += 1
    return made


@leaf
def _joined(text_B: U8, start: Int, stop: int, fold_C: U32, byte_B: U8) -> int:
    """Copy text with each run of white space made one space; return the bytes written."""
    size, at, space = 0, start, False
    while at < stop:
        code, width = decode(text_B, at, stop)
        white = fold_C[code] & _SPACE != 0
        if white and not space:
            byte_B[size] = 0x20
            size += 1
        elif not white:
            for byte in range(at, at + width):
                byte_B[size] = text_B[byte]
                size += 1
        space, at = white, at + width
    return size


@numba.njit(cache=True, nogil=True)
def all_shingles(data_B: U8, offset: I64, unit: int, length: int, fold_C: U32) -> tuple[I64, U64]:
    """Return the shingles of documents in their order, repeats included.

    data_B   uint8[B]    UTF-8, all documents laid end to end
    offset   int64[N+1]  document n owns data_B[offset[n]:offset[n+1]]; need not start at 0
    unit     index into UNITS
    length   units of a shingle, at least 1
    fold_C   ``fold_table``
    returns  (int64[N+1], uint64[S]): document n owns shingle_S[start[n]:start[n+1]]
    """
    longest = 0
    for n in range(offset.size - 1):
        longest = max(longest, offset[n + 1] - offset[n])
    recent_R = np.zeros(length, dtype=np.uint64)
    word_W = np.empty(longest // 8 + 2, dtype=np.uint64)
    start = np.zeros(offset.size, dtype=np.int64)
    # memory that is not written to costs nothing
    shingle_S = np.empty(offset[-1] - offset[0] + offset.size, dtype=np.uint64)
    for n in range(offset.size - 1):
        text_B = data_B[offset[n] : offset[n + 1]]
        count = shingle(text_B, unit, fold_C, recent_R, word_W, shingle_S[start[n] :])
        start[n + 1] = start[n] + count
    return start, shingle_S[: start[-1]]


@numba.njit(cache=True, nogil=True)
def different_shingles(start: I64, shingle_S: U64) -> tuple[I64, U64]:
    """Return each document's shingles without repeats, in any order.

    start, shingle_S  see ``all_shingles``; shingle_S is overwritten
    returns           the same of the different ones
    """
    most = 0
    for n in range(start.size - 1):
        most = max(most, start[n + 1] - start[n])
    table_T = np.empty(_slots(min(most, _TABLED)), dtype=np.uint64)
    kept = np.zeros(start.size, dtype=np.int64)
    for n in range(start.size - 1):
        document_S = shingle_S[start[n] : start[n + 1]]
        if document_S.size > _TABLED:
            count = _sort_different(document_S)
        else:
            count = _keep_different(document_S, table_T)
        for s in range(count):
            shingle_S[kept[n] + s] = document_S[s]
        kept[n + 1] = kept[n] + count
    return kept, shingle_S[: kept[-1]]


@leaf
def _keep_different(shingle_S: U64, table_T: U64) -> int:
    """Move the different ones of a document's shingles to the front; return how many there are.

    table_T  uint64[T]  scratch, of at least ``_slots`` of the shingles
    """
    slots = _slots(shingle_S.size)
    mask = np.uint64(slots - 1)
    for slot in range(slots):
        table_T[slot] = 0
    kept, has_zero = 0, False
    for s in range(shingle_S.size):
        value = shingle_S[s]
        if value == 0:  # an empty slot looks like it
            if has_zero:
                continue
            has_zero = True
        else:
            at = (value >> np.uint64(20)) & mask
            while table_T[at] != 0 and table_T[at] != value:
                at = (at + np.uint64(1)) & mask
            if table_T[at] == value:
                continue
            table_T[at] = value
        shingle_S[kept] = value
        kept += 1
    return kept


@numba.njit(cache=True, nogil=True)
def _sort_different(shingle_S: U64) -> int:
    """Do what ``_keep_different`` does for a very long text, whose table would take gigabytes."""
    shingle_S.sort()
    kept = 1
    for s in range(1, shingle_S.size):
        if shingle_S[s] != shingle_S[s - 1]:
            shingle_S[kept] = shingle_S[s]
            kept += 1
    return kept


@leaf
def _slots(count: int) -> int:
    """Return the slots of a table: a quarter full, a search seldom takes a second step."""
    slots = 2
    while slots < 4 * count:
        slots *= 2
    return slots
