"""Instruction data in its usual shapes, and in unusual ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation import Instructions, Recipe, TextSize
from curation.sources.instructions import FORMS, laid_out, turns_of
from curation.testing import check_stage
from tests.conftest import write_jsonl

ASKED, ANSWERED = "What is a writ?", "An order of a court."
ONE = [ASKED, ANSWERED]
SHAPES: list[tuple[dict[str, Any], list[str]]] = [
    ({"instruction": ASKED, "input": "", "output": ANSWERED}, ONE),
    ({"instruction": "Shorten.", "input": "A long text.", "output": "Text."},
     ["Shorten.\n\nA long text.", "Text."]),
    ({"instruction": "Shorten.", "context": "A text.", "response": "Text.", "category": "x"},
     ["Shorten.\n\nA text.", "Text."]),
    ({"question": ASKED, "answer": ANSWERED}, ONE),
    ({"system_prompt": "Be brief.", "question": ASKED, "response": ANSWERED},
     [f"Be brief.\n\n{ASKED}", ANSWERED]),
    ({"prompt": ASKED, "response": ANSWERED}, ONE),
    ({"prompt": f"  {ASKED}\n", "completion": f"\n{ANSWERED} "}, ONE),
    ({"messages": [{"role": "user", "content": ASKED}, {"role": "assistant", "content": ANSWERED}]},
     ONE),
    ({"messages": [{"role": "system", "content": "Be brief."},
                   {"role": "user", "content": [{"type": "text", "text": ASKED}]},
                   {"role": "assistant", "content": ANSWERED}]},
     [f"Be brief.\n\n{ASKED}", ANSWERED]),
    ({"conversations": [{"from": "human", "value": ASKED}, {"from": "gpt", "value": ANSWERED},
                        {"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Because."}]},
     [*ONE, "Why?", "Because."]),
    ({"conversations": [ASKED, ANSWERED], "source": "x"}, ONE),
    ({"conversations": [ASKED, ANSWERED, "And then?"]}, ONE),
]  # fmt: skip
MALFORMED: list[tuple[Any, str]] = [
    ([], "no object"),
    ({}, "no dialogue in the fields none"),
    ({"instruction": ASKED}, "no dialogue in the fields instruction"),
    ({"instruction": ASKED, "output": " "}, "the answer is empty"),
    ({"instruction": None, "output": ANSWERED}, "no dialogue"),
    ({"question": 7, "answer": ANSWERED}, "the question is no text"),
    ({"question": ASKED, "answer": {"text": ANSWERED}}, "the answer is no text"),
    ({"messages": "hello"}, "the turns are no list"),
    ({"messages": []}, "no question with an answer"),
    ({"messages": [{"role": "user", "content": ASKED}]}, "no question with an answer"),
    ({"messages": [{"role": "assistant", "content": ANSWERED}]}, "turn 1 is no question"),
    ({"messages": [{"role": "tool", "content": ASKED}]}, "turn 1 is by 'tool'"),
    ({"messages": [{"content": ASKED}]}, "turn 1 is by 'none'"),
    ({"messages": [{"role": "user", "content": None}, "x"]}, "turn 1 is no text"),
    ({"messages": [4]}, "turn 1 is neither an object nor a string"),
    ({"messages": [{"role": "user", "content": ASKED}, {"role": "user", "content": ASKED}]},
     "turn 2 is no answer"),
    ({"messages": [{"role": "user", "content": ASKED}, {"role": "system", "content": "x"}]},
     "a system prompt stands among the turns"),
    ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "a part of turn 1 is no"),
]  # fmt: skip


def rows(path: str, **given: Any) -> list[dict[str, Any]]:
    stage = Instructions(path, **given)
    return [row for shard in stage.plan() for b in stage.read(shard) for row in b.to_pylist()]


@pytest.mark.parametrize(("record", "turns"), SHAPES)
def test_records_of_the_usual_shapes_become_turns(record: Any, turns: list[str]) -> None:
    """Whoever brings LIMA, Alpaca, Dolly, Orca or ShareGPT would have to convert them first."""
    assert turns_of(record) == turns


@pytest.mark.parametrize(("record", "problem"), MALFORMED)
def test_a_malformed_record_says_what_is_wrong(record: Any, problem: str) -> None:
    """Half a dialogue would be trained on, or the whole set given up for it."""
    with pytest.raises(ValueError, match=problem):
        turns_of(record)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["messages", "role", "content", "from", "prompt", "response", "x"]),
                inner,
                max_size=3,
            )
        ),
        max_leaves=8,
    )
)
def test_any_json_is_a_dialogue_or_an_error(record: object) -> None:
    """A record of a shape that nobody thought of would end the run."""
    try:
        turns = turns_of(record)
    except ValueError:
        return
    assert len(turns) % 2 == 0
    assert all(turn.strip() for turn in turns)


def test_layouts_are_chosen_by_a_hash_and_say_who_speaks() -> None:
    """A corpus in one layout alone teaches the layout; turns without names run together."""
    pairs = [laid_out(ONE, f"0 lima.jsonl#{n}") for n in range(400)]
    assert len(set(pairs)) == len(FORMS)
    assert all(pairs.count(text) > 20 for text in set(pairs))
    assert f"User: {ASKED}\nAssistant: {ANSWERED}" in pairs
    longer = {laid_out(["a", "b", "c", "d"], str(n)) for n in range(400)}
    assert len(longer) == len(FORMS) - 1
    assert "Q: a\nA: b\nQ: c\nA: d" in longer
    assert "a\n\nb\n\nc\n\nd" not in longer


def test_another_seed_lays_the_same_dialogues_out_otherwise(tmp_path: Path) -> None:
    """Two draws of one set would be one draw twice."""
    write_jsonl(tmp_path / "set.jsonl", [{"question": ASKED, "answer": ANSWERED}] * 40)
    one, again, other = (rows(str(tmp_path / "set.jsonl"), seed=seed) for seed in (0, 0, 1))
    assert one == again
    assert [row["id"] for row in one] == [row["id"] for row in other]
    assert sum(a["text"] != b["text"] for a, b in zip(one, other, strict=True)) > 20


def test_files_of_all_kinds_hold_the_same_dialogues(tmp_path: Path) -> None:
    """A set that is published as a list or a table would have to be converted first."""
    records = [{"instruction": f"{ASKED} {n}", "input": None, "output": ANSWERED} for n in range(3)]
    write_jsonl(tmp_path / "lines.jsonl", records)
    (tmp_path / "list.json").write_text(json.dumps(records, indent=1))
    write_jsonl(tmp_path / "lines.json", records)
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "table.parquet")
    for name in ("lines.jsonl", "list.json", "lines.json", "table.parquet"):
        found = rows(str(tmp_path / name))
        assert [row["error"] for row in found] == [None] * 3, name
        assert all(f"{ASKED} {n}" in row["text"] for n, row in enumerate(found))
        assert len({row["id"] for row in found}) == 3
    assert [row["id"] for row in rows(str(tmp_path / "list.json"))] == [
        f"list.json#{n}" for n in range(3)
    ]


def test_a_bad_record_is_an_error_row_by_itself(tmp_path: Path) -> None:
    """One broken line would cost the set."""
    good = {"question": ASKED, "answer": ANSWERED}
    lines = [good, '{"question": ', {"question": ASKED}, "[1]", good]
    write_jsonl(tmp_path / "set.jsonl", lines)
    (tmp_path / "cut.json").write_text('[{"question": "a", "answer": "b"}, {"que')
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    found = rows(str(tmp_path / "set.jsonl"), license="mit", name="general")
    assert [row["error"] is None for row in found] == [True, False, False, False, True]
    assert found[1]["error"].startswith("no JSON: ")
    assert found[2]["error"].startswith("no dialogue in the fields question (set.jsonl at ")
    assert {row["license"] for row in found} == {"mit"}
    assert {row["source"] for row in found} == {"general"}
    for name, told in (("cut.json", "no list of records"), ("broken.parquet", "cannot be read")):
        [row] = rows(str(tmp_path / name))
        assert told in row["error"]


def test_text_that_is_no_unicode_is_mended(tmp_path: Path) -> None:
    """A lone surrogate that JSON lets through would end the run where Arrow takes it."""
    write_jsonl(tmp_path / "set.jsonl", ['{"question": "a \\ud800", "answer": "b"}'])
    [row] = rows(str(tmp_path / "set.jsonl"))
    assert "a ?" in row["text"]


@pytest.mark.parametrize("into", ["text", "dialogue"])
def test_the_source_keeps_its_contract(tmp_path: Path, into: Any) -> None:
    """Dialogues whose ids move between runs are other dialogues."""
    records = [record for record, _ in SHAPES] + [{"question": 1}]
    write_jsonl(tmp_path / "set.jsonl", records)
    stage = Instructions(str(tmp_path / "*.jsonl"), into=into)
    check_stage(stage)
    build = Recipe(source=stage, steps=[TextSize()] if into == "text" else []).run(
        store=tmp_path / "store", workers=1
    )
    assert build.ledger().rows_out == len(SHAPES)
    assert build.ledger().balances
