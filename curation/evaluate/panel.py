"""What is measured of every model of an experiment: held-out texts and tasks, frozen.

A panel is data, so that it can be compared, hashed and sent to another process; only running it
needs torch. Its fingerprint covers every text, item and setting that a value depends on: outcomes
of one model and one context under equal fingerprints are the same outcomes.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from curation.arrow import bytes_and_offsets
from curation.errors import RecipeError, nearest
from curation.evaluate.measures import ITEMS, Evaluation, Measure
from curation.evaluate.metrics import GOLD_METRICS, METRICS, ChoiceScores, Metric
from curation.evaluate.tasks import Task
from curation.store import canonical_json

if TYPE_CHECKING:
    from curation.build import Build
    from curation.mix.tokenizer import Tokenizer

#: Raised whenever a value of an unchanged panel comes out differently.
VERSION = 1

#: The measures of choice tasks that are looked at where nothing else is said: DataDecide's per
#: character, which it takes by default, and the accuracies that OLMES chooses from.
DEFAULT_METRICS = (
    "answer_bits_per_byte",
    "correct_prob_per_char",
    "norm_correct_prob_per_char",
    "margin_per_char",
    "total_prob_per_char",
    "accuracy",
    "accuracy_per_char",
    "accuracy_uncond",
)
#: The measures that a small model's data is judged by, the most preferred first: what is continuous
#: in the right answer alone (Magnusson et al. 2025, "DataDecide"; Heineman et al. 2025, "Signal and
#: Noise", for bits per byte).
PRIMARY = ("answer_bits_per_byte", "correct_prob_per_char")

#: Tokens of small vocabularies are about so long; for estimates of time alone.
_TOKEN_BYTES = 3

_TEXT_COLUMNS = ("id", "text", "source")


@dataclass(frozen=True)
class Texts:
    """Documents that are measured in bits per byte.

    rows  id, text and, if there is one, source, as an Arrow table or batch, a polars frame or a
          build; held as an Arrow table of these three
    """

    name: str
    rows: pa.Table | pa.RecordBatch | pl.DataFrame | pl.LazyFrame | Build

    def __post_init__(self) -> None:
        table = _table(self.rows)
        missing = {"id", "text"} - set(table.column_names)
        if missing:
            raise RecipeError(
                f"the texts {self.name} have no column {' and no column '.join(sorted(missing))}.",
                found=", ".join(table.column_names),
                remedy="id and text are needed, source is welcome",
            )
        if "source" not in table.column_names:
            table = table.append_column("source", pa.array([""] * len(table), pa.large_string()))
        table = table.select(_TEXT_COLUMNS).cast(
            pa.schema([(name, pa.large_string()) for name in _TEXT_COLUMNS])
        )
        twice = [name for name, times in Counter(table["id"].to_pylist()).items() if times > 1]
        if twice:
            raise RecipeError(
                f"the texts {self.name} have ids more than once.",
                found=", ".join(map(str, twice[:3])),
                remedy="an id tells one document, so that models can be compared on it",
            )
        object.__setattr__(self, "rows", table.combine_chunks())

    @property
    def table(self) -> pa.Table:
        """The documents: id, text, source."""
        assert isinstance(self.rows, pa.Table)
        return self.rows

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all ids, texts and sources in their order."""
        digest = hashlib.sha256()
        for name in _TEXT_COLUMNS:
            for chunk in self.table[name].chunks:
                data, offset = bytes_and_offsets(chunk)
                digest.update((offset - offset[0]).tobytes())
                digest.update(data[offset[0] : offset[-1]].tobytes())
        return digest.hexdigest()


def _table(rows: Any) -> pa.Table:
    if isinstance(rows, pa.RecordBatch):
        return pa.Table.from_batches([rows])
    if isinstance(rows, pl.LazyFrame):
        names = rows.collect_schema().names()
        return rows.select([name for name in _TEXT_COLUMNS if name in names]).collect().to_arrow()
    if isinstance(rows, pl.DataFrame):
        return rows.to_arrow()
    if isinstance(rows, pa.Table):
        return rows
    names = rows.column_names(rows.outcomes[-1])
    return _table(rows.documents(columns=[name for name in _TEXT_COLUMNS if name in names]))


