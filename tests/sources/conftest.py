"""What the tests of the sources share: the real data, rows of a source, and rereading them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curation.stage import Shard, Source

DATA = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture
def data() -> Path:
    """The folder of real data; the test skips where it is absent."""
    if not DATA.is_dir():
        pytest.skip("the real data (../shared/data) is not on this machine")
    return DATA


def read_rows(source: Source, shards: list[Shard] | None = None) -> list[dict[str, Any]]:
    """Read all shards; every batch must have the source's schema and sound arrays."""
    rows: list[dict[str, Any]] = []
    for shard in shards if shards is not None else source.plan():
        for batch in source.read(shard):
            assert batch.schema == source.schema
            batch.validate(full=True)
            rows.extend(batch.to_pylist())
    ids = [row["id"] for row in rows]
    assert len(set(ids)) == len(ids), "two rows share an id"
    return rows


def wanted(batch: pa.RecordBatch, choose: Callable[[int], bool]) -> pa.RecordBatch:
    """Build what ``reread`` is asked for: the rows without error whose index is chosen."""
    index = [n for n in range(batch.num_rows) if choose(n) and not batch["error"][n].is_valid]
    row = pa.array(index, pa.int64())
    taken = batch.take(row)
    arrays = [*(taken[name] for name in ("id", "file", "offset", "length")), row]
    return pa.RecordBatch.from_arrays(arrays, ["id", "file", "offset", "length", "row"])


def check_reread(source: Source) -> None:
    """Reread all rows, every third row and none; each must be what was read at first."""
    for shard in source.plan():
        batches = list(source.read(shard))
        for choose in (lambda n: True, lambda n: n % 3 == 1, lambda n: False):
            wants = [wanted(batch, choose) for batch in batches]
            again = list(source.reread(shard, iter(wants)))
            assert len(again) == len(wants)
            for batch, want, got in zip(batches, wants, again, strict=True):
                assert got.equals(batch.take(want["row"]).select(source.payload.names))
