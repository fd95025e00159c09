from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import (
    Build,
    ExactDuplicates,
    Jsonl,
    MinHashSketch,
    NearDuplicates,
    Recipe,
    TextHash,
    col,
    duplicate_steps,
    keep,
)
from curation.columns import COLUMNS
from curation.dedup.spill import Spill
from curation.errors import IntegrityError, RecipeError
from curation.testing import MemoryRows, check_stage
from tests.conftest import ROOT, command, curation, environment, snapshot, wait_until, write_jsonl
from tests.oracles import near as oracle

DEDUP = ROOT.parent / "shared" / "data" / "dedup"
#: A sketch that finds every pair that is alike at all: one value a band.
EAGER = MinHashSketch(bands=112, rows=1, ngram=2)
LITTLE = 1 << 20

Found = dict[str, tuple[str | None, float | None, str | None, int | None]]


class Sketched(MemoryRows):
    """Rows that know who sketched them."""

    sketcher = EAGER

    def maker(self, name: str) -> MinHashSketch | None:
        return self.sketcher if name == "sketch" else None


def batch_of(rows: Sequence[Mapping[str, Any]], sketcher: MinHashSketch) -> pa.RecordBatch:
    names = dict.fromkeys(["id", "text", *(name for row in rows for name in row)])
    kinds = {name: COLUMNS[name][0] if name in COLUMNS else None for name in names}
    arrays = [pa.array([row.get(name) for row in rows], kinds[name]) for name in names]
    batch = pa.RecordBatch.from_arrays(arrays, names=list(names))
    made = sketcher.annotate(batch.select(["text"]))
    for name in ("sketch", "shingle_count"):
        batch = batch.append_column(name, made[name])
    if "group_size" not in names:
        batch = batch.append_column("group_size", pa.nulls(len(rows), pa.uint64()))
    return batch


def reduced(
    stage: NearDuplicates,
    rows: Sequence[Mapping[str, Any]],
    scratch: Path,
    sketcher: MinHashSketch = EAGER,
    size: int = 10_000,
) -> Found:
    """Return id → (duplicate_of, similarity, group_id, group_size)."""
    batch = batch_of(rows, sketcher)
    memory = Sketched([batch.slice(at, size) for at in range(0, len(batch), size)], scratch)
    memory.sketcher = sketcher
    made = list(stage.reduce(memory))
    assert all(one.schema == stage.writes for one in made)
    table = pa.Table.from_batches(made, stage.writes).drop_columns("duplicate_in").to_pylist()
    return {row["id"]: tuple(found.values()) for row, found in zip(rows, table, strict=True)}


def texts_of(*texts: str | None) -> list[dict[str, Any]]:
    return [{"id": f"f#{n}", "text": text} for n, text in enumerate(texts)]


def edited(words: Sequence[str], *places: int) -> str:
    return " ".join("edit" if at in places else word for at, word in enumerate(words))


# ---------------------------------------------------------------- against the definition

word = st.sampled_from("a b c d e".split())
few_texts = st.lists(st.none() | st.lists(word, max_size=7).map(" ".join), min_size=1, max_size=9)


@pytest.mark.parametrize("memory_bytes", [LITTLE, 1 << 30])
@settings(deadline=None, max_examples=60)
@given(few_texts, st.sampled_from([0.3, 0.5, 0.8, 1.0]), st.integers(1, 4), st.randoms())
def test_rows_go_as_taking_them_by_preference_decides(
    tmp_path_factory: pytest.TempPathFactory,
    memory_bytes: int,
    texts: list[str | None],
    least: float,
    size: int,
    random: Any,
) -> None:
    """A wrong group drops a document that was no copy, and nobody would ever see it."""
    rows = [{"id": f"x{n * 7919 % 101}#{n}", "text": text} for n, text in enumerate(texts)]
    sets = {
        row["id"]: set(oracle.shingles(oracle.words(row["text"] or ""), EAGER.ngram))
        for row in rows
    }
    stage = NearDuplicates(similarity=least, memory_bytes=memory_bytes)
    found = reduced(stage, rows, tmp_path_factory.mktemp("scratch"), size=size)
    for name, (twin, alike, group, group_size) in found.items():
        if twin is not None:
            assert found[twin][0] is None, "who is repeated stays"
            assert alike == pytest.approx(oracle.jaccard(sets[name], sets[twin]))
            assert alike >= np.float32(least)
            assert group == twin == found[twin][2]
        members = [other for other, value in found.items() if value[2] == group]
        if not sets[name]:
            assert (twin, group, group_size) == (None, None, None)
        elif group is None:
            assert group_size == 1
        else:
            assert group_size == len(members) > 1
    stay = [name for name, value in found.items() if value[0] is None and sets[name]]
    for one in stay:
        for other in stay:
            if one != other:
                assert oracle.jaccard(sets[one], sets[other]) < least
    random.shuffle(rows)
    again = reduced(stage, rows, tmp_path_factory.mktemp("scratch"), size=3)
    assert again == found


