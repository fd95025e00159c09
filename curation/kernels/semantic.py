"""Unit vectors, spherical k-means in whole numbers, and greedy groups by cosine.

Clusters must not depend on the order of the rows, and floating-point sums do. So clusters are
made of vectors rounded to whole numbers of so small a norm that every sum of products stays
within the 24 bits of a float32: a matrix product in float32 is then exact, whatever the order
in which BLAS adds. Rounding moves a cosine by about 1e-4 (and by sqrt(D) / 4000 at the very most),
which decides only to which centre a vector goes and never whether two vectors are alike.

Whether two vectors are alike is decided by their float32 coordinates, multiplied and added in
float64 in one fixed order. The matrix product in float32 only proposes pairs, with a margin for
its error.

V coordinates of all rows laid end to end, N rows, D dimensions, K centres, R rows of a block,
L rows that stay
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.hashing import SEED_0, SEED_1, xxh64
from curation.kernels.leaf import leaf

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
Bool = npt.NDArray[np.bool_]

#: Largest norm whose square, the largest sum of products by Cauchy and Schwarz, is 24 bits.
_LARGEST_NORM = 4095.0


def scale_of(dims: int) -> float:
    """Return the norm to give to a unit vector before its coordinates are rounded."""
    return math.floor(_LARGEST_NORM - math.sqrt(dims) / 2)


def whole(unit_ND: F32) -> F32:
    """Return unit vectors as whole numbers (see the head of this file)."""
    scaled_ND: F32 = np.rint(unit_ND * np.float32(scale_of(unit_ND.shape[1])))
    return scaled_ND


@numba.njit(cache=True, nogil=True)
def norms(value_V: F32, offset: I64, valid_N: Bool) -> F64:
    """Return the length of each row's vector; 0 where it is null or not finite.

    value_V  float32[V]    coordinates; a null among them is NaN
    offset   int64[N+1]    row n owns value_V[offset[n]:offset[n+1]]; need not start at 0
    """
    norm_N = np.zeros(valid_N.size, dtype=np.float64)
    for n in range(valid_N.size):
        if valid_N[n]:
            total = 0.0
            for at in range(offset[n], offset[n + 1]):
                total += np.float64(value_V[at]) * np.float64(value_V[at])
            if math.isfinite(total):
                norm_N[n] = math.sqrt(total)
    return norm_N


@numba.njit(cache=True, nogil=True)
def unit_rows(value_V: F32, start_N: I64, norm_N: F64, unit_ND: F32) -> None:
    """Write each vector, divided by its norm, to unit_ND; minus zero becomes zero."""
    for n in range(start_N.size):
        for d in range(unit_ND.shape[1]):
            unit_ND[n, d] = np.float64(value_V[start_N[n] + d]) / norm_N[n] + 0.0


@numba.njit(cache=True, nogil=True)
def hash_rows(unit_ND: F32, seed: np.uint64) -> U64:
    """Return uint64[N, 2]: two XXH64 of each row's bytes, under seeds made from one."""
    count, dims = unit_ND.shape
    hash_N2 = np.empty((count, 2), dtype=np.uint64)
    word_W = np.zeros(dims // 2 + 1, dtype=np.uint64)
    byte_B = word_W.view(np.uint8)
    row_D = word_W.view(np.float32)
    for n in range(count):
        row_D[:dims] = unit_ND[n]
        hash_N2[n, 0] = xxh64(word_W, byte_B, 4 * dims, SEED_0 ^ seed)
        hash_N2[n, 1] = xxh64(word_W, byte_B, 4 * dims, SEED_1 ^ seed)
    return hash_N2


# ---------------------------------------------------------------- centres


@numba.njit(cache=True, nogil=True)
def add_rows(whole_ND: F32, centre_N: I64, sum_KD: I64) -> None:
    """Add each row to the sum of its centre."""
    for n in range(centre_N.size):
        for d in range(sum_KD.shape[1]):
            sum_KD[centre_N[n], d] += np.int64(whole_ND[n, d])


@numba.njit(cache=True, nogil=True)
def centres_of(sum_KD: I64, before_KD: F32, scale: float) -> F32:
    """Return sums as centres, in whole numbers; a centre whose sum is zero stays where it was."""
    centre_KD = before_KD.copy()
    for k in range(sum_KD.shape[0]):
        total = 0.0
        for d in range(sum_KD.shape[1]):
            total += np.float64(sum_KD[k, d]) * np.float64(sum_KD[k, d])
        if total > 0.0:
            factor = scale / math.sqrt(total)
            for d in range(sum_KD.shape[1]):
                centre_KD[k, d] = np.rint(np.float64(sum_KD[k, d]) * factor)
    return centre_KD


def spherical_centres(
    take: Callable[[I64], F32], first_KD: F32, count: int, rows: int, iterations: int
) -> F32:
    """Return centres by spherical k-means, in whole numbers; the order of rows decides nothing.

    take      returns some of the unit vectors, by their numbers, as float32[R, D]
    first_KD  float32[K, D]  unit vectors to begin at
    count     vectors to train on, those numbered below it
    rows      vectors to look at at a time
    """
    centre_KD = whole(first_KD)
    for _ in range(iterations):
        sum_KD = np.zeros(centre_KD.shape, dtype=np.int64)
        for start in range(0, count, rows):
            whole_RD = whole(take(np.arange(start, min(start + rows, count))))
            add_rows(whole_RD, (whole_RD @ centre_KD.T).argmax(axis=1), sum_KD)
        before_KD = centre_KD
        centre_KD = centres_of(sum_KD, before_KD, scale_of(centre_KD.shape[1]))
        if np.array_equal(before_KD, centre_KD):
            break
    return centre_KD


# ---------------------------------------------------------------- groups


@leaf
def least_near(threshold: float, dims: int) -> np.float32:
    """Return the threshold less twice what D roundings can take from a float32 cosine."""
    return np.float32(threshold - (dims + 16) * 2.0**-23)


@leaf
def cosine(left_ND: F32, n: int, right_MD: F32, m: int) -> float:
    """Return the cosine of two unit vectors, added in one fixed order in float64."""
    dims = left_ND.shape[1]
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    at = 0
    while at + 4 <= dims:
        a += np.float64(left_ND[n, at]) * np.float64(right_MD[m, at])
        b += np.float64(left_ND[n, at + 1]) * np.float64(right_MD[m, at + 1])
        c += np.float64(left_ND[n, at + 2]) * np.float64(right_MD[m, at + 2])
        d += np.float64(left_ND[n, at + 3]) * np.float64(right_MD[m, at + 3])
        at += 4
    while at < dims:
        a += np.float64(left_ND[n, at]) * np.float64(right_MD[m, at])
        at += 1
    return (a + b) + (c + d)


@numba.njit(cache=True, nogil=True)
def join_leaders(
    near_RL: F32, unit_RD: F32, lead_LD: F32, threshold: float, place_R: I64, cos_R: F64
) -> None:
    """Let each row join the row that stays to which it is most alike; of two, the earlier.

    near_RL  float32[R, L]  cosines as float32 has them
    place_R  int64[R]       written: which of the L, where one is alike and more so than cos_R
    cos_R    float64[R]     cosine to the row joined so far, below -1 for none; written likewise
    """
    dims = unit_RD.shape[1]
    for r in range(place_R.size):
        bar = least_near(max(threshold, cos_R[r]), dims)
        for m in range(lead_LD.shape[0]):
            if near_RL[r, m] >= bar:
                exact = cosine(unit_RD, r, lead_LD, m)
                if exact >= threshold and exact > cos_R[r]:
                    place_R[r], cos_R[r] = m, exact
                    bar = least_near(exact, dims)


@numba.njit(cache=True, nogil=True)
def join_block(near_RR: F32, unit_RD: F32, threshold: float, place_R: I64, cos_R: F64) -> I64:
    """Go through a block in order: a row joins the one most alike that stays before it, or stays.

    near_RR  float32[R, R]  cosines within the block, as float32 has them
    place_R  int64[R]       written: which of the block's rows it joins, itself where it stays;
                            left where the row that it joined before the block is more alike
    cos_R    float64[R]     as for ``join_leaders``; 1 where the row stays
    returns  int64[L]       rows of the block that stay
    """
    dims = unit_RD.shape[1]
    stay_R = np.empty(place_R.size, dtype=np.int64)
    count = 0
    for r in range(place_R.size):
        bar = least_near(max(threshold, cos_R[r]), dims)
        for at in range(count):
            other = stay_R[at]
            if near_RR[r, other] >= bar:
                exact = cosine(unit_RD, r, unit_RD, other)
                if exact >= threshold and exact > cos_R[r]:
                    place_R[r], cos_R[r] = other, exact
                    bar = least_near(exact, dims)
        if cos_R[r] < -1.0:
            place_R[r], cos_R[r] = r, 1.0
            stay_R[count] = r
            count += 1
    return stay_R[:count]


@numba.njit(cache=True, nogil=True)
def cosines(left_RD: F32, right_RD: F32) -> F64:
    """Return the cosine of each row on the left and the row beside it."""
    cos_R = np.empty(len(left_RD), dtype=np.float64)
    for r in range(len(left_RD)):
        cos_R[r] = cosine(left_RD, r, right_RD, r)
    return cos_R
