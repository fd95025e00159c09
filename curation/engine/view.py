"""What a shard's batches hold, wherever it lies: stored parts, the source, or memory.

A column of a batch is held for some of its rows, given by their positions (None: all of them).
Text is taken for the rows that need it and narrowed once after rows have gone, so that it is
copied as rarely as the rules allow.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.arrow import Bool_N, is_valid, to_column, values_of
from curation.engine.plan import PAYLOAD, Space
from curation.errors import IntegrityError
from curation.stage import ERROR, Shard, Source
from curation.store import PartReader, Store

#: Rows of a batch, ascending; None stands for all of them.
Positions = npt.NDArray[np.int64]


class ShardView:
    """Reads a shard's stored columns batch by batch, and its payload by place."""

    def __init__(self, store: Store, source: Source | None, shard: Shard, space: Space) -> None:
        self.store, self.source, self.shard, self.space = store, source, shard, space
        self._readers: dict[str, PartReader] = {}
        self._again: PayloadAgain | None = None

    def reader(self, group: str) -> PartReader:
        """Return the reader of the shard's newest part of a group."""
        if group not in self._readers:
            path = self.store.newest_part(group, self.shard.key)
            self._readers[group] = PartReader(path or self.store.part(group, self.shard.key))
        return self._readers[group]

    @property
    def sizes(self) -> list[int]:
        """Rows of each batch."""
        return self.reader(self.space.root).sizes

    @cached_property
    def _has_root(self) -> bool:
        """False while a deleted root is read anew: there is nothing yet to be aligned with."""
        return self.store.newest_part(self.space.root, self.shard.key) is not None

    def column(self, group: str, index: int, name: str) -> pa.Array:
        """Return a stored column of one batch, for all its rows."""
        reader = self.reader(group)
        if self._has_root and reader.sizes != self.sizes:
            raise IntegrityError(
                f"the stored part {reader.path} does not have the rows of its neighbours.",
                remedy=f"delete the folder {reader.path.parent} and run the recipe again",
            )
        return reader.read(index, [name])[name]

    def payload(self, index: int, rows: Positions) -> pa.RecordBatch:
        """Return payload columns for rows of one batch; batches must be asked for in order."""
        if len(rows) == 0:  # a shard in which no row begins has no batch to read again
            assert self.source is not None
            return pa.RecordBatch.from_pylist([], schema=self.source.payload)
        if self._again is None:
            assert self.source is not None
            self._again = PayloadAgain(self.source, self.shard)
        names = ["id", "file", "offset", "length"]
        root = self.reader(self.space.root).read(index, [*names, ERROR])
        sound = ~is_valid(root[ERROR])[rows]  # what could not be read has no payload to read again
        found = rows[sound]
        want = root.select(names).take(to_column(found)).append_column("row", to_column(found))
        payload = self._again.read(index, want)
        columns = [spread(array, np.flatnonzero(sound), len(rows)) for array in payload.columns]
        return pa.RecordBatch.from_arrays(columns, schema=payload.schema)

    def kept(self, selection: str, index: int) -> Bool_N:
        """Return which rows of a batch a selection keeps; all of them for the selection ''."""
        if not selection:
            return np.ones(self.sizes[index], dtype=np.bool_)
        return as_mask(self.column(selection, index, "kept"))

    def close(self) -> None:
        """Close every file."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()


class PayloadAgain:
    """Feeds a source's ``reread`` one batch at a time, passing over those that nobody needs."""

    def __init__(self, source: Source, shard: Shard) -> None:
        self._pending: deque[pa.RecordBatch] = deque()
        self._next = 0
        self._batches = source.reread(shard, self._wanted())

    def _wanted(self) -> Iterator[pa.RecordBatch]:
        while self._pending:
            yield self._pending.popleft()

    def read(self, index: int, want: pa.RecordBatch) -> pa.RecordBatch:
        while self._next < index:
            self._pull(want.slice(0, 0))
        return self._pull(want)

    def _pull(self, want: pa.RecordBatch) -> pa.RecordBatch:
        self._pending.append(want)
        self._next += 1
        batch = next(self._batches, None)
        if batch is None or batch.num_rows != want.num_rows:
            raise IntegrityError(
                "a source did not find again the rows that it read before.",
                remedy="run the recipe again: changed files are read anew",
            )
        return batch


