from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.arrow import bytes_and_offsets
from curation.kernels import counts as kernel
from curation.kernels.english import hash_text
from curation.kernels.unicode import flag_table
from curation.kernels.words import Words, split_words
from tests.oracles import counts as oracle
from tests.oracles import words
from tests.oracles.nasty import column, nasty_texts

STOP = ("the", "be", "to", "of", "and", "that", "have", "with", ".", "é", "Mr", "中")
few = st.lists(st.sampled_from(["the", "The", "of", "cat", ".", "é", "中", "..."]), max_size=30)
texts_of_few = st.lists(few.map(" ".join), max_size=4)


def cut(texts: list[str]) -> Words:
    return split_words(*bytes_and_offsets(column(texts)), "unicode")


def hashes(stop: tuple[str, ...]) -> np.ndarray:
    return np.array(sorted(map(hash_text, stop)), dtype=np.uint64)


@settings(deadline=None)  # the first call compiles
@given(nasty_texts | texts_of_few, st.sampled_from([(), STOP[:2], STOP]))
def test_words_are_counted_by_kind(texts: list[str], stop: tuple[str, ...]) -> None:
    """Six of Gopher's ten rules are ratios of these counts."""
    found = cut(texts)
    made = kernel.count_kinds(found.offset, found.word_W, hashes(stop))
    assert list(map(tuple, made.tolist())) == [
        oracle.kinds(words.unicode(text), stop) for text in texts
    ]


@settings(deadline=None)  # the first call compiles
@given(nasty_texts | texts_of_few)
def test_the_commonest_word_is_counted(texts: list[str]) -> None:
    """A page of one word would pass, or prose with many articles would not."""
    found = cut(texts)
    made = kernel.count_commonest(found.offset, found.word_W)
    assert made.tolist() == [oracle.commonest(words.unicode(text)) for text in texts]


def test_words_of_one_letter_are_told_apart() -> None:
    """Their hashes differ in the last bits alone, and a table that looks at the first sees one."""
    texts = ["a b c d e f g h a", "".join(f"{chr(n)} " for n in range(0xC0, 0x240)) + "z z z"]
    found = cut(texts)
    assert kernel.count_commonest(found.offset, found.word_W).tolist() == [2, 3]


@settings(deadline=None)  # the first call compiles
@given(nasty_texts)
def test_characters_are_counted_by_class(texts: list[str]) -> None:
    """The shares by which pages of symbols and of capitals are told from prose."""
    made = kernel.count_characters(*bytes_and_offsets(column(texts)), flag_table())
    assert list(map(tuple, made.tolist())) == [oracle.characters(text) for text in texts]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("lorem ipsum", 1),
        ("LoReM IpSuMlorem ipsum lorem ipsu", 2),
        ("lorem  ipsum", 0),
        ("lorem\nipsum", 0),
        ("lorem\x00ipsum", 0),
        ("xlorem ipsumx", 1),
        ("lllorem ipsum", 1),
        ("lorem ip\u017fum", 0),
        ("orem ipsum l", 0),
    ],
)
def test_lorem_ipsum_is_found_as_it_stands(text: str, count: int) -> None:
    """Filler text is dropped by this count alone."""
    made = kernel.count_characters(*bytes_and_offsets(column([text, "x"])), flag_table())
    assert made[:, kernel.LOREM].tolist() == [count, 0]
