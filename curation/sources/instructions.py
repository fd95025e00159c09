"""Instruction data as text: questions and answers of general dialogues, in plain chat forms.

Sets of instructions are small beside a corpus, and their records differ in shape from set to set:
each record is read by Python's own parser, and its shape is found by the names of its fields.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pyarrow as pa

from curation.columns import columns
from curation.sources.batch import Record, batches
from curation.sources.files import FileSource, with_compression
from curation.sources.jsonlines import read_lines
from curation.sources.rowgroups import open_parquet
from curation.sources.tables import Parquet
from curation.sources.text import read_whole
from curation.stage import ERROR, Shard, Span, guarded

#: Fields of a list of turns, of a question, of what a question is about, of its answer and of what
#: is said before all turns; the first that a record has is taken.
TURNS = ("messages", "conversations", "conversation", "turns")
QUESTIONS = ("instruction", "question", "prompt", "query")
INPUTS = ("input", "context")
ANSWERS = ("output", "response", "answer", "completion")
SYSTEMS = ("system_prompt", "system")
#: Names of who speaks, and of what is said, in the records of a list of turns.
SPEAKERS, SAID = ("role", "from"), ("content", "value", "text")
ASKS = ("user", "human", "prompter", "instruction", "question")
ANSWERS_TURN = ("assistant", "gpt", "model", "chatgpt", "bot", "response", "answer")

#: How a dialogue is laid out: what goes before a question, before an answer, and between turns.
FORMS: tuple[tuple[str, str, str], ...] = (
    ("User: ", "Assistant: ", "\n"),
    ("Question: ", "Answer: ", "\n"),
    ("Q: ", "A: ", "\n"),
    ("Human: ", "Assistant: ", "\n\n"),
    ("Instruction:\n", "Response:\n", "\n\n"),
    ("Task: ", "Solution: ", "\n"),
    ("Request:\n", "Reply:\n", "\n\n"),
    ("", "", "\n\n"),
)
#: The last form does not say who speaks, which is clear of one question and one answer only.
_NAMELESS = len(FORMS) - 1


@dataclass(frozen=True, kw_only=True)
class Instructions(FileSource):
    """Read instruction data, a record a row, each as the text of a dialogue.

    A record is one of the usual: instruction, input, output; question and answer, or prompt and
    response, perhaps with a system prompt; a list of turns under ``messages`` or ``conversations``,
    which are objects (role and content, from and value) or strings by turns. What asks goes first,
    and a question at the end that nothing answers is left out. Any other record is an error row.

    The layout is one of FORMS, by a hash of the row's id: a corpus in one layout alone teaches the
    layout.

        Recipe(source=Instructions("lima.jsonl"), steps=[TextSize(), ...])

    into  "text", or "dialogue" for rows that go beside documents in one recipe: stages that judge
          documents find no text in them; see ``BesideDialogues``
    seed  another seed, other layouts

    writes   nothing beside the place
    payload  text or dialogue, by the setting ``into``
    source   jsonlines.org, parquet.apache.org; .json files may be one list of records

    ``id`` is FILE#NUMBER: of the line's first byte, or of the record in a list or a table.
    """

    version: ClassVar[int] = 1
    endings: ClassVar[tuple[str, ...]] = (".jsonl", ".json", ".ndjson", ".parquet", ".pq")

    into: Literal["text", "dialogue"] = "text"
    seed: int = 0

    @property
    def payload(self) -> pa.Schema:
        """The column that the setting ``into`` names."""
        return columns(self.into)

    def read(self, shard: Shard) -> Iterator[pa.RecordBatch]:
        rows = (row for span in shard.spans for row in self._rows(span))
        return batches(rows, self.schema)

    def _rows(self, span: Span) -> Iterator[Record]:
        for place, record, problem in _records(span):
            name = f"{span.name}#{place}"
            row: dict[str, object] = {
                "id": name,
                "source": self.source_of(span),
                "license": self.license,
                "file": span.name,
                "offset": place,
            }
            if not problem:
                turns, error = guarded(turns_of, record)
                problem = (error or "").removeprefix("ValueError: ")
                if not problem:
                    row[self.into] = laid_out(turns, f"{self.seed} {name}")
            yield {**row, ERROR: f"{problem} ({span.name} at {place})"} if problem else row


def turns_of(record: object) -> list[str]:
    """Return what is said in a record: a question, its answer, the next question and so on.

    What a system prompt says stands before the first question.
    raises  ValueError that says what is wrong with the record
    """
    if not isinstance(record, Mapping):
        raise ValueError("no object")
    listed = _first(record, TURNS)
    system = _text(_first(record, SYSTEMS), "the system prompt", empty=True)
    if listed is not None:
        turns = _listed(listed)
    else:
        question, answer = _first(record, QUESTIONS), _first(record, ANSWERS)
        if question is None or answer is None:
            raise ValueError(f"no dialogue in the fields {', '.join(map(str, record)) or 'none'}")
        about = _text(_first(record, INPUTS), "the input", empty=True)
        asked = _text(question, "the question")
        turns = [f"{asked}\n\n{about}" if about else asked, _text(answer, "the answer")]
    return [f"{system}\n\n{turns[0]}" if system else turns[0], *turns[1:]]


def laid_out(turns: Sequence[str], name: str) -> str:
    """Return a dialogue as text, in a layout that a hash of a name chooses."""
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    asks, answers, between = FORMS[number % (len(FORMS) if len(turns) == 2 else _NAMELESS)]
    return between.join(f"{(asks, answers)[n % 2]}{turn}" for n, turn in enumerate(turns))


def _listed(listed: object) -> list[str]:
    """Return the turns of a list, without a last question that nothing answers."""
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        raise ValueError("the turns are no list")
    said = [_said(turn, n) for n, turn in enumerate(listed, start=1)]
    system = [text for speaker, text in said if speaker == "system"]
    if len(system) > 1 or (system and said[0][0] != "system"):
        raise ValueError("a system prompt stands among the turns")
    spoken = said[len(system) :]
    for n, (speaker, _) in enumerate(spoken):
        wanted = ("question", "answer")[n % 2]
        if speaker not in (wanted, ""):
            raise ValueError(f"turn {n + 1 + len(system)} is no {wanted}")
    turns = [text for _, text in spoken[: len(spoken) // 2 * 2]]
    if not turns:
        raise ValueError("no question with an answer")
    return [*(["\n\n".join([*system, turns[0]])]), *turns[1:]]


def _said(turn: object, number: int) -> tuple[str, str]:
    """Return (system, question, answer or "" where nobody is named; what is said)."""
    where = f"turn {number}"
    if isinstance(turn, str):
        return "", _text(turn, where)
    if not isinstance(turn, Mapping):
        raise ValueError(f"{where} is neither an object nor a string")
    speaker = str(_first(turn, SPEAKERS)).lower()
    kinds = {"system": "system", **dict.fromkeys(ASKS, "question")}
    kinds |= dict.fromkeys(ANSWERS_TURN, "answer")
    if speaker not in kinds:
        raise ValueError(f"{where} is by '{speaker[:40]}'")
    return kinds[speaker], _text(_first(turn, SAID), where)


def _first(record: Mapping[Any, Any], names: Sequence[str]) -> Any:
    """Return the value of the first of some fields that a record has; None where it has none."""
    return next((record[name] for name in names if record.get(name) is not None), None)


def _text(value: object, what: str, *, empty: bool = False) -> str:
    """Return a text, ends trimmed; the parts of one that comes in parts are put together."""
    if value is None and empty:
        return ""
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = "\n".join(_text(_part(part), f"a part of {what}") for part in value)
    if not isinstance(value, str):
        raise ValueError(f"{what} is no text")
    if not value.strip() and not empty:
        raise ValueError(f"{what} is empty")
    return value.encode("utf-8", "replace").decode().strip()


def _part(part: object) -> object:
    return part.get("text") if isinstance(part, Mapping) else part


# ---------------------------------------------------------------- files


def _records(span: Span) -> Iterator[tuple[int, object, str]]:
    """Yield (place, record, what is wrong with it or "") for each record of a file."""
    if span.name.lower().endswith(with_compression(Parquet.endings)):
        return _of_parquet(span)
    if span.name.lower().endswith(with_compression((".json",))):
        data, problem = read_whole(span)
        if data.lstrip()[:1] == b"[":
            return _of_list(data, problem)
        del data
    return _of_lines(span)


def _of_lines(span: Span) -> Iterator[tuple[int, object, str]]:
    for lines in read_lines(span):
        if lines.problem:
            yield lines.base, None, lines.problem
            continue
        for n, place in enumerate(lines.offset_N.tolist()):
            record, problem = _parsed(lines.line(n))
            yield place, record, problem


def _of_list(data: bytes, problem: str) -> Iterator[tuple[int, object, str]]:
    """Yield the records of a file that is one list."""
    records, found = _parsed(data)
    if problem or found:
        yield 0, None, problem or f"the file is no list of records: {found}"
    else:
        assert isinstance(records, list)
        yield from ((place, record, "") for place, record in enumerate(records))


def _of_parquet(span: Span) -> Iterator[tuple[int, object, str]]:
    place = 0
    try:
        with open_parquet(span.path) as file:
            for batch in file.iter_batches(batch_size=256):
                for record in batch.to_pylist():
                    yield place, record, ""
                    place += 1
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        yield place, None, f"the rest of the file cannot be read: {error}"


def _parsed(data: bytes) -> tuple[object, str]:
    value, error = guarded(json.loads, data)
    return value, "" if error is None else f"no JSON: {error}"
