"""Documents that say the same in other words: near neighbours among sentence embeddings.

Vectors are gathered into clusters and compared inside their cluster only, as SemDeDup does. Four
things differ from the paper. What stays is clustered a second time, for the pairs that a border
had parted. Equal vectors are one before anything else, so that a text that
stands a million times costs no more than one. A row is compared only with the rows that stay, so
that no chain of small steps joins what is far apart. And nothing depends on the order of rows:
centres begin at the vectors with the smallest hash, sums are whole numbers (see
kernels/semantic.py), and ties go to the smaller hash of the id.

Trade-off: vectors that fit into half of ``memory_bytes`` are held, others lie in a file in scratch
and are read block by block. Beside that about 120 bytes are held for each row with a vector,
which is a tenth of what its vector takes on disk, or less. The embedding is read twice, because
the length that most vectors have is known only at the end.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.annotate.vectors import Vectors, commonest_length
from curation.arrow import bytes_and_offsets, is_valid, to_column, values_of
from curation.columns import columns
from curation.errors import RecipeError
from curation.stage import Reducer, Rows

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
Bool_N = npt.NDArray[np.bool_]

#: So few distinct vectors are one cluster: to compare them all takes less than to cluster them.
ONE_CLUSTER = 4096
#: K-means looks at so many distinct vectors for each centre, those with the smallest hash.
TRAINED_PER_CENTRE = 256
# Shares of the memory allowed for all vectors and for what a block of them takes.
_VECTORS_FRAC = 1 / 2
_BLOCK_FRAC = 1 / 8
#: More rows in a block gain nothing, fewer make numpy's calls the cost.
_MOST_ROWS, _LEAST_ROWS = 2048, 16
#: Stands for the cosine to the row joined while there is none.
_NONE = -2.0

_FOUND = ("duplicate_of", "similarity", "group_id", "group_size")


@dataclass(frozen=True, kw_only=True)
class SemanticDuplicates(Reducer):
    """Name the row that stays of each group of rows whose embeddings point the same way.

    Inside a cluster rows are gone through from the farthest from its centre to the nearest
    ("hard"; "easy": the other way round). A row whose cosine to one that stays reaches
    ``similarity`` joins the most similar of those, any other stays. Cosines are exact to 1e-6.
    Pairs that fall into two clusters are missed (benchmarks/dedup_semantic.py counts them). So the
    rows that stay are clustered again from other centres; a row whose own row joins another then
    follows it where it is similar enough, and stays otherwise.

    Vectors that are null, zero, not finite or not of the commonest length (of two, the longer)
    stand alone. Rows that an earlier step marked as copies keep what they have and take no part,
    and the ``group_size`` of the rows that stayed there is counted in: drop the copies first.

    similarity  least cosine of two rows that say the same: the paper's 1 - epsilon
    clusters    how many; 0 for half the square root of the distinct vectors, one for 4096 of
                them or fewer. The configuration of SemDeDup has 50,000
    iterations  most rounds of k-means, on 256 distinct vectors for each cluster
    passes      how often rows are clustered; the paper's is 1
    keep        "hard" keeps the row far from the centre, "easy" the one near to it
    seed        of the hashes that choose the first centres and settle ties

    reads    id            large_string  distinct
             embedding     large_list<item: float32>  null allowed
    may_read duplicate_of  large_string  a row that has it takes no part and keeps what it has
             similarity    float32       kept for such a row
             group_id      large_string  kept for such a row
             group_size    uint64        copies that the row stands for; null is one
    writes   duplicate_of  large_string  id of the row that stays; null for it and for a row alone
             similarity    float32       cosine to the row that stays; null where there is none
             group_id      large_string  id of the row that stays; null for a row alone
             group_size    uint64        rows of the group, with the copies that they stand for;
                                         as handed over where the row takes no part
    source   Abbas et al. 2023, arXiv:2303.09540 (SemDeDup), from the paper's description
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("id", "embedding")
    writes: ClassVar[pa.Schema] = columns(*_FOUND)
    incidental: ClassVar[tuple[str, ...]] = ("memory_bytes",)
    may_read: ClassVar[tuple[str, ...]] = _FOUND

    similarity: float = 0.95
    clusters: int = 0
    iterations: int = 20
    passes: int = 2
    keep: Literal["hard", "easy"] = "hard"
    seed: int = 0
    #: Memory to work in; it decides how the result is reached and not what it is.
    memory_bytes: int = 256 << 20

    def check(self) -> None:
        if not 0 < self.similarity <= 1:
            raise RecipeError(
                "SemanticDuplicates takes a similarity above 0 and up to 1.",
                found=f"similarity={self.similarity}",
                remedy="0.95, or what a look at pairs of your corpus shows",
            )
        least = {"clusters": 0, "iterations": 1, "passes": 1, "seed": 0, "memory_bytes": 1}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise RecipeError(
                    f"SemanticDuplicates takes no {name} below {value}.",
                    found=f"{name}={getattr(self, name)}",
                )

    def reduce(self, rows: Rows) -> Iterator[pa.RecordBatch]:
        dims, count = commonest_length(vectors for _, vectors in _vectors(rows))
        path = rows.scratch / "vectors.float32"
        try:
            judged = self._judged(rows, dims, count, path)
            groups = self._groups(judged)
            ids = _ids_at(rows, groups.named_G)
            start = 0
            for batch in rows.batches("id", *_FOUND):
                yield _as_batch(batch, groups, ids, start)
                start += len(batch)
        finally:
            path.unlink(missing_ok=True)

    def _judged(self, rows: Rows, dims: int, count: int, path: Path) -> _Judged:
        """Read the vectors that take part, and what is to be known of their rows."""
        from curation.kernels.hashing import hash_bytes
        from curation.kernels.semantic import hash_rows

        spills = 4 * dims * count > self.memory_bytes * _VECTORS_FRAC
        judged = _Judged.of(dims, count, path if spills else None)
        seed, row, at = np.uint64(self.seed % 2**64), 0, 0
        for batch, vectors in _vectors(rows, "id", "group_size"):
            taken = vectors.rows_of(dims)
            part = slice(at, at + len(taken))
            unit_ND = vectors.unit(taken, dims)
            judged.unit_MD[part] = unit_ND
            _let_go(judged.unit_MD)
            judged.hash_M2[part] = hash_rows(unit_ND, seed)
            judged.name_M[part] = _mixed(hash_bytes(*bytes_and_offsets(batch["id"]))[taken] ^ seed)
            judged.size_M[part] = values_of(pc.fill_null(batch["group_size"], 1))[taken]
            judged.row_M[part] = row + taken
            row, at = row + len(batch), part.stop
        return judged

    def _groups(self, judged: _Judged) -> _Groups:
        """Find for each row that takes part the row that stays."""
        order_M = np.lexsort((judged.name_M, judged.hash_M2[:, 1], judged.hash_M2[:, 0]))
        hash_M2 = judged.hash_M2[order_M]
        starts_M = np.ones(len(order_M), dtype=np.bool_)
        starts_M[1:] = (hash_M2[1:] != hash_M2[:-1]).any(axis=1)
        # Distinct vectors in the order of their hash; of equal ones the smallest name stays.
        first_V = order_M[starts_M]
        stays_V, cos_V = self._stays(judged, first_V)
        vector_M = np.empty(len(order_M), dtype=np.int64)
        vector_M[order_M] = np.cumsum(starts_M) - 1
        return _Groups.of(judged, first_V[stays_V], cos_V, vector_M)

    # ---- distinct vectors

    def _stays(self, judged: _Judged, first_V: I64) -> tuple[I64, F64]:
        """Return for each distinct vector the one that stays for it, and the cosine to that."""
        room = int(self.memory_bytes * _BLOCK_FRAC)
        all_V = np.arange(len(first_V))
        stays_V, cos_V = all_V, np.ones(len(first_V))
        for number in range(self.passes):
            (open_P,) = np.nonzero(stays_V == all_V)
            vectors = _Vectors(judged.unit_MD, first_V[open_P], room)
            usual = 1 if len(open_P) <= ONE_CLUSTER else round(math.sqrt(len(open_P)) / 2)
            count = min(self.clusters or usual, len(open_P))
            if len(open_P) < 2 or (number and count == 1):
                break
            stays_P, cos_P = self._one_pass(judged, vectors, count, number)
            stays_V, cos_V = stays_V.copy(), cos_V.copy()
            stays_V[open_P], cos_V[open_P] = open_P[stays_P], cos_P
            if number:
                self._follow(_Vectors(judged.unit_MD, first_V, room), stays_V, cos_V)
        return stays_V, cos_V

    def _one_pass(
        self, judged: _Judged, vectors: _Vectors, count: int, number: int
    ) -> tuple[I64, F64]:
        """Cluster vectors anew and let them join inside of their clusters."""
        centre_KD = self._centres(vectors, count, number)
        cluster_V, near_V = _nearest(vectors, centre_KD)
        rank_V = near_V if self.keep == "hard" else -near_V
        order_V = np.lexsort((judged.name_M[vectors.first_V], rank_V, cluster_V))
        stays_V, cos_V = np.empty(vectors.count, dtype=np.int64), np.empty(vectors.count)
        (last,) = np.nonzero(np.diff(cluster_V[order_V]))
        for member_C in np.split(order_V, last + 1):
            stays_V[member_C], cos_V[member_C] = self._joined(vectors, member_C)
        return stays_V, cos_V

    def _follow(self, vectors: _Vectors, stays_V: I64, cos_V: F64) -> None:
        """Let vectors whose row no longer stays join the one that stays for it, or stay again."""
        from curation.kernels.semantic import cosines

        (moved,) = np.nonzero(stays_V[stays_V] != stays_V)
        rows = vectors.rows_per_block(extra=1)
        for start in range(0, len(moved), rows):
            moved_R = moved[start : start + rows]
            stays_R = stays_V[stays_V[moved_R]]
            cos_R = cosines(vectors.take(moved_R), vectors.take(stays_R))
            near_R = cos_R >= self.similarity
            stays_V[moved_R] = np.where(near_R, stays_R, moved_R)
            cos_V[moved_R] = np.where(near_R, cos_R, 1.0)

    def _centres(self, vectors: _Vectors, count: int, number: int) -> F32:
        """Return centres by spherical k-means over the vectors with the smallest hashes.

        Each pass begins at other vectors, so that its borders lie elsewhere.
        """
        from curation.kernels.semantic import spherical_centres

        first_KD = vectors.take((np.arange(count) + number * count) % vectors.count)
        trained = min(vectors.count, TRAINED_PER_CENTRE * count)
        rows = vectors.rows_per_block(extra=count)
        iterations = 0 if count == vectors.count else self.iterations
        return spherical_centres(vectors.take, first_KD, trained, rows, iterations)

    def _joined(self, vectors: _Vectors, member_C: I64) -> tuple[I64, F64]:
        """Return which member stays for each member of a cluster, and the cosine to it.

        member_C  the cluster's vectors, in the order in which they are to be kept
        """
        from curation.kernels.semantic import join_block, join_leaders

        rows = vectors.rows_per_block(extra=0)
        stays_C, cos_C = member_C.copy(), np.full(len(member_C), _NONE)
        leader_L = np.empty_like(member_C)
        count = 0
        for start in range(0, len(member_C), rows):
            block = slice(start, start + rows)
            unit_RD, cos_R = vectors.take(member_C[block]), cos_C[block]
            for first in range(0, count, rows):
                tile_L = leader_L[first : min(first + rows, count)]
                lead_LD = vectors.take(tile_L)
                place_R = np.full(len(unit_RD), -1)
                near_RL = unit_RD @ lead_LD.T
                join_leaders(near_RL, unit_RD, lead_LD, self.similarity, place_R, cos_R)
                _note(stays_C[block], place_R, tile_L)
            place_R = np.full(len(unit_RD), -1)
            stay_L = join_block(unit_RD @ unit_RD.T, unit_RD, self.similarity, place_R, cos_R)
            _note(stays_C[block], place_R, member_C[block])
            leader_L[count : count + len(stay_L)] = member_C[block][stay_L]
            count += len(stay_L)
        return stays_C, cos_C


