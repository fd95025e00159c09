"""A fastText model as arrays, and how its words and n-grams are hashed and found.

B bytes of texts, D dimensions, R rows of the input matrix, L labels, W words of the dictionary and
labels after them, P buckets of a pruned model, S slots of a hash table (a power of two),
Q parts of a quantised row, K dimensions of a part, T nodes of the label tree
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]

#: The losses by their number in the file; negative sampling and one-versus-all predict alike.
HIERARCHICAL, NEGATIVE, SOFTMAX, ONE_VERSUS_ALL = 1, 2, 3, 4

#: What a model does with the hashes of n-grams.
KEEP_ALL, KEEP_NONE, KEEP_LISTED = -1, 0, 1

#: The word that ends a line, and what labels begin with.
EOS = np.frombuffer(b"</s>", dtype=np.uint8)
PREFIX = np.frombuffer(b"__label__", dtype=np.uint8)

FNV_SEED = np.uint32(2166136261)
_FNV_PRIME = np.uint32(16777619)


class Tables(NamedTuple):
    """A model as arrays.

    word_B       uint8[]      the words and labels laid end to end
    offset_W     int64[W+1]   word w owns word_B[offset_W[w]:offset_W[w+1]]
    slot_S       int32[S]     hash table of the words, linear probing; -1 where empty
    words        int          how many of the W are words
    eos          int          the word that ends a line; -1 where the dictionary lacks it
    min_chars, max_chars      lengths of character n-grams; none where max_chars is 0
    word_ngrams  int          longest run of words that has a row of its own
    buckets      int          what hashes of n-grams are taken modulo
    pruned       int          KEEP_ALL, KEEP_NONE or KEEP_LISTED
    kept_bits    uint8[]      KEEP_LISTED: a bit for each bucket, the lowest first
    bucket_S2    int32[S, 2]  KEEP_LISTED: hash table bucket → row; bucket -1 where empty
    input_RD     float32      the rows; empty where they are left quantised
    code_RQ      uint8        quantised rows
    part_QCK     float32[Q, 256, K]  what each code stands for
    norm_R       float32      what a quantised row is multiplied by
    output_LD    float32      a row for each label, or for each inner node of the tree
    loss         int          HIERARCHICAL, NEGATIVE, SOFTMAX or ONE_VERSUS_ALL
    child_T2     int32[T, 2]  HIERARCHICAL: children of a node, the labels first; -1 for a label
    place_T      int32[T]     where a label stands when the tree is walked from the left
    labels       int
    """

    word_B: U8
    offset_W: I64
    slot_S: I32
    words: int
    eos: int
    min_chars: int
    max_chars: int
    word_ngrams: int
    buckets: int
    pruned: int
    kept_bits: U8
    bucket_S2: I32
    input_RD: F32
    code_RQ: U8
    part_QCK: F32
    norm_R: F32
    output_LD: F32
    loss: int
    child_T2: I32
    place_T: I32
    labels: int


@numba.njit(cache=True, nogil=True)
def fnv(value: np.uint32, byte: np.uint8) -> np.uint32:
    """FNV-1a, with each byte taken for a signed number as fastText's released models do."""
    signed = np.uint32(np.int32(np.int8(byte)))
    return np.uint32((value ^ signed) * _FNV_PRIME)


@numba.njit(cache=True, nogil=True)
def hash_word(data_B: U8, start: int, stop: int) -> np.uint32:
    value = FNV_SEED
    for at in range(start, stop):
        value = fnv(value, data_B[at])
    return value


@numba.njit(cache=True, nogil=True)
def equal(one_B: U8, at: int, other_B: U8, begin: int, stop: int) -> bool:
    """Say whether the bytes from ``at`` on are those of the other array from begin to stop."""
    while begin < stop:
        if one_B[at] != other_B[begin]:
            return False
        at += 1
        begin += 1
    return True


@numba.njit(cache=True, nogil=True)
def begins_with(data_B: U8, begin: int, stop: int, wanted_B: U8) -> bool:
    if stop - begin < wanted_B.size:
        return False
    return equal(wanted_B, 0, data_B, begin, begin + wanted_B.size)


