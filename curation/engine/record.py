"""What a finished build keeps for people: its funnel, its errors, and where its columns lie."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.arrow import is_valid
from curation.engine.batch import StepCount
from curation.engine.plan import Phase, Plan, describe, step_facts
from curation.engine.view import ShardView
from curation.recipe import step_name
from curation.stage import ERROR, Shard
from curation.store import PartReader, Store, write_json

ERRORS = pa.schema(
    [
        pa.field("id", pa.large_string()),
        pa.field("step", pa.uint16()),
        pa.field("stage", pa.large_string()),
        pa.field("reason", pa.large_string()),
    ]
)


def total(tallies: Iterable[Mapping[str, Any]]) -> tuple[StepCount, dict[int, StepCount]]:
    """Add up the counts of shards: before the first step, and by step number."""
    before, steps = StepCount(), dict[int, StepCount]()
    for tally in tallies:
        if not tally:
            continue
        _add(before, tally["before"])
        for number, facts in tally["steps"].items():
            _add(steps.setdefault(int(number), StepCount()), facts)
    return before, steps


def _add(count: StepCount, facts: Mapping[str, int]) -> None:
    for name, value in facts.items():
        setattr(count, name, getattr(count, name) + value)


def write_record(store: Store, plan: Plan) -> None:
    """Write build.json and errors.parquet."""
    from curation.alarms import find_alarms

    notes = [list(_notes(store, plan, phase)) for phase in plan.phases]
    funnel = make_funnel(plan, notes)
    folder = store.build_folder(plan.fingerprint)
    folder.mkdir(parents=True, exist_ok=True)
    write_errors(store, plan, {row["step"] for row in funnel if row["errors"]})
    write_json(
        folder / "build.json",
        {
            "recipe": plan.recipe.origin,
            "source": describe(plan.source),
            "shards": [_shard_facts(shard) for shard in plan.shards],
            "steps": [step_facts(step) for phase in plan.phases for step in phase.steps],
            "funnel": funnel,
            "alarms": [vars(alarm) for alarm in find_alarms(store, plan, notes)],
            "outcomes": [
                {
                    "root": outcome.space.root,
                    "from_source": outcome.space.source,
                    "columns": list(outcome.columns.items()),  # a JSON object has no order
                    "selection": outcome.selection,
                }
                for outcome in plan.outcomes
            ],
        },
    )


def _shard_facts(shard: Shard) -> dict[str, object]:
    return {"key": shard.key, **dataclasses.asdict(shard)}


def make_funnel(
    plan: Plan, notes: Sequence[Sequence[Mapping[str, Any]]]
) -> list[dict[str, object]]:
    """Return, for the source and each step, what is left after it and what went at it.

    notes  for each phase, the tally of each shard; empty for a phase that drops nothing
    """
    rows: list[dict[str, object]] = []
    last = StepCount()
    for phase, tallies in zip(plan.phases, notes, strict=True):
        before, steps = total(tallies)
        if phase.reads_source:
            rows.append(_funnel_row(0, step_name(plan.source), str(plan.source), "", before))
            last = before
        for planned in phase.steps:
            facts = step_facts(planned)
            unchanged = dataclasses.replace(last, dropped=0, errors=0)
            last = steps.get(planned.number, unchanged)
            name, title, because = (str(facts[key]) for key in ("name", "title", "because"))
            rows.append(_funnel_row(planned.number, name, title, because, last))
    return rows


def _funnel_row(
    step: int, name: str, title: str, because: str, count: StepCount
) -> dict[str, object]:
    return {"step": step, "name": name, "title": title, "because": because, **vars(count)}


def _notes(store: Store, plan: Plan, phase: Phase) -> Iterator[dict[str, Any]]:
    if not phase.selection:
        return
    for shard in plan.shards:
        reader = PartReader(store.part(phase.selection, shard.key))
        yield reader.notes
        reader.close()


def write_errors(store: Store, plan: Plan, failing: Set[object]) -> None:
    """Write every row in error of the build: id, step, stage, reason.

    failing  numbers of the steps that have rows in error; the others are not looked through
    """
    folder = store.build_folder(plan.fingerprint)
    temporary = folder / "errors.parquet.tmp-0"
    with pq.ParquetWriter(temporary, ERRORS, compression="zstd") as writer:
        for phase in plan.phases:
            numbers = {step.number for step in phase.steps} | ({0} if phase.reads_source else set())
            if numbers & failing:
                for batch in _errors(store, plan, phase, plan.shards):
                    writer.write_batch(batch)
    temporary.rename(folder / "errors.parquet")


def rows_in_error(
    store: Store,
    plan: Plan,
    phase: Phase,
    facts: Mapping[str, Mapping[str, object]],
    at_most: int,
) -> list[str]:
    """Return a few rows in error of shards that are finished, as ``ID: reason``."""
    finished = facts.get(phase.selection, {})
    shards = [shard for shard in plan.shards if shard.key in finished]
    found: list[str] = []
    for batch in _errors(store, plan, phase, shards):
        for row in batch.slice(0, at_most).to_pylist():
            found.append(f"{row['id']}: {row['reason']}")
        if len(found) >= at_most:
            break
    return found[:at_most]


def _errors(
    store: Store, plan: Plan, phase: Phase, shards: Iterable[Shard]
) -> Iterator[pa.RecordBatch]:
    """Yield the error rows of a phase: those that reached the step and have an error there."""
    if phase.kind not in ("pass", "rewrite"):
        return
    for shard in shards:
        view = ShardView(store, plan.source, shard, phase.space)
        for index in range(len(view.sizes)):
            yield from _batch_errors(view, index, plan, phase)
        view.close()


def _batch_errors(
    view: ShardView, index: int, plan: Plan, phase: Phase
) -> Iterator[pa.RecordBatch]:
    selection = view.reader(phase.selection).read(index, ["step"])
    went_at = selection["step"].fill_null(np.iinfo(np.uint16).max).to_numpy()
    sources = [(0, step_name(plan.source), phase.space.root)] if phase.reads_source else []
    # a rewriter's own group holds its new rows: the errors of the old ones lie by their selection
    steps = [
        (s.number, step_name(s.step), phase.selection if phase.kind == "rewrite" else s.group)
        for s in phase.steps
        if s.group
    ]
    for number, name, group in [*sources, *steps]:
        errors = view.column(group, index, ERROR)
        if errors.null_count == len(errors):
            continue
        rows = np.flatnonzero(is_valid(errors) & (went_at >= number))
        where = pa.array(rows)
        ids = view.column(phase.space.root, index, "id").take(where)
        columns = [ids, pa.array([number] * len(rows), pa.uint16())]
        columns += [pa.array([name] * len(rows), pa.large_string()), errors.take(where)]
        yield pa.RecordBatch.from_arrays(columns, schema=ERRORS)
