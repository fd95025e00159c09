"""The store: what a name stands for, what a manifest promises, who may write."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation import Build, Chunk, ExactDuplicates, Jsonl, Recipe, TextHash, TextSize, col, keep
from curation.audit import check_store
from curation.errors import CurationError, IntegrityError, ResourceError
from curation.recipe import keep_best
from curation.stage import Annotator, Stage, annotator, row_annotator
from curation.store import PartReader, PartWriter, Store, part_facts
from tests.conftest import Files, environment, kept_ids, parts, snapshot, wait_until, write_words

SCHEMA = pa.schema([("n", pa.int64())])


@dataclass(frozen=True, kw_only=True)
class Counter(Annotator):
    """A stage with a version, a setting and a file."""

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("text",)
    writes: ClassVar[pa.Schema] = pa.schema([("counted", pa.int64())])

    least: int = 3
    model: str = ""

    def model_files(self) -> tuple[str, ...]:
        return (self.model,) if self.model else ()

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        counts = pa.array([len(t) + self.least for t in batch["text"].to_pylist()], pa.int64())
        return pa.RecordBatch.from_arrays([counts], schema=self.writes)


@dataclass(frozen=True, kw_only=True)
class Counter2(Counter):
    """The same under a new version; it goes by its parent's name."""

    version: ClassVar[int] = 2

    def identity(self) -> dict[str, object]:
        return {**super().identity(), "stage": Counter().identity()["stage"]}


def groups(pattern: str, *steps: Any) -> list[str]:
    """Return the group of each stage of a recipe."""
    plan = Recipe(source=Jsonl(pattern), steps=steps).plan()
    return [step.group for phase in plan.phases for step in phase.steps if step.group]


def write_part(path: Path, *values: int) -> None:
    writer = PartWriter(path, SCHEMA)
    writer.write(pa.record_batch([pa.array(values, pa.int64())], schema=SCHEMA))
    writer.close()


def read_part(path: Path) -> list[int]:
    reader = PartReader(path)
    values: list[int] = reader.read(0, ["n"])["n"].to_pylist()
    reader.close()
    return values


def a_recipe(words: str, least: int = 3) -> Recipe:
    """A recipe with a phase of every kind but sampling."""
    return Recipe(
        source=Files(words),
        steps=[
            TextSize(),
            keep(col("word_count") >= least, because="too short"),
            TextHash(),
            ExactDuplicates(),
            keep(col("duplicate_of").is_null(), because="exact duplicate"),
            keep_best("word_count", words=400, because="below the budget"),
            Chunk(max_chars=20),
            Counter(),
            keep(col("counted") > 8, because="small piece"),
        ],
    )


# ---------------------------------------------------------------- fingerprints


def test_what_is_unchanged_has_the_same_name(words: str) -> None:
    """Every run would compute everything anew."""
    assert groups(words, Counter(), TextSize()) == groups(words, Counter(), TextSize())


@pytest.mark.parametrize("changed", [Counter(least=4), Counter2()])
def test_a_setting_and_a_version_are_part_of_the_name(words: str, changed: Stage) -> None:
    """A corpus would hold values of the settings before."""
    assert groups(words, Counter()) != groups(words, changed)


def test_a_models_content_is_part_of_the_name_and_its_place_is_a_setting(
    words: str, tmp_path: Path
) -> None:
    """A retrained model under the old path would be ignored."""
    model = tmp_path / "model.bin"
    model.write_bytes(b"weights")
    before = groups(words, Counter(model=str(model)))
    os.utime(model, (1, 1))
    assert groups(words, Counter(model=str(model))) == before
    model.write_bytes(b"weightt")
    assert groups(words, Counter(model=str(model))) != before
    model.unlink()
    with pytest.raises(ResourceError, match="no file or folder"):
        groups(words, Counter(model=str(model)))


def function_from(text: str, tmp_path: Path) -> Any:
    """Define a function in a file, as a recipe file does."""
    path = tmp_path / f"functions_{len(list(tmp_path.iterdir()))}.py"
    path.write_text(text)
    space: dict[str, Any] = {"__name__": path.stem}
    exec(compile(text, str(path), "exec"), space)
    return space["f"]


