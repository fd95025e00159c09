"""Documents that say the same, letter for letter, once case and white space are set aside.

Grouping holds one entry (hash, best id so far, count) for each distinct text, and the rows
themselves only piece by piece, so a text that stands a million times costs no more than one that
stands twice. When the entries outgrow ``memory_bytes``, rows are spread over files by their
hash, each file is grouped on its own, and what was found is spread over files by row number, to
come out in the order of the rows.

Trade-off: the rows are read twice, and the ids of singletons are carried although nobody asks for
them, because the smallest id of a group is known only when all of the group has been seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.arrow import bytes_and_offsets
from curation.columns import columns
from curation.dedup.marks import MARK, keep_marks
from curation.dedup.preference import scope_of
from curation.errors import RecipeError
from curation.stage import Annotator, Reducer, Rows

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

# Shares of the memory allowed for the entries and for the rows at hand. What sorting and joining
# take beside them was measured to bring the whole to about the memory allowed.
_ENTRIES_FRAC = 1 / 8
_PIECE_FRAC = 1 / 16

_ROW = pa.field("row", pa.int64())
_HASHED = pa.schema([*columns("id", "text_hash"), pa.field("copies", pa.uint64())])
_NUMBERED = pa.schema([_ROW, *_HASHED])


@dataclass(frozen=True, kw_only=True)
class TextHash(Annotator):
    """Hash the text with its case and white space folded.

    Letters are lowered one by one as Unicode's simple mapping has it, runs of white space become
    one space, and the ends are trimmed. The value is two XXH64 digests, under the seeds that
    kernels/hashing.py states, each in xxHash's canonical (big-endian) form.

    reads    text             large_string  any length; null allowed
    writes   text_hash        fixed_size_binary[16]  null where text is null
    source   xxHash, https://github.com/Cyan4973/xxHash, doc/xxhash_spec.md
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("text",)
    writes: ClassVar[pa.Schema] = columns("text_hash")

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from curation.kernels.hashing import hash_folded

        text = batch["text"]
        # Lowering only the rows that are not ASCII was measured and gains nothing: picking them
        # out costs what it saves.
        hash_N2 = hash_folded(*bytes_and_offsets(pc.utf8_lower(text)))
        digests = pa.py_buffer(hash_N2.astype(">u8"))
        hashes = pa.Array.from_buffers(pa.binary(16), len(text), [None, digests])
        hashes = pc.if_else(pc.is_valid(text), hashes, None)
        return pa.RecordBatch.from_arrays([hashes], schema=self.writes)


