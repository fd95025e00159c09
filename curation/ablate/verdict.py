"""Which arm helps, which hurts, what cannot be told, and how sure that is.

Every arm is compared with the base that it was trained from; on request with one reference arm, and
each arm with each other. The comparisons of one kind, over all arms and primary measures, are one
family: their p-values are corrected after Holm 1979, so that a family of arms that all do nothing
names a winner or a loser in at most 5 of 100 experiments. The intervals are not corrected: each
holds the true difference in 95 of 100 cases, whatever the others do. So a tie may have an interval
without 0. ``contrast.py`` says how they are made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from curation.ablate.contrast import BASE_NUMBER, Estimate, Pair, estimates
from curation.ablate.trust import Sign, signs_of
from curation.errors import DataError, RecipeError, nearest
from curation.evaluate.measures import ITEMS, Evaluation, Measure

F64 = npt.NDArray[np.float64]

#: The name of the model before any arm, in the column ``arm``.
BASE = "base"

#: What an arm may be compared with, and how a person reads it.
COMPARISONS = {
    "base": "Each arm against its base",
    "reference": "Each arm against the reference",
    "pairs": "Each arm against each other",
}

#: The columns of a verdict's table.
ROWS = pl.Schema(
    {
        "comparison": pl.String(),  # one of COMPARISONS
        "arm": pl.String(),
        "against": pl.String(),
        "measure": pl.String(),
        "unit": pl.String(),
        "difference": pl.Float64(),  # arm less against
        "low": pl.Float64(),  # of the interval; null where undecided, as the next two
        "high": pl.Float64(),
        "p": pl.Float64(),
        "p_holm": pl.Float64(),
        "verdict": pl.String(),  # win, tie, loss (of the arm), undecided
        "detectable": pl.Float64(),
        "repetitions": pl.Int64(),
        "items": pl.Int64(),
        "value": pl.Float64(),  # of the arm
        "against_value": pl.Float64(),
        "agreeing_repetitions": pl.Int64(),
        "standard_error": pl.Float64(),
        "degrees_of_freedom": pl.Float64(),
    }
)


class Values(NamedTuple):
    """One measure of all arms; arms by name, repetitions by number, items by name.

    value_ARI  float64[A, R, I]
    base_I     float64[I]
    weight_I   float64[I]
    """

    value_ARI: F64
    base_I: F64
    weight_I: F64

    @property
    def runs(self) -> F64:
        """The measure of each run: float64[A, R]."""
        mean_AR: F64 = self.value_ARI.sum(axis=2) / self.weight_I.sum()
        return mean_AR

    @property
    def base(self) -> float:
        """The measure of the base."""
        return float(self.base_I.sum() / self.weight_I.sum())


@dataclass(frozen=True)
class Measured:
    """All that was measured of the arms of one experiment and of their base.

    items     ITEMS with ``arm`` and ``repetition`` before it; the base is arm "base", repetition 0
    measures  name → measure; all that items have
    """

    items: pl.DataFrame
    measures: dict[str, Measure]

    def __post_init__(self) -> None:
        wanted = ["arm", "repetition", *ITEMS.names]
        missing = [name for name in wanted if name not in self.items.columns]
        if missing:
            raise DataError(
                "measured items lack columns.",
                found=", ".join(self.items.columns),
                remedy=f"add {', '.join(missing)}",
            )
        if not self.arms or BASE not in self._all_arms:
            raise DataError(
                "a verdict needs at least one arm, and the base that the arms were trained from.",
                found=f"arms {', '.join(self._all_arms) or 'none'}",
                remedy=f"evaluate the base and add its items with arm '{BASE}', repetition 0",
            )
        if self.items.filter(pl.col("arm") == BASE)["repetition"].n_unique() > 1:
            raise DataError(
                "the base is one model, and was measured in several repetitions.",
                remedy="keep one of them: intervals do not count the base as varying",
            )
        if not self.repetitions:
            raise DataError("the arms have no repetition in common.", found=str(self._of_arm))
        self._check_numbers()

    @classmethod
    def of(cls, base: Evaluation, arms: Mapping[str, Mapping[int, Evaluation]]) -> Measured:
        """Lay out evaluations of the base and, by arm and number of the repetition, of arms."""
        named = [(BASE, 0, base)]
        named += [(arm, number, e) for arm, runs in arms.items() for number, e in runs.items()]
        frames = [
            e.items.select(
                pl.lit(arm).alias("arm"), pl.lit(number, pl.Int64()).alias("repetition"), pl.all()
            )
            for arm, number, e in named
        ]
        return cls(pl.concat(frames), base.measures)

    @cached_property
    def _all_arms(self) -> list[str]:
        return self.items["arm"].unique(maintain_order=True).to_list()

    @cached_property
    def arms(self) -> tuple[str, ...]:
        """The arms, in the order in which they were given."""
        return tuple(arm for arm in self._all_arms if arm != BASE)

    @cached_property
    def _of_arm(self) -> dict[str, list[int]]:
        runs = self.items.select("arm", "repetition").unique().sort("arm", "repetition")
        return {arm: runs.filter(pl.col("arm") == arm)["repetition"].to_list() for arm in self.arms}

    @cached_property
    def repetitions(self) -> tuple[int, ...]:
        """The repetitions that all arms have; no others are looked at."""
        return tuple(sorted(set.intersection(*map(set, self._of_arm.values()))))

    @property
    def notes(self) -> list[str]:
        """What was measured and is not looked at."""
        notes = []
        for arm in self.arms:
            alone = sorted(set(self._of_arm[arm]) - set(self.repetitions))
            if alone:
                listed = ", ".join(map(str, alone))
                notes.append(f"repetition {listed} of '{arm}': other arms lack it")
        for name in self.measures:
            rows = self._rows(name)
            items = rows["item"].n_unique()
            kept = self.values(name).weight_I.size
            if kept < items:
                notes.append(
                    f"{items - kept} of {items} items of {name}: not all runs have them, "
                    "or they have no weight"
                )
        return notes

    def _check_numbers(self) -> None:
        bad = self.items.filter(
            ~pl.col("value").is_finite().fill_null(False)
            | ~pl.col("weight").is_finite().fill_null(False)
            | (pl.col("weight") < 0)
        )
        if len(bad):
            raise DataError(
                "measured items hold values that are no numbers, or weights below 0.",
                found=f"{len(bad)} rows, the first {bad.row(0, named=True)}",
                remedy="evaluate that run again, or leave it out",
            )
        unknown = set(self.items["measure"].unique()) - set(self.measures)
        if unknown:
            raise DataError("items of unknown measures.", found=", ".join(sorted(unknown)))

    def _rows(self, name: str) -> pl.DataFrame:
        """Return the rows of one measure that count, those of the base first."""
        return self.items.filter(
            (pl.col("measure") == name)
            & ((pl.col("arm") == BASE) | pl.col("repetition").is_in(self.repetitions))
        )

    @cached_property
    def _values(self) -> dict[str, Values]:
        return {}

    def values(self, name: str) -> Values:
        """Return the numbers of one measure, of the items that all arms and the base have."""
        if name not in self._values:
            self._values[name] = self._lay_out(name)
        return self._values[name]

    def _lay_out(self, name: str) -> Values:
        rows, runs = self._rows(name), 1 + len(self.arms) * len(self.repetitions)
        kept = rows.group_by("item").agg(
            pl.len().alias("runs"),
            pl.struct("arm", "repetition").n_unique().alias("different"),
            pl.col("weight").min().alias("least"),
            pl.col("weight").max().alias("most"),
        )
        _refuse(kept.filter(pl.col("runs") > pl.col("different")), name, "stand twice in a run")
        uneven = kept.filter(pl.col("least") < pl.col("most"))
        _refuse(uneven, name, "have not the same weight in all runs")
        complete = kept.filter((pl.col("runs") == runs) & (pl.col("least") > 0)).select("item")
        if not len(complete):
            lacking = [arm for arm in (BASE, *self.arms) if arm not in rows["arm"].unique()]
            raise DataError(
                f"no item of {name} was measured for the base and in all repetitions of all arms.",
                found=f"arms without any: {', '.join(lacking) or 'none'}",
                remedy="evaluate all runs by the same panel, or leave the measure out",
            )
        rows = rows.join(complete, on="item", how="semi").sort("arm", "repetition", "item")
        base = rows.filter(pl.col("arm") == BASE)
        value_N = rows.filter(pl.col("arm") != BASE)["value"].to_numpy()
        shape = (len(self.arms), len(self.repetitions), len(complete))
        return Values(
            np.ascontiguousarray(value_N.reshape(shape)),
            base["value"].to_numpy(),
            np.ascontiguousarray(base["weight"].to_numpy()),
        )


def _refuse(items: pl.DataFrame, name: str, what: str) -> None:
    if len(items):
        raise DataError(
            f"items of {name} {what}.", found=f"{len(items)}, such as {items['item'].min()!r}"
        )


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What a verdict says of the runs beneath it.

    model        name of the model's size or of its checkpoint
    parameters   of the model
    tokens       that each arm was trained on
    repetitions  that were asked for: draws of documents, each with its own seed
    base         what the arms started from
    domain       what the arms are to help with
    """

    model: str
    parameters: int
    tokens: int
    repetitions: int
    base: str
    domain: str

    def __post_init__(self) -> None:
        for name in ("parameters", "tokens", "repetitions"):
            if getattr(self, name) < 1:
                raise RecipeError(f"RunFacts: {name} is at least 1.", found=str(self))


