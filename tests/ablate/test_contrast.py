"""Whether intervals are as wide as they say, on worlds whose truth is known."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.ablate.contrast import (
    BASE_NUMBER,
    Estimate,
    Pair,
    effective_items,
    estimates,
    of_items,
)
from curation.ablate.verdict import holm

TWO = Pair(0, 1)
OF_BASE = Pair(0, BASE_NUMBER)


class World(NamedTuple):
    """Standard deviations of what makes a measured value vary, and how much is measured.

    draw         of one arm's repetition
    shared       of a repetition, in all arms
    item         of an arm's own way with an item
    interaction  of a repetition's way with an item
    """

    arms: int = 2
    items: int = 50
    draw: float = 0.0
    shared: float = 0.0
    item: float = 0.0
    interaction: float = 0.0
    repetitions: int = 3

    def measured(self, rng: np.random.Generator, effect: float = 0.0) -> list[np.ndarray]:
        """Return value_ARI, base_I and weight_I; the effect is added to the first arm."""
        arms, repetitions, items = self.arms, self.repetitions, self.items
        hard_I = rng.normal(size=items)
        value_ARI = hard_I + self.item * rng.normal(size=(arms, 1, items))
        value_ARI = value_ARI + self.draw * rng.normal(size=(arms, repetitions, 1))
        value_ARI = value_ARI + self.shared * rng.normal(size=(1, repetitions, 1))
        value_ARI += self.interaction * rng.normal(size=(arms, repetitions, items))
        value_ARI[0] += effect
        return [value_ARI, hard_I + self.item * rng.normal(size=items), np.ones(items)]

    def found(self, times: int, pairs: list[Pair], effect: float = 0.0) -> list[list[Estimate]]:
        """Measure as many times, each time anew."""
        rng = np.random.default_rng(7)
        return [
            estimates(*self.measured(rng, effect), pairs, seed=n, count=300) for n in range(times)
        ]


REPETITIONS = World(draw=1, item=0.5, interaction=1)
ITEMS = World(draw=0.02, item=1, interaction=0.3)
MIXED = World(draw=0.15, item=1, interaction=0.5)
SHARED = World(arms=5, draw=0.2, shared=0.5, item=0.5, interaction=0.5)


@pytest.mark.parametrize(
    "world",
    [
        REPETITIONS,
        ITEMS,
        MIXED,
        REPETITIONS._replace(arms=5),
        ITEMS._replace(arms=5),
        MIXED._replace(arms=5),
        MIXED._replace(items=400),
        SHARED,
    ],
    ids=str,
)
def test_two_equal_arms_differ_in_five_of_a_hundred_experiments(world: World) -> None:
    """A harness that finds winners among equals is worse than none."""
    found = world.found(1000, [TWO])
    wrong = np.mean([estimate.p < 0.05 for [estimate] in found])
    assert 0.03 <= wrong <= 0.07


@pytest.mark.parametrize(
    "world", [REPETITIONS, ITEMS, MIXED, SHARED, SHARED._replace(arms=1)], ids=str
)
def test_an_arm_like_its_base_seldom_differs_from_it(world: World) -> None:
    """What all arms of a repetition share makes none of them differ from the base."""
    found = world.found(1000, [OF_BASE])
    wrong = np.mean([estimate.p < 0.05 for [estimate] in found])
    assert 0.01 <= wrong <= 0.07


@pytest.mark.parametrize("world", [REPETITIONS, ITEMS, MIXED], ids=str)
def test_four_equal_arms_seldom_name_a_winner(world: World) -> None:
    """It is what a reader of the whole table understands by 5 %."""
    world = world._replace(arms=4)
    families = {
        "base": [Pair(a, BASE_NUMBER) for a in range(4)],
        "rest": [Pair(0, a) for a in (1, 2, 3)],
    }
    for pairs in families.values():
        found = world.found(800, pairs)
        # Two measures of the same arms lie in one family.
        both = zip(found[::2], found[1::2], strict=True)
        wrong = [min(holm([e.p for e in (*one, *other)])) < 0.05 for one, other in both]
        assert 0 < np.mean(wrong) <= 0.07


def test_equal_arms_of_one_pool_are_not_told_apart_by_interaction_alone() -> None:
    """It is seen in the items and in the repetitions, and must count once."""
    world = World(arms=5, interaction=1)
    found = [estimate for [estimate] in world.found(600, [TWO])]
    true = math.sqrt(2 / 3 / 50)
    assert np.std([e.difference for e in found]) == pytest.approx(true, rel=0.1)
    assert true < np.sqrt(np.mean([e.error**2 for e in found])) < 1.15 * true
    assert 0.01 <= np.mean([e.p < 0.05 for e in found]) <= 0.06


@pytest.mark.parametrize("world", [ITEMS, REPETITIONS._replace(arms=5), SHARED], ids=str)
def test_a_difference_of_four_standard_errors_is_found(world: World) -> None:
    """A method that never errs because it never decides is useless."""
    error = np.median([e.error for [e] in world.found(50, [TWO])])
    found = world.found(300, [TWO], effect=4 * error)
    assert np.mean([e.p < 0.05 and e.difference > 0 for [e] in found]) > 0.9


@pytest.mark.parametrize("world", [ITEMS, REPETITIONS, MIXED._replace(arms=5)], ids=str)
def test_the_standard_error_is_the_spread_of_the_difference(world: World) -> None:
    """Its square is unbiased, so that plans for a larger budget can be made from it."""
    found = [e for [e] in world.found(1500, [TWO])]
    by_chance = world.draw**2 / 3 + world.item**2 / 50 + world.interaction**2 / 150
    assert np.mean([e.error**2 for e in found]) == pytest.approx(2 * by_chance, rel=0.1)
    assert np.var([e.difference for e in found]) == pytest.approx(2 * by_chance, rel=0.1)


def test_degrees_of_freedom_are_those_of_what_varies_most() -> None:
    """Three repetitions are three, however many items there are."""
    by_arms = {
        arms: np.median([e.freedom for [e] in REPETITIONS._replace(arms=arms).found(40, [TWO])])
        for arms in (2, 5)
    }
    assert by_arms[2] == pytest.approx(2, rel=0.05)
    assert by_arms[5] == pytest.approx(8, rel=0.05)
    many = [e.freedom for [e] in ITEMS._replace(items=400, draw=0.001).found(40, [TWO])]
    assert np.median(many) > 300


def test_what_a_repetition_does_to_all_arms_cancels_between_arms_only() -> None:
    """The base has no repetitions: against it such a shift is noise like any other."""
    rng = np.random.default_rng(1)
    quiet = World(arms=4, draw=0.01, interaction=0.01).measured(rng)
    loud = [quiet[0] + np.array([-1.0, 0, 1])[:, None], *quiet[1:]]
    (two, base), (two_loud, base_loud) = (
        estimates(*measured, [TWO, OF_BASE], seed=0, count=500) for measured in (quiet, loud)
    )
    assert two_loud.error == pytest.approx(two.error)
    assert base_loud.error == pytest.approx(1 / math.sqrt(3), rel=0.1)
    assert base_loud.freedom == pytest.approx(2, rel=0.05)
    assert base.error < 0.05


def test_an_arm_that_spreads_far_wider_is_judged_by_itself() -> None:
    """A collapsed arm must not hide what the others differ in, nor borrow their steadiness."""
    rng = np.random.default_rng(2)
    value_ARI, base_I, weight_I = World(arms=5, draw=0.01, interaction=0.02).measured(rng)
    steady = estimates(value_ARI, base_I, weight_I, [TWO, Pair(0, 4)], seed=0, count=1000)
    value_ARI[4] += np.array([-3.0, 0.5, 2.5])[:, None]
    found = estimates(
        value_ARI, base_I, weight_I, [TWO, Pair(0, 4), Pair(4, -1)], seed=0, count=1000
    )
    assert found[0].error < 1.5 * steady[0].error
    assert found[0].freedom >= 5.5
    for alone in found[1:]:
        assert alone.error == pytest.approx(np.std([-3, 0.5, 2.5], ddof=1) / math.sqrt(3), rel=0.1)
        assert alone.freedom == pytest.approx(2, rel=0.05)


def test_arms_of_chance_spreads_are_pooled() -> None:
    """Three repetitions of equal arms spread by factors of ten, which means nothing."""
    found = World(arms=5, draw=1, interaction=0.1).found(100, [TWO])
    assert np.mean([e.freedom > 7.9 for [e] in found]) > 0.9


def test_repetitions_that_meet_by_chance_are_not_an_arm_without_noise() -> None:
    """Of sixty items right or wrong, three repetitions often have the same number right."""
    value_ARI, base_I, weight_I = World(arms=5, interaction=1).measured(np.random.default_rng(4))
    value_ARI[0] -= value_ARI[0].mean(axis=1, keepdims=True)
    [found] = estimates(value_ARI, base_I, weight_I, [TWO], seed=0, count=300)
    assert found.freedom > 7.9


def test_two_arms_of_unlike_spread_do_not_share_it_against_the_base() -> None:
    """The steady one would be given the other's interval."""
    value_ARI, base_I, weight_I = World(draw=0, interaction=0.001).measured(
        np.random.default_rng(3)
    )
    value_ARI[0] += np.array([-1e-3, 0, 1e-3])[:, None]
    value_ARI[1] += np.array([-5.0, 0, 5])[:, None]
    steady, loose = estimates(
        value_ARI, base_I, weight_I, [OF_BASE, Pair(1, BASE_NUMBER)], seed=0, count=500
    )
    assert loose.error > 1000 * steady.error


