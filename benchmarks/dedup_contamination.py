"""Decontamination: leaks planted and found, false alarms, speed beside datatrove's filter.

Issue 4: every planted leak found, none of 5,000 clean documents flagged, speed in MB/s. All other
figures are for information.

Leaks are planted into news articles: each item of the four real evaluation sets that a rule can
find at all (the others are counted as uncheckable), as its file has it, and set anew: other case,
marks and line ends; cut to the part that a rule just has to find. The clean documents are news,
which no set is made of. What the rules find in text of the sets' own domains is shown beside.

The peer is datatrove's NGramsDecontFilter (Apache-2.0), on the same documents in the same run, one
core each. Its indexer wants a package that downloads benchmarks, so its index is made by that
class's own method ``compute_hashes`` from the same items: 12-grams of questions and answers.
"""

from __future__ import annotations

import random
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.measure import DATA, Report, arguments, records, spread, timed
from curation.dedup.contamination import report_rows
from curation.dedup.decontaminate import Decontaminate, overlaps
from curation.dedup.evalitems import Item, read_items
from curation.dedup.evals import ALL_RULES, PAIR, eval_files

CLEAN_DOCUMENTS = 5000


def documents(name: str) -> list[str]:
    """Return the texts of one of the real corpora."""
    return [record["text"] for record in records(name)]


def column(texts: list[str]) -> pa.RecordBatch:
    """Return texts as a batch."""
    return pa.record_batch({"text": pa.array(texts, pa.large_string())})


# ---------------------------------------------------------------- planted leaks


def planted_items(stage: Decontaminate) -> Iterator[tuple[Item, dict[str, Any]]]:
    """Yield the items of a stage's sets as read and as they stand in their files."""
    for file, task in zip(eval_files(stage.evals), stage.load().tasks, strict=True):
        yield from zip(read_items(file, task), records(file), strict=True)


def as_fields(item: Item, record: dict[str, Any]) -> str:
    """Return all fields of an item, the right answer last."""
    return "\n".join(text for _, text in item.fields)


def as_exam(item: Item, record: dict[str, Any]) -> str:
    """Return an item as it is printed: context, question, lettered choices, the answer."""
    choices = [f"{letter}. {text}" for letter, text in zip("ABCDEFGH", record["choices"])]  # noqa: B905
    answer = [f"Answer: {text}" for _, text in item.pairs[:1]]
    lines = [record.get("context", ""), record["question"], *choices, *answer]
    return "\n".join(filter(None, lines))


def as_shout(item: Item, record: dict[str, Any]) -> str:
    """Return an item in capitals, dashes for its spaces here and there, a word a line elsewhere."""
    rng = random.Random(item.name)
    words = as_fields(item, record).upper().split(" ")
    return "".join(word + rng.choice([" ", "\n", " - ", ", ", "\u00a0"]) for word in words)


def planted(report: Report, stage: Decontaminate, hosts: list[str]) -> None:
    """Plant every checkable item in each form, and count what is found, by rule."""
    evals = stage.load()
    sets = list(planted_items(stage))
    checkable = np.flatnonzero(evals.checkable).tolist()
    uncheckable = f"{len(sets) - len(checkable)} of {len(sets):,}"
    report.add("items too short for every rule", uncheckable, "", True)
    for name, form in (("fields", as_fields), ("exam", as_exam), ("other type", as_shout)):
        found = items_found(stage, [form(*sets[n]) for n in checkable], hosts)
        count = sum(any(n in by_rule for by_rule in found[row]) for row, n in enumerate(checkable))
        by_rule = [
            f"{sum(n in found[row][code] for row, n in enumerate(checkable)):,} by {rule}"
            for code, rule in enumerate(ALL_RULES)
        ]
        figures = f"{count:,} of {len(checkable):,} ({', '.join(by_rule)})"
        report.add(f"leaks found, {name}", figures, "all", count == len(checkable))


def items_found(stage: Decontaminate, leaks: list[str], hosts: list[str]) -> list[list[set[int]]]:
    """Return for each leak, planted in the middle of a host, the items found by each rule."""
    texts = []
    for number, leak in enumerate(leaks):
        host = hosts[number % len(hosts)]
        texts.append(f"{host[: len(host) // 2]}\n\n{leak}\n\n{host[len(host) // 2 :]}")
    evals = stage.load()
    hits = overlaps(column(texts)["text"], evals)
    found: list[list[set[int]]] = [[set() for _ in ALL_RULES] for _ in texts]
    for row, entry, rules in zip(hits.row_M, hits.entry_M, hits.rules_M, strict=True):
        for rule in range(len(ALL_RULES)):
            if rules >> rule & 1:
                found[row][rule] |= {*evals.items_E[entry]}
    return found


def edited(report: Report, stage: Decontaminate) -> None:
    """Change every n-th word of each question and context, and count what is found."""
    evals = stage.load()
    long = [
        " ".join(text.split())
        for item, _ in planted_items(stage)
        for name, text in item.fields
        if name in ("question", "context") and len(text.split()) >= 40
    ]
    for every in (50, 20, 14, 10):
        texts = []
        for text in long:
            words = text.split()
            words[every - 1 :: every] = ["changed"] * len(words[every - 1 :: every])
            texts.append(" ".join(words))
        hits = overlaps(column(texts)["text"], evals)
        counts = [len({*hits.row_M[hits.rules_M >> rule & 1 == 1]}) for rule in (0, 1)]
        figures = f"{counts[0]:,} by 13-gram, {counts[1]:,} by coverage, of {len(long):,}"
        report.add(f"long texts with each {every}th word changed", figures, "", True)


