"""Records, one after another → record batches of bounded size.

For the readers whose parser hands out one record at a time; the tables have their own batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from curation.stage import BATCH_BYTES, BATCH_ROWS, pulse

#: One row: column → Python value; a column that is not named is null.
Record = Mapping[str, Any]


def batches(records: Iterable[Record], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield records in order, in batches of at most BATCH_ROWS and, by payload, BATCH_BYTES.

    A record that is larger than BATCH_BYTES has a batch of its own.
    """
    held: list[Record] = []
    total = 0
    for record in records:
        pulse()
        size = payload_bytes(record)
        if held and (total + size > BATCH_BYTES or len(held) >= BATCH_ROWS):
            yield to_batch(held, schema)
            held, total = [], 0
        held.append(record)
        total += size
        del record  # a page of 100 MB is not to be held while the next is read
    if held:
        yield to_batch(held, schema)


def payload_bytes(record: Record) -> int:
    """Return the bytes of the payloads of a record; of text, as UTF-8."""
    found = [record[name] for name in ("html", "pdf", "text", "dialogue") if record.get(name)]
    return sum(
        len(value.encode()) if isinstance(value, str) and not value.isascii() else len(value)
        for value in found
    )


def to_batch(records: Iterable[Record], schema: pa.Schema) -> pa.RecordBatch:
    """Build one batch of a schema from records."""
    rows = list(records)
    arrays = [pa.array([row.get(f.name) for row in rows], type=f.type) for f in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