def test_a_functions_text_is_part_of_the_name(words: str, tmp_path: Path) -> None:
    """A user who mends a filter would get the values of the broken one."""
    one = function_from("def f(text):\n    return len(text)\n", tmp_path)
    same = function_from("def f(text):\n    return len(text)\n", tmp_path)
    other = function_from("def f(text):\n    return len(text) + 1\n", tmp_path)
    names = [
        groups(words, row_annotator(writes={"size": pa.int64()})(f)) for f in (one, same, other)
    ]
    assert names[0] == names[1] != names[2]
    stages = [
        row_annotator(writes={"size": pa.int64()}, version=2)(one),
        row_annotator(writes={"size": pa.int32()})(one),
        row_annotator(writes={"extent": pa.int64()})(one),
        annotator(writes={"size": pa.int64()})(one),
    ]
    assert all(groups(words, stage) != names[0] for stage in stages)


def test_what_a_function_captures_is_part_of_the_name(words: str) -> None:
    """A filter that a sweep makes in a loop would be computed for the first value only."""

    def make(least: int) -> Any:
        @row_annotator(writes={"long": pa.bool_()})
        def long(text: str) -> bool:
            return len(text) >= least

        return long

    assert groups(words, make(3)) == groups(words, make(3)) != groups(words, make(4))


def test_a_changed_stage_renames_all_that_reads_it_and_nothing_else(words: str) -> None:
    """Either stale values behind a changed stage, or days of needless work."""

    @annotator(writes={"double": pa.int64()})
    def double(counted: pa.Int64Array) -> Any:
        return pa.array([2 * c for c in counted.to_pylist()])

    one = groups(words, Counter(), double, TextSize())
    two = groups(words, Counter(least=4), double, TextSize())
    assert [a == b for a, b in zip(one, two, strict=True)] == [False, False, True]


def test_a_threshold_does_not_rename_annotators_but_what_looks_at_all_rows(words: str) -> None:
    """A new threshold would cost a new run, or duplicates would be looked for among old rows."""
    one = a_recipe(words, least=3).plan()
    two = a_recipe(words, least=4).plan()
    names = [
        [s.group for phase in plan.phases for s in phase.steps if s.group] for plan in (one, two)
    ]
    same = [a == b for a, b in zip(*names, strict=True)]
    assert same == [True, True, False, False, False]  # sizes, hashes | duplicates, chunks, counts
    assert one.fingerprint != two.fingerprint


def test_a_setting_without_a_lasting_spelling_is_refused(words: str) -> None:
    """A fingerprint of an object's address would be another at every run."""

    @dataclass(frozen=True, kw_only=True)
    class Odd(Counter):
        thing: object = None

    with pytest.raises(CurationError, match="cannot be part of a fingerprint"):
        groups(words, Odd(thing=object()))


# ---------------------------------------------------------------- parts and manifests


def test_a_part_has_its_name_only_when_it_is_whole(store: Path) -> None:
    """A reader would open the half of a part that a killed run left."""
    path = Store(store).part("g", "a")
    writer = PartWriter(path, SCHEMA)
    writer.write(pa.record_batch([pa.array([1, 2])], schema=SCHEMA))
    assert not path.exists()
    writer.close()
    assert read_part(path) == [1, 2]
    writer = PartWriter(path, SCHEMA)
    writer.abort()
    assert [p.name for p in path.parent.iterdir()] == ["part-a.parquet"]


def test_a_manifest_lists_what_each_run_finished(store: Path) -> None:
    """Adding a file to the input would make the others unknown."""
    folder = Store(store)
    for shard in ("a", "b"):
        write_part(folder.part("g", shard), 1, 2)
        assert not folder.holds("g", [shard])
        folder.commit("g", {"made_by": "test"}, {shard: None})
    assert folder.holds("g", ["a", "b"])
    assert not folder.holds("g", ["a", "b", "c"])
    assert folder.manifest("g") == {
        "made_by": "test",
        "parts": {shard: part_facts(folder.part("g", shard)) for shard in ("a", "b")},
    }


def test_a_part_that_gains_rows_takes_its_place_with_the_manifest(store: Path) -> None:
    """A reader of the manifest would meet a part of another length."""
    folder = Store(store)
    part = folder.part("g", "a")
    write_part(part, 1)
    folder.commit("g", {}, {"a": None})
    assert folder.part_to_write("g", "a") != part
    write_part(folder.part_to_write("g", "a"), 1, 2)
    assert read_part(part) == [1]
    assert folder.holds("g", ["a"])
    newest = folder.newest_part("g", "a")
    assert newest is not None
    assert read_part(newest) == [1, 2]
    folder.commit("g", {}, {"a": None})
    assert read_part(part) == [1, 2]
    assert folder.holds("g", ["a"])
    assert sorted(p.name for p in part.parent.iterdir()) == ["manifest.json", "part-a.parquet"]


