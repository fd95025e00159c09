"""What the benchmark scripts share: real text of a wanted size, timing, tables and verdicts."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"
#: Python of the environment that ``make peers`` installs other packages into.
PEERS = Path(__file__).resolve().parents[1] / ".peers" / "bin" / "python"
TEXTS = (
    "text/wikinews.jsonl.zst",
    "domains/medicine.jsonl.zst",
    "domains/cybersecurity.jsonl.zst",
    "text/books.jsonl.zst",
)
#: Whole books are cut to pieces of this length, so that documents are of the size of web pages.
PIECE_CHARS = 20_000


def arguments(about: str) -> argparse.Namespace:
    """Parse --quick and --check."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--quick", action="store_true", help="a smaller input, under a minute")
    parser.add_argument("--check", action="store_true", help="exit 1 if a figure falls short")
    return parser.parse_args()


def records(path: str | Path) -> list[dict[str, Any]]:
    """Return the records of compressed JSON lines; a relative path is one of the real data."""
    with open(DATA / path, "rb") as file:
        lines = zstandard.ZstdDecompressor().stream_reader(file).read().splitlines()
    return [json.loads(line) for line in lines]


def texts() -> Iterator[str]:
    """Yield real documents: news, medicine, security, pieces of books."""
    for name in TEXTS:
        for record in records(name):
            text = record["text"]
            yield from (text[i : i + PIECE_CHARS] for i in range(0, len(text), PIECE_CHARS))


def write_corpus(folder: Path, megabytes: int, files: int) -> list[Path]:
    """Write Parquet files with so many megabytes of text in all; a repeated document is marked."""
    if not DATA.exists():
        sys.exit(f"this benchmark needs the real texts in {DATA}")
    documents = list(texts())
    folder.mkdir(parents=True, exist_ok=True)
    paths, per_file = [], megabytes * 1_000_000 // files
    number = 0
    for index in range(files):
        rows: list[str] = []
        size = 0
        while size < per_file:
            text = f"copy {number // len(documents)}\n{documents[number % len(documents)]}"
            rows.append(text)
            size += len(text.encode())
            number += 1
        path = folder / f"texts-{index:03d}.parquet"
        table = pa.table({"text": pa.array(rows, pa.large_string())})
        pq.write_table(table, path, row_group_size=2000, compression="zstd", use_dictionary=False)
        paths.append(path)
    return paths


def timed(function: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def spread(values: list[float]) -> str:
    """Return the median and the range of repeated measurements."""
    return f"{statistics.median(values):.3g} ({min(values):.3g}–{max(values):.3g})"


@dataclass
class Report:
    """A table of figures, each with the figure that an issue asks for."""

    title: str
    issue: int
    rows: list[tuple[str, str, str, bool]] = field(default_factory=list)

    def add(self, what: str, found: str, wanted: str, reached: bool) -> None:
        """Add a figure."""
        self.rows.append((what, found, wanted, reached))

    def finish(self, check: bool) -> None:
        """Print the table; with ``check``, exit 1 and say what fell short."""
        cores, machine = os.cpu_count(), platform.machine()
        print(f"### {self.title}\n")
        print(f"{cores} cores, {machine}, Python {platform.python_version()}\n")
        print(f"| what | measured | asked for (issue {self.issue}) | |\n|---|---|---|---|")
        for what, found, wanted, reached in self.rows:
            verdict = ("reached" if reached else "FELL SHORT") if wanted else ""
            print(f"| {what} | {found} | {wanted} | {verdict} |")
        short = [what for what, _, _, reached in self.rows if not reached]
        if check:
            print(f"\nfell short: {'; '.join(short)}" if short else "\nall figures reached")
            sys.exit(1 if short else 0)
