"""What a model wrote about a passage, read in a strict form: nothing that does not have it is kept.

A reply is one JSON object that keeps the prompt's schema, bare, fenced or with words around it; or,
for tasks with an answer, nothing but lines that begin with Q: and A:. A reply with two such objects
is not guessed at. A reply that repeats what stands in the passage in that form is none: a document
that holds a made-up answer would speak in the model's name.

A reply cut at the token limit is read as far as its tasks are whole, and says that it is cut,
unless its object is whole and nothing follows it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from curation.annotate.model import Reply
from curation.errors import RecipeError
from curation.rewrite.prompts import Prompt
from curation.rewrite.schema import example, fault

#: So many brackets that open no JSON are passed over; each costs a look at all that follows.
_MOST_FAILURES = 50
LETTERS = "ABCD"
_DECODER = json.JSONDecoder(strict=False)  # models break lines inside strings
_THOUGHT = re.compile(r"\A.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_THINKING = re.compile(r"\A\s*<think(?:ing)?>", re.IGNORECASE)
#: "Q:", "Question 2:", "**A:**", "3. Q:"
_LABEL = re.compile(
    r"^[ \t]*(?:[-*]\s+|\d{1,3}[.)]\s+)?(?:\*\*|__)?(Q|A|Question|Answer)[ \t]?\d{0,3}[ \t]*"
    r"(?:\*\*|__)?[:.](?:\*\*|__)?[ \t]*",
    re.IGNORECASE | re.MULTILINE,
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_ENDS_WHOLE = re.compile(r"[}\]]\s*(?:```\s*)?\Z")
_BEFORE_CHOICE = re.compile(r"\A\s*\(?[A-D][.):]\s+")


@dataclass(frozen=True)
class Task:
    """A question with its answer; choices and explanation where it has some.

    answer   of a task with choices its letter
    """

    question: str
    answer: str
    kind: str = ""
    choices: tuple[str, ...] = ()
    explanation: str = ""


@dataclass(frozen=True)
class Written:
    """What was read from a reply: tasks, or a text; ``is_cut`` where there was to be more."""

    tasks: tuple[Task, ...] = ()
    text: str | None = None
    is_cut: bool = False


def read_reply(prompt: Prompt, reply: Reply, passage: str) -> Written:
    """Return what a reply holds; ValueError says why it cannot be read."""
    text = _SURROGATE.sub("\ufffd", spoken(reply.text)).strip()
    if not text and not reply.is_cut:
        raise ValueError("it is empty")
    if text and _folded(text) in _folded(passage):
        raise ValueError("it repeats a piece of the document")
    try:
        return _whole(prompt, text, passage, reply)
    except ValueError:
        if not reply.is_cut:
            raise
        return Written(tasks=_salvaged(prompt, text, passage), is_cut=True)


def spoken(text: str) -> str:
    """Return a reply without the reasoning before it; "" where it ends within that."""
    bare = _THOUGHT.sub("", text)
    return "" if _THINKING.match(bare) else bare


def check_readable(prompt: Prompt) -> None:
    """Raise RecipeError where a reply that keeps a prompt's schema could not be read."""
    told = json.dumps(example(json.loads(prompt.json_schema), filler()))
    try:
        read_reply(prompt, Reply(text=told, finish="stop"), "")
    except ValueError as error:
        raise RecipeError(
            f"prompt {prompt.id!r}: its schema does not fit its reader {prompt.reader!r}.",
            found=f"a reply such as {told[:120]}: {error}",
            remedy='a list "tasks" of question and answer; or one "text"; or leave schema out',
        ) from None


