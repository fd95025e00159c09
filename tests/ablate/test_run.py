"""A whole ablation on a few kilobytes: what it finds, keeps, takes again and refuses."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from curation import Ablation, Arm, Base, HeldOut, Jsonl, Recipe, Schedule, Training, col, keep
from curation.ablate.base import Workshop, prepare_base
from curation.ablate.results import RESULTS, models, open_outcome, read_results
from curation.ablate.run import (
    describe_seconds,
    run_ablation,
    some_documents,
    some_items,
    worker_devices,
)
from curation.errors import RecipeError, ResourceError
from curation.evaluate.tasks import Task, TaskItem
from curation.mix.tokens import Tokenizer
from curation.store import Store
from tests.conftest import ROOT, environment, write_jsonl

TRAINING = Training(
    tokens=2048, sequence_length=32, batch_sequences=4, learning_rate=3e-3, threads=1
)
WORDS = "the court of appeal found that a claim under contract law may not be heard twice".split()


def write_texts(folder: Path) -> None:
    """Write a general corpus, and one of a domain with words of its own."""
    general = [
        {"text": " ".join(WORDS[(n * k) % len(WORDS)] for k in range(1, 40)), "source": "news"}
        for n in range(1, 150)
    ]
    law = [{"text": f"estoppel {n} bars " * 12, "source": "law"} for n in range(150)]
    write_jsonl(folder / "general.jsonl", general)
    write_jsonl(folder / "law.jsonl", law)
    quiz = [
        {"question": f"What bars {n}?", "choices": ["estoppel", "rain"], "answer": 0}
        for n in range(12)
    ]
    write_jsonl(folder / "quiz.jsonl", quiz)


def text_of(folder: Path, name: str, *, held_out: bool = False) -> Recipe:
    part = col("held_out") if held_out else ~col("held_out")
    return Recipe(
        source=Jsonl(str(folder / f"{name}.jsonl")),
        steps=[HeldOut(frac=0.2), keep(part, because="the other part")],
    )


def small(folder: Path, **changes: object) -> Ablation:
    """Two arms, of which the second has to be worse on law."""
    settings = {
        "base": Base(
            data={"general": text_of(folder, "general")},
            preset="0.5M",
            vocab_size=300,
            context=64,
            training=TRAINING,
        ),
        "data": {"law": text_of(folder, "law"), "general": text_of(folder, "general")},
        "arms": [
            Arm(name="law", schedule=Schedule.plain("law")),
            Arm(name="general", schedule=Schedule.plain("general")),
        ],
        "training": dataclasses.replace(TRAINING, evaluate_every=8),
        "repetitions": 2,
        "held_out": {
            "law": text_of(folder, "law", held_out=True),
            "news": text_of(folder, "general", held_out=True),
        },
        "tasks": (str(folder / "quiz.jsonl"),),
        "max_epochs": 9.0,
    }
    return Ablation(**{**settings, **changes})


def digest_of_models(store: Path) -> dict[str, str]:
    return {
        path.parent.parent.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in store.glob("trained/*/model/*.safetensors")
    }


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished ablation: its folder of texts, its store, its outcome."""
    folder = tmp_path_factory.mktemp("ablation")
    write_texts(folder)
    outcome = run_ablation(small(folder), store=folder / "store", workers=2)
    return folder, folder / "store", outcome


def test_the_arm_of_the_domain_wins_and_the_other_is_said_not_to(done):
    """The whole point of an ablation."""
    _, _, outcome = done
    rows = outcome.verdict().rows.filter(pl.col("measure") == "law/bits_per_byte")
    verdicts = {(r["comparison"], r["arm"]): r["verdict"] for r in rows.iter_rows(named=True)}
    assert verdicts["base", "law"] == "win"
    assert verdicts["reference", "general"] == "loss"
    text = str(outcome)
    for told in ("0.5M", "2,048 for each arm", "repetitions  2", "law/bits_per_byte", "epochs"):
        assert told in text


