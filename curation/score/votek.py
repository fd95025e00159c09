"""Which documents to have judged, so that few labels say much about all.

Trade-off: neighbours are found by comparing every vector with every other, block by block, which is
exact and grows with the square of their number. So of more than ``most_rows`` rows a hash of the id
draws that many, and only these can be chosen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.annotate.vectors import Vectors, commonest_length, embeddings
from curation.arrow import to_column
from curation.columns import columns
from curation.errors import RecipeError
from curation.stage import Reducer, Rows

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

#: Votes are whole numbers: the first weighs 2**40, so that 2**22 of them can be summed.
_WHOLE_VOTE = 2.0**40
#: Cosines nearer to each other than this are equal, and the order of ids decides.
_COSINE_STEP = 2.0**-20
#: Rows whose cosines to all others are held at a time.
_BLOCK_ROWS = 512


@dataclass(frozen=True, kw_only=True)
class VoteK(Reducer):
    """Choose the documents that are worth a label, by their embeddings.

    Every row votes for its nearest neighbours by cosine. One by one, the row with the most votes is
    chosen; a vote weighs ``discount`` times less with every neighbour of its voter that has been
    chosen, so that the next choice lies where none was yet. This is the paper's graph alone ("fast
    vote-k"), without its second half that asks a model how sure it is. A copy of a document is its
    neighbour and votes for it: drop copies first.

    documents   how many to choose
    neighbours  of each row; the paper's is 150
    discount    rho; the paper's is 10
    most_rows   of more rows than this, a hash of the id draws as many that take part
    seed        of that hash, which also settles ties

    reads    id          large_string  distinct
             embedding   large_list<item: float32>  null allowed
    writes   label_rank  uint32  0 for the row chosen first; null where it is not chosen, and where
                                 its vector is null, zero, not finite or not of the commonest length
    source   Su et al. 2022, arXiv:2209.01975 (selective annotation)
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("id", "embedding")
    writes: ClassVar[pa.Schema] = columns("label_rank")

    documents: int
    neighbours: int = 150
    discount: float = 10.0
    most_rows: int = 20_000
    seed: int = 0

    def check(self) -> None:
        least = {"documents": 1, "neighbours": 1, "most_rows": 1, "seed": 0}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise RecipeError(
                    f"VoteK takes no {name} below {value}.", found=f"{name}={getattr(self, name)}"
                )
        if not 1 < self.discount < float("inf"):
            raise RecipeError(
                "VoteK takes a discount above 1.", found=f"discount={self.discount}", remedy="10"
            )
        if self.documents > self.most_rows:
            raise RecipeError(
                "VoteK cannot choose more documents than take part.",
                found=f"documents={self.documents:,}, most_rows={self.most_rows:,}",
                remedy="a larger most_rows, or sample(documents=...) in its place",
            )

    def reduce(self, rows: Rows) -> Iterator[pa.RecordBatch]:
        from curation.kernels.votek import vote_k

        key_R, unit_RD, total = self._drawn(rows)
        near_RK = nearest_neighbours(unit_RD, self.neighbours)
        levels = np.arange(self.neighbours + 1, dtype=np.float64)
        weight_L = np.rint(_WHOLE_VOTE * self.discount**-levels).astype(np.int64)
        chosen_M = vote_k(near_RK, weight_L, self.documents)
        rank_N = np.full(total, -1, dtype=np.int64)
        rank_N[key_R[chosen_M]] = np.arange(chosen_M.size)
        for start in range(0, total, 1 << 16):
            rank = rank_N[start : start + (1 << 16)]
            made = to_column(np.maximum(rank, 0).astype(np.uint32), rank >= 0)
            yield pa.RecordBatch.from_arrays([made], schema=self.writes)

    def _drawn(self, rows: Rows) -> tuple[I64, F32, int]:
        """Return the rows that take part, in an order that is theirs, and how many rows there are.

        returns  (place int64[R] among all rows, float32[R, D] of length 1, N)
        """
        from curation.engine.best import id_hash

        dims, _ = commonest_length(embeddings(rows))
        hashes, places, units, total = [], [], [], 0
        for batch in rows.batches("id", "embedding"):
            vectors = Vectors.of(batch["embedding"])
            row_M = vectors.rows_of(dims)
            hashes.append(id_hash(batch["id"], self.seed)[row_M])
            places.append(total + row_M)
            units.append(vectors.unit(row_M, dims))
            total += len(batch)
            if sum(map(len, hashes)) > 4 * self.most_rows:
                hashes, places, units = _smallest(hashes, places, units, self.most_rows)
        if not hashes:
            return np.zeros(0, np.int64), np.zeros((0, 1), np.float32), 0
        _, places, units = _smallest(hashes, places, units, self.most_rows)
        return places[0], units[0], total


def _smallest(
    hashes: list[U64], places: list[I64], units: list[F32], most: int
) -> tuple[list[U64], list[I64], list[F32]]:
    """Return the rows with the smallest hashes, in the order of the hash, as one block."""
    hash_R, place_R = np.concatenate(hashes), np.concatenate(places)
    order = np.argsort(hash_R, kind="stable")[:most]
    return [hash_R[order]], [place_R[order]], [np.concatenate(units)[order]]


def nearest_neighbours(unit_RD: F32, neighbours: int) -> I32:
    """Return int32[R, K]: the nearest rows of each by cosine, itself aside, the nearest first.

    Cosines are compared in steps of _COSINE_STEP; equal ones go to the smaller index. K is the
    smaller of ``neighbours`` and R-1, and 1 at least; -1 where there is no other row.
    """
    count = len(unit_RD)
    width = min(neighbours, count - 1)
    near_RK = np.full((count, max(width, 1)), -1, dtype=np.int32)
    if width < 1:
        return near_RK
    index_R = np.arange(count, dtype=np.int64)
    for start in range(0, count, _BLOCK_ROWS):
        cosine_BR = unit_RD[start : start + _BLOCK_ROWS] @ unit_RD.T
        step_BR = np.rint(cosine_BR.astype(np.float64) / _COSINE_STEP).astype(np.int64)
        key_BR = -step_BR * count + index_R  # the smallest is the nearest
        block_B = np.arange(len(cosine_BR))
        key_BR[block_B, start + block_B] = np.iinfo(np.int64).max
        best_BK = np.argpartition(key_BR, width - 1, axis=1)[:, :width]
        order_BK = np.argsort(np.take_along_axis(key_BR, best_BK, axis=1), axis=1)
        near_RK[start : start + len(block_B)] = np.take_along_axis(best_BK, order_BK, axis=1)
    return near_RK
