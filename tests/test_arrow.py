from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.arrow import (
    bytes_and_offsets,
    from_bytes_and_offsets,
    is_valid,
    to_column,
    to_strings,
    values_of,
)


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


@given(st.lists(st.one_of(st.none(), st.integers(0, 255)), max_size=40), st.integers(0, 9))
def test_numbers_and_truth_values_go_to_numpy_and_back(cells: list[int | None], cut: int) -> None:
    """Every count, every rule and every selection passes through here."""
    for kind in (pa.uint8(), pa.int64(), pa.float32(), pa.bool_()):
        made = [c if c is None or kind != pa.bool_() else c > 99 for c in cells]
        array = pa.array(made, kind)[cut:]
        valid, values = is_valid(array), values_of(array)
        assert valid.tolist() == [v is not None for v in array.to_pylist()]
        assert values[valid].tolist() == [v for v in array.to_pylist() if v is not None]
        again = to_column(values, valid)
        again.validate(full=True)
        assert again.equals(array)


@given(st.lists(st.text(max_size=5), max_size=5))
def test_strings_become_a_column(texts: list[str]) -> None:
    """The reasons of dropped rows pass through here."""
    column = to_strings(texts)
    column.validate(full=True)
    assert column.to_pylist() == texts
