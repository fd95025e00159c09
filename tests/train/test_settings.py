"""The settings of training: learning rates, what a run's identity is, what is refused."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import RecipeError
from curation.train.settings import Training


def rates(steps: int, **changed: Any) -> list[float]:
    plan = Training(tokens=1, learning_rate=1.0, **changed)
    return [plan.learning_rate_at(step, steps) for step in range(steps)]


def test_the_cosine_rises_in_a_line_and_falls_to_its_lowest() -> None:
    """Figures of a run would not be those of the schedule that its paper names."""
    found = rates(12, warmup_frac=0.25, min_learning_rate_frac=0.1)
    assert found[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert found[3:] == pytest.approx(
        [0.1 + 0.9 * (1 + math.cos(math.pi * n / 9)) / 2 for n in range(9)]
    )


def test_warmup_stable_decay_has_its_three_parts() -> None:
    """An anneal would begin too early, and its base be another one."""
    found = rates(10, schedule="wsd", warmup_frac=0.2, decay_frac=0.4, min_learning_rate_frac=0)
    assert found == pytest.approx(
        [1 / 3, 2 / 3, 1, 1, 1, 1, *(1 - math.sqrt(n / 4) for n in range(4))]
    )


def test_an_anneal_starts_at_the_peak() -> None:
    """The stable part that a shared checkpoint has behind it would be warmed up again."""
    found = rates(4, schedule="wsd", warmup_frac=0, decay_frac=1, min_learning_rate_frac=0.5)
    assert found == pytest.approx([1, 0.75, 0.5 + 0.5 * (1 - math.sqrt(0.5)), 0.5669873])


def test_a_constant_rate_stays() -> None:
    """A control without decay would decay."""
    assert rates(4, schedule="constant", warmup_frac=0.25) == [0.5, 1, 1, 1]


@given(
    st.integers(1, 200),
    st.sampled_from(["cosine", "wsd", "constant"]),
    st.floats(0, 0.5),
    st.floats(0, 0.5),
    st.floats(0, 1),
)
def test_every_step_has_a_rate_between_nothing_and_the_peak(
    steps: int, schedule: Any, warmup: float, decay: float, lowest: float
) -> None:
    """A negative rate climbs, and one of zero wastes its steps."""
    plan: dict[str, Any] = {"schedule": schedule, "min_learning_rate_frac": lowest}
    found = rates(steps, warmup_frac=warmup, decay_frac=decay, **plan)
    assert all(0 <= rate <= 1 + 1e-12 for rate in found)
    assert found[0] > 0
    at_peak = found.index(max(found))
    assert found[: at_peak + 1] == sorted(found[: at_peak + 1])
    assert found[at_peak:] == sorted(found[at_peak:], reverse=True)
    assert all(rate >= lowest - 1e-12 for rate in found[round(warmup * steps) :])


@pytest.mark.parametrize(
    "wrong",
    [
        {"tokens": 0},
        {"sequence_length": 0},
        {"batch_sequences": 0},
        {"micro_sequences": 0},
        {"micro_sequences": 17},
        {"learning_rate": 0.0},
        {"learning_rate": math.nan},
        {"min_learning_rate_frac": 1.1},
        {"warmup_frac": -0.1},
        {"warmup_frac": 0.9, "schedule": "wsd"},
        {"decay_frac": 1.1},
        {"schedule": "linear"},
        {"betas": (0.9, 1.0)},
        {"weight_decay": -1.0},
        {"clip": 0.0},
        {"precision": "float16"},
        {"threads": -1},
        {"log_every": 0},
        {"evaluate_every": 0},
        {"checkpoint_every": 0},
        {"early_checkpoints": -1},
        {"lora_rank": -1},
        {"lora_rank": 2, "sharding": "shards"},
        {"sharding": "tensors"},
        {"peak_flops": 0.0},
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    """They would be found out hours later, or never."""
    with pytest.raises(RecipeError, match="Training"):
        Training(**({"tokens": 1000} | wrong))


#: Fields that change how fast a run goes or what is looked at, and not what it comes to.
SPEED = {
    *("micro_sequences", "compile", "threads", "device", "sharding", "peak_flops"),
    *("evaluate_every", "checkpoint_every", "early_checkpoints", "log_every", "keep_state"),
}


def test_a_runs_identity_is_what_decides_its_result() -> None:
    """Two arms would share one result, or a faster machine train everything anew."""
    identity = Training(tokens=1).identity()
    assert identity.keys() == {field.name for field in fields(Training)} - SPEED
    assert identity["betas"] == [0.9, 0.95]


def test_early_checkpoints_double_their_distance() -> None:
    """The first steps are those in which a model changes most."""
    plan = Training(tokens=1, early_checkpoints=20)
    assert [step for step in range(70) if plan.is_early(step)] == [1, 2, 4, 8, 16]
    assert not any(Training(tokens=1).is_early(step) for step in range(70))
