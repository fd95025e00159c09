"""What a hostile reader of the project found, each a case of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from curation import (
    Build,
    Jsonl,
    Recipe,
    TextSize,
    Warc,
    col,
    keep,
    keep_best,
    row_annotator,
    sample,
)
from curation.errors import CurationError, DataError, RecipeError, ResourceError
from curation.recipe_file import load_recipe
from tests.conftest import ROOT, curation, environment, write_jsonl

WHIRLWIND = ROOT.parent / "shared" / "data" / "warc" / "whirlwind" / "whirlwind.warc.wet.gz"

DYING = """
import os, sys, time
from dataclasses import dataclass
import pyarrow as pa
from curation import Jsonl, Recipe, Reducer

@dataclass(frozen=True, kw_only=True)
class Dies(Reducer):
    reads = ("text",)
    writes = pa.schema([("made", pa.int64())])

    def reduce(self, rows):
        {action}
        yield

Recipe(source=Jsonl("in.jsonl"), steps=[Dies()]).run(
    store="store", workers=1, stall_s=1.0
)
"""


@pytest.mark.parametrize("action", ["os.kill(os.getpid(), 9)", "time.sleep(1000)"])
def test_a_reducer_that_dies_or_hangs_ends_the_run_with_a_message(tmp_path, action):
    """Whoever runs out of memory in a reducer would wait for ever."""
    write_jsonl(tmp_path / "in.jsonl", [{"text": "a b"}])
    script = ["-c", DYING.format(action=action)]
    done = subprocess.run(
        [sys.executable, *script],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "Dies keeps losing its worker" in done.stderr


@pytest.mark.parametrize("settings", [{"workers": -1}, {"stall_s": 0}])
def test_settings_of_a_run_that_make_no_sense_are_refused(tmp_path, store, settings):
    """A negative number of workers would wait for ever."""
    write_jsonl(tmp_path / "in.jsonl", [{"text": "a b"}])
    recipe = Recipe(source=Jsonl(str(tmp_path / "in.jsonl")), steps=[TextSize()])
    with pytest.raises(RecipeError):
        recipe.run(store=store, **settings)


@pytest.mark.skipif(not WHIRLWIND.exists(), reason="../shared/data is not on this machine")
@pytest.mark.parametrize("cut", [10, 30, 300, 900])
def test_a_cut_crawl_file_can_be_asked_about_row_by_row(tmp_path, store, cut):
    """Whoever looks into a damaged file would be told to run again, for ever."""
    (tmp_path / "cut.warc.wet.gz").write_bytes(WHIRLWIND.read_bytes()[:-cut])
    recipe = Recipe(
        source=Warc(str(tmp_path / "cut.warc.wet.gz")),
        steps=[TextSize(), keep(col("word_count") > 5, because="short")],
        max_error_frac=1.0,
    )
    build = recipe.run(store=store, workers=0)
    kept = build.documents(columns=["id", "text"]).collect()["id"].to_list()
    gone = build.dropped().collect()["id"].to_list()
    assert len({*kept, *gone}) == build.ledger().rows_in == len(kept) + len(gone)
    assert all(build.why(row_id).id == row_id for row_id in [*kept, *gone])


FUNCTION = """
import re, sys
import numpy as np, pyarrow as pa
from curation import row_annotator
from curation.engine.plan import fingerprint

FACTOR = {n}
def helper(x): return x * {n}
def make(captured):
    @row_annotator(writes={{"v": pa.int64()}})
    def f(text): return sum(map(lambda x: {body}, [1])) + len(captured)
    return f
