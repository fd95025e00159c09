from __future__ import annotations

import numpy as np
import pytest

from curation.kernels.transport import sinkhorn, soft_minima
from tests.oracles.coverage import transport


def test_potentials_are_those_of_the_plan() -> None:
    """The plan would put mass where the target has none."""
    rng = np.random.default_rng(0)
    cost = rng.uniform(0, 2, (20, 15))
    left, right = rng.dirichlet(np.ones(20)), rng.dirichlet(np.ones(15))
    first, second, wrong = sinkhorn(cost, left, right, 0.05, 1e-10, 10_000)
    plan = np.outer(left, right) * np.exp((first[:, None] + second - cost) / 0.05)
    assert wrong <= 1e-10
    assert plan.sum(axis=1) == pytest.approx(left, abs=1e-9)
    assert plan.sum(axis=0) == pytest.approx(right, abs=1e-9)
    value = float(left @ first + right @ second)
    assert value == pytest.approx(transport(cost, left, right, 0.05), abs=1e-8)


def test_the_smooth_minimum_overflows_nowhere() -> None:
    """A potential without end would be everybody's first choice."""
    cost = np.array([[0.0, 2.0], [2.0, 2.0]])
    found = soft_minima(cost, np.array([1.0, -1.0]), np.log([0.5, 0.5]), 1e-3)
    assert found == pytest.approx([-1 + 1e-3 * np.log(2), 1 + 1e-3 * np.log(2)], abs=1e-9)
