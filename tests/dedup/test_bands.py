"""Keys and pairs in parts, where they outgrow the memory allowed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curation.dedup.bands import BandEntries, Pairs, sorted_entries


@pytest.mark.parametrize("memory", [1 << 18, 1 << 20, 1 << 30])
def test_keys_come_back_with_the_band_that_they_were_added_to(tmp_path: Path, memory: int) -> None:
    """A part of a large build looked up in another band of an index meets none of its rows."""
    rows, bands = 9000, 3
    random = np.random.default_rng(2)
    key_NK = random.integers(0, 2**64, (rows, bands), dtype=np.uint64)
    entries = BandEntries(tmp_path, bands, rows, memory)
    for start in range(0, rows, 1000):
        piece = slice(start, start + 1000)
        entries.add(np.arange(rows, dtype=np.uint32)[piece], key_NK[piece])
    found: list[list[tuple[int, int]]] = [[] for _ in range(bands)]
    largest = 0
    for band, part in entries.parts():
        key_E, row_E = sorted_entries(part)
        found[band] += zip(key_E.tolist(), row_E.tolist(), strict=True)
        largest = max(largest, len(part))
    for band in range(bands):
        wanted = sorted(zip(key_NK[:, band].tolist(), range(rows), strict=True))
        assert found[band] == wanted, "parts of a band ascend, and so do their keys"
    assert largest * 48 <= memory / 4 * 1.1


@pytest.mark.parametrize("memory", [1 << 12, 1 << 20, 1 << 30])
def test_pairs_come_back_sorted_each_once_and_a_rows_together(tmp_path: Path, memory: int) -> None:
    """A row whose pairs lie in two parts would be decided upon before all are known."""
    random = np.random.default_rng(3)
    rows = 500
    pairs = Pairs(tmp_path / "pairs", rows, 2, memory)
    added = random.integers(0, rows, (2000, 2), dtype=np.uint64)
    pair_P = added[:, 0] << np.uint64(32) | added[:, 1]
    for piece in (*np.split(pair_P, 7 * np.arange(1, 200)), pair_P[:0]):
        pairs.add(piece)
    for found in (list(pairs), list(pairs.pop_all())):
        assert np.concatenate(found).tolist() == sorted({*pair_P.tolist()})
        owners = [np.unique(part >> np.uint64(32)).tolist() for part in found]
        assert sum(map(len, owners)) == len({row for part in owners for row in part})
    assert list(pairs) == []
