"""RefinedWeb's line-wise corrections, line by line and character by character.

The patterns are written for Python's ``re``, and say what those of the stage say.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

BLANK = "[ \t\xa0]*"
_THINGS = (
    "bookmark comment download downvote favorite favourite follower like quote reaction reblog "
    "repost retweet share subscriber upvote view vote"
).split()
_THING = f"(?:{'|'.join([*_THINGS, *(thing + 's' for thing in _THINGS), 'reply', 'replies'])})"
_COUNT = rf"[0-9][0-9.,]*{BLANK}(?:[kmb])?\+?{BLANK}{_THING}"

COUNTERS = (rf"[\W_]*{_COUNT}(?:[\W_]+{_COUNT})*[\W_]*",)
STARTS = (r"sign-in(?a:\b)",)
ENDS = (r"(?a:\b)read more ?(?:\.\.\.|\u2026)",)
PARTS = (r"(?a:\b)items in cart(?a:\b)",)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The settings of the stage."""

    upper_frac: float = 0.5
    min_line_words: int = 2
    max_pattern_words: int = 10
    counters: Sequence[str] = COUNTERS
    line_starts: Sequence[str] = STARTS
    line_ends: Sequence[str] = ENDS
    line_parts: Sequence[str] = PARTS


def corrected(text: str, rules: Rules) -> tuple[str, int, float | None]:
    """Return the text that is left, how many lines went, and the share of words that went."""
    lines = text.split("\n")
    made = [correct(line, rules) for line in lines]
    kept = "\n".join(line for line in made if line is not None)
    before = len(text.split())
    frac = (before - len(kept.split())) / before if before else None
    return kept, made.count(None), frac


def correct(line: str, rules: Rules) -> str | None:
    """Return what is left of a line; None if it goes."""
    if not line.split():
        return line
    if is_unwanted(line, rules):
        return None
    if len(line.split()) > rules.max_pattern_words:
        return line
    left = edit(line.strip(), rules)
    if left == line.strip():
        return line
    return None if not left or is_unwanted(left, rules) else left


def is_unwanted(line: str, rules: Rules) -> bool:
    """Say whether a line with at least one word breaks a rule on whole lines."""
    words, line = line.split(), line.strip()
    capitals = sum(unicodedata.category(char) == "Lu" for char in line)
    digits = all(unicodedata.category(char) == "Nd" for char in "".join(words))
    short = len(words) <= rules.max_pattern_words
    counts = short and any(re.fullmatch(p, line, re.IGNORECASE) for p in rules.counters)
    few = len(words) < rules.min_line_words
    return few or digits or counts or capitals / len(line) > rules.upper_frac


def edit(line: str, rules: Rules) -> str:
    """Return a line without the phrases."""
    for pattern in edits(rules):
        line = re.sub(pattern, "", line, flags=re.IGNORECASE)
    return line.strip()


def edits(rules: Rules) -> list[str]:
    """Return what is taken out of a line, in order."""
    made = []
    if rules.line_parts:
        made.append(f"{BLANK}(?:{'|'.join(rules.line_parts)})")
    if rules.line_ends:
        made.append(rf"(?:{'|'.join(rules.line_ends)})\Z")
    if rules.line_starts:
        made.append(rf"\A{BLANK}(?:{'|'.join(rules.line_starts)})")
    return made
