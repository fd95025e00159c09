"""robots.txt files: their groups and rules, as RFC 9309 has them.

The parser is our own because a refusal is to be explained: protego and urllib.robotparser answer
yes or no and not which rule said so, urllib's takes the first rule that matches and knows no
wildcards, and both want a Python call for each address.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from curation.annotate.lists import read_bytes
from curation.errors import ResourceError


class Rule(NamedTuple):
    """A line of a group: may paths that match a pattern be fetched?"""

    allows: bool
    pattern: str


def read_robots(path: str) -> Iterator[tuple[str, str]]:
    """Yield hosts and their robots.txt files.

    path  a folder with files named after hosts, ``example.com`` or ``example.com.txt``, or JSON
          lines (perhaps .gz or .zst) such as {"host": "example.com", "robots": "User-agent: …"}
    """
    if os.path.isdir(path):
        for file in sorted(Path(path).iterdir()):
            if file.is_file() and not file.name.startswith("."):
                yield file.name.removesuffix(".txt"), _text(read_bytes(str(file)))
        return
    for number, line in enumerate(_text(read_bytes(path)).split("\n"), start=1):
        if line.strip():
            yield _pair(path, number, line)


def _pair(path: str, number: int, line: str) -> tuple[str, str]:
    try:
        row = json.loads(line)
        host, robots = row["host"], row["robots"]
        if not isinstance(host, str) or not isinstance(robots, str | None):
            raise TypeError("host and robots are strings")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ResourceError(
            f"line {number} of {path} gives no host and its robots.txt.",
            found=line[:100],
            error=f"{type(error).__name__}: {error}",
            remedy='one object a line: {"host": "example.com", "robots": "User-agent: …"}',
        ) from None
    return host, robots or ""


def _text(data: bytes) -> str:
    return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="replace")


def rules_for(robots: str, agents: tuple[str, ...]) -> dict[str, list[Rule]]:
    """Return the rules for each of the agents that a robots.txt file has a group for.

    agents   product tokens such as "CCBot", or "*"; compared without regard to case
    returns  {"*": ...} alone where "*" is in the list and no other agent has a group of its own

    All groups for one agent count as one. Rules with an empty pattern say nothing.
    """
    groups = _groups(robots)
    own = {a: groups[a.lower()] for a in agents if a != "*" and a.lower() in groups}
    return own or ({"*": groups["*"]} if "*" in agents and "*" in groups else {})


def _groups(robots: str) -> dict[str, list[Rule]]:
    """Return the rules for each agent, lower-cased.

    Records of other kinds, such as "Crawl-delay", end no list of agents (RFC 9309, 2.2.4).
    """
    groups: dict[str, list[Rule]] = {}
    current: list[list[Rule]] = []
    in_head = False  # agents named one after the other share what follows
    for line in robots.replace("\r", "\n").split("\n"):
        key, colon, value = line.partition("#")[0].partition(":")
        key, value = key.strip().lower(), value.strip()
        if not colon:
            continue
        if key == "user-agent":
            current = current if in_head else []
            current.append(groups.setdefault(_token(value), []))
            in_head = True
        elif key in ("allow", "disallow"):
            in_head = False
            for group in current if value else ():
                group.append(Rule(key == "allow", value))
    return groups


def _token(value: str) -> str:
    """Return the product token of a user agent: ``ccbot`` for ``CCBot/2.0``."""
    return (value.partition("/")[0].split() or [""])[0].lower()
