"""128-bit hashes of documents, with case and white space folded on the fly.

The hash is XXH64 (https://github.com/Cyan4973/xxHash, doc/xxhash_spec.md) of the folded bytes
under two seeds: a published algorithm with published test vectors, so that any language can
make the same value. It is no defence against somebody who builds collisions on purpose.

Trade-off: each document is folded into a scratch buffer, as long as the longest document, and
hashed from there. The buffer begins on a word boundary, which the documents do not, and both
seeds are served from it. A word of the buffer is read in the machine's own order, which is the
specified little-endian one on every machine that numba supports.

B bytes of all documents laid end to end, N documents, W words of 8 bytes in the scratch buffer
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.leaf import leaf
from curation.kernels.words import KIND, LETTER, PERHAPS, SPACE, space_width

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

#: Seeds of the first and the second 64 bits: the first digits of pi's and of e's fraction, in hex.
SEED_0 = np.uint64(0x243F6A8885A308D3)
SEED_1 = np.uint64(0xB7E151628AED2A6A)

_P1 = np.uint64(0x9E3779B185EBCA87)
_P2 = np.uint64(0xC2B2AE3D27D4EB4F)
_P3 = np.uint64(0x165667B19E3779F9)
_P4 = np.uint64(0x85EBCA77C2B2AE63)
_P5 = np.uint64(0x27D4EB2F165667C5)

_FOLD = np.arange(256, dtype=np.uint8)
_FOLD[0x41:0x5B] += 0x20  # A-Z
_FOLD[KIND == SPACE] = 0x20


@numba.njit(cache=True, nogil=True)
def hash_folded(data_B: U8, offset: I64) -> U64:
    """Hash each document with white space runs made one space, ends trimmed, ASCII lowered.

    data_B   uint8[B]      UTF-8, all documents laid end to end
    offset   int64[N+1]    document n owns data_B[offset[n]:offset[n+1]]; need not start at 0
    returns  uint64[N, 2]  XXH64 of the folded bytes under SEED_0 and SEED_1
    """
    count = offset.size - 1
    hash_N2 = np.empty((count, 2), dtype=np.uint64)
    longest = 0
    for n in range(count):
        longest = max(longest, offset[n + 1] - offset[n])
    word_W = np.empty(longest // 8 + 1, dtype=np.uint64)
    byte_B = word_W.view(np.uint8)
    for n in range(count):
        size = _fold(data_B, offset[n], offset[n + 1], byte_B)
        hash_N2[n, 0] = xxh64(word_W, byte_B, size, SEED_0)
        hash_N2[n, 1] = xxh64(word_W, byte_B, size, SEED_1)
    return hash_N2


@numba.njit(cache=True, nogil=True)
def hash_bytes(data_B: U8, offset: I64) -> U64:
    """Hash each document as it is, byte for byte.

    data_B   uint8[B]      all documents laid end to end
    offset   int64[N+1]    document n owns data_B[offset[n]:offset[n+1]]; need not start at 0
    returns  uint64[N]     XXH64 under SEED_0
    """
    count = offset.size - 1
    hash_N = np.empty(count, dtype=np.uint64)
    longest = 0
    for n in range(count):
        longest = max(longest, offset[n + 1] - offset[n])
    word_W = np.empty(longest // 8 + 1, dtype=np.uint64)
    byte_B = word_W.view(np.uint8)
    for n in range(count):
        size = offset[n + 1] - offset[n]
        byte_B[:size] = data_B[offset[n] : offset[n + 1]]
        hash_N[n] = xxh64(word_W, byte_B, size, SEED_0)
    return hash_N


@leaf
def _fold(data_B: U8, start: int, stop: int, out: U8) -> int:
    """Write the folded document to ``out`` and return its length.

    Letters and single-byte spaces take one path without a branch on what the byte is: a space
    after a space is written too, and then written over.
    """
    size, after_space, at = 0, 1, start
    while at < stop:
        byte = data_B[at]
        kind = KIND[byte]
        out[size] = _FOLD[byte]
        if kind == PERHAPS:
            width = space_width(data_B, at, stop)
            kind = SPACE if width else LETTER
            if width:
                out[size] = 0x20
                at += width - 1
        size += 1 - (kind & after_space)
        after_space = kind
        at += 1
    return size - 1 if size > 0 and after_space else size


@leaf
def xxh64(word_W: U64, byte_B: U8, size: int, seed: np.uint64) -> np.uint64:
    """Return XXH64 of the first ``size`` bytes of a buffer, seen as words and as bytes."""
    at = 0
    if size >= 32:
        a, b, c, d = seed + _P1 + _P2, seed + _P2, seed, seed - _P1
        for at in range(0, size // 32 * 4, 4):
            a = _round(a, word_W[at])
            b = _round(b, word_W[at + 1])
            c = _round(c, word_W[at + 2])
            d = _round(d, word_W[at + 3])
        at = size // 32 * 4
        total = _rotate(a, 1) + _rotate(b, 7) + _rotate(c, 12) + _rotate(d, 18)
        for lane in (a, b, c, d):
            total = (total ^ _round(np.uint64(0), lane)) * _P1 + _P4
    else:
        total = seed + _P5
    total += np.uint64(size)
    return _avalanche(_tail(total, word_W, byte_B, at, size))


@leaf
def _tail(total: np.uint64, word_W: U64, byte_B: U8, at: int, size: int) -> np.uint64:
    """Mix in the bytes after the last block of 32: eights, a four, ones."""
    while at * 8 + 8 <= size:
        total = _rotate(total ^ _round(np.uint64(0), word_W[at]), 27) * _P1 + _P4
        at += 1
    byte_at = at * 8
    if byte_at + 4 <= size:
        four = word_W[at] & np.uint64(0xFFFFFFFF)
        total = _rotate(total ^ (four * _P1), 23) * _P2 + _P3
        byte_at += 4
    while byte_at < size:
        total = _rotate(total ^ (np.uint64(byte_B[byte_at]) * _P5), 11) * _P1
        byte_at += 1
    return total


@leaf
def _round(lane: np.uint64, word: np.uint64) -> np.uint64:
    return _rotate(lane + word * _P2, 31) * _P1


@leaf
def _rotate(value: np.uint64, bits: int) -> np.uint64:
    return (value << np.uint64(bits)) | (value >> np.uint64(64 - bits))


@leaf
def _avalanche(total: np.uint64) -> np.uint64:
    total = (total ^ (total >> np.uint64(33))) * _P2
    total = (total ^ (total >> np.uint64(29))) * _P3
    return total ^ (total >> np.uint64(32))
