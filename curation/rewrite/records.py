"""Records in texts — fields, tables, JSON, YAML — told as sentences.

A model learns little from a table of which each cell is far from its header. What is read as a
record becomes sentences with all of its names and values as they are; everything else stays.

Trade-off: documents are looped over in Python. What parses a record is Python's own json and csv
and PyYAML, whose nodes are read as they are written: to them ``no`` is a word, 1.10 is 1.10 and a
key that stands twice stands twice.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from curation.columns import columns
from curation.errors import RecipeError
from curation.rewrite.lineage import LINEAGE, lineage
from curation.rewrite.made import new_rows
from curation.rewrite.record_forms import Writer
from curation.stage import Rewriter, attempt, pulse

#: Fields that a record goes by, in the order in which they are looked for.
_NAMES = ("title", "name", "Title", "Name", "hostname", "id")
#: A run of fewer fields, or rows beside a header without a rule under it, is no record.
_LEAST_FIELDS, _LEAST_ROWS = 2, 2
_KEY_CHARS, _VALUE_CHARS = 40, 120
#: Sentences take room: a text of which they would make more than this is left as it is.
_GROWTH, _SHORT_CHARS = 8, 1000
_DEEPEST = 50

#: At any depth, since those of list items are indented. A line like ```this``` opens nothing.
_FENCE = re.compile(r"\s*(?:(?:[-*+•]|\d{1,9}[.)])\s+)*(`{3,}(?=[^`]*$)|~{3,})")
_RULE = re.compile(r"\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*")
_CELL_END = re.compile(r"(?<!\\)\|")
_KEY = rf"[^\W_](?:[\w ./()&'-]{{0,{_KEY_CHARS - 2}}}[\w)])?"
_FIELD = re.compile(
    rf"\s*(?:[-*+•]\s+)?(?P<b>\*\*|__)?(?P<key>{_KEY})(?(b)(?:(?P=b)\s*:|:(?P=b)))(?(b)|:)"
    rf"[ \t]+(?P<value>\S.{{0,{_VALUE_CHARS - 1}}}?)\s*"
)
_YAML_START = re.compile(
    r"(?:---[^\n]*\n)?(?:[ \t]*(?:#[^\n]*)?\r?\n)*[\"']?\w[\w .-]{1,60}[\"']?:(?:\s|$)"
)
#: A header of such a cell is prose.
_PROSE = re.compile(r"[.!?;:]$|^[\d.,%$ -]*$")

#: A record as it was read: a string, a list, or keys with values.
Value = Any


@dataclass(frozen=True, kw_only=True)
class RecordsToText(Rewriter):
    """Tell fields, tables, JSON and YAML as sentences: "The port of Redis is 6379."

    A record is a document that is JSON, JSON lines or YAML as a whole; in other documents, two or
    more lines "Key: value" after one another, a Markdown table, or comma- or tab-separated lines
    under a header. Code fences and all other lines stay as they are, and so does what cannot be
    read. Names, numbers and units are kept as they are written; comments of YAML are left out. A
    value with white space at its edges, and one to which a full stop would seem to belong (a URL,
    a path, ".."), stands in quotes. Records of a list are paragraphs.
    Each document makes one row; null and blank text makes none.

    seed  other seeds draw other wordings; each is drawn by the document's id

    reads    id            large_string  distinct
             text          large_string  any length; null allowed
    writes   text          large_string
             rewriter      large_string
             prompt_id     large_string  the set of templates
             model_id      large_string  null
             rewrite_seed  int64
             record_count  uint32        fields, lists and rows told; 0 where the text is unchanged
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("id", "text")
    writes: ClassVar[pa.Schema] = columns("text", *LINEAGE, "record_count")

    seed: int = 0

    def check(self) -> None:
        if self.seed < 0:
            raise RecipeError("RecordsToText takes no seed below 0.", found=f"seed={self.seed}")

    def rewrite(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from curation.engine.best import id_hash

        parents: list[int] = []
        told: list[tuple[str, int]] = []
        failed: dict[int, str] = {}
        seeds = id_hash(batch["id"], self.seed).tolist()
        for row, text in enumerate(batch["text"].to_pylist()):
            pulse()
            if text is None or not text.strip():
                continue
            made, error = attempt(tell, text, seeds[row])
            if error is not None:
                failed[row] = f"{type(error).__name__}: {error}"
            else:
                parents.append(row)
                told.append(made)
        rows = len(parents)
        made_columns = {
            "text": pa.array([text for text, _ in told], pa.large_string()),
            **lineage(self, [f"records@{self.version}"] * rows, None, [self.seed] * rows),
            "record_count": pa.array(np.array([count for _, count in told], dtype=np.uint32)),
        }
        return new_rows(self.writes, parents, made_columns, failed)


def tell(text: str, seed: int) -> tuple[str, int]:
    """Return a text with its records told as sentences, and how many fields, lists and rows."""
    writer = Writer(seed, _GROWTH * max(len(text), _SHORT_CHARS))
    try:
        whole = _whole(text)
        if whole is not None:
            _tell_records(writer, (), whole)
            return "\n".join(writer.lines).removesuffix("\n"), writer.count
        lines = [*_told_lines(text.split("\n"), writer)]
    except ValueError:  # a record without end
        return text, 0
    return ("\n".join(lines), writer.count) if writer.count else (text, 0)


# ---------------------------------------------------------------- documents that are one record


def _whole(text: str) -> list[Value] | None:
    """Return the records of a document that is JSON, JSON lines or YAML; None if it is none."""
    begins = text.lstrip()[:1]
    if begins and begins in "{[":
        return _json(text)
    return _yaml(text) if _YAML_START.match(text) else None


def _json(text: str) -> list[Value] | None:
    for parts in ([text], [line for line in text.split("\n") if line.strip()]):
        try:
            found = [json.loads(part, **_AS_WRITTEN) for part in parts]
        except (ValueError, RecursionError):
            continue
        if all(isinstance(one, (list, _Pairs)) and one for one in found):
            return found
    return None


class _Pairs(list[tuple[str, Value]]):
    """The fields of a record in order; a key may stand twice."""


#: Numbers and words keep their spelling; an object keeps the order and the number of its keys.
_AS_WRITTEN: dict[str, Any] = {
    "object_pairs_hook": _Pairs,
    "parse_int": str,
    "parse_float": str,
    "parse_constant": str,
}
_WORDS = {True: "true", False: "false", None: ""}


def _yaml(text: str) -> list[Value] | None:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        nodes = [node for node in yaml.compose_all(text, Loader=loader) if node is not None]
        if not any(_is_deep(node) for node in nodes):
            return None
        left = iter(range(len(text)))  # a node takes a character; a reference stands for many
        records = [_from_node(node, left, 0) for node in nodes]
    except (yaml.YAMLError, RecursionError, ValueError):
        return None
    are_records = all(isinstance(one, _Pairs) and len(one) >= _LEAST_FIELDS for one in records)
    return records if records and are_records else None


def _is_deep(node: Any) -> bool:
    """Say whether a record holds more than words on lines: others are read line by line."""
    if node.id != "mapping":
        return False
    return any(value.id != "scalar" or value.style in ("|", ">") for _, value in node.value)


def _from_node(node: Any, left: Iterator[int], depth: int) -> Value:
    """Return a YAML node as it was written; ValueError where it is too deep or has no end."""
    if depth > _DEEPEST or next(left, None) is None:
        raise ValueError("a record without end")
    if node.id == "mapping":
        pairs = [
            (_from_node(key, left, depth + 1), _from_node(value, left, depth + 1))
            for key, value in node.value
        ]
        if not all(isinstance(key, str) for key, _ in pairs):
            raise ValueError("a key that is no word")
        return _Pairs(pairs)
    if node.id == "sequence":
        return [_from_node(one, left, depth + 1) for one in node.value]
    is_block = node.style in ("|", ">")  # the line feed at its end is how it is written
    return node.value.rstrip("\n") if is_block else node.value


def _tell_value(writer: Writer, path: tuple[str, ...], value: Value) -> None:
    """Tell a value and what is in it; a path of no keys is the record itself."""
    if len(path) + writer.depth > _DEEPEST:
        raise ValueError("nested too deep")
    if isinstance(value, _Pairs):
        name = _name_of(value) if not path else None
        if name is not None:
            writer.named(*name)
        for pair in value:
            if pair is not name:
                _tell_value(writer, (*path, pair[0]), pair[1])
    elif isinstance(value, list):
        _tell_list(writer, path, value)
    else:
        writer.value(path or ("value",), _as_text(value))


def _tell_list(writer: Writer, path: tuple[str, ...], values: Sequence[Value]) -> None:
    if not any(isinstance(value, list) for value in values):
        writer.values(path or ("values",), [_as_text(value) for value in values] or [""])
    elif any(isinstance(value, _Pairs) for value in values):
        outer = writer.name
        _tell_records(writer, path, values)
        writer.apart()
        writer.call(outer)
    else:
        for at, value in enumerate(values, 1):
            _tell_value(writer, (*path, f"entry {at}"), value)


def _tell_records(writer: Writer, path: tuple[str, ...], records: Sequence[Value]) -> None:
    """Tell records each in a paragraph of its own; one without a name goes by its number."""
    writer.depth += 1
    for at, record in enumerate(records, 1):
        writer.call("")
        if path or (len(records) > 1 and not (isinstance(record, _Pairs) and _name_of(record))):
            writer.entry(at, path)
        else:
            writer.apart()
        _tell_value(writer, (), record)
    writer.depth -= 1


def _as_text(value: Value) -> str:
    return value if isinstance(value, str) else _WORDS.get(value, str(value))


def _name_of(record: _Pairs) -> tuple[str, str] | None:
    """Return the field that a record goes by."""
    for wanted in _NAMES:
        for pair in record:
            if pair[0] == wanted and isinstance(pair[1], str) and 0 < len(pair[1].strip()) < 100:
                return pair if "\n" not in pair[1].strip() else None
    return None


# ---------------------------------------------------------------- records among other lines


def _told_lines(lines: Sequence[str], writer: Writer) -> Iterator[str]:
    """Yield the lines of a text, those of records told as sentences."""
    at, told_stop = 0, -1
    while at < len(lines):
        stop = _past_fence(lines, at)
        if stop > at:
            yield from lines[at:stop]
            at = stop
            continue
        for reader in (_markdown_table, _separated, _fields):
            before = len(writer.lines)
            stop = reader(lines, at, writer)
            if stop > at:
                if at == told_stop:  # two records after one another
                    yield ""
                yield from writer.lines[before:]
                at = told_stop = stop
                break
        else:
            yield lines[at]
            at += 1


def _past_fence(lines: Sequence[str], at: int) -> int:
    """Return the line after the code fence that opens at a line; that line where none does."""
    opens = _FENCE.match(lines[at])
    if opens is None:
        return at
    for stop in range(at + 1, len(lines)):
        if lines[stop].strip().startswith(opens[1]) and not lines[stop].strip().strip(opens[1][0]):
            return stop + 1
    return len(lines)


def _markdown_table(lines: Sequence[str], at: int, writer: Writer) -> int:
    """Tell the table that begins at a line; return the line after it."""
    if "|" not in lines[at] or at + 2 >= len(lines) or not _RULE.fullmatch(lines[at + 1]):
        return at
    header = _cells(lines[at])
    if len(_cells(lines[at + 1])) != len(header) or "|" not in lines[at + 2]:
        return at
    stop = at + 2
    rows: list[list[str]] = []
    while stop < len(lines) and "|" in lines[stop]:
        rows.append(_cells(lines[stop]))
        stop += 1
    if not any(header) or any(len(row) > len(header) for row in rows):
        return at
    for row in rows:
        writer.row(header, [*row, *[""] * (len(header) - len(row))])
    return stop


def _cells(line: str) -> list[str]:
    inner = line.strip().removeprefix("|")
    inner = re.sub(r"(?<!\\)\|$", "", inner)
    return [cell.strip().replace("\\|", "|") for cell in _CELL_END.split(inner)]


def _separated(lines: Sequence[str], at: int, writer: Writer) -> int:
    """Tell the comma- or tab-separated lines that begin at a header; return the line after."""
    for mark, fewest in (("\t", 2), (",", 3)):
        header = _split(lines[at], mark)
        if len(header) < fewest or len({*header}) < len(header) or not _is_header(header, mark):
            continue
        stop = at + 1
        rows: list[list[str]] = []
        while stop < len(lines) and lines[stop].strip():
            row = _split(lines[stop], mark)
            if len(row) != len(header):
                break
            rows.append(row)
            stop += 1
        if len(rows) >= _LEAST_ROWS:
            for row in rows:
                writer.row(header, [cell.strip() for cell in row])
            return stop
    return at


def _split(line: str, mark: str) -> list[str]:
    if mark not in line:
        return []
    try:
        return next(csv.reader([line.rstrip("\r")], delimiter=mark, strict=True))
    except (csv.Error, StopIteration):
        return []


def _is_header(cells: Sequence[str], mark: str) -> bool:
    """Say whether cells are names of columns: short, without sentence marks, and no numbers."""
    return all(
        0 < len(cell.strip()) <= _KEY_CHARS
        and not _PROSE.search(cell.strip())
        and (mark == "\t" or cell == cell.strip())
        for cell in cells
    )


def _fields(lines: Sequence[str], at: int, writer: Writer) -> int:
    """Tell the run of fields that begins at a line; return the line after it."""
    found: list[tuple[str, str]] = []
    stop = at
    while stop < len(lines):
        match = _FIELD.fullmatch(lines[stop])
        if match is None or not _is_field(match["key"], match["value"]):
            break
        if match["key"] in {key for key, _ in found}:  # the next record begins
            break
        found.append((match["key"], match["value"]))
        stop += 1
    if len(found) < _LEAST_FIELDS:
        return at
    writer.call("")
    _tell_value(writer, (), _Pairs(found))
    return stop


def _is_field(key: str, value: str) -> bool:
    """Say whether a line is a field and not a sentence with a colon in it."""
    if value.startswith("# "):  # a comment behind a key that opens a block
        return False
    return len(key.split()) <= 4 and not value.endswith((".", ":", ";", ",")) and ". " not in value
