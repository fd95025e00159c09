"""Gopher's repetition, table A1 of arXiv:2112.11446, on tuples of words.

datatrove joins the words of a repeated run without a separator, so that two runs whose words are
cut in other places are the same to it; here they are not.
"""

from __future__ import annotations

import re
from collections import Counter

from tests.oracles.lines import Shares, repeats


def by_line(text: str) -> Shares:
    """Return the shares of repeated lines, characters in them, paragraphs, characters in those."""
    if not text:
        return None, None, None, None
    found: list[float] = []
    for parts in (re.split(r"\n+", text), re.split(r"\n{2,}", text.strip())):
        again, chars = repeats(parts)
        found += [again / len(parts), chars / len(text)]
    return tuple(found)


def by_word(text: str, words: list[str]) -> Shares:
    """Return the shares of the commonest runs of 2 to 4 words, and of repeated ones of 5 to 10."""
    if not text:
        return (None,) * 9
    top = [_commonest(words, n) / len(text) for n in range(2, 5)]
    return (*top, *(_repeated(words, n) / len(text) for n in range(5, 11)))


def _commonest(words: list[str], size: int) -> int:
    """Return the length of the commonest run, spaces included, times its count."""
    runs = Counter(tuple(words[at : at + size]) for at in range(len(words) - size + 1))
    if not runs:
        return 0
    run, count = runs.most_common(1)[0]  # of equals, the first
    return len(" ".join(run)) * count


def _repeated(words: list[str], size: int) -> int:
    """Return the characters of runs that occurred before, walking on behind each of them."""
    met: set[tuple[str, ...]] = set()
    chars = at = 0
    while at <= len(words) - size:
        run = tuple(words[at : at + size])
        if run in met:
            chars += sum(map(len, run))
            at += size
        else:
            met.add(run)
            at += 1
    return chars
