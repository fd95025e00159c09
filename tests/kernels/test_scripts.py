from __future__ import annotations

import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.arrow import bytes_and_offsets
from curation.kernels import scripts
from tests.oracles import scripts as oracle
from tests.oracles.text import hard_text

#: Characters that decide: scripts judged together, marks out of order, what composes, capitals.
_CHARS = "aAéÉßǅİªⒶℵ中日のカー漢한글ᄀ각àب\u064b\u0651а́БéẠ्क़"
_CHARS += "\u0300\u0301\u0327\u0323\u093c\u09be\u1e0b\ufb01\U0001d400\U00010400\U0002f800 1.\n"
texts = st.lists(st.one_of(st.text(st.sampled_from(_CHARS), max_size=30), hard_text), max_size=5)


def survey(found: list[str]) -> scripts.Survey:
    data, offset = bytes_and_offsets(pa.array(found, pa.large_string()))
    return scripts.survey(data, offset[:-1], offset[1:])


@settings(deadline=None)  # the first call compiles
@given(texts)
def test_scripts_and_letters_are_those_of_the_character_database(found: list[str]) -> None:
    """A page in the wrong script would pass the filter for its language."""
    made = survey(found)
    codes = scripts.script_codes()
    shown = [(codes[s], n) for s, n in zip(made.script_N, made.letter_N.tolist(), strict=True)]
    assert shown == [oracle.script(text) for text in found]
    assert made.char_N.tolist() == [len(text) for text in found]


@settings(deadline=None)
@given(texts)
def test_a_text_that_must_be_rewritten_is_always_told(found: list[str]) -> None:
    """The model would be asked about letters that it never met."""
    flags = survey(found).unready_N.tolist()
    upper = [bool(flag & scripts.ALL_UPPER) for flag in flags]
    assert upper == [text.isupper() for text in found]
    for text, flag in zip(found, flags, strict=True):
        normal = unicodedata.is_normalized("NFC", text)
        assert normal or flag & scripts.NOT_NORMAL, text


@pytest.mark.parametrize(
    "text", ["ب\u0651\u064b", "ש\u05c1\u05b0", "e\u0301", "क\u093c", "a\u212b"]
)
def test_marks_out_of_order_and_what_composes_are_told(text: str) -> None:
    """A model knows a word by its bytes, and these have others."""
    assert survey([text]).unready_N.tolist() == [scripts.NOT_NORMAL]


@pytest.mark.parametrize(
    "text", ["plain", "déjà vu", "это текст", "中文没有空格", "한국어", "مرحبًا", "שָׁלוֹם", "ไทยที่"]
)
def test_texts_in_normal_form_are_read_as_they_are(text: str) -> None:
    """Rewriting every text would be right as well, and many times slower."""
    assert unicodedata.is_normalized("NFC", text)
    assert survey([text]).unready_N.tolist() == [0]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("日本語のテキスト", "Jpan"),
        ("カタカナ", "Jpan"),
        ("漢" * 20 + "の", "Hani"),
        ("漢" * 19 + "の", "Jpan"),
        ("한국어 漢字", "Hang"),
        ("漢字 abc", "Latn"),
        ("漢字か abc", "Latn"),
        ("漢字か ab", "Jpan"),
        ("123 ℃ ー", "Zyyy"),
        ("", "Zyyy"),
    ],
)
def test_han_and_kana_are_one_script(text: str, code: str) -> None:
    """Japanese would be filed under three scripts, by the luck of its words."""
    assert scripts.script_codes()[survey([text]).script_N[0]] == code


def test_the_table_is_what_the_character_database_says() -> None:
    """A table that somebody has edited would say what no standard says."""
    if unicodedata.unidata_version != "14.0.0":
        pytest.skip(f"the table is Unicode 14's, this Python knows {unicodedata.unidata_version}")
    table = scripts.flag_table()
    assert scripts.script_codes() == ("Zyyy", *oracle.CODES, "Jpan")
    odd = [c for c in range(0, scripts.CODE_POINTS, 7) if not 0xD800 <= c < 0xE000]
    assert [int(table[c]) for c in odd] == [oracle.flags_of(chr(c)) for c in odd]
