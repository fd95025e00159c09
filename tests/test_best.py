"""Selections over the whole corpus: the same rows, however the corpus is split and ordered."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curation import Build, Recipe, TextSize, col, keep
from curation.engine.best import at_least, find_threshold, id_hash, ranked
from curation.recipe import KeepBest, Sample, keep_best, sample
from tests.conftest import kept_ids, table

VALUES: dict[str, Callable[[random.Random], Any]] = {
    "float64": lambda r: r.choice([None, float("nan"), -0.0, 0.0, r.uniform(-3, 3), -1.5, 1e300]),
    "int64": lambda r: r.choice([None, -(2**63), 2**63 - 1, 0, -1, r.randrange(-9, 9)]),
    "uint32": lambda r: r.choice([None, 0, 1, 2**32 - 1, r.randrange(5)]),
    "float32": lambda r: r.choice([None, 0.5, -0.5, float("-inf"), r.choice([1.0, 2.0])]),
}


def best_batch(kind: str, rows: int, seed: int) -> pa.RecordBatch:
    r = random.Random(seed)
    return pa.RecordBatch.from_arrays(
        [
            pa.array([f"f#{n}" for n in range(rows)], pa.large_string()),
            pa.array([VALUES[kind](r) for _ in range(rows)], getattr(pa, kind)()),
            pa.array([r.choice([None, 0, 1, 3, 50]) for _ in range(rows)], pa.uint32()),
        ],
        names=["id", "value", "word_count"],
    )


def best_oracle(batch: pa.RecordBatch, rule: KeepBest) -> set[str]:
    ties = dict(zip(batch["id"].to_pylist(), id_hash(batch["id"]).tolist(), strict=True))
    weighed = rule.unit == "words"
    rows = [
        (row["value"] * (-1 if rule.lowest else 1), ties[row["id"]], row)
        for row in batch.to_pylist()
        if row["value"] is not None
        and row["value"] == row["value"]
        and not (weighed and row["word_count"] is None)
    ]
    rows.sort(key=lambda entry: entry[:2], reverse=True)
    kept, left = set(), rule.budget
    for _, _, row in rows:
        left -= row["word_count"] if weighed else 1
        if left < 0:
            break
        kept.add(row["id"])
    return kept


def selected(batches: list[pa.RecordBatch], rule: KeepBest | Sample, budget: int) -> set[str]:
    threshold = find_threshold(lambda: (ranked(b, rule)[1] for b in batches), budget)
    found: set[str] = set()
    for batch in batches:
        able, (rank, _) = ranked(batch, rule)
        able[able] = at_least(rank, threshold)
        found |= set(batch.filter(pa.array(able))["id"].to_pylist())
    return found


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("lowest", [False, True])
@pytest.mark.parametrize("unit", ["documents", "words"])
@pytest.mark.parametrize("budget", [0, 1, 17, 100, 2**40])
def test_the_best_rows_are_the_same_however_they_are_split(
    kind: str, lowest: bool, unit: str, budget: int
) -> None:
    """Which documents make the corpus would depend on the number of files."""
    whole = best_batch(kind, 120, seed=7)
    rule = KeepBest("value", unit, budget, "budget", lowest)
    wanted = best_oracle(whole, rule)
    r = random.Random(budget)
    for _ in range(3):
        order = r.sample(range(120), 120)
        mixed = whole.take(pa.array(order))
        cuts = [0, *sorted(r.sample(range(120), 4)), 120]
        split = [mixed.slice(a, b - a) for a, b in pairwise(cuts)]
        assert selected(split, rule, budget) == wanted


@pytest.mark.parametrize("documents", [0, 1, 40, 120, 500])
def test_a_sample_of_so_many_is_the_same_however_it_is_split(documents: int) -> None:
    """Two people who sample with one seed would read different documents."""
    whole = best_batch("int64", 120, seed=1)
    rule = Sample(None, documents, 3, "x")
    found = selected([whole], rule, documents)
    assert len(found) == min(documents, 120)
    split = [whole.slice(n, 1) for n in reversed(range(120))]
    assert selected(split, rule, documents) == found
    fewer = selected([whole], rule, documents // 2)
    assert fewer <= found


def test_keep_best_and_sample_in_a_recipe(numbers: str, store: Path) -> None:
    """What is true of the arithmetic would not be true of the corpus."""

    def run(*steps: Any) -> Build:
        return Recipe(source=table(numbers), steps=[TextSize(), *steps]).run(store=store, workers=0)

    lowest = run(keep_best("n", documents=10, lowest=True, because="b"))
    assert lowest.documents().collect()["n"].to_list() == list(range(10))
    sized = run(keep_best("score", text_bytes=1000, because="b")).documents().collect()
    assert sized["text_bytes"].sum() <= 1000 < sized["text_bytes"].sum() + 100
    assert set(sized["score"]) == {0.0}
    assert run(keep_best("n", documents=0, because="b")).ledger().dropped == {"b": 100}
    assert run(keep_best("n", documents=10**15, because="b")).ledger().rows_out == 100
    some = run(sample(frac=0.3, seed=1))
    assert 15 <= some.ledger().rows_out <= 45
    assert some.reasons() == {"not sampled": 100 - some.ledger().rows_out}
    other = run(sample(frac=0.3, seed=2))
    assert kept_ids(some) != kept_ids(other)
    more = run(sample(frac=0.6, seed=1))
    assert set(kept_ids(some)) < set(kept_ids(more))
    assert run(sample(documents=33)).ledger().rows_out == 33
    assert run(sample(frac=0.0)).ledger().rows_out == 0
    assert run(sample(frac=1.0)).ledger().rows_out == 100
    # a rank among the rows that are left, not among all
    tail = run(keep(col("n") < 50, because="x"), keep_best("n", documents=5, because="b"))
    assert tail.documents().collect()["n"].to_list() == list(range(45, 50))
    assert tail.funnel()["rows"].to_list() == [100, 100, 50, 5]
    assert tail.funnel()["bytes"].to_list()[-1] == sum(range(45, 50))
