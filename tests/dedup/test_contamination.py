from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from rich.console import Console

from curation import Build, Recipe, TextSize, col, keep
from curation.dedup.contamination import report, report_rows, rich_table
from curation.dedup.decontaminate import Decontaminate
from tests.conftest import Files, write_jsonl

LONG = "Which of these seven old rivers once carried more grain to the sea than any other road did"
HALVES = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
RIVERS: list[dict[str, Any]] = [
    {"id": "long", "question": LONG},
    {"id": "short", "question": "Where does it end?", "answer": "Bonn"},
    {"id": "tiny", "question": "Why?", "answer": "rain"},
    {"id": "clean", "question": " ".join(f"c{n}" for n in range(30))},
]
ROADS: list[dict[str, Any]] = [{"id": "same", "question": LONG}, {"question": HALVES}]
#: Each half of HALVES holds three of its eight 8-grams, and a 9-gram at most.
TEXTS = [
    f"Here it says: {LONG}.",
    "nothing at all",
    "Where does it end? In Bonn.",
    " ".join(HALVES.split()[:10]),
    " ".join(HALVES.split()[5:]),
]


@pytest.fixture
def stage(tmp_path: Path) -> Decontaminate:
    """Two tasks that have an item in common."""
    write_jsonl(tmp_path / "evals" / "rivers.jsonl", RIVERS)
    write_jsonl(tmp_path / "evals" / "roads.jsonl", ROADS)
    return Decontaminate(evals=(str(tmp_path / "evals"),))


def rows_of(texts: list[str], size: int) -> list[pa.RecordBatch]:
    ids = [f"f#{n}" for n in range(len(texts))]
    return [
        pa.RecordBatch.from_arrays(
            [pa.array(part[n : n + size], pa.large_string()) for part in (ids, texts)],
            names=["id", "text"],
        )
        for n in range(0, len(texts), size)
    ]


def by_task(table: pl.DataFrame) -> dict[str, dict[str, Any]]:
    return {row.pop("task"): row for row in table.to_dicts()}


def test_the_report_counts_items_by_task_and_rule(stage: Decontaminate) -> None:
    """Which results can still be trusted is decided by these numbers."""
    found = by_task(report_rows(rows_of(TEXTS, 2), stage))
    assert found["rivers"] == {
        "items": 4,
        "uncheckable": 1,
        "contaminated": 2,
        "by_ngram": 1,
        "by_rare_ngram": 1,
        "by_coverage": 1,
        "by_corpus_coverage": 1,
        "by_question_and_answer": 1,
        "rows": 2,
        "unread": 0,
        "example_item": "rivers#long",
        "example_row": "f#0",
    }
    assert found["roads"] == {
        "items": 2,
        "uncheckable": 0,
        "contaminated": 1,
        "by_ngram": 1,
        "by_rare_ngram": 1,
        "by_coverage": 1,
        "by_corpus_coverage": 2,
        "by_question_and_answer": 0,
        "rows": 1,
        "unread": 0,
        "example_item": "roads#same",
        "example_row": "f#0",
    }


@pytest.mark.parametrize("size", [1, 3, 100])
def test_the_report_does_not_depend_on_batches(stage: Decontaminate, size: int) -> None:
    """The same corpus would be reported dirtier from one machine than from another."""
    texts = TEXTS * 3
    assert report_rows(rows_of(texts, size), stage).equals(report_rows(rows_of(texts, 2), stage))


@pytest.mark.parametrize(("copies", "rare"), [(10, 1), (11, 0)])
def test_n_grams_of_many_documents_are_common(stage: Decontaminate, copies: int, rare: int) -> None:
    """GPT-3 takes what more than ten documents hold for a phrase and not for a leak."""
    found = by_task(report_rows(rows_of([LONG] * copies, 4), stage))
    assert found["roads"]["by_ngram"] == 1
    assert found["roads"]["by_rare_ngram"] == rare
    assert found["roads"]["rows"] == copies


def test_a_row_with_two_items_of_a_task_is_one_row(stage: Decontaminate) -> None:
    """A dump of a benchmark would count for more rows than the corpus has."""
    found = by_task(report_rows(rows_of([f"{LONG} {TEXTS[2]} {LONG}"], 1), stage))
    assert (found["rivers"]["contaminated"], found["rivers"]["rows"]) == (2, 1)


def test_a_corpus_without_rows_is_clean(stage: Decontaminate) -> None:
    """A build that dropped everything has a report like any other."""
    found = report_rows([], stage)
    assert found["contaminated"].to_list() == [0, 0]
    assert found["example_item"].to_list() == [None, None]


def test_rules_that_are_not_asked_for_find_nothing(stage: Decontaminate) -> None:
    """A report on one rule must not mix in another."""
    alone = Decontaminate(evals=stage.evals, rules=("question and answer",))
    found = report_rows(rows_of(TEXTS, 9), alone)
    assert found["contaminated"].to_list() == [1, 0]
    assert found.select("by_ngram", "by_coverage", "by_corpus_coverage").sum().row(0) == (0, 0, 0)
    assert found["uncheckable"].to_list() == [3, 2]


@pytest.mark.filterwarnings("ignore:Decontaminate finds no text")
def test_items_that_cannot_be_read_are_counted(tmp_path: Path) -> None:
    """A task half of whose items were passed over would look as clean as one that was checked."""
    odd: list[dict[str, Any]] = [{"id": "u1", "riddle": LONG}, {"answer": "B"}, {"question": None}]
    write_jsonl(tmp_path / "half.jsonl", [*odd, {"question": LONG}])
    write_jsonl(tmp_path / "whole.jsonl", [{"question": HALVES}])
    found = report_rows(rows_of(TEXTS, 2), Decontaminate(evals=(str(tmp_path),)))
    assert found["items"].to_list() == [4, 1]
    assert found["unread"].to_list() == [3, 0]
    assert found["uncheckable"].to_list() == [3, 0]


def build_of(folder: Path, *steps: Any) -> Build:
    rows = [{"text": text} for text in [*TEXTS, "a", ""]]
    path = write_jsonl(folder / "pages" / "a.jsonl", rows)
    return Recipe(source=Files(str(path)), steps=list(steps)).run(store=folder / "store", workers=1)


def test_a_build_is_reported_on_whatever_its_recipe(stage: Decontaminate, tmp_path: Path) -> None:
    """Corpora that were built before anybody thought of evaluations must be checked too."""
    kept = keep(col("word_count") > 2, because="too short")
    build = build_of(tmp_path, TextSize(), kept)
    found = by_task(report(build, stage))
    assert found["rivers"]["contaminated"] == 2
    assert found["rivers"]["example_row"].startswith("a.jsonl#")


def test_a_decontaminated_build_reports_clean(stage: Decontaminate, tmp_path: Path) -> None:
    """What the stage takes out is what the report looks for."""
    clean = keep(col("contaminated_by").is_null(), because="in an evaluation")
    build = build_of(tmp_path, stage, clean)
    assert build.ledger().dropped == {"in an evaluation": 2}
    found = report(build, stage)
    assert found["contaminated"].to_list() == [0, 0]
    assert found["rows"].to_list() == [0, 0]


def test_the_report_prints_as_a_table(stage: Decontaminate) -> None:
    """A person reads it before they trust a number."""
    console = Console(width=250, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(rich_table(report_rows(rows_of(TEXTS, 2), stage)))
    head, *lines = console.export_text().splitlines()
    assert "by question and answer" in head
    assert [line.split()[0] for line in lines] == ["rivers", "roads"]
    assert "rivers#long" in lines[0]
