"""C4's rules: lines that go, and what is left of a document without them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.annotate.quality import to_batch
from curation.annotate.split import split
from curation.arrow import from_bytes_and_offsets, is_valid
from curation.columns import columns
from curation.errors import RecipeError
from curation.stage import Annotator


@dataclass(frozen=True, kw_only=True)
class _C4(Annotator):
    """The settings that C4's two stages share."""

    reads: ClassVar[tuple[str, ...]] = ("text",)

    #: How sentences' words are cut; a splitter that leaves marks on words finds no sentence.
    words: Literal["english", "unicode"] = "english"
    #: Remove lines that do not end with . ? ! " or ' (FineWeb does not).
    terminal_only: bool = True
    #: Remove lines of fewer words between white space; 0 for none.
    min_line_words: int = 3
    #: Remove lines with a word of more code points; -1 for none.
    max_word_chars: int = 1000
    #: Take [1], [edit] and [citation needed] out of the lines that stay.
    remove_citations: bool = True

    def check(self) -> None:
        if self.min_line_words < 0 or self.max_word_chars < -1:
            raise RecipeError(
                f"{type(self).__name__} counts words from 0 on, and characters from -1 (no bound).",
                found=f"min_line_words={self.min_line_words}, max_word_chars={self.max_word_chars}",
            )

    def _judge(self, batch: pa.RecordBatch, *, with_text: bool) -> tuple[npt.NDArray[Any], ...]:
        from curation.kernels.c4 import judge_lines
        from curation.kernels.english import lexicon
        from curation.kernels.unicode import flag_table
        from curation.kernels.words import RULES

        text = split(batch["text"])
        words = text.words(self.words)
        options = np.array(
            [
                RULES.index(self.words),
                self.max_word_chars,
                self.min_line_words,
                self.remove_citations,
                self.terminal_only,
                with_text,
            ]
        )
        return judge_lines(
            text.data, text.offset, words.offset, words.word_W, options, flag_table(), lexicon()
        )


@dataclass(frozen=True, kw_only=True)
class C4Quality(_C4):
    """Count C4's lines by what becomes of them, and the sentences in those that stay.

    Rules are asked in the order of the columns, and a line counts for the first that it breaks.
    C4 drops a document for a line with 'lorem ipsum' or a curly bracket. The text stays as it is:
    ``C4Lines`` takes the lines out.

    reads    text                        large_string  any length; null allowed
    writes   c4_sentence_count           uint32        in the lines that stay
             c4_kept_line_count          uint32        lines that stay
             c4_long_word_line_count     uint32        lines, as all that follow
             c4_unterminated_line_count  uint32        0 unless terminal_only
             c4_short_line_count         uint32
             c4_lorem_line_count         uint32
             c4_javascript_line_count    uint32
             c4_curly_line_count         uint32
             c4_policy_line_count        uint32
    source   Raffel et al. 2020, arXiv:1910.10683 (C4), section 2.2, and its released code
    """

    version: ClassVar[int] = 1
    writes: ClassVar[pa.Schema] = columns(
        "c4_sentence_count",
        "c4_kept_line_count",
        "c4_long_word_line_count",
        "c4_unterminated_line_count",
        "c4_short_line_count",
        "c4_lorem_line_count",
        "c4_javascript_line_count",
        "c4_curly_line_count",
        "c4_policy_line_count",
    )

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        tally, _, _ = self._judge(batch, with_text=False)
        counts = tally.astype(np.uint32)
        return to_batch(counts.T, is_valid(batch["text"]), self.writes)


@dataclass(frozen=True, kw_only=True)
class C4Lines(_C4):
    """Take out the lines that C4 removes; the text that is left may be empty.

    reads    text  large_string  any length; null allowed
    writes   text  large_string  the lines that stay, joined by line feeds
    source   as for C4Quality
    """

    version: ClassVar[int] = 1
    writes: ClassVar[pa.Schema] = columns("text")

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        _, data, offset = self._judge(batch, with_text=True)
        valid = is_valid(batch["text"])
        text = from_bytes_and_offsets(data, offset, pa.large_string(), valid)
        return pa.RecordBatch.from_arrays([text], schema=self.writes)
