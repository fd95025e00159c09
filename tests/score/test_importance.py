from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import DsirWeights, Jsonl, Recipe, TextSize, keep_best
from curation.columns import columns
from curation.errors import RecipeError
from curation.score.importance import words_of
from curation.score.random import gumbel
from curation.stage import content_hash
from curation.testing import MemoryRows, check_stage
from tests.conftest import ROOT
from tests.oracles import hashed_ngrams as oracle

GOLDEN: dict[str, Any] = json.loads((ROOT / "tests" / "golden" / "dsir.json").read_text())


def jsonl(path: Path, texts: list[str]) -> str:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return str(path)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> str:
    return jsonl(tmp_path_factory.mktemp("target") / "target.jsonl", GOLDEN["target"])


def reduced(texts: list[str | None], target: str, **given: Any) -> dict[str, list[Any]]:
    ids = pa.array([f"pool#{n}" for n in range(len(texts))], pa.large_string())
    batch = pa.RecordBatch.from_arrays([ids, pa.array(texts, pa.large_string())], ["id", "text"])
    stage = DsirWeights(target=target, **{"min_words": 0, **given})
    made = pa.Table.from_batches(stage.reduce(MemoryRows([batch], Path())))
    return made.to_pydict()


@pytest.mark.parametrize(
    "given",
    [{}, {"min_words": 0, "per_ngram": True}, {"hash": "sha256", "ngrams": 3, "words": "space"}],
)
def test_the_stage_keeps_its_contract(target: str, given: dict[str, Any]) -> None:
    """Weights that hang on the order of rows choose another corpus at every run."""
    texts: list[str | None] = [*GOLDEN["pool"], None, "x " * 200, *GOLDEN["target"]]
    examples = pa.RecordBatch.from_pydict(
        {"id": [f"pool#{n}" for n in range(len(texts))], "text": texts},
        schema=columns("id", "text"),
    )
    with pytest.warns(UserWarning, match="in the pool too"):
        check_stage(DsirWeights(target=target, **given), examples=examples)


def test_the_stage_keeps_its_contract_on_texts_that_break_stages(target: str) -> None:
    """A megabyte without a full stop, or a row of control characters, would end the run."""
    check_stage(DsirWeights(target=target, min_words=1))


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda c: f"{c['ngrams']}-{c['buckets']}")
def test_weights_are_those_of_the_authors_package(target: str, case: dict[str, Any]) -> None:
    """Results said to be DSIR's would be something else's, on texts that are hard to lower too."""
    settings = {name: case[name] for name in ("ngrams", "buckets", "target_laplace")}
    made = reduced(GOLDEN["pool"], target, hash="sha256", **settings)["dsir_log_weight"]
    empty = GOLDEN["pool"].index("")
    assert made[empty] == 0.0
    assert np.allclose(made, case["log_weights"], rtol=1e-12, atol=1e-12)


def test_the_short_are_left_out_as_the_package_counts_words(target: str) -> None:
    """Weights of a few words are chance, and the package's own choice would be another."""
    case = GOLDEN["cases"][1]
    for least in (1, 9, 20):
        made = reduced(GOLDEN["pool"], target, hash="sha256", min_words=least)
        wanted = [words >= least for words in case["words"]]
        assert [value is not None for value in made["dsir_log_weight"]] == wanted
        assert [value is not None for value in made["dsir_score"]] == wanted


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 30), st.integers(1, 6))
def test_words_are_counted_back_from_runs(words: int, ngrams: int) -> None:
    """The least number of words would be a least number of something else."""
    runs = len(oracle.ngrams(["w"] * words, ngrams))
    found = int(words_of(np.array([runs]), ngrams)[0])
    assert found == words or (0 < words < ngrams - 1 and found >= 1)


def test_fast_weights_are_the_logarithms_of_shares_over_shares(target: str) -> None:
    """The default hash has no package to be compared with: the definition must do."""

    def runs(text: str) -> list[int]:
        return [
            oracle.bucket(run, 500, 7) for run in oracle.ngrams(oracle.words(text, "wordpunct"), 2)
        ]

    pool = [text for text in GOLDEN["pool"] if text]
    shares = []
    for texts, more in ((GOLDEN["target"], 0.25), (pool, 0.0)):
        count = np.full(500, more)
        np.add.at(count, [bucket for text in texts for bucket in runs(text)], 1)
        shares.append(count / count.sum())
    ratio = np.log(shares[0] + 1e-8) - np.log(shares[1] + 1e-8)
    wanted = [sum(ratio[bucket] for bucket in runs(text)) for text in pool]
    given = {"buckets": 500, "target_laplace": 0.25, "seed": 7}
    assert np.allclose(reduced(pool, target, **given)["dsir_log_weight"], wanted)
    each = [value / len(runs(text)) for value, text in zip(wanted, pool, strict=True)]
    assert np.allclose(reduced(pool, target, per_ngram=True, **given)["dsir_log_weight"], each)


