from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curation.annotate.blocked import BlockedWords, fold
from curation.errors import RecipeError, ResourceError
from curation.kernels import automaton
from curation.testing import check_stage
from tests.oracles.blocked import count, folded


def counts(stage: BlockedWords, *texts: str | None) -> list[int | None]:
    batch = pa.record_batch({"text": pa.array(texts, pa.large_string())})
    found: list[int | None] = stage.annotate(batch)["blocked_word_count"].to_pylist()
    return found


#: Letters that fold to fewer and to more bytes, that fold to two letters, and none at all.
_LETTERS = (
    "aAbB_ -.\u212akK\u017fs\xdf\u1e9e\u0130i\u0131\u03a3\u03c3\u03c2\u023a\u2c65\u00e9\u00c9"
)
_LETTERS += "\u4e2d\u6587\u0301\u0915\u093f\U00010400\U00010428\U0001f600\u0663\n"
text = st.text(st.sampled_from(_LETTERS), max_size=30)
word = st.text(st.sampled_from(_LETTERS), min_size=1, max_size=4)


@settings(deadline=None, max_examples=500)  # the first call compiles
@given(
    st.lists(st.none() | text | st.text(), max_size=6), st.lists(word, max_size=6), st.booleans()
)
@example(["aaaa a"], ["a", "aa", "aaa"], False)
@example(["\u212a\u212a"], ["kk", "k"], True)
@example(["\u2c65 \u023a\u023ax"], ["\u023a", "\u2c65\u2c65x"], True)
def test_words_are_counted_as_regular_expressions_count_them(
    texts: list[str | None], words: list[str], whole: bool
) -> None:
    """A rule "no blocked word" trusts this number alone."""
    words = [*words, "a_B"]
    found = counts(BlockedWords(words=tuple(words), whole_words=whole), *texts)
    assert found == [None if t is None else count(t, tuple(words), whole) for t in texts]


def test_whole_words_are_those_between_other_characters() -> None:
    """The town of Scunthorpe, whose pages a substring would drop."""
    stage = BlockedWords(words=("ham", "New York", "york", "@ss"))
    texts = [
        "Ham, HAM-ham.",
        "hamster Graham ham_ ham2 \xe9ham",
        "in New York",
        "new\nyork",
        "x@ss @ss",
    ]
    assert counts(stage, *texts, None, "") == [3, 0, 2, 1, 1, None, 0]


def test_languages_without_spaces_are_searched_within_words() -> None:
    """In Chinese no word is flanked by anything but letters."""
    words = ("\u6587", "\u4e2d\u6587")
    assert counts(BlockedWords(words=words), "\u5b66\u4e2d\u6587\u7684") == [0]
    assert counts(BlockedWords(words=words, whole_words=False), "\u5b66\u4e2d\u6587\u7684") == [2]


def test_every_character_is_folded_by_itself() -> None:
    """A table that is off by one would look for other letters."""
    letters = "".join(chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000)
    assert fold(letters) == folded(letters)
    cased = [c for c in letters if folded(c) != c]
    assert len(cased) > 1300
    found = counts(BlockedWords(words=("\xe9\u044f",)), "\xc9\u042f \xe9\u044f")
    assert found == [2]
    for first in range(0, len(cased), 100):
        part = cased[first : first + 100]
        stage = BlockedWords(words=tuple(map(folded, part)), whole_words=False)
        assert counts(stage, *part) == [1] * len(part)


def test_the_list_is_read_from_a_file(tmp_path: Path) -> None:
    """Lists are kept beside recipes, with notes; what a file holds belongs to the identity."""
    path = tmp_path / "words"
    path.write_text("# not these\n\nHam\r\n  spam and eggs \nham\n")
    stage = BlockedWords(words=str(path))
    assert counts(stage, "ham, spam and eggs; # not these") == [2]
    before = stage.identity()
    path.write_text("eggs\n")
    assert counts(stage, "ham, spam and eggs") == [1]
    assert stage.identity() != before


def test_a_list_that_holds_nothing_is_an_error(tmp_path: Path) -> None:
    """It would pass every page, and nobody would notice."""
    (tmp_path / "words").write_text("# none yet\n\n")
    for words in [(), "", (" ",), str(tmp_path / "words")]:
        with pytest.raises(RecipeError, match="takes words"):
            counts(BlockedWords(words=words), "a")
    with pytest.raises(ResourceError, match="remedy"):
        BlockedWords(words=str(tmp_path / "absent"))


def test_a_list_that_is_too_long_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The alternative is a worker that is killed for its memory."""
    monkeypatch.setattr(automaton, "MOST_CELLS", 100)
    with pytest.raises(RecipeError, match="too long"):
        counts(BlockedWords(words=("something", "else")), "a")


@pytest.mark.parametrize("whole", [True, False])
def test_the_contract_holds(whole: bool) -> None:
    """The automatic check tries whole words alone."""
    check_stage(BlockedWords(words=("the", "t", "\u4e2d", "x" * 1000), whole_words=whole))
