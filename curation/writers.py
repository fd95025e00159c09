"""Writes a build's corpus as Parquet or JSON-lines files, in shards of a chosen size.

The rows that stayed are cut into files by their text bytes, in source order, before anything is
written: the same build gives the same files, whatever was interrupted on the way. Files are
written under temporary names, and the manifest last: a corpus with a manifest is complete. The
manifest, FOLDER.manifest.json, lies beside the folder and not in it, for polars opens a folder only
if all its files are data.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.engine.progress import Progress
from curation.errors import RecipeError, ResourceError, nearest
from curation.store import open_parquet, read_json, write_json

if TYPE_CHECKING:
    from curation.build import Build

#: Columns that a corpus has by default, those of them that the recipe makes.
CORPUS = (
    *("id", "parent_id", "rewriter", "prompt_id", "model_id", "rewrite_seed"),
    *("source", "url", "license", "date", "title", "text"),
)
#: Rows of a Parquet row group at most, so that readers need not hold a whole file.
ROW_GROUP_ROWS = 16_384


@dataclass(frozen=True)
class ParquetFiles:
    """Parquet, zstd-compressed.

    folder       where the files go; made if absent
    columns      which columns, in order; None for those of CORPUS that the recipe makes
    shard_bytes  a file ends with the row that takes its text past so many bytes
    """

    folder: str | os.PathLike[str]
    columns: tuple[str, ...] | None = None
    shard_bytes: int = 256 << 20
    ending: ClassVar[str] = ".parquet"


@dataclass(frozen=True)
class JsonlFiles:
    """JSON lines, zstd-compressed; settings as for ParquetFiles."""

    folder: str | os.PathLike[str]
    columns: tuple[str, ...] | None = None
    shard_bytes: int = 256 << 20
    ending: ClassVar[str] = ".jsonl.zst"


@dataclass(frozen=True)
class Written:
    """What was written: the folder, its files, and how many rows and bytes of text they hold."""

    folder: Path
    paths: tuple[Path, ...]
    rows: int
    text_bytes: int


class _Sink(Protocol):
    def write(self, batch: pa.RecordBatch) -> None: ...

    def close(self) -> None: ...


def write_corpus(
    build: Build, writer: ParquetFiles | JsonlFiles, progress: Progress | None = None
) -> Written:
    """Write a build's corpus; a folder that holds this very corpus already is left as it is.

    Raises RecipeError for a column that the build lacks, ResourceError for a folder that holds
    something else or a disk that is full.
    """
    folder = Path(writer.folder)
    names = _columns(build, writer)
    facts = {
        "build": build.fingerprint,
        "recipe": build.facts["recipe"],
        "columns": names,
        "format": writer.ending.lstrip("."),
        "shard_bytes": writer.shard_bytes,
    }
    known = read_json(_manifest(folder))
    if known is not None and _is_whole(folder, known, facts):
        return _written(folder, known)
    with build.store.explaining():
        _make_room(folder)
        write_json(_manifest(folder), {**facts, "complete": False})  # from here on it is ours
        files = _write_files(build, writer, names, progress or Progress())
        rows, size = sum(f["rows"] for f in files), sum(f["text_bytes"] for f in files)
        whole = {**facts, "complete": True, "rows": rows, "text_bytes": size, "files": files}
        write_json(_manifest(folder), whole)
    return _written(folder, whole)


def _is_whole(folder: Path, known: dict[str, Any], facts: dict[str, object]) -> bool:
    """Tell whether a folder holds just what is asked for: every file, as long as it should be."""
    if {key: known.get(key) for key in facts} != facts or not known.get("complete"):
        return False
    files = [(folder / file["name"], file["bytes"]) for file in known["files"]]
    return all(path.exists() and path.stat().st_size == size for path, size in files)


def _written(folder: Path, manifest: dict[str, Any]) -> Written:
    paths = tuple(folder / file["name"] for file in manifest["files"])
    return Written(folder, paths, manifest["rows"], manifest["text_bytes"])


def _columns(build: Build, writer: ParquetFiles | JsonlFiles) -> list[str]:
    present = build.outcomes[-1].columns
    for name in writer.columns or ():
        if name not in present:
            raise RecipeError(
                f"the corpus cannot have a column '{name}'.",
                present=", ".join(present),
                remedy=nearest(name, present),
            )
    return list(writer.columns or [name for name in CORPUS if name in present])


def check_folder(folder: Path) -> None:
    """Raise ResourceError unless a corpus may be written there; before a long run, not after it."""
    if folder.exists() and not folder.is_dir():
        raise ResourceError(f"{folder} is a file.", remedy="give a folder for the corpus")
    known = read_json(_manifest(folder))
    names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    foreign = [name for name in names if known is None or not name.startswith("part-")]
    if foreign:
        raise ResourceError(
            f"the folder {folder} holds files that are not a corpus.",
            found=", ".join(foreign[:5]),
            remedy="give another folder, or empty this one",
        )


def _manifest(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.manifest.json")


def _make_room(folder: Path) -> None:
    """Remove an earlier corpus of ours."""
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("part-*"):
        path.unlink()


def _write_files(
    build: Build, writer: ParquetFiles | JsonlFiles, names: list[str], progress: Progress
) -> list[dict[str, Any]]:
    """Write the files one after the other; return the manifest's facts of each.

    A corpus without a row is one file that says which columns it would have.
    """
    folder, files, sink = Path(writer.folder), list[dict[str, Any]](), None
    rows = size = done_rows = done_bytes = 0
    total = build.facts["funnel"][-1]["bytes"]
    progress.begin(f"write {folder}", 1, 0, total)
    for batch, full in _cut(build, names, writer.shard_bytes):
        path = folder / f"part-{len(files):05d}{writer.ending}"
        if sink is None:
            sink, rows, size = _open(path.with_name(path.name + ".tmp"), batch.schema), 0, 0
        sink.write(batch)
        text_bytes = _text_bytes(batch)
        rows, size = rows + batch.num_rows, size + text_bytes
        done_rows, done_bytes = done_rows + batch.num_rows, done_bytes + text_bytes
        progress.advance(done_rows, done_bytes, 0, min(done_bytes, total))
        if full:
            files.append(_finish(sink, path, rows, size))
            sink = None
    if sink is not None:
        files.append(_finish(sink, path, rows, size))
    progress.close()
    return files


def _finish(sink: _Sink, path: Path, rows: int, size: int) -> dict[str, Any]:
    sink.close()
    os.replace(path.with_name(path.name + ".tmp"), path)
    return {"name": path.name, "rows": rows, "text_bytes": size, "bytes": path.stat().st_size}


def _cut(build: Build, names: list[str], shard_bytes: int) -> Iterator[tuple[pa.RecordBatch, bool]]:
    """Yield the corpus in pieces, and whether a file ends after each."""
    left = shard_bytes
    reader, seen = build.reader(build.outcomes[-1]), False
    for _, _, batch in reader.batches(names):
        seen = True
        while batch.num_rows:
            ends = _row_ends(batch)
            fits = int(ends.searchsorted(left, side="left")) + 1
            piece = batch.slice(0, fits)
            full = fits <= batch.num_rows and int(ends[piece.num_rows - 1]) >= left
            yield piece, full
            left = shard_bytes if full else left - int(ends[-1])
            batch = batch.slice(piece.num_rows)
    if not seen:
        yield pa.RecordBatch.from_pylist([], schema=reader.schema(names)), True


def _row_ends(batch: pa.RecordBatch) -> Any:
    """Return int64[N]: text bytes up to and with each row."""
    if "text" not in batch.schema.names:
        return pc.cumulative_sum(pa.array([1] * batch.num_rows, pa.int64())).to_numpy()
    sizes = pc.fill_null(pc.binary_length(batch["text"]), 0).cast(pa.int64())
    return pc.cumulative_sum(sizes).to_numpy()


def _text_bytes(batch: pa.RecordBatch) -> int:
    return int(_row_ends(batch)[-1]) if "text" in batch.schema.names and batch.num_rows else 0


def _open(path: Path, schema: pa.Schema) -> _Sink:
    return _ParquetSink(path, schema) if path.name.endswith(".parquet.tmp") else _JsonlSink(path)


class _ParquetSink:
    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._writer: pq.ParquetWriter = open_parquet(path, schema)

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch, row_group_size=ROW_GROUP_ROWS)

    def close(self) -> None:
        self._writer.close()


class _JsonlSink:
    """JSON lines by polars' writer, each batch compressed as a frame of one zstd file."""

    def __init__(self, path: Path) -> None:
        import zstandard

        self._file = open(path, "wb")  # noqa: SIM115  closed by close()
        self._compressor = zstandard.ZstdCompressor(level=3)

    def write(self, batch: pa.RecordBatch) -> None:
        lines = pl.DataFrame(batch).write_ndjson().encode()
        self._file.write(self._compressor.compress(lines))

    def close(self) -> None:
        self._file.close()
