from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import RecipeError
from curation.rewrite.chunk import Chunk
from tests.oracles.spaces import RUN
from tests.oracles.text import hard_text, spaced_text


def rewritten(texts: list[str | None], max_chars: int) -> list[tuple[int, str]]:
    batch = pa.record_batch({"text": pa.array(texts, pa.large_string())})
    made = Chunk(max_chars=max_chars).rewrite(batch)
    return list(zip(made["parent"].to_pylist(), made["text"].to_pylist(), strict=True))


@settings(deadline=None)  # the first call compiles
@given(spaced_text | hard_text, st.integers(1, 9))
def test_pieces_lose_nothing_but_white_space(text: str, max_chars: int) -> None:
    """A corpus that is cut must hold every word of the corpus that was whole."""
    pieces = [piece for _, piece in rewritten([text], max_chars)]
    assert RUN.sub("", "".join(pieces)) == RUN.sub("", text)
    assert all(0 < len(piece) <= max_chars for piece in pieces)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("one two.\n\nThree\nfour", ["one two.", "Three\nfour"]),
        ("one two.\nThree four", ["one two.", "Three four"]),
        ("one two. Three four", ["one two.", "Three four"]),
        ("ab cd.\nefg hi jklm", ["ab cd.", "efg hi jklm"]),
        ("a cd.\nefghi jklmn", ["a cd.\nefghi", "jklmn"]),
        ('"Is it"? he', ['"Is it"? he']),
        ("one two three four", ["one two", "three four"]),
        ("a b.\n\nc d e f g h", ["a b.\n\nc d e", "f g h"]),
        ("a \n\nincomprehensible", ["a", "incomprehens", "ible"]),
        ("incomprehensible", ["incomprehens", "ible"]),
        ("\u4e2d" * 8 + "\u3002" + "\u6587" * 8, ["\u4e2d" * 8 + "\u3002", "\u6587" * 8]),
    ],
)
def test_a_cut_is_made_where_a_reader_would_pause(text: str, pieces: list[str]) -> None:
    """A model trained on pieces that break off in mid-sentence learns to break off."""
    assert [piece for _, piece in rewritten([text], 12)] == pieces


def test_a_document_within_the_limit_stays_as_it_is() -> None:
    """Cutting must not touch what needs no cut, its white space included."""
    assert rewritten([" ab \n", "abcdef"], 6) == [(0, " ab \n"), (1, "abcdef")]


def test_null_empty_and_blank_text_makes_no_row() -> None:
    """Empty pieces would be counted as documents all the way to training."""
    assert rewritten([None, "", " \n" * 9, "a"], 3) == [(3, "a")]


def test_a_limit_below_one_is_refused() -> None:
    """A limit of nothing would cut for ever."""
    with pytest.raises(RecipeError, match="no characters"):
        Chunk(max_chars=0)
