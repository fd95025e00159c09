"""Sets chosen side by side: the same pool, the same budget, and nothing lost between them."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curation import Jsonl, Mining, RandomScore, Recipe, Selector, TextSize, col, keep
from curation.audit import diff
from curation.errors import RecipeError
from curation.mining import BECAUSE
from curation.testing import check_stage
from tests.conftest import curation

RANDOM = Selector(column="random_score", steps=(RandomScore(),))
LONGEST = Selector(column="word_count")
SHORTEST = Selector(column="word_count", lowest=True)
FILE = '''
from curation import *

def chosen(*, paths: str, words: int = 60) -> Mining:
    """Two sets.

    words  the budget
    """
    return Mining(
        pool=Recipe(source=Jsonl(paths), steps=[TextSize()]),
        selectors={
            "by chance": Selector(column="random_score", steps=(RandomScore(),)),
            "longest": Selector(column="word_count"),
        },
        budget={"words": words},
    )
'''


@pytest.fixture
def paths(tmp_path: Path) -> str:
    """Twenty documents of 1 to 20 words."""
    lines = [json.dumps({"text": " ".join(f"w{n}x{i}" for i in range(n))}) for n in range(1, 21)]
    (tmp_path / "pool.jsonl").write_text("\n".join(lines))
    return str(tmp_path / "pool.jsonl")


def mining(paths: str, **changes: Any) -> Mining:
    found = Mining(
        pool=Recipe(
            source=Jsonl(paths),
            steps=[TextSize(), keep(col("word_count") > 1, because="too short")],
        ),
        selectors={"by chance": RANDOM, "longest": LONGEST, "shortest": SHORTEST},
        budget={"words": 60},
    )
    return dataclasses.replace(found, **changes)


def words(build: Any) -> list[int]:
    return sorted(build.documents(columns=["word_count"]).collect()["word_count"])


def test_each_selector_fills_the_same_budget_from_the_same_pool(paths: str, tmp_path: Path) -> None:
    """A method would look better for having been given more text."""
    mined = mining(paths).run(store=tmp_path / "store", workers=0)
    assert words(mined.builds["longest"]) == [18, 19, 20]
    assert words(mined.builds["shortest"]) == [2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert sum(words(mined.builds["by chance"])) <= 60
    for build in mined.builds.values():
        assert build.ledger().balances
        assert build.reasons().keys() == {"too short", BECAUSE}
    table = mined.table()
    assert table["set"].to_list() == ["pool", "by chance", "longest", "shortest"]
    assert table["words"].to_list()[2:] == [57, 54]
    assert table["documents"].to_list()[0] == 19
    pairs = {(row["first"], row["second"]): row for row in mined.overlap().to_dicts()}
    assert pairs["longest", "shortest"]["both"] == 0
    assert len(pairs) == 3


def test_two_sets_can_be_compared_row_by_row(paths: str, tmp_path: Path) -> None:
    """Whoever asks why a document is in one set only would have to score it again."""
    mined = mining(paths).run(store=tmp_path / "store", workers=0)
    found = diff(mined.builds["longest"], mined.builds["shortest"])
    assert found["only_in"].value_counts().sort("only_in")["count"].to_list() == [3, 9]
    assert set(found["because"]) == {BECAUSE}


def test_nothing_is_scored_twice(paths: str, tmp_path: Path) -> None:
    """Ten methods over one crawl would read and clean it ten times."""
    first = mining(paths).run(store=tmp_path / "store", workers=0)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "store").glob("*/part-*")}
    again = mining(paths).run(store=tmp_path / "store", workers=0)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "store").glob("*/part-*")} == before
    assert again.table().equals(first.table())


def test_a_budget_beyond_the_pool_says_what_is_missing(paths: str, tmp_path: Path) -> None:
    """All methods would choose everything, and a comparison would compare nothing."""
    with pytest.raises(RecipeError, match="larger than the pool") as told:
        mining(paths, budget={"words": 300}).run(store=tmp_path / "store", workers=0)
    assert told.value.facts["missing"] == "91 words"
    assert told.value.facts["pool"] == "209 words in 19 documents"
    mining(paths, budget={"documents": 19}).run(store=tmp_path / "store", workers=0)


def test_a_set_is_told_how_near_to_the_target_it_is(paths: str, tmp_path: Path) -> None:
    """Whether a method found the subject would be seen only after a model was trained."""
    (tmp_path / "target.txt").write_text(" ".join(f"w20x{i}" for i in range(20)))
    found = mining(paths, target=str(tmp_path / "target.txt"))
    with pytest.warns(UserWarning, match="1 of the 1 target examples .* are in the pool too"):
        table = found.run(store=tmp_path / "store", workers=0).table()
    pool, _, longest, shortest = table["kl_reduction"].to_list()
    assert pool is None
    assert longest > 0 > shortest
    with pytest.raises(RecipeError, match="matches no file"):
        mining(paths, target=str(tmp_path / "absent.txt"))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"selectors": {}}, "need names"),
        ({"selectors": {"a b": RANDOM, "a-b": LONGEST}}, "need names"),
        ({"selectors": {"pool": RANDOM}}, "need names"),
        ({"selectors": {"/": RANDOM}}, "need names"),
        ({"selectors": {"x": Selector(column="absent")}}, "reads 'absent'"),
        ({"budget": {"tokens": 5}}, "reads 'token_count'"),
        ({"budget": {"tokens": 5, "words": 5}}, "exactly one budget"),
        ({"budget": {}}, "exactly one budget"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_read(
    paths: str, changes: dict[str, Any], told: str
) -> None:
    """A misspelt column of the last method would end a run of hours."""
    with pytest.raises(RecipeError, match=told):
        mining(paths, **changes)


def test_the_command_writes_the_sets_side_by_side(paths: str, tmp_path: Path) -> None:
    """A person without Python would have no way to get at them."""
    (tmp_path / "mine.py").write_text(FILE)
    words = ("select", str(tmp_path / "mine.py"), "--paths", paths, "--store", f"{tmp_path}/s")
    shown = curation(*words, "--plan", cwd=tmp_path)
    assert "longest: as it is → highest word_count" in shown.stdout
    assert not (tmp_path / "s").exists()
    done = curation(*words, "--out", f"{tmp_path}/out", cwd=tmp_path)
    assert "curation diff" in done.stdout
    assert (tmp_path / "out" / "by-chance").is_dir()
    with open(tmp_path / "out" / "sets.csv") as file:
        assert [row["set"] for row in csv.DictReader(file)] == ["pool", "by chance", "longest"]
    wrong = curation(*words, "--word", "5", cwd=tmp_path, check=None)
    assert wrong.returncode == 1
    assert "--words" in wrong.stderr
    helped = curation("select", str(tmp_path / "mine.py"), "--help", cwd=tmp_path)
    assert "--words INT" in helped.stdout


def test_a_number_by_chance_is_even_and_the_same_each_time() -> None:
    """What all methods are measured against would itself prefer some rows."""
    stage = RandomScore(seed=4)
    check_stage(stage)
    batch = pa.RecordBatch.from_pydict({"id": pa.array(map(str, range(4000)), pa.large_string())})
    scores = stage.annotate(batch)["random_score"].to_numpy()
    assert 0 <= scores.min() < 0.01
    assert 0.99 < scores.max() < 1
    assert abs(scores.mean() - 0.5) < 0.02
    assert (RandomScore(seed=5).annotate(batch)["random_score"].to_numpy() != scores).all()
    with pytest.raises(RecipeError, match="seed"):
        RandomScore(seed=-1)