@pytest.mark.parametrize(("repetitions", "items"), [(1, 50), (3, 1), (1, 1)])
def test_one_repetition_or_one_item_has_no_interval(repetitions: int, items: int) -> None:
    """Seeds alone, or items alone, call another draw of documents a win."""
    world = World(repetitions=repetitions, items=items, draw=1, interaction=1)
    [estimate] = estimates(*world.measured(np.random.default_rng(0)), [TWO], seed=0, count=100)
    assert not estimate.known
    assert math.isfinite(estimate.difference)
    assert math.isnan(estimate.detectable(0.05, 0.8))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from([2, 3, 5]), st.floats(0.01, 100))
def test_turning_scaling_and_reordering_change_nothing_else(
    seed: int, arms: int, scale: float
) -> None:
    """A verdict must not depend on names, units, or which arm is written first."""
    rng = np.random.default_rng(seed)
    world = World(arms=arms, items=20, draw=0.3, item=0.5, interaction=0.5)
    value_ARI, base_I, weight_I = world.measured(rng)
    weight_I = rng.uniform(0.5, 2, size=20)
    pairs = [TWO, OF_BASE]
    plain = estimates(value_ARI, base_I, weight_I, pairs, seed=seed, count=100)
    scaled = estimates(scale * value_ARI, scale * base_I, weight_I, pairs, seed=seed, count=100)
    heavy = estimates(value_ARI, base_I, scale * weight_I, pairs, seed=seed, count=100)
    for one, other, light in zip(plain, scaled, heavy, strict=True):
        assert other.difference == pytest.approx(scale * one.difference)
        assert other.error == pytest.approx(scale * one.error)
        assert light.error == pytest.approx(one.error / scale)
        assert one.p == pytest.approx(other.p) == pytest.approx(light.p)
    turned = estimates(value_ARI, base_I, weight_I, [Pair(1, 0)], seed=seed, count=5000)[0]
    straight = estimates(value_ARI, base_I, weight_I, [TWO], seed=seed, count=5000)[0]
    assert turned.difference == pytest.approx(-straight.difference)
    assert turned.error == pytest.approx(straight.error, rel=0.1)
    assert straight.turned().interval(0.05) == tuple(-x for x in straight.interval(0.05)[::-1])


