"""Rewrites a shard: its surviving rows go in, new rows with their lineage come out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.arrow import is_valid
from curation.columns import CARRIED, COLUMNS
from curation.engine.batch import BatchState, StepCount, Tally
from curation.engine.fused import ERROR_REASON
from curation.engine.guard import Call, Watch, run_guarded
from curation.engine.plan import EMPTY_REASON, PARENT_SELECTION, Phase, Plan, PlannedStep
from curation.engine.view import BatchColumns, ShardView, spread
from curation.errors import RecipeError
from curation.recipe import step_name
from curation.stage import ERROR, PARENT, Rewriter, Shard
from curation.store import PartWriter, Store, part_facts


class Rewriting:
    """One rewriter over one shard."""

    def __init__(self, store: Store, plan: Plan, phase: Phase, shard: Shard) -> None:
        self.store, self.phase, self.shard = store, phase, shard
        self.step: PlannedStep = phase.steps[0]
        assert isinstance(self.step.step, Rewriter)
        self.stage: Rewriter = self.step.step
        self.schema = plan.schemas[self.step.group]
        self.view = ShardView(store, plan.source, shard, phase.space)
        self.tally = Tally(steps={self.step.number: StepCount()})

    def run(self, watch: Watch) -> dict[str, dict[str, object]]:
        """Do the shard; return the manifest's facts of the two parts written, by group."""
        rows = PartWriter(self.store.part(self.step.group, self.shard.key), self.schema)
        parents = PartWriter(
            self.store.part(self.phase.selection, self.shard.key), PARENT_SELECTION
        )
        try:
            for index, count in enumerate(self.view.sizes):
                state = self._state(BatchColumns(self.view, index, count))
                made, errors = self._rewrite(state, watch)
                rows.write(made)
                selected = state.selection()
                parents.write(
                    pa.RecordBatch.from_arrays([*selected, errors], schema=PARENT_SELECTION)
                )
                self._count(made)
                watch.done(count, int(state.sizes.sum()))
            rows.close()
            parents.note(self.tally.facts())
            parents.close()
        except BaseException:
            rows.abort()
            parents.abort()
            raise
        finally:
            self.view.close()
        written = {self.step.group: rows.path, self.phase.selection: parents.path}
        return {group: part_facts(path) for group, path in written.items()}

    def _state(self, columns: BatchColumns) -> BatchState:
        state = BatchState.before(self.phase, columns)
        columns.payload_rows = state.chosen(state.rows)
        return state

    def _rewrite(self, state: BatchState, watch: Watch) -> tuple[pa.RecordBatch, pa.Array]:
        """Return the new rows of one batch, and the error of each of its rows.

        Parents in error or without a new row are dropped.
        """
        state.count(self.tally.before)
        places, columns = state.rows, state.columns
        names = [n for n in (*self.stage.reads, *self.stage.may_read) if n in self.step.reads]
        reads = {name: self.step.reads[name] for name in names}
        given = columns.batch(reads, state.chosen(places))
        made, errors = self._guarded(given, places, columns.index, watch)
        parent = made[PARENT].to_numpy()
        number, count = self.step.number, self.tally.steps[self.step.number]
        ok = np.ones(columns.rows, dtype=np.bool_)
        ok[places[is_valid(errors)]] = False
        count.errors += state.keep(ok, number, ERROR_REASON.format(step_name(self.stage)))
        has_rows = np.zeros(columns.rows, dtype=np.bool_)
        has_rows[places[parent]] = True
        reason = EMPTY_REASON.format(step_name(self.stage))
        count.dropped += state.keep(has_rows, number, reason)
        rows = self._with_lineage(made, places[parent], columns)
        return rows, spread(errors, places, columns.rows)

    def _guarded(
        self, given: pa.RecordBatch, places: npt.NDArray[np.int64], batch: int, watch: Watch
    ) -> tuple[pa.RecordBatch, pa.Array]:
        """Rewrite a batch; return the new rows and, for each row given, its error.

        The guard wants a row for a row, so each parent's new rows travel as one list.
        """
        fields = [pa.field(PARENT, pa.int32()), *self.stage.writes]
        nested = pa.schema([pa.field("rows", pa.large_list(pa.struct(fields)))])

        def listed(rows: pa.RecordBatch) -> pa.RecordBatch:
            made, failed = _told(self.stage.rewrite(rows), rows.num_rows, step_name(self.stage))
            children = pa.StructArray.from_arrays(made.columns, fields=list(made.schema))
            counts = np.bincount(made[PARENT].to_numpy(), minlength=rows.num_rows)
            offset = np.concatenate([[0], np.cumsum(counts)])
            lists = pa.LargeListArray.from_arrays(pa.array(offset, pa.int64()), children)
            return pa.RecordBatch.from_arrays([lists, failed], names=["rows", ERROR])

        call = Call(listed, nested, step_name(self.stage), self.step.number, batch, places)
        made, errors = run_guarded(call, given, watch)
        lists = made["rows"]
        counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
        children = pa.RecordBatch.from_struct_array(lists.flatten())
        parent = pa.array(np.repeat(np.arange(len(counts)), counts), pa.int32())
        rows = children.set_column(0, PARENT, parent)
        return rows, errors

    def _with_lineage(
        self, made: pa.RecordBatch, parent: npt.NDArray[np.int64], columns: BatchColumns
    ) -> pa.RecordBatch:
        """Add id, parent_id, what a row inherits, and bookkeeping.

        parent  int64[M]: place in the batch of each new row's parent, ascending
        """
        space = self.phase.space
        inherited = {
            name: columns.get(space.root, name, None).take(pa.array(parent))
            for name in ("id", *CARRIED)
        }
        ids = inherited["id"]
        roots = ids if space.source else columns.get(space.root, "root_id", None).take(parent)
        first = np.searchsorted(parent, parent)
        ordinal = pa.array(np.arange(len(parent)) - first + 1).cast(pa.large_string())
        name = step_name(self.stage).lower()
        own = pc.binary_join_element_wise(
            ids,
            pa.scalar(f"/{name}-", pa.large_string()),
            ordinal,
            pa.scalar("", pa.large_string()),
        )
        fields = {**inherited, "parent_id": ids, "id": own, "root_id": roots}
        fields |= {name: made[name] for name in self.stage.writes.names}
        text = fields.get("text", pa.nulls(len(parent), COLUMNS["text"][0]))
        fields["bytes"] = pc.fill_null(pc.binary_length(text), 0).cast(pa.uint64())
        fields[ERROR] = pa.nulls(len(parent), pa.large_string())
        return pa.RecordBatch.from_arrays(
            [fields[name] for name in self.schema.names], schema=self.schema
        )

    def _count(self, made: pa.RecordBatch) -> None:
        count = self.tally.steps[self.step.number]
        count.rows += made.num_rows
        count.documents += int(pc.count_distinct(made["root_id"]).as_py())
        count.bytes += int(pc.sum(made["bytes"]).as_py() or 0)


def _told(made: pa.RecordBatch, parents: int, name: str) -> tuple[pa.RecordBatch, pa.Array]:
    """Take the rows that say why their parent could not be done out of a rewriter's rows.

    returns  the new rows, and large_string[parents]: each parent's error; null where it has none
    """
    if ERROR not in made.schema.names:
        return made, pa.nulls(parents, pa.large_string())
    errors: list[str | None] = [None] * parents
    failed = made.filter(made[ERROR].is_valid())
    rows = made.filter(made[ERROR].is_null()).drop_columns([ERROR])
    for parent, error in zip(failed[PARENT].to_pylist(), failed[ERROR].to_pylist(), strict=True):
        errors[parent] = errors[parent] or error
    both = np.intersect1d(failed[PARENT].to_numpy(), rows[PARENT].to_numpy())
    if len(both):
        raise RecipeError(
            f"{name} made rows of a parent that it says is in error.",
            found=f"row {both[0]} of its batch: {errors[both[0]]}",
            remedy="give new rows or one row with error: a parent in error is dropped",
        )
    return rows, pa.array(errors, pa.large_string())
