"""The golden files are what lm-eval 0.4.13 made of ``golden_checkpoint`` below.

    run_harness(checkpoint, [write_harness_task(PLANETS, folder)], folder=..., start_mark=True)
    lm_eval run --model hf --model_args pretrained=CHECKPOINT,dtype=float32 --tasks texts.yaml
        --output_path ... --log_samples     (task of the type loglikelihood_rolling over TEXTS)

Facts about the machine have been taken out of them.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from curation.errors import RecipeError, ResourceError
from curation.evaluate.lm_harness import (
    WHOLE,
    read_harness,
    run_harness,
    write_harness_task,
)
from curation.evaluate.measures import ITEMS
from curation.evaluate.metrics import METRICS
from curation.evaluate.score import bits_per_byte, score_choices
from curation.evaluate.tasks import Task, TaskItem
from curation.mix.tokenizer import Tokenizer
from tests.conftest import ROOT
from tests.oracles.bits import small_model

GOLDEN = ROOT / "tests" / "golden" / "lm_harness"
PLANETS = Task(
    "planets",
    (
        TaskItem("p1", "Which planet is nearest to the sun?",
                 ("Mercury", "Venus and its clouds", "Mars"), 0, source="order"),
        TaskItem("p2", "Which planet has rings that are easily seen?", ("Earth", "Saturn"), 1),
        TaskItem("p3", "Where is the Great Red Spot?",
                 ("On Jupiter", "On Neptune", "On Pluto", "On the Moon"), 0, "There are storms."),
        TaskItem("p4", "Which planet turns on its side?", ("Uranus", "Vénus"), 0),
    ),
)  # fmt: skip
TEXTS = (
    "The spot on Jupiter is a storm that has been seen for centuries.",
    "Vénus tourne lentement.",
)


def golden_checkpoint() -> tuple[Any, Tokenizer]:
    """Return a model whose weights are a formula and a tokenizer of bytes: the same everywhere."""
    tokenizer = Tokenizer.train([], vocab_size=257)
    model = small_model("llama", tokenizer.vocab_size, 512)
    with torch.no_grad():
        for number, weight in enumerate(model.parameters()):
            if weight.ndim > 1:
                place = torch.arange(weight.numel(), dtype=torch.float64)
                weight.copy_((0.3 * torch.sin((place * 0.37 + number) ** 2)).view(weight.shape))
    return model, tokenizer


def save_golden_checkpoint(folder: Path) -> Path:
    model, tokenizer = golden_checkpoint()
    model.save_pretrained(folder)
    tokenizer.save(folder)
    return folder


def test_the_table_holds_what_the_harness_found_of_each_item() -> None:
    """A verdict over its tasks is paired over items; a mean alone has none."""
    found = read_harness(GOLDEN / "planets")
    assert found.items.to_arrow().schema.names == ITEMS.names
    assert set(found.measures) == {"planets/acc", "planets/acc_norm", "planets/acc_bytes"}
    told = json.loads((GOLDEN / "planets" / "results.json").read_text())["results"]["planets"]
    for row in found.values().iter_rows(named=True):
        assert row["value"] == pytest.approx(told[row["measure"].split("/")[1] + ",none"])
        assert row["items"] == 4
    items = found.items.filter(measure="planets/acc")
    assert items["item"].to_list() == ["p1", "p2", "p3", "p4"]
    assert items["source"].to_list() == ["order", "", "", ""]
    measure = found.measures["planets/acc"]
    assert (measure.better, measure.unit) == ("higher", "share")
    assert measure.chance == pytest.approx((1 / 3 + 1 / 2 + 1 / 4 + 1 / 2) / 4)


def test_bits_are_read_from_the_log_likelihoods_of_items() -> None:
    """Its log-likelihoods are nats; read as bits, every text would seem a third easier."""
    found = read_harness(GOLDEN / "texts")
    (file,) = (GOLDEN / "texts").glob("results*.json")
    told = json.loads(file.read_text())["results"]["texts"]
    bits = found.items.filter(measure="texts/bits_per_byte")
    assert bits["item"].to_list() == ["0", "1"]
    assert bits["weight"].to_list() == [len(text.encode()) for text in TEXTS]
    values = dict(found.values().select("measure", "value").iter_rows())
    assert values["texts/bits_per_byte"] == pytest.approx(told["bits_per_byte,none"])
    assert found.measures["texts/bits_per_byte"].better == "lower"
    perplexity = found.items.filter(measure="texts/byte_perplexity")
    assert perplexity["item"].to_list() == [WHOLE]
    assert perplexity["value"].to_list() == pytest.approx([told["byte_perplexity,none"]])


def test_the_harness_and_we_say_the_same() -> None:
    """Where two ways to score one model differ, one of them is wrong."""
    torch.set_num_threads(1)
    model, tokenizer = golden_checkpoint()
    ours = score_choices(model, tokenizer, PLANETS, context=512)
    told = json.loads((GOLDEN / "planets" / "results.json").read_text())["samples"]["planets"]
    theirs = [float(pair[0]) for one in told for pair in one["filtered_resps"]]
    assert ours.log_prob_C == pytest.approx(theirs, rel=1e-5)
    table = read_harness(GOLDEN / "planets").items
    for metric, name in (("acc", "accuracy"), ("acc_norm", "accuracy_per_char"),
                         ("acc_bytes", "accuracy_per_byte")):  # fmt: skip
        values = table.filter(measure=f"planets/{metric}")["value"].to_list()
        assert METRICS[name].values(ours).tolist() == values
    rows = pa.table({"id": ["0", "1"], "text": list(TEXTS)})
    bits = read_harness(GOLDEN / "texts").items.filter(measure="texts/bits_per_byte")
    assert bits_per_byte(model, tokenizer, rows, context=512)["bits"].to_list() == pytest.approx(
        bits["value"].to_list(), rel=1e-5
    )


def found_of(**changed: Any) -> dict[str, Any]:
    results: dict[str, Any] = {
        "results": {"t": {"alias": "t", "acc,none": 0.5, "acc_stderr,none": 0.5}},
        "samples": {"t": [{"doc_id": 0, "doc": {"id": "x"}, "filter": "none", "acc": 1.0,
                           "filtered_resps": [[0, False]] * 2},
                          {"doc_id": 1, "doc": {"id": "x"}, "filter": "none", "acc": False,
                           "filtered_resps": [[0, False]] * 2}]},
        "configs": {"t": {"output_type": "multiple_choice"}},
        "higher_is_better": {"t": {"acc": True}},
        "n-samples": {"t": {"original": 9, "effective": 2}},
    }  # fmt: skip
    return results | changed


def test_items_are_known_by_their_id_or_else_by_their_number() -> None:
    """Two items of one id are one to a paired comparison."""
    found = read_harness(found_of())
    assert found.items["item"].to_list() == ["0", "1"]
    assert found.items["value"].to_list() == [1.0, 0.0]
    assert found.skipped == {"t": {"over the limit": 7}}
    assert found.measures["t/acc"].chance == 0.5


def test_without_samples_a_task_is_one_row() -> None:
    """A results file alone is what most people keep."""
    found = read_harness(found_of(samples={}))
    assert found.items.rows() == [("t/acc", WHOLE, "", 0.5, 1.0)]
    odd = found_of()
    odd["samples"]["t"][0]["acc"] = [1, 2, 3]
    assert read_harness(odd).items["item"].to_list() == [WHOLE]


def test_what_is_no_mean_of_items_is_taken_as_the_harness_has_it() -> None:
    """A corpus metric such as F1 summed over items would be another metric of the same name."""
    found = read_harness(found_of(results={"t": {"acc,none": 0.9}}))
    assert found.items.rows() == [("t/acc", WHOLE, "", 0.9, 1.0)]


def test_groups_are_left_out_and_filters_told_apart() -> None:
    """A group's mean beside its tasks would count every item twice."""
    found = read_harness(
        found_of(
            results={"g": {"acc,none": 0.5}, "t": {"acc,none": 0.5, "acc,strict": 0.5}},
            group_subtasks={"g": ["t"], "t": []},
            higher_is_better={"t": {"acc": False}},
        )
    )
    assert set(found.measures) == {"t/acc", "t/acc,strict"}
    assert found.items.filter(measure="t/acc,strict")["item"].to_list() == [WHOLE]
    assert found.measures["t/acc"].better == "lower"