@settings(deadline=None)
@given(st.floats(-6, 6), st.floats(0.5, 3), st.floats(1, 500), st.floats(0.001, 0.3))
def test_the_interval_holds_zero_exactly_where_p_is_above_alpha(
    difference: float, error: float, freedom: float, alpha: float
) -> None:
    """A table whose p and interval contradict each other is believed in neither."""
    estimate = Estimate(difference, error, freedom, 3)
    if abs(estimate.p - alpha) > 1e-9:
        low, high = estimate.interval(alpha)
        assert (low <= 0 <= high) == (estimate.p > alpha)


@pytest.mark.parametrize("freedom", [2.0, 8.0, 1e6])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 12])
def test_the_detectable_difference_is_found_as_often_as_said(freedom: float, alpha: float) -> None:
    """Whoever plans a budget by it would otherwise learn nothing from the run."""
    rng = np.random.default_rng(0)
    size = Estimate(0.0, 2.0, freedom, 3).detectable(alpha, 0.8)
    difference_N = rng.normal(size, 2.0, 20_000)
    error_N = 2.0 * np.sqrt(rng.chisquare(freedom, 20_000) / freedom)
    sure = Estimate(0.0, 1.0, freedom, 3).interval(alpha)[1]
    assert np.mean(difference_N > sure * error_N) == pytest.approx(0.8, abs=0.01)
    if freedom > 1000 and alpha == 0.05:
        assert size == pytest.approx(2 * (1.95996 + 0.84162), rel=1e-3)


