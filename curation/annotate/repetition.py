"""How much a document repeats itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from curation.annotate.quality import to_batch
from curation.annotate.split import WordStage, split
from curation.arrow import is_valid
from curation.columns import columns


@dataclass(frozen=True, kw_only=True)
class GopherRepetition(WordStage):
    """Measure repeated lines, paragraphs and runs of words.

    Lines stand between runs of line feeds, paragraphs between runs of two or more. All shares are
    of the document's code points or of its lines or paragraphs, and null where the text is empty.

    reads    text                  large_string  any length; null allowed
    writes   dup_line_frac         float32       0..1, lines that repeat an earlier one
             dup_line_char_frac    float32       0..1, code points in them
             dup_para_frac         float32       0..1, paragraphs that repeat an earlier one
             dup_para_char_frac    float32       0..1, code points in them
             top_2gram_char_frac   float32       from 0, length of the commonest pair × its count
             top_3gram_char_frac   float32       from 0
             top_4gram_char_frac   float32       from 0
             dup_5gram_char_frac   float32       0..1, in runs of 5 words that occurred before
             dup_6gram_char_frac   float32       0..1
             dup_7gram_char_frac   float32       0..1
             dup_8gram_char_frac   float32       0..1
             dup_9gram_char_frac   float32       0..1
             dup_10gram_char_frac  float32       0..1
    source   Rae et al. 2021, arXiv:2112.11446 (Gopher), table A1
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("text",)
    writes: ClassVar[pa.Schema] = columns(
        "dup_line_frac",
        "dup_line_char_frac",
        "dup_para_frac",
        "dup_para_char_frac",
        *(f"top_{n}gram_char_frac" for n in range(2, 5)),
        *(f"dup_{n}gram_char_frac" for n in range(5, 11)),
    )

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from curation.kernels.repetition import line_repetition, word_repetition
        from curation.kernels.unicode import flag_table

        text = split(batch["text"])
        words, lines = self.cut(text), text.lines
        by_line = line_repetition(text.data, text.offset, lines.offset, lines.line_L, flag_table())
        by_word = word_repetition(words.offset, words.word_W, text.text_chars)
        return to_batch([*by_line.T, *by_word.T], is_valid(batch["text"]), self.writes)
