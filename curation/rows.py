"""Reads the rows that stayed, or those that went, from the column groups they lie in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from polars.io.plugins import register_io_source

from curation.engine.plan import PAYLOAD, Outcome
from curation.engine.view import BatchColumns, Positions, ShardView, as_mask
from curation.errors import ResourceError
from curation.stage import Shard, Source
from curation.store import Store


@dataclass(frozen=True)
class RowReader:
    """Rows of one row space.

    outcome  where its columns and its last selection lie
    gone     the rows that were dropped, and not those that stayed
    because  only those dropped for this reason
    """

    store: Store
    source: Source | None
    shards: Sequence[Shard]
    outcome: Outcome
    gone: bool = False
    because: str | None = None

    def lazy(self, names: Sequence[str]) -> pl.LazyFrame:
        """Return the rows as a LazyFrame that reads only what a query uses."""
        schema = pl.DataFrame(pa.Table.from_batches([], self.schema(names))).schema

        def read(
            columns: list[str] | None,
            predicate: pl.Expr | None,
            limit: int | None,
            size: int | None,
        ) -> Iterator[pl.DataFrame]:
            del size  # batches are as they were stored
            left = limit
            for _, _, batch in self.batches(columns if columns is not None else list(names)):
                frame = pl.DataFrame(batch if left is None else batch.slice(0, left))
                left = None if left is None else left - len(frame)
                # polars means the limit before the predicate where it gives both
                yield frame if predicate is None else frame.filter(predicate)
                if left == 0:
                    return

        return register_io_source(read, schema=schema, is_pure=True)

    def batches(self, names: Sequence[str]) -> Iterator[tuple[Shard, int, pa.RecordBatch]]:
        """Yield (shard, batch index, columns) in source order; empty batches are omitted."""
        groups = self._groups(names)
        for shard in self.shards:
            view = ShardView(self.store, self.source, shard, self.outcome.space)
            for index, count in enumerate(view.sizes):
                rows = self._chosen(view, index)
                if len(rows):
                    columns = BatchColumns(view, index, count)
                    columns.payload_rows = chosen = None if len(rows) == count else rows
                    yield shard, index, columns.batch(groups, chosen)
            view.close()

    def _groups(self, names: Sequence[str]) -> dict[str, str]:
        selection = self.outcome.selection
        found = {
            n: selection if n in ("step", "because") else self.outcome.columns[n] for n in names
        }
        if self.source is None and PAYLOAD in found.values():
            raise ResourceError(
                "this text was not stored, and its source cannot be imported to read it again.",
                remedy="run the recipe again from its file, or add a stage that writes text",
            )
        # a count needs no column, but rows need to be counted
        return found or {"id": self.outcome.columns["id"]}

    def _chosen(self, view: ShardView, index: int) -> Positions:
        kept = view.kept(self.outcome.selection, index)
        if not self.gone:
            return np.flatnonzero(kept)
        if self.because is None:
            return np.flatnonzero(~kept)
        reasons = view.column(self.outcome.selection, index, "because")
        return np.flatnonzero(as_mask(pc.equal(reasons, self.because)))

    def schema(self, names: Sequence[str]) -> pa.Schema:
        """Return the names and Arrow types of columns."""
        return pa.schema([pa.field(name, self._type(name)) for name in names])

    def _type(self, name: str) -> pa.DataType:
        [group] = self._groups([name]).values()
        if group == PAYLOAD:
            assert self.source is not None
            return self.source.payload.field(name).type
        manifest = self.store.manifest(group)
        assert manifest is not None
        shard = next(iter(manifest["parts"]))
        return pq.read_schema(self.store.part(group, shard)).field(name).type
