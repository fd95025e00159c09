from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.arrow import bytes_and_offsets
from curation.kernels.linear import linear_outputs, sigmoid, softmax, tables
from tests.oracles.linear import outputs
from tests.oracles.text import hard_text

BUCKETS = 97
DRAW = np.random.default_rng(3)
MET = np.sort(DRAW.choice(BUCKETS, 60, replace=False)).astype(np.uint32)
ROWS = DRAW.normal(size=(60, 4)).astype(np.float32)
ROWS[:, 0] = 1 + np.abs(ROWS[:, 0])
BIAS = np.array([0.5, -1.0, 0.0], dtype=np.float32)


@settings(deadline=None, max_examples=60)
@given(texts=st.lists(hard_text, min_size=1, max_size=5), ngrams=st.integers(1, 3))
def test_outputs_are_sums_over_the_runs_of_a_text(texts: list[str], ngrams: int) -> None:
    """Every score of a corpus would be another one than the model that was measured gives."""
    data, offset = bytes_and_offsets(pa.array(texts, pa.large_string()))
    model = tables(MET, ROWS, BIAS, ngrams, BUCKETS)
    found, met = linear_outputs(model, data, offset[:-1].copy(), offset[1:].copy())
    by_bucket = dict(zip(MET.tolist(), ROWS.tolist(), strict=True))
    for n, text in enumerate(texts):
        wanted, runs = outputs(text, by_bucket, BIAS.tolist(), ngrams, BUCKETS)
        assert found[n].tolist() == pytest.approx(wanted, rel=1e-4, abs=1e-5)
        assert met[n] == runs


def test_a_text_without_a_known_run_has_the_bias_and_says_so() -> None:
    """An empty page would get the score of the page before it."""
    data, offset = bytes_and_offsets(pa.array(["a b c d e f", "", " \n"], pa.large_string()))
    model = tables(MET, ROWS, BIAS, 2, BUCKETS)
    found, met = linear_outputs(model, data, offset[:-1].copy(), offset[1:].copy())
    assert met[0] > 0
    assert met[1:].tolist() == [0, 0]
    assert found[1].tolist() == found[2].tolist() == BIAS.tolist()


def test_probabilities_are_those_of_the_definitions() -> None:
    """A threshold would stand for another share of right answers than it was chosen for."""
    logit = np.array([[0.0, 2.0, -1.0], [1000.0, 0.0, -1000.0]], dtype=np.float32)
    for temperature in (1.0, 2.5):
        power = np.exp(logit[0].astype(np.float64) / temperature)
        assert softmax(logit, temperature)[0] == pytest.approx(power / power.sum(), rel=1e-6)
        assert sigmoid(logit, temperature)[0] == pytest.approx(power / (1 + power), rel=1e-6)
        assert softmax(logit, temperature)[1].tolist() == [1, 0, 0]
        assert sigmoid(logit, temperature)[1].tolist() == [1, 0.5, 0]
