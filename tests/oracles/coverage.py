"""Kernel sums, shares of groups, bandits and transport, as their definitions have them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def mean_kernel(vectors: Any, planes: int) -> Any:
    """Return the mean over all rows of (1 - angle / pi)**planes, for each row."""
    rows = np.asarray(vectors, dtype=np.float64)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    angle = np.arccos(np.clip(rows @ rows.T, -1.0, 1.0))
    return ((1.0 - angle / math.pi) ** planes).mean(axis=1)


def filled(
    groups: Sequence[Sequence[int]], shares: Sequence[float], budget: float
) -> tuple[float, list[float]]:
    """Return the level, and what each group gets, when a budget is poured in by shares.

    groups  weights of each group's rows
    """
    sizes = [float(sum(group)) for group in groups]
    open_groups, left, level = set(range(len(groups))), budget, 0.0
    got = [0.0] * len(groups)
    while open_groups and left > 0:
        pace = sum(shares[g] for g in open_groups)
        first = min((sizes[g] - got[g]) / shares[g] for g in open_groups)
        step = min(first, left / pace)
        for g in open_groups:
            got[g] += step * shares[g]
        level, left = level + step, left - step * pace
        open_groups = {g for g in open_groups if got[g] < sizes[g] - 1e-9}
    return level, got


def bandit(
    arms: Sequence[Sequence[str]],
    score: Callable[[str], float],
    budget: int,
    rounds: int,
    draws: int,
    alpha: float,
) -> tuple[dict[str, float], list[float | None]]:
    """Return the score of each row that is asked about, and the guess for the others of each arm.

    arms  ids of the rows, in the order in which they are drawn
    """
    taken = [0] * len(arms)
    found: dict[str, float] = {}
    for number in range(rounds):
        left = min(math.ceil(budget / rounds), budget - sum(taken))
        together = draws if number else max(1, min(draws, left // len(arms)))
        before = list(taken)
        values = [[found[name] for name in arm if name in found] for arm in arms]
        while left > 0 and any(t < len(arm) for t, arm in zip(taken, arms, strict=True)):
            bounds = [
                -math.inf
                if taken[g] == len(arms[g])
                else -taken[g]
                if number == 0
                else bound(values, g, taken, alpha, 1)
                for g in range(len(arms))
            ]
            arm = bounds.index(max(bounds))
            size = min(left, together, len(arms[arm]) - taken[arm])
            taken[arm] += size
            left -= size
        for g, arm_rows in enumerate(arms):
            found |= {name: score(name) for name in arm_rows[before[g] : taken[g]]}
    values = [[found[name] for name in arm if name in found] for arm in arms]
    counts = [len(v) for v in values]
    guesses = [bound(values, g, counts, alpha, -1) if values[g] else None for g in range(len(arms))]
    return found, guesses


def bound(
    values: Sequence[Sequence[float]], arm: int, taken: Sequence[int], alpha: float, sign: int
) -> float:
    every = [v for arm_values in values for v in arm_values]
    mean = sum(every) / len(every)
    spread = math.sqrt(sum((v - mean) ** 2 for v in every) / len(every))
    own = sum(values[arm]) / len(values[arm]) if values[arm] else mean
    width = math.sqrt(2 * math.log(max(sum(taken), 1)) / max(taken[arm], 1))
    return own + sign * alpha * spread * width


def transport(cost: Any, left: Any, right: Any, epsilon: float) -> float:
    """Return the entropic transport cost of two weighted samples, from a plan run to its end.

    The entropy is taken relative to the product of the two weights.
    """
    kernel = np.exp(-np.asarray(cost) / epsilon) * np.outer(left, right)
    u, v = np.ones(len(left)), np.ones(len(right))
    for _ in range(20_000):
        u = left / (kernel @ v)
        v = right / (kernel.T @ u)
    plan = u[:, None] * kernel * v
    divergence = float((plan * np.log(plan / np.outer(left, right))).sum())
    return float((plan * cost).sum()) + epsilon * divergence
