from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from curation import ExactDuplicates, Jsonl, Recipe, TextHash, TextSize, col, keep
from curation.columns import columns
from curation.dedup.rehydrate import (
    FINEWEB2_FIXED,
    UpsamplingWeight,
    group_size_counts,
    rehydration_weights,
    weights_of,
)
from curation.errors import RecipeError, ResourceError
from curation.testing import check_stage
from tests.oracles.rehydrate import weight_of, weights

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "tables" / "fineweb2"
PUBLISHED = DATA / "rehydration-weights-up-to-10.json"


def published() -> tuple[dict[str, dict[int, int]], list[dict[str, Any]]]:
    """Return FineWeb2's weights, and the distributions that they were made from."""
    if not DATA.exists():
        pytest.skip(f"FineWeb2's published tables are not at {DATA}")
    table = json.loads(PUBLISHED.read_text())
    with open(DATA / "rehydration-distributions.jsonl.zst", "rb") as file:
        lines = zstandard.ZstdDecompressor().stream_reader(file).read().splitlines()
    made = {lang: {int(k): v for k, v in found.items()} for lang, found in table.items()}
    return made, [json.loads(line) for line in lines]


def weighed(stage: UpsamplingWeight, sizes: list[int | None]) -> list[int]:
    batch = pa.record_batch({"group_size": pa.array(sizes, pa.uint64())})
    made = stage.annotate(batch)
    assert made.schema == columns("upsampling_weight")
    return made["upsampling_weight"].to_pylist()


def test_the_published_weights_of_every_language_come_out() -> None:
    """Whoever compares with FineWeb2 must train on the same repetitions."""
    table, found = published()
    assert len(found) == len(table) == 1856
    for line in found:
        of = line["distribution"]
        made = rehydration_weights(
            [*of["cluster_sizes"], of["tail_threshold"]],
            [*of["cluster_removal_rates"], of["tail_removal_rate"]],
            of["global_removal_rate"],
        )
        assert made == table[line["language"]], line["language"]


rates = st.lists(st.integers(0, 100).map(float), min_size=5, max_size=40)


@given(rates, st.integers(1, 99), st.integers(2, 12))
def test_weights_are_those_of_the_formula(removal: list[float], overall: int, most: int) -> None:
    """The published tables all have ten repetitions at most; another number must work too."""
    sizes = [n * n + 1 for n in range(len(removal))]
    made = rehydration_weights(sizes, removal, overall + 0.37, max_reps=most)
    assert made == weights(sizes, removal, overall + 0.37, most)


def test_few_sizes_and_equal_rates_have_weights_too() -> None:
    """A small corpus has three sizes, and one without later rules removes nothing."""
    assert rehydration_weights([], [], 0.0) == {}
    assert rehydration_weights([1], [0.0], 0.0) == {1: 1}
    assert rehydration_weights([1, 2, 3], [0.5, 0.5, 0.5], 0.5) == {1: 1}
    assert rehydration_weights([1, 2], [0.6, 0.1], 0.5, window=1) == {1: 1, 2: 10}


@given(st.lists(st.none() | st.integers(0, 1200) | st.just(2**64 - 1), max_size=30))
def test_the_weight_is_that_of_the_largest_size_not_above(sizes: list[int | None]) -> None:
    """One step to the side doubles the wrong documents all over the corpus."""
    wanted = [weight_of(size, dict(FINEWEB2_FIXED)) for size in sizes]
    assert weighed(UpsamplingWeight(), sizes) == wanted


def test_the_fixed_scheme_is_fineweb2s() -> None:
    """These numbers are in a paper, and this is where they stand."""
    sizes = [None, 0, 1, 2, 3, 4, 5, 99, 100, 999, 1000, 10**6]
    assert weighed(UpsamplingWeight(), sizes) == [1, 1, 1, 2, 3, 3, 5, 5, 8, 8, 1, 1]


def test_a_null_counts_one_whatever_lies_under_it() -> None:
    """Arrow leaves any value in the place of a null."""
    mask, values = pa.py_buffer(b"\x02"), pa.array([100, 100], pa.uint64()).buffers()[1]
    sizes = pa.Array.from_buffers(pa.uint64(), 2, [mask, values])
    batch = pa.record_batch({"group_size": sizes})
    assert UpsamplingWeight().annotate(batch)["upsampling_weight"].to_pylist() == [1, 8]


def test_a_published_table_is_used_as_it_is() -> None:
    """Nobody should have to copy 1,856 languages into settings."""
    table, _ = published()
    stage = UpsamplingWeight(table=str(PUBLISHED), language="ita_Latn")
    sizes: list[int | None] = [*range(1, 200)]
    assert weighed(stage, sizes) == [weight_of(size, table["ita_Latn"]) for size in sizes]
    assert stage.model_files() == (str(PUBLISHED),)
    check_stage(stage)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("[1]", ResourceError),
        ("{", ResourceError),
        ('{"ita_Latn": [1]}', ResourceError),
        ('{"ita_Latn": {"one": 1}}', ResourceError),
        ('{"ita_Latn": {"1": 0}}', RecipeError),
        ('{"ita_Latn": {}}', RecipeError),
        ('{"ita_Latin": {"1": 1}}', RecipeError),
    ],
)
def test_a_table_in_another_form_is_refused(
    tmp_path: Path, content: str, error: type[Exception]
) -> None:
    """A damaged table found after the run would have cost the run."""
    path = tmp_path / "weights.json"
    path.write_text(content)
    with pytest.raises(error):
        UpsamplingWeight(table=str(path), language="ita_Latn")


