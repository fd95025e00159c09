from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curation.arrow import bytes_and_offsets, to_strings
from curation.kernels.mining_patterns import CONNECTIVES, RELATIONS, mine
from tests.oracles.mining_patterns import matches

_LONG = "an addition of either of the two alone was not sufficient to protect the cells"
_VERBS = [*CONNECTIVES, "is defined as", "'s definition is", "was about", "talks about", "is about"]
#: Pieces that make matches likely, and everything that a pattern treats in a way of its own.
_PIECES = st.one_of(
    st.sampled_from(
        [_LONG, f" {_LONG}. ", "audibility", "\u00e9" * 49, "x" * 50, "y" * 20, "z" * 9]
    ),
    st.sampled_from(
        [*_VERBS, "'s topic is", "I.E.", "i\u00e9e.", "ixe,", "THUS", "Due To", "Is About"]
    ),
    st.sampled_from([". ", "! ", "?", "...", ".", ",", ", ", " ,", ";", "\n", " ", "  ", " " * 60]),
    st.sampled_from(['"', "\t", "\x1c", "\u00a0", "\u2003", "\u0085", "a", "\u00e9", "\U0001f44d"]),
)


def mined(texts: list[str]) -> list[list[tuple[str, str, str]]]:
    data, offset = bytes_and_offsets(to_strings(texts))
    found: list[list[tuple[str, str, str]]] = [[] for _ in texts]
    for n, relation, *places in mine(data, offset[:-1], offset[1:]).tolist():
        a, b, c, d = places
        first, second = bytes(data[a:b]).decode(), bytes(data[c:d]).decode()
        found[n].append((RELATIONS[relation], first, second))
    return [sorted(rows, key=lambda row: RELATIONS.index(row[0])) for rows in found]


@settings(deadline=None, max_examples=400)  # the first call compiles
@given(st.lists(st.lists(_PIECES, max_size=30).map("".join), min_size=1, max_size=3))
@example([f"A. {_LONG}. Thus, {_LONG}. Thus, {_LONG}. But, {_LONG}. "])
@example([f"A. {_LONG}. i.e., {_LONG}, {_LONG}.\n"])
@example([f"A. {_LONG} is about {_LONG} was about {_LONG}. x"])
@example([f"A. {'y' * 20}\n is about {_LONG}. x"])
@example([f"A. {_LONG}, {_LONG} is about {_LONG}. x", f"A. {_LONG};{_LONG} is about {_LONG}. x"])
@example([f"A. {_LONG}\n{_LONG} is about {_LONG}. x", f"A. {_LONG}\nis about {_LONG}. x"])
@example([f". {' ' * 30} is about {_LONG}. x"])
@example([f"A.\n{' ' * 30}{'x' * 20}. due to {' ' * 60}{'y' * 5}! "])
def test_what_is_found_is_what_the_regular_expressions_find(texts: list[str]) -> None:
    """A task cut at another place than the published one is another method under its name."""
    assert mined(texts) == [list(matches(text)) for text in texts]


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from([*CONNECTIVES, "In Contrast", "i\ne."]),
    st.sampled_from([", ", ",", " , ", "  ", "\n,\n", ";"]),
    st.integers(46, 52),
    st.integers(46, 52),
    st.sampled_from([" ", "   ", "\n   ", "   \n"]),
)
def test_each_connective_and_length_is_judged_alike(
    verb: str, comma: str, before: int, after: int, gap: str
) -> None:
    """A word left out, or a limit that is off by one, loses a kind of task without a trace."""
    wide = "\u00e9" * before
    text = f"So.{gap}{wide}. {verb}{comma}{gap}{'b' * after}?! End."
    assert mined([text]) == [list(matches(text))]


@pytest.mark.parametrize("chars", [8, 9, 10, 11])
@pytest.mark.parametrize("mark", ["", '"', ",", "."])
@pytest.mark.parametrize("size", [18, 19, 20])
def test_terms_and_statements_have_their_least_lengths(chars: int, mark: str, size: int) -> None:
    """A term of one letter or a definition of one word teaches nothing."""
    text = f"A {mark}{'t' * chars} is defined as {'d' * size}. So. {'s' * (chars + 10)} is about "
    text += f"{'d' * size}! x"
    assert mined([text]) == [list(matches(text))]


def test_a_document_is_mined_by_itself() -> None:
    """A sentence would be joined with one of another document."""
    texts = ["", f"A. {_LONG}.", f" Thus, {_LONG}. ", f"A. {_LONG}. Thus, {_LONG}. ", " "]
    assert [len(rows) for rows in mined(texts)] == [0, 0, 0, 2, 0]


def test_many_verbs_in_one_endless_sentence_cost_one_search() -> None:
    """One page of a megabyte without a full stop would hold up a worker for hours."""
    text = "A. " + "one thing is about another " * 40_000
    data, offset = bytes_and_offsets(to_strings([text]))
    assert len(mine(data, offset[:-1], offset[1:])) == 0
    assert np.all(offset == [0, len(text)])