def test_a_chain_of_small_differences_is_no_group(tmp_path: Path) -> None:
    """743,779 different documents have been dropped for one template that they shared."""
    words = [f"w{n}" for n in range(40)]
    texts = [edited(words, *range(2 * step)) for step in range(12)]
    found = reduced(NearDuplicates(similarity=0.8), texts_of(*texts), tmp_path)
    stay = [name for name, value in found.items() if value[0] is None]
    assert len(stay) > 2
    unverified = reduced(NearDuplicates(verify=False), texts_of(*texts), tmp_path)
    assert [value[0] for value in unverified.values()].count(None) == 1
    assert {value[3] for value in unverified.values()} == {12}
    assert min(value[1] for value in unverified.values() if value[1] is not None) < 0.6


# ---------------------------------------------------------------- which row stays

PAGE = [f"word{n}" for n in range(60)]


@pytest.mark.parametrize(
    ("settings_", "columns", "stays"),
    [
        ({}, {}, "f#2"),
        ({"prefer": "best", "score": "language_prob"}, {"language_prob": [0.1, 0.9, None]}, "f#1"),
        (
            {"prefer": "best", "score": "language_prob"},
            {"language_prob": [-1.0, -2.0, float("nan")]},
            "f#0",
        ),
        ({"prefer": "best", "score": "word_count"}, {"word_count": [3, 5, 5]}, "f#2"),
        (
            {"prefer": "earliest"},
            {"date": ["2024-02-01", "2024-01-31T23:00:00Z", None]},
            "f#1",
        ),
        ({"prefer": "earliest"}, {"date": ["2024", "last week", "2023-12"]}, "f#2"),
        (
            {"prefer": "source", "sources": ("wiki", "news")},
            {"source": ["news", "wiki", "web"]},
            "f#1",
        ),
    ],
)
def test_which_row_stays_is_a_rule(
    tmp_path: Path, settings_: dict[str, Any], columns: dict[str, list[Any]], stays: str
) -> None:
    """The copy with the licence, the date or the score that matters would be the one to go."""
    rows = texts_of(edited(PAGE, 3), edited(PAGE, 9), " ".join([*PAGE, "more", "words"]))
    for name, values in columns.items():
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    found = reduced(NearDuplicates(similarity=0.6, **settings_), rows, tmp_path)
    assert [name for name, value in found.items() if value[0] is None] == [stays]


def test_rows_of_other_scopes_are_never_compared(tmp_path: Path) -> None:
    """Whoever deduplicates each crawl by itself would lose pages of all but one."""
    rows = texts_of(*[" ".join(PAGE)] * 4)
    for row, source in zip(rows, ["a", "b", "a", None], strict=True):
        row["source"] = source
    found = reduced(NearDuplicates(within=("source",)), rows, tmp_path)
    assert [value[3] for value in found.values()] == [2, 1, 2, 1]
    rows[1]["source"] = None
    found = reduced(NearDuplicates(within=("source",)), rows, tmp_path)
    assert [value[3] for value in found.values()] == [2, 2, 2, 2]


