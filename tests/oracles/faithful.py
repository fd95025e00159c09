"""Numbers with their units, and copied words, compared the slow and obvious way.

For texts of words with single spaces between, in which no number follows another.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import NamedTuple

#: Spelling → unit.
UNITS = {
    "mg": "mg", "milligrams": "mg", "percent": "%", "%": "%", "days": "day", "day": "day",
    "hours": "hour", "hrs": "hour", "kg": "kg", "GB": "gb", "gigabytes": "gb",
}  # fmt: skip
SPELLED = {"one": 1, "two": 2, "seven": 7, "twelve": 12, "thirteen": 13, "twenty-five": 25,
           "ninety": 90}  # fmt: skip
SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6}


class Number(NamedTuple):
    """A number of a text; small ones in words say something only with a unit."""

    value: Decimal
    unit: str
    spelled: bool
    scaled: bool
    shown: str


def numbers(text: str) -> list[Number]:
    words, found = text.split(" "), []
    for at, word in enumerate(words):
        number, unit = word.removesuffix("%"), "%" if word.endswith("%") else ""
        if number not in SPELLED and not number.replace(",", "").replace(".", "").isdigit():
            continue
        value = Decimal(SPELLED.get(number, 0)) or Decimal(number.replace(",", ""))
        small, after = number in SPELLED and value <= 12, at + 1
        scaled = after < len(words) and words[after] in SCALES
        if scaled:
            value, after, small = value * SCALES[words[after]], after + 1, False
        if after < len(words) and not unit:
            unit = UNITS.get(words[after], "")
        found.append(Number(value, unit, small, scaled, number))
    return found


def unsupported(text: str, source: str) -> tuple[int, int]:
    """Return the numbers that the source does not have, and those that it has with other units."""
    theirs = numbers(source)
    values, units = {one.value for one in theirs}, {one.unit for one in theirs if one.unit}
    pairs = {(one.value, one.unit) for one in theirs}
    # digits as they stand in the source are its own: "200" of "1,200", "5" of "5 hundred"
    pieces = {piece for one in theirs for piece in (one.shown, *re.split(r"[.,]", one.shown))}
    pieces = {piece for piece in pieces if "," not in piece}
    missing = other = 0
    for one in numbers(text):
        if one.spelled and not one.unit:
            continue
        if one.value not in values:
            missing += one.scaled or one.spelled or one.shown not in pieces
        elif one.unit and (one.value, one.unit) not in pairs:
            elsewhere = (one.value, "") in pairs and one.unit in units
            other += not (elsewhere or (one.spelled and one.shown == "one"))
    return missing, other


def copied(text: list[str], source: list[str], words: int) -> int:
    """Return how many words of a text stand in runs of so many that the source has."""
    runs = {tuple(source[at : at + words]) for at in range(len(source) - words + 1)}
    covered = [False] * len(text)
    for at in range(len(text) - words + 1):
        if tuple(text[at : at + words]) in runs:
            covered[at : at + words] = [True] * words
    return sum(covered)
