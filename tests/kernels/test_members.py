from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.arrow import bytes_and_offsets
from curation.kernels.members import find_spans, make_members

short = st.binary(max_size=3)


def found(members: list[bytes], rows: list[bytes]) -> list[int]:
    table = make_members(*bytes_and_offsets(pa.array(members, pa.large_binary())))
    data, offset = bytes_and_offsets(pa.array(rows, pa.large_binary()))
    return [int(index) for index in find_spans(table, data, offset[:-1], offset[1:])]


@settings(deadline=None)  # the first call compiles
@given(st.lists(short, max_size=40), st.lists(short, max_size=40))
def test_the_first_equal_member_is_found(members: list[bytes], rows: list[bytes]) -> None:
    """A block list that answers for another entry gives the wrong reason, or drops a free page."""
    first = {member: index for index, member in reversed(list(enumerate(members)))}
    assert found(members, rows) == [first.get(row, -1) for row in rows]


def test_strings_that_share_a_slot_are_told_apart() -> None:
    """Among as many strings as this, thousands meet in the table."""
    members = [f"site{n}.example".encode() for n in range(20_000)]
    strangers = [member.replace(b"site", b"sile") for member in members]
    assert found(members, members + strangers) == [*range(20_000), *[-1] * 20_000]


def test_equal_beginnings_are_no_equality() -> None:
    """example.co is not example.com."""
    assert found([b"ab", b"abcd"], [b"a", b"ab", b"abc", b"abcd", b"abcde", b""]) == [
        -1, 0, -1, 1, -1, -1
    ]  # fmt: skip
    assert find_spans(
        make_members(np.zeros(0, np.uint8), np.zeros(1, np.int64)),
        np.zeros(1, np.uint8), np.zeros(1, np.int64), np.ones(1, np.int64),
    ).tolist() == [-1]  # fmt: skip
