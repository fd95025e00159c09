"""Runs of folded words as 64-bit hashes, and the table of those that are looked for.

A text is cut into folded words: letters and numbers without case and accents. Marks are
passed over, and all other characters stand between words. Scripts that put no space between words
(Han, kana, Thai, Lao, Khmer, Burmese) give a word for each character. Prefix sums of a polynomial
in the words' hashes give the hash of any run of words in one step.

Runs are told apart by 64 bits of hash and not compared word by word: with a million runs in the
table, a corpus of 10^12 words is expected to meet a wrong one 0.05 times.

B bytes of all texts, N texts, W words, R rules, K different runs that are looked for, P places of
those in entries, E entries (F fields of items, then Q pairs of question and answer), S slots of the
table, T words of the Bloom filter, C code points
"""

from __future__ import annotations

import functools
import unicodedata
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.leaf import Int, leaf
from curation.kernels.ngrams import permute
from curation.kernels.unicode import CODE_POINTS, MARK, PUNCT, SINGLE, WORD, decode, flag_table

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
PairArray = Any  # an array of PAIR_TYPE

#: The rules, in the order of their codes; bit r of a match's rules is rule r.
NGRAM, COVERAGE, ANSWER = 0, 1, 2

_BASE = np.uint64(0xC6A4A7935BD1E995)
_CODE_BASE = np.uint64(0x9E3779B97F4A7C15)
_SEED = np.uint64(0x2545F4914F6CDD1D)
#: What the hash of a run is multiplied by, so that runs of two rules never share a key; odd.
_MIX_R = np.array([0xD6E8FEB86659FD93, 0xA0761D6478BD642F, 0xE7037ED1A0B428DB], dtype=np.uint64)

#: What ``code_table`` says of characters that are no letters: they part words, are passed over.
_PARTS, _PASSED = 0, -1
#: Bit of a character that is a word by itself.
_ALONE = 1 << 24
#: Bit of a character that stands for two or three ASCII letters, which are the bytes below.
_SEVERAL = 1 << 25
#: Soft hyphen, joiners, byte order mark: not seen, and now and then in the middle of a word.
_UNSEEN = (0xAD, 0x200C, 0x200D, 0x2060, 0xFEFF)

#: A question and an answer of it. Hashes and powers are of runs of words; see ``_run``.
PAIR_TYPE = np.dtype(
    [
        ("question", np.uint64),
        ("question_power", np.uint64),
        ("answer", np.uint64),
        ("answer_power", np.uint64),
        ("question_words", np.int64),
        ("answer_words", np.int64),
        ("before", np.int64),  # words of the question before the run it is looked up by
    ],
    align=True,
)


class Index(NamedTuple):
    """What is looked for.

    length_R  int64[R]      words of the runs of each rule; 0 for a rule that is not asked for
    power_R   uint64[R]     _BASE to that power
    bloom_T   uint64[T]     two bits of one word for each key
    slot_S    uint64[S]     keys; 0 where free
    number_S  int32[S]      number of the key
    first_K   int64[K+1]    key k is in the entries entry_P[first_K[k]:first_K[k+1]]
    entry_P   int32[P]
    grams_E   int32[E]      different runs that the coverage of a field is counted in
    need_E    int32[E]      how many of them make it covered
    pair_Q    PAIR_TYPE[Q]
    near      int           words between a question and its answer, at most
    """

    length_R: I64
    power_R: U64
    bloom_T: U64
    slot_S: U64
    number_S: I32
    first_K: I64
    entry_P: I32
    grams_E: I32
    need_E: I32
    pair_Q: PairArray
    near: int


class WordRoom(NamedTuple):
    """The memory for the words of one document.

    prefix_W  uint64[W+1]  prefix sums of the polynomial in the words' hashes
    start_W   int64[W]     bytes of the document at which words begin and end
    stop_W    int64[W]
    """

    prefix_W: U64
    start_W: I64
    stop_W: I64


# ---------------------------------------------------------------- words


