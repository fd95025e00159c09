"""Words by regular expression, and the buckets of their runs in Python's own whole numbers."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from itertools import pairwise

import regex

from tests.oracles.lowercase import lower

_WORDPUNCT = r"\w+|[^\w\s]+"
_CUT = {
    "wordpunct": re.compile(_WORDPUNCT),
    "space": re.compile(r"\S+"),
    "wordpunct-regex": regex.compile(_WORDPUNCT),
}
_ALL = (1 << 64) - 1
_BASE, _UNIT_BASE, _START = 0xC6A4A7935BD1E995, 0x9FB21C651E98DF25, 0x2545F4914F6CDD1D
_MIX_0, _MIX_1 = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def assigned(text: str) -> str:
    """Return a text without what Unicode 14 does not know: packages know later ones."""
    return "".join(char for char in text if unicodedata.category(char) != "Cn")


def words(text: str, rule: str) -> list[str]:
    """Return the words of a text that is lower-cased character by character."""
    return _CUT[rule].findall("".join(chr(lower(ord(char))) for char in text))


def ngrams(units: list[str], most: int) -> list[tuple[str, ...]]:
    """Return the runs of 1..most words, in the order of their last word, the shortest first."""
    return [
        tuple(units[end - length : end])
        for end in range(1, len(units) + 1)
        for length in range(1, min(most, end) + 1)
    ]


def bucket(ngram: tuple[str, ...], buckets: int, seed: int) -> int:
    """Return the bucket of a run under the fast hash."""
    run = 0
    for at, word in enumerate(ngram):
        run = (run * _BASE + word_hash(word)) & _ALL if at else word_hash(word)
    value = ((run ^ seed) * _MIX_0) & _ALL
    value = ((value ^ value >> 27) * _MIX_1) & _ALL
    value ^= value >> 31
    return (value >> 32) * buckets >> 32


def word_hash(word: str) -> int:
    """Return the hash of a word, cut before and after each character that is not ASCII."""
    value, eight = _START, b""
    cuts = [0, *(at for at, char in enumerate(word) if ord(char) >= 128), len(word)]
    for number, (start, stop) in enumerate(pairwise(cuts)):
        ascii_part = word[start:stop] if number == 0 else word[start + 1 : stop]
        if number:
            value = ((value ^ int.from_bytes(eight, "big")) * _UNIT_BASE) & _ALL
            value = ((value ^ ord(word[start]) ^ 1 << 62) * _UNIT_BASE) & _ALL
            value ^= value >> 32
            eight = b""
        for char in ascii_part:
            if len(eight) == 8:
                value = ((value ^ int.from_bytes(eight, "big")) * _UNIT_BASE) & _ALL
                value, eight = value ^ value >> 32, b""
            eight += char.encode()
    value = ((value ^ int.from_bytes(eight, "big")) * _UNIT_BASE) & _ALL
    return value ^ value >> 32


def published_bucket(ngram: tuple[str, ...], buckets: int) -> int:
    """Return the bucket that DSIR's authors put a run into."""
    return int(hashlib.sha256(" ".join(ngram).encode()).hexdigest(), 16) % buckets
