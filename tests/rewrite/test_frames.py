"""Frames: passage and tasks as one text."""

from __future__ import annotations

from curation.rewrite.frames import LEADS, ORDERS, PAIRS, framed
from curation.rewrite.parse import Task, Written
from curation.rewrite.prompts import prompt

QA = Written(tasks=(Task("Why?", "So.", "why_how"), Task("Who {x}?", "She.", "factual")))
CHOICE = Written(tasks=(Task("Which?", "B", "", ("one", "two", "six", "ten"), "Two it is."),))
SOURCE = ("The passage.", "German")


def test_golden_frames() -> None:
    """A text set otherwise than it was is another corpus under the same version."""
    qa, choice = prompt("qa"), prompt("multiple_choice")
    assert framed("reading", qa, QA, SOURCE, 0) == (
        "The passage.\n\nQuestion: Why?\nAnswer: So.\n\nQuestion: Who {x}?\nAnswer: She."
    )
    assert framed("tasks", qa, QA, SOURCE, len(LEADS)) == "Q: Why?\nA: So.\n\nQ: Who {x}?\nA: She."
    assert framed("chat", qa, QA, SOURCE, 5) == (
        "User: The passage.\n\nWhy?\n\nAssistant: So.\n\nUser: Who {x}?\n\nAssistant: She."
    )
    assert framed("reading", choice, CHOICE, SOURCE, 1) == (
        "The passage.\n\nUse the passage above for the tasks that follow.\n\nQuestion: Which?\n"
        "A. one\nB. two\nC. six\nD. ten\nAnswer: B. two\nTwo it is."
    )


def test_one_text_stands_alone_or_with_what_was_asked() -> None:
    """A summary without its passage says what it is of; a translation names its language."""
    one, written = prompt("translate"), Written(text="Der Abschnitt.")
    assert framed("tasks", one, written, SOURCE, 3) == "Der Abschnitt."
    assert framed("reading", one, written, SOURCE, 3) == (
        "The passage.\n\nTranslate the passage into German.\nDer Abschnitt."
    )
    assert framed("chat", one, written, SOURCE, 3) == (
        "User: The passage.\n\nTranslate the passage into German.\n\nAssistant: Der Abschnitt."
    )


def test_nothing_written_is_no_text() -> None:
    """A passage with no task behind it would pass for reading comprehension."""
    for frame in ("reading", "tasks", "chat"):
        assert framed(frame, prompt("qa"), Written(is_cut=True), SOURCE, 0) is None


def test_every_wording_is_drawn_and_orders_are_set_as_orders() -> None:
    """A model would learn one way of asking."""
    orders = Written(tasks=(Task("List it.", "1", "instruction"),))
    for written, ways in ((QA, PAIRS), (orders, ORDERS)):
        made = {framed("reading", prompt("qa"), written, SOURCE, n) for n in range(len(LEADS) * 12)}
        assert len(made) == len(LEADS) * len(ways)
