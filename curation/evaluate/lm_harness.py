"""lm-evaluation-harness on a saved checkpoint, its results as the table of every evaluation.

The harness (Gao et al., github.com/EleutherAI/lm-evaluation-harness) knows hundreds of tasks and
reads any other from a YAML file; its numbers can be compared with published ones. Its samples are
read item by item, so that models can be compared on them. What it makes of items in another way
than by a sum over a sum, such as a perplexity, stands as one row for the whole task.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa

from curation.errors import RecipeError, ResourceError
from curation.evaluate.measures import ITEMS, Evaluation, Measure
from curation.evaluate.tasks import Task
from curation.store import replacing

#: The item of a row that stands for a whole task.
WHOLE = "all"
#: Metrics whose items are log-likelihoods (nats) and bytes.
_BITS = ("bits_per_byte",)
#: Metrics by which one of the choices is taken.
_CHOOSING = ("acc", "acc_norm", "acc_bytes")
#: How far a task's own value may lie from that of its items, as a share.
_ROUNDING = 1e-6

_INSTALL = 'pip install "curation[harness]" accelerate'


class _Values(NamedTuple):
    """A metric of a task: name, (item, source, value, weight) of each item, chance."""

    metric: str
    rows: list[tuple[str, str, float, float]]
    chance: float | None


def run_harness(
    checkpoint: str | os.PathLike[str],
    tasks: Sequence[str | os.PathLike[str]],
    *,
    folder: str | os.PathLike[str],
    limit: int | None = None,
    batch_size: int = 16,
    start_mark: bool = False,
    device: str = "cpu",
) -> Evaluation:
    """Evaluate a checkpoint with lm-evaluation-harness and return what it found.

    checkpoint  a folder that transformers' AutoModelForCausalLM and AutoTokenizer can read
    tasks       names of its tasks, or files of its YAML format; a task over a local file needs no
                network (``write_harness_task`` makes one)
    folder      where its results are kept, as results.json
    limit       no more than so many items of each task
    start_mark  put the tokenizer's start mark before every prompt. Then choices are scored as
                ``score.py`` scores them; texts have the mark in any case and twice with this
    """
    try:
        import_module("accelerate")  # the harness needs it for any model of transformers
        from lm_eval.evaluator import simple_evaluate
    except ImportError as error:
        raise ResourceError(
            "lm-evaluation-harness is not installed.", found=str(error), remedy=_INSTALL
        ) from None
    if not (Path(checkpoint) / "config.json").exists():
        raise ResourceError(
            f"there is no checkpoint in {checkpoint}.",
            found="no config.json",
            remedy="name the folder that a model and its tokenizer were saved to",
        )
    found = simple_evaluate(
        model="hf",
        model_args={
            "pretrained": os.fspath(checkpoint),
            "add_bos_token": start_mark,
            "dtype": "float32" if device == "cpu" else "auto",
        },
        tasks=[os.fspath(task) for task in tasks],
        limit=limit,
        batch_size=batch_size,
        device=device,
        bootstrap_iters=0,
        log_samples=True,
    )
    return read_harness(_kept(found, Path(folder) / "results.json"))


def _kept(found: Mapping[str, Any], path: Path) -> Path:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(found, default=str, ensure_ascii=False), encoding="utf-8")
    return path


def write_harness_task(task: Task, folder: str | os.PathLike[str]) -> Path:
    """Write a choice task as JSON lines and a YAML file that the harness reads; return the latter.

    Prompts and choices are spelled out, so that it scores the very texts that ``score.py`` does.
    """
    if task.kind != "choice":
        raise RecipeError(
            f"the harness takes choice tasks; {task.name} is none.", found=f"kind {task.kind}"
        )
    rows = Path(folder) / f"{task.name}.jsonl"
    rows.parent.mkdir(parents=True, exist_ok=True)
    with open(rows, "w", encoding="utf-8") as file:
        for item in task.items:
            facts: dict[str, Any] = {"id": item.id, "source": item.source}
            facts |= {"prompt": task.prompt(item), "choices": item.choices, "answer": item.answer}
            file.write(json.dumps(facts, ensure_ascii=False) + "\n")
    config = {
        "task": task.name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(rows.resolve())}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "prompt",
        "doc_to_choice": "choices",
        "doc_to_target": "answer",
        "metric_list": [{"metric": metric} for metric in _CHOOSING],
    }
    path = rows.with_suffix(".yaml")
    path.write_text(json.dumps(config, indent=1), encoding="utf-8")  # JSON is YAML
    return path


# ---------------------------------------------------------------- results


def read_harness(results: str | os.PathLike[str] | Mapping[str, Any]) -> Evaluation:
    """Return what the harness found as the table of every evaluation.

    results  its results object, the file that it wrote, or the folder with that file (the latest);
             samples are taken from the object or from the files beside it (``--log_samples``)
    """
    found = results if isinstance(results, Mapping) else _read(Path(results))
    groups = {name for name, members in found.get("group_subtasks", {}).items() if members}
    measures: dict[str, Measure] = {}
    rows: list[tuple[str, str, str, float, float]] = []
    skipped: dict[str, dict[str, int]] = {}
    for task, values in found["results"].items():
        if task in groups:
            continue
        samples = found.get("samples", {}).get(task, [])
        is_choice = found.get("configs", {}).get(task, {}).get("output_type") == "multiple_choice"
        for name, value in values.items():
            measured = _values(name, value, samples, is_choice)
            if measured is None:
                continue
            measure = _measure(task, name, measured, found)
            measures[measure.name] = measure
            rows += [(measure.name, *row) for row in measured.rows]
        count = found.get("n-samples", {}).get(task, {})
        over = count.get("original", 0) - count.get("effective", 0)
        skipped |= {task: {"over the limit": over}} if over > 0 else {}
    columns = zip(*rows, strict=True) if rows else [[] for _ in ITEMS]
    table = pa.table(dict(zip(ITEMS.names, map(list, columns), strict=True)), schema=ITEMS)
    items = pl.from_arrow(table)
    assert isinstance(items, pl.DataFrame)
    seconds = found.get("total_evaluation_time_seconds")
    return Evaluation(measures, items, skipped, {"seconds": float(seconds)} if seconds else {})


def _read(path: Path) -> dict[str, Any]:
    file = path
    if path.is_dir():
        files = sorted(path.rglob("results*.json"), key=lambda file: file.name)
        file = files[-1] if files else path / "results.json"
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(file, error) from None
    if not isinstance(found, dict) or not isinstance(found.get("results"), dict):
        raise _unreadable(file, "it has no field 'results'")
    if "samples" not in found:
        stamp = file.stem.removeprefix("results")
        found["samples"] = {
            task: _lines(path)
            for task in found["results"]
            if (path := file.with_name(f"samples_{task}{stamp}.jsonl")).exists()
        }
    return found


def _lines(file: Path) -> list[dict[str, Any]]:
    try:
        with open(file, encoding="utf-8") as lines:
            return [json.loads(line) for line in lines if line.strip()]
    except ValueError as error:
        raise _unreadable(file, error) from None


def _unreadable(file: Path, problem: object) -> ResourceError:
    return ResourceError(
        f"{file} holds no results of lm-evaluation-harness.",
        found=str(problem),
        remedy="name the results file that lm_eval wrote with --output_path, or its folder",
    )


def _values(
    name: str, value: object, samples: Sequence[Mapping[str, Any]], is_choice: bool
) -> _Values | None:
    """Return a metric of a task by its items, or as a whole; None for what is no metric's value."""
    metric, comma, which = name.partition(",")
    if not comma or metric.endswith("_stderr") or isinstance(value, bool | str | None):
        return None
    whole = float(value)  # type: ignore[arg-type]
    chosen = [one for one in samples if one.get("filter", "none") == which and metric in one]
    rows = [] if metric not in _metrics(chosen) else _rows(metric, chosen)
    weight = math.fsum(row[3] for row in rows)
    total = math.fsum(row[2] for row in rows) / weight if weight else math.nan
    if not math.isclose(total, whole, rel_tol=_ROUNDING, abs_tol=_ROUNDING):
        return _Values(metric, [(WHOLE, "", whole, 1.0)], None)
    chance = None
    if is_choice and metric in _CHOOSING:
        chance = math.fsum(1 / len(one["filtered_resps"]) for one in chosen) / len(chosen)
    return _Values(metric, rows, chance)


