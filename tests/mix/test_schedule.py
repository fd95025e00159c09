from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import RecipeError
from curation.mix.schedule import BLOCK_SEQUENCES, Phase, Schedule, plan_sequences


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    """Schedules of up to three phases of up to four components."""
    ends = sorted(draw(st.sets(st.integers(1, 99), max_size=2)))
    phases = []
    for end in [*ends, 100]:
        parts = draw(
            st.dictionaries(st.sampled_from("dcba"), st.integers(0, 9), min_size=1).filter(
                lambda found: sum(found.values()) > 0
            )
        )
        total = sum(parts.values())
        phases.append(Phase(end / 100, {name: part / total for name, part in parts.items()}))
    return Schedule(phases=tuple(phases))


@settings(deadline=None)  # the first call compiles
@given(schedules(), st.integers(0, 300), st.integers(0, 3))
def test_a_plan_has_the_exact_counts_in_an_even_order(
    schedule: Schedule, sequences: int, seed: int
) -> None:
    """Two arms would differ in how much replay they got, and when."""
    component_N, window_N = plan_sequences(schedule, sequences, seed=seed)
    assert len(component_N) == len(window_N) == sequences
    at = 0
    for phase, (start, stop, count_C) in zip(
        schedule.phases, schedule.counts(sequences), strict=True
    ):
        assert start == at
        at = stop
        assert abs(stop - phase.until * sequences) <= 0.5 + 1e-9
        here = component_N[start:stop]
        assert np.bincount(here, minlength=len(schedule.names)).tolist() == count_C.tolist()
        for number, name in enumerate(schedule.names):
            exact = phase.shares.get(name, 0.0) * (stop - start)
            assert abs(count_C[number] - exact) < 1
            for blocks in range(0, stop - start, BLOCK_SEQUENCES):
                so_far = np.count_nonzero(here[:blocks] == number)
                # each of the others can be out of step by one at most
                assert abs(so_far - phase.shares.get(name, 0.0) * blocks) <= len(schedule.names) + 1
    assert at == sequences
    for number in range(len(schedule.names)):
        of_it = window_N[component_N == number]
        assert of_it.tolist() == list(range(len(of_it)))