@numba.njit(cache=True, nogil=True)
def remainder(value: np.uint32, buckets: int, per_bucket: float) -> int:
    """Return a hash modulo the buckets, given 1 / buckets, without the slow instruction for it.

    The quotient of a number below 2^32 is exact in float64 or, of a multiple, one too small.
    """
    rest = int(value) - int(int(value) * per_bucket) * buckets
    return rest - buckets if rest >= buckets else rest


@numba.njit(cache=True, nogil=True)
def first_slot(key: int, slots: int) -> int:
    """Return where the search for a bucket begins in a table of so many slots."""
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)  # 2^64 divided by the golden ratio
    return int(mixed >> np.uint64(40)) & (slots - 1)


@numba.njit(cache=True, nogil=True)
def find_word(tables: Tables, data_B: U8, begin: int, stop: int, word_hash: np.uint32) -> int:
    """Return the index of a word in the dictionary; -1 where it is not there."""
    word_B, offset_W, slot_S = tables.word_B, tables.offset_W, tables.slot_S
    slot = np.int64(word_hash) & (slot_S.size - 1)
    while slot_S[slot] >= 0:
        word = slot_S[slot]
        first, size = offset_W[word], offset_W[word + 1] - offset_W[word]
        if size == stop - begin and equal(word_B, first, data_B, begin, stop):
            return int(word)
        slot = (slot + 1) & (slot_S.size - 1)
    return -1


@numba.njit(cache=True, nogil=True)
def word_slots(word_B: U8, offset_W: I64) -> I32:
    """Return the hash table of a dictionary."""
    slots = 16
    while slots < 2 * offset_W.size:
        slots *= 2
    slot_S = np.full(slots, -1, dtype=np.int32)
    for word in range(offset_W.size - 1):
        slot = np.int64(hash_word(word_B, offset_W[word], offset_W[word + 1])) & (slots - 1)
        while slot_S[slot] >= 0:
            slot = (slot + 1) & (slots - 1)
        slot_S[slot] = word
    return slot_S


@numba.njit(cache=True, nogil=True)
def bucket_slots(kept_P2: I32) -> I32:
    """Return the hash table of the buckets that a pruned model has kept, with their rows."""
    slots = 16
    while slots < 2 * kept_P2.shape[0] + 2:
        slots *= 2
    slot_S2 = np.full((slots, 2), -1, dtype=np.int32)
    for p in range(kept_P2.shape[0]):
        slot = first_slot(kept_P2[p, 0], slots)
        while slot_S2[slot, 0] >= 0 and slot_S2[slot, 0] != kept_P2[p, 0]:
            slot = (slot + 1) & (slots - 1)
        slot_S2[slot, 0], slot_S2[slot, 1] = kept_P2[p, 0], kept_P2[p, 1]
    return slot_S2


@numba.njit(cache=True, nogil=True)
def read_words(file_B: U8, at: int, count: int) -> tuple[I64, I64, I64, U8, int]:
    """Find the entries of a dictionary: a word, a null byte, an int64 count, a byte of kind.

    returns  start, stop and count of each entry, its kind, and the place after the last; that
             place is -1 where the file ends before the entries do
    """
    start_W = np.zeros(count, dtype=np.int64)
    stop_W = np.zeros(count, dtype=np.int64)
    count_W = np.zeros(count, dtype=np.int64)
    kind_W = np.zeros(count, dtype=np.uint8)
    for w in range(count):
        start_W[w] = at
        while at < file_B.size and file_B[at] != 0:
            at += 1
        stop_W[w] = at
        if at + 10 > file_B.size:
            return start_W, stop_W, count_W, kind_W, -1
        value = np.uint64(0)
        for i in range(8):
            value |= np.uint64(file_B[at + 1 + i]) << np.uint64(8 * i)
        count_W[w], kind_W[w] = np.int64(value), file_B[at + 9]
        at += 10
    return start_W, stop_W, count_W, kind_W, at
