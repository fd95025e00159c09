"""Lines and paragraphs that stand in more places than one: menus, footers, notices, boilerplate.

Two methods. ``exact`` keeps an entry for each place and errs never; what outgrows its memory goes
to files. ``bloom`` has a table of fixed size, whatever the corpus, reads the texts twice and writes
no file; it may take a unit that stands in one place for a repeat, as a Bloom filter does.

Rate of that error: with n different units (in different scopes, each counts once), m = memory_bytes
/ 4 slots and k = 4 slots a unit, the one whose row has the rank q (0 lowest, 1 highest) is mistaken
with the probability (1 - exp(-k n q / m))^k, that all its slots hold a lower rank. Over all rows:

    units n / slots m   1/64     1/32     1/16     1/8      1/4      1/2      1
    mistaken            2.8e-6   4.0e-5   5.2e-4   5.6e-3   4.4e-2   0.20     0.50

256 MiB are 67 million slots: enough for 4 million units at one mistake in two thousand. A unit that
does repeat may be mistaken in its first place too, and then goes altogether.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.arrow import bytes_and_offsets
from curation.dedup.preference import scope_of
from curation.dedup.repeats import Found, Places, RepeatStage, text_sizes
from curation.errors import RecipeError
from curation.stage import Rows

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]


class _Units(NamedTuple):
    """The units of a batch that are long enough to count.

    first_N  int64[N+1]    document n owns units first_N[n]:first_N[n+1]
    key_U2   uint64[U, 2]  hash of each, its scope mixed in
    start_U  int64[U]      its first byte within its document
    stop_U   int64[U]      and the byte after its last
    """

    first_N: I64
    key_U2: U64
    start_U: I64
    stop_U: I64


@dataclass(frozen=True, kw_only=True)
class LineDuplicates(RepeatStage):
    """Find the lines, or the paragraphs, that stand in another place too.

    Units are compared with case and white space folded, as ``TextHash`` folds texts. Of each, one
    place stays: in the row whose id has the lowest hash (XXH64), and the first in that row. All
    others are repeats, in the same row too. A choice by the id's hash depends on no order of rows,
    and takes from no source more than from another.

    With method="bloom" memory is fixed and some units that stand once are taken for repeats; how
    many, the head of ``curation/dedup/lines.py`` says. A repeat is missed only where two rows'
    hashes agree in their first 32 bits, a chance of 2^-32.

    Spans that an earlier step has left stay: cut to the text, and but for null and empty ones. Then
    spans may overlap, and of a byte that several cover the share counts one.

    reads    id    large_string  distinct
             text  large_string  any length; null allowed
             and the columns of ``within``
    may_read repeat_spans  large_list<item: struct<kind: large_string, start: uint64, stop: uint64>>
                           marks of an earlier step, kept beside the new ones
             repeat_char_frac  float32  overwritten
    writes   repeat_spans  large_list<item: struct<kind: large_string, start: uint64, stop: uint64>>
                           by start and stop, line feeds not included; null where text is
             repeat_char_frac  float32  0..1, bytes in any span; null where text is null
    source   Wenzek et al. 2020, arXiv:1911.00359 (CCNet), section 3.1, for paragraphs; Bloom 1970
    """

    version: ClassVar[int] = 1

    #: line: between line feeds. paragraph: lines between blank ones.
    unit: Literal["line", "paragraph"] = "line"
    #: Units of fewer words (runs between white space) are never repeats.
    min_words: int = 3
    #: exact: no mistake, files where memory is short. bloom: fixed memory, few mistakes.
    method: Literal["exact", "bloom"] = "exact"

    def check(self) -> None:
        super().check()
        if self.min_words < 1:
            raise RecipeError(
                "LineDuplicates compares units of one word at least.",
                found=f"min_words={self.min_words}",
            )
        if self.method == "bloom" and self.memory_bytes < 4:
            raise RecipeError(
                "LineDuplicates has no room for one slot of a Bloom filter.",
                found=f"memory_bytes={self.memory_bytes}",
                remedy="give it some megabytes",
            )

    def identity(self) -> dict[str, object]:
        """Add the memory where the result depends on it."""
        facts = super().identity()
        settings = facts["settings"]
        assert isinstance(settings, dict)
        if self.method == "bloom":
            settings["memory_bytes"] = self.memory_bytes
        return facts

    def reduce(self, rows: Rows) -> Iterator[pa.RecordBatch]:
        found = self._by_bloom(rows) if self.method == "bloom" else self._exactly(rows)
        return self.marked(self.unit, rows, found)

    def _exactly(self, rows: Rows) -> Iterator[Found]:
        places = Places(rows.scratch, self.memory_bytes)
        for batch in rows.batches(*self.reads):
            units = self._units(batch)
            place_P = _places(units, self.ranks(batch), places.rows)
            places.add(place_P, text_sizes(batch["text"]))
        yield from places.found()

    def _by_bloom(self, rows: Rows) -> Iterator[Found]:
        from curation.kernels.repeats import UNTOUCHED, bloom_lower, bloom_repeats

        table_S = np.full(self.memory_bytes // 4, UNTOUCHED, dtype=np.uint32)
        for batch in rows.batches(*self.reads):
            units = self._units(batch)
            bloom_lower(table_S, units.key_U2, units.first_N, self.ranks(batch))
        for batch in rows.batches(*self.reads):
            units, rank_N = self._units(batch), self.ranks(batch)
            again_U = bloom_repeats(table_S, units.key_U2, units.first_N, rank_N)
            yield text_sizes(batch["text"]), _repeats(units, again_U)

    def _units(self, batch: pa.RecordBatch) -> _Units:
        from curation.kernels.hashing import hash_folded
        from curation.kernels.repeats import LONGEST_BYTES, cut_units
        from curation.kernels.words import count_words

        data, offset = bytes_and_offsets(batch["text"])
        # Lowering may change how many bytes a letter takes, and never where a line ends.
        low, low_offset = bytes_and_offsets(pc.utf8_lower(batch["text"]))
        paragraphs = self.unit == "paragraph"
        _, edge, _ = cut_units(low, low_offset, paragraphs)
        first_N, start_U, stop_U = cut_units(data, offset, paragraphs)
        row_U = np.repeat(np.arange(len(batch)), np.diff(first_N))
        kept_U = count_words(low, edge) >= self.min_words
        kept_U &= np.diff(offset)[row_U] <= LONGEST_BYTES
        row_U = row_U[kept_U]
        key_U2 = hash_folded(low, edge)[kept_U] ^ scope_of(self.within, batch)[row_U, None]
        kept_N = np.searchsorted(row_U, np.arange(len(batch) + 1))
        begin_U = offset[row_U]
        return _Units(kept_N, key_U2, start_U[:-1][kept_U] - begin_U, stop_U[kept_U] - begin_U)


def _places(units: _Units, rank_N: U64, first_row: int) -> npt.NDArray[np.void]:
    """Return the units as places; the batch's first row has the number ``first_row``."""
    from curation.kernels.repeats import PLACE_TYPE

    row_U = np.repeat(np.arange(len(rank_N)), np.diff(units.first_N))
    place_P = np.empty(len(row_U), dtype=PLACE_TYPE)
    place_P["key_0"], place_P["key_1"] = units.key_U2.T
    place_P["rank"], place_P["row"] = rank_N[row_U], row_U + first_row
    place_P["start"], place_P["stop"] = units.start_U, units.stop_U
    return place_P


def _repeats(units: _Units, again_U: npt.NDArray[np.bool_]) -> npt.NDArray[np.void]:
    from curation.kernels.repeats import REPEAT_TYPE

    row_U = np.repeat(np.arange(len(units.first_N) - 1), np.diff(units.first_N))
    repeat_R = np.empty(int(again_U.sum()), dtype=REPEAT_TYPE)
    repeat_R["row"] = row_U[again_U]
    repeat_R["start"], repeat_R["stop"] = units.start_U[again_U], units.stop_U[again_U]
    return repeat_R
