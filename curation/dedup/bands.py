"""From sketches to candidate pairs, with what does not fit in memory on disk.

Every row has one key for each band. Keys are spread over parts by band and, where a band's keys
outgrow the memory allowed, by their upper bits as well; each part is sorted on its own, and rows
with one key lie side by side. Pairs are spread over parts by the row that would go.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from curation.dedup.spill import Spill

I64 = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
Entries = npt.NDArray[np.void]

#: A row and its key in one band.
ENTRY = np.dtype([("key", np.uint64), ("row", np.uint32)])
#: Bytes that sorting takes for an entry: itself, its key and row apart, and their order.
_SORTING_BYTES = 48
#: Shares of the memory allowed.
_ENTRIES_FRAC, _SORTING_FRAC, _PAIRS_FRAC = 1 / 4, 1 / 4, 1 / 8
#: Pairs of a row and a band that are reckoned with, and bytes of a pair while a part is sorted.
_USUAL_PAIRS, _PAIR_BYTES = 16, 24


class BandEntries:
    """The entries of all rows, part by part."""

    def __init__(self, scratch: Path, bands: int, rows: int, memory_bytes: int) -> None:
        self.bands = bands
        self._splits = _power_of_two(rows * _SORTING_BYTES / (memory_bytes * _SORTING_FRAC))
        self._spill = Spill(scratch / "entries", ENTRY, int(memory_bytes * _ENTRIES_FRAC))

    def add(self, row_N: U32, key_NK: U64) -> None:
        """Add rows with their keys, one for each band."""
        for band in range(self.bands):
            entry_N = np.empty(len(row_N), dtype=ENTRY)
            entry_N["key"], entry_N["row"] = key_NK[:, band], row_N
            if self._splits == 1:
                self._spill.add(band, entry_N)
            else:
                shift = np.uint64(65 - self._splits.bit_length())
                part_N = (entry_N["key"] >> shift).astype(np.int64)
                self._spill.add_split(band * self._splits + part_N, entry_N)

    def parts(self) -> Iterator[tuple[int, Entries]]:
        """Yield each part with its band, and forget it."""
        for part in self._spill.parts:
            yield part // self._splits, self._spill.pop(part)


def sorted_entries(entry_E: Entries) -> tuple[U64, U32]:
    """Return a part's keys, ascending, and the rows that they belong to."""
    key_E = np.ascontiguousarray(entry_E["key"])
    order = np.argsort(key_E, kind="stable")
    return key_E[order], np.ascontiguousarray(entry_E["row"])[order]


class Pairs:
    """Pairs of rows, part by part: sorted, each once."""

    def __init__(self, folder: Path, rows: int, bands: int, memory_bytes: int) -> None:
        room = memory_bytes * _PAIRS_FRAC
        usual = rows * bands * _USUAL_PAIRS * _PAIR_BYTES
        self._rows_per_part = max(1, -(-rows // _power_of_two(usual / room)))
        self._spill = Spill(folder, np.uint64, int(room))

    def add(self, pair_P: U64) -> None:
        """Add pairs; one that is there already does no harm."""
        if len(pair_P):
            part_P = (pair_P >> np.uint64(32)).astype(np.int64) // self._rows_per_part
            if part_P.min() == part_P.max():
                self._spill.add(int(part_P[0]), pair_P)
            else:
                self._spill.add_split(part_P, pair_P)

    def __iter__(self) -> Iterator[U64]:
        """Yield the pairs, ascending over all parts."""
        for part in self._spill.parts:
            yield np.unique(self._spill.read(part))

    def pop_all(self) -> Iterator[U64]:
        """Yield the pairs likewise, and forget them."""
        for pair_P in self._spill.pop_all():
            yield np.unique(pair_P)


def halves(pair_P: U64) -> tuple[I64, I64]:
    """Return the rows of the upper and of the lower halves of pairs."""
    upper, lower = pair_P >> np.uint64(32), pair_P & np.uint64(0xFFFFFFFF)
    return upper.astype(np.int64), lower.astype(np.int64)


def _power_of_two(least: float) -> int:
    power = 1
    while power < least:
        power *= 2
    return power
