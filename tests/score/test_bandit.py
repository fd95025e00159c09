from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from curation import Jsonl, Judge, ModelServer, Recipe, judge_costs
from curation.annotate.hashed import HashedEmbedding
from curation.annotate.size import TextSize
from curation.engine.best import id_hash
from curation.errors import RecipeError
from curation.score.bandit import ClusterBandit
from curation.score.clusters import Clusters
from curation.score.density import Density
from curation.stage import Annotator
from curation.testing import MemoryRows, check_stage
from tests.conftest import Files, write_jsonl
from tests.oracles.coverage import bandit
from tests.rewrite.server import standing

Rows = list[tuple[str, int | None, str | None]]


@dataclass(frozen=True, kw_only=True)
class Stated(Annotator):
    """Reads the number that a text states, and notes which texts it was asked about."""

    reads: ClassVar[tuple[str, ...]] = ("text",)
    writes: ClassVar[pa.Schema] = pa.schema([("stated", pa.float64())])

    log: str

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        texts = batch["text"].to_pylist()
        with open(self.log, "a") as file:
            file.writelines(f"{text}\n" for text in texts)
        bad = [text is None or not text.strip("-.").replace(".", "").isdigit() for text in texts]
        # a row in error may have a value all the same, which nobody should believe
        values = [99.0 if b else float(t) for b, t in zip(bad, texts, strict=True)]
        errors = pa.array(["no number" if b else None for b in bad], pa.large_string())
        return pa.RecordBatch.from_arrays(
            [pa.array(values, pa.float64()), errors], names=["stated", "error"]
        )


def rows_of(rows: Rows) -> pa.RecordBatch:
    ids, arms, texts = (list(column) for column in zip(*rows, strict=True))
    arrays = [
        pa.array(ids, pa.large_string()),
        pa.array(arms, pa.uint32()),
        pa.array(texts, pa.large_string()),
    ]
    return pa.RecordBatch.from_arrays(arrays, names=["id", "cluster_id", "text"])


def pool(arms: int, size: int, seed: int = 0) -> Rows:
    """Arms with means that ascend, and texts that state a row's worth; distinct to the digit."""
    rng = np.random.default_rng(seed)
    mean = np.linspace(0, 3, arms)
    found: Rows = []
    for arm in range(arms):
        values = mean[arm] + rng.normal(0, 0.5, size)
        found += [(f"{arm}/{n}", arm, f"{value:.9f}") for n, value in enumerate(values)]
    return [found[n] for n in rng.permutation(len(found))]


def reduced(rows: Rows, scratch: Path, size: int = 50, **chosen: Any) -> tuple[Any, Any, list[str]]:
    log = scratch / "asked"
    log.write_text("")
    whole = rows_of(rows)
    parts = [whole.slice(start, size) for start in range(0, len(whole), size)]
    stage = ClusterBandit(scorer=Stated(log=str(log)), **chosen)
    made = pa.Table.from_batches(list(stage.reduce(MemoryRows(parts, scratch))))
    asked = log.read_text().splitlines()
    return made["bandit_score"].to_pylist(), made["bandit_scored"].to_pylist(), asked


@pytest.mark.parametrize(
    ("budget", "rounds", "draws", "alpha"),
    [(60, 5, 3, 1.0), (7, 3, 4, 1.0), (200, 4, 1, 0.2), (90, 1, 2, 3.0), (1000, 6, 50, 1.0)],
)
def test_rows_are_asked_about_as_a_plain_bandit_would(
    tmp_path: Path, budget: int, rounds: int, draws: int, alpha: float
) -> None:
    """A budget spent on the wrong arms is the cost that the method is there to save."""
    rows = pool(12, 30)
    settings = {"budget": budget, "rounds": rounds, "draws": draws, "alpha": alpha}
    score, scored, asked = reduced(rows, tmp_path, seed=3, **settings)
    hashes = id_hash(pa.array([name for name, _, _ in rows], pa.large_string()), 3)
    by_name = {name: int(h) for (name, _, _), h in zip(rows, hashes, strict=True)}
    # arms are gone through in the order of their names as text
    labels = sorted(range(12), key=str)
    arms = [sorted((n for n, a, _ in rows if a == arm), key=by_name.get) for arm in labels]  # type: ignore[arg-type]
    value = {name: float(text or 0) for name, _, text in rows}
    found, guesses = bandit(arms, value.__getitem__, budget, rounds, draws, alpha)
    assert sorted(float(text) for text in asked) == sorted(found.values())
    for (name, arm, _), own, has in zip(rows, score, scored, strict=True):
        assert has == (name in found)
        wanted = found.get(name, guesses[labels.index(int(arm or 0))])
        assert (own is None) == (wanted is None)
        assert own is None or own == pytest.approx(wanted, rel=1e-5, abs=1e-6)


