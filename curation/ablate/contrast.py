"""How far two arms differ, and how sure that is.

A measured difference varies for four reasons: the documents that were drawn, the seed, the items
that were evaluated, and how the one falls on the other. Let d[r, i] be the difference in item i
after repetition r, where a repetition has its own draw of documents and its own seed:

    d[r, i] = difference + repetition[r] + item[i] + interaction[r, i]

The mean over R repetitions and I items varies by repetition/R + item/I + interaction/(R I). The
spread of repetitions shows the first and the last together, that of items the second and the last,
so their sum holds the last twice; it is taken off once (the error term of the F' and min F' tests:
Clark 1973, "The language-as-fixed-effect fallacy"). Less than nothing is taken for nothing.

Few repetitions. Three of them show their own spread poorly. It is therefore taken from the
two-way table of all arms and repetitions, (A - 1)(R - 1) degrees of freedom, save for arms whose
spread clearly differs; what an arm shares with the others of its repetition cancels in the
difference of two arms, and counts in that of an arm and the base, which is one fixed model. The
residuals are stretched until their variance is unbiased, and the standard error of the replicates
is multiplied by a quantile of t at Satterthwaite's degrees of freedom. Satterthwaite's formula is
too hopeful where a part with very few of them happens to come out small: at three repetitions of
two arms a nominal 5 % becomes up to 7.8 %. So a part of n degrees counts as n^2 / (n + 2), but the
whole never has fewer than its poorest part. In simulations of three repetitions 5 % then stay
between 3 and 6 for two arms, between 1 and 6 for an arm and its base, and fall to 1 where all
noise is interaction, which the spread of so few repetitions cannot tell from noise of their own.

What the interval speaks of: other draws from the same pools, other seeds, and other items like
these. Whoever cares for these items alone, and no others, is given too wide an interval.

In relation to the rule of thumb to trust a difference of 2 sqrt(s^2 (1/R + 1/R)): here the 2 is a
quantile of t (4.3 for three repetitions of two arms, 2.3 for three of five), since at 2 degrees of
freedom the rule is wrong 18 times in 100; s comes from all arms; and items count as well.

A arms, R repetitions, I items; R or I below 2 leave no estimate of the error, which is then NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curation.errors import needed

F64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: In the place of an arm's number: the model before any arm.
BASE_NUMBER = -1

#: Arms differ in their spread where equal spreads would differ as much less often than this.
#: A choice of ours: at 5 %, chance would set an arm aside in each twentieth measure.
_DIFFER = 0.01
#: An error that is a smaller share of what is measured is the rounding of sums.
_ROUNDING = 1e-12
#: Quantiles of chi-square over which the power of a test is averaged.
_QUANTILES = 1000


class Pair(NamedTuple):
    """Numbers of two arms, the second one or BASE_NUMBER for the base."""

    arm: int
    against: int


@dataclass(frozen=True)
class Estimate:
    """A difference and how sure it is.

    difference  of the first arm's ratio and the second's
    error       its standard error; NaN where it cannot be known
    freedom     degrees of freedom of that error
    agreeing    repetitions whose own difference has the sign of the whole one
    """

    difference: float
    error: float
    freedom: float
    agreeing: int

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return not math.isnan(self.error)

    @property
    def p(self) -> float:
        """How often a difference at least as large would come out if there were none."""
        if self.error == 0:
            return 1.0 if self.difference == 0 else 0.0
        t = -abs(self.difference) / self.error
        return float(2 * needed("scipy.special", "train").stdtr(self.freedom, t))

    def interval(self, alpha: float) -> tuple[float, float]:
        """Return where the true difference lies, but for the share ``alpha`` of such intervals.

        It holds 0 exactly where ``p`` is above ``alpha``.
        """
        reach = _quantile(self.freedom, alpha) * self.error
        return self.difference - reach, self.difference + reach

    def detectable(self, alpha: float, power: float) -> float:
        """Return the true difference that would come out at ``alpha`` with this probability.

        The standard error is itself uncertain, so the power is averaged over what it may be found
        to be: chi-square over its degrees of freedom.
        """
        if not self.known or self.error == 0:
            return self.error
        special = needed("scipy.special", "train")
        place_Q = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
        found_Q = np.sqrt(2 * special.gammaincinv(self.freedom / 2, place_Q) / self.freedom)
        threshold_Q = _quantile(self.freedom, alpha) * found_Q
        low, high = 0.0, float(threshold_Q[-1]) + 10
        for _ in range(60):
            middle = (low + high) / 2
            enough = special.ndtr(middle - threshold_Q).mean() >= power
            low, high = (low, middle) if enough else (middle, high)
        return high * self.error

    def turned(self) -> Estimate:
        """Return the same, seen from the second arm."""
        return Estimate(-self.difference, self.error, self.freedom, self.agreeing)


class Part(NamedTuple):
    """A variance of the difference, and its degrees of freedom."""

    variance: float
    freedom: float


@dataclass(frozen=True)
class _Spread:
    """How the arms' means vary over repetitions.

    mean_AR  float64[A, R]
    alike_A  bool[A]        arms whose spread does not clearly differ; their spreads are pooled
    """

    mean_AR: F64
    alike_A: Bools

    def parts(self, pair: Pair) -> tuple[list[Part], F64]:
        """Return the variance of the difference of the two means, and residuals like its own.

        The residuals are those of one repetition; only their proportions count.
        """
        repetitions = self.mean_AR.shape[1]
        arms = [arm for arm in pair if arm != BASE_NUMBER]
        if not self.alike_A[arms].all() or self.alike_A.sum() < 2:
            own_R = self.mean_AR[pair.arm].copy()
            if pair.against != BASE_NUMBER:
                own_R -= self.mean_AR[pair.against]
            return [Part(float(own_R.var(ddof=1)) / repetitions, repetitions - 1)], _centred(own_R)
        mean_AR = self.mean_AR[self.alike_A]
        within_AR = _centred(mean_AR)
        shared_R = within_AR.mean(axis=0)
        rest_AR = within_AR - shared_R
        pooled, free = len(mean_AR), (len(mean_AR) - 1) * (repetitions - 1)
        rest = float((rest_AR**2).sum()) / free / repetitions
        if pair.against != BASE_NUMBER:
            return [Part(2 * rest, free)], rest_AR.ravel()
        shared = float((shared_R**2).sum()) / (repetitions - 1) / repetitions
        parts = [Part(shared, repetitions - 1), Part(rest * (pooled - 1) / pooled, free)]
        return parts, within_AR.ravel()


def estimates(
    value_ARI: F64,
    base_I: F64,
    weight_I: F64,
    pairs: Sequence[Pair],
    *,
    seed: int,
    count: int,
) -> list[Estimate]:
    """Estimate the difference of each pair from the items of one measure.

    value_ARI  float64[A, R, I]  what is summed, such as bits
    base_I     float64[I]        the same of the model before the arms
    weight_I   float64[I]        what it is divided by, such as bytes; above 0
    seed       of the replicates
    count      of the replicates
    """
    from curation.kernels.bootstrap import replicates

    repetitions, items = value_ARI.shape[1:]
    mean_AR = value_ARI.sum(axis=2) / weight_I.sum()
    apart_CRI = np.stack([_apart(value_ARI, base_I, pair) for pair in pairs])
    value_IC = np.ascontiguousarray(apart_CRI.mean(axis=1).T)
    difference_C = value_IC.sum(axis=0) / weight_I.sum()
    one_CR = apart_CRI.sum(axis=2)
    agreeing_C = (np.sign(one_CR) == np.sign(difference_C)[:, None]).sum(axis=1)
    if repetitions < 2 or items < 2:
        unknown = (math.nan, math.nan)
        found = zip(difference_C, agreeing_C, strict=True)
        return [Estimate(float(d), *unknown, int(agreeing)) for d, agreeing in found]
    spread = _Spread(mean_AR, _alike(mean_AR, _floors(value_ARI, weight_I)))
    plans = [
        _plan(apart_RI, weight_I, spread.parts(pair))
        for apart_RI, pair in zip(apart_CRI, pairs, strict=True)
    ]
    residual_CK = np.zeros((len(pairs), max(plan.residual_K.size for plan in plans)))
    for row_K, plan in zip(residual_CK, plans, strict=True):
        row_K[: plan.residual_K.size] = plan.residual_K
    pool_C = np.array([plan.residual_K.size for plan in plans], dtype=np.int64)
    drawn_from = value_IC, weight_I, residual_CK, pool_C
    error_C = replicates(*drawn_from, repetitions, np.uint64(seed), count).std(axis=0, ddof=1)
    error_C[error_C < _ROUNDING * np.abs(mean_AR).max()] = 0
    return [
        Estimate(float(d), float(error), plan.freedom, int(agreeing))
        for d, error, plan, agreeing in zip(difference_C, error_C, plans, agreeing_C, strict=True)
    ]


def of_items(value_I: F64, weight_I: F64) -> Estimate:
    """Estimate a ratio of one model, over items alone."""
    ratio = float(value_I.sum() / weight_I.sum())
    variance, _ = _item_parts(value_I[None], weight_I)
    return Estimate(ratio, math.sqrt(variance), effective_items(weight_I) - 1, 1)


def effective_items(weight_I: F64) -> float:
    """Return how many items of equal weight would tell as much (Kish 1965, "Survey Sampling")."""
    return float(weight_I.sum() ** 2 / (weight_I**2).sum())


class _Plan(NamedTuple):
    """What the replicates of a pair draw from, and the degrees of freedom of their variance."""

    residual_K: F64
    freedom: float


def _apart(value_ARI: F64, base_I: F64, pair: Pair) -> F64:
    """Return float64[R, I]: the difference of the two, which is exactly 0 where they are equal."""
    other = base_I if pair.against == BASE_NUMBER else value_ARI[pair.against]
    apart_RI: F64 = value_ARI[pair.arm] - other
    return apart_RI


def _plan(apart_RI: F64, weight_I: F64, spread: tuple[list[Part], F64]) -> _Plan:
    """Lay out one pair: the residuals to draw from hold what items have not shown already."""
    items, interaction = _item_parts(apart_RI, weight_I)
    parts, residual_K = spread
    more = max(sum(part.variance for part in parts) - interaction, 0.0)
    square = float((residual_K**2).mean())
    scale = math.sqrt(more * len(apart_RI) / square) if square > 0 else 0.0
    free = max(effective_items(weight_I) - 1, 1.0)
    return _Plan(scale * residual_K, _freedom(items + more, [Part(items, free), *parts]))


def _item_parts(value_RI: F64, weight_I: F64) -> tuple[float, float]:
    """Return the variances of the mean over repetitions: by items, and by interaction alone.

    The first holds the second. Both are of the ratio's linear part, item by item.
    """
    repetitions, items = value_RI.shape
    total = weight_I.sum()
    ratio_R1 = value_RI.sum(axis=1, keepdims=True) / total
    part_RI = (value_RI - ratio_R1 * weight_I) / total
    mean_I = part_RI.mean(axis=0)
    stretch = items / max(items - 1, 1)
    by_items = float((mean_I**2).sum()) * stretch
    if repetitions < 2:
        return by_items, 0.0
    within = float(((part_RI - mean_I) ** 2).sum())
    return by_items, within * stretch / (repetitions - 1) / repetitions


def _freedom(variance: float, parts: Sequence[Part]) -> float:
    """Return the degrees of freedom of a sum of variances, on the careful side."""
    least = min(part.freedom for part in parts)
    doubt = sum(p.variance**2 * (p.freedom + 2) / p.freedom**2 for p in parts)
    return max(variance**2 / doubt, least) if doubt > 0 else least


def _floors(value_ARI: F64, weight_I: F64) -> F64:
    """Return the variance of one repetition of each arm that its items alone would make."""
    repetitions = value_ARI.shape[1]
    return np.array([_item_parts(value_RI, weight_I)[1] * repetitions for value_RI in value_ARI])


def _alike(mean_AR: F64, floor_A: F64) -> Bools:
    """Return bool[A]: the arms whose spread over repetitions may be pooled.

    While Bartlett's test (1937) says that the spreads differ, the arm farthest from the middle one
    is set aside. No spread counts as less than what the items alone would make of it.
    """
    arms, repetitions = mean_AR.shape
    spread_A = np.maximum(mean_AR.var(axis=1, ddof=1), floor_A)
    alike_A = np.ones(arms, dtype=np.bool_)
    if spread_A.max() == 0:
        return alike_A
    log_A = np.log(np.maximum(spread_A, spread_A.max() * 1e-12))
    while alike_A.sum() > 1 and _bartlett(log_A[alike_A], repetitions - 1) < _DIFFER:
        if alike_A.sum() == 2:
            alike_A[:] = False
            break
        far_A = np.where(alike_A, np.abs(log_A - np.median(log_A[alike_A])), -1.0)
        alike_A[far_A.argmax()] = False
    return alike_A


def _bartlett(log_A: F64, freedom: int) -> float:
    """Return the probability that equal variances come out as different as these logarithms."""
    arms = log_A.size
    top = log_A.max()
    pooled = top + math.log(np.exp(log_A - top).mean())
    statistic = freedom * (arms * pooled - log_A.sum()) / (1 + (arms + 1) / (3 * arms * freedom))
    return float(needed("scipy.special", "train").chdtrc(arms - 1, max(statistic, 0.0)))


def _centred(array: F64) -> F64:
    centred: F64 = array - array.mean(axis=-1, keepdims=True)
    return centred


def _quantile(freedom: float, alpha: float) -> float:
    return float(needed("scipy.special", "train").stdtrit(freedom, 1 - alpha / 2))
