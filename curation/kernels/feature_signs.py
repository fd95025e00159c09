"""Sparse counts as short dense vectors: a feature adds its weight, under signs, to a few places.

Places and signs come from a hash of the feature, so that the projection is stored nowhere
(Weinberger et al. 2009, arXiv:0902.2206; several places a feature, so that two frequent ones seldom
share them all: Kane and Nelson 2014, arXiv:1012.1577). Inner products are those of the counts, on
average.

N documents, F different features of each document, D places
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.ngrams import permute

U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]

_NEXT = np.uint64(0x9E3779B97F4A7C15)
_UPPER = np.uint64(32)


@numba.njit(cache=True, nogil=True)
def unit_vectors(
    start: I64, bucket_F: U32, weight_F: F32, dims: int, places: int, seed: np.uint64
) -> F32:
    """Return the vector of each document, of length 1; zeros where it has no feature.

    start, bucket_F, weight_F  sparse rows; see ``hashed_ngrams.bucket_counts``
    dims                       D, at most 2^32
    places                     how many places a feature adds to
    returns                    float32[N, D]
    """
    count = start.size - 1
    vector_ND = np.empty((count, dims), dtype=np.float32)
    sum_D = np.empty(dims, dtype=np.float64)
    for n in range(count):
        sum_D[:] = 0.0
        for f in range(start[n], start[n + 1]):
            for place in range(places):
                offset = np.uint64(bucket_F[f]) + _NEXT * np.uint64(place)
                value = permute(offset, seed)
                at = ((value >> _UPPER) * np.uint64(dims)) >> _UPPER
                sum_D[at] += weight_F[f] if value & np.uint64(1) else -weight_F[f]
        square = 0.0
        for d in range(dims):
            square += sum_D[d] * sum_D[d]
        scale = 1.0 / np.sqrt(square) if square > 0.0 else 0.0
        for d in range(dims):
            vector_ND[n, d] = sum_D[d] * scale
    return vector_ND
