from __future__ import annotations

import bz2
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import RecipeError, ResourceError
from curation.evaluate.tasks import Task, TaskItem, read_task
from tests.conftest import ROOT, write_jsonl

EVALS = ROOT.parent / "shared" / "data" / "evals"
GOOD = {"id": "g", "question": "Which?", "choices": ["yes", "no"], "answer": 1}


def one_item(path: Path, record: dict[str, Any], **asked: Any) -> TaskItem:
    (item,) = read_task(write_jsonl(path / "t.jsonl", [record]), **asked).items
    return item


# ---------------------------------------------------------------- records


@pytest.mark.parametrize(
    "record",
    [
        {"question": "Q", "choices": ["x", "y", "z"], "answer": 1},
        {"question": "Q", "choices": ["x", "y", "z"], "answer": "B"},
        {"question": "Q", "choices": ["x", "y", "z"], "answer": " b"},
        {"question": "Q", "choices": ["x", "y", "z"], "answer": "y"},
        {"question": "Q", "choices": ["x", "y", "z"], "answer": "1"},
        {"question": "Q", "choices": ["x", "y", "z"], "answer": [1]},
        {"question": "Q", "choices": ["x", "long", "z"], "answer": "long"},
        {"question": "Q", "choices": ["x", "long ", "z"], "answer": " long"},
        {"query": "Q", "options": {"A": "x", "B": "y", "C": "z"}, "answer": "B"},
        {"question": "Q", "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "2"},
        {"goal": "Q", "sol1": "x", "sol2": "y", "label": 1},
        {"sentence": "Q", "option1": "x", "option2": "y", "answer": "2"},
        {"ctx": "Q", "endings": ["x", "y"], "label": "1"},
        {"question": {"stem": "Q", "choices": [{"label": "A", "text": "x"},
                                               {"label": "B", "text": "y"}]}, "answerKey": "B"},
        {"Question": "Q", "Choices": ["x", "y"], "Answer": 1},
    ],
)  # fmt: skip
def test_an_answer_is_an_index_a_label_a_letter_or_a_text(
    record: dict[str, Any], tmp_path: Path
) -> None:
    """An answer that is off by one makes a good model a bad one, and all else looks right."""
    item = one_item(tmp_path, record)
    assert item.question == "Q"
    assert item.answer == 1
    assert item.choices[1].strip() in ("y", "long")


def test_a_number_among_the_choices_is_the_choice_and_no_index(tmp_path: Path) -> None:
    """Half of the sets about arithmetic have answers like 1, which is the third choice here."""
    record = {"question": "Q", "choices": ["3", "2", "1"], "answer": "1"}
    assert one_item(tmp_path, record).answer == 2
    assert one_item(tmp_path, record | {"choices": [3, 2, 1]}).answer == 2
    assert one_item(tmp_path, record | {"answer": 1}).answer == 1


def test_id_context_source_and_line_are_kept(tmp_path: Path) -> None:
    """Tables by source, and the way back from an item to its line, hang on them."""
    record = GOOD | {"id": 7, "context": ["one", "two"], "subject": "rings"}
    path = write_jsonl(tmp_path / "t.jsonl", ["", record, GOOD | {"id": None}])
    first, second = read_task(path).items
    assert first == TaskItem("7", "Which?", ("yes", "no"), 1, "one\ntwo", "rings", 2)
    assert (second.id, second.line, second.source) == ("3", 3, "")


def test_ids_are_made_distinct(tmp_path: Path) -> None:
    """Two items of one id are one in a paired comparison, and a verdict drops or doubles them."""
    rows = [GOOD, GOOD | {"id": "g, line 3"}, GOOD, GOOD]
    task = read_task(write_jsonl(tmp_path / "t.jsonl", rows))
    assert len({item.id for item in task.items}) == 4
    assert [item.id for item in task.items][:2] == ["g", "g, line 3"]


# ---------------------------------------------------------------- what cannot be used


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{not json", "not JSON in UTF-8"),
        ("[1, 2]", "not an object"),
        ("[" * 100_000, "not JSON in UTF-8"),
        ({"question": "Q", "answer": 0}, "no choices"),
        ({"question": "Q", "choices": ["x", "y"]}, "no answer"),
        ({"question": "Q", "choices": ["x", "y"], "answer": None}, "no answer"),
        ({"question": "Q", "choices": ["x", "y"], "answer": ""}, "no answer"),
        ({"question": "Q", "choices": ["x", "y"], "answer": []}, "no answer"),
        ({"question": "Q", "choices": ["x", "y"], "answer": 2}, "the answer is none of"),
        ({"question": "Q", "choices": ["x", "y"], "answer": -1}, "the answer is none of"),
        ({"question": "Q", "choices": ["x", "y"], "answer": "C"}, "the answer is none of"),
        ({"question": "Q", "choices": ["x", "y"], "answer": "what"}, "the answer is none of"),
        ({"question": "Q", "choices": ["x", "y"], "answer": True}, "the answer is none of"),
        ({"question": "Q", "choices": ["x", "y"], "answer": 0.5}, "the answer is none of"),
        ({"question": "Q", "choices": ["x", "y"], "answer": {"a": 1}}, "the answer is none of"),
        ({"question": "Q", "choices": ["x", "y"], "answer": [0, 1]}, "more than one right"),
        ({"question": "Q", "choices": ["x", ""], "answer": 0}, "a choice without text"),
        ({"question": "Q", "choices": ["x", " "], "answer": 0}, "a choice without text"),
        ({"question": "Q", "choices": [["x", "y"], "z"], "answer": 0}, "an odd choice"),
        ({"question": "Q", "choices": ["x"], "answer": 0}, "fewer than two choices"),
        ({"choices": ["x", "y"], "answer": 0}, "no question"),
    ],
)
def test_a_line_that_cannot_be_used_is_counted_with_its_place(
    line: Any, reason: str, tmp_path: Path
) -> None:
    """Of a set that is half unread, a score without that word would be taken for the set's."""
    path = write_jsonl(tmp_path / "t.jsonl", [GOOD, line, GOOD | {"id": "h"}])
    task = read_task(path)
    assert [item.id for item in task.items] == ["g", "h"]
    (fault,) = task.faults
    assert (fault.file, fault.line) == (str(path), 2)
    assert reason in fault.reason
    assert task.unread == {fault.reason: 1}
    assert f"{path}, line 2: " in str(fault)


