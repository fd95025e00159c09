"""The engine against plain Python: which rows stay, why the others went, what is counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation import Build, ExactDuplicates, Jsonl, Recipe, TextHash, TextSize, col, keep
from curation.errors import CurationError, DataError, IntegrityError, RecipeError
from curation.recipe import keep_best
from curation.stage import Annotator, Reducer, Rows, annotator, row_annotator
from tests.conftest import (
    Logged,
    kept_ids,
    logged,
    parts,
    snapshot,
    table,
    write_jsonl,
    write_numbers,
)


@row_annotator(writes={"half": pa.int64()})
def half(n: int | None) -> int | None:
    """Null for null, an error for every multiple of 5."""
    if n is not None and n % 5 == 0:
        raise ValueError(f"{n} is a multiple of 5")
    return None if n is None else n // 2


@dataclass(frozen=True, kw_only=True)
class Third(Annotator):
    """A third of n, a batch at a time: the whole batch fails if it holds a multiple of 7."""

    reads: ClassVar[tuple[str, ...]] = ("n",)
    writes: ClassVar[pa.Schema] = pa.schema([("third", pa.float64())])

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        values = batch["n"].to_pylist()
        if any(v is not None and v % 7 == 0 for v in values):
            raise RuntimeError("a multiple of 7")
        thirds = [None if v is None else v / 3 for v in values]
        return pa.RecordBatch.from_arrays([pa.array(thirds, pa.float64())], schema=self.writes)


# ---------------------------------------------------------------- the oracle

Row = dict[str, Any]


class Oracle:
    """Takes one row at a time through the steps, as slowly and plainly as can be."""

    def __init__(self, rows: list[Row | str], on_error: str) -> None:
        self.rows, self.on_error = rows, on_error
        self.kept: list[int] = []
        self.gone: dict[int, tuple[int, str]] = {}
        self.errors: list[tuple[int, int, str]] = []

    def run(self, steps: list[tuple[str, Any]]) -> None:
        for index, row in enumerate(self.rows):
            if isinstance(row, str):
                self.gone[index] = (0, "error in Files")
                self.errors.append((0, index, "Files"))
                continue
            if self._stays(index, dict(row), steps):
                self.kept.append(index)

    def _stays(self, index: int, row: Row, steps: list[tuple[str, Any]]) -> bool:
        for number, (kind, value) in enumerate(steps, start=1):
            if value is None:
                by = 5 if kind == "half" else 7
                failed = row["n"] is not None and row["n"] % by == 0
                made = None if failed or row["n"] is None else row["n"]
                name = kind.lower()
                row[name] = made if made is None else made // 2 if kind == "half" else made / 3
                if failed:
                    self.errors.append((number, index, kind))
                    if self.on_error == "drop":
                        self.gone[index] = (number, f"error in {kind}")
                        return False
            else:
                found = row.get(kind)
                if found is None or not found >= value:
                    self.gone[index] = (number, f"{kind} below {value}")
                    return False
        return True

    def funnel(self, steps: int) -> list[tuple[int, int, int, int]]:
        """Return step, rows, bytes and errors after the source and after each step."""
        counts = []
        for step in range(steps + 1):
            left = [i for i in range(len(self.rows)) if self.gone.get(i, (steps + 1, ""))[0] > step]
            size = sum(len(self.rows[i]["text"]) for i in left)  # type: ignore[index]
            errors = sum(number == step for number, _, _ in self.errors)
            counts.append((step, len(left), size, errors))
        return counts


def steps_of(steps: list[tuple[str, Any]]) -> list[Any]:
    stages = {"half": half, "Third": Third()}
    return [
        stages[kind] if value is None else keep(col(kind) >= value, because=f"{kind} below {value}")
        for kind, value in steps
    ]


@st.composite
def chains(draw: st.DrawFn) -> list[tuple[str, Any]]:
    """Steps in any order in which every column is written before it is read."""
    order = draw(st.permutations(["half", "Third"]))
    written, steps = ["n", "score"], []
    for stage in [*order[: draw(st.integers(0, 2))], ""]:
        for name in draw(st.lists(st.sampled_from(written), max_size=2)):
            steps.append((name, draw(st.sampled_from([-1, 0, 2, 8, 0.5]))))
        if stage:
            steps.append((stage, None))
            written.append(stage.lower())
    return steps


ROWS = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {
                "text": st.text("abc ", max_size=6),
                "n": st.none() | st.integers(0, 60),
                "score": st.none() | st.floats(-2, 2, width=16),
                "weight": st.integers(0, 9),
            }
        ),
        st.just("{broken"),
    ),
    max_size=40,
)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    rows=ROWS, steps=chains(), on_error=st.sampled_from(["drop", "keep"]), size=st.integers(1, 9)
)
def test_a_pass_does_what_a_loop_over_the_rows_does(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[Row | str],
    steps: list[tuple[str, Any]],
    on_error: Any,
    size: int,
) -> None:
    """A corpus would hold rows that it should not, or a report would count what is not so."""
    folder = tmp_path_factory.mktemp("pass")
    write_jsonl(folder / "a.jsonl", rows or [""])
    recipe = Recipe(
        source=table(folder / "a.jsonl"),
        steps=steps_of(steps),
        on_error=on_error,
        max_error_frac=1,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("curation.sources.jsonlines.BATCH_ROWS", size)
        build = recipe.run(store=folder / "store", workers=0)
        oracle = Oracle(rows, on_error)
        oracle.run(steps)
        compare(build, oracle, len(steps), ids_of(folder / "a.jsonl", len(rows)))


def ids_of(path: Path, rows: int) -> list[str]:
    places = np.cumsum([0, *(len(line) for line in path.read_bytes().splitlines(True))])
    return [f"{path.name}#{place}" for place in places[:rows]]


def compare(build: Build, oracle: Oracle, steps: int, ids: list[str]) -> None:
    assert kept_ids(build) == [ids[i] for i in oracle.kept]
    assert build.documents().collect()["text"].to_list() == [
        oracle.rows[i]["text"]  # type: ignore[index]
        for i in oracle.kept
    ]
    gone = build.dropped().select("id", "step", "because").collect().rows()
    assert gone == [(ids[i], *oracle.gone[i]) for i in sorted(oracle.gone)]
    reasons = Counter(because for _, because in oracle.gone.values())
    assert build.reasons() == dict(reasons)
    found = build.errors()
    assert sorted(found.select("step", "id", "stage").rows()) == sorted(
        (number, ids[i], name) for number, i, name in oracle.errors
    )
    assert found["reason"].null_count() == 0
    counted = build.funnel().select("step", "rows", "bytes", "errors").rows()
    assert counted == oracle.funnel(steps)
    ledger = build.ledger()
    assert ledger.balances
    assert (ledger.rows_in, ledger.rows_out) == (len(oracle.rows), len(oracle.kept))
    in_error = sum(because.startswith("error in ") for _, because in oracle.gone.values())
    assert (ledger.errors, ledger.made) == (in_error, 0)


# ---------------------------------------------------------------- score once, select many


def scored_from(numbers: str, log: Path, least: int, longest: int = 90) -> Recipe:
    return Recipe(
        source=table(numbers),
        steps=[
            keep(col("n") >= least, because="small"),
            Logged(log=str(log)),
            keep(col("size") < longest, because="long"),
        ],
    )


def test_a_loosened_threshold_scores_only_rows_never_scored(
    numbers: str, tmp_path: Path, store: Path
) -> None:
    """An afternoon of tuning would be a week of scoring."""
    log = tmp_path / "log"
    scored_from(numbers, log, 60).run(store=store, workers=0)
    assert len(logged(log)) == 40
    build = scored_from(numbers, log, 35).run(store=store, workers=0)
    assert len(logged(log)) == 25
    fresh = scored_from(numbers, log, 35).run(store=tmp_path / "fresh", workers=0)
    assert build.documents().collect().equals(fresh.documents().collect())
    assert build.dropped().collect().equals(fresh.dropped().collect())
    assert build.funnel().equals(fresh.funnel())
    assert build.fingerprint == fresh.fingerprint


def test_a_tightened_threshold_scores_nothing(numbers: str, tmp_path: Path, store: Path) -> None:
    """The values are there already."""
    log = tmp_path / "log"
    scored_from(numbers, log, 10).run(store=store, workers=0)
    before = parts(store)
    logged(log)
    for least, longest in ((50, 90), (10, 70), (90, 80)):
        build = scored_from(numbers, log, least, longest).run(store=store, workers=0)
        assert build.ledger().rows_out == max(0, longest - least)
    assert logged(log) == []
    after = parts(store)
    assert {part: after[part] for part in before} == before


def test_a_store_of_many_thresholds_is_that_of_the_loosest(
    numbers: str, tmp_path: Path, store: Path
) -> None:
    """Builds would differ by the order in which somebody tried thresholds."""
    log = tmp_path / "log"
    for least in (70, 20, 45, 5):
        build = scored_from(numbers, log, least).run(store=store, workers=0)
    assert sorted(Counter(logged(log)).values()) == [1] * 95
    fresh = scored_from(numbers, log, 5).run(store=tmp_path / "fresh", workers=0)
    made, anew = snapshot(store), snapshot(tmp_path / "fresh")
    assert {name: made.get(name) for name in anew} == anew
    assert build.documents().collect().equals(fresh.documents().collect())


def test_an_earlier_build_reads_the_same_after_a_later_one(
    numbers: str, tmp_path: Path, store: Path
) -> None:
    """A finished corpus would change under its reader."""
    first = scored_from(numbers, tmp_path / "log", 60).run(store=store, workers=0)
    gone = first.dropped().select("id", "step", "because")
    before = first.documents().collect(), gone.collect(), str(first.why("f3.jsonl#0"))
    scored_from(numbers, tmp_path / "log", 5).run(store=store, workers=0)
    again = Build.open(store, first.fingerprint)
    assert again.documents().collect().equals(before[0])
    assert again.dropped().select("id", "step", "because").collect().equals(before[1])
    assert str(again.why("f3.jsonl#0")) == before[2]


def test_a_second_run_does_nothing(numbers: str, tmp_path: Path, store: Path) -> None:
    """Looking at a result again would cost as much as making it."""
    log = tmp_path / "log"
    recipe = scored_from(numbers, log, 10)
    first = recipe.run(store=store, workers=0)
    logged(log)
    before = {p: p.stat().st_mtime_ns for p in store.rglob("*.*") if p.name != "runs.jsonl"}
    assert recipe.run(store=store, workers=0).fingerprint == first.fingerprint
    assert logged(log) == []
    after = {p: p.stat().st_mtime_ns for p in store.rglob("*.*") if p.name != "runs.jsonl"}
    assert before == after


def test_recipes_with_a_common_beginning_share_it(
    numbers: str, tmp_path: Path, store: Path
) -> None:
    """Every arm of an experiment would extract and score the same pages again."""
    log = tmp_path / "log"
    start = [Logged(log=str(log)), keep(col("size") > 3, because="short")]
    Recipe(source=table(numbers), steps=[*start, TextSize()]).run(store=store, workers=0)
    assert len(logged(log)) == 100
    before = set(parts(store))
    other = Recipe(source=table(numbers), steps=[*start, TextHash(), ExactDuplicates()])
    other.run(store=store, workers=0)
    assert logged(log) == []
    new = {Path(part).parent.name for part in set(parts(store)) - before}
    assert len(new) == 3  # hashes, duplicates, the selection before them


def test_a_file_more_leaves_the_parts_of_the_others_alone(tmp_path: Path, store: Path) -> None:
    """Every new dump of a crawl would cost as much as all the dumps before."""
    log, folder = tmp_path / "log", tmp_path / "grows"

    def recipe() -> Recipe:
        head = scored_from(f"{folder}/*.jsonl", log, 3)
        best = keep_best("n", documents=60, because="budget")
        return Recipe(source=head.source, steps=[*head.steps, TextHash(), ExactDuplicates(), best])

    write_numbers(folder, 2)
    recipe().run(store=store, workers=0)
    before = parts(store)
    logged(log)
    write_numbers(tmp_path / "more", 4)
    (tmp_path / "more" / "f3.jsonl").rename(folder / "a-first.jsonl")
    build = recipe().run(store=store, workers=0)
    assert {row.partition("#")[0] for row in logged(log)} == {"a-first.jsonl"}
    after = parts(store)
    assert {part: after[part] for part in before} == before
    fresh = recipe().run(store=tmp_path / "fresh", workers=0)
    assert build.documents().collect().equals(fresh.documents().collect())
    made, anew = snapshot(store), snapshot(tmp_path / "fresh")
    assert {name: made.get(name) for name in anew} == anew


def test_a_changed_file_is_read_anew_and_the_others_are_not(
    numbers: str, tmp_path: Path, store: Path
) -> None:
    """A corrected dump would be ignored, or would cost a run over everything."""
    log = tmp_path / "log"
    scored_from(numbers, log, 0).run(store=store, workers=0)
    logged(log)
    write_jsonl(Path(numbers).parent / "f2.jsonl", [{"text": "new", "n": 3, "weight": 1}])
    build = scored_from(numbers, log, 0).run(store=store, workers=0)
    assert logged(log) == ["f2.jsonl#0"]
    assert build.ledger().rows_in == 76


def test_the_first_rows_are_read_for_a_quick_look(
    numbers: str, tmp_path: Path, store: Path
) -> None:
    """--limit 100 on a crawl would read the crawl."""
    log = tmp_path / "log"
    build = scored_from(numbers, log, 0).run(store=store, workers=0, limit=30)
    assert len(logged(log)) == 30
    assert build.ledger().rows_in == 30
    assert build.documents().collect()["n"].to_list() == list(range(30))
    assert [len(t) for t in build.documents().collect()["text"]] == list(range(30))
    whole = scored_from(numbers, log, 0).run(store=store, workers=0)
    assert whole.ledger().rows_in == 100
    with pytest.raises(RecipeError, match="1 or more"):
        scored_from(numbers, log, 0).run(store=store, workers=0, limit=0)


def test_several_sources_are_read_one_after_the_other(tmp_path: Path, store: Path) -> None:
    """Rows of the second source would be missing, or share ids with those of the first."""
    write_numbers(tmp_path / "a", 2)
    for n in range(2):
        (tmp_path / "a" / f"f{n}.jsonl").rename(tmp_path / f"{'ab'[n]}.jsonl")
    write_jsonl(tmp_path / "c.jsonl", [{"text": "c"}])
    sources = [
        table(tmp_path / "b.jsonl"),
        Jsonl(f"{tmp_path}/a.jsonl", name="other"),
        Jsonl(f"{tmp_path}/c.jsonl"),
    ]
    recipe = Recipe(source=sources, steps=[TextSize()])
    build = recipe.run(store=store, workers=0)
    found = build.documents().collect()
    files = [row.partition("#")[0] for row in found["id"]]
    assert files == ["b.jsonl"] * 25 + ["a.jsonl"] * 25 + ["c.jsonl"]
    assert found["n"].to_list() == [*range(25, 50), *[None] * 26]
    assert found["text"].str.len_chars().to_list() == [*range(25, 50), *range(25), 1]
    limited = recipe.run(store=store, workers=0, limit=3)
    assert limited.ledger().rows_in == 7  # 3 of each source that has them


# ---------------------------------------------------------------- errors


def erring(numbers: str, **more: Any) -> Recipe:
    return Recipe(source=table(numbers), steps=[half, keep(col("n") >= 0, because="x")], **more)


def test_a_row_in_error_is_dropped_or_goes_on_with_nulls(numbers: str, store: Path) -> None:
    """A user who chose to keep rows in error would lose them, or the other way round."""
    build = erring(numbers, max_error_frac=0.2).run(store=store, workers=0)
    assert build.ledger().errors == 20 == build.reasons()["error in half"]
    assert build.dropped(because="error in half").collect()["n"].to_list() == list(range(0, 100, 5))
    kept = erring(numbers, on_error="keep", max_error_frac=0.2).run(store=store, workers=0)
    assert kept.ledger().rows_out == 100
    assert kept.reasons() == {}
    found = kept.documents(columns=["n", "half"]).collect()
    assert found["half"].to_list() == [None if n % 5 == 0 else n // 2 for n in range(100)]
    for one in (build, kept):
        errors = one.errors()
        assert errors.height == 20
        assert errors.row(1)[1:] == (1, "half", "ValueError: 5 is a multiple of 5")
        assert errors.row(1)[0] == build.dropped().collect()["id"][1]


def test_two_stages_in_error_of_one_name_are_counted_together(numbers: str, store: Path) -> None:
    """The reasons would not add up to the rows that went."""

    def named(modulus: int, column: str) -> Any:
        def fussy(n: int) -> int:
            if n % modulus == 0:
                raise ValueError("no")
            return n

        return row_annotator(writes={column: pa.int64()})(fussy)

    recipe = Recipe(source=table(numbers), steps=[named(10, "a"), named(25, "b")])
    build = recipe.run(store=store, workers=0)
    assert build.reasons() == {"error in fussy": 12}
    assert build.dropped(because="error in fussy").collect().height == 12


def test_too_many_rows_in_error_end_the_run(numbers: str, store: Path) -> None:
    """A broken stage would quietly make a corpus of the few rows that it could do."""
    with pytest.raises(DataError) as caught:
        erring(numbers, max_error_frac=0.19).run(store=store, workers=0)
    assert caught.value.headline == "20 of 100 rows are in error."
    assert caught.value.facts["allowed"] == "19% (max_error_frac)"
    assert "ValueError: 0 is a multiple of 5" in caught.value.facts["examples"]
    assert "max_error_frac=0.5" in caught.value.facts["remedy"]
    assert not list(store.glob("builds/*/build.json"))
    build = erring(numbers, max_error_frac=0.2).run(store=store, workers=0)
    assert build.ledger().balances


def test_too_many_broken_lines_end_the_run(tmp_path: Path, store: Path) -> None:
    """A wrong file format would give an empty corpus and an exit status of 0."""
    write_jsonl(tmp_path / "a.jsonl", ["not json"] * 120)
    with pytest.raises(DataError, match="120 of 120 rows are in error") as caught:
        Recipe(source=table(tmp_path / "a.jsonl"), steps=[TextSize()]).run(store=store, workers=0)
    assert "a.jsonl#0: " in caught.value.facts["examples"]


def test_a_few_rows_are_no_share(tmp_path: Path, store: Path) -> None:
    """One bad row in a look at ten rows would end it."""
    write_jsonl(tmp_path / "a.jsonl", ["not json"] * 3 + [{"text": "x"}])
    recipe = Recipe(source=table(tmp_path / "a.jsonl"), steps=[TextSize()])
    assert recipe.run(store=store, workers=0).ledger().rows_out == 1


def test_a_stage_that_returns_something_else_is_told_what(numbers: str, store: Path) -> None:
    """Rows would be shifted against their values."""

    @annotator(writes={"bad": pa.int64()})
    def bad(n: pa.Int64Array) -> Any:
        return pa.array([1])

    with pytest.raises(RecipeError, match="step 1 bad did not return what it declares") as caught:
        Recipe(source=table(numbers), steps=[bad]).run(store=store, workers=0)
    assert caught.value.facts["declared"] == "25 rows of bad int64"
    assert caught.value.facts["found"] == "1 rows of bad int64"


@dataclass(frozen=True, kw_only=True)
class Miscounting(Reducer):
    """A reducer that returns too few rows, too many, or raises."""

    reads: ClassVar[tuple[str, ...]] = ("n",)
    writes: ClassVar[pa.Schema] = pa.schema([("m", pa.int64())])

    count: int

    def reduce(self, rows: Rows) -> Any:
        if self.count < 0:
            raise ZeroDivisionError("no")
        yield pa.RecordBatch.from_arrays([pa.array([1] * self.count)], schema=self.writes)


@pytest.mark.parametrize(("count", "found"), [(99, "fewer rows"), (101, "more rows"), (-1, "no")])
def test_a_reducer_that_miscounts_is_told(
    numbers: str, store: Path, count: int, found: str
) -> None:
    """Duplicates would be marked one row too far down."""
    recipe = Recipe(source=table(numbers), steps=[Miscounting(count=count)])
    with pytest.raises(CurationError) as caught:
        recipe.run(store=store, workers=0)
    assert found in caught.value.facts["found"]
    assert not list(store.glob("*/scratch"))
    right = Recipe(source=table(numbers), steps=[Miscounting(count=100)])
    assert right.run(store=store, workers=0).ledger().rows_out == 100


# ---------------------------------------------------------------- what looks at all rows


def test_exact_duplicates_through_the_engine(tmp_path: Path, store: Path) -> None:
    """Two copies would stay, or none, or the reader could not find the twin."""
    for n in range(3):
        texts = ["same text", f"own {n}", "Same\n TEXT", "own 0", "short"]
        write_jsonl(tmp_path / f"f{n}.jsonl", [{"text": text, "n": n} for text in texts])
    recipe = Recipe(
        source=table(tmp_path),
        steps=[
            keep(col("n") > 0, because="first file"),
            TextHash(),
            ExactDuplicates(),
            keep(col("duplicate_of").is_null(), because="exact duplicate"),
        ],
    )
    build = recipe.run(store=store, workers=0)
    kept = build.documents().collect()
    assert kept["text"].to_list() == ["same text", "own 1", "own 0", "short", "own 2"]
    assert kept["group_size"].to_list() == [4, 1, 2, 2, 1]
    gone = build.dropped(because="exact duplicate").collect()
    assert gone.height == 5
    assert set(gone["duplicate_of"]) <= set(kept["id"])
    assert build.funnel()["rows"].to_list() == [15, 10, 10, 10, 5]


# ---------------------------------------------------------------- input that changes


@pytest.mark.parametrize("change", ["grown at its head", "gone", "cut"])
def test_a_file_that_changed_since_the_run_is_told(
    tmp_path: Path, store: Path, change: str
) -> None:
    """Text of one document would stand beside the id and the scores of another."""
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": f"text {n}", "n": n} for n in range(9)])
    build = Recipe(source=table(path), steps=[TextSize()]).run(store=store, workers=0)
    lines = path.read_text()
    if change == "gone":
        path.unlink()
    else:
        path.write_text(
            '{"text": "new"}\n' + lines if change == "grown at its head" else lines[:99]
        )
    assert build.documents(columns=["id", "word_count"]).collect().height == 9
    with pytest.raises(Exception, match=r"no longer holds|No such file|cannot be read") as caught:
        build.documents().collect()
    assert "a.jsonl" in str(caught.value)
    if change != "gone":
        assert isinstance(caught.value, IntegrityError) or "IntegrityError" in str(caught.value)


# ---------------------------------------------------------------- any number of workers


@pytest.mark.parametrize("workers", [1, 2])
def test_the_store_is_the_same_with_any_number_of_workers(
    numbers: str, tmp_path: Path, workers: int
) -> None:
    """A result could not be reproduced on another machine."""
    recipe = Recipe(
        source=table(numbers),
        steps=[
            half,
            keep(col("n") > 10, because="small"),
            Third(),
            TextHash(),
            ExactDuplicates(),
            keep_best("n", documents=50, because="budget"),
        ],
        max_error_frac=1,
    )
    here = recipe.run(store=tmp_path / "here", workers=0)
    there = recipe.run(store=tmp_path / "there", workers=workers)
    assert here.ledger() == there.ledger()
    assert kept_ids(here) == kept_ids(there)
    assert snapshot(tmp_path / "here") == snapshot(tmp_path / "there")
