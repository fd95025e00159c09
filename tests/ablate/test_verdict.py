from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.ablate.contrast import Estimate
from curation.ablate.verdict import (
    ROWS,
    Judging,
    Measured,
    RunFacts,
    Verdict,
    holm,
    judge,
)
from curation.errors import DataError, RecipeError
from curation.evaluate.measures import ITEMS, Evaluation, Measure

BITS = Measure(name="cyber/bits_per_byte", unit="bits per byte", better="lower")
GENERAL = Measure(name="general/bits_per_byte", unit="bits per byte", better="lower")
RIGHT = Measure(name="seceval/correct_prob", unit="probability")
FACTS = RunFacts(
    model="1M",
    parameters=1_300_000,
    tokens=150_000,
    repetitions=3,
    base="wikinews",
    domain="cybersecurity",
)
QUICK = Judging(replicates=300)

#: Arm → what it does to the measures.
Effects = dict[str, Sequence[float]]


def frame(
    effects: Effects,
    measures: Sequence[Measure] = (BITS,),
    *,
    repetitions: int = 3,
    items: int = 60,
    noise: float = 0.01,
    seed: int = 0,
) -> pl.DataFrame:
    """Items of a base and of arms, with noise of repetitions and of items."""
    rng = np.random.default_rng(seed)
    parts = []
    runs = [("base", 0)] + [(arm, r) for arm in effects for r in range(repetitions)]
    hard_MI = rng.normal(3, 0.3, (len(measures), items))
    weight_MI = rng.uniform(100, 3000, (len(measures), items)).round()
    for arm, repetition in runs:
        for m, measure in enumerate(measures):
            effect = 0.0 if arm == "base" else effects[arm][m]
            shift = 0.0 if arm == "base" else rng.normal(0, noise)
            value_I = hard_MI[m] + effect + shift + rng.normal(0, 3 * noise, items)
            columns = {
                "arm": arm,
                "repetition": repetition,
                "measure": measure.name,
                "item": [f"item{i}" for i in range(items)],
                "source": "",
                "value": value_I * weight_MI[m],
                "weight": weight_MI[m],
            }
            parts.append(pl.DataFrame(columns))
    return pl.concat(parts)


def measured(effects: Effects, measures: Sequence[Measure] = (BITS,), **settings_: Any) -> Measured:
    return Measured(frame(effects, measures, **settings_), {m.name: m for m in measures})


def judged(*args: Any, reference: str | None = None, pairs: bool = False, **kw: Any) -> Verdict:
    return judge(measured(*args, **kw), FACTS, reference=reference, pairs=pairs, judging=QUICK)


THREE = (BITS, GENERAL, RIGHT)
EFFECTS: Effects = {
    "cleaned": (-0.3, 0.3, 0.3),
    "wrong": (0.3, 0.3, -0.3),
    "same": (0.0, 0.0, 0.0),
}


def verdicts(verdict: Verdict, comparison: str = "base") -> dict[tuple[str, str, str], str]:
    rows = verdict.table().filter(pl.col("comparison") == comparison)
    return {(a, b, m): v for a, b, m, v in rows["arm", "against", "measure", "verdict"].iter_rows()}


def test_less_is_better_where_it_is_and_more_where_it_is() -> None:
    """A sign that is turned round sells the worst set as the best."""
    found = verdicts(judged(EFFECTS, THREE))
    assert list(found.values()) == [
        *("win", "loss", "tie"),
        *("loss", "loss", "tie"),
        *("win", "loss", "tie"),
    ]


def test_the_table_holds_what_was_measured() -> None:
    """Whoever reads the frame takes its columns at their word."""
    data = measured(EFFECTS, THREE)
    table = judge(data, FACTS, reference="same", pairs=True, judging=QUICK).table()
    assert table.schema == ROWS
    counts = table["comparison"].value_counts().sort("comparison")
    assert counts.rows() == [("base", 9), ("pairs", 9), ("reference", 6)]
    for row in table.iter_rows(named=True):
        values = {}
        for arm in (row["arm"], row["against"]):
            part = data.items.filter((pl.col("arm") == arm) & (pl.col("measure") == row["measure"]))
            values[arm] = part["value"].sum() / part["weight"].sum()
        assert row["value"] == pytest.approx(values[row["arm"]])
        assert row["against_value"] == pytest.approx(values[row["against"]])
        assert row["difference"] == pytest.approx(row["value"] - row["against_value"])
        assert row["low"] < row["difference"] < row["high"]
        assert row["p"] <= row["p_holm"] <= 1
        assert (row["repetitions"], row["items"]) == (3, 60)
        assert row["unit"] == data.measures[row["measure"]].unit
        assert row["standard_error"] < row["detectable"] < 20 * row["standard_error"]


