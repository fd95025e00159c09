from __future__ import annotations

import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.arrow import bytes_and_offsets
from curation.kernels.english import hash_text
from curation.kernels.words import (
    ALL_PUNCT,
    ENDS_SENTENCE,
    HAS_LETTER,
    HAS_SENSE,
    LONGEST_ENTRY,
    RULES,
    Words,
    count_words,
    dictionary,
    space_width,
    split_words,
)
from tests.oracles import words as oracle
from tests.oracles.nasty import BAD_BYTES, column, nasty_texts
from tests.oracles.spaces import WHITE_SPACE, words
from tests.oracles.text import hard_text


def counted(texts: list[str]) -> list[int]:
    return count_words(*bytes_and_offsets(pa.array(texts, pa.large_string()))).tolist()


def test_every_code_point_is_white_space_exactly_where_unicode_says() -> None:
    """A missed kind of space glues words together and skews every rule on word counts."""
    for code in range(sys.maxunicode + 1):
        if not 0xD800 <= code < 0xE000:
            data = np.frombuffer(chr(code).encode(), dtype=np.uint8)
            wanted = len(data) if chr(code) in WHITE_SPACE else 0
            assert space_width(data, 0, len(data)) == wanted, hex(code)


@settings(deadline=None)  # the first call compiles
@given(st.lists(hard_text, max_size=5))
def test_words_are_counted_as_the_oracle_splits_them(texts: list[str]) -> None:
    """Rules on word counts keep or drop documents; a wrong count drops the wrong ones."""
    assert counted(texts) == [len(words(text)) for text in texts]


@settings(deadline=None)  # the first call compiles
@given(st.text(st.characters(codec="utf-8", exclude_characters="\x1c\x1d\x1e\x1f")))
def test_words_are_those_of_str_split_but_for_its_four_separators(text: str) -> None:
    """A user who checks our count with str.split must find the same number."""
    assert counted([text]) == [len(text.split())]


def test_the_separators_that_only_python_splits_at_are_letters() -> None:
    """The one known difference to str.split must not come and go."""
    assert counted(["a\x1cb\x1db\x1eb\x1fb"]) == [1]


def test_a_document_never_reads_the_bytes_of_the_next() -> None:
    """A character cut off at the end must not be completed by the next document's bytes."""
    data = np.frombuffer(b"a\xe3\x80\x80b", dtype=np.uint8)
    assert count_words(data, np.array([0, 2, 5])).tolist() == [1, 1]
    assert count_words(data, np.array([1, 4])).tolist() == [0]


# ---------------------------------------------------------------- words as hashes


def split(texts: list[str], rule: str) -> tuple[list[list[str]], Words]:
    """Return the words of each text, spelt out, and as the kernel gives them."""
    data, offset = bytes_and_offsets(column(texts))
    words = split_words(data, offset, rule)
    return list(oracle.spelt(data, offset, words)), words


@settings(deadline=None)  # the first call compiles
@given(nasty_texts, st.sampled_from(["space", "unicode"]))
def test_words_are_cut_as_the_rule_says(texts: list[str], rule: str) -> None:
    """A word glued to another is neither a stop word nor a repeated one."""
    found, words = split(texts, rule)
    assert found == [oracle.RULES[rule](text) for text in texts]
    assert np.diff(words.offset).tolist() == [len(row) for row in found]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("don't can’t 3.14 1,000.", "don't can’t 3.14 1,000 ."),
        ("a.b.c, a..b 'x' l·l", "a.b.c , a . . b ' x ' l·l"),
        ("snake_case e-mail C++", "snake_case e - mail C + +"),
        ("日本語のab 한국어", "日 本 語 の ab 한국어"),
        ("ab中", "ab 中"),
        ("a.中 中.a", "a . 中 中 . a"),
        ("ไทยที่", "ไ ท ย ที่"),
        ("e\u0301a \u0301 中\u0301", "e\u0301a \u0301 中\u0301"),
        ("end' 'n", "end ' ' n"),
        ("\x00a\u200bb", "\x00 a \u200b b"),
    ],
)
def test_the_unicode_rule_cuts_these_as_shown(text: str, words: str) -> None:
    """The rule for 200 languages is the one that nobody on the team can read in most of them."""
    assert split([text], "unicode")[0] == [words.split(" ")]


@settings(deadline=None)  # the first call compiles
@given(nasty_texts, st.sampled_from(RULES))
def test_words_cover_each_character_that_is_not_white_space_once(
    texts: list[str], rule: str
) -> None:
    """A character in no word, or in two, is a share that counts wrong for ever."""
    found, words = split(texts, rule)
    for n, (text, row) in enumerate(zip(texts, found, strict=True)):
        rows = words.word_W[words.offset[n] : words.offset[n + 1]]
        data, free = text.encode(), 0
        for word, start, chars in zip(row, rows["start"], rows["chars"], strict=True):
            assert data[free:start].decode().strip() == ""  # between words, white space alone
            assert len(word) == chars > 0
            assert not any(map(str.isspace, word))
            free = start + len(word.encode())
        assert data[free:].decode().strip() == ""
        assert len(row) <= len(data)


