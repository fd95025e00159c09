"""Kinds of words and classes of characters, one by one."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection

from curation.kernels.words import HAS_LETTER, HAS_SENSE
from tests.oracles.words import kind


def kinds(words: list[str], stop: Collection[str]) -> tuple[int, ...]:
    """Return words with sense, characters in them, words with a letter, stop words by two counts.

    The last two are how many different stop words occur, and how often any of them does.
    """
    sense = [word for word in words if kind(word) & HAS_SENSE]
    letters = sum(bool(kind(word) & HAS_LETTER) for word in words)
    met = [word for word in words if word in stop]
    return len(sense), sum(map(len, sense)), letters, len(set(met)), len(met)


def commonest(words: list[str]) -> int:
    """Return how often the commonest word occurs."""
    return max(Counter(words).values(), default=0)


def characters(text: str) -> tuple[int, ...]:
    """Return the counts of ``count_characters``, in its order."""
    category = [unicodedata.category(char) for char in text]
    return (
        len(text),
        sum(c[0] == "L" for c in category),
        category.count("Lu"),
        category.count("Nd"),
        sum(c[0] in "PS" for c in category),
        sum(map(str.isspace, text)),
        max(map(len, text.split()), default=0),
        text.count("{") + text.count("}"),
        len(re.findall("lorem ipsum", text, re.ASCII | re.IGNORECASE)),
    )
