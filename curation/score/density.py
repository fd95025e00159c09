"""How crowded the neighbourhood of a document is, and a draw that takes the rare more often.

The density is a sketch by locality-sensitive hashing: counts of buckets, in memory that depends
on two settings and not on the corpus. Counts are whole numbers, so that no order of rows and no
split of shards moves a score.

Trade-off: the embedding is read three times (lengths, counts, scores), and each vector is hashed
twice rather than its buckets kept. The estimate is good where it is large: its standard error is
about the root of density / repetitions at most, so that rows with next to no neighbour, which the
draw favours, differ among themselves mostly by luck.
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
from curation.score.random import gumbel
from curation.stage import Reducer, Rows

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

#: A count takes 8 bytes: with 2**18 buckets and 256 repetitions this is half a gigabyte.
MOST_PLANES = 18
#: Sets the planes apart from other numbers of the same seed.
_PLANES_SALT = 0x44454E53


@dataclass(frozen=True, kw_only=True)
class Density(Reducer):
    """Estimate how crowded each row's neighbourhood is, and rank for a draw against it.

    ``density`` is the share of all rows that lie in the row's bucket, itself counted, in the mean
    of ``repetitions`` hashes of ``planes`` random planes each. It estimates the mean over all rows
    of the kernel (1 - angle / pi)**planes, which is 1 for equal vectors and, with 12 planes, 0.38
    at a cosine of 0.97, 0.16 at 0.9, 0.06 at 0.8 and 0.0002 at 0.

    ``density_score`` is log(1 / density) plus a Gumbel number from a hash of the id. The rows with
    the highest scores are a draw without replacement by weights of 1 / density, which is what the
    paper samples by: ``keep_best("density_score", tokens=...)``. The number is the one that
    ``DsirWeights`` adds under this seed, so that the two sets differ by their weights alone.

    The paper's kernel, its width and the size of its sketch are not at hand; planes and
    repetitions are ours.

    planes       of each hash: more look nearer; counts take 8 * repetitions * 2**planes bytes
    repetitions  hashes to average over; the error falls with the root of their number
    seed         of the planes and of the draw

    reads    id             large_string  distinct
             embedding      large_list<item: float32>  null allowed
    writes   density        float32       above 0, up to 1; null where the embedding is null, zero,
                                          not finite or not of the commonest length
             density_score  float32       null likewise
    source   Sachdeva et al. 2024, arXiv:2402.09668 (Density); Coleman and Shrivastava 2020,
             arXiv:1912.02283 (the sketch); Charikar 2002, doi:10.1145/509907.509965 (the hash)
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("id", "embedding")
    writes: ClassVar[pa.Schema] = columns("density", "density_score")

    planes: int = 12
    repetitions: int = 256
    seed: int = 0

    def check(self) -> None:
        if not 1 <= self.planes <= MOST_PLANES or self.repetitions < 1 or self.seed < 0:
            raise RecipeError(
                f"Density takes 1 to {MOST_PLANES} planes, 1 or more repetitions and a seed of 0 "
                "or more.",
                found=f"planes={self.planes}, repetitions={self.repetitions}, seed={self.seed}",
                remedy="planes=12, repetitions=256",
            )

    def reduce(self, rows: Rows) -> Iterator[pa.RecordBatch]:
        from curation.kernels.density import count_buckets, rows_beside

        dims, count = commonest_length(embeddings(rows))
        plane_PD = self._planes(dims)
        count_HK = np.zeros((self.repetitions, 1 << self.planes), dtype=np.int64)
        for vectors in embeddings(rows):
            count_buckets(self._buckets(vectors, plane_PD)[1], count_HK)
        for batch in rows.batches("id", "embedding"):
            row_M, bucket_MH = self._buckets(Vectors.of(batch["embedding"]), plane_PD)
            density_M = rows_beside(bucket_MH, count_HK) / (self.repetitions * max(count, 1))
            yield self._scored(batch["id"], row_M, density_M)

    def _planes(self, dims: int) -> F32:
        from curation.engine.best import mix
        from curation.kernels.density import planes

        count = self.planes * self.repetitions
        number_C = np.arange(2 * count * dims, dtype=np.uint64)
        return planes(mix(mix(number_C, _PLANES_SALT), self.seed), count, dims)

    def _buckets(self, vectors: Vectors, plane_PD: F32) -> tuple[I64, I64]:
        """Return int64[M], the rows with a direction, and int64[M, H], their buckets."""
        from curation.kernels.density import buckets
        from curation.kernels.semantic import whole

        dims = plane_PD.shape[1]
        row_M = vectors.rows_of(dims)
        side_MP = whole(vectors.unit(row_M, dims)) @ plane_PD.T
        return row_M, buckets(side_MP, self.repetitions)

    def _scored(self, ids: pa.Array, row_M: I64, density_M: F64) -> pa.RecordBatch:
        known_N = np.zeros(len(ids), dtype=np.bool_)
        known_N[row_M] = True
        density_N = np.ones(len(ids))
        density_N[row_M] = density_M
        score_N = gumbel(ids, self.seed) - np.log(density_N)
        arrays = [
            to_column(density_N.astype(np.float32), known_N),
            to_column(score_N.astype(np.float32), known_N),
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.writes)