@settings(deadline=None)  # the first call compiles
@given(nasty_texts, st.sampled_from(RULES))
def test_a_word_has_the_hash_of_its_letters_and_the_kind_of_its_characters(
    texts: list[str], rule: str
) -> None:
    """Stop words are looked up by this hash, and symbols are told by this kind."""
    found, words = split(texts, rule)
    spelt = [word for row in found for word in row]
    assert words.word_W["hash"].tolist() == [hash_text(word) for word in spelt]
    assert words.word_W["kind"].tolist() == [oracle.kind(word) for word in spelt]


@settings(deadline=None)  # the first call compiles
@given(nasty_texts, nasty_texts, st.sampled_from(RULES))
def test_words_do_not_depend_on_the_memory_they_are_written_to(
    before: list[str], texts: list[str], rule: str
) -> None:
    """A batch's words would be mixed with those of the batch before it."""
    room = split(before, rule)[1].room
    data, offset = bytes_and_offsets(column(texts))
    fresh, again = (split_words(data, offset, rule, room=r) for r in (None, room))
    assert fresh.word_W.tolist() == again.word_W.tolist()
    assert fresh.offset.tolist() == again.offset.tolist()


@pytest.mark.parametrize("rule", RULES)
def test_documents_of_many_short_words_find_room(rule: str) -> None:
    """Room is made for a word in three bytes; a table of digits has one in every byte or two."""
    texts = ["((((" * 200, "", "a b " * 100, ") " * 300, "x" * 500, "中" * 300]
    found, _ = split(texts, rule)
    alone = [split([text], rule)[0][0] for text in texts]
    assert found == alone
    assert ["".join(row) for row in found] == ["".join(text.split()) for text in texts]


@pytest.mark.parametrize("count", range(1, 25))
def test_the_room_grows_before_it_is_full(count: int) -> None:
    """A word beyond the room would be written over somebody else's memory."""
    texts = [f"{n % 10}" * 3 + "(" * 97 for n in range(count)]
    assert split(texts, "unicode")[0] == [[text[:3], *text[3:]] for text in texts]


@pytest.mark.parametrize("rule", RULES)
def test_no_documents_have_no_words(rule: str) -> None:
    """An empty batch comes at the end of many a shard."""
    words = split_words(np.zeros(0, np.uint8), np.zeros(1, np.int64), rule)
    assert (words.offset.tolist(), len(words.word_W)) == ([0], 0)
    assert split(["", " \n\u3000\x1c"], rule)[0] == [[], []]


entries = st.lists(st.text(st.sampled_from("中文字ไทยที่かなa"), max_size=4), max_size=8)
unspaced = st.text(st.sampled_from("中文字ไทยที่かなa ."), max_size=40)


@settings(deadline=None)  # the first call compiles
@given(st.lists(unspaced, max_size=4), entries)
def test_unspaced_scripts_are_cut_into_the_longest_words_of_a_dictionary(
    texts: list[str], known: list[str]
) -> None:
    """Repeated runs of Thai would be runs of letters, and every page would repeat itself."""
    data, offset = bytes_and_offsets(column(texts))
    words = split_words(data, offset, "unicode", dictionary(known))
    found = list(oracle.spelt(data, offset, words))
    assert found == [oracle.unicode(text, known) for text in texts]


def test_a_dictionary_is_searched_no_further_than_its_longest_entry() -> None:
    """A page of one script without a space would be searched to its end from each letter."""
    data, offset = bytes_and_offsets(column(["字" * (2 * LONGEST_ENTRY + 3)]))
    known = dictionary(["字" * LONGEST_ENTRY, "字" * (LONGEST_ENTRY + 1), ""])
    words = split_words(data, offset, "unicode", known)
    assert words.word_W["chars"].tolist() == [LONGEST_ENTRY, LONGEST_ENTRY, 1, 1, 1]
    assert dictionary(["字" * (LONGEST_ENTRY + 1), ""]).size == 0


def test_all_kinds_of_words_occur() -> None:
    """Kinds that no text has would be compared with themselves."""
    text = "word ! ... — 12 + 。 \u0301 x!"
    wanted = [HAS_LETTER | HAS_SENSE, ENDS_SENTENCE | ALL_PUNCT, ALL_PUNCT, ALL_PUNCT, HAS_SENSE]
    wanted += [0, ENDS_SENTENCE | ALL_PUNCT, HAS_SENSE, HAS_LETTER | HAS_SENSE]
    assert split([text], "space")[1].word_W["kind"].tolist() == wanted


def test_different_words_have_different_hashes() -> None:
    """Two words of one hash are one word to every count."""
    texts = [f"{a}{b}" for a in map(chr, range(0x61, 0x400)) for b in "abcdefgh01 "]
    words = {word for text in texts for word in text.split()}
    assert len({hash_text(word) for word in words}) == len(words)


@pytest.mark.parametrize("raw", BAD_BYTES)
@pytest.mark.parametrize("rule", RULES)
def test_bytes_that_are_no_utf8_are_cut_without_a_crash(raw: bytes, rule: str) -> None:
    """Arrow checks no string; a source that lies would end the worker."""
    data, offset = bytes_and_offsets(pa.array([b"x", raw, b" end"], pa.large_binary())[1:])
    words = split_words(data, offset, rule)
    starts = words.word_W["start"].astype(np.int64)
    first = starts[: words.offset[1]]
    assert first[0] == 0
    assert (np.diff(first) > 0).all()
    assert (first < len(raw)).all()
    assert starts[words.offset[1] :].tolist() == [1]
