from __future__ import annotations

import gzip
import json
import warnings
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from curation.dedup.exact import TextHash
from curation.errors import RecipeError
from curation.score.target import folded_hashes, read_target, target_files

ROWS = [{"text": "one of them"}, {"text": " \n"}, {"text": "another", "more": {"deep": "inner"}}]


def write(folder: Path, name: str) -> str:
    data = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    if name.endswith(".gz"):
        data = gzip.compress(data)
    elif name.endswith(".zst"):
        data = zstandard.compress(data)
    (folder / name).write_bytes(data)
    return str(folder / name)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"])
def test_json_lines_are_read_and_blank_examples_passed_over(tmp_path: Path, name: str) -> None:
    """An example without words would be an example of anything."""
    target = read_target(write(tmp_path, name))
    assert target.text.to_pylist() == ["one of them", "another"]
    assert len({*target.id.to_pylist()}) == 2


def test_parquet_and_plain_files_are_read(tmp_path: Path) -> None:
    """Whoever has examples in another form would have to convert them first."""
    pq.write_table(pa.table({"body": ["x y", None]}), tmp_path / "a.parquet")
    with pytest.warns(UserWarning, match="missing or null"):
        found = read_target(str(tmp_path / "a.parquet"), text="body")
    assert found.text.to_pylist() == ["x y"]
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text(f"file {number}")
    plain = read_target(str(tmp_path / "*.txt"))
    assert plain.text.to_pylist() == ["file 0", "file 1", "file 2"]
    assert len(target_files(str(tmp_path / "*.txt"))) == 3


def test_a_text_may_lie_deep_in_a_record(tmp_path: Path) -> None:
    """Seeds that a labelling tool has written nest their text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        target = read_target(write(tmp_path, "a.jsonl"), text="more.deep")
    assert target.text.to_pylist() == ["inner"]


def test_a_target_that_holds_nothing_is_told_before_any_row_is_read(tmp_path: Path) -> None:
    """Weights against an empty distribution look like weights."""
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "blank.jsonl").write_text('{"text": " "}\n{"other": "x"}\n')
    (tmp_path / "a.csv").write_text("text\nx")
    for name in ("empty.jsonl", "blank.jsonl"):
        with pytest.raises(RecipeError, match="holds no text"):
            read_target(str(tmp_path / name))
    with pytest.raises(RecipeError, match="matches no file"):
        read_target(str(tmp_path / "nowhere.jsonl"))
    with pytest.raises(RecipeError, match="known by its ending"):
        read_target(str(tmp_path / "a.csv"))


def test_rows_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    """Half of the examples could be missing, and nobody would know."""
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\nnot json\n')
    with pytest.warns(UserWarning, match="passed over"):
        assert len(read_target(str(tmp_path / "a.jsonl"))) == 1


def test_examples_in_the_pool_are_told_whatever_their_case_and_white_space(tmp_path: Path) -> None:
    """A method that has seen the answers is praised for knowing them."""
    target = read_target(write(tmp_path, "a.jsonl"))
    found = target.found_in(pa.array(["One  OF\nthem ", None, "", "else"], pa.large_string()))
    assert found.tolist() == [True, False]
    with pytest.warns(UserWarning, match="DsirWeights: 1 of the 2 target examples"):
        target.warn_if_inside(found, "DsirWeights")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        target.warn_if_inside(target.found_in(pa.array(["else"], pa.large_string())), "x")


def test_the_hash_is_that_of_the_column_text_hash() -> None:
    """Two ways to tell copies would tell two different things."""
    batch = pa.RecordBatch.from_arrays(
        [pa.array(["A  b", "\u00c9", None], pa.large_string())], ["text"]
    )
    column = TextHash().annotate(batch)["text_hash"].to_pylist()
    assert [int(h).to_bytes(8, "big") for h in folded_hashes(batch["text"])[:2]] == [
        h[:8] for h in column[:2]
    ]
