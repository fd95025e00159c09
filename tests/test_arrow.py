from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest

from curation.arrow import bytes_and_offsets, from_bytes_and_offsets


def rows(column: pa.Array) -> list[bytes]:
    data, offset = bytes_and_offsets(column)
    return [data[a:b].tobytes() for a, b in itertools.pairwise(offset)]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.large_binary()])
def test_every_string_column_becomes_its_rows(kind: pa.DataType) -> None:
    """A slice read from its parent's first row gives every document its neighbour's text."""
    column = pa.array(["ab", None, "", "c\xe9"], pa.large_string()).cast(kind)
    assert rows(column) == [b"ab", b"", b"", b"c\xc3\xa9"]
    assert rows(column[1:]) == [b"", b"", b"c\xc3\xa9"]
    assert rows(column[4:]) == []
    assert rows(pa.array([], kind)) == []


def test_bytes_under_a_null_are_an_empty_row() -> None:
    """A null document must not be hashed or counted as the text that lies beneath."""
    whole = pa.array(["ab", "cd"], pa.large_string())
    bitmap = pa.py_buffer(bytes([0b10]))
    assert rows(pa.Array.from_buffers(whole.type, 2, [bitmap, *whole.buffers()[1:]])) == [
        b"",
        b"cd",
    ]


def test_nothing_is_copied_on_the_way() -> None:
    """A copy of every batch would double the memory of every pass."""
    column = pa.array(["ab", "cd", "ef"], pa.large_string())[1:]
    data, offset = bytes_and_offsets(column)
    assert data.ctypes.data == column.buffers()[2].address
    assert offset.ctypes.data == column.buffers()[1].address + 8
    again = from_bytes_and_offsets(data, offset, pa.large_string())
    assert again.equals(column)
    assert again.buffers()[2].address == data.ctypes.data


def test_offsets_are_int64_as_kernels_expect() -> None:
    """A kernel called with other offsets compiles a second time, or overflows at 2 GB."""
    assert bytes_and_offsets(pa.array(["a"]))[1].dtype == np.int64
