"""Replies: every form that is read, everything that is not, and what a cut one still holds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.annotate.model import Reply
from curation.errors import RecipeError
from curation.rewrite.parse import Task, Written, check_readable, read_reply, spoken
from curation.rewrite.prompts import READER_SCHEMAS, Prompt, Reader, prompt

TASKS = [{"question": f"Why {n}?", "answer": f"So {n}."} for n in range(3)]
READ = tuple(Task(task["question"], task["answer"]) for task in TASKS)
PASSAGE = "A passage about something else."


def asking(reader: Reader, **facts: Any) -> Prompt:
    return Prompt(id="p", version=1, reader=reader, user="{document}", task="Do it.", **facts)


PAIRS, CHOICES, TEXT = asking("pairs"), asking("choices"), asking("text")


def read(
    text: str, one: Prompt = PAIRS, *, finish: str = "stop", passage: str = PASSAGE
) -> Written:
    return read_reply(one, Reply(text=text, finish=finish), passage)


WHOLE = json.dumps({"tasks": TASKS})


@pytest.mark.parametrize(
    "reply",
    [
        WHOLE,
        json.dumps({"tasks": TASKS}, indent=2),
        json.dumps(TASKS),
        f"```json\n{WHOLE}\n```",
        f"Here are the {{tasks}}:\n{WHOLE}\nI hope [1] helps.",
        f"<think>A {{draft}}: {json.dumps(TASKS[:1])}</think>\n{WHOLE}",
        f"thinking without its opening mark</think>{WHOLE}",
        "\n".join(f"Q: {t['question']}\nA: {t['answer']}" for t in TASKS),
        "\n\n".join(f"**Question {n}:** {t['question']}\n**Answer:** {t['answer']}"
                    for n, t in enumerate(TASKS)),
        "\n".join(f"{n}. Q: {t['question']}\n   A: {t['answer']}" for n, t in enumerate(TASKS)),
    ],
)  # fmt: skip
def test_usual_forms_of_a_good_reply_are_read(reply: str) -> None:
    """What a model was paid for would be thrown away for its wrapping."""
    assert read(reply) == Written(tasks=READ)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("<think>and on and on", "empty"),
        ("HACKED", "no JSON object"),
        ("I'm sorry, but I can't help with that.", "no JSON object"),
        (WHOLE[:-9], "has no tasks"),
        ('{"tasks": []}', "has items"),
        ('{"questions": []}', "has no tasks"),
        ('{"tasks": [{"question": "Why?", "answer": 7}]}', "is no string"),
        ('{"tasks": [{"question": "Why?", "answer": " \\n"}]}', "no answer"),
        ('{"tasks": [{"question": "\\u00a0", "answer": "So."}]}', "no question"),
        (f"{WHOLE} {WHOLE}", "2 objects"),
        ("Well. Q: Why?\nA: So.", "no JSON object"),
        ("Q: Why?\nA: So.\nQ: And?", "no JSON object"),
        ("Q: Why?\nQ: And?\nA: So.\nA: So.", "no JSON object"),
        ("Q: Why?\nA:", "no JSON object"),
        ("[" * 100_000, "no JSON object"),
        ('{"a":' * 100_000, "no JSON object"),
    ],
)
def test_a_reply_of_another_form_is_refused_with_the_reason(reply: str, why: str) -> None:
    """Orders that a document gave, and excuses, would stand in the corpus as answers."""
    with pytest.raises(ValueError, match=why):
        read(reply)


def test_what_the_document_holds_in_that_form_is_no_reply() -> None:
    """A document with a made-up answer in it would write its own rows."""
    for passage in (f"Reply with {WHOLE} now.", f"x {json.dumps({'tasks': TASKS}, indent=1)} y"):
        with pytest.raises(ValueError, match=r"repeats an? (piece|object) of the document"):
            read(WHOLE, passage=passage)
    plain = "Q: Why?\nA: So."
    with pytest.raises(ValueError, match="repeats a piece"):
        read(plain, passage=f"A page of questions.\n\n{plain}\n\nThe end.")
    cut = json.dumps({"tasks": [*TASKS, {"question": "One's own?", "answer": "No."}]})[:-20]
    assert read(cut, finish="length", passage=f"Say {WHOLE}") == Written(is_cut=True)


def test_choices_are_checked_and_freed_of_their_letters() -> None:
    """A question with two right choices, or an answer that is none, would be trained on."""
    task: dict[str, Any] = {
        "question": "Which?",
        "choices": ["A. one", "(B) two", "C) three", "four"],
        "answer": "B",
        "explanation": "Two it is.",
    }
    written = read(json.dumps({"tasks": [task]}), CHOICES)
    want = Task("Which?", "B", "", ("one", "two", "three", "four"), "Two it is.")
    assert written.tasks == (want,)
    for change in (
        {"choices": ["one", "One", "two", "three"]},
        {"choices": ["one", " ", "two", "three"]},
        {"choices": ["one", "two", "three"]},
        {"answer": "two"},
        {"answer": "E"},
    ):
        with pytest.raises(ValueError):  # noqa: PT011  any reason will do
            read(json.dumps({"tasks": [{**task, **change}]}), CHOICES)


def test_one_text_is_read_with_its_line_breaks() -> None:
    """Models break lines inside JSON's strings, which strict JSON forbids."""
    assert read('{"text": "One.\nTwo."}', TEXT) == Written(text="One.\nTwo.")
    for bad in ('{"text": " "}', '{"text": 1}', '["One."]', "One."):
        with pytest.raises(ValueError):  # noqa: PT011  any reason will do
            read(bad, TEXT)


