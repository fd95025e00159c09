"""Sums over models, or over pairs of models, of every domain at once.

Columns are taken BLOCK at a time, so that all models' values of a block stay in the first cache and
the innermost loops run over columns, in whole vector registers. Values are first compared as whole
numbers of 16 bits, spread between a column's lowest and highest: an order that survives that is the
true one. Columns with a pair that 16 bits do not tell apart are compared in float32, and those with
a pair that float32 does not tell apart are sorted.

Trade-off: the work grows with the square of the number of models, where sorting would not. For some
hundred models comparing all is the faster by far, and it needs no transposed copy.

N models, D domains, T some of the domains, B columns of a block
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.leaf import Int, leaf

F64 = npt.NDArray[np.float64]
F32 = npt.NDArray[np.float32]
I8 = npt.NDArray[np.int8]
I16 = npt.NDArray[np.int16]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
Numbers = npt.NDArray[Any]

BLOCK = 64
#: Columns of a block of 16-bit numbers.
_COARSE_BLOCK = 128
#: Models up to which a row's sum of weights fits into 16 bits: 2 (N - 1)^2 < 2^15.
COARSE_MODELS = 128
#: Models compared in one pass over a block; a block has so many rows to spare.
_AT_ONCE = 6


@numba.njit(cache=True, nogil=True)
def weighted_sums(value_ND: Numbers, weight_N: F64) -> F64:
    """Return float64[D]: the sum over models of weight times value, in the order of the models."""
    sum_D = np.zeros(value_ND.shape[1])
    for start in range(0, len(sum_D), 8 * BLOCK):
        part = sum_D[start : start + 8 * BLOCK]
        n = 0
        while n + 4 <= len(weight_N):
            _add_four(value_ND, weight_N, n, start, part)
            n += 4
        for rest in range(n, len(weight_N)):
            row_D = value_ND[rest]
            for at in range(len(part)):
                part[at] += weight_N[rest] * row_D[np.uint64(start + at)]
    return sum_D


@leaf
def _add_four(value_ND: Numbers, weight_N: F64, n: Int, start: Int, part: F64) -> None:
    a_D, b_D, c_D, d_D = value_ND[n], value_ND[n + 1], value_ND[n + 2], value_ND[n + 3]
    a, b, c, d = weight_N[n], weight_N[n + 1], weight_N[n + 2], weight_N[n + 3]
    for i in range(len(part)):
        at = np.uint64(start + i)
        part[i] = part[i] + a * a_D[at] + b * b_D[at] + c * c_D[at] + d * d_D[at]


@leaf
def _fill(value_ND: Numbers, start: Int, stop: Int, block_NB: Numbers) -> None:
    for n in range(value_ND.shape[0]):
        row_D = value_ND[n]
        for b in range(stop - start):
            block_NB[n, b] = row_D[np.uint64(start + b)]


# ---------------------------------------------------------------- pairs


@numba.njit(cache=True, nogil=True)
def coarse_pair_sums(
    value_ND: F64, weight_NN: I16, start: int, stop: int, sum_D: F64, equal_D: I64
) -> None:
    """Do as ``pair_sums`` does, for COARSE_MODELS models at most, as 16 bits tell the order."""
    models = value_ND.shape[0]
    coarse_NB = np.zeros((models, _COARSE_BLOCK), dtype=np.int16)
    low_B, scale_B = np.empty(_COARSE_BLOCK), np.empty(_COARSE_BLOCK)
    part_B = np.empty(_COARSE_BLOCK, dtype=np.int16)
    equal_B = np.empty(_COARSE_BLOCK, dtype=np.int16)
    sum_B = np.empty(_COARSE_BLOCK, dtype=np.int32)
    total = 0
    for n in range(models):
        for k in range(n):
            total += weight_NN[n, k]
    for begin in range(start, stop, _COARSE_BLOCK):
        end = min(begin + _COARSE_BLOCK, stop)
        _coarsen(value_ND, begin, end, low_B, scale_B, coarse_NB)
        sum_B[:] = 0
        equal_B[:] = 0
        for n in range(models):
            part_B[:] = 0
            _compare_coarse(coarse_NB, n, weight_NN[n], part_B, equal_B)
            for b in range(_COARSE_BLOCK):
                sum_B[b] += part_B[b]
        for b in range(end - begin):
            sum_D[begin + b] = 2.0 * sum_B[b] - total
            equal_D[begin + b] = equal_B[b] or scale_B[b] == 0.0


@leaf
def _coarsen(value_ND: F64, begin: Int, end: Int, low_B: F64, scale_B: F64, coarse_NB: I16) -> None:
    """Spread each column's values over 16 bits; a scale of 0 says that this cannot be done."""
    low_B[:] = np.inf
    scale_B[:] = -np.inf
    for n in range(value_ND.shape[0]):
        row_D = value_ND[n]
        for b in range(end - begin):
            value = row_D[np.uint64(begin + b)]
            low_B[b], scale_B[b] = min(low_B[b], value), max(scale_B[b], value)
    for b in range(end - begin):
        width = scale_B[b] - low_B[b]
        scale_B[b] = 65534.0 / width if 1e-290 < width < 1e290 else 0.0
    for n in range(value_ND.shape[0]):
        row_D = value_ND[n]
        for b in range(end - begin):
            place = (row_D[np.uint64(begin + b)] - low_B[b]) * scale_B[b]
            coarse_NB[n, b] = np.int16(np.int32(place) - 32767)


