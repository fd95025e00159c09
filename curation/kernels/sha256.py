"""Runs of words as buckets by SHA-256: the hash that DSIR's authors publish, word for word.

A run's bucket is the digest of its words, lower-cased and joined by a space, read as one number
modulo the number of buckets. Words are laid out end to end, a space after each, so that every run
lies in one piece at the end of what has been laid out, and there the padding is written.

Trade-off: a hash takes some hundred times as long as ``hashed_ngrams``' own. The buckets of runs
met before in a call are looked up by a 64-bit hash; that two runs share one of those is as likely
as that the machine errs.

B bytes of all documents laid end to end, N documents, S runs of all documents, C code points,
R words of the longest run, L bytes of the words of a document, T slots of a table, W words of 32
bits of a block's schedule
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.hashed_ngrams import (
    BETWEEN,
    CODE,
    KIND_SHIFT,
    lengthen,
    past_word,
    word_table,
)
from curation.kernels.leaf import Int, leaf
from curation.kernels.ngrams import permute
from curation.kernels.unicode import decode

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]


def _primes(count: int) -> list[int]:
    found: list[int] = []
    number = 2
    while len(found) < count:
        if all(number % prime for prime in found):
            found.append(number)
        number += 1
    return found


def _root_bits(number: int, root: int) -> int:
    """Return the first 32 bits of the fraction of a whole number's root."""
    scaled, low, high = number << (32 * root), 0, 1 << 40
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle**root <= scaled else (low, middle)
    return low & 0xFFFFFFFF


# FIPS 180-4, section 4.2.2 and 5.3.3: the cube roots of the first 64 primes, the square roots of
# the first 8
_ROUND_W = np.array([_root_bits(prime, 3) for prime in _primes(64)], dtype=np.uint32)
_FIRST_8 = np.array([_root_bits(prime, 2) for prime in _primes(8)], dtype=np.uint32)

_SEED = np.uint64(0x2545F4914F6CDD1D)
#: Slots of the table of runs met before: some megabytes, which the processor's cache about holds.
_SLOTS = 1 << 18


def published_ngrams(
    data_B: U8, offset: I64, ngrams: int, buckets: int, rule: int
) -> tuple[I64, U32]:
    """Return the buckets of every run of 1..ngrams words of each document, repeats included.

    The arguments and what is returned are those of ``hashed_ngrams``, without a seed.
    """
    return _published(data_B, offset, ngrams, np.uint64(buckets), word_table(rule))


@numba.njit(cache=True, nogil=True)
def _published(
    data_B: U8, offset: I64, ngrams: int, buckets: np.uint64, table_C: U32
) -> tuple[I64, U32]:
    longest = 0
    for n in range(offset.size - 1):
        longest = max(longest, offset[n + 1] - offset[n])
    # a character takes three bytes at most where its capital took two; a space after each word;
    # two blocks for the padding
    laid_L = np.empty(3 * longest + 128, dtype=np.uint8)
    schedule_W = np.empty(64, dtype=np.uint32)
    state_8 = np.empty(8, dtype=np.uint32)
    run_R = np.empty(ngrams, dtype=np.uint64)
    begin_R = np.empty(ngrams, dtype=np.int64)
    key_T = np.zeros(_SLOTS, dtype=np.uint64)
    known_T = np.empty(_SLOTS, dtype=np.uint32)
    start = np.zeros(offset.size, dtype=np.int64)
    bucket_S = np.empty((offset[-1] - offset[0]) * ngrams, dtype=np.uint32)
    made = 0
    for n in range(offset.size - 1):
        text_B = data_B[offset[n] : offset[n + 1]]
        words, at, size = 0, 0, 0
        while at < text_B.size:
            code, width = decode(text_B, at, text_B.size)
            entry = table_C[code]
            if entry >> KIND_SHIFT == BETWEEN:
                at += width
                continue
            value, stop = past_word(text_B, at + width, entry, table_C)
            begin_R[words % ngrams] = size
            size = _lay_out(text_B[at:stop], table_C, laid_L, size)
            at, words = stop, words + 1
            lengthen(run_R, words, value)
            for r in range(min(words, ngrams)):
                key = permute(run_R[r], _SEED) | np.uint64(1)  # 0 is an empty slot
                slot = np.int64(key >> np.uint64(1)) % _SLOTS
                if key_T[slot] != key:
                    begin = begin_R[(words - 1 - r) % ngrams]
                    known_T[slot] = _digest(laid_L, begin, size, buckets, schedule_W, state_8)
                    key_T[slot] = key
                bucket_S[made] = known_T[slot]
                made += 1
            laid_L[size] = 0x20
            size += 1
        start[n + 1] = made
    return start, bucket_S[:made]