@functools.cache
def code_table() -> I32:
    """Return int32[C]: the letter that stands for a code point, _PARTS or _PASSED.

    The case of letters is folded and they lose their accents; compatibility forms (full width,
    ligatures and the like) are their plain letters where those are one, or up to three of ASCII.
    Marks are passed over, so that it does not matter how a text spells an accent, or whether it
    points its vowels.
    """
    flags = flag_table()
    table = np.zeros(CODE_POINTS, dtype=np.int32)
    for code in np.flatnonzero((flags & WORD != 0) & (flags & (PUNCT | MARK) == 0)).tolist():
        table[code] = _folded(chr(code)) | (_ALONE if flags[code] & SINGLE else 0)
    table[flags & MARK != 0] = _PASSED
    table[[*_UNSEEN]] = _PASSED
    table.flags.writeable = False
    return table


def _folded(letter: str) -> int:
    for form in (_without_marks(letter), letter):
        plain = _without_marks(form.casefold())
        if len(plain) == 1:
            return ord(plain)
        if 1 < len(plain) < 4 and plain.isascii() and plain.isalnum():
            return _SEVERAL | int.from_bytes(plain.encode(), "big")
    return ord(letter)


def _without_marks(letter: str) -> str:
    parts = unicodedata.normalize("NFKD", letter)
    return "".join(part for part in parts if unicodedata.category(part)[0] != "M")


@numba.njit(cache=True, nogil=True)
def word_room(size: int) -> WordRoom:
    """Return the memory for the words of documents of up to so many bytes."""
    words = size // 2 + 2  # a word and what parts it from the next take two bytes at least
    prefix_W = np.empty(words + 1, dtype=np.uint64)
    prefix_W[0] = np.uint64(0)
    start_W, stop_W = np.empty(words, dtype=np.int64), np.empty(words, dtype=np.int64)
    return WordRoom(prefix_W, start_W, stop_W)


@leaf
def cut(text_B: U8, code_C: I32, room: WordRoom) -> int:
    """Cut a document into folded words; return how many there are."""
    words, begin, end, value = 0, -1, 0, _SEED
    at, stop = 0, text_B.size
    while at < stop:
        code: Int = np.int64(text_B[at])
        width = 1
        if code >= 0x80:
            code, width = decode(text_B, at, stop)
        letter: Int = np.int64(code_C[code])
        if 0 < letter < _ALONE:
            begin = at if begin < 0 else begin
            value = value * _CODE_BASE + np.uint64(letter)
            end = at + width
        elif letter == _PASSED:
            end = at + width  # of no account outside a word
        elif letter >= _SEVERAL:
            begin = at if begin < 0 else begin
            for shift in (16, 8, 0):
                one = (letter >> shift) & 0xFF
                if one:
                    value = value * _CODE_BASE + np.uint64(one)
            end = at + width
        else:
            if begin >= 0:
                words = _put(words, value, begin, end, room)
                begin, value = -1, _SEED
            if letter != _PARTS:
                alone = _SEED * _CODE_BASE + np.uint64(letter)
                words = _put(words, alone, at, at + width, room)
        at += width
    if begin >= 0:
        words = _put(words, value, begin, end, room)
    return words


@leaf
def _put(words: int, value: np.uint64, start: int, stop: int, room: WordRoom) -> int:
    room.start_W[words], room.stop_W[words] = start, stop
    mixed = permute(value, _SEED)
    room.prefix_W[words + 1] = room.prefix_W[words] * _BASE + mixed
    return words + 1


@leaf
def run_hash(prefix_W: U64, at: int, length: int, power: np.uint64) -> np.uint64:
    """Return the hash of the run of words at a place; ``power`` is _BASE to its length."""
    value: np.uint64 = prefix_W[at + length] - prefix_W[at] * power
    return value


# ---------------------------------------------------------------- runs and tables


class Runs(NamedTuple):
    """Runs of words of one length: hash, number of the text and word of it where each begins."""

    hash_P: U64
    text_P: I64
    at_P: I64


