"""What a text is made of: letters, digits, symbols, lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.annotate.quality import share, to_batch
from curation.annotate.split import split
from curation.arrow import is_valid
from curation.columns import columns
from curation.stage import Annotator


@dataclass(frozen=True, kw_only=True)
class TextShape(Annotator):
    """Measure a text's characters and lines.

    reads    text                 large_string  any length; null allowed
    writes   alpha_char_frac      float32       0..1, category L; null if the text is empty
             upper_char_frac      float32       0..1, category Lu; null likewise
             digit_char_frac      float32       0..1, category Nd; null likewise
             symbol_char_frac     float32       0..1, categories P and S; null likewise
             space_char_frac      float32       0..1; null likewise
             line_count           uint32        lines between line feeds
             longest_line_chars   uint64        code points
             longest_word_chars   uint64        code points between white space
             curly_bracket_count  uint32        '{' and '}'
             lorem_ipsum_count    uint32        in any mixture of cases
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("text",)
    writes: ClassVar[pa.Schema] = columns(
        "alpha_char_frac",
        "upper_char_frac",
        "digit_char_frac",
        "symbol_char_frac",
        "space_char_frac",
        "line_count",
        "longest_line_chars",
        "longest_word_chars",
        "curly_bracket_count",
        "lorem_ipsum_count",
    )

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from curation.kernels import counts
        from curation.kernels.unicode import flag_table

        text = split(batch["text"])
        found = counts.count_characters(text.data, text.offset, flag_table())
        lines = text.lines
        longest = np.zeros(len(found), dtype=np.uint64)
        if len(found):
            longest = np.maximum.reduceat(lines.line_L["chars"], lines.offset[:-1])
        classes = (counts.LETTERS, counts.CAPITALS, counts.DIGITS, counts.SYMBOLS, counts.SPACES)
        values: list[npt.NDArray[Any]] = [
            *(share(found[:, which], found[:, counts.CHARS]) for which in classes),
            np.diff(lines.offset).astype(np.uint32),
            longest.astype(np.uint64),
            found[:, counts.LONGEST_WORD].astype(np.uint64),
            found[:, counts.CURLY].astype(np.uint32),
            found[:, counts.LOREM].astype(np.uint32),
        ]
        return to_batch(values, is_valid(batch["text"]), self.writes)