def _metrics(samples: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the metrics of which each item has a number, or a log-likelihood and its bytes."""
    kept: set[str] | None = None
    for one in samples:
        good = {name for name, value in one.items() if _number(name, value) is not None}
        kept = good if kept is None else kept & good
    return kept or set()


def _number(metric: str, value: object) -> tuple[float, float] | None:
    """Return value and weight of an item; None where it is of another kind."""
    if isinstance(value, int | float):
        return float(value), 1.0
    if metric in _BITS and isinstance(value, list | tuple) and len(value) == 2:
        return -float(value[0]) / math.log(2), float(value[1])
    return None


def _rows(metric: str, samples: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, float, float]]:
    documents = [one["doc"] if isinstance(one.get("doc"), Mapping) else {} for one in samples]
    times = Counter(str(document.get("id")) for document in documents)
    rows = []
    for one, document in zip(samples, documents, strict=True):
        name = str(document.get("id"))
        item = name if "id" in document and times[name] == 1 else str(one["doc_id"])
        source = document.get("source") or document.get("subject") or ""
        number = _number(metric, one[metric])
        assert number is not None
        rows.append((item, str(source), *number))
    return rows


def _measure(task: str, name: str, values: _Values, found: Mapping[str, Any]) -> Measure:
    metric, _, which = name.partition(",")
    higher = found.get("higher_is_better", {}).get(task, {}).get(metric)
    return Measure(
        name=f"{task}/{metric}" if which == "none" else f"{task}/{metric},{which}",
        unit="bits per byte" if metric in _BITS else "share" if metric in _CHOOSING else metric,
        better="lower" if higher is False else "higher",
        chance=values.chance,
    )
