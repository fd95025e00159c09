from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curation import Jsonl, Recipe, keep_best
from curation.annotate.hashed import HashedEmbedding
from curation.errors import RecipeError
from curation.score.similarity import TargetSimilarity
from curation.stage import annotator
from curation.testing import check_stage
from tests.score.test_transport import EMBED, cats, dogs, embedded, write


def unit(texts: list[str]) -> Any:
    rows = np.array(embedded([*texts])["embedding"].to_pylist())
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("nearest", [0, 1, 3, 100])
def test_the_score_is_the_cosine_to_the_target(tmp_path: Path, nearest: int) -> None:
    """The plainest baseline must be what it says, or nothing can be compared with it."""
    examples = cats(8) + dogs(4)
    path = write(tmp_path, "target", examples)
    stage = TargetSimilarity(target=path, embed=EMBED, nearest=nearest)
    pool = cats(5, 50) + dogs(5, 50) + ["tax law of the state"]
    found = stage.annotate(embedded([*pool]))["target_similarity"].to_numpy()
    cosine = unit(pool) @ unit(examples).T
    if nearest:
        wanted = np.sort(cosine, axis=1)[:, -nearest:].mean(axis=1)
    else:
        centre = unit(examples).mean(axis=0)
        wanted = unit(pool) @ (centre / np.linalg.norm(centre))
    assert found == pytest.approx(wanted, abs=2e-3)
    check_stage(stage, examples=embedded([*pool, None, ""]))


def test_a_recipe_finds_what_is_like_the_target(tmp_path: Path) -> None:
    """The stage stands beside the embedding in a recipe, and its files in the fingerprint."""
    write(tmp_path, "pool", cats(40, 50) + dogs(10, 50))
    path = write(tmp_path, "target", dogs(5))
    recipe = Recipe(
        source=Jsonl(str(tmp_path / "pool.jsonl")),
        steps=[
            EMBED,
            TargetSimilarity(target=path, embed=EMBED),
            keep_best("target_similarity", documents=10, because="far from the target"),
        ],
    )
    build = recipe.run(store=tmp_path / "store", workers=0)
    assert all("dog" in text for text in build.documents().collect()["text"].to_list())
    write(tmp_path, "target", cats(5))
    build = recipe.run(store=tmp_path / "store", workers=0)
    assert all("cat" in text for text in build.documents().collect()["text"].to_list())


def test_examples_without_a_common_direction_are_told(tmp_path: Path) -> None:
    """A centroid of nothing has a cosine of nothing over nothing."""

    @annotator(writes={"embedding": pa.large_list(pa.float32())})
    def opposed(text: pa.Array) -> pa.Array:
        cells = [[1.0, 0.0] if n % 2 else [-1.0, 0.0] for n in range(len(text))]
        return pa.array(cells, pa.large_list(pa.float32()))

    stage = TargetSimilarity(target=write(tmp_path, "two", cats(2)), embed=opposed)
    with pytest.raises(RecipeError, match="cancel out"):
        stage.annotate(opposed.annotate(pa.record_batch({"text": ["a"]})))


def test_examples_without_a_vector_are_told(tmp_path: Path) -> None:
    """Scores of a target of nothing would all be null."""

    @annotator(writes={"embedding": pa.large_list(pa.float32())})
    def blind(text: pa.Array) -> pa.Array:
        return pa.nulls(len(text), pa.large_list(pa.float32()))

    stage = TargetSimilarity(target=write(tmp_path, "none", cats(2)), embed=blind)
    with pytest.raises(RecipeError, match="none of the examples has a vector"):
        stage.annotate(embedded(["a"]))


def test_bad_settings_and_vectors_of_another_stage_are_told(tmp_path: Path) -> None:
    """Cosines between two models' vectors are noise that looks like scores."""
    path = write(tmp_path, "target", cats(3))
    with pytest.raises(RecipeError, match="nearest"):
        TargetSimilarity(target=path, embed=EMBED, nearest=-1)
    stage = TargetSimilarity(target=path, embed=EMBED)
    with pytest.raises(RecipeError, match="another embedding"):
        stage.annotate(embedded(["a cat"], HashedEmbedding(dims=64)))
