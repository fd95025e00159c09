"""MinHash: of a set of shingles, the smallest value under each of many permutations.

Two families of permutations are at hand. ``linear`` is a·x + b modulo 2^32 (or 2^64), a odd, over
the upper bits of the shingle's hash, which is mixed well enough for that; the modulus is the
machine's own, so that one instruction does many permutations at once. ``mersenne`` is datatrove's:
a·x + b modulo 2^64 and then modulo 2^61 - 1, of 64 bits only.

N documents, S shingles of all documents, H permutations, K bands, P pairs of documents
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.leaf import leaf
from curation.kernels.ngrams import permute

F32 = npt.NDArray[np.float32]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

MERSENNE_PRIME = np.uint64((1 << 61) - 1)
_BASE = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xD6E8FEB86659FD93)
#: Shingles that stay in the nearest cache while every permutation goes over them.
_BLOCK = 2048


class Permutations(NamedTuple):
    """The constants of H permutations.

    odd_H, add_H  uint32[H] or uint64[H], by the width of the sketch; uint64[H] for mersenne
    mersenne      which family
    """

    odd_H: Any
    add_H: Any
    mersenne: bool


@functools.lru_cache(maxsize=8)
def permutations(count: int, seed: int, bits: int) -> Permutations:
    """Return ``count`` linear permutations; the same for a seed on every machine and version."""
    made = np.empty(2 * count, dtype=np.uint64)
    state = np.uint64(seed)
    with np.errstate(over="ignore"):
        for i in range(2 * count):  # SplitMix64, Steele et al. 2014
            state += np.uint64(0x9E3779B97F4A7C15)
            z = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            made[i] = z ^ (z >> np.uint64(31))
    kind = np.uint32 if bits == 32 else np.uint64
    shifted = (made >> np.uint64(64 - bits)).astype(kind)
    return Permutations(shifted[0::2] | np.ones(1, dtype=kind), shifted[1::2], False)


@functools.lru_cache(maxsize=8)
def mersenne_permutations(count: int, seed: int) -> Permutations:
    """Return the permutations that datatrove draws for a seed (its ``MinhashDedupSignature``)."""
    draw, prime = np.random.RandomState(seed), int(MERSENNE_PRIME)
    odd_H = draw.randint(1, prime, size=count, dtype=np.uint64)
    add_H = draw.randint(0, prime, size=count, dtype=np.uint64)
    return Permutations(odd_H, add_H, True)


def signatures(start: I64, shingle_S: U64, drawn: Permutations, bits: int) -> U32 | U64:
    """Return the signature of each document.

    start      int64[N+1]  document n owns shingle_S[start[n]:start[n+1]]
    shingle_S  uint64[S]   see ``shingles.all_shingles``
    bits       32 or 64, the width of a value
    returns    uint32[N, H] or uint64[N, H]; all ones where a document has no shingle
    """
    if drawn.mersenne:
        kernel: Any = _signatures_mersenne
    else:
        kernel = _signatures_32 if bits == 32 else _signatures_64
    signed: U32 | U64 = kernel(start, shingle_S, drawn.odd_H, drawn.add_H)
    return signed


@numba.njit(cache=True, nogil=True)
def _signatures_32(start: I64, shingle_S: U64, odd_H: U32, add_H: U32) -> U32:
    least_NH = np.full((start.size - 1, odd_H.size), 0xFFFFFFFF, dtype=np.uint32)
    value_S = np.empty(_BLOCK, dtype=np.uint32)
    for n in range(start.size - 1):
        for first in range(start[n], start[n + 1], _BLOCK):
            block_S = shingle_S[first : min(first + _BLOCK, start[n + 1])]
            for s in range(block_S.size):
                value_S[s] = block_S[s] >> np.uint64(32)
            _least_32(value_S[: block_S.size], odd_H, add_H, least_NH[n])
    return least_NH


@leaf
def _least_32(value_S: U32, odd_H: U32, add_H: U32, least_H: U32) -> None:
    for h in range(odd_H.size):
        odd, add, least = odd_H[h], add_H[h], least_H[h]
        for s in range(value_S.size):
            permuted = np.uint32(np.uint32(value_S[s] * odd) + add)
            if permuted < least:
                least = permuted
        least_H[h] = least


@numba.njit(cache=True, nogil=True)
def _signatures_64(start: I64, shingle_S: U64, odd_H: U64, add_H: U64) -> U64:
    least_NH = np.full((start.size - 1, odd_H.size), 0xFFFFFFFFFFFFFFFF, dtype=np.uint64)
    for n in range(start.size - 1):
        for h in range(odd_H.size):
            odd, add, least = odd_H[h], add_H[h], least_NH[n, h]
            for s in range(start[n], start[n + 1]):
                permuted = shingle_S[s] * odd + add
                if permuted < least:
                    least = permuted
            least_NH[n, h] = least
    return least_NH


@numba.njit(cache=True, nogil=True)
def _signatures_mersenne(start: I64, shingle_S: U64, odd_H: U64, add_H: U64) -> U64:
    least_NH = np.full((start.size - 1, odd_H.size), 0xFFFFFFFFFFFFFFFF, dtype=np.uint64)
    for n in range(start.size - 1):
        for h in range(odd_H.size):
            odd, add, least = odd_H[h], add_H[h], least_NH[n, h]
            for s in range(start[n], start[n + 1]):
                permuted = (shingle_S[s] * odd + add) % MERSENNE_PRIME
                if permuted < least:
                    least = permuted
            least_NH[n, h] = least
    return least_NH


@numba.njit(cache=True, nogil=True)
def band_keys(hash_NH: U32 | U64, bands: int, rows: int) -> U64:
    """Return uint64[N, K]: for each band, one hash of its values and number; last, one of all.

    The last is a band of the whole sketch: rows with equal sketches meet there, however crowded
    their other bands are.

    hash_NH  uint32[N, H] or uint64[N, H], band after band
    rows     values of a band
    """
    key_NK = np.empty((hash_NH.shape[0], bands + 1), dtype=np.uint64)
    for n in range(hash_NH.shape[0]):
        whole = _MIX
        for k in range(bands):
            key = np.uint64(k) * _MIX
            for h in range(k * rows, (k + 1) * rows):
                key = (key ^ np.uint64(hash_NH[n, h])) * _BASE
                key ^= key >> np.uint64(29)
            key_NK[n, k] = permute(key, _MIX)
            whole = permute(whole ^ key_NK[n, k], _BASE)
        key_NK[n, bands] = whole
    return key_NK


@numba.njit(cache=True, nogil=True)
def agreement(hash_NH: U32 | U64, first_P: I64, second_P: I64) -> F32:
    """Return float32[P]: the share of equal values of each pair of signatures."""
    frac_P = np.empty(first_P.size, dtype=np.float32)
    for p in range(first_P.size):
        equal = 0
        for h in range(hash_NH.shape[1]):
            equal += hash_NH[first_P[p], h] == hash_NH[second_P[p], h]
        frac_P[p] = equal / hash_NH.shape[1]
    return frac_P