def test_settings_that_cannot_work_are_refused(tmp_path: Path) -> None:
    """A setting that cannot work is refused before the run, not after it."""
    with pytest.raises(ResourceError, match="cannot be read"):
        UpsamplingWeight(table=str(tmp_path / "none.json"), language="ita_Latn")
    with pytest.raises(RecipeError, match="together"):
        UpsamplingWeight(language="ita_Latn")
    with pytest.raises(RecipeError, match="not both"):
        UpsamplingWeight(table="x.json", language="ita_Latn", weights=((1, 2),))
    for wrong in ((), ((2, 1), (1, 1)), ((1, 1), (1, 2)), ((1, 0),), ((1, 2, 3),), ((-1, 1),)):
        with pytest.raises(RecipeError):
            UpsamplingWeight(weights=wrong)


# ---------------------------------------------------------------- counts of a corpus


def frame(*groups: tuple[int, int, int]) -> pl.DataFrame:
    """Return rows of (size, how many groups, how many of them kept), with copies beside them."""
    rows = []
    for size, count, kept in groups:
        for n in range(count):
            rows.append((size, None, n < kept))
            rows += [(size, f"{size}-{n}", False)] * (size - 1)
    rows.append((None, None, True))
    kinds = {"group_size": pl.UInt64, "duplicate_of": pl.String, "kept": pl.Boolean}
    return pl.DataFrame(rows, schema=kinds, orient="row")


def test_groups_are_counted_by_size() -> None:
    """Rates from rows instead of groups would count a text once for each of its copies."""
    counts = group_size_counts(frame((1, 10, 5), (2, 4, 3), (7, 1, 1)))
    assert counts.to_dict(as_series=False) == {
        "group_size": [1, 2, 7],
        "group_count": [10, 4, 1],
        "row_count": [10, 8, 7],
        "kept_count": [5, 3, 1],
        "removed_frac": [0.5, 0.25, 0.0],
    }


def test_the_largest_groups_are_one_bin() -> None:
    """A rate from a single group is all or nothing."""
    counts = group_size_counts(frame((1, 90, 45), (2, 5, 5), (3, 4, 1), (9, 1, 1)), tail_frac=0.05)
    assert counts["group_size"].to_list() == [1, 2, 3]
    assert counts["group_count"].to_list() == [90, 5, 5]
    assert counts["row_count"].to_list() == [90, 10, 21]
    assert counts["kept_count"].to_list() == [45, 5, 2]


def test_a_frame_that_knows_no_rules_gives_counts_and_no_weights() -> None:
    """Weights without a removal rate would be made up."""
    bare = frame((1, 10, 5), (2, 4, 3)).drop("kept")
    assert group_size_counts(bare).columns == ["group_size", "group_count", "row_count"]
    with pytest.raises(ResourceError, match="kept"):
        weights_of(bare)
    assert group_size_counts(bare.clear()).height == 0
    assert weights_of(frame().head(0)) == {}


def test_weights_of_a_frame_follow_its_rates() -> None:
    """Sizes whose documents pass the rules more often are the ones to repeat."""
    groups = [(size, 20, 18 if size in (4, 5, 6, 7, 8) else 5) for size in range(1, 13)]
    made = weights_of(frame(*groups))
    assert made[1] == 1
    assert max(made.values()) == 10
    assert made == weights_of(frame(*groups).lazy())


def test_weights_of_a_build(tmp_path: Path) -> None:
    """The whole way: deduplicate, filter, count, weigh."""
    lines = []
    for size in range(1, 8):
        for n in range(6):
            good = size in (3, 4, 5) or n == 0
            lines += [{"text": f"{size} {n} {'long enough ' * 5 if good else ''}"}] * size
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    steps = [
        TextHash(),
        ExactDuplicates(),
        keep(col("duplicate_of").is_null(), because="copy"),
        TextSize(),
        keep(col("text_chars") > 20, because="too short"),
        UpsamplingWeight(weights=((1, 1), (3, 4))),
    ]
    build = Recipe(source=Jsonl(str(path)), steps=steps).run(store=tmp_path / "store", workers=0)
    counts = group_size_counts(build)
    assert counts["group_size"].to_list() == [*range(1, 8)]
    assert counts["group_count"].to_list() == [6] * 7
    assert counts["kept_count"].to_list() == [6 if s in (3, 4, 5) else 1 for s in range(1, 8)]
    made = weights_of(build)
    overall = 1 - 22 / 42
    assert made == weights([*range(1, 8)], counts["removed_frac"].to_list(), overall, 10)
    rows = build.documents(columns=["group_size", "upsampling_weight"]).collect()
    assert {*rows.rows()} == {(s, 4 if s >= 3 else 1) for s in range(1, 8)}
