from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import curation.score.clusters as module
from curation.errors import RecipeError
from curation.score.clusters import Clusters
from curation.testing import MemoryRows, check_stage
from tests.oracles.semantic import Row, Vector, centre_of, distinct, dot
from tests.score.test_density import batch_of, topics


def nearest(whole: list[int], centres: list[list[int]]) -> int:
    return max(range(len(centres)), key=lambda at: (dot(whole, centres[at]), -at))


def reduced(vectors: Any, scratch: Path, size: int = 7, **settings: Any) -> tuple[Any, Any]:
    whole = batch_of(vectors)
    parts = [whole.slice(start, size) for start in range(0, len(whole), size)]
    made = pa.Table.from_batches(list(Clusters(**settings).reduce(MemoryRows(parts, scratch))))
    return made["cluster_id"].to_numpy(), made["cluster_similarity"].to_numpy()


@pytest.mark.parametrize(("clusters", "trained"), [(1, 256), (5, 256), (9, 4), (40, 1)])
def test_clusters_are_those_of_plain_k_means(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clusters: int, trained: int
) -> None:
    """A row in the wrong cluster takes another cluster's share."""
    monkeypatch.setattr(module, "TRAINED_PER_CENTRE", trained)
    vectors = topics(150, 8)
    vectors[::5] = vectors[3]
    found, _ = reduced(vectors, tmp_path, clusters=clusters, seed=4)
    known = distinct([Row(f"{n}", list(map(float, v))) for n, v in enumerate(vectors)], 4)
    centres = trained_on(known[: trained * clusters], clusters)
    for vector in known:
        numbers = [int(row.id) for row in vector.rows]
        assert {*found[numbers].tolist()} == {nearest(vector.whole, centres)}


def trained_on(sample: list[Vector], count: int) -> list[list[int]]:
    """Run k-means one vector at a time."""
    centres = [vector.whole for vector in sample[:count]]
    for _ in range(20 if len(sample) > count else 0):
        sums = [[0] * len(centre) for centre in centres]
        for vector in sample:
            at = nearest(vector.whole, centres)
            sums[at] = [x + y for x, y in zip(sums[at], vector.whole, strict=True)]
        centres = [centre_of(s, c) for s, c in zip(sums, centres, strict=True)]
    return centres


def test_training_looks_at_the_sample_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory would grow with the corpus."""
    vectors = topics(400, 8)
    seen = module._sample(MemoryRows([batch_of(vectors)], tmp_path), 8, 50, 1)
    known = distinct([Row(f"{n}", list(map(float, v))) for n, v in enumerate(vectors)], 1)
    assert np.array_equal(seen, np.array([v.unit for v in known[:50]], dtype=np.float32))
    whole = batch_of(vectors)
    parts = [whole.slice(start, 9) for start in range(0, 400, 9)][::-1]
    assert np.array_equal(seen, module._sample(MemoryRows(parts, tmp_path), 8, 50, 1))


def test_the_similarity_is_the_cosine_to_the_centre(tmp_path: Path) -> None:
    """Prototypes and outliers of a cluster are told apart by it."""
    vectors = topics(200, 16)
    cluster, cosine = reduced(vectors, tmp_path, clusters=6)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for number in set(cluster.tolist()):
        members = unit[cluster == number]
        centre = members.mean(axis=0) / np.linalg.norm(members.mean(axis=0))
        assert cosine[cluster == number] == pytest.approx(members @ centre, abs=0.01)


def test_planted_groups_come_out_as_clusters(tmp_path: Path) -> None:
    """Clusters that cut through topics give no coverage of them."""
    rng = np.random.default_rng(0)
    centre = rng.standard_normal((4, 32))
    topic = np.repeat(np.arange(4), 50)
    found, _ = reduced(centre[topic] + 0.2 * rng.standard_normal((200, 32)), tmp_path, clusters=16)
    assert all(len(set(topic[found == number].tolist())) == 1 for number in set(found.tolist()))


def test_the_usual_number_of_clusters_follows_the_rows(tmp_path: Path) -> None:
    """One cluster for a million rows is no coverage, a thousand for ten are none either."""
    found, _ = reduced(topics(400, 8), tmp_path)
    assert set(found.tolist()) <= set(range(10))
    assert len(set(found.tolist())) > 5


def test_order_and_split_move_no_row_of_real_vectors() -> None:
    """A cluster would have another number on another machine."""
    check_stage(Clusters(clusters=7), examples=batch_of(topics(120, 9)))


@pytest.mark.parametrize("wrong", [{"clusters": -1}, {"iterations": 0}, {"seed": -1}])
def test_settings_below_their_least_are_told(wrong: dict[str, int]) -> None:
    """No rounds at all would leave the first centres, without a word."""
    with pytest.raises(RecipeError, match=next(iter(wrong))):
        Clusters(**wrong)
