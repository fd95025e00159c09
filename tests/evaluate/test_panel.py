from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
import torch

from curation import Build, Jsonl, Recipe, col, keep
from curation.errors import RecipeError
from curation.evaluate.measures import ITEMS
from curation.evaluate.metrics import METRICS
from curation.evaluate.panel import DEFAULT_METRICS, Panel, Texts, run_panel
from curation.evaluate.score import bits_per_byte, score_choices
from curation.evaluate.tasks import Fault, Task, TaskItem
from curation.mix.tokenizer import Tokenizer
from tests.conftest import environment, write_jsonl
from tests.oracles.bits import small_model

TABLE = pa.table(
    {
        "id": ["a", "b", "c", "d"],
        "text": ["The spot on Jupiter. " * 4, "A ring.", None, "Vénus"],
        "source": ["storms", "rings", "rings", None],
    }
)
ITEM = TaskItem("p1", "Which is nearest?", ("Mercury", "Venus", "Mars"), 0, source="order")
CHOICES = Task(
    "planets",
    (
        ITEM,
        TaskItem("p2", "Which has rings?", ("Earth", "Saturn"), 1),
        TaskItem("long", "Which? " * 60, ("Earth", "Saturn"), 1),
    ),
    faults=(Fault("planets.jsonl", 3, "no answer"),),
)
GAPS = Task("gaps", (TaskItem("g", "The spot is on ___.", ("Jupiter",)),), "cloze")
ANSWERS = Task("answers", (TaskItem("w", "Where is the spot?", ("Jupiter", "On it")),), "answer")
PANEL = Panel(texts=(Texts("cybersecurity", TABLE),), tasks=(CHOICES, GAPS, ANSWERS))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(["The spot on Jupiter. Question: Answer: Which is nearest?"] * 9,
                           vocab_size=290)  # fmt: skip


@pytest.fixture(scope="module")
def model(tokenizer: Tokenizer) -> Any:
    torch.set_num_threads(1)
    return small_model("llama", tokenizer.vocab_size, 64)


def changed(**settings: Any) -> Panel:
    return dataclasses.replace(PANEL, **settings)


def test_everything_measured_is_in_one_table(model: Any, tokenizer: Tokenizer) -> None:
    """Verdicts read this table and nothing else."""
    found = run_panel(model, tokenizer, PANEL, context=64)
    assert found.items.to_arrow().cast(ITEMS).schema == ITEMS
    assert set(found.measures) == {
        "cybersecurity/bits_per_byte",
        *(f"planets/{name}" for name in DEFAULT_METRICS),
        "gaps/answer_bits_per_byte",
        "gaps/greedy_match",
        "answers/answer_bits_per_byte",
        "answers/greedy_match",
    }
    assert set(found.items["measure"]) == set(found.measures)
    assert found.items.select("measure", "item").is_unique().all()
    bits = bits_per_byte(model, tokenizer, TABLE, context=64, stride=32)
    rows = found.items.filter(measure="cybersecurity/bits_per_byte")
    assert rows["item"].to_list() == ["a", "b", "d"]
    assert rows["source"].to_list() == ["storms", "rings", ""]
    assert rows["value"].to_list() == bits["bits"].to_list()
    assert rows["weight"].to_list() == [84.0, 7.0, 6.0]
    values = dict(found.values().select("measure", "value").iter_rows())
    assert values["cybersecurity/bits_per_byte"] == pytest.approx(
        bits["bits"].sum() / bits["bytes"].sum()
    )
    scores = score_choices(model, tokenizer, CHOICES, context=64)
    for name in DEFAULT_METRICS:
        rows = found.items.filter(measure=f"planets/{name}")
        assert rows["item"].to_list() == ["p1", "p2"]
        assert rows["source"].to_list() == ["order", ""]
        assert rows["value"].to_list() == METRICS[name].values(scores).tolist()
        assert rows["weight"].to_list() == [1.0, 1.0]


def test_what_was_left_out_is_told_with_its_reason(model: Any, tokenizer: Tokenizer) -> None:
    """A score over the short items of a set is no score of the set."""
    found = run_panel(model, tokenizer, PANEL, context=64)
    assert found.skipped == {
        "cybersecurity": {"without text": 1},
        "planets": {"no answer": 1, "longer than the context": 1},
    }
    assert found.facts["cybersecurity/tokens"] > 20
    assert found.facts["seconds"] > 0
    none = run_panel(model, tokenizer, PANEL, context=4)
    assert none.skipped["planets"] == {"no answer": 1, "longer than the context": 3}
    assert set(none.measures) == {"cybersecurity/bits_per_byte"} == set(none.items["measure"])


