from __future__ import annotations

import numpy as np
import pytest

from curation.kernels.feature_signs import unit_vectors

_ALL = (1 << 64) - 1
SEED = np.uint64(3)


def oracle(row: list[tuple[int, float]], dims: int, places: int, seed: int) -> list[float]:
    """Add each feature in Python's own numbers; see SplitMix64's finaliser for the hash."""
    total = [0.0] * dims
    for bucket, weight in row:
        for place in range(places):
            value = (bucket + 0x9E3779B97F4A7C15 * place) & _ALL
            value = ((value ^ seed) * 0xBF58476D1CE4E5B9) & _ALL
            value = ((value ^ value >> 27) * 0x94D049BB133111EB) & _ALL
            value ^= value >> 31
            total[(value >> 32) * dims >> 32] += weight if value & 1 else -weight
    length = sum(x * x for x in total) ** 0.5
    return [x / length for x in total] if length else total


def vectors(rows: list[list[tuple[int, float]]], dims: int, places: int = 4) -> np.ndarray:
    start = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    flat = [entry for row in rows for entry in row]
    buckets = np.array([bucket for bucket, _ in flat], np.uint32)
    weights = np.array([weight for _, weight in flat], np.float32)
    return unit_vectors(start, buckets, weights, dims, places, SEED)


def test_vectors_are_those_of_the_slow_definition() -> None:
    """Texts would be compared by something else than their words."""
    rows = [[(1, 1.0), (7, 0.5), (2**32 - 1, 2.0)], [], [(5, 1.0)]]
    for dims, places in ((8, 1), (31, 4)):
        wanted = [oracle(row, dims, places, 3) for row in rows]
        assert np.allclose(vectors(rows, dims, places), wanted, atol=1e-6)


def test_cosines_are_those_of_the_counts_within_the_noise_of_the_projection() -> None:
    """Clusters of such vectors would be clusters of chance."""
    one = [(n, 1.0) for n in range(200)]
    half = [(n, 1.0) for n in range(100, 300)]
    other = [(n, 1.0) for n in range(1000, 1200)]
    vector = vectors([one, half, other], 4096)
    cosine = vector @ vector.T
    assert np.diag(cosine) == pytest.approx(1.0, abs=1e-6)
    assert cosine[0, 1] == pytest.approx(0.5, abs=0.06)  # four standard errors
    assert cosine[0, 2] == pytest.approx(0.0, abs=0.06)
