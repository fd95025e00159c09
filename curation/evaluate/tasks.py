"""Questions with known answers, from files of JSON lines, and how each is put to a model.

A file is read as ``dedup/evalitems.py`` reads it, so that what is scored is what training text is
cleaned of. A line that cannot be used is a counted fault with its place and never an exception.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from curation.dedup.evalitems import KEYS, NAMES, choices_of, flattened, texts_of
from curation.errors import RecipeError, ResourceError
from curation.sources.compressed import Inflated, file_codec

Kind = Literal["choice", "cloze", "answer"]

#: What stands before a choice whose question is not told (Gu et al. 2024, arXiv:2406.08446).
UNCONDITIONAL = "Answer:"
#: Three or more low lines in a question are where its answer belongs.
_GAP = re.compile("_{3,}")
#: Names of what an item is about, for tables by source.
_SOURCES = ("source", "subject", "category", "topic")


@dataclass(frozen=True)
class TaskItem:
    """One question.

    id        distinct within its task
    question  of a cloze: the text up to where the answer goes, or with the gap ``___`` there
    choices   of an answer task: all the right answers; of a cloze: the one that is left out
    answer    index of the right choice
    context   what is read before the question; "" for nothing
    source    where it comes from or what it is about; "" where that is not known
    line      its line in its file, from 1 on; 0 where there is no file
    """

    id: str
    question: str
    choices: tuple[str, ...]
    answer: int = 0
    context: str = ""
    source: str = ""
    line: int = 0


@dataclass(frozen=True)
class Fault:
    """A line that gave no item, and why."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: {self.reason}"


@dataclass(frozen=True)
class Task:
    """Questions of one kind.

    kind    choice  one of several choices is right
            cloze   a text goes on with the answer, or has it in its gap; nothing is to choose from
            answer  a question with one or more right answers and no wrong ones
    faults  lines of its file that are no item
    """

    name: str
    items: tuple[TaskItem, ...]
    kind: Kind = "choice"
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise RecipeError(f"the task {self.name} is of no known kind.", found=repr(self.kind),
                              remedy=f"one of {', '.join(get_args(Kind))}")  # fmt: skip
        times = Counter(item.id for item in self.items)
        for item in self.items:
            problem = _problem(item, self.kind)
            if times[item.id] > 1:
                problem = f"{times[item.id]} items have this id"
            if problem:
                raise RecipeError(
                    f"the item {item.id} of the task {self.name} cannot be scored.",
                    found=problem,
                )

    @property
    def unread(self) -> dict[str, int]:
        """Why lines gave no item → how many."""
        return dict(Counter(fault.reason for fault in self.faults))

    @property
    def chance(self) -> float:
        """Accuracy of a guess: the mean of one over the number of choices."""
        return sum(1 / len(item.choices) for item in self.items) / max(len(self.items), 1)

    def prompt(self, item: TaskItem, shots: tuple[TaskItem, ...] = ()) -> str:
        """Return all that stands before the answer, solved items first."""
        solved = (self._asked(shot) + self.continuations(shot)[shot.answer] for shot in shots)
        return "\n\n".join([*solved, self._asked(item)])

    def continuations(self, item: TaskItem) -> tuple[str, ...]:
        """Return what is scored after the prompt, for each choice."""
        before = _GAP.split(item.question)[0] if self.kind == "cloze" else ""
        # a gap says by itself whether a space stands before it
        joined = self.kind == "cloze" and (_GAP.search(item.question) or before[-1:].isspace())
        return tuple(("" if joined else " ") + choice for choice in item.choices)

    def _asked(self, item: TaskItem) -> str:
        context = f"{item.context}\n" if item.context else ""
        if self.kind == "cloze":
            return context + _GAP.split(item.question)[0]
        if not item.question:  # choices to go on with, as a probe's
            return item.context
        return f"{context}Question: {item.question}\nAnswer:"

    def shots(self, number: int) -> dict[str, tuple[TaskItem, ...]]:
        """Return for each item the others that are shown solved before it: the same for nearly all.

        Items are ranked by a hash of their ids. Each is shown the first of those that ask something
        else than it does.
        """
        ranked = sorted(self.items, key=lambda item: hashlib.sha256(item.id.encode()).digest())
        found = {}
        for item in self.items:
            asked = (item.context, item.question)
            head = ranked[: number + 1]
            if sum((other.context, other.question) != asked for other in head) < number:
                head = ranked
            others = [other for other in head if (other.context, other.question) != asked]
            found[item.id] = tuple(others[:number])
        return found

    def identity(self) -> dict[str, Any]:
        """Return what decides the scores; where the items come from is no part of it."""
        rows = [
            [item.id, item.question, list(item.choices), item.answer, item.context, item.source]
            for item in self.items
        ]
        return {"name": self.name, "kind": self.kind, "items": rows}


def _problem(item: TaskItem, kind: Kind) -> str:
    """Return why an item cannot be scored; "" where it can."""
    if not (item.question or item.context):
        return "no question"
    if not item.choices:
        return "no choices" if kind == "choice" else "no answer"
    if not all(choice.strip() for choice in item.choices):
        return "a choice without text" if kind == "choice" else "an answer without text"
    if kind == "choice" and len(item.choices) < 2:
        return "fewer than two choices"
    if not 0 <= item.answer < len(item.choices):
        return "the answer is none of the choices"
    return ""


# ---------------------------------------------------------------- files