@leaf
def _compare_coarse(coarse_NB: I16, n: Int, weight_N: I16, part_B: I16, equal_B: I16) -> None:
    zero, one = np.int16(0), np.int16(1)
    k = 0
    while k + 4 <= n:
        w0, w1, w2, w3 = weight_N[k], weight_N[k + 1], weight_N[k + 2], weight_N[k + 3]
        for b in range(_COARSE_BLOCK):
            x = coarse_NB[n, b]
            a0, a1 = coarse_NB[k, b], coarse_NB[k + 1, b]
            a2, a3 = coarse_NB[k + 2, b], coarse_NB[k + 3, b]
            part = part_B[b]
            part += w0 if x > a0 else zero
            part += w1 if x > a1 else zero
            part += w2 if x > a2 else zero
            part += w3 if x > a3 else zero
            part_B[b] = part
            equal_B[b] |= one if (x == a0) | (x == a1) | (x == a2) | (x == a3) else zero
        k += 4
    while k < n:
        w0 = weight_N[k]
        for b in range(_COARSE_BLOCK):
            part_B[b] += w0 if coarse_NB[n, b] > coarse_NB[k, b] else zero
            equal_B[b] |= one if coarse_NB[n, b] == coarse_NB[k, b] else zero
        k += 1


@numba.njit(cache=True, nogil=True)
def pair_sums(
    value_ND: F64, weight_NN: I32, start: int, stop: int, sum_D: F64, equal_D: I64
) -> None:
    """Add up, over pairs k < n, weight[n, k] times the sign of x_n - x_k, as float32 tells it.

    Columns start..stop are done; the sums of a column with equal pairs are not the ones wanted.
    weight_NN  int32[N, N]  the triangle below the diagonal is read
    sum_D      float64[D]   written
    equal_D    int64[D]     written: above 0 where float32 does not tell a pair apart
    """
    models = value_ND.shape[0]
    block_NB = np.zeros((models + _AT_ONCE, BLOCK), dtype=np.float32)
    part_B, equal_B = np.empty(BLOCK, dtype=np.int32), np.empty(BLOCK, dtype=np.int32)
    sum_B = np.empty(BLOCK)
    total = 0
    for n in range(models):
        for k in range(n):
            total += weight_NN[n, k]
    fits = max((1 << 30) // (2 * models * models), 1)  # rows whose sums int32 holds
    for begin in range(start, stop, BLOCK):
        end = min(begin + BLOCK, stop)
        _fill(value_ND, begin, end, block_NB)
        sum_B[:] = 0.0
        equal_D[begin:end] = 0
        for first in range(0, models, fits):
            part_B[:] = 0
            equal_B[:] = 0
            for n in range(first, min(first + fits, models)):
                _compare(block_NB, n, weight_NN[n], part_B, equal_B)
            sum_B += part_B
            equal_D[begin:end] |= equal_B[: end - begin]
        sum_D[begin:end] = 2.0 * sum_B[: end - begin] - total


@leaf
def _compare(block_NB: F32, n: Int, weight_N: I32, part_B: I32, equal_B: I32) -> None:
    """Add the weights of earlier models with a lower value than model n's; note equal ones."""
    zero, one = np.int32(0), np.int32(1)
    k = 0
    while k + _AT_ONCE <= n:
        w0, w1, w2 = weight_N[k], weight_N[k + 1], weight_N[k + 2]
        w3, w4, w5 = weight_N[k + 3], weight_N[k + 4], weight_N[k + 5]
        for b in range(BLOCK):
            x = block_NB[n, b]
            a0, a1, a2 = block_NB[k, b], block_NB[k + 1, b], block_NB[k + 2, b]
            a3, a4, a5 = block_NB[k + 3, b], block_NB[k + 4, b], block_NB[k + 5, b]
            part = part_B[b]
            part += w0 if x > a0 else zero
            part += w1 if x > a1 else zero
            part += w2 if x > a2 else zero
            part += w3 if x > a3 else zero
            part += w4 if x > a4 else zero
            part += w5 if x > a5 else zero
            ties = (x == a0) | (x == a1) | (x == a2) | (x == a3) | (x == a4) | (x == a5)
            part_B[b] = part
            equal_B[b] |= one if ties else zero
        k += _AT_ONCE
    while k < n:
        w0 = weight_N[k]
        for b in range(BLOCK):
            part_B[b] += w0 if block_NB[n, b] > block_NB[k, b] else zero
            equal_B[b] |= one if block_NB[n, b] == block_NB[k, b] else zero
        k += 1


@numba.njit(cache=True, nogil=True)
def exact_pair_sums(value_ND: F64, sign_NN: I8, start: int, stop: int, sum_D: F64) -> None:
    """Add up, over pairs k < n, sign[n, k] times the sign of x_n - x_k; equal values count 0."""
    models = value_ND.shape[0]
    block_NB = np.zeros((models, BLOCK))
    sum_B = np.empty(BLOCK, dtype=np.int64)
    for begin in range(start, stop, BLOCK):
        end = min(begin + BLOCK, stop)
        _fill(value_ND, begin, end, block_NB)
        sum_B[:] = 0
        for n in range(1, models):
            _add_signs(block_NB, n, sign_NN[n], sum_B)
        for at in range(begin, end):
            sum_D[at] = sum_B[at - begin]


@leaf
def _add_signs(block_NB: F64, n: Int, sign_N: I8, sum_B: I64) -> None:
    zero = np.int64(0)
    k = 0
    while k + 2 <= n:
        w0, w1 = np.int64(sign_N[k]), np.int64(sign_N[k + 1])
        for b in range(BLOCK):
            x, a0, a1 = block_NB[n, b], block_NB[k, b], block_NB[k + 1, b]
            part = sum_B[b]
            part += w0 if x > a0 else zero
            part -= w0 if x < a0 else zero
            part += w1 if x > a1 else zero
            part -= w1 if x < a1 else zero
            sum_B[b] = part
        k += 2
    if k < n:
        w0 = np.int64(sign_N[k])
        for b in range(BLOCK):
            sum_B[b] += w0 if block_NB[n, b] > block_NB[k, b] else zero
            sum_B[b] -= w0 if block_NB[n, b] < block_NB[k, b] else zero


# ---------------------------------------------------------------- ranks


@numba.njit(cache=True, nogil=True)
def sort_keys(value_ND: F64, column_T: I64, index_bits: int) -> U64:
    """Return uint64[T, N]: keys that sort as a column's values do, with the model in the low bits.

    What the low bits took away is made good by ``average_ranks``.
    """
    models = value_ND.shape[0]
    key_TN = np.empty((len(column_T), models), dtype=np.uint64)
    block_NB = np.empty((models, BLOCK))
    low = np.uint64((1 << index_bits) - 1)
    for begin in range(0, len(column_T), BLOCK):
        width = min(BLOCK, len(column_T) - begin)
        _gather(value_ND, column_T[begin : begin + width], block_NB)
        bits_NB = block_NB.view(np.uint64)
        for b in range(width):
            key_N = key_TN[begin + b]
            for n in range(models):
                bits = bits_NB[n, b]
                negative = bits >> np.uint64(63)
                bits = ~bits if negative else bits | np.uint64(1 << 63)
                key_N[n] = (bits & ~low) | np.uint64(n)
    return key_TN


@leaf
def _gather(value_ND: F64, column_B: I64, block_NB: F64) -> None:
    for n in range(value_ND.shape[0]):
        row_D = value_ND[n]
        for b in range(len(column_B)):
            block_NB[n, b] = row_D[np.uint64(column_B[b])] + 0.0  # -0.0 and 0.0 are equal


@numba.njit(cache=True, nogil=True)
def average_ranks(
    key_TN: U64, value_ND: F64, column_T: I64, index_bits: int, weight_N: F64
) -> tuple[F64, F64, I32]:
    """Return weighted sums of centred ranks, what ties take away, and the ranks themselves.

    key_TN   the keys of ``sort_keys``, each row sorted; rows are put in their exact order
    returns  float64[T]  sum over models of weight times centred rank: twice the average rank, less
                         N + 1
             float64[T]  sum over groups of t equal values of t^3 - t
             int32[T, N] centred ranks
    """
    rows, models = key_TN.shape
    sum_T, tied_T = np.zeros(rows), np.zeros(rows)
    rank_TN = np.empty((rows, models), dtype=np.int32)
    low = np.uint64((1 << index_bits) - 1)
    for t in range(rows):
        start = 0
        while start < models:
            stop = _equal_keys(key_TN[t], start, low)
            if stop > start + 1:
                stop = _first_equals(key_TN[t, start:stop], value_ND, column_T[t], low) + start
            rank, size = start + stop - models, float(stop - start)
            for at in range(start, stop):
                n = key_TN[t, at] & low
                rank_TN[t, n] = rank
                sum_T[t] += weight_N[n] * rank
            tied_T[t] += size * size * size - size
            start = stop
    return sum_T, tied_T, rank_TN


@leaf
def _equal_keys(key_N: U64, start: Int, low: np.uint64) -> Int:
    """Return where the run of equal leading bits ends that begins at a place."""
    stop = start + 1
    while stop < len(key_N) and (key_N[stop] ^ key_N[start]) <= low:
        stop += 1
    return stop


@leaf
def _first_equals(key_R: U64, value_ND: F64, column: Int, low: np.uint64) -> Int:
    """Sort a run of equal leading bits by value; return how many share the lowest."""
    for at in range(1, len(key_R)):
        key, place = key_R[at], at
        value = value_ND[key & low, column]
        while place > 0 and value_ND[key_R[place - 1] & low, column] > value:
            key_R[place] = key_R[place - 1]
            place -= 1
        key_R[place] = key
    lowest = value_ND[key_R[0] & low, column]
    stop = 1
    while stop < len(key_R) and value_ND[key_R[stop] & low, column] == lowest:
        stop += 1
    return stop


# ---------------------------------------------------------------- the published order of sums


@numba.njit(cache=True, nogil=True)
def rounded_pair_sums(rank_ND: I32, sign_NN: F64, start: int, stop: int, sum_D: F64) -> None:
    """Add up, over pairs k < g, sign[k, g] (x_g - x_k), where x is the rank over N, as numpy does.

    The sums are taken in the order of perplexity_correlations 0.1, model by model, so that domains
    which differ by rounding alone come out in its order. rank_ND is 1..N.
    """
    models = rank_ND.shape[0]
    block_NB = np.zeros((models, BLOCK))
    part_B, sum_B = np.empty(BLOCK), np.empty(BLOCK)
    for begin in range(start, stop, BLOCK):
        end = min(begin + BLOCK, stop)
        _fill(rank_ND, begin, end, block_NB)
        block_NB /= models
        sum_B[:] = 0.0
        for k in range(models):
            part_B[:] = 0.0
            _add_differences(block_NB, k, sign_NN[k], part_B)
            sum_B += part_B
        sum_D[begin:end] = sum_B[: end - begin]


@leaf
def _add_differences(block_NB: F64, k: Int, sign_N: F64, part_B: F64) -> None:
    g = k + 1
    while g + 3 <= len(sign_N):
        s0, s1, s2 = sign_N[g], sign_N[g + 1], sign_N[g + 2]
        for b in range(BLOCK):
            x = block_NB[k, b]
            part = part_B[b] + s0 * (block_NB[g, b] - x)
            part += s1 * (block_NB[g + 1, b] - x)
            part_B[b] = part + s2 * (block_NB[g + 2, b] - x)
        g += 3
    while g < len(sign_N):
        for b in range(BLOCK):
            part_B[b] += sign_N[g] * (block_NB[g, b] - block_NB[k, b])
        g += 1
