"""Semantic duplicates: recall, precision, rows a second, growth with the rows.

Issue 4. The vectors are made here: topics (random directions, 40 rows each in the mean), rows
around their topic at a cosine of about 0.7, and planted copies: a third of the rows get a copy at a
cosine drawn between 0.90 and 1.00, around the threshold of 0.95. A real model's vectors are
clustered more or less than these; the recall is a figure of this set and of no other.

A pair counts as found if at most one of its rows stays. Recall is the share of all pairs at or
above the threshold, by brute force, for which that holds; precision the share of copies whose
cosine to the row named as theirs reaches the threshold. Brute force is timed beside it: numpy's
product of all rows with all rows, and nothing done with it but a comparison. Rates and growth are
of the fastest of five runs, since other work on the machine only ever slows one down.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.measure import Report, arguments, spread, timed
from curation.columns import columns
from curation.dedup.semantic import SemanticDuplicates
from curation.testing import MemoryRows

DIMS = 256
THRESHOLD = 0.95
BATCH_ROWS = 8192


def unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def near(rows: Any, cosine: Any, rng: np.random.Generator) -> Any:
    """Return unit vectors at the given cosines to some unit vectors."""
    noise = rng.standard_normal(rows.shape)
    noise = unit(noise - (noise * rows).sum(axis=1, keepdims=True) * rows)
    return cosine[:, None] * rows + np.sqrt(1 - cosine[:, None] ** 2) * noise


def made(count: int, seed: int = 0) -> Any:
    """Return float32[count, DIMS]: rows around topics, a quarter of them copies, shuffled."""
    rng = np.random.default_rng(seed)
    originals = count * 3 // 4
    topics = unit(rng.standard_normal((count // 40, DIMS)))
    topic = topics[rng.integers(len(topics), size=originals)]
    rows = near(topic, np.clip(rng.normal(0.7, 0.1, originals), 0, 0.9), rng)
    copied = rows[rng.choice(originals, count - originals, replace=False)]
    copies = near(copied, rng.uniform(0.90, 1.0, len(copied)), rng)
    return rng.permutation(np.concatenate([rows, copies])).astype(np.float32)


def batches(vectors: Any) -> list[pa.RecordBatch]:
    schema = columns("id", "embedding", "duplicate_of", "group_size")
    found = []
    for start in range(0, len(vectors), BATCH_ROWS):
        part = vectors[start : start + BATCH_ROWS]
        ids = pa.array([f"row#{start + n}" for n in range(len(part))], pa.large_string())
        offset = pa.array(np.arange(len(part) + 1) * DIMS, pa.int64())
        lists = pa.LargeListArray.from_arrays(offset, pa.array(part.ravel()))
        nulls = [pa.nulls(len(part), field.type) for field in list(schema)[2:]]
        found.append(pa.RecordBatch.from_arrays([ids, lists, *nulls], schema=schema))
    return found


def reduced(rows: list[pa.RecordBatch], **settings: Any) -> pa.Table:
    with tempfile.TemporaryDirectory() as scratch:
        stage = SemanticDuplicates(similarity=THRESHOLD, **settings)
        return pa.Table.from_batches(list(stage.reduce(MemoryRows(rows, Path(scratch)))))


def pairs(vectors: Any) -> Any:
    """Return int64[P, 2]: all pairs whose cosine reaches the threshold, by brute force."""
    rows = unit(vectors.astype(np.float32))
    found = []
    for start in range(0, len(rows), 2048):
        left, right = np.nonzero(rows[start : start + 2048] @ rows.T >= THRESHOLD)
        left += start
        found.append(np.stack([left, right], axis=1)[left < right])
    return np.concatenate(found)


def precision(vectors: Any, table: pa.Table) -> float:
    rows = unit(vectors.astype(np.float64))
    other = [-1 if name is None else int(name[4:]) for name in table["duplicate_of"].to_pylist()]
    stays = np.array(other)
    copies = np.flatnonzero(stays >= 0)
    cosine = (rows[copies] * rows[stays[copies]]).sum(axis=1)
    assert not (stays[stays[copies]] >= 0).any(), "a row that stays is named as a copy"
    return float((cosine >= THRESHOLD - 1e-6).mean())


def recall(table: pa.Table, pair_P2: Any) -> float:
    stays = table["duplicate_of"].is_null().to_numpy()
    return 1 - float(stays[pair_P2].all(axis=1).mean())


def main() -> None:
    options = arguments(__doc__.splitlines()[0])
    small, large = (5_000, 20_000) if options.quick else (10_000, 50_000)
    report = Report("dedup_semantic: SemanticDuplicates", issue=4)
    vectors = made(large)
    rows, few = batches(vectors), batches(vectors[:small])
    reduced(few)  # compiles
    times = [(timed(lambda: reduced(rows)), timed(lambda: reduced(few))) for _ in range(5)]
    seconds, short = (min(column) for column in zip(*times, strict=True))
    table = reduced(rows)
    pair_P2 = pairs(vectors)
    found = recall(table, pair_P2)
    brute = timed(lambda: pairs(vectors))
    name = f"{large:,} rows of {DIMS}"
    exact = precision(vectors, table)
    report.add(f"precision, {name}", f"{exact:.4f}", "1", exact == 1.0)
    report.add(f"recall of {len(pair_P2):,} pairs at {THRESHOLD}", f"{found:.3f}", "", True)
    for settings in ({"passes": 1}, {"passes": 3}, {"clusters": 10}, {"clusters": 1}):
        other = recall(reduced(rows, **settings), pair_P2)
        report.add(f"the same, {settings}", f"{other:.3f}", "", True)
    report.add(
        "rows a second", f"{large / seconds:,.0f} in {spread([t for t, _ in times])} s", "", True
    )
    report.add("all pairs by numpy alone", f"{large / brute:,.0f} ({brute:.2f} s)", "", True)
    growth = seconds / short
    asked = (large / small) ** 1.5 * 1.3
    what = f"{large / small:g} times the rows take"
    report.add(what, f"{growth:.1f} times the time", f"at most {asked:.1f}", growth <= asked)
    spilled = [timed(lambda: reduced(rows, memory_bytes=16 << 20)) for _ in range(3)]
    report.add("the same rows in 16 MiB", f"{spread(spilled)} s", "", True)
    report.finish(options.check)


if __name__ == "__main__":
    main()
