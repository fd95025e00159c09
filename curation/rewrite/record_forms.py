"""Fields and table rows as sentences: the templates, and nothing about how records are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

#: splitmix64's constants, for draws one at a time.
_ODD, _MIX, _MASK = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, (1 << 64) - 1
#: A longer value, or one of several sentences or lines, is quoted as a text.
_SCALAR_CHARS = 100

#: Fields of a record that has no name, and of one that has. {key} and {value} as they stand.
_FIELD = (
    "The {key} is {value}.",
    "Its {key} is {value}.",
    "As the {key}, {value} is given.",
)
_FIELD_OF = (
    "The {key} of {name} is {value}.",
    "{name} has the {key} {value}.",
    "For {name}, the {key} is {value}.",
    "Its {key} is {value}.",
)
_NAME = ("The {key} is {value}.", "This is about the {key} {value}.", "{value} is the {key}.")
_MANY = (
    "The entries for the {key} are {value}.",
    "Under the {key} stand {value}.",
    "The {key} lists {value}.",
)
_TEXT = ("The {key} reads: {value}", "This is the {key}: {value}", "On the {key}: {value}")
_NONE = ("The {key} is not given.", "There is no {key}.")
#: The first column names the row; {rest} is "the port is 6379 and the protocol is TCP".
_ROW = (
    "For the {key} {name}, {rest}.",
    "Where the {key} is {name}, {rest}.",
    "For {name}, {rest}.",
)
#: A row with one more column.
_PAIR = (
    "The {key} of {name} is {value}.",
    "{name} has the {key} {value}.",
    "For {name}, the {key} is {value}.",
)


@dataclass
class Writer:
    """Writes sentences with the variety that a number draws, and counts them.

    seed   of the document
    most   characters after which it gives up: a record that refers to itself has no end
    """

    seed: int
    most: int
    sentences: list[str] = field(default_factory=list)
    name: str = ""
    chars: int = 0

    def value(self, path: Sequence[str], value: str) -> None:
        """Write one field; its key is the last of the path."""
        key = _phrase(path)
        if not value.strip():
            self._say(_NONE, key=key)
        elif _is_text(value):
            inner = value.strip("\n").rstrip()
            self._say(_TEXT, key=key, value=f"\n{inner}" if "\n" in inner else _ended(inner))
        elif self.name and value != self.name:
            self._say(_FIELD_OF, key=key, name=self.name, value=value)
        else:
            self._say(_FIELD, key=key, value=value)

    def named(self, key: str, value: str) -> None:
        """Write the field that a record goes by, and call the record so from here on."""
        self._say(_NAME, key=_plain(key), value=value)
        self.name = value

    def values(self, path: Sequence[str], values: Sequence[str]) -> None:
        """Write a list of values as one sentence; one that holds texts, one by one."""
        if len(values) < 2 or any(_is_text(value) or not value.strip() for value in values):
            for value in values:
                self.value(path, value)
            return
        mark = "; " if any("," in value for value in values) else ", "
        joined = f"{mark.join(values[:-1])} and {values[-1]}"
        self._say(_MANY, key=_phrase(path), value=joined)

    def row(self, header: Sequence[str], cells: Sequence[str]) -> None:
        """Write one row of a table; the first column names it."""
        pairs = [
            (_plain(key) or f"column {at}", cell)
            for at, (key, cell) in enumerate(zip(header, cells, strict=True), 1)
            if cell
        ]
        if not pairs:
            return
        (key, name), rest = pairs[0], pairs[1:]
        if not cells[0] or not rest:
            for one, cell in pairs:
                self._say(_FIELD[:1], key=one, value=cell)
        elif len(header) == 2:
            self._say(_PAIR, key=rest[0][0], name=name, value=rest[0][1])
        else:
            told = [f"the {one} is {cell}" for one, cell in rest]
            joined = f"{', '.join(told[:-1])} and {told[-1]}" if len(told) > 1 else told[0]
            self._say(_ROW, key=key, name=name, rest=joined)

    def _say(self, templates: Sequence[str], **parts: str) -> None:
        drawn = (self.seed ^ (len(self.sentences) + 1) * _ODD) & _MASK
        drawn = (drawn ^ drawn >> 30) * _MIX & _MASK
        template = templates[(drawn >> 33) % len(templates)]
        sentence = template.format(**parts)
        if sentence.endswith(("..", "!.", "?.")):
            sentence = sentence[:-1]
        self.chars += len(sentence)
        if self.chars > self.most:
            raise ValueError("the record has no end")
        self.sentences.append(sentence)


def _is_text(value: str) -> bool:
    inner = value.strip()
    return len(inner) > _SCALAR_CHARS or "\n" in inner or ". " in inner


def _ended(text: str) -> str:
    return text if text[-1] in ".!?:" else f"{text}."


def _phrase(path: Sequence[str]) -> str:
    """Return what a field is called: the key, then where it stands, from the inside out."""
    return " in ".join(_plain(key) for key in reversed(path))


def _plain(key: str) -> str:
    """Return a key without white space around it; a plain word, in small letters: Port → port."""
    key = " ".join(key.split())
    return key.lower() if key[:1].isupper() and key[1:].islower() and key.isalpha() else key
