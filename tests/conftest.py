"""What the tests of the engine share: small inputs, a source of one shard a file, snapshots."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from curation import Build, Jsonl
from curation.stage import Annotator, Shard

ROOT = Path(__file__).resolve().parents[1]
#: Files of a store that tell when it was used and not what it holds.
DIARY = ("runs.jsonl", "lock")
#: Columns of the rows that ``write_numbers`` writes.
COLUMNS = (("n", "int64"), ("score", "float64"), ("weight", "uint32"))


@dataclass(frozen=True, kw_only=True)
class Files(Jsonl):
    """JSON lines with a shard for each file, however small."""

    def plan(self) -> list[Shard]:
        return [Shard((span,), span.size) for span in self.spans()]


def table(paths: str | Path) -> Files:
    """Return a source of text and numbers."""
    return Files(str(paths), columns=COLUMNS)


@dataclass(frozen=True, kw_only=True)
class Logged(Annotator):
    """Measure a text, and note in a file for which rows this was asked."""

    reads: ClassVar[tuple[str, ...]] = ("id", "text")
    writes: ClassVar[pa.Schema] = pa.schema([("size", pa.int64())])

    log: str

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        with open(self.log, "a") as file:
            file.writelines(f"{row}\n" for row in batch["id"].to_pylist())
        lengths = [None if t is None else len(t) for t in batch["text"].to_pylist()]
        return pa.RecordBatch.from_arrays([pa.array(lengths, pa.int64())], schema=self.writes)


def logged(log: Path) -> list[str]:
    """Return the rows that ``Logged`` was asked for since this was last called."""
    lines = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return lines


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any] | str]) -> Path:
    """Write rows as JSON lines; a string is written as it is, as a broken line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def write_numbers(folder: Path, files: int) -> str:
    """Write files of 25 rows; n counts through, and the text is n letters long."""
    for f in range(files):
        at = range(25 * f, 25 * f + 25)
        rows = ({"text": "x" * n, "n": n, "score": -(n % 4) / 2, "weight": n % 3} for n in at)
        write_jsonl(folder / f"f{f}.jsonl", rows)
    return f"{folder}/*.jsonl"


def write_words(folder: Path, files: int, rows: int) -> str:
    """Write files of texts of 0 to 9 words, a few of them twice; return their pattern."""
    for n in range(files):
        numbers = [n * rows + i for i in range(rows)]
        texts = [f"text {k % (files * rows - 5)} " + "word " * (k * 7 % 10) for k in numbers]
        write_jsonl(folder / f"f{n:02}.jsonl", ({"text": text} for text in texts))
    return f"{folder}/*.jsonl"


def snapshot(store: Path) -> dict[str, str]:
    """Return relative path → digest of every file of a store, its diary left out."""
    files = (p for p in store.rglob("*") if p.is_file() and p.name not in DIARY)
    return {str(p.relative_to(store)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def kept_ids(build: Build) -> list[str]:
    """Return the ids of the rows that stayed, in their order."""
    return list(build.documents(columns=["id"]).collect()["id"])


def curation(
    *words: str | Path, cwd: Path, check: int | None = 0, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own; fail unless its exit status is ``check``."""
    done = subprocess.run(
        command(*words), cwd=cwd, env=environment(env), capture_output=True, text=True, timeout=120
    )
    if check is not None:
        assert done.returncode == check, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "curation.cli", *map(str, words)]


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment in which a child finds the package and the tests, unformatted."""
    return os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "100"} | dict(more or {})


def workers_of(parent: int) -> list[int]:
    """Return the process ids of a run's workers."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and is_worker(int(folder.name)) == parent:
            found.append(int(folder.name))
    return sorted(found)


def is_worker(pid: int) -> int:
    """Return the parent of a worker process that lives; 0 for any other process."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        facts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(facts[1]) if b"curation.engine.worker" in words and facts[0] != "Z" else 0


def wait_until(true: Any, *, at_most_s: float = 20.0) -> Any:
    """Wait for a condition and return its value; fail where it stays false."""
    end = time.monotonic() + at_most_s
    while time.monotonic() < end:
        value = true()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError("what was waited for did not happen")


def parts(store: Path, kinds: Sequence[str] = ("*.parquet",)) -> dict[str, int]:
    """Return relative path → time of last change (ns) of a store's parts."""
    found = (p for kind in kinds for p in store.glob(f"*/{kind}"))
    return {str(p.relative_to(store)): p.stat().st_mtime_ns for p in found}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Where a test's store goes; it is not there yet."""
    return tmp_path / "store"


@pytest.fixture
def words(tmp_path: Path) -> str:
    """The pattern of three files of 40 short texts each."""
    return write_words(tmp_path / "words", files=3, rows=40)


@pytest.fixture
def numbers(tmp_path: Path) -> str:
    """Four files of 25 rows; n counts through, text grows with it."""
    return write_numbers(tmp_path / "numbers", 4)
