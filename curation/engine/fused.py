"""The fused pass: a shard's batches go through consecutive annotators and keeps once.

For each batch, each annotator is given the rows that are still there and that no earlier run has
scored; its column group is written at once, row-aligned. Where every row it needs is scored
already, its part is left as it is and its values are read only if a rule asks for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from curation.arrow import Bool_N, is_valid, to_column, values_of
from curation.columns import COLUMNS
from curation.engine.batch import BatchState, StepCount, Tally
from curation.engine.best import sampled
from curation.engine.guard import Call, Watch, run_guarded
from curation.engine.plan import PAYLOAD, SELECTION, Phase, Plan, PlannedStep
from curation.engine.view import (
    BatchColumns,
    Positions,
    ShardView,
    as_mask,
    overlay,
    spread,
)
from curation.recipe import Keep, Sample, step_name
from curation.stage import ERROR, Annotator, Shard
from curation.store import WHOLE, PartReader, PartWriter, Store, part_facts

#: Why a row went that a stage could not do.
ERROR_REASON = "error in {}"


class MustComputeError(Exception):
    """A row needs a stage's work, and the caller asked for selections only."""


class GroupPart:
    """A group's part of a shard while a pass goes over it.

    It is opened for writing when the first batch has a row to score; the batches before it, which
    an earlier run has scored, are copied then.
    """

    def __init__(self, store: Store, group: str, shard: Shard, schema: pa.Schema) -> None:
        self.group, self.schema = group, schema
        self._store, self._shard = store, shard
        newest = store.newest_part(group, shard.key)
        self.earlier = PartReader(newest) if newest else None
        self._writer: PartWriter | None = None

    def read(self, index: int, names: list[str]) -> pa.RecordBatch:
        """Return columns that an earlier run wrote."""
        assert self.earlier is not None
        return self.earlier.read(index, names)

    def scored(self, index: int, count: int) -> Bool_N:
        """Return bool[N]: which rows of a batch an earlier run has scored."""
        if self.earlier is None:
            return np.zeros(count, dtype=np.bool_)
        return as_mask(self.read(index, ["scored"])["scored"])

    def write(self, index: int, batch: pa.RecordBatch) -> None:
        """Write one batch, row-aligned; batches come in order."""
        if self._writer is None:
            self._open()
            for before in range(index):
                self.copy(before)
        assert self._writer is not None
        self._writer.write(batch)

    def copy(self, index: int) -> None:
        """Take a batch over from the earlier part, if a new part is being written."""
        if self._writer is not None:
            self._writer.write(self.read(index, self.schema.names))

    def _open(self) -> None:
        path = self._store.part_to_write(self.group, self._shard.key)
        self._writer = PartWriter(path, self.schema)

    def close(self) -> Path | None:
        """Put the new part in place, if there is one, and return where it is."""
        if self.earlier is None and self._writer is None:
            self._open()  # a shard without rows
        if self.earlier is not None:
            self.earlier.close()
        if self._writer is None:
            return None
        self._writer.close()
        return self._store.newest_part(self.group, self._shard.key)

    def abort(self) -> None:
        """Throw the new part away."""
        if self._writer is not None:
            self._writer.abort()