def read_task(
    path: str | Path, *, name: str | None = None, kind: Kind | None = None, limit: int | None = None
) -> Task:
    """Read a task from JSON lines, plain or compressed (gz, zst, bz2, lz4).

    name   "" or None: that of the file without its endings
    kind   None: choice where any item has choices, else cloze where any question has a gap
           ``___``, else answer
    limit  no more than so many items, the first ones
    raises ResourceError where the file cannot be read or holds no item that can be used
    """
    file = Path(path)
    name = name or file.name.split(".")[0]
    records, faults = [], []
    for line, record in _records(file):
        if isinstance(record, str):
            faults.append(Fault(str(file), line, record))
        else:
            records.append((line, flattened(record)))
    kind = kind or _kind([record for _, record in records])
    items: dict[str, TaskItem] = {}
    for line, record in records:
        if limit is not None and len(items) >= limit:
            break
        item = _item(line, record, kind, items)
        if isinstance(item, str):
            faults.append(Fault(str(file), line, item))
        else:
            items[item.id] = item
    if not items:
        raise ResourceError(
            f"the task {file} has no item that can be scored.",
            found="; ".join(map(str, faults[:3])) or "no line",
            remedy="write one object a line with question, choices and answer",
        )
    return Task(name, tuple(items.values()), kind, tuple(sorted(faults, key=lambda f: f.line)))


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Yield the number of each line that is not blank, and its record or what is wrong with it."""
    try:
        with open(path, "rb") as file:
            stream = Inflated(file, file_codec(file))
            data = b"".join(_pieces(stream))
    except OSError as error:
        raise ResourceError(
            f"the task {path} cannot be read.",
            found=error.strerror or str(error),
            remedy="check the path of the task",
        ) from None
    lines = data.split(b"\n")
    if stream.problem:  # what is left of the last line is no line
        lines.pop()
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield number, _record(line)
    if stream.problem:
        yield len(lines) + 1, f"the {stream.problem}: the rest of the file is lost"


def _pieces(stream: Inflated) -> Iterator[bytes]:
    while any(read := stream.read()):  # a member may begin with no bytes
        yield read[0]


def _record(line: bytes) -> dict[str, Any] | str:
    try:
        record = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError):  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        return "not JSON in UTF-8"
    return record if isinstance(record, dict) else "not an object"


def _kind(records: list[dict[str, Any]]) -> Kind:
    if any(choices_of(record)[0] for record in records):
        return "choice"
    questions = (text for record in records for text in _first(record, *NAMES["question"])[:1])
    return "cloze" if any(_GAP.search(text) for text in questions) else "answer"


def _first(record: Mapping[str, Any], *names: str) -> list[str]:
    """Return the texts of the first of these fields that has any."""
    return next(filter(None, (texts_of(record.get(name)) for name in names)), [])


def _item(
    line: int, record: dict[str, Any], kind: Kind, before: Mapping[str, TaskItem]
) -> TaskItem | str:
    """Return the item of a record, or why it is none."""
    question = _first(record, *NAMES["question"], *NAMES["prompt"], *NAMES["text"])
    choices, answer = _chosen(record) if kind == "choice" else _golden(record)
    if isinstance(answer, str):
        return answer
    name = "".join(texts_of(record.get("id"))[:1]) or str(line)
    while name in before:
        name = f"{name}, line {line}"
    item = TaskItem(
        id=name,
        question=question[0] if question else "",
        choices=tuple(choices),
        answer=answer,
        context="\n".join(_first(record, *NAMES["context"])),
        source="".join(_first(record, *_SOURCES)[:1]),
        line=line,
    )
    return _problem(item, kind) or item


def _golden(record: Mapping[str, Any]) -> tuple[list[str], int | str]:
    answers = _first(record, *NAMES["answer"])
    return answers, 0 if answers else "no answer"


def _chosen(record: Mapping[str, Any]) -> tuple[list[str], int | str]:
    """Return the choices, and the index of the right one or why there is none."""
    texts, labels = choices_of(record)
    if any(len(text) != 1 for text in texts):
        return [], "a choice without text" if all(len(t) < 2 for t in texts) else "an odd choice"
    choices = [text for (text,) in texts]
    if not choices:
        return [], "no choices"
    told = [record[name] for name in (*NAMES["answer"], *KEYS) if record.get(name) is not None]
    if not told:
        return choices, "no answer"
    answers = told[0] if isinstance(told[0], list) else told[:1]
    if len(answers) != 1:
        return choices, "more than one right answer" if answers else "no answer"
    return choices, _place(answers[0], choices, labels)


def _place(answer: object, choices: list[str], labels: list[str]) -> int | str:
    """Return the index of the choice that an index, a label, a letter or a text tells."""
    place = -1
    if isinstance(answer, int) and not isinstance(answer, bool):
        place = answer
    elif isinstance(answer, str) and answer.strip():
        label = answer.strip().upper()
        if label in labels:
            place = labels.index(label)
        elif answer in choices:
            place = choices.index(answer)
        elif len(label) == 1:
            place = int(label) if label in "0123456789" else ord(label) - ord("A")
        else:
            stripped = [choice.strip() for choice in choices]
            place = stripped.index(answer.strip()) if answer.strip() in stripped else -1
    elif answer is None or answer == "":
        return "no answer"
    return place if 0 <= place < len(choices) else "the answer is none of the choices"
