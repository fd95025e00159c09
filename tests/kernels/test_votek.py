from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.kernels.votek import vote_k
from tests.oracles.comparing import slow_vote_k


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 14), k=st.integers(1, 5))
def test_the_kernel_chooses_what_the_paper_chooses(seed: int, count: int, k: int) -> None:
    """Money for labels would go to documents that say what others have said."""
    draw = np.random.default_rng(seed)
    near = np.full((count, k), -1, dtype=np.int32)
    for n in range(count):
        others = draw.permutation([m for m in range(count) if m != n])[:k]
        near[n, : len(others)] = others
    weights = np.array([1000, 100, 10, 1], dtype=np.int64)[: 1 + seed % 4]
    wanted = int(draw.integers(1, count + 3))
    found = vote_k(near, weights, wanted)
    assert found.tolist() == slow_vote_k(near.tolist(), weights.tolist(), wanted)
    assert len({*found.tolist()}) == len(found) == min(wanted, count)


def test_no_rows_and_rows_without_neighbours() -> None:
    """A pool of one document would end the run."""
    weights = np.array([4], dtype=np.int64)
    assert vote_k(np.zeros((0, 2), np.int32), weights, 3).tolist() == []
    assert vote_k(np.full((3, 2), -1, np.int32), weights, 2).tolist() == [0, 1]