def test_copies_that_an_earlier_step_found_are_counted(tmp_path: Path) -> None:
    """Upsampling by the size of a group would see a page of a thousand copies as a single one."""
    rows = texts_of(" ".join(PAGE), edited(PAGE, 0), "something else altogether")
    for row, copies in zip(rows, [1000, 3, 7], strict=True):
        row["group_size"] = copies
    found = reduced(NearDuplicates(similarity=0.5), rows, tmp_path)
    assert [value[3] for value in found.values()] == [1003, 1003, 7]


# ---------------------------------------------------------------- floods


def flood(kind: str, size: int) -> list[str | None]:
    if kind == "all equal":
        return [" ".join(PAGE)] * size
    if kind == "all empty":
        return [("", None, "  \n", "...")[n % 4] for n in range(size)]
    if kind == "all nearly equal":
        return [edited(PAGE, n % 60) + f" {n}" for n in range(size)]
    return [f"{n} " + " ".join(f"{n}-{w}" if w % 4 == 0 else PAGE[w] for w in range(60))
            for n in range(size)]  # fmt: skip


@pytest.mark.parametrize("kind", ["all equal", "all empty", "all nearly equal", "one template"])
def test_floods_end_as_they_should(tmp_path: Path, kind: str) -> None:
    """A crawl holds a million error pages: their pairs must not be counted one by one."""
    size = 1000
    rows = texts_of(*flood(kind, size))
    found = reduced(
        NearDuplicates(similarity=0.75, memory_bytes=256 << 20), rows, tmp_path, MinHashSketch()
    )
    stay = sum(value[0] is None for value in found.values())
    sizes = {value[3] for value in found.values()}
    if kind == "all equal":
        assert (stay, sizes) == (1, {size})
    elif kind == "all empty":
        assert (stay, sizes) == (size, {None})
    elif kind == "all nearly equal":
        assert stay <= size // 10
    else:
        assert (stay, sizes) == (size, {1}), "a shared template alone makes nobody a copy"


@pytest.mark.slow
def test_one_document_a_million_times(tmp_path: Path) -> None:
    """The commonest page of the web must not be the one that stops the work."""
    text = pa.array([" ".join(PAGE)] * 1_000_000, pa.large_string())
    ids = pa.array([f"f#{n}" for n in range(len(text))], pa.large_string())
    made = MinHashSketch().annotate(pa.RecordBatch.from_arrays([text.slice(0, 1)], names=["text"]))
    batch = pa.RecordBatch.from_arrays(
        [
            ids,
            text,
            pa.concat_arrays([made["sketch"]] * len(text)),
            pa.array([made["shingle_count"][0].as_py()] * len(text), pa.uint32()),
            pa.nulls(len(text), pa.uint64()),
        ],
        names=["id", "text", "sketch", "shingle_count", "group_size"],
    )
    stage = NearDuplicates(memory_bytes=32 << 20)
    table = pa.Table.from_batches(stage.reduce(MemoryRows([batch], tmp_path)))
    assert table["duplicate_of"].null_count == 1
    assert len(table["group_size"].unique()) == 1


# ---------------------------------------------------------------- memory, contract, settings