@dataclass(frozen=True, kw_only=True)
class ExactDuplicates(Reducer):
    """Name the row that stays of each group of rows with one hash.

    The one that stays has the smallest id, compared byte by byte: a choice that does not depend
    on the order in which the rows come. ``within`` names columns whose values must be equal too:
    ("source",) looks for copies within each source, ("file",) within each file of a crawl.

    reads    id               large_string  distinct
             text_hash        fixed_size_binary[16]  null allowed
    may_read duplicate_of     large_string  a row that has it takes no part and keeps what it has
             group_size       uint64        copies that a row stands for; they are counted in
    writes   duplicate_of     large_string  id of the row that stays; null for it and for no hash
             group_size       uint64        rows with this hash, with the copies that they stand
                                            for; null where text_hash is null
    """

    version: ClassVar[int] = 1
    writes: ClassVar[pa.Schema] = columns("duplicate_of", "group_size")
    incidental: ClassVar[tuple[str, ...]] = ("memory_bytes",)
    may_read: ClassVar[tuple[str, ...]] = tuple(writes.names)

    #: Columns: only rows with equal values there are copies; () for all rows.
    within: tuple[str, ...] = ()
    #: Memory to work in; more distinct texts than fit are grouped by way of files in scratch.
    memory_bytes: int = 256 << 20

    @property
    def reads(self) -> tuple[str, ...]:  # type: ignore[override]
        """The id, the hash and the columns of the scope."""
        return (*dict.fromkeys(("id", "text_hash", *self.within)),)

    def check(self) -> None:
        if self.memory_bytes < 1:
            raise RecipeError(
                "ExactDuplicates cannot work in no memory.",
                found=f"memory_bytes={self.memory_bytes}",
                remedy="leave it out, or give it some megabytes",
            )

    def identity(self) -> dict[str, object]:
        """Leave out a scope of all rows: stores are older than scopes."""
        facts = super().identity()
        return facts if self.within else {**facts, "settings": {}}

    def reduce(self, rows: Rows) -> Iterator[pa.RecordBatch]:
        room = int(self.memory_bytes * _ENTRIES_FRAC)
        groups, entries_per_file = _no_groups(), 0
        for piece in self._pieces(self._scoped(rows)):
            groups = _merge(groups, piece)
            if groups.nbytes > room:
                groups, entries_per_file = _no_groups(), _fitting(groups, room)
                break
        if entries_per_file:
            found = self._by_way_of_files(rows, entries_per_file)
        else:
            pieces = self._pieces(self._scoped(rows))
            found = (_mark(piece, groups) for piece in pieces)
        made = (
            batch
            for table in found
            for batch in table.select(self.writes.names).cast(self.writes).to_batches()
        )
        yield from keep_marks(made, rows.batches(*self.writes.names))

    def _scoped(self, rows: Rows) -> Iterator[pa.RecordBatch]:
        """Yield id, text_hash and copies of all rows.

        The hash is another one in each scope, and null for a row that takes no part.
        """
        for batch in rows.batches(*dict.fromkeys((*self.reads, *self.may_read))):
            hashes = pc.if_else(pc.is_null(batch[MARK]), batch["text_hash"], None)
            copies = batch["group_size"].fill_null(1)
            if self.within:
                words_N2 = (
                    _words(hashes.fill_null(bytes(16))) ^ scope_of(self.within, batch)[:, None]
                )
                data = pa.py_buffer(np.ascontiguousarray(words_N2))
                scoped = pa.Array.from_buffers(pa.binary(16), len(batch), [None, data])
                hashes = pc.if_else(pc.is_valid(hashes), scoped, None)
            yield pa.RecordBatch.from_arrays([batch["id"], hashes, copies], schema=_HASHED)

    def _by_way_of_files(self, rows: Rows, entries_per_file: int) -> Iterator[pa.Table]:
        """Yield what is found, in the order of the rows, with most of it on disk meanwhile."""
        file_count = -(-rows.count // entries_per_file)
        by_hash, by_row = _Files(rows.scratch / "by-hash"), _Files(rows.scratch / "by-row")
        for piece in self._pieces(_numbered(self._scoped(rows))):
            hashed = piece.filter(pc.is_valid(piece["text_hash"]))
            by_hash.add(hashed, _words(hashed["text_hash"])[:, 0] % file_count)
            unknown = piece.filter(pc.is_null(piece["text_hash"]))
            by_row.add(_mark(unknown, _no_groups()), _row_numbers(unknown) // entries_per_file)
        for file in range(file_count):
            groups = _no_groups()
            for piece in self._pieces(by_hash.read(file)):
                groups = _merge(groups, piece)
            for piece in self._pieces(by_hash.read(file)):
                marked = _mark(piece, groups)
                alone = pc.equal(marked["group_size"], pa.scalar(1, pa.uint64()))
                marked = marked.filter(pc.invert(alone))
                by_row.add(marked, _row_numbers(marked) // entries_per_file)
            by_hash.remove(file)
        for file, start in enumerate(range(0, rows.count, entries_per_file)):
            stop = min(start + entries_per_file, rows.count)
            yield _in_order(list(by_row.read(file)), start, stop)
            by_row.remove(file)

    def _pieces(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
        """Yield tables of many batches: the larger, the fewer times the entries are gone over."""
        room, held, held_bytes = int(self.memory_bytes * _PIECE_FRAC), [], 0
        for batch in batches:
            held.append(batch)
            held_bytes += batch.nbytes
            if held_bytes >= room:
                yield pa.Table.from_batches(held).combine_chunks()
                held, held_bytes = [], 0
        if held:
            yield pa.Table.from_batches(held).combine_chunks()


# ---------------------------------------------------------------- groups


def _no_groups() -> pa.Table:
    """Return the empty table of entries: text_hash, the smallest id, the number of rows."""
    schema = columns("text_hash", "id", "group_size")
    return schema.empty_table()


def _merge(groups: pa.Table, piece: pa.Table) -> pa.Table:
    """Return the entries with the rows of a piece counted in."""
    hashed = piece.select(["text_hash", "id", "copies"]).filter(pc.is_valid(piece["text_hash"]))
    together = pa.concat_tables([groups, hashed.rename_columns(groups.schema.names)])
    if len(together) == 0:
        return groups
    words_R2 = _words(together["text_hash"])
    order_R = np.lexsort(words_R2.T)  # equal hashes side by side
    first_G = np.flatnonzero(_starts_group(words_R2[order_R]))
    stays_G = _smallest_ids(together["id"], order_R, first_G)
    size_G = np.add.reduceat(together["group_size"].to_numpy()[order_R], first_G)
    entries = together.select(["text_hash", "id"]).take(stays_G)
    return entries.append_column("group_size", pa.array(size_G)).combine_chunks()


def _starts_group(words_R2: U64) -> npt.NDArray[np.bool_]:
    starts_R = np.ones(len(words_R2), dtype=np.bool_)
    starts_R[1:] = (words_R2[1:] != words_R2[:-1]).any(axis=1)
    return starts_R


def _smallest_ids(ids: pa.ChunkedArray, order_R: I64, first_G: I64) -> I64:
    """Return the row with the smallest id of each group; only ids that have a rival are compared.

    order_R  rows, group after group
    first_G  where in ``order_R`` each group begins
    """
    count_G = np.diff(first_G, append=len(order_R))
    stays_G = order_R[first_G]
    rivals = count_G > 1
    if not rivals.any():
        return stays_G
    row_S = order_R[np.repeat(rivals, count_G)]
    by_id_S = pc.array_sort_indices(ids.take(row_S)).to_numpy()
    rank_S = np.empty_like(by_id_S)
    rank_S[by_id_S] = np.arange(len(by_id_S))
    first_S = np.cumsum(count_G[rivals]) - count_G[rivals]
    stays_G[rivals] = row_S[by_id_S[np.minimum.reduceat(rank_S, first_S)]]
    return stays_G


def _mark(piece: pa.Table, groups: pa.Table) -> pa.Table:
    """Add duplicate_of and group_size to rows whose groups are complete."""
    entry = pc.index_in(piece["text_hash"], value_set=groups["text_hash"])
    stays = groups["id"].take(entry)
    repeats = pc.if_else(pc.equal(stays, piece["id"]), None, stays)
    marked = piece.append_column("duplicate_of", repeats)
    return marked.append_column("group_size", groups["group_size"].take(entry))


def _fitting(groups: pa.Table, room: int) -> int:
    """Return how many entries like those seen so far fit, with a quarter to spare."""
    return max(1, int(0.75 * room / (groups.nbytes / len(groups))))


# ---------------------------------------------------------------- rows and files


def _numbered(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Add to each row its number among all rows."""
    start = 0
    for batch in batches:
        row = pa.array(np.arange(start, start + len(batch)))
        yield pa.RecordBatch.from_arrays([row, *batch.columns], schema=_NUMBERED)
        start += len(batch)


def _row_numbers(table: pa.Table) -> I64:
    numbers: I64 = table["row"].to_numpy()
    return numbers


def _words(hashes: pa.Array | pa.ChunkedArray) -> U64:
    """Return a column of hashes, none of them null, as uint64[R, 2]."""
    whole = hashes.combine_chunks() if isinstance(hashes, pa.ChunkedArray) else hashes
    data, offset = bytes_and_offsets(whole.cast(pa.binary()))
    return data[offset[0] : offset[-1]].view(np.uint64).reshape(-1, 2)


def _in_order(found: list[pa.RecordBatch], start: int, stop: int) -> pa.Table:
    """Lay rows start..stop in order; those that no file holds stand alone in their group."""
    schema = columns("duplicate_of", "group_size")
    if not found:
        found = [pa.RecordBatch.from_pylist([], schema=pa.schema([_ROW, *schema]))]
    table = pa.Table.from_batches(found)
    place = np.full(stop - start, -1)
    place[_row_numbers(table) - start] = np.arange(len(table))
    rows = table.take(pa.array(place, mask=place < 0))
    size = pc.if_else(pa.array(place < 0), pa.scalar(1, pa.uint64()), rows["group_size"])
    return pa.table([rows["duplicate_of"], size], schema=schema)


class _Files:
    """Rows spread over numbered files, each added to at its end and read back in order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, table: pa.Table, file_N: npt.NDArray[np.integer]) -> None:
        """Append row n to file number file_N[n]."""
        if len(table) == 0:
            return
        order = np.argsort(file_N, kind="stable")
        table = table.take(order).combine_chunks()
        files, starts = np.unique(file_N[order], return_index=True)
        for file, start, stop in zip(files, starts, [*starts[1:], len(table)], strict=True):
            # A whole stream each time, so that no file stays open however many there are.
            with (
                open(self._path(int(file)), "ab") as sink,
                pa.ipc.new_stream(sink, table.schema) as stream,
            ):
                stream.write_table(table.slice(start, stop - start))

    def read(self, file: int) -> Iterator[pa.RecordBatch]:
        if not self._path(file).exists():
            return
        with open(self._path(file), "rb") as source:
            while source.peek(1):
                yield from pa.ipc.open_stream(source)

    def remove(self, file: int) -> None:
        self._path(file).unlink(missing_ok=True)

    def _path(self, file: int) -> Path:
        return self.folder / f"{file:06}.arrows"
