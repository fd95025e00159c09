"""Clusters of embeddings: spherical k-means that no order of rows moves.

Clusters are spherical k-means as ``SemanticDuplicates`` has it: the same kernels, whole-number
sums, first centres at the vectors with the smallest hash. So they depend neither on the order of
rows nor on how shards are split. Centres are trained on a sample, drawn by hash, that fits in
memory whatever the corpus; every row is then assigned.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.annotate.vectors import commonest_length, embeddings
from curation.arrow import to_column
from curation.columns import columns
from curation.errors import RecipeError
from curation.stage import Reducer, Rows

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

#: K-means looks at so many distinct vectors for each centre, those with the smallest hash.
TRAINED_PER_CENTRE = 256
#: Rows looked at at a time, so that products with all centres stay small.
_BLOCK_ROWS = 2048


@dataclass(frozen=True, kw_only=True)
class Clusters(Reducer):
    """Put each row into the cluster whose centre its embedding is nearest to.

    Spherical k-means on the distinct vectors with the smallest hashes, 256 for each cluster:
    they take 1 KiB for each cluster and dimension. Equal vectors are trained on once. A cluster
    may come out empty.

    clusters    how many; 0 for half the square root of the rows with a vector
    iterations  most rounds of k-means
    seed        of the hash that chooses the sample and the first centres

    reads    embedding           large_list<item: float32>  null allowed
    writes   cluster_id          uint32   0 and up; null where the embedding is null, zero, not
                                          finite or not of the commonest length
             cluster_similarity  float32  cosine to the centre; null likewise
    source   Dhillon and Modha 2001, doi:10.1023/A:1007612920971 (spherical k-means)
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("embedding",)
    writes: ClassVar[pa.Schema] = columns("cluster_id", "cluster_similarity")

    clusters: int = 0
    iterations: int = 20
    seed: int = 0

    def check(self) -> None:
        for name, least in {"clusters": 0, "iterations": 1, "seed": 0}.items():
            if getattr(self, name) < least:
                raise RecipeError(
                    f"Clusters takes no {name} below {least}.",
                    found=f"{name}={getattr(self, name)}",
                )

    def reduce(self, rows: Rows) -> Iterator[pa.RecordBatch]:
        dims, count = commonest_length(embeddings(rows))
        wanted = self.clusters or max(1, round(math.sqrt(count) / 2))
        centre_KD = self._centres(rows, dims, wanted)
        for vectors in embeddings(rows):
            row_M = vectors.rows_of(dims)
            yield self._assigned(len(vectors.norm_N), row_M, vectors.unit(row_M, dims), centre_KD)

    def _centres(self, rows: Rows, dims: int, wanted: int) -> F32:
        """Return float32[K, D] in whole numbers; fewer than wanted where fewer vectors differ."""
        from curation.kernels.semantic import spherical_centres

        sample_SD = _sample(rows, dims, TRAINED_PER_CENTRE * wanted, self.seed)
        first_KD = sample_SD[:wanted]
        iterations = self.iterations if len(sample_SD) > wanted else 0
        return spherical_centres(
            sample_SD.__getitem__, first_KD, len(sample_SD), _BLOCK_ROWS, iterations
        )

    def _assigned(self, count: int, row_M: I64, unit_MD: F32, centre_KD: F32) -> pa.RecordBatch:
        from curation.kernels.semantic import cosines, whole

        known_N = np.zeros(count, dtype=np.bool_)
        cluster_N = np.zeros(count, dtype=np.uint32)
        cosine_N = np.zeros(count, dtype=np.float32)
        norm_K = np.linalg.norm(centre_KD.astype(np.float64), axis=1, keepdims=True)
        direction_KD = (centre_KD / np.maximum(norm_K, 1)).astype(np.float32)
        for start in range(0, len(row_M), _BLOCK_ROWS):
            row_R, unit_RD = (
                row_M[start : start + _BLOCK_ROWS],
                unit_MD[start : start + _BLOCK_ROWS],
            )
            cluster_R = (whole(unit_RD) @ centre_KD.T).argmax(axis=1)
            known_N[row_R], cluster_N[row_R] = True, cluster_R
            cosine_N[row_R] = cosines(unit_RD, direction_KD[cluster_R])
        arrays = [to_column(cluster_N, known_N), to_column(cosine_N, known_N)]
        return pa.RecordBatch.from_arrays(arrays, schema=self.writes)


def _sample(rows: Rows, dims: int, most: int, seed: int) -> F32:
    """Return float32[S, D]: the distinct unit vectors with the smallest hashes, in their order."""
    from curation.kernels.semantic import hash_rows

    held_SD = np.empty((0, dims), dtype=np.float32)
    hash_S2 = np.empty((0, 2), dtype=np.uint64)
    for vectors in embeddings(rows):
        unit_MD = vectors.unit(vectors.rows_of(dims), dims)
        hash_M2 = hash_rows(unit_MD, np.uint64(seed))
        if len(hash_S2) == most:  # what is larger than the largest held cannot come in
            (able,) = np.nonzero(hash_M2[:, 0] <= hash_S2[-1, 0])
            unit_MD, hash_M2 = unit_MD[able], hash_M2[able]
        if not len(hash_M2):
            continue
        both_2 = np.concatenate([hash_S2, hash_M2])
        order = _distinct(both_2)[:most]
        held_SD = np.concatenate([held_SD, unit_MD])[order]
        hash_S2 = both_2[order]
    return held_SD


def _distinct(hash_N2: U64) -> I64:
    """Return int64[M]: one row of each hash, in the order of the hashes."""
    order = np.lexsort((hash_N2[:, 1], hash_N2[:, 0]))
    sorted_N2 = hash_N2[order]
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = (sorted_N2[1:] != sorted_N2[:-1]).any(axis=1)
    return order[first]
