from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.arrow import bytes_and_offsets
from curation.kernels.hashing import SEED_0, SEED_1, hash_bytes, hash_folded
from tests.oracles import hashing as oracle
from tests.oracles.text import hard_text


def hashed(texts: list[str]) -> list[tuple[int, int]]:
    found = hash_folded(*bytes_and_offsets(pa.array(texts, pa.large_string())))
    return [tuple(row) for row in found.tolist()]


@settings(deadline=None)  # the first call compiles
@given(st.lists(hard_text, max_size=5))
def test_hashes_are_those_of_the_xxhash_package_on_the_folded_text(texts: list[str]) -> None:
    """A hash of our own making would be one that nobody else can compute or trust."""
    assert hashed(texts) == [oracle.hash_folded(text) for text in texts]


@pytest.mark.parametrize("size", [*range(0, 70), 1000, 4099])
def test_every_tail_length_is_hashed_as_specified(size: int) -> None:
    """XXH64 treats the last 31 bytes in three ways; a slip in one merges unlike documents."""
    text = "".join(chr(97 + (i * 7) % 26) for i in range(size))
    data = text.encode()
    wanted = [xxhash.xxh64_intdigest(data, seed=int(seed)) for seed in (SEED_0, SEED_1)]
    assert hashed([text]) == [tuple(wanted)]


def test_case_and_white_space_do_not_change_the_hash() -> None:
    """Copies that differ in layout alone would survive deduplication."""
    same = ["The  quick\r\nfox ", "the quick fox", "\u3000THE\u2003quick\u00a0\nFOX\u2028"]
    assert len({*hashed(same)}) == 1
    assert len({*hashed(["the quickfox", "the quick fox", "the quick fox.", ""])}) == 4


def test_a_hash_never_depends_on_the_documents_beside_it() -> None:
    """The scratch buffer is used again; what a long document leaves there must not leak."""
    texts = ["x" * 100, "ab", "", "y" * 33, "ab"]
    assert hashed(texts) == [hashed([text])[0] for text in texts]


def test_offsets_need_not_begin_at_zero() -> None:
    """A sliced batch would be hashed with the bytes of its neighbours."""
    data = np.frombuffer(b"one two three", dtype=np.uint8)
    found = hash_folded(data, np.array([4, 7, 13]))
    assert [tuple(row) for row in found.tolist()] == hashed(["two", " three"])


def test_hashes_of_known_texts_stay_what_they_are() -> None:
    """A store keeps hashes for ever: a new value for an old text splits its group."""
    shown = [f"{a:016x}{b:016x}" for a, b in hashed(["", "Hello,  World"])]
    assert shown == ["5e742a23fb3c2d6198366b051fe25d3a", "b8b8f478e9b8130b82ebe8fa3d228f72"]


@settings(deadline=None)
@given(st.lists(st.binary(max_size=100), max_size=8))
def test_bytes_are_hashed_as_they_are(documents: list[bytes]) -> None:
    """A sample would not be the same rows on another machine, or would merge ids that differ."""
    hashes = hash_bytes(*bytes_and_offsets(pa.array(documents, pa.large_binary())))
    wanted = [xxhash.xxh64_intdigest(document, seed=int(SEED_0)) for document in documents]
    assert hashes.tolist() == wanted
