r"""Runs of 1..n words as buckets: the features of importance weights, classifiers and clusters.

Three rules cut a text, lower-cased character by character, into words:

wordpunct        the regular expression ``\w+|[^\w\s]+`` as Python reads it, which is nltk's
                 WordPunctTokenizer up to 3.9: punctuation that stands together is a word
wordpunct-regex  the same expression as the package regex reads it, which is nltk's from 3.10 on:
                 marks and joiners are part of words, superscripts and fractions are not
space            what stands between white space

A word's hash takes in eight bytes of ASCII at once; a run's is a polynomial of its words' hashes
modulo 2^64, made from the run that is one word shorter, and then a bijection of that under the
seed. The bucket is the share of the whole range that the upper half falls into, so that any number
of buckets is filled evenly.

Trade-off: every occurrence is written out, four bytes a run. Who counts over all documents, who
weighs each one and who wants sparse rows work from the same array, at memory's speed.

B bytes of all documents laid end to end, N documents, S runs of all documents, F different buckets
of each document, R words of the longest run, C code points, M buckets
"""

from __future__ import annotations

import functools

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.leaf import Int, leaf
from curation.kernels.ngrams import permute
from curation.kernels.shingles import fold_table
from curation.kernels.unicode import (
    CODE_POINTS,
    DIGIT,
    LETTER,
    MARK,
    PUNCT,
    WORD,
    decode,
    flag_table,
)
from curation.kernels.unicode import SPACE as WHITE

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]

WORDPUNCT, SPACE, WORDPUNCT_REGEX = 0, 1, 2
#: Names of the rules, in the order of their numbers.
RULES = ("wordpunct", "space", "wordpunct-regex")
#: A run of more words than this is no feature of anything that was published.
MOST_NGRAMS = 16

# An entry of the table: the code point it is lowered to, and above it what it is.
CODE = np.uint32(0x1FFFFF)
KIND_SHIFT = np.uint32(24)
BETWEEN, IN_WORD, IN_PUNCT = 0, 1, 2

_BASE = np.uint64(0xC6A4A7935BD1E995)
_UNIT_BASE = np.uint64(0x9FB21C651E98DF25)
_START = np.uint64(0x2545F4914F6CDD1D)
#: Bytes of ASCII in a number, and what no such number has in common with a code point.
_EIGHT, _WIDE = 8, np.uint64(1 << 62)
_UPPER = np.uint64(32)

# Unicode 14, first and last code points.
#: Category Nl: numbers that are alphabetic, which those of category No are not.
_LETTER_NUMBERS = (
    *((0x16EE, 0x16F0), (0x2160, 0x2182), (0x2185, 0x2188), (0x3007, 0x3007), (0x3021, 0x3029)),
    *((0x3038, 0x303A), (0xA6E6, 0xA6EF), (0x10140, 0x10174), (0x10341, 0x10341)),
    *((0x1034A, 0x1034A), (0x103D1, 0x103D5), (0x12400, 0x1246E)),
)
#: Symbols that are alphabetic, and the two joiners.
_OTHER_WORD = (
    *((0x200C, 0x200D), (0x24B6, 0x24E9), (0x1F130, 0x1F149), (0x1F150, 0x1F169)),
    (0x1F170, 0x1F189),
)
#: Separators of records: white space for ``str.isspace``, control characters for regex.
_SEPARATORS = ((0x1C, 0x1F),)


@functools.cache
def word_table(rule: int) -> U32:
    """Return uint32[C]: what each code point is lowered to, and whether it is part of a word."""
    flags = flag_table()
    between = (flags & WHITE) != 0
    if rule == WORDPUNCT_REGEX:
        number = (flags & WORD != 0) & (flags & (LETTER | DIGIT | MARK | PUNCT) == 0)
        in_word = (flags & WORD != 0) & ~(number & ~_within(_LETTER_NUMBERS))
        in_word |= _within(_OTHER_WORD)
        between &= ~_within(_SEPARATORS)
    else:
        # \w is what str.isalnum says and the underscore: marks, and other connectors, are not
        in_word = (flags & WORD != 0) & (flags & (MARK | PUNCT) == 0)
        in_word[ord("_")] = True
    kind = np.where(in_word | (rule == SPACE), IN_WORD, IN_PUNCT).astype(np.uint32)
    kind[between] = BETWEEN
    table: U32 = (fold_table() & CODE) | kind << KIND_SHIFT
    table.flags.writeable = False
    return table


def _within(ranges: tuple[tuple[int, int], ...]) -> npt.NDArray[np.bool_]:
    """Return bool[C]: whether a code point is in one of the ranges."""
    inside_C = np.zeros(CODE_POINTS, dtype=np.bool_)
    for first, last in ranges:
        inside_C[first : last + 1] = True
    return inside_C


