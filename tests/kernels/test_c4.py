from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.arrow import bytes_and_offsets
from curation.kernels import c4 as kernel
from curation.kernels.english import lexicon
from curation.kernels.unicode import flag_table
from curation.kernels.words import ALL_PUNCT, ENDS_SENTENCE, RULES, WORD_TYPE, split_words
from tests.oracles import c4 as oracle
from tests.oracles import words
from tests.oracles.nasty import BAD_BYTES, column, nasty_texts

#: Lines that some rule takes away, and whole sentences, one after another.
_LINES = (
    *(
        "One sentence here.",
        "Two of them. Are here!",
        "no end to this",
        "Too short.",
        "Why? ... so.",
    ),
    *("We use cookies, as you know.", "You need JavaScript for this.", "A {curly} one here."),
    *("Lorem IPSUM dolor sit amet.", "It is so.[1]", "It is so [1].", "See[edit] this[٣] one."),
    *("java[1]script is not named here.", "[lorem] ipsum is not here.", "Lorem[2] ipsum is here."),
    *("Read our terms[citation needed] of use.", "It was so...", 'He said: "It is."', "  \t "),
    *("\u3000Wide space at its ends. \u3000", "a b c", "[1] [2] [3]", "x" * 12 + " is long here."),
    *(
        "Mr. A. B. Sat, on U.S. ground.",
        "日本 語 文。次の 文。",
        "ใช่ ไหม ไทย.",
        "Wait... what?! No.",
    ),
    *(
        "uses  cookies but two spaces.",
        "cookie policy.",
        "a b Privacy Policy.",
        "a { b",
        "vcy psu rms",
    ),
)
_ENDS = ("\n", "\n", "\r\n", "\r", "\u2028", "\x85", "\n\n", "\v")
page = st.lists(st.tuples(st.sampled_from(_LINES), st.sampled_from(_ENDS)), max_size=12).map(
    lambda pairs: "".join(line + end for line, end in pairs)
)
pages = st.lists(page, max_size=4) | nasty_texts
options = st.builds(
    oracle.Options,
    terminal_only=st.booleans(),
    min_line_words=st.sampled_from([0, 3, 3, 5]),
    max_word_chars=st.sampled_from([-1, 0, 10, 1000]),
    remove_citations=st.booleans(),
)


def judge(
    texts: list[str], choice: oracle.Options, rule: str = "unicode"
) -> list[tuple[tuple[int, ...], str]]:
    """Return the kernel's counts and the text that is left of each document."""
    data, offset = bytes_and_offsets(column(texts))
    found = split_words(data, offset, rule)
    tally, text_B, text_offset = kernel.judge_lines(
        data,
        offset,
        found.offset,
        found.word_W,
        as_array(choice, rule, text=True),
        flag_table(),
        lexicon(),
    )
    places = itertools.pairwise(text_offset.tolist())
    left = [bytes(text_B[a:b]).decode() for a, b in places]
    return list(zip(map(tuple, tally.tolist()), left, strict=True))


def as_array(choice: oracle.Options, rule: str, *, text: bool) -> np.ndarray:
    facts = (choice.max_word_chars, choice.min_line_words, choice.remove_citations)
    return np.array([RULES.index(rule), *facts, choice.terminal_only, text], dtype=np.int64)


@settings(deadline=None, max_examples=200)  # the first call compiles
@given(pages, options)
def test_lines_stay_and_go_as_by_the_definition(texts: list[str], choice: oracle.Options) -> None:
    """What is left of a page is what a model is trained on."""
    assert judge(texts, choice) == [oracle.judge(text, choice, words.unicode) for text in texts]


@settings(deadline=None)  # the first call compiles
@given(pages)
def test_english_sentences_are_counted_as_by_the_definition(texts: list[str]) -> None:
    """A page of fewer than five sentences goes."""
    choice = oracle.Options()

    def english(line: str) -> list[str]:
        data, offset = bytes_and_offsets(column([line]))
        return next(words.spelt(data, offset, split_words(data, offset, "english")))

    wanted = [oracle.judge(text, choice, english) for text in texts]
    assert judge(texts, choice, "english") == wanted


@settings(deadline=None)
@given(pages)
def test_counts_do_not_depend_on_whether_the_text_is_asked_for(texts: list[str]) -> None:
    """The stage that counts and the stage that rewrites would judge two different pages."""
    data, offset = bytes_and_offsets(column(texts))
    found = split_words(data, offset, "unicode")
    made = [
        kernel.judge_lines(
            data,
            offset,
            found.offset,
            found.word_W,
            as_array(oracle.Options(), "unicode", text=text),
            flag_table(),
            lexicon(),
        )
        for text in (True, False)
    ]
    assert made[0][0].tolist() == made[1][0].tolist()
    assert made[1][1].size == 0
    assert not made[1][2].any()


