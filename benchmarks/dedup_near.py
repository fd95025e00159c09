"""From text in Parquet to ``duplicate_of``: speed, memory, outputs, growth, and new against old.

Issue 4. Every package gets the same Parquet files (``copies.py``) and names the rows that go.
We and the fast peers are given all of them, each on both cores in a process of its own, watched
from outside. Those that would take the better part of an hour are given fewer and are known by
their documents a second: their cost grows with the number of documents, or faster. Ours is the
command ``curation run`` from its start to its end, workers and all.

Outputs first: of the copies that the corpus was made with, in bins of their exact Jaccard index to
the text that they were made from, the share of which not both stay. Then, of the rows that each
package removes, the share that are at least 0.8 like the row of their group that stays.

The synthetic sketches are random values; a tenth of the rows are copies of others.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.copies import write_dedup_corpus
from benchmarks.measure import PEERS, Report, arguments
from benchmarks.peers import run_peer, watch
from curation import Build
from curation.arrow import from_bytes_and_offsets
from curation.testing import MemoryRows

RECIPE = """
from curation import *

def near(*, paths: str, against: str = "", memory_mb: int = 1024) -> Recipe:
    return Recipe(
        source=Parquet(paths),
        steps=[
            MinHashSketch(),
            NearDuplicates(
                against=(against,) if against else (), memory_bytes=memory_mb << 20
            ),
            keep(col("duplicate_of").is_null(), because="near duplicate"),
        ],
    )
"""
#: Peer → documents that it is given, for a full and for a quick run; None for all.
GIVEN: dict[str, tuple[int | None, int]] = {
    "daft": (None, 20_000),
    "rensa": (None, 20_000),
    "text-dedup-xxh3": (100_000, 5_000),
    "datatrove-regex": (50_000, 5_000),
    "datatrove": (10_000, 1_000),
}
#: How many times as fast as each we are asked to be.
WANTED = {"datatrove": 50, "datatrove-regex": 5, "daft": 1, "text-dedup-xxh3": 1}
BINS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.01)
#: Copies, and rows that a package removes, whose exact similarity is computed.
SAMPLED = 4000
WORKERS = 2


# ---------------------------------------------------------------- outputs


@dataclass(frozen=True)
class Outcome:
    """Which rows of a corpus stay, and a number for each row's group, where they are named."""

    kept_N: Any
    group_N: Any


class Corpus:
    """The benchmark's documents in Parquet, with the original of each copy."""

    def __init__(self, folder: Path, documents: int) -> None:
        self.folder, self.documents = folder, documents
        self.paths = write_dedup_corpus(folder, documents)
        self.starts = np.cumsum([0, *(pq.read_metadata(path).num_rows for path in self.paths)])

    @property
    def text_bytes(self) -> int:
        return sum(pq.read_table(path, columns=["text"]).nbytes for path in self.paths)

    def ours(self, store: Path) -> Outcome:
        """Return what our build says of each row."""
        build = Build.open(store)
        kept = build.documents(columns=["id"]).collect()["id"]
        gone = build.dropped().select("id", "duplicate_of").collect()
        group = np.arange(self.documents)
        group[self.rows_of(gone["id"])] = self.rows_of(gone["duplicate_of"])
        kept_N = np.zeros(self.documents, dtype=np.bool_)
        kept_N[self.rows_of(kept)] = True
        return Outcome(kept_N, group)

    def rows_of(self, ids: pl.Series) -> Any:
        """Return the row numbers of our ids, FILE#ROW."""
        parts = ids.str.splitn("#", 2).struct.unnest()
        files = {
            path.name: int(start) for path, start in zip(self.paths, self.starts, strict=False)
        }
        first = parts["field_0"].replace_strict(files, return_dtype=pl.Int64)
        return (first + parts["field_1"].cast(pl.Int64)).to_numpy()

    def theirs(self, result: Path) -> Outcome:
        """Return what a peer says; some name no groups."""
        table = pl.read_parquet(result).sort("id")
        known = table["group"].null_count() == 0
        return Outcome(table["kept"].to_numpy(), table["group"].to_numpy() if known else None)

    def similarity(self, pairs: list[tuple[int, int]]) -> Any:
        """Return the exact Jaccard index of pairs of rows."""
        wanted = sorted({row for pair in pairs for row in pair})
        texts: dict[int, set[tuple[str, ...]]] = {}
        for path, start in zip(self.paths, self.starts, strict=False):
            column = pq.read_table(path, columns=["text"])["text"]
            for row in wanted:
                if start <= row < start + len(column):
                    words = re.findall(r"\w+", column[row - start].as_py().lower())
                    texts[row] = {tuple(words[at : at + 5]) for at in range(len(words) - 4)}
        return np.array(
            [len(texts[a] & texts[b]) / max(1, len(texts[a] | texts[b])) for a, b in pairs]
        )

    def copies(self) -> tuple[list[tuple[int, int]], Any]:
        """Return some copies with their originals, and their exact similarity."""
        twins = pl.concat([pl.read_parquet(path, columns=["twin"]) for path in self.paths])
        rows = np.flatnonzero(twins["twin"].is_not_null().to_numpy())
        rows = np.random.default_rng(1).permutation(rows)[:SAMPLED]
        pairs = [(int(row), int(twins["twin"][int(row)])) for row in rows]
        return pairs, self.similarity(pairs)

    def precision(self, found: Outcome) -> float:
        """Return the share of some removed rows that are 0.8 like the row of theirs that stays."""
        stays = dict(zip(found.group_N[found.kept_N], np.flatnonzero(found.kept_N), strict=True))
        gone = np.random.default_rng(2).permutation(np.flatnonzero(~found.kept_N))[:SAMPLED]
        pairs = [(int(row), int(stays[found.group_N[row]])) for row in gone]
        return float((self.similarity(pairs) >= 0.8).mean())