@pytest.mark.parametrize("renamed", [False, True])
def test_a_promise_is_kept_by_the_next_run(store: Path, renamed: bool) -> None:
    """A kill between two renames would leave parts and manifest at odds for ever."""
    folder = Store(store)
    for shard in ("a", "b"):
        write_part(folder.part("g", shard), 1)
    folder.commit("g", {}, {"a": None, "b": None})
    facts = {}
    for shard in ("a", "b"):
        write_part(folder.part_to_write("g", shard), 1, 2)
        newest = folder.newest_part("g", shard)
        assert newest is not None
        facts[shard] = part_facts(newest)
    (store / "g" / "manifest.next.json").write_text(json.dumps({"parts": facts}))
    if renamed:  # killed after the first rename
        os.replace(store / "g" / "part-a.parquet.next", store / "g" / "part-a.parquet")
    (store / "g" / "part-c.parquet.tmp-1").touch()
    with folder.lock():
        pass
    assert folder.holds("g", ["a", "b"])
    assert read_part(folder.part("g", "a")) == read_part(folder.part("g", "b")) == [1, 2]
    assert len(list((store / "g").iterdir())) == 3


def test_a_killed_runs_new_part_of_another_shard_is_listed_when_it_takes_its_place(
    store: Path,
) -> None:
    """After a kill and a file taken from the input, the old build would be called damaged."""
    folder = Store(store)
    for shard in ("a", "b"):
        write_part(folder.part("g", shard), 1)
    folder.commit("g", {}, {"a": None, "b": None})
    write_part(folder.part_to_write("g", "b"), 1, 2)  # and here the run was killed
    folder.commit("g", {}, {"a": None})
    assert folder.holds("g", ["a", "b"])


def test_bytes_of_parts_are_the_same_each_time(store: Path, words: str) -> None:
    """A resumed run could not be told from a damaged one."""
    a_recipe(words).run(store=store, workers=0)
    a_recipe(words).run(store=store.with_name("again"), workers=0)
    assert snapshot(store) == snapshot(store.with_name("again"))
    assert len(snapshot(store)) > 20


# ---------------------------------------------------------------- damage


def damage(path: Path, kind: str) -> None:
    data = path.read_bytes()
    if kind == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif kind == "gone":
        path.unlink()
    else:
        at = 8 if kind == "flipped" else len(data) - 3
        path.write_bytes(data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :])


@pytest.mark.parametrize("kind", ["truncated", "gone", "flipped", "footer"])
def test_check_reports_every_damaged_part(store: Path, words: str, kind: str) -> None:
    """A disk that loses bytes would go unnoticed, or the first loss would hide the others."""
    a_recipe(words).run(store=store, workers=0)
    assert all(problem == "" for _, problem in check_store(Store(store)))
    damaged = [store / sorted(parts(store))[0], store / sorted(parts(store))[-1]]
    for path in damaged:
        damage(path, kind)
    wrong = {what: problem for what, problem in check_store(Store(store)) if problem}
    assert {f"group {path.parent.name}" for path in damaged} <= set(wrong)
    assert all("build" in what for what in set(wrong) - {f"group {p.parent.name}" for p in damaged})


@pytest.mark.parametrize("kind", ["truncated", "gone"])
@pytest.mark.parametrize("which", range(11))
def test_a_damaged_part_stops_the_run_and_the_remedy_mends_it(
    store: Path, words: str, kind: str, which: int
) -> None:
    """A person who does what the message says would be sent round in circles."""
    recipe = a_recipe(words)
    whole = kept_ids(recipe.run(store=store, workers=0))
    before = snapshot(store)
    folders = sorted({Path(part).parent for part in parts(store)})
    assert len(folders) == 11
    damaged = store / sorted(p for p in parts(store) if Path(p).parent == folders[which])[1]
    damage(damaged, kind)
    with pytest.raises(IntegrityError) as caught:
        recipe.run(store=store, workers=0)
    assert str(damaged) in caught.value.headline
    assert f"delete the folder {damaged.parent}" in caught.value.facts["remedy"]
    for path in damaged.parent.iterdir():
        path.unlink()
    damaged.parent.rmdir()
    assert kept_ids(recipe.run(store=store, workers=0)) == whole
    assert snapshot(store) == before


