"""The different shingles of chosen rows, on disk, and how alike two rows' shingles are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.arrow import bytes_and_offsets
from curation.dedup.bands import halves
from curation.dedup.spill import Array, Bytes, RowArrays, mapped
from curation.errors import IntegrityError

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


class ShingleSets:
    """The sets of the rows that have a pair.

    count_N  how many different shingles each row has, as the sketch's stage counted them
    """

    def __init__(self, path: Path, arrays: RowArrays, count_N: U32) -> None:
        self.start_N, self.count_N = arrays.full("starts", -1, np.int64), count_N
        self._path, self._bytes, self._written = path, Bytes(path), 0

    def add(self, text: pa.Array, first: int, wanted: I64, sketcher: MinHashSketch) -> None:
        """Add some rows of a batch, of which ``first`` is the number of the first."""
        if len(wanted) == 0:
            return
        start, shingle_S = shingles_of(text, wanted, sketcher)
        rows = first + wanted
        if (np.diff(start) != self.count_N[rows]).any():
            raise IntegrityError(
                "a text has other shingles than when it was sketched.",
                remedy="'text' and 'sketch' must belong together: sketch after the last step that "
                "changes the text",
            )
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

    def compared(self, pair_P: U64, others: OnDisk, memory_bytes: int) -> Iterator[tuple[U64, F64]]:
        """Yield pairs with their Jaccard similarity, so many at a time as memory allows."""
        from curation.kernels.jaccard import similarities

        mine = self.sets
        upper, lower = halves(pair_P)
        touched = _touched(mine.count_N[upper]) + _touched(others.count_N[lower])
        part = (np.cumsum(touched) / (memory_bytes * _LOOKED_AT_FRAC)).astype(np.int64)
        for piece in np.split(pair_P, np.flatnonzero(np.diff(part)) + 1):
            if len(piece) == 0:
                continue
            # mapped anew for each piece, which lets the pages of the last one go
            shingle_S, other_S = mapped(mine.path, np.uint64), mapped(others.path, np.uint64)
            yield piece, similarities(piece, *mine[:2], shingle_S, *others[:2], other_S)


def shingles_of(text: pa.Array, row_M: I64, sketcher: MinHashSketch) -> tuple[I64, U64]:
    """Return the different shingles of some rows of a column; see ``different_shingles``."""
    from curation.kernels.shingles import UNITS, different_shingles, fold_table

    data, offset = bytes_and_offsets(text)
    unit = UNITS.index(sketcher.unit)
    return different_shingles(data, offset, row_M, unit, sketcher.ngram, fold_table())


def _touched(count_P: Array) -> I64:
    return np.maximum(8 * count_P.astype(np.int64), _PAGE_BYTES)