class FusedPass:
    """One pass over one shard.

    compute  False for a changed threshold: all batches are taken as one, for only small columns
             are read, and MustComputeError is raised where a stage would have to be called
    """

    def __init__(
        self, store: Store, plan: Plan, phase: Phase, shard: Shard, *, compute: bool = True
    ) -> None:
        self.plan, self.phase, self.shard, self.store = plan, phase, shard, store
        self.compute = compute
        self.view = ShardView(store, plan.source, shard, phase.space)
        self.parts = {
            step.group: GroupPart(store, step.group, shard, plan.schemas[step.group])
            for step in phase.steps
            if step.group
        }
        root = phase.space.root
        reads = phase.reads_source and not store.newest_part(root, shard.key)
        self.root = GroupPart(store, root, shard, plan.schemas[root]) if reads else None
        self.tally = Tally(steps={step.number: StepCount() for step in phase.steps})

    def run(self, watch: Watch) -> dict[str, dict[str, object]]:
        """Do the shard; return the manifest's facts of the parts written, by group."""
        if not self.compute and (self.root is not None or self._rules_read_text()):
            raise MustComputeError
        selection = PartWriter(self.store.part(self.phase.selection, self.shard.key), SELECTION)
        parts = [*([self.root] if self.root else []), *self.parts.values()]
        try:
            for columns in self._batches(watch):
                selected = self._one_batch(columns, watch)
                for batch in self._as_stored(selected):
                    selection.write(batch)
            written = {part.group: part.close() for part in parts}
            selection.note(self.tally.facts())
            selection.close()
        except BaseException:
            selection.abort()
            for part in parts:
                part.abort()
            raise
        finally:
            self.view.close()
        written[self.phase.selection] = selection.path
        return {group: part_facts(path) for group, path in written.items() if path is not None}

    def _rules_read_text(self) -> bool:
        reads = {name for step in self.phase.steps if not step.group for name in step.reads}
        return bool(reads & {"text", "html", "pdf"})

    # ---- batches

    def _batches(self, watch: Watch) -> Iterator[BatchColumns]:
        if self.root is not None:
            yield from self._read_source(self.root, watch)
            return
        if not self.compute:
            yield BatchColumns(self.view, WHOLE, sum(self.view.sizes))
            return
        for index, count in enumerate(self.view.sizes):
            yield BatchColumns(self.view, index, count)

    def _as_stored(self, selected: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Cut what was taken as one batch into the batches of the shard."""
        if self.compute:
            yield selected
            return
        start = 0
        for count in self.view.sizes:
            yield selected.slice(start, count)
            start += count

    def _read_source(self, root: GroupPart, watch: Watch) -> Iterator[BatchColumns]:
        """Read the source, store where its rows come from, and hand its payload on."""
        source = self.plan.source
        watch.at(0, 0)
        for index, batch in enumerate(first_rows(source.read(self.shard), self.shard.limit)):
            columns = BatchColumns(self.view, index, batch.num_rows)
            for name in source.payload.names:
                columns.put(PAYLOAD, name, batch[name])
            sizes = payload_bytes(batch, source.payload.names)
            stored = [sizes if f.name == "bytes" else batch[f.name] for f in root.schema]
            for name, array in zip(root.schema.names, stored, strict=True):
                columns.put(root.group, name, array)
            root.write(index, pa.RecordBatch.from_arrays(stored, schema=root.schema))
            yield columns
            watch.at(0, index + 1)

    def _one_batch(self, columns: BatchColumns, watch: Watch) -> pa.RecordBatch:
        state = BatchState.before(self.phase, columns)
        if not self.phase.before:
            self._drop_source_errors(state)
        state.count(self.tally.before)
        if self.root is None:
            state.want_payload(self._payload_wanted(columns))
        for step in self.phase.steps:
            count = self.tally.steps[step.number]
            if isinstance(step.step, Annotator):
                count.errors += self._annotate(step, step.step, state, watch)
            else:
                assert isinstance(step.step, Keep | Sample)
                passing = self._passing(step, step.step, state)
                count.dropped += state.keep(passing, step.number, step.step.because)
            state.count(count)
        watch.done(columns.rows, int(state.sizes.sum()))
        return state.selection()

    def _drop_source_errors(self, state: BatchState) -> None:
        errors = state.columns.get(self.phase.space.root, ERROR, None)
        if errors.null_count < len(errors):
            reason = ERROR_REASON.format(step_name(self.plan.source))
            self.tally.before.errors += state.keep(as_mask(errors.is_null()), 0, reason)

    def _payload_wanted(self, columns: BatchColumns) -> Bool_N:
        """Return bool[N]: rows whose payload a step of this pass may have to read again."""
        wanted = np.zeros(columns.rows, dtype=np.bool_)
        for step in self.phase.steps:
            if any(group.startswith(PAYLOAD) for group in step.reads.values()):
                part = self.parts.get(step.group)
                wanted |= ~part.scored(columns.index, columns.rows) if part else True
        return wanted

    # ---- an annotator

    def _annotate(
        self, step: PlannedStep, stage: Annotator, state: BatchState, watch: Watch
    ) -> int:
        """Score the rows that need it; return how many of the rows still there are in error."""
        part, index = self.parts[step.group], state.columns.index
        scored = part.scored(index, state.columns.rows)
        fresh = state.rows[~scored[state.rows]]
        noted = [name for name in (ERROR, "bytes") if name in part.schema.names]
        if len(fresh) == 0 and part.earlier is not None:
            part.copy(index)
            notes = part.read(index, noted)
        elif len(fresh) and not self.compute:
            raise MustComputeError
        else:
            notes = self._score(step, stage, state, fresh, watch).select(noted)
        if "bytes" in noted:
            state.weigh(notes["bytes"])
        failed = is_valid(notes[ERROR])
        found = int(failed[state.rows].sum())
        if found and self.plan.recipe.on_error == "drop":
            state.keep(~failed, step.number, ERROR_REASON.format(step_name(stage)))
        return found

    def _score(
        self,
        step: PlannedStep,
        stage: Annotator,
        state: BatchState,
        fresh: Positions,
        watch: Watch,
    ) -> pa.RecordBatch:
        """Call the stage on rows never scored; write, hold and return the batch of its group."""
        part, columns = self.parts[step.group], state.columns
        given = self._inputs(step, stage, state, fresh)
        call = Call(
            stage.annotate, stage.writes, step_name(stage), step.number, columns.index, fresh
        )
        made, errors = run_guarded(call, given, watch)
        fields = dict(zip(stage.writes.names, made.columns, strict=True))
        fields |= {"scored": to_column(np.ones(len(fresh), dtype=np.bool_)), ERROR: errors}
        if "text" in fields:
            fields["bytes"] = payload_bytes(made, ["text"])
        full = {
            name: self._aligned(part, columns, name, fields[name], fresh)
            for name in part.schema.names
        }
        for name in stage.writes.names:
            if part.earlier is None:
                columns.put(step.group, name, fields[name], state.chosen(fresh))
            else:
                columns.put(step.group, name, full[name])
        batch = pa.RecordBatch.from_arrays(list(full.values()), schema=part.schema)
        part.write(columns.index, batch)
        return batch

    def _inputs(
        self, step: PlannedStep, stage: Annotator, state: BatchState, fresh: Positions
    ) -> pa.RecordBatch:
        state.offer_payload()
        names = list(dict.fromkeys((*stage.reads, *stage.may_read)))
        whole = state.chosen(fresh)
        narrow = len(fresh) == len(state.rows)
        arrays = [
            state.columns.get(step.reads[name], name, whole, narrow=narrow)
            if name in step.reads
            else pa.nulls(len(fresh), COLUMNS[name][0])
            for name in names
        ]
        return pa.RecordBatch.from_arrays(arrays, names=names)

    def _aligned(
        self, part: GroupPart, columns: BatchColumns, name: str, new: pa.Array, fresh: Positions
    ) -> pa.Array:
        """Return a column with the new values in their rows and the earlier ones in the others."""
        if part.earlier is not None:
            return overlay(part.read(columns.index, [name])[name], new, fresh)
        full = spread(new, fresh, columns.rows)
        return to_column(as_mask(full)) if name == "scored" else full

    # ---- a rule

    def _passing(self, step: PlannedStep, rule: Keep | Sample, state: BatchState) -> Bool_N:
        """Return bool[N]: which rows pass; false for those that are gone."""
        state.offer_payload()
        passing = np.zeros(state.columns.rows, dtype=np.bool_)
        if len(state.rows):
            batch = state.columns.batch(step.reads, state.chosen(state.rows))
            passing[state.rows] = (
                sampled(batch["id"], rule) if isinstance(rule, Sample) else _true(batch, rule)
            )
        return passing


def _true(batch: pa.RecordBatch, keep: Keep) -> Bool_N:
    frame = pl.DataFrame(batch)
    verdict: Bool_N = frame.select(keep.rule.fill_null(False)).to_series().to_numpy()
    return verdict


def first_rows(batches: Iterator[pa.RecordBatch], limit: int) -> Iterator[pa.RecordBatch]:
    """Yield batches until so many rows have come, the last one cut; -1 for all of them."""
    left = limit
    for batch in batches:
        yield batch if limit < 0 else batch.slice(0, left)
        left -= batch.num_rows
        if limit >= 0 and left <= 0:
            return


def payload_bytes(batch: pa.RecordBatch, names: list[str]) -> pa.Array:
    """Return uint64[N]: how many bytes of payload each row has."""
    total = np.zeros(batch.num_rows, dtype=np.uint64)
    for name in names:
        lengths = pc.binary_length(batch[name])
        total += np.where(is_valid(lengths), values_of(lengths), 0).astype(np.uint64)
    return to_column(total)
