from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.annotate.size import TextSize
from tests.oracles.spaces import words
from tests.oracles.text import hard_text


def sizes(text: pa.Array) -> list[dict[str, int | None]]:
    return TextSize().annotate(pa.record_batch({"text": text})).to_pylist()


def size(text: str | None) -> dict[str, int | None]:
    if text is None:
        return dict.fromkeys(["text_bytes", "text_chars", "word_count"])
    found = len(text.encode()), len(text), len(words(text))
    return dict(zip(["text_bytes", "text_chars", "word_count"], found, strict=True))


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.none() | hard_text, max_size=6), st.integers(0, 3))
def test_sizes_are_those_that_python_finds(texts: list[str | None], skip: int) -> None:
    """Token budgets and length rules are computed from these three numbers."""
    column = pa.array(texts, pa.large_string())
    assert sizes(column) == [size(text) for text in texts]
    assert sizes(column[skip:]) == [size(text) for text in texts[skip:]]


def test_a_null_that_covers_bytes_counts_as_null() -> None:
    """Arrow allows bytes under a null; they are no part of any document."""
    whole = pa.array(["ab cd", "ef"], pa.large_string())
    bitmap = pa.py_buffer(bytes([0b10]))
    column = pa.Array.from_buffers(pa.large_string(), 2, [bitmap, *whole.buffers()[1:]])
    assert sizes(column) == [size(None), size("ef")]