def test_text_that_is_no_utf8_is_a_fault(tmp_path: Path) -> None:
    """One page from an old crawl must not end an evaluation that took an hour."""
    path = tmp_path / "t.jsonl"
    path.write_bytes(json.dumps(GOOD).encode() + b'\n{"question": "\xff"}\r\n')
    assert [fault.line for fault in read_task(path).faults] == [2]


def test_a_file_of_nothing_that_can_be_used_is_an_error(tmp_path: Path) -> None:
    """A task without items would be a measure without a value."""
    with pytest.raises(ResourceError, match="no item") as error:
        read_task(write_jsonl(tmp_path / "t.jsonl", ["{", {"question": "Q"}]))
    assert "line 1: not JSON" in error.value.facts["found"]
    with pytest.raises(ResourceError, match="no item"):
        read_task(write_jsonl(tmp_path / "t.jsonl", []))
    with pytest.raises(ResourceError, match="cannot be read"):
        read_task(tmp_path / "absent.jsonl")
    with pytest.raises(ResourceError, match="cannot be read"):
        read_task(tmp_path)


json_value = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 5) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["text", "label", "A", "B", "stem"]), inner, max_size=3)
    ),
    max_leaves=6,
)
names = st.sampled_from(
    "question choices answer answers label context id prompt options source text sol1 sol2".split()
)
bad_line = st.dictionaries(names, json_value, max_size=6).map(json.dumps) | st.text(max_size=30)


