"""How long a document is: bytes, characters, words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from curation.arrow import bytes_and_offsets, is_valid, to_column
from curation.columns import columns
from curation.stage import Annotator


@dataclass(frozen=True, kw_only=True)
class TextSize(Annotator):
    """Count the bytes, code points and words of a document.

    reads    text             large_string  any length; null allowed
    writes   text_bytes       uint64        UTF-8 bytes; null where text is null
             text_chars       uint64        code points; null where text is null
             word_count       uint32        words (runs between Unicode white space); null likewise
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("text",)
    writes: ClassVar[pa.Schema] = columns("text_bytes", "text_chars", "word_count")

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from curation.kernels.words import count_words

        text = batch["text"]
        words = to_column(count_words(*bytes_and_offsets(text)), is_valid(text))
        sizes = [pc.binary_length(text), pc.utf8_length(text)]
        arrays = [*(size.cast(pa.uint64()) for size in sizes), words]
        return pa.RecordBatch.from_arrays(arrays, schema=self.writes)