def test_each_kind_of_comparison_is_a_family_of_its_own() -> None:
    """Comparisons nobody asked for would otherwise make a verdict weaker."""
    alone = judged(EFFECTS, THREE).table()
    many = judged(EFFECTS, THREE, reference="same", pairs=True).table()
    base = many.filter(pl.col("comparison") == "base")
    assert base.equals(alone)
    for kind in ("base", "reference", "pairs"):
        family = many.filter(pl.col("comparison") == kind)
        assert holm(family["p"].to_list()) == pytest.approx(family["p_holm"].to_list())


def test_the_detectable_difference_is_that_of_the_first_step() -> None:
    """A budget planned without the correction is too small by a third."""
    data = measured(EFFECTS, THREE)
    one = judge(data, FACTS, primary=[BITS.name], judging=QUICK).table()
    three = judge(data, FACTS, judging=QUICK).table().filter(pl.col("measure") == BITS.name)
    assert (three["detectable"] > 1.1 * one["detectable"]).all()
    error, freedom = one[["standard_error", "degrees_of_freedom"]].row(0)
    assert one["detectable"][0] == Estimate(0, error, freedom, 3).detectable(0.05 / 3, 0.8)


def test_holm_is_the_published_procedure() -> None:
    """A smaller p-value must never be decided against where a larger one is not."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1, 1])
    assert holm([]) == []


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_step_by_step(p: list[float]) -> None:
    """The adjusted values say what the stepwise test says."""
    adjusted = holm(p)
    going = True
    for rank, at in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        going = going and (len(p) - rank) * p[at] < 0.05
        assert (adjusted[at] < 0.05) == going


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 1000), st.permutations(["cleaned", "wrong", "same"]))
def test_no_order_of_arms_items_or_repetitions_matters(seed: int, order: list[str]) -> None:
    """A results store lists its runs as they come in."""
    effects: Effects = {"cleaned": (-0.02,), "wrong": (0.02,), "same": (0.0,)}
    items = frame(effects, items=25, seed=seed)
    shuffled = items.sample(fraction=1, shuffle=True, seed=seed)
    shuffled = pl.concat([shuffled.filter(pl.col("arm") == arm) for arm in ("base", *order)])
    keys, found = ["comparison", "arm", "measure"], []
    for rows in (items, shuffled):
        data = Measured(rows, {BITS.name: BITS})
        found.append(judge(data, FACTS, reference="same", judging=QUICK).table().sort(keys))
    for name in ROWS:
        one, other = found[0][name].to_list(), found[1][name].to_list()
        numeric = isinstance(one[0], float)
        assert one == (pytest.approx(other, rel=1e-6, abs=1e-12) if numeric else other), name


def test_turning_a_comparison_round_turns_its_sign_and_nothing_else() -> None:
    """Which of two arms is the reference is a matter of taste."""
    effects: Effects = {"one": (-0.2,), "two": (0.2,)}
    there, back = (
        judged(effects, reference=name).table().filter(pl.col("comparison") == "reference")
        for name in effects
    )
    for name in ("difference", "low", "high"):
        other = {"low": "high", "high": "low"}.get(name, name)
        assert there[name][0] == -back[other][0]
    same = ["p", "p_holm", "detectable", "standard_error", "agreeing_repetitions"]
    assert there[same].equals(back[same])
    assert {there["verdict"][0], back["verdict"][0]} == {"win", "loss"}


def test_the_same_seed_gives_the_same_verdict_and_another_nearly_the_same() -> None:
    """A verdict that changes when it is looked at again is none."""
    data = measured(EFFECTS, THREE)
    one, again = (judge(data, FACTS, judging=QUICK) for _ in range(2))
    assert one.table().equals(again.table())
    other = judge(data, FACTS, judging=Judging(replicates=300, seed=9)).table()
    assert (other["standard_error"] != one.table()["standard_error"]).all()
    ratio = other["standard_error"] / one.table()["standard_error"]
    assert ratio.is_between(0.8, 1.25).all()


def test_one_repetition_decides_nothing() -> None:
    """On one draw of documents every arm differs from every other."""
    verdict = judged(EFFECTS, THREE, repetitions=1, reference="same")
    assert set(verdict.table()["verdict"]) == {"undecided"}
    for name in ("low", "high", "p", "p_holm", "detectable", "standard_error"):
        assert verdict.table()[name].null_count() == len(verdict.table())
    assert verdict.table()["difference"].null_count() == 0
    text = str(verdict)
    assert "1 (of 3 asked for)" in text
    assert "is undecided in cyber/bits_per_byte" in text
    assert "one repetition: with one repetition nothing can be decided" in text
    assert "helps" not in text


def test_the_text_names_what_was_run_and_states_losses_like_wins() -> None:
    """A verdict is quoted, and what it does not say itself is lost."""
    verdict = judged(EFFECTS, THREE, reference="same", pairs=True)
    text = str(verdict)
    for fact in ("cybersecurity", "1M, 1,300,000 parameters", "150,000 for each arm", "wikinews"):
        assert fact in text
    assert "repetitions  3, each with its own draw of documents and its own seed" in text
    helps = "helps cyber/bits_per_byte, seceval/correct_prob; hurts general/bits_per_byte."
    assert f"cleaned {helps}" in text
    assert f"cleaned, against same, {helps}" in text
    assert "wrong hurts cyber/bits_per_byte, general/bits_per_byte, seceval/correct_prob." in text
    assert "same does not measurably help or hurt cyber/bits_per_byte" in text
    assert "cyber/bits_per_byte: bits per byte, lower is better; 60 items" in text
    row = verdict.table().row(0, named=True)
    shown = next(line for line in text.splitlines() if line.startswith("  cleaned  cyber"))
    places = 4
    for value in (row["difference"], row["low"], row["high"]):
        assert f"{value:+.{places}f}" in shown
    assert "win" in shown
    assert "3 of 3" in shown
    assert "cleaned - wrong" in text
    assert text.index("Signs that this should not be trusted") > text.index("cleaned - wrong")
    assert all(len(line) == len(line.rstrip()) for line in text.splitlines())


def test_a_verdict_without_doubts_says_so() -> None:
    """Silence could be a check that was never made."""
    assert str(judged({"cleaned": (-0.3,), "wrong": (0.3,)}, items=100)).endswith("none was found.")


def test_only_primary_measures_are_judged() -> None:
    """Each further one makes every other verdict weaker."""
    data = measured(EFFECTS, THREE)
    verdict = judge(data, FACTS, primary=[RIGHT.name], judging=QUICK)
    assert set(verdict.table()["measure"]) == {RIGHT.name}
    assert "cyber/" not in str(verdict)


def test_repetitions_and_items_that_some_lack_are_left_out_and_named() -> None:
    """A run that is still going on must not shift the others' values."""
    items = frame({"one": (-0.3,), "two": (0.0,)})
    lacking = items.filter(
        ~((pl.col("arm") == "two") & (pl.col("repetition") == 2))
        & ~((pl.col("arm") == "one") & (pl.col("repetition") == 1) & (pl.col("item") == "item7"))
    )
    found = judge(Measured(lacking, {BITS.name: BITS}), FACTS, judging=QUICK)
    whole = items.filter((pl.col("repetition") < 2) & (pl.col("item") != "item7"))
    wanted = judge(Measured(whole, {BITS.name: BITS}), FACTS, judging=QUICK)
    assert found.table().equals(wanted.table())
    text = str(found)
    assert "repetition 2 of 'one': other arms lack it" in text
    assert "1 of 60 items of cyber/bits_per_byte" in text
    assert "2 (of 3 asked for)" in text
    assert wanted.notes == ()


