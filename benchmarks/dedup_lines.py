"""Lines, paragraphs and passages that stand elsewhere too: speed, and how much real text repeats.

Issue 4, which asks for no figure here. News and security documents, in one process on one core;
the same in little memory. Exact and Bloom mode are compared first: what exact mode finds, Bloom
mode finds too, and a few units more.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.measure import Report, arguments, records
from curation import LineDuplicates, RemoveRepeats, SubstringDuplicates
from curation.stage import Reducer
from curation.testing import MemoryRows

SETS = {
    "news": "text/wikinews",
    "security": "domains/cybersecurity",
    "medicine": "domains/medicine",
}
BATCH_ROWS = 4096


def batches(name: str, rows: int | None) -> list[pa.RecordBatch]:
    found = records(f"{SETS[name]}.jsonl.zst")[:rows]
    texts = pa.array([record["text"] for record in found], pa.large_string())
    ids = pa.array([f"{name}#{n}" for n in range(len(texts))], pa.large_string())
    whole = pa.RecordBatch.from_arrays([ids, texts], names=["id", "text"])
    return [whole.slice(at, BATCH_ROWS) for at in range(0, len(whole), BATCH_ROWS)]


def reduced(stage: Reducer, rows: list[pa.RecordBatch]) -> tuple[pa.Table, float]:
    """Return what a stage writes, and its seconds."""
    with tempfile.TemporaryDirectory() as scratch:
        began = time.perf_counter()
        made = pa.Table.from_batches(stage.reduce(MemoryRows(rows, Path(scratch))))
        return made, time.perf_counter() - began


def spans(made: pa.Table) -> Iterator[tuple[int, int, int]]:
    for row, found in enumerate(made["repeat_spans"].to_pylist()):
        for span in found or ():
            yield row, span["start"], span["stop"]


def main() -> None:
    """Run the comparisons."""
    flags = arguments(__doc__ or "")
    report = Report("lines, paragraphs, passages", issue=4)
    rows = 2000 if flags.quick else None
    corpora = {name: batches(name, rows) for name in SETS}
    mixed = [*corpora["news"], *corpora["security"]]
    size = sum(batch["text"].nbytes for batch in mixed) / 1e6
    exact, bloom = (
        {*spans(reduced(LineDuplicates(method=m), mixed)[0])} for m in ("exact", "bloom")
    )
    missed = len(exact - bloom)
    report.add(
        "lines that Bloom mode misses, and those that it adds",
        f"{missed} of {len(exact):,}, {len(bloom - exact):,}",
        "0 missed",
        missed == 0,
    )
    stages: dict[str, Reducer] = {
        "lines": LineDuplicates(),
        "lines in 16 MiB": LineDuplicates(memory_bytes=16 << 20),
        "lines, Bloom": LineDuplicates(method="bloom"),
        "paragraphs": LineDuplicates(unit="paragraph"),
        "passages of 50 words": SubstringDuplicates(),
        "passages in 16 MiB": SubstringDuplicates(memory_bytes=16 << 20),
    }
    for name, stage in stages.items():
        reduced(stage, mixed[:1])
        seconds = min(reduced(stage, mixed)[1] for _ in range(3))
        report.add(f"{name}, {size:.0f} MB", f"{size / seconds:.0f} MB/s", "", True)
    for name, corpus in corpora.items():
        text = sum(pc.sum(pc.binary_length(batch["text"])).as_py() for batch in corpus)
        found = {}
        for kind in ("lines", "paragraphs", "passages of 50 words"):
            made, _ = reduced(stages[kind], corpus)
            left = RemoveRepeats().annotate(
                pa.RecordBatch.from_arrays(
                    [
                        pa.concat_arrays([batch["text"] for batch in corpus]),
                        made["repeat_spans"].combine_chunks(),
                    ],
                    names=["text", "repeat_spans"],
                )
            )
            found[kind] = 1 - pc.sum(pc.binary_length(left["text"])).as_py() / text
        shown = ", ".join(f"{kind} {100 * share:.1f} %" for kind, share in found.items())
        report.add(f"what goes of {name}", shown, "", True)
    report.finish(flags.check)


if __name__ == "__main__":
    main()
