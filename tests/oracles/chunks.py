"""Cut text with slices and regular expressions, one window at a time."""

from __future__ import annotations

import re

from tests.oracles.spaces import RUN, WHITE_SPACE

_SENTENCE = re.compile("""([.!?]|[\u3002\uff01\uff1f])["')\\]\u2019\u201d]*$""")


def chunks(text: str, max_chars: int) -> list[str]:
    """Return the pieces of a text, none longer than ``max_chars``."""
    if not text.strip(WHITE_SPACE):
        return []
    if len(text) <= max_chars:
        return [text]
    rest, pieces = text.strip(WHITE_SPACE), []
    while len(rest) > max_chars:
        at = _cut(rest, max_chars)
        pieces.append(rest[:at])
        rest = rest[at:].lstrip(WHITE_SPACE)
    return [*pieces, rest]


def _cut(rest: str, max_chars: int) -> int:
    enough = (max_chars + 1) // 2
    runs = [run for run in RUN.finditer(rest) if run.start() <= max_chars]
    late = [run for run in runs if run.start() >= enough]
    paragraphs = [run.start() for run in late if run[0].count("\n") >= 2]
    lines = [run.start() for run in late if run[0].count("\n") == 1]
    spaced = [run.start() for run in late if _SENTENCE.search(rest[: run.start()])]
    wide = [m.end() for m in re.finditer("[\u3002\uff01\uff1f](?=\\S)", rest)]
    sentences = [*spaced, *(at for at in wide if enough <= at <= max_chars)]
    for places in (paragraphs, lines, sentences, [run.start() for run in runs]):
        if places:
            return max(places)
    return max_chars