# ---------------------------------------------------------------- rows that take part


@dataclass(frozen=True)
class _Judged:
    """The rows that take part, in the order of the stream.

    unit_MD  float32[M, D]  their vectors, of norm 1; perhaps in a file
    hash_M2  uint64[M, 2]   hash of the vector
    name_M   uint64[M]      hash of the id
    size_M   uint64[M]      rows that the row stands for
    row_M    int64[M]       its number among all rows
    """

    unit_MD: F32
    hash_M2: U64
    name_M: U64
    size_M: U64
    row_M: I64

    @classmethod
    def of(cls, dims: int, count: int, path: Path | None) -> _Judged:
        """Return room for so many rows, their vectors in a file where one is named."""
        shape = (count, dims)
        unit_MD: F32
        if path is None:
            unit_MD = np.empty(shape, dtype=np.float32)
        else:
            unit_MD = np.memmap(path, dtype=np.float32, mode="w+", shape=shape)
        return cls(
            unit_MD,
            np.empty((count, 2), dtype=np.uint64),
            np.empty(count, dtype=np.uint64),
            np.empty(count, dtype=np.uint64),
            np.empty(count, dtype=np.int64),
        )


def _let_go(unit_MD: F32) -> None:
    """Let the pages of vectors in a file go: mapped pages count as the process's memory."""
    held: object = unit_MD.base
    if isinstance(held, mmap.mmap):
        held.madvise(mmap.MADV_DONTNEED)