@settings(deadline=None)  # the first call compiles
@given(schedules(), st.integers(0, 10_000), st.integers(1, 7))
def test_the_table_is_what_the_run_is_made_of(schedule: Schedule, tokens: int, unit: int) -> None:
    """The manifest would show another mixture than the one that was trained on."""
    table = schedule.table(tokens, sequence_length=unit)
    assert table["tokens"].sum() == tokens // unit * unit
    total = schedule.tokens_of(tokens // unit)
    assert tuple(total) == schedule.names
    for name in schedule.names:
        of_it = table.filter(table["component"] == name)["tokens"].sum()
        assert of_it == total[name] * unit
    assert (table["share"] > 0).all()


def test_one_batch_in_a_mixture_has_its_shares() -> None:
    """A batch of domain text and then one of general text is no mixture."""
    component_N, _ = plan_sequences(Schedule.replay("d", "g"), 160, seed=3)
    assert [int(n) for n in component_N.reshape(-1, 16).sum(axis=1)] == [4] * 10
    places = [np.flatnonzero(batch) for batch in component_N.reshape(-1, 16)]
    assert len({tuple(place) for place in places}) > 5


def test_the_seed_decides_the_order_within_a_block() -> None:
    """Runs over seeds would all see the mixture in one order."""
    mixture = Schedule.mixed({"a": 0.5, "b": 0.5})
    orders = {tuple(plan_sequences(mixture, 64, seed=seed)[0].tolist()) for seed in range(5)}
    assert len(orders) == 5
    again = plan_sequences(mixture, 64, seed=0)[0].tolist()
    assert tuple(again) in orders


def rows(schedule: Schedule, tokens: int = 1000) -> list[tuple[Any, ...]]:
    return schedule.table(tokens).rows()


def test_the_common_schedules_are_what_they_are_called() -> None:
    """An arm called replay would be trained on something else."""
    assert rows(Schedule.plain("d")) == [(0, 0, 1000, "d", 1.0, 1000)]
    assert rows(Schedule.replay("d", "g", 0.1)) == [
        (0, 0, 1000, "d", 0.9, 900),
        (0, 0, 1000, "g", 0.1, 100),
    ]
    assert Schedule.replay("d", "g").tokens_of(8) == {"d": 6, "g": 2}
    assert rows(Schedule.anneal("g", "d", last=0.1, share=0.75)) == [
        (0, 0, 900, "g", 1.0, 900),
        (1, 900, 1000, "d", 0.75, 75),
        (1, 900, 1000, "g", 0.25, 25),
    ]
    assert Schedule.anneal("g", "d").tokens_of(100) == {"d": 20, "g": 80}
    assert rows(Schedule.sequential("b", "a", "b"), 10) == [
        (0, 0, 3, "b", 1.0, 3),
        (1, 3, 7, "a", 1.0, 4),
        (2, 7, 10, "b", 1.0, 3),
    ]
    several = Schedule.epochs("d", times=4, tokens=1001)
    assert (several.unique_tokens, several.names) == ({"d": 251}, ("d",))


def test_thirds_and_leftovers_go_to_the_largest_remainder() -> None:
    """A token would be missing from the budget, or one too many."""
    third = Schedule.mixed({"a": 1 / 3, "b": 1 / 3, "c": 0.333333})
    assert third.tokens_of(10) == {"a": 4, "b": 3, "c": 3}
    assert Schedule.mixed({"a": 0.05, "b": 0.95}).tokens_of(15) == {"a": 1, "b": 14}


def test_the_order_of_names_makes_no_difference() -> None:
    """Two spellings of one schedule would be two experiments."""
    one = Schedule.mixed({"a": 0.25, "b": 0.75, "c": 0.0})
    other = Schedule.mixed({"b": 0.75, "a": 0.25})
    assert one.identity() == other.identity()
    assert one.names == other.names == ("a", "b")
    plans = [plan_sequences(s, 40, seed=1)[0].tolist() for s in (one, other)]
    assert plans[0] == plans[1]
    assert one.identity() != Schedule.mixed({"b": 0.5, "a": 0.5}).identity()
    subset = Schedule(phases=one.phases, unique_tokens={"a": 5})
    assert subset.identity() != one.identity()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Phase(1.0, {"a": 0.5}),
        lambda: Phase(1.0, {}),
        lambda: Phase(1.0, {"a": 1.5, "b": -0.5}),
        lambda: Phase(1.0, {"a": float("nan")}),
        lambda: Schedule(phases=()),
        lambda: Schedule(phases=(Phase(0.5, {"a": 1}),)),
        lambda: Schedule(phases=(Phase(0.5, {"a": 1}), Phase(0.5, {"a": 1}), Phase(1, {"a": 1}))),
        lambda: Schedule(phases=(Phase(float("nan"), {"a": 1}), Phase(1, {"a": 1}))),
        lambda: Schedule(phases=(Phase(1, {"a": 1}),), unique_tokens={"b": 5}),
        lambda: Schedule(phases=(Phase(1, {"a": 1}),), unique_tokens={"a": 0}),
        lambda: Schedule.replay("a", "a"),
        lambda: Schedule.replay("a", "b", share=1.5),
        lambda: Schedule.anneal("a", "b", last=0.0),
        lambda: Schedule.epochs("a", times=0.5, tokens=5),
        lambda: Schedule.mixed({f"{n}": 1 / 256 for n in range(256)}),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(make: Any) -> None:
    """A mixture of 110 % would be trained on as something that nobody wrote."""
    with pytest.raises(RecipeError):
        make()


def test_a_component_without_a_set_is_named() -> None:
    """A mistyped name would be found after an hour of tokenization."""
    Schedule.plain("cyber").validate({"cyber": 1, "general": 1})
    with pytest.raises(RecipeError, match="'cybr'") as error:
        Schedule.plain("cybr").validate(["cyber", "general"])
    assert "cyber" in error.value.facts["remedy"]


def test_a_schedule_over_other_components_is_the_same_in_all_else() -> None:
    """An arm without one rule would differ from the whole recipe in its mixture too."""
    first = Schedule(
        phases=(Phase(0.5, {"law": 1.0}), Phase(1.0, {"law": 0.25, "general": 0.75})),
        unique_tokens={"law": 7},
    )
    other = first.renamed({"law": "law without a rule"})
    assert other.names == ("general", "law without a rule")
    assert [phase.until for phase in other.phases] == [0.5, 1.0]
    assert other.phases[1].shares == {"law without a rule": 0.25, "general": 0.75}
    assert other.unique_tokens == {"law without a rule": 7}
    assert other.renamed({"law without a rule": "law"}) == first
