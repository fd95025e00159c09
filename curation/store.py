"""The store: a folder of row-aligned column groups, one Parquet file per stage and shard.

    STORE/<fingerprint>/part-<shard>.parquet …  manifest.json
    STORE/builds/<fingerprint>/build.json  errors.parquet
    STORE/runs.jsonl                            when each run was, how long it took
    STORE/lock                                  held while a run writes

A part is written under a temporary name and renamed. A manifest is written when all the shards
of a run are, and readers trust manifests only. A part that gains rows (a loosened threshold scores
more of them) is written beside the old one as .next and takes its place when the manifest does;
manifest.next.json is the promise that lets a later run finish such a change. Parts of one row space
have equal rows and equal row groups, so that the n-th row group of any column is the n-th batch of
the shard.

A part is named after its shard's content and not after its number: when a file is added to the
input, the parts of all the others stay as they are.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from curation.errors import IntegrityError, ResourceError

MANIFEST = "manifest.json"
_PROMISE = "manifest.next.json"
#: Text is compressed for speed: level 1 writes three times as fast as level 6 for 8 % more bytes.
COMPRESSION = {"compression": "zstd", "compression_level": 1}
#: Stands for the index of a row group where all of a part is meant.
WHOLE = -1
#: Columns of few distinct values; the others are not worth a dictionary.
_REPETITIVE = ("source", "license", "file", "encoding", "because", "error")


class Store:
    """A folder of column groups."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def part(self, group: str, shard: str) -> Path:
        """Where a shard's part of a column group lies, or will lie."""
        return self.path / group / f"part-{shard}.parquet"

    def build_folder(self, fingerprint: str) -> Path:
        """Where a build's own files lie."""
        return self.path / "builds" / fingerprint

    def manifest(self, group: str) -> dict[str, Any] | None:
        """Return a group's manifest, or None where no run has finished it."""
        return read_json(self.path / group / MANIFEST)

    def holds(self, group: str, shards: Sequence[str]) -> bool:
        """Tell whether a group's manifest lists these shards; their files are as long as it says.

        Raises IntegrityError for a part that is gone or has another length.
        """
        manifest = self.manifest(group)
        if manifest is None:
            return False
        parts = manifest["parts"]
        listed = [shard for shard in shards if shard in parts]
        for shard in listed:
            check_part(self.part(group, shard), parts[shard])
        return len(listed) == len(shards)

    def newest_part(self, group: str, shard: str) -> Path | None:
        """Return the part that holds most rows, listed in the manifest or not yet; None if none."""
        part = self.part(group, shard)
        return next((path for path in (_next(part), part) if path.exists()), None)

    def part_to_write(self, group: str, shard: str) -> Path:
        """Where a new part goes: its own name, or beside the part that is there already."""
        part = self.part(group, shard)
        return _next(part) if part.exists() else part

    def commit(
        self, group: str, about: dict[str, object], facts: dict[str, dict[str, object] | None]
    ) -> None:
        """List parts in the group's manifest, beside those of earlier runs.

        about  what the group is, for people and for ``check``
        facts  shard key → ``part_facts`` of its newest part, or None to have them computed
        """
        folder = self.path / group
        parts = (self.manifest(group) or {"parts": {}})["parts"]
        for shard, known in facts.items():
            newest = self.newest_part(group, shard) or self.part(group, shard)
            parts[shard] = known or part_facts(newest)
        for shard in parts.keys() - facts.keys():  # left by a killed run over other shards
            if _next(self.part(group, shard)).exists():
                parts[shard] = part_facts(_next(self.part(group, shard)))
        write_json(folder / _PROMISE, {**about, "parts": parts})
        self._keep_promise(folder)

    def distrust(self, group: str, trusted: str) -> None:
        """Forget the selections made on parts of a group that is written anew, but for one.

        A group that somebody deleted comes back with the rows that this run needs; an older
        selection that needed more of them must not pass for finished.
        """
        for path in self.path.glob(f"*/{MANIFEST}"):
            facts = read_json(path) or {}
            if path.parent.name != trusted and group in facts.get("stands_on", ()):
                for file in [path, *path.parent.glob("part-*")]:
                    file.unlink()

    def _keep_promise(self, folder: Path) -> None:
        promised = read_json(folder / _PROMISE) or {"parts": {}}
        for shard in promised["parts"]:
            part = self.part(folder.name, shard)
            if _next(part).exists():
                os.replace(_next(part), part)
        os.replace(folder / _PROMISE, folder / MANIFEST)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the store for one run; ResourceError where another run holds it."""
        with self.held("lock", f"another run is using the store {self.path}."):
            self._sweep()
            try:
                yield
            finally:
                self._sweep()

    @contextmanager
    def held(self, name: str, told: str) -> Iterator[None]:
        """Hold one of the store's lock files; ResourceError, so worded, where another holds it."""
        with self._open_lock(name) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise ResourceError(
                    told,
                    found=file.read().strip(),
                    remedy="wait for it to end, or give this run another --store",
                ) from None
            file.truncate(0)
            file.write(f"process {os.getpid()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
            file.flush()
            try:
                yield
            finally:
                file.truncate(0)

    def _open_lock(self, name: str) -> TextIO:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            return open(self.path / name, "a+")
        except OSError as error:
            raise ResourceError(
                f"the store {self.path} cannot be written.",
                found=str(error),
                remedy="give a folder that can be written: --store PATH",
            ) from None

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Turn the errors of files and disks into ResourceError, in the parent and in workers."""
        try:
            yield
        except BrokenPipeError:  # whoever read our output has gone
            raise
        except OSError as error:
            raise self._explained(error) from error

    def _explained(self, error: OSError) -> ResourceError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return ResourceError(
                f"no space is left for the store {self.path}.",
                found=str(error),
                remedy="free space and run the same command again: finished shards are kept",
            )
        return ResourceError(
            f"{error.filename or 'an input file'} cannot be read or written.",
            found=str(error),
            remedy="mend it and run the same command again: finished shards are kept",
        )

    def _sweep(self) -> None:
        # what a killed run or worker left half-written; nobody else writes while the lock is held
        for left in [*self.path.glob("*/*.tmp-*"), *self.path.glob("builds/*/*.tmp-*")]:
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
        for promise in self.path.glob(f"*/{_PROMISE}"):
            self._keep_promise(promise.parent)

    def log(self, **facts: object) -> None:
        """Append one line to the history of runs."""
        with open(self.path / "runs.jsonl", "a+") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
            torn = file.read(1) not in ("", "\n")
            file.write("\n" * torn + json.dumps(facts) + "\n")

    def builds(self) -> list[str]:
        """Return the fingerprints of the finished builds, the latest run last."""
        history: dict[str, None] = {}
        if (self.path / "runs.jsonl").exists():
            for line in (self.path / "runs.jsonl").read_text().splitlines():
                with suppress(json.JSONDecodeError):  # a line that a power cut tore
                    build = json.loads(line)["build"]
                    history.pop(build, None)
                    history[build] = None
        found = [p.parent.name for p in sorted(self.path.glob("builds/*/build.json"))]
        listed = [build for build in history if build in found]
        return [build for build in found if build not in history] + listed


class PartWriter:
    """Writes one part under a temporary name; ``close`` puts it in place."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self.temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = open_parquet(self.temporary, schema)

    def write(self, batch: pa.RecordBatch) -> None:
        """Append one row group."""
        self._writer.write_batch(batch, row_group_size=max(1, batch.num_rows))

    def note(self, facts: dict[str, object]) -> None:
        """Put facts into the file's own footer, as JSON under the key ``curation``."""
        self._writer.add_key_value_metadata({"curation": canonical_json(facts)})

    def close(self) -> None:
        """Finish the file and give it its name."""
        self._writer.close()
        os.replace(self.temporary, self.path)

    def abort(self) -> None:
        """Throw away what was written."""
        with suppress(OSError):  # a full disk, which is often why we are here
            self._writer.close()
        self.temporary.unlink(missing_ok=True)


class PartReader:
    """Reads one part by row group, a few columns at a time."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = pq.ParquetFile(path, pre_buffer=False)
        except FileNotFoundError:
            raise _damaged(path, "it is gone") from None
        except pa.ArrowInvalid as error:
            raise _damaged(path, str(error)) from None
        self.path = path
        meta = self._file.metadata
        self.sizes = [meta.row_group(i).num_rows for i in range(meta.num_row_groups)]
        self.names: list[str] = self._file.schema_arrow.names

    def read(self, index: int, names: Sequence[str]) -> pa.RecordBatch:
        """Return columns of one row group, or of the WHOLE part, as one batch."""
        try:
            if index == WHOLE:
                table = self._file.read(columns=list(names), use_threads=False)
            else:
                table = self._file.read_row_group(index, columns=list(names), use_threads=False)
        except (OSError, pa.ArrowInvalid) as error:
            raise _damaged(self.path, str(error)) from None
        return one_batch(table)

    @property
    def notes(self) -> dict[str, Any]:
        """The facts that the writer put into the footer."""
        noted: dict[str, Any] = json.loads(
            (self._file.metadata.metadata or {}).get(b"curation", b"{}")
        )
        return noted

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def one_batch(table: pa.Table) -> pa.RecordBatch:
    """Return a table's rows as one batch, copying only where it has several pieces."""
    columns = [
        column.chunk(0)
        if column.num_chunks == 1
        else pa.concat_arrays(column.chunks)
        if column.num_chunks
        else pa.array([], type=column.type)
        for column in table.columns
    ]
    return pa.RecordBatch.from_arrays(columns, schema=table.schema)


def open_parquet(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Open a Parquet file for writing with the package's settings."""
    strings = [
        f.name
        for f in schema
        if f.name in _REPETITIVE or f.name.startswith("http_") or pa.types.is_boolean(f.type)
    ]
    numbers = [f.name for f in schema if pa.types.is_primitive(f.type)]
    return pq.ParquetWriter(
        path, schema, use_dictionary=strings, write_statistics=numbers, **COMPRESSION
    )


def _next(part: Path) -> Path:
    return part.with_name(f"{part.name}.next")


def part_facts(path: Path) -> dict[str, object]:
    """Return what a manifest says of a part: bytes, rows, digest."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        rows = pq.read_metadata(path).num_rows
    except FileNotFoundError:
        raise _damaged(path, "it is gone") from None
    except pa.ArrowInvalid as error:
        raise _damaged(path, str(error)) from None
    return {"bytes": path.stat().st_size, "rows": rows, "blake2b": digest.hexdigest()}


def check_part(path: Path, facts: dict[str, Any]) -> None:
    """Raise IntegrityError unless a part has the length that its manifest states."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise _damaged(path, "it is gone") from None
    if size != facts["bytes"]:
        raise _damaged(path, f"it has {size:,} bytes, its manifest says {facts['bytes']:,}")


def _damaged(path: Path, found: str) -> IntegrityError:
    return IntegrityError(
        f"the stored part {path} cannot be trusted.",
        found=found,
        remedy=f"delete the folder {path.parent} and run the recipe again: it is computed anew",
    )


def canonical_json(value: object) -> str:
    """Return JSON with one spelling: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return a JSON object from a file, or None where there is no such file."""
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except json.JSONDecodeError as error:
        raise IntegrityError(
            f"{path} is not readable.",
            found=str(error),
            remedy=f"delete the folder {path.parent} and run the recipe again",
        ) from None
    return found


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name, and give what was written there the name that it is for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    yield temporary
    os.replace(temporary, path)


def write_json(path: Path, value: object) -> None:
    """Write JSON under a temporary name and rename it."""
    with replacing(path) as temporary:
        text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
        temporary.write_text(text + "\n")


@contextmanager
def waiting_for(path: Path) -> Iterator[None]:
    """Hold a lock file against other processes; they wait until it is free."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
