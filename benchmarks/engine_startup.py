"""Start-up: the import of the package, and the command's help.

Issue 2: ``curation --help`` under 0.5 s; ``import curation`` under 0.3 s, loading no torch, ray,
vllm, transformers or pandas (that last part is a test: tests/test_imports.py).
"""

from __future__ import annotations

import subprocess
import sys

from benchmarks.measure import Report, arguments, spread, timed


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__ or "")
    report = Report("Start-up", issue=2)
    empty = "pass"
    for what, command, limit in (
        ("import curation", ["-c", "import curation"], 0.3),
        ("curation --help", ["-m", "curation.cli", "--help"], 0.5),
        ("every name of the package", ["-c", "from curation import *"], None),
        ("Python itself", ["-c", empty], None),
    ):
        times = [
            timed(
                lambda c=command: subprocess.run(
                    [sys.executable, *c], check=True, capture_output=True
                )
            )
            for _ in range(7)
        ]
        wanted = f"under {limit} s" if limit else ""
        report.add(what, f"{spread(times)} s", wanted, not limit or sorted(times)[3] < limit)
    report.finish(options.check)


if __name__ == "__main__":
    main()
