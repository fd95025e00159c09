"""Rewrites of real documents made by rule, faithful ones and ones with a planted fault.

A rewrite takes sentences of its document and changes how they are said, never what. A fault is
planted at one place of a faithful rewrite; each rule returns None where a text gives no place for
it. Everything is drawn from the generator that is passed in.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

Rewrite = Callable[[Random, str], str | None]
Fault = Callable[[Random, str, str, "Elsewhere"], str | None]

_CUT = re.compile(r"(?<=[a-z0-9)\"'][.!?])\s+(?=[A-Z\"'(\d-])|\s*\n\s*")
_ENDED = re.compile(r"[.!?][)\"'”]?$")
_WORD = re.compile(r"[^\W\d_]{2,}")
#: A number that stands by itself: no part of an identifier, a version, a path or a date.
NUMBER = re.compile(r"(?<![\w.,/:@#=-])\d+(?:,\d{3})*(?:\.\d+)?(?![\w/@:=-]|[.,]\d)")
_ID = re.compile(r"(?<![\w-])(?=[\w-]*[A-Za-z])(?=[\w-]*\d)[A-Za-z]\w*(?:-\w+)*(?![\w-])")
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]{3,}(?![\w-])")
_FIRST = re.compile(r"(?:^|(?<=[.!?] ))[A-Z][a-z]{3,}(?= [a-z])", re.MULTILINE)
_QUOTED = re.compile(r"(?<!\w)\"(?=\w)([^\"\n]{4,100})(?<=[\w.])\"(?!\w)")
_DROPPED = re.compile(r" \([^()\n]*\)")
_VERB = re.compile(r"(?<=\w )(is|are|can|may|does|do|was|were|will|should|must)(?= [a-z])")
_NEGATED = re.compile(
    r"\b(is|are|can|may|does|do|was|were|will|should|must|has|have) not |\b(can)not |"
    r"\b(is|are|do|does|was|were|ca|wo)n['’]t |(?<=\w )without (?=a|the|any)|\bno (?=[a-z]{4,})"
)

#: Spellings that stand for each other.
SPELLINGS = (
    ("%", " percent"), (" percent", "%"), (" mg", " milligrams"), (" milligrams", " mg"),
    (" ml", " millilitres"), (" hours", " hrs"), (" minutes", " min"), (" days", " day"),
    (" years", " yrs"), (" weeks", " wk"), (" grams", " g"), (" pounds", " lbs"),
    (" inches", " inch"), (" MB", " megabytes"), (" seconds", " sec"), (" cm", " centimetres"),
    (" mm", " millimeters"), (" degrees", "°"), (" micrograms", " mcg"), (" months", " month"),
)  # fmt: skip
_SPELLING = dict(SPELLINGS)
_UNIT = re.compile(
    r"(?<![\w.,/:@#=-])(\d+(?:,\d{3})*(?:\.\d+)?)("
    + "|".join(re.escape(unit) for unit in _SPELLING)
    + r")(?!\w)"
)
_OTHER_UNITS = ["%", " mg", " ml", " hours", " minutes", " days", " years", " weeks", " grams",
                " pounds", " inches", " MB", " seconds", " cm", " months"]  # fmt: skip
_DIGITS = dict(enumerate("two three four five six seven eight nine ten eleven twelve".split(), 2))

#: What models say for themselves.
SPOKEN = (
    "As an AI language model, I cannot give medical advice.",
    "I'm sorry, but I can't assist with that request.",
    "I cannot provide instructions for this topic.",
    "I hope this helps! Let me know if you need anything else.",
    "As a large language model, I do not have access to this information.",
    "Sure! Here is a summary of the passage.",
    "I'm unable to help with that.",
    "Please note that I am an AI and my answer may be incomplete.",
    "Unfortunately, I can't fulfil this request.",
    "Based on the provided text, here are three questions.",
    "I don't have enough information to answer this question.",
    "Note: this rewrite keeps all the details of the original text.",
    "Feel free to ask if you have any further questions.",
    "I won't be able to continue with this content.",
)


class Elsewhere:
    """What other documents of the domain hold, to be planted.

    foreign  paragraphs in other languages
    """

    def __init__(self, texts: list[str], foreign: list[str]) -> None:
        lines = [line for text in texts for line in sentences(text)]
        self.names = sorted({name for line in lines for name in _NAME.findall(line)})
        self.prose = [line for line in lines if _ENDED.search(line) and len(line.split()) >= 8]
        self.words = sorted({word for line in self.prose for word in _WORD.findall(line)})
        self.foreign = foreign


def sentences(text: str) -> list[str]:
    """Return sentences and lines of four words or more, white space made single."""
    pieces = (" ".join(piece.split()) for piece in _CUT.split(text))
    return [piece for piece in pieces if len(_WORD.findall(piece)) >= 4]


def together(pieces: list[str]) -> str:
    """Join sentences by spaces, and what ends in no full stop by line feeds."""
    made = ""
    for piece in pieces:
        made += piece + (" " if _ENDED.search(piece) else "\n")
    return made.strip()


def _some(rng: Random, text: str, most: int = 12) -> list[str]:
    found = sentences(text)
    return rng.sample(found, min(most, (len(found) + 1) // 2)) if len(found) > 1 else []


# ---------------------------------------------------------------- faithful rewrites


def selected(rng: Random, text: str) -> str | None:
    """Take half of the sentences, in another order."""
    return together(_some(rng, text)) or None


def asked(rng: Random, text: str) -> str | None:
    """Ask after sentences and answer with them; every other time the passage stands before."""
    forms = (
        "Question: What does the text say about {}?\nAnswer: {}",
        "**Question:** What is known of {}?\n\n**Answer:** {}",
        "Q: Please explain {} in the context of this document.\nA: {}",
        "Which statement on {} is true? {}",
    )
    tasks = []
    for line in _some(rng, text, 3):
        subject = max(_WORD.findall(line), key=len).lower()
        tasks.append(rng.choice(forms).format(subject, line))
    before = text + "\n\n" if rng.random() < 0.5 else ""
    return before + "\n\n".join(tasks) if tasks else None


def shortened(rng: Random, text: str) -> str | None:
    """Drop what stands in brackets, and the clauses after a sentence's last comma."""
    made = []
    for line in _some(rng, text):
        short = _DROPPED.sub("", line)
        head, comma, _ = short.rpartition(", ")
        if comma and _ENDED.search(short) and len(_WORD.findall(head)) >= 6:
            short = head + "."
        if short != line:
            made.append(short)
    return together(made) or None


