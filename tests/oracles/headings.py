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
    if text.startswith("#!"):
        return []
    found = markdown(lines, starts, are_keyed(lines))
    return found if found and not are_comments(text, found) else standing(lines, starts)


def are_keyed(lines: list[str]) -> bool:
    """Most lines at the left edge, those of fences, lists and comments left out, have a key."""
    keys, others, fence = 0, 0, ""
    for line in lines:
        bare = line.rstrip(" \t\r")
        marks = re.match(r"[ \t]{0,3}(`+|~+|)", bare)[1]  # type: ignore[index]
        if fence:
            if bare.strip(" \t") == marks and marks.startswith(fence):
                fence = ""
        elif marks[:3] in ("```", "~~~"):
            fence = marks
        elif bare and bare[0] not in " \t#-":
            keys += keyed(bare)
            others += not keyed(bare)
    return keys >= 2 and keys > others


def keyed(line: str) -> bool:
    return re.match(r"[A-Za-z0-9_.-]{1,59}:(?:[ \t]|$)", line) is not None


def are_comments(text: str, found: list[Heading]) -> bool:
    """Several lines of one # each, all with another under them that is no sentence."""
    data = text.encode()
    return len(found) > 1 and all(
        level == 1
        and data[line:].lstrip(b" \t").startswith(b"#")
        and len(under := data[body:].split(b"\n")[0].rstrip(b" \t\r")) > 1
        and not re.search(rb"[A-Za-z0-9\x80-\xff][.!?]$", under)
        for line, level, _, body in found
    )


def markdown(lines: list[str], starts: list[int], are_keyed: bool) -> list[Heading]:
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
            next_blank = at + 1 < len(lines) and not lines[at + 1].strip(WHITE_SPACE)
            if shown(title) and (not are_keyed or (blank and next_blank)):
                found.append((starts[at], count, shown(title), starts[at + 1]))
                is_heading = True
        elif marks and marks[0] in "=-" and count >= 2 and bare == marks and under >= 0:
            level, title = 1 if marks[0] == "=" else 2, shown(lines[under].lstrip(" \t"))
            if level == 1 or not (are_keyed or keyed(title)):
                found.append((starts[under], level, title, starts[at + 1]))
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
            if number and not title_like(bare[number.end() - 1 :]):
                level = 0
            if level == 1 and not next_blank:
                level = 0
            if not level and capitals(bare):
                level = 1
            if level:
                found.append((starts[at], level, shown(bare), starts[at + 1]))
        blank = not bare
    return found


def title_like(title: str) -> bool:
    words = [word for word in re.split(r"[ \t]+", title) if word]
    long = [word for word in words if len(word.encode()) >= 4]
    large = [word for word in long if re.match("[A-Z\xc0-\U0010ffff]", word)]
    return len(words) <= 3 or 2 * len(large) >= len(long)


def capitals(line: str) -> bool:
    letters = re.findall("[A-Z\xc0-\xde]", line)
    others = re.search("[^\x00-`{-\x7f\xc0-\xde\u2000-\u203f]", line)
    return len(letters) >= 4 and others is None


def may_stand(line: str) -> bool:
    return len(line) <= 120 and line[-1] not in ".,;:!"


def shown(title: str) -> str:
    return title[:120].rstrip(WHITE_SPACE)
