from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.evaluate.metrics import GOLD_METRICS, METRICS, ChoiceScores, margin
from tests.oracles import choices as oracle
from tests.oracles.choices import Choice


def scores_of(items: list[list[Choice]], answers: list[int]) -> ChoiceScores:
    flat = [choice for item in items for choice in item]
    start_I1 = np.cumsum([0, *map(len, items)])
    return ChoiceScores(
        id_I=tuple(f"i{n}" for n in range(len(items))),
        source_I=("",) * len(items),
        start_I1=start_I1,
        answer_I=start_I1[:-1] + np.array(answers),
        log_prob_C=np.array([choice.log_prob for choice in flat], dtype=np.float64),
        unconditional_C=np.array([choice.unconditional for choice in flat], dtype=np.float64),
        greedy_C=np.zeros(len(flat), dtype=np.bool_),
        tokens_C=np.array([choice.tokens for choice in flat]),
        chars_C=np.array([choice.chars for choice in flat]),
        bytes_C=np.array([choice.bytes for choice in flat]),
    )


nats = st.floats(-40, -1e-3)
choice = st.builds(Choice, nats, nats, st.integers(1, 9), st.integers(1, 40), st.integers(1, 60))
items = st.lists(
    st.lists(choice, min_size=2, max_size=5).flatmap(
        lambda some: st.tuples(st.just(some), st.integers(0, len(some) - 1))
    ),
    min_size=1,
    max_size=6,
)


@settings(deadline=None, max_examples=200)
@given(items)
def test_each_measure_is_what_the_paper_says(found: list[tuple[list[Choice], int]]) -> None:
    """A wrong measure decides which corpus is trained on, and nothing else shows it."""
    scores = scores_of([some for some, _ in found], [answer for _, answer in found])
    wanted = [oracle.measures(some, answer) for some, answer in found]
    assert set(METRICS) == set(wanted[0])
    for name, metric in METRICS.items():
        values = metric.values(scores)
        assert values.shape == (len(found),)
        assert values == pytest.approx([one[name] for one in wanted], rel=1e-9, abs=1e-12), name


def test_the_total_per_byte_is_taken_per_byte() -> None:
    """The code published with DataDecide takes it per character, which differs beyond ASCII."""
    scores = scores_of([[Choice(-6, -6, 2, 3, 6), Choice(-8, -6, 2, 4, 8)]], [0])
    assert METRICS["total_prob_per_byte"].values(scores) == pytest.approx([2 * np.exp(-1)])
    assert METRICS["total_prob_per_char"].values(scores) == pytest.approx([2 * np.exp(-2)])


def test_long_choices_do_not_sink_below_what_a_float_holds() -> None:
    """A page-long answer would have no share, and its item would decide nothing."""
    scores = scores_of([[Choice(-5000, -5001, 900, 4000, 4000), Choice(-5001, -5001, 900, 4000,
                                                                       4000)]], [0])  # fmt: skip
    share = 1 / (1 + np.exp(-1))
    assert METRICS["norm_correct_prob"].values(scores) == pytest.approx([share])
    assert METRICS["norm_correct_prob_uncond"].values(scores) == pytest.approx([share])
    assert METRICS["correct_prob"].values(scores) == [0.0]
    assert METRICS["margin"].values(scores) == [0.0]
    assert METRICS["accuracy"].values(scores) == [1.0]
    for metric in METRICS.values():
        assert np.isfinite(metric.values(scores)).all()


def test_a_small_margin_is_not_lost_to_rounding() -> None:
    """Early in training all choices are about as likely; a margin tells models apart."""
    log_C, start_I1 = np.array([-1e-9, -1e-9 - 1e-17]), np.array([0, 2])
    assert margin(log_C, start_I1, np.array([0]))[0] == pytest.approx(
        np.exp(log_C[0]) * -np.expm1(log_C[1] - log_C[0]), rel=1e-12, abs=0
    )
    assert margin(log_C, start_I1, np.array([1]))[0] < 0


@pytest.mark.parametrize("answer", [0, 1, 2])
def test_a_model_that_cannot_tell_choices_apart_is_at_chance(answer: int) -> None:
    """Were the first of equals taken, a set with many first answers would seem to be known."""
    scores = scores_of([[Choice(-3, -2, 1, 4, 4)] * 3], [answer])
    assert METRICS["accuracy"].values(scores) == pytest.approx([1 / 3])
    assert METRICS["norm_correct_prob"].values(scores) == pytest.approx([1 / 3])


def test_what_a_guess_reaches_is_told_of_shares_alone() -> None:
    """A verdict that takes a model at chance for a good one is worth less than none."""
    guessed = {name for name, metric in METRICS.items() if metric.guessed}
    norms = ("", "_per_char", "_per_token", "_per_byte", "_uncond")
    assert guessed == {f"{name}{norm}" for name in ("accuracy", "norm_correct_prob")
                       for norm in norms}  # fmt: skip
    assert [name for name, metric in METRICS.items() if metric.better == "lower"] == [
        "answer_bits_per_byte"
    ]


def test_measures_that_need_unconditional_scores_say_so() -> None:
    """Without them the values are no numbers; with them a panel takes twice as long."""
    scores = scores_of([[Choice(-3, np.nan, 1, 4, 4), Choice(-4, np.nan, 1, 4, 4)]], [0])
    for name, metric in METRICS.items():
        with np.errstate(invalid="ignore"):
            assert np.isnan(metric.values(scores)).any() == metric.unconditional, name


def test_any_right_answer_that_greedy_decoding_begins_with_counts() -> None:
    """A short-answer set lists spellings; a model that gives the second is right too."""
    scores = scores_of([[Choice(-3, 0, 1, 4, 4)] * 2, [Choice(-3, 0, 1, 4, 4)]], [0, 0])
    scores = dataclasses.replace(scores, greedy_C=np.array([False, True, False]))
    assert list(GOLD_METRICS["greedy_match"].values(scores)) == [1.0, 0.0]
