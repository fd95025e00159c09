"""What it costs to run again: nothing changed, the last threshold changed, the first loosened.

Issue 2: a re-run with nothing changed under 2 s for a 1 GB build; one threshold changed in the
last rule under 5 % of the full run. Each run is the command as a user gives it, the start of
Python included.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Report, arguments, timed, write_corpus
from curation import (
    ExactDuplicates,
    Normalize,
    Parquet,
    Recipe,
    TextHash,
    TextSize,
    col,
    keep,
)

#: Compiled modules are kept, as Python does by itself.
AS_USERS_HAVE_IT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def recipe(*, paths: str, min_words: int = 50, max_words: int = 5000) -> Recipe:
    """Normalize, count, deduplicate exactly; the rule on max_words is the last step."""
    return Recipe(
        source=Parquet(paths),
        steps=[
            Normalize(),
            TextSize(),
            keep(col("word_count") >= min_words, because="too short"),
            TextHash(),
            ExactDuplicates(),
            keep(col("duplicate_of").is_null(), because="exact duplicate"),
            keep(col("word_count") <= max_words, because="too long"),
        ],
    )


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__ or "")
    megabytes = 100 if options.quick else 1000
    report = Report(f"Running again, {megabytes} MB of text", issue=2)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_corpus(root / "in", megabytes, files=8)

        def run(*flags: str) -> float:
            command = [sys.executable, "-m", "curation.cli", "run", f"{__file__}:recipe"]
            command += ["--store", str(root / "store"), "--paths", str(root / "in" / "*.parquet")]
            command += flags
            return timed(
                lambda: subprocess.run(
                    command, check=True, capture_output=True, env=AS_USERS_HAVE_IT
                )
            )

        full = run()
        again = min(run() for _ in range(3))
        changed = run("--max-words", "4000")
        loosened = run("--min-words", "40")
    report.add("full run", f"{full:.1f} s", "", True)
    report.add("nothing changed", f"{again:.2f} s", "under 2 s for 1 GB", again < 2)
    report.add(
        "last threshold changed",
        f"{changed:.2f} s, {changed / full:.1%} of the full run",
        "under 5 %",
        changed < 0.05 * full,
    )
    report.add("first threshold loosened", f"{loosened:.2f} s, {loosened / full:.1%}", "", True)
    report.finish(options.check)


if __name__ == "__main__":
    main()
