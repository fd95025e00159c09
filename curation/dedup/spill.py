"""What outgrows memory: arrays added to piece by piece, and arrays with an entry for each row.

Both live in memory as long as they are small. Larger ones are files of plain numbers in a reducer's
scratch folder: pieces are written at the end of a file and read back whole, and an array over all
rows is mapped, so that the system may take its pages back whenever memory is short.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.arrow import from_bytes_and_offsets

Array = npt.NDArray[Any]


class Spill:
    """Numbered parts, each an array that grows at its end.

    folder      made when the first part is written to disk
    dtype       of the arrays
    room_bytes  how much is held in memory over all parts
    """

    def __init__(self, folder: Path, dtype: npt.DTypeLike, room_bytes: int) -> None:
        self._folder, self._dtype, self._room = folder, np.dtype(dtype), room_bytes
        self._held: dict[int, list[Array]] = {}
        self._held_bytes = 0
        self._written: set[int] = set()

    def add(self, part: int, array: Array) -> None:
        """Append an array, which must not be changed afterwards, to a part."""
        if len(array) == 0:
            return
        self._held.setdefault(part, []).append(array)
        self._held_bytes += array.nbytes
        if self._held_bytes > self._room:
            self._write()

    def add_split(self, part_N: npt.NDArray[np.integer], array_N: Array) -> None:
        """Append each element to the part whose number stands beside it."""
        if len(array_N) == 0:
            return
        order = np.argsort(part_N, kind="stable")
        parts, starts = np.unique(part_N[order], return_index=True)
        for part, piece in zip(parts, np.split(array_N[order], starts[1:]), strict=True):
            self.add(int(part), piece)

    def _write(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for part, pieces in self._held.items():
            with open(self._path(part), "ab") as file:
                for piece in pieces:
                    file.write(np.ascontiguousarray(piece).data)
        self._written |= self._held.keys()
        self._held, self._held_bytes = {}, 0

    @property
    def parts(self) -> list[int]:
        """The numbers of the parts that hold anything, ascending."""
        return sorted(self._written | self._held.keys())

    def read(self, part: int) -> Array:
        """Return a part, in the order in which it was added to."""
        pieces = self._held.get(part, [])
        if part in self._written:
            pieces = [np.fromfile(self._path(part), dtype=self._dtype), *pieces]
        return np.concatenate(pieces) if pieces else np.empty(0, dtype=self._dtype)

    def pop(self, part: int) -> Array:
        """Return a part and forget it."""
        array = self.read(part)
        self._held_bytes -= sum(piece.nbytes for piece in self._held.pop(part, []))
        if part in self._written:
            self._written.discard(part)
            self._path(part).unlink()
        return array

    def pop_all(self) -> Iterator[Array]:
        """Yield every part and forget it."""
        for part in self.parts:
            yield self.pop(part)

    def _path(self, part: int) -> Path:
        return self._folder / f"{part:06}.bin"


class RowArrays:
    """Makes arrays with an entry for each row, in memory or as mapped files.

    room_bytes  an array larger than this becomes a file
    """

    def __init__(self, folder: Path, count: int, room_bytes: int) -> None:
        self._folder, self._count, self._room = folder, count, room_bytes

    def full(self, name: str, value: int | float, dtype: npt.DTypeLike) -> Array:
        """Return an array of one value."""
        kind = np.dtype(dtype)
        if self._count * kind.itemsize <= self._room:
            return np.full(self._count, value, dtype=kind)
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{name}.rows"
        array = np.memmap(path, dtype=kind, mode="w+", shape=(self._count,))
        if value:  # a new file is zeros already, and takes no space until it is written to
            array[:] = value
        return np.asarray(array)


class Bytes:
    """Byte strings, one a row, in a file, to be fetched by number."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._file = path, open(path, "wb")  # noqa: SIM115  closed by ``done``

    def add(self, data: npt.NDArray[np.uint8]) -> None:
        """Append bytes."""
        self._file.write(np.ascontiguousarray(data).data)

    def done(self) -> npt.NDArray[np.uint8]:
        """Close the file and return all bytes, mapped."""
        self._file.close()
        return mapped(self._path, np.uint8)


def strings_at(data: Array, stop_N: Array, row_M: Array, wanted_M: Array) -> pa.Array:
    """Return some of the strings that lie end to end; null where ``wanted_M`` is False.

    data    uint8[B]
    stop_N  int64[N]  where each string ends
    row_M   int64[M]  the strings; any number where none is wanted
    """
    from curation.kernels.chunks import copy_pieces

    row_M = row_M[wanted_M]
    start_M, stop_M = np.zeros((2, len(wanted_M)), dtype=np.int64)
    stop_M[wanted_M] = stop_N[row_M]
    start_M[wanted_M] = np.where(row_M > 0, stop_N[row_M - 1], 0)
    copied, offset = copy_pieces(data, start_M, stop_M)
    return from_bytes_and_offsets(copied, offset, pa.large_string(), wanted_M)


def mapped(path: Path, dtype: npt.DTypeLike) -> Array:
    """Return a file as an array that is read page by page; empty files cannot be mapped."""
    if path.stat().st_size == 0:
        return np.empty(0, dtype=dtype)
    return np.asarray(np.memmap(path, dtype=dtype, mode="r"))