def respelled(rng: Random, text: str) -> str | None:
    """Write numbers and units in another way; the meaning is the same."""

    def unit(found: re.Match[str]) -> str:
        value = found[1]
        if value.isdigit() and int(value) in _DIGITS and "%" not in found[2]:
            value = _DIGITS[int(value)]
            return value + found[2]
        return value + _SPELLING[found[2]]

    def thousands(found: re.Match[str]) -> str:
        whole, dot, rest = found[0].partition(".")
        if "," in whole:
            return whole.replace(",", "") + dot + rest
        plain = len(whole) < 5 or whole.startswith("0")
        return found[0] if plain else f"{int(whole):,}" + dot + rest

    made = []
    for line in sentences(text):
        other = NUMBER.sub(thousands, _UNIT.sub(unit, line))
        if other != line:
            made.append(other)
    return together(made[:12]) or None


def linked(rng: Random, text: str) -> str | None:
    """Make one sentence of two, the second's first letter small where it is no name."""
    lines, words = _some(rng, text), set(re.findall(r"(?<=[a-z,] )[a-z]+", text))
    prose = [line for line in lines if _ENDED.search(line)]
    made = []
    for one, two in zip(prose[::2], prose[1::2], strict=False):
        first = two.split(" ", 1)[0]
        if first.lower() in words and first[1:].islower():
            two = two[0].lower() + two[1:]
        made.append(one.rstrip(".") + rng.choice((", and ", "; ", ", while ")) + two)
    return together(made) or None


def recased(rng: Random, text: str) -> str | None:
    """Make sentences of clauses, with a capital at the beginning."""
    made = []
    for line in _some(rng, text):
        clause = line.split(", ", 1)[-1]
        if clause != line and _ENDED.search(line) and len(_WORD.findall(clause)) >= 6:
            made.append(clause[0].upper() + clause[1:])
    return together(made) or None


REWRITES: dict[str, Rewrite] = {
    "selected, reordered": selected,
    "asked and answered": asked,
    "clauses dropped": shortened,
    "numbers respelled": respelled,
    "sentences joined": linked,
    "clauses made sentences": recased,
}


# ---------------------------------------------------------------- planted faults


def _replaced(rng: Random, pattern: re.Pattern[str], text: str, by: Callable[..., str]) -> str:
    places = list(pattern.finditer(text))
    if not places:
        return text
    place = rng.choice(places)
    return text[: place.start()] + by(place) + text[place.end() :]


def _changed(text: str, made: str) -> str | None:
    return made if made != text else None


