from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.ablate.trust import (
    Sign,
    agreement,
    kendall_tau,
    signal_to_noise,
    tau_over_repetitions,
    unstable_over_sizes,
)
from curation.ablate.verdict import Judging, Measured, RunFacts, judge
from curation.evaluate.measures import Measure

RIGHT = Measure(name="seceval/accuracy", unit="accuracy", chance=0.25)
BITS = Measure(name="cyber/bits_per_byte", unit="bits per byte", better="lower")
FACTS = RunFacts(model="1M", parameters=10**6, tokens=10**5, repetitions=3, base="b", domain="d")


def signs(
    value: Callable[[np.random.Generator, int, int], np.ndarray],
    measure: Measure,
    *,
    arms: int = 3,
    repetitions: int = 3,
    weight_I: np.ndarray | None = None,
    pairs: bool = False,
) -> dict[str, Sign]:
    """Return the signs by kind; value(rng, arm, repetition) are an arm's items, -1 the base."""
    rng = np.random.default_rng(0)
    runs = [(-1, 0)] + [(arm, r) for arm in range(arms) for r in range(repetitions)]
    parts = []
    for arm, repetition in runs:
        value_I = value(rng, arm, repetition)
        weights = np.ones(len(value_I)) if weight_I is None else weight_I
        parts.append(
            pl.DataFrame(
                {
                    "arm": "base" if arm < 0 else f"arm{arm}",
                    "repetition": repetition,
                    "measure": measure.name,
                    "item": [f"i{i:04}" for i in range(len(value_I))],
                    "source": "",
                    "value": value_I * weights,
                    "weight": weights,
                }
            )
        )
    measured = Measured(pl.concat(parts), {measure.name: measure})
    found = judge(measured, FACTS, pairs=pairs, judging=Judging(replicates=300)).signs
    assert len({sign.kind for sign in found}) == len(found)
    return {sign.kind: sign for sign in found}


def guessing(rng: np.random.Generator, arm: int, repetition: int) -> np.ndarray:
    return (rng.random(300) < 0.25).astype(float)


def clear(rng: np.random.Generator, arm: int, repetition: int) -> np.ndarray:
    """Arms that lie ten times farther apart than they vary."""
    return 0.5 + 0.1 * arm + rng.normal(0, 0.01) + rng.normal(0, 0.01, 300)


def test_a_clear_experiment_has_no_sign() -> None:
    """Warnings that are always there are read by nobody."""
    assert not signs(clear, BITS)
    assert not signs(clear, RIGHT)
    assert not signs(clear, BITS, arms=1)


def test_guessing_is_named() -> None:
    """A task above the model's powers ranks arms by chance, with any number of items."""
    found = signs(guessing, RIGHT)
    assert "chance is 0.25" in found["at chance"].text
    assert found["at chance"].measure == RIGHT.name
    assert "at chance" in signs(guessing, RIGHT, repetitions=1)


@pytest.mark.parametrize("who", [-1, 0, 2])
@pytest.mark.parametrize("repetitions", [1, 3])
def test_one_model_off_chance_is_enough(who: int, repetitions: int) -> None:
    """Then the task does tell models apart, one from another."""

    def value(rng: np.random.Generator, arm: int, repetition: int) -> np.ndarray:
        return (rng.random(300) < (0.45 if arm == who else 0.25)).astype(float)

    assert "at chance" not in signs(value, RIGHT, repetitions=repetitions)


def test_below_chance_is_not_at_chance() -> None:
    """A model that prefers wrong answers does react, however badly."""

    def value(rng: np.random.Generator, arm: int, repetition: int) -> np.ndarray:
        return (rng.random(300) < 0.08).astype(float)

    assert "at chance" not in signs(value, RIGHT)


def test_a_measure_that_training_does_not_move_is_named() -> None:
    """Where there is no chance level, that nothing differs from the base is all there is to see."""

    def still(rng: np.random.Generator, arm: int, repetition: int) -> np.ndarray:
        return 3 + rng.normal(0, 0.02) + rng.normal(0, 0.1, 300)

    assert "no difference from the base" in signs(still, BITS)
    assert "no difference from the base" not in signs(still, RIGHT)
    assert "no difference from the base" not in signs(clear, BITS)
    assert "no difference from the base" not in signs(still, BITS, repetitions=1)


