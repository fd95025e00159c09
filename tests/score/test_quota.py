from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import Jsonl, Recipe, TextSize, keep_best
from curation.errors import RecipeError
from curation.score.quota import ClusterQuota
from curation.testing import MemoryRows, check_stage
from tests.oracles.coverage import filled

Table = list[tuple[str | None, int | None]]


def rows_of(table: Table, ranks: list[float | None] | None = None) -> pa.RecordBatch:
    ids = [f"f#{n * 7919 % 100_003}" for n in range(len(table))]
    arrays = [
        pa.array(ids, pa.large_string()),
        pa.array([group for group, _ in table], pa.large_string()),
        pa.array([weight for _, weight in table], pa.uint64()),
        pa.array(ranks or [None] * len(table), pa.float32()),
    ]
    return pa.RecordBatch.from_arrays(arrays, names=["id", "source", "text_bytes", "density"])


def scored(table: Table, scratch: Path, ranks: Any = None, **chosen: Any) -> list[float | None]:
    rows = MemoryRows([rows_of(table, ranks)], scratch)
    stage = ClusterQuota(by="source", **chosen)
    found: list[float | None] = []
    for batch in stage.reduce(rows):
        found += batch["quota_score"].to_pylist()
    return found


def kept(table: Table, score: list[float | None], budget: int) -> dict[str, int]:
    """Take the best rows up to a budget, as keep_best does; return what each group gets."""
    got: dict[str, int] = {}
    able = [n for n in range(len(table)) if score[n] is not None]
    for n in sorted(able, key=lambda n: -float(score[n] or 0.0)):
        group, weight = str(table[n][0]), int(table[n][1] or 0)
        if sum(got.values()) + weight > budget:
            break
        got[group] = got.get(group, 0) + weight
    return got


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 9)), min_size=1, max_size=60),
    st.lists(st.floats(0.1, 9), min_size=4, max_size=4),
    st.integers(1, 300),
)
def test_shares_are_those_of_water_poured_in(
    tmp_path_factory: pytest.TempPathFactory,
    table: list[tuple[str, int]],
    shares: list[float],
    budget: int,
) -> None:
    """A group that gets more than its share takes it from one that gets less."""
    names = sorted({group for group, _ in table})
    given_shares = dict(zip("abcd", shares, strict=True))
    chosen = tuple((name, given_shares[name]) for name in names)
    plain: Table = list(table)
    score = scored(plain, tmp_path_factory.mktemp("scratch"), proportions=chosen)
    groups = [[weight for group, weight in table if group == name] for name in names]
    got = kept(plain, score, budget)
    level, _ = filled(groups, [given_shares[n] for n in names], sum(got.values()))
    for name, group in zip(names, groups, strict=True):
        fair = min(level * given_shares[name], sum(group))
        # rows are whole: each group may be a row off, and what others are off moves the level
        slack = 9 * max(shares) / min(shares) + 9
        assert abs(got.get(name, 0) - fair) <= slack


def test_groups_get_equal_shares_and_small_ones_are_taken_whole(tmp_path: Path) -> None:
    """The plainest promise of the stage."""
    table: Table = [("large", 10)] * 500 + [("middle", 10)] * 200 + [("small", 10)] * 20
    got = kept(table, scored(table, tmp_path), 2000)
    assert got["small"] == 200
    assert abs(got["large"] - 900) <= 10
    assert abs(got["middle"] - 900) <= 10


@pytest.mark.parametrize(("alpha", "ratio"), [(0.0, 1.0), (0.5, 2.0), (1.0, 4.0)])
def test_alpha_goes_from_equal_shares_to_those_of_the_pool(
    tmp_path: Path, alpha: float, ratio: float
) -> None:
    """A temperature that is not the literature's is compared with other people's figures."""
    table: Table = [("large", 5)] * 4000 + [("small", 5)] * 1000
    got = kept(table, scored(table, tmp_path, alpha=alpha), 4000)
    assert got["large"] / got["small"] == pytest.approx(ratio, rel=0.02)


def test_proportions_are_kept_and_a_group_without_one_gets_nothing(tmp_path: Path) -> None:
    """A quota for news that books use up is none."""
    table: Table = [("news", 1)] * 300 + [("books", 1)] * 300 + [("junk", 1)] * 300
    score = scored(table, tmp_path, proportions=(("news", 3.0), ("books", 1.0)))
    assert kept(table, score, 200) == {"news": 150, "books": 50}
    assert score[600:] == [None] * 300


