"""Parquet: every kind of text column, bounded batches, and files that are damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation.errors import IntegrityError, RecipeError
from curation.sources.tables import Parquet
from curation.stage import BATCH_BYTES, BATCH_ROWS
from tests.sources.conftest import check_reread, read_rows, wanted

TEXTS = ["one", "zwei", "trois", "четыре", "", "六"]


def write(folder: Path, name: str = "a.parquet", **columns: Any) -> str:
    path = str(folder / name)
    rows = columns.pop("row_group_size", None)
    pq.write_table(pa.table(columns), path, row_group_size=rows)
    return path


KINDS: dict[str, Any] = {
    "string": pa.array(TEXTS),
    "large_string": pa.array(TEXTS, pa.large_string()),
    "string_view": pa.array(TEXTS, pa.string_view()),
    "binary": pa.array([t.encode() for t in TEXTS]),
    "dictionary": pa.array(TEXTS).dictionary_encode(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_any_kind_of_text_column_is_read(kind: str, tmp_path: Path) -> None:
    """Files of polars, pandas and Spark differ here; some could not be read at all."""
    source = Parquet(write(tmp_path, text=KINDS[kind]))
    rows = read_rows(source)
    assert [row["text"] for row in rows] == TEXTS
    assert [row["id"] for row in rows] == [f"a.parquet#{n}" for n in range(len(TEXTS))]
    check_reread(source)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    texts=st.lists(st.none() | st.text(max_size=20), min_size=1, max_size=40),
    group=st.integers(min_value=1, max_value=50),
)
def test_rows_do_not_depend_on_row_groups(
    texts: list[str | None], group: int, tmp_path: Path
) -> None:
    """The same table written by another program would have other ids or rows."""
    path = write(tmp_path, text=pa.array(texts, pa.string()), row_group_size=group)
    source = Parquet(path)
    rows = read_rows(source)
    assert [row["text"] for row in rows] == texts
    assert [row["offset"] for row in rows] == list(range(len(texts)))
    assert [row["error"] is not None for row in rows] == [text is None for text in texts]
    check_reread(source)


def test_facts_and_nested_fields_are_stored(tmp_path: Path) -> None:
    """Address, date and licence of a data set would be lost on the way in."""
    meta = pa.array([{"url": f"u{n}", "dump": n} for n in range(6)])
    path = write(tmp_path, content=TEXTS, metadata=meta, date=pa.array(range(6), pa.timestamp("s")))
    columns = (("dump", "int32", "metadata.dump"),)
    source = Parquet(path, text="content", url="metadata.url", columns=columns, license="MIT")
    rows = read_rows(source)
    assert [row["url"] for row in rows] == [f"u{n}" for n in range(6)]
    assert [row["dump"] for row in rows] == list(range(6))
    assert rows[1]["date"].startswith("1970-01-01 00:00:01")
    assert {row["license"] for row in rows} == {"MIT"}
    assert {row["source"] for row in rows} == {tmp_path.name}


def test_a_value_that_does_not_fit_is_that_rows_error(tmp_path: Path) -> None:
    """One number out of range would end the run or turn into another number."""
    path = write(tmp_path, text=["a", "b"], size=pa.array([1, 300]))
    rows = read_rows(Parquet(path, columns=(("size", "uint8"),)))
    assert [row["size"] for row in rows] == [1, None]
    assert "size" in rows[1]["error"]


def test_a_file_without_the_text_column_is_refused_before_the_run(tmp_path: Path) -> None:
    """The run would make an empty corpus, or fail after hours."""
    path = write(tmp_path, texts=TEXTS, n=list(range(6)))
    with pytest.raises(RecipeError) as caught:
        Parquet(path).plan()
    told = str(caught.value)
    assert "'text'" in told
    assert path in told
    assert "n (int64)" in told
    assert "did you mean 'texts'?" in told
    with pytest.raises(RecipeError, match="'n'"):
        Parquet(path, text="n", columns=(("x", "date32", "texts.x"),)).plan()


def test_bytes_that_are_no_utf8_are_error_rows(tmp_path: Path) -> None:
    """Broken bytes under the name of a string crash whatever reads them next."""
    data = pa.array([b"good", b"caf\xe9", None, b"fine"])
    as_string = data.view(pa.string())
    for column in (data, as_string):
        rows = read_rows(Parquet(write(tmp_path, text=column)))
        assert [row["text"] for row in rows] == ["good", None, None, "fine"]
        assert "not UTF-8" in rows[1]["error"]
        assert "missing or null" in rows[2]["error"]
        assert "a.parquet at 1" in rows[1]["error"]


def test_a_damaged_file_is_an_error_row_and_its_other_row_groups_are_read(tmp_path: Path) -> None:
    """One bad file would end the run, or all of its rows would be lost."""
    junk = tmp_path / "junk.parquet"
    junk.write_bytes(b"PAR1 this is none PAR1")
    (row,) = read_rows(Parquet(str(junk)))
    assert "not a Parquet file" in row["error"]
    assert "junk.parquet" in row["error"]
    texts = [f"{n} " + "".join(f"{n * i % 9973:x}" for i in range(200)) for n in range(90)]
    path = Path(write(tmp_path, text=texts, row_group_size=30))
    start = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[start : start + 40] = b"\xff" * 40
    path.write_bytes(data)
    rows = read_rows(Parquet(str(path)))
    assert [r["text"] for r in rows if not r["error"]] == texts[:30] + texts[60:]
    (bad,) = [r for r in rows if r["error"]]
    assert bad["id"] == "a.parquet#30"
    assert "rows 30 to 59" in bad["error"]


def test_a_table_without_rows_says_so(tmp_path: Path) -> None:
    """A file that a failed job left empty would go unseen."""
    (row,) = read_rows(Parquet(write(tmp_path, text=pa.array([], pa.string()))))
    assert "no rows" in row["error"]


def test_batches_are_bounded_within_one_row_group(tmp_path: Path) -> None:
    """Memory would grow with the row group, which some writers make as large as the file."""
    texts = ["x" * 1_000_000 if n % 10 == 0 else "y" for n in range(300)]
    source = Parquet(write(tmp_path, text=texts + ["z"] * 20_000))
    batches = [b for shard in source.plan() for b in source.read(shard)]
    assert sum(b.num_rows for b in batches) == 20_300
    assert max(b.num_rows for b in batches) <= BATCH_ROWS
    assert max(b["text"].nbytes for b in batches) <= BATCH_BYTES + 65536 * 2
    check_reread(source)


def test_a_large_file_is_cut_between_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One large file would be read by one worker only."""
    texts = [f"row {n} {n * 7919 % 65521}" for n in range(1000)]
    path = write(tmp_path, text=texts, row_group_size=100)
    monkeypatch.setattr("curation.sources.files.SHARD_BYTES", 3000)
    monkeypatch.setattr("curation.sources.files.SHARD_BYTES", 3000)
    source = Parquet(path)
    assert len(source.plan()) > 3
    rows = read_rows(source)
    assert [row["text"] for row in rows] == texts
    assert [row["offset"] for row in rows] == list(range(1000))
    check_reread(source)


def test_a_changed_file_is_told_when_it_is_read_again(tmp_path: Path) -> None:
    """Scores of one document would stand beside the text of another."""
    source = Parquet(write(tmp_path, text=TEXTS))
    shard = source.plan()[0]
    wants = [wanted(batch, lambda n: n == 5) for batch in source.read(shard)]
    write(tmp_path, text=TEXTS[:3])
    with pytest.raises(IntegrityError):
        list(source.reread(shard, wants))