# ---------------------------------------------------------------- clean documents


def clean(report: Report, stage: Decontaminate, news: list[str]) -> None:
    """Count false alarms in news, and what is found in the sets' own domains."""
    found = stage.annotate(column(news[:CLEAN_DOCUMENTS]))["contaminated_by"]
    flagged = len(found) - found.null_count
    figures = f"{flagged} of {len(found):,}"
    report.add("clean documents flagged", figures, "none", flagged == 0)
    for name in ("text/wikinews", "domains/medicine", "domains/cybersecurity"):
        texts = documents(f"{name}.jsonl.zst")
        made = stage.annotate(column(texts))
        hits = made.filter(made["contaminated_by"].is_valid())
        rules = {str(rule) for rule in hits["contamination_rule"].to_pylist()}
        figures = f"{len(hits)} of {len(texts):,}" + (
            f": {', '.join(sorted(rules))}" if rules else ""
        )
        report.add(f"flagged in all of {name}", figures, "", True)


# ---------------------------------------------------------------- speed


def datatrove_filter(stage: Decontaminate, folder: Path) -> Any:
    """Return datatrove's filter with the same items in its index."""
    from datatrove.pipeline.decont.n_grams import (
        NGramsDecontConfig,
        NGramsDecontFilter,
        NGramsDecontIndexer,
    )

    config = NGramsDecontConfig(find_query_ngrams=True)
    peer = NGramsDecontFilter(str(folder), config=config)
    # no indexer can be made without lighteval; its method needs no more of it than this
    indexer = SimpleNamespace(config=config, tokenizer=peer.tokenizer, hash_func=peer.hash_func)
    hashes = set[int]()
    for item, record in planted_items(stage):
        for _, answer in item.pairs or (("", ""),):
            query = " ".join(filter(None, [record.get("context", ""), record["question"]]))
            hashes.update(NGramsDecontIndexer.compute_hashes(indexer, answer, query))
    array = np.array([*hashes], dtype=config.hash_config.np_descr)
    array.tofile(folder / "evals.index.hashes")
    return peer


def speed(report: Report, stage: Decontaminate, news: list[str], quick: bool) -> None:
    """Time the stage and the report on news, and datatrove's filter on a part of it."""
    from datatrove.data import Document

    size = sum(len(text.encode()) for text in news)
    batches = [column(news[n : n + 4000]) for n in range(0, len(news), 4000)]
    with_ids = [
        batch.append_column("id", pa.array(map(str, range(len(batch))), pa.large_string()))
        for batch in batches
    ]
    few = news[:: 40 if quick else 10]
    few_size = sum(len(text.encode()) for text in few)
    with tempfile.TemporaryDirectory() as folder:
        peer = datatrove_filter(stage, Path(folder))
        waiting = [Document(text=text, id=str(n)) for n, text in enumerate(few)]
        runs: dict[str, tuple[int, Callable[[], object]]] = {
            "Decontaminate": (size, lambda: [stage.annotate(batch) for batch in batches]),
            "report": (size, lambda: report_rows(with_ids, stage)),
            "datatrove": (few_size, lambda: [peer.filter(document) for document in waiting]),
        }
        pace: dict[str, list[float]] = {name: [] for name in runs}
        for run in runs.values():
            run[1]()  # compile, load
        for _ in range(3 if quick else 5):
            for name, (run_size, run) in runs.items():
                pace[name].append(run_size / 1e6 / timed(run))
        flagged = sum(peer.filter(document) is not True for document in waiting)
    for name in ("Decontaminate", "report"):
        gain = statistics.median(pace[name]) / statistics.median(pace["datatrove"])
        figures = f"{spread(pace[name])}; datatrove {spread(pace['datatrove'])}: {gain:.0f} times"
        wanted = "50 or more" if name == "Decontaminate" else ""
        reached = not wanted or statistics.median(pace[name]) >= 50
        report.add(f"{name}, MB/s of {size / 1e6:.0f} MB of news", figures, wanted, reached)
    figures = f"{flagged} of {len(few):,}"
    report.add("clean documents that datatrove flags", figures, "", True)


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__ or "")
    report = Report("Decontamination", issue=4)
    stage = Decontaminate(evals=(str(DATA / "evals"),))
    evals = stage.load()
    fields = int((evals.field_E != PAIR).sum())
    figures = f"{fields:,} fields, {len(evals.field_E) - fields:,} questions with answers"
    report.add(f"{len(evals.names):,} items of {len(evals.tasks)} tasks", figures, "", True)
    news = documents("text/wikinews.jsonl.zst")
    planted(report, stage, news)
    edited(report, stage)
    clean(report, stage, news)
    speed(report, stage, news[:5000] if options.quick else news, options.quick)
    report.finish(options.check)


if __name__ == "__main__":
    main()
