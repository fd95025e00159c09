"""Arrow columns as the arrays that kernels take, and back, copying nothing but packed bits.

pyarrow's own conversions import pandas wherever it is installed, and look at it on every call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
Bool_N = npt.NDArray[np.bool_]

_LARGE = {pa.string(): pa.large_string(), pa.binary(): pa.large_binary()}


def bytes_and_offsets(array: pa.Array) -> tuple[U8, I64]:
    """Return a string or binary column as bytes laid end to end and where each row begins.

    array    N rows, perhaps a slice; a null is an empty row
    returns  (uint8[B], int64[N+1]): row n is bytes[offset[n]:offset[n+1]]; offset[0] need not
             be 0. Views of the column's own memory, read-only, except where a null covers bytes
    """
    array = array.cast(_LARGE.get(array.type, array.type))
    offset = _offsets(array)
    if array.null_count and np.diff(offset)[~is_valid(array)].any():
        array = array.fill_null(b"" if pa.types.is_large_binary(array.type) else "")
        offset = _offsets(array)
    data = array.buffers()[2]
    return np.frombuffer(b"" if data is None else data, dtype=np.uint8), offset


def from_bytes_and_offsets(
    data: U8, offset: I64, kind: pa.DataType, valid: Bool_N | None = None
) -> pa.Array:
    """Return a large string or binary column over bytes and offsets, neither copied.

    valid  where it is given and False, the column is null
    """
    buffers = [_mask(valid), pa.py_buffer(offset), pa.py_buffer(data)]
    return pa.Array.from_buffers(kind, len(offset) - 1, buffers)


def strings_between(data: U8, start: I64, stop: I64) -> pa.Array:
    """Return a large string column of pieces of bytes, copied.

    start, stop  int64[C]  first byte of each piece, and byte after its last
    """
    from curation.kernels.chunks import copy_pieces

    return from_bytes_and_offsets(*copy_pieces(data, start, stop), pa.large_string())


def is_valid(array: pa.Array) -> Bool_N:
    """Return bool[N]: False where the column is null."""
    if array.null_count == 0:
        return np.ones(len(array), dtype=np.bool_)
    return _bits(array.buffers()[0], array)


def values_of(array: pa.Array) -> npt.NDArray[Any]:
    """Return a column of numbers or truth values as numpy; rows that are null hold anything."""
    if len(array) == 0 or array.buffers()[1] is None:
        return np.zeros(len(array), dtype=array.type.to_pandas_dtype())
    if pa.types.is_boolean(array.type):
        return _bits(array.buffers()[1], array)
    kind = np.dtype(array.type.to_pandas_dtype())
    start = array.offset * kind.itemsize
    return np.frombuffer(array.buffers()[1], dtype=kind, count=len(array), offset=start)


def to_column(values: npt.NDArray[Any], valid: Bool_N | None = None) -> pa.Array:
    """Return numbers or truth values as a column that is null wherever ``valid`` is False."""
    truth = values.dtype == np.bool_
    data = np.packbits(values, bitorder="little") if truth else np.ascontiguousarray(values)
    kind = pa.from_numpy_dtype(values.dtype)
    return pa.Array.from_buffers(kind, len(values), [_mask(valid), pa.py_buffer(data)])


def to_strings(texts: Sequence[str]) -> pa.Array:
    """Return a few Python strings as a large string column."""
    data = [text.encode() for text in texts]
    offset = np.concatenate([[0], np.cumsum([len(text) for text in data])]).astype(np.int64)
    joined = np.frombuffer(b"".join(data), dtype=np.uint8)
    return from_bytes_and_offsets(joined, offset, pa.large_string())


class Rebatch:
    """Cuts batches of any size into batches of the sizes asked for."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._held: pa.RecordBatch | None = None

    def take(self, count: int) -> list[pa.RecordBatch]:
        """Return the next ``count`` rows, in pieces; fewer where there are no more."""
        pieces: list[pa.RecordBatch] = []
        while count > 0:
            batch = self._held if self._held is not None else next(self._batches, None)
            if batch is None:
                break
            pieces.append(batch.slice(0, count))
            self._held = batch.slice(count) if len(batch) > count else None
            count -= len(pieces[-1])
        return pieces


def _mask(valid: Bool_N | None) -> pa.Buffer | None:
    if valid is None or valid.all():
        return None
    return pa.py_buffer(np.packbits(valid, bitorder="little"))


def _bits(buffer: pa.Buffer, array: pa.Array) -> Bool_N:
    packed = np.frombuffer(buffer, dtype=np.uint8)
    first, stop = array.offset, array.offset + len(array)
    bits = np.unpackbits(packed[first // 8 : -(-stop // 8)], bitorder="little")
    return bits[first % 8 : first % 8 + len(array)].view(np.bool_)


def _offsets(array: pa.Array) -> I64:
    if len(array) == 0:  # Arrow allows an empty column to have no offsets at all
        return np.zeros(1, dtype=np.int64)
    return np.frombuffer(
        array.buffers()[1], dtype=np.int64, count=len(array) + 1, offset=8 * array.offset
    )