def hashed_ngrams(
    data_B: U8, offset: I64, ngrams: int, buckets: int, rule: int, seed: int | np.uint64
) -> tuple[I64, U32]:
    """Return the buckets of every run of 1..ngrams words of each document, repeats included.

    data_B   uint8[B]    UTF-8, all documents laid end to end
    offset   int64[N+1]  document n owns data_B[offset[n]:offset[n+1]]; need not start at 0
    ngrams   words of the longest run, 1..MOST_NGRAMS
    buckets  1..2^32
    rule     WORDPUNCT, SPACE or WORDPUNCT_REGEX
    seed     another seed, other buckets
    returns  (int64[N+1], uint32[S]): document n owns bucket_S[start[n]:start[n+1]], in the order of
             the runs' last words, the shortest run first
    """
    table_C = word_table(rule)
    return _hashed(data_B, offset, ngrams, np.uint64(buckets), table_C, np.uint64(seed))


@numba.njit(cache=True, nogil=True)
def _hashed(
    data_B: U8, offset: I64, ngrams: int, buckets: np.uint64, table_C: U32, seed: np.uint64
) -> tuple[I64, U32]:
    run_R = np.empty(ngrams, dtype=np.uint64)
    start = np.zeros(offset.size, dtype=np.int64)
    # memory that is not written to costs nothing
    bucket_S = np.empty((offset[-1] - offset[0]) * ngrams, dtype=np.uint32)
    for n in range(offset.size - 1):
        text_B = data_B[offset[n] : offset[n + 1]]
        made = word_runs(text_B, run_R, buckets, table_C, seed, bucket_S[start[n] :])
        start[n + 1] = start[n] + made
    return start, bucket_S[: start[-1]]


@leaf
def word_runs(
    text_B: U8, run_R: U64, buckets: np.uint64, table_C: U32, seed: np.uint64, bucket_S: U32
) -> int:
    """Write the buckets of one text's runs; return how many there are.

    run_R  scratch; see ``lengthen``
    """
    words, made, at, stop = 0, 0, 0, text_B.size
    while at < stop:
        code: Int = np.int64(text_B[at])
        width = 1
        if code >= 0x80:
            code, width = decode(text_B, at, stop)
        entry = table_C[code]
        at += width
        if entry >> KIND_SHIFT == BETWEEN:
            continue
        value, at = past_word(text_B, at, entry, table_C)
        words += 1
        lengthen(run_R, words, value)
        for r in range(min(words, run_R.size)):
            spread = permute(run_R[r], seed) >> _UPPER
            bucket_S[made] = (spread * buckets) >> _UPPER
            made += 1
    return made


@leaf
def lengthen(run_R: U64, words: int, value: np.uint64) -> None:
    """Take the hash of the latest of so many words into run_R[r], the hash of the last r + 1."""
    for r in range(min(words, run_R.size) - 1, 0, -1):
        run_R[r] = run_R[r - 1] * _BASE + value
    run_R[0] = value


@leaf
def past_word(text_B: U8, at: int, entry: Int, table_C: U32) -> tuple[np.uint64, int]:
    """Return the hash of the word whose first character has been read, and where it ends."""
    kind = entry >> KIND_SHIFT
    value, eight, room = _START, np.uint64(0), _EIGHT
    while True:
        code = entry & CODE
        if code < 0x80:
            if room == 0:
                value, eight, room = (value ^ eight) * _UNIT_BASE, np.uint64(0), _EIGHT
                value ^= value >> _UPPER
            eight = eight << np.uint64(8) | np.uint64(code)
            room -= 1
        else:
            value = ((value ^ eight) * _UNIT_BASE ^ np.uint64(code) ^ _WIDE) * _UNIT_BASE
            value ^= value >> _UPPER
            eight, room = np.uint64(0), _EIGHT
        if at == text_B.size:
            break
        following: Int = np.int64(text_B[at])
        width = 1
        if following >= 0x80:
            following, width = decode(text_B, at, text_B.size)
        entry = table_C[following]
        if entry >> KIND_SHIFT != kind:
            break
        at += width
    value = (value ^ eight) * _UNIT_BASE
    return value ^ (value >> _UPPER), at


@numba.njit(cache=True, nogil=True)
def bucket_counts(start: I64, bucket_S: U32) -> tuple[I64, U32, F32]:
    """Return how often each bucket occurs in each document, as sparse rows.

    start, bucket_S  see ``hashed_ngrams``; neither is changed
    returns          (int64[N+1], uint32[F], float32[F]): document n owns
                     start_F[n]:start_F[n+1] of its buckets, ascending, and of their counts
    """
    start_F = np.zeros(start.size, dtype=np.int64)
    bucket_F = np.empty(bucket_S.size, dtype=np.uint32)
    count_F = np.empty(bucket_S.size, dtype=np.float32)
    made = 0
    for n in range(start.size - 1):
        sorted_S = np.sort(bucket_S[start[n] : start[n + 1]])
        begin = 0
        for s in range(1, sorted_S.size + 1):
            if s == sorted_S.size or sorted_S[s] != sorted_S[begin]:
                bucket_F[made] = sorted_S[begin]
                count_F[made] = s - begin
                made, begin = made + 1, s
        start_F[n + 1] = made
    return start_F, bucket_F[:made], count_F[:made]
