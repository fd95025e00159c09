"""Documents cut into title and sentences of prose, for probes that are made from them.

What is no prose (code, tables, lists of links, headings) is left out, and ends a run of sentences.
The rules are those of languages in Latin script with spaces, capitals and full stops.

Trade-off: documents are looped over in Python. A probe is made once, from some thousands of
held-out documents, and ``probe.ProbeSettings.most_documents`` bounds them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

#: A sentence of prose has at least so many words, and at most so many characters.
LEAST_WORDS = 6
MOST_CHARS = 500
#: The least share of letters and spaces among its characters.
LEAST_LETTERS_FRAC = 0.85
#: A first line of more characters is no title.
TITLE_CHARS = 100

_FENCE = re.compile(r"^[ \t]*(```|~~~).*?(?:^[ \t]*\1|\Z)", re.M | re.S)
#: Where a line of a paragraph starts anew: lists, headings, quotes, tables, keys, indented lists.
_STARTS = re.compile(r"\s*(?:[-*+•#|]|\d+[.)]\s|[\w-]+:(?:\s|$))")
_INNER_LIST = re.compile(r"\s{2,}[-*•]\s+")
_QUOTED = re.compile(r"^[ \t]*>+ ?", re.M)
_MARK = re.compile(r"\s*(?:[-*+•]\s*|\d+[.)]\s+|[a-z][\w-]*:\s+)*")
_CITATION = r"\s?\((?:Citation|Source|Reference)s?:[^()]*\)"
_LINK = re.compile(r"!?\[([^\]\[]*)\]\([^()\s]*\)")
_MARKUP = re.compile(rf"{_CITATION}|</?\w+/?>|\*\*|__|`")
_END = re.compile(rf"[.!?][\"'”’)\]]*(?:{_CITATION})*\s+(?=[\"'“‘(\[*]*[^\W_])")
#: A full stop after these ends no sentence.
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|cf|al|approx|Dr|Mr|Mrs|Ms|Prof|St|Fig|Eq|No|Inc|Ltd|Jr|Sr|U\.S)"
    r"|\b[^\W\d_])\.$"
)
_FOREIGN = re.compile(r"[\\{}<>|=_@#~^\[\]]|://|www\.|\.\.\.|…|\s-\s")
_SPACES = re.compile(r"\s+")
WORD = re.compile(r"\w+(?:[-.'’]\w+)*")
_TITLE_MARK = re.compile(r"^\s*(?:#+\s*|title:\s*)|\s*#*\s*$", re.I)


class Sentence(NamedTuple):
    """A sentence.

    text  without markup, white space as one space
    raw   as it stands in its document
    lead  what parts it from the sentence before it: a space, or a line break before a paragraph
    """

    text: str
    raw: str
    lead: str


@dataclass(frozen=True)
class Document:
    """A held-out document.

    title  "" where it has none
    runs   sentences of prose with nothing between them but paragraph ends
    """

    id: str
    source: str
    title: str
    text: str
    runs: tuple[tuple[Sentence, ...], ...]


def read_document(name: str, source: str, title: str, text: str) -> Document:
    """Return a document cut up; where no title is given its first heading or line is taken."""
    body = text
    if not title.strip():
        title, body = _first_line(text)
    return Document(name, source, title.strip(), text, tuple(_runs(_FENCE.sub("\n#\n", body))))


def joined(sentences: tuple[Sentence, ...]) -> str:
    """Return sentences as one text."""
    return "".join(s.lead + s.text for s in sentences).strip()


def joined_raw(sentences: tuple[Sentence, ...]) -> str:
    """Return sentences as one text with its markup, as a corpus would hold it."""
    return "".join(s.lead + s.raw for s in sentences).strip()


def _first_line(text: str) -> tuple[str, str]:
    """Return the title that a text begins with, or "", and the text after it."""
    line, _, rest = text.strip().partition("\n")
    title = _TITLE_MARK.sub("", line)
    if len(title) > TITLE_CHARS or title.endswith((".", ":", ";", ",")) or not rest:
        return "", text
    return title, rest


def _runs(text: str) -> Iterator[tuple[Sentence, ...]]:
    run: list[Sentence] = []
    for block in _blocks(_QUOTED.sub("", text)):
        lead = "\n"
        for raw in _sentences(block):
            clean = _clean(raw)
            if is_prose(clean):
                run.append(Sentence(clean, raw.strip(), lead))
                lead = " "
            elif run:
                yield tuple(run)
                run, lead = [], "\n"
    if run:
        yield tuple(run)


def _blocks(text: str) -> Iterator[str]:
    """Yield paragraphs, items of lists and lines that stand by themselves, headings too."""
    block: list[str] = []
    for line in text.split("\n"):
        if block and (not line.strip() or _STARTS.match(line) or block[-1].startswith("#")):
            yield from _INNER_LIST.split("\n".join(block))
            block = []
        if line.strip():
            block.append(line)
    if block:
        yield from _INNER_LIST.split("\n".join(block))


def _sentences(block: str) -> Iterator[str]:
    block = block if block.lstrip().startswith("#") else block[_mark_end(block) :]
    start = 0
    for found in _END.finditer(block):
        if not _ABBREVIATION.search(block, start, found.start() + 1):
            yield block[start : found.end()]
            start = found.end()
    if block[start:].strip():
        yield block[start:]


def _mark_end(block: str) -> int:
    found = _MARK.match(block)
    return found.end() if found else 0


def _clean(raw: str) -> str:
    return _SPACES.sub(" ", _MARKUP.sub("", _LINK.sub(r"\1", raw))).strip()


def is_prose(sentence: str) -> bool:
    """Return whether a sentence without markup is one of running text."""
    if not sentence or len(sentence) > MOST_CHARS or _FOREIGN.search(sentence):
        return False
    first = sentence.lstrip("\"'“‘(")
    whole = sentence.rstrip("\"'”’)").endswith((".", "!", "?")) and first[:1].isupper()
    letters = sum(c.isalpha() or c == " " for c in sentence)
    words = len(WORD.findall(sentence))
    return whole and words >= LEAST_WORDS and letters >= LEAST_LETTERS_FRAC * len(sentence)
