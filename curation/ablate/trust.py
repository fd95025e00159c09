"""Signs that a verdict of small runs should not be trusted.

A verdict says whether two arms differ in what was measured. Whether that stands for anything is
another question: a model at chance ranks nothing, noise ranks everything, and a ranking that turns
round with the model's size says nothing about the next larger one. Each sign is a reason to doubt,
never a proof; none of them changes a verdict.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from curation.ablate.contrast import BASE_NUMBER, Pair, effective_items, estimates, of_items
from curation.evaluate.measures import Measure

if TYPE_CHECKING:
    from curation.ablate.verdict import Judging, Values

F64 = npt.NDArray[np.float64]

#: Fewer items than this, counted as items of equal weight, rank arms by chance. A choice of ours.
FEW_ITEMS = 50
#: The least mean Kendall tau between repetitions: three of four pairs of arms in the same order.
STABLE_TAU = 0.5
#: The least spread of arms over noise of one repetition (Heineman et al. 2025, arXiv:2508.13144,
#: for the ratio; the bound is ours). Five equal arms of three repetitions stay below 2 in four of
#: five cases.
SIGNAL_TO_NOISE = 2.0
#: The least share of pairs that two sizes order alike: what a ranking at 150M parameters reaches
#: for 1B (Magnusson et al. 2025, "DataDecide", arXiv:2504.11393).
DECISIONS_ALIKE = 0.8


@dataclass(frozen=True)
class Sign:
    """A reason to doubt.

    kind     one repetition, two repetitions, few items, at chance, no difference from the base,
             unstable over repetitions, intervals wider than the spread, unstable over sizes
    measure  what it is about; "" for all
    text     one sentence for people
    """

    kind: str
    measure: str
    text: str


def signs_of(
    values: Mapping[str, Values],
    measures: Mapping[str, Measure],
    rows: pl.DataFrame,
    judging: Judging,
) -> tuple[Sign, ...]:
    """Return the signs of one experiment.

    values  name of a primary measure → its numbers
    rows    of the verdict
    """
    signs = []
    if any(each.value_ARI.shape[1] < 2 for each in values.values()):
        text = "with one repetition nothing can be decided: another draw might turn any difference"
        signs.append(Sign("one repetition", "", f"{text} round."))
    if any(each.value_ARI.shape[1] == 2 for each in values.values()):
        text = "with two repetitions a difference is found where there is none in up to 9 of 100"
        signs.append(Sign("two repetitions", "", f"{text} cases, not in 5."))
    for name, each in values.items():
        of_measure = rows.filter(pl.col("measure") == name)
        of_base = of_measure.filter(pl.col("comparison") == "base")
        signs += [
            *_few_items(name, each),
            *_at_chance(measures[name], each, of_base, judging),
            *_unstable(name, each),
            *_too_wide(measures[name], each, of_measure),
        ]
    return tuple(signs)


def _few_items(name: str, values: Values) -> Iterator[Sign]:
    items, effective = values.weight_I.size, effective_items(values.weight_I)
    if effective < FEW_ITEMS:
        weight = "" if effective > 0.9 * items else f", and they weigh like {effective:.0f} equal"
        text = f"{name} has {items} items{weight}: fewer than {FEW_ITEMS} rank arms by chance."
        yield Sign("few items", name, text)


def _at_chance(
    measure: Measure, values: Values, of_base: pl.DataFrame, judging: Judging
) -> Iterator[Sign]:
    """Yield a sign where no model is told from a guesser, or none from the base."""
    if measure.chance is None:
        if len(of_base) and (of_base["verdict"] == "tie").all():
            text = f"no arm differs from the base in {measure.name}: it may not react to training"
            yield Sign("no difference from the base", measure.name, f"{text} of this size.")
        return
    if all(
        map(_holds_zero, _over_chance(values, measure.chance, judging), itertools.repeat(judging))
    ):
        text = f"all arms and the base may be guessing in {measure.name} (chance is "
        text += f"{measure.chance:.3g}): it says nothing at this size."
        yield Sign("at chance", measure.name, text)


def _over_chance(values: Values, chance: float, judging: Judging) -> Iterator[Any]:
    """Yield how far the base and each arm lie from chance."""
    guess_I = chance * values.weight_I
    yield of_items(values.base_I - guess_I, values.weight_I)
    arms, repetitions, _ = values.value_ARI.shape
    if repetitions < 2:
        over_AI = values.value_ARI.mean(axis=1) - guess_I
        yield from (of_items(over_I, values.weight_I) for over_I in over_AI)
        return
    yield from estimates(
        values.value_ARI,
        guess_I,
        values.weight_I,
        [Pair(arm, BASE_NUMBER) for arm in range(arms)],
        seed=judging.seed,
        count=judging.replicates,
    )


def _holds_zero(estimate: Any, judging: Judging) -> bool:
    low, high = estimate.interval(judging.alpha)
    return not (low > 0 or high < 0)


def _unstable(name: str, values: Values) -> Iterator[Sign]:
    """Yield a sign where repetitions rank the arms differently, or spread as widely as the arms."""
    mean_AR = values.runs
    arms, repetitions = mean_AR.shape
    if arms < 2 or repetitions < 2:
        return
    tau, ratio = tau_over_repetitions(mean_AR), signal_to_noise(mean_AR)
    if (arms > 2 and tau < STABLE_TAU) or ratio < SIGNAL_TO_NOISE:
        rank = f"repetitions rank them with a mean Kendall tau of {tau:.2f}, and " * (arms > 2)
        text = f"the order of the arms in {name} is unstable: {rank}the spread of the arms is "
        text += f"{ratio:.1f} times the noise of one repetition."
        yield Sign("unstable over repetitions", name, text)


def _too_wide(measure: Measure, values: Values, of_measure: pl.DataFrame) -> Iterator[Sign]:
    """Yield a sign where the arms lie within an interval: of two arms, or of an arm and the base.

    What all arms of a repetition share widens the second and not the first, so it stands in only
    where no arms were compared.
    """
    among_arms = of_measure.filter(pl.col("comparison") != "base")
    looked_at = among_arms if len(among_arms) else of_measure
    mean_A = values.runs.mean(axis=1)
    widths = (looked_at["high"] - looked_at["low"]).drop_nulls()
    if len(mean_A) < 2 or not len(widths):
        return
    width, spread = float(np.median(widths.to_numpy())), float(np.ptp(mean_A))
    if width > spread:
        text = f"the intervals of {measure.name} ({width:.3g} {measure.unit} wide) are wider than "
        text += f"the spread of all arms ({spread:.3g}): it cannot rank them."
        yield Sign("intervals wider than the spread", measure.name, text)


def tau_over_repetitions(mean_AR: F64) -> float:
    """Return the mean Kendall tau between the repetitions' rankings of the arms."""
    pairs = itertools.combinations(mean_AR.T, 2)
    return float(np.mean([kendall_tau(one_A, other_A) for one_A, other_A in pairs]))