@pytest.mark.slow
def test_little_memory_gives_the_same_groups_by_way_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same corpus must lose the same documents on a small machine and on a large one."""
    written: list[Path] = []
    write = Spill._write
    monkeypatch.setattr(Spill, "_write", lambda self: (written.append(self._folder), write(self)))
    monkeypatch.setattr("curation.dedup.grouping._ROW_ARRAY_FRAC", 1 / 256)
    texts = [edited(PAGE, n % 7, n % 11) + f" {n // 9}" for n in range(1600)]
    rows = texts_of(*texts)
    found = [
        reduced(NearDuplicates(memory_bytes=memory), rows, tmp_path / str(memory), MinHashSketch())
        for memory in (LITTLE, 1 << 30)
    ]
    assert found[0] == found[1]
    assert {path.name for path in written} >= {"entries", "pairs"}
    assert all(str(LITTLE) in str(path) for path in written)
    assert list((tmp_path / str(LITTLE)).rglob("*.rows"))
    assert not list((tmp_path / str(1 << 30)).rglob("*.rows"))


@pytest.mark.parametrize(
    "stage",
    [NearDuplicates(), NearDuplicates(verify=False), NearDuplicates(memory_bytes=LITTLE)],
    ids=str,
)
def test_the_stage_keeps_its_contract(stage: NearDuplicates) -> None:
    """A group that depends on the order of files is another corpus each time."""
    check_stage(stage)


@pytest.mark.parametrize(
    "wrong",
    [
        {"similarity": 0.0},
        {"similarity": 1.5},
        {"prefer": "best"},
        {"score": "word_count"},
        {"prefer": "source"},
        {"prefer": "newest"},
        {"memory_bytes": 1},
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    """A day of reading would end in an error, or in the wrong rows."""
    with pytest.raises(RecipeError):
        NearDuplicates(**wrong)


def test_only_what_changes_the_result_is_part_of_the_identity() -> None:
    """More memory would mean doing everything anew, for the same result."""
    assert NearDuplicates(memory_bytes=LITTLE).identity() == NearDuplicates().identity()
    assert NearDuplicates(similarity=0.7).identity() != NearDuplicates().identity()


@pytest.mark.parametrize("text", ["a b c d", " ".join(f"other{n}" for n in range(60))])
def test_a_text_changed_after_it_was_sketched_is_told(tmp_path: Path, text: str) -> None:
    """Similarities of one text and candidates of another would be neither."""
    batch = batch_of(texts_of(*[" ".join(PAGE)] * 2), EAGER)
    other = pa.array([text] * 2, pa.large_string())
    batch = batch.set_column(batch.schema.get_field_index("text"), "text", other)
    with pytest.raises(IntegrityError, match="sketched"):
        list(NearDuplicates().reduce(Sketched([batch], tmp_path)))


def test_a_sketch_of_somebody_elses_is_refused(tmp_path: Path) -> None:
    """Its settings are not known, and shingles of other settings have other similarities."""
    batch = batch_of(texts_of("a b c"), EAGER)
    rows = Sketched([batch], tmp_path)
    rows.maker = lambda name: Jsonl("x.jsonl")  # type: ignore[method-assign,return-value,assignment]
    with pytest.raises(RecipeError, match="settings it has to know"):
        list(NearDuplicates().reduce(rows))


# ---------------------------------------------------------------- real documents


def real_documents() -> tuple[list[dict[str, Any]], dict[frozenset[str], float]]:
    zstandard = pytest.importorskip("zstandard")
    if not DEDUP.exists():
        pytest.skip(f"no real documents in {DEDUP}")

    def lines(name: str) -> list[dict[str, Any]]:
        with open(DEDUP / name, "rb") as file:
            data = zstandard.ZstdDecompressor().stream_reader(file).read()
        return [json.loads(line) for line in data.splitlines()]

    rows = [{"id": d["id"], "text": d["text"]} for d in lines("revisions.jsonl.zst")]
    pairs = lines("pairs.jsonl.zst")
    return rows, {frozenset((p["a"], p["b"])): p["jaccard"] for p in pairs}


@pytest.mark.parametrize("least", [0.7, 0.8, 0.9])
def test_of_real_documents_only_copies_go_and_nearly_all_do(tmp_path: Path, least: float) -> None:
    """It is what the stage is for."""
    rows, truth = real_documents()
    found = reduced(NearDuplicates(similarity=least), rows, tmp_path, MinHashSketch())
    for name, (twin, alike, *_) in found.items():
        if twin is not None:
            assert truth[frozenset((name, twin))] == pytest.approx(alike, abs=1e-6)
            assert alike >= np.float32(least)
    gone = {name for name, value in found.items() if value[0] is not None}
    pairs = [pair for pair, alike in truth.items() if alike >= least]
    missed = [pair for pair in pairs if not pair & gone]
    assert len(missed) <= 0.05 * len(pairs)


# ---------------------------------------------------------------- through the engine

RECIPE = """
import os, time
from dataclasses import dataclass
from curation import *
from tests.conftest import Files

