from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import Jsonl, Recipe, TextSize, col, keep
from curation.errors import CurationError, IntegrityError, RecipeError, ResourceError
from curation.mix import tokens as module
from curation.mix.tokenizer import END, Tokenizer
from curation.mix.tokens import TokenSet, write_tokens
from tests.conftest import write_jsonl
from tests.mix.token_sets import (
    Row,
    batches,
    byte_tokenizer,
    make_set,
    numbered,
    snapshot,
    tokenizer,
)
from tests.oracles.text import hard_text

ROWS: list[Row] = [
    ("a", "the storm", "web"),
    ("b", None, "web"),
    ("c", "", None),
    ("d", f"caf\xe9 {END} sea", "books"),
    ("e", "over the sea at night " * 9, "books"),
]


class Killed(BaseException):
    """Stands for a kill; nothing in the package catches it."""


def check(found: TokenSet, rows: Sequence[Row], by: Tokenizer) -> None:
    """Compare everything that a set says with the rows that it was made of."""
    there = [(name, text, source) for name, text, source in rows if text is not None]
    assert found.ids.to_pylist() == [name for name, _, _ in there]
    assert found.sources.to_pylist() == [source or "" for _, _, source in there]
    texts = [text for _, text, _ in there]
    lists = [[*ids.tolist(), by.end_id] for ids in by.encode(texts)]
    assert [found.document(d).tolist() for d in range(len(there))] == lists
    assert found.count_D.tolist() == [len(ids) for ids in lists]
    assert found.bytes_D.tolist() == [len(text.encode()) for text in texts]
    assert found.skipped == len(rows) - len(there)
    assert (found.documents, found.tokens) == (len(there), sum(map(len, lists)))
    assert found.text_bytes == sum(len(text.encode()) for text in texts)
    flat = [token for shard in found.shards for token in shard.tolist()]
    assert flat == [token for ids in lists for token in ids]


def test_a_set_holds_what_it_was_made_of(tmp_path: Path) -> None:
    """A model would be trained on other tokens than those of the corpus."""
    found = write_tokens(batches(ROWS), tokenizer(), tmp_path, fingerprint="rows")
    check(found, ROWS, tokenizer())
    assert [shard.dtype for shard in found.shards] == [np.uint16]
    assert not found.shards[0].flags.writeable
    assert (found.vocab_size, found.end_id) == (300, 0)
    assert found.tokenizer_fingerprint == tokenizer().fingerprint
    found.verify()


rows_of_texts = st.lists(st.none() | hard_text, max_size=12)


@settings(max_examples=40, deadline=None)
@given(rows_of_texts, st.integers(1, 40), st.integers(1, 5), st.integers(1, 5), st.data())
def test_killed_anywhere_it_goes_on_to_the_same_bytes(
    texts: list[str | None], shard_tokens: int, size: int, other_size: int, data: st.DataObject
) -> None:
    """A night's tokenization would be lost, or worse: be half of one and half of another."""
    rows: list[Row] = [(f"row {n}", text, None) for n, text in enumerate(texts)]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=3)))
    calls = data.draw(st.lists(st.integers(0, 8), max_size=2))

    def write(folder: Path, given: Any) -> TokenSet:
        return write_tokens(
            given, byte_tokenizer(), folder, fingerprint="rows", shard_tokens=shard_tokens
        )

    with tempfile.TemporaryDirectory() as name:
        undisturbed, disturbed = Path(name) / "a", Path(name) / "b"
        write(undisturbed, batches(rows, size))
        for cut in cuts:
            with pytest.raises(Killed):
                write(disturbed, killed_after(batches(rows, other_size), cut))
        for call in calls:
            try:
                with failing_rename(call):
                    write(disturbed, batches(rows, other_size))
            except Killed:
                pass
        found = write(disturbed, batches(rows, size))
        check(found, rows, byte_tokenizer())
        assert snapshot(disturbed) == snapshot(undisturbed)
        full = [shard["tokens"] >= shard_tokens for shard in found.facts["shards"]]
        assert all(full[:-1])


