"""Planted faults have to lose every time: shuffled words, a wrong domain, one repeated template.

Issue 5. Several experiments, each with arms and draws of its own, from one base on news and books.
The reference arm trains on cybersecurity text; the others on the same text with its words shuffled,
on medicine, and on text of which nine tenths are one template. Two more are reported for what they
are: half of the tokens, each seen twice, and half of them replayed general text, which is expected
to cost domain loss and to spare general loss.

What counts is the verdict on held-out cybersecurity text against the reference, Holm-corrected
within its experiment.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import polars as pl

from benchmarks.experiments import domain, general, pool, shuffled_words, small_base, template_pages
from benchmarks.measure import Report, arguments
from curation import Ablation, Arm, Schedule, Training
from curation.ablate.results import Outcome
from curation.ablate.run import run_ablation
from curation.ablate.verdict import BASE, Measured, RunFacts, judge
from curation.engine.progress import PlainProgress

REFERENCE = "cybersecurity"
PLANTED = ("shuffled words", "wrong domain", "one template")
REPORTED = ("half of the tokens, twice", "half replay")
MEASURES = ("domain/bits_per_byte", "general/bits_per_byte")


def ablation(folder: Path, experiments: int, tokens: int, most_items: int) -> Ablation:
    """All arms of all experiments, so that one run trains them."""
    mixtures = {
        REFERENCE: Schedule.plain("domain"),
        "shuffled words": Schedule.plain("shuffled"),
        "wrong domain": Schedule.plain("medicine"),
        "one template": Schedule.mixed({"template": 0.9, "domain": 0.1}),
        "half of the tokens, twice": Schedule.epochs("domain", 2, tokens),
        "half replay": Schedule.replay("domain", "general", share=0.5),
    }
    return Ablation(
        base=small_base("0.5M", 8 * tokens),
        data={
            "domain": domain("cybersecurity"),
            "shuffled": domain("cybersecurity", more=(shuffled_words,)),
            "medicine": domain("medicine"),
            "template": pool(template_pages(folder)),
            "general": general(),
        },
        arms=[
            Arm(name=f"{number} {name}", schedule=schedule)
            for number in range(experiments)
            for name, schedule in mixtures.items()
        ],
        training=Training(tokens=tokens, batch_sequences=8, learning_rate=1e-3),
        held_out={
            "domain": domain("cybersecurity", held_out=True),
            "general": general(held_out=True),
        },
        max_epochs=8.0,
        most_items=most_items,
        keep_models=False,
    )


def verdict_of(outcome: Outcome, number: int) -> pl.DataFrame:
    """Judge one experiment as if there were no other."""
    names = [arm for arm in outcome.measured.arms if arm.startswith(f"{number} ")]
    items = outcome.measured.items.filter(pl.col("arm").is_in([BASE, *names]))
    measured = Measured(items, outcome.measured.measures)
    facts = RunFacts(**outcome.facts["about"])
    rows = judge(measured, facts, primary=MEASURES, reference=f"{number} {REFERENCE}").rows
    return rows.filter(pl.col("comparison") == "reference").with_columns(
        pl.col("arm").str.split_exact(" ", 1).struct.field("field_0").alias("experiment"),
        pl.col("arm").str.replace(r"^\d+ ", ""),
    )


def told(rows: pl.DataFrame) -> str:
    """Return verdicts and values of one arm over all experiments."""
    verdicts = rows["verdict"].value_counts(sort=True)
    shown = ", ".join(f"{n} {verdict}" for verdict, n in verdicts.iter_rows())
    value, against = rows["value"].mean(), rows["against_value"].mean()
    return f"{shown}; {value:.3f} against {against:.3f} bits per byte"


def main() -> None:
    options = arguments(__doc__ or "")
    experiments, tokens, items = (1, 12_288, 10) if options.quick else (3, 150_000, 200)
    folder = Path(os.environ.get("CURATION_BENCHMARK_STORE") or tempfile.mkdtemp())
    asked = ablation(folder / "planted-texts", experiments, tokens, items)
    outcome = run_ablation(asked, store=folder / "planted", progress=PlainProgress())
    rows = pl.concat(verdict_of(outcome, number) for number in range(experiments))
    report = Report("harness_planted: sets that have to lose", issue=5)
    for name in (*PLANTED, *REPORTED):
        mine = rows.filter(pl.col("arm") == name)
        on_domain = mine.filter(pl.col("measure") == MEASURES[0])
        lost = (on_domain["verdict"] == "loss").all()
        wanted = "a loss every time" if name in PLANTED else ""
        report.add(f"{name}, domain", told(on_domain), wanted, bool(lost) or not wanted)
        on_general = mine.filter(pl.col("measure") == MEASURES[1])
        report.add(f"{name}, general", told(on_general), "", True)
    table = outcome.table()
    for measure in MEASURES:
        of = table.filter(pl.col("measure") == measure)
        base = of.filter(pl.col("arm") == BASE)["value"].mean()
        runs = of.filter(pl.col("arm").str.ends_with(REFERENCE)).sort("arm", "repetition")
        spread = runs.group_by("arm").agg(pl.col("value").std())["value"].mean()
        shown = f"{base:.3f} before, {runs['value'].mean():.3f} after; {spread:.4f} over draws"
        report.add(f"{REFERENCE}, {measure}", shown, "", True)
    report.finish(options.check)


if __name__ == "__main__":
    main()
