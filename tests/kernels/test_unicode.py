from __future__ import annotations

import sys
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.kernels import unicode as u
from tests.oracles import unicode_flags as oracle

#: All code points up to the CJK blocks, then every eleventh.
CODES = [
    *range(0x3000),
    *(c for c in range(0x3000, sys.maxunicode + 1, 11) if not 0xD800 <= c < 0xE000),
    sys.maxunicode,
]


def bytes_of(text: str | bytes) -> np.ndarray:
    data = text.encode() if isinstance(text, str) else text
    return np.frombuffer(data, dtype=np.uint8)


def test_the_table_is_what_the_character_database_says() -> None:
    """A table that somebody has edited would cut words as no standard cuts them."""
    if unicodedata.unidata_version != "14.0.0":
        pytest.skip(f"the table is Unicode 14's, this Python knows {unicodedata.unidata_version}")
    table = u.flag_table()
    assert len(table) == u.CODE_POINTS
    assert [int(flags) for flags in table] == [
        oracle.flags_of(chr(code)) for code in range(u.CODE_POINTS)
    ]


def test_nobody_can_write_to_the_table() -> None:
    """One stray write would change the words of every stage after it."""
    with pytest.raises(ValueError, match="read-only"):
        u.flag_table()[0x41] = 0


def test_code_points_are_decoded_as_python_decodes_them() -> None:
    """A letter read as another is another word, and another decision."""
    data = bytes_of("".join(map(chr, CODES)))
    at = 0
    for code in CODES:
        assert u.decode(data, at, len(data)) == (code, len(chr(code).encode())), hex(code)
        at += len(chr(code).encode())
    assert at == len(data)


@pytest.mark.parametrize("char", ["é", "…", "😀"])
def test_a_code_point_that_is_cut_off_is_one_byte(char: str) -> None:
    """A kernel would read the next document's bytes, or past the end of memory."""
    data = bytes_of("a" + char + "b")
    for stop in range(2, len(char.encode()) + 1):
        assert u.decode(data, 1, stop) == (0xFFFD, 1)


@given(st.binary(min_size=1, max_size=12), st.data())
def test_any_bytes_are_decoded_within_their_bounds(raw: bytes, draw: st.DataObject) -> None:
    """A damaged byte would lead the walk out of its document, and the process into a crash."""
    data = bytes_of(raw)
    at = draw.draw(st.integers(0, len(raw) - 1))
    code, width = u.decode(data, at, len(raw))
    assert 0 <= code < u.CODE_POINTS
    assert 1 <= width <= min(4, len(raw) - at)


@given(st.text(min_size=1, max_size=8))
def test_walking_back_finds_where_each_code_point_begins(text: str) -> None:
    """A line's last character would be another one, and its sentence not ended."""
    data, places = bytes_of(text), [0]
    for char in text:
        places.append(places[-1] + len(char.encode()))
    for n in range(1, len(places)):
        assert u.before(data, places[n], 0) == places[n - 1]
    assert u.before(data, len(data), len(data) - 1) == len(data) - 1
