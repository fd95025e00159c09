from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.columns import columns
from curation.dedup.exact import ExactDuplicates, TextHash
from curation.errors import RecipeError
from curation.testing import MemoryRows, check_stage
from tests.oracles import hashing
from tests.oracles.duplicates import duplicates
from tests.oracles.text import hard_text

TINY = 2_000
Row = tuple[str, bytes | None]


def text_hash(*texts: str | None) -> list[bytes | None]:
    batch = pa.record_batch({"text": pa.array(texts, pa.large_string())})
    return TextHash().annotate(batch)["text_hash"].to_pylist()


def batches_of(rows: list[Row], size: int) -> list[pa.RecordBatch]:
    parts = [rows[start : start + size] for start in range(0, len(rows), size)]
    return [
        pa.RecordBatch.from_arrays(
            [pa.array([r[0] for r in part]), pa.array([r[1] for r in part], pa.binary(16))],
            names=["id", "text_hash"],
        ).cast(columns("id", "text_hash"))
        for part in parts
    ]


def reduced(
    rows: list[Row], scratch: Path, size: int = 5, memory_bytes: int = 1 << 28
) -> tuple[list[str | None], list[int | None]]:
    stage = ExactDuplicates(memory_bytes=memory_bytes)
    made = list(stage.reduce(MemoryRows(batches_of(rows, size), scratch)))
    assert all(batch.schema == stage.writes for batch in made)
    names = ("duplicate_of", "group_size")
    return tuple([v for b in made for v in b[name].to_pylist()] for name in names)  # type: ignore[return-value]


def many_rows(count: int) -> list[Row]:
    """Groups of one, of a few, of a fifth of all rows; nulls; ids in no order."""
    kinds = [0 if n % 5 == 0 else n % 7 * 1000 if n % 3 == 0 else n for n in range(count)]
    hashes = [None if n % 11 == 3 else hash_of(kind) for n, kind in enumerate(kinds)]
    return [(f"f#{n * 7919 % 10_007}", value) for n, value in enumerate(hashes)]


def hash_of(number: int) -> bytes:
    return bytes.fromhex(f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}{number:016x}")


@pytest.mark.parametrize("text", ["", "Hello  World\n", "\u00c9COLE \u0416", "caf\xe9", "x" * 999])
def test_the_hash_is_two_canonical_xxh64_digests(text: str) -> None:
    """Anybody must be able to make our hashes with their own xxHash."""
    low = text.translate({0xC9: 0xE9, 0x416: 0x436})
    wanted = b"".join(part.to_bytes(8, "big") for part in hashing.hash_folded(low))
    assert text_hash(text) == [wanted]


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.none() | hard_text, max_size=6))
def test_null_text_alone_has_no_hash(texts: list[str | None]) -> None:
    """Rows without text would all be one group, and all but one of them dropped."""
    assert [value is None for value in text_hash(*texts)] == [text is None for text in texts]


def test_letters_of_every_script_are_lowered() -> None:
    """Copies in capitals would survive in Greek and Cyrillic and not in English."""
    assert len({*text_hash("\u03a9\u0416\u00c9a", "\u03c9\u0436\u00e9A")}) == 1


names = st.text(st.sampled_from("aZ0#\x00\xe9\uffff\U0001f600"), min_size=1, max_size=3)
#: Hashes that agree in one half or the other are not equal.
some_hash = st.none() | st.tuples(*[st.sampled_from([bytes(8), b"\x01" * 8])] * 2).map(b"".join)


@settings(deadline=None)
@given(st.dictionaries(names, some_hash, max_size=20), st.integers(1, 7), st.booleans())
def test_groups_are_those_of_a_dict(
    tmp_path_factory: pytest.TempPathFactory, found: dict[str, bytes | None], size: int, tiny: bool
) -> None:
    """A wrong group drops a document that was no copy, and nobody would ever see it."""
    rows = list(found.items())
    memory = 1 if tiny else 1 << 28
    made = reduced(rows, tmp_path_factory.mktemp("scratch"), size, memory)
    assert made == duplicates([r[0] for r in rows], [r[1] for r in rows])


@pytest.mark.parametrize("memory_bytes", [1, TINY, 20_000, 1 << 28])
def test_little_memory_gives_the_same_groups(tmp_path: Path, memory_bytes: int) -> None:
    """The same corpus must lose the same documents on a small machine and on a large one."""
    rows = many_rows(1500)
    made = reduced(rows, tmp_path, 64, memory_bytes)
    assert made == duplicates([r[0] for r in rows], [r[1] for r in rows])


def test_little_memory_does_use_files_and_leaves_none(tmp_path: Path) -> None:
    """Without files memory grows with the corpus; with files left over the disk does."""
    stage = ExactDuplicates(memory_bytes=TINY)
    made = stage.reduce(MemoryRows(batches_of(many_rows(1500), 64), tmp_path))
    next(made)
    assert list(tmp_path.rglob("*.arrows"))
    list(made)
    assert not list(tmp_path.rglob("*.arrows"))