def test_what_is_no_results_file_is_named(tmp_path: Path) -> None:
    """Given the wrong folder, one has to be told and not shown an empty table."""
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "other.json").write_text('{"results": 3}')
    for path in (tmp_path, tmp_path / "broken.json", tmp_path / "other.json"):
        with pytest.raises(ResourceError, match="holds no results"):
            read_harness(path)
    (tmp_path / "results_1.json").write_text(json.dumps(found_of(samples={})))
    (tmp_path / "results_1.json").write_text('{"results": {"t": {}}}')
    (tmp_path / "samples_t_1.jsonl").write_text("{")
    with pytest.raises(ResourceError, match="holds no results"):
        read_harness(tmp_path)


def test_of_several_results_in_a_folder_the_latest_is_read(tmp_path: Path) -> None:
    """The harness writes a file a run, named by the time."""
    for stamp, value in (("2026-01-02", 0.25), ("2026-01-01", 0.5)):
        facts = {"results": {"t": {"acc,none": value}}}
        (tmp_path / f"results_{stamp}.json").write_text(json.dumps(facts))
        sample = {"doc_id": 0, "acc": value}
        (tmp_path / f"samples_t_{stamp}.jsonl").write_text(json.dumps(sample) + "\n")
    found = read_harness(tmp_path)
    assert found.items.rows() == [("t/acc", "0", "", 0.25, 1.0)]


