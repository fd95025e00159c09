"""Repeated lines, paragraphs and runs of words, in dicts; and texts without them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

import xxhash

from tests.oracles import spaces
from tests.oracles.words import category, is_part, is_single

SEED = 0x243F6A8885A308D3
_GAPS = re.compile(rb"(?:[ \t\r]*(?:\n|\Z))*")


class Row(NamedTuple):
    """A row to be compared with those of its scope."""

    id: str
    text: str | None
    scope: object = None


Piece = tuple[object, int, int]  # what is compared, first byte, byte after the last
Span = tuple[int, int]


def rank(row: Row) -> int:
    """Return the number by which rows are ordered: XXH64 of the id."""
    return xxhash.xxh64_intdigest(row.id.encode(), seed=SEED)


def lowered(text: str) -> str:
    """Lower each character to one character."""
    return "".join(char.lower()[0] for char in text)


# ---------------------------------------------------------------- units


def lines(text: str) -> list[Piece]:
    """Return the lines between line feeds, folded."""
    made, at = [], 0
    for line in text.split("\n"):
        size = len(line.encode())
        made.append((_folded(line), at, at + size))
        at += size + 1
    return made


def paragraphs(text: str) -> list[Piece]:
    """Return the runs of lines between blank lines, folded."""
    data, made, start = text.encode(), [], -1
    for folded, first, stop in [*lines(text), ("", len(data) + 1, 0)]:
        if folded and start < 0:
            start = first
        elif not folded and start >= 0:
            piece = data[start : first - 1].decode()
            made.append((_folded(piece), start, first - 1))
            start = -1
        del stop
    return made


def _folded(text: str) -> str:
    return " ".join(spaces.words(lowered(text)))


def words(text: str) -> list[Piece]:
    """Return the lower-cased runs of letters, marks and numbers; single characters in Thai etc."""
    made: list[tuple[str, int, int]] = []
    grows, at = "", 0  # what may follow: "word", "marks" or nothing
    for char in text:
        stop = at + len(char.encode())
        is_mark = category(char)[0] == "M"
        joins = (
            is_mark
            if grows == "marks"
            else grows == "word" and is_part(char) and not is_single(char)
        )
        if joins:
            made[-1] = (made[-1][0] + lowered(char), made[-1][1], stop)
        elif is_part(char) and not is_mark:
            made.append((lowered(char), at, stop))
            grows = "marks" if is_single(char) else "word"
        else:
            grows = ""
        at = stop
    return list(made)


def windows(text: str, length: int) -> list[Piece]:
    """Return all runs of so many words."""
    cut = words(text)
    runs = [cut[at : at + length] for at in range(len(cut) - length + 1)]
    return [(tuple(word for word, _, _ in run), run[0][1], run[-1][2]) for run in runs]


# ---------------------------------------------------------------- repeats


def repeats(rows: list[Row], cut: Callable[[str], list[Piece]]) -> list[list[Span] | None]:
    """Return each row's pieces but for the first place of each in its scope; None for a null."""
    first: dict[object, tuple[int, int, int, int]] = {}
    for number, row in enumerate(rows):
        for piece, start, stop in cut(row.text or ""):
            place = (rank(row), start, stop, number)
            first[row.scope, piece] = min(first.get((row.scope, piece), place), place)
    found: list[list[Span] | None] = []
    for number, row in enumerate(rows):
        spans = []
        for piece, start, stop in cut(row.text or ""):
            _, _, first_stop, home = first[row.scope, piece]
            if home != number or start >= first_stop:
                spans.append((start, stop))
        found.append(None if row.text is None else joined(spans))
    return found


def line_repeats(rows: list[Row], unit: str, min_words: int) -> list[list[Span] | None]:
    """Return the lines or paragraphs of so many words that are repeats."""
    cut = lines if unit == "line" else paragraphs
    return repeats(
        rows, lambda text: [p for p in cut(text) if len(str(p[0]).split(" ")) >= min_words and p[0]]
    )


def substring_repeats(rows: list[Row], length: int) -> list[list[Span] | None]:
    """Return the runs of words that are repeats."""
    return repeats(rows, lambda text: windows(text, length))


def joined(spans: Iterable[Span]) -> list[Span]:
    """Make one span of those that overlap."""
    made: list[Span] = []
    for start, stop in sorted(spans):
        if made and start < made[-1][1]:
            made[-1] = (made[-1][0], max(stop, made[-1][1]))
        else:
            made.append((start, stop))
    return made


# ---------------------------------------------------------------- taking them out


def removed(text: str, spans: list[tuple[str | None, int, int]]) -> str:
    """Return a text without spans of (kind, start, stop)."""
    data, made, at, at_end = text.encode(), b"", 0, False
    for kind, start, stop in sorted(spans, key=lambda span: span[1]):
        start, stop = max(start, at), min(stop, len(data))
        while start < stop and _continues(data, start):
            start += 1
        while start < stop < len(data) and _continues(data, stop):
            stop -= 1
        if start >= stop:
            continue
        made += data[at:start]
        at = stop
        begins, ends = data[:start][-1:] in (b"", b"\n"), data[stop : stop + 1] in (b"", b"\n")
        if kind in ("line", "paragraph") and begins and ends:
            at = min(stop + 1, len(data))
            if re.search(rb"(?:\A|(?:\A|\n)[ \t\r]*\n)\Z", made):
                at += len(_GAPS.match(data[at:])[0])  # type: ignore[index]
            at_end = at == len(data)
        elif re.search(rb"(?:\A|[ \t\r\n])\Z", made) and data[stop : stop + 1] == b" ":
            at = stop + 1
    if at == len(data) and at_end:
        kept = made.rstrip(b"\r\n")
        end = re.match(rb"\r*\n", made[len(kept) :]) if kept and data.endswith(b"\n") else None
        return (kept + (end[0] if end else b"")).decode()
    return (made + data[at:]).decode()


def _continues(data: bytes, at: int) -> bool:
    return data[at] & 0xC0 == 0x80
