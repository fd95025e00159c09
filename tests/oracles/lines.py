"""Lines and what the published filters count of them, with ``str`` methods."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tests.oracles.unicode_flags import TERMINAL

#: Line ends of ``str.splitlines`` beside the line feed.
OTHER_ENDS = "\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"

Shares = tuple[float | None, ...]


def blank(line: str) -> bool:
    return not line.strip()


def terminated(line: str) -> bool:
    return line.endswith(tuple(TERMINAL))


def broken(line: str) -> bool:
    return any(char in OTHER_ENDS for char in line)


def gopher(text: str) -> Shares:
    """Return the shares of lines that begin with a bullet and that end in an ellipsis."""
    lines = text.splitlines()
    if not lines:
        return None, None
    bullets = sum(line.lstrip().startswith(("•", "-")) for line in lines)
    ellipses = sum(line.rstrip().endswith(("...", "…")) for line in lines)
    return bullets / len(lines), ellipses / len(lines)


def marks(text: str) -> tuple[int, int]:
    """Return the number signs and the ellipses."""
    return text.count("#"), len(re.findall(r"\.\.\.|…", text))


def repeats(parts: Sequence[str]) -> tuple[int, int]:
    """Return how many parts repeat an earlier one, and the characters in those."""
    again = [part for n, part in enumerate(parts) if part in parts[:n]]
    return len(again), sum(map(len, again))


def fineweb(text: str, short: int) -> Shares:
    """Return the shares of lines that end a sentence and are short, and of repeated characters."""
    lines = [line for line in text.split("\n") if not blank(line)]
    if not lines:
        return None, None, None
    return (
        sum(map(terminated, lines)) / len(lines),
        sum(len(line) <= short for line in lines) / len(lines),
        repeats(lines)[1] / len(text.replace("\n", "")),
    )