@dataclass(frozen=True, kw_only=True)
class Halting(NearDuplicates):
    \"\"\"The same, but it waits in the middle of its work while a file says so.\"\"\"

    def reduce(self, rows):
        before = rows.batches
        def batches(*names):
            for number, batch in enumerate(before(*names)):
                if "text" in names and number == 1 and os.path.exists("halt"):
                    open("halted", "w").close()
                    time.sleep(1000)
                yield batch
        rows.batches = batches
        yield from super().reduce(rows)

def near(*, paths: str, stage: str = "NearDuplicates", keep_index: bool = False) -> Recipe:
    kind = Halting if stage == "Halting" else NearDuplicates
    return Recipe(
        source=Files(paths),
        steps=[
            MinHashSketch(),
            kind(similarity=0.6, memory_bytes=1 << 20),
            keep(col("duplicate_of").is_null(), because="near duplicate"),
        ],
    )
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "recipe.py").write_text(RECIPE)
    for file in range(4):
        texts = (edited(PAGE, n % 13, n % 5) + f" {file} {n // 40}" for n in range(120))
        write_jsonl(tmp_path / "in" / f"f{file}.jsonl", ({"text": text} for text in texts))
    return tmp_path


@pytest.mark.slow
def test_workers_do_not_change_the_store(place: Path) -> None:
    """The same corpus, byte for byte, on a laptop and on a server."""
    for workers in ("0", "3"):
        words = ("run", "recipe.py:near", "--paths", "in/*.jsonl", "--workers", workers)
        curation(*words, "--store", f"s{workers}", cwd=place)
    assert snapshot(place / "s0") == snapshot(place / "s3")
    build = Build.open(place / "s0")
    assert build.ledger().balances
    assert build.reasons()["near duplicate"] > 300


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["worker", "main", "interrupt"])
def test_killed_in_the_middle_of_the_reducer_it_goes_on(place: Path, victim: str) -> None:
    """The longest step of a large build is the likeliest to be cut off."""
    words = ["run", "recipe.py:near", "--paths", "in/*.jsonl", "--workers", "1"]
    words += ["--stage", "Halting"]
    curation(*words, "--store", "calm", cwd=place)
    (place / "halt").touch()
    process = subprocess.Popen(
        command(*words, "--store", "rough"), cwd=place, env=environment(), stderr=subprocess.PIPE
    )
    wait_until((place / "halted").exists, at_most_s=60)
    (place / "halt").unlink()
    if victim == "worker":
        from tests.conftest import workers_of

        os.kill(workers_of(process.pid)[0], signal.SIGKILL)
        assert process.wait(60) == 0
    else:
        process.send_signal(signal.SIGKILL if victim == "main" else signal.SIGINT)
        assert process.wait(60) != 0
        time.sleep(1)
        curation(*words, "--store", "rough", cwd=place)
    assert snapshot(place / "rough") == snapshot(place / "calm")
    assert not list((place / "rough").rglob("scratch"))


def test_why_names_the_twin_its_text_and_how_alike_they_are(place: Path) -> None:
    """A person who misses a document wants to see what it was taken for a copy of."""
    recipe = Recipe(
        source=Jsonl(str(place / "in/*.jsonl")),
        steps=[
            MinHashSketch(),
            NearDuplicates(similarity=0.6),
            keep(col("duplicate_of").is_null(), because="near duplicate"),
        ],
    )
    build = recipe.run(store=place / "store", workers=0)
    row = build.dropped(because="near duplicate").head(1).collect().row(0, named=True)
    shown = str(build.why(row["id"]))
    assert f"duplicate ({row['similarity']:.3f} alike) of {row['duplicate_of']}" in shown
    twin = build.documents(columns=["id", "text"]).collect()
    text = dict(twin.iter_rows())[row["duplicate_of"]]
    assert f"| {text[:80]}" in shown


def test_a_shard_in_which_no_row_begins_has_no_copies(tmp_path: Path) -> None:
    """One line longer than a shard leaves shards without any row; it must not end the run."""
    rows = [{"text": "one two three"}, {"text": "word " * 60_000}, {"text": "one two three"}]
    write_jsonl(tmp_path / "long.jsonl", rows)
    recipe = Recipe(source=Jsonl(str(tmp_path / "long.jsonl")), steps=duplicate_steps())
    assert len(recipe.plan().shards) > 1
    build = recipe.run(store=tmp_path / "store", workers=0)
    assert build.ledger().rows_out == 2


