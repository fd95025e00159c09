"""Runs of words that stand in more places than one, wherever they begin and end.

Every run of ``min_words`` words (a window) is compared with every other: all that repeat are found.
The texts are read twice. The first time, one anchor for about a quarter of a window's words is
counted in a filter of fixed size; the second time, the windows that the filter cannot rule out are
looked up, by files where memory is short. ``kernels/substring.py`` says why none is missed.

Trade-off: a window that is looked up is 40 bytes, so where half of a large corpus repeats, the
files take some five times its size for as long as this stage works. The filter rules out nearly all
that stands once while there are fewer anchors than a tenth of its slots, two for each byte of
memory_bytes: 256 MiB do for some 4 GB of English text. Beyond that the work grows, up to looking
all windows up; the result never changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.arrow import bytes_and_offsets
from curation.dedup.preference import scope_of
from curation.dedup.repeats import Found, Places, RepeatStage, text_sizes
from curation.errors import RecipeError
from curation.stage import Rows

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

#: One in so many bytes of the memory is the filter's; the places have the rest.
_FILTER_PART = 2
#: Text that is cut into words at a time; the words and windows of it take some twenty times that.
_PIECE_BYTES = 1 << 20


class _Words(NamedTuple):
    """The words of a batch; see ``kernels.substring.hash_words``."""

    first_N: I64
    hash_W: U64
    start_W: U32
    stop_W: U32


@dataclass(frozen=True, kw_only=True)
class SubstringDuplicates(RepeatStage):
    """Find the runs of words that stand in another place too.

    Words are runs of letters, marks and numbers, and single characters in scripts that put no space
    between words (Thai, Chinese and others); case, white space and punctuation do not count. Every
    window of ``min_words`` words has one place that stays: in the row whose id has the lowest hash
    (XXH64), and the first in that row. All other places are repeats, but for those that overlap the
    one that stays: of "a a a a ..." the first ``min_words`` words stay. Repeats that overlap are
    one span, from the first byte of its first word to the last byte of its last word, so that a
    span is as long as it can be. Windows are told apart by 128-bit hashes.

    Taking all spans out (``RemoveRepeats``) loses no word altogether: each stands, in a window of
    the same words, in a row of lower rank or earlier in its own. But where windows of different
    first places overlap, the words of a run that stays may stay in different rows.

    Spans that an earlier step has left stay: cut to the text, and but for null and empty ones. Then
    spans may overlap, and of a byte that several cover the share counts one.

    reads    id    large_string  distinct
             text  large_string  any length; null allowed
             and the columns of ``within``
    may_read repeat_spans  large_list<item: struct<kind: large_string, start: uint64, stop: uint64>>
                           marks of an earlier step, kept beside the new ones
             repeat_char_frac  float32  overwritten
    writes   repeat_spans  large_list<item: struct<kind: large_string, start: uint64, stop: uint64>>
                           by start and stop, none of its own overlapping; null where text is null
             repeat_char_frac  float32  0..1, bytes in any span; null where text is null
    source   Lee et al. 2022, arXiv:2107.06499, for the task; Schleimer et al. 2003 for the anchors
    """

    version: ClassVar[int] = 1

    #: Words of the shortest run that counts.
    min_words: int = 50

    def check(self) -> None:
        super().check()
        if self.min_words < 2:
            raise RecipeError(
                "SubstringDuplicates compares runs of two words at least.",
                found=f"min_words={self.min_words}",
            )

    def reduce(self, rows: Rows) -> Iterator[pa.RecordBatch]:
        return self.marked("substring", rows, self._found(rows))

    def _found(self, rows: Rows) -> Iterator[Found]:
        from curation.kernels.substring import note_anchors

        filter_F = np.zeros(self.memory_bytes // _FILTER_PART + 1, dtype=np.uint8)
        for batch in _pieces(rows.batches(*self.reads)):
            words = _words(batch["text"])
            note_anchors(
                words.first_N, words.hash_W, scope_of(self.within, batch), self.min_words, filter_F
            )
        places = Places(rows.scratch, self.memory_bytes - self.memory_bytes // _FILTER_PART)
        for batch in _pieces(rows.batches(*self.reads)):
            places.add(self._places(batch, filter_F, places.rows), text_sizes(batch["text"]))
        del filter_F
        yield from places.found()

    def _places(self, batch: pa.RecordBatch, filter_F: U8, first_row: int) -> npt.NDArray[np.void]:
        """Return the places of the windows that may repeat."""
        from curation.kernels.substring import candidate_windows

        words = _words(batch["text"])
        number_N = np.arange(first_row, first_row + len(batch), dtype=np.uint64)
        row_3N = np.stack([scope_of(self.within, batch), self.ranks(batch), number_N])
        span_2W = np.stack([words.start_W, words.stop_W])
        return candidate_windows(
            words.first_N, words.hash_W, span_2W, row_3N, self.min_words, filter_F
        )


def _pieces(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Cut batches into ones of _PIECE_BYTES of text, or of one row where it has more."""
    for batch in batches:
        start, (_, offset) = 0, bytes_and_offsets(batch["text"])
        while start < len(batch):
            end = int(np.searchsorted(offset, offset[start] + _PIECE_BYTES, side="right")) - 1
            stop = min(max(end, start + 1), len(batch))
            yield batch.slice(start, stop - start)
            start = stop


def _words(text: pa.Array) -> _Words:
    from curation.kernels.substring import hash_words, word_table

    return _Words(*hash_words(*bytes_and_offsets(text), word_table()))