def test_repetitions_draw_other_documents_and_arms_on_one_set_do_too(done):
    """An interval over shuffles of one draw would call a lucky draw a win."""
    *_, outcome = done
    keys = [run["data"]["key"] for run in outcome.facts["runs"] if "data" in run]
    assert len(set(keys)) == len(keys) == 4


def test_every_value_is_in_the_results_store(done):
    """The laws would be fitted to a part of what was paid for."""
    _, store, outcome = done
    results = read_results(store)
    assert results.schema == RESULTS
    ends = results.filter(pl.col("items").is_not_null())
    assert set(ends["arm"]) == {"base", "law", "general"}
    assert ends.filter(pl.col("arm") == "base")["tokens"].unique().to_list() == [0]
    during = results.filter(pl.col("items").is_null() & (pl.col("arm") == "law"))
    assert set(during["tokens"]) == {1024}
    shares = dict(ends.select("arm", "domain_share").unique().iter_rows())
    assert shares == {"base": 0.0, "law": 1.0, "general": 0.0}
    kinds = dict(ends.select("measure", "set").unique().iter_rows())
    assert kinds["law/bits_per_byte"] == "domain"
    assert kinds["news/bits_per_byte"] == "general"
    assert pl.read_parquet(outcome.folder / "results.parquet").schema == RESULTS
    assert len(models(store)) == 5


def test_an_outcome_is_found_again_by_its_name_and_judged_alike(done):
    """A verdict would be lost with the terminal that it was printed on."""
    _, store, outcome = done
    again = open_outcome(store, outcome.folder.name[:6])
    assert again.verdict().rows.equals(outcome.verdict().rows)
    assert (outcome.folder / "verdict.txt").read_text() == f"{outcome}\n"
    with pytest.raises(ResourceError, match="no single ablation"):
        open_outcome(store, "nothing")


def test_what_a_model_has_forgotten_is_told_with_the_items_that_changed_sides(done):
    """A gain in the domain would hide what it cost."""
    _, _, outcome = done
    table = outcome.forgetting()
    assert set(table["arm"]) == {"law", "general"}
    flips = table.filter(pl.col("measure") == "quiz/accuracy")
    assert len(flips) == 2
    assert flips["right_to_wrong"].is_not_null().all()
    assert "repetition/rep_2" in outcome.evaluations["law", 0].facts


def test_another_task_measures_the_models_that_are_there(done):
    """A new benchmark would cost all the training again."""
    folder, store, _ = done
    before = digest_of_models(store)
    stamps = {path: path.stat().st_mtime_ns for path in store.glob("trained/*/about.json")}
    more = write_jsonl(
        folder / "more.jsonl", [{"question": "Who?", "choices": ["law", "sun"], "answer": 0}] * 3
    )
    outcome = run_ablation(
        small(folder, tasks=(str(folder / "quiz.jsonl"), str(more))), store=store, workers=1
    )
    assert "more/accuracy" in outcome.measured.measures
    assert digest_of_models(store) == before
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


@pytest.mark.slow
def test_a_killed_ablation_goes_on_and_ends_in_the_same_models(done, tmp_path):
    """A power cut would cost everything, or leave other models than an undisturbed run."""
    folder, store, _ = done
    script = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "from tests.ablate.test_run import small\n"
        "from curation.ablate.run import run_ablation\n"
        "if __name__ == '__main__':\n"
        "    run_ablation(small(Path(sys.argv[1])), store=sys.argv[3], workers=2)\n"
    )
    path = tmp_path / "go.py"
    path.write_text(script)
    other = tmp_path / "store"
    words = [sys.executable, str(path), str(folder), str(ROOT), str(other)]
    run = subprocess.Popen(words, env=environment(), start_new_session=True)
    while not list(other.glob("trained/*/about.json")):
        assert run.poll() is None
        time.sleep(0.05)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert not list(other.glob("ablations/*"))
    subprocess.run(words, env=environment(), check=True)
    assert digest_of_models(other) == digest_of_models(store)


