"""Throughput against bare pyarrow, overhead of a stage, and what a second worker brings.

Issue 2: reading Parquet, a no-op annotator, a keep and writing Parquet at half the throughput of
bare pyarrow or more, one process; two workers 1.7 times one or more on documents that cost CPU;
under 1 microsecond a document and stage beyond the stage's own work.

The peer is pyarrow alone: iter_batches, a filter, ParquetWriter with the same compression. The rows
that both write are compared before anything is timed.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.measure import Report, arguments, spread, timed, write_corpus
from curation import Parquet, ParquetFiles, Recipe, annotator, col, keep, row_annotator

STAGES = 20


@annotator(writes={"seen": pa.bool_()})
def seen(text: pa.LargeStringArray) -> pa.Array:
    """Do nothing: the same answer for every row."""
    return pc.is_valid(text)


@row_annotator(writes={"packed_bytes": pa.uint64()})
def packed_bytes(text: str) -> int:
    """Cost CPU: compress the text hard."""
    return len(zlib.compress(text.encode(), 9))


def no_ops(count: int) -> list[object]:
    """Return no-op annotators, each with a column of its own."""

    def make(name: str) -> object:
        function = seen.function
        stage = annotator(writes={name: pa.bool_()})(function)
        return stage

    return [make(f"seen_{index}") for index in range(count)]


def with_engine(pattern: str, folder: Path) -> Path:
    """Read, annotate, keep and write with the engine, in this process."""
    recipe = Recipe(source=Parquet(pattern), steps=[seen, keep(col("seen"), because="not seen")])
    build = recipe.run(store=folder / "store", workers=0)
    build.write(ParquetFiles(folder / "out", columns=("text",)))
    return folder / "out"


def with_pyarrow(paths: list[Path], folder: Path) -> Path:
    """Do the same with pyarrow alone."""
    (folder / "out").mkdir(parents=True)
    schema = pa.schema([("text", pa.large_string())])
    with pq.ParquetWriter(
        folder / "out" / "part.parquet",
        schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=False,
    ) as writer:
        for path in paths:
            for batch in pq.ParquetFile(path).iter_batches(batch_size=8192, use_threads=False):
                mask = pc.is_valid(batch["text"])
                writer.write_batch(batch.filter(mask))
    return folder / "out"


def fresh(root: Path) -> Path:
    """Return an empty folder."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    return root


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__ or "")
    megabytes, rounds = (100, 3) if options.quick else (1000, 3)
    report = Report(f"Engine throughput, {megabytes} MB of text", issue=2)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        paths = write_corpus(root / "in", megabytes, files=8)
        pattern = str(root / "in" / "*.parquet")
        compare(root, paths, pattern)
        against_pyarrow(report, root, paths, pattern, megabytes, rounds)
        overhead(report, root, pattern, paths)
        workers(report, root, min(megabytes, 200))
    report.finish(options.check)


def compare(root: Path, paths: list[Path], pattern: str) -> None:
    """Stop unless both write the same rows in the same order."""
    ours = pq.read_table(with_engine(pattern, fresh(root / "ours")))
    bare = pq.read_table(with_pyarrow(paths, fresh(root / "bare")))
    assert ours["text"].combine_chunks().equals(bare["text"].combine_chunks())


def against_pyarrow(
    report: Report, root: Path, paths: list[Path], pattern: str, megabytes: int, rounds: int
) -> None:
    """Time both in turn."""
    ours, bare = [], []
    for _ in range(rounds):
        ours.append(megabytes / timed(lambda: with_engine(pattern, fresh(root / "ours"))))
        bare.append(megabytes / timed(lambda: with_pyarrow(paths, fresh(root / "bare"))))
    ratio = statistics.median(ours) / statistics.median(bare)
    report.add(
        "read, annotate, keep, write: share of bare pyarrow's MB/s",
        f"{ratio:.2f} = {spread(ours)} / {spread(bare)} MB/s",
        "0.5 or more",
        ratio >= 0.5,
    )


def overhead(report: Report, root: Path, pattern: str, paths: list[Path]) -> None:
    """Time a pass with many no-op stages against one with a single one."""
    documents = sum(pq.read_metadata(path).num_rows for path in paths)

    def run(count: int) -> None:
        recipe = Recipe(source=Parquet(pattern), steps=no_ops(count))
        recipe.run(store=fresh(root / "ours") / "store", workers=0)

    one = statistics.median(timed(lambda: run(1)) for _ in range(3))
    many = statistics.median(timed(lambda: run(1 + STAGES)) for _ in range(3))
    micros = (many - one) / STAGES / documents * 1e6
    report.add(
        f"overhead a document and stage ({documents:,} documents, {STAGES} stages)",
        f"{micros:.2f} µs",
        "under 1 µs (datatrove: 2 to 5)",
        micros < 1,
    )


def workers(report: Report, root: Path, megabytes: int) -> None:
    """Time one worker process against two on a stage that costs CPU."""
    write_corpus(fresh(root / "cpu"), megabytes, files=16)
    recipe = Recipe(source=Parquet(str(root / "cpu" / "*.parquet")), steps=[packed_bytes])

    def run(count: int) -> None:
        recipe.run(store=fresh(root / "ours") / "store", workers=count)

    one = [timed(lambda: run(1)) for _ in range(2)]
    two = [timed(lambda: run(2)) for _ in range(2)]
    gain = min(one) / min(two)
    report.add(
        f"two workers against one, {megabytes} MB with zlib at level 9",
        f"{gain:.2f} times ({min(one):.1f} s and {min(two):.1f} s)",
        "1.7 times or more",
        gain >= 1.7,
    )


if __name__ == "__main__":
    main()
