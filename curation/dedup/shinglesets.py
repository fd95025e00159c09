"""The different shingles of chosen rows, on disk, and how alike two rows' shingles are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.arrow import to_column
from curation.dedup.bands import halves
from curation.dedup.spill import Array, Bytes, RowArrays, mapped
from curation.errors import IntegrityError
from curation.kernels.jaccard import Sets, similarities
from curation.kernels.shingles import different_shingles

if TYPE_CHECKING:
    from curation.dedup.minhash import MinHashSketch

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]

#: Share of the memory that the shingles looked at in one go may take.
_LOOKED_AT_FRAC = 1 / 4
#: The least that a look at a mapped file brings in.
_PAGE_BYTES = 4096


class OnDisk(NamedTuple):
    """Sets of shingles in a file.

    start_N  int64[N]   row n's shingles are the file's [start_N[n]:][:count_N[n]]
    count_N  uint32[N]
    path     the file, of uint64
    """

    start_N: I64
    count_N: U32
    path: Path

    def opened(self) -> Sets:
        """Return them with the file mapped."""
        return Sets(self.start_N, self.count_N, mapped(self.path, np.uint64))


class ShingleSets:
    """The sets of the rows that have a pair.

    shingles_N  how many shingles each row has, as the sketch's stage counted them
    """

    def __init__(self, path: Path, arrays: RowArrays, shingles_N: U32) -> None:
        self.start_N = arrays.full("starts", -1, np.int64)
        self.count_N, self._shingles_N = arrays.full("counts", 0, np.uint32), shingles_N
        self._path, self._bytes, self._written = path, Bytes(path), 0

    def add(self, text: pa.Array, first: int, wanted: I64, sketcher: MinHashSketch) -> None:
        """Add some rows of a batch, of which ``first`` is the number of the first."""
        if len(wanted) == 0:
            return
        start, shingle_S = sketcher.shingles(text.take(to_column(wanted)))
        rows = first + wanted
        if (np.diff(start) != self._shingles_N[rows]).any():
            raise IntegrityError(
                "a text has other shingles than when it was sketched.",
                remedy="'text' and 'sketch' must belong together: sketch after the last step that "
                "changes the text",
            )
        start, shingle_S = different_shingles(start, shingle_S)
        self.count_N[rows] = np.diff(start)
        self.start_N[rows] = self._written + start[:-1]
        self._bytes.add(shingle_S.view(np.uint8))
        self._written += len(shingle_S)

    def done(self) -> ShingleSets:
        """Return the sets, complete."""
        self._bytes.done()
        return self

    @property
    def sets(self) -> OnDisk:
        return OnDisk(self.start_N, self.count_N, self._path)

    def compared(
        self, pair_P: U64, others: OnDisk, least: float, memory_bytes: int
    ) -> Iterator[tuple[U64, F64]]:
        """Yield the pairs that are at least so similar, and how similar; a piece at a time."""
        mine = self.sets
        upper, lower = halves(pair_P)
        touched = _touched(mine.count_N[upper]) + _touched(others.count_N[lower])
        part = (np.cumsum(touched) / (memory_bytes * _LOOKED_AT_FRAC)).astype(np.int64)
        for piece in np.split(pair_P, np.flatnonzero(np.diff(part)) + 1):
            if len(piece) == 0:
                continue
            # mapped anew for each piece, which lets the pages of the last one go
            alike = similarities(piece, mine.opened(), others.opened(), least)
            yield piece[alike >= least], alike[alike >= least]


def _touched(count_P: Array) -> I64:
    return np.maximum(8 * count_P.astype(np.int64), _PAGE_BYTES)
