from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.arrow import bytes_and_offsets
from curation.kernels.mixed import minority_shares, split_lines
from tests.oracles import mixed as oracle
from tests.oracles.text import hard_text, spaced_text


@settings(deadline=None)  # the first call compiles
@given(st.lists(hard_text | spaced_text, max_size=5), st.integers(0, 2))
def test_lines_are_those_of_the_text(texts: list[str], skip: int) -> None:
    """A line that runs into the next document would be judged for both."""
    texts = texts[skip:]
    column = pa.array(["other\n"] * skip + texts, pa.large_string())[skip:]
    data, offset = bytes_and_offsets(column)
    found: list[list[str]] = [[] for _ in texts]
    for start, stop, text in zip(*split_lines(data, offset), strict=True):
        found[text].append(data[start:stop].tobytes().decode())
    assert found == [oracle.lines(text) for text in texts]


labelled = st.lists(st.tuples(st.integers(-1, 3), st.integers(1, 9)), max_size=6)


@settings(deadline=None)
@given(st.lists(labelled, max_size=4))
def test_the_share_counts_what_is_not_of_the_commonest_label(
    texts: list[list[tuple[int, int]]],
) -> None:
    """A bilingual page would pass for one of a single language, or the other way round."""
    flat = [(text, *pair) for text, pairs in enumerate(texts) for pair in pairs]
    text_M, label_M, size_M = np.array(flat, dtype=np.int64).reshape(-1, 3).T.copy()
    found = minority_shares(text_M, label_M.astype(np.int32), size_M, len(texts), 4)
    shown = [None if share < 0 else pytest.approx(share) for share in found.tolist()]
    assert [oracle.minority_share(pairs) for pairs in texts] == shown
