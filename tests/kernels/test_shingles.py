from __future__ import annotations

import re
import sys
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.arrow import bytes_and_offsets
from curation.kernels import shingles as kernel
from curation.kernels.unicode import CODE_POINTS
from tests.oracles import lowercase
from tests.oracles import near as oracle
from tests.oracles.text import hard_text

UNITS = {"word": oracle.words, "char": oracle.chars, "token": oracle.tokens}
#: Few letters, so that shingles repeat; scripts with and without spaces; marks; capitals.
likely = st.text(
    st.sampled_from("aAbB \n.'_9\u4e2d\u6587\u0e44\u0e17\u0301\u0130\u00c9\u00e9\u03a3")
)


def made(texts: list[str], unit: str, length: int, *, different: bool = False) -> list[list[int]]:
    data, offset = bytes_and_offsets(pa.array(texts, pa.large_string()))
    found = kernel.all_shingles(data, offset, kernel.UNITS.index(unit), length, kernel.fold_table())
    start, values = kernel.different_shingles(*found) if different else found
    return [values[start[n] : start[n + 1]].tolist() for n in range(len(texts))]


@pytest.mark.parametrize("unit", ["word", "char"])
@settings(deadline=None)
@given(st.lists(likely | hard_text, max_size=4), st.integers(1, 6))
def test_equal_shingles_have_equal_hashes_and_unequal_ones_have_not(
    unit: str, texts: list[str], length: int
) -> None:
    """Documents would be called copies that are none, and nobody would know."""
    wanted = [oracle.shingles(UNITS[unit](text), length) for text in texts]
    found = made(texts, unit, length)
    assert [len(one) for one in found] == [len(one) for one in wanted]
    pairs = {
        (shingle, value)
        for shingles, values in zip(wanted, found, strict=True)
        for shingle, value in zip(shingles, values, strict=True)
    }
    assert len({shingle for shingle, _ in pairs}) == len(pairs) == len({v for _, v in pairs})


@settings(deadline=None)
@given(likely | hard_text, st.integers(1, 4))
def test_tokens_are_hashed_as_xxhash_does_with_a_space_between(text: str, length: int) -> None:
    """The mode that shows that datatrove's sketch is ours would show nothing."""
    units = oracle.tokens(text)
    runs = [units[at : at + length] for at in range(len(units) - length + 1)]
    wanted = [xxhash.xxh64_intdigest(" ".join(run).encode()) for run in runs]
    assert made([text], "token", length) == [wanted]


@settings(deadline=None)
@given(st.lists(likely, max_size=4))
def test_different_shingles_are_the_set_of_all(texts: list[str]) -> None:
    """A shingle counted twice is a similarity that is not the Jaccard index."""
    every = made(texts, "word", 2)
    found = made(texts, "word", 2, different=True)
    assert [sorted(one) for one in found] == [sorted(set(one)) for one in every]


def test_a_very_long_text_is_counted_in_another_way_to_the_same_end() -> None:
    """A book of fifty megabytes would take gigabytes of memory, or be counted wrongly."""
    text = " ".join(str(n % 1_100_000) for n in range(1_200_000))
    [found] = made([text], "word", 1, different=True)
    assert len(found) == len(set(found)) == 1_100_000
    [zeros] = made(["a " * 1_200_000], "word", 1, different=True)
    assert len(zeros) == 1


def test_long_words_are_told_apart_by_every_byte() -> None:
    """Two keys or hashes that differ in one place would be one word."""
    base = "abcdefghijklmnopqrstuvwxyz0123456789"
    words = {base[:size] for size in range(1, 30)}
    words |= {base[:at] + "_" + base[at + 1 :] for at in range(30)} | {base, base + "\u00e9"}
    values = [one for [one] in made(sorted(words), "word", 1)]
    assert len(set(values)) == len(words)


def test_an_ascii_run_is_never_taken_for_a_wide_character() -> None:
    """Bytes are packed into numbers, and so are code points."""
    assert made(["ab"], "word", 1) != made([chr(0x6162)], "word", 1)
    assert made(["\u00e9a"], "word", 1) != made(["a\u00e9"], "word", 1)


def test_offsets_need_not_begin_at_zero() -> None:
    """A sliced batch would be cut with the text of its neighbours."""
    texts = pa.array(["one two three", "four five six", "seven"], pa.large_string()).slice(1)
    start, values = kernel.all_shingles(*bytes_and_offsets(texts), 0, 2, kernel.fold_table())
    assert np.diff(start).tolist() == [2, 1]
    one, other = made(["four five six", "seven"], "word", 2)
    assert values.tolist() == [*one, *other]


def test_broken_bytes_are_no_reason_to_stop() -> None:
    """Text of unknown origin holds half characters, also at its very end."""
    data = np.frombuffer(b"caf\xc3 \xff\xfe x\xe4\xb8", dtype=np.uint8)
    for unit in range(3):
        start, _ = kernel.all_shingles(data, np.array([0, len(data)]), unit, 2, kernel.fold_table())
        assert start[-1] > 0


def test_letters_are_lowered_as_python_lowers_them() -> None:
    """Copies in capitals would be other documents in every script but Latin."""
    if unicodedata.unidata_version != "14.0.0":
        pytest.skip(f"the table is Unicode 14's, this Python knows {unicodedata.unidata_version}")
    table = kernel.fold_table() & 0x1FFFFF
    wanted = [lowercase.lower(code) for code in range(sys.maxunicode + 1)]
    assert table.tolist() == wanted
    assert len(table) == CODE_POINTS


def test_english_words_are_those_of_the_regular_expression() -> None:
    """The similarity that a column states is the one that anybody can compute."""
    text = "The user_id's value -- don't \u201cquote\u201d it! 3.14, e-mail\tA1\nna\u00efve \u00c9t"
    assert oracle.words(text) == re.findall(r"\w+", text.lower())
    assert len(made([text], "word", 1)[0]) == len(re.findall(r"\w+", text))


def test_hashes_of_known_texts_stay_what_they_are() -> None:
    """A store keeps sketches for ever: new values for old texts make every copy unknown."""
    found = made(["The quick brown fox jumps", "\u00c9t\u00e9 \u4e2d\u6587", "a"], "word", 2)
    shown = [" ".join(f"{value:016x}" for value in one) for one in found]
    assert shown == GOLDEN
    assert [f"{one:016x}" for one in made(["Hello  World"], "char", 4)[0][:2]] == GOLDEN_CHARS


GOLDEN: list[str] = [
    "780b959b0917cdd2 3d836d75035f1afa 5e18429da01c1bfb 36cc30de72a0aa00",
    "9bbcff25951f5a2a a05f7c29092f7d1a",
    "1eaf6d6869b2b072",
]
GOLDEN_CHARS: list[str] = ["4982d21a831ae707", "a3f882f6885de90e"]


def test_a_hash_of_zero_is_counted_once_like_any_other() -> None:
    """A slot of the table that holds nothing looks like it."""
    start, shingle_S = np.array([0, 5, 6]), np.array([0, 7, 0, 7, 0, 0], np.uint64)
    start, found = kernel.different_shingles(start, shingle_S)
    assert start.tolist() == [0, 2, 3]
    assert [sorted(found[:2].tolist()), found[2:].tolist()] == [[0, 7], [0]]
