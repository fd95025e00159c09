"""A rewriter's new rows as the engine takes them, with the parents that could not be done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.stage import ERROR, PARENT


def new_rows(
    writes: pa.Schema,
    parents: Sequence[int] | npt.NDArray[np.int64],
    made: Mapping[str, pa.Array],
    failed: Mapping[int, str] | None = None,
) -> pa.RecordBatch:
    """Return new rows as a batch: ``parent``, then ``writes``, then ``error`` where there is one.

    parents  of each new row, ascending
    made     the columns of ``writes`` by name
    failed   parent → why it could not be done; none of these has a new row
    """
    schema = pa.schema([pa.field(PARENT, pa.int32()), *writes])
    columns = [pa.array(parents, pa.int32()), *(made[name] for name in writes.names)]
    rows = pa.RecordBatch.from_arrays(columns, schema=schema)
    if not failed:
        return rows
    nulls = [pa.nulls(len(failed), field.type) for field in writes]
    told = [
        pa.array([*failed], pa.int32()),
        *nulls,
        pa.array([*failed.values()], pa.large_string()),
    ]
    rows = rows.append_column(
        pa.field(ERROR, pa.large_string()), pa.nulls(len(rows), pa.large_string())
    )
    both = pa.concat_batches([rows, pa.RecordBatch.from_arrays(told, schema=rows.schema)])
    return both.take(pa.array(np.argsort(both[PARENT].to_numpy(), kind="stable")))