@numba.njit(cache=True, nogil=True)
def prefix_sums(data_B: U8, offset: I64, code_C: I32) -> tuple[I64, U64]:
    """Cut texts into folded words.

    returns  int64[N+1]  text n owns prefix_W[first[n]:first[n+1]], one more than it has words
             uint64[W]   prefix sums of the texts, each from 0 on
    """
    count = offset.size - 1
    first = np.zeros(count + 1, dtype=np.int64)
    longest = 0
    for n in range(count):
        longest = max(longest, offset[n + 1] - offset[n])
    room = word_room(longest)
    prefix_W = np.empty((offset[count] - offset[0]) // 2 + 3 * count + 1, dtype=np.uint64)
    for n in range(count):
        words = cut(data_B[offset[n] : offset[n + 1]], code_C, room)
        first[n + 1] = first[n] + words + 1
        prefix_W[first[n] : first[n + 1]] = room.prefix_W[: words + 1]
    return first, prefix_W[: first[count]].copy()


@numba.njit(cache=True, nogil=True)
def runs_of(first: I64, prefix_W: U64, length: int) -> Runs:
    """Return every run of so many words of texts that ``prefix_sums`` has cut."""
    made = 0
    for n in range(first.size - 1):
        made += max(first[n + 1] - first[n] - length, 0)
    hash_P = np.empty(made, dtype=np.uint64)
    text_P = np.empty(made, dtype=np.int64)
    at_P = np.empty(made, dtype=np.int64)
    power, made = power_of(length), 0
    for n in range(first.size - 1):
        for at in range(first[n + 1] - first[n] - length):
            hash_P[made] = run_hash(prefix_W[first[n] :], at, length, power)
            text_P[made], at_P[made] = n, at
            made += 1
    return Runs(hash_P, text_P, at_P)


@numba.njit(cache=True, nogil=True)
def whole_runs(first: I64, prefix_W: U64) -> tuple[U64, U64]:
    """Return uint64[N], the hash of each text as one run, and uint64[N], its power."""
    hash_N = np.empty(first.size - 1, dtype=np.uint64)
    power_N = np.empty(first.size - 1, dtype=np.uint64)
    for n in range(first.size - 1):
        hash_N[n] = prefix_W[first[n + 1] - 1]
        power_N[n] = power_of(first[n + 1] - first[n] - 1)
    return hash_N, power_N


@leaf
def power_of(length: int) -> np.uint64:
    """Return what the word before a run of so many words is multiplied by."""
    power = np.uint64(1)
    for _ in range(length):
        power *= _BASE
    return power


@numba.njit(cache=True, nogil=True)
def keys_of(hash_P: U64, rule: int) -> U64:
    """Return the keys of runs under a rule."""
    key_P = np.empty(hash_P.size, dtype=np.uint64)
    for p in range(hash_P.size):
        key_P[p] = key_of(hash_P[p], rule)
    return key_P


@numba.njit(cache=True, nogil=True)
def table_of(key_K: U64) -> tuple[U64, U64, I32]:
    """Return the Bloom filter, the slots and the numbers of different keys; see ``Index``."""
    size = 2
    while size < 2 * key_K.size:
        size *= 2
    bloom_T = np.zeros(max(size // 4, 1), dtype=np.uint64)  # 16 bits or more for each key
    slot_S = np.zeros(size, dtype=np.uint64)
    number_S = np.zeros(size, dtype=np.int32)
    for k in range(key_K.size):
        key = key_K[k]
        bloom_T[np.int64(key >> np.uint64(32)) & (bloom_T.size - 1)] |= bits_of(key)
        slot = np.int64(key >> np.uint64(20)) & (size - 1)
        while slot_S[slot] != 0:
            slot = (slot + 1) & (size - 1)
        slot_S[slot], number_S[slot] = key, k
    return bloom_T, slot_S, number_S


# ---------------------------------------------------------------- keys


@leaf
def key_of(run: np.uint64, rule: int) -> np.uint64:
    """Return a run's key under a rule; never 0, which marks a free slot."""
    return max(run * _MIX_R[rule], np.uint64(1))


@leaf
def bits_of(key: np.uint64) -> np.uint64:
    one, two = (key >> np.uint64(14)) & np.uint64(63), (key >> np.uint64(8)) & np.uint64(63)
    return (np.uint64(1) << one) | (np.uint64(1) << two)
