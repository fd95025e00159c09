"""Near-duplicates as the textbook has them: sets, every pair, one row at a time."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence

from curation.kernels.unicode import SINGLE, WORD, flag_table
from tests.oracles.lowercase import lower


def words(text: str) -> list[str]:
    """Return lower-cased runs of word characters; a character of a SINGLE script is a word."""
    flags = flag_table()
    found: list[str] = []
    inside = "no"
    for char in text:
        kind = int(flags[ord(char)])
        small = chr(lower(ord(char)))
        if kind & SINGLE:
            found.append(small)
            inside = "single"
        elif kind & WORD:
            is_mark = unicodedata.category(char)[0] == "M"
            if inside == "word" or (inside == "single" and is_mark):
                found[-1] += small
            else:
                found.append(small)
                inside = "word"
        else:
            inside = "no"
    return found


def chars(text: str) -> list[str]:
    """Return lower-cased code points, runs of white space as one space, the ends trimmed."""
    return [chr(lower(ord(char))) for char in " ".join(text.split())]


def tokens(text: str) -> list[str]:
    """Return what stands between white space."""
    return text.split()


def shingles(units: Sequence[str], length: int) -> list[tuple[str, ...]]:
    """Return the runs of so many units; a shorter text is one run, if it has any."""
    if 0 < len(units) < length:
        return [tuple(units)]
    return [tuple(units[at : at + length]) for at in range(len(units) - length + 1)]


def plain_shingles(text: str, length: int = 5) -> set[tuple[str, ...]]:
    r"""Return the runs of words as the regular expression \w+ finds them."""
    return set(shingles(re.findall(r"\w+", text.lower()), length))


def jaccard(one: set[tuple[str, ...]], other: set[tuple[str, ...]]) -> float:
    """Return the share of what both have of what either has."""
    return len(one & other) / len(one | other) if one or other else 0.0


def settled(
    order: Sequence[str], similarity: Callable[[str, str], float], least: float
) -> Mapping[str, tuple[str, float] | None]:
    """Return for each name None if it stays, or the name that it repeats and how alike they are.

    order  the names, the most preferred first
    """
    stay: list[str] = []
    found: dict[str, tuple[str, float] | None] = {}
    for name in order:
        alike = [(similarity(name, other), other) for other in stay]
        best = max(alike, key=lambda pair: pair[0], default=(0.0, ""))
        if best[0] >= least:
            found[name] = (best[1], best[0])
        else:
            stay.append(name)
            found[name] = None
    return found


def components(names: Sequence[str], pairs: Sequence[tuple[str, str]]) -> dict[str, set[str]]:
    """Return the names that each name is chained to, itself included."""
    group = {name: {name} for name in names}
    for one, other in pairs:
        if group[one] is not group[other]:
            group[one] |= group[other]
            for name in group[other]:
                group[name] = group[one]
    return group
