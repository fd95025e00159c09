"""Long words by Python's own character database, and domain words by collections.Counter."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter

from tests.oracles.lowercase import lower
from tests.oracles.unicode_flags import SINGLE

_HYPHENS = "-\u2010\u2011"


def _kind(char: str) -> str:
    """Return L for letters and marks, O for other characters of words, H for hyphens, else B."""
    category = unicodedata.category(char)
    if char in _HYPHENS:
        return "H"
    if category[0] in "LN" and any(a <= ord(char) <= b for a, b in SINGLE):
        return "B"
    return "L" if category[0] in "LM" else "O" if category[0] == "N" or category == "Pc" else "B"


def runs(text: str) -> int:
    """Return how many runs of characters of words there are."""
    return len(re.findall("[LO]+", "".join(map(_kind, text))))


def long_words(text: str, least: int, most: int) -> list[str]:
    """Return the words of so many letters, in their order, lower-cased."""
    kinds = "".join(map(_kind, text))
    found = []
    for match in re.finditer(r"(?<![LO])L+(?![LO])(?:HL+(?![LO]))*", kinds):
        word = text[match.start() : match.end()]
        if least <= match[0].count("L") <= most:
            for hyphen in _HYPHENS:
                word = word.replace(hyphen, "-")
            found.append("".join(chr(lower(ord(char))) for char in word))
    return found


def keywords(
    pool: list[str | None],
    general: list[str],
    *,
    min_letters: int = 10,
    min_documents: int = 5,
    ratio: float = 5.0,
    smoothing: float = 1.0,
    most: int = 10_000,
) -> list[str]:
    """Return the domain words, the surest first."""
    documents = [long_words(text or "", min_letters, 64) for text in pool]
    count = Counter(word for words in documents for word in words)
    held = Counter(word for words in documents for word in set(words))
    other = Counter(word for text in general for word in long_words(text, min_letters, 64))
    size, other_size = sum(runs(text or "") for text in pool), sum(map(runs, general))

    def surprise(word: str) -> float:
        a, b = count[word], other[word]
        share = (a + b) / (size + other_size)
        cells = [
            (a, size * share),
            (b, other_size * share),
            (size - a, size * (1 - share)),
            (other_size - b, other_size * (1 - share)),
        ]
        return sum(2 * seen * math.log(seen / expected) for seen, expected in cells if seen)

    chosen = [
        word
        for word in count
        if held[word] >= min_documents
        and count[word] / size >= ratio * (other[word] + smoothing) / (other_size + smoothing)
    ]
    return sorted(chosen, key=lambda word: (-surprise(word), word))[:most]
