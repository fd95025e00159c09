from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.score.bradley_terry import bradley_terry
from tests.oracles.comparing import slow_bradley_terry


def fitted(pairs: list[tuple[int, int, float]], count: int, ridge: float) -> list[float]:
    first, second, prob = zip(*pairs, strict=True) if pairs else ((), (), ())
    scores = bradley_terry(
        np.array(first, np.int64),
        np.array(second, np.int64),
        np.array(prob, np.float64),
        count,
        ridge,
    )
    return scores.tolist()


@settings(deadline=None, max_examples=25)
@given(
    pairs=st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 4), st.sampled_from([0.0, 0.25, 0.8, 1.0])),
        max_size=12,
    ).map(lambda found: [pair for pair in found if pair[0] != pair[1]]),
    ridge=st.sampled_from([0.1, 1.0]),
)
def test_scores_are_those_of_a_slow_climb(
    pairs: list[tuple[int, int, float]], ridge: float
) -> None:
    """Documents would be ranked by where a search happened to stop."""
    found = fitted(pairs, 5, ridge)
    assert found == pytest.approx(slow_bradley_terry(pairs, 5, ridge), abs=1e-6)
    assert sum(found) == pytest.approx(0, abs=1e-9)


def test_two_documents_have_the_score_that_paper_and_pencil_give() -> None:
    """The oracle could share a mistake with what it checks."""
    # with no more ridge than a trace, the gap is the logit of the probability
    low, high = fitted([(1, 0, 0.8)], 2, 1e-9)
    assert high - low == pytest.approx(np.log(4), abs=1e-6)


def test_who_wins_always_has_a_finite_score_and_who_was_never_compared_none() -> None:
    """One infinite score would be the whole selection."""
    scores = fitted([(0, 1, 1.0)] * 1000, 3, 0.001)
    assert np.isfinite(scores).all()
    assert scores[0] > 5
    assert scores[2] == 0


def test_a_thousand_documents_are_put_in_their_order() -> None:
    """A search that is right for five documents and lost among many would not be seen."""
    draw = np.random.default_rng(0)
    true = draw.normal(size=1000) * 2
    first, second = draw.integers(0, 1000, size=(2, 20_000))
    first, second = first[first != second], second[first != second]
    prob = 1 / (1 + np.exp(true[second] - true[first]))
    scores = bradley_terry(first, second, prob, 1000, 0.01)
    assert np.corrcoef(scores, true)[0, 1] > 0.999
