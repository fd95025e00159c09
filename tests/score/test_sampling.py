from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curation import Jsonl, QualitySampling, Recipe, annotator, keep_best
from curation.errors import RecipeError
from curation.score.random import gumbel
from curation.testing import MemoryRows, check_stage
from tests.conftest import write_jsonl


def drawn(stage: QualitySampling, ids: list[str], scores: list[Any]) -> list[Any]:
    rows = pa.record_batch(
        {
            "id": pa.array(ids, pa.large_string()),
            stage.column: pa.array(scores, pa.float32()),
        }
    )
    made = pa.concat_batches(list(stage.reduce(MemoryRows([rows], Path()))))
    found: list[Any] = made[stage.name].to_pylist()
    return found


def test_it_keeps_the_contract() -> None:
    """A sample could not be drawn a second time."""
    check_stage(QualitySampling(column="judge_grade"))
    check_stage(QualitySampling(column="word_count", temperature=0.5))


def test_the_score_is_standardised_and_a_draw_added() -> None:
    """The published temperature would mean something else for every scale of scores."""
    ids, scores = ["a", "b", "c"], [1.0, 2.0, 6.0]
    found = drawn(QualitySampling(column="judge_grade", seed=4), ids, scores)
    noise = gumbel(pa.array(ids, pa.large_string()), 4)
    spread = math.sqrt((4 + 1 + 9) / 3)
    for row in range(3):
        wanted = (scores[row] - 3) / spread / 2.0 + noise[row]
        assert found[row] == pytest.approx(wanted, rel=1e-6)


def test_draws_are_gumbel_and_the_better_are_drawn_oftener() -> None:
    """It would be a cut-off, which is worse than chance, or chance itself."""
    ids = [f"r{n}" for n in range(20_000)]
    noise = gumbel(pa.array(ids, pa.large_string()), 0)
    assert (noise != gumbel(pa.array(ids, pa.large_string()), 1)).all()
    assert noise.mean() == pytest.approx(np.euler_gamma, abs=0.03)
    assert noise.var() == pytest.approx(math.pi**2 / 6, abs=0.06)
    scores = [float(n % 2) for n in range(20_000)]  # z is -1 or 1
    top = np.argsort(drawn(QualitySampling(column="judge_grade"), ids, scores))[-200:]
    share = np.mean(top % 2)
    # of a few rows drawn, good ones are oftener by exp((1 - -1) / 2)
    assert share == pytest.approx(math.e / (1 + math.e), abs=0.08)


def test_rows_without_a_score_are_not_drawn_and_equal_scores_evenly() -> None:
    """A row that nobody judged would come before those that were judged bad."""
    scores = [None, math.nan, math.inf, 1.0, 1.0]
    found = drawn(QualitySampling(column="judge_grade"), list("abcde"), scores)
    assert [value is None for value in found] == [True, True, True, False, False]
    assert set(drawn(QualitySampling(column="judge_grade"), ["a"], [None])) == {None}


@annotator(writes={"judge_grade": pa.float32()})
def grade(text: pa.LargeStringArray) -> pa.Array:
    return pa.array([float(t) for t in text.to_pylist()], pa.float32())


def test_keep_best_takes_the_sample(tmp_path: Path) -> None:
    """A selection that no rule can take is none."""
    write_jsonl(tmp_path / "a.jsonl", ({"text": str(n % 6)} for n in range(60)))
    steps = [
        grade,
        QualitySampling(column="judge_grade", name="my_draw"),
        keep_best("my_draw", documents=10, because="not drawn"),
    ]
    recipe = Recipe(source=Jsonl(str(tmp_path / "*.jsonl")), steps=steps)
    assert recipe.run(store=tmp_path / "store", workers=0).ledger().rows_out == 10


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 0},
        {"temperature": float("inf")},
        {"column": "text"},
        {"name": "id"},
        {"name": "Not a name"},
    ],
)
def test_settings_that_make_no_sense_are_told(wrong: dict[str, Any]) -> None:
    """They would show after a day of judging."""
    with pytest.raises(RecipeError, match="QualitySampling"):
        QualitySampling(**{"column": "judge_grade", **wrong})
