"""Passage and tasks set as one text to train on, in one of the published forms.

reading  the passage, then the tasks with their answers: AdaptLLM (Cheng et al. 2024,
         arXiv:2309.09530) and Instruction Pre-Training (Cheng et al. 2024, arXiv:2406.14491)
tasks    the tasks alone, or the one text that was written
chat     turns of a user, who gives the passage first, and of an assistant

Between passage and tasks stands one of several sentences, and tasks are set in one of several ways,
drawn by a number of the document: a model that saw one way would learn the way (AdaptLLM does so).
The sentences are our own, in English whatever language the tasks have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from curation.rewrite.parse import LETTERS, Task, Written
from curation.rewrite.prompts import Prompt

Frame = Literal["reading", "tasks", "chat"]
FRAMES: tuple[str, ...] = get_args(Frame)

#: What leads from the passage to the tasks; "" for nothing.
LEADS = (
    "",
    "Use the passage above for the tasks that follow.",
    "What follows can be answered from the text above.",
    "Having read this, work through the following.",
    "Check your understanding of the text:",
    "Some exercises on the passage:",
    "The text above settles each of these.",
    "Here is what a careful reader can say about it.",
)
#: How a question and its answer are set.
PAIRS = (
    "Question: {question}\nAnswer: {answer}",
    "Q: {question}\nA: {answer}",
    "{question}\n{answer}",
    "{question} {answer}",
)
#: The same where the question is an order.
ORDERS = (
    "Instruction: {question}\nResponse: {answer}",
    "Task: {question}\nAnswer: {answer}",
    "{question}\n\n{answer}",
)
#: The kind of task that is an order.
ORDER = "instruction"


def framed(
    frame: str, prompt: Prompt, written: Written, source: tuple[str, str], chance: int
) -> str | None:
    """Return the text to train on; None where nothing was written.

    source  the passage, and the language that was asked for
    chance  number of 0 or more by which the wording is drawn
    """
    if written.text is None and not written.tasks:
        return None
    passage, language = source
    order = prompt.task.replace("{language}", language)
    if frame == "chat":
        return _turns(_exchanges(written, order), passage)
    if written.text is not None:
        body = written.text if frame == "tasks" else f"{order}\n{written.text}"
    else:
        body = _listed(written.tasks, chance // len(LEADS))
    if frame == "tasks":
        return body
    lead = LEADS[chance % len(LEADS)] if written.tasks else ""
    return "\n\n".join(filter(None, (passage, lead, body)))


def _listed(tasks: Sequence[Task], chance: int) -> str:
    """Return tasks one under the other, all of one sort set the same way."""

    def one(task: Task) -> str:
        ways = ORDERS if task.kind == ORDER else PAIRS
        way = PAIRS[0] if task.choices else ways[chance % len(ways)]
        return way.format(question=asked(task), answer=answered(task))

    return "\n\n".join(one(task) for task in tasks)


def _exchanges(written: Written, order: str) -> list[tuple[str, str]]:
    if written.text is not None:
        return [(order, written.text)]
    return [(asked(task), answered(task)) for task in written.tasks]


def _turns(exchanges: Sequence[tuple[str, str]], passage: str) -> str:
    turns = [f"User: {question}\n\nAssistant: {answer}" for question, answer in exchanges[1:]]
    question, answer = exchanges[0]
    return "\n\n".join([f"User: {passage}\n\n{question}\n\nAssistant: {answer}", *turns])


def asked(task: Task) -> str:
    """Return a question, its choices under it."""
    lines = [f"{letter}. {choice}" for letter, choice in zip(LETTERS, task.choices, strict=False)]
    return "\n".join([task.question, *lines])


def answered(task: Task) -> str:
    """Return an answer; of choices the letter and its words, and the explanation under it."""
    if not task.choices:
        return task.answer
    right = task.choices[LETTERS.index(task.answer)]
    return "\n".join(filter(None, [f"{task.answer}. {right}", task.explanation]))
