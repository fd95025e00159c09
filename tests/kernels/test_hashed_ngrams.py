from __future__ import annotations

import re
import sys
import unicodedata
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.arrow import bytes_and_offsets
from curation.kernels import hashed_ngrams as kernel
from tests.oracles import hashed_ngrams as oracle
from tests.oracles.text import hard_text

known_text = hard_text.map(oracle.assigned)

likely = st.text(
    st.sampled_from("aAbB_9 .,!\n'\u4e2d\u6587\u0e44\u0301\u0130\u03a3\u00c9\u00b2\u203f")
)
words = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz\u00e9"), max_size=30)


def made(
    texts: list[str | None],
    ngrams: int = 2,
    buckets: int = 1 << 32,
    rule: str = "wordpunct",
    seed: int = 0,
) -> list[list[int]]:
    data, offset = bytes_and_offsets(pa.array(texts, pa.large_string()))
    number = kernel.RULES.index(rule)
    start, bucket_S = kernel.hashed_ngrams(data, offset, ngrams, buckets, number, seed)
    return [bucket_S[start[n] : start[n + 1]].tolist() for n in range(len(texts))]


@pytest.mark.parametrize("rule", kernel.RULES)
@settings(deadline=None)
@given(
    st.lists(likely | known_text | words, max_size=4),
    st.integers(1, 4),
    st.integers(1, 1 << 32),
    st.integers(0, (1 << 64) - 1),
)
def test_runs_fall_into_the_buckets_that_the_slow_definition_names(
    rule: str, texts: list[str], ngrams: int, buckets: int, seed: int
) -> None:
    """Every weight, cluster and classifier would be built on other words than are stated."""
    wanted = [
        [oracle.bucket(run, buckets, seed) for run in oracle.ngrams(oracle.words(t, rule), ngrams)]
        for t in texts
    ]
    assert made(list(texts), ngrams, buckets, rule, seed) == wanted


@pytest.mark.parametrize(("rule", "engine"), [("wordpunct", re), ("wordpunct-regex", regex)])
def test_words_are_what_regular_expressions_take_for_words(rule: str, engine: Any) -> None:
    r"""A mark or a digit of another script taken for a word character cuts other words."""
    if sys.version_info[:2] != (3, 11):
        pytest.skip("the tables are those of Unicode 14, which Python 3.11 knows")
    kind_C = kernel.word_table(kernel.RULES.index(rule)) >> kernel.KIND_SHIFT
    known = [chr(c) for c in range(sys.maxunicode + 1) if unicodedata.category(chr(c)) != "Cn"]
    for kind, pattern in ((kernel.IN_WORD, r"\w"), (kernel.IN_PUNCT, r"[^\w\s]")):
        wanted = [ord(char) for char in engine.findall(pattern, "".join(known))]
        found = [ord(char) for char in known if kind_C[ord(char)] == kind]
        assert found == wanted


def test_case_folds_and_order_counts() -> None:
    """Bigrams that forget their order are no bigrams."""
    assert made(["Alice WENT"]) == made(["alice went"])
    ab, ba = made(["alice went", "went alice"])
    assert set(ab) ^ set(ba) == {ab[2], ba[2]}


def test_a_text_of_five_words_has_nine_runs_and_an_empty_one_none() -> None:
    """The published count of the published example; a null is a row like any other."""
    assert [len(one) for one in made(["Alice went to the store", "", None, " \n"])] == [9, 0, 0, 0]


def test_buckets_are_filled_evenly_and_another_seed_fills_them_otherwise() -> None:
    """Words that crowd into a few buckets cannot be told apart."""
    text = " ".join(f"word{n}" for n in range(20_000))
    counts = np.bincount(made([text], 1, 100)[0], minlength=100)
    assert len(counts) == 100
    assert ((counts - 200.0) ** 2 / 200).sum() < 160  # chi-squared, 99 degrees of freedom
    assert made([text], 1, 100, seed=1) != made([text], 1, 100)


def test_documents_that_do_not_begin_at_zero_and_damaged_ones_are_read() -> None:
    """A slice of a batch would be read from the wrong place."""
    texts = pa.array(["one two", "three four five", "six"], pa.large_string()).slice(1, 2)
    found = kernel.hashed_ngrams(*bytes_and_offsets(texts), 2, 1000, kernel.WORDPUNCT, 0)
    whole = made(["three four five", "six"], 2, 1000)
    assert found[1].tolist() == whole[0] + whole[1]
    damaged = np.frombuffer(b"a \xe4\xb8 \xff\xfe \xf0\x9f b\xe4", np.uint8)
    start, _ = kernel.hashed_ngrams(
        damaged, np.array([0, damaged.size]), 2, 1000, kernel.WORDPUNCT, 0
    )
    assert start[1] > 0


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 5), max_size=20), max_size=5))
def test_counts_are_those_of_a_counter(documents: list[list[int]]) -> None:
    """Sparse rows that lose a bucket lose a word."""
    start = np.concatenate([[0], np.cumsum([len(d) for d in documents])]).astype(np.int64)
    bucket_S = np.array([b for d in documents for b in d], np.uint32)
    start_F, bucket_F, count_F = kernel.bucket_counts(start, bucket_S)
    found = [
        list(zip(bucket_F[a:b].tolist(), count_F[a:b].tolist(), strict=True))
        for a, b in pairwise(start_F)
    ]
    assert found == [sorted(Counter(document).items()) for document in documents]
