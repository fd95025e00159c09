"""Mined reading comprehension against plain text, at equal tokens, with and without replay.

Issue 7. ``pipelines/reading_ablation.py`` as a user runs it, on medical text: a base on news; arms
on the domain's text, on the same text with mined tasks, and on each of both with general text
replayed; three repetitions each. Measured are bits per byte of held-out medical and general text,
and MedMCQA and MMLU's development questions by answer bits per byte. Instruction data is not at
hand, so the arms with instructions are the pipeline's and not measured here.

Asked for is that the arms train on equally many tokens. Who wins is found out.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from benchmarks.experiments import real
from benchmarks.measure import Report, arguments
from curation import Ablation
from curation.ablate.results import Outcome
from curation.ablate.run import run_ablation
from curation.engine.progress import PlainProgress
from curation.recipe_file import find_function

PIPELINE = Path(__file__).parents[1] / "pipelines" / "reading_ablation.py"
ARMS = ("raw", "mined", "raw + replay", "mined + replay")
FULL = {"tokens": 150_000, "base_tokens": 600_000, "most_items": 150, "repetitions": 3}
QUICK = {"tokens": 20_000, "base_tokens": 60_000, "most_items": 20, "repetitions": 2}


def main() -> None:
    options = arguments(__doc__ or "")
    folder = Path(os.environ.get("CURATION_BENCHMARK_STORE") or tempfile.mkdtemp())
    began = time.monotonic()
    [domain, general, tasks, general_tasks] = real(
        "domains/medicine.jsonl.zst",
        "text/wikinews.jsonl.zst",
        "evals/medmcqa-dev1500.jsonl.zst",  # PubMedQA does not fit into 256 tokens
        "evals/mmlu-dev.jsonl.zst",
    )
    experiment = find_function(str(PIPELINE), Ablation)(
        domain=domain,
        general=(general,),
        tasks=(tasks,),
        general_tasks=(general_tasks,),
        **({**QUICK, "preset": "0.5M"} if options.quick else FULL),
    )
    outcome = run_ablation(experiment, store=folder / "reading", progress=PlainProgress())
    print(f"\n```text\n{outcome}\n```\n")
    report = Report("rewrite_ablation: mined against raw text", issue=7)
    add(report, outcome, (time.monotonic() - began) / 60)
    report.finish(options.check)


def add(report: Report, outcome: Outcome, minutes: float) -> None:
    """Add the arms' tokens, and what was found of mined text against plain text."""
    about = outcome.facts["about"]
    shown = f"{minutes:.0f} minutes, {about['parameters']:,} parameters, {about['tokens']:,} tokens"
    report.add("from the recipes to the verdict", shown, "", True)
    tokens = {run["arm"]: run["tokens"] for run in outcome.facts["runs"] if run["arm"] in ARMS}
    equal = len(tokens) == len(ARMS) and len(set(tokens.values())) == 1
    shown = ", ".join(f"{arm} {count:,}" for arm, count in tokens.items())
    report.add("tokens of each arm", shown, "equal", equal)
    rows = outcome.verdict(pairs=True).rows.sort("measure", maintain_order=True)
    for row in rows.iter_rows(named=True):
        compared = {row["arm"], row["against"]} in ({*ARMS[:2]}, {*ARMS[2:]})
        if row["comparison"] == "pairs" and compared:
            bounds = "" if row["low"] is None else f" ({row['low']:+.4f} to {row['high']:+.4f})"
            what = f"{row['arm']} against {row['against']}, {row['measure']}"
            report.add(what, f"{row['verdict']}: {row['difference']:+.4f}{bounds}", "", True)


if __name__ == "__main__":
    main()
