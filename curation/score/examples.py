"""Examples in a file as vectors: made by the stage that made the pool's, so that they compare."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.annotate.vectors import Vectors, commonest_length
from curation.errors import RecipeError
from curation.stage import BATCH_ROWS, Annotator

F32 = npt.NDArray[np.float32]

#: Salt of the hash that draws examples where there are too many.
_DRAW_SALT = 0x45584D50


def check_embed(stage: str, embed: Annotator) -> None:
    """Raise RecipeError where a stage cannot make ``embedding`` from ``text``."""
    if not {*embed.reads} <= {"text", "id"} or "embedding" not in embed.writes.names:
        raise RecipeError(
            f"{stage} takes for embed= the stage that writes 'embedding' from 'text'.",
            found=f"{embed} reads {', '.join(embed.reads)}",
            writes=", ".join(embed.writes.names),
            remedy="the step that stands in the recipe, such as HashedEmbedding()",
        )


def embedded(path: str, embed: Annotator, *, most: int = 0, seed: int = 0) -> F32:
    """Return float32[M, D]: the examples of a file as unit vectors; RecipeError for none.

    most  draw so many of the examples by a hash of their id; 0 for all of them
    """
    from curation.engine.best import id_hash, mix
    from curation.score.target import read_target

    target = read_target(path)
    rows = pa.RecordBatch.from_arrays([target.id, target.text], names=["id", "text"])
    if most and len(rows) > most:
        chosen = np.argsort(mix(id_hash(rows["id"], seed), _DRAW_SALT), kind="stable")[:most]
        rows = rows.take(pa.array(np.sort(chosen)))
    found = [
        Vectors.of(embed.annotate(part.select([*embed.reads]))["embedding"])
        for part in (rows.slice(n, BATCH_ROWS) for n in range(0, len(rows), BATCH_ROWS))
    ]
    dims, count = commonest_length(found)
    if not count:
        raise RecipeError(
            "none of the examples has a vector.",
            path=path,
            found=f"{len(rows):,} texts, for each of which {embed} gives none",
            remedy="examples with words that the embedding knows",
        )
    return np.concatenate([vectors.unit(vectors.rows_of(dims), dims) for vectors in found])


def pool_vectors(stage: str, lists: pa.Array, dims: int) -> tuple[npt.NDArray[np.int64], F32]:
    """Return int64[M] and float32[M, D]: the rows of a batch with a direction, as unit vectors.

    Raises RecipeError for a vector of another length than the examples': another stage made it.
    """
    vectors = Vectors.of(lists)
    other = (vectors.norm_N > 0) & (vectors.lengths != dims)
    if other.any():
        raise RecipeError(
            f"{stage} was given another embedding than its embed= makes.",
            found=f"vectors of {vectors.lengths[other][0]:,} numbers in the pool, and of {dims:,} "
            "for the examples",
            remedy="give embed= the very step that writes 'embedding' in the recipe",
        )
    row_M = vectors.rows_of(dims)
    return row_M, vectors.unit(row_M, dims)


def example_rows(embed: Annotator) -> pa.RecordBatch | None:
    """Return rows to try a stage on, with vectors of the length that ``embed`` makes."""
    texts = ["", "a", "The quick brown fox.", "a b c d e f g", "fox " * 50, None]
    rows = pa.RecordBatch.from_arrays(
        [
            pa.array([f"e#{n}" for n in range(len(texts))], pa.large_string()),
            pa.array(texts, pa.large_string()),
        ],
        names=["id", "text"],
    )
    made = embed.annotate(rows.select([*embed.reads]))["embedding"]
    return pa.RecordBatch.from_arrays([made], names=["embedding"])
