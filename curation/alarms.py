"""What in a finished build is worth a second look, though nothing failed.

Four things tell a person that a recipe does not do what they think: a rule that drops nothing or
nearly everything, a step that yields no text for a whole source, a source most of whose rows are
found to repeat one single row, and a score that is the same for every row. They are looked for
once, at the end of a run, and kept in the build's record.

A rule is judged by the counts of its shards. Columns are judged over all rows that the store holds
a score for, those of earlier thresholds included. A row that a stage could not do has no score; of
a step that makes text it is a row without any.

Trade-off: statistics of the stored parts clear nearly every number, and the first batch nearly
every text; only a column that still looks constant is read to its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.arrow import is_valid, to_column, values_of
from curation.columns import COLUMNS
from curation.engine.plan import PAYLOAD, Phase, Plan, PlannedStep
from curation.recipe import Keep, KeepBest, Sample, step_name
from curation.stage import BATCH_ROWS, ERROR, Annotator, Reducer, Shard, Source
from curation.store import WHOLE, PartReader, Store

#: A rule or a score says something about the recipe from so many rows on.
ALARM_MIN_ROWS = 100
#: A source, or a shard, that yields no text is told from so many rows on.
ALARM_MIN_TEXT_ROWS = 20
#: A rule that drops more than this share of the rows that reach it is told.
ALARM_DROP_FRAC = 0.95
#: So many shards or sources are named in a line.
ALARM_LISTED = 3

#: What a step that looks for copies says of a row.
_GROUP = ("duplicate_of", "group_size", "duplicate_in")
#: Columns that are not judged as scores: text, and what is null for all where nothing asks for it.
_UNTOLD = ("text", "duplicate_in")
#: Columns whose names end so are what a row has cost: one request for each is as it should be.
_SPENT = ("_request_count", "_prompt_tokens", "_completion_tokens")
#: Characters of a rule or a value that are shown, and files of a shard.
_SHOWN_CHARS = 100
_SHOWN_FILES = 2

Kind = Literal["drops nothing", "drops nearly all", "yields no text", "one group", "constant"]
#: Counts of one shard as its selection part notes them: before the first step, and after each.
Tally = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """One hint; ``str`` is the line that a person sees.

    step    number of the step in the recipe
    stage   the rule as the recipe shows it, or the name of the stage
    column  the column that is constant; "" for other kinds
    shard   key of the shard where it shows best; "" where it is not about shards
    """

    kind: Kind
    step: int
    stage: str
    message: str
    column: str = ""
    shard: str = ""

    def __str__(self) -> str:
        return f"warning: step {self.step} {self.stage} {self.message}"


def summarize(alarms: Sequence[Alarm]) -> list[str]:
    """Return the lines that ``show`` prints: what looks wrong first, likes together.

    Rules that drop nothing share a line, as do a step's columns that hold the same one value.
    """
    idle = [alarm for alarm in alarms if alarm.kind == "drops nothing"]
    lines = [str(a) for a in alarms if a.kind not in ("drops nothing", "constant")]
    if len(idle) > 1:
        rules = "; ".join(f"step {alarm.step} {alarm.stage.rstrip(',')}" for alarm in idle)
        lines.append(f"warning: {len(idle)} rules drop nothing: {rules}")
    else:
        lines += [str(alarm) for alarm in idle]
    alike: dict[tuple[int, str, str], list[str]] = {}
    for alarm in alarms:
        if alarm.kind == "constant":
            value = alarm.message.removeprefix(f"writes {alarm.column}: ")
            alike.setdefault((alarm.step, alarm.stage, value), []).append(alarm.column)
    for (step, stage, value), columns in alike.items():
        lines.append(f"warning: step {step} {stage} writes {', '.join(columns)}: {value}")
    return lines


def find_alarms(store: Store, plan: Plan, notes: Sequence[Sequence[Tally]]) -> list[Alarm]:
    """Return the alarms of a plan whose parts are all there, in the order of its steps.

    notes  for each phase, the tally of each shard; empty for a phase that drops nothing
    """
    found: list[Alarm] = []
    told = _Silent(set(), set())
    for phase, tallies in zip(plan.phases, notes, strict=True):
        for planned in phase.steps:
            step = planned.step
            if isinstance(step, Keep | KeepBest | Sample):
                found += _rule_alarms(plan, planned, tallies)
            elif isinstance(step, Annotator | Reducer):
                if "text" in step.writes.names and isinstance(step, Annotator):
                    found += _TextYield(store, plan, phase, planned).alarms(told)
                if {"duplicate_of", "group_size"} <= {*step.writes.names}:
                    found += _group_alarms(store, plan, phase, planned)
                found += _constant_alarms(store, plan, planned)
    return found


# ---------------------------------------------------------------- rules


def _rule_alarms(plan: Plan, planned: PlannedStep, tallies: Sequence[Tally]) -> Iterator[Alarm]:
    """Yield what is odd about a rule: over the whole build, or else in single shards."""
    counts = [tally["steps"][str(planned.number)] for tally in tallies]
    dropped = [count["dropped"] for count in counts]
    reached = [count["dropped"] + count["rows"] for count in counts]
    rows, gone = sum(reached), sum(dropped)
    if rows < ALARM_MIN_ROWS:
        return
    if gone == 0:
        yield _rule_alarm(planned, "drops nothing", f"drops none of the {rows:,} rows")
    elif isinstance(planned.step, Sample):
        return  # it drops the share that it was told to
    elif gone > ALARM_DROP_FRAC * rows:
        worst = max(range(len(dropped)), key=lambda at: dropped[at])
        share = f"drops {_percent(gone, rows)} of the {rows:,} rows, most of them in "
        place = _place(plan.shards[worst])
        yield _rule_alarm(planned, "drops nearly all", share + place, plan.shards[worst].key)
    else:
        many = [
            (gone / rows, f"{_percent(gone, rows)} of {rows:,} rows in", shard)
            for gone, rows, shard in zip(dropped, reached, plan.shards, strict=True)
            if rows >= ALARM_MIN_ROWS and gone > ALARM_DROP_FRAC * rows
        ]
        if many:
            many.sort(key=lambda item: -item[0])  # stable: equals stay in the order of the input
            listed = _listed(f"{what} {_place(shard)}" for _, what, shard in many)
            yield _rule_alarm(
                planned,
                "drops nearly all",
                f"drops over {100 * ALARM_DROP_FRAC:.0f} % in {len(many):,} of "
                f"{len(plan.shards):,} shards, not over all: {listed}",
                many[0][2].key,
            )


def _rule_alarm(planned: PlannedStep, kind: Kind, message: str, shard: str = "") -> Alarm:
    step = planned.step
    assert isinstance(step, Keep | KeepBest | Sample)
    shown = f'{_cut(str(step))}, "{_cut(step.because)}",'
    return Alarm(kind=kind, step=planned.number, stage=shown, message=message, shard=shard)


# ---------------------------------------------------------------- steps that make text


@dataclass
class _Silent:
    """Sources and shards told already: a later step that passes their nothing on is not to blame.

    sources  values of ``source``
    shards   keys
    """

    sources: set[str | None]
    shards: set[str]


class _TextYield:
    """How many rows of each source have text after a step that writes text."""

    def __init__(self, store: Store, plan: Plan, phase: Phase, planned: PlannedStep) -> None:
        self.store, self.plan, self.planned = store, plan, planned
        self.root = phase.space.root
        #: source → rows so far without any text, and the first shard that has some of them
        self.barren: dict[str | None, tuple[int, Shard]] = {}
        self.fruitful: set[str | None] = set()
        #: shards without any text: source → rows
        self.empty: dict[str, dict[str | None, int]] = {}

    def alarms(self, told: _Silent) -> Iterator[Alarm]:
        """Yield what is odd about the step and has not been told of an earlier one."""
        for shard in self.plan.shards:
            if _gives(self.plan.source, shard, self.planned):
                self._add(shard)
        sources = [
            (rows, source, shard)
            for source, (rows, shard) in self.barren.items()
            if rows >= ALARM_MIN_TEXT_ROWS and source not in told.sources
        ]
        told.sources |= {source for _, source, _ in sources}
        if sources:
            yield self._sources(sources)
        shards = [(self._untold(shard, told), shard) for shard in self.plan.shards]
        shards = [(rows, shard) for rows, shard in shards if rows >= ALARM_MIN_TEXT_ROWS]
        told.shards |= {shard.key for _, shard in shards}
        if shards:
            yield self._shards(shards)

    def _add(self, shard: Shard) -> None:
        path = self.store.part(self.planned.group, shard.key)
        has_text = any(most for _, _, most in _ranges(path, ["bytes"]))
        names = _column(self.store.part(self.root, shard.key), "source")
        present = set(pc.unique(names).to_pylist())
        if has_text and present <= self.fruitful:
            return
        rows, texts = _count_texts(path, names)
        self.fruitful |= texts
        for source in [*self.barren]:
            if source in texts:
                del self.barren[source]
        for source, count in rows.items():
            if source not in self.fruitful:
                before, first = self.barren.get(source, (0, shard))
                self.barren[source] = (before + count, first)
        if not texts:
            self.empty[shard.key] = rows

    def _untold(self, shard: Shard, told: _Silent) -> int:
        rows = self.empty.get(shard.key, {})
        if shard.key in told.shards:
            return 0
        return sum(count for source, count in rows.items() if source not in told.sources)

    def _sources(self, found: list[tuple[int, str | None, Shard]]) -> Alarm:
        found.sort(key=lambda item: -item[0])
        listed = _listed(
            f"{_shown(source)} ({rows:,} rows, such as in {_place(shard)})"
            for rows, source, shard in found
        )
        many = "source" if len(found) == 1 else f"{len(found):,} sources:"
        return self._alarm(f"yields no text for the {many} {listed}", found[0][2])

    def _shards(self, found: list[tuple[int, Shard]]) -> Alarm:
        found.sort(key=lambda item: -item[0])
        listed = _listed(f"{rows:,} rows in {_place(shard)}" for rows, shard in found)
        of = f"{len(found):,} of {len(self.plan.shards):,} shards"
        return self._alarm(f"yields no text in {of}: {listed}", found[0][1])

    def _alarm(self, message: str, shard: Shard) -> Alarm:
        return Alarm(
            kind="yields no text",
            step=self.planned.number,
            stage=_cut(step_name(self.planned.step)),
            message=message,
            column="text",
            shard=shard.key,
        )


def _gives(source: Source, shard: Shard, planned: PlannedStep) -> bool:
    """Tell whether a shard's source hands on any of the payload that a step works on.

    A step that reads PDF files finds nothing in a member of a union that holds pages, rightly.
    """
    from curation.sources.union import Union

    wanted = {
        name
        for name, group in planned.reads.items()
        if group.startswith(PAYLOAD) and name in planned.step.reads
    }
    member = source.sources[shard.part] if isinstance(source, Union) else source
    return not wanted or bool(wanted & set(member.payload.names))


def _count_texts(path: Path, names: pa.Array) -> tuple[dict[str | None, int], set[str | None]]:
    """Return each source's rows that a step was given, and the sources with any text.

    names  the source of each row
    """
    reader = PartReader(path)
    batch = reader.read(WHOLE, ["scored", "bytes"])
    reader.close()
    scored = values_of(batch["scored"])
    filled = scored & is_valid(batch["bytes"]) & (values_of(batch["bytes"]) > 0)
    counts = names.filter(to_column(scored)).value_counts().to_pylist()
    texts = set(pc.unique(names.filter(to_column(filled))).to_pylist())
    return {item["values"]: item["counts"] for item in counts}, texts


# ---------------------------------------------------------------- groups


def _group_alarms(store: Store, plan: Plan, phase: Phase, planned: PlannedStep) -> Iterator[Alarm]:
    """Yield the sources that lose more than half of their rows to one group."""
    counts = [
        batch.group_by("source").len("rows")
        for batch in _twins(store, plan, phase, planned, ["source"])
    ]
    rows = pl.concat(counts).group_by("source").agg(pl.col("rows").sum())
    rows = rows.filter(pl.col("rows") >= ALARM_MIN_ROWS)
    if rows.is_empty():
        return
    # only a group of so many rows can be the one: few are, and only theirs are counted
    large = [
        batch.join(rows, on="source", nulls_equal=True)
        .filter(pl.col("duplicate_of").is_not_null())
        # of a group in an index of an earlier build the size is not known
        .filter((2 * pl.col("group_size") > pl.col("rows")) | pl.col("duplicate_in").is_not_null())
        .group_by("source", "duplicate_of", "rows")
        .len("lost")
        for batch in _twins(store, plan, phase, planned, ["source", *_GROUP])
    ]
    found = (
        pl.concat(large)
        .group_by("source", "duplicate_of", "rows")
        .agg(pl.col("lost").sum())
        .filter(2 * pl.col("lost") > pl.col("rows"))
        .sort("lost", "source", descending=[True, False])
    )
    if found.is_empty():
        return
    listed = _listed(
        f"{_shown(row['source'])} ({row['lost']:,} of {row['rows']:,} rows repeat "
        f"{_cut(row['duplicate_of'])})"
        for row in found.iter_rows(named=True)
    )
    many = "the source" if len(found) == 1 else f"{len(found):,} sources:"
    yield Alarm(
        kind="one group",
        step=planned.number,
        stage=_cut(step_name(planned.step)),
        message=f"finds more than half of {many} {listed} in one group",
        column="duplicate_of",
    )


def _twins(
    store: Store, plan: Plan, phase: Phase, planned: PlannedStep, names: Sequence[str]
) -> Iterator[pl.DataFrame]:
    """Yield, shard by shard, the source of the rows that a reducer saw and what it wrote."""
    for key in plan.keys:
        reader = PartReader(store.part(planned.group, key))
        present = [name for name in names if name in reader.names]
        made = reader.read(WHOLE, ["scored", *present])
        reader.close()
        columns = {name: pa.nulls(len(made), COLUMNS[name][0]) for name in names}
        columns["source"] = _column(store.part(phase.space.root, key), "source")
        columns |= {name: made[name] for name in present}
        frame = pl.DataFrame({name: pl.from_arrow(column) for name, column in columns.items()})
        yield frame.filter(pl.from_arrow(made["scored"]))


# ---------------------------------------------------------------- scores


def _constant_alarms(store: Store, plan: Plan, planned: PlannedStep) -> Iterator[Alarm]:
    """Yield the columns of numbers, truth values or short texts that hold one single value."""
    assert isinstance(planned.step, Annotator | Reducer)
    paths = [store.part(planned.group, key) for key in plan.keys]
    fields = [
        f for f in planned.step.writes if f.name not in _UNTOLD and not f.name.endswith(_SPENT)
    ]
    numbers = {f.name for f in fields if _is_number(f.type)}
    suspects = _not_cleared(paths, numbers)
    for f in fields:
        if f.name in suspects or pa.types.is_string(f.type) or pa.types.is_large_string(f.type):
            rows, value = _single_value(paths, f.name)
            if rows >= ALARM_MIN_ROWS:
                yield Alarm(
                    kind="constant",
                    step=planned.number,
                    stage=_cut(step_name(planned.step)),
                    message=f"writes {f.name}: {_meaning(value, rows)}",
                    column=f.name,
                )


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    )


def _not_cleared(paths: Iterable[Path], names: set[str]) -> set[str]:
    """Return the columns that, by the statistics of their parts, may hold one single value."""
    ends: dict[str, set[Any]] = {name: set() for name in names}
    for path in paths:
        for name, *both in _ranges(path, [*ends]):
            if name in ends:
                ends[name].update(both)
                if len(ends[name]) > 1:
                    del ends[name]
        if not ends:
            break
    return set(ends)


def _single_value(paths: Iterable[Path], name: str) -> tuple[int, Any]:
    """Return how many rows have been scored, and the one value of them all; 0 where it varies.

    Null is a value, and so is NaN.
    """
    rows, seen = 0, set[Any]()
    for path in paths:
        with pq.ParquetFile(path, pre_buffer=False) as file:  # a part's row groups may be many
            names = [name, "scored", ERROR]
            for batch in file.iter_batches(BATCH_ROWS, columns=names, use_threads=False):
                judged = values_of(batch["scored"]) & ~is_valid(batch[ERROR])
                values = batch[name].filter(to_column(judged))
                rows += len(values)
                seen |= {"NaN" if v != v else v for v in pc.unique(values).to_pylist()}
                if len(seen) > 1:
                    return 0, None
    return rows, next(iter(seen), None)


def _meaning(value: Any, rows: int) -> str:
    if value is None:
        return f"null for all {rows:,} rows scored, so it marks no row"
    return f"{_shown(value)} for all {rows:,} rows scored, so it tells none from another"


# ---------------------------------------------------------------- parts


def _ranges(path: Path, names: Iterable[str]) -> Iterator[tuple[str, Any, Any]]:
    """Yield a column, its least and its greatest value for each row group where it has any."""
    meta = pq.read_metadata(path)
    places = {meta.schema.column(at).path: at for at in range(meta.num_columns)}
    for name in names:
        for index in range(meta.num_row_groups):
            statistics = meta.row_group(index).column(places[name]).statistics
            if statistics is not None and statistics.has_min_max:
                yield name, statistics.min, statistics.max


def _column(path: Path, name: str) -> pa.Array:
    reader = PartReader(path)
    try:
        return reader.read(WHOLE, [name])[name]
    finally:
        reader.close()


# ---------------------------------------------------------------- words


def _percent(part: int, whole: int) -> str:
    """Return ``97.3 %``, and never a round 100 % of what is not all."""
    return "100 %" if part == whole else f"{min(1000 * part // whole, 999) / 10:.1f} %"


def _listed(items: Iterable[str]) -> str:
    found = list(items)
    more = [f"and {len(found) - ALARM_LISTED:,} more"] if len(found) > ALARM_LISTED else []
    return ", ".join([*found[:ALARM_LISTED], *more])


def _place(shard: Shard) -> str:
    """Return a shard's key and the names of its files."""
    names = list(dict.fromkeys(_cut(span.name) for span in shard.spans))
    if len(names) > _SHOWN_FILES:
        names[1:] = [f"and {len(names) - 1:,} more"]
    return f"shard {shard.key} ({', '.join(names)})"


def _shown(value: Any) -> str:
    if isinstance(value, str) and value != "NaN":
        return f"'{_cut(value)}'"
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _cut(text: str) -> str:
    """Return a text as one line, and not a long one."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _SHOWN_CHARS else f"{line[: _SHOWN_CHARS - 1]}…"
