from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation.dedup.spill import Bytes, RowArrays, Spill


@pytest.mark.parametrize("room", [0, 40, 10**6])
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(0, 5), max_size=8), max_size=8))
def test_parts_come_back_as_they_were_added_to(
    tmp_path_factory: pytest.TempPathFactory, room: int, added: list[list[int]]
) -> None:
    """What was put on disk for want of memory must be what would have been in memory."""
    spill = Spill(tmp_path_factory.mktemp("spill") / "x", np.int64, room)
    wanted: dict[int, list[int]] = {}
    for number, parts in enumerate(added):
        values = [10 * number + at for at in range(len(parts))]
        spill.add_split(np.array(parts, np.int64), np.array(values, np.int64))
        for part, value in zip(parts, values, strict=True):
            wanted.setdefault(part, []).append(value)
    assert spill.parts == sorted(wanted)
    assert [spill.read(part).tolist() for part in spill.parts] == [
        wanted[p] for p in sorted(wanted)
    ]
    assert [a.tolist() for a in spill.pop_all()] == [wanted[p] for p in sorted(wanted)]
    assert spill.parts == []


def test_little_room_means_files_and_much_room_none(tmp_path: Path) -> None:
    """Without files memory grows with the corpus; a corpus that fits must not pay for the disk."""
    small, large = Spill(tmp_path / "s", np.int64, 8), Spill(tmp_path / "l", np.int64, 800)
    for spill in (small, large):
        spill.add(3, np.arange(4))
    assert list((tmp_path / "s").iterdir())
    assert not (tmp_path / "l").exists()
    small.pop(3)
    assert not list((tmp_path / "s").iterdir())


@pytest.mark.parametrize("room", [0, 10**6])
def test_arrays_over_all_rows_are_the_same_on_disk(tmp_path: Path, room: int) -> None:
    """Millions of rows on a small machine must come to the same verdicts."""
    arrays = RowArrays(tmp_path, 7, room)
    array = arrays.full("a", -1, np.int16)
    array[2:4] = 5
    assert array.tolist() == [-1, -1, 5, 5, -1, -1, -1]
    assert arrays.full("b", 0, np.bool_).tolist() == [False] * 7
    assert bool(list(tmp_path.iterdir())) == (room == 0)


def test_bytes_are_mapped_and_no_bytes_too(tmp_path: Path) -> None:
    """An empty file cannot be mapped, and a corpus without a single pair makes one."""
    for number, pieces in enumerate(([], [b"ab", b"", b"c"])):
        file = Bytes(tmp_path / f"{number}.bin")
        for piece in pieces:
            file.add(np.frombuffer(piece, np.uint8))
        assert bytes(file.done()) == b"".join(pieces)


def test_what_has_been_written_makes_room_for_more(tmp_path: Path) -> None:
    """Once memory had been full, every later piece would be a write of its own, however small."""
    spill = Spill(tmp_path / "s", np.int64, 80)
    spill.add(0, np.arange(11))
    spill.add(0, np.arange(3))
    assert (tmp_path / "s" / "000000.bin").stat().st_size == 88
    assert spill.read(0).tolist() == [*range(11), *range(3)]