def _values(text: str) -> set[float]:
    return {float(one.replace(",", "")) for one in re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?", text)}


def number(rng: Random, text: str, source: str, _: Elsewhere) -> str | None:
    """Change a number to one of as many digits that the source does not hold."""
    held = _values(source)

    def other(place: re.Match[str]) -> str:
        for _ in range(50):
            made = "".join(rng.choice("123456789") if c.isdigit() else c for c in place[0])
            if float(made.replace(",", "")) not in held:
                return made
        return place[0]

    return _changed(text, _replaced(rng, NUMBER, text, other))


def identifier(rng: Random, text: str, source: str, _: Elsewhere) -> str | None:
    """Change a digit of an identifier."""

    def other(place: re.Match[str]) -> str:
        at = rng.choice([n for n, c in enumerate(place[0]) if c.isdigit()])
        digit = str((int(place[0][at]) + rng.randint(1, 9)) % 10)
        made = place[0][:at] + digit + place[0][at + 1 :]
        return place[0] if made.lower() in source.lower() else made

    return _changed(text, _replaced(rng, _ID, text, other))


def swapped(rng: Random, text: str, source: str, _: Elsewhere) -> str | None:
    """Put another number of the source in a number's place."""
    held = [one[0] for one in NUMBER.finditer(source)]

    def other(place: re.Match[str]) -> str:
        return rng.choice([one for one in held if one != place[0]] or [place[0]])

    return _changed(text, _replaced(rng, NUMBER, text, other))


def unit(rng: Random, text: str, source: str, _: Elsewhere) -> str | None:
    """Give a number another unit, with which the source does not hold it."""

    def other(place: re.Match[str]) -> str:
        units = [u for u in _OTHER_UNITS if u[:4] != place[2][:4]]
        units = [u for u in units if u not in ("%", " percent") or "%" not in place[2]]
        chosen = rng.choice(units)
        return place[0] if place[1] + chosen in source else place[1] + chosen

    return _changed(text, _replaced(rng, _UNIT, text, other))


def _renamed(rng: Random, text: str, source: str, names: list[str], at: re.Pattern[str]) -> str:
    held = source.lower()

    def other(_: re.Match[str]) -> str:
        while (name := rng.choice(names)).lower() in held:
            pass
        return name

    return _replaced(rng, at, text, other)


def name(rng: Random, text: str, source: str, others: Elsewhere) -> str | None:
    """Put a name of another document in the place of one within a sentence."""
    return _changed(text, _renamed(rng, text, source, others.names, _NAME))


def first_name(rng: Random, text: str, source: str, others: Elsewhere) -> str | None:
    """Put a name of another document in the place of a sentence's first word."""
    return _changed(text, _renamed(rng, text, source, others.names, _FIRST))


def negated(rng: Random, text: str, source: str, _: Elsewhere) -> str | None:
    """Put "not" behind a verb."""

    def other(place: re.Match[str]) -> str:
        follows = place.string[place.end() :].lstrip()
        return place[0] if follows.startswith(("not ", "no ")) else place[0] + " not"

    return _changed(text, _replaced(rng, _VERB, text, other))


def affirmed(rng: Random, text: str, source: str, _: Elsewhere) -> str | None:
    """Take a negation out."""

    def other(place: re.Match[str]) -> str:
        verb = place[1] or place[2] or place[3]
        if verb is None:
            return "with " if place[0].startswith("without") else ""
        return {"ca": "can", "wo": "will"}.get(verb, verb) + " "

    return _changed(text, _replaced(rng, _NEGATED, text, other))


def quotation(rng: Random, text: str, source: str, others: Elsewhere) -> str | None:
    """Put another word in a quotation."""
    held = source.lower()

    def other(place: re.Match[str]) -> str:
        words = list(_WORD.finditer(place[1]))
        if not words:
            return place[0]
        while (word := rng.choice(others.words)).lower() in held:
            pass
        at = rng.choice(words)
        return f'"{place[1][: at.start()]}{word.lower()}{place[1][at.end() :]}"'

    return _changed(text, _replaced(rng, _QUOTED, text, other))


def _inserted(rng: Random, text: str, piece: str) -> str:
    """Put a sentence at the beginning, at the end, or after a full stop."""
    places = [0, len(text), *(found.end() for found in re.finditer(r"(?<=[a-z])[.] ", text))]
    at = rng.choice(places)
    before = text[:at] + ("" if at == 0 or text[at - 1].isspace() else "\n")
    return before + piece + ("\n" if at == 0 else " ") + text[at:]


def spoken(rng: Random, text: str, source: str, _: Elsewhere) -> str | None:
    """Let a model speak for itself."""
    return _inserted(rng, text, rng.choice(SPOKEN))


def foreign(rng: Random, text: str, source: str, others: Elsewhere) -> str | None:
    """Insert a paragraph in another language."""
    return _inserted(rng, text, rng.choice(others.foreign))


def stray(rng: Random, text: str, source: str, others: Elsewhere) -> str | None:
    """Insert a sentence of another document of the domain."""
    piece = rng.choice(others.prose)
    return None if piece in source else _inserted(rng, text, piece)


FAULTS: dict[str, Fault] = {
    "number changed": number,
    "identifier changed": identifier,
    "unit changed": unit,
    "name of another document": name,
    "negation inserted": negated,
    "negation removed": affirmed,
    "quotation altered": quotation,
    "a model speaks": spoken,
    "paragraph in another language": foreign,
    "sentence of another document": stray,
    "name at a sentence's beginning": first_name,
    "number of another place": swapped,
}
