"""Tables of documents: JSON lines and Parquet."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.columns import PLACE
from curation.columns import columns as registered
from curation.errors import IntegrityError, RecipeError, nearest
from curation.sources.files import FileSource, compression, cut, pack, shard_bytes, weight
from curation.sources.jsonlines import Leaf, Lines, parse, read_lines
from curation.sources.rowgroups import Rows, as_text, descend, open_parquet, read_rows
from curation.stage import ERROR, Shard, Span

_STRING = pa.large_string()
_EXPECTED = {"url": "url", "date": "date", "license_field": "license"}


@dataclass(frozen=True, kw_only=True)
class Table(FileSource):
    """What Jsonl and Parquet share: which fields of a record become which columns.

    text           field of the document's text
    url, date      fields of the columns of these names; taken where a record has them
    license_field  field of the licence of a record, where ``license`` is not given
    source_field   field of the source of a record, where ``name`` is not given
    columns        more to store: (column, type) or (column, type, field), such as
                   (("year", "int32"), ("dump", "string", "metadata.dump"))

    A dot in a field leads into a nested record.
    """

    text: str = "text"
    url: str | None = "url"
    date: str | None = "date"
    license_field: str | None = "license"
    source_field: str | None = None
    columns: tuple[tuple[str, ...], ...] = ()

    payload: ClassVar[pa.Schema] = registered("text")

    def check(self) -> None:
        super().check()
        taken = {*PLACE, "text", ERROR}
        for entry in self.columns:
            if len(entry) not in (2, 3) or _type(entry[1]) is None or entry[0] in taken:
                raise RecipeError(
                    f"{type(self).__name__} cannot store the column {entry!r}.",
                    wanted="(column, type) or (column, type, field), with a name that is not taken",
                    taken=", ".join(sorted(taken)),
                    remedy="types are Arrow's short names: string, bool, int64, float32, date32, …",
                )
            taken.add(entry[0])
        self._check_paths()

    def _check_paths(self) -> None:
        """Raise RecipeError where one field is to be read as two different things."""
        kinds: dict[tuple[str, ...], pa.DataType] = {}
        for leaf in self.leaves():
            if kinds.setdefault(leaf.path, leaf.type) != leaf.type:
                raise RecipeError(
                    f"{type(self).__name__} reads the field '{'.'.join(leaf.path)}' as two types.",
                    found=f"{kinds[leaf.path]} and {leaf.type}",
                    remedy="store it once, as one type",
                )
        paths = sorted({leaf.path for leaf in self.leaves()})
        for one, other in pairwise(paths):
            if other[: len(one)] == one:
                raise RecipeError(
                    f"{type(self).__name__} reads the field '{'.'.join(one)}' as a value and as a "
                    f"record with '{other[-1]}' in it.",
                    remedy="name one of the two",
                )

    @property
    def writes(self) -> pa.Schema:
        """The columns of the setting ``columns``."""
        return pa.schema([(entry[0], _type(entry[1])) for entry in self.columns])

    def leaves(self) -> tuple[Leaf, ...]:
        """Return what is taken from a record; columns of the PLACE go by their own names."""
        places = {
            "url": self.url,
            "date": self.date,
            "license": None if self.license is not None else self.license_field,
            "source": None if self.name is not None else self.source_field,
            "text": self.text,
        }
        found = [Leaf(name, tuple(at.split(".")), _STRING) for name, at in places.items() if at]
        extra = [
            Leaf(e[0], tuple(e[-1 if len(e) == 3 else 0].split(".")), _type(e[1]))
            for e in self.columns
        ]
        return (*found, *extra)

    def build(
        self,
        span: Span,
        place: pa.Array,
        found: pa.RecordBatch,
        errors: Sequence[str | None] | None,
    ) -> pa.RecordBatch:
        """Build a batch of ``schema`` from the places and the leaves of its rows.

        place   int64[N], becomes ``offset`` and the second half of ``id``
        errors  for each row what is wrong with it; None for nothing at all
        """
        rows = len(place)
        text = found["text"]
        if text.null_count:
            errors = errors or [None] * rows
            lacks = text.is_null().to_pylist()
            absent = f"the field '{self.text}' is missing or null"
            errors = [
                e or (absent if null else None) for e, null in zip(errors, lacks, strict=True)
            ]
        error = _named(errors, span, place) if errors else pa.nulls(rows, _STRING)
        made = {
            "id": pc.binary_join_element_wise(
                pa.scalar(f"{span.name}#", _STRING), place.cast(_STRING), pa.scalar("", _STRING)
            ),
            "source": self._source(span, found, rows),
            "file": pa.repeat(pa.scalar(span.name, _STRING), rows),
            "offset": place,
            ERROR: error,
        }
        if self.license is not None:
            made["license"] = pa.repeat(pa.scalar(self.license, _STRING), rows)
        names = set(found.schema.names)
        arrays: list[pa.Array] = []
        for field in self.schema:
            column = made.get(field.name)
            if column is None:
                column = found[field.name] if field.name in names else pa.nulls(rows, field.type)
            if error.null_count < rows and field.name not in (
                "id",
                "source",
                "file",
                "offset",
                ERROR,
            ):
                column = pc.if_else(error.is_null(), column, pa.scalar(None, field.type))
            arrays.append(column if column.type == field.type else column.cast(field.type))
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def hole(self, span: Span, place: int, problem: str) -> pa.RecordBatch:
        """Return the one error row of a hole in a file."""
        none = [pa.nulls(1, f.type) for f in self.schema if f.name in (*self.writes.names, "text")]
        names = [f.name for f in self.schema if f.name in (*self.writes.names, "text")]
        found = pa.RecordBatch.from_arrays(none, names=names)
        return self.build(span, pa.array([place], pa.int64()), found, [problem])

    def _source(self, span: Span, found: pa.RecordBatch, rows: int) -> pa.Array:
        label = pa.scalar(self.source_of(span), _STRING)
        if "source" in found.schema.names:
            return pc.coalesce(found["source"], label)
        return pa.repeat(label, rows)


@dataclass(frozen=True, kw_only=True)
class Jsonl(Table):
    """Read JSON lines, an object a row.

    writes   what the setting ``columns`` names
    payload  text  large_string  never null in a row without error
    source   jsonlines.org

    ``id`` is FILE#BYTE: where the line starts, decompressed. A line that is no JSON object, no
    UTF-8, or has no string as its text is an error row by itself; blank lines are passed over.
    """

    version: ClassVar[int] = 1
    endings: ClassVar[tuple[str, ...]] = (".jsonl", ".json", ".ndjson")

    def plan(self) -> list[Shard]:
        spans = self.spans()
        size = shard_bytes(sum(weight(span) for span in spans))
        pieces = [[s] if compression(s.name) else cut(s, size) for s in spans]
        return pack(piece for file in pieces for piece in file)

    def read(self, shard: Shard) -> Iterator[pa.RecordBatch]:
        leaves = self.leaves()
        for lines in _pieces(shard):
            if lines.problem:
                yield self.hole(lines.span, lines.base, lines.problem)
                continue
            found, errors = parse(lines, leaves)
            place = pa.array(lines.offset_N)
            yield self.build(lines.span, place, found, errors if any(errors) else None)

    def reread(self, shard: Shard, wanted: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        leaves = tuple(leaf for leaf in self.leaves() if leaf.column == "text")
        pieces = _pieces(shard)
        for want in wanted:
            lines = next(pieces, None)
            row = want["row"].to_numpy()
            if lines is None or (len(row) and not _same(want, lines, row)):
                raise changed(shard)
            if lines.problem or not len(row):
                yield pa.RecordBatch.from_arrays([pa.nulls(len(row), _STRING)], ["text"])
                continue
            yield parse(lines.take(row), leaves)[0]


@dataclass(frozen=True, kw_only=True)
class Parquet(Table):
    """Read Parquet files, a row a row.

    writes   what the setting ``columns`` names
    payload  text  large_string  never null in a row without error
    source   parquet.apache.org

    ``id`` is FILE#ROW: the number of the row in its file. The text may be any kind of string or
    bytes; what is no UTF-8 is an error row, and so is a row group that cannot be read.
    """

    version: ClassVar[int] = 1
    endings: ClassVar[tuple[str, ...]] = (".parquet", ".pq")

    def plan(self) -> list[Shard]:
        files = [(span, self._group_sizes(span)) for span in self.spans()]
        most = shard_bytes(sum(sum(sizes) for _, sizes in files))
        pieces = [piece for span, sizes in files for piece in _cut_groups(span, sizes, most)]
        return pack([span for span, _ in pieces], [size for _, size in pieces])

    def _group_sizes(self, span: Span) -> list[int]:
        """Return the unpacked bytes of a file's row groups; of a broken file, its own size."""
        try:
            with open_parquet(span.path) as file:
                self._check_columns(span, file.schema_arrow)
                facts = file.metadata
                return [facts.row_group(g).total_byte_size for g in range(facts.num_row_groups)]
        except pa.ArrowInvalid:  # read() makes it an error row
            return [span.size]

    def read(self, shard: Shard) -> Iterator[pa.RecordBatch]:
        return self._read(shard, self.leaves())

    def reread(self, shard: Shard, wanted: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        text = tuple(leaf for leaf in self.leaves() if leaf.column == "text")
        for span_rows in _zip_rows(self._rows(shard, text), wanted, shard):
            rows, want = span_rows
            row = want["row"]
            if rows.problem or not len(row):
                yield pa.RecordBatch.from_arrays([pa.nulls(len(row), _STRING)], ["text"])
                continue
            chosen = as_text(descend(rows.columns, text[0].path))[0].take(row)
            yield pa.RecordBatch.from_arrays([chosen], ["text"])

    def _rows(self, shard: Shard, leaves: tuple[Leaf, ...]) -> Iterator[Rows]:
        text = next(leaf.path for leaf in leaves if leaf.column == "text")
        for span in shard.spans:
            present = _present(span, leaves)
            yield from read_rows(span, [".".join(leaf.path) for leaf in present], text)

    def _read(self, shard: Shard, leaves: tuple[Leaf, ...]) -> Iterator[pa.RecordBatch]:
        for rows in self._rows(shard, leaves):
            if rows.problem:
                yield self.hole(rows.span, rows.first, rows.problem)
                continue
            found, errors = _typed(rows.columns, leaves)
            stop = rows.first + rows.columns.num_rows
            place = pa.array(np.arange(rows.first, stop, dtype=np.int64))
            yield self.build(rows.span, place, found, errors)

    def _check_columns(self, span: Span, schema: pa.Schema) -> None:
        """Raise RecipeError where a named column is absent or of a type that cannot be read."""
        expected = {name for name in _EXPECTED if getattr(self, name) == _EXPECTED[name]}
        for leaf in self.leaves():
            kind = find_type(schema, leaf.path)
            setting = "license_field" if leaf.column == "license" else leaf.column
            if kind is None and setting in expected:
                continue
            if kind is None or not _casts(kind, leaf):
                raise RecipeError(
                    f"{type(self).__name__}: the file has no column '{'.'.join(leaf.path)}' that "
                    f"can be read as {leaf.type}.",
                    file=span.path,
                    present=", ".join(f"{f.name} ({f.type})" for f in schema),
                    nearest=nearest(leaf.path[0], schema.names),
                    remedy=f"name the column, such as {type(self).__name__}(…, text='content')",
                )


# ---------------------------------------------------------------- JSON lines


def _pieces(shard: Shard) -> Iterator[Lines]:
    for span in shard.spans:
        yield from read_lines(span)


def _same(want: pa.RecordBatch, lines: Lines, row: np.ndarray) -> bool:
    if int(row.max()) >= lines.rows:
        return False
    return bool(np.array_equal(want["offset"].to_numpy(), lines.offset_N[row]))


# ---------------------------------------------------------------- Parquet


def _cut_groups(span: Span, sizes: list[int], most: int) -> list[tuple[Span, int]]:
    """Cut a file after the row groups, of these bytes, at which ``most`` bytes are reached."""
    if sum(sizes) <= most or len(sizes) < 2:
        return [(span, sum(sizes) or span.size)]
    pieces: list[tuple[Span, int]] = []
    start, held = 0, 0
    for group, size in enumerate(sizes):
        if held and held + size > most:
            pieces.append((replace(span, start=start, stop=group), held))
            start, held = group, 0
        held += size
    return [*pieces, (replace(span, start=start, stop=len(sizes)), held)]


def _present(span: Span, leaves: tuple[Leaf, ...]) -> list[Leaf]:
    try:
        with open_parquet(span.path) as file:
            schema = file.schema_arrow
    except pa.ArrowInvalid:
        return list(leaves)
    return [leaf for leaf in leaves if find_type(schema, leaf.path) is not None]


def find_type(schema: pa.Schema, path: tuple[str, ...]) -> pa.DataType | None:
    """Return the type of the column at a path, or None where there is none."""
    if path[0] not in schema.names:
        return None
    kind = schema.field(path[0]).type
    for name in path[1:]:
        if not pa.types.is_struct(kind) or kind.get_field_index(name) < 0:
            return None
        kind = kind.field(name).type
    return kind


def _casts(kind: pa.DataType, leaf: Leaf) -> bool:
    """Tell whether a column can become a leaf; numbers are no text, though they have digits."""
    if _is_bytes(kind) and leaf.type == _STRING:
        return True
    if leaf.column == "text":
        return False
    try:
        pa.array([], kind).cast(leaf.type)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, pa.ArrowTypeError):
        return False
    return True


