from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curation import Jsonl, Recipe, VoteK, annotator, col, keep
from curation.annotate.vectors import Vectors
from curation.columns import COLUMNS
from curation.errors import RecipeError
from curation.score.votek import nearest_neighbours
from curation.testing import MemoryRows, check_stage
from tests.conftest import write_jsonl
from tests.oracles.comparing import slow_neighbours, slow_vote_k

LISTS = COLUMNS["embedding"][0]


def ranks(stage: VoteK, ids: list[str], vectors: list[Any], batch: int = 1000) -> dict[str, Any]:
    rows = pa.record_batch(
        {"id": pa.array(ids, pa.large_string()), "embedding": pa.array(vectors, LISTS)}
    )
    parts = [rows.slice(start, batch) for start in range(0, len(rows), batch)]
    made = pa.concat_batches(list(stage.reduce(MemoryRows(parts, Path()))))
    return dict(zip(ids, made["label_rank"].to_pylist(), strict=True))


def clusters(sizes: list[int], seed: int = 0) -> tuple[list[str], list[list[float]]]:
    """Return documents in tight clusters, and their ids CLUSTER-NUMBER."""
    draw = np.random.default_rng(seed)
    ids, vectors = [], []
    for cluster, size in enumerate(sizes):
        centre = draw.normal(size=16)
        for n in range(size):
            ids.append(f"{cluster}-{n}")
            vectors.append((centre + 0.05 * draw.normal(size=16)).tolist())
    return ids, vectors


def test_it_keeps_the_contract() -> None:
    """The same pool would be judged by another sample each time."""
    check_stage(VoteK(documents=5, neighbours=3))


def test_few_labels_cover_every_cluster() -> None:
    """All labels would go to the commonest kind of page."""
    ids, vectors = clusters([60, 12, 12, 12, 12])
    found = ranks(VoteK(documents=10, neighbours=8), ids, vectors)
    chosen = [row for row, rank in found.items() if rank is not None]
    assert {row.partition("-")[0] for row in chosen} == {"0", "1", "2", "3", "4"}
    assert sorted(found[row] for row in chosen) == list(range(10))


def test_ranks_are_those_of_the_definition_in_any_order_of_rows() -> None:
    """A corpus could not be made a second time from files in another order."""
    from curation.engine.best import id_hash

    ids, vectors = clusters([9, 7, 5], seed=3)
    stage = VoteK(documents=6, neighbours=4, discount=3)
    found = ranks(stage, ids, vectors)
    order = np.argsort(id_hash(pa.array(ids, pa.large_string())))
    near = slow_neighbours([vectors[n] for n in order], 4)
    weights = [round(2**40 * 3.0**-c) for c in range(5)]
    wanted = {ids[order[n]]: rank for rank, n in enumerate(slow_vote_k(near, weights, 6))}
    assert {row: rank for row, rank in found.items() if rank is not None} == wanted
    mixed = np.random.default_rng(1).permutation(len(ids))
    again = ranks(stage, [ids[n] for n in mixed], [vectors[n] for n in mixed], batch=4)
    assert again == found


def test_neighbours_are_the_nearest_in_blocks_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block's border would hide neighbours."""
    monkeypatch.setattr("curation.score.votek._BLOCK_ROWS", 7)
    vectors = np.random.default_rng(5).normal(size=(40, 6)).astype(np.float32)
    unit = Vectors.of(pa.array(vectors.tolist(), LISTS)).unit(np.arange(40), 6)
    assert nearest_neighbours(unit, 5).tolist() == slow_neighbours(vectors.tolist(), 5)
    assert nearest_neighbours(unit, 60).tolist() == slow_neighbours(vectors.tolist(), 39)
    assert nearest_neighbours(unit[:1], 5).tolist() == [[-1]]
    assert nearest_neighbours(unit[:3], 5).shape == (3, 2)


def test_vectors_that_say_nothing_are_not_chosen() -> None:
    """A label would be spent on a page without text."""
    vectors: list[Any] = [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], None, [0.0, 0.0], [1.0], []]
    vectors += [[float("nan"), 1.0], [float("inf"), 1.0], [None, 1.0]]
    ids = [f"r{n}" for n in range(len(vectors))]
    found = ranks(VoteK(documents=9, neighbours=2), ids, vectors)
    assert [row for row, rank in found.items() if rank is not None] == ["r0", "r1", "r2"]
    assert set(ranks(VoteK(documents=2), ["a", "b"], [None, None]).values()) == {None}


def test_of_many_rows_a_hash_draws_those_that_take_part() -> None:
    """A pool of millions would never come to an end."""
    ids, vectors = clusters([40, 40])
    stage = VoteK(documents=3, neighbours=3, most_rows=8)
    found = ranks(stage, ids, vectors, batch=5)
    assert found == ranks(stage, ids, vectors)
    assert sum(rank is not None for rank in found.values()) == 3
    other = ranks(VoteK(documents=3, neighbours=3, most_rows=8, seed=1), ids, vectors)
    assert other != found


@annotator(writes={"embedding": LISTS})
def embedding(text: pa.LargeStringArray) -> pa.Array:
    return pa.array([[t.count("a"), t.count("b") + 1] for t in text.to_pylist()], LISTS)


def test_a_recipe_keeps_the_chosen(tmp_path: Path) -> None:
    """Null would pass the rule, and everything would be judged."""
    rows = ({"text": "a" * (n % 7) + "b" * (n % 5)} for n in range(50))
    write_jsonl(tmp_path / "pool.jsonl", rows)
    chosen = keep(col("label_rank").is_not_null(), because="not chosen for a label")
    steps = [embedding, VoteK(documents=4, neighbours=5), chosen]
    build = Recipe(source=Jsonl(str(tmp_path / "*.jsonl")), steps=steps).run(
        store=tmp_path / "store", workers=0
    )
    assert build.ledger().rows_out == 4


@pytest.mark.parametrize(
    "wrong",
    [
        {"documents": 0},
        {"neighbours": 0},
        {"discount": 1.0},
        {"discount": float("nan")},
        {"seed": -1},
        {"documents": 30_000},
        {"documents": 2.5},
    ],
)
def test_settings_that_make_no_sense_are_told(wrong: dict[str, Any]) -> None:
    """They would show after the embedding of a whole pool."""
    with pytest.raises(RecipeError, match="VoteK"):
        VoteK(**{"documents": 5, **wrong})
