"""Words by the rules ``space`` and ``unicode``, what kinds they are, and sentences of them."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Iterator

import numpy as np
import numpy.typing as npt
import regex

from curation.kernels import words as kernel
from tests.oracles.unicode_flags import FILLER, SINGLE, TERMINAL

#: What stands within a word where a letter or number is on either side.
INNER = "'’.,·"


def category(char: str) -> str:
    return unicodedata.category(char)


def is_part(char: str) -> bool:
    """Say whether words are made of a character: letters, marks, numbers, connectors."""
    return category(char)[0] in "LMN" or category(char) == "Pc"


def is_single(char: str) -> bool:
    """Say whether a character belongs to a script that puts no space between words."""
    return category(char)[0] in "LN" and any(a <= ord(char) <= b for a, b in SINGLE)


def is_unspaced(word: str) -> bool:
    """Say whether a dictionary's word can be found: no character is of another script."""
    return word != "" and all(is_single(char) or category(char)[0] == "M" for char in word)


def space(text: str) -> list[str]:
    """Cut at white space, as Python knows it."""
    return text.split()


def unicode(text: str, dictionary: Collection[str] = ()) -> list[str]:
    """Cut into words of letters and numbers; characters of some scripts, and the rest, alone.

    dictionary  words of those scripts; the longest that begins at a place is a word there
    """
    found, at = [], 0
    while at < len(text):
        end = at + 1
        if is_single(text[at]):
            known = [w for w in dictionary if text.startswith(w, at) and is_unspaced(w)]
            if known:
                end = at + max(map(len, known))
            while not known and end < len(text) and category(text[end])[0] == "M":
                end += 1
        elif is_part(text[at]):
            end = _end_of_run(text, end)
        if not text[at].isspace():
            found.append(text[at:end])
        at = end
    return found


def _end_of_run(text: str, at: int) -> int:
    while at < len(text):
        if _goes_on(text[at : at + 1]):
            at += 1
        elif text[at] in INNER and _goes_on(text[at + 1 : at + 2]):
            at += 2
        else:
            break
    return at


def _goes_on(char: str) -> bool:
    return char != "" and is_part(char) and not is_single(char)


RULES = {"space": space, "unicode": unicode}


def kind(word: str) -> int:
    """Return the bits of a word's kind."""
    has_letter = any(category(char)[0] == "L" for char in word)
    has_sense = not all(char in FILLER + TERMINAL for char in word)
    all_punct = all(category(char)[0] == "P" for char in word)
    return (
        kernel.HAS_LETTER * has_letter
        | kernel.HAS_SENSE * has_sense
        | kernel.ENDS_SENTENCE * (len(word) == 1 and word in TERMINAL)
        | kernel.ALL_PUNCT * all_punct
    )


def sentences(words: Iterable[str]) -> int:
    """Count sentences: one begins with the text, and one at each word, not a mark, after an end."""
    spelt = "".join(
        "e" if kind(w) & kernel.ENDS_SENTENCE else "p" if kind(w) & kernel.ALL_PUNCT else "w"
        for w in words
    )
    return 1 + len(regex.findall("e[ep]*w", spelt))


# ---------------------------------------------------------------- the kernel's words, spelt out


def spelt(
    data: npt.NDArray[np.uint8], offset: npt.NDArray[np.int64], words: kernel.Words
) -> Iterator[list[str]]:
    """Yield the words of each document, as the kernel's places and lengths cut them."""
    for n in range(len(offset) - 1):
        text = data[offset[n] : offset[n + 1]].tobytes()
        rows = words.word_W[words.offset[n] : words.offset[n + 1]]
        found = []
        for start, chars in zip(rows["start"].tolist(), rows["chars"].tolist(), strict=True):
            found.append(text[start : start + 4 * chars].decode(errors="ignore")[:chars])
        yield found