@leaf
def _lay_out(word_B: U8, table_C: U32, laid_L: U8, size: int) -> int:
    """Write a word, lower-cased, behind what is laid out; return the bytes laid out then."""
    at = 0
    while at < word_B.size:
        code: Int = np.int64(word_B[at])
        width = 1
        if code >= 0x80:
            code, width = decode(word_B, at, word_B.size)
        small = np.int64(table_C[code] & CODE)
        at += width
        if small < 0x80:
            laid_L[size] = small
            size += 1
        elif small < 0x800:
            laid_L[size] = 0xC0 | small >> 6
            laid_L[size + 1] = 0x80 | small & 0x3F
            size += 2
        elif small < 0x10000:
            laid_L[size] = 0xE0 | small >> 12
            laid_L[size + 1] = 0x80 | small >> 6 & 0x3F
            laid_L[size + 2] = 0x80 | small & 0x3F
            size += 3
        else:
            laid_L[size] = 0xF0 | small >> 18
            laid_L[size + 1] = 0x80 | small >> 12 & 0x3F
            laid_L[size + 2] = 0x80 | small >> 6 & 0x3F
            laid_L[size + 3] = 0x80 | small & 0x3F
            size += 4
    return size


@leaf
def _digest(
    laid_L: U8, begin: int, end: int, buckets: np.uint64, schedule_W: U32, state_8: U32
) -> np.uint64:
    """Return SHA-256 of laid_L[begin:end] modulo the buckets; what lies behind is overwritten."""
    blocks = _pad(laid_L, begin, end)
    for i in range(8):
        state_8[i] = _FIRST_8[i]
    for block in range(blocks):
        at = begin + 64 * block
        _compress(laid_L[at : at + 64], schedule_W, state_8)
    rest = np.uint64(0)
    for i in range(8):
        rest = (rest << np.uint64(32) | np.uint64(state_8[i])) % buckets
    return rest


@leaf
def _pad(laid_L: U8, begin: int, end: int) -> int:
    """Write a one, zeros and the length in bits behind a message; return its blocks of 64 bytes."""
    blocks = (end - begin + 8) // 64 + 1
    last = begin + 64 * blocks - 1
    laid_L[end] = 0x80
    for at in range(end + 1, last - 7):
        laid_L[at] = 0
    bits = np.uint64(8 * (end - begin))
    for byte in range(8):
        laid_L[last - byte] = bits >> np.uint64(8 * byte) & np.uint64(0xFF)
    return blocks


@leaf
def _turn(value: np.uint32, bits: int) -> np.uint32:
    return np.uint32(value >> np.uint32(bits) | value << np.uint32(32 - bits))


@leaf
def _compress(block_B: U8, schedule_W: U32, state_8: U32) -> None:
    """Take one block of 64 bytes into the state: FIPS 180-4, section 6.2.2."""
    for w in range(16):
        schedule_W[w] = (
            np.uint32(block_B[4 * w]) << np.uint32(24)
            | np.uint32(block_B[4 * w + 1]) << np.uint32(16)
            | np.uint32(block_B[4 * w + 2]) << np.uint32(8)
            | np.uint32(block_B[4 * w + 3])
        )
    for w in range(16, 64):
        early, late = schedule_W[w - 15], schedule_W[w - 2]
        early = _turn(early, 7) ^ _turn(early, 18) ^ (early >> np.uint32(3))
        late = _turn(late, 17) ^ _turn(late, 19) ^ (late >> np.uint32(10))
        schedule_W[w] = schedule_W[w - 16] + early + schedule_W[w - 7] + late
    a, b, c, d = state_8[0], state_8[1], state_8[2], state_8[3]
    e, f, g, h = state_8[4], state_8[5], state_8[6], state_8[7]
    for w in range(64):
        sum_1 = _turn(e, 6) ^ _turn(e, 11) ^ _turn(e, 25)
        one = np.uint32(h + sum_1 + ((e & f) ^ (~e & g)) + _ROUND_W[w] + schedule_W[w])
        sum_0 = _turn(a, 2) ^ _turn(a, 13) ^ _turn(a, 22)
        two = np.uint32(sum_0 + ((a & b) ^ (a & c) ^ (b & c)))
        h, g, f, e = g, f, e, np.uint32(d + one)
        d, c, b, a = c, b, a, np.uint32(one + two)
    state_8[0] += a
    state_8[1] += b
    state_8[2] += c
    state_8[3] += d
    state_8[4] += e
    state_8[5] += f
    state_8[6] += g
    state_8[7] += h
