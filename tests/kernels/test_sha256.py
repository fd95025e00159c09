from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.arrow import bytes_and_offsets
from curation.kernels import sha256 as kernel
from curation.kernels.hashed_ngrams import RULES
from tests.oracles import hashed_ngrams as oracle
from tests.oracles.text import hard_text

known_text = hard_text.map(oracle.assigned)

long_words = st.lists(st.integers(0, 200), max_size=6).map(
    lambda sizes: " ".join("aZ\u00c9"[size % 3] * size for size in sizes)
)


def made(texts: list[str], ngrams: int, buckets: int, rule: str = "wordpunct") -> list[list[int]]:
    data, offset = bytes_and_offsets(pa.array(texts, pa.large_string()))
    start, bucket_S = kernel.published_ngrams(data, offset, ngrams, buckets, RULES.index(rule))
    return [bucket_S[start[n] : start[n + 1]].tolist() for n in range(len(texts))]


@pytest.mark.parametrize("rule", RULES)
@settings(deadline=None)
@given(
    st.lists(known_text | long_words, max_size=4),
    st.integers(1, 4),
    st.integers(1, 1 << 32),
)
def test_buckets_are_those_of_pythons_sha256(
    rule: str, texts: list[str], ngrams: int, buckets: int
) -> None:
    """Weights said to be the published ones would be others."""
    wanted = [
        [oracle.published_bucket(run, buckets) for run in oracle.ngrams(units, ngrams)]
        for units in (oracle.words(text, rule) for text in texts)
    ]
    assert made(texts, ngrams, buckets, rule) == wanted


def test_every_length_of_a_message_is_padded_as_the_standard_says() -> None:
    """Words of 55, 56 or 64 letters are where a block ends."""
    words = ["x" * size for size in range(1, 200)]
    wanted = [int(hashlib.sha256(word.encode()).hexdigest(), 16) % 99_991 for word in words]
    assert made([" ".join(words)], 1, 99_991) == [wanted]


def test_the_published_example_falls_into_the_published_buckets() -> None:
    """The one thing about the hash that the reference's own tests state."""
    alice, went, alice_went, *rest = made(["Alice went to the store"], 2, 10_000)[0]
    assert (alice, alice_went, len(rest)) == (6720, 114, 6)
    assert went == oracle.published_bucket(("went",), 10_000)


def test_many_runs_share_the_table_of_those_met_before() -> None:
    """A run that is taken for another one that was met before falls into the wrong bucket."""
    generator = np.random.default_rng(0)
    words = [f"w{n}" for n in generator.zipf(1.2, 60_000) % 50_000]
    runs = oracle.ngrams(words, 3)
    found = made([" ".join(words)], 3, 10_000)[0]
    places = generator.choice(len(runs), 2_000, replace=False).tolist()
    assert [found[p] for p in places] == [oracle.published_bucket(runs[p], 10_000) for p in places]
