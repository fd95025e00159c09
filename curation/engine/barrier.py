"""Steps that look at all rows before any of them can go on: reducers and selections by rank."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curation.arrow import Rebatch
from curation.columns import COLUMNS
from curation.engine.batch import BatchState, StepCount, Tally
from curation.engine.best import Ranked, at_least, find_threshold, ranked
from curation.engine.guard import Watch
from curation.engine.plan import SELECTION, Phase, Plan, PlannedStep
from curation.engine.view import BatchColumns, ShardView, spread
from curation.errors import RecipeError
from curation.recipe import KeepBest, Sample, step_name
from curation.stage import ERROR, Reducer, Stage
from curation.store import PartWriter, Store, part_facts

#: group → shard key → the manifest's facts of the part written
Facts = dict[str, dict[str, dict[str, object]]]


class SurvivingRows:
    """The rows that are there before a phase; satisfies ``stage.Rows``."""

    def __init__(self, store: Store, plan: Plan, phase: Phase, watch: Watch, scratch: Path) -> None:
        self.store, self.plan, self.phase, self.watch = store, plan, phase, watch
        self.scratch = scratch
        self.step: PlannedStep = phase.steps[0]
        self.notes: dict[str, object] = {}

    @cached_property
    def count(self) -> int:
        """How many rows there are: a pass over the selection, for those who ask."""
        return sum(len(state.rows) for _, states in self.shards() for state in states)

    def shards(self) -> Iterator[tuple[str, Iterator[BatchState]]]:
        """Yield each shard's key and the states of its batches."""
        for shard in self.plan.shards:
            view = ShardView(self.store, self.plan.source, shard, self.phase.space)
            yield shard.key, self._states(view)
            view.close()

    def _states(self, view: ShardView) -> Iterator[BatchState]:
        for index, count in enumerate(view.sizes):
            self.watch.at(self.step.number, index)
            columns = BatchColumns(view, index, count)
            state = BatchState.before(self.phase, columns)
            columns.payload_rows = state.chosen(state.rows)
            yield state

    def batches(self, *names: str) -> Iterator[pa.RecordBatch]:
        """Yield the named columns of all rows in source order."""
        for _, states in self.shards():
            for state in states:
                if len(state.rows):
                    batch = self.columns(state, names)
                    yield batch
                    # a reducer may read all rows more than once, and each reading counts
                    self.watch.done(len(batch), batch.nbytes)

    def maker(self, name: str) -> Stage | None:
        """Return the stage that a column comes from."""
        if name not in self.step.reads:
            return None
        steps = (step for phase in self.plan.phases for step in phase.steps)
        made = (step.step for step in steps if step.group == self.step.reads[name])
        found = next(made, self.plan.source)
        assert isinstance(found, Stage)
        return found

    def note(self, **facts: object) -> None:
        """Keep facts for the footer of every part, from where they go into the manifest."""
        self.notes.update(facts)

    def columns(self, state: BatchState, names: tuple[str, ...]) -> pa.RecordBatch:
        """Return the named columns of one batch's rows that are there.

        A column that the step may read and no step writes is null.
        """
        chosen = state.chosen(state.rows)
        arrays = [
            state.columns.get(self.step.reads[name], name, chosen)
            if name in self.step.reads
            else pa.nulls(len(state.rows), COLUMNS[name][0])
            for name in names
        ]
        return pa.RecordBatch.from_arrays(arrays, names=list(names))


def run_reduce(store: Store, plan: Plan, phase: Phase, watch: Watch) -> Facts:
    """Run a reducer over all rows and write its column group, row-aligned, shard by shard."""
    step = phase.steps[0]
    stage = step.step
    assert isinstance(stage, Reducer)
    scratch = store.path / step.group / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    schema = plan.schemas[step.group]
    try:
        rows = SurvivingRows(store, plan, phase, watch, scratch)
        made = Refill(stage.reduce(rows), stage, step.number)

        def reduced(state: BatchState) -> pa.RecordBatch:
            fresh, count = state.rows, state.columns.rows
            batch = made.take(len(fresh))
            scored = np.zeros(count, dtype=np.bool_)
            scored[fresh] = True
            fields = {n: spread(batch[n], fresh, count) for n in stage.writes.names}
            fields |= {"scored": pa.array(scored), ERROR: pa.nulls(count, pa.large_string())}
            return pa.RecordBatch.from_arrays([fields[n] for n in schema.names], schema=schema)

        facts = {
            key: _write_part(
                store.part(step.group, key), schema, states, reduced, lambda: rows.notes
            )
            for key, states in rows.shards()
        }
        made.finish()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return {step.group: facts}


