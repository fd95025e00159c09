"""Kernel density by hashing: buckets of random hyperplanes, and how full they are.

A vector's bucket is the side of each of B planes on which it lies. Two vectors at an angle of a
are on one side of a random plane with probability 1 - a / pi, so that the share of all rows in
a vector's bucket is, in expectation, the mean over all rows of (1 - a / pi)**B: a kernel density.

Planes and vectors are whole numbers of so small a norm that float32 products are exact (see
kernels/semantic.py): on which side a vector lies depends on no order and no block size.

N rows, D dimensions, H repetitions, B planes of one repetition, P = H * B planes
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.semantic import whole

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]


def planes(hash_C: U64, count: int, dims: int) -> F32:
    """Return float32[P, D]: normals of random planes, of even direction, in whole numbers.

    hash_C  uint64[2*P*D]  evenly spread; two of them make a normal number (Box and Muller 1958)
    """
    uniform_C = ((hash_C >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    radius, turn = np.split(uniform_C, 2)
    normal = np.sqrt(-2.0 * np.log(radius)) * np.cos(2.0 * np.pi * turn)
    normal_PD = normal.reshape(count, dims)
    unit_PD = normal_PD / np.linalg.norm(normal_PD, axis=1, keepdims=True)
    return whole(unit_PD.astype(np.float32))


@numba.njit(cache=True, nogil=True)
def buckets(side_NP: F32, repetitions: int) -> I64:
    """Return int64[N, H]: the bucket of each row in each repetition.

    side_NP  float32[N, P]  products with the planes; zero counts as above the plane
    """
    count = side_NP.shape[0]
    per_repetition = side_NP.shape[1] // repetitions
    bucket_NH = np.empty((count, repetitions), dtype=np.int64)
    for n in range(count):
        for h in range(repetitions):
            bucket = 0
            for b in range(h * per_repetition, (h + 1) * per_repetition):
                bucket = (bucket << 1) | (1 if side_NP[n, b] >= 0 else 0)
            bucket_NH[n, h] = bucket
    return bucket_NH


@numba.njit(cache=True, nogil=True)
def count_buckets(bucket_NH: I64, count_HK: I64) -> None:
    """Add rows to the counts: int64[H, K], K = 2**B buckets of each repetition."""
    for n in range(bucket_NH.shape[0]):
        for h in range(bucket_NH.shape[1]):
            count_HK[h, bucket_NH[n, h]] += 1


@numba.njit(cache=True, nogil=True)
def rows_beside(bucket_NH: I64, count_HK: I64) -> I64:
    """Return int64[N]: rows in the bucket of each row, itself too, over all repetitions."""
    beside_N = np.zeros(bucket_NH.shape[0], dtype=np.int64)
    for n in range(bucket_NH.shape[0]):
        for h in range(bucket_NH.shape[1]):
            beside_N[n] += count_HK[h, bucket_NH[n, h]]
    return beside_N