def test_steps_that_look_for_copies_follow_each_other(tmp_path: Path) -> None:
    """Letter for letter, then nearly, within sources and then everywhere."""
    texts = [" ".join(PAGE)] * 3 + [
        edited(PAGE, 5),
        edited(PAGE, 9),
        "all by itself it stands here",
    ]
    rows = [{"text": text, "source": "ab"[n % 2]} for n, text in enumerate(texts)]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    unmarked = keep(col("duplicate_of").is_null(), because="copy")
    for dropping in (True, False):
        found = {}
        steps = [
            *(TextHash(), ExactDuplicates(within=("source",)), unmarked, ExactDuplicates()),
            *(unmarked, MinHashSketch(), NearDuplicates(similarity=0.6, within=("source",))),
            *(unmarked, NearDuplicates(similarity=0.6), unmarked),
        ]
        steps = [step for step in steps if dropping or step is not unmarked]
        source = Jsonl(str(tmp_path / "rows.jsonl"), source_field="source")
        build = Recipe(source=source, steps=steps).run(store=tmp_path / f"s{dropping}", workers=0)
        shown = build.documents(columns=["text", "duplicate_of", "group_size"]).collect()
        for row in shown.filter(col("duplicate_of").is_null()).iter_rows(named=True):
            found[row["text"]] = row["group_size"]
        assert sorted(found.values()) == [1, 5]


def test_a_marked_row_keeps_what_it_has(tmp_path: Path) -> None:
    """It repeats the row that the first step named."""
    rows: list[dict[str, Any]] = texts_of(" ".join(PAGE), " ".join(PAGE), edited(PAGE, 3))
    rows[1] |= {"duplicate_of": "f#0", "group_id": "f#0", "similarity": 1.0, "group_size": 2}
    rows[0] |= {"group_size": 2, "group_id": "f#0"}
    found = reduced(NearDuplicates(similarity=0.5), rows, tmp_path)
    assert found["f#1"] == ("f#0", 1.0, "f#0", 2)
    assert sorted(value[3] for value in found.values()) == [2, 3, 3]


@pytest.mark.parametrize(
    ("settings_", "columns", "stays"),
    [
        (
            {"prefer": "earliest"},
            {"date": ["2024-01-31T23:00:00Z", "2024-01-31T09:00:00Z", "2024-01-31T10:00:00Z"]},
            "f#1",
        ),
        ({"prefer": "earliest"}, {"date": ["2024-02-15", "2024-02", "2024-03"]}, "f#1"),
        ({"prefer": "earliest"}, {"date": ["7 days ago", "12:30", "2024-05-05"]}, "f#2"),
        ({"prefer": "earliest"}, {"date": ["", None, "3 May"]}, "f#2"),
        (
            {"prefer": "best", "score": "language_prob"},
            {"language_prob": [0.0, -0.0, -0.0]},
            "f#2",
        ),
        (
            {"prefer": "best", "score": "language_prob"},
            {"language_prob": [float("-inf"), None, float("nan")]},
            "f#0",
        ),
        (
            {"prefer": "source", "sources": ("wiki",)},
            {"source": [None, "wiki", "news"]},
            "f#1",
        ),
    ],
)
def test_dates_scores_and_sources_at_their_edges(
    tmp_path: Path, settings_: dict[str, Any], columns: dict[str, list[Any]], stays: str
) -> None:
    """Times of day, half a date, words for one, zeros of both signs: crawls hold them all."""
    test_which_row_stays_is_a_rule(tmp_path, settings_, columns, stays)