def test_an_order_that_another_draw_turns_round_is_named() -> None:
    """The best of five arms is otherwise announced although it was last in the next repetition."""

    def noisy(rng: np.random.Generator, arm: int, repetition: int) -> np.ndarray:
        return (arm >= 0) + rng.normal(0, 0.1) + rng.normal(0, 0.01, 300)

    text = signs(noisy, BITS, arms=5)["unstable over repetitions"].text
    assert "Kendall tau" in text
    assert "times the noise of one repetition" in text
    text = signs(noisy, BITS, arms=2)["unstable over repetitions"].text
    assert "Kendall" not in text
    assert "unstable over repetitions" not in signs(noisy, BITS, arms=5, repetitions=1)
    assert "unstable over repetitions" not in signs(noisy, BITS, arms=1)


def test_an_unstable_order_is_named_although_one_arm_stands_out() -> None:
    """One failed arm makes the spread large, and says nothing of the order of the others."""

    def outlier(rng: np.random.Generator, arm: int, repetition: int) -> np.ndarray:
        turned = [0.0, 0.3, 0.6, 0.9] if repetition % 2 else [0.9, 0.6, 0.3, 0.0]
        return np.full(100, 9.0 if arm == 4 else turned[arm]) + rng.normal(0, 0.01, 100)

    found = signs(outlier, BITS, arms=5)
    assert "unstable over repetitions" in found
    assert "intervals wider than the spread" not in found


def test_few_items_are_named_and_heavy_ones_count_for_few() -> None:
    """Three items out of ten, right or wrong, make a ranking."""

    def items(count: int) -> Callable[[np.random.Generator, int, int], np.ndarray]:
        return lambda rng, arm, repetition: clear(rng, arm, repetition)[:count]

    text = signs(items(49), RIGHT)["few items"].text
    assert "49 items: fewer than 50" in text
    assert "few items" not in signs(items(50), RIGHT)
    weight_I = np.array([100.0, *[1.0] * 99])
    text = signs(items(100), BITS, weight_I=weight_I)["few items"].text
    assert "they weigh like 4 equal" in text


def apart(
    step: float, shared: float = 0.0
) -> Callable[[np.random.Generator, int, int], np.ndarray]:
    """Arms far from the base, by a step from each other; a repetition may shift all of them."""

    def value(rng: np.random.Generator, arm: int, repetition: int) -> np.ndarray:
        shift = shared * (repetition - 1) * (arm >= 0)
        return (arm >= 0) + step * arm + shift + rng.normal(0, 0.05) + rng.normal(0, 0.1, 300)

    return value


def test_intervals_that_span_all_arms_are_named() -> None:
    """Such a measure cannot rank them, whatever it is said to show against the base."""
    kind = "intervals wider than the spread"
    found = signs(apart(0.08), BITS)
    assert "no difference from the base" not in found
    assert "(0.282 bits per byte wide)" in found[kind].text
    assert "it cannot rank them" in found[kind].text
    assert kind not in signs(apart(0.14), BITS)
    assert kind not in signs(apart(0.08), BITS, arms=1)
    assert kind not in signs(apart(0.08), BITS, repetitions=1)


def test_what_a_repetition_does_to_all_arms_hides_no_ranking_of_them() -> None:
    """It widens the intervals against the base, and none between arms."""
    kind = "intervals wider than the spread"
    assert kind in signs(apart(0.3, shared=0.5), BITS)
    assert kind not in signs(apart(0.3, shared=0.5), BITS, pairs=True)
    assert kind in signs(apart(0.01), BITS, pairs=True)


def test_one_repetition_is_named_once() -> None:
    """It is the first thing to change."""
    found = signs(clear, BITS, repetitions=1)
    assert list(found) == ["one repetition"]
    assert found["one repetition"].measure == ""


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=9))
def test_kendall_tau_is_that_of_scipy(pairs: list[tuple[int, int]]) -> None:
    """It is compared with published ones."""
    from scipy.stats import kendalltau

    one_A, other_A = np.array(pairs, dtype=float).T
    wanted = kendalltau(one_A, other_A).statistic
    assert kendall_tau(one_A, other_A) == pytest.approx(0 if math.isnan(wanted) else wanted)


