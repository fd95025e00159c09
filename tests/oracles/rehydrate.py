"""FineWeb2's weights from a list of rates, one size at a time."""

from __future__ import annotations

from fractions import Fraction


def weights(sizes: list[int], removal: list[float], overall: float, most: int) -> dict[int, int]:
    """Return {size: times} where the times change; for five sizes or more."""
    least = min(removal)
    reps = [
        1.0 if rate >= overall else 1 + (most - 1) * (rate - overall) / (least - overall)
        for rate in removal
    ]
    times = []
    for n, own in enumerate(reps):
        inner = 2 <= n < len(reps) - 2
        around = [Fraction(reps[m]) for m in range(n - 2, n + 3)] if inner else [Fraction(own)]
        times.append(round(sum(around) / len(around)))  # Python, too, rounds a half to even
    changes = [n for n in range(len(sizes)) if n == 0 or times[n] != times[n - 1]]
    return {sizes[n]: times[n] for n in changes}


def weight_of(size: int | None, table: dict[int, int]) -> int:
    """Return the times of the largest size in the table that is not above this one."""
    below = [start for start in table if size is not None and start <= size]
    return table[max(below)] if below else 1
