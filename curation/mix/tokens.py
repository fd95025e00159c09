"""Texts as packed tokens on disk: the folder of shards, and what writes it.

A token set holds each document's tokens with the end mark after them, laid end to end in shards
that are memory-mapped: sixteen bits a token where the vocabulary fits, thirty-two elsewhere. It
says nothing of the order of training; ``budget.py`` draws documents and ``stream.py`` cuts windows,
so that one set serves every arm, seed and schedule.

Trade-off: a document lies in one shard, so a shard can be larger than asked by its last document;
in exchange a document is one slice, and any document can be drawn at any time.

    manifest.json          what the set is, and size and digest of each file; written last
    tokens-00000.bin       little-endian tokens
    documents-00000.arrow  id, source, tokens (end mark included) and UTF-8 bytes of each document

D documents of the set, N documents of a batch, S tokens of a shard
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.arrow import bytes_and_offsets, from_bytes_and_offsets, to_column, values_of
from curation.engine.progress import Progress
from curation.errors import IntegrityError, RecipeError, ResourceError
from curation.mix.tokenizer import Tokenizer as Tokenizer
from curation.store import canonical_json, read_json, waiting_for, write_json

if TYPE_CHECKING:
    from curation.build import Build

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
Tokens = npt.NDArray[Any]
#: What follows a document's text: nothing, or a name that the model is to remember it by.
DocumentIds = Literal["none", "source", "id"]

#: Column that says how often a row stands in the set.
TIMES = "mix_count"
#: Layout of a token set, part of its fingerprint.
LAYOUT = 1
MANIFEST = "manifest.json"
#: Text that is encoded in one go: what the tokenizer holds for a token is a hundred times as large.
_ENCODE_BYTES = 2 << 20
#: What stands around a document's id after its text.
_AROUND_ID = (" <url> ", " </url>")
_DOCUMENTS = pa.schema(
    [
        ("id", pa.large_string()),
        ("source", pa.large_string()),
        ("tokens", pa.int64()),
        ("bytes", pa.int64()),
    ]
)


# ---------------------------------------------------------------- the set


class TokenSet:
    """A finished folder of packed token shards, memory-mapped.

    fingerprint            of the rows, the tokenizer and what was added to the text
    tokenizer_fingerprint  of the tokenizer alone
    documents, tokens      how many; end marks are tokens
    text_bytes             UTF-8 bytes of the original texts
    skipped                rows whose text was null
    """

    def __init__(self, folder: Path, facts: Mapping[str, Any]) -> None:
        self.folder, self.facts = folder, facts
        self.fingerprint: str = facts["fingerprint"]
        self.tokenizer_fingerprint: str = facts["tokenizer"]
        self.vocab_size: int = facts["vocabulary"]
        self.end_id: int = facts["end_id"]
        self.documents: int = facts["documents"]
        self.tokens: int = facts["tokens"]
        self.text_bytes: int = facts["text_bytes"]
        self.skipped: int = facts["skipped"]

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> TokenSet:
        """Open a finished set.

        Raises ResourceError where there is none, IntegrityError where a file is absent or has
        another length than the manifest says.
        """
        path = Path(folder)
        facts = read_json(path / MANIFEST)
        if facts is None or not facts.get("complete"):
            raise ResourceError(
                f"there is no finished token set at {path}.",
                found="no manifest" if facts is None else "one whose writing was interrupted",
                remedy="write_tokens(...) makes one, or goes on with one",
            )
        for name, size, _ in _files(facts):
            found = (path / name).stat().st_size if (path / name).exists() else None
            if found != size:
                said = "it is absent" if found is None else f"{found:,} bytes"
                raise _damaged(path / name, f"{said}; the manifest says {size:,} bytes")
        return cls(path, facts)

    def __repr__(self) -> str:
        return (
            f"TokenSet {self.fingerprint}: {self.tokens:,} tokens of {self.documents:,} documents"
        )

    def verify(self) -> None:
        """Read every file and raise IntegrityError where one is not what was written."""
        for name, _, digest in _files(self.facts):
            if _digest(self.folder / name) != digest:
                raise _damaged(self.folder / name, "other bytes than were written")

    @cached_property
    def shards(self) -> tuple[Tokens, ...]:
        """The tokens, read-only: uint16 or uint32[S] each."""
        names = [shard["tokens_file"]["name"] for shard in self.facts["shards"]]
        kind = np.dtype(self.facts["dtype"])
        return tuple(np.memmap(self.folder / name, dtype=kind, mode="r") for name in names)

    def document(self, index: int) -> Tokens:
        """Return the tokens of one document, the end mark last."""
        start = int(self.start_D[index])
        shard: Tokens = self.shards[self.shard_D[index]]
        return shard[start : start + int(self.count_D[index])]

    @cached_property
    def ids(self) -> pa.LargeStringArray:
        """The id of each document."""
        return self._column("id")

    @cached_property
    def sources(self) -> pa.LargeStringArray:
        """The source of each document, "" where it has none."""
        return self._column("source")

    @cached_property
    def count_D(self) -> I64:  # noqa: N802
        """int64[D]: tokens of each document with its end mark."""
        counts: I64 = values_of(self._column("tokens"))
        return counts

    @cached_property
    def bytes_D(self) -> I64:  # noqa: N802
        """int64[D]: UTF-8 bytes of each document's text as it was before anything was added."""
        sizes: I64 = values_of(self._column("bytes"))
        return sizes

    @cached_property
    def shard_D(self) -> I64:  # noqa: N802
        """int64[D]: the shard that a document lies in."""
        documents = [shard["documents"] for shard in self.facts["shards"]]
        return np.repeat(np.arange(len(documents), dtype=np.int64), documents)

    @cached_property
    def start_D(self) -> I64:  # noqa: N802
        """int64[D]: where in its shard a document begins."""
        tokens = np.array([shard["tokens"] for shard in self.facts["shards"]], dtype=np.int64)
        before_D: I64 = (np.cumsum(tokens) - tokens)[self.shard_D]
        return np.cumsum(self.count_D) - self.count_D - before_D

    @cached_property
    def _tables(self) -> list[pa.Table]:
        names = [shard["documents_file"]["name"] for shard in self.facts["shards"]]
        maps = [pa.memory_map(str(self.folder / name)) for name in names]
        return [pa.ipc.open_file(file).read_all() for file in maps]

    def _column(self, name: str) -> pa.Array:
        chunks = [chunk for table in self._tables for chunk in table.column(name).chunks]
        return pa.concat_arrays(chunks) if chunks else pa.array([], _DOCUMENTS.field(name).type)