def test_measures_know_which_way_is_better_and_where_chance_is(
    model: Any, tokenizer: Tokenizer
) -> None:
    """A verdict with the sign turned round recommends the worse corpus."""
    found = run_panel(model, tokenizer, PANEL, context=64).measures
    assert [name for name, measure in found.items() if measure.better == "lower"] == [
        "cybersecurity/bits_per_byte",
        "planets/answer_bits_per_byte",
        "gaps/answer_bits_per_byte",
        "answers/answer_bits_per_byte",
    ]
    chance = pytest.approx((1 / 3 + 1 / 2) / 2)
    assert found["planets/accuracy"].chance == chance
    assert found["planets/accuracy_uncond"].chance == chance
    assert found["planets/norm_correct_prob_per_char"].chance == chance
    assert found["planets/margin_per_char"].chance is None
    assert found["gaps/greedy_match"].chance is None


def test_the_primary_measure_of_each_set_is_continuous() -> None:
    """Small models are at chance by accuracy, and a verdict by it says nothing."""
    assert PANEL.primary == {
        "cybersecurity": "cybersecurity/bits_per_byte",
        "planets": "planets/answer_bits_per_byte",
        "gaps": "gaps/answer_bits_per_byte",
        "answers": "answers/answer_bits_per_byte",
    }
    fewer = changed(metrics=("accuracy", "correct_prob_per_char"))
    assert fewer.primary["planets"] == "planets/correct_prob_per_char"
    assert fewer.primary["gaps"] == "gaps/answer_bits_per_byte"
    assert changed(metrics=("accuracy",)).primary["planets"] == "planets/accuracy"


