"""The items of evaluation sets, read from files of JSON lines.

A file is a task, named after it. An item may have the fields

    question, prompt, context, text   texts
    choices                           a list of texts, with labels or without
    answer                            a text, a list of texts, or a label or an index of choices
    messages                          of a chat: what the assistant says is the answer
    id                                else the item is known by the number of its line, from 1 on

and is known as TASK#ID. The fields may have the names in ``NAMES`` and below it, whatever their
case. Every other field is passed over, and an item that has none but an answer is unread.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import zstandard

from curation.errors import ResourceError

FieldName = Literal["question", "prompt", "context", "text", "answer"]
ALL_FIELDS: tuple[FieldName, ...] = ("question", "prompt", "context", "text", "answer")

#: What sets call their fields: those of HellaSwag, PIQA, NLI, Winogrande, BoolQ, RACE and others.
NAMES: dict[FieldName, tuple[str, ...]] = {
    "question": ("question", "query", "instruction", "ctx", "goal", "hypothesis", "sentence"),
    "prompt": ("prompt", "input", "inputs"),
    "context": ("context", "passage", "article", "story", "premise"),
    "text": ("text",),
    "answer": ("answer", "answers", "target", "targets", "completion", "output"),
}
#: Names of what tells one of the choices and is no text by itself.
KEYS = ("answerkey", "label")
_CHOICES = ("choices", "options", "endings")
#: Names of choices that have a field each: sol1, sol2.
_NUMBERED = ("sol", "option", "choice", "ending")
#: Where an object has its texts: {"stem": "Which ...?", "choices": [...]}.
_INNER = ("stem", "text", "content", "contexts")


class Item(NamedTuple):
    """One item: its fields' texts, each of its questions with each right answer, its line."""

    task: str
    name: str
    fields: tuple[tuple[FieldName, str], ...]
    pairs: tuple[tuple[str, str], ...]
    line: int = 0

    @property
    def unread(self) -> bool:
        """Whether no text was found in it but an answer."""
        return all(field == "answer" for field, _ in self.fields)


def read_items(file: str, task: str) -> list[Item]:
    """Return the items of a file; ResourceError where it holds none, or none with a known field."""
    items, keys = [], dict[str, None]()
    for item, record in _records(file, task):
        keys |= dict.fromkeys(record)
        items.append(item)
    if not any(item.fields for item in items):
        raise ResourceError(
            f"the evaluation set {file} has no {'text' if items else 'item'}.",
            found=f"fields {', '.join(keys)}" if keys else "no record",
            remedy=f"name the texts of items {', '.join(ALL_FIELDS)}, choices too if there are any",
        )
    return items


def _records(file: str, task: str) -> Iterator[tuple[Item, dict[str, Any]]]:
    with io.TextIOWrapper(io.BytesIO(_read(file)), encoding="utf-8-sig") as lines:
        number = 0
        try:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    record = json.loads(line)
                    if not isinstance(record, dict):
                        raise ValueError(f"a {type(record).__name__} and no object")
                    yield _item(task, number, record), record
        # UnicodeDecodeError and JSONDecodeError are ValueErrors; too deep an object is neither
        except (ValueError, RecursionError) as error:
            raise ResourceError(
                f"the evaluation set {file} is not JSON lines in UTF-8.",
                found=f"line {number or 1}: {error}",
                remedy="write one JSON object a line",
            ) from None


def _read(file: str) -> bytes:
    try:
        data = Path(file).read_bytes()
        if file.endswith(".gz"):
            return gzip.decompress(data)
        if file.endswith(".zst"):
            reader = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True)
            return bytes(reader.read())
        return data
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise unreadable(file, error) from None


def unreadable(file: str, error: Exception) -> ResourceError:
    return ResourceError(
        f"the evaluation set {file} cannot be read.",
        found=getattr(error, "strerror", None) or f"{type(error).__name__}: {error}",
        remedy="check the path in the recipe",
    )


def _item(task: str, number: int, record: Mapping[str, Any]) -> Item:
    flat = flattened(record)
    answers = _answers(flat)
    texts = {
        field: [text for name in names for text in texts_of(flat.get(name))]
        for field, names in NAMES.items()
    } | {"answer": answers}
    fields = [(field, text) for field in ALL_FIELDS for text in texts[field]]
    questions = [text for field, text in fields if field in ("question", "prompt")]
    pairs = tuple((question, answer) for question in questions for answer in answers)
    name = record.get("id")
    return Item(task, str(number if name is None else name), tuple(fields), pairs, number)


def flattened(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with its names in small letters, a chat as a question and its answer.

    What the system says is the template of many chats and no item's.
    """
    flat = {name.lower(): value for name, value in record.items()}
    messages = flat.get("messages")
    said: dict[str, list[str]] = {"question": [], "answer": []}
    for turn in messages if isinstance(messages, list) else []:
        if isinstance(turn, dict) and turn.get("role") != "system":
            said["answer" if turn.get("role") == "assistant" else "question"] += texts_of(turn)
    return {field: "\n".join(texts) for field, texts in said.items() if texts} | flat


def _answers(flat: Mapping[str, Any]) -> list[str]:
    """Return the texts of the right answers: of the first field that tells any."""
    choices, labels = choices_of(flat)
    names = NAMES["answer"] + KEYS * bool(choices)
    told = (_right(flat.get(name), choices, labels) for name in names)
    return next(filter(None, told), [])


def _right(answer: object, choices: list[list[str]], labels: list[str]) -> list[str]:
    """Return the texts of what an answer says: the choice that it tells, or else itself."""
    if isinstance(answer, list):
        return [text for part in answer for text in _right(part, choices, labels)]
    if not choices or isinstance(answer, bool) or not isinstance(answer, int | str):
        return texts_of(answer)
    place = answer
    if isinstance(place, str):
        label = place.strip().upper()
        if label in labels:
            place = labels.index(label)
        elif len(label) != 1 or [answer] in choices:
            return texts_of(answer)
        else:
            place = int(label) if label in "0123456789" else ord(label) - ord("A")
    return choices[place] if 0 <= place < len(choices) else []


def choices_of(flat: Mapping[str, Any]) -> tuple[list[list[str]], list[str]]:
    """Return the texts of each choice, and the labels of the choices if they have any."""
    asked = flat.get("question")
    places = [flat, asked] if isinstance(asked, dict) else [flat]
    found = [place[name] for place in places for name in _CHOICES if place.get(name)]
    for stem in _NUMBERED:
        found.append({n: flat[stem + n] for n in "0123456789" if stem + n in flat})
    value = next((value for value in found if value and isinstance(value, dict | list)), [])
    texts: list[Any]
    labels: Any
    if isinstance(value, list):
        texts = value
        labels = [part["label"] for part in value if isinstance(part, dict) and "label" in part]
    elif isinstance(value.get("text"), list):
        texts, labels = value["text"], value.get("label")
    else:
        texts, labels = list(value.values()), list(value)
    known = labels if isinstance(labels, list) else []
    return [texts_of(text) for text in texts], [str(label).strip().upper() for label in known]


def texts_of(value: object) -> list[str]:
    """Return the texts that a JSON value is or has; a number is one, nothing is none."""
    if isinstance(value, dict):
        value = [value[name] for name in _INNER if name in value]
    if isinstance(value, list):
        return [text for part in value for text in texts_of(part)]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [str(value)]
    # JSON can spell half of a surrogate pair, which UTF-8 cannot
    return [value.encode(errors="replace").decode()] if isinstance(value, str) and value else []