def _vectors(rows: Rows, *more: str) -> Iterator[tuple[pa.RecordBatch, Vectors]]:
    """Yield the batches of all rows with their vectors; a marked row takes no part."""
    for batch in rows.batches("embedding", "duplicate_of", *more):
        yield batch, Vectors.of(batch["embedding"], ~is_valid(batch["duplicate_of"]))


def _mixed(hash_N: U64) -> U64:
    """Return hashes with every bit of them spread over all bits (splitmix64's last steps)."""
    hash_N = (hash_N ^ (hash_N >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hash_N = (hash_N ^ (hash_N >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hash_N ^ (hash_N >> np.uint64(31))


# ---------------------------------------------------------------- clusters


@dataclass(frozen=True)
class _Vectors:
    """The distinct vectors, in the order of their hash.

    unit_MD  float32[M, D]  vectors of all rows
    first_V  int64[V]       which of them is the v-th
    room     bytes that a block may take
    """

    unit_MD: F32
    first_V: I64
    room: int

    @property
    def count(self) -> int:
        return len(self.first_V)

    def take(self, vectors: I64) -> F32:
        """Return some vectors as float32[R, D], in memory."""
        taken_RD: F32 = np.asarray(self.unit_MD[self.first_V[vectors]])
        _let_go(self.unit_MD)
        return taken_RD

    def rows_per_block(self, extra: int) -> int:
        """Return how many rows a block may have: two copies of each, and products with others.

        extra  products for each row; 0 for as many as there are rows
        """
        fitting = self.room // (4 * (2 * self.unit_MD.shape[1] + (extra or _MOST_ROWS)))
        return int(max(_LEAST_ROWS, min(_MOST_ROWS, fitting)))


def _note(stays_R: I64, place_R: I64, among: I64) -> None:
    """Write which vectors were joined, where one was."""
    (joined,) = np.nonzero(place_R >= 0)
    stays_R[joined] = among[place_R[joined]]


def _nearest(vectors: _Vectors, centre_KD: F32) -> tuple[I64, F32]:
    """Return the nearest centre of each vector (of two, the lower) and the product with it."""
    from curation.kernels.semantic import whole

    cluster_V = np.empty(vectors.count, dtype=np.int64)
    near_V = np.empty(vectors.count, dtype=np.float32)
    rows = vectors.rows_per_block(extra=len(centre_KD))
    for start in range(0, vectors.count, rows):
        part = slice(start, min(start + rows, vectors.count))
        near_RK = whole(vectors.take(np.arange(part.start, part.stop))) @ centre_KD.T
        cluster_V[part] = near_RK.argmax(axis=1)
        near_V[part] = near_RK.max(axis=1)
    return cluster_V, near_V


# ---------------------------------------------------------------- what is found


@dataclass(frozen=True)
class _Groups:
    """What is found of the rows that take part, in the order of the stream.

    row_M    int64[M]    number of the row among all rows
    group_M  int64[M]    its group's place in named_G; -1 for a row alone
    stays_M  bool[M]     whether the row stays
    cos_M    float32[M]  cosine to the row that stays
    size_M   uint64[M]   rows of the group, with the copies that they stand for
    named_G  int64[G]    number of the row that stays, for groups of more than one row; ascending
    """

    row_M: I64
    group_M: I64
    stays_M: Bool_N
    cos_M: F32
    size_M: U64
    named_G: I64

    @classmethod
    def of(cls, judged: _Judged, stays_V: I64, cos_V: F64, vector_M: I64) -> _Groups:
        """Put rows together.

        stays_V   int64[V]    which row stays for each distinct vector
        cos_V     float64[V]  the cosine of the two
        vector_M  int64[M]    the vector of each row
        """
        count = len(vector_M)
        stay_M = stays_V[vector_M]
        rows_M = np.bincount(stay_M, minlength=count)
        size_M = np.zeros(count, dtype=np.uint64)
        np.add.at(size_M, stay_M, judged.size_M)
        (shared,) = np.nonzero(rows_M > 1)
        group_M = np.full(count, -1)
        group_M[shared] = np.arange(len(shared))
        cos_M = np.minimum(cos_V[vector_M], 1.0).astype(np.float32)
        stays_M = stay_M == np.arange(count)
        named_G = judged.row_M[shared]
        return cls(judged.row_M, group_M[stay_M], stays_M, cos_M, size_M[stay_M], named_G)


def _ids_at(rows: Rows, number_G: I64) -> pa.Array:
    """Return the ids of the rows with these numbers, which ascend."""
    parts, start, at = [], 0, 0
    for batch in rows.batches("id") if len(number_G) else ():
        stop = int(np.searchsorted(number_G, start + len(batch)))
        parts.append(batch["id"].take(to_column(number_G[at:stop] - start)))
        start, at = start + len(batch), stop
    return pa.concat_arrays([pa.array([], pa.large_string()), *parts])


def _as_batch(batch: pa.RecordBatch, groups: _Groups, ids: pa.Array, start: int) -> pa.RecordBatch:
    """Return what is found for the rows of a batch, which begins at row number ``start``."""
    first, stop = np.searchsorted(groups.row_M, [start, start + len(batch)])
    part = slice(int(first), int(stop))
    place_N = np.full(len(batch), -1)
    place_N[groups.row_M[part] - start] = np.arange(stop - first)
    judged = place_N >= 0
    at = to_column(np.maximum(place_N, 0), judged)
    group, stays = groups.group_M[part], groups.stays_M[part]
    stay = ids.take(to_column(group, group >= 0))
    repeats = to_column(~stays)
    cosines = to_column(groups.cos_M[part], ~stays)
    found = [
        pc.if_else(repeats, stay, None).take(at),
        cosines.take(at),
        stay.take(at),
        to_column(groups.size_M[part]).take(at),
    ]
    untouched = to_column(~judged)
    handed = [batch[name] for name in _FOUND]
    kept = [pc.if_else(untouched, old, new) for old, new in zip(handed, found, strict=True)]
    return pa.RecordBatch.from_arrays(kept, schema=columns(*_FOUND))
