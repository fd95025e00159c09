"""Refining programs: what a model may do to a text, read by a parser and carried out by rule.

    remove_lines(start=0, end=3)                          lines by their numbers, both included
    remove_lines(all=True), remove_all(), drop()          every line
    normalize(source_str="a, b", target_str="(c)")        everywhere; without a target it deletes
    keep_all(), keep_chunk(), keep_doc(), untouch_doc()   nothing

One operation a line. A program is text from a model and is never evaluated: what the grammar does
not know is an error that is counted, and too many errors leave the text as it was.

Operations, the order of execution and the rules of acceptance are ProX's (Zhou et al. 2024,
arXiv:2409.17115). Where the released executor trips, this one does not:

* a comma, an equals sign or a closing parenthesis inside a string belongs to the string;
* an operation that breaks off is not carried out with the half of it that is there;
* a line that is no operation is an error too, and a program indented by a space is one;
* text without words is dropped, where the released one divides by zero;
* ``end=999999999`` costs nothing, and no normalisation makes a text more than GROWTH as long.

A string may hold quotes as they are (``"say "hi""``), since models write them so: it ends at the
quote after which the next argument or the end of the operation stands. In a string \\" \\' \\\\ \\n
\\r and \\t are escapes; where the text holds the source only as it is written, backslashes and all
(LaTeX), both strings are taken as they are written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["kept", "refined", "dropped", "refused"]

#: A program with so many errors is not followed (``error_op`` of the released executor).
MAX_ERRORS = 2
#: A text of which no more than this share of its words is left is dropped (1 - ``threshold_2``).
LEAST_WORD_FRAC = 0.05
#: A text of which no more than so many words are left is dropped, whatever the errors.
LEAST_WORDS = 10
#: Times the length of the text, or of SHORT_CHARS if that is more, that normalising may reach.
GROWTH, SHORT_CHARS = 2, 1000


@dataclass(frozen=True)
class RemoveLines:
    """Take out lines; numbers from 0, both included."""

    start: int
    end: int


@dataclass(frozen=True)
class RemoveAll:
    """Take out every line."""


@dataclass(frozen=True)
class Normalize:
    """Put one string in the place of another, everywhere.

    Each stands as it was written and with its escapes resolved.
    """

    written: tuple[str, str]
    resolved: tuple[str, str]


Operation = RemoveLines | RemoveAll | Normalize


@dataclass(frozen=True)
class Program:
    """Operations in order, and how many lines of the reply were none."""

    operations: tuple[Operation, ...] = ()
    error_count: int = 0


@dataclass(frozen=True)
class Refined:
    """What a program made of a text.

    text                what is to be kept; the original where the verdict is dropped or refused
    verdict             kept (nothing changed), refined, dropped, refused (too many errors)
    removed_line_count  lines that the program takes out, whatever the verdict
    normalize_count     places at which it replaces a string, whatever the verdict
    """

    text: str
    verdict: Verdict
    error_count: int = 0
    removed_line_count: int = 0
    normalize_count: int = 0


# ---------------------------------------------------------------- reading


def parse(reply: str, *, is_cut: bool = False) -> Program:
    """Read a program from what a model said.

    is_cut  the reply ends at the token limit: its last line is no whole operation, and an error
    """
    lines = reply.split("\n")
    errors = int(is_cut)
    operations: list[Operation] = []
    for line in lines[: len(lines) - is_cut]:
        stripped = line.strip()
        if not stripped or stripped.startswith("```"):
            continue
        try:
            operations += _operation(stripped)
        except ValueError:
            errors += 1
    return Program(tuple(operations), errors)


def joined(programs: Iterable[Program]) -> Program:
    """Return the programs of a document's chunks as one."""
    parts = list(programs)
    operations = [operation for part in parts for operation in part.operations]
    return Program(tuple(operations), sum(part.error_count for part in parts))


def parse_document(reply: str, *, is_cut: bool = False) -> tuple[bool, int]:
    """Read whether a whole document is to be dropped; return that, and the count of errors.

    A line of its own has to say so. The released code drops wherever "drop" occurs, in "do not
    drop" too; a reply that says both or neither is an error and drops nothing.
    """
    lines = reply.split("\n")
    said = [_DOCUMENT_LINE.fullmatch(line.strip()) for line in lines[: len(lines) - is_cut]]
    verdicts = {match[1].lower() == "drop" for match in said if match}
    if len(verdicts) != 1:
        return False, 1
    return verdicts.pop(), 0


_DOCUMENT_LINE = re.compile(
    r"[`*\"']*(drop|keep|untouch)(?:_(?:doc|document|all))?(?:\(\s*\))?[`*\"']*[.;]?", re.IGNORECASE
)
_CALL = re.compile(r"([A-Za-z_]\w*)\s*\(\s*")
_NAME = re.compile(r"([A-Za-z_]\w*)\s*=\s*")
_PLAIN = re.compile(r"([+-]?\d+|True|False|true|false)\s*")
_COMMA = re.compile(r",\s*")
#: White space is taken whole (*+) here: tried in every length, it costs its length squared.
_END = re.compile(r"\)\s*+(?:;\s*+)?(?:#.*)?$")
#: What stands behind the quote that ends a string: the next argument, or the operation's end.
_AFTER_STRING = re.compile(r"\s*+(?:,\s*+\w++\s*+=\s*+[\"']|(?:,\s*+)?\)\s*+(?:;\s*+)?(?:#.*)?$)")
_ESCAPE = re.compile(r"\\([\"'\\nrt])")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}

