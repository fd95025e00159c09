from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.columns import columns
from curation.dedup.semantic import ONE_CLUSTER, SemanticDuplicates
from curation.errors import RecipeError
from curation.kernels.semantic import join_leaders, scale_of, whole
from curation.testing import MemoryRows, check_stage
from tests.oracles.semantic import Found, Row, semantic_duplicates

COLUMNS = ("id", "embedding", "duplicate_of", "group_size")
TINY = 1
NAN, INF = float("nan"), float("inf")


def batch_of(rows: list[Row]) -> pa.RecordBatch:
    cells = [[getattr(row, name) for row in rows] for name in COLUMNS]
    schema = columns(*COLUMNS)
    arrays = [pa.array(cell, field.type) for cell, field in zip(cells, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def reduced(rows: list[Row], scratch: Path, size: int = 7, **settings: Any) -> list[Found]:
    whole = batch_of(rows)
    batches = [whole.slice(start, size) for start in range(0, len(whole), size)]
    stage = SemanticDuplicates(**settings)
    made = list(stage.reduce(MemoryRows(batches, scratch)))
    assert all(batch.schema == stage.writes for batch in made)
    found = [tuple(row.values()) for batch in made for row in batch.to_pylist()]
    return found  # type: ignore[return-value]


def rows_of(vectors: Any) -> list[Row]:
    """Name the rows in an order that is neither that of the vectors nor its reverse."""
    return [Row(f"f#{n * 7919 % 100_003}", list(map(float, v))) for n, v in enumerate(vectors)]


def blurred(count: int, topics: int, dims: int, width: float, seed: int = 0) -> Any:
    """Return vectors about some topics, most pairs of a topic near the threshold."""
    rng = np.random.default_rng(seed)
    centre = rng.standard_normal((topics, dims))
    noise = rng.standard_normal((count, dims)) * width
    return (centre[rng.integers(topics, size=count)] + noise).astype(np.float32)


def at_cosines(base: Any, cosines: Any, seed: int = 0) -> Any:
    """Return vectors at the given cosines to a unit vector."""
    noise = np.random.default_rng(seed).standard_normal((len(cosines), len(base)))
    noise -= (noise @ base)[:, None] * base
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    cosines = np.asarray(cosines)[:, None]
    return cosines * base + np.sqrt(1 - cosines**2) * noise


def agrees(found: list[Found], wanted: list[Found]) -> None:
    assert [f[:1] + f[2:] for f in found] == [w[:1] + w[2:] for w in wanted]
    cosines = [(f[1], w[1]) for f, w in zip(found, wanted, strict=True)]
    assert all((a is None) == (b is None) for a, b in cosines)
    assert all(a == pytest.approx(b, abs=1e-6) for a, b in cosines if a is not None)


def hard_rows(count: int, seed: int = 1) -> list[Row]:
    """Vectors near one another, equal, scaled, of other lengths, without direction; marked rows."""
    rows = rows_of(blurred(count, 6, 9, 0.25, seed))
    odd: list[list[float | None] | None] = [None, [], [0.0] * 9, [NAN] * 9, [1.0] * 8 + [INF]]
    odd += [[1.0] * 8, [None] + [1.0] * 8, [1e30] * 9, [-0.0] * 8 + [1.0], [0.0] * 8 + [2.0]]
    for n, row in enumerate(rows):
        if n % 5 == 1:
            row.embedding = rows[n - 1].embedding
        if n % 7 == 3:
            row.embedding = odd[n // 7 % len(odd)]
        if n % 4 == 2:
            row.group_size = n % 13
        if n % 11 == 5:
            row.duplicate_of = "elsewhere"
    return rows


@pytest.mark.parametrize(
    ("clusters", "keep", "passes"),
    [
        *[(1, "hard", 1), (1, "easy", 2), (2, "hard", 3), (2, "easy", 1), (5, "hard", 1)],
        *[(5, "easy", 2), (9, "hard", 2), (60, "hard", 2), (1000, "hard", 2)],
    ],
)
def test_groups_are_those_of_all_pairs_in_a_cluster(
    tmp_path: Path, clusters: int, keep: str, passes: int
) -> None:
    """A wrong group drops a document that says something of its own."""
    rows = hard_rows(240)
    chosen: dict[str, Any] = {"keep": keep, "clusters": clusters, "passes": passes, "seed": 5}
    made = reduced(rows, tmp_path, similarity=0.9137, **chosen)
    wanted = semantic_duplicates(rows, 0.9137, **chosen)
    agrees(made, wanted)
    if clusters < 1000:
        assert sum(w[0] is not None and w[0] != "elsewhere" for w in wanted) > 40


def test_centres_are_trained_on_the_sample_that_the_docstring_names(tmp_path: Path) -> None:
    """A sample that grew with the memory would give a corpus for each machine."""
    rows = rows_of(blurred(400, 6, 9, 0.25))
    made = reduced(rows, tmp_path, keep="easy", clusters=1, similarity=0.9137)
    agrees(made, semantic_duplicates(rows, 0.9137, 1, keep="easy"))


some_number = st.sampled_from([0.0, 1.0, -1.0, 0.5, 3.0, 1e-30, 1e30, NAN, INF])
some_vector = st.none() | st.lists(some_number, min_size=2, max_size=2)
some_vector |= st.lists(some_number, max_size=4)
names = st.text(st.sampled_from("aZ0#\x00\xe9\uffff\U0001f600"), min_size=1, max_size=3)


@settings(deadline=None, max_examples=60)
@given(
    st.dictionaries(names, some_vector, max_size=14),
    st.integers(0, 4),
    st.integers(1, 7),
    st.data(),
)
def test_any_rows_in_any_order_give_what_the_oracle_gives(
    tmp_path_factory: pytest.TempPathFactory,
    found: dict[str, list[float | None] | None],
    clusters: int,
    size: int,
    data: st.DataObject,
) -> None:
    """A corpus must not change because its files were listed in another order."""
    rows = [Row(name, vector) for name, vector in found.items()]
    wanted = semantic_duplicates(rows, 0.9137, clusters or 1)
    order = data.draw(st.permutations(range(len(rows))))
    mixed = [rows[n] for n in order]
    chosen = {"clusters": clusters, "similarity": 0.9137}
    made = reduced(mixed, tmp_path_factory.mktemp("scratch"), size, **chosen)
    agrees(made, [wanted[n] for n in order])


@pytest.mark.parametrize("clusters", [0, 7])
def test_order_split_and_memory_change_no_bit(tmp_path: Path, clusters: int) -> None:
    """Sums of floats in another order would move a centre, and with it a document."""
    rows = rows_of(blurred(1500, 40, 33, 0.2))
    wanted = reduced(rows, tmp_path, 1500, clusters=clusters)
    order = np.random.default_rng(1).permutation(len(rows)).tolist()
    mixed = [rows[n] for n in order]
    for size, memory in ((1500, 1 << 28), (64, TINY), (333, 100_000)):
        made = reduced(mixed, tmp_path, size, clusters=clusters, memory_bytes=memory)
        assert made == [wanted[n] for n in order]
    assert not list(tmp_path.iterdir())


def test_many_rows_are_clustered_whatever_their_order(tmp_path: Path) -> None:
    """Above one cluster's worth of rows another path is taken, and it too must not waver."""
    rows = rows_of(blurred(ONE_CLUSTER + 900, 300, 24, 0.15))
    wanted = reduced(rows, tmp_path, 2000)
    order = np.random.default_rng(2).permutation(len(rows)).tolist()
    mixed = [rows[n] for n in order]
    assert reduced(mixed, tmp_path, 999, memory_bytes=TINY) == [wanted[n] for n in order]
    assert len({f[2] for f in wanted}) > 100


def test_copies_in_other_words_are_found_on_the_right_side_of_the_threshold(tmp_path: Path) -> None:
    """The setting is a promise about pairs: a copy at 0.96 goes, one at 0.94 does not."""
    cosines = [0.9499, 0.949997, 0.950003, 0.999, 0.90]
    for seed in range(8):
        base = np.random.default_rng(seed).standard_normal(384)
        base /= np.linalg.norm(base)
        for cosine, copy in zip(cosines, at_cosines(base, cosines, 100 + seed), strict=True):
            made = reduced(rows_of([base, copy]), tmp_path, seed=seed)
            known = [f[1] for f in made if f[1] is not None]
            assert known == ([pytest.approx(cosine, abs=1e-6)] if cosine > 0.95 else [])


def test_what_a_rounded_product_proposes_is_decided_by_the_exact_one() -> None:
    """Products in float32 differ from machine to machine in the digit that decides."""
    unit = np.array([[1, 0], [0.94999, math.sqrt(1 - 0.94999**2)]], dtype=np.float32)
    place, cosine = np.full(1, -1), np.full(1, -2.0)
    near = np.full((1, 1), 0.95, dtype=np.float32)
    join_leaders(near, unit[1:], unit[:1], 0.95, place, cosine)
    assert place[0] == -1
    join_leaders(near, unit[1:], unit[:1], 0.9499, place, cosine)
    assert place[0] == 0
    assert cosine[0] == pytest.approx(0.94999, abs=1e-7)


@pytest.mark.parametrize("dims", [2, 384, 4096])
def test_products_of_whole_vectors_are_exact(dims: int) -> None:
    """An inexact one depends on how BLAS adds, and clusters on the machine and on the memory."""
    rows = np.random.default_rng(dims).standard_normal((60, dims))
    rows[0] = 1
    unit = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    found = whole(unit)
    as_integers = found.astype(np.int64)
    assert (as_integers**2).sum(axis=1).max() < 2**24
    assert np.array_equal(found @ found.T, as_integers @ as_integers.T)
    error = np.abs(as_integers @ as_integers.T / scale_of(dims) ** 2 - unit @ unit.T)
    assert error.max() < math.sqrt(dims) / scale_of(dims) + 1e-6
    assert np.median(error) < 3e-4


def test_chains_are_broken(tmp_path: Path) -> None:
    """A hundred small steps lead from any text to any other; only near copies may go."""
    angle = np.arange(60) * 0.2
    rows = rows_of(np.stack([np.cos(angle), np.sin(angle)], axis=1))
    made = reduced(rows, tmp_path)
    vector = {row.id: np.array(row.embedding) for row in rows}
    stays = {f[0] for f in made if f[0]}
    for row, found in zip(rows, made, strict=True):
        assert row.id not in stays or found[0] is None
        if found[0]:
            assert vector[row.id] @ vector[found[0]] >= 0.95 - 1e-6
    assert sum(f[0] is None for f in made) > 10


def test_hard_keeps_the_row_far_from_the_centre_and_easy_the_near_one(tmp_path: Path) -> None:
    """The two are opposite halves of the paper's figure; swapped, its result is not ours."""
    angle = [0.0, 0.1, 0.2, 0.21, 0.22]  # the centre lies at about 0.15
    rows = rows_of([[np.cos(a), np.sin(a)] for a in angle])
    assert {f[2] for f in reduced(rows, tmp_path, keep="hard")} == {rows[0].id}
    assert {f[2] for f in reduced(rows, tmp_path, keep="easy")} == {rows[1].id}


def test_a_row_joins_the_most_similar_that_stays(tmp_path: Path) -> None:
    """`curation why` shows the twin; a worse one than there is would look like an error."""
    angle = [0.0, 0.6, 0.25]
    rows = rows_of([[np.cos(a), np.sin(a)] for a in angle] + [[np.cos(0.37), np.sin(0.37)]])
    made = reduced(rows, tmp_path, similarity=0.93)
    assert [f[0] for f in made] == [None, None, rows[0].id, rows[1].id]


def test_what_has_no_direction_stands_alone_and_spoils_nothing(tmp_path: Path) -> None:
    """One NaN in a centre would make every cosine NaN, and no copy would be found again."""
    odd: list[Any] = [None, [], [0.0, 0.0], [NAN, 1.0], [INF, 1.0], [1.0] * 3, [None, 1.0]]
    rows = [Row(f"odd-{n}", vector) for n, vector in enumerate(odd)]
    rows += [Row("a", [3e38, 3e38]), Row("b", [1e-38, 1e-38]), Row("c", [1.0, -1.0])]
    made = reduced(rows, tmp_path)
    assert made[: len(odd)] == [(None, None, None, None)] * len(odd)
    assert {made[7][2], made[8][2]} < {"a", "b"}
    assert [made[7][3], made[8][3], made[9]] == [2, 2, (None, None, None, 1)]


def test_the_commonest_length_is_judged_and_of_two_the_longer(tmp_path: Path) -> None:
    """A corpus in which the model was changed half way must not compare what cannot be."""
    rows = [Row("a", [1.0, 0.0]), Row("b", [1.0, 0.0]), Row("c", [1.0] * 3), Row("d", [1.0] * 3)]
    assert [f[3] for f in reduced(rows, tmp_path)] == [None, None, 2, 2]
    rows.append(Row("e", [1.0, 0.0]))
    assert [f[3] for f in reduced(rows, tmp_path)] == [3, 3, None, None, 3]


def test_a_second_pass_finds_what_a_border_had_parted(tmp_path: Path) -> None:
    """Without it copies stay in a corpus that has no clear topics, up to a tenth of them."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((600, 32))
    rows = rows_of(np.concatenate([vectors, vectors + rng.standard_normal((600, 32)) * 0.2]))
    missed = []
    for passes in (1, 2, 3):
        made = reduced(rows, tmp_path, 500, clusters=30, passes=passes)
        missed.append(sum(f[0] is None for f in made) - 600)
        assert {f[0] for f in made} - {None} <= {
            r.id for r, f in zip(rows, made, strict=True) if f[0] is None
        }
    assert missed[0] > 4 * missed[1] > 0
    assert missed[1] >= missed[2]


def test_copies_found_before_are_counted_and_left_as_they_are(tmp_path: Path) -> None:
    """Upsampling needs the size of the whole group, exact copies included."""
    rows = [
        Row("a", [1.0, 0.0], None, 5),
        Row("a2", [1.0, 0.0], "a", 5),
        Row("b", [1.0, 0.01], None, 2),
        Row("c", [0.0, 1.0], None, 7),
        Row("d", [-1.0, 0.0], None, None),
    ]
    made = reduced(rows, tmp_path)
    assert made[1] == ("a", None, None, 5)
    assert [f[3] for f in made] == [7, 5, 7, 7, 1]
    assert made[3][2] is None


def test_a_flood_of_equal_vectors_takes_no_time(tmp_path: Path) -> None:
    """Crawls hold millions of equal error pages; comparing each with each would never end."""
    vector = np.random.default_rng(0).standard_normal(64)
    rows = rows_of([vector] * 20_000)
    reduced(rows[:5], tmp_path)
    began = time.perf_counter()
    made = reduced(rows, tmp_path, 8192)
    assert time.perf_counter() - began < 10
    assert [f[3] for f in made] == [20_000] * 20_000
    assert sum(f[0] is None for f in made) == 1
    assert {f[1] for f in made} == {None, 1.0}


def test_a_flood_of_nearly_equal_vectors_takes_little_time(tmp_path: Path) -> None:
    """Pages that differ by a date are no equal vectors, and a flood all the same."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal(64) + rng.standard_normal((20_000, 64)) * 0.01
    began = time.perf_counter()
    made = reduced(rows_of(vectors), tmp_path, 8192, clusters=1)
    assert time.perf_counter() - began < 20
    assert sum(f[0] is None for f in made) == 1


def test_the_seed_settles_ties(tmp_path: Path) -> None:
    """Without it one unlucky choice could not be told from a property of the data."""
    rows = rows_of([[1.0, 0.0]] * 40)
    stays = {reduced(rows, tmp_path, seed=seed)[0][2] for seed in range(8)}
    assert len(stays) > 3


def test_no_rows_give_no_rows(tmp_path: Path) -> None:
    """A rule that drops everything must end in an empty corpus and not in an exception."""
    assert reduced([], tmp_path) == []


def test_the_contract_holds_on_vectors_that_meet() -> None:
    """Made-up vectors are seldom alike; the laws must hold where there are groups too."""
    for chosen in ({}, {"clusters": 4, "memory_bytes": TINY}):
        check_stage(SemanticDuplicates(**chosen), examples=batch_of(hard_rows(100)))  # type: ignore[arg-type]


def test_memory_is_no_part_of_the_identity() -> None:
    """More memory would mean doing everything anew, for the same result."""
    assert SemanticDuplicates(memory_bytes=TINY).identity() == SemanticDuplicates().identity()
    assert SemanticDuplicates(seed=1).identity() != SemanticDuplicates().identity()


@pytest.mark.parametrize(
    "wrong",
    [
        {"similarity": 0.0},
        {"similarity": 1.1},
        {"similarity": NAN},
        {"clusters": -1},
        {"iterations": 0},
        {"passes": 0},
        {"seed": -1},
        {"memory_bytes": 0},
        {"keep": "random"},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    """A setting that cannot work is refused before a day of embedding, not after it."""
    with pytest.raises(RecipeError):
        SemanticDuplicates(**wrong)
