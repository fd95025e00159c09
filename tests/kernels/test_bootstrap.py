from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.kernels import bootstrap as kernel
from tests.oracles import bootstrap as oracle

values = st.floats(-100, 100)


@settings(deadline=None, max_examples=60)
@given(st.data(), st.integers(1, 6), st.integers(1, 3), st.integers(0, (1 << 64) - 1))
def test_replicates_are_those_of_one_draw_at_a_time(
    data: st.DataObject, items: int, comparisons: int, seed: int
) -> None:
    """Every interval of every verdict is the spread of these numbers."""
    value_IC = np.array(
        data.draw(st.lists(values, min_size=items * comparisons, max_size=items * comparisons))
    ).reshape(items, comparisons)
    weight_I = np.array(data.draw(st.lists(st.floats(0.1, 50), min_size=items, max_size=items)))
    pool_C = np.array(
        data.draw(st.lists(st.integers(0, 4), min_size=comparisons, max_size=comparisons))
    )
    residual_CK = np.arange(4.0) * np.arange(1, comparisons + 1)[:, None]
    found_BC = kernel.replicates(value_IC, weight_I, residual_CK, pool_C, 3, np.uint64(seed), 4)
    for (b, c), found in np.ndenumerate(found_BC):
        of_one = value_IC[:, c].tolist(), weight_I.tolist(), residual_CK[c, : pool_C[c]].tolist()
        assert found == pytest.approx(oracle.replicate(b, *of_one, 3, seed), rel=1e-9, abs=1e-9)


def test_draws_are_the_published_generator() -> None:
    """A verdict has to come out the same on another machine, and in another language."""
    whole = 1 << 32
    found = [kernel.pick(np.uint64(0), np.uint64(number), whole) for number in range(2)]
    assert found == [0xE220A8397B1DCDAF >> 32, 0x6E789E6AA1B965F4 >> 32]


@pytest.mark.parametrize("size", [2, 7, 100])
def test_all_items_are_drawn_equally_often(size: int) -> None:
    """An item that is drawn more often would weigh more in the interval."""
    numbers = np.arange(20_000, dtype=np.uint64)
    drawn = np.array([kernel.pick(np.uint64(5), number, size) for number in numbers])
    expected = len(numbers) / size
    statistic = ((np.bincount(drawn, minlength=size) - expected) ** 2 / expected).sum()
    assert statistic < size + 4 * np.sqrt(2 * size)


def test_the_spread_of_replicates_is_the_unbiased_standard_error() -> None:
    """Three repetitions resampled as they are would understate their spread by a fifth."""
    rng = np.random.default_rng(0)
    value_IC, residual_CK = rng.normal(size=(12, 2)), rng.normal(size=(2, 3))
    none, all_three = np.zeros(2, np.int64), np.full(2, 3)
    settings = np.ones(12), residual_CK
    items_B2 = kernel.replicates(value_IC, *settings, none, 3, np.uint64(1), 40_000)
    wanted = value_IC.std(axis=0, ddof=1) / np.sqrt(12)
    assert items_B2.std(axis=0) == pytest.approx(wanted, rel=0.02)
    both_B2 = kernel.replicates(value_IC, *settings, all_three, 3, np.uint64(1), 40_000)
    wanted = np.sqrt(wanted**2 + residual_CK.var(axis=1) / 3)
    assert both_B2.std(axis=0) == pytest.approx(wanted, rel=0.02)


def test_all_comparisons_see_the_same_items_and_each_seed_others() -> None:
    """What is hard for every model would otherwise not cancel."""
    value_IC = np.repeat(np.arange(20.0)[:, None], 2, axis=1)
    rest = np.ones(20), np.zeros((2, 1)), np.zeros(2, np.int64), 1
    one_B2, other_B2 = (kernel.replicates(value_IC, *rest, np.uint64(seed), 50) for seed in (1, 2))
    assert (one_B2[:, 0] == one_B2[:, 1]).all()
    assert (one_B2 != other_B2).mean() > 0.8
