"""Faithfulness: what the checks find of planted faults, and how often they are wrong.

Issue 7 asks for recall and false alarms in a table, and names no figure; the bars are ours. 500
answers of MedQuAD and 500 documents on security, code and detection rules among them, are rewritten
by rule (``rewritings``): each rewrite that does not pass is a false alarm. So is, but for what
teachers added, each of their rewrites of news for learners. Then one fault is
planted in a rewrite that passes, in each document that has a place for it. It is found where
is_faithful is false, and named where the check that should say so does. The baseline takes a number
for a run of digits that the source does not have.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

import pyarrow as pa

from benchmarks.measure import Report, arguments, records, spread
from benchmarks.rewritings import FAULTS, REWRITES, Elsewhere
from curation import Faithful
from curation.rewrite.faithful import BOUNDS

DOMAINS = ("medicine", "cybersecurity")
HUMAN = "news for learners"
#: Characters of a document: a passage that a model is shown at once.
LEAST_CHARS, MOST_CHARS = 300, 20_000
#: Words of a rewrite; Faithful asks for 5.
LEAST_WORDS = 8
LANGUAGES = {"German, Standard (1996)", "French", "Spanish", "Italian", "Dutch", "Polish",
             "Turkish", "Russian", "Arabic, Standard", "Chinese, Mandarin (Simplified)",
             "Japanese", "Korean", "Hindi"}  # fmt: skip

COLUMNS = tuple(name for name in BOUNDS if name != "supported_prob")
#: Fault → the column of the check that should say so, and the least recall; 0 for no bar.
WANTED = {
    "number changed": ("unsupported_number_count", 0.95),
    "identifier changed": ("unsupported_name_count", 0.9),
    "unit changed": ("unsupported_unit_count", 0.95),
    "name of another document": ("unsupported_name_count", 0.8),
    "negation inserted": ("negation_change_count", 0.8),
    "negation removed": ("negation_change_count", 0.8),
    "quotation altered": ("unsupported_quote_count", 0.95),
    "a model speaks": ("is_refusal", 0.95),
    "a model speaks in other words": ("is_refusal", 0.0),
    "paragraph in another language": ("language_kept", 0.95),
    "sentence of another document": ("", 0.0),
    "name at a sentence's beginning": ("unsupported_name_count", 0.0),
    "number of another place": ("unsupported_number_count", 0.0),
}
MOST_ALARMS = 0.02
#: Megabytes of rewrites a second and core.
WANTED_SPEED = 10.0


class Case(NamedTuple):
    """A rewrite, its source, and how it was made."""

    kind: str
    text: str
    source: str


def documents(domain: str, count: int) -> list[str]:
    found = [record["text"] for record in records(f"domains/{domain}.jsonl.zst")]
    fitting = [text for text in found if LEAST_CHARS <= len(text) <= MOST_CHARS]
    return Random(7).sample(fitting, count)


def foreign_paragraphs() -> list[str]:
    found = records("labels/udhr.jsonl.zst")
    kept = [r["text"] for r in found if r["name"] in LANGUAGES]
    return [text for text in kept if 60 <= len(text.encode()) <= 600]


def judge(cases: list[Case]) -> list[dict[str, Any]]:
    columns = [[case.text for case in cases], [case.source for case in cases]]
    arrays = [pa.array(column, pa.large_string()) for column in columns]
    batch = pa.RecordBatch.from_arrays(arrays, ["text", "source_text"])
    return Faithful().annotate(batch).to_pylist()


def failing(row: dict[str, Any]) -> set[str]:
    """Return the checks that a row does not pass."""
    found = set()
    for name in COLUMNS:
        value, bound = row[name], BOUNDS[name]
        if value is None or bound.value is None:
            continue
        if value < bound.value if bound.side == "least" else value > bound.value:
            found.add(name)
    return found


def strange_digits(case: Case) -> bool:
    """Say what the baseline says: a run of digits that the source does not have."""
    return not set(re.findall(r"\d+", case.text)) <= set(re.findall(r"\d+", case.source))


def human_cases() -> list[Case]:
    """Return teachers' rewrites of news for learners, with the articles that they were made of."""
    found = {record["id"]: record["text"] for record in records("labels/onestop-english.jsonl.zst")}
    made = []
    for name, source in found.items():
        key, _, level = name.rpartition("-")
        for simple in ("int", "ele") if level == "adv" else ():
            if f"{key}-{simple}" in found:
                made.append(Case(simple, found[f"{key}-{simple}"], source))
    return made


def faithful_cases(texts: list[str]) -> list[Case]:
    made = []
    for n, text in enumerate(texts):
        for kind, rewrite in REWRITES.items():
            found = rewrite(Random(f"{n} {kind}"), text)
            if found and found != text and len(found.split()) >= LEAST_WORDS:
                made.append(Case(kind, found, text))
    return made