def test_the_order_inside_a_group_is_that_of_a_score_or_of_a_hash(tmp_path: Path) -> None:
    """The best of each cluster would not be what is taken of it."""
    table: Table = [("a", 2), ("a", 2), ("b", 2), ("a", 2), ("b", 2), ("a", 2)]
    order = [0.5, 0.9, 0.1, None, 0.2, float("nan")]
    score = scored(table, tmp_path, order, order="density")
    assert score == [-2.0, 0.0, -2.0, None, 0.0, None]
    by_hash = [scored([("a", 1)] * 50, tmp_path, seed=seed) for seed in (0, 1)]
    assert sorted(by_hash[0], reverse=True) == [-float(n) for n in range(50)]  # type: ignore[type-var]
    assert by_hash[0] != by_hash[1]
    assert by_hash[0] != sorted(by_hash[0], reverse=True)  # type: ignore[type-var]


def test_a_row_without_group_or_weight_has_no_score(tmp_path: Path) -> None:
    """A null group is no group that a share could be owed to."""
    table: Table = [("a", 1), (None, 1), ("a", None), ("b", 0)]
    assert scored(table, tmp_path) == [0.0, None, None, 0.0]
    assert scored(table, tmp_path, weight="")[1] is None


def test_sums_are_exact_where_floats_are_not(tmp_path: Path) -> None:
    """Past 2**53 a small document would have no weight of its own in a sum of floats."""
    table: Table = [("a", 2**60), ("a", 3), ("a", 3)]
    found = scored(table, tmp_path, [3.0, 2.0, 1.0], order="density")
    assert found == [0.0, -float(2**60), -float(2**60 + 3)]


@pytest.mark.parametrize(
    "chosen",
    [{"by": "source"}, {"by": "language", "weight": "", "alpha": 0.5}, {"by": "held_out"}],
)
def test_any_plain_column_makes_groups(chosen: dict[str, Any]) -> None:
    """Quotas of sources and languages are wanted as often as those of clusters."""
    check_stage(ClusterQuota(**chosen))


def test_a_share_for_a_group_that_is_not_there_is_told(tmp_path: Path) -> None:
    """A group that is spelled wrong would get nothing, in silence."""
    with pytest.raises(RecipeError, match="'newz'") as told:
        scored([("news", 1)], tmp_path, proportions=(("newz", 1.0),))
    assert told.value.facts["found"] == "news"


@pytest.mark.parametrize(
    "wrong",
    [
        {"alpha": -1.0},
        {"by": ""},
        {"proportions": (("a", 1.0), ("a", 2.0))},
        {"proportions": (("a", 0.0),)},
        {"proportions": (("a", 1.0),), "alpha": 1.0},
    ],
)
def test_settings_that_make_no_shares_are_told(wrong: dict[str, Any]) -> None:
    """A share of nothing divides by zero."""
    with pytest.raises(RecipeError, match="ClusterQuota takes"):
        ClusterQuota(**wrong)


def test_columns_of_the_wrong_type_are_told(tmp_path: Path) -> None:
    """A weight of 0.3 would be cut to nothing."""
    rows = MemoryRows([rows_of([("a", 1)], [0.3])], tmp_path)
    for wrong in ({"weight": "density"}, {"weight": "source"}, {"order": "id"}):
        with pytest.raises(RecipeError, match="numbers"):
            list(ClusterQuota(by="source", **wrong).reduce(rows))  # type: ignore[arg-type]


def test_a_recipe_takes_equal_shares_of_its_sources(tmp_path: Path) -> None:
    """The stage and the selection must agree on which end comes first."""
    for name, count in {"a": 300, "b": 40, "c": 8}.items():
        lines = [f'{{"text": "{name} {n:05}"}}' for n in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    recipe = Recipe(
        source=Jsonl(str(tmp_path / "*.jsonl")),
        steps=[
            TextSize(),
            ClusterQuota(by="file"),
            keep_best("quota_score", text_bytes=7 * 48, because="beyond its share"),
        ],
    )
    build = recipe.run(store=tmp_path / "store", workers=0)
    found = build.documents(columns=["file"]).collect()["file"].to_list()
    assert Counter(found) == {"a.jsonl": 20, "b.jsonl": 20, "c.jsonl": 8}
