"""JSON lines → columns, at the speed of Arrow's parser, one bad line at a time.

A block of lines is parsed at once against an explicit schema; nothing is guessed from the data.
Where a block does not parse, it is halved until the few lines around the bad one are left, and
those are read one by one. What a line becomes depends on that line alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from curation.sources.compressed import Inflated, file_codec
from curation.sources.files import open_file
from curation.stage import BATCH_BYTES, BATCH_ROWS, Span

#: Read and parsed at a time.
BLOCK_BYTES = 4 << 20
#: So few lines are read one by one rather than halved again.
_LEAF_ROWS = 32
_OPEN, _CLOSE, _RETURN, _NEWLINE = b"{}\r\n"


@dataclass(frozen=True)
class Leaf:
    """A value that is taken from each record: the column it becomes, where it stands, its type."""

    column: str
    path: tuple[str, ...]
    type: pa.DataType


@dataclass(frozen=True)
class Lines:
    """Lines that are not blank, as parts of one block; N lines become N rows.

    base     place of data[0] in the file, decompressed
    start_N  int64, index in data of the first byte of each line
    stop_N   int64, index after its last byte, line end left out
    problem  why the file ends here, where it should not; then there are no lines
    """

    span: Span
    base: int
    data: bytes
    start_N: np.ndarray[Any, np.dtype[np.int64]]
    stop_N: np.ndarray[Any, np.dtype[np.int64]]
    problem: str = ""

    @property
    def rows(self) -> int:
        """Number of rows: the lines, or one for the problem."""
        return 1 if self.problem else len(self.start_N)

    @property
    def offset_N(self) -> np.ndarray[Any, np.dtype[np.int64]]:  # noqa: N802
        """Place of each row in the file, decompressed."""
        return np.array([self.base]) if self.problem else self.start_N + self.base

    def take(self, index: Any) -> Lines:
        """Return some of the lines, by slice or by index array."""
        return Lines(self.span, self.base, self.data, self.start_N[index], self.stop_N[index])

    def line(self, n: int) -> bytes:
        """Return the bytes of line n."""
        return self.data[self.start_N[n] : self.stop_N[n]]


# ---------------------------------------------------------------- bytes to lines


def read_lines(span: Span) -> Iterator[Lines]:
    """Yield the lines that start within a span, in pieces of at most a batch, and any hole."""
    with open_file(span.path) as file:
        codec = file_codec(file)
        if codec and span.start:  # a compressed file under a plain name: the first range has it
            return
        if span.size == 0 and not span.start and not file.read(1):
            yield _problem(span, 0, "the file is empty")
            return
        file.seek(max(span.start - 1, 0))
        stream = Inflated(file, codec) if codec else None
        pieces = _inflated(stream) if stream else iter(lambda: file.read(BLOCK_BYTES), b"")
        stop = -1 if codec else span.stop
        end, base = 0, max(span.start - 1, 0)
        for block, is_last in _blocks(pieces):
            cut_short = is_last and stream is not None and bool(stream.problem)
            end = base
            if not cut_short:
                end = base + len(block)
                lines = _split(span, base, block, stop)
                yield from _batches(lines)
                if 0 <= stop <= end:
                    return
            base += len(block)
        if stream is not None and stream.problem:
            yield _problem(span, end, f"the {stream.problem}: the rest of the file is lost")


def _inflated(stream: Inflated) -> Iterator[bytes]:
    while True:
        piece, begins = stream.read()
        if not piece and not begins:
            return
        yield piece


def _blocks(pieces: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Yield (whole lines, False) and at last (what follows the last line end, True)."""
    held: list[bytes] = []
    total = 0
    for piece in pieces:
        held.append(piece)
        total += len(piece)
        if total < BLOCK_BYTES or b"\n" not in piece:
            continue
        data = b"".join(held)
        stop = data.rindex(b"\n") + 1
        yield data[:stop], False
        held, total = [data[stop:]], len(data) - stop
    data = b"".join(held)
    stop = data.rfind(b"\n") + 1
    if stop:
        yield data[:stop], False
    yield data[stop:], True


