"""What Gopher's, FineWeb's and DSIR's quality rules judge: words, lines and marks, counted.

A stage here counts and a rule judges: the thresholds are in ``curation.presets`` and in recipes.
"""

from __future__ import annotations

import string
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.annotate.split import Split, WordStage, split
from curation.arrow import Bool_N, is_valid, to_column
from curation.columns import columns
from curation.errors import RecipeError

#: Rae et al. 2021, arXiv:2112.11446, section A1.1: two of these must occur.
GOPHER_STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")

#: English function words, as the Snowball project lists them (BSD), for DSIR's informative share.
ENGLISH_STOP_WORDS = tuple(
    """i me my myself we our ours ourselves you your yours yourself yourselves he him his himself
    she her hers herself it its itself they them their theirs themselves what which who whom this
    that these those am is are was were be been being have has had having do does did doing a an
    the and but if or because as until while of at by for with about against between into through
    during before after above below to from up down in out on off over under again further then
    once here there when where why how all any both each few more most other some such no nor not
    only own same so than too very can will just should now s t d m ll re ve don aren couldn didn
    doesn hadn hasn haven isn mightn mustn needn shouldn wasn weren wouldn n't 's 'm 're 've 'll
    'd""".split()
)


@dataclass(frozen=True, kw_only=True)
class GopherQuality(WordStage):
    """Count what Gopher's document rules judge.

    Lines are those of ``str.splitlines``. A stop word counts where it stands as a word of its own,
    in the very case that it is given in.

    reads    text                  large_string  any length; null allowed
    writes   split_word_count      uint32        words by the splitter, punctuation too
             nonsymbol_word_count  uint32        words that are not punctuation alone
             mean_word_chars       float32       code points of those; null if there are none
             hash_word_ratio       float32       '#' per word; null if there is no word
             ellipsis_word_ratio   float32       '...' and U+2026 per word; null likewise
             bullet_line_frac      float32       0..1; null if the text is empty
             ellipsis_line_frac    float32       0..1; null likewise
             alpha_word_frac       float32       0..1; null if there is no word
             stop_word_count       uint32        different ones
    source   Rae et al. 2021, arXiv:2112.11446 (Gopher), document quality rules
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("text",)
    writes: ClassVar[pa.Schema] = columns(
        "split_word_count",
        "nonsymbol_word_count",
        "mean_word_chars",
        "hash_word_ratio",
        "ellipsis_word_ratio",
        "bullet_line_frac",
        "ellipsis_line_frac",
        "alpha_word_frac",
        "stop_word_count",
    )

    stop_words: tuple[str, ...] = GOPHER_STOP_WORDS

    def check(self) -> None:
        super().check()
        _check_words(self.stop_words)

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from curation.kernels.counts import count_kinds
        from curation.kernels.lines import count_marks, gopher_lines
        from curation.kernels.unicode import flag_table

        text = split(batch["text"])
        words = self.cut(text)
        kinds = count_kinds(words.offset, words.word_W, _hashes(self.stop_words))
        marks = count_marks(text.data, text.offset)
        lines = gopher_lines(text.data, text.lines.offset, text.lines.line_L, flag_table())
        total = np.diff(words.offset)
        values: list[npt.NDArray[Any]] = [
            total.astype(np.uint32),
            kinds[:, 0].astype(np.uint32),
            share(kinds[:, 1], kinds[:, 0]),
            share(marks[:, 0], total),
            share(marks[:, 1], total),
            lines[:, 0],
            lines[:, 1],
            share(kinds[:, 2], total),
            kinds[:, 3].astype(np.uint32),
        ]
        return to_batch(values, is_valid(batch["text"]), self.writes)


@dataclass(frozen=True, kw_only=True)
class FineWebQuality(WordStage):
    """Count what FineWeb's own rules judge.

    Lines end at line feeds, and lines of white space alone do not count.

    reads    text                   large_string  any length; null allowed
    writes   terminal_line_frac     float32       0..1; null if every line is blank
             short_line_frac        float32       0..1; null likewise
             fineweb_dup_char_frac  float32       0..1; null likewise
             newline_word_ratio     float32       line feeds per word; null if there is no word
    source   Penedo et al. 2024, arXiv:2406.17557 (FineWeb), section 3.6 and table 2
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("text",)
    writes: ClassVar[pa.Schema] = columns(
        "terminal_line_frac", "short_line_frac", "fineweb_dup_char_frac", "newline_word_ratio"
    )

    #: A line of at most so many code points is short.
    short_line_chars: int = 30

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from curation.kernels.lines import fineweb_lines

        text = split(batch["text"])
        words = self.cut(text)
        lines = fineweb_lines(text.lines.offset, text.lines.line_L, self.short_line_chars)
        feeds = np.diff(text.lines.offset) - 1
        values = [*lines.T, share(feeds, np.diff(words.offset))]
        return to_batch(values, is_valid(batch["text"]), self.writes)