def test_models_that_answer_alike_do_not_differ() -> None:
    """No noise at all is a tie where there is no difference, and certainty where there is."""
    value_ARI, base_I, weight_I = World().measured(np.random.default_rng(0))
    value_ARI[:] = base_I
    same = estimates(value_ARI, base_I, weight_I, [TWO, OF_BASE], seed=0, count=100)
    assert [(e.difference, e.p, e.interval(0.05)) for e in same] == [(0, 1, (0, 0))] * 2
    value_ARI[0] += np.array([0.1, 0.1, 0.1])[:, None]
    for apart in estimates(value_ARI, base_I, weight_I, [TWO, OF_BASE], seed=0, count=100):
        assert (apart.error, apart.p) == (0, 0)


def test_agreeing_repetitions_are_those_of_the_whole_difference_s_sign() -> None:
    """Two of three is a warning that no p-value gives."""
    value_ARI = np.zeros((2, 3, 4))
    value_ARI[0] += np.array([-1.0, 2, 2])[:, None]
    found = estimates(value_ARI, np.full(4, 5.0), np.ones(4), [TWO, OF_BASE], seed=0, count=100)
    assert [e.agreeing for e in found] == [2, 3]


def test_heavy_items_count_for_few() -> None:
    """One book among fifty notes is one item, not fifty."""
    assert effective_items(np.ones(30)) == pytest.approx(30)
    assert effective_items(np.array([1000.0, *[1.0] * 49])) < 1.2
    weight_I = np.array([*[10.0] * 10, *[1.0] * 90])
    world = World(items=100, item=1, interaction=0.001)
    value_ARI, base_I, _ = world.measured(np.random.default_rng(0))
    measured = weight_I * value_ARI, weight_I * base_I, weight_I
    [found] = estimates(*measured, [TWO], seed=0, count=200)
    free = effective_items(weight_I) - 1
    assert found.freedom == pytest.approx(free**2 / (free + 2), rel=0.01)


def test_a_ratio_of_one_model_varies_over_items_alone() -> None:
    """It is how the base is held against chance."""
    value_I = np.array([0.0, 1, 1, 1, 0, 1, 1, 1, 1, 1])
    found = of_items(value_I, np.ones(10))
    assert found.difference == pytest.approx(0.8)
    assert found.error == pytest.approx(value_I.std(ddof=1) / math.sqrt(10))
    assert found.freedom == pytest.approx(9)


def test_weights_divide_what_they_weigh() -> None:
    """Bits per byte of all documents together, not the mean of the documents' own."""
    value_ARI = np.array([[[2.0, 30], [4, 30]], [[1.0, 10], [1, 10]]])
    found = estimates(
        value_ARI, np.array([1.0, 11]), np.array([1.0, 9]), [TWO, OF_BASE], seed=0, count=100
    )
    assert [e.difference for e in found] == pytest.approx([2.2, 2.1])
