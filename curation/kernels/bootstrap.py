"""Replicates of a difference of two ratios, by drawing items and repetitions anew.

Each replicate draws as many items as there are, with replacement, and adds a mean of residuals of
repetitions, also drawn with replacement. All comparisons of one measure see the same drawn items,
so whatever makes an item hard for every model cancels. Draws are a hash of the seed and of a
running number: the same on every machine, whatever else draws from chance.

Trade-off: an item is chosen by the upper 32 bits of its hash, multiplied and shifted, so among I
items some are likelier than others by up to I in 2^32. A million items make that 0.02 %.

I items, C comparisons, K residuals in the largest pool, B replicates
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.leaf import Int, leaf

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

# The increment and the multipliers of SplitMix64: Steele, Lea, Flood 2014, "Fast splittable
# pseudorandom number generators"; the multipliers are Stafford's variant 13.
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)

#: Keeps the draws of repetitions apart from those of items.
_REPETITIONS = np.uint64(0x243F6A8885A308D3)


@numba.njit(cache=True, nogil=True)
def replicates(
    value_IC: F64,
    weight_I: F64,
    residual_CK: F64,
    pool_C: I64,
    draws: int,
    seed: np.uint64,
    count: int,
) -> F64:
    """Return replicates of sum(value) / sum(weight) plus a mean of drawn residuals.

    What the drawn items add is stretched by sqrt(I / (I - 1)), so that its variance is unbiased;
    residuals come scaled in that way already.

    value_IC     float64[I, C]  the difference of the two models' values of an item
    weight_I     float64[I]     above 0
    residual_CK  float64[C, K]  residuals of repetitions, in the unit of the ratio
    pool_C       int64[C]       how many of its row's residuals comparison c draws from; 0 for none
    draws        residuals in a mean: the number of repetitions
    seed         uint64
    count        B
    returns      float64[B, C]
    """
    items, comparisons = value_IC.shape
    point_C = np.zeros(comparisons)
    for i in range(items):
        for c in range(comparisons):
            point_C[c] += value_IC[i, c]
    point_C /= weight_I.sum()
    stretch = np.sqrt(items / max(items - 1, 1))
    ratio_BC = np.empty((count, comparisons))
    sum_C = np.empty(comparisons)
    for b in range(count):
        sum_C[:] = 0
        weight = 0.0
        for k in range(items):
            chosen: int = pick(seed, np.uint64(b * items + k), items)
            weight += weight_I[chosen]
            for c in range(comparisons):
                sum_C[c] += value_IC[chosen, c]
        for c in range(comparisons):
            ratio_BC[b, c] = point_C[c] + stretch * (sum_C[c] / weight - point_C[c])
            ratio_BC[b, c] += _mean_residual(residual_CK[c], pool_C[c], draws, seed, b)
    return ratio_BC


@numba.njit(cache=True, nogil=True)
def _mean_residual(residual_K: F64, pool: int, draws: int, seed: np.uint64, b: int) -> float:
    if pool == 0:
        return 0.0
    total = 0.0
    for r in range(draws):
        at: int = pick(seed ^ _REPETITIONS, np.uint64(b * draws + r), pool)
        total += residual_K[at]
    return total / draws


@leaf
def pick(seed: np.uint64, number: np.uint64, size: Int) -> Int:
    """Return the draw of this number: one of 0..size-1, all equally likely."""
    mixed = seed + (number + np.uint64(1)) * _STEP
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX_1
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX_2
    mixed ^= mixed >> np.uint64(31)
    return np.int64(((mixed >> np.uint64(32)) * np.uint64(size)) >> np.uint64(32))