def test_a_task_is_written_as_the_harness_reads_it(tmp_path: Path) -> None:
    """What is measured there has to be the very texts that are measured here."""
    import yaml

    path = write_harness_task(PLANETS, tmp_path / "tasks")
    config = yaml.safe_load(path.read_text())
    rows = [json.loads(line) for line in (tmp_path / "tasks" / "planets.jsonl").open()]
    assert config["dataset_kwargs"]["data_files"]["test"].endswith("planets.jsonl")
    assert [row["prompt"] for row in rows] == [PLANETS.prompt(item) for item in PLANETS.items]
    assert [row["choices"] for row in rows] == [list(item.choices) for item in PLANETS.items]
    assert [row["answer"] for row in rows] == [item.answer for item in PLANETS.items]
    cloze = Task("c", (TaskItem("a", "It is", ("so",)),), "cloze")
    with pytest.raises(RecipeError, match="choice tasks"):
        write_harness_task(cloze, tmp_path)


def test_without_the_package_one_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an extra: most machines do not have it."""
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.setitem(sys.modules, "lm_eval.evaluator", None)
    with pytest.raises(ResourceError, match="not installed") as error:
        run_harness(tmp_path, ["t"], folder=tmp_path)
    assert "curation[harness]" in error.value.facts["remedy"]


@pytest.mark.slow
def test_the_harness_runs_on_a_checkpoint_of_ours(tmp_path: Path) -> None:
    """Its results today, of the model whose results are kept."""
    pytest.importorskip("lm_eval", reason="needs the extra [harness]")
    checkpoint = save_golden_checkpoint(tmp_path / "model")
    with pytest.raises(ResourceError, match="no checkpoint"):
        run_harness(tmp_path, ["t"], folder=tmp_path)
    path = write_harness_task(PLANETS, tmp_path / "tasks")
    found = run_harness(checkpoint, [path], folder=tmp_path / "out", start_mark=True)
    golden = read_harness(GOLDEN / "planets")
    assert found.items.equals(golden.items)
    assert found.measures == golden.measures
    kept = json.loads((tmp_path / "out" / "results.json").read_text())["samples"]["planets"]
    told = json.loads((GOLDEN / "planets" / "results.json").read_text())["samples"]["planets"]
    for one, other in zip(kept, told, strict=True):
        for pair, wanted in zip(one["filtered_resps"], other["filtered_resps"], strict=True):
            assert math.isclose(float(pair[0]), float(wanted[0]), rel_tol=1e-4)
