"""Replicates of a ratio, one draw at a time and with Python's own numbers."""

from __future__ import annotations

import math

WORD = (1 << 64) - 1


def pick(seed: int, number: int, size: int) -> int:
    """Return the draw of this number: SplitMix64, started at the seed."""
    mixed = (seed + (number + 1) * 0x9E3779B97F4A7C15) & WORD
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & WORD
    mixed ^= mixed >> 31
    return (mixed >> 32) * size >> 32


def replicate(
    number: int,
    value_I: list[float],
    weight_I: list[float],
    residual_K: list[float],
    draws: int,
    seed: int,
) -> float:
    """Return one replicate of one comparison."""
    size = len(value_I)
    chosen = [pick(seed, number * size + k, size) for k in range(size)]
    drawn = math.fsum(value_I[i] for i in chosen) / math.fsum(weight_I[i] for i in chosen)
    point = math.fsum(value_I) / math.fsum(weight_I)
    ratio = point + (drawn - point) * math.sqrt(size / max(size - 1, 1))
    if not residual_K:
        return ratio
    other = seed ^ 0x243F6A8885A308D3
    places = [pick(other, number * draws + r, len(residual_K)) for r in range(draws)]
    return ratio + math.fsum(residual_K[at] for at in places) / draws
