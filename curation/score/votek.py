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
import pyarrow.compute as pc

from curation.arrow import is_valid, to_column, values_of
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
        dims = _commonest_length(rows)
        hashes, places, vectors, total = [], [], [], 0
        for batch in rows.batches("id", "embedding"):
            able_N, unit_ND = unit_vectors(batch["embedding"], dims)
            hashes.append(_salted(batch["id"], self.seed)[able_N])
            places.append(total + np.flatnonzero(able_N))
            vectors.append(unit_ND)
            total += len(batch)
            if sum(map(len, hashes)) > 4 * self.most_rows:
                hashes, places, vectors = _smallest(hashes, places, vectors, self.most_rows)
        if not hashes:
            return np.zeros(0, np.int64), np.zeros((0, 1), np.float32), 0
        _, places, vectors = _smallest(hashes, places, vectors, self.most_rows)
        return places[0], vectors[0], total


def _salted(ids: pa.Array, seed: int) -> U64:
    from curation.engine.best import id_hash

    return id_hash(ids, seed)


def _smallest(
    hashes: list[U64], places: list[I64], vectors: list[F32], most: int
) -> tuple[list[U64], list[I64], list[F32]]:
    """Return the rows with the smallest hashes, in the order of the hash, as one block."""
    hash_R, place_R = np.concatenate(hashes), np.concatenate(places)
    order = np.argsort(hash_R, kind="stable")[:most]
    return [hash_R[order]], [place_R[order]], [np.concatenate(vectors)[order]]


def _commonest_length(rows: Rows) -> int:
    """Return the length that most vectors have; of two, the longer."""
    counts: dict[int, int] = {}
    for batch in rows.batches("embedding"):
        for found in pc.value_counts(pc.list_value_length(batch["embedding"])):
            length = found["values"].as_py()
            if length:
                counts[length] = counts.get(length, 0) + found["counts"].as_py()
    return max(counts, key=lambda length: (counts[length], length), default=1)


def unit_vectors(embedding: pa.Array, dims: int) -> tuple[npt.NDArray[np.bool_], F32]:
    """Return (bool[N] which rows have a vector, float32[M, D] of those, of length 1).

    A vector that is null, zero, of another length, or holds what is not finite, is none.
    """
    length = pc.fill_null(pc.list_value_length(embedding), -1)
    able_N = values_of(length) == dims
    kept = embedding.filter(to_column(able_N))
    flat = kept.flatten()
    flat_MD = np.where(is_valid(flat), values_of(flat), np.float32(np.nan)).reshape(-1, dims)
    with np.errstate(over="ignore", invalid="ignore"):
        norm_M = np.sqrt(np.square(flat_MD.astype(np.float64)).sum(axis=1))
    is_sound_M = np.isfinite(norm_M) & (norm_M > 0)
    able_N[able_N] = is_sound_M
    unit_MD = flat_MD[is_sound_M] / norm_M[is_sound_M, None]
    return able_N, unit_MD.astype(np.float32)


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
