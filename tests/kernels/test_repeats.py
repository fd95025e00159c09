from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.arrow import bytes_and_offsets
from curation.kernels import repeats as kernel
from tests.oracles import repeats as oracle
from tests.oracles.nasty import BAD_BYTES, column, nasty_texts


@settings(deadline=None)  # the first call compiles
@given(nasty_texts)
def test_units_are_cut_where_the_definition_cuts_them(texts: list[str]) -> None:
    """Half a paragraph would be compared with whole ones."""
    data, offset = bytes_and_offsets(column(texts))
    for paragraphs, cut in ((False, oracle.lines), (True, oracle.paragraphs)):
        first, start, stop = kernel.cut_units(data, offset, paragraphs)
        made = [
            [(int(start[u] - offset[n]), int(stop[u] - offset[n])) for u in range(a, b)]
            for n, (a, b) in enumerate(pairwise(first.tolist()))
        ]
        wanted = [[place[1:] for place in cut(text)] for text in texts]
        # A text that ends in a line feed, and an empty one, have no line after it.
        assert made == [
            [p for p in row if p[0] < len(t.encode())] for row, t in zip(wanted, texts, strict=True)
        ]
        assert start[-1] == offset[-1]


@pytest.mark.parametrize("paragraphs", [False, True])
def test_damaged_text_is_cut_too(paragraphs: bool) -> None:
    """One page with half a character would end the run."""
    data = np.frombuffer(b"".join(BAD_BYTES), dtype=np.uint8)
    offset = np.cumsum([0, *map(len, BAD_BYTES)])
    first, start, stop = kernel.cut_units(data, offset, paragraphs)
    assert (
        first.tolist() == np.cumsum([0, *(b.count(b"\n") + 1 for b in BAD_BYTES)]).tolist()
        or paragraphs
    )
    assert (start[:-1] <= stop).all()
    assert (stop <= start[1:]).all()


# ---------------------------------------------------------------- first places

#: Hashes that agree in one half or the other are not equal.
half = st.sampled_from([0, 1, 1 << 40, 2**64 - 1])
some_places = st.lists(
    st.tuples(half, half, st.integers(0, 2), st.integers(0, 3), st.integers(0, 5)), max_size=40
)


@settings(deadline=None)
@given(some_places, st.integers(1, 9))
def test_the_first_place_is_the_least_in_rank_row_and_start(
    cells: list[tuple[int, int, int, int, int]], size: int
) -> None:
    """Which copy stays would depend on the order of the rows."""
    place_P = np.array([(*cell, cell[-1] + 2) for cell in cells], dtype=kernel.PLACE_TYPE)
    first_K = np.empty(len(cells), dtype=kernel.PLACE_TYPE)
    slot_S = np.full(128, -1, dtype=np.int64)
    count = 0
    for at in range(0, len(cells), size):
        count = kernel.keep_first(place_P[at : at + size], first_K, slot_S, count)
    wanted: dict[tuple[int, int], tuple[int, ...]] = {}
    for cell in cells:
        wanted[cell[:2]] = min(wanted.get(cell[:2], cell[2:]), cell[2:])
    assert wanted == {p[:2]: p[2:5] for p in first_K[:count].tolist()}
    again_S = np.full(128, -1, dtype=np.int64)
    kernel.fill_slots(first_K[:count], again_S)
    later = kernel.later_places(place_P, first_K[:count], again_S).tolist()
    assert later == [
        (row, start, start + 2)
        for *key, _, row, start in cells
        if row != wanted[tuple(key)][1] or start >= wanted[tuple(key)][2] + 2  # type: ignore[index]
    ]


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), max_size=50), st.sampled_from([0, 4, 58]))
def test_places_are_spread_by_their_bits_and_none_is_lost(keys: list[int], shift: int) -> None:
    """A unit whose copies lie in two files would look as if it stood once."""
    place_P = np.zeros(len(keys), dtype=kernel.PLACE_TYPE)
    place_P["key_0"] = keys
    first, sorted_P = kernel.spread(place_P, shift, 64)
    parts = [sorted_P["key_0"][a:b].tolist() for a, b in pairwise(first.tolist())]
    assert parts == [[k for k in keys if k >> shift & 63 == part] for part in range(64)]


# ---------------------------------------------------------------- Bloom filter


def mistaken(units_per_slot: float) -> float:
    """Return the share of units that stand once and are taken for repeats, by the formula."""
    at = (np.arange(10_000) + 0.5) / 10_000
    return float(np.mean((1 - np.exp(-kernel.PROBES * units_per_slot * at)) ** kernel.PROBES))


@pytest.mark.parametrize("part", [1 / 32, 1 / 8, 1 / 2, 1])
def test_the_filter_errs_as_often_as_its_formula_says(part: float) -> None:
    """Whoever chooses the memory by the documented rate would lose more lines than they think."""
    units = 200_000
    chance = np.random.default_rng(0)
    key_U2 = chance.integers(0, 1 << 64, (units, 2), dtype=np.uint64)
    rank_N = chance.integers(0, 1 << 64, units, dtype=np.uint64)
    table_S = np.full(int(units / part), kernel.UNTOUCHED)
    first_N = np.arange(units + 1)
    kernel.bloom_lower(table_S, key_U2, first_N, rank_N)
    found = kernel.bloom_repeats(table_S, key_U2, first_N, rank_N).sum()
    wanted = units * mistaken(part)
    assert abs(found - wanted) < 5 * math.sqrt(wanted) + 0.02 * wanted


def test_the_documented_rates_are_those_of_the_formula() -> None:
    """A table in a docstring is read and not computed."""
    from curation.dedup import lines

    [row] = [x for x in (lines.__doc__ or "").splitlines() if x.strip().startswith("mistaken ")]
    [head] = [x for x in (lines.__doc__ or "").splitlines() if "units n / slots m" in x]
    parts = [1 / int(part.split("/")[-1]) for part in head.split("m")[1].split()]
    assert len(parts) == 7
    for part, stated in zip(parts, row.split()[1:], strict=True):
        assert float(stated) == pytest.approx(mistaken(part), rel=0.02)


def test_a_second_place_in_the_same_document_is_a_repeat() -> None:
    """Its rank is the first one's, so the table alone cannot tell them apart."""
    key_U2 = np.array([[5, 6], [7, 8], [5, 6]], dtype=np.uint64)
    table_S = np.full(1000, kernel.UNTOUCHED)
    first_N, rank_N = np.array([0, 3]), np.array([1 << 63], dtype=np.uint64)
    kernel.bloom_lower(table_S, key_U2, first_N, rank_N)
    found = kernel.bloom_repeats(table_S, key_U2, first_N, rank_N)
    assert found.tolist() == [False, False, True]