print(fingerprint(make({captured}).identity()))
"""


def known_as(tmp_path: Path, *, typed: bool, **parts: object) -> str:
    """Return the fingerprint of a function, from a file or from a prompt, in a new process."""
    text = FUNCTION.format(**{"n": 1, "body": "x", "captured": "()"} | parts)
    (tmp_path / "made.py").write_text(text)
    command = [sys.executable, "-c", text] if typed else [sys.executable, "made.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize("typed", [True, False])
def test_what_a_function_stands_on_is_part_of_what_it_is(tmp_path, typed):
    """Whoever edits a constant, a helper or a captured list would be given the old scores."""
    array = "np.arange(5000)"
    seen = [
        known_as(tmp_path, typed=typed),
        known_as(tmp_path, typed=typed, body="x * 2"),
        known_as(tmp_path, typed=typed, body="x * FACTOR"),
        known_as(tmp_path, typed=typed, body="x * FACTOR", n=2),
        known_as(tmp_path, typed=typed, body="helper(x)"),
        known_as(tmp_path, typed=typed, body="helper(x)", n=2),
        known_as(tmp_path, typed=typed, captured=array),
        known_as(tmp_path, typed=typed, captured=f"{array} * 2"),
    ]
    if typed:  # at a prompt the functions themselves have no text to differ by
        assert len(set(seen)) >= len(seen) - 1
    else:
        assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("typed", [True, False])
def test_what_is_equal_in_two_processes_is_known_by_one_name(tmp_path, typed):
    """Whoever captures a set would score everything anew in every process."""
    captured = '{"a", "b", "c", "d", "e", "f"}'
    assert len({known_as(tmp_path, typed=typed, captured=captured) for _ in range(3)}) == 1


def test_pages_whose_names_look_like_crawls_are_pages(tmp_path, store):
    """Whoever saved www.arcgis.com.html would lose the folder to the wrong reader."""
    for name in ("good", "www.arcgis.com", "x.arc"):
        words = " ".join(f"{name}{n}" for n in range(80))
        (tmp_path / f"{name}.html").write_text(f"<html><body><p>{words}</p></body></html>")
    flags = ["--paths", str(tmp_path / "*")]
    build = load_recipe(str(ROOT / "pipelines" / "web.py"), flags).run(store=store, workers=0)
    assert build.ledger().rows_out == 3


def test_pages_and_crawls_in_one_folder_are_not_read_by_halves(tmp_path):
    """Whoever keeps both in one folder would lose one kind without a word."""
    (tmp_path / "a.warc.gz").write_bytes(b"")
    (tmp_path / "b.html").write_bytes(b"<p>text</p>")
    with pytest.raises(RecipeError, match="matches WARC files and other files"):
        load_recipe(str(ROOT / "pipelines" / "web.py"), ["--paths", str(tmp_path)])


def test_a_small_input_is_work_for_several_workers(tmp_path):
    """Whoever has few documents that cost much would wait for one core."""
    for n in range(6):
        write_jsonl(tmp_path / f"{n}.jsonl", ({"text": "word " * 20} for _ in range(400)))
    recipe = Recipe(source=Jsonl(str(tmp_path / "*.jsonl")), steps=[TextSize()])
    assert len(recipe.plan().shards) >= 2


def test_a_dataset_has_the_scores_too(tmp_path, store):
    """Whoever prefers Arrow to polars would lose every score."""
    write_jsonl(tmp_path / "in.jsonl", [{"text": "a b"}])
    recipe = Recipe(source=Jsonl(str(tmp_path / "in.jsonl")), steps=[TextSize()])
    build = recipe.run(store=store, workers=0)
    assert build.dataset().schema.names == build.documents().collect_schema().names()


def test_a_run_in_which_every_row_fails_does_not_pass_for_a_success(tmp_path, store):
    """Whoever has one bug and ten files would find an empty corpus and exit status 0."""

    @row_annotator(writes={"bad": pa.int64()})
    def bad(text):
        return text.no_such_method()

    write_jsonl(tmp_path / "in.jsonl", [{"text": "a b"}] * 3)
    recipe = Recipe(source=Jsonl(str(tmp_path / "in.jsonl")), steps=[bad])
    with pytest.raises(DataError, match="no_such_method"):
        recipe.run(store=store, workers=0)


def test_a_fraction_for_a_whole_number_is_an_error_row(tmp_path, store):
    """Whoever returns 1.7 for an integer column would find 1 there."""

    @row_annotator(writes={"n": pa.int32()})
    def n(text):
        return 1.7 if text == "a" else 2.0

    write_jsonl(tmp_path / "in.jsonl", [{"text": "a"}, {"text": "b"}])
    steps = [n]
    recipe = Recipe(source=Jsonl(str(tmp_path / "in.jsonl")), steps=steps, max_error_frac=1.0)
    build = recipe.run(store=store, workers=0)
    assert build.documents(columns=["n"]).collect()["n"].to_list() == [2]
    assert "1.7" in build.errors()["reason"][0]


def test_a_stage_that_cannot_travel_to_a_worker_is_told(tmp_path, store):
    """Whoever holds a lock in a filter would be shown a traceback of pickle."""
    import threading

    lock = threading.Lock()

    @row_annotator(writes={"n": pa.int32()})
    def n(text):
        with lock:
            return 1

    write_jsonl(tmp_path / "in.jsonl", [{"text": "a"}])
    recipe = Recipe(source=Jsonl(str(tmp_path / "in.jsonl")), steps=[n])
    with pytest.raises(RecipeError, match="cannot be sent to a worker"):
        recipe.run(store=store, workers=1)


@pytest.mark.parametrize("wrong", [{"documents": "3"}, {"documents": 2.5}, {"words": True}])
def test_budgets_are_whole_numbers(wrong):
    """Whoever reads a budget from a file as text would be shown a TypeError."""
    with pytest.raises(RecipeError):
        keep_best("x", because="b", **wrong)
    with pytest.raises(RecipeError):
        sample(frac="0.5")  # type: ignore[arg-type]


def test_a_torn_line_in_the_diary_does_not_close_the_store(tmp_path, store):
    """Whoever had a power cut would not be able to open any build."""
    write_jsonl(tmp_path / "in.jsonl", [{"text": "a b"}])
    recipe = Recipe(source=Jsonl(str(tmp_path / "in.jsonl")), steps=[TextSize()])
    first = recipe.run(store=store, workers=0)
    with open(store / "runs.jsonl", "a") as file:
        file.write('{"build": "ab')
    assert Build.open(store).fingerprint == first.fingerprint
    recipe.run(store=store, workers=0)
    assert (store / "runs.jsonl").read_text().count("\n") == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def f(:", "SyntaxError"),
        ("import no_such_module", "no_such_module"),
        ("from curation import Recipe\ndef f() -> Recipe:\n    return 1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_broken_recipe_file_is_a_message(tmp_path, text, said):
    """Whoever mistypes a recipe would be shown the inside of the import machinery."""
    (tmp_path / "broken.py").write_text(text)
    done = curation("run", "broken.py", cwd=tmp_path, check=1)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_an_output_that_is_a_file_is_told_before_the_run(tmp_path):
    """Whoever mistypes --out would learn it after hours."""
    (tmp_path / "out").write_text("a file")
    recipe = ROOT / "pipelines" / "quickstart.py"
    done = curation("run", recipe, "--out", "out", cwd=tmp_path, check=1)
    assert "is a file" in done.stderr
    assert not (tmp_path / "store").exists()


def test_the_bytes_of_a_text_that_became_null_are_none(tmp_path, store):
    """Whoever reads the funnel would see bytes that are no longer there."""
    from dataclasses import dataclass
    from typing import ClassVar

    from curation import Annotator

    @dataclass(frozen=True, kw_only=True)
    class Blank(Annotator):
        reads: ClassVar[tuple[str, ...]] = ("text",)
        writes: ClassVar[pa.Schema] = pa.schema([("text", pa.large_string())])

        def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
            blank = pa.nulls(batch.num_rows, pa.large_string())
            return pa.RecordBatch.from_arrays([blank], schema=self.writes)

    write_jsonl(tmp_path / "in.jsonl", [{"text": "some text"}])
    recipe = Recipe(source=Jsonl(str(tmp_path / "in.jsonl")), steps=[Blank()])
    assert recipe.run(store=store, workers=0).funnel()["bytes"].to_list() == [9, 0]


def test_errors_of_the_package_are_one_family():
    """Whoever catches CurationError in a notebook would miss some."""
    for kind in (RecipeError, ResourceError, DataError):
        assert issubclass(kind, CurationError)