def killed_after(given: Sequence[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    for batch in given:
        if len(batch) > rows:
            yield batch.slice(0, rows)
            raise Killed
        yield batch
        rows -= len(batch)
    raise Killed


class failing_rename:  # noqa: N801  used like a function
    """Kill the process, so to say, at the n-th rename, before or after it."""

    def __init__(self, call: int) -> None:
        self._left, self._rename = call, os.replace

    def __enter__(self) -> None:
        os.replace = self._replace

    def __exit__(self, *_: object) -> None:
        os.replace = self._rename

    def _replace(self, *paths: Any) -> None:
        self._left -= 1
        if self._left < -1:
            raise Killed
        self._rename(*paths)
        if self._left < 0:
            raise Killed


def test_the_bytes_do_not_depend_on_the_batches(tmp_path: Path) -> None:
    """A set that was interrupted could not be told from a damaged one."""
    empty: list[Row] = [("", "", None), ("", "", None)]
    for name, rows in (("some", ROWS), ("empty", empty)):
        slices = [batches(rows, 5)[0].slice(at, 1) for at in range(len(rows))]
        padded = [batch.slice(1) for batch in batches([("x", "cut off", None), *rows], 6)]
        made = []
        for n, given_rows in enumerate((batches(rows, 5), batches(rows, 2), slices, padded)):
            folder = tmp_path / f"{name} {n}"
            write_tokens(given_rows, byte_tokenizer(), folder, fingerprint="rows", shard_tokens=1)
            made.append(snapshot(folder))
        assert made[0] == made[1] == made[2] == made[3]


def test_what_is_finished_is_not_made_again(tmp_path: Path) -> None:
    """Every arm of an experiment would tokenize the same corpus once more."""
    rows = list(numbered(30))
    first = make_set(tmp_path, rows)
    before = snapshot(tmp_path)

    def unread() -> Iterator[pa.RecordBatch]:
        raise AssertionError
        yield

    again = write_tokens(unread(), byte_tokenizer(), tmp_path, fingerprint="rows")
    assert again.fingerprint == first.fingerprint
    assert snapshot(tmp_path) == before


def test_after_a_kill_only_unfinished_shards_are_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart near the end would take as long as the whole."""
    rows = list(numbered(40, length=9))
    settings = {"fingerprint": "rows", "shard_tokens": 100}
    with pytest.raises(Killed):
        write_tokens(killed_after(batches(rows), 35), byte_tokenizer(), tmp_path, **settings)
    encoded: list[str] = []
    real = Tokenizer.encode
    monkeypatch.setattr(
        Tokenizer, "encode", lambda self, texts: (encoded.extend(texts), real(self, texts))[1]
    )
    write_tokens(batches(rows), byte_tokenizer(), tmp_path, **settings)
    assert encoded == [text for _, text, _ in rows[30:]]


def test_another_process_waits_and_finds_the_set(tmp_path: Path) -> None:
    """Two arms that start together would write into one another's files."""
    rows, read_twice = list(numbered(20)), threading.Event()
    found: list[TokenSet] = []

    def second_rows() -> Iterator[pa.RecordBatch]:
        read_twice.set()
        yield from batches(rows)

    def second() -> None:
        found.append(write_tokens(second_rows(), byte_tokenizer(), tmp_path, fingerprint="rows"))

    other = threading.Thread(target=second)

    def first_rows() -> Iterator[pa.RecordBatch]:
        other.start()
        other.join(timeout=0.2)
        assert other.is_alive()
        yield from batches(rows)

    made = write_tokens(first_rows(), byte_tokenizer(), tmp_path, fingerprint="rows")
    other.join()
    assert found[0].fingerprint == made.fingerprint
    assert not read_twice.is_set()


def test_the_rows_of_a_build_are_read_again_by_their_place(tmp_path: Path) -> None:
    """Rows that a rule dropped would be trained on, or text that no stage stored be missing."""
    lines = [{"text": text, "source": source} for _, text, source in ROWS if text is not None]
    path = write_jsonl(tmp_path / "in" / "a.jsonl", lines)
    steps = [TextSize(), keep(col("text_bytes") > 0, because="empty")]
    recipe = Recipe(source=Jsonl(str(path)), steps=steps)
    build = recipe.run(store=tmp_path / "store", workers=0)
    found = write_tokens(build, tokenizer(), tmp_path / "set", fingerprint=build.fingerprint)
    kept = build.documents(columns=["id", "text", "source"]).collect()
    assert len(kept) == 3
    check(found, kept.rows(), tokenizer())


@pytest.mark.parametrize(
    ("form", "ends"),
    [("none", ["", ""]), ("source", [" <url> web </url>", ""]), ("id", [" <url> {} </url>"] * 2)],
)
def test_a_document_is_followed_by_its_source(tmp_path: Path, form: Any, ends: list[str]) -> None:
    """A model that is to learn where it read something would never see where."""
    rows: list[Row] = [("a", "the storm", "web"), ("c", "the sea", None)]
    found = write_tokens(
        batches(rows), tokenizer(), tmp_path, fingerprint="rows", document_ids=form
    )
    texts = [tokenizer().decode(found.document(d)) for d in range(2)]
    wanted = [
        text + end.format(name) + END for (name, text, _), end in zip(rows, ends, strict=True)
    ]
    assert texts == wanted
    assert found.bytes_D.tolist() == [9, 7]  # of the text alone: bits per byte are of the text


def test_a_set_is_known_by_all_that_it_is_made_of(tmp_path: Path) -> None:
    """A cached set would stand in for another."""
    made = {
        write_tokens(batches(ROWS), by, tmp_path / f"{n}", **how).fingerprint
        for n, (by, how) in enumerate(
            [
                (tokenizer(), {"fingerprint": "rows"}),
                (tokenizer(), {"fingerprint": "others"}),
                (byte_tokenizer(), {"fingerprint": "rows"}),
                (tokenizer(), {"fingerprint": "rows", "document_ids": "id"}),
            ]
        )
    }
    assert len(made) == 4


def test_a_large_vocabulary_takes_wide_tokens(tmp_path: Path) -> None:
    """Token 65,536 would come out as the end mark."""
    library = pytest.importorskip("tokenizers")
    words = {END: 0, **{f"w{n}": n for n in range(1, 65_538)}}
    made = library.Tokenizer(library.models.WordLevel(words, unk_token=END))
    made.pre_tokenizer = library.pre_tokenizers.Whitespace()
    wide = Tokenizer(made.to_str())
    rows: list[Row] = [("a", "w65535 w65536 w65537 w1", None)]
    found = write_tokens(batches(rows), wide, tmp_path, fingerprint="rows")
    assert found.document(0).tolist() == [65_535, 65_536, 65_537, 1, 0]
    assert found.shards[0].dtype == np.uint32


def test_rows_without_a_text_make_an_empty_set(tmp_path: Path) -> None:
    """An empty arm would fail far from where it became empty."""
    found = write_tokens(batches([("b", None, None)]), tokenizer(), tmp_path, fingerprint="rows")
    assert (found.documents, found.tokens, found.skipped, found.shards) == (0, 0, 1, ())
    assert found.ids.to_pylist() == found.start_D.tolist() == []
    assert TokenSet.open(tmp_path).documents == 0


def test_long_texts_and_plain_columns_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table from another library has narrow strings, and a book is a batch by itself."""
    monkeypatch.setattr(module, "_ENCODE_BYTES", 20)
    texts = ["x", "over the sea " * 5, "y" * 10, "z" * 10, "w", "a storm " * 4]
    batch = pa.record_batch({"text": texts, "id": [*"abcdef"], "n": range(6)})
    found = write_tokens([batch], byte_tokenizer(), tmp_path, fingerprint="rows")
    check(
        found, [(i, text, None) for i, text in zip("abcdef", texts, strict=True)], byte_tokenizer()
    )


def test_little_text_is_encoded_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory would grow with the batches that come in."""
    encoded: list[int] = []
    real = Tokenizer.encode
    monkeypatch.setattr(
        Tokenizer, "encode", lambda self, t: (encoded.append(sum(map(len, t))), real(self, t))[1]
    )
    monkeypatch.setattr(module, "_ENCODE_BYTES", 100)
    rows = list(numbered(100, length=30))
    write_tokens(batches(rows, 100), byte_tokenizer(), tmp_path, fingerprint="rows")
    assert encoded == [90] * 33 + [30]


def test_a_damaged_set_is_not_read(tmp_path: Path) -> None:
    """A disk that ran full would show as a model that is a little worse."""
    found = make_set(tmp_path, list(numbered(30)), shard_tokens=200)
    path = tmp_path / "tokens-00001.bin"
    whole = path.read_bytes()
    path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    with pytest.raises(IntegrityError, match="tokens-00001"):
        TokenSet.open(tmp_path).verify()
    path.write_bytes(whole[:-2])
    with pytest.raises(IntegrityError, match="tokens-00001") as error:
        TokenSet.open(tmp_path)
    assert f"{len(whole):,} bytes" in error.value.facts["found"]
    path.unlink()
    with pytest.raises(IntegrityError, match="cannot be trusted"):
        make_set(tmp_path, list(numbered(30)), shard_tokens=200)
    assert found.tokens


def test_other_rows_do_not_go_on_with_a_set(tmp_path: Path) -> None:
    """Half of one corpus and half of another would pass for the second."""
    rows = list(numbered(40, length=9))
    settings = {"fingerprint": "rows", "shard_tokens": 100}
    with pytest.raises(Killed):
        write_tokens(killed_after(batches(rows), 25), byte_tokenizer(), tmp_path, **settings)
    with pytest.raises(ResourceError, match="no finished token set"):
        TokenSet.open(tmp_path)
    for others in (rows[1:], rows[:15]):
        with pytest.raises(IntegrityError, match="are not those"):
            write_tokens(batches(others), byte_tokenizer(), tmp_path, **settings)
    # under another name they begin anew, and nothing of the first stays behind
    made = write_tokens(batches(rows[:4]), byte_tokenizer(), tmp_path, fingerprint="others")
    check(made, rows[:4], byte_tokenizer())
    assert len(list(tmp_path.glob("tokens-*"))) == 1
    with pytest.raises(ResourceError, match="holds another"):
        make_set(tmp_path, rows)


def test_what_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has no room left would read a traceback and start from nothing."""
    with pytest.raises(ResourceError, match="no finished token set"):
        TokenSet.open(tmp_path)
    wrong: list[tuple[dict[str, Any], type[CurationError], str]] = [
        ({"fingerprint": ""}, RecipeError, "takes a fingerprint"),
        ({"fingerprint": "r", "shard_tokens": 0}, RecipeError, "shard size"),
        ({"fingerprint": "r", "document_ids": "url"}, RecipeError, "form of ids"),
    ]
    for how, kind, words in wrong:
        with pytest.raises(kind, match=words):
            write_tokens(batches(ROWS), tokenizer(), tmp_path / "x", **how)
    for name, form in (("text", "none"), ("source", "source")):
        given = [batch.drop_columns([name]) for batch in batches(ROWS)]
        with pytest.raises(RecipeError, match=f"'{name}'"):
            write_tokens(
                given,
                tokenizer(),
                tmp_path / "y",
                fingerprint="r",
                document_ids=form,  # type: ignore[arg-type]
            )

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.pa, "OSFile", full)
    with pytest.raises(ResourceError, match="No space left"):
        write_tokens(batches(ROWS), tokenizer(), tmp_path / "z", fingerprint="r")