@dataclass(frozen=True, kw_only=True)
class DsirQuality(WordStage):
    """Count what the quality filter of DSIR's data judges.

    Words are those of the lower-cased text. DSIR's authors cut the Pile into pieces of 128 words
    first, and their thresholds are for such pieces.

    reads    text                   large_string  any length; null allowed
    writes   dsir_word_count        uint32        words by the splitter, punctuation too
             top_word_frac          float32       0..1; null if there is no word
             informative_word_frac  float32       0..1; null likewise
             nondigit_word_frac     float32       0..1; null likewise
    source   Xie et al. 2023, arXiv:2302.03169 (DSIR), released preprocessing
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("text",)
    writes: ClassVar[pa.Schema] = columns(
        "dsir_word_count", "top_word_frac", "informative_word_frac", "nondigit_word_frac"
    )

    stop_words: tuple[str, ...] = ENGLISH_STOP_WORDS

    def check(self) -> None:
        super().check()
        _check_words(self.stop_words)

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from curation.kernels.counts import count_commonest, count_kinds

        lowered = pc.utf8_lower(batch["text"].cast(pa.large_string()))
        words = self.cut(Split(lowered))
        total = np.diff(words.offset)
        empty = count_kinds(
            words.offset, words.word_W, _hashes((*self.stop_words, *string.punctuation))
        )
        digits = count_kinds(words.offset, words.word_W, _hashes(string.digits))
        values: list[npt.NDArray[Any]] = [
            total.astype(np.uint32),
            share(count_commonest(words.offset, words.word_W), total),
            share(total - empty[:, 4], total),
            share(total - digits[:, 4], total),
        ]
        return to_batch(values, is_valid(batch["text"]), self.writes)


def share(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return part / whole, float64[N]; NaN where there is no whole."""
    result = np.full(len(part), np.nan)
    np.divide(part, whole, out=result, where=whole != 0)
    return result


def to_batch(
    values: Iterable[npt.NDArray[Any]], valid: Bool_N, schema: pa.Schema
) -> pa.RecordBatch:
    """Return statistics as columns: null where the row is, and where a share is NaN."""
    arrays = []
    for value in values:
        if value.dtype == np.float64:
            arrays.append(to_column(value.astype(np.float32), valid & ~np.isnan(value)))
        else:
            arrays.append(to_column(value, valid))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _hashes(words: Iterable[str]) -> npt.NDArray[np.uint64]:
    """Return the hashes of words as the splitter makes them, sorted, each once."""
    from curation.kernels.english import hash_text

    return np.unique(np.array([hash_text(word) for word in words], dtype=np.uint64))


def _check_words(words: tuple[str, ...]) -> None:
    blank = [word for word in words if not word.strip() or word.split() != [word]]
    if blank:
        raise RecipeError(
            "a stop word is one word, without white space.",
            found=repr(blank[0]),
            remedy="give each word as a string of its own",
        )
