"""The order in which documents are drawn, and windows of tokens cut from the drawn stream.

A stream is documents laid end to end in an order of their own while the tokens stay where they lie,
in shards; a window is so many consecutive tokens of the stream. Windows of one shard are gathered
in a call, so that shards can be of different files.

K drawn documents, D documents of the set, S tokens of a shard, B windows, X shards,
R rows of the batch, T1 tokens of a window
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.leaf import leaf

Bool = npt.NDArray[np.bool_]
I64 = npt.NDArray[np.int64]
Tokens = npt.NDArray[np.uint16] | npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]


class Stream(NamedTuple):
    """Drawn documents and where they lie.

    document_K  int64[K]    the documents, in the order of the stream
    start_K1    int64[K+1]  where each begins in the stream, and its end
    shard_D     int64[D]    the shard of each document
    start_D     int64[D]    where in its shard it begins
    """

    document_K: I64
    start_K1: I64
    shard_D: I64
    start_D: I64


@numba.njit(cache=True, nogil=True)
def scattered(hash_N: U64, salt: np.uint64) -> U64:
    """Return different values for different hashes, in an order that the salt decides.

    source   Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators" (SplitMix64)
    """
    out_N = np.empty_like(hash_N)
    for n in range(hash_N.size):
        value = hash_N[n] + salt
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        out_N[n] = value ^ (value >> np.uint64(31))
    return out_N


@numba.njit(cache=True, nogil=True)
def mark_shards(begin_B: I64, size: int, stream: Stream, met_X: Bool) -> None:
    """Mark the shards that windows have tokens of.

    begin_B  int64[B]  where in the stream each window begins
    size     tokens of a window
    met_X    bool[X]   changed in place
    """
    for b in range(begin_B.size):
        k = _drawn_at(stream.start_K1, begin_B[b])
        while k < stream.document_K.size and stream.start_K1[k] < begin_B[b] + size:
            met_X[stream.shard_D[stream.document_K[k]]] = True
            k += 1


@numba.njit(cache=True, nogil=True)
def gather_windows(
    token_S: Tokens, shard: int, begin_B: I64, row_B: I64, stream: Stream, out_RT1: I64
) -> None:
    """Copy what windows have of one shard.

    token_S  uint16 or uint32[S]  tokens of the shard
    shard    its number
    begin_B  int64[B]      where in the stream each window begins; it ends within the stream
    row_B    int64[B]      the row that each window fills
    out_RT1  int64[R, T1]  changed in place, where the tokens lie in this shard
    """
    size = out_RT1.shape[1]
    for b in range(begin_B.size):
        row, begin, at = row_B[b], begin_B[b], 0
        k = _drawn_at(stream.start_K1, begin)
        while at < size:
            document = stream.document_K[k]
            take = min(stream.start_K1[k + 1] - begin - at, size - at)
            if stream.shard_D[document] == shard:
                first = stream.start_D[document] + begin + at - stream.start_K1[k]
                for t in range(take):
                    out_RT1[row, at + t] = token_S[first + t]
            at += take
            k += 1


@leaf
def _drawn_at(start_K1: I64, position: int) -> int:
    """Return which drawn document holds a position of the stream; no document is empty."""
    low, high = 0, start_K1.size - 1
    while high - low > 1:
        middle = (low + high) // 2
        if start_K1[middle] <= position:
            low = middle
        else:
            high = middle
    return low
