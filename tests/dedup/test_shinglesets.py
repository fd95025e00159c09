"""Sets of shingles on disk: what comes back, and how much is read for it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import MinHashSketch
from curation.dedup.shinglesets import OnDisk, ShingleSets
from curation.dedup.spill import RowArrays
from curation.kernels.jaccard import Sets
from curation.kernels.shingles import different_shingles

sizes = st.lists(st.sampled_from([1, 2, 7, 300, 511, 512, 513, 2000]), min_size=1, max_size=12)


def on_disk(folder: Path, counts: list[int], held: bool = False) -> OnDisk:
    """Sets of 0, 1, 2 ... in a file."""
    data = np.arange(sum(counts), dtype=np.uint64)
    data.tofile(folder / "sets.bin")
    count_N = np.array(counts, np.uint32)
    start_N = np.cumsum(count_N.astype(np.int64)) - count_N
    return OnDisk(start_N, count_N, folder / "sets.bin", data if held else None)


def sets_of(found: tuple[np.ndarray, Sets]) -> list[list[int]]:
    place_P, sets = found
    return [
        sets.shingle_S[sets.start_N[at] :][: sets.count_N[at]].tolist()
        for at in place_P.astype(np.int64)
    ]


@pytest.mark.parametrize("held", [False, True])
@settings(deadline=None)
@given(sizes, st.data())
def test_chosen_sets_come_back_from_the_file_as_they_are(
    tmp_path_factory: pytest.TempPathFactory, held: bool, counts: list[int], data: st.DataObject
) -> None:
    """A corpus that outgrows memory would be compared with other shingles than its own."""
    sets = on_disk(tmp_path_factory.mktemp("sets"), counts, held)
    rows = data.draw(st.lists(st.integers(0, len(counts) - 1), min_size=1, max_size=9))
    begins = sets.start_N.tolist()
    wanted = [list(range(begins[row], begins[row] + counts[row])) for row in rows]
    assert sets_of(sets.of(np.array(rows))) == wanted


def test_what_lies_far_apart_is_not_read_in_one_go(tmp_path: Path) -> None:
    """Two rows at the ends of a corpus would bring all that lies between them into memory."""
    sets = on_disk(tmp_path, [10, 100, 10, 5000, 10])
    assert sets.of(np.array([0, 2, 4]))[1].shingle_S.size == 10 + 100 + 10 + 10


def test_pairs_are_compared_in_pieces_that_fit_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A memory limit that is kept everywhere but here is none."""
    count, memory = 400, 1 << 20
    texts = pa.array([" ".join(f"{n + k}" for k in range(200)) for n in range(count)])
    sketcher = MinHashSketch(ngram=1)
    sets = ShingleSets(
        tmp_path / "sets.bin",
        RowArrays(tmp_path, count, 1 << 20),
        np.zeros(count, np.uint64),
        sketcher,
    )
    made = sketcher.shingles(texts.cast(pa.large_string()))
    sets.add(np.arange(count), *different_shingles(*made))
    sets.done(memory_bytes=0)
    pair_P = np.arange(1, count, dtype=np.uint64) << np.uint64(32) | np.arange(
        count - 1, dtype=np.uint64
    )
    read: list[int] = []
    before = OnDisk._read

    def noted(self: OnDisk, row_M: Any) -> Sets:
        made = before(self, row_M)
        read.append(made.shingle_S.nbytes)
        return made

    monkeypatch.setattr(OnDisk, "_read", noted)
    found = list(sets.compared(pair_P, sets.sets, 0.5, memory))
    assert np.concatenate([pairs for pairs, _ in found]).tolist() == pair_P.tolist()
    assert np.concatenate([alike for _, alike in found]) == pytest.approx(199 / 201)
    assert len(found) > 3
    assert max(read) <= memory // 16


def test_a_read_that_comes_in_pieces_is_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system reads at most 2 GB at a time: what is behind would be what memory held before."""
    sets = on_disk(tmp_path, [300, 300])

    class Short(io.FileIO):
        def readinto(self, buffer: Any) -> int:  # type: ignore[override]
            return super().readinto(memoryview(buffer).cast("B")[:1000]) or 0

    monkeypatch.setattr(np, "empty", np.zeros)  # and not, by chance, the numbers wanted
    monkeypatch.setattr("builtins.open", lambda path, *_, **__: Short(path))
    found = sets.of(np.array([0, 1]))
    monkeypatch.undo()
    assert sets_of(found) == [list(range(300)), list(range(300, 600))]