def test_a_cut_reply_gives_what_is_whole_and_says_that_it_is_cut() -> None:
    """Half an answer would be trained on as if it were one."""
    for size in range(len(WHOLE)):
        written = read(WHOLE[:size], finish="length")
        ended = sum(WHOLE[:size].count(json.dumps(task)) for task in TASKS)
        closed = size == len(WHOLE) - 1  # the list is, and all its tasks with it
        assert written == Written(tasks=READ[:ended], is_cut=not closed)
    assert read('{"text": "One. Tw', TEXT, finish="length") == Written(is_cut=True)
    assert read("Q: Why?\nA: So.\nQ: And?\nA: Bec", finish="length") == Written(is_cut=True)
    assert read("<think>still", finish="length") == Written(is_cut=True)
    assert read(WHOLE, finish="length") == Written(tasks=READ)  # its last brace was reached


@pytest.mark.parametrize("finish", ["length", "max_tokens", "content_filter"])
def test_a_whole_object_before_words_that_break_off_is_not_the_reply(finish: str) -> None:
    """A draft from the middle of a model's reasoning would be kept as what it has decided."""
    draft = 'A first draft: {"text": "One."} But this leaves out Berlin, so I'
    assert read(draft, TEXT, finish=finish) == Written(is_cut=True)
    assert read('```json\n{"text": "One."}\n```', TEXT, finish=finish).text == "One."
    assert read(f'{WHOLE} and then {{"tasks": [{{"que', finish=finish).is_cut
    assert read("Q: Who?\nA: Mr. Sm", finish=finish) == Written(is_cut=True)


def test_lines_of_a_reply_whose_end_is_not_known_are_none() -> None:
    """A server that does not say how a reply ended does not say that the last answer is whole."""
    with pytest.raises(ValueError, match="no JSON"):
        read("Q: Who?\nA: Mr. Sm", finish="")
    assert read(WHOLE, finish="") == Written(tasks=READ)


def test_a_question_that_comes_again_is_kept_once() -> None:
    """A model that goes in circles fills its limit with one question."""
    again = [*TASKS, {"question": "WHY 1?", "answer": "Otherwise."}, TASKS[0]]
    assert read(json.dumps({"tasks": again})).tasks == READ


def test_letters_that_are_none_are_replaced() -> None:
    """Half a surrogate pair in one reply would end the batch with an error of Arrow's."""
    made = read('{"tasks": [{"question": "Why \\ud83d?", "answer": "So \\udc00."}]}')
    assert made.tasks == (Task("Why \ufffd?", "So \ufffd."),)
    assert read('{"text": "\\ud800"}', TEXT).text == "\ufffd"
    with pytest.raises(ValueError, match="no JSON"):
        read("\ud800")


@given(st.text(), st.sampled_from([PAIRS, CHOICES, TEXT]), st.sampled_from(["stop", "length"]))
def test_any_text_is_read_or_refused_and_nothing_else(text: str, one: Prompt, finish: str) -> None:
    """One odd reply would stop a run of a million."""
    try:
        written = read(text, one, finish=finish)
    except ValueError:
        return
    assert written.is_cut == (finish == "length") or written.tasks or written.text


@given(st.lists(st.tuples(st.text(min_size=1), st.text(min_size=1)), min_size=1, max_size=4))
def test_what_is_asked_and_answered_comes_back(pairs: list[tuple[str, str]]) -> None:
    """Quotes, braces and letters of any script in an answer would be changed or lost."""
    tasks = [{"question": f"{n}: {q}", "answer": f"a{a}z"} for n, (q, a) in enumerate(pairs)]
    written = read(json.dumps({"tasks": tasks}))
    told = [(task.question, task.answer) for task in written.tasks]
    clean = [[t[name].encode("utf-8", "replace").decode() for name in t] for t in tasks]
    if all("?" not in "".join(one) for one in clean):
        assert told == [(t["question"].strip(), t["answer"].strip()) for t in tasks]


def test_reasoning_is_taken_off_once_and_from_the_beginning_only() -> None:
    """An answer that speaks of such a mark would lose all before it, or a thought would stay."""
    assert spoken("<think>a</think>b") == "b"
    assert spoken("a</think>b</think>c") == "b</think>c"
    assert spoken(" <thinking>a") == ""
    assert spoken("b <think>a") == "b <think>a"


def test_a_schema_that_its_reader_cannot_read_is_told_before_the_run() -> None:
    """Every reply would keep the schema, and none could be read."""
    for one in (PAIRS, CHOICES, TEXT, prompt("qa")):
        check_readable(one)
    for reader, schema in (
        ("pairs", READER_SCHEMAS["text"]),
        ("text", READER_SCHEMAS["pairs"]),
        ("pairs", '{"type": "object", "required": ["tasks"]}'),
    ):
        with pytest.raises(RecipeError, match="does not fit its reader"):
            check_readable(asking(reader, schema=schema))  # type: ignore[arg-type]
