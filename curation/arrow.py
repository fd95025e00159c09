"""Arrow string columns as the two arrays that kernels take, and back, without a copy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

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


def from_bytes_and_offsets(data: U8, offset: I64, kind: pa.DataType) -> pa.Array:
    """Return a large string or binary column over bytes and offsets, neither copied."""
    buffers = [None, pa.py_buffer(offset), pa.py_buffer(data)]
    return pa.Array.from_buffers(kind, len(offset) - 1, buffers)


def is_valid(array: pa.Array) -> npt.NDArray[np.bool_]:
    """Return bool[N]: False where the column is null."""
    valid: npt.NDArray[np.bool_] = pc.is_valid(array).to_numpy(zero_copy_only=False)
    return valid


def with_nulls(values: npt.NDArray[np.generic], valid: npt.NDArray[np.bool_]) -> pa.Array:
    """Return a numpy array as a column that is null wherever ``valid`` is False."""
    return pa.array(values, mask=None if valid.all() else ~valid)


def _offsets(array: pa.Array) -> I64:
    if len(array) == 0:  # Arrow allows an empty column to have no offsets at all
        return np.zeros(1, dtype=np.int64)
    return np.frombuffer(
        array.buffers()[1], dtype=np.int64, count=len(array) + 1, offset=8 * array.offset
    )
