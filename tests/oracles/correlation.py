"""Perplexity correlation by its definitions, pair by pair, and projections by brute force."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np


def sign(value: float) -> int:
    return int(value > 0) - int(value < 0)


def average_ranks(values: Sequence[float]) -> list[float]:
    """Return 1 for the lowest; the mean of their places for equal values."""
    return [
        1 + sum(v < own for v in values) + (sum(v == own for v in values) - 1) / 2 for own in values
    ]


def ordinal_ranks(values: Sequence[float]) -> list[float]:
    """Return the ranks that numpy's default sort comes to, as the published package has them."""
    return list(np.argsort(np.argsort(np.array(values))) + 1.0)


def estimate(name: str, x: Sequence[float], y: Sequence[float], ties: str) -> float:
    """Return the estimate of one domain."""
    models = len(x)
    ranks = average_ranks if ties == "average" else ordinal_ranks
    if name == "product":
        return sum(a * b for a, b in zip(x, y, strict=True)) / models
    if name == "spearmanr":
        return spearman(ranks(x), ranks(y))
    if name == "sign_cdf":
        x = [rank / models for rank in ranks(x)]
    pairs = list(combinations(range(models), 2))
    steps = [x[g] - x[k] for k, g in pairs]
    if name == "sign_sign":
        steps = [sign(step) for step in steps]
    signed = [sign(y[g] - y[k]) * step for (k, g), step in zip(pairs, steps, strict=True)]
    return math.fsum(signed) / len(pairs)


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """Return Pearson's correlation of ranks; 0 where all of one side are equal."""
    a, b = np.array(x) - np.mean(x), np.array(y) - np.mean(y)
    squares = float(a @ a) * float(b @ b)
    return float(a @ b) / math.sqrt(squares) if squares else 0.0


def linear(estimates: Sequence[float], caps: Sequence[float]) -> list[float]:
    """Fill the best first; estimates differ."""
    left, weights = 1.0, [0.0] * len(caps)
    for n in sorted(range(len(caps)), key=lambda n: -estimates[n]):
        weights[n] = min(caps[n], left)
        left -= weights[n]
    return weights


def l2(estimates: Sequence[float], caps: Sequence[float]) -> list[float]:
    """Halve an interval two hundred times."""
    low, high = -max(estimates) - 1, max(caps) - min(estimates) + 1

    def raised(c: float) -> list[float]:
        return [min(max(e + c, 0.0), cap) for e, cap in zip(estimates, caps, strict=True)]

    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if math.fsum(raised(middle)) > 1 else (middle, high)
    return raised((low + high) / 2)