def test_scopes_of_several_columns_are_told_apart(tmp_path: Path) -> None:
    """A crawl of an unknown source would lose pages to one whose source is empty."""
    rows = texts_of(*[" ".join(PAGE)] * 6)
    scopes = [("a", "a"), ("b", "b"), ("a", "b"), ("b", "a"), ("", None), (None, "")]
    for row, (source, license_) in zip(rows, scopes, strict=True):
        row["source"], row["license"] = source, license_
    found = reduced(NearDuplicates(within=("source", "license")), rows, tmp_path)
    assert [value[3] for value in found.values()] == [1] * 6
    found = reduced(NearDuplicates(within=("source",)), rows, tmp_path)
    assert [value[3] for value in found.values()] == [2, 2, 2, 2, 1, 1]


def test_a_row_without_a_sketch_does_not_shift_the_scopes_of_others(tmp_path: Path) -> None:
    """After the first empty page every row would be compared in the scope of another."""
    rows = texts_of(None, *[" ".join(PAGE)] * 3, "", " ".join(PAGE))
    for row, source in zip(rows, "abbacc", strict=True):
        row["source"] = source
    found = reduced(NearDuplicates(within=("source",)), rows, tmp_path)
    assert [value[3] for value in found.values()] == [None, 2, 2, 1, None, 1]


def test_unverified_similarities_are_those_of_the_two_rows_own_sketches(tmp_path: Path) -> None:
    """Rows that stand alone lie between them, and have no say in it."""
    texts = ["alone one", edited(PAGE, 3, 30), None, "alone two", " ".join([*PAGE, "more"])]
    rows = texts_of(*texts, edited(PAGE, 3))
    found = reduced(NearDuplicates(verify=False), rows, tmp_path)
    sketch = batch_of(rows, EAGER)["sketch"]
    for name, (twin, alike, *_) in found.items():
        assert (twin is None) == (name not in ("f#1", "f#5"))
        if twin is not None:
            pair = pa.concat_arrays([sketch.slice(int(n[2:]), 1) for n in (name, twin)])
            one, other = EAGER.hashes(pair)
            assert alike == pytest.approx((one == other).mean())


@pytest.mark.parametrize(
    "wrong",
    [
        {"within": ("source",), "against": ("nowhere",)},
        {"verify": False, "against": ("nowhere",)},
    ],
    ids=str,
)
def test_settings_that_exclude_each_other_are_refused(wrong: dict[str, Any]) -> None:
    """One of the two would be left out without a word."""
    with pytest.raises(RecipeError):
        NearDuplicates(**wrong)


def test_keeping_an_index_is_no_part_of_the_identity() -> None:
    """Whoever wants an index of a finished build would do everything anew."""
    assert NearDuplicates(keep_index=True).identity() == NearDuplicates().identity()


def test_why_names_a_twin_that_a_later_step_found(tmp_path: Path) -> None:
    """The published pipelines look for exact copies first, and those of most rows are near ones."""
    texts = [" ".join(PAGE), edited(PAGE, 3) + " and more", "something else", "something else"]
    write_jsonl(tmp_path / "in.jsonl", ({"text": text} for text in texts))
    steps = [TextHash(), ExactDuplicates(), MinHashSketch(), NearDuplicates(similarity=0.5)]
    build = Recipe(source=Jsonl(str(tmp_path / "in.jsonl")), steps=steps).run(
        store=tmp_path / "store", workers=0
    )
    rows = build.documents(columns=["id", "duplicate_of", "similarity"]).collect()
    [(row, twin, alike)] = rows.filter(pl.col("similarity") < 1).iter_rows()
    relatives = build.why(row).relatives
    assert [(what, name) for what, name, _ in relatives] == [
        (f"duplicate ({alike:.3f} alike) of", twin)
    ]
    last = rows["id"][3] if rows["duplicate_of"][3] else rows["id"][2]
    assert [what for what, _, _ in build.why(last).relatives] == ["duplicate of"]


def test_more_rows_than_numbers_are_refused(tmp_path: Path) -> None:
    """Rows whose number does not fit would be compared under the number of others."""
    rows = Sketched([batch_of(texts_of("a b c"), EAGER)], tmp_path)
    rows.count = 1 << 32
    with pytest.raises(RecipeError, match="32 bits"):
        list(NearDuplicates(memory_bytes=LITTLE).reduce(rows))
