"""What becomes of rows that an earlier step has marked as copies.

A recipe may look for copies more than once: within each source and then everywhere, letter for
letter and then nearly, by words and then by meaning. Rows that one step has marked, and that no
rule has dropped since, take no part in the next, and what is known of them stays.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from curation.arrow import Rebatch, is_valid

#: A row in which this column is not null has been marked.
MARK = "duplicate_of"


def keep_marks(
    made: Iterator[pa.RecordBatch], handed: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Yield what a step made, but for marked rows what was handed to it.

    made    batches of any size
    handed  the same columns of the same rows, as they were before the step
    """
    again = Rebatch(made)
    for old in handed:
        if len(old) == 0:
            continue
        new = pa.concat_batches(again.take(len(old)))
        marked = is_valid(old[MARK])
        if marked.any():
            mask = pa.array(marked)
            columns = [pc.if_else(mask, old[name], new[name]) for name in new.schema.names]
            new = pa.RecordBatch.from_arrays(columns, schema=new.schema)
        yield new
    again.take(1)  # there is none: what makes them comes to its end and tidies up
