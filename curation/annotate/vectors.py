"""A column of vectors as arrays: what those share that compare, cluster or count embeddings.

A row has a direction where its vector is neither null, zero nor without end. Vectors of another
length than most come from another model and are compared with none: the commonest length is
known only when all rows have been seen.

V coordinates of all rows laid end to end, N rows, M rows with a direction, D dimensions
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.arrow import Bool_N, is_valid, values_of
from curation.stage import Rows

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Vectors:
    """The vectors of a batch.

    value_V  float32[V]    coordinates; a null among them is NaN
    offset   int64[N+1]    row n owns value_V[offset[n]:offset[n+1]]; need not start at 0
    norm_N   float64[N]    length of the vector; 0 where the row has no direction
    """

    value_V: F32
    offset: I64
    norm_N: F64

    @classmethod
    def of(cls, lists: pa.Array, wanted: Bool_N | None = None) -> Vectors:
        """Read a column; rows that are not wanted are taken to have no direction."""
        from curation.kernels.semantic import norms

        valid = is_valid(lists) if wanted is None else is_valid(lists) & wanted
        if not valid.any():
            nothing = np.zeros(len(lists) + 1, dtype=np.int64)
            return cls(np.empty(0, dtype=np.float32), nothing, np.zeros(len(lists)))
        values = lists.values
        if values.null_count:
            values = pc.fill_null(values, np.float32(np.nan))
        # Copies where they are small: numba compiles a kernel again for arrays that are read-only.
        value_V, offset = values_of(values), values_of(lists.offsets).copy()
        return cls(value_V, offset, norms(value_V, offset, valid))

    @property
    def lengths(self) -> I64:
        """int64[N]: the length of each row's list."""
        found: I64 = np.diff(self.offset)
        return found

    def rows_of(self, dims: int) -> I64:
        """Return int64[M]: the rows with a direction in so many dimensions."""
        (row_M,) = np.nonzero((self.norm_N > 0) & (self.lengths == dims))
        return row_M

    def unit(self, row_M: I64, dims: int) -> F32:
        """Return float32[M, D]: vectors of such rows at norm 1."""
        from curation.kernels.semantic import unit_rows

        unit_MD = np.empty((len(row_M), dims), dtype=np.float32)
        unit_rows(self.value_V, self.offset[row_M], self.norm_N[row_M], unit_MD)
        return unit_MD


def commonest_length(found: Iterable[Vectors]) -> tuple[int, int]:
    """Return the length that most vectors have (of two, the longer), and how many have it."""
    count: dict[int, int] = {}
    for vectors in found:
        lengths, counts = np.unique(vectors.lengths[vectors.norm_N > 0], return_counts=True)
        for length, more in zip(lengths.tolist(), counts.tolist(), strict=True):
            count[length] = count.get(length, 0) + more
    dims = max(count, key=lambda length: (count[length], length), default=0)
    return dims, count.get(dims, 0)


def embeddings(rows: Rows) -> Iterator[Vectors]:
    """Yield the vectors of all rows, batch by batch."""
    for batch in rows.batches("embedding"):
        yield Vectors.of(batch["embedding"])
