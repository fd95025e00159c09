from __future__ import annotations

import gzip
import json
from pathlib import Path

import polars as pl
import pytest

from curation import Jsonl, Recipe
from curation.annotate.labelled import (
    NEGATIVE,
    POSITIVE,
    SIDE,
    read_build,
    read_labelled,
    read_sides,
)
from curation.errors import RecipeError, ResourceError
from tests.conftest import write_jsonl


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The same kind of rows as JSON lines, gzip and Parquet."""
    rows = [{"body": f"text {n}", "label": "ab"[n % 2], "tags": ["x"] * n} for n in range(3)]
    lines = "\n".join(json.dumps(row) for row in rows)
    (tmp_path / "a.jsonl").write_text(lines + "\n\n")
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    pl.DataFrame(rows).write_parquet(tmp_path / "c.parquet")
    return tmp_path


def test_all_kinds_of_files_give_the_same_rows(folder: Path) -> None:
    """Half of the labelled texts would be missing, with no word about it."""
    table = read_labelled(str(folder / "*"), ["label", "tags"], text="body")
    assert table["text"].to_pylist() == ["text 0", "text 1", "text 2"] * 3
    assert table["label"].to_pylist() == ["a", "b", "a"] * 3
    assert table["tags"].to_pylist()[2] == ["x", "x"]
    one = read_labelled([str(folder / "a.jsonl")], ["body"], text="body")
    assert one.column_names == ["text"]


def test_a_field_that_is_not_there_is_named_with_the_nearest(folder: Path) -> None:
    """A mistyped field would be a column of nulls, and so all texts without a label."""
    with pytest.raises(RecipeError, match="no field 'lable'") as told:
        read_labelled(str(folder / "a.jsonl"), ["lable"], text="body")
    assert "'label'" in told.value.facts["remedy"]
    with pytest.raises(RecipeError, match="matches no file"):
        read_labelled(str(folder / "*.csv"), ["label"])


def test_a_file_that_cannot_be_read_is_named(folder: Path) -> None:
    """A model would be trained on the half of the file that was left."""
    whole = (folder / "b.jsonl.gz").read_bytes()
    (folder / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ResourceError, match=r"cut\.jsonl\.gz cannot be read"):
        read_labelled(str(folder / "cut.jsonl.gz"), ["label"], text="body")
    (folder / "bad.jsonl").write_text('{"body": "a", "label"')
    with pytest.raises(ResourceError, match=r"bad\.jsonl cannot be read"):
        read_labelled(str(folder / "bad.jsonl"), ["label"], text="body")


def test_two_sides_are_two_labels(folder: Path) -> None:
    """What is wanted and what there is would be taken for each other."""
    (folder / "good.txt").write_text("a whole\ndocument")
    table = read_sides(str(folder / "good.txt"), str(folder / "a.jsonl"), text="body")
    assert table["text"].to_pylist() == ["a whole\ndocument", "text 0", "text 1", "text 2"]
    assert table[SIDE].to_pylist() == [POSITIVE] + [NEGATIVE] * 3


def test_rows_of_a_build_are_read_with_their_columns(tmp_path: Path) -> None:
    """Grades that a judge stage wrote would have to be written to a file first."""
    write_jsonl(tmp_path / "a.jsonl", [{"text": f"text {n}", "grade": n} for n in range(4)])
    source = Jsonl(str(tmp_path / "a.jsonl"), columns=(("grade", "float64"),))
    build = Recipe(source=source, steps=[]).run(store=tmp_path / "store", workers=0)
    table = read_build(build, ["grade"])
    assert table.to_pydict() == {
        "text": [f"text {n}" for n in range(4)],
        "grade": [0.0, 1.0, 2.0, 3.0],
    }