def signal_to_noise(mean_AR: F64) -> float:
    """Return the spread of the arms' means over the noise of one repetition.

    As in Heineman et al. 2025 the signal is the largest difference of two arms. Their noise is that
    of a run's last checkpoints; here it is that of draws and seeds, less what all arms share.
    """
    arms, repetitions = mean_AR.shape
    rest_AR = mean_AR - mean_AR.mean(axis=0)
    rest_AR = rest_AR - rest_AR.mean(axis=1, keepdims=True)
    noise = math.sqrt(float((rest_AR**2).sum()) / ((arms - 1) * (repetitions - 1)))
    signal = float(np.ptp(mean_AR.mean(axis=1)))
    return signal / noise if noise > 0 else math.inf if signal > 0 else 0.0


def kendall_tau(one_A: F64, other_A: F64) -> float:
    """Return Kendall's tau-b; 0 where all of one ranking are equal (Kendall 1945)."""
    sign_P, other_P = _order(one_A), _order(other_A)
    norm = math.sqrt(float((sign_P != 0).sum()) * float((other_P != 0).sum()))
    return float((sign_P * other_P).sum()) / norm if norm else 0.0


def _order(value_A: F64) -> F64:
    """Return the signs of the differences of all pairs."""
    upper, lower = np.triu_indices(len(value_A), 1)
    sign_P: F64 = np.sign(value_A[upper] - value_A[lower])
    return sign_P


def agreement(first: pl.DataFrame, second: pl.DataFrame) -> pl.DataFrame:
    """Say how alike two verdicts' tables, of other sizes or budgets, rank the arms they share.

    Arms are ranked by their difference from their own base. Returns, for each measure of both:

    measure    string
    arms       int64    that both have
    pairs      int64    of these arms
    tau        float64  Kendall's
    same_frac  float64  of pairs in the same order; a pair equal in both counts, one equal in one
                        does not (decision accuracy of DataDecide)
    reversed   int64    arms that win against their base in one table and lose in the other
    """
    columns = ["arm", "measure", "difference", "verdict"]
    one, other = (t.filter(pl.col("comparison") == "base").select(columns) for t in (first, second))
    both = one.join(other, on=["arm", "measure"], how="inner", suffix="_2").sort("measure", "arm")
    rows = []
    for (measure,), part in both.group_by("measure", maintain_order=True):
        one_A, other_A = part["difference"].to_numpy(), part["difference_2"].to_numpy()
        same_P = _order(one_A) == _order(other_A)
        decided = pl.concat_str("verdict", "verdict_2").is_in(["winloss", "losswin"])
        rows.append(
            {
                "measure": measure,
                "arms": len(part),
                "pairs": len(same_P),
                "tau": kendall_tau(one_A, other_A),
                "same_frac": float(same_P.mean()) if len(same_P) else None,
                "reversed": len(part.filter(decided)),
            }
        )
    schema = {"measure": pl.String, "arms": pl.Int64, "pairs": pl.Int64, "tau": pl.Float64}
    return pl.DataFrame(rows, {**schema, "same_frac": pl.Float64, "reversed": pl.Int64})


def unstable_over_sizes(
    first: pl.DataFrame, second: pl.DataFrame, *, between: tuple[str, str]
) -> tuple[Sign, ...]:
    """Return signs where two verdicts' tables, of other sizes or budgets, contradict each other.

    between  what the two are, such as ("1M parameters", "5M parameters")
    """
    signs = []
    for row in agreement(first, second).iter_rows(named=True):
        measure, turned = row["measure"], row["reversed"]
        if row["pairs"] and row["same_frac"] < DECISIONS_ALIKE:
            text = f"{' and '.join(between)} order {row['same_frac']:.0%} of {row['pairs']} pairs "
            text += f"of arms alike in {measure} (Kendall tau {row['tau']:.2f}): the ranking may "
            signs.append(Sign("unstable over sizes", measure, f"{text}not carry over."))
        if turned:
            text = f"{turned} of {row['arms']} arms win against the base in {measure} at one of "
            text += f"{' and '.join(between)} and lose at the other."
            signs.append(Sign("unstable over sizes", measure, text))
    return tuple(signs)
