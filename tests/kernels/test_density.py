from __future__ import annotations

import numpy as np

from curation.kernels.density import buckets, count_buckets, planes, rows_beside


def test_counts_are_those_of_rows_in_the_same_bucket() -> None:
    """A row counted for another bucket is a neighbour that is not there."""
    side = np.array([[1, -1, -1, -1], [0, -2, 3, -1], [-1, -1, -1, 5]], dtype=np.float32)
    bucket = buckets(side, 2)
    assert bucket.tolist() == [[0b10, 0b00], [0b10, 0b10], [0b00, 0b01]]
    count = np.zeros((2, 4), dtype=np.int64)
    count_buckets(bucket, count)
    assert rows_beside(bucket, count).tolist() == [3, 3, 2]


def test_planes_are_whole_and_point_everywhere() -> None:
    """Products that are not exact would put a row on another side in another batch."""
    made = planes(np.random.default_rng(0).integers(0, 2**64, 2 * 500 * 64, np.uint64), 500, 64)
    assert (made == np.rint(made)).all()
    assert (np.linalg.norm(made, axis=1) <= 4095).all()
    unit = made / np.linalg.norm(made, axis=1, keepdims=True)
    assert np.abs(unit.mean(axis=0)).max() < 0.03
    assert np.abs(unit.T @ unit / 500 - np.eye(64) / 64).max() < 0.005
