from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.arrow import bytes_and_offsets
from curation.kernels import substring as kernel
from curation.kernels.unicode import CODE_POINTS, MARK, SINGLE, WORD, flag_table
from tests.oracles import repeats as oracle
from tests.oracles.nasty import BAD_BYTES, column, nasty_texts


@settings(deadline=None)  # the first call compiles
@given(nasty_texts)
def test_words_are_cut_where_the_definition_cuts_them(texts: list[str]) -> None:
    """A span would begin in the middle of a word."""
    data, offset = bytes_and_offsets(column(texts))
    first, hashes, start, stop = kernel.hash_words(data, offset, kernel.word_table())
    wanted = [oracle.words(text) for text in texts]
    assert np.diff(first).tolist() == [len(words) for words in wanted]
    flat = [word for words in wanted for word in words]
    assert list(zip(start.tolist(), stop.tolist(), strict=True)) == [word[1:] for word in flat]
    pairs = {*zip([word[0] for word in flat], hashes.tolist(), strict=True)}
    assert len(pairs) == len({pair[0] for pair in pairs}) == len({pair[1] for pair in pairs})


def test_emojis_are_no_words() -> None:
    """A variation selector is a mark: lists of emojis would pass for long copied texts."""
    data, offset = bytes_and_offsets(
        column(["\U0001f3f4\u200d\u2620\ufe0f, \U0001f44d\U0001f3fd 1\ufe0f\u20e3"])
    )
    _, _, start, stop = kernel.hash_words(data, offset, kernel.word_table())
    assert len(start) == 1  # the keycap is a digit with its marks
    assert stop[0] - start[0] == 7


def test_case_is_no_matter_of_where_words_are_cut() -> None:
    """A headline in capitals would have other words than the same in small letters."""
    table, flags = kernel.word_table(), flag_table()
    codes = np.arange(CODE_POINTS)
    lower = (table & 0x1FFFFF).astype(np.int64)
    other = (flags[codes] ^ flags[lower]) & (WORD | SINGLE | MARK)
    assert [hex(code) for code in codes[other != 0]] == []


def test_damaged_text_has_words_too() -> None:
    """One page with half a character would end the run."""
    data = np.frombuffer(b"".join(BAD_BYTES), dtype=np.uint8)
    offset = np.cumsum([0, *map(len, BAD_BYTES)])
    first, _, start, stop = kernel.hash_words(data, offset, kernel.word_table())
    assert first[-1] == len(start)
    assert (start < stop).all()


def anchors(values: list[int], length: int) -> tuple[list[int], list[int]]:
    """Return the hashes of the runs of half a window, and the anchor of each window."""
    words = np.array(values, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    gram_W, queue_W, anchor_W = np.zeros((3, len(values) + 1), dtype=np.int64)
    gram_W = gram_W.view(np.uint64)
    windows = kernel._anchors(words, np.uint64(7), length, gram_W, queue_W, anchor_W)
    return gram_W.tolist(), anchor_W[:windows].tolist()


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), max_size=60), st.integers(2, 12))
def test_the_anchor_is_the_smallest_run_of_a_window(values: list[int], length: int) -> None:
    """Two equal windows with different anchors would pass for two that stand once."""
    gram, made = anchors(values, length)
    half = (length + 1) // 2
    assert len(made) == max(0, len(values) - length + 1)
    for window, anchor in enumerate(made):
        inside = range(window, window + length - half + 1)
        assert anchor in inside
        assert gram[anchor] == min(gram[at] for at in inside)
    for at in range(len(values) - half + 1 if made else 0):
        first = next(n for n in range(at + 1) if values[n : n + half] == values[at : at + half])
        assert gram[first] == gram[at]


@pytest.mark.parametrize("size", [1, 1000])
def test_an_anchor_met_twice_is_known_and_one_met_once_is_not(size: int) -> None:
    """The filter decides what is looked up: a second place that it forgets is a copy that stays."""
    filter_F = np.zeros(size, dtype=np.uint8)
    chance = np.random.default_rng(0).integers(0, 1 << 63, 60, dtype=np.uint64)
    for value in [*chance, *chance[:20]]:
        kernel._note(value, filter_F)
    slots = [kernel._filter_slot(value, filter_F) for value in chance]
    again = [bool(filter_F[byte] >> (bit + 1) & 1) for byte, bit in slots]
    assert all(again[:20])
    assert size == 1 or sum(again[20:]) <= 3