def inclusion(weights: list[float], count: int) -> list[float]:
    """Return how likely each is to be among those drawn one after another without replacement."""
    chance = [0.0] * len(weights)
    for drawn in itertools.permutations(range(len(weights)), count):
        likely, left = 1.0, sum(weights)
        for item in drawn:
            likely *= weights[item] / left
            left -= weights[item]
        for item in drawn:
            chance[item] += likely
    return chance


@pytest.mark.parametrize("seed", [0, 3])
def test_the_highest_scores_are_a_sample_without_replacement_by_weight(seed: int) -> None:
    """A sample that is biased shifts what a model is trained on, and no count shows it."""
    weights, trials = [8.0, 4.0, 2.0, 1.0, 0.5, 0.5], 40_000
    ids = [f"f#{trial}-{item}" for trial in range(trials) for item in range(len(weights))]
    noise = gumbel(pa.array(ids, pa.large_string()), seed).reshape(trials, len(weights))
    chosen = np.argsort(-(np.log(weights) + noise), axis=1)[:, :3]
    found = np.bincount(chosen.ravel(), minlength=len(weights)) / trials
    assert np.allclose(found, inclusion(weights, 3), atol=4 * 0.5 / trials**0.5)


def test_the_noise_is_of_the_id_and_the_seed_and_of_no_other_sample() -> None:
    """Rows that a sample by the same seed has kept would have all the luck, or none."""
    from curation.engine.best import id_hash

    ids = pa.array([f"a#{n}" for n in range(20_000)], pa.large_string())
    noise = gumbel(ids, 0)
    assert np.array_equal(gumbel(ids[7:9], 0), noise[7:9])
    assert abs(np.corrcoef(noise, gumbel(ids, 1))[0, 1]) < 0.03
    kept = id_hash(ids, 0) < np.uint64(1 << 61)
    assert noise[kept].mean() == pytest.approx(0.5772, abs=0.1)  # Euler's constant
    assert noise.std() == pytest.approx(np.pi / 6**0.5, rel=0.03)


def test_documents_of_the_target_are_found_in_a_pool(tmp_path: Path, target: str) -> None:
    """The whole of it: a recipe that keeps what is like the target and drops the rest."""
    like = [f"{number} " + GOLDEN["target"][number % 3] for number in range(30)]
    other = [f"{number} the markets rose and the weather was fine that day" for number in range(70)]
    source = Jsonl(jsonl(tmp_path / "pool.jsonl", [*other[:40], *like, *other[40:]]))
    steps = [
        TextSize(),
        DsirWeights(target=target, min_words=5),
        keep_best("dsir_score", documents=30, because="not like the target"),
    ]
    build = Recipe(source=source, steps=steps).run(store=tmp_path / "store", workers=0)
    texts = build.documents(columns=["text"]).collect()["text"].to_list()
    assert sum(text in like for text in texts) >= 28


def test_a_target_inside_the_pool_is_told(target: str) -> None:
    """Whoever counts found targets would count the examples that were given."""
    with pytest.warns(UserWarning, match="1 of the 3 target examples .* are in the pool"):
        reduced([GOLDEN["target"][1].upper(), "something else"], target)


@pytest.mark.parametrize(
    "given",
    [{"buckets": 1}, {"ngrams": 0}, {"target_laplace": -1.0}, {"min_words": -1}, {"seed": -1}],
)
def test_a_setting_that_makes_no_sense_is_told(target: str, given: dict[str, Any]) -> None:
    """Half of a night would be gone before the first division by zero."""
    with pytest.raises(RecipeError, match=f"take[s]? {next(iter(given))} of"):
        DsirWeights(target=target, **given)


def test_a_target_without_words_or_not_there_is_told_at_once(tmp_path: Path) -> None:
    """A pool would be read twice for weights of nothing."""
    with pytest.raises(RecipeError, match="matches no file"):
        DsirWeights(target=str(tmp_path / "nowhere.jsonl"))
    with pytest.raises(RecipeError, match="holds no text"):
        DsirWeights(target=jsonl(tmp_path / "blank.jsonl", ["", " "]))


def test_another_content_of_the_target_is_another_stage(tmp_path: Path) -> None:
    """Scores of last week's seeds would be taken for those of today's."""
    stage = DsirWeights(target=jsonl(tmp_path / "a.jsonl", ["one"]))
    before = stage.identity()
    assert before["files"] == [content_hash(stage.target)]
    jsonl(tmp_path / "a.jsonl", ["two"])
    assert stage.identity() != before