def _split(span: Span, base: int, data: bytes, stop: int) -> Lines:
    """Find the lines of a block that start in the span's range; blank ones are left out."""
    byte = np.frombuffer(data, dtype=np.uint8)
    end_N = np.flatnonzero(byte == _NEWLINE)
    if len(data) and (not len(end_N) or end_N[-1] != len(data) - 1):
        end_N = np.append(end_N, len(data))
    start_N = np.concatenate([np.zeros(1, np.int64), end_N[:-1] + 1])[: len(end_N)]
    # a range begins one byte early, so that the line it lands in, or before, is the one to skip
    inside = start_N + base >= span.start
    if stop >= 0:
        inside &= start_N + base < stop
    start_N, end_N = start_N[inside], end_N[inside]
    full = end_N > start_N
    start_N, end_N = start_N[full], end_N[full]
    if not len(start_N):
        return Lines(span, base, data, start_N, end_N)
    end_N = end_N - (byte[end_N - 1] == _RETURN)
    odd = np.flatnonzero(byte[start_N] != _OPEN)
    blank = [n for n in odd if not data[start_N[n] : end_N[n]].strip()]
    kept = np.delete(np.arange(len(start_N)), blank)
    return Lines(span, base, data, start_N[kept], end_N[kept])


def _batches(lines: Lines) -> Iterator[Lines]:
    at = 0
    while at < lines.rows:
        limit = lines.start_N[at] + BATCH_BYTES
        fits = int(np.searchsorted(lines.stop_N, limit, side="right"))
        stop = min(max(fits, at + 1), at + BATCH_ROWS)
        yield lines.take(slice(at, stop))
        at = stop


def _problem(span: Span, base: int, problem: str) -> Lines:
    none = np.zeros(0, np.int64)
    return Lines(span, base, b"", none, none, problem)


# ---------------------------------------------------------------- lines to columns


def parse(lines: Lines, leaves: tuple[Leaf, ...]) -> tuple[pa.RecordBatch, list[str | None]]:
    """Return one column for each leaf, and for each line what is wrong with it."""
    schema = pa.schema([(leaf.column, leaf.type) for leaf in leaves])
    parts: list[pa.RecordBatch] = []
    errors: list[str | None] = []
    _parse_into(lines, leaves, parts, errors)
    if len(parts) == 1:
        return parts[0], errors
    table = pa.Table.from_batches(parts, schema=schema)
    columns = [
        pa.concat_arrays(c.chunks) if c.num_chunks else pa.array([], c.type) for c in table.columns
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema), errors


def _parse_into(
    lines: Lines,
    leaves: tuple[Leaf, ...],
    parts: list[pa.RecordBatch],
    errors: list[str | None],
) -> None:
    batch = _parse_block(lines, leaves)
    if batch is not None:
        parts.append(batch)
        errors.extend([None] * batch.num_rows)
    elif lines.rows <= _LEAF_ROWS:
        batch, found = _parse_singly(lines, leaves)
        parts.append(batch)
        errors.extend(found)
    else:
        half = lines.rows // 2
        _parse_into(lines.take(slice(0, half)), leaves, parts, errors)
        _parse_into(lines.take(slice(half, None)), leaves, parts, errors)


def _parse_block(lines: Lines, leaves: tuple[Leaf, ...]) -> pa.RecordBatch | None:
    """Parse lines at once; None where that fails or a line might not be one whole object.

    A line that starts with ``{`` and ends with ``}`` cannot share an object with its neighbour,
    so as many rows as lines means a row a line.
    """
    if not lines.rows:
        return None
    byte = np.frombuffer(lines.data, dtype=np.uint8)
    if (byte[lines.start_N] != _OPEN).any() or (byte[lines.stop_N - 1] != _CLOSE).any():
        return None
    block = _joined(lines)
    if not _is_utf8(block):
        return None
    read = pj.ReadOptions(use_threads=False, block_size=len(block) + 1)
    rules = pj.ParseOptions(explicit_schema=nested(leaves), unexpected_field_behavior="ignore")
    try:
        table = pj.read_json(pa.BufferReader(block), read_options=read, parse_options=rules)
    except pa.ArrowInvalid:
        return None
    if table.num_rows != lines.rows:
        return None
    schema = pa.schema([(leaf.column, leaf.type) for leaf in leaves])
    columns = [_descend(table, leaf) for leaf in leaves]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _joined(lines: Lines) -> bytes:
    if lines.rows == 1 or int(lines.start_N[-1] - lines.stop_N[0]) <= int(
        (lines.stop_N[1:-1] - lines.start_N[1:-1]).sum() + 2 * (lines.rows - 1)
    ):
        return lines.data[lines.start_N[0] : lines.stop_N[-1]]
    return b"\n".join(lines.line(n) for n in range(lines.rows))


