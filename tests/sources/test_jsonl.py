"""JSON lines: speed must not cost a single line, and a bad line costs itself only."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation.errors import IntegrityError, RecipeError
from curation.sources.tables import Jsonl
from curation.stage import BATCH_BYTES, BATCH_ROWS, Shard
from tests.sources.conftest import check_reread, read_rows, wanted

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def write(folder: Path, data: bytes, name: str = "a.jsonl") -> Jsonl:
    (folder / name).write_bytes(data)
    return Jsonl(str(folder / name))


def lines(*records: object) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


@QUICK
@given(texts=st.lists(TEXT, max_size=30), raw=st.booleans(), ends=st.sampled_from(["\n", "\r\n"]))
def test_any_texts_come_back_as_they_were_written(
    texts: list[str], raw: bool, ends: str, tmp_path: Path
) -> None:
    """A document would be changed, lost or doubled by the reader."""
    data = "".join(json.dumps({"text": t}, ensure_ascii=not raw) + ends for t in texts).encode()
    rows = read_rows(write(tmp_path, data))
    if texts:
        assert [row["text"] for row in rows] == texts
        assert all(data[row["offset"] :].startswith(b'{"text"') for row in rows)
        assert [row["id"] for row in rows] == [f"a.jsonl#{row['offset']}" for row in rows]


LINE = st.one_of(
    TEXT.map(lambda t: json.dumps({"text": t, "n": 3}).encode()),
    TEXT.map(lambda t: json.dumps({"n": {"text": t}, "text": t}, ensure_ascii=False).encode()),
    st.sampled_from(
        [b"", b"  ", b"{}", b"[1]", b"{", b'{"text":7}', b'{"text":"\xe9"}', b'"s"', b"\xff\xfe",
         b'{"text":"a"}{"text":"b"}', b'{"text":"a"}{"m":{}', b' {"text":"x"}', b'{"text":null}',
         b'{"text":"\\ud800"}', b'{"text":"a","text":"b"}', b'{"text":"tab\there"}',
         b'{"text":"a","date":2024}']
    ),
)  # fmt: skip


@QUICK
@given(
    found=st.lists(LINE, max_size=40),
    edges=st.lists(st.integers(min_value=0, max_value=400), max_size=4),
    last=st.booleans(),
)
def test_byte_ranges_cut_anywhere_give_the_rows_of_the_whole(
    found: list[bytes], edges: list[int], last: bool, tmp_path: Path
) -> None:
    """The corpus would depend on how many workers read it; lines at a cut would double or go."""
    data = b"\n".join(found) + (b"\n" if last else b"")
    source = write(tmp_path, data)
    (shard,) = source.plan()
    span = shard.spans[0]
    cuts = sorted({0, *(e for e in edges if e < len(data))})
    ranges = zip(cuts, [*cuts[1:], -1], strict=True)
    parts = [Shard(spans=(replace(span, start=a, stop=b),), bytes=0) for a, b in ranges]
    whole = read_rows(source)
    assert read_rows(source, parts) == whole
    full = [line for line in found if line.strip()]
    if not data:
        return
    assert len(whole) == len(full)
    alone = [r for line in full for r in read_rows(write(tmp_path, line, "b.jsonl"))]
    assert [(r["text"], r["date"]) for r in whole] == [(r["text"], r["date"]) for r in alone]
    assert [bool(r["error"]) for r in whole] == [bool(r["error"]) for r in alone]
    check_reread(source)


def test_a_bad_line_is_one_error_row_that_names_file_and_byte(tmp_path: Path) -> None:
    """One Latin-1 byte at line 1,000 of 10,000 costs the nearest peer 9,008 documents."""
    good = [json.dumps({"text": f"document {n}"}).encode() for n in range(10_000)]
    bad = {
        1000: b'{"text": "caf\xe9"}',
        1001: b"[1, 2]",
        5000: b'{"text": 5}',
        9999: b'{"text": "a',
    }
    data = b"\n".join(bad.get(n, line) for n, line in enumerate(good))
    source = write(tmp_path, data)
    rows = read_rows(source)
    assert len(rows) == 10_000
    errors = {n: row["error"] for n, row in enumerate(rows) if row["error"]}
    assert list(errors) == list(bad)
    for n, said in zip(bad, ("not UTF-8", "an array", "a number", "not JSON"), strict=True):
        assert said in errors[n]
        place = sum(len(bad.get(i, good[i])) + 1 for i in range(n))
        assert f"a.jsonl at {place}" in errors[n]
    assert [r["text"] for r in rows if not r["error"]] == [
        f"document {n}" for n in range(10_000) if n not in bad
    ]
    check_reread(source)


def test_the_types_come_from_the_settings_and_not_from_the_first_line(tmp_path: Path) -> None:
    """A null or an odd value in the first document would break or retype all others."""
    data = lines(
        {"text": "a", "year": None, "extra": [1]},
        {"text": "b", "year": 7, "extra": {"x": 1}, "url": 9, "meta": {"lang": "en"}},
        {"text": "c", "year": "late"},
        {"text": "d", "meta": {"lang": None}, "date": "2024-01-01", "license": "MIT"},
    )
    (tmp_path / "a.jsonl").write_bytes(data)
    columns = (("year", "int32"), ("language_code", "string", "meta.lang"))
    source = Jsonl(str(tmp_path / "a.jsonl"), columns=columns, source_field="meta.lang")
    assert source.schema.field("year").type == pa.int32()
    rows = read_rows(source)
    assert [row["year"] for row in rows] == [None, 7, None, None]
    assert [row["language_code"] for row in rows] == [None, "en", None, None]
    assert [row["source"] for row in rows] == [tmp_path.name, "en", tmp_path.name, tmp_path.name]
    assert [row["url"] for row in rows] == [None, "9", None, None]
    assert "'year' is a string, not int32" in rows[2]["error"]
    assert (rows[3]["date"], rows[3]["license"]) == ("2024-01-01", "MIT")
    named = Jsonl(str(tmp_path / "a.jsonl"), name="set", license="CC0")
    assert {(row["source"], row["license"]) for row in read_rows(named) if not row["error"]} == {
        ("set", "CC0")
    }


@pytest.mark.parametrize(
    "columns",
    [(("id", "string"),), (("x", "no such type"),), (("x",),), (("x", "int32"), ("x", "int32"))],
)
def test_impossible_columns_are_refused_before_anything_is_read(
    columns: tuple[tuple[str, ...], ...],
) -> None:
    """A run would end hours later, or one column would overwrite another."""
    with pytest.raises(RecipeError):
        Jsonl("a.jsonl", columns=columns)


def test_two_readings_of_one_field_are_refused() -> None:
    """Which of the two won would be chance."""
    with pytest.raises(RecipeError, match="two types"):
        Jsonl("a.jsonl", columns=(("x", "int32", "text"),))
    with pytest.raises(RecipeError, match="as a record"):
        Jsonl("a.jsonl", text="page", url="page.url")


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_a_truncated_file_gives_its_lines_and_one_error_row(ending: str, tmp_path: Path) -> None:
    """An interrupted download would pass for the whole, or lose all that was there."""
    pack: Callable[[bytes], Any] = gzip.compress if ending == ".gz" else zstandard.compress
    records = [
        {"text": f"{n} " + "".join(f"{(n * i) % 9973:x} " for i in range(300))} for n in range(900)
    ]
    packed = pack(lines(*records))
    whole = read_rows(write(tmp_path, packed, f"a.jsonl{ending}"))
    assert [row["text"] for row in whole] == [r["text"] for r in records]
    source = write(tmp_path, packed[: len(packed) // 2], f"a.jsonl{ending}")
    rows = read_rows(source)
    assert rows[:-1] == whole[: len(rows) - 1]
    assert 100 < len(rows) < 900
    assert "truncated" in rows[-1]["error"]
    assert f"a.jsonl{ending}" in rows[-1]["error"]
    assert rows[-1]["offset"] == whole[len(rows) - 1]["offset"]
    check_reread(source)


def test_a_compressed_file_under_a_plain_name_is_read(tmp_path: Path) -> None:
    """Files that a browser or a script renamed would be one error row each."""
    source = write(tmp_path, gzip.compress(lines({"text": "a"})), "a.jsonl")
    assert [row["text"] for row in read_rows(source)] == ["a"]


def test_an_empty_file_says_so(tmp_path: Path) -> None:
    """A file that a failed job left empty would go unseen."""
    (row,) = read_rows(write(tmp_path, b""))
    assert "a.jsonl" in row["error"]
    assert "empty" in row["error"]


@pytest.mark.slow
def test_a_document_of_100_mb_is_read(tmp_path: Path) -> None:
    """The reader would hang or fail at a line that is longer than its block."""
    data = lines({"text": "before"}, {"text": "ab " * 34_000_000}, {"text": "after"})
    rows = read_rows(write(tmp_path, data))
    assert [len(row["text"]) for row in rows] == [6, 102_000_000, 5]


def test_batches_are_bounded_in_rows_and_bytes(tmp_path: Path) -> None:
    """Memory would grow with the file."""
    small = write(tmp_path, lines(*({"text": ""} for _ in range(20_000))), "small.jsonl")
    large = write(tmp_path, lines(*({"text": "x" * 900_000} for _ in range(30))), "large.jsonl")
    for source, rows in ((small, 20_000), (large, 30)):
        batches = [b for shard in source.plan() for b in source.read(shard)]
        assert sum(b.num_rows for b in batches) == rows
        assert max(b.num_rows for b in batches) <= BATCH_ROWS
        assert max(b["text"].nbytes for b in batches) <= BATCH_BYTES + 65536


def test_a_large_file_is_cut_into_ranges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One large file would be read by one worker only."""
    monkeypatch.setattr("curation.sources.files.SHARD_BYTES", 1000)
    source = write(tmp_path, lines(*({"text": f"line {n}"} for n in range(300))))
    assert len(source.plan()) > 3
    assert [row["text"] for row in read_rows(source)] == [f"line {n}" for n in range(300)]
    check_reread(source)


def test_a_changed_file_is_told_when_it_is_read_again(tmp_path: Path) -> None:
    """Scores of one document would stand beside the text of another."""
    source = write(tmp_path, lines({"text": "a"}, {"text": "b"}))
    shard = source.plan()[0]
    wants = [wanted(batch, lambda n: n == 1) for batch in source.read(shard)]
    write(tmp_path, lines({"text": "longer than before"}, {"text": "b"}))
    with pytest.raises(IntegrityError):
        list(source.reread(shard, wants))


def test_real_articles_are_read_whole(data: Path) -> None:
    """The numbers of the project would rest on part of the data."""
    source = Jsonl(str(data / "text" / "wikinews.jsonl.zst"), columns=(("title", "string"),))
    rows = read_rows(source)
    assert len(rows) == 19_375
    assert not any(row["error"] for row in rows)
    raw = zstandard.open(data / "text" / "wikinews.jsonl.zst").read().split(b"\n")[-2]  # type: ignore[arg-type]
    assert rows[-1]["text"] == json.loads(raw)["text"]
    assert rows[-1]["title"] == json.loads(raw)["title"]