class Refill:
    """Cuts a reducer's output, in batches of any size, into pieces of the sizes asked for."""

    def __init__(self, batches: Iterator[pa.RecordBatch], stage: Reducer, number: int) -> None:
        self._batches, self._stage, self._number = Rebatch(batches), stage, number

    def take(self, count: int) -> pa.RecordBatch:
        """Return the next ``count`` rows; RecipeError if there are none or they are misshapen."""
        pieces = self._batches.take(count)
        for piece in pieces:
            if piece.schema.names != self._stage.writes.names:
                raise self._misshapen(str(piece.schema.names))
        if sum(map(len, pieces)) < count:
            raise self._misshapen("fewer rows")
        empty = pa.RecordBatch.from_pylist([], schema=self._stage.writes)
        return pa.concat_batches([piece.cast(empty.schema) for piece in pieces] or [empty])

    def finish(self) -> None:
        """Check that nothing is left over."""
        if any(map(len, self._batches.take(1))):
            raise self._misshapen("more rows")

    def _misshapen(self, found: str) -> RecipeError:
        return RecipeError(
            f"step {self._number} {step_name(self._stage)} did not return what it declares.",
            declared=f"one row of {', '.join(self._stage.writes.names)} for each row it was given",
            found=found,
            remedy="see curation.testing.check_stage",
        )


def run_best(store: Store, plan: Plan, phase: Phase, watch: Watch) -> Facts:
    """Find what fits the budget and write the selection, shard by shard."""
    step = phase.steps[0]
    rule = step.step
    assert isinstance(rule, KeepBest | Sample)
    rows = SurvivingRows(store, plan, phase, watch, store.path)

    def all_ranked() -> Iterator[Ranked]:
        for batch in rows.batches(*rule.reads):
            yield ranked(batch, rule)[1]

    budget = rule.budget if isinstance(rule, KeepBest) else rule.documents
    assert budget is not None
    threshold = find_threshold(all_ranked, budget)

    def selected(state: BatchState, tally: Tally) -> pa.RecordBatch:
        if len(state.rows):
            able, (rank, _) = ranked(rows.columns(state, rule.reads), rule)
            able[able] = at_least(rank, threshold)
            passing = np.zeros(state.columns.rows, dtype=np.bool_)
            passing[state.rows] = able
            tally.steps[step.number].dropped += state.keep(passing, step.number, rule.because)
        state.count(tally.steps[step.number])
        return state.selection()

    return {phase.selection: _write_selection(store, phase, rows, selected)}


def _write_selection(
    store: Store,
    phase: Phase,
    rows: SurvivingRows,
    selected: Callable[[BatchState, Tally], pa.RecordBatch],
) -> dict[str, dict[str, object]]:
    facts = {}
    for key, states in rows.shards():
        tally = Tally(steps={rows.step.number: StepCount()})
        facts[key] = _write_part(
            store.part(phase.selection, key),
            SELECTION,
            states,
            lambda state, tally=tally: selected(state, tally),  # type: ignore[misc]
            tally.facts,
        )
    return facts


def _write_part(
    path: Path,
    schema: pa.Schema,
    states: Iterator[BatchState],
    make: Callable[[BatchState], pa.RecordBatch],
    notes: Callable[[], dict[str, Any]],
) -> dict[str, object]:
    writer = PartWriter(path, schema)
    try:
        for state in states:
            writer.write(make(state))
        writer.note(notes())
        writer.close()
    except BaseException:
        writer.abort()
        raise
    return part_facts(path)
