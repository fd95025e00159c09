"""Long words against Python's own character database."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.arrow import bytes_and_offsets
from curation.kernels.long_words import first_met, long_words
from tests.oracles import long_words as oracle
from tests.oracles.hashed_ngrams import assigned

ALPHABET = "ab-\u2010\u2011 .,1_'\u00e9e\u0301\u0130\u01c5\u4e2d\u0e01\u0661\u203f\u2012\n"


def found(texts: list[str], least: int, most: int) -> tuple[list[list[str]], int]:
    """Return the words as they stand in each text, and the runs of all."""
    data, offset = bytes_and_offsets(pa.array(texts, pa.large_string()))
    words = long_words(data, offset, least, most)
    spans = zip(words.start_W, words.stop_W, strict=True)
    each = [bytes(data[start:stop]).decode() for start, stop in spans]
    cuts = zip(words.offset, words.offset[1:], strict=False)
    return [each[start:stop] for start, stop in cuts], words.runs


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("An anti-inflammatory, non-steroidal drug", ["anti-inflammatory", "non-steroidal"]),
        ("interleukin-2 and 2-deoxyglucose", ["interleukin", "deoxyglucose"]),
        ("sha256fingerprint snake_case_identifier", []),
        ("well--documented- -hyphenation", ["documented", "hyphenation"]),
        ("patient's photosensitivity\u2019s", ["photosensitivity"]),
        ("na\u00efvet\u00e9-bezogenheit", ["na\u00efvet\u00e9-bezogenheit"]),
        ("acetylation-coa2", ["acetylation"]),
        ("", []),
    ],
)
def test_words_are_letters_with_hyphens_inside(text: str, words: list[str]) -> None:
    """A stray hyphen or a hash in hexadecimal would become a word of the domain."""
    assert found([text], 10, 64)[0] == [words]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.one_of(st.text(ALPHABET, max_size=30), st.text(max_size=20)), max_size=4),
    st.integers(1, 4),
    st.integers(4, 9),
)
def test_words_are_those_of_the_oracle(texts: list[str], least: int, most: int) -> None:
    """A word cut otherwise in two places is counted as two words."""
    texts = [assigned(text) for text in texts]
    words, runs = found(texts, least, most)
    folded = [[oracle.long_words(word, 1, 99)[0] for word in each] for each in words]
    assert folded == [oracle.long_words(text, least, most) for text in texts]
    assert runs == sum(map(oracle.runs, texts))


def test_a_word_has_one_hash_in_any_case_and_with_any_hyphen() -> None:
    """Words at the beginnings of sentences would be words of their own."""
    text = "Co-Morbidity co-morbidity CO\u2010MORBIDITY co\u2011morbidity"
    text += " comorbidity \u00c9co \u00e9co"
    data, offset = bytes_and_offsets(pa.array([text], pa.large_string()))
    hash_W = long_words(data, offset, 3, 64).hash_W
    assert len(set(hash_W[:4])) == 1
    assert len(set(hash_W[4:])) == 2
    assert hash_W[5] == hash_W[6]
    assert hash_W[4] not in hash_W[:4]


def test_a_slice_of_a_column_is_read_from_its_own_bytes() -> None:
    """Batches are slices: words of another batch's documents would be counted."""
    column = pa.array(["first documentation", "second", "third photosynthesis"], pa.large_string())
    data, offset = bytes_and_offsets(column.slice(1))
    words = long_words(data, offset, 10, 64)
    assert bytes(data[words.start_W[0] : words.stop_W[0]]) == b"photosynthesis"
    assert words.offset.tolist() == [0, 0, 1]


def test_each_document_has_its_words_once_and_the_first_ones() -> None:
    """A list with repeats would make one word count as three."""
    offset = np.array([0, 5, 5, 8], dtype=np.int64)
    which = np.array([2, -1, 0, 2, 1, 1, 1, 2], dtype=np.int64)
    start, word = first_met(offset, which, 3, 2)
    assert start.tolist() == [0, 2, 2, 4]
    assert word.tolist() == [2, 0, 1, 2]
