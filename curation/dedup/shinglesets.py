"""The different shingles of chosen rows, on disk, and how alike two rows' shingles are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.dedup.bands import halves
from curation.dedup.spill import Bytes, RowArrays
from curation.errors import IntegrityError
from curation.kernels.jaccard import Sets, piece_starts, similarities
from curation.kernels.shingles import different_shingles
from curation.threads import in_order

if TYPE_CHECKING:
    from curation.dedup.minhash import MinHashSketch

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]

#: Share of the memory that the sets that one thread looks at in one go may take.
_READ_FRAC = 1 / 16
#: Share of the memory that all sets may take to be held: what came before them has gone by then.
_HELD_FRAC = 1 / 2
#: What is read in vain rather than in two goes.
_GAP_SHINGLES = 128


class OnDisk(NamedTuple):
    """Sets of shingles in a file, in the order of the rows.

    start_N  int64[N]   row n's shingles are the file's [start_N[n]:][:count_N[n]]
    count_N  uint32[N]
    path     the file, of uint64
    held     the whole file, where there is memory for it
    """

    start_N: I64
    count_N: U32
    path: Path
    held: U64 | None = None

    def of(self, row_P: I64) -> tuple[U64, Sets]:
        """Return the sets of some rows, and where among them each row's is."""
        if self.held is not None:
            return row_P.astype(np.uint64), Sets(self.start_N, self.count_N, self.held)
        row_M, place_P = np.unique(row_P, return_inverse=True)
        return place_P.astype(np.uint64), self._read(row_M)

    def read_bytes(self, row_M: I64) -> I64:
        """Return a bound on what reading the set of each row brings in."""
        return 8 * (self.count_N[row_M].astype(np.int64) + _GAP_SHINGLES)

    def _read(self, row_M: I64) -> Sets:
        """Read the sets of some rows, ascending.

        They are read and not mapped: a look at a mapped file can bring in megabytes around it.
        """
        start_M, count_M = self.start_N[row_M], self.count_N[row_M].astype(np.int64)
        stop_M = start_M + count_M
        begins = np.ones(len(row_M), dtype=np.bool_)  # sets that lie close are read in one go
        begins[1:] = start_M[1:] - stop_M[:-1] > _GAP_SHINGLES
        first = np.flatnonzero(begins)
        start_R, stop_R = start_M[begins], stop_M[np.append(first[1:], len(row_M)) - 1]
        at_R = np.concatenate([[0], np.cumsum(stop_R - start_R)])
        data = np.empty(at_R[-1], dtype=np.uint64)
        with open(self.path, "rb", buffering=0) as file:
            for start, begin, end in zip(start_R, at_R, at_R[1:], strict=False):
                file.seek(8 * int(start))
                rest = data[begin:end].view(np.uint8).data
                while rest:  # a system reads no more than 2 GB at a time
                    read = file.readinto(rest)
                    if not read:
                        raise OSError(f"{self.path} is shorter than it was")
                    rest = rest[read:]
        place_M = start_M + (at_R[:-1] - start_R)[np.cumsum(begins) - 1]
        return Sets(place_M, self.count_N[row_M], data)


class ShingleSets:
    """The sets of the rows that have a pair.

    witness_N  uint64[N]: the first value of each row's sketch
    """

    def __init__(
        self, path: Path, arrays: RowArrays, witness_N: U64, sketcher: MinHashSketch
    ) -> None:
        self._sketcher = sketcher
        self.start_N = arrays.full("starts", -1, np.int64)
        self.count_N, self._witness_N = arrays.full("counts", 0, np.uint32), witness_N
        self._path, self._bytes, self._written = path, Bytes(path), 0
        self._held: U64 | None = None

    def made(self, texts: tuple[I64, pa.Array]) -> tuple[I64, I64, U64]:
        """Return rows, where the different shingles of each begin, and these; in any thread.

        texts  rows and their texts
        """
        row_M, text = texts
        start, shingle_S = self._sketcher.shingles(text)
        first = self._sketcher.first_values(start, shingle_S)
        if (first.astype(np.uint64) != self._witness_N[row_M]).any():
            raise IntegrityError(
                "a text is not the one that was sketched.",
                remedy="'text' and 'sketch' must belong together: sketch after the last step that "
                "changes the text",
            )
        return row_M, *different_shingles(start, shingle_S)

    def add(self, row_M: I64, start: I64, shingle_S: U64) -> None:
        """Add what ``made`` returned."""
        self.count_N[row_M] = np.diff(start)
        self.start_N[row_M] = self._written + start[:-1]
        self._bytes.add(shingle_S.view(np.uint8))
        self._written += len(shingle_S)

    def done(self, memory_bytes: int) -> ShingleSets:
        """Return the sets, complete; in memory if they take no more than a share of that."""
        self._bytes.done()
        if 8 * self._written <= memory_bytes * _HELD_FRAC:
            self._held = np.fromfile(self._path, dtype=np.uint64)
        return self

    @property
    def sets(self) -> OnDisk:
        """The sets of the rows that have any."""
        return OnDisk(self.start_N, self.count_N, self._path, self._held)

    def compared(
        self, pair_P: U64, others: OnDisk, least: float, memory_bytes: int
    ) -> Iterator[tuple[U64, F64]]:
        """Yield the pairs that are at least so similar, and how similar; a piece at a time."""
        mine = self.sets
        (row_M, row_P), (other_M, other_P) = (
            np.unique(rows, return_inverse=True) for rows in halves(pair_P)
        )
        read_M, other_read_M = mine.read_bytes(row_M), others.read_bytes(other_M)
        starts = piece_starts(row_P, other_P, read_M, other_read_M, int(memory_bytes * _READ_FRAC))

        def compare(piece_P: U64) -> tuple[U64, F64]:
            upper, lower = halves(piece_P)
            (mine_P, my_sets), (other_P, other_sets) = mine.of(upper), others.of(lower)
            alike = similarities(mine_P << np.uint64(32) | other_P, my_sets, other_sets, least)
            return piece_P[alike >= least], alike[alike >= least]

        if len(pair_P):
            yield from in_order(compare, np.split(pair_P, starts))