def test_no_more_rows_are_asked_about_than_the_budget(tmp_path: Path) -> None:
    """Each row asked about is seconds of a large model."""
    _, scored, asked = reduced(pool(9, 40), tmp_path, budget=100, rounds=7)
    assert len(asked) == len({*asked}) == sum(scored) == 100


def test_good_arms_are_asked_more_and_regret_is_small(tmp_path: Path) -> None:
    """Drawing at random costs no code."""
    rows = pool(12, 100)
    score, scored, asked = reduced(rows, tmp_path, budget=240, rounds=10)
    drawn = np.mean([float(text) for text in asked])
    everything = np.mean([float(text or 0) for _, _, text in rows])
    assert drawn > everything + 0.6
    best = sorted(range(len(rows)), key=lambda n: -float(score[n]))[:150]
    assert np.mean([float(rows[n][2] or 0) for n in best]) > 2.4
    assert scored[best[0]]


def test_scored_rows_come_before_the_rows_of_their_arm_that_are_not(tmp_path: Path) -> None:
    """A guess would be taken before what is known to be good."""
    rows = pool(5, 40)
    score, scored, _ = reduced(rows, tmp_path, budget=60)
    for arm in range(5):
        own = [s for s, has, row in zip(score, scored, rows, strict=True) if has and row[1] == arm]
        guess = {
            s for s, has, row in zip(score, scored, rows, strict=True) if not has and row[1] == arm
        }
        if own and guess:
            assert guess.pop() < np.mean(own)


def test_what_the_scorer_cannot_score_is_no_number_of_its_arm(tmp_path: Path) -> None:
    """One null in a mean would make an arm worthless, or without end."""
    rows: Rows = [(f"a{n}", 0, "5.0" if n % 2 else "?") for n in range(10)]
    rows += [(f"b{n}", 1, "?") for n in range(4)] + [("c", None, "9.0"), ("d", 2, None)]
    score, scored, asked = reduced(rows, tmp_path, budget=100, rounds=3)
    assert len(asked) == 15
    assert [s for s in score if s is not None] == [5.0] * 5
    assert sum(scored) == 5
    assert score[-2] is None


def test_an_arm_that_no_row_was_asked_of_has_no_score(tmp_path: Path) -> None:
    """Nothing is known of it, and a guess would be made up."""
    score, _, _ = reduced(pool(10, 5), tmp_path, budget=3, rounds=1)
    arms = [row[1] for row in pool(10, 5)]
    known = {arm for arm, value in zip(arms, score, strict=True) if value is not None}
    assert len(known) == 3


def test_low_numbers_can_be_the_good_ones(tmp_path: Path) -> None:
    """Bits per byte are better when they are few."""
    rows = pool(8, 50)
    score, _, asked = reduced(rows, tmp_path, budget=120, lowest=True)
    assert np.mean([float(text) for text in asked]) < 1.2
    best = int(np.argmax([-math.inf if s is None else s for s in score]))
    assert rows[best][1] == 0


def test_order_and_split_change_nothing(tmp_path: Path) -> None:
    """Means of floats in another order would turn to another arm."""
    rows = pool(7, 20)
    log = tmp_path / "asked"
    stage = ClusterBandit(scorer=Stated(log=str(log)), budget=40, rounds=5)
    check_stage(stage, examples=rows_of(rows))


