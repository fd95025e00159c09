"""What an ablation is, and what it refuses before anything is run."""

from __future__ import annotations

import pytest

from curation import (
    Ablation,
    Arm,
    Base,
    HeldOut,
    Jsonl,
    Recipe,
    Schedule,
    TextSize,
    Training,
    col,
    keep,
    sample,
)
from curation.ablate.arms import leave_one_rule_out, rules_of
from curation.errors import RecipeError

TRAINING = Training(tokens=4096, sequence_length=64)


def recipe(*steps: object) -> Recipe:
    return Recipe(source=Jsonl("none/*.jsonl"), steps=steps)


def ablation(**changes: object) -> Ablation:
    settings = {
        "base": Base(data={"general": recipe()}, training=TRAINING),
        "data": {"law": recipe(), "general": recipe()},
        "arms": [Arm(name="law", schedule=Schedule.plain("law"))],
        "training": TRAINING,
        "held_out": {"law": recipe()},
    }
    return Ablation(**{**settings, **changes})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"arms": []}, "needs arms"),
        ({"arms": [Arm(name="a", schedule=Schedule.plain("law"))] * 2}, "a name of its own"),
        ({"arms": [Arm(name="a", schedule=Schedule.plain("lew"))]}, "did you mean 'law'"),
        ({"reference": "lav"}, "did you mean 'law'"),
        ({"repetitions": 0}, "one repetition or more"),
        ({"held_out": {}}, "measure something"),
        ({"domain": ("laws",)}, "did you mean 'law'"),
    ],
)
def test_an_ablation_that_makes_no_sense_is_refused_before_anything_runs(changes, told):
    """Hours of training would end in an error, or in a table that compares nothing."""
    with pytest.raises(RecipeError, match=told):
        ablation(**changes)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "needs text and training settings"),
        ({"data": {"a": recipe()}}, "needs text and training settings"),
        ({"checkpoint": "model", "data": {"a": recipe()}}, "not both"),
        (
            {"data": {"a": recipe()}, "training": Training(tokens=4096), "context": 128},
            "longer than its context",
        ),
        ({"data": {"a": recipe(), "b": recipe()}, "training": TRAINING}, "needs a schedule"),
        (
            {"data": {"a": recipe()}, "schedule": Schedule.plain("b"), "training": TRAINING},
            "no set of its data",
        ),
    ],
)
def test_a_base_that_makes_no_sense_is_refused(changes, told):
    """A base would be trained on nothing, or on sequences that it cannot read."""
    with pytest.raises(RecipeError, match=told):
        Base(**changes)


def test_the_name_of_the_base_is_no_name_for_an_arm():
    """The arm's numbers would stand in the place of the base's."""
    with pytest.raises(RecipeError, match="a name of its own"):
        Arm(name="base", schedule=Schedule.plain("law"))


def test_each_rule_is_left_out_once_and_those_that_keep_texts_apart_never():
    """A leak of held-out text would come out as the best of all rules to drop."""
    rules = [
        TextSize(),
        HeldOut(),
        keep(~col("held_out"), because="held out"),
        keep(col("word_count") >= 5, because="short"),
        keep(col("word_count") <= 500, because="long"),
        sample(frac=0.5),
    ]
    full = ablation(data={"law": recipe(*rules), "general": recipe()})
    arms = leave_one_rule_out(full)
    assert [arm.name for arm in arms.arms] == [
        "law",
        "without 'short'",
        "without 'long'",
        "without 'not sampled'",
    ]
    assert arms.compared_with == "law"
    for arm, gone in zip(arms.arms[1:], (3, 4, 5), strict=True):
        [name] = arm.schedule.names
        assert list(arms.data[name].steps) == [s for n, s in enumerate(rules) if n != gone]
    assert len(list(rules_of(full.data["law"]))) == 3


def test_two_rules_of_one_reason_make_two_arms():
    """One of them would be measured under the other's name."""
    rules = [
        TextSize(),
        keep(col("word_count") >= 5, because="size"),
        keep(col("word_count") <= 9, because="size"),
    ]
    arms = leave_one_rule_out(ablation(data={"law": recipe(*rules)})).arms
    assert len({arm.name for arm in arms}) == 3


def test_a_set_without_rules_has_none_to_leave_out():
    """An experiment of one arm would be run and compare nothing."""
    with pytest.raises(RecipeError, match="no rule to leave out"):
        leave_one_rule_out(ablation())


def test_the_plan_shows_mixtures_and_rules():
    """A person would have to run an ablation to see what it is."""
    arms = [
        Arm(name="half", schedule=Schedule.replay("law", "general", share=0.5)),
        Arm(name="late", schedule=Schedule.anneal("general", "law", last=0.25)),
    ]
    text = ablation(arms=arms).describe()
    assert "2 arms of 4,096 tokens, 3 repetitions each; measured: law" in text
    assert "from 0 to 4,096: 50% general" in text
    assert "from 3,072 to 4,096: 100% law" in text