@dataclass(frozen=True, kw_only=True)
class Judging:
    """How a verdict is reached.

    alpha       how often a family of comparisons may name a difference where there is none
    power       how often the smallest detectable difference would be found
    replicates  of the bootstrap; 10,000 leave 0.7 % of chance in a standard error
    seed        of the bootstrap
    """

    alpha: float = 0.05
    power: float = 0.8
    replicates: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        laws = {
            "alpha is between 0 and 1": 0 < self.alpha < 1,
            "power is between alpha and 1": self.alpha < self.power < 1,
            "replicates are at least 100": self.replicates >= 100,
            "seed is between 0 and 2^64": 0 <= self.seed < 1 << 64,
        }
        for law, kept in laws.items():
            if not kept:
                raise RecipeError(f"Judging: {law}.", found=str(self))


@dataclass(frozen=True)
class Verdict:
    """What came out of an experiment.

    facts     of the runs
    rows      a row for each comparison and primary measure, of the schema ROWS
    measures  name → measure, the primary ones
    signs     why it should perhaps not be trusted
    notes     what was measured and left out
    """

    facts: RunFacts
    judging: Judging
    rows: pl.DataFrame
    measures: dict[str, Measure]
    signs: tuple[Sign, ...]
    notes: tuple[str, ...]

    def table(self) -> pl.DataFrame:
        """Return all comparisons as a frame of the schema ROWS."""
        return self.rows

    def __str__(self) -> str:
        from curation.ablate.wording import worded

        return worded(self)


