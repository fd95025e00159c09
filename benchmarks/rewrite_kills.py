"""Kills at random moments of a rewrite: the final store against that of an undisturbed run.

Issue 7. Documents go through a recipe with a rewriter that asks a server, with two workers; in turn
a worker is killed (kill -9), the run with all its workers, and the run is stopped by Ctrl-C. It is
begun again until it ends. Stores are compared byte for byte, journals by content, and the server
counts what it was asked twice.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.measure import Report, arguments
from tests.rewrite.killing import (
    CONCURRENCY,
    WORKERS,
    Killing,
    parts_of,
    replies_of,
    write_texts,
)
from tests.rewrite.server import standing

#: How long an answer takes: long enough for all kills to fall into one run.
SLOW_S = 0.2


def main() -> None:
    """Run the drill."""
    flags = arguments(__doc__ or "")
    files, rows, kills = (10, 40, 5) if flags.quick else (40, 50, 20)
    report = Report("Kills in the middle of a rewrite", issue=7)
    with tempfile.TemporaryDirectory() as scratch, standing() as stand:
        folder, count = Path(scratch), files * rows
        drill = Killing(folder, write_texts(folder / "in", files, rows), stand, seed=0)
        stand.slow_s = 0.0
        calm = drill.undisturbed("calm")
        asked = len(stand.requests)
        stand.slow_s, began = SLOW_S, time.perf_counter()
        stormy = drill.killed("stormy", kills, longest_s=3.0)
        seconds = time.perf_counter() - began
        again = len(stand.requests) - asked - count
        differ = parts_of(stormy).items() ^ parts_of(calm).items()
        replies, wanted = replies_of(stormy), replies_of(calm)
    struck = sum(drill.struck.values())
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(drill.struck.items()))
    what = f"kills in one rewrite of {count:,} documents ({kinds})"
    report.add(what, f"{struck}", f"{kills}", struck == kills)
    report.add("files that differ from the undisturbed store's", f"{len(differ)}", "0", not differ)
    same = len(replies) == count and replies == wanted
    report.add("replies in the journal", f"{len(replies):,}, equal: {same}", f"{count:,}", same)
    most = struck * WORKERS * CONCURRENCY
    report.add(
        f"requests sent twice (in flight at a kill: up to {WORKERS * CONCURRENCY})",
        f"{again} in {struck} kills",
        f"at most {most}",
        again <= most,
    )
    stopped = [told for told in drill.said if "run the same command again" in told]
    clean = len(stopped) == len(drill.said) and "Traceback" not in "".join(drill.said)
    report.add("Ctrl-C says how to go on", f"{len(stopped)} of {len(drill.said)}", "all", clean)
    report.add("time", f"{seconds:.0f} s", "", True)
    report.finish(flags.check)


if __name__ == "__main__":
    main()