def test_documents_without_bytes_are_left_out_and_named() -> None:
    """They have no bits per byte, and some replicates would be nothing over nothing."""
    items = frame({"one": (-0.3,)}).with_columns(
        pl.when(pl.col("item") == "item3").then(0.0).otherwise(pl.col(name)).alias(name)
        for name in ("value", "weight")
    )
    found = judge(Measured(items, {BITS.name: BITS}), FACTS, judging=QUICK)
    assert found.table()["items"].to_list() == [59]
    assert "1 of 60 items" in found.notes[0]


def test_evaluations_lie_in_one_frame() -> None:
    """It is what a run of arms hands over."""
    items = frame({"one": (-0.3,), "two": (0.1,)})

    def evaluation(arm: str, repetition: int) -> Evaluation:
        part = items.filter((pl.col("arm") == arm) & (pl.col("repetition") == repetition))
        return Evaluation({BITS.name: BITS}, part.select(ITEMS.names), {}, {})

    arms = {arm: {r: evaluation(arm, r) for r in range(3)} for arm in ("one", "two")}
    made = Measured.of(evaluation("base", 0), arms)
    assert made.arms == ("one", "two")
    assert made.repetitions == (0, 1, 2)
    assert made.items.equals(items)


def spoiled(how: str) -> pl.DataFrame:
    items = frame({"one": (-0.3,), "two": (0.0,)})
    first = pl.int_range(pl.len()) == 70
    value = {"nan": math.nan, "inf": math.inf, "null": None}
    if how in value:
        return items.with_columns(
            pl.when(~first).then("value").otherwise(value[how]).alias("value")
        )
    changes = {
        "no base": items.filter(pl.col("arm") != "base"),
        "no arm": items.filter(pl.col("arm") == "base"),
        "twice": pl.concat([items, items[70:71]]),
        "weight": items.with_columns(pl.when(first).then(7.0).otherwise("weight").alias("weight")),
        "negative": items.with_columns(pl.col("weight") * -1),
        "unknown": items.with_columns(measure=pl.lit("other/one")),
        "column": items.drop("weight"),
        "apart": items.filter((pl.col("arm") != "two") | (pl.col("repetition") == 0)).filter(
            (pl.col("arm") != "one") | (pl.col("repetition") > 0)
        ),
        "bases": pl.concat(
            [
                items,
                items.filter(pl.col("arm") == "base").with_columns(repetition=pl.lit(1, pl.Int32)),
            ],
            how="vertical_relaxed",
        ),
        "disjoint": items.with_columns(
            item=pl.when(pl.col("arm") == "two").then(pl.col("item") + "x").otherwise("item")
        ),
    }
    return changes[how]


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("nan", "no numbers"),
        ("inf", "no numbers"),
        ("null", "no numbers"),
        ("negative", "below 0"),
        ("no base", "the base"),
        ("no arm", "at least one arm"),
        ("twice", "twice"),
        ("weight", "same weight"),
        ("unknown", "unknown"),
        ("column", "lack columns"),
        ("apart", "no repetition in common"),
        ("bases", "several repetitions"),
        ("disjoint", "no item"),
    ],
)
def test_what_cannot_be_compared_is_refused(how: str, says: str) -> None:
    """A number would come out of each, and nobody would know that it means nothing."""
    with pytest.raises(DataError, match=says):
        judge(Measured(spoiled(how), {BITS.name: BITS}), FACTS, judging=QUICK)


def test_names_that_are_not_there_are_refused() -> None:
    """A mistyped reference would silently compare with nothing."""
    data = measured(EFFECTS, THREE)
    with pytest.raises(RecipeError, match="cleaned"):
        judge(data, FACTS, reference="cleand")
    with pytest.raises(RecipeError, match="did you mean"):
        judge(data, FACTS, primary=["cyber/bits_per_bite"])
    with pytest.raises(RecipeError, match="more repetitions"):
        judge(data, RunFacts(**{**vars(FACTS), "repetitions": 2}))


@pytest.mark.parametrize(
    "wrong", [{"alpha": 0}, {"alpha": 1}, {"power": 0.04}, {"replicates": 5}, {"seed": -1}], ids=str
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    """They would be found out after the arms have been trained."""
    with pytest.raises(RecipeError):
        Judging(**wrong)


@pytest.mark.parametrize("name", ["parameters", "tokens", "repetitions"])
def test_facts_are_numbers_of_a_real_run(name: str) -> None:
    """A verdict that names zero tokens names none."""
    with pytest.raises(RecipeError, match=name):
        RunFacts(**{**vars(FACTS), name: 0})
