"""Parquet files → batches of bounded size, however large a row group is.

Pages are streamed: no column chunk is held whole, and batches are cut by the bytes of their
text. A row group that cannot be read is one hole; the next one is read all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.sources.files import open_arrow
from curation.stage import BATCH_BYTES, BATCH_ROWS, Span

#: Read ahead within a column chunk; without it pyarrow holds the whole chunk.
_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True)
class Rows:
    """Rows of one file as they stand in it, or a hole: then ``problem`` says what is wrong.

    first  number of the first row within the file
    """

    span: Span
    first: int
    columns: pa.RecordBatch
    problem: str = ""


def open_parquet(path: str) -> pq.ParquetFile:
    """Open a Parquet file; OSError if it cannot be opened, ArrowInvalid if it is none."""
    source = open_arrow(path)
    try:
        return pq.ParquetFile(source, pre_buffer=False, buffer_size=_BUFFER_BYTES)
    except OSError as error:
        source.close()
        raise_if_system(error)
        raise pa.ArrowInvalid(str(error)) from error


def raise_if_system(error: OSError) -> None:
    """Raise errors of the operating system again; what pyarrow says of content has no number."""
    if error.errno is not None:
        raise error


def read_rows(span: Span, names: list[str], text: tuple[str, ...]) -> Iterator[Rows]:
    """Yield the row groups of a span in batches of BATCH_ROWS and, by text, BATCH_BYTES.

    names  columns to read, dotted for a field of a struct
    text   path of the text column, by whose bytes batches are cut
    """
    none = pa.RecordBatch.from_arrays([], names=[])
    try:
        file = open_parquet(span.path)
    except pa.ArrowInvalid as error:
        yield Rows(span, 0, none, f"not a Parquet file: {error}")
        return
    with file:
        counts = [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)]
        stop = span.stop if span.stop >= 0 else file.num_row_groups
        if not counts or (span.start == 0 and not sum(counts)):
            yield Rows(span, 0, none, "the file has no rows")
        for group in range(span.start, stop):
            first = sum(counts[:group])
            last = first + counts[group]
            try:
                for batch in _group(file, group, names, text):
                    yield Rows(span, first, batch)
                    first += batch.num_rows
            except (pa.ArrowException, OSError) as error:
                if isinstance(error, OSError):
                    raise_if_system(error)
                yield Rows(span, first, none, f"rows {first} to {last - 1} are lost: {error}")


def _group(
    file: pq.ParquetFile, group: int, names: list[str], text: tuple[str, ...]
) -> Iterator[pa.RecordBatch]:
    size = _batch_rows(file.metadata.row_group(group), ".".join(text))
    stream = file.iter_batches(
        batch_size=size, row_groups=[group], columns=names, use_threads=False
    )
    for batch in stream:
        yield from cut_by_bytes(batch, text)


def _batch_rows(group: pq.RowGroupMetaData, text: str) -> int:
    """Return how many rows are about BATCH_BYTES, by the sizes in the footer."""
    columns = [group.column(i) for i in range(group.num_columns)]
    size = sum(int(c.total_uncompressed_size) for c in columns if c.path_in_schema == text)
    mean = max(1, size // max(1, int(group.num_rows)))
    return min(BATCH_ROWS, max(1, BATCH_BYTES // mean))


def cut_by_bytes(batch: pa.RecordBatch, text: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    """Yield slices of a batch whose text is at most BATCH_BYTES, a larger row by itself."""
    column = descend(batch, text)
    if column.nbytes <= BATCH_BYTES and not pa.types.is_dictionary(column.type):
        yield batch
        return
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    length = pc.fill_null(pc.binary_length(column.cast(pa.large_binary())), 0)
    stop_N = np.cumsum(length.to_numpy(zero_copy_only=False), dtype=np.int64)
    at = 0
    while at < batch.num_rows:
        before = stop_N[at - 1] if at else 0
        stop = max(at + 1, int(np.searchsorted(stop_N, before + BATCH_BYTES, side="right")))
        yield batch.slice(at, stop - at)
        at = stop


def descend(batch: pa.RecordBatch, path: tuple[str, ...]) -> pa.Array:
    """Return the column at a path: the first name a column, the others fields of structs."""
    column = batch[path[0]]
    for name in path[1:]:
        column = pc.struct_field(column, name)
    return column


def as_text(column: pa.Array) -> tuple[pa.Array, list[str | None] | None]:
    """Return a column as large_string, and errors by row where it holds bytes that are no UTF-8.

    Parquet readers take the writer's word that a string is UTF-8.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    data = column.cast(pa.large_binary())
    text = data.view(pa.large_string())
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        pairs = [_decoded(value) for value in data.to_pylist()]
        return pa.array([p[0] for p in pairs], pa.large_string()), [p[1] for p in pairs]
    return text, None


def _decoded(value: bytes | None) -> tuple[str | None, str | None]:
    try:
        return (None if value is None else value.decode()), None
    except UnicodeDecodeError as error:
        return None, f"the text is not UTF-8 (its byte {error.start})"