def shown_recall(found: Outcome, pairs: list[tuple[int, int]], alike: Any) -> str:
    """Return, for each bin of similarity, the share of pairs of which at most one row stays."""
    single = np.array([not (found.kept_N[a] and found.kept_N[b]) for a, b in pairs])
    where = np.digitize(alike, BINS) - 1
    return " / ".join(f"{single[where == at].mean():.3f}" for at in range(len(BINS) - 1))


# ---------------------------------------------------------------- runs


@dataclass(frozen=True)
class Ran:
    """What a run took."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int


def run_ours(place: Path, paths: str, store: Path, *more: str) -> Ran:
    """Run the command in a process of its own and watch it and its workers."""
    (place / "recipe.py").write_text(RECIPE)
    command = [sys.executable, "-m", "curation.cli", "run", str(place / "recipe.py")]
    command += ["--paths", paths, "--store", str(store), "--workers", str(WORKERS), *more]
    began = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        cpu_seconds, peak = watch(process)
        seconds = time.perf_counter() - began
        if process.returncode:
            log.seek(0)
            sys.exit(log.read().decode()[-4000:])
    return Ran(seconds, cpu_seconds, peak)


def end_to_end(report: Report, place: Path, corpus: Corpus, quick: bool) -> None:
    """Compare outputs, then speed and memory."""
    run_ours(place, str(corpus.paths[0]), place / "warm", "--limit", "2000")  # compiles
    ours = run_ours(place, f"{corpus.folder}/*.parquet", place / "store")
    pairs, alike = corpus.copies()
    found = corpus.ours(place / "store")
    name = f"copy or original goes, by similarity {' / '.join(f'{b:g}' for b in BINS[:-1])}"
    report.add(f"{name}: ours, verified at 0.8", shown_recall(found, pairs, alike), "", True)
    precision = corpus.precision(found)
    report.add(
        "rows that go and are 0.8 like the one that stays: ours",
        f"{precision:.4f}",
        "1",
        precision == 1,
    )
    rate = corpus.documents / ours.seconds
    what = (
        f"{corpus.documents:,} documents, {corpus.text_bytes / 1e6:,.0f} MB, {WORKERS} cores: ours"
    )
    report.add(what, f"{ours.seconds:.1f} s, {rate:,.0f} a second", "", True)
    gb = ours.peak_bytes / 1e9
    report.add("memory of all processes", f"{gb:.2f} GB", "under 2 GB", gb < 2)
    if not PEERS.exists():
        print(f"no peers in {PEERS.parent}: `make peers` installs them")
        return
    for peer, (full, few) in GIVEN.items():
        given = few if quick else full
        other = corpus if given is None else Corpus(place / f"given-{given}", given)
        result = place / f"{peer}.parquet"
        ran = run_peer(peer, other.folder, result, WORKERS, str(PEERS))
        theirs = other.documents / ran["seconds"]
        outcome = other.theirs(result)
        recall = shown_recall(outcome, *other.copies())
        report.add(f"{name}: {peer}", recall, "", True)
        if outcome.group_N is not None:
            report.add(
                f"rows that go and are 0.8 like the one that stays: {peer}",
                f"{other.precision(outcome):.4f}",
                "",
                True,
            )
        memory = f", {ran['peak_rss_bytes'] / 1e9:.2f} GB" if given is None else ""
        times = f"we are {rate / theirs:.1f} times"
        figure = f"{theirs:,.0f} a second of {other.documents:,}{memory}: {times}"
        wanted = None if quick else WANTED.get(peer)  # few documents show how fast a start is
        report.add(
            f"{peer} {ran['version']}",
            figure,
            f"{wanted} times" if wanted else "",
            wanted is None or rate / theirs >= wanted,
        )


def incremental(report: Report, place: Path, corpus: Corpus, new_documents: int) -> None:
    """Deduplicate new documents against the index of the old build, and all of them anew."""
    Build.open(place / "store").write_index()
    new = place / "new"
    new.mkdir()
    table = pq.read_table(corpus.paths[0]).slice(0, new_documents // 2)
    fresh = pq.read_table(write_dedup_corpus(place / "fresh", new_documents, files=1, seed=99)[0])
    fresh = fresh.slice(0, new_documents - len(table))
    pq.write_table(pa.concat_tables([table, fresh]), new / "new.parquet", row_group_size=2000)
    index = str(place / "store")
    run_ours(place, f"{new}/*.parquet", place / "first", "--against", index)  # compiles
    against = run_ours(place, f"{new}/*.parquet", place / "second", "--against", index)
    everything = place / "all"
    everything.mkdir()
    for path in [*corpus.paths, new / "new.parquet"]:
        (everything / path.name).symlink_to(path)
    anew = run_ours(place, f"{everything}/*.parquet", place / "anew")
    gone = Build.open(place / "second").dropped().select("duplicate_in").collect()
    known = int(gone["duplicate_in"].is_not_null().sum())
    report.add(
        f"of {len(table):,} documents again, found in the index of {corpus.documents:,}",
        f"{known:,} (with {known - len(table):,} of the {len(fresh):,} others)",
        f"{len(table):,}",
        known >= len(table),
    )
    command = f"{against.seconds:.2f} s of {anew.seconds:.1f} s"
    report.add(
        f"{new_documents:,} documents against the index, and all anew: the command with its "
        "start and its workers'",
        f"{command}: {100 * against.seconds / anew.seconds:.1f} %",
        "",
        True,
    )
    inside = [
        float(done)
        for done in subprocess.run(
            [sys.executable, "-c", INSIDE, str(place), str(new), str(everything), index],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
    ]
    share = inside[0] / inside[1]
    report.add(
        "the same in one running process, without workers",
        f"{inside[0]:.2f} s of {inside[1]:.1f} s: {100 * share:.1f} %",
        "" if new_documents < 10_000 else "under 3 %",
        new_documents < 10_000 or share < 0.03,
    )


#: Deduplicates new documents against an index, twice, and all documents anew, in one process.
INSIDE = """
import sys, time
sys.path.insert(0, sys.argv[1])
from recipe import near
place, new, everything, index = sys.argv[1:]
for name, paths, against in (("w", new, index), ("x", new, index), ("y", everything, "")):
    began = time.perf_counter()
    near(paths=f"{paths}/*.parquet", against=against).run(store=f"{place}/inside-{name}", workers=0)
    if name != "w":
        print(time.perf_counter() - began)