def _is_utf8(block: bytes) -> bool:
    ends = pa.py_buffer(np.array([0, len(block)], np.int64))
    whole = pa.Array.from_buffers(pa.large_string(), 1, [None, ends, pa.py_buffer(block)])
    try:
        whole.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def nested(leaves: tuple[Leaf, ...]) -> pa.Schema:
    """Return the schema of the records: a leaf at ``meta.url`` is a field of a struct."""
    tree: dict[str, Any] = {}
    for leaf in leaves:
        node = tree
        for name in leaf.path[:-1]:
            node = node.setdefault(name, {})
        node[leaf.path[-1]] = leaf.type
    return pa.schema(_fields(tree))


def _fields(tree: dict[str, Any]) -> list[pa.Field]:
    return [
        pa.field(name, pa.struct(_fields(kind)) if isinstance(kind, dict) else kind)
        for name, kind in tree.items()
    ]


def _descend(table: pa.Table, leaf: Leaf) -> pa.Array:
    column = table[leaf.path[0]]
    for name in leaf.path[1:]:
        column = pc.struct_field(column, name)
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


# ---------------------------------------------------------------- one line


def _parse_singly(
    lines: Lines, leaves: tuple[Leaf, ...]
) -> tuple[pa.RecordBatch, list[str | None]]:
    rows: list[list[pa.Scalar]] = []
    errors: list[str | None] = []
    for n in range(lines.rows):
        cells, error = _parse_line(lines.line(n), leaves)
        rows.append(cells or [pa.scalar(None, leaf.type) for leaf in leaves])
        errors.append(error)
    columns = [
        pa.array([row[i].as_py() for row in rows], type=leaf.type) for i, leaf in enumerate(leaves)
    ]
    schema = pa.schema([(leaf.column, leaf.type) for leaf in leaves])
    return pa.RecordBatch.from_arrays(columns, schema=schema), errors


def _parse_line(line: bytes, leaves: tuple[Leaf, ...]) -> tuple[list[pa.Scalar] | None, str | None]:
    try:
        # control characters in strings are against the standard, but what is meant is plain
        value = json.loads(line.decode("utf-8-sig"), strict=False)
    except UnicodeDecodeError as error:
        return None, f"the line is not UTF-8 (its byte {error.start})"
    except ValueError as error:
        return None, f"the line is not JSON: {error}"[:300]
    except RecursionError:
        return None, "the line is nested too deep"
    if not isinstance(value, dict):
        return None, f"the line is no JSON object but {_name(value)}"
    cells: list[pa.Scalar] = []
    for leaf in leaves:
        cell, error_text = _cell(value, leaf)
        if error_text:
            return None, error_text
        cells.append(cell)
    return cells, None


def _cell(record: dict[str, Any], leaf: Leaf) -> tuple[Any, str | None]:
    value: Any = record
    for name in leaf.path:
        if value is not None and not isinstance(value, dict):
            return None, f"the field '{'.'.join(leaf.path)}' lies in {_name(value)}"
        value = value.get(name) if value is not None else None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if leaf.type == pa.large_string() and leaf.column != "text" and is_number:
        value = str(value)  # a date such as 2024, an address that is a number
    try:
        return pa.scalar(value, type=leaf.type), None
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        kind = "text" if leaf.type == pa.large_string() else str(leaf.type)
        return None, f"the field '{'.'.join(leaf.path)}' is {_name(value)}, not {kind}"


def _name(value: object) -> str:
    if isinstance(value, str):
        return "a string"
    names = {dict: "an object", list: "an array", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
