"""Why, of rows that a model wrote: source and rewrite side by side."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from curation import Build, Generate, Recipe, col, keep, row_annotator
from tests.conftest import table, write_jsonl
from tests.rewrite.writers import Writer

TEXT = "The pressure was 120 mmHg at rest. It rose to 180 mmHg under load, and fell again soon."
WIDE = "血圧は安静時に百二十であった。負荷の下で百八十に上がり、その後まもなく下がった。" * 2


@row_annotator(writes={"is_faithful": pa.bool_()})
def judged(text: str) -> bool:
    return "180" in text


@pytest.fixture
def build(tmp_path: Path, store: Path) -> Build:
    path = write_jsonl(
        tmp_path / "a.jsonl", [{"text": TEXT}, {"text": WIDE}, {"text": "\x1b[31mR"}]
    )
    steps = [
        Generate(model=Writer(), prompts=("summary", "qa"), min_chars=5, frame="tasks"),
        judged,
        keep(col("is_faithful"), because="not faithful"),
    ]
    return Recipe(source=table(path), steps=steps).run(store=store, workers=0)


def test_a_rewritten_row_stands_beside_its_source(build: Build) -> None:
    """Nobody could see at a glance what a model added or left out."""
    why = build.why("a.jsonl#0/generate-1")
    [one] = why.rewrites
    assert (one.source, one.source_id, one.kept) == (TEXT, "a.jsonl#0", True)
    assert one.text == TEXT
    assert list(one.facts) == [
        *("rewriter", "prompt_id", "model_id", "rewrite_seed", "reply_is_cut"),
        *("failed_prompt_count", "is_faithful"),
    ]
    page = why.page(80)
    assert "prompt_id summary@1, model_id writer, rewrite_seed" in " ".join(page.split())
    assert "is_faithful True" in " ".join(page.split())
    lines = page.splitlines()
    title = next(n for n, line in enumerate(lines) if line.startswith("  source a.jsonl#0"))
    assert "rewrite a.jsonl#0/generate-1" in lines[title]
    assert lines[title + 1].startswith("  The pressure was 120 mmHg")
    assert max(map(len, lines[title:])) <= 80
    assert "[the source as it is]" in lines[title + 1]
    assert why.relatives == [("rewritten from", "a.jsonl#0", TEXT)]
    assert page.count("120 mmHg at") == 1  # neither text is shown twice


def test_a_parent_shows_its_rewrites_and_what_became_of_them(build: Build) -> None:
    """Of a document that gave nothing one would not see what was wrong with its rewrites."""
    ids = build.dropped(because="not faithful").collect()["id"].to_list()
    wide = build.why(ids[0].partition("/")[0])
    assert [(one.id, one.kept, one.because) for one in wide.rewrites] == [
        (f"{wide.id}/generate-{n}", False, "not faithful") for n in (1, 2)
    ]
    page = wide.page(70)
    assert page.count("dropped: not faithful") == 2
    assert page.count("rewritten into") == 2


def test_columns_are_as_wide_as_they_look(build: Build) -> None:
    """Chinese letters take two cells: the right column would stagger."""
    from rich.cells import cell_len

    why = build.why(build.dropped(because="not faithful").collect()["id"][0])
    lines = [line for line in why.page(72).splitlines() if "圧" in line or "百" in line]
    assert lines
    assert all(cell_len(line) <= 72 for line in lines)


def test_a_narrow_terminal_gets_one_under_the_other(build: Build) -> None:
    """Two columns of ten letters can be read by nobody."""
    page = build.why("a.jsonl#0/generate-1").page(40)
    assert "  source a.jsonl#0\n    | The pressure was 120 mmHg at" in page
    assert max(map(len, page[page.index("  source a.jsonl#0\n") :].splitlines())) <= 40


def test_a_text_cannot_command_the_terminal(build: Build) -> None:
    """A page could clear the screen, or colour all that follows."""
    odd = build.documents().collect()["parent_id"].to_list()
    for parent in {*odd, *build.dropped().collect()["id"].to_list()}:
        why = build.why(parent)
        told = [why.page(100), *("\n".join(one.lines(100)) for one in why.rewrites)]
        assert not any(mark in page for page in told for mark in "\x1b\x07\r")
