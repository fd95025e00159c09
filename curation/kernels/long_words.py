"""Long words of letters: where they stand, and which of them each text holds first.

A run is letters, marks, digits and other characters of words (Unicode's L, M, N and Pc), in scripts
that put white space between words. A run of letters and marks alone is a word, and so are several
such runs with one hyphen between them: "anti-inflammatory". Runs with a digit or an underscore are
names of machines and formulas, and no words.

B bytes of all documents laid end to end, N documents, W long words of all documents, K words that
are looked for, S words that are found, C code points
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.leaf import Int, leaf
from curation.kernels.shingles import fold_table
from curation.kernels.unicode import LETTER, MARK, SINGLE, WORD, decode, flag_table

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]

# An entry of the table: the code point it is lowered to, and above it what it is.
CODE = np.uint32(0x1FFFFF)
_KIND_SHIFT = np.uint32(24)
_BETWEEN, _LETTER, _OTHER = 0, 1, 2
_HYPHEN = 0x2D
#: U+2010 and U+2011 in UTF-8 are these two bytes and one of two more.
_WIDE_HYPHEN = (0xE2, 0x80, 0x90, 0x91)

_START = np.uint64(0x2545F4914F6CDD1D)
_BASE = np.uint64(0x9FB21C651E98DF25)
_HALF = np.uint64(32)


class LongWords(NamedTuple):
    """The long words of a batch of documents.

    offset   int64[N+1]  document n owns words offset[n]:offset[n+1]
    start_W  int64[W]    byte of all documents at which a word begins
    stop_W   int64[W]    byte after its last
    hash_W   uint64[W]   hash of its letters, case folded; the same for the same word
    runs     runs of all documents, short ones and those with digits too
    """

    offset: I64
    start_W: I64
    stop_W: I64
    hash_W: U64
    runs: int


@functools.cache
def letter_table() -> U32:
    """Return uint32[C]: what each code point is lowered to, and whether it is part of a word."""
    flags = flag_table()
    kind = np.where(flags & (LETTER | MARK) != 0, _LETTER, _OTHER).astype(np.uint32)
    kind[(flags & WORD == 0) | (flags & SINGLE != 0)] = _BETWEEN
    table: U32 = (fold_table() & CODE) | kind << _KIND_SHIFT
    table.flags.writeable = False
    return table


def long_words(data_B: U8, offset: I64, least: int, most: int) -> LongWords:
    """Return the words of ``least`` to ``most`` letters and marks of each document, in their order.

    data_B   uint8[B]    UTF-8, all documents laid end to end
    offset   int64[N+1]  document n owns data_B[offset[n]:offset[n+1]]; need not start at 0
    """
    return LongWords(*_long_words(data_B, offset, least, most, letter_table()))


@numba.njit(cache=True, nogil=True)
def _long_words(
    data_B: U8, offset: I64, least: int, most: int, table_C: U32
) -> tuple[I64, I64, I64, U64, int]:
    # memory that is not written to costs nothing
    room = (offset[-1] - offset[0]) // least + 1
    start_W, stop_W = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.int64)
    hash_W = np.empty(room, dtype=np.uint64)
    word_offset = np.zeros(offset.size, dtype=np.int64)
    made, runs = 0, 0
    for n in range(offset.size - 1):
        found, met = _walk(
            data_B, offset[n], offset[n + 1], least, most, table_C, start_W[made:], stop_W[made:]
        )
        for w in range(made, made + found):
            hash_W[w] = _hash(data_B, start_W[w], stop_W[w], table_C)
        made, runs = made + found, runs + met
        word_offset[n + 1] = made
    return word_offset, start_W[:made], stop_W[:made], hash_W[:made], runs


@leaf
def _walk(  # noqa: PLR0913  a leaf allocates nothing
    data_B: U8,
    at: int,
    stop: int,
    least: int,
    most: int,
    table_C: U32,
    start_W: I64,
    stop_W: I64,
) -> tuple[int, int]:
    """Write where the long words of one document stand; return how many, and how many runs.

    ``held`` is the word so far: more of it may follow after a hyphen.
    """
    made, runs = 0, 0
    held_start, held_stop, held = 0, -1, 0
    while at < stop:
        begin, letters, pure = at, 0, True
        kind: Int = np.uint32(_LETTER)
        while at < stop:
            code: Int = np.int64(data_B[at])
            width = 1
            if code >= 0x80:
                code, width = decode(data_B, at, stop)
            kind = table_C[code] >> _KIND_SHIFT
            if kind == _BETWEEN:
                break
            pure &= kind == _LETTER
            letters, at = letters + 1, at + width
        if letters:
            runs += 1
            if pure and held_stop >= 0 and _is_hyphen(data_B, held_stop, begin):
                held_stop, held = at, held + letters
            else:
                if held_stop >= 0 and least <= held <= most:
                    start_W[made], stop_W[made] = held_start, held_stop
                    made += 1
                held_start, held_stop, held = begin, at if pure else -1, letters
        if at < stop:  # what ended the run
            at += width
    if held_stop >= 0 and least <= held <= most:
        start_W[made], stop_W[made] = held_start, held_stop
        made += 1
    return made, runs


@leaf
def _is_hyphen(data_B: U8, start: int, stop: int) -> bool:
    """Say whether the bytes from ``start`` to ``stop`` are one hyphen and nothing else."""
    if stop - start == 1:
        return bool(data_B[start] == _HYPHEN)
    first, second, low, high = _WIDE_HYPHEN
    if stop - start != 3 or data_B[start] != first or data_B[start + 1] != second:
        return False
    return bool(low <= data_B[start + 2] <= high)


@leaf
def _hash(data_B: U8, start: int, stop: int, table_C: U32) -> np.uint64:
    value, at = _START, start
    while at < stop:
        code, width = decode(data_B, at, stop)
        entry = table_C[code]
        letter = entry & CODE if entry >> _KIND_SHIFT != _BETWEEN else np.uint32(_HYPHEN)
        value = (value ^ np.uint64(letter)) * _BASE
        value ^= value >> _HALF
        at += width
    return value


@numba.njit(cache=True, nogil=True)
def first_met(offset: I64, which_W: I64, kinds: int, most: int) -> tuple[I64, I32]:
    """Return which words each document holds, each once, in the order of their first places.

    offset   int64[N+1]  document n owns which_W[offset[n]:offset[n+1]]
    which_W  int64[W]    index of the word among those looked for, -1 for any other
    kinds    how many words are looked for
    most     words of a document at most
    returns  (int64[N+1], int32[S]): document n owns word_S[start[n]:start[n+1]]
    """
    start = np.zeros(offset.size, dtype=np.int64)
    word_S = np.empty(which_W.size, dtype=np.int32)
    met_K = np.full(kinds, -1, dtype=np.int64)
    made = 0
    for n in range(offset.size - 1):
        for w in range(offset[n], offset[n + 1]):
            which = which_W[w]
            if which >= 0 and met_K[which] != n and made - start[n] < most:
                met_K[which] = n
                word_S[made] = which
                made += 1
        start[n + 1] = made
    return start, word_S[:made]