@pytest.mark.slow
def test_ctrl_c_in_the_middle_of_an_arm_keeps_its_state(done, tmp_path):
    """Every arm under way would begin again, however long it had been trained."""
    folder, *_ = done
    path = tmp_path / "go.py"
    path.write_text(
        "import dataclasses, signal, sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "from tests.ablate.test_run import TRAINING, small\n"
        "from curation.ablate.run import run_ablation\n"
        "if __name__ == '__main__':\n"
        "    signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "    long = dataclasses.replace(TRAINING, tokens=128 * 4000, checkpoint_every=10_000)\n"
        "    asked = small(Path(sys.argv[1]), training=long, repetitions=1, max_epochs=999.0)\n"
        "    run_ablation(asked, store=sys.argv[3], workers=2)\n"
    )
    store = tmp_path / "store"
    words = [sys.executable, str(path), str(folder), str(ROOT), str(store)]
    run = subprocess.Popen(words, env=environment(), start_new_session=True)
    while len(list(store.glob("trained/*/log.jsonl"))) < 2:
        assert run.poll() is None
        time.sleep(0.05)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does, to parent and workers
    assert run.wait() != 0
    states = list(store.glob("trained/*/checkpoints/*/state.safetensors"))
    assert len(states) == 2
    assert not list(store.glob("trained/*/about.json"))


def test_a_set_that_is_too_small_is_refused_before_anything_is_trained(done):
    """The arm would be trained on a text over and over, and nobody be told."""
    folder, store, _ = done
    before = sorted(store.glob("trained/*"))
    with pytest.raises(RecipeError, match="epochs"):
        run_ablation(small(folder, max_epochs=0.1), store=store, workers=1)
    assert sorted(store.glob("trained/*")) == before


def test_two_experiments_do_not_train_in_one_store_at_once(done):
    """Both would write into the folder of one run."""
    folder, store, _ = done
    with (
        Workshop(Store(store), 1).alone(),
        pytest.raises(ResourceError, match="another process trains"),
    ):
        run_ablation(small(folder), store=store, workers=1)


def test_a_task_that_is_not_there_is_told_before_anything_is_made(done, tmp_path):
    """A base would be trained for minutes before a mistyped name is found."""
    folder, *_ = done
    with pytest.raises(ResourceError, match=r"nothing\.jsonl"):
        run_ablation(small(folder, tasks=("nothing.jsonl",)), store=tmp_path / "new", workers=1)
    assert not list((tmp_path / "new").glob("*/"))


def test_a_held_out_set_without_documents_is_told(done):
    """A verdict would be given without the measure that was asked for."""
    folder, store, _ = done
    nothing = Recipe(
        source=Jsonl(str(folder / "law.jsonl")), steps=[keep(col("id") == "", because="all")]
    )
    with pytest.raises(RecipeError, match="'law' has no document"):
        run_ablation(small(folder, held_out={"law": nothing}), store=store, workers=1)


@pytest.mark.slow
def test_budgets_that_differ_are_told(done):
    """An arm that was trained on less would lose for that alone."""
    folder, store, _ = done
    few = write_jsonl(folder / "few.jsonl", [{"text": f"estoppel {n}"} for n in range(60)])
    data = {
        "law": Recipe(source=Jsonl(str(few)), steps=[HeldOut(frac=0.2)]),
        "general": text_of(folder, "general"),
    }
    capped = small(folder, data=data, beyond="cap", max_epochs=1.0, repetitions=1)
    outcome = run_ablation(capped, store=store, workers=2)
    tokens = {run["arm"]: run.get("tokens") for run in outcome.facts["runs"]}
    assert tokens["law"] < tokens["general"]
    assert "THE BUDGETS DIFFER" in str(outcome)
    assert "domain specificity" in str(outcome)


