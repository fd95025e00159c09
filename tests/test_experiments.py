"""The shipped experiments: what they compare, and that no held-out text is trained on."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from curation import Ablation, Base, Recipe
from curation.ablate.arms import leave_one_rule_out
from curation.ablate.base import Workshop, prepare_base
from curation.recipe_file import load
from curation.store import Store
from tests.conftest import ROOT, write_jsonl

PIPELINES = ROOT / "pipelines"


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """Flags that name a small corpus."""
    text = "Estoppel bars a claim that a court has heard before, unless won by fraud; see {}."
    rows = [{"text": " ".join(text.format(n + k) for k in range(4))} for n in range(0, 400, 4)]
    write_jsonl(tmp_path / "law.jsonl", rows)
    news = [{"text": f"The minister of {n} " * 9} for n in range(400)]
    write_jsonl(tmp_path / "news.jsonl", news)
    quiz = [{"question": "What bars?", "choices": ["estoppel", "rain"], "answer": 0}]
    write_jsonl(tmp_path / "quiz.jsonl", quiz)
    return ["--domain", str(tmp_path / "law.jsonl"), "--general", str(tmp_path / "news.jsonl")]


def ids(recipe: Recipe, store: Path) -> set[str]:
    """Return the ids of a recipe's rows, or of the rows that they are pieces of."""
    build = recipe.run(store=store, workers=0)
    name = "parent_id" if "parent_id" in build.column_names(build.outcomes[-1]) else "id"
    return set(build.documents(columns=[name]).collect()[name])


@pytest.mark.filterwarnings("ignore:DomainKeywords")
@pytest.mark.parametrize("name", ["ablation.py", "ratios.py", "anneal.py", "reading_ablation.py"])
def test_no_experiment_trains_on_what_it_measures(name, words, tmp_path):
    """Every verdict would be one on memory."""
    experiment = load(str(PIPELINES / name), words, Ablation)
    measured = {k: ids(recipe, tmp_path / "store") for k, recipe in experiment.held_out.items()}
    assert all(measured.values())
    trained = {**experiment.data, "base": next(iter(experiment.base.data.values()))}
    for key, recipe in trained.items():
        of = "general" if key in ("general", "base") else "domain"
        assert not ids(recipe, tmp_path / "store") & measured[of], key
    assert experiment.compared_with in experiment.describe()


def test_the_ablation_compares_what_it_says_it_does(words, tmp_path):
    """A table would stand under names of other sets."""
    quiz = str(tmp_path / "quiz.jsonl")
    more = ["--other", words[3], "--tasks", quiz, "--probe-items", "5"]
    experiment = load(str(PIPELINES / "ablation.py"), [*words, *more], Ablation)
    assert [arm.name for arm in experiment.arms] == [
        "raw",
        "cleaned",
        "cleaned, deduplicated",
        "cleaned, half replay",
        "another domain",
    ]
    assert experiment.domain_sets == ("domain", "quiz")
    assert experiment.probe is not None
    assert experiment.arm("cleaned, half replay").schedule.table(100).height == 2
    cleaned = Ablation(**{**vars(experiment), "reference": "cleaned"})
    assert len(leave_one_rule_out(cleaned).arms) > 10


def test_the_reading_ablation_compares_plain_and_mined_text_like_with_like(words, tmp_path):
    """A gain of mined text would be one of other documents, or of instructions beside them."""
    rows = [{"question": f"Who is {n}?", "answer": f"Nobody but {n}."} for n in range(9)]
    write_jsonl(tmp_path / "general.jsonl", rows)
    plain = load(str(PIPELINES / "reading_ablation.py"), words, Ablation)
    names = [arm.name for arm in plain.arms]
    assert names == ["raw", "mined", "raw + replay", "mined + replay"]
    assert "instructions" not in plain.data
    more = ["--instructions", str(tmp_path / "general.jsonl"), "--replay", "0.4"]
    experiment = load(str(PIPELINES / "reading_ablation.py"), [*words, *more], Ablation)
    added = ["raw + instructions", "mined + instructions", "instructions"]
    assert [arm.name for arm in experiment.arms] == [*names, *added]
    shares = {
        arm.name: dict(arm.schedule.table(1000).select("component", "share").iter_rows())
        for arm in experiment.arms
    }
    assert shares["mined + replay"] == pytest.approx({"mined": 0.6, "general": 0.4})
    assert shares["mined + instructions"] == pytest.approx({"mined": 0.5, "instructions": 0.5})
    store = tmp_path / "store"
    assert ids(experiment.data["raw"], store) == ids(experiment.data["mined"], store)
    assert len(ids(experiment.data["instructions"], store)) == 9


def test_the_base_learns_from_named_texts_and_by_default_from_what_is_installed(words, tmp_path):
    """The first command of a newcomer would have nothing to read."""
    flags = ["--texts", words[3], "--tokens", "4096", "--vocab-size", "300", "--preset", "0.5M"]
    base = load(str(PIPELINES / "base.py"), [*flags, "--context", "64"], Base)
    made = prepare_base(base, Workshop(Store(tmp_path / "store"), 0))
    assert made.facts["tokens"] == 4096
    log = [json.loads(line) for line in (made.folder.parent / "log.jsonl").read_text().splitlines()]
    assert pl.DataFrame(log)["loss"].is_not_null().all()
    by_default = load(str(PIPELINES / "base.py"), [], Base)
    assert type(by_default.data["general"].rows_source).__name__ == "PackageTexts"