def _files(facts: Mapping[str, Any]) -> Iterator[tuple[str, int, str]]:
    """Yield name, bytes and digest of each file of a set."""
    for shard in facts["shards"]:
        for file in (shard["tokens_file"], shard["documents_file"]):
            yield file["name"], file["bytes"], file["blake2b"]


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _damaged(path: Path, found: str) -> IntegrityError:
    return IntegrityError(
        f"the token shard {path} cannot be trusted.",
        found=found,
        remedy=f"delete the folder {path.parent} and write it again",
    )


# ---------------------------------------------------------------- writing one


def write_tokens(
    rows: Build | Iterable[pa.RecordBatch],
    tokenizer: Tokenizer,
    folder: str | os.PathLike[str],
    *,
    fingerprint: str,
    document_ids: DocumentIds = "none",
    shard_tokens: int = 1 << 27,
    progress: Progress | None = None,
) -> TokenSet:
    """Tokenize rows into a folder and return the set; one that is there already is not made again.

    Interrupted, it goes on after the last finished shard when it is called again with the same
    rows, and the files are the same bytes as without the interruption, whatever the batches.

    rows          a build, or batches with id, text and perhaps source that begin anew on each call.
                  Where they have ``mix_count`` (see Mixture), a row stands in the set that often
    fingerprint   what the rows are, such as their build's; the set's own also holds the tokenizer
    document_ids  source-aware training: each text is followed by its source or id, in the form
                  `` <url> ID </url>`` (Khalifa et al. 2024, arXiv:2404.01019); a row without a
                  source gets nothing
    shard_tokens  a shard ends with the document that takes it to so many tokens

    Raises RecipeError for columns that are not there, ResourceError for a folder that holds
    another set or a full disk, IntegrityError where the rows are not those of before.
    """
    if not fingerprint or shard_tokens < 1 or document_ids not in ("none", "source", "id"):
        raise RecipeError(
            "write_tokens takes a fingerprint, a shard size of 1 or more and a form of ids.",
            found=f"{fingerprint!r}, shard_tokens={shard_tokens}, document_ids={document_ids!r}",
        )
    identity = {
        "layout": LAYOUT,
        "rows": fingerprint,
        "tokenizer": tokenizer.fingerprint,
        "document_ids": document_ids,
    }
    digest = hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:16]
    path, facts = Path(folder), {**identity, "fingerprint": digest}
    with waiting_for(path / "lock"):
        known = read_json(path / MANIFEST) or {}
        if known.get("complete"):
            if known.get("fingerprint") != digest:
                raise ResourceError(
                    f"the folder {path} holds another token set.",
                    found=f"{known.get('fingerprint')} of rows {known.get('rows')}",
                    wanted=f"{digest} of rows {fingerprint}",
                    remedy="give another folder, or delete this one",
                )
            return TokenSet.open(path)
        writer = _Writer(path, facts, tokenizer, shard_tokens, known)
        writer.write(_rows_of(rows, document_ids), document_ids, progress or Progress())
    return TokenSet.open(path)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ResourceError(
            f"the token shard {path} cannot be written: {error.strerror}.",
            remedy="make room and start again: finished shards are kept",
        ) from error