@dataclass(frozen=True, kw_only=True)
class Panel:
    """What is measured.

    texts        held-out documents, each set with a name of its own
    tasks        questions, the same
    metrics      measures of choice tasks, names in ``metrics.METRICS``
    shots        solved items before each item of a task
    stride_frac  how far a window over a long document moves, in contexts
    """

    texts: tuple[Texts, ...] = ()
    tasks: tuple[Task, ...] = ()
    metrics: tuple[str, ...] = field(default=DEFAULT_METRICS)
    shots: int = 0
    stride_frac: float = 0.5

    def __post_init__(self) -> None:
        unknown = [name for name in self.metrics if name not in METRICS]
        names = [*(texts.name for texts in self.texts), *(task.name for task in self.tasks)]
        times = Counter(names)
        twice = [name for name, number in times.items() if number > 1]
        if unknown:
            raise RecipeError(
                f"there is no measure '{unknown[0]}'.",
                present=", ".join(METRICS),
                remedy=nearest(unknown[0], METRICS),
            )
        if twice or not times:
            raise RecipeError(
                "a panel measures at least one set, and each has a name of its own.",
                found=f"'{twice[0]}' {times[twice[0]]} times" if twice else "none",
            )
        if not self.metrics or self.shots < 0 or not 0 < self.stride_frac <= 1:
            raise RecipeError(
                "a panel has at least one measure, 0 or more shots and a stride of up to 1.",
                found=f"{self.metrics}, shots={self.shots}, stride_frac={self.stride_frac}",
            )

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of all that a value depends on but the model and the context."""
        facts = {
            "version": VERSION,
            "texts": {texts.name: texts.digest for texts in self.texts},
            "tasks": [task.identity() for task in self.tasks],
            "metrics": list(self.metrics),
            "shots": self.shots,
            "stride_frac": self.stride_frac,
        }
        return hashlib.sha256(canonical_json(facts).encode()).hexdigest()[:16]

    @property
    def primary(self) -> dict[str, str]:
        """Name of each set → name of the one measure that it is judged by."""
        texts = {texts.name: f"{texts.name}/bits_per_byte" for texts in self.texts}
        return texts | {task.name: f"{task.name}/{self._primary(task)}" for task in self.tasks}

    def _primary(self, task: Task) -> str:
        names = tuple(self.measured(task))
        return next((name for name in PRIMARY if name in names), names[0])

    def measured(self, task: Task) -> Mapping[str, Metric]:
        """Return the measures of a task: for one without wrong choices, what makes sense there."""
        if task.kind != "choice":
            return GOLD_METRICS
        return {name: METRICS[name] for name in self.metrics}

    @cached_property
    def tokens_about(self) -> int:
        """About how many tokens an evaluation reads, to tell how long it will take."""
        again = 1 / self.stride_frac
        texts = sum(texts.table["text"].nbytes for texts in self.texts) * again
        tasks = 0
        for task in self.tasks:
            for item in task.items:
                asked = len(item.context) + len(item.question) + sum(map(len, item.choices))
                tasks += asked * (1 + self.shots)
        return int((texts + tasks) / _TOKEN_BYTES)


def run_panel(
    model: Any,
    tokenizer: Tokenizer,
    panel: Panel,
    *,
    context: int,
    batch_tokens: int | None = None,
    device: str | None = None,
) -> Evaluation:
    """Measure a causal model of transformers by a panel.

    context       most tokens that the model reads at once
    batch_tokens  most tokens of one batch; lower it where memory does not suffice
    device        where the model is moved to before; where it is, if None
    returns       measures named SET/QUANTITY; a set of which nothing could be scored has none
    """
    began = time.monotonic()
    if device is not None:
        model = model.to(device)
    stride = max(int(context * panel.stride_frac), 1)
    reading = {"context": context, "batch_tokens": batch_tokens}
    measures: dict[str, Measure] = {}
    frames, skipped = [], dict[str, dict[str, int]]()
    facts = {}
    for texts in panel.texts:
        frame, tokens = _measured_texts(model, tokenizer, texts, stride=stride, **reading)
        left_out = len(texts.table) - len(frame)
        skipped |= {texts.name: {"without text": left_out}} if left_out else {}
        facts[f"{texts.name}/tokens"] = float(tokens)
        if len(frame):
            name = f"{texts.name}/bits_per_byte"
            measures[name] = Measure(name=name, unit="bits per byte", better="lower")
            frames.append(frame)
    for task in panel.tasks:
        scores = _scores(model, tokenizer, panel, task, reading)
        reasons = task.unread | dict(scores.skipped)
        skipped |= {task.name: reasons} if reasons else {}
        facts[f"{task.name}/tokens"] = float(scores.tokens_C.sum())
        for measure, frame in _measured_task(panel, task, scores):
            measures[measure.name] = measure
            frames.append(frame)
    items = pl.concat([_items(ITEMS.empty_table()), *frames])
    return Evaluation(measures, items, skipped, facts | {"seconds": time.monotonic() - began})


def _measured_texts(
    model: Any, tokenizer: Tokenizer, texts: Texts, **reading: Any
) -> tuple[pl.DataFrame, int]:
    from curation.evaluate.score import bits_per_byte

    found = bits_per_byte(model, tokenizer, texts.table, **reading)
    frame = found.select(
        pl.lit(f"{texts.name}/bits_per_byte").alias("measure"),
        "item",
        "source",
        pl.col("bits").alias("value"),
        pl.col("bytes").cast(pl.Float64).alias("weight"),
    )
    return frame, int(found["tokens"].sum())


def _scores(
    model: Any, tokenizer: Tokenizer, panel: Panel, task: Task, reading: Mapping[str, Any]
) -> ChoiceScores:
    from curation.evaluate.score import score_choices

    wanted = any(metric.unconditional for metric in panel.measured(task).values())
    return score_choices(model, tokenizer, task, shots=panel.shots, unconditional=wanted, **reading)


def _measured_task(
    panel: Panel, task: Task, scores: ChoiceScores
) -> Iterator[tuple[Measure, pl.DataFrame]]:
    count = len(scores.id_I)
    for name, metric in panel.measured(task).items() if count else ():
        chance = float(np.mean(1 / scores.choices_I)) if metric.guessed else None
        measure = Measure(
            name=f"{task.name}/{name}", unit=metric.unit, better=metric.better, chance=chance
        )
        columns = {
            "measure": [measure.name] * count,
            "item": list(scores.id_I),
            "source": list(scores.source_I),
            "value": metric.values(scores),
            "weight": np.ones(count),
        }
        yield measure, _items(pa.table(columns, schema=ITEMS))


def _items(table: pa.Table) -> pl.DataFrame:
    found = pl.from_arrow(table)
    assert isinstance(found, pl.DataFrame)
    return found