def test_the_stability_of_a_ranking_is_the_mean_over_pairs_of_repetitions() -> None:
    """One repetition that turns all round counts in two of three pairs."""
    mean_AR = np.array([[1.0, 1, 3], [2, 2, 2], [3, 3, 1]])
    assert tau_over_repetitions(mean_AR) == pytest.approx((1 - 1 - 1) / 3)


def test_signal_is_the_widest_difference_and_noise_is_of_one_repetition() -> None:
    """What a repetition does to all arms disturbs no ranking."""
    rest = np.array([[1.0, -1, 0], [-1, 1, 0]])
    shared = np.array([10.0, 20, 30])
    mean_AR = rest + shared + np.array([[0.0], [6.0]])
    noise = math.sqrt(4 / 2)
    assert signal_to_noise(mean_AR) == pytest.approx(6 / noise)
    assert signal_to_noise(np.array([[1.0, 1], [2, 2]])) == math.inf
    assert signal_to_noise(np.ones((2, 2))) == 0


def table(**difference: tuple[float, str]) -> pl.DataFrame:
    rows = [
        {"comparison": "base", "arm": arm, "measure": "m", "difference": d, "verdict": v}
        for arm, (d, v) in difference.items()
    ]
    other = {"comparison": "pairs", "arm": "a", "measure": "m", "difference": 9.0, "verdict": "win"}
    return pl.DataFrame([*rows, other])


SMALL = table(a=(1.0, "win"), b=(2.0, "win"), c=(3.0, "tie"), d=(4.0, "loss"))


def test_sizes_that_rank_alike_agree() -> None:
    """A warning here would make a good proxy look like a bad one."""
    again = table(
        d=(40.0, "win"), c=(30.0, "tie"), b=(20.0, "win"), a=(10.0, "win"), e=(0.0, "tie")
    )
    [row] = agreement(SMALL, again).rows(named=True)
    assert row == {"measure": "m", "arms": 4, "pairs": 6, "tau": 1, "same_frac": 1, "reversed": 1}
    [sign] = unstable_over_sizes(SMALL, again, between=("1M", "5M"))
    assert (
        sign.text
        == "1 of 4 arms win against the base in m at one of 1M and 5M and lose at the other."
    )


def test_sizes_that_rank_otherwise_are_named() -> None:
    """Whoever trains the large model on the small ones' winner should know."""
    other = table(a=(2.0, "win"), b=(1.0, "win"), c=(4.0, "tie"), d=(3.0, "loss"))
    [row] = agreement(SMALL, other).rows(named=True)
    assert row["same_frac"] == pytest.approx(4 / 6)
    assert row["tau"] == pytest.approx(2 / 6)
    [sign] = unstable_over_sizes(SMALL, other, between=("1M", "5M"))
    assert (sign.kind, sign.measure) == ("unstable over sizes", "m")
    assert "1M and 5M order 67% of 6 pairs of arms alike in m" in sign.text
    one_turned = table(a=(2.0, "win"), b=(1.0, "win"), c=(3.0, "tie"), d=(4.0, "loss"))
    assert not unstable_over_sizes(SMALL, one_turned, between=("1M", "5M"))


def test_a_pair_equal_in_one_size_only_is_not_alike() -> None:
    """A measure that no longer moves would otherwise agree with everything."""
    flat = table(a=(0.0, "tie"), b=(0.0, "tie"))
    assert agreement(SMALL, flat)["same_frac"].to_list() == [0]
    assert agreement(flat, flat)["same_frac"].to_list() == [1]


def test_sizes_that_share_one_arm_or_none_say_nothing() -> None:
    """There is no order of one."""
    one = table(a=(1.0, "win"))
    assert agreement(SMALL, one)["same_frac"].to_list() == [None]
    assert not unstable_over_sizes(SMALL, one, between=("1M", "5M"))
    none = agreement(SMALL, table(z=(1.0, "win")))
    assert none.is_empty()
    assert none.columns == ["measure", "arms", "pairs", "tau", "same_frac", "reversed"]