def _rows_of(rows: Build | Iterable[pa.RecordBatch], document_ids: str) -> Iterator[pa.RecordBatch]:
    """Yield id, text and, where there is one, source: each row as often as it is trained on."""
    from curation.build import Build

    batches: Iterable[pa.RecordBatch] = ()
    if isinstance(rows, Build):
        outcome = rows.outcomes[-1]
        names = [name for name in ("id", "text", "source", TIMES) if name in outcome.columns]
        _check_columns(names, document_ids)
        batches = (batch for _, _, batch in rows.reader(outcome).batches(names))
    else:
        batches = rows
    for batch in batches:
        _check_columns(batch.schema.names, document_ids)
        if TIMES in batch.schema.names:
            times_N = values_of(pc.fill_null(batch[TIMES], 0))
            batch = batch.take(pa.array(np.repeat(np.arange(len(batch)), times_N)))
        names = [name for name in ("id", "text", "source") if name in batch.schema.names]
        arrays = [batch[name].cast(pa.large_string()) for name in names]
        yield pa.RecordBatch.from_arrays(arrays, names=names)


def _check_columns(names: Sequence[str], document_ids: str) -> None:
    wanted = ("id", "text", "source") if document_ids == "source" else ("id", "text")
    for name in wanted:
        if name not in names:
            raise RecipeError(
                f"rows without the column '{name}' cannot be made a token set.",
                present=", ".join(names),
                wanted=", ".join(wanted),
            )