class BatchColumns:
    """The columns of one batch, each loaded when first asked for.

    index   which batch of the shard; WHOLE for all of them as one
    rows    how many rows it has
    """

    def __init__(self, view: ShardView, index: int, rows: int) -> None:
        self.view, self.index, self.rows = view, index, rows
        self._held: dict[tuple[str, str], tuple[pa.Array, Positions | None]] = {}
        #: Rows whose payload anybody may still ask for; decides what the first reading brings.
        self.payload_rows: Positions | None = None

    def put(self, group: str, name: str, array: pa.Array, rows: Positions | None = None) -> None:
        """Hold a column that was just made, for all rows or for some."""
        self._held[group, name] = (array, rows)

    def get(
        self, group: str, name: str, rows: Positions | None, *, narrow: bool = False
    ) -> pa.Array:
        """Return a column for some rows.

        narrow  the rows that are not asked for will not be asked for again: let go of them
        """
        key = (group.partition(":")[0], name)
        if key not in self._held:
            self._load(key)
        array, held = self._held[key]
        if _same(held, rows, self.rows):
            return array
        taken = array.take(to_column(_within(held, rows, self.rows)))
        if narrow:
            self._held[key] = (taken, rows)
        return taken

    def _load(self, key: tuple[str, str]) -> None:
        group, name = key
        if group != PAYLOAD:
            self.put(group, name, self.view.column(group, self.index, name))
            return
        wanted = np.arange(self.rows) if self.payload_rows is None else self.payload_rows
        payload = self.view.payload(self.index, wanted)
        for column, array in zip(payload.schema.names, payload.columns, strict=True):
            self.put(PAYLOAD, column, array, None if len(wanted) == self.rows else wanted)

    def batch(self, reads: Mapping[str, str], rows: Positions | None) -> pa.RecordBatch:
        """Return several columns (name → group) for some rows."""
        arrays = [self.get(group, name, rows) for name, group in reads.items()]
        return pa.RecordBatch.from_arrays(arrays, names=list(reads))


def _same(held: Positions | None, rows: Positions | None, count: int) -> bool:
    if held is rows:
        return True
    held_count = count if held is None else len(held)
    return held_count == (count if rows is None else len(rows))  # rows are a subset of held


def _within(held: Positions | None, rows: Positions | None, count: int) -> Positions:
    wanted = np.arange(count) if rows is None else rows
    if held is None:
        return wanted
    places = np.searchsorted(held, wanted)
    assert np.array_equal(held[np.minimum(places, len(held) - 1)], wanted), "rows let go of"
    return places


def as_mask(array: pa.Array) -> Bool_N:
    """Return a boolean array as numpy, null as False."""
    mask: Bool_N = values_of(array)
    return mask & is_valid(array) if array.null_count else mask


def spread(array: pa.Array, rows: Positions | None, count: int) -> pa.Array:
    """Return a column of ``count`` rows with an array's values at ``rows`` and null elsewhere."""
    if rows is None or len(rows) == count:
        return array
    where = np.full(count, -1, dtype=np.int64)
    where[rows] = np.arange(len(rows))
    return array.take(to_column(where, where >= 0))


def overlay(old: pa.Array, new: pa.Array, rows: Positions) -> pa.Array:
    """Return a column with new values at ``rows`` and the old ones elsewhere."""
    where = np.arange(len(old))
    where[rows] = len(old) + np.arange(len(rows))
    return pa.concat_arrays([old, new]).take(to_column(where))