def judge(
    measured: Measured,
    facts: RunFacts,
    *,
    primary: Sequence[str] = (),
    reference: str | None = None,
    pairs: bool = False,
    judging: Judging | None = None,
) -> Verdict:
    """Compare every arm with the base, with a reference arm if one is named, and in pairs.

    primary  names of the measures that the verdict is about; all where none is given
    """
    judging = judging or Judging()
    names = tuple(primary) or tuple(measured.measures)
    _known(names, measured.measures, "measure")
    _known([reference] if reference is not None else [], measured.arms, "arm")
    if len(measured.repetitions) > facts.repetitions:
        raise RecipeError(
            "more repetitions were measured than the facts of the run say.",
            found=f"{len(measured.repetitions)} measured, {facts.repetitions} stated",
        )
    asked = {
        "base": [(arm, BASE) for arm in measured.arms],
        "reference": [(arm, reference) for arm in measured.arms if reference not in (None, arm)],
        "pairs": [
            (one, other)
            for n, one in enumerate(measured.arms)
            for other in measured.arms[n + 1 :]
            if pairs
        ],
    }
    families: dict[str, list[dict[str, Any]]] = {kind: [] for kind in asked}
    for name in names:
        found = _compared(measured, name, [p for kind in asked.values() for p in kind], judging)
        for kind, wanted in asked.items():
            families[kind] += [
                _row(measured, name, pair, found[pair]) | {"comparison": kind} for pair in wanted
            ]
    rows = [row for family in families.values() for row in _settled(family, measured, judging)]
    frame = pl.DataFrame(rows, schema=ROWS)
    primary_measures = {name: measured.measures[name] for name in names}
    values = {name: measured.values(name) for name in names}
    signs = signs_of(values, primary_measures, frame, judging)
    return Verdict(facts, judging, frame, primary_measures, signs, tuple(measured.notes))