_KEEPING = {"keep", "keep_all", "keep_chunk", "keep_doc", "untouch", "untouch_doc"}
_REMOVING_ALL = {"remove_all", "drop", "drop_chunk", "drop_doc", "drop_all"}

#: A value as it was written, quotes off, and whether it was quoted.
_Value = tuple[str, bool]


def _operation(line: str) -> list[Operation]:
    """Return the operation of a line, none for one that keeps; ValueError if it is not one."""
    name, given = _call(line)
    if name == "remove_lines":
        return [_remove_lines(given)]
    if name == "normalize":
        return [_normalize(given)]
    if given or name not in _KEEPING | _REMOVING_ALL:
        raise ValueError(f"no operation: {line}")
    return [RemoveAll()] if name in _REMOVING_ALL else []


def _call(line: str) -> tuple[str, dict[str, _Value]]:
    """Return the name of a call and its arguments by name."""
    head = _CALL.match(line)
    if head is None:
        raise ValueError(f"no call: {line}")
    at, given = head.end(), dict[str, _Value]()
    while not _END.match(line, at):
        name = _NAME.match(line, at)
        if name is None or name[1] in given:
            raise ValueError(f"no argument at {at}: {line}")
        value, at = _value(line, name.end())
        given[name[1]] = value
        comma = _COMMA.match(line, at)
        if comma is None and not _END.match(line, at):
            raise ValueError(f"the operation breaks off at {at}: {line}")
        at = comma.end() if comma else at
    return head[1], given


def _value(line: str, at: int) -> tuple[_Value, int]:
    """Return a value, and the place after it and the white space behind it."""
    quote = line[at : at + 1]
    if quote not in ('"', "'") or not quote:
        plain = _PLAIN.match(line, at)
        if plain is None:
            raise ValueError(f"no value at {at}: {line}")
        return (plain[1], False), plain.end()
    stop = at + 1
    while stop < len(line):
        if line[stop] == quote and _AFTER_STRING.match(line, stop + 1):
            after = stop + 1
            while line[after].isspace():
                after += 1
            return (line[at + 1 : stop], True), after
        stop += 2 if line[stop] == "\\" else 1
    raise ValueError(f"a string without an end: {line}")


def _remove_lines(given: dict[str, _Value]) -> Operation:
    if set(given) == {"all"} and given["all"] in (("True", False), ("true", False)):
        return RemoveAll()
    if set(given) != {"start", "end"} or any(quoted for _, quoted in given.values()):
        raise ValueError("remove_lines takes start and end, or all=True")
    return RemoveLines(int(given["start"][0]), int(given["end"][0]))


def _normalize(given: dict[str, _Value]) -> Operation:
    strings = {"source_str": ("", False), "target_str": ("", True), **given}
    if len(strings) != 2 or not all(quoted for _, quoted in strings.values()):
        raise ValueError("normalize takes source_str and target_str")
    written = strings["source_str"][0], strings["target_str"][0]
    return Normalize(written, (_resolved(written[0]), _resolved(written[1])))


def _resolved(written: str) -> str:
    return _ESCAPE.sub(lambda escape: _ESCAPED.get(escape[1], escape[1]), written)


# ---------------------------------------------------------------- carrying out


def execute(text: str, program: Program) -> Refined:
    """Carry out a program on a text: normalisations in order, then all removals of lines.

    Lines are what stands between line feeds, a carriage return before one included.
    """
    changed, replaced, refused = _normalized(text, program.operations)
    lines = changed.split("\n")
    gone, beyond = _removed(program.operations, len(lines))
    made = "\n".join(line for at, line in enumerate(lines) if at not in gone) if gone else changed
    errors = program.error_count + refused + beyond
    verdict = _verdict(text, made, errors)
    kept = made if verdict == "refined" else text
    return Refined(kept, verdict, errors, len(gone), replaced)


def _verdict(text: str, made: str, errors: int) -> Verdict:
    before, after = len(text.split()), len(made.split())
    if after <= LEAST_WORDS or (after / before <= LEAST_WORD_FRAC and errors < MAX_ERRORS):
        return "dropped"
    if errors >= MAX_ERRORS:
        return "refused"
    return "kept" if made == text else "refined"


def _normalized(text: str, operations: Sequence[Operation]) -> tuple[str, int, int]:
    """Return the text normalised, places replaced, and operations not done for what they grow."""
    most = GROWTH * max(len(text), SHORT_CHARS)
    replaced = refused = 0
    for operation in operations:
        if not isinstance(operation, Normalize):
            continue
        source, target = operation.resolved
        if source not in text:
            source, target = operation.written
        count = text.count(source) if source not in ("", " ") else 0
        if len(text) + count * (len(target) - len(source)) > most:
            refused += 1
        elif count:
            text, replaced = text.replace(source, target), replaced + count
    return text, replaced, refused


def _removed(operations: Sequence[Operation], line_count: int) -> tuple[set[int], int]:
    """Return the lines to remove, and how many intervals, once merged, end beyond the text."""
    ranges = [(o.start, o.end) for o in operations if isinstance(o, RemoveLines)]
    merged = _merged(ranges)
    beyond = sum(max(start, end) >= line_count for start, end in merged)
    if any(isinstance(operation, RemoveAll) for operation in operations):
        return set(range(line_count)), beyond
    gone: set[int] = set()
    for start, end in merged:
        gone.update(range(max(start, 0), min(end, line_count - 1) + 1))
    return gone, beyond


def _merged(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join ranges that overlap or touch."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges, key=lambda one: one[0]):
        if merged and start <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, end))
    return merged
