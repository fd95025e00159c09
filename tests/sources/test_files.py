"""Patterns, names and shards: which files are read, under which name, by which task."""

from __future__ import annotations

import bz2
import gzip
import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import RecipeError
from curation.sources import files
from curation.sources.compressed import Inflated, file_codec, find_member
from curation.sources.files import expand, folder_label, open_file, pack
from curation.stage import Span

ENDINGS = (".txt", ".txt.gz")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with files in two levels, a hidden one and one of another kind."""
    for name in (
        "b.txt",
        "a.txt",
        "x/c.txt.gz",
        "x/y/d.txt",
        ".hidden.txt",
        "x/.git/e.txt",
        "f.csv",
    ):
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "root"


def names(*patterns: str) -> list[str]:
    return [span.name for span in expand(patterns, ENDINGS, "Test")]


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_patterns_find_the_same_files_locally_and_by_uri(tree: Path, scheme: str) -> None:
    """A recipe would read other files on object storage than on the machine it was tried on."""
    root = f"{scheme}{tree}"
    assert names(root) == ["a.txt", "b.txt", "x/c.txt.gz", "x/y/d.txt"]
    assert names(f"{root}/*.txt") == ["a.txt", "b.txt"]
    assert names(f"{root}/**/*.txt") == ["a.txt", "b.txt", "x/y/d.txt"]
    assert names(f"{root}/x/**") == ["c.txt.gz", "y/d.txt"]
    assert names(f"{root}/*/c.*") == ["x/c.txt.gz"]
    assert names(f"{root}/[ab].txt") == ["a.txt", "b.txt"]
    assert names(f"{root}/[!a].txt") == ["b.txt"]
    assert names(f"{root}/a.txt") == ["a.txt"]
    assert names(f"{root}/f.csv") == ["f.csv"]


def test_a_file_whose_name_looks_like_a_pattern_is_found(tree: Path) -> None:
    """A file called 'notes [draft].txt' could not be read at all."""
    (tree / "notes [draft].txt").write_text("x")
    assert names(f"{tree}/notes [draft].txt") == ["notes [draft].txt"]


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_pattern_that_matches_nothing_says_where_it_looked(tree: Path, scheme: str) -> None:
    """A mistyped path would make an empty corpus."""
    with pytest.raises(RecipeError) as caught:
        names(f"{scheme}{tree}/*.text")
    told = str(caught.value)
    assert "*.text" in told
    assert str(tree) in told
    assert "a.txt" in told
    assert "remedy" in told
    with pytest.raises(RecipeError, match=r"did you mean 'a\.txt'"):
        names(f"{tree}/aa.txt")


def test_two_files_of_one_name_are_refused_and_one_file_twice_is_not(tree: Path) -> None:
    """Two documents would share an id, or one document would be counted twice."""
    (tree / "x" / "a.txt").write_text("another")
    with pytest.raises(RecipeError, match=r"a\.txt"):
        names(f"{tree}/a.txt", f"{tree}/x/a.txt")
    assert names(f"{tree}/a.txt", f"{tree}/*.txt") == ["a.txt", "b.txt"]


def test_links_are_followed_once(tree: Path) -> None:
    """A link to a folder above would make the walk endless."""
    os.symlink(tree, tree / "x" / "loop")
    assert "x/y/d.txt" in names(str(tree))
    assert len(names(str(tree))) == 4


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_may_not_be_read_is_an_error(tree: Path) -> None:
    """A folder without permission would be left out in silence."""
    (tree / "x").chmod(0)
    try:
        with pytest.raises(PermissionError):
            names(str(tree))
    finally:
        (tree / "x").chmod(0o755)


def test_the_source_is_the_last_fixed_folder(tree: Path) -> None:
    """Statistics by source would go under the wrong name."""
    for pattern in (f"{tree}/*.txt", f"{tree}/**/*.txt", str(tree), f"file://{tree}/a.txt"):
        assert {folder_label(span) for span in expand((pattern,), ENDINGS, "Test")} == {"root"}


def test_a_file_is_opened_by_uri_with_random_access(tree: Path) -> None:
    """Rereading a page from object storage would fail."""
    with open_file(f"file://{tree}/x/y/d.txt") as file:
        file.seek(2)
        assert file.read() == b"y/d.txt"


def span(n: int, size: int) -> Span:
    return Span(path=f"/d/{n}.txt", name=f"{n}.txt", size=size, modified=0)


@given(st.lists(st.integers(min_value=0, max_value=files.SHARD_BYTES * 2), max_size=60))
def test_packing_keeps_every_file_once_and_in_order(sizes: list[int]) -> None:
    """A file would be read twice or never."""
    spans = [span(n, size) for n, size in enumerate(sizes)]
    shards = pack(spans)
    assert [s for shard in shards for s in shard.spans] == spans
    assert all(len(s.spans) == 1 or s.bytes <= files.SHARD_BYTES for s in shards)
    assert pack(spans) == shards


def test_a_shard_has_a_bounded_number_of_files() -> None:
    """A million small files would be one task, on one worker."""
    shards = pack([span(n, 10) for n in range(files.SHARD_FILES * 2 + 1)])
    assert [len(shard.spans) for shard in shards] == [files.SHARD_FILES, files.SHARD_FILES, 1]


PACK = {"gz": gzip.compress, "zst": zstandard.compress, "bz2": bz2.compress}


def inflate(data: bytes) -> tuple[bytes, list[int], str]:
    file = io.BytesIO(data)
    stream = Inflated(file, file_codec(file))
    pieces, starts = [], []
    while True:
        piece, begins = stream.read()
        if begins:
            starts.append(stream.member_at)
        elif not piece:
            return b"".join(pieces), starts, stream.problem
        pieces.append(piece)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(sorted(PACK)),
    st.lists(st.binary(max_size=200_000), min_size=1, max_size=5),
)
def test_members_are_inflated_and_their_starts_told(codec: str, parts: list[bytes]) -> None:
    """All but the first member of a file would be lost, or ids would name the wrong byte."""
    members = [PACK[codec](part) for part in parts]
    plain, starts, problem = inflate(b"".join(members))
    assert plain == b"".join(parts)
    assert not problem
    assert starts == [sum(map(len, members[:n])) for n in range(len(members))]


def _opens(whole: bytes) -> Callable[[bytes], bool]:
    return lambda data: bool(data) and whole.startswith(data[:50])


@pytest.mark.parametrize("codec", sorted(PACK))
def test_a_cut_or_garbled_file_is_told_with_what_came_before(codec: str) -> None:
    """An interrupted download would pass for a whole file."""
    first, second = os.urandom(300_000), os.urandom(300_000)
    a, b = PACK[codec](first), PACK[codec](second)
    plain, _, problem = inflate(a + b[: len(b) // 2])
    assert plain.startswith(first)
    assert "truncated" in problem
    plain, _, problem = inflate(a + b"no such thing " * 10)
    assert plain == first
    assert f"is not {codec} data" in problem
    assert inflate(a + bytes(512))[2] == ""  # padded with zeros, as on tapes
    file = io.BytesIO(a + b"garbage" + b)
    assert find_member(file, codec, 1, _opens(second)) == len(a) + 7
