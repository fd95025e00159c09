"""A/A: two draws of documents from one pool have to come out as ties, at the nominal rate.

Issue 5. Each comparison has two arms of its own, and each arm three repetitions with draws and
seeds of their own, so that no run serves two comparisons. Both arms draw from the same pool of
cybersecurity text; nothing else differs. A verdict at 5 % should find a difference in 5 of 100 such
comparisons, on text of the domain and on general text alike. The interval of the rate is that of
Clopper and Pearson.

Every comparison is judged alone, with the four degrees of freedom or fewer that three repetitions
of two arms give. Beside it stands what a verdict would say that counts seeds alone: a percentile
bootstrap over three repetitions, which takes every draw for the pool.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from scipy import stats

from benchmarks.experiments import domain, general, small_base
from benchmarks.measure import Report, arguments
from curation import Ablation, Arm, Schedule, Training
from curation.ablate.results import Outcome
from curation.ablate.run import run_ablation
from curation.ablate.verdict import BASE, Measured, RunFacts, judge
from curation.engine.progress import PlainProgress

ALPHA = 0.05
MEASURES = ("domain/bits_per_byte", "general/bits_per_byte")


def ablation(pairs: int, tokens: int, most_items: int) -> Ablation:
    """Arms in pairs, all on one pool."""
    return Ablation(
        base=small_base("0.5M", 10 * tokens),
        data={"domain": domain("cybersecurity")},
        arms=[
            Arm(name=f"{pair:02} {side}", schedule=Schedule.plain("domain"))
            for pair in range(pairs)
            for side in ("a", "b")
        ],
        training=Training(tokens=tokens, batch_sequences=4, learning_rate=1e-3),
        held_out={
            "domain": domain("cybersecurity", held_out=True),
            "general": general(held_out=True),
        },
        most_items=most_items,
        keep_models=False,
    )


def verdict_of(outcome: Outcome, pair: int) -> pl.DataFrame:
    """Judge one pair as if there were no other."""
    names = [BASE, f"{pair:02} a", f"{pair:02} b"]
    items = outcome.measured.items.filter(pl.col("arm").is_in(names))
    measured = Measured(items, outcome.measured.measures)
    facts = RunFacts(**outcome.facts["about"])
    rows = judge(measured, facts, primary=MEASURES, reference=names[1]).rows
    return rows.filter(pl.col("comparison") == "reference")


def naive(outcome: Outcome, pair: int, measure: str) -> bool:
    """Tell whether a percentile bootstrap over the three differences leaves zero out."""
    table = outcome.table().filter(pl.col("measure") == measure)
    first, second = (
        table.filter(pl.col("arm") == f"{pair:02} {side}").sort("repetition")["value"].to_numpy()
        for side in ("a", "b")
    )
    difference_R = second - first
    rng = np.random.default_rng(pair)
    mean_B = rng.choice(difference_R, (10_000, len(difference_R))).mean(axis=1)
    low, high = np.quantile(mean_B, [ALPHA / 2, 1 - ALPHA / 2])
    return bool(low > 0 or high < 0)


def rate(found: int, of: int) -> tuple[str, float, float]:
    """Return a rate with its 95 % interval, as text and as numbers."""
    low = stats.beta.ppf(0.025, found, of - found + 1) if found else 0.0
    high = stats.beta.ppf(0.975, found + 1, of - found) if found < of else 1.0
    return f"{found} of {of}: {found / of:.1%} ({low:.1%} to {high:.1%})", float(low), float(high)


def main() -> None:
    options = arguments(__doc__ or "")
    pairs, tokens, items = (2, 8_192, 10) if options.quick else (40, 49_152, 120)
    folder = Path(os.environ.get("CURATION_BENCHMARK_STORE") or tempfile.mkdtemp())
    outcome = run_ablation(
        ablation(pairs, tokens, items), store=folder / "nominal", progress=PlainProgress()
    )
    report = Report("harness_nominal: two draws from one pool", issue=5)
    rows = pl.concat(verdict_of(outcome, pair) for pair in range(pairs))
    for measure in MEASURES:
        single = rows.filter(pl.col("measure") == measure)
        shown, low, high = rate(int((single["p"] < ALPHA).sum()), pairs)
        name = measure.partition("/")[0]
        within = low <= ALPHA <= high
        report.add(f"differences found, {name} text", shown, "5 % in its interval", within)
        wrong = sum(naive(outcome, pair, measure) for pair in range(pairs))
        shown, *_ = rate(wrong, pairs)
        report.add(f"the same by a bootstrap over seeds alone, {name}", shown, "", True)
    both = rows.group_by("arm").agg((pl.col("p_holm") < ALPHA).any().alias("any"))
    shown, low, high = rate(int(both["any"].sum()), pairs)
    report.add(
        "either of the two, Holm-corrected", shown, "at most 5 %, in its interval", low <= ALPHA
    )
    spread = (
        outcome.table()
        .filter(pl.col("arm") != BASE)
        .group_by("measure")
        .agg(pl.col("value").mean().alias("mean"), pl.col("value").std().alias("std"))
    )
    for row in (
        spread.filter(pl.col("measure").is_in(MEASURES)).sort("measure").iter_rows(named=True)
    ):
        shown = f"{row['mean']:.4f}, standard deviation {row['std']:.4f}"
        report.add(f"{row['measure']} over {6 * pairs} runs of {tokens:,} tokens", shown, "", True)
    report.finish(options.check)


if __name__ == "__main__":
    main()
