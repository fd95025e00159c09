"""Counts of buckets over many documents, and what the buckets of each document weigh together.

N documents, S runs of all documents, M buckets
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

U32 = npt.NDArray[np.uint32]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]


@numba.njit(cache=True, nogil=True)
def count_buckets(bucket_S: U32, buckets: int) -> I64:
    """Return int64[M]: how often each bucket occurs."""
    count_M = np.zeros(buckets, dtype=np.int64)
    for bucket in bucket_S:
        count_M[bucket] += 1
    return count_M


@numba.njit(cache=True, nogil=True)
def sum_weights(start: I64, bucket_S: U32, weight_M: F64) -> F64:
    """Return float64[N]: the sum of the weights of each document's runs, in their order.

    start, bucket_S  see ``hashed_ngrams``
    """
    sum_N = np.zeros(start.size - 1, dtype=np.float64)
    for n in range(start.size - 1):
        total = 0.0
        for s in range(start[n], start[n + 1]):
            total += weight_M[bucket_S[s]]
        sum_N[n] = total
    return sum_N