def test_an_unreadable_manifest_is_told_with_its_remedy(store: Path, words: str) -> None:
    """A half-written manifest of a full disk would end in a traceback."""
    a_recipe(words).run(store=store, workers=0)
    manifest = next(store.glob("*/manifest.json"))
    manifest.write_text('{"parts": ')
    with pytest.raises(IntegrityError, match="not readable") as caught:
        a_recipe(words).run(store=store, workers=0)
    assert str(manifest.parent) in caught.value.facts["remedy"]


def test_parts_of_one_shard_have_equal_row_groups(store: Path, words: str) -> None:
    """Columns of one row would be taken from two."""
    a_recipe(words).run(store=store, workers=0)
    build = Build.open(store)
    for outcome in build.outcomes:
        for shard in build.shards:
            shapes = set()
            for group in {*outcome.columns.values(), outcome.selection} - {"payload"}:
                facts = pq.read_metadata(Store(store).part(group, shard.key))
                sizes = [facts.row_group(n).num_rows for n in range(facts.num_row_groups)]
                shapes.add(tuple(sizes))
            assert len(shapes) == 1


# ---------------------------------------------------------------- runs


HOLD = """
import sys, time
from curation.store import Store
with Store(sys.argv[1]).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_runs_do_not_write_one_store(store: Path, words: str) -> None:
    """Two runs would sweep each other's parts away."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store)],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ResourceError, match="another run is using the store") as caught:
            a_recipe(words).run(store=store, workers=0)
        assert f"process {other.pid}, since 20" in caught.value.facts["found"]
        other.stdin.close()
        wait_until(lambda: other.poll() is not None)
    assert a_recipe(words).run(store=store, workers=0).ledger().balances


def test_builds_are_listed_in_the_order_of_their_latest_run(store: Path, words: str) -> None:
    """``curation show`` without a name would show some other build."""
    made = [a_recipe(words, least).run(store=store, workers=0).fingerprint for least in (1, 2, 3)]
    assert Store(store).builds() == made
    a_recipe(words, 1).run(store=store, workers=0)
    assert Store(store).builds() == [made[1], made[2], made[0]]
    assert Build.open(store).fingerprint == made[0]
    assert Build.open(store, made[1][:6]).fingerprint == made[1]


def test_a_store_without_its_diary_still_has_its_builds(store: Path, words: str) -> None:
    """A store that was copied without runs.jsonl could not be opened."""
    made = {a_recipe(words, least).run(store=store, workers=0).fingerprint for least in (1, 2)}
    (store / "runs.jsonl").unlink()
    assert set(Store(store).builds()) == made


def test_a_store_with_no_build_says_how_to_make_one(store: Path) -> None:
    """A mistyped --store would end in a traceback."""
    with pytest.raises(ResourceError, match="holds no finished build") as caught:
        Build.open(store)
    assert "curation run RECIPE --store" in caught.value.facts["remedy"]
    write_words(store, 1, 3)
    with pytest.raises(ResourceError, match="holds no single build abc"):
        Build.open(store, "abc")


def test_a_store_that_cannot_be_made_is_told(tmp_path: Path, words: str) -> None:
    """A store under a file, or where one may not write, would end in a traceback."""
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match="cannot be written"):
        a_recipe(words).run(store=tmp_path / "file" / "store", workers=0)


def test_a_deleted_group_that_comes_back_with_fewer_rows_is_completed(
    store: Path, words: str
) -> None:
    """Whoever cleared a damaged group and ran a tighter recipe first would get nulls for scores."""
    loose, tight = (
        Recipe(
            source=Files(words),
            steps=[TextSize(), keep(col("word_count") >= least, because="short"), Counter()],
        )
        for least in (3, 7)
    )
    loose.run(store=store, workers=0)
    before = snapshot(store)
    [counter] = [s["group"] for s in Build.open(store).facts["steps"] if s["name"] == "Counter"]
    for path in (store / counter).iterdir():
        path.unlink()
    tight.run(store=store, workers=0)
    build = loose.run(store=store, workers=0)
    assert build.documents(columns=["counted"]).collect()["counted"].null_count() == 0
    assert {k: v for k, v in snapshot(store).items() if k in before} == before
