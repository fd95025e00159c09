from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.kernels import minhash as kernel

shingle = st.integers(0, 2**64 - 1)


def laid(documents: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    start = np.concatenate([[0], np.cumsum([len(one) for one in documents])]).astype(np.int64)
    return start, np.array([v for one in documents for v in one], dtype=np.uint64)


def drawn(bits: int, mersenne: bool, count: int = 5) -> kernel.Permutations:
    if mersenne:
        return kernel.mersenne_permutations(count, 3)
    return kernel.permutations(count, 3, bits)


def oracle(documents: list[list[int]], made: kernel.Permutations, bits: int) -> list[list[int]]:
    """The definition, in whole numbers without a width."""
    signatures = []
    for document in documents:
        least = []
        for odd, add in zip(made.odd_H.tolist(), made.add_H.tolist(), strict=True):
            if made.mersenne:
                values = [((x * odd + add) % 2**64) % (2**61 - 1) for x in document]
            else:
                values = [((x >> (64 - bits)) * odd + add) % 2**bits for x in document]
            least.append(min(values, default=2**bits - 1))
        signatures.append(least)
    return signatures


@pytest.mark.parametrize(("bits", "mersenne"), [(32, False), (64, False), (64, True)])
@settings(deadline=None)
@given(st.lists(st.lists(shingle, max_size=9), max_size=5))
def test_a_value_is_the_smallest_permuted_shingle(
    bits: int, mersenne: bool, documents: list[list[int]]
) -> None:
    """Every similarity rests on it."""
    made = drawn(bits, mersenne)
    start, shingle_S = laid(documents)
    found = kernel.signatures(start, shingle_S, made, bits)
    assert found.dtype == np.dtype(f"uint{bits}")
    wanted = oracle(documents, made, bits)
    assert found.tolist() == wanted


def test_a_document_of_many_blocks_has_the_same_values() -> None:
    """Long documents are gone over block by block; a block left out would look like an edit."""
    random = np.random.default_rng(5)
    document = random.integers(0, 2**64, 9001, dtype=np.uint64).tolist()
    made = drawn(32, False)
    found = kernel.signatures(*laid([document]), made, 32)
    assert found.tolist() == oracle([document], made, 32)


def test_permutations_are_odd_and_differ_by_seed() -> None:
    """An even factor throws bits away; equal seeds must give equal sketches everywhere."""
    one, other = kernel.permutations(112, 1, 32), kernel.permutations(112, 2, 32)
    assert (one.odd_H & 1).all()
    assert len({*one.odd_H.tolist()}) == 112
    assert not (one.odd_H == other.odd_H).any()
    assert one.odd_H[:3].tolist() == GOLDEN_ODD
    assert kernel.permutations(2, 1, 64).add_H.tolist() == GOLDEN_ADD


GOLDEN_ODD: list[int] = [2433363437, 4170425071, 1908102361]
GOLDEN_ADD: list[int] = [13757245211066428519, 8196980753821780235]


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 1), min_size=6, max_size=6), min_size=2, max_size=6))
def test_band_keys_are_equal_where_the_bands_are(rows: list[list[int]]) -> None:
    """A key that depends on another band's values finds no copies; one on fewer finds all."""
    hash_NH = np.array(rows, dtype=np.uint32)
    keys = kernel.band_keys(hash_NH, 3, 2).tolist()
    for n, row in enumerate(rows):
        for m, other in enumerate(rows):
            for band in range(3):
                same = row[2 * band : 2 * band + 2] == other[2 * band : 2 * band + 2]
                assert (keys[n][band] == keys[m][band]) == same
            assert (keys[n][3] == keys[m][3]) == (row == other), "the last one is of all values"
    assert len({*keys[0]}) == 4, "equal bands of different numbers must not meet"


def test_agreement_is_the_share_of_equal_values() -> None:
    """It is the similarity that the unverified mode states."""
    hash_NH = np.array([[1, 2, 3, 4], [1, 2, 0, 0], [9, 9, 9, 9]], dtype=np.uint32)
    pairs = np.array([0, 0, 1]), np.array([1, 2, 1])
    assert kernel.agreement(hash_NH, *pairs).tolist() == [0.5, 0.0, 1.0]


@pytest.mark.parametrize("place", [2046, 2047, 2048, 4095, 4096, 4097])
def test_a_shingle_at_the_edge_of_a_block_counts(place: int) -> None:
    """One shingle in two thousand would be left out: few sketches would show it, and no copy."""
    made = drawn(32, False, 16)
    document = [1 << 40] * 4098
    plain = kernel.signatures(*laid([document]), made, 32)
    document[place] = 0x9E3779B97F4A7C15
    found = kernel.signatures(*laid([document]), made, 32)
    assert found.tolist() == oracle([document], made, 32)
    assert (found != plain).any()


def test_keys_of_known_sketches_stay_what_they_are() -> None:
    """An index keeps keys for ever: of new keys none meets one of last year's."""
    for bits, golden in ((32, GOLDEN_KEYS), (64, GOLDEN_WIDE_KEYS)):
        hash_NH = np.array([[1, 2, 3, 4], [2**bits - 1, 0, 7, 5]], dtype=f"uint{bits}")
        keys = kernel.band_keys(hash_NH, 2, 2).tolist()
        assert [[f"{key:016x}" for key in row] for row in keys] == golden


GOLDEN_KEYS: list[list[str]] = [
    ["abad12f33d663e75", "530bc8c9bd3f0f2d", "f952b14278190b24"],
    ["45c8ba342321e7cf", "39adafe1e5cc011d", "9340a36270e0dc94"],
]
GOLDEN_WIDE_KEYS: list[list[str]] = [
    ["abad12f33d663e75", "530bc8c9bd3f0f2d", "f952b14278190b24"],
    ["db9dc1015421bd27", "39adafe1e5cc011d", "7c98e586eee97fa0"],
]
