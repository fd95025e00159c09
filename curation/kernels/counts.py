"""Counts of words and characters that need no memory of the text: kinds, stop words, classes.

N documents, W words of all documents, T stop words, S slots of a hash table, C code points
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.leaf import Int, leaf
from curation.kernels.unicode import DIGIT, LETTER, SPACE, SYMBOL, UPPER, decode
from curation.kernels.words import HAS_LETTER, HAS_SENSE, WordArray

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]


@numba.njit(cache=True, nogil=True)
def count_kinds(word_offset: I64, word_W: WordArray, stop_T: U64) -> I64:
    """Count the words of each document by kind.

    word_offset, word_W  the words; see ``words.Words``
    stop_T               uint64[T]  sorted hashes of the stop words
    returns              int64[N, 5]  words with sense; code points in them; words with a letter;
                         different stop words; stop words
    """
    count = word_offset.size - 1
    kind_N5 = np.zeros((count, 5), dtype=np.int64)
    sieve = np.uint64(0)
    for value in stop_T:
        sieve |= np.uint64(1) << (value >> np.uint64(58))
    met_T = np.zeros(stop_T.size, dtype=np.int64)
    for n in range(count):
        words = word_W[word_offset[n] : word_offset[n + 1]]
        sense, letters = 0, 0
        chars: Int = 0
        for at in range(words.size):
            word = words[at]
            if word.kind & HAS_SENSE:
                sense, chars = sense + 1, chars + np.int64(word.chars)
            letters += word.kind & HAS_LETTER != 0
        kind_N5[n, 0], kind_N5[n, 1], kind_N5[n, 2] = sense, chars, letters
        kind_N5[n, 3], kind_N5[n, 4] = _count_stop_words(words, stop_T, sieve, met_T, n + 1)
    return kind_N5


@leaf
def _count_stop_words(
    words: WordArray, stop_T: U64, sieve: np.uint64, met_T: I64, turn: int
) -> tuple[int, int]:
    """Return how many different stop words occur, and how often any does.

    sieve  a bit for each value that the first six bits of a stop word's hash have
    met_T  the turn in which each stop word was last met
    """
    kinds, total = 0, 0
    for at in range(words.size):
        value = words[at].hash
        if (sieve >> (value >> np.uint64(58))) & np.uint64(1) == 0:
            continue
        for which in range(stop_T.size):
            if stop_T[which] == value:
                total += 1
                kinds += met_T[which] != turn
                met_T[which] = turn
                break
    return kinds, total


@numba.njit(cache=True, nogil=True)
def count_commonest(word_offset: I64, word_W: WordArray) -> I64:
    """Return int64[N]: how often the commonest word of each document occurs."""
    count = word_offset.size - 1
    most_N = np.zeros(count, dtype=np.int64)
    longest = 1
    for n in range(count):
        longest = max(longest, word_offset[n + 1] - word_offset[n])
    slots = 2
    while slots < 2 * longest:
        slots *= 2
    key_S = np.empty(slots, dtype=np.uint64)
    count_S = np.empty(slots, dtype=np.int64)
    for n in range(count):
        words = word_W[word_offset[n] : word_offset[n + 1]]
        most_N[n] = _commonest(words, key_S, count_S)
    return most_N


@leaf
def _commonest(words: WordArray, key_S: U64, count_S: I64) -> Int:
    slots = 2
    while slots < 2 * words.size:
        slots *= 2
    key_S[:slots] = 0
    count_S[:slots] = 0
    most: Int = 0
    for at in range(words.size):
        value = max(words[at].hash, np.uint64(1))
        slot: Int = np.int64(value >> np.uint64(20)) & (slots - 1)
        while key_S[slot] != 0 and key_S[slot] != value:
            slot = (slot + 1) & (slots - 1)
        key_S[slot] = value
        count_S[slot] += 1
        most = max(most, count_S[slot])
    return most


#: Columns of ``count_characters``.
CHARS, LETTERS, CAPITALS, DIGITS, SYMBOLS, SPACES, LONGEST_WORD, CURLY, LOREM = range(9)


@numba.njit(cache=True, nogil=True)
def count_characters(data_B: U8, offset: I64, flag_C: U32) -> I64:
    """Count the code points of each document by class.

    data_B   uint8[B]     UTF-8, all documents laid end to end
    offset   int64[N+1]   document n owns data_B[offset[n]:offset[n+1]]; need not start at 0
    returns  int64[N, 9]  code points; letters, capitals, decimal digits, punctuation and symbols,
                          white space; code points of the longest run without white space; curly
                          brackets; 'lorem ipsum' in any case, a single space between
    """
    count = offset.size - 1
    class_N9 = np.zeros((count, 9), dtype=np.int64)
    for n in range(count):
        _count_characters(data_B[offset[n] : offset[n + 1]], flag_C, class_N9[n])
    return class_N9


@leaf
def _count_characters(text_B: U8, flag_C: U32, class_9: I64) -> None:
    at, run = 0, 0
    while at < text_B.size:
        code, width = decode(text_B, at, text_B.size)
        flags = flag_C[code]
        class_9[CHARS] += 1
        class_9[LETTERS] += flags & LETTER != 0
        class_9[CAPITALS] += flags & UPPER != 0
        class_9[DIGITS] += flags & DIGIT != 0
        class_9[SYMBOLS] += flags & SYMBOL != 0
        white = flags & SPACE != 0
        class_9[SPACES] += white
        run = 0 if white else run + 1
        class_9[LONGEST_WORD] = max(class_9[LONGEST_WORD], run)
        class_9[CURLY] += code == 0x7B or code == 0x7D
        if code | 0x20 == 0x6C:  # l or L
            class_9[LOREM] += _is_lorem_ipsum(text_B, at)
        at += width


_LOREM = np.frombuffer(b"lorem ipsum", dtype=np.uint8)


@leaf
def _is_lorem_ipsum(text_B: U8, at: int) -> bool:
    if text_B.size - at < _LOREM.size:
        return False
    for index in range(_LOREM.size):
        byte = text_B[at + index]
        if (byte | 0x20 if byte >= 0x41 else byte) != _LOREM[index]:
            return False
    return True