@pytest.mark.parametrize(
    ("line", "fate", "left"),
    [
        ("It is so.", "kept", "It is so."),
        ("It is so.[12]", "kept", "It is so."),
        ("It is so[٣].", "kept", "It is so."),
        ("It is so[].", "kept", "It is so."),
        ("It is[edit] so[citation needed].", "kept", "It is so."),
        ("It is so. [1]", "unterminated", None),  # the white space before it stays
        ("It is[Edit] so[1.", "kept", "It is[Edit] so[1."),
        ("It is [[1]] so.", "kept", "It is [] so."),  # looked for once, from left to right
        ("It is so..", "kept", "It is so.."),
        ("It is so...", "unterminated", None),
        ("It is so…", "unterminated", None),
        ("It is so.”", "unterminated", None),
        ("It is so.'", "kept", "It is so.'"),
        ("Too short.", "short", None),
        ("a b .", "kept", "a b ."),
        ("[1] [2] is.", "kept", " is."),  # words are counted before citations go
        ("x" * 1000 + " is so.", "kept", "x" * 1000 + " is so."),
        ("x" * 1001 + " is so.", "long word", None),
        ("é" * 1000 + " is so.", "kept", "é" * 1000 + " is so."),
        ("é" * 1001 + " is.", "long word", None),
        ("is x" + "x" * 1000, "long word", None),
        ("It is " + "x" * 999 + ".", "kept", "It is " + "x" * 999 + "."),
        ("say lOREM iPSUM now.", "lorem", None),
        ("lorem[1] ipsum is javascript.", "lorem", None),
        ("ja[1]vascript is so.", "javascript", None),  # rare letters that a citation parts
        ("this j[]avascri[2]pt is so.", "javascript", None),
        ("say lorem ip[1]sum now.", "lorem", None),
        ("all ter[edit]ms of use are.", "policy", None),
        ("a pri[3]v[4]acy policy is.", "policy", None),
        ("it uses coo[citation needed]kies.", "policy", None),
        ("[lorem ip]sum is so.", "kept", "[lorem ip]sum is so."),
        ("this is JAVASCRIPT {}.", "javascript", None),
        ("this javascrip t is so.", "kept", "this javascrip t is so."),
        ("all terms of use {.", "curly", None),
        ("a closing } is nothing.", "kept", "a closing } is nothing."),
        ("all Terms Of Use apply.", "policy", None),
        ("our PRIVACY policy is.", "policy", None),
        ("a cookie policy is.", "policy", None),
        ("it uses cookies now.", "policy", None),
        ("its use of cookies is.", "policy", None),
        ("we reuse cookies now.", "policy", None),
        ("we use cookie jars.", "kept", "we use cookie jars."),
        ("cookies are of use.", "kept", "cookies are of use."),
    ],
)
def test_a_line_meets_the_fate_that_the_rules_give_it(
    line: str, fate: str, left: str | None
) -> None:
    """Each rule and its edge, one at a time; the order of the rules decides what is counted."""
    assert oracle.fate(line, oracle.Options())[0] == fate
    (counts, text), _ = judge([line, "x"], oracle.Options())
    found = dict(zip(oracle.FATES, counts, strict=True))
    sentences = found.pop("sentences")
    assert found == {**dict.fromkeys(oracle.FATES[1:], 0), fate: 1}
    assert (text, sentences) == ("" if left is None else left.strip(), int(left is not None))


def test_the_text_is_cut_at_its_own_document() -> None:
    """A line of one page would end up on the next."""
    texts = ["", "One is here.\nno end", " \n", "no\n\nTwo is here. \r\n  Three is here.\n", "x"]
    left = [text for _, text in judge(texts, oracle.Options())]
    assert left == ["", "One is here.", "", "Two is here.\nThree is here.", ""]
    assert judge([], oracle.Options()) == []


@settings(deadline=None)
@given(st.lists(st.sampled_from("eepwwb"), max_size=20).map("".join))
def test_a_sentence_begins_at_a_word_after_a_final_mark(kinds: str) -> None:
    """Three marks in a row end one sentence, and a bracket after them begins none."""
    rows = np.zeros(len(kinds), dtype=WORD_TYPE)
    bits = {"e": ENDS_SENTENCE | ALL_PUNCT, "p": ALL_PUNCT, "w": 0, "b": ENDS_SENTENCE}
    spelling = {"e": ".", "p": ")", "w": "x", "b": "."}
    rows["kind"] = [bits[kind] for kind in kinds]
    assert kernel.count_sentences(rows) == words.sentences([spelling[kind] for kind in kinds])


@pytest.mark.parametrize("raw", BAD_BYTES)
def test_bytes_that_are_no_utf8_are_judged_without_a_crash(raw: bytes) -> None:
    """Arrow checks no string; a source that lies would end the worker."""
    import pyarrow as pa

    column = pa.array([b"x", raw + b" [1] is {.", b"One is here."], pa.large_binary())[1:]
    data, offset = bytes_and_offsets(column)
    found = split_words(data, offset, "unicode")
    choice = dataclasses.replace(oracle.Options(), terminal_only=False)
    tally, text_B, text_offset = kernel.judge_lines(
        data,
        offset,
        found.offset,
        found.word_W,
        as_array(choice, "unicode", text=True),
        flag_table(),
        lexicon(),
    )
    assert tally[0, 1:].sum() >= 1
    assert tally[1].tolist() == [1, 1, 0, 0, 0, 0, 0, 0, 0]
    assert bytes(text_B[text_offset[1] : text_offset[2]]) == b"One is here."


@pytest.mark.parametrize(
    "phrase",
    ["javascript", "lorem ipsum", "{", *oracle.POLICY, "[edit]", "PRIVACY POLICY", "Use Cookies"],
)
def test_a_phrase_is_found_wherever_it_stands(phrase: str) -> None:
    """A first look, 32 bytes at a time, says of most pages that they hold none."""
    texts = [
        f"{'a' * before} a b {phrase}{'.' * after}" for before in range(70) for after in (0, 1)
    ]
    wanted = [oracle.judge(text, oracle.Options(), words.unicode) for text in texts]
    assert judge(texts, oracle.Options()) == wanted
