"""Runs of n words (shingles) as hashes.

A run's hash is a polynomial of its words' hashes modulo 2^64, so that the next run's follows from
it in one step. Words of punctuation alone are passed over.

N documents, W words of all documents
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.leaf import leaf
from curation.kernels.words import HAS_SENSE, WordArray

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

_BASE = np.uint64(0xC6A4A7935BD1E995)
_MIX_0, _MIX_1 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)

#: The value for a document that is shorter than a run.
NO_SHINGLE = np.uint64(0xFFFFFFFFFFFFFFFF)


@numba.njit(cache=True, nogil=True)
def smallest_shingle(word_offset: I64, word_W: WordArray, length: int, seed: int) -> U64:
    """Return the smallest hash of any run of so many words, after one seeded permutation.

    word_offset, word_W  the words; see ``words.Words``
    length               words in a run, at least 1
    returns              uint64[N]  NO_SHINGLE where a document has fewer words
    """
    count = word_offset.size - 1
    least_N = np.empty(count, dtype=np.uint64)
    recent_R = np.zeros(length, dtype=np.uint64)
    oldest = np.uint64(1)  # what the word that leaves a run was multiplied by
    for _ in range(length):
        oldest *= _BASE
    for n in range(count):
        words = word_W[word_offset[n] : word_offset[n + 1]]
        least_N[n] = _smallest(words, recent_R, oldest, np.uint64(seed))
    return least_N


@leaf
def _smallest(words: WordArray, recent_R: U64, oldest: np.uint64, seed: np.uint64) -> np.uint64:
    least, run, met, slot = NO_SHINGLE, np.uint64(0), 0, 0
    recent_R[:] = 0
    for at in range(words.size):
        if not words[at].kind & HAS_SENSE:
            continue
        value = words[at].hash
        run = run * _BASE + value - recent_R[slot] * oldest
        recent_R[slot] = value
        met, slot = met + 1, slot + 1
        slot = 0 if slot == recent_R.size else slot
        if met >= recent_R.size:
            least = min(least, permute(run, seed))
    return least


@leaf
def permute(value: np.uint64, seed: np.uint64) -> np.uint64:
    """Return a bijection of the 64-bit numbers, one for each seed (SplitMix64's finaliser)."""
    value = (value ^ seed) * _MIX_0
    value = (value ^ (value >> np.uint64(27))) * _MIX_1
    return value ^ (value >> np.uint64(31))