def filler(chars: int = 0) -> Any:
    """Return what makes texts of about so many characters, each another one."""
    made = [0]

    def text() -> str:
        made[0] += 1
        words = f"text {made[0]} "
        return (words * (chars // len(words) + 1)).strip()

    return text


def _folded(text: str) -> str:
    return " ".join(text.split())


# ---------------------------------------------------------------- whole replies


def _whole(prompt: Prompt, text: str, passage: str, reply: Reply) -> Written:
    """Return what a reply holds; of one that is cut, only where its object is the end of it."""
    schema = json.loads(prompt.json_schema)
    if reply.is_cut and not _ENDS_WHOLE.search(text):
        raise ValueError("it breaks off")
    values = [_wrapped(prompt, value) for value in _values(text)]
    faults = [fault(value, schema) for value in values]
    good = [value for value, wrong in zip(values, faults, strict=True) if not wrong]
    if len(good) > 1:
        raise ValueError(f"it holds {len(good)} objects of the form")
    if good:
        if "{" in passage and good[0] in [_wrapped(prompt, v) for v in _values(passage)]:
            raise ValueError("it repeats an object of the document")
        return _as_written(prompt, good[0])
    ended = bool(reply.finish) and not reply.is_cut  # lines do not tell that they are all there
    if prompt.reader == "pairs" and not values and ended and (tasks := _plain(text)):
        return Written(tasks=_checked(tasks))
    raise ValueError(faults[-1] if faults else "it holds no JSON object")


def _wrapped(prompt: Prompt, value: Any) -> Any:
    """A list of tasks by itself is what models often give for an object with that list."""
    return {"tasks": value} if isinstance(value, list) and prompt.reader != "text" else value


def _values(text: str) -> list[Any]:
    """Return the JSON objects and lists of a text that stand in no other."""
    found: list[Any] = []
    at, failures = _next_open(text, 0), 0
    while at >= 0 and failures < _MOST_FAILURES:
        try:
            value, stop = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            stop, failures = at + 1, failures + 1
        else:
            found.append(value)
        at = _next_open(text, stop)
    return found


def _next_open(text: str, start: int) -> int:
    places = [at for at in (text.find("{", start), text.find("[", start)) if at >= 0]
    return min(places, default=-1)


def _as_written(prompt: Prompt, value: Any) -> Written:
    if prompt.reader == "text":
        text = str(_of(value, "text", str)).strip()
        if not text:
            raise ValueError("text is blank")
        return Written(text=_SURROGATE.sub("\ufffd", text))
    return Written(tasks=_checked([_task(prompt, item) for item in _of(value, "tasks", list)]))


def _of(value: Any, name: str, kind: type) -> Any:
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, kind):
        raise ValueError(f"{name} is missing")
    return found


def _task(prompt: Prompt, item: Any) -> Task:
    """Return a task from its object; ValueError for one that could not be set as a task."""
    item = item if isinstance(item, dict) else {}
    question, answer, kind, explanation = (
        _clean(item.get(name, "")) for name in ("question", "answer", "kind", "explanation")
    )
    if not question or not answer:
        raise ValueError("a task has no question or no answer")
    if prompt.reader == "pairs":
        return Task(question, answer, kind)
    choices = tuple(_BEFORE_CHOICE.sub("", _clean(one)) for one in _of(item, "choices", list))
    letters = LETTERS[: len(choices)]
    if len({one.casefold() for one in choices}) < len(choices) or not all(choices):
        raise ValueError("two choices are the same, or one is blank")
    if len(choices) < 2 or answer not in (*letters,):
        raise ValueError(f"the answer is no letter of the choices: {answer[:40]!r}")
    return Task(question, answer, kind, choices, explanation)


def _clean(value: Any) -> str:
    return _SURROGATE.sub("\ufffd", value).strip() if isinstance(value, str) else ""


def _checked(tasks: list[Task]) -> tuple[Task, ...]:
    """Return the tasks, each question once: a model that goes in circles repeats it."""
    first: dict[str, Task] = {}
    for task in tasks:
        first.setdefault(task.question.casefold(), task)
    return tuple(first.values())


def _plain(text: str) -> list[Task]:
    """Return the tasks of a reply that is Q: and A: in turn from its first letter on; else none."""
    parts = _LABEL.split(text)
    labels, said = [one[0].upper() for one in parts[1::2]], [one.strip() for one in parts[2::2]]
    if parts[0].strip() or labels != ["Q", "A"] * (len(labels) // 2) or not all(said):
        return []
    return [Task(q, a) for q, a in zip(said[::2], said[1::2], strict=True)]


# ---------------------------------------------------------------- cut replies


def _salvaged(prompt: Prompt, text: str, passage: str) -> tuple[Task, ...]:
    """Return the tasks that a cut reply holds whole; of one text that breaks off, nothing."""
    if prompt.reader == "text":
        return ()
    schema = json.loads(prompt.json_schema)["properties"]["tasks"].get("items", {})
    known = [item for value in _values(passage) for item in _items(_wrapped(prompt, value))]
    tasks = []
    for item in _begun(text):
        if fault(item, schema) or item in known:
            break
        try:
            tasks.append(_task(prompt, item))
        except ValueError:
            break
    return _checked(tasks)


def _items(value: Any) -> list[Any]:
    found = value.get("tasks") if isinstance(value, dict) else None
    return found if isinstance(found, list) else []


def _begun(text: str) -> Iterator[Any]:
    """Yield the objects of a list that breaks off."""
    opened = re.search(r"\[\s*(?=\{)", text)
    at = opened.end() if opened else len(text)
    while at < len(text):
        try:
            item, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            return
        yield item
        after = re.compile(r"\s*,\s*").match(text, at)
        if after is None:
            return
        at = after.end()