class _Writer:
    """Writes the shards of one set, and after each what has been done."""

    def __init__(
        self,
        folder: Path,
        facts: Mapping[str, Any],
        tokenizer: Tokenizer,
        shard_tokens: int,
        known: Mapping[str, Any],
    ) -> None:
        wide = tokenizer.vocab_size > 1 << 16
        self._folder, self._tokenizer, self._shard_tokens = folder, tokenizer, shard_tokens
        self._dtype = np.dtype("<u4" if wide else "<u2")
        self._facts = {
            **facts,
            "shard_tokens": shard_tokens,
            "vocabulary": tokenizer.vocab_size,
            "end_id": tokenizer.end_id,
            "dtype": self._dtype.str,
        }
        goes_on = {name: known.get(name) for name in self._facts} == self._facts
        self._shards: list[dict[str, Any]] = list(known["shards"]) if goes_on else []
        for pattern in ("*.tmp*",) if goes_on else ("tokens-*", "documents-*", "*.tmp*"):
            for file in folder.glob(pattern):
                file.unlink(missing_ok=True)
        if not goes_on:
            self._note(complete=False)

    def write(self, rows: Iterator[pa.RecordBatch], document_ids: str, progress: Progress) -> None:
        """Encode the rows that no finished shard holds, and write the manifest."""
        done = self._shards[-1]["rows"] if self._shards else 0
        progress.begin(f"tokenize into {self._folder}", 1, 0, 0)
        shard, row, last, size = _Shard(self._folder, len(self._shards), self._dtype), 0, 0, 0
        for piece in _pieces(self._after_finished(rows, done)):
            texts, place_N = _documents(piece, document_ids)
            encoded = self._tokenizer.encode(texts.to_pylist())
            token_S, count_N = _packed(encoded, self._tokenizer.end_id, self._dtype)
            table = _table(piece.take(pa.array(place_N)), count_N)
            while len(count_N):
                fits = int(np.searchsorted(np.cumsum(count_N), self._shard_tokens - shard.tokens))
                fits = min(fits + 1, len(count_N))
                tokens, last = int(count_N[:fits].sum()), done + row + int(place_N[fits - 1]) + 1
                shard.add(token_S[:tokens], table.slice(0, fits))
                if shard.tokens >= self._shard_tokens:
                    self._finish(shard, last)
                    shard = _Shard(self._folder, len(self._shards), self._dtype)
                token_S, table = token_S[tokens:], table.slice(fits)
                count_N, place_N = count_N[fits:], place_N[fits:]
            row, size = row + len(piece), size + int(pc.sum(_text_bytes(piece)).as_py() or 0)
            progress.advance(row, size, 0, 0)
        if shard.tokens:
            self._finish(shard, last)
        self._note(complete=True, rows_read=done + row)
        progress.close()

    def _after_finished(
        self, rows: Iterator[pa.RecordBatch], done: int
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows after those of the finished shards, which have to be the same as then."""
        left, last = done, self._shards[-1]["last_id"] if self._shards else None
        for batch in rows:
            if left > len(batch):
                left -= len(batch)
                continue
            if left and batch["id"][left - 1].as_py() != last:
                break
            yield batch.slice(left)
            left = 0
        if left:
            raise IntegrityError(
                f"the rows are not those that the shards in {self._folder} were made of.",
                found=f"row {done:,} is not {last}",
                remedy="delete the folder, or give other rows another fingerprint",
            )

    def _finish(self, shard: _Shard, rows: int) -> None:
        self._shards.append({**shard.close(), "rows": rows})
        self._note(complete=False)

    def _note(self, *, complete: bool, rows_read: int = 0) -> None:
        facts = {**self._facts, "complete": complete, "shards": self._shards}
        if complete:
            names = ("documents", "tokens", "text_bytes")
            totals = {name: sum(shard[name] for shard in self._shards) for name in names}
            facts |= {**totals, "skipped": rows_read - totals["documents"]}
        with _explained(self._folder / MANIFEST):
            write_json(self._folder / MANIFEST, facts)


class _Shard:
    """One shard as it is written: its tokens go to disk at once, its documents when it ends."""

    def __init__(self, folder: Path, number: int, dtype: np.dtype[Any]) -> None:
        self._path = folder / f"tokens-{number:05d}.bin"
        self._table_path = folder / f"documents-{number:05d}.arrow"
        self._dtype, self.tokens = dtype, 0
        self._tables: list[pa.Table] = []

    @property
    def _temporary(self) -> Path:
        return self._path.with_name(f"{self._path.name}.tmp")

    def add(self, token_S: Tokens, table: pa.Table) -> None:
        with _explained(self._path), open(self._temporary, "ab") as file:
            file.write(token_S.tobytes())
        self.tokens += len(token_S)
        self._tables.append(table)

    def close(self) -> dict[str, Any]:
        """Rename the files; return what the manifest says of them."""
        table = _laid_out(pa.concat_tables(self._tables))
        temporary = self._table_path.with_name(f"{self._table_path.name}.tmp")
        with _explained(self._table_path):
            with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, _DOCUMENTS) as out:
                out.write_table(table)
            os.replace(temporary, self._table_path)
            os.replace(self._temporary, self._path)
        paths = {"tokens_file": self._path, "documents_file": self._table_path}
        files = {
            key: {"name": path.name, "bytes": path.stat().st_size, "blake2b": _digest(path)}
            for key, path in paths.items()
        }
        return {
            "documents": len(table),
            "tokens": self.tokens,
            "text_bytes": pc.sum(table["bytes"]).as_py(),
            "last_id": table["id"][-1].as_py(),
            **files,
        }


def _laid_out(table: pa.Table) -> pa.Table:
    """Return a table whose file is the same bytes, whatever slices it was put together from."""
    arrays = []
    for column in table.columns:
        array = pa.concat_arrays(column.chunks)
        if pa.types.is_large_string(array.type):
            data, offset = bytes_and_offsets(array)
            data = data[offset[0] : offset[-1]].copy()
            arrays.append(from_bytes_and_offsets(data, offset - offset[0], array.type))
        else:
            arrays.append(to_column(values_of(array).copy()))
    return pa.Table.from_arrays(arrays, schema=_DOCUMENTS)


def _pieces(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Cut batches so that each piece is one document or holds little text."""
    for batch in batches:
        end_N = np.cumsum(values_of(_text_bytes(batch)))
        start = 0
        while start < len(batch):
            before = int(end_N[start - 1]) if start else 0
            stop = int(np.searchsorted(end_N, before + _ENCODE_BYTES, side="right"))
            yield batch.slice(start, max(1, stop - start))
            start += max(1, stop - start)


def _text_bytes(batch: pa.RecordBatch) -> pa.Array:
    """Return int64[N]: UTF-8 bytes of each text, 0 for a null."""
    return pc.fill_null(pc.binary_length(batch["text"]), 0).cast(pa.int64())


def _documents(piece: pa.RecordBatch, document_ids: str) -> tuple[pa.Array, I64]:
    """Return the texts to encode, N of them, and int64[N]: their rows."""
    place_N = np.flatnonzero(piece["text"].is_valid().to_numpy(zero_copy_only=False))
    rows = piece.take(pa.array(place_N))
    text = rows["text"]
    if document_ids != "none":
        opens, closes, nothing = (pa.scalar(s, pa.large_string()) for s in (*_AROUND_ID, ""))
        named = pc.binary_join_element_wise(text, opens, rows[document_ids], closes, nothing)
        text = pc.coalesce(named, text)
    return text, place_N.astype(np.int64)


def _packed(encoded: Sequence[I32], end_id: int, dtype: np.dtype[Any]) -> tuple[Tokens, I64]:
    """Return the tokens laid end to end, the end mark after each document, and int64[N] sizes."""
    count_N = np.array([len(ids) + 1 for ids in encoded], dtype=np.int64)
    token_S = np.full(int(count_N.sum()), end_id, dtype=dtype)
    of_text = np.ones(len(token_S), dtype=np.bool_)
    of_text[np.cumsum(count_N) - 1] = False
    if len(encoded):
        token_S[of_text] = np.concatenate(encoded)
    return token_S, count_N


def _table(rows: pa.RecordBatch, count_N: I64) -> pa.Table:
    names = rows.schema.names
    source = rows["source"] if "source" in names else pa.nulls(len(rows), pa.large_string())
    arrays = [rows["id"], pc.fill_null(source, ""), to_column(count_N), _text_bytes(rows)]
    return pa.Table.from_arrays(arrays, schema=_DOCUMENTS)
