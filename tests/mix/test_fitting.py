from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import RecipeError
from curation.mix.fitting import (
    HUBER_DELTA,
    HeldOutError,
    PowerLaw,
    TwoPowerLaw,
    fit_power,
    fit_two_powers,
    huber,
    interval,
    line_prediction,
    minimise,
    wild_weights,
)

#: Domain loss at shares 1, 3/4, 1/2 and 1/3, then the truth and the paper's prediction at 1/4.
#: Gu et al. 2024, arXiv:2407.17467, table 2.
CMR_TABLE_2 = {
    "460M": ((1.4628, 1.4844, 1.5122, 1.5387), 1.5561, 1.5566),
    "940M": ((1.3723, 1.3910, 1.4155, 1.4385), 1.4538, 1.4546),
    "1.6B": ((1.3242, 1.3416, 1.3643, 1.3854), 1.3994, 1.3999),
    "3.1B": ((1.2585, 1.2750, 1.2965, 1.3170), 1.3305, 1.3303),
}


@pytest.mark.parametrize("size", list(CMR_TABLE_2))
def test_a_power_law_of_the_share_predicts_the_published_held_out_loss(size: str) -> None:
    """Ratios would be chosen by a curve that the published one beats on its own table."""
    losses, truth, published = CMR_TABLE_2[size]
    law = fit_power(np.array([1, 0.75, 0.5, 1 / 3]), np.array(losses))
    predicted = float(law(0.25))
    assert abs(predicted - published) < 1e-3
    assert abs(predicted - truth) <= max(abs(published - truth), 2e-4)


@settings(max_examples=60, deadline=None)
@given(
    scale=st.floats(0.1, 5).flatmap(lambda size: st.sampled_from([size, -size])),
    exponent=st.floats(-3, 3).filter(lambda one: abs(one) > 0.05),
    offset=st.floats(-5, 5),
    unit=st.sampled_from([1.0, 1e-3, 1e9]),
)
def test_an_exact_power_law_is_found_again(
    scale: float, exponent: float, offset: float, unit: float
) -> None:
    """A fit that depends on its start or on the unit of tokens would give anybody their answer."""
    x_P = unit * np.array([0.5, 1, 2, 4, 10])
    true = PowerLaw(scale * unit**-exponent, exponent, offset)
    found = fit_power(x_P, true(x_P))
    spread = float(np.ptp(true(x_P)))
    np.testing.assert_allclose(found(x_P), true(x_P), atol=1e-6 * spread)
    np.testing.assert_allclose(found.exponent, exponent, atol=1e-4)


def test_a_logarithm_is_a_power_law_of_exponent_zero() -> None:
    """At the exponent zero the power is the constant, and the fit would be of nothing."""
    x_P = np.array([1.0, 2, 4, 8, 16])
    found = fit_power(x_P, 3 - 0.5 * np.log(x_P))
    np.testing.assert_allclose(found(np.array([3.0, 32.0])), 3 - 0.5 * np.log([3, 32]), atol=1e-3)


def test_two_powers_follow_a_loss_that_rises_and_falls_again() -> None:
    """General loss at the stability gap has a hump that one power cannot have."""
    x_P = np.array([1.0, 2, 5, 10, 20, 50, 100])
    true = TwoPowerLaw((-0.5, 0.3), (-0.5, -1.5), 0.2)
    found = fit_two_powers(x_P, true(x_P))
    np.testing.assert_allclose(found(x_P), true(x_P), atol=1e-4)
    assert abs(float(found(30.0) - true(30.0))) < 1e-3
    one = fit_power(x_P, true(x_P))
    assert np.abs(one(x_P) - true(x_P)).max() > np.abs(found(x_P) - true(x_P)).max()


@pytest.mark.parametrize(
    ("x", "y", "says"),
    [
        ([1, 2, 2], [1, 2, 3], "at least 3 different values"),
        ([0, 1, 2], [1, 2, 3], "cannot be fitted"),
        ([1, 2, 3], [1, 2, np.nan], "cannot be fitted"),
        ([1, 2, 3], [1, 2], "cannot be fitted"),
    ],
)
def test_points_that_make_no_power_law_are_refused(
    x: list[float], y: list[float], says: str
) -> None:
    """A law through two points, or through no number, would be believed like any other."""
    with pytest.raises(RecipeError, match=says):
        fit_power(np.array(x, float), np.array(y, float))


def test_two_powers_ask_for_more_points_than_they_have_parameters() -> None:
    """Five parameters through five points fit perfectly and say nothing."""
    with pytest.raises(RecipeError, match="at least 6"):
        fit_two_powers(np.arange(1.0, 6), np.arange(5.0))


def test_the_huber_loss_is_square_near_zero_and_straight_beyond() -> None:
    """One bad run would bend the law of all the others."""
    value, slope_P = huber(np.array([HUBER_DELTA / 2, -3 * HUBER_DELTA]))
    np.testing.assert_allclose(value, HUBER_DELTA**2 * (0.125 + 2.5))
    np.testing.assert_allclose(slope_P, [HUBER_DELTA / 2, -HUBER_DELTA])


def test_the_search_returns_the_best_of_its_starts_first() -> None:
    """The law would be the one of a local optimum that a worse start fell into."""

    def two_valleys(point_K: np.ndarray) -> tuple[float, np.ndarray]:
        x = point_K[0]
        return float((x**2 - 1) ** 2 + 0.3 * x), np.array([4 * x * (x**2 - 1) + 0.3])

    ends_SK, values_S = minimise(two_valleys, np.array([[2.0], [-2.0], [0.9]]))
    assert ends_SK[0, 0] < -0.9
    assert list(values_S) == sorted(values_S)


def test_a_straight_line_is_followed_beyond_its_points() -> None:
    """Laws would be compared with a line that is none."""
    known = np.array([[1.0, 5], [2, 5], [3, 5], [1, 6]])
    y = 2 + 3 * known[:, 0] - known[:, 1]
    np.testing.assert_allclose(line_prediction(known, y, np.array([[10.0, 7]])), [25])


def test_wild_weights_have_mean_zero_and_variance_one() -> None:
    """Intervals would be too wide or too narrow by a factor for everybody."""
    weight = wild_weights(5, 20_000, seed=1)
    assert weight.shape == (20_000, 5)
    assert abs(weight.mean()) < 0.02
    assert abs(weight.var() - 1) < 0.02
    assert (wild_weights(5, 10, 1) == wild_weights(5, 10, 1)).all()


def test_the_interval_leaves_half_of_the_rest_on_each_side() -> None:
    """A 95 % interval would hold another share of the draws."""
    assert interval(np.arange(1001.0), 0.9) == pytest.approx((50, 950))


def test_a_law_is_worse_than_the_best_of_simpler_descriptions() -> None:
    """A law that a straight line beats would go without a warning."""
    assert HeldOutError(1.0, 2.0, 3.0, 5).worse_than == ""
    assert HeldOutError(2.5, 2.0, 3.0, 5).worse_than == "a straight line"
    assert HeldOutError(3.5, 4.0, 3.0, 5).worse_than == "the mean"
