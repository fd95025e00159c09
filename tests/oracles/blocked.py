"""Blocked words one by one, as regular expressions."""

from __future__ import annotations

import re


def folded(text: str) -> str:
    """Fold case character by character: one that would become two stays, or is lower-cased."""
    out = []
    for character in text:
        both = (character.casefold(), character.lower(), character)
        out.append(next(form for form in both if len(form) == 1))
    return "".join(out)


def count(text: str, words: tuple[str, ...], whole: bool) -> int:
    """Count the places at which words occur, overlapping ones too."""
    text = folded(text)
    flanks = (r"(?<!\w)", r"(?!\w)") if whole else ("", "")
    total = 0
    for word in {folded(word.strip()) for word in words} - {""}:
        total += len(re.findall(f"{flanks[0]}(?={re.escape(word)}{flanks[1]})", text))
    return total