def test_much_memory_writes_no_file(tmp_path: Path) -> None:
    """A corpus that fits must not pay for the disk."""
    reduced(many_rows(300), tmp_path)
    assert not list(tmp_path.iterdir())


def test_one_group_of_all_rows_needs_no_more_memory_than_one_entry(tmp_path: Path) -> None:
    """Crawls hold millions of equal error pages; their group must not be held row by row."""
    rows: list[Row] = [(f"id-{n:04}", hash_of(1)) for n in range(3000)]
    assert reduced(rows, tmp_path, 10, TINY)[1] == [3000] * 3000
    assert not list(tmp_path.iterdir())


def test_the_smallest_id_stays_whatever_the_order(tmp_path: Path) -> None:
    """A corpus must not change because its files were listed in another order."""
    rows: list[Row] = [(name, hash_of(1)) for name in ("b", "\xe9", "Z", "a")]
    assert reduced(rows, tmp_path)[0] == ["Z", "Z", None, "Z"]
    assert reduced(rows[::-1], tmp_path)[0] == ["Z", None, "Z", "Z"]


def test_no_rows_give_no_rows(tmp_path: Path) -> None:
    """A rule that drops everything must end in an empty corpus and not in an exception."""
    assert reduced([], tmp_path) == ([], [])


def test_the_contract_holds_by_way_of_files_too() -> None:
    """The files are another path through the code; the law is the same."""
    check_stage(ExactDuplicates(memory_bytes=1))


def test_memory_is_no_part_of_the_identity() -> None:
    """More memory would mean doing everything anew, for the same result."""
    assert ExactDuplicates(memory_bytes=TINY).identity() == ExactDuplicates().identity()


def test_no_memory_is_refused() -> None:
    """A setting that cannot work is refused before a day of reading, not after it."""
    with pytest.raises(RecipeError, match="no memory"):
        ExactDuplicates(memory_bytes=0)


def test_only_rows_of_one_scope_are_copies(tmp_path: Path) -> None:
    """FineWeb deduplicates each crawl by itself: across crawls it found that doing so hurts."""
    rows = [(f"id-{n}", hash_of(1)) for n in range(6)]
    scopes = ["a", "b", "a", None, None, "b"]
    batch = batches_of(rows, 6)[0].append_column("source", pa.array(scopes, pa.large_string()))
    batch = batch.append_column("date", pa.array(["1", "1", "1", "1", "1", "2"], pa.large_string()))
    found = {}
    for within in ((), ("source",), ("source", "date")):
        for memory in (1, 1 << 28):
            stage = ExactDuplicates(within=within, memory_bytes=memory)
            made = pa.Table.from_batches(stage.reduce(MemoryRows([batch], tmp_path)))
            result = made["duplicate_of"].to_pylist(), made["group_size"].to_pylist()
            assert found.setdefault(within, result) == result
    assert found[()][1] == [6] * 6
    assert found["source",] == (
        [None, None, "id-0", None, "id-3", "id-1"],
        [2, 2, 2, 2, 2, 2],
    )
    assert found["source", "date"][1] == [2, 1, 2, 2, 2, 1]


def test_the_scope_is_part_of_the_identity_and_no_scope_changes_nothing() -> None:
    """Stores written before there were scopes must still be found."""
    assert ExactDuplicates().identity()["settings"] == {}
    assert ExactDuplicates(within=("source",)).identity() != ExactDuplicates().identity()
    assert ExactDuplicates(within=("source", "id")).reads == ("id", "text_hash", "source")


def test_marked_rows_take_no_part_and_keep_their_mark(tmp_path: Path) -> None:
    """Copies within sources and then everywhere: a page of three would be counted as nine."""
    rows = [(f"id-{n}", hash_of(n // 4)) for n in range(6)]
    marks = [None, "id-0", None, None, "other", None]
    sizes = [2, 2, 7, None, 3, None]
    batch = batches_of(rows, 6)[0]
    batch = batch.append_column("duplicate_of", pa.array(marks, pa.large_string()))
    batch = batch.append_column("group_size", pa.array(sizes, pa.uint64()))
    for memory in (1, 1 << 28):
        parts = [batch.slice(0, 2), batch.slice(0, 0), batch.slice(2)]
        stage = ExactDuplicates(memory_bytes=memory)
        made = pa.Table.from_batches(stage.reduce(MemoryRows(parts, tmp_path)))
        assert made["duplicate_of"].to_pylist() == [None, "id-0", "id-0", "id-0", "other", None]
        assert made["group_size"].to_pylist() == [10, 2, 10, 10, 3, 1]
        assert not list(tmp_path.rglob("*.arrows"))
