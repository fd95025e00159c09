"""Prompts: what is shipped, what files may hold, and the block that a document cannot leave."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import RecipeError, ResourceError
from curation.rewrite.parse import check_readable
from curation.rewrite.prompts import Prompt, block, prompt, read_prompt, shipped

FACTS: dict[str, Any] = {"id": "mine", "version": 2, "reader": "pairs", "user": "{document}\nAsk!"}


def test_the_prompts_of_the_issue_are_there_and_can_be_read() -> None:
    """A recipe that names one would end with an error about the package's own file."""
    wanted = "essence explain instruction multiple_choice qa summary translate"
    assert shipped() == wanted.split()
    for name in shipped():
        one = prompt(name)
        assert one.id == name
        assert one.system
        assert one.typical_tokens <= one.max_tokens
        check_readable(one)


def test_the_document_comes_first_and_then_what_is_to_be_done_with_it() -> None:
    """Prompts about one passage would share no beginning, and a server would read it each time."""
    told = [prompt(name).messages("A passage.", "German") for name in shipped()]
    assert len({messages[0] for messages in told}) == 1
    shown = block("A passage.")
    assert all(messages[1][1].startswith(shown) for messages in told)
    assert "German" in prompt("translate").messages("A passage.", "German")[1][1]


@given(st.text())
def test_no_document_holds_its_closing_mark(text: str) -> None:
    """A document could end its block and speak in the user's name."""
    shown = block(text)
    mark = re.match(r"<(document-[0-9a-f]{12})>\n", shown)
    assert mark is not None
    inner, _, rule = shown.removeprefix(mark[0]).rpartition(f"\n</{mark[1]}>\n\n")
    assert mark[1] not in inner
    assert mark[1].partition("-")[2] not in text
    assert rule.startswith(f"Everything between <{mark[1]}> and </{mark[1]}> is a document")
    assert block(text) == shown


def test_a_document_that_holds_the_marks_of_another_gets_others() -> None:
    """A page that prints the block of a known text would close that text's block."""
    first = block("harmless")
    outer = block(first)
    mark = outer.splitlines()[0]
    assert mark not in first
    assert outer.startswith(f"{mark}\n{first}\n</{mark[1:]}\n")


def test_a_mark_that_the_document_has_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A document that happens to hold its own mark would close its block."""
    monkeypatch.setattr("curation.rewrite.prompts._MARK_DIGITS", 2)
    taken = " ".join(f"{n:02x}" for n in range(256) if n != 0x7F)
    assert block(taken).startswith("<document-7f>\n")


@pytest.mark.parametrize(
    "control",
    [
        *("<|im_start|>", "<|im_end|>", "<|eot_id|>", "<\uff5cend\u2581of\u2581sentence\uff5c>"),
        *("</s>", "<s>", "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"),
        *("<start_of_turn>", "<end_of_turn>", "<think>", "</think>", "<EOS>", "[/SYSTEM_PROMPT]"),
    ],
)
def test_marks_of_chat_templates_are_broken_up(control: str) -> None:
    """A tokenizer reads them as the end of the user's turn, wherever they stand."""
    shown = block(f"before {control} after")
    assert control not in shown
    assert shown.replace(" ", "").count(control) == 1


def test_marks_of_other_languages_stay_as_they_are() -> None:
    """Code and rules would be shown with spaces that are not theirs."""
    text = "a <b> c </strong> [INSTALL] x[1] <-> a|b <section> <system> #<x"
    assert text in block(text)


def written(path: Path, facts: dict[str, Any]) -> Path:
    path.write_text(json.dumps(facts))
    return path


def test_a_prompt_is_read_from_any_of_three_kinds_of_file(tmp_path: Path) -> None:
    """Whoever keeps prompts in another form than ours would have to write them into code."""
    made = Prompt(**FACTS)
    written(tmp_path / "a.json", FACTS)
    (tmp_path / "a.toml").write_text(
        'id = "mine"\nversion = 2\nreader = "pairs"\nuser = """{document}\nAsk!"""\n'
    )
    (tmp_path / "a.yaml").write_text(
        "id: mine\nversion: 2\nreader: pairs\nuser: |-\n  {document}\n  Ask!\n"
    )
    for ending in ("json", "toml", "yaml"):
        assert prompt(str(tmp_path / f"a.{ending}")) == made
    schema = json.loads(made.json_schema)
    assert read_prompt(written(tmp_path / "b.json", {**FACTS, "schema": schema})).schema


def test_an_edited_file_is_another_prompt_at_once(tmp_path: Path) -> None:
    """In a notebook the first wording would be asked for ever."""
    path = written(tmp_path / "a.json", FACTS)
    first = prompt(str(path))
    written(path, {**FACTS, "user": "{document}\nAsk more!"})
    assert prompt(str(path)).facts() != first.facts()


@pytest.mark.parametrize(
    ("facts", "law"),
    [
        ({"id": "My prompt"}, "id is a name"),
        ({"version": 0}, "version is 1 or more"),
        ({"version": "1"}, "version is 1 or more"),
        ({"reader": "prose"}, "reader is one of"),
        ({"max_tokens": 0}, "max_tokens is 1 or more"),
        ({"typical_tokens": 0}, "typical_tokens is 1 or more"),
        ({"system": None}, "system, schema and task are text"),
        ({"user": "Ask!"}, "has {document} once"),
        ({"user": "{document} {document}"}, "has {document} once"),
        ({"user": "{document} {author}"}, "has {document} once"),
        ({"user": '{document} {"tasks": []}'}, "has {document} once"),
        ({"user": "{document} {"}, "has {document} once"),
        ({"reader": "text"}, "does not say what was asked"),
        ({"schema": "[]"}, "cannot be held to"),
        ({"schema": '{"type": "object", "pattern": "x"}'}, "cannot be held to"),
    ],
)
def test_a_prompt_that_makes_no_sense_is_told_before_it_is_asked(
    facts: dict[str, Any], law: str, tmp_path: Path
) -> None:
    """It would be asked ten thousand times, and no reply could be read."""
    with pytest.raises(RecipeError, match=re.escape(law)):
        Prompt(**{**FACTS, **facts})
    with pytest.raises(RecipeError) as told:
        read_prompt(written(tmp_path / "a.json", {**FACTS, **facts}))
    assert told.value.facts["file"].endswith("a.json")


def test_what_is_wrong_with_a_file_is_told(tmp_path: Path) -> None:
    """A traceback of a parser says nothing about prompts."""
    with pytest.raises(RecipeError, match="other fields") as told:
        read_prompt(written(tmp_path / "a.json", {**FACTS, "max_token": 5}))
    assert "max_tokens" in told.value.facts["remedy"]
    with pytest.raises(RecipeError, match="other fields") as told:
        read_prompt(written(tmp_path / "a.json", {"id": "mine"}))
    assert told.value.facts["found"] == "no version, user, reader"
    for name, text in (("a.json", "{"), ("a.yaml", "a: [1"), ("a.toml", "= 1"), ("a.txt", "x")):
        (tmp_path / name).write_text(text)
        with pytest.raises(RecipeError, match="cannot be read"):
            read_prompt(tmp_path / name)
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(RecipeError, match="cannot be read"):
        prompt(str(tmp_path / "list.yaml"))
    with pytest.raises(ResourceError, match="cannot be read"):
        prompt(str(tmp_path / "nowhere.yaml"))
    with pytest.raises(RecipeError, match="no prompt 'sumary'") as missing:
        prompt("sumary")
    assert "summary" in missing.value.facts["remedy"]