@settings(deadline=None, max_examples=120)
@given(st.lists(bad_line, max_size=4), st.sampled_from(["choice", "cloze", "answer", None]))
def test_no_line_whatever_breaks_the_reader(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], kind: Any
) -> None:
    """Evaluation sets are written by everyone; each line is an item or a counted fault."""
    path = tmp_path_factory.mktemp("tasks") / "t.jsonl"
    text = "\n".join([*(line.replace("\n", " ") for line in lines), json.dumps(GOOD)])
    path.write_bytes(text.encode(errors="replace"))
    task = read_task(path, kind=kind)
    places = [item.line for item in task.items] + [fault.line for fault in task.faults]
    used = [n for n, line in enumerate(path.read_bytes().split(b"\n"), 1) if line.strip()]
    assert sorted(places) == used
    for item in task.items:
        task.prompt(item)
        assert all(ending.strip() for ending in task.continuations(item))
        item.id.encode()


# ---------------------------------------------------------------- files


def test_a_task_reads_alike_however_it_is_packed(tmp_path: Path) -> None:
    """The same set under another compression has to be the same task, to the fingerprint."""
    data = "".join(json.dumps(GOOD | {"id": n}) + "\r\n" for n in range(50)).encode("utf-8-sig")
    packed = {
        "t.jsonl": data,
        "t.jsonl.gz": gzip.compress(data),
        "t.jsonl.bz2": bz2.compress(b"") + bz2.compress(data),
        "t.jsonl.zst": zstandard.compress(b"")
        + zstandard.compress(data[:700])
        + zstandard.compress(data[700:]),
    }
    tasks = []
    for name, content in packed.items():
        (tmp_path / name).write_bytes(content)
        tasks.append(read_task(tmp_path / name))
    assert all(task.items == tasks[0].items and not task.faults for task in tasks)
    assert {task.name for task in tasks} == {"t"}
    assert len(tasks[0].items) == 50
    assert len(read_task(tmp_path / "t.jsonl", limit=7).items) == 7
    assert read_task(tmp_path / "t.jsonl", name="other").name == "other"


def test_a_file_that_was_cut_off_says_where(tmp_path: Path) -> None:
    """Half a download is half a set; its score stands beside that of the whole one."""
    rows = [GOOD | {"id": n, "question": f"{n * 7919 % 1009} which?"} for n in range(4000)]
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    (tmp_path / "t.jsonl.gz").write_bytes(gzip.compress(data)[:-9000])
    task = read_task(tmp_path / "t.jsonl.gz")
    assert 0 < len(task.items) < 4000
    assert "truncated" in task.faults[-1].reason
    assert task.faults[-1].line == len(task.items) + 1


@pytest.mark.parametrize(
    ("name", "items", "chance"),
    [("seceval-single", 1255, 0.25), ("medmcqa-dev1500", 1500, 0.25),
     ("pubmedqa-dev", 500, 1 / 3), ("mmlu-dev", 285, 0.25)],
)  # fmt: skip
def test_real_sets_are_read_whole(name: str, items: int, chance: float) -> None:
    """These are the sets that results are told of."""
    path = EVALS / f"{name}.jsonl.zst"
    if not path.exists():
        pytest.skip(f"needs the real evaluation sets in {EVALS}")
    task = read_task(path)
    assert (task.kind, len(task.items), task.faults) == ("choice", items, ())
    assert task.chance == pytest.approx(chance)


# ---------------------------------------------------------------- prompts


def test_a_question_is_put_as_its_protocol_says() -> None:
    """Another prompt is another task: numbers of before and after could not be compared."""
    item = TaskItem("a", "Which?", ("yes", "no"), 1, "It rains.")
    other = TaskItem("b", "What?", ("this", "that"), 0)
    task = Task("t", (item, other))
    assert task.prompt(item) == "It rains.\nQuestion: Which?\nAnswer:"
    assert task.continuations(item) == (" yes", " no")
    assert task.prompt(item, (other,)) == (
        "Question: What?\nAnswer: this\n\nIt rains.\nQuestion: Which?\nAnswer:"
    )


