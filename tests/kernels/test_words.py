from __future__ import annotations

import sys

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.arrow import bytes_and_offsets
from curation.kernels.words import count_words, space_width
from tests.oracles.spaces import WHITE_SPACE, words
from tests.oracles.text import hard_text


def counted(texts: list[str]) -> list[int]:
    return count_words(*bytes_and_offsets(pa.array(texts, pa.large_string()))).tolist()


def test_every_code_point_is_white_space_exactly_where_unicode_says() -> None:
    """A missed kind of space glues words together and skews every rule on word counts."""
    for code in range(sys.maxunicode + 1):
        if not 0xD800 <= code < 0xE000:
            data = np.frombuffer(chr(code).encode(), dtype=np.uint8)
            wanted = len(data) if chr(code) in WHITE_SPACE else 0
            assert space_width(data, 0, len(data)) == wanted, hex(code)


@settings(deadline=None)  # the first call compiles
@given(st.lists(hard_text, max_size=5))
def test_words_are_counted_as_the_oracle_splits_them(texts: list[str]) -> None:
    """Rules on word counts keep or drop documents; a wrong count drops the wrong ones."""
    assert counted(texts) == [len(words(text)) for text in texts]


@settings(deadline=None)  # the first call compiles
@given(st.text(st.characters(exclude_characters="\x1c\x1d\x1e\x1f")))
def test_words_are_those_of_str_split_but_for_its_four_separators(text: str) -> None:
    """A user who checks our count with str.split must find the same number."""
    assert counted([text]) == [len(text.split())]


def test_the_separators_that_only_python_splits_at_are_letters() -> None:
    """The one known difference to str.split must not come and go."""
    assert counted(["a\x1cb\x1db\x1eb\x1fb"]) == [1]


def test_a_document_never_reads_the_bytes_of_the_next() -> None:
    """A character cut off at the end must not be completed by the next document's bytes."""
    data = np.frombuffer(b"a\xe3\x80\x80b", dtype=np.uint8)
    assert count_words(data, np.array([0, 2, 5])).tolist() == [1, 1]
    assert count_words(data, np.array([1, 4])).tolist() == [0]
