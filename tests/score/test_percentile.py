from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curation import Percentile, Recipe, keep, percentile_window
from curation.errors import RecipeError
from curation.testing import MemoryRows, check_stage
from tests.conftest import kept_ids, table, write_numbers


def ranked(values: pa.Array, tmp_path: Path, ids: list[str] | None = None) -> list[float | None]:
    names = ids or [f"r{n}" for n in range(len(values))]
    batch = pa.record_batch({"id": pa.array(names, pa.large_string()), "n": values})
    made = Percentile(column="n").reduce(MemoryRows([batch], tmp_path))
    return [value for part in made for value in part["percentile"].to_pylist()]


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64(), pa.int64(), pa.uint32()])
def test_a_number_stands_where_it_is_among_all(kind: pa.DataType, tmp_path: Path) -> None:
    """A window would cut off the wrong end."""
    values = pa.array([30, None, 10, 20, 40]).cast(kind)
    assert ranked(values, tmp_path) == pytest.approx([0.625, None, 0.125, 0.375, 0.875])


def test_what_is_no_number_has_no_percentile(tmp_path: Path) -> None:
    """A document that could not be scored would be the best or the worst of all."""
    values = pa.array([float("nan"), float("inf"), -0.0, None, float("-inf")])
    assert ranked(values, tmp_path) == pytest.approx([None, 5 / 6, 0.5, None, 1 / 6])
    assert ranked(pa.array([None, None], pa.float32()), tmp_path) == [None, None]


def test_equal_numbers_are_told_apart_by_their_ids(tmp_path: Path) -> None:
    """A constant score would keep all or nothing, or whatever came first."""
    values = pa.array([1.0] * 100)
    found = ranked(values, tmp_path)
    assert sorted(found) == pytest.approx([(n + 0.5) / 100 for n in range(100)])
    assert found != sorted(found)
    order = np.random.default_rng(0).permutation(100)
    again = ranked(values, tmp_path, [f"r{n}" for n in order])
    assert again == [found[n] for n in order]


def test_the_stage_keeps_its_contract_on_any_number() -> None:
    """A rank that depends on the split would make a corpus that nobody can make again."""
    for column in ("lm_bits_per_byte", "text_bytes"):
        check_stage(Percentile(column=column))


@pytest.mark.parametrize(
    ("criterion", "wanted"),
    [("low", range(20)), ("medium", range(40, 60)), ("high", range(80, 100))],
)
def test_a_window_keeps_its_share(criterion: str, wanted: range, tmp_path: Path) -> None:
    """The published criteria would keep another part of the corpus than they name."""
    steps = [Percentile(column="n"), keep(percentile_window(0.2, criterion), because="window")]  # type: ignore[arg-type]
    recipe = Recipe(source=table(write_numbers(tmp_path / "in", 4)), steps=steps)
    build = recipe.run(store=tmp_path / "store", workers=0)
    found = build.documents(columns=["n"]).collect()["n"].to_list()
    assert sorted(found) == list(wanted)
    assert len(kept_ids(build)) == 20


def test_settings_that_cannot_work_are_refused(tmp_path: Path) -> None:
    """A window of nothing would be found when the corpus is empty."""
    for share, criterion in ((0, "low"), (1.5, "low"), (0.5, "best")):
        with pytest.raises(RecipeError, match="window keeps"):
            percentile_window(share, criterion)  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="numeric column"):
        Percentile(column="id")
    with pytest.raises(RecipeError, match="cannot rank"):
        ranked(pa.array(["a"], pa.large_string()), tmp_path)
