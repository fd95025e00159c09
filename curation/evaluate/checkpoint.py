"""Measures one checkpoint by files that are named, as the command ``evaluate`` does."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from curation.errors import RecipeError
from curation.evaluate.lm_harness import run_harness
from curation.evaluate.measures import Evaluation
from curation.evaluate.panel import Panel, Texts, run_panel
from curation.evaluate.repetition import repetition
from curation.evaluate.tasks import read_task
from curation.train.distributed import placed
from curation.train.model import open_checkpoint
from curation.train.settings import Training

if TYPE_CHECKING:
    from curation.mix.tokens import Tokenizer

#: Beginnings of held-out texts that the model goes on with, to see how much it repeats itself.
PROMPTS, PROMPT_CHARS, NEW_TOKENS = 32, 200, 64


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is measured of a checkpoint.

    texts       name → held-out texts
    tasks       files of items
    lm_eval     tasks of lm-evaluation-harness: names, or YAML files
    context     tokens that the model sees at once
    most_items  task items at most, of each file; None for all
    """

    texts: Mapping[str, Texts]
    tasks: Sequence[str] = ()
    lm_eval: Sequence[str] = ()
    context: int = 256
    most_items: int | None = None

    def __post_init__(self) -> None:
        if not (self.texts or self.tasks or self.lm_eval):
            raise RecipeError(
                "there is nothing to measure.",
                remedy="name texts (--texts FILE), items (--tasks FILE), or --lm-eval TASK",
            )


def measure_checkpoint(
    folder: Path, wanted: Wanted, *, tokenizer: Path | None = None
) -> Evaluation:
    """Return everything that was measured; ResourceError where the folder is no checkpoint."""
    tasks = tuple(read_task(path, limit=wanted.most_items) for path in wanted.tasks)
    model, words = open_checkpoint(folder, tokenizer=tokenizer)
    found = Evaluation({}, pl.DataFrame(), {}, {})
    with placed(Training(tokens=1)) as place:
        model.to(place.device)
        if wanted.texts or tasks:
            panel = Panel(texts=tuple(wanted.texts.values()), tasks=tasks)
            found = run_panel(model, words, panel, context=wanted.context)
        found.facts.update(repeated(model, words, list(wanted.texts.values()), wanted.context))
    if not wanted.lm_eval:
        return found
    with tempfile.TemporaryDirectory() as scratch:
        other = run_harness(folder, wanted.lm_eval, folder=scratch, limit=wanted.most_items)
    return Evaluation(
        {**found.measures, **other.measures},
        pl.concat([found.items, other.items], how="diagonal"),
        {**found.skipped, **other.skipped},
        {**found.facts, **other.facts},
    )


def describe(found: Evaluation, *, by_source: bool = False) -> str:
    """Return an evaluation as a table: measure, value, unit, chance, items."""
    lines = []
    for row in found.values(by_source=by_source).iter_rows(named=True):
        measure = found.measures[row["measure"]]
        name = " ".join(filter(None, [row["measure"], row.get("source")]))
        chance = "" if measure.chance is None else f", chance {measure.chance:.3f}"
        about = f"{measure.unit}, {measure.better} is better{chance}; {row['items']:,} items"
        lines.append((name, f"{row['value']:.4f}", about))
    for name, value in found.facts.items():
        if name.startswith("repetition/"):
            lines.append((name, f"{value:.4f}", "of greedy continuations"))
    width = max((len(name) for name, _, _ in lines), default=0)
    shown = [f"{name:<{width}}  {value:>8}  {about}" for name, value, about in lines]
    for name, reasons in found.skipped.items():
        shown += [f"{name}: {n:,} items are not measured: {why}" for why, n in reasons.items()]
    return "\n".join(shown)


def repeated(
    model: Any, tokenizer: Tokenizer, texts: Sequence[Texts], context: int
) -> dict[str, float]:
    """Return how much a model repeats itself when it goes on with the beginnings of texts."""
    last = [text for one in texts for text in one.table["text"].to_pylist() if text][-PROMPTS:]
    beginnings = tokenizer.encode([text[:PROMPT_CHARS] for text in last])
    # half of the context, and a quarter for what follows: cut tokens may be spelled by more of them
    prompts = [tokenizer.decode(ids[: context // 2]) for ids in beginnings]
    new = min(NEW_TOKENS, context // 4)
    if not prompts or not new:
        return {}
    return repetition(model, tokenizer, prompts, new_tokens=new, context=context)