def test_unconditional_scores_are_made_only_where_a_measure_needs_them(
    model: Any, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are up to half of the work."""
    from curation.evaluate import score

    asked = []
    monkeypatch.setattr(score, "_unconditional", lambda *rest: asked.append(rest))
    run_panel(model, tokenizer, changed(metrics=("accuracy",)), context=64)
    assert not asked


def test_a_panel_moves_windows_and_shows_solved_items_as_it_says(
    model: Any, tokenizer: Tokenizer
) -> None:
    """Settings that are written down and not used make two runs seem alike that are not."""
    panel = changed(stride_frac=0.25, shots=1, tasks=(GAPS, Task("planets", CHOICES.items[:2])))
    found = run_panel(model, tokenizer, panel, context=8, batch_tokens=40)
    bits = bits_per_byte(model, tokenizer, TABLE, context=8, stride=2)
    assert bits["tokens"].max() > 16
    rows = found.items.filter(measure="cybersecurity/bits_per_byte")
    assert rows["value"].to_list() == pytest.approx(bits["bits"].to_list(), rel=1e-5)
    found = run_panel(model, tokenizer, panel, context=64)
    scores = score_choices(model, tokenizer, panel.tasks[1], context=64, shots=1)
    rows = found.items.filter(measure="planets/correct_prob_per_char")
    assert rows["value"].to_list() == METRICS["correct_prob_per_char"].values(scores).tolist()
    assert scores.log_prob_C.tolist() != pytest.approx(
        score_choices(model, tokenizer, panel.tasks[1], context=64).log_prob_C.tolist()
    )


# ---------------------------------------------------------------- the description


def test_a_fingerprint_is_that_of_all_a_value_depends_on() -> None:
    """Stored results of another panel would be taken for this one's."""
    other = TABLE.set_column(2, "source", pa.array(["x", "rings", "rings", None]))
    item = dataclasses.replace(ITEM, answer=1)
    panels = [
        PANEL,
        changed(texts=()),
        changed(texts=(Texts("medicine", TABLE),)),
        changed(texts=(Texts("cybersecurity", TABLE.slice(0, 3)),)),
        changed(texts=(Texts("cybersecurity", other),)),
        changed(texts=(Texts("cybersecurity", TABLE.take([1, 0, 2, 3])),)),
        changed(tasks=(CHOICES,)),
        changed(tasks=(dataclasses.replace(CHOICES, name="x"), GAPS, ANSWERS)),
        changed(tasks=(dataclasses.replace(CHOICES, items=(item, *CHOICES.items[1:])), GAPS)),
        changed(tasks=(dataclasses.replace(GAPS, kind="answer"), CHOICES, ANSWERS)),
        changed(metrics=("accuracy",)),
        changed(shots=1),
        changed(stride_frac=1.0),
    ]
    assert len({panel.fingerprint for panel in panels}) == len(panels)


def test_texts_do_not_run_into_each_other_in_the_fingerprint() -> None:
    """Two sets of the same letters, cut elsewhere, are two sets."""
    ids = ["a", "b"]
    digests = {
        Texts("t", pa.table({"id": ids, "text": texts})).digest
        for texts in (["ab", "c"], ["a", "bc"], ["abc", ""], ["", "abc"])
    }
    assert len(digests) == 4


def test_a_panel_is_the_same_wherever_its_rows_lie(tmp_path: Path) -> None:
    """A re-read set with another fingerprint is measured again for every model there is."""
    where = changed(
        tasks=(dataclasses.replace(CHOICES, faults=()), GAPS, ANSWERS),
        texts=(Texts("cybersecurity", pa.concat_tables([TABLE.slice(0, 1), TABLE.slice(1)])),),
    )
    assert where.fingerprint == PANEL.fingerprint
    anew = pa.table({name: TABLE[name].to_pylist()[1:] for name in TABLE.column_names})
    assert Texts("t", TABLE.slice(1)).digest == Texts("t", anew).digest
    frame = pl.from_arrow(TABLE)
    assert isinstance(frame, pl.DataFrame)
    for rows in (frame, frame.lazy(), frame.with_columns(x=1), TABLE.to_batches()[0]):
        assert Texts("cybersecurity", rows).digest == PANEL.texts[0].digest
    assert pickle.loads(pickle.dumps(PANEL)).fingerprint == PANEL.fingerprint


def test_a_builds_rows_are_texts(tmp_path: Path) -> None:
    """Held-out documents come out of a recipe, and only those that stayed."""
    rows = [{"text": "The spot."}, {"text": "A ring."}, {"text": "x"}]
    path = write_jsonl(tmp_path / "in" / "a.jsonl", rows)
    recipe = Recipe(source=Jsonl(str(path)), steps=[keep(col("text") != "x", because="short")])
    build = recipe.run(store=tmp_path / "store")
    assert isinstance(build, Build)
    texts = Texts("held out", build)
    assert texts.table["text"].to_pylist() == ["The spot.", "A ring."]
    assert texts.table["source"].to_pylist() == ["in", "in"]
    assert pickle.loads(pickle.dumps(texts)).digest == texts.digest


def test_how_long_it_takes_is_told_from_what_is_read() -> None:
    """People are told the time before it starts."""
    one, two = (Panel(texts=(Texts("t", TABLE),), stride_frac=frac) for frac in (1.0, 0.5))
    assert two.tokens_about == pytest.approx(2 * one.tokens_about, rel=0.1)
    assert PANEL.tokens_about > two.tokens_about > 0
    assert changed(shots=3).tokens_about > PANEL.tokens_about


def test_a_panel_that_cannot_be_run_is_not_made() -> None:
    """It is found before the models are trained, not after."""
    for settings in (
        {"metrics": ("acuracy",)},
        {"metrics": ()},
        {"shots": -1},
        {"stride_frac": 0.0},
        {"stride_frac": 1.5},
        {"texts": (), "tasks": ()},
        {"texts": (Texts("planets", TABLE),)},
    ):
        with pytest.raises(RecipeError):
            changed(**settings)
    with pytest.raises(RecipeError, match="no column text"):
        Texts("t", pa.table({"id": ["a"]}))
    with pytest.raises(RecipeError, match="ids more than once"):
        Texts("t", pa.table({"id": ["a", "a"], "text": ["x", "y"]}))


def test_a_panel_is_described_without_torch() -> None:
    """Recipes and ablations name panels; `curation plan` is not to wait for torch."""
    code = (
        "import sys, curation.evaluate.panel, curation.evaluate.lm_harness;"
        "assert not {'torch', 'transformers', 'lm_eval'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=environment())
