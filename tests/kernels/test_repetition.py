from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.arrow import bytes_and_offsets
from curation.kernels import lines as line_kernel
from curation.kernels import repetition as kernel
from curation.kernels.unicode import flag_table
from curation.kernels.words import split_words
from tests.oracles import repetition as oracle
from tests.oracles import words
from tests.oracles.lines import Shares
from tests.oracles.nasty import column, nasty_texts

#: Few different words, so that runs of every length come back, whole, in part and overlapping.
again = st.lists(st.sampled_from("aab.bc\n"), max_size=80).map(" ".join)
block = st.lists(st.sampled_from(["the", "a", "cat", "sat", "."]), min_size=2, max_size=14)
blocks = st.tuples(block, block, st.lists(st.booleans(), max_size=8)).map(
    lambda t: " ".join(word for which in t[2] for word in t[which])
)
repeating = st.lists(again | blocks, max_size=4)


def by_line(texts: list[str]) -> list[Shares]:
    data, offset = bytes_and_offsets(column(texts))
    lines = line_kernel.split_lines(data, offset)
    made = kernel.line_repetition(data, offset, lines.offset, lines.line_L, flag_table())
    return rows(made)


def by_word(texts: list[str], rule: str = "space") -> list[Shares]:
    data, offset = bytes_and_offsets(column(texts))
    lines = line_kernel.split_lines(data, offset)
    chars = line_kernel.count_text_chars(lines.offset, lines.line_L)
    found = split_words(data, offset, rule)
    return rows(kernel.word_repetition(found.offset, found.word_W, chars))


def rows(values: np.ndarray) -> list[Shares]:
    """Return an array's rows as tuples, NaN as None."""
    return [tuple(None if x != x else x for x in row) for row in values.tolist()]


# ---------------------------------------------------------------- lines and paragraphs


@settings(deadline=None)  # the first call compiles
@given(nasty_texts)
def test_repeated_lines_and_paragraphs_are_those_of_the_definition(texts: list[str]) -> None:
    """A menu on every page would be training data, or a poem would not."""
    assert by_line(texts) == [oracle.by_line(text) for text in texts]


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.text(st.sampled_from("ab \n\n\n\u3000é"), max_size=30), max_size=4))
def test_paragraphs_end_at_any_run_of_line_feeds(texts: list[str]) -> None:
    """White space at the ends of a text hides where its first paragraph begins."""
    assert by_line(texts) == [oracle.by_line(text) for text in texts]


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("", (None, None, None, None)),
        ("\n", (1 / 2, 0, 0, 0)),  # an empty line on either side of the line feed
        (" ", (0, 0, 0, 0)),
        ("a\na", (1 / 2, 1 / 3, 0, 0)),
        ("a\n\na", (1 / 2, 1 / 4, 1 / 2, 1 / 4)),
        (" a\n\na ", (0, 0, 1 / 2, 1 / 6)),
        ("a\n \na", (1 / 3, 1 / 5, 0, 0)),
        ("éb\n\n\néb\n\n\n\néb\n", (2 / 4, 4 / 14, 2 / 3, 4 / 14)),
        ("a\nb\n\nc\n\na\nb", (2 / 5, 2 / 11, 1 / 3, 3 / 11)),
        ("ab\nc\n\na\nbc", (0, 0, 0, 0)),
    ],
)
def test_these_texts_repeat_as_shown(text: str, shares: Shares) -> None:
    """What is counted as a line at a text's ends decides short documents."""
    assert by_line([text]) == [shares] == [oracle.by_line(text)]


# ---------------------------------------------------------------- runs of words


@settings(deadline=None, max_examples=300)  # the first call compiles
@given(repeating)
def test_repeated_runs_of_words_are_those_of_the_definition(texts: list[str]) -> None:
    """Thirteen published thresholds are compared with these shares."""
    assert by_word(texts) == [oracle.by_word(text, words.space(text)) for text in texts]


@settings(deadline=None)  # the first call compiles
@given(nasty_texts)
def test_runs_of_any_words_are_those_of_the_definition(texts: list[str]) -> None:
    """The lengths of words in another script are code points and not bytes."""
    wanted = [oracle.by_word(text, words.unicode(text)) for text in texts]
    assert by_word(texts, "unicode") == wanted


@pytest.mark.parametrize(
    ("text", "column", "share"),
    [
        ("a", 0, 0),  # no run of two
        ("aa b", 0, 4 / 4),  # the only run is the commonest
        ("aa b c d", 0, 4 / 8),  # of equals, the first
        ("x aa b aa b c aa", 0, 2 * 4 / 16),
        ("x y aa b aa b x y", 0, 2 * 3 / 17),  # of equals, the one that comes first
        ("a a a a", 0, 3 * 3 / 7),  # runs overlap
        ("a b c a b c a", 1, 2 * 5 / 13),
        ("a b c d e a b c d e", 3, 5 / 19),  # spaces are no characters of a repeated run
        ("a a a a a a", 3, 5 / 11),
        ("a a a a a a a a a a a", 3, 10 / 21),  # the walk goes on behind a repeat
        ("a b c d a b c d e", 3, 0),
        ("é b c d e é b c d e", 3, 5 / 19),
    ],
)
def test_these_runs_repeat_as_shown(text: str, column: int, share: float) -> None:
    """Whether runs overlap and what their length is decides one page in twenty."""
    assert by_word([text])[0][column] == share == oracle.by_word(text, text.split())[column]


def test_a_text_of_thousands_of_words_repeats_as_by_the_definition() -> None:
    """The tables that sort out pairs are only full, and grow, where a text is long."""
    random = np.random.default_rng(3)
    vocabulary = [f"w{n}" for n in range(700)]
    texts = []
    for size in (40, 5000, 63, 9, 2000):
        drawn = [vocabulary[n] for n in (700 * random.random(size) ** 3).astype(int)]
        drawn[size // 2 : size // 2] = drawn[: size // 5]  # a passage that comes back
        texts.append(" ".join(drawn))
    assert by_word(texts) == [oracle.by_word(text, text.split()) for text in texts]


def test_a_text_that_is_one_word_again_and_again_is_all_repeats() -> None:
    """The shares go beyond one here; a rule that asks for less is met all the same."""
    text = "spam " * 1000
    found = by_word([text])[0]
    assert found == oracle.by_word(text, text.split())
    assert found[0] > 1


def test_a_document_does_not_depend_on_those_around_it() -> None:
    """Tables are used again for each document; what one leaves behind would count for the next."""
    texts = ["a b c d e f g h " * 9, "", "a b", "b c d e f g h a b c d e f", "a b c d e f g h " * 3]
    assert by_word(texts) == [by_word([text])[0] for text in texts]
    assert by_line(texts) == [by_line([text])[0] for text in texts]


def test_runs_that_datatrove_takes_for_one_are_two_here() -> None:
    """It joins the words of a run without a space between: the one known difference to it."""
    text = "a b c d ef . a b c de f"
    assert by_word([text])[0][3] == 0
    assert "".join("a b c d ef".split()) == "".join("a b c de f".split())
