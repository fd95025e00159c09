"""The demonstration: what cleaning, deduplication and replay are worth, on two cores in an hour.

Issue 5. ``pipelines/ablation.py`` as a user runs it, from nothing: a base on news and books, arms
on raw, cleaned, and cleaned and deduplicated text of the domain, on cleaned text with half of
general text replayed, and on another domain; three repetitions each. Measured are bits per byte of
held-out domain and general text, and the domain's evaluation sets and MMLU's development set by
answer bits per byte. First with cybersecurity as the domain, then with medicine, which takes the
base that is there.

Where there is a GPU the same follows with a model of 30 million parameters and ten times the
tokens, and whether it orders the arms alike.

The other domain has to lose on the domain's text; everything else is found out and not asked for.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from benchmarks.experiments import DOMAINS, GENERAL, real
from benchmarks.measure import Report, arguments
from curation import Ablation
from curation.ablate.results import Outcome
from curation.ablate.run import run_ablation
from curation.ablate.trust import agreement
from curation.engine.progress import PlainProgress
from curation.recipe_file import find_function
from curation.train.timing import cuda_devices

PIPELINE = Path(__file__).parents[1] / "pipelines" / "ablation.py"
TASKS = {
    "cybersecurity": ("evals/seceval-single.jsonl.zst",),
    "medicine": ("evals/medmcqa-dev1500.jsonl.zst",),  # PubMedQA does not fit into 256 tokens
}
OTHER = {"cybersecurity": "medicine", "medicine": "cybersecurity"}
#: Where there is a GPU: a larger model, and ten times the tokens.
LARGER = {
    "preset": "30M",
    "tokens": 2_000_000,
    "base_tokens": 20_000_000,
    "precision": "bfloat16",
    "compile": True,
}
#: Minutes that the issue allows for.
LIMIT_MINUTES = 60


def main() -> None:
    options = arguments(__doc__ or "")
    folder = Path(os.environ.get("CURATION_BENCHMARK_STORE") or tempfile.mkdtemp())
    sizes = {"tokens": 20_000, "base_tokens": 100_000, "most_items": 20} if options.quick else {}
    report = Report("harness_ablation: the demonstration", issue=5)
    for target, tasks in TASKS.items():
        began = time.monotonic()
        flags = dict(
            domain=real(DOMAINS[target])[0],
            general=real(*GENERAL),
            other=real(DOMAINS[OTHER[target]])[0],
            tasks=real(*tasks),
            general_tasks=real("evals/mmlu-dev.jsonl.zst"),
            **({"repetitions": 2, "preset": "0.5M", **sizes} if options.quick else {}),
        )
        experiment = find_function(str(PIPELINE), Ablation)(**flags)
        outcome = run_ablation(experiment, store=folder / "ablation", progress=PlainProgress())
        minutes = (time.monotonic() - began) / 60
        print(f"\n```text\n{outcome}\n```\n")
        add(report, target, outcome, minutes)
        if not cuda_devices():
            report.add(f"{target}, 30M parameters", "not measured: no GPU here", "", True)
            continue
        larger = run_ablation(
            find_function(str(PIPELINE), Ablation)(**flags, **LARGER),
            store=folder / "ablation",
            progress=PlainProgress(),
        )
        print(f"\n```text\n{larger}\n```\n")
        for row in agreement(outcome.verdict().rows, larger.verdict().rows).iter_rows(named=True):
            shown = f"{row['same_frac']:.0%} of {row['pairs']} pairs, tau {row['tau']:.2f}"
            report.add(f"{target}: order of arms at both sizes, {row['measure']}", shown, "", True)
    report.finish(options.check)


def add(report: Report, target: str, outcome: Outcome, minutes: float) -> None:
    """Add an experiment's time and what it found of each arm."""
    about = outcome.facts["about"]
    shown = f"{minutes:.0f} minutes, {about['parameters']:,} parameters, {about['tokens']:,} tokens"
    within = minutes < LIMIT_MINUTES
    report.add(f"{target}, from the recipes to the verdict", shown, "under 60 minutes", within)
    rows = outcome.verdict().rows
    for row in rows.sort("comparison", "measure", maintain_order=True).iter_rows(named=True):
        interval = "" if row["low"] is None else f" ({row['low']:+.4f} to {row['high']:+.4f})"
        found = f"{row['verdict']}: {row['difference']:+.4f}{interval}"
        what = f"{target}: {row['arm']} against {row['against']}, {row['measure']}"
        asked = row["comparison"] == "reference" and row["arm"] == "another domain"
        asked = asked and row["measure"] == "domain/bits_per_byte"
        report.add(what, found, "a loss" if asked else "", row["verdict"] == "loss" or not asked)


if __name__ == "__main__":
    main()