def test_a_recipe_gives_each_row_the_same_however_its_files_are_cut(tmp_path: Path) -> None:
    """The text of drawn rows is read again by its place, from whatever shard holds it."""
    rng = np.random.default_rng(0)
    words = ["red", "green", "blue", "one", "two", "three"]
    texts = [" ".join(rng.choice(words, rng.integers(1, 40))) for _ in range(120)]
    found = []
    for name, parts in {"whole": 1, "cut": 3}.items():
        folder = tmp_path / name
        folder.mkdir()
        for part in range(parts):
            lines = [json.dumps({"text": text}) for text in texts[part::parts]]
            (folder / f"{part}.jsonl").write_text("\n".join(lines))
        found.append(coverage_of(folder).sort("text"))
    # ids name the files: what depends on them differs, and what does not is the same
    assert found[0]["text"].to_list() == found[1]["text"].to_list()
    assert found[0]["cluster_id"].to_list() == found[1]["cluster_id"].to_list()
    assert found[0]["density"].to_list() == found[1]["density"].to_list()
    for rows in found:
        assert rows["bandit_scored"].sum() == 30
        scored = rows.filter(rows["bandit_scored"])
        lengths = [float(len(text)) for text in scored["text"]]
        assert scored["bandit_score"].to_list() == lengths


def coverage_of(folder: Path) -> pl.DataFrame:
    """Run the stages of coverage, one shard for each file."""
    bandit_stage = ClusterBandit(scorer=TextSize(), scorer_column="text_chars", budget=30)
    steps = [HashedEmbedding(dims=32), Clusters(clusters=6), Density(repetitions=8), bandit_stage]
    recipe = Recipe(source=Files(str(folder / "*.jsonl")), steps=steps)
    build = recipe.run(store=folder / "store", workers=0)
    names = ["id", "text", "cluster_id", "density", "bandit_score", "bandit_scored"]
    return build.documents(columns=names).collect()


def test_what_a_judge_spends_inside_is_in_the_account(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Money would be spent that no ledger shows: only the scores of the judge are kept."""
    texts = ["good " * (n % 4) + f"page {n}" + " GARBLED" * (n == 7) for n in range(24)]
    for part in range(2):
        write_jsonl(tmp_path / f"{part}.jsonl", ({"text": text} for text in texts[part::2]))
    with standing() as stand:
        model = ModelServer(model="m", base_url=stand.url, retries=0)
        scorer = Judge(model=model, name="inner", prices=(1e6, 0.0))
        chosen = ClusterBandit(scorer=scorer, scorer_column="inner_grade", budget=24, rounds=3)
        steps = [HashedEmbedding(dims=16), Clusters(clusters=3), chosen, Judge(model=model)]
        source = Jsonl(str(tmp_path / "*.jsonl"))
        recipe = Recipe(source=source, steps=steps, max_error_frac=0.5)
        build = recipe.run(store=tmp_path / "store", workers=0)
        requests = len(stand.requests)
    costs = judge_costs(build, {"inner": (1e6, 0.0)})
    assert costs["name"].to_list() == ["inner", "judge"]
    assert costs["stage"].to_list() == ["ClusterBandit", "Judge"]
    # one reply cannot be read, at three draws: a row without a score is paid for too
    assert costs["rows"].to_list() == [24, 24]
    assert costs["requests"].to_list() == [23 + 3, 23 + 3]
    assert requests == 26  # the store has the replies already that the second judge asks for
    words = sum(len(text.split()) for text in stand.texts()[:26])
    row = costs.row(0, named=True)
    assert (row["prompt_tokens"], row["money"]) == (words, words)
    assert row["completion_tokens"] == costs["completion_tokens"][1]
    shown = capsys.readouterr().err
    assert f"ClusterBandit (inner): 24 rows, 26 requests, {words:,} + " in shown
    again = recipe.run(store=tmp_path / "store", workers=0)
    assert judge_costs(again, {"inner": (1e6, 0.0)}).equals(costs)


def test_a_scorer_that_asks_nobody_is_in_no_account(tmp_path: Path) -> None:
    """Every bandit would stand in the account of models with a row of zeros."""
    rows = MemoryRows([rows_of(pool(2, 4))], tmp_path)
    list(ClusterBandit(scorer=Stated(log=str(tmp_path / "asked")), budget=4).reduce(rows))
    assert rows.notes == {}


def test_the_column_of_the_score_must_be_known() -> None:
    """A bandit over the wrong number spends the budget on it."""
    with pytest.raises(RecipeError, match="which of its scorer's columns") as told:
        ClusterBandit(scorer=TextSize())
    assert told.value.facts["present"] == "text_bytes, text_chars, word_count"
    assert ClusterBandit(scorer=TextSize(), scorer_column="text_chars").score_name == "text_chars"
    with pytest.raises(RecipeError, match="budget"):
        ClusterBandit(scorer=TextSize(), scorer_column="text_chars", budget=0)
