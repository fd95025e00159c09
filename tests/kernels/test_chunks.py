from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.arrow import bytes_and_offsets
from curation.kernels.chunks import cut
from tests.oracles.chunks import chunks
from tests.oracles.text import hard_text, spaced_text


@settings(deadline=None)  # the first call compiles
@given(st.lists(spaced_text | hard_text, max_size=3), st.integers(1, 20))
def test_pieces_are_those_of_the_oracle(texts: list[str], max_chars: int) -> None:
    """A piece that ends a byte off is broken UTF-8, and every later reader fails on it."""
    data, offset = bytes_and_offsets(pa.array(texts, pa.large_string()))
    parents, starts, stops = cut(data, offset, max_chars)
    found = [data[a:b].tobytes().decode() for a, b in zip(starts, stops, strict=True)]
    wanted = [(n, piece) for n, text in enumerate(texts) for piece in chunks(text, max_chars)]
    assert list(zip(parents.tolist(), found, strict=True)) == wanted
