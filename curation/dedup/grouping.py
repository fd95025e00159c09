"""How ``NearDuplicates`` does its work: bands, pairs, verified pairs, groups, columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.arrow import bytes_and_offsets, is_valid, to_column, values_of
from curation.dedup.bands import BandEntries, Entries, Pairs, halves, sorted_entries
from curation.dedup.index import Index, open_index
from curation.dedup.marks import MARK, keep_marks
from curation.dedup.preference import preference_of, scope_of
from curation.dedup.shinglesets import OnDisk, ShingleSets
from curation.dedup.spill import Array, Bytes, RowArrays, Spill, strings_at
from curation.errors import RecipeError
from curation.kernels.candidates import Preference, bucket_pairs, index_pairs
from curation.kernels.components import (
    GOES,
    STAYS,
    choose_twins,
    join,
    open_rows,
    roots,
    settle,
)
from curation.kernels.hashing import hash_bytes
from curation.kernels.minhash import band_keys
from curation.stage import pulse
from curation.threads import in_order

if TYPE_CHECKING:
    from curation.dedup.minhash import MinHashSketch
    from curation.dedup.near import NearDuplicates
    from curation.stage import Rows

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

#: Share of the memory that one array over all rows may take before it becomes a file.
_ROW_ARRAY_FRAC = 1 / 32
_EDGES_FRAC = 1 / 8
#: A pair is two row numbers in 64 bits.
MOST_ROWS = 1 << 32
#: Rows of a batch of the result.
_OUT_ROWS = 1 << 16

#: A verified pair.
EDGE = np.dtype([("pair", np.uint64), ("similarity", np.float64)])


class Grouping:
    """One reduction; each method is a step, in the order of ``batches``."""

    def __init__(self, stage: NearDuplicates, sketcher: MinHashSketch, rows: Rows) -> None:
        self.stage, self.sketcher, self.rows = stage, sketcher, rows
        self.count = rows.count
        self.scratch: Path = rows.scratch
        self.memory = stage.memory_bytes
        self.arrays = RowArrays(
            self.scratch / "rows", self.count, int(self.memory * _ROW_ARRAY_FRAC)
        )
        self._refuse_too_many()
        self._refuse_own_store()
        self.indexes: Sequence[Index] = [open_index(path) for path in stage.against]
        for index in self.indexes:
            index.check_settings(sketcher)
        full = self.arrays.full
        self.first, self.shingles = full("first", 0, np.uint64), full("shingles", 0, np.uint32)
        self.tie, self.copies = full("tie", 0, np.uint64), full("copies", 1, np.uint64)
        self.witness = full("witness", 0, np.uint64)
        self.state = full("state", STAYS, np.uint8)
        self.twin, self.alike = full("twin", -1, np.int64), full("alike", 0, np.float64)
        self.home = full("home", -1, np.int16)  # the index that the twin is in
        self.sketched = full("sketched", 0, np.bool_)
        self.id_stop = full("id_stop", 0, np.int64)
        self.some_marked = False

    def _refuse_too_many(self) -> None:
        if self.count >= MOST_ROWS:
            raise RecipeError(
                "NearDuplicates numbers rows with 32 bits.",
                found=f"{self.count:,} rows",
                remedy="several builds, each against the indexes of those before it",
            )

    def _refuse_own_store(self) -> None:
        """A store's latest index is another one after each run: the run would follow itself."""
        store = self.scratch.resolve().parent.parent
        for path in self.stage.against:
            if Path(path).resolve() == store:
                raise RecipeError(
                    "NearDuplicates is to compare with the very store that the run writes to.",
                    found=f"against={path!r}",
                    remedy="another --store for this run, or the folder of one index: "
                    f"{path}/builds/BUILD/index",
                )

    @property
    def preference(self) -> Preference:
        return Preference(self.first, self.shingles, self.tie)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Do all steps and yield the columns of all rows in their order."""
        if self.count == 0:
            return
        entries = self._read()
        pairs, matches = self._pair(entries)
        if self.stage.verify:
            sets = self._shingle_sets([pairs, *matches])
            self._match_indexes(matches, sets)
            self._break_chains(pairs, sets)
        else:
            self._join(pairs)
        made = self._columns()
        if self.some_marked:
            made = keep_marks(made, self.rows.batches(*self.stage.writes.names))
        yield from made

    # ---- sketches to pairs

    def _read(self) -> BandEntries:
        """Read everything but the text: keys, preferences, ids."""
        entries = BandEntries(self.scratch, self.sketcher.bands + 1, self.count, self.memory)
        self._ids = Bytes(self.scratch / "ids.bin")
        names = ["id", "sketch", "shingle_count", "group_size", MARK, *self.stage.looked_at]
        start, id_bytes = 0, 0
        for batch in self.rows.batches(*dict.fromkeys(names)):
            stop = start + len(batch)
            data, offset = bytes_and_offsets(batch["id"])
            self._ids.add(data[offset[0] : offset[-1]])
            self.id_stop[start:stop] = offset[1:] - offset[0] + id_bytes
            id_bytes += int(offset[-1] - offset[0])
            self.tie[start:stop] = hash_bytes(data, offset)
            self.first[start:stop] = preference_of(self.stage, batch)
            marked = is_valid(batch[MARK])
            self.some_marked |= bool(marked.any())
            valid = is_valid(batch["sketch"]) & ~marked
            counts = np.where(
                is_valid(batch["shingle_count"]), values_of(batch["shingle_count"]), 0
            )
            self.shingles[start:stop] = counts
            self.sketched[start:stop] = valid
            known = is_valid(batch["group_size"])
            self.copies[start:stop] = np.where(known, values_of(batch["group_size"]), 1)
            hash_NH = self.sketcher.hashes(batch["sketch"].filter(to_column(valid)))
            self.witness[start:stop][valid] = hash_NH[:, 0]
            key_NK = band_keys(hash_NH, self.sketcher.bands, self.sketcher.rows)
            if self.stage.within:
                key_NK ^= scope_of(self.stage.within, batch)[valid, None]
            entries.add((start + np.flatnonzero(valid)).astype(np.uint32), key_NK)
            start = stop
        return entries

    def _pair(self, entries: BandEntries) -> tuple[Pairs, list[Pairs]]:
        """Return the pairs of rows, and for each index those of a row and one of its rows."""

        def no_pairs(name: str) -> Pairs:
            return Pairs(self.scratch / name, self.count, self.sketcher.bands, self.memory)

        pairs = no_pairs("pairs")
        found = [no_pairs(f"pairs-{number}") for number in range(len(self.indexes))]

        def pairs_of(part: tuple[int, Entries]) -> tuple[U64, list[U64]]:
            band, (key_E, row_E) = part[0], sorted_entries(part[1])
            matches = [index_pairs(key_E, row_E, *index.band(band)) for index in self.indexes]
            return bucket_pairs(key_E, row_E, self.preference), matches

        for pair_P, matches in in_order(pairs_of, entries.parts()):
            pairs.add(pair_P)
            for known, match_P in zip(found, matches, strict=True):
                known.add(match_P)
        return pairs, found

    # ---- pairs to verified pairs

    def _shingle_sets(self, all_pairs: Sequence[Pairs]) -> ShingleSets:
        """Read the text of the rows that have a pair, and keep their shingles on disk."""
        wanted = self.arrays.full("wanted", 0, np.bool_)
        for number, pairs in enumerate(all_pairs):
            for pair_P in pairs:
                upper, lower = halves(pair_P)
                wanted[upper] = True
                if number == 0:
                    wanted[lower] = True
        sets = ShingleSets(self.scratch / "sets.bin", self.arrays, self.witness, self.sketcher)
        if wanted.any():
            for made in in_order(sets.made, self._texts(wanted)):
                sets.add(*made)
        return sets.done(self.memory)

    def _texts(self, wanted: Array) -> Iterator[tuple[I64, pa.Array]]:
        """Yield the rows that are wanted and their texts."""
        start = 0
        for batch in self.rows.batches("text"):
            row_M = np.flatnonzero(wanted[start : start + len(batch)])
            if len(row_M):
                yield start + row_M, batch["text"].take(to_column(row_M))
            start += len(batch)

    def _match_indexes(self, found: Sequence[Pairs], sets: ShingleSets) -> None:
        """Give each row that repeats one of an index's rows the one that it is most like."""
        for number, (index, pairs) in enumerate(zip(self.indexes, found, strict=True)):
            for pair_P in pairs.pop_all():
                for found_P, alike_P in self._compared(sets, pair_P, index.sets):
                    self._take_better(number, found_P, alike_P)

    def _compared(
        self, sets: ShingleSets, pair_P: U64, others: OnDisk
    ) -> Iterator[tuple[U64, F64]]:
        return sets.compared(pair_P, others, self.stage.similarity, self.memory)

    def _take_better(self, number: int, pair_P: U64, alike_P: F64) -> None:
        row_P, other_P = halves(pair_P)
        order = np.lexsort((other_P, -alike_P, row_P))
        first = np.unique(row_P[order], return_index=True)[1]
        best = order[first]
        best = best[alike_P[best] > self.alike[row_P[best]]]
        row = row_P[best]
        self.twin[row], self.alike[row] = other_P[best], alike_P[best]
        self.home[row], self.state[row] = number, GOES

    def _break_chains(self, pairs: Pairs, sets: ShingleSets) -> None:
        """Verify the pairs, decide which rows stay and give each that goes its twin."""
        edges = Spill(self.scratch / "edges", EDGE, int(self.memory * _EDGES_FRAC))
        for part, pair_P in enumerate(pairs.pop_all()):
            for found_P, alike_P in self._compared(sets, pair_P, sets.sets):
                edge = np.empty(len(found_P), dtype=EDGE)
                edge["pair"], edge["similarity"] = found_P, alike_P
                edges.add(part, edge)
        parts = edges.parts
        for part in parts:
            open_rows(_column(edges.read(part), "pair"), self.state)
        left, backwards = 1, False
        while left:
            left = 0
            for part in reversed(parts) if backwards else parts:
                pulse()
                left += settle(_column(edges.read(part), "pair"), self.state, backwards)[1]
            backwards = not backwards
        for part in parts:
            edge = edges.pop(part)
            pair_P, alike_P = _column(edge, "pair"), _column(edge, "similarity")
            own = self.home[halves(pair_P)[0]] < 0
            choose_twins(
                pair_P[own], alike_P[own], self.state, self.twin, self.alike, self.preference
            )

    def _join(self, pairs: Pairs) -> None:
        """Make one group of all that is chained together, unverified."""
        parent = self.arrays.full("parent", 0, np.uint32)
        parent[:] = np.arange(self.count)
        for pair_P in pairs.pop_all():
            join(pair_P, parent, self.preference)
        root = roots(parent)
        goes = root != np.arange(self.count)
        self.twin[goes] = root[goes]
        self.state[goes] = GOES
        self._estimate()

    def _estimate(self) -> None:
        """Give each row that goes the share of sketch values in which it agrees with its twin."""
        from curation.kernels.minhash import agreement

        goes = np.flatnonzero(self.state == GOES)
        wanted = self.arrays.full("wanted", 0, np.bool_)
        wanted[goes] = wanted[self.twin[goes]] = True
        place = self.arrays.full("place", -1, np.int64)
        place[wanted] = np.arange(int(wanted.sum()))
        sketches, start = Bytes(self.scratch / "sketches.bin"), 0
        for batch in self.rows.batches("sketch"):
            mask = wanted[start : start + len(batch)]
            hash_NH = self.sketcher.hashes(batch["sketch"].filter(to_column(mask)))
            sketches.add(hash_NH.ravel().view(np.uint8))
            start += len(batch)
        kind = np.dtype(f"<u{self.sketcher.bits // 8}")
        hash_NH = sketches.done().view(kind).reshape(-1, self.sketcher.values)
        self.alike[goes] = agreement(hash_NH, place[goes], place[self.twin[goes]])

    # ---- groups to columns

    def _columns(self) -> Iterator[pa.RecordBatch]:
        """Yield the columns of all rows."""
        ids = self._ids.done()
        size = self.arrays.full("size", 0, np.uint64)
        size += self.copies
        own = np.flatnonzero((self.state == GOES) & (self.home < 0))
        np.add.at(size, self.twin[own], self.copies[own])
        grouped = self.arrays.full("grouped", 0, np.bool_)
        grouped[self.twin[own]] = True
        for start in range(0, self.count, _OUT_ROWS):
            rows = np.arange(start, min(start + _OUT_ROWS, self.count))
            yield self._batch(rows, ids, size, grouped)

    def _batch(self, rows: I64, ids: Array, size: U64, grouped: Array) -> pa.RecordBatch:
        goes, home = self.state[rows] == GOES, self.home[rows]
        here = goes & (home < 0)
        stays = np.where(here, self.twin[rows], rows)
        in_group = here | grouped[rows]
        names = strings_at(ids, self.id_stop, stays, here)
        for number, index in enumerate(self.indexes):
            mask = home == number
            found = index.ids(self.twin[rows], mask)
            names = pc.if_else(to_column(mask), found, names)
        homes = pa.array([index.name for index in self.indexes], pa.large_string())
        sizes = np.where(goes & ~here, self.copies[rows], size[stays])
        arrays = [
            names,
            to_column(self.alike[rows].astype(np.float32), goes),
            strings_at(ids, self.id_stop, stays, in_group),
            to_column(sizes, self.sketched[rows]),
            homes.take(to_column(home.astype(np.int64), home >= 0)),
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.stage.writes)


def _column(edge: Array, name: str) -> npt.NDArray[Any]:
    return np.ascontiguousarray(edge[name])
