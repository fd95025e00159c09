"""Dialogues beside documents: neither is lost, and neither is taken for the other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from curation import (
    BesideDialogues,
    Chunk,
    DialogueShare,
    Instructions,
    Jsonl,
    Recipe,
    RedactPii,
    TextSize,
    col,
    keep,
)
from curation.columns import columns
from curation.stage import ERROR, PARENT, Rewriter
from curation.testing import check_stage
from tests.conftest import write_jsonl


@dataclass(frozen=True, kw_only=True)
class Fails(Rewriter):
    """Says why each document failed."""

    reads: ClassVar[tuple[str, ...]] = ("text",)
    writes: ClassVar[pa.Schema] = columns("text", "prompt_id")

    def rewrite(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        none = pa.nulls(len(batch), pa.large_string())
        made = [pa.array(range(len(batch)), pa.int32()), none, none]
        error = pa.array(["no reply"] * len(batch), pa.large_string())
        return pa.RecordBatch.from_arrays([*made, error], [PARENT, "text", "prompt_id", ERROR])


@dataclass(frozen=True, kw_only=True)
class Entitles(Rewriter):
    """Makes a text of each title."""

    reads: ClassVar[tuple[str, ...]] = ("text",)
    may_read: ClassVar[tuple[str, ...]] = ("title",)
    writes: ClassVar[pa.Schema] = columns("text")

    def rewrite(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        assert batch.schema.names == ["text", "title"]
        made = [pa.array(range(len(batch)), pa.int32()), batch["title"]]
        return pa.RecordBatch.from_arrays(made, [PARENT, "text"])


def rows(texts: list[str | None], dialogues: list[str | None]) -> pa.RecordBatch:
    arrays = [pa.array(values, pa.large_string()) for values in (texts, dialogues)]
    return pa.RecordBatch.from_arrays(arrays, ["text", "dialogue"])


@pytest.mark.parametrize("inner", [Chunk(max_chars=20), RedactPii()])
def test_the_stage_keeps_its_contract(inner: Rewriter) -> None:
    """Rows that hang on their neighbours make another corpus at every run."""
    stage = BesideDialogues(rewriter=inner)
    check_stage(stage)
    texts = [None, "One sentence. Another sentence, longer.", "", None, "me@example.org"]
    check_stage(stage, examples=rows(texts, ["Q: a\nA: b", None, None, "Q: c", None]))


def test_documents_are_rewritten_and_dialogues_are_not() -> None:
    """A dialogue would be cut, mined for tasks or sent to a model."""
    batch = rows([None, "First part. Second part.", None], ["Q: a\nA: b " * 9, None, "Q: c"])
    made = BesideDialogues(rewriter=Chunk(max_chars=12)).rewrite(batch)
    assert made.to_pylist() == [
        {"parent": 0, "text": "Q: a\nA: b " * 9, "is_dialogue": True},
        {"parent": 1, "text": "First part.", "is_dialogue": False},
        {"parent": 1, "text": "Second part.", "is_dialogue": False},
        {"parent": 2, "text": "Q: c", "is_dialogue": True},
    ]


def test_the_rewriter_is_handed_what_it_may_read_and_no_dialogue() -> None:
    """Documents would lose their titles and keywords beside dialogues, and only there."""
    batch = rows(["a", None], [None, "Q: c"])
    batch = batch.append_column("title", pa.array(["A title", None], pa.large_string()))
    made = BesideDialogues(rewriter=Entitles()).rewrite(batch)
    assert made["text"].to_pylist() == ["A title", "Q: c"]


def test_what_the_rewriter_says_of_a_parent_goes_on() -> None:
    """A document without a reply would be a row without text, and no error."""
    made = BesideDialogues(rewriter=Fails()).rewrite(rows(["a", None], [None, "Q: c"]))
    assert made[ERROR].to_pylist() == ["no reply", None]
    assert made["text"].to_pylist() == [None, "Q: c"]
    assert made.schema.names == [PARENT, "text", "prompt_id", "is_dialogue", ERROR]


def test_another_rewriter_is_another_stage() -> None:
    """A stored rewrite would stand for one with other settings."""
    one, other = (BesideDialogues(rewriter=Chunk(max_chars=size)) for size in (10, 20))
    assert one.identity() != other.identity()


@pytest.mark.parametrize(
    ("ratio", "unit"), [(1.0, "text_bytes"), (0.25, "text_bytes"), (2.0, "documents")]
)
def test_a_recipe_blends_both_at_the_ratio_asked_for(
    tmp_path: Path, ratio: float, unit: Any
) -> None:
    """Whoever asks for 1:1 and gets 1:3 trains something else and does not know it."""
    documents = [{"text": f"Document {n}. " + "It goes on. " * 40} for n in range(30)]
    dialogues = [
        {"question": f"Why {n}? " + "Say. " * (n % 20), "answer": "So."} for n in range(200)
    ]
    write_jsonl(tmp_path / "domain.jsonl", [*documents, {"text": "Short."}])
    write_jsonl(tmp_path / "general.jsonl", dialogues)
    recipe = Recipe(
        source=[
            Jsonl(str(tmp_path / "domain.jsonl")),
            Instructions(str(tmp_path / "general.jsonl"), into="dialogue"),
        ],
        steps=[
            TextSize(),
            keep((col("word_count") >= 50) | col("dialogue").is_not_null(), because="too short"),
            BesideDialogues(rewriter=Chunk(max_chars=300)),
            TextSize(),
            DialogueShare(ratio=ratio, unit=unit),
            keep(col("is_blended"), because="dialogues beyond their share"),
        ],
    )
    build = recipe.run(store=tmp_path / "store", workers=2)
    assert build.ledger().balances
    found = build.documents(columns=["text", "is_dialogue", "text_bytes", "parent_id"]).collect()
    parts = {kind: rows for (kind,), rows in found.group_by("is_dialogue")}
    measured = {
        "text_bytes": parts[True]["text_bytes"].sum() / parts[False]["text_bytes"].sum(),
        "documents": len(parts[True]) / len(parts[False]),
    }
    assert ratio * 0.9 < measured[unit] <= ratio
    assert build.notes()["DialogueShare"]["ratio"] == pytest.approx(measured[unit])
    assert set(parts[False]["parent_id"]) == {f"domain.jsonl#{n}" for n in offsets(tmp_path)}
    assert all(name.startswith("general.jsonl#") for name in parts[True]["parent_id"])


def offsets(folder: Path) -> list[int]:
    """Return where the lines of the long documents start."""
    lines = (folder / "domain.jsonl").read_bytes().splitlines(keepends=True)
    return [sum(map(len, lines[:n])) for n in range(len(lines) - 1)]
