from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import Jsonl, Recipe, annotator
from curation.errors import RecipeError
from curation.mix.split import HeldOut
from curation.testing import check_stage
from tests.conftest import write_jsonl


def sides(stage: HeldOut, ids: list[str], groups: list[str | None] | None = None) -> list[bool]:
    columns = {"id": pa.array(ids, pa.large_string())}
    if groups is not None:
        columns["group_id"] = pa.array(groups, pa.large_string())
    found: list[bool] = stage.annotate(pa.record_batch(columns))["held_out"].to_pylist()
    return found


IDS = [f"file.jsonl#{n}" for n in range(20_000)]


@pytest.mark.parametrize("by", ["id", "group_id"])
def test_both_ways_keep_the_contract(by: str) -> None:
    """A row's side would depend on its neighbours, and a second build train on the test."""
    check_stage(HeldOut(by=by, frac=0.3))  # type: ignore[arg-type]


def test_about_the_share_is_held_out_and_more_holds_out_the_same() -> None:
    """A larger test set would take its rows out of what an earlier model was trained on."""
    small, large = (sides(HeldOut(frac=frac), IDS) for frac in (0.05, 0.2))
    assert abs(sum(small) / len(IDS) - 0.05) < 0.006  # four standard deviations
    assert abs(sum(large) / len(IDS) - 0.2) < 0.012
    assert all(more for less, more in zip(small, large, strict=True) if less)


def test_another_seed_holds_out_other_rows() -> None:
    """Two splits of one corpus would be the same split."""
    one, other = (sides(HeldOut(frac=0.2, seed=seed), IDS) for seed in (0, 1))
    both = sum(a and b for a, b in zip(one, other, strict=True)) / len(IDS)
    assert abs(both - 0.04) < 0.006


names = st.lists(st.tuples(st.text(max_size=3), st.none() | st.text(max_size=2)), max_size=20)


@settings(deadline=None)  # the first call compiles
@given(names, st.floats(0.01, 0.99), st.integers(0, 3))
def test_copies_go_to_one_side(rows: list[tuple[str, str | None]], frac: float, seed: int) -> None:
    """The loss would be measured on a text whose copy was trained on."""
    ids, groups = [row[0] for row in rows], [row[1] for row in rows]
    found = sides(HeldOut(frac=frac, seed=seed, by="group_id"), ids, groups)
    heads = [one if group is None else group for one, group in rows]
    assert found == sides(HeldOut(frac=frac, seed=seed), heads)


def test_the_sides_are_for_ever() -> None:
    """A model of last year would be tested on what it was trained on."""
    found = sides(HeldOut(frac=0.25), IDS[:40])
    assert [n for n, held in enumerate(found) if held] == GOLDEN


GOLDEN = [6, 15, 18, 24, 26, 33, 39]


def test_by_id_no_groups_are_needed() -> None:
    """A recipe without deduplication could hold nothing out."""
    assert HeldOut().reads == ("id",)
    assert HeldOut(by="group_id").reads == ("id", "group_id")


@annotator(writes={"group_id": pa.large_string()})
def grouped(text: pa.Array) -> pa.Array:
    """Stand for a deduplication that leaves its copies where they are."""
    return text


def test_a_build_holds_whole_groups_out(tmp_path: Path) -> None:
    """The column would be there and no recipe be able to use it."""
    lines = [{"text": f"number {n % 30} " * 20} for n in range(60)]
    path = write_jsonl(tmp_path / "in" / "a.jsonl", lines)
    steps = [grouped, HeldOut(frac=0.5, by="group_id")]
    build = Recipe(source=Jsonl(str(path)), steps=steps).run(store=tmp_path / "store", workers=0)
    rows = build.documents(columns=["text", "held_out"]).collect()
    side_of: dict[str, set[bool]] = {}
    for text, held in rows.rows():
        side_of.setdefault(text, set()).add(held)
    assert len(rows) == 60
    assert all(len(found) == 1 for found in side_of.values())
    assert {True, False} == {held for found in side_of.values() for held in found}


@pytest.mark.parametrize("frac", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_that_holds_out_all_or_nothing_is_refused(frac: float) -> None:
    """An experiment would have nothing to train on, or nothing to measure."""
    with pytest.raises(RecipeError, match="share"):
        HeldOut(frac=frac)
