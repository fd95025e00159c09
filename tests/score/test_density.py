from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curation.columns import columns
from curation.errors import RecipeError
from curation.score.density import Density
from curation.testing import MemoryRows, check_stage
from tests.oracles.coverage import mean_kernel


def batch_of(vectors: Any, ids: list[str] | None = None) -> pa.RecordBatch:
    lists = [None if v is None else list(map(float, v)) for v in vectors]
    names = ids or [f"f#{n * 7919 % 100_003}" for n in range(len(lists))]
    arrays = [pa.array(names, pa.large_string()), pa.array(lists, columns("embedding")[0].type)]
    return pa.RecordBatch.from_arrays(arrays, schema=columns("id", "embedding"))


def reduced(vectors: Any, scratch: Path, **settings: Any) -> tuple[Any, Any]:
    rows = MemoryRows([batch_of(vectors)], scratch)
    made = pa.Table.from_batches(list(Density(**settings).reduce(rows)))
    return made["density"].to_numpy(), made["density_score"].to_numpy()


def topics(count: int, dims: int = 32, seed: int = 0) -> Any:
    """Vectors about topics of very different sizes, and a few that are about nothing else."""
    rng = np.random.default_rng(seed)
    centre = rng.standard_normal((12, dims))
    topic = np.minimum(rng.geometric(0.35, size=count) - 1, 11)
    return centre[topic] + rng.standard_normal((count, dims)) * rng.uniform(0.1, 1.5, (count, 1))


def test_the_sketch_estimates_the_exact_kernel_sum(tmp_path: Path) -> None:
    """A sketch of something else would draw by something else than the paper's weights."""
    vectors = topics(600)
    exact = mean_kernel(vectors, 12)
    density, _ = reduced(vectors, tmp_path, planes=12, repetitions=256)
    assert np.corrcoef(density, exact)[0, 1] > 0.99
    assert np.corrcoef(np.log(density), np.log(exact))[0, 1] > 0.98
    # without bias: over all rows the errors come to nothing
    assert density.mean() == pytest.approx(exact.mean(), rel=0.05)
    error = np.abs(density - exact) / np.sqrt(exact / 256)
    assert np.mean(error < 2) > 0.95


@pytest.mark.parametrize("width", [4, 8, 16])
def test_planes_are_the_width_of_the_kernel(tmp_path: Path, width: int) -> None:
    """Whoever asks for a narrower neighbourhood would get the same one."""
    vectors = topics(300)
    density, _ = reduced(vectors, tmp_path, planes=width, repetitions=200)
    assert density.mean() == pytest.approx(mean_kernel(vectors, width).mean(), rel=0.1)


def test_equal_rows_are_dense_and_a_row_alone_is_one_of_all(tmp_path: Path) -> None:
    """The share must count the row itself, or the logarithm of a lonely one has no end."""
    vectors = [*[[1.0, 0, 0, 0]] * 9, [-1.0, 0, 0, 0]]
    density, score = reduced(vectors, tmp_path)
    assert density[:9].tolist() == [np.float32(0.9)] * 9
    assert density[9] == np.float32(0.1)
    assert np.isfinite(score).all()


def test_a_row_without_a_direction_has_no_density(tmp_path: Path) -> None:
    """A null made zero would be drawn before everything else."""
    odd = [None, [], [0.0] * 4, [np.nan] * 4, [1.0, 2.0], [np.inf, 0, 0, 0]]
    rows = batch_of([*topics(20, 4), *odd])
    made = next(Density().reduce(MemoryRows([rows], tmp_path)))
    for name in ("density", "density_score"):
        assert made[name].is_null().to_pylist() == [False] * 20 + [True] * 6


def test_the_draw_takes_rows_by_one_over_their_density(tmp_path: Path) -> None:
    """The paper's gain is of this draw; the top of the density would be another method."""
    rng = np.random.default_rng(3)
    alone = rng.standard_normal((5, 24))
    vectors = [*[alone[0] * 0 + np.eye(24)[0]] * 15, *alone]
    first = []
    for seed in range(300):
        _, score = reduced(vectors, tmp_path, seed=seed, repetitions=8)
        first.append(int(np.argmax(score)))
    # 15 equal rows weigh together as much as each of the 5 that stand alone
    crowded = sum(row < 15 for row in first)
    assert 30 < crowded < 75
    assert min(first.count(row) for row in range(15, 20)) > 25


def test_the_draw_is_the_density_and_gumbel_noise(tmp_path: Path) -> None:
    """Noise of another shape draws by other weights."""
    vectors = topics(2000)
    density, score = reduced(vectors, tmp_path, repetitions=8)
    noise = score + np.log(density)
    assert noise.mean() == pytest.approx(0.5772, abs=0.1)
    assert noise.std() == pytest.approx(np.pi / np.sqrt(6), abs=0.1)
    assert abs(np.corrcoef(noise, np.log(density))[0, 1]) < 0.08


def test_order_and_split_move_no_bit_of_real_vectors() -> None:
    """Sums of floats in another order would draw another corpus."""
    check_stage(Density(planes=6, repetitions=5), examples=batch_of(topics(90, 9)))


@pytest.mark.parametrize("wrong", [{"planes": 0}, {"planes": 19}, {"repetitions": 0}, {"seed": -1}])
def test_settings_that_make_no_sketch_are_told(wrong: dict[str, int]) -> None:
    """2**40 counts would end in the machine's own words."""
    with pytest.raises(RecipeError, match="Density takes"):
        Density(**wrong)  # type: ignore[arg-type]
