"""Headings as a person would find them: line by line, with strings."""

from __future__ import annotations

import re

from tests.oracles.spaces import WHITE_SPACE

Heading = tuple[int, int, str, int]


def headings(text: str) -> list[Heading]:
    """Return first byte of the line, level, title and first byte of the body of each heading."""
    lines = text.split("\n")
    starts = [0]
    for line in lines:
        starts.append(min(starts[-1] + len(line.encode()) + 1, len(text.encode())))
    if lines and lines[-1] == "":  # nothing after the last line feed
        lines.pop()
    return markdown(lines, starts) or standing(lines, starts)


def markdown(lines: list[str], starts: list[int]) -> list[Heading]:
    found: list[Heading] = []
    fence, under, blank = "", -1, True
    for at, line in enumerate(lines):
        bare = line.strip(" \t\r")
        indented = len(line) - len(line.lstrip(" \t")) > 3
        marks = "" if indented else re.match(r"(.?)\1*", bare, re.S)[0]  # type: ignore[index]
        count, title_line, is_heading = len(marks.encode()), -1, False
        if fence:
            if bare == marks and bare[:1] == fence[0] and count >= len(fence):
                fence = ""
        elif marks[:1] in ("`", "~") and count >= 3:
            fence = marks
        elif marks[:1] == "#" and count <= 6 and re.match(r"[ \t]|$", bare[count:]):
            title = re.sub(r"(^|[ \t]+)#+$", "", bare[count:].strip(" \t"))
            if shown(title):
                found.append((starts[at], count, shown(title), starts[at + 1]))
                is_heading = True
        elif marks and marks[0] in "=-" and count >= 2 and bare == marks and under >= 0:
            level = 1 if marks[0] == "=" else 2
            found.append((starts[under], level, shown(lines[under].lstrip(" \t")), starts[at + 1]))
            is_heading = True
        elif blank and not indented and bare and may_stand(bare):
            title_line = at
        under = title_line
        blank = (not bare or is_heading) and not fence
    return found


def standing(lines: list[str], starts: list[int]) -> list[Heading]:
    found: list[Heading] = []
    blank = True
    for at, line in enumerate(lines):
        bare = line.strip(WHITE_SPACE)
        if blank and bare and may_stand(bare):
            next_blank = at + 1 >= len(lines) or not lines[at + 1].strip(WHITE_SPACE)
            number = re.match(
                r"((?:\d{1,3}\.){0,5}\d{1,3})\.?[ \t]+([A-Z]|[\xc0-\U0010ffff])", bare, re.A
            )
            level = len(number[1].split(".")) if number else 0
            if level == 1 and not next_blank:
                level = 0
            if not level and capitals(bare):
                level = 1
            if level:
                found.append((starts[at], level, shown(bare), starts[at + 1]))
        blank = not bare
    return found


def capitals(line: str) -> bool:
    letters = re.findall("[A-Z\xc0-\xde]", line)
    others = re.search("[^\x00-`{-\x7f\xc0-\xde\u2000-\u203f]", line)
    return len(letters) >= 4 and others is None


def may_stand(line: str) -> bool:
    return len(line) <= 120 and line[-1] not in ".,;:!"


def shown(title: str) -> str:
    return title[:120].rstrip(WHITE_SPACE)