def faulty_cases(cases: list[Case], others: Elsewhere) -> Iterator[Case]:
    """Plant each fault in the first rewrite of each document that has a place for it."""
    by_source: dict[str, list[Case]] = {}
    for case in cases:
        by_source.setdefault(case.source, []).append(case)
    for n, (source, rewrites) in enumerate(by_source.items()):
        for fault, plant in FAULTS.items():
            for case in rewrites:
                head, passage, text = case.text.rpartition(source)
                made = plant(Random(f"{n} {fault}"), text, source, others)
                if made is not None:
                    yield Case(fault, head + passage + made, source)
                    break


def alarms(report: Report, domain: str, cases: list[Case], rows: list[dict[str, Any]]) -> None:
    """Report false alarms by kind of rewrite and by check; teachers' rewrites have no bar."""
    wrong, human = [failing(row) for row in rows], domain == HUMAN
    total = sum(not row["is_faithful"] for row in rows)
    what = f"{domain}: false alarms per 1,000 of {len(cases):,} faithful rewrites"
    reached = human or total / len(cases) <= MOST_ALARMS
    wanted = "" if human else f"ours: {1000 * MOST_ALARMS:.0f}"
    report.add(what, f"{1000 * total / len(cases):.1f}", wanted, reached)
    for kind in sorted({case.kind for case in cases}):
        own = [not row["is_faithful"] for row, case in zip(rows, cases, strict=True)
               if case.kind == kind]  # fmt: skip
        found = f"{1000 * sum(own) / max(len(own), 1):.1f} of {len(own)}"
        report.add(f"{domain}: … {kind}", found, "", True)
    for name in COLUMNS:
        count = sum(name in one for one in wrong)
        report.add(f"{domain}: … by {name}", f"{1000 * count / len(cases):.1f}", "", True)
    count = sum(strange_digits(case) for case in cases)
    what = f"{domain}: … by the baseline, runs of digits"
    report.add(what, f"{1000 * count / len(cases):.1f}", "", True)


def recalls(report: Report, domain: str, cases: list[Case], rows: list[dict[str, Any]]) -> None:
    """Report what is found of each fault, and named by the right check."""
    for fault, (column, least) in WANTED.items():
        own = [(case, row) for case, row in zip(cases, rows, strict=True) if case.kind == fault]
        if not own:
            report.add(f"{domain}: {fault}", "no document has a place", "", True)
            continue
        found = sum(not row["is_faithful"] for _, row in own) / len(own)
        told = f"{found:.3f} of {len(own)}"
        if column:
            named = sum(column in failing(row) for _, row in own) / len(own)
            told += f", named {named:.3f}"
        if column == "unsupported_number_count":
            digits = sum(strange_digits(case) for case, _ in own) / len(own)
            told += f", baseline {digits:.3f}"
        wanted = f"ours: {least}" if least else ""
        report.add(f"{domain}: found, {fault}", told, wanted, found >= least)


def speed(report: Report, cases: list[Case], order: str, wanted: float) -> None:
    """Report megabytes of rewrites per CPU second, on one core."""
    cases = Random(0).sample(cases, len(cases)) if order == "shuffled" else cases
    size = sum(len(case.text.encode()) for case in cases)
    sources = sum(len(case.source.encode()) for case in cases)
    columns = [[case.text for case in cases], [case.source for case in cases]]
    arrays = [pa.array(column, pa.large_string()) for column in columns]
    batch = pa.RecordBatch.from_arrays(arrays, ["text", "source_text"])
    rates, stage = [], Faithful()
    for _ in range(6):
        began = time.process_time()
        stage.annotate(batch)
        rates.append(size / 1e6 / (time.process_time() - began))
    rates = rates[1:]  # the first loads the compiled code
    both = (size + sources) / size
    what = (
        f"MB/s of rewrites, {order}, one core, with {sources / size:.1f} times as much of sources"
    )
    found = f"{spread(rates)}; of both {both * sorted(rates)[2]:.3g}"
    report.add(what, found, f"ours: {wanted:.0f}" if wanted else "", sorted(rates)[2] >= wanted)


def main() -> None:
    """Run the comparisons."""
    flags = arguments(__doc__ or "")
    report = Report("Faithfulness", issue=7)
    foreign, timed = foreign_paragraphs(), []
    for domain in DOMAINS:
        texts = documents(domain, 100 if flags.quick else 500)
        cases = faithful_cases(texts)
        rows = judge(cases)
        alarms(report, domain, cases, rows)
        timed += cases
        passing = [case for case, row in zip(cases, rows, strict=True) if row["is_faithful"]]
        faulty = list(faulty_cases(passing, Elsewhere(texts, foreign)))
        recalls(report, domain, faulty, judge(faulty))
    human = human_cases()
    alarms(report, HUMAN, human, judge(human))
    speed(report, timed, "by their passages", WANTED_SPEED)
    speed(report, timed, "shuffled", 0)
    report.finish(flags.check)


if __name__ == "__main__":
    main()
