from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.kernels.packing import Stream, gather_windows, mark_shards, scattered
from tests.oracles import packing as oracle

words = st.integers(0, 2**64 - 1)


@settings(deadline=None)  # the first call compiles
@given(st.lists(words, max_size=6), words)
def test_hashes_are_scattered_as_published(values: list[int], salt: int) -> None:
    """Another order of documents would be another experiment under the same name."""
    found = scattered(np.array(values, dtype=np.uint64), np.uint64(salt))
    assert found.tolist() == [oracle.scattered(value, salt) for value in values]


def test_the_scattering_is_that_of_splitmix() -> None:
    """The oracle could share a mistake; these are the first outputs for the seed 0."""
    step = np.uint64(0x9E3779B97F4A7C15)
    found = scattered(np.array([0], dtype=np.uint64), step)
    assert found[0] == np.uint64(0xE220A8397B1DCDAF)


@settings(deadline=None)
@given(st.data())
@pytest.mark.parametrize("kind", [np.uint16, np.uint32])
def test_windows_are_those_of_the_stream(kind: Any, data: st.DataObject) -> None:
    """A model would learn to go on from one document in the middle of another."""
    sizes = data.draw(st.lists(st.integers(1, 7), min_size=1, max_size=8))
    top = int(np.iinfo(kind).max)
    documents = [[top - 10 * d - t for t in range(size)] for d, size in enumerate(sizes)]
    shard_D = sorted(
        data.draw(st.lists(st.integers(0, 2), min_size=len(sizes), max_size=len(sizes)))
    )
    order = data.draw(st.lists(st.integers(0, len(sizes) - 1), min_size=1, max_size=9))
    total = sum(sizes[d] for d in order)
    width = data.draw(st.integers(1, total))
    begins = data.draw(st.lists(st.integers(0, total - width), max_size=5))
    stream, shards = laid_out(documents, shard_D, order, kind)
    met_X = np.zeros(3, dtype=np.bool_)
    begin_B = np.array(begins, dtype=np.int64)
    mark_shards(begin_B, width, stream, met_X)
    rows = np.array(data.draw(st.permutations(range(len(begins)))), dtype=np.int64)
    out = np.full((len(begins), width), -1, dtype=np.int64)
    for shard in np.flatnonzero(met_X):
        gather_windows(shards[shard], int(shard), begin_B, rows, stream, out)
    assert out[rows].tolist() == oracle.windows(documents, order, begins, width)
    met = {shard_D[d] for begin in begins for d in within(order, sizes, begin, width)}
    assert {int(x) for x in np.flatnonzero(met_X)} == met


def test_a_window_at_a_boundary_needs_no_shard_before_it() -> None:
    """Every window would open the shard of a document that it has nothing of."""
    stream, _ = laid_out([[1, 2], [3, 4], [5]], [0, 1, 2], [0, 1, 2], np.uint16)
    for begin, width, wanted in ((0, 2, [0]), (2, 2, [1]), (1, 2, [0, 1]), (4, 1, [2])):
        met_X = np.zeros(3, dtype=np.bool_)
        mark_shards(np.array([begin], dtype=np.int64), width, stream, met_X)
        assert np.flatnonzero(met_X).tolist() == wanted


def laid_out(
    documents: list[list[int]], shard_D: list[int], order: list[int], kind: Any
) -> tuple[Stream, list[Any]]:
    """Return the stream of an order, and the shards that the documents lie in."""
    shards: list[list[int]] = [[], [], []]
    start_D = []
    for tokens, shard in zip(documents, shard_D, strict=True):
        start_D.append(len(shards[shard]))
        shards[shard] += tokens
    ends = np.cumsum([0, *(len(documents[d]) for d in order)])
    given = (np.array(values, dtype=np.int64) for values in (order, ends, shard_D, start_D))
    return Stream(*given), [np.array(shard, dtype=kind) for shard in shards]


def within(order: list[int], sizes: list[int], begin: int, width: int) -> list[int]:
    """Return the documents that a window has tokens of."""
    of_token = [d for d in order for _ in range(sizes[d])]
    return of_token[begin : begin + width]
