"""Rewriting through the engine: lineage, counts, and what comes after."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from curation import Build, Chunk, Recipe, TextSize, col, keep
from curation.audit import check_store
from curation.columns import columns
from curation.errors import DataError, RecipeError
from curation.stage import PARENT, Rewriter
from curation.store import Store
from tests.conftest import kept_ids, snapshot, table, write_jsonl


@dataclass(frozen=True, kw_only=True)
class Lines(Rewriter):
    """A row for each line that is not blank; a text with a bang cannot be done."""

    reads: ClassVar[tuple[str, ...]] = ("text",)
    writes: ClassVar[pa.Schema] = columns("text")

    def rewrite(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        found = []
        for parent, text in enumerate(batch["text"].to_pylist()):
            if "!" in text:
                raise ValueError("a bang")
            found += [(parent, line) for line in text.split("\n") if line]
        parents = pa.array([p for p, _ in found], pa.int32())
        lines = pa.array([line for _, line in found], pa.large_string())
        return pa.RecordBatch.from_arrays([parents, lines], names=[PARENT, "text"])


@dataclass(frozen=True, kw_only=True)
class Careful(Rewriter):
    """A row for each line; says itself which texts it could not do. ``both`` breaks the law."""

    reads: ClassVar[tuple[str, ...]] = ("text",)
    writes: ClassVar[pa.Schema] = columns("text")

    both: bool = False
    log: str = ""

    def rewrite(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        with open(self.log, "a") as file:
            file.write(f"{batch.num_rows}\n")
        found: list[tuple[int, str | None, str | None]] = []
        for parent, text in enumerate(batch["text"].to_pylist()):
            if "!" not in text or self.both:
                found += [(parent, line, None) for line in text.split("\n") if line]
            if "!" in text:
                found.append((parent, None, f"a bang in {text!r}"))
        kinds = (pa.int32(), pa.large_string(), pa.large_string())
        arrays = [pa.array(c, k) for c, k in zip(zip(*found, strict=True), kinds, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, names=[PARENT, "text", "error"])


TEXTS = ["one two\nthree", "", "alone", "four\nfive six\n\nseven eight nine", "bad!", "x\ny"]


@pytest.fixture
def pages(tmp_path: Path) -> str:
    """Two files of three texts each, some of which a rewriter cannot do or makes nothing of."""
    for n, name in enumerate("ab"):
        rows = [
            {"text": text, "n": 3 * n + i, "url": f"http://{name}/{i}"}
            for i, text in enumerate(TEXTS[3 * n : 3 * n + 3])
        ]
        write_jsonl(tmp_path / "pages" / f"{name}.jsonl", rows)
    return f"{tmp_path}/pages/*.jsonl"


def lines_of(pages: str, *more: Any, **settings: Any) -> Recipe:
    first = keep(col("n") != 2, because="alone")
    return Recipe(source=table(pages), steps=[first, Lines(), TextSize(), *more], **settings)


def by_text(build: Build) -> dict[str, dict[str, Any]]:
    return {row["text"]: row for row in build.documents().collect().iter_rows(named=True)}


def test_new_rows_name_their_parents_and_inherit_from_them(pages: str, store: Path) -> None:
    """A rewritten text would have no licence, and nobody could say what it was made from."""
    build = lines_of(pages).run(store=store, workers=0)
    rows = by_text(build)
    assert list(rows) == [
        "one two",
        "three",
        "four",
        "five six",
        "seven eight nine",
        "x",
        "y",
    ]
    three = rows["three"]
    assert three["id"] == "a.jsonl#0/lines-2"
    assert three["parent_id"] == "a.jsonl#0"
    assert three["url"] == "http://a/0"
    assert three["source"] == "pages"
    assert rows["four"]["id"] == "b.jsonl#0/lines-1"
    assert [row["word_count"] for row in rows.values()] == [2, 1, 1, 2, 3, 1, 1]


def test_the_counts_balance_over_a_rewrite(pages: str, store: Path) -> None:
    """Rows that a rewriter lost would not be missed."""
    build = lines_of(pages, keep(col("word_count") > 1, because="one word")).run(
        store=store, workers=0
    )
    ledger = build.ledger()
    assert ledger.balances
    assert (ledger.rows_in, ledger.rows_out, ledger.errors) == (6, 3, 1)
    assert ledger.dropped == {"alone": 1, "Lines made nothing of it": 1, "one word": 4}
    assert ledger.made == 7 - 3  # three texts were made into seven
    assert build.reasons() == {**ledger.dropped, "error in Lines": 1}
    assert build.funnel().select(
        "step", "rows", "documents", "bytes", "dropped", "errors"
    ).rows() == [
        (0, 6, 6, sum(map(len, TEXTS)), 0, 0),
        (1, 5, 5, sum(map(len, TEXTS)) - 5, 1, 0),
        (2, 7, 3, sum(len(t.replace("\n", "")) for t in TEXTS if t not in ("alone", "bad!")), 1, 1),
        (3, 7, 3, 7 + 5 + 4 + 8 + 16 + 2, 0, 0),
        (4, 3, 2, 7 + 8 + 16, 4, 0),
    ]
    assert [problem for _, problem in check_store(Store(store)) if problem] == []
    assert build.errors().rows() == [
        ("b.jsonl#" + build.errors()["id"][0].partition("#")[2], 2, "Lines", "ValueError: a bang")
    ]


def test_rows_that_went_on_any_level_are_found(pages: str, store: Path) -> None:
    """Half of what was dropped would be missing from the list of it."""
    build = lines_of(pages, keep(col("word_count") > 1, because="one word")).run(
        store=store, workers=0
    )
    gone = build.dropped().collect()
    assert Counter(gone["because"]) == build.reasons()
    assert Counter(gone["step"]) == {1: 1, 2: 2, 4: 4}
    for reason, rows in build.reasons().items():
        assert build.dropped(because=reason).collect().height == rows
    assert not set(gone["id"]) & set(kept_ids(build))


def test_why_goes_from_row_to_parent_and_back(pages: str, store: Path) -> None:
    """A person who doubts a rewritten text could not look at the original."""
    build = lines_of(pages, keep(col("word_count") > 1, because="one word")).run(
        store=store, workers=0
    )
    parent = build.why("b.jsonl#0")
    assert parent.kept
    assert [(relation, row) for relation, row, _ in parent.relatives] == [
        ("rewritten into", f"b.jsonl#0/lines-{n}") for n in (1, 2, 3)
    ]
    assert [step.step for step in parent.path] == [1, 2]
    child = build.why("b.jsonl#0/lines-1")
    assert (child.kept, child.because, child.text) == (False, "one word", "four")
    assert child.relatives == [("rewritten from", "b.jsonl#0", TEXTS[3])]
    assert [step.step for step in child.path] == [3, 4]
    assert child.path[-1].values == {"word_count": 1}
    bad = build.errors()["id"][0]
    assert build.why(bad).because == "error in Lines: ValueError: a bang"


def test_a_rewriter_after_a_rewriter_keeps_the_whole_line(pages: str, store: Path) -> None:
    """After two rewrites the document that a text comes from would be lost."""
    build = lines_of(pages, Chunk(max_chars=5)).run(store=store, workers=0)
    last = build.documents().collect()
    assert last.filter(last["text"] == "nine")["id"].item() == "b.jsonl#0/lines-3/chunk-3"
    assert last.filter(last["text"] == "nine")["parent_id"].item() == "b.jsonl#0/lines-3"
    funnel = build.funnel()
    assert funnel["documents"].to_list()[-1] == 3
    assert build.ledger().balances
    path = [relation for relation, _, _ in build.why("b.jsonl#0/lines-3").relatives]
    assert path == ["rewritten from", *["rewritten into"] * 3]


def test_a_rewriter_that_mostly_fails_ends_the_run(tmp_path: Path, store: Path) -> None:
    """A model server that is down would make an empty corpus without a word."""
    write_jsonl(tmp_path / "a.jsonl", [{"text": "bad!" if n % 2 else "good"} for n in range(120)])
    with pytest.raises(DataError, match="60 of 120 rows are in error") as caught:
        Recipe(source=table(tmp_path / "a.jsonl"), steps=[Lines()]).run(store=store, workers=0)
    assert "ValueError: a bang" in caught.value.facts["examples"]


def test_a_rewrite_is_the_same_with_workers(pages: str, tmp_path: Path) -> None:
    """Ids of new rows would depend on who made them."""
    recipe = lines_of(pages, Chunk(max_chars=5), TextSize())
    for workers in (0, 2):
        recipe.run(store=tmp_path / f"store-{workers}", workers=workers)
    assert snapshot(tmp_path / "store-0") == snapshot(tmp_path / "store-2")


def test_a_rewrite_that_makes_nothing_at_all_is_an_empty_corpus(
    tmp_path: Path, store: Path
) -> None:
    """The steps behind it would fail on batches without a row."""
    write_jsonl(tmp_path / "a.jsonl", [{"text": ""}] * 3)
    steps = [Lines(), TextSize(), keep(col("word_count") > 1, because="short")]
    build = Recipe(source=table(tmp_path / "a.jsonl"), steps=steps).run(store=store, workers=0)
    assert build.documents().collect().height == 0
    assert build.reasons() == {"Lines made nothing of it": 3}
    assert build.ledger().balances


def test_a_rewriter_says_itself_which_parents_failed(
    pages: str, tmp_path: Path, store: Path
) -> None:
    """A batch with one bad document would be done again in halves, and paid for again."""
    log = tmp_path / "log"
    steps = [Careful(log=str(log)), TextSize()]
    build = Recipe(source=table(pages), steps=steps).run(store=store, workers=0)
    assert build.ledger().balances
    assert build.errors().select("step", "stage", "reason").rows() == [
        (1, "Careful", "a bang in 'bad!'")
    ]
    assert build.reasons() == {"error in Careful": 1, "Careful made nothing of it": 1}
    assert len(build.documents().collect()) == 8
    assert log.read_text().split() == ["3", "3"]
    assert build.why(build.errors()["id"][0]).because == "error in Careful: a bang in 'bad!'"


def test_a_parent_is_in_error_or_has_rows(pages: str, tmp_path: Path, store: Path) -> None:
    """Rows of a document that counts as lost would stay in the corpus, or vanish unseen."""
    steps = [Careful(both=True, log=str(tmp_path / "log"))]
    with pytest.raises(RecipeError, match="made rows of a parent that it says is in error"):
        Recipe(source=table(pages), steps=steps).run(store=store, workers=0)
