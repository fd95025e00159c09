"""Long documents in pieces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from curation.arrow import bytes_and_offsets, strings_between
from curation.columns import columns
from curation.errors import RecipeError
from curation.stage import PARENT, Rewriter


@dataclass(frozen=True, kw_only=True)
class Chunk(Rewriter):
    """Cut documents into pieces of at most ``max_chars`` code points.

    A cut is made at the best place that the window holds: a blank line, then a line end, then a
    sentence end, each in the window's second half; then any white space; then ``max_chars``. The
    pieces are the document in order with white space at the cuts taken away, and nothing else. A
    document within the limit is one piece, unchanged; null, empty and blank text makes no row.

    reads    text             large_string  any length; null allowed
    writes   text             large_string  1..max_chars code points, not blank
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("text",)
    writes: ClassVar[pa.Schema] = columns("text")

    max_chars: int

    def check(self) -> None:
        if self.max_chars < 1:
            raise RecipeError(
                "Chunk cannot make pieces of no characters.",
                found=f"max_chars={self.max_chars}",
                remedy="set max_chars to 1 or more, such as 8000",
            )

    def rewrite(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from curation.kernels.chunks import cut

        data, offset = bytes_and_offsets(batch["text"])
        parent, start, stop = cut(data, offset, self.max_chars)
        text = strings_between(data, start, stop)
        schema = pa.schema([pa.field(PARENT, pa.int32()), *self.writes])
        return pa.RecordBatch.from_arrays([pa.array(parent).cast(pa.int32()), text], schema=schema)