def _known(names: Sequence[Any], known: Sequence[str] | Mapping[str, Any], what: str) -> None:
    for name in names:
        if name not in known:
            raise RecipeError(
                f"there is no {what} '{name}'.",
                found=", ".join(known),
                remedy=nearest(str(name), known),
            )


def _compared(
    measured: Measured, name: str, pairs: Sequence[tuple[str, Any]], judging: Judging
) -> dict[tuple[str, Any], Estimate]:
    """Estimate each pair in one direction, by name, so that the other one is its mirror image."""
    number = {arm: n for n, arm in enumerate(sorted(measured.arms))} | {BASE: BASE_NUMBER}
    wanted = sorted({_ordered(Pair(number[arm], number[against])) for arm, against in pairs})
    found = dict(
        zip(
            wanted,
            estimates(*measured.values(name), wanted, seed=judging.seed, count=judging.replicates),
            strict=True,
        )
    )
    whole = {}
    for arm, against in pairs:
        pair = Pair(number[arm], number[against])
        mirrored = _ordered(pair) != pair
        whole[arm, against] = found[_ordered(pair)].turned() if mirrored else found[pair]
    return whole


def _ordered(pair: Pair) -> Pair:
    return pair if pair.against == BASE_NUMBER else Pair(min(pair), max(pair))


def _row(
    measured: Measured, name: str, pair: tuple[str, Any], estimate: Estimate
) -> dict[str, Any]:
    values = measured.values(name)
    value = dict(zip(sorted(measured.arms), values.runs.mean(axis=1).tolist(), strict=True))
    value[BASE] = values.base
    return {
        "arm": pair[0],
        "against": pair[1],
        "measure": name,
        "unit": measured.measures[name].unit,
        "difference": estimate.difference,
        "repetitions": len(measured.repetitions),
        "items": values.weight_I.size,
        "value": value[pair[0]],
        "against_value": value[pair[1]],
        "agreeing_repetitions": estimate.agreeing,
        "estimate": estimate,
    }


def _settled(
    family: list[dict[str, Any]], measured: Measured, judging: Judging
) -> list[dict[str, Any]]:
    """Decide the comparisons of one family."""
    known = [row["estimate"] for row in family if row["estimate"].known]
    adjusted = iter(holm([estimate.p for estimate in known]))
    for row in family:
        estimate: Estimate = row.pop("estimate")
        if not estimate.known:
            row["verdict"] = "undecided"
            continue
        row["p"], row["p_holm"] = estimate.p, next(adjusted)
        row["low"], row["high"] = estimate.interval(judging.alpha)
        row["detectable"] = estimate.detectable(judging.alpha / len(known), judging.power)
        row["standard_error"] = estimate.error
        row["degrees_of_freedom"] = estimate.freedom
        better = estimate.difference * measured.measures[row["measure"]].sign > 0
        row["verdict"] = "tie" if row["p_holm"] >= judging.alpha else "win" if better else "loss"
    return family


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values that may each be held against alpha, for a family (Holm 1979)."""
    adjusted, highest = [math.nan] * len(p), 0.0
    for rank, at in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        highest = max(highest, min(1.0, (len(p) - rank) * p[at]))
        adjusted[at] = highest
    return adjusted
