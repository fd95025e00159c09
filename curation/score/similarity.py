"""How near a document is to the examples of a target: the plainest rank of all.

It knows nothing of the pool and nothing of what a model has read; a method that does should be
better than this, and an experiment says whether it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.annotate.lists import Stamp, stamp
from curation.arrow import to_column
from curation.columns import columns
from curation.errors import RecipeError
from curation.score.examples import check_embed, embedded, example_rows, pool_vectors
from curation.stage import Annotator

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class TargetSimilarity(Annotator):
    """Score a document by the cosine of its embedding to a target.

        HashedEmbedding(),
        TargetSimilarity(target="seeds.jsonl", embed=HashedEmbedding()),
        keep_best("target_similarity", tokens=10_000_000, because="far from the target"),

    Either to the target's centroid (the mean of its unit vectors; one comparison a document), or
    with ``nearest`` to the mean of that many nearest examples, which suits a target of several
    topics. Cosines are of vectors rounded to whole numbers, and off by 1e-4 or so.

    target   path of the examples: JSON lines, Parquet, or text files
    embed    the stage that wrote ``embedding``, which embeds the examples too
    nearest  how many of the nearest examples; 0 for the centroid

    reads    embedding          large_list<item: float32>  null allowed
    writes   target_similarity  float32  -1..1; null where the row has no vector
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("embedding",)
    writes: ClassVar[pa.Schema] = columns("target_similarity")

    target: str
    embed: Annotator
    nearest: int = 0

    def check(self) -> None:
        check_embed("TargetSimilarity", self.embed)
        if self.nearest < 0:
            raise RecipeError(
                "TargetSimilarity takes a number of nearest examples of 0 or more.",
                found=f"nearest={self.nearest}",
                remedy="0 for the centroid",
            )

    def model_files(self) -> tuple[str, ...]:
        from curation.score.target import target_files

        return target_files(self.target)

    def examples(self) -> pa.RecordBatch | None:
        return example_rows(self.embed)

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from curation.kernels.semantic import scale_of, whole

        target_KD = _target(self.target, self.embed, self.nearest, stamp(*self.model_files()))
        row_M, unit_MD = pool_vectors("TargetSimilarity", batch["embedding"], target_KD.shape[1])
        known_N, found_N = np.zeros(len(batch), np.bool_), np.zeros(len(batch), np.float32)
        known_N[row_M] = True
        product_MK = whole(unit_MD) @ target_KD.T
        most = max(1, min(self.nearest, len(target_KD)))
        best_MK = np.partition(product_MK, -most, axis=1)[:, -most:] if len(row_M) else product_MK
        # whole numbers: their sum is the same in any order
        total_M = best_MK.astype(np.float64).sum(axis=1)
        found_N[row_M] = np.clip(total_M / most / scale_of(target_KD.shape[1]) ** 2, -1.0, 1.0)
        return pa.RecordBatch.from_arrays([to_column(found_N, known_N)], schema=self.writes)


@lru_cache(maxsize=4)
def _target(path: str, embed: Any, nearest: int, files: Stamp) -> F32:
    """Return float32[K, D] in whole numbers: the centroid, or all examples.

    files  state of the files, so that a file that has changed is read again
    """
    from curation.kernels.semantic import whole

    unit_KD = embedded(path, embed)
    if nearest:
        return whole(unit_KD)
    mean_D = unit_KD.astype(np.float64).mean(axis=0)
    norm = float(np.linalg.norm(mean_D))
    if norm == 0.0:
        raise RecipeError(
            "the examples of the target cancel out, and have no centroid.",
            path=path,
            remedy="nearest=1, for the nearest example",
        )
    return whole((mean_D / norm).astype(np.float32)[None])