@pytest.mark.parametrize(
    ("question", "prompt", "ending"),
    [
        ("The spot is on ____.", "The spot is on ", "Jupiter"),
        ("The spot is on", "The spot is on", " Jupiter"),
        ("The spot is on ", "The spot is on ", "Jupiter"),
        ("___ has a spot.", "", "Jupiter"),
        ("A (___) spot on ___.", "A (", "Jupiter"),
        ("snake__case is on", "snake__case is on", " Jupiter"),
    ],
)
def test_a_cloze_goes_on_with_its_answer(question: str, prompt: str, ending: str) -> None:
    """A doubled or missing space makes the right word an unlikely one."""
    item = TaskItem("a", question, ("Jupiter",))
    task = Task("t", (item,), "cloze")
    assert (task.prompt(item), task.continuations(item)) == (prompt, (ending,))
    more = TaskItem("b", question, ("Jupiter",), context="Planets.")
    assert task.prompt(more) == f"Planets.\n{prompt}"


def test_the_kind_of_a_task_is_told_by_its_records(tmp_path: Path) -> None:
    """A short-answer set taken for a choice would have no item at all."""
    rows = {
        "choice": GOOD,
        "cloze": {"question": "It is on ___.", "answer": "Jupiter"},
        "answer": {"question": "Where?", "answers": ["Jupiter", "On Jupiter"]},
    }
    for kind, row in rows.items():
        assert read_task(write_jsonl(tmp_path / "t.jsonl", [row])).kind == kind
    item = one_item(tmp_path, rows["answer"])
    assert (item.choices, item.answer) == (("Jupiter", "On Jupiter"), 0)
    cloze = one_item(tmp_path, {"text": "It is on", "answer": "Jupiter"}, kind="cloze")
    assert (cloze.question, cloze.choices) == ("It is on", ("Jupiter",))
    path = write_jsonl(tmp_path / "t.jsonl", [rows["answer"], {"question": "Where?"}])
    assert read_task(path).unread == {"no answer": 1}


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.integers(0, 14), st.randoms())
def test_no_item_is_shown_itself(questions: list[int], number: int, random: Any) -> None:
    """An item that is among its own examples is answered by copying."""
    items = [TaskItem(f"i{n}", f"Q{q}", ("x", "y")) for n, q in enumerate(questions)]
    shots = Task("t", tuple(items)).shots(number)
    for item in items:
        others = [other for other in items if other.question != item.question]
        assert len(shots[item.id]) == min(number, len(others))
        assert all(shot.question != item.question for shot in shots[item.id])
        assert len({shot.id for shot in shots[item.id]}) == len(shots[item.id])
    random.shuffle(items)
    assert Task("t", tuple(items)).shots(number) == shots


@pytest.mark.parametrize(
    ("items", "kind", "found"),
    [
        ([TaskItem("a", "Q", ("x", "y"))], "guess", "'guess'"),
        ([TaskItem("a", "Q", ("x", "y"))] * 2, "choice", "2 items have this id"),
        ([TaskItem("a", "Q", ("x", "y"), 2)], "choice", "none of the choices"),
        ([TaskItem("a", "Q", ("x", "y"), -1)], "choice", "none of the choices"),
        ([TaskItem("a", "Q", ("x",))], "choice", "fewer than two"),
        ([TaskItem("a", "Q", ())], "answer", "no answer"),
        ([TaskItem("a", "Q", ("x", " "))], "choice", "without text"),
        ([TaskItem("a", "", ("x", "y"))], "choice", "no question"),
    ],
)
def test_a_task_that_cannot_be_scored_is_not_made(
    items: list[TaskItem], kind: Any, found: str
) -> None:
    """A probe with a defect is found before the models are trained, not after."""
    with pytest.raises(RecipeError) as error:
        Task("t", tuple(items), kind)
    assert found in error.value.facts["found"]


def test_an_item_without_a_question_is_a_text_to_go_on_with() -> None:
    """A base model would be asked an empty question in the middle of a sentence."""
    item = TaskItem("a", "", ("load", "rain"), 0, "A log line lets code")
    task = Task("probe", (item,))
    assert task.prompt(item) == "A log line lets code"
    assert task.continuations(item) == (" load", " rain")
