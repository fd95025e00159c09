"""What compares documents, by obvious definitions: Bradley-Terry, vote-k, nearest neighbours."""

from __future__ import annotations

import math
from collections.abc import Sequence


def slow_bradley_terry(
    pairs: Sequence[tuple[int, int, float]], count: int, ridge: float
) -> list[float]:
    """Climb the penalised likelihood in small steps until nothing moves."""
    score = [0.0] * count
    rate = 1.0 / (ridge + 0.5 * max(1, len(pairs)))
    for _ in range(200_000):
        slope = [-ridge * s for s in score]
        for a, b, prob in pairs:
            miss = prob - 1 / (1 + math.exp(score[b] - score[a]))
            slope[a] += miss
            slope[b] -= miss
        if max(map(abs, slope)) < 1e-11:
            break
        score = [s + rate * g for s, g in zip(score, slope, strict=True)]
    return score


def slow_vote_k(
    neighbours: Sequence[Sequence[int]], weights: Sequence[int], wanted: int
) -> list[int]:
    """Count every vote anew before each choice, as the paper writes it."""
    chosen: list[int] = []
    while len(chosen) < min(wanted, len(neighbours)):
        votes = {n: 0 for n in range(len(neighbours)) if n not in chosen}
        for voter, near in enumerate(neighbours):
            if voter in chosen:
                continue
            heard = len({*near} & {*chosen} - {-1})
            for row in near:
                if row in votes:
                    votes[row] += weights[min(heard, len(weights) - 1)]
        chosen.append(max(votes, key=lambda row: (votes[row], -row)))
    return chosen


def slow_neighbours(vectors: Sequence[Sequence[float]], k: int) -> list[list[int]]:
    """Sort all other rows by cosine, equal ones by their index."""

    def cosine(a: Sequence[float], b: Sequence[float]) -> float:
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        return dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))

    near = []
    for n, own in enumerate(vectors):
        others = [m for m in range(len(vectors)) if m != n]
        others.sort(key=lambda m: (-round(cosine(own, vectors[m]) * 2**20), m))
        near.append(others[:k])
    return near
