"""What one worker does: train one repetition of an arm and measure the outcome.

    STORE/trained/<fingerprint>/model/  log.jsonl  about.json
    STORE/trained/<fingerprint>/measured/<panel>.parquet  <panel>.json

A run's fingerprint holds the base, the token sets, the mixture, the settings, the draw and the
seed; what was measured lies under the panel's own fingerprint, so that a new task costs an
evaluation of the models that are there and no training.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow.parquet as pq

from curation.ablate.base import batches_of
from curation.engine.progress import Progress
from curation.evaluate.measures import Evaluation, Measure
from curation.mix.budget import Beyond
from curation.mix.schedule import Schedule
from curation.store import read_json, replacing, waiting_for, write_json
from curation.train.settings import Training

if TYPE_CHECKING:
    from curation.evaluate.panel import Panel
    from curation.mix.tokens import Tokenizer

#: Texts of each set that are measured in the course of training.
DURING_TEXTS = 100
#: Share of a job that is training; the rest is evaluation.
TRAINING_SHARE = 0.8


@dataclass(frozen=True, kw_only=True)
class TrainAndMeasure:
    """One repetition of one arm, or the base as it is (``schedule`` is None).

    token_sets  name → folder of a token set
    key         decides which documents are drawn
    """

    name: str
    folder: Path
    checkpoint: Path
    tokenizer: Path
    context: int
    panel: Panel
    token_sets: Mapping[str, Path]
    schedule: Schedule | None
    training: Training
    key: str
    max_epochs: float
    beyond: Beyond
    keep_model: bool

    def run(self, tell: Callable[[float], None]) -> None:
        """Do what is not done yet.

        A worker whose parent was killed may still have the run: it is waited for.
        """
        with waiting_for(self.folder / "lock"):
            if not self.measured:
                self._run(tell)

    def _run(self, tell: Callable[[float], None]) -> None:
        parts = (self.folder / "about.json", self.folder / "model")
        if self.schedule is not None and not all(part.exists() for part in parts):
            self._train(tell)
        tell(TRAINING_SHARE)
        self._measure()
        if not self.keep_model:
            shutil.rmtree(self.folder / "model", ignore_errors=True)

    @property
    def outcome(self) -> Path:
        """Where the outcome is written: the stem of its two files."""
        return self.folder / "measured" / self.panel.fingerprint

    @property
    def measured(self) -> bool:
        """Whether the outcome has been measured by this panel."""
        return self.outcome.with_suffix(".json").exists()

    def _train(self, tell: Callable[[float], None]) -> None:
        from curation.mix.tokens import TokenSet
        from curation.train.loop import train
        from curation.train.model import open_checkpoint

        assert self.schedule is not None
        began = time.monotonic()
        model, tokenizer = open_checkpoint(self.checkpoint, tokenizer=self.tokenizer)
        sets = {name: TokenSet.open(folder) for name, folder in self.token_sets.items()}
        batches = batches_of(
            sets,
            self.schedule,
            self.training,
            key=self.key,
            max_epochs=self.max_epochs,
            beyond=self.beyond,
        )
        trained = train(
            model,
            batches,
            self.training,
            folder=self.folder,
            tokenizer=tokenizer,
            evaluate=self._during(tokenizer) if self.training.evaluate_every else None,
            progress=_Share(tell, batches.steps),
        )
        facts = {
            "tokens": trained.tokens,
            "steps": trained.steps,
            "seconds": round(time.monotonic() - began, 3),
            "tokens_per_second": round(trained.tokens_per_second, 1),
            "data": batches.manifest(),
            "evaluations": trained.evaluations.to_dicts(),
        }
        write_json(self.folder / "about.json", facts)

    def _during(self, tokenizer: Tokenizer) -> Callable[[Any, int], dict[str, float]]:
        """Return what measures the texts, a part of each, in the course of training."""
        from curation.evaluate.panel import Panel, Texts, run_panel

        texts = tuple(Texts(one.name, one.table.slice(0, DURING_TEXTS)) for one in self.panel.texts)
        panel = Panel(texts=texts)

        def measure(model: Any, _: int) -> dict[str, float]:
            found = run_panel(model, tokenizer, panel, context=self.context).values()
            return dict(found.select("measure", "value").iter_rows())

        return measure

    def _measure(self) -> None:
        from curation.evaluate.checkpoint import repeated
        from curation.evaluate.panel import run_panel
        from curation.train.distributed import placed
        from curation.train.model import open_checkpoint

        trained = self.folder / "model"
        where = self.checkpoint if self.schedule is None else trained
        model, tokenizer = open_checkpoint(
            where, tokenizer=self.tokenizer if self.schedule is None else trained
        )
        began = time.monotonic()
        with placed(self.training) as place:
            device = str(place.device)
            found = run_panel(model, tokenizer, self.panel, context=self.context, device=device)
            found.facts.update(repeated(model, tokenizer, self.panel.texts, self.context))
        seconds = {"evaluation_seconds": round(time.monotonic() - began, 3)}
        write_evaluation(found, self.outcome, extra=seconds)


def write_evaluation(found: Evaluation, stem: Path, *, extra: Mapping[str, float]) -> None:
    """Write items as STEM.parquet, the rest as STEM.json, which comes last."""
    with replacing(stem.with_suffix(".parquet")) as temporary:
        found.items.write_parquet(temporary)
    measures = [vars(measure) for measure in found.measures.values()]
    facts = {"measures": measures, "skipped": found.skipped, "facts": {**found.facts, **extra}}
    write_json(stem.with_suffix(".json"), facts)


def read_evaluation(stem: Path) -> Evaluation:
    """Return what ``write_evaluation`` wrote."""
    facts: dict[str, Any] = read_json(stem.with_suffix(".json")) or {}
    measures = {about["name"]: Measure(**about) for about in facts["measures"]}
    items = pl.from_arrow(pq.read_table(stem.with_suffix(".parquet")))
    assert isinstance(items, pl.DataFrame)
    return Evaluation(measures, items, facts["skipped"], facts["facts"])


class _Share(Progress):
    """Tells the parent which share of the training is done."""

    def __init__(self, tell: Callable[[float], None], steps: int) -> None:
        self._tell, self._steps = tell, max(1, steps)

    def advance(self, rows: int, payload_bytes: int, shards: int, input_bytes: int) -> None:
        self._tell(TRAINING_SHARE * min(1.0, shards / self._steps))
