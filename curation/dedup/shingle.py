"""One hash that near-duplicates are likely to share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from curation.annotate.split import WordStage, split
from curation.arrow import is_valid, to_column
from curation.columns import columns
from curation.errors import RecipeError


@dataclass(frozen=True, kw_only=True)
class ShingleHash(WordStage):
    """Find the smallest hash of a document's runs of words: a MinHash of one permutation.

    Two documents have the same value with a probability that is the Jaccard similarity of their
    sets of runs: equal values are a cheap hint at near-duplicates, and no proof. Words of
    punctuation alone do not count; case does.

    reads    text           large_string  any length; null allowed
    writes   shingle_hash   uint64        null where the text has fewer than ngram_words words
    source   Broder 1997, "On the resemblance and containment of documents"
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("text",)
    writes: ClassVar[pa.Schema] = columns("shingle_hash")

    ngram_words: int = 5
    seed: int = 1

    def check(self) -> None:
        super().check()
        if self.ngram_words < 1:
            raise RecipeError("a run has one word at least.", found=f"{self.ngram_words=}")
        if not 0 <= self.seed < 1 << 63:
            raise RecipeError("a seed is a whole number from 0 on.", found=f"{self.seed=}")

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from curation.kernels.ngrams import NO_SHINGLE, smallest_shingle

        words = self.cut(split(batch["text"]))
        least = smallest_shingle(words.offset, words.word_W, self.ngram_words, self.seed)
        valid = is_valid(batch["text"]) & (least != NO_SHINGLE)
        return pa.RecordBatch.from_arrays([to_column(least, valid)], schema=self.writes)
