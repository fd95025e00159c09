"""Peak memory of each process for 100 MB and for 1 GB of text.

Issue 2: the peak of each process does not grow with the corpus: 1 GB of text within 15 % of the
peak for 100 MB. Each size is run by a process of its own, with one worker; the peaks are the
kernel's (VmHWM), read every 50 ms from both. Two recipes: one that reads, counts, hashes,
deduplicates and writes; one that also rewrites into chunks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.measure import Report, arguments, write_corpus
from curation import (
    Chunk,
    ExactDuplicates,
    Normalize,
    Parquet,
    ParquetFiles,
    Recipe,
    TextHash,
    TextSize,
    col,
    keep,
)


def run(pattern: str, folder: Path, rewrites: bool) -> None:
    """Run a recipe with one worker and print the peaks of both processes in megabytes."""
    recipe = Recipe(
        source=Parquet(pattern),
        steps=[
            Normalize(),
            TextSize(),
            keep(col("word_count") >= 20, because="too short"),
            TextHash(),
            ExactDuplicates(),
            keep(col("duplicate_of").is_null(), because="exact duplicate"),
            *([Chunk(max_chars=2000)] if rewrites else []),
        ],
    )
    seen: list[float] = []
    threading.Thread(target=watch_children, args=(seen,), daemon=True).start()
    build = recipe.run(store=folder / "store", workers=1)
    build.write(ParquetFiles(folder / "out"))
    print(json.dumps([peak_mb(os.getpid()), max(seen)]))


def peak_mb(process: int) -> float:
    """Return the highest resident memory that a process ever had, in megabytes; 0 if it is gone."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if "VmHWM" in line), 0.0)


def watch_children(seen: list[float]) -> None:
    """Note the children's peaks for ever."""
    listing = Path(f"/proc/self/task/{os.getpid()}/children")
    while True:
        seen.extend(peak_mb(int(child)) for child in listing.read_text().split())
        time.sleep(0.05)


def peaks(pattern: str, folder: Path, rewrites: bool) -> tuple[float, float]:
    """Run in a fresh process; return the peaks of its main process and of its worker."""
    command = [sys.executable, "-m", "benchmarks.engine_memory", pattern, str(folder)]
    found = subprocess.run(
        [*command, "rewrites"] if rewrites else command, capture_output=True, text=True, check=True
    )
    main, worker = json.loads(found.stdout.splitlines()[-1])
    return main, worker


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__ or "")
    small, large = (30, 200) if options.quick else (100, 1000)
    report = Report(f"Peak memory, {small} MB and {large} MB of text", issue=2)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        patterns = []
        for size in (small, large):
            write_corpus(root / str(size), size, files=max(1, size // 100))
            patterns.append(str(root / str(size) / "*.parquet"))
        for rewrites in (False, True):
            few = peaks(patterns[0], root / f"few-{rewrites}", rewrites)
            many = peaks(patterns[1], root / f"many-{rewrites}", rewrites)
            for process, before, after in zip(("main process", "worker"), few, many, strict=True):
                report.add(
                    f"{process}{', with a rewriter' if rewrites else ''}",
                    f"{before:.0f} MB → {after:.0f} MB, {after / before - 1:+.0%}",
                    "at most +15 %",
                    after <= 1.15 * before,
                )
    report.finish(options.check)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        run(sys.argv[1], Path(sys.argv[2]), sys.argv[3:] == ["rewrites"])
    else:
        main()