def _typed(
    batch: pa.RecordBatch, leaves: tuple[Leaf, ...]
) -> tuple[pa.RecordBatch, list[str | None] | None]:
    """Return the leaves that a batch has, in their types, and errors where some do not fit."""
    arrays: list[pa.Array] = []
    names: list[str] = []
    errors: list[str | None] | None = None
    for leaf in leaves:
        if find_type(batch.schema, leaf.path) is None:
            continue
        array, wrong = _cast(descend(batch, leaf.path), leaf)
        arrays.append(array)
        names.append(leaf.column)
        if wrong is not None:
            before = errors or [None] * batch.num_rows
            errors = [a or b for a, b in zip(before, wrong, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, names=names), errors


def _cast(column: pa.Array, leaf: Leaf) -> tuple[pa.Array, list[str | None] | None]:
    if leaf.type == _STRING and _is_bytes(column.type):
        return as_text(column)
    if column.type == leaf.type:
        return column, None
    try:
        return column.cast(leaf.type), None
    except pa.ArrowInvalid:
        cells = [_cast_cell(column[i : i + 1], leaf) for i in range(len(column))]
        return pa.concat_arrays([c for c, _ in cells]), [e for _, e in cells]


def _cast_cell(cell: pa.Array, leaf: Leaf) -> tuple[pa.Array, str | None]:
    try:
        return cell.cast(leaf.type), None
    except pa.ArrowInvalid as error:
        return pa.nulls(1, leaf.type), f"the column '{leaf.column}' does not fit: {error}"


def _is_bytes(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    tests = (
        pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view,
        pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view,
    )  # fmt: skip
    return any(test(kind) for test in tests)


def _zip_rows(
    pieces: Iterator[Rows], wanted: Iterable[pa.RecordBatch], shard: Shard
) -> Iterator[tuple[Rows, pa.RecordBatch]]:
    """Pair what is read with what is wanted, and check that the rows are where they were."""
    for want in wanted:
        rows = next(pieces, None)
        if rows is None:
            raise changed(shard)
        row = want["row"].to_numpy()
        have = 1 if rows.problem else rows.columns.num_rows
        if len(row) and (
            int(row.max()) >= have or not np.array_equal(want["offset"], row + rows.first)
        ):
            raise changed(shard)
        yield rows, want


# ---------------------------------------------------------------- shared


def _named(errors: Sequence[str | None], span: Span, place: pa.Array) -> pa.Array:
    at = place.to_pylist()
    told = [e and f"{e} ({span.name} at {p})" for e, p in zip(errors, at, strict=True)]
    return pa.array(told, _STRING)


def _type(name: str) -> pa.DataType | None:
    try:
        return pa.large_string() if name in ("string", "str") else pa.type_for_alias(name)
    except ValueError:
        return None


def changed(shard: Shard) -> IntegrityError:
    """Return the error for a shard whose files are not what they were."""
    return IntegrityError(
        "an input file no longer holds what it held when it was first read.",
        files=", ".join(os.path.basename(span.path) for span in shard.spans[:3]),
        remedy="run the recipe again: changed files are read anew",
    )
