"""Fields and table rows as sentences: the templates, and nothing about how records are read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

#: splitmix64's constants, for draws one at a time.
_ODD, _MIX, _MASK = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, (1 << 64) - 1
#: A longer value, or one of several sentences or lines, is told as a text.
_SCALAR_CHARS = 100
#: A key of more words is a phrase, and so is a value of as many that begins as a sentence does.
_KEY_WORDS, _CLAUSE_WORDS = 4, 4

#: Fields of a record that has no name, and of one that has. {key} and {value} as they stand.
_FIELD = ("The {key} is {value}.", "The {key} given is {value}.", "Here the {key} is {value}.")
_FIELD_OF = (
    "The {key} of {name} is {value}.",
    "{name} has the {key} {value}.",
    "For {name}, the {key} is {value}.",
)
#: Where the sentence before is of the same record.
_FIELD_OF_IT = (*_FIELD_OF, "Its {key} is {value}.")
_NAME = ("The {key} is {value}.", "This is about the {key} {value}.", "{value} is the {key}.")
#: Several values under a key that is a plural, and under another; each {value} is a list.
_MANY = (
    "The {key} are {value}.",
    "These are the {key}: {value}.",
    "The {key} given are {value}.",
)
_MANY_OF_ONE = (
    "The values of {key} are {value}.",
    "For {key}, the values are {value}.",
    "These are the values of {key}: {value}.",
)
#: Whatever the key is: a question, a phrase, a plural with one value. {value} with its stop.
_COLON = ("{key}: {value}",)
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
    "The {key} of {name} {verb} {value}.",
    "{name} has the {key} {value}.",
    "For {name}, the {key} {verb} {value}.",
)
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth".split()

_ASKING = {"who", "what", "when", "where", "why", "how", "which", "is", "are", "do", "does", "can"}
_WORDS_ONLY = re.compile(r"[^\W\d_]+(?:[ _-][^\W\d_]+)*")
_NO_PLURAL = re.compile(r".?.?.|.*(?:ss|us|is|as|ws|https|series|species)")
#: To the end of such a token a full stop would belong: an address, a path, a name of a file.
_CODE = re.compile(r"\S*(?:[/\\@*$<>{}|=]|\S:\S|\.[^\W\d_])\S*")
#: Markdown's code and bold face: their own marks say where they end.
_MARKED = re.compile(r"`[^`]+`|\*\*[^*]+\*\*")
#: What may stand before a full stop.
_CLOSING = ")%\"'`]}>”’»°"


@dataclass
class Writer:
    """Writes sentences with the variety that a number draws, and counts them.

    seed   of the document
    most   characters after which it gives up: a record that refers to itself has no end
    lines  the sentences, what stands above those of an entry, and blank lines between records
    count  of sentences
    depth  of lists of records in one another
    """

    seed: int
    most: int
    lines: list[str] = field(default_factory=list)
    count: int = 0
    name: str = ""
    chars: int = 0
    depth: int = 0
    is_named_before: bool = False

    def value(self, path: Sequence[str], value: str) -> None:
        """Write one field; its key is the last of the path."""
        key, is_colon = _phrase(path), _is_phrase(path[-1]) or _is_plural(path[-1])
        if not value:
            self._say(_COLON if is_colon else _NONE, key=key, value="not given.")
        elif _is_text(value):
            inner = value.strip("\r\n")
            told = f"\n{inner}" if "\n" in inner else _ended(inner)
            self._say(_COLON if is_colon else _TEXT, key=key, value=told)
        elif is_colon or _is_clause(value):
            self._say(_COLON, key=key, value=_ended(value))
        elif self.name and value != self.name:
            forms = _FIELD_OF_IT if self.is_named_before else _FIELD_OF
            self._say(forms, key=key, name=_inline(self.name), value=_inline(value))
            self.is_named_before = True
        else:
            self._say(_FIELD, key=key, value=_inline(value))

    def named(self, key: str, value: str) -> None:
        """Write the field that a record goes by, and call the record so from here on."""
        self._say(_NAME, key=_plain(key), value=_inline(value))
        self.call(value)
        self.is_named_before = True

    def call(self, name: str) -> None:
        """Call the record so from here on; a record may have no name."""
        self.name, self.is_named_before = name, False

    def values(self, path: Sequence[str], values: Sequence[str]) -> None:
        """Write a list of values as one sentence; one that holds texts, line by line."""
        key = _phrase(path)
        if len(values) < 2 or any("\n" in value for value in values):
            for value in values:
                self.value(path, value)
        elif any(_is_text(value) or not value for value in values):
            told = [f"- {_ended(value)}" for value in values if value]
            self._say(_COLON, key=key, value="\n" + "\n".join(told))
        else:
            shown = [_inline(value) for value in values]
            mark = "; " if any("," in value for value in values) else ", "
            joined = f"{mark.join(shown[:-1])} and {shown[-1]}"
            forms = _MANY if _is_plural(path[-1]) else _MANY_OF_ONE
            self._say(forms, key=key, value=joined)

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
                what, verb = _column(one)
                self._say(("{key} {verb} {value}.",), key=_begun(what), verb=verb,
                          value=_inline(cell))  # fmt: skip
        elif len(header) == 2 and not _is_question(rest[0][0]):
            (one, cell), verb = rest[0], _column(rest[0][0])[1]
            self._say(_PAIR, key=one, name=_inline(name), verb=verb, value=_inline(cell))
        else:
            told = [f"{' '.join(_column(one))} {_inline(cell)}" for one, cell in rest]
            joined = f"{', '.join(told[:-1])} and {told[-1]}" if len(told) > 1 else told[0]
            forms = _ROW[2:] if _is_question(key) else _ROW
            self._say(forms, key=key, name=_inline(name), rest=joined)

    def entry(self, number: int, path: Sequence[str]) -> None:
        """Begin an entry of a list, in a paragraph of its own."""
        self.apart()
        which = f"The {_ORDINALS[number - 1]} entry" if number <= len(_ORDINALS) else (
            f"Entry {number}"
        )  # fmt: skip
        self._put(f"{which} under {_phrase(path)}:" if path else f"{which}:")

    def apart(self) -> None:
        """End a paragraph."""
        self.is_named_before = False
        if self.lines and self.lines[-1]:
            self.lines.append("")

    def _say(self, templates: Sequence[str], **parts: str) -> None:
        self.count += 1
        drawn = (self.seed ^ self.count * _ODD) & _MASK
        drawn = (drawn ^ drawn >> 30) * _MIX & _MASK
        sentence = templates[(drawn >> 33) % len(templates)].format(**parts)
        self._put(sentence.replace(": \n", ":\n", 1))

    def _put(self, line: str) -> None:
        self.chars += len(line)
        if self.chars > self.most:
            raise ValueError("the record has no end")
        self.lines.append(line)


def _is_text(value: str) -> bool:
    inner = value.strip()
    return len(inner) > _SCALAR_CHARS or "\n" in inner or ". " in inner


def _is_clause(value: str) -> bool:
    """Say whether a value begins as a sentence does: Use gcloud to list …"""
    words = value.split(" ")
    return len(words) >= _CLAUSE_WORDS and words[0][:1].isupper() and words[1][:1].islower()


def _inline(value: str) -> str:
    """Return a value as it stands in a sentence: in quotes where its last mark would be in doubt.

    White space at its edges is part of a value, and a full stop must not become part of one.
    """
    is_plain = value[-1].isalnum() or (value[-1] in _CLOSING and len(value) > 1)
    if _MARKED.fullmatch(value):
        return value
    if value == value.strip() and is_plain and not _CODE.fullmatch(value.split()[-1]):
        return value
    quote = next((mark for mark in "\"'`" if mark not in value), '"')
    return f"{quote}{value}{quote}"


def _ended(text: str) -> str:
    """Return a text with the full stop that it needs."""
    if text[-1] in ".!?:" and " " in text.strip() and text == text.strip():
        return text
    return f"{_inline(text)}."


def _phrase(path: Sequence[str]) -> str:
    """Return what a field is called: the key, then where it stands, from the inside out."""
    return " in ".join(_plain(key) for key in reversed(path))


def _plain(key: str) -> str:
    """Return a key without white space around it; a plain word, in small letters: Port → port."""
    key = " ".join(key.split())
    return key.lower() if key[1:].islower() and key[:1].isupper() and key.isalpha() else key


def _is_phrase(key: str) -> bool:
    """Say whether "the" does not go before a key: a question, a name, a part of a sentence."""
    words = key.split()
    return (
        len(words) > _KEY_WORDS
        or _is_question(key)
        or (len(words) > 1 and all(word[0].isupper() for word in words))
    )


def _is_question(key: str) -> bool:
    words = key.split()
    is_asking = len(words) > 1 and words[0].lower() in _ASKING
    return is_asking or key.strip().endswith("?") or (len(key.strip()) < 2)


def _is_plural(key: str) -> bool:
    word = key.strip().lower()
    if not _WORDS_ONLY.fullmatch(word) or not word.endswith("s"):
        return False
    return not _NO_PLURAL.fullmatch(re.split("[ _-]", word)[-1])


def _column(key: str) -> tuple[str, str]:
    """Return how a sentence names a column, and its verb."""
    if _is_question(key):
        return f'"{key}"', "is"
    return f"the {key}", "are" if _is_plural(key) else "is"


def _begun(words: str) -> str:
    return words[:1].upper() + words[1:]