@pytest.mark.slow
def test_only_experiments_on_the_same_sets_are_compared_over_sizes(done):
    """Two unrelated experiments would cast doubt on each other by the names of their arms."""
    folder, store, outcome = done
    assert outcome.signs_over_sizes() == []
    assert "THE BUDGETS DIFFER" not in str(outcome)
    longer = dataclasses.replace(TRAINING, tokens=4096)
    other = run_ablation(small(folder, training=longer), store=store, workers=2)
    assert other.facts["sets"] == outcome.facts["sets"]
    twin = dataclasses.replace(other, facts={**other.facts, "sets": {}})
    assert twin.signs_over_sizes() == []


def test_a_base_is_trained_once_and_a_checkpoint_can_stand_in_for_it(done):
    """Minutes would be spent for each experiment on what is there already."""
    folder, store, outcome = done
    base = small(folder).base
    shop = Workshop(Store(store), 1)
    made = prepare_base(base, shop)
    assert (
        made.facts == outcome.facts["base"] | {}
        or made.fingerprint == (outcome.facts["base"]["fingerprint"])
    )
    taken = prepare_base(Base(checkpoint=str(made.folder), context=16), shop)
    assert taken.facts["context"] == 16
    assert taken.facts["parameters"] == made.facts["parameters"]
    tokenizer = Tokenizer.open(taken.tokenizer)
    assert tokenizer.vocab_size == 300
    (folder / "empty").mkdir()
    with pytest.raises(ResourceError):
        prepare_base(Base(checkpoint=str(folder / "empty")), shop)


def test_documents_to_measure_do_not_depend_on_their_order(tmp_path):
    """Two runs of one experiment would be measured on other texts."""
    rows = [{"text": f"text {n}"} for n in range(50)]
    write_jsonl(tmp_path / "a.jsonl", rows)
    build = Recipe(source=Jsonl(f"{tmp_path}/a.jsonl"), steps=[]).run(
        store=tmp_path / "store", workers=0
    )
    few, more = (some_documents(build, most)["id"].to_pylist() for most in (10, 20))
    assert len(few) == 10
    assert set(few) < set(more)
    assert few != [f"a.jsonl#{n}" for n in range(10)]


def test_items_to_measure_are_drawn_from_the_whole_file():
    """The first items of a file are often of one subject."""
    items = tuple(TaskItem(str(n), "q", ("a", "b")) for n in range(100))
    few = some_items(Task("t", items), 10).items
    assert len(few) == 10
    assert few != items[:10]
    assert set(few) < set(some_items(Task("t", items[::-1]), 20).items)
    assert some_items(Task("t", items), None).items == items


def test_there_is_a_worker_for_each_device():
    """Cores would lie idle, or two runs be slower than one."""
    assert worker_devices(3, None) == ["", "", ""]
    assert len(worker_devices(None, 10_000)) == 1
    assert describe_seconds(45) == "45 s"
    assert describe_seconds(600) == "10 min"
    assert describe_seconds(9000) == "2.5 h"


def test_the_command_shows_a_plan_and_a_finished_verdict(done, tmp_path):
    """A person would have to write Python to see what there is."""
    folder, store, _ = done
    path = tmp_path / "experiment.py"
    path.write_text(
        "import sys; sys.path.insert(0, '" + str(ROOT) + "')\n"
        "from pathlib import Path\n"
        "from curation import Ablation\n"
        "from tests.ablate.test_run import small\n"
        "def experiment(*, folder: str) -> Ablation:\n"
        '    """Law."""\n'
        "    return small(Path(folder))\n"
    )
    words = [sys.executable, "-m", "curation.cli", "ablate", str(path), "--folder", str(folder)]
    plan = subprocess.run(
        [*words, "--plan"], env=environment(), capture_output=True, text=True, check=True
    )
    assert "2 arms of 2,048 tokens" in plan.stdout
    again = subprocess.run(
        [*words, "--store", str(store)], env=environment(), capture_output=True, text=True
    )
    assert again.returncode == 0, again.stderr
    assert "Each arm against its base" in again.stdout
    shown = subprocess.run(
        [sys.executable, "-m", "curation.cli", "verdict", "--store", str(store), "--all"],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "quiz/margin_per_char" in shown.stdout
    assert json.loads((store / "ablations").glob("*/ablation.json").__next__().read_text())