"""


# ---------------------------------------------------------------- synthetic sketches


class Synthetic(MemoryRows):
    """Rows of random sketches, made anew at each reading; a tenth are copies of earlier ones."""

    def __init__(self, count: int, scratch: Path) -> None:
        self.count, self.scratch = count, scratch

    def batches(self, *names: str) -> Iterator[pa.RecordBatch]:
        for start in range(0, self.count, 8192):
            rows = np.arange(start, min(start + 8192, self.count))
            yield pa.RecordBatch.from_arrays([self.column(n, rows) for n in names], list(names))

    def column(self, name: str, rows: Any) -> pa.Array:
        if name == "id":
            return pl.Series(rows).cast(pl.String).to_arrow(compat_level=pl.CompatLevel.oldest())
        if name == "sketch":
            seed = np.where(rows % 10 == 9, rows // 10 * 10, rows).astype(np.uint64)
            hashes = (seed[:, None] * 112 + np.arange(112, dtype=np.uint64)) * MIX
            hashes ^= hashes >> np.uint64(29)
            data = (hashes * MIX >> np.uint64(32)).astype("<u4").view(np.uint8).ravel()
            offset = np.arange(len(rows) + 1) * 448
            return from_bytes_and_offsets(data, offset, pa.large_binary())
        if name == "shingle_count":
            return pa.array(np.full(len(rows), 200, dtype=np.uint32))
        return pa.nulls(len(rows), pa.uint64())


MIX = np.uint64(0x9E3779B97F4A7C15)

#: Run apart, so that its memory is its own.
SYNTHETIC = """
import sys, tempfile, time
from pathlib import Path
from benchmarks.dedup_near import Synthetic
from curation import NearDuplicates
count = int(sys.argv[1])
with tempfile.TemporaryDirectory() as scratch:
    began, gone = time.perf_counter(), 0
    for batch in NearDuplicates(verify=False).reduce(Synthetic(count, Path(scratch))):
        gone += len(batch) - batch["duplicate_of"].null_count
    # not getrusage, whose peak is inherited from the process that started this one
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    print(time.perf_counter() - began, status["VmHWM"].split()[0], gone)
"""


def growth(report: Report, counts: tuple[int, ...]) -> None:
    """Group random sketches in growing numbers."""
    seconds, gigabytes = [], []
    for count in (1000, *counts):
        done = subprocess.run(
            [sys.executable, "-c", SYNTHETIC, str(count)],
            capture_output=True,
            text=True,
            check=True,
        )
        took, peak, gone = (float(word) for word in done.stdout.split())
        if count > 1000:  # the first compiles
            seconds.append(took)
            gigabytes.append(peak * 1024 / 1e9)
            assert gone == count // 10
    most, least = counts[-1], counts[0]
    shown = ", ".join(
        f"{count:,}: {took:.1f} s, {gb:.2f} GB"
        for count, took, gb in zip(counts, seconds, gigabytes, strict=True)
    )
    name = f"{most:,} synthetic sketches, grouped unverified: they have no text"
    report.add(name, shown, "under 4 GB", gigabytes[-1] < 4)
    power = np.log(seconds[-1] / seconds[0]) / np.log(most / least)
    n_log_n = most * np.log(most) / (least * np.log(least))
    report.add(
        f"growth from {least:,}, and n log n's",
        f"{seconds[-1] / seconds[0]:.1f} times (n^{power:.2f}), {n_log_n:.1f} times",
        "",
        True,
    )
    billion = seconds[-1] * (1e9 * np.log(1e9)) / (most * np.log(most)) / 3600
    report.add("a billion sketches on one machine, by n log n", f"{billion:.1f} hours", "", True)


def main() -> None:
    """Run the comparisons."""
    flags = arguments(__doc__ or "")
    report = Report("near-duplicates from text to duplicate_of", issue=4)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        corpus = Corpus(place / "corpus", 20_000 if flags.quick else 1_000_000)
        end_to_end(report, place, corpus, flags.quick)
        incremental(report, place, corpus, 1000 if flags.quick else 10_000)
        shutil.rmtree(place / "anew")
    growth(report, (20_000, 200_000) if flags.quick else (1_000_000, 3_000_000, 10_000_000))
    report.finish(flags.check)


if __name__ == "__main__":
    main()
