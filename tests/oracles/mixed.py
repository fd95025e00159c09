"""Lines, and the share of a text's characters in lines of another language, in plain Python."""

from __future__ import annotations

from collections import Counter

_SPACE = " \t\v\f\r\n"


def lines(text: str) -> list[str]:
    """Return the lines that are not blank, ASCII white space at their ends cut off."""
    cut = (line.strip(_SPACE) for line in text.split("\n"))
    return [line for line in cut if line]


def minority_share(labelled: list[tuple[int, int]]) -> float | None:
    """Return the share of the size that is not of the commonest label; (label, size) each."""
    size: Counter[int] = Counter()
    for label, chars in labelled:
        if label >= 0:
            size[label] += chars
    if not size.total():
        return None
    return 1 - max(size.values()) / size.total()
