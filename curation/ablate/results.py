"""The results store: what each ablation found, kept to be read, judged and fitted again.

    STORE/ablations/<fingerprint>/ablation.json   what was run, and where each run's outcome lies
    STORE/ablations/<fingerprint>/results.parquet a row for each run and measure
    STORE/ablations/<fingerprint>/verdict.txt     what a person reads

A verdict is computed from the items of the runs whenever it is asked for.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from curation.ablate.arms import Ablation
from curation.ablate.base import BaseModel, digest_of
from curation.ablate.job import TrainAndMeasure, read_evaluation
from curation.ablate.verdict import BASE, Judging, Measured, RunFacts, Verdict, judge
from curation.ablate.worth import domain_specificity
from curation.errors import ResourceError
from curation.evaluate.forgetting import forgetting
from curation.evaluate.measures import Evaluation
from curation.store import Store, read_json, replacing, write_json

if TYPE_CHECKING:
    from curation.ablate.trust import Sign
    from curation.build import Build
    from curation.evaluate.panel import Panel

#: The columns of a results table; those of ``predict.RESULTS`` and where a value comes from.
RESULTS = pl.Schema(
    {
        "ablation": pl.String(),
        "run": pl.String(),
        "model": pl.String(),
        "parameters": pl.Int64(),
        "arm": pl.String(),
        "repetition": pl.Int64(),
        "tokens": pl.Int64(),  # of continued pretraining; 0 for the base
        "domain_share": pl.Float64(),  # tokens that are not of the sets for general text
        "measure": pl.String(),
        "set": pl.String(),  # domain or general
        "value": pl.Float64(),
        "items": pl.Int64(),
    }
)
#: A measure whose name ends so is a loss, which the laws are fitted to.
LOSS = "/bits_per_byte"


@dataclass(frozen=True)
class Outcome:
    """What an ablation found.

    folder  where it is kept
    facts   what was run
    """

    folder: Path
    facts: Mapping[str, Any]

    @cached_property
    def evaluations(self) -> dict[tuple[str, int], Evaluation]:
        """(arm, repetition) → what was measured; the base is arm "base", repetition 0."""
        store = self.folder.parent.parent
        return {
            (run["arm"], run["repetition"]): read_evaluation(store / run["outcome"])
            for run in self.facts["runs"]
        }

    @cached_property
    def measured(self) -> Measured:
        """The items of all runs, as a verdict takes them."""
        arms: dict[str, dict[int, Evaluation]] = {}
        for (arm, repetition), found in self.evaluations.items():
            if arm != BASE:
                arms.setdefault(arm, {})[repetition] = found
        return Measured.of(self.evaluations[BASE, 0], arms)

    def verdict(
        self,
        *,
        primary: Sequence[str] = (),
        pairs: bool = False,
        judging: Judging | None = None,
    ) -> Verdict:
        """Judge: each arm against the base and against the reference arm.

        primary  names of measures; those of the ablation where none is given
        """
        if not primary and not pairs and judging is None:
            return self._verdict
        return self._judge(primary, pairs, judging)

    @cached_property
    def _verdict(self) -> Verdict:
        return self._judge((), False, None)

    def _judge(self, primary: Sequence[str], pairs: bool, judging: Judging | None) -> Verdict:
        several = len(self.measured.arms) > 1
        return judge(
            self.measured,
            RunFacts(**self.facts["about"]),
            primary=primary or [n for n in self.facts["primary"] if n in self.measured.measures],
            reference=self.facts["reference"] if several else None,
            pairs=pairs,
            judging=judging,
        )

    def table(self) -> pl.DataFrame:
        """Return a row for each run and measure, of the schema RESULTS."""
        return pl.DataFrame(list(_rows(self)), schema=RESULTS)

    def forgetting(self) -> pl.DataFrame:
        """Return, for each arm and measure, what the base had and the arm's first repetition has.

        The columns of ``evaluate.forgetting`` with ``arm`` before them: values, items that changed
        sides, and how likely chance alone changed so many more one way.
        """
        base = self.evaluations[BASE, 0]
        frames = [
            forgetting(base, self.evaluations[arm, min(self.measured.repetitions)]).select(
                pl.lit(arm).alias("arm"), pl.all()
            )
            for arm in self.measured.arms
        ]
        return pl.concat(frames)

    def signs_over_sizes(self) -> list[Sign]:
        """Return where models of other sizes or budgets, on the same sets, rank arms otherwise."""
        from curation.ablate.trust import unstable_over_sizes

        signs: list[Sign] = []
        for other in outcomes(self.folder.parent.parent):
            alike = all(other.facts.get(n) == self.facts[n] for n in ("sets", "panel"))
            if alike and _size(other) != _size(self):
                rows = (self.verdict().rows, other.verdict().rows)
                signs += unstable_over_sizes(*rows, between=(_size(self), _size(other)))
        return list(dict.fromkeys(signs))

    def describe(self, *, all_measures: bool = False) -> str:
        """Return what a person reads: data, values, verdict, doubts."""
        every = list(self.measured.measures) if all_measures else ()
        blocks = [
            _data_lines(self),
            _value_lines(self, all_measures),
            str(self.verdict(primary=every)),
        ]
        blocks += [sign.text for sign in self.signs_over_sizes()]
        blocks += [_forgotten_lines(self), _worth_lines(self), _skipped_lines(self)]
        return "\n\n".join(block for block in blocks if block)

    def __str__(self) -> str:
        return self.describe()


def _size(outcome: Outcome) -> str:
    about = outcome.facts["about"]
    return f"{about['parameters']:,} parameters on {about['tokens']:,} tokens"


# ---------------------------------------------------------------- writing and reading


def write_outcome(
    ablation: Ablation,
    base: BaseModel,
    panel: Panel,
    jobs: Mapping[tuple[str, int], TrainAndMeasure],
    builds: Mapping[str, Build],
    store: Store,
) -> Outcome:
    """Write what an ablation found, now that all its jobs are done."""
    runs = [
        {
            "arm": arm,
            "repetition": repetition,
            "run": job.folder.name,
            "outcome": job.outcome.relative_to(store.path).as_posix(),
            **(read_json(job.folder / "about.json") or {}),
        }
        for (arm, repetition), job in jobs.items()
    ]
    name = digest_of([[run["outcome"] for run in runs], ablation.compared_with])
    facts = {
        "name": name,
        "finished": round(time.time(), 3),
        "about": {
            "model": base.facts["model"],
            "parameters": base.facts["parameters"],
            "tokens": max(run.get("tokens", 0) for run in runs),
            "repetitions": ablation.repetitions,
            "base": _describe_base(base),
            "domain": ", ".join(ablation.domain_sets),
        },
        "base": {"fingerprint": base.fingerprint, **base.facts},
        "reference": ablation.compared_with,
        "sets": {name: one.fingerprint for name, one in sorted(builds.items())},
        "panel": panel.fingerprint,
        "primary": list(panel.primary.values()),
        "domain": [*ablation.domain_sets, *(t.name for t in panel.tasks[len(ablation.tasks) :])],
        "general_data": list(ablation.general_data),
        "training": ablation.training.identity(),
        "runs": runs,
    }
    folder = store.path / "ablations" / name
    write_json(folder / "ablation.json", facts)
    outcome = Outcome(folder, facts)
    with replacing(folder / "results.parquet") as temporary:
        outcome.table().write_parquet(temporary)
    (folder / "verdict.txt").write_text(f"{outcome}\n")
    return outcome


def open_outcome(store: str | os.PathLike[str], name: str = "") -> Outcome:
    """Open the latest ablation of a store, or the one whose fingerprint begins as given."""
    present = _some(store)
    found = [one for one in present if one.folder.name.startswith(name)]
    if not found or (name and len(found) > 1):
        raise ResourceError(
            f"the store {os.fspath(store)} holds no single ablation {name}.",
            present=", ".join(one.folder.name for one in present),
        )
    return found[-1]


def _some(store: str | os.PathLike[str]) -> list[Outcome]:
    found = outcomes(store)
    if not found:
        raise ResourceError(
            f"the store {os.fspath(store)} holds no ablation.",
            remedy="curation ablate FILE --store STORE makes one",
        )
    return found


def outcomes(store: str | os.PathLike[str]) -> list[Outcome]:
    """Return the ablations of a store, the latest last."""
    found = []
    for path in Path(store).glob("ablations/*/ablation.json"):
        found.append(Outcome(path.parent, read_json(path) or {}))
    return sorted(found, key=lambda outcome: (outcome.facts["finished"], outcome.folder.name))


def read_results(store: str | os.PathLike[str]) -> pl.DataFrame:
    """Return runs and measures of all ablations of a store, each once, of the schema RESULTS."""
    frames = [outcome.table() for outcome in _some(store)]
    keys = ["run", "arm", "repetition", "tokens", "measure"]
    return pl.concat(frames).unique(keys, keep="last", maintain_order=True)


def models(store: str | os.PathLike[str]) -> dict[str, Evaluation]:
    """Return what was measured of each model in a store: ``ABLATION/ARM/REPETITION``."""
    return {
        f"{outcome.folder.name[:8]}/{arm}/{repetition}": found
        for outcome in _some(store)
        for (arm, repetition), found in outcome.evaluations.items()
    }


def _describe_base(base: BaseModel) -> str:
    trained = f" after {base.facts['tokens']:,} tokens" if "tokens" in base.facts else ""
    return f"{base.facts['model']}{trained} ({base.fingerprint[:8]})"


# ---------------------------------------------------------------- tables


def _rows(outcome: Outcome) -> Iterator[dict[str, Any]]:
    about = outcome.facts["about"]
    for run in outcome.facts["runs"]:
        row = {
            "ablation": outcome.folder.name,
            "run": run["run"],
            "model": about["model"],
            "parameters": about["parameters"],
            "arm": run["arm"],
            "repetition": run["repetition"],
            "domain_share": _domain_share(run, outcome.facts["general_data"]),
        }
        for during in run.get("evaluations", ()):
            if during["tokens"] == run["tokens"]:
                continue  # the whole panel is measured there
            values = {k: v for k, v in during.items() if k not in ("step", "tokens")}
            for measure, value in values.items():
                kind = _kind(measure, outcome)
                yield {**row, "tokens": during["tokens"], "measure": measure, "set": kind} | {
                    "value": value,
                    "items": None,
                }
        found = outcome.evaluations[run["arm"], run["repetition"]]
        for measured in found.values().iter_rows(named=True):
            kind = _kind(measured["measure"], outcome)
            yield {**row, "tokens": run.get("tokens", 0), "set": kind, **measured}


def _kind(measure: str, outcome: Outcome) -> str:
    return "domain" if measure.rpartition("/")[0] in outcome.facts["domain"] else "general"


def _domain_share(run: Mapping[str, Any], general: Sequence[str]) -> float:
    """Return the share of a run's tokens that are not of general sets; 0 for the base."""
    parts = run.get("data", {}).get("components", {})
    total = sum(part["tokens"] for part in parts.values())
    domain = sum(part["tokens"] for name, part in parts.items() if name not in general)
    return domain / total if total else 0.0


def _data_lines(outcome: Outcome) -> str:
    """Say what each arm was trained on, to the token."""
    lines = ["What each arm was trained on (its first repetition)"]
    budgets = {run["arm"]: run["tokens"] for run in outcome.facts["runs"] if run["arm"] != BASE}
    if len(set(budgets.values())) > 1:
        lines.append(
            "  THE BUDGETS DIFFER, since a set was capped: a difference between arms is not one "
            "of their text alone"
        )
    for run in _first(outcome):
        parts = run["data"]["components"]
        shown = "; ".join(
            f"{name}: {part['tokens']:,} tokens of {part['pool_tokens']:,}, "
            f"{part['epochs']:.2f} epochs"
            for name, part in parts.items()
        )
        lines.append(f"  {run['arm']}: {shown}")
    return "\n".join(lines)


def _value_lines(outcome: Outcome, all_measures: bool) -> str:
    """Return mean and range over repetitions of each arm in each measure."""
    wanted = list(outcome.measured.measures) if all_measures else outcome.facts["primary"]
    table = outcome.table().filter(
        pl.col("measure").is_in(wanted) & (pl.col("tokens") == pl.col("tokens").max().over("arm"))
    )
    lines = []
    for (measure,), part in table.group_by("measure", maintain_order=True):
        lines.append(f"{measure}: mean over repetitions (lowest to highest)")
        for (arm,), rows in part.group_by("arm", maintain_order=True):
            value = rows["value"]
            mean, low, high = (float(n) for n in (value.mean(), value.min(), value.max()))  # type: ignore[arg-type]
            spread = f" ({low:.4f} to {high:.4f})" if len(rows) > 1 else ""
            lines.append(f"  {mean:.4f}{spread}  {arm}")
    return "\n".join(lines)


def _forgotten_lines(outcome: Outcome) -> str:
    """Say what each arm's first repetition lost in general text and tasks, and how it repeats."""
    table = outcome.forgetting().filter(
        ~pl.col("measure").str.split("/").list.first().is_in(outcome.facts["domain"])
    )
    lines = ["What was forgotten, in the first repetition of each arm"]
    for (arm,), rows in table.group_by("arm", maintain_order=True):
        parts = []
        for row in rows.iter_rows(named=True):
            if row["measure"] in outcome.facts["primary"]:
                parts.append(f"{row['measure']} {row['change']:+.4f}")
            elif row["measure"].endswith("/accuracy"):
                parts.append(
                    f"{row['measure']} {row['change']:+.3f} ({row['right_to_wrong']} items lost, "
                    f"{row['wrong_to_right']} won, p {row['mcnemar_p']:.2f})"
                )
        before, after = (
            outcome.evaluations[key].facts.get("repetition/rep_4")
            for key in ((BASE, 0), (str(arm), min(outcome.measured.repetitions)))
        )
        if before is not None and after is not None:
            parts.append(f"repeated 4-grams {before:.2f} before, {after:.2f} after")
        lines.append(f"  {arm}: {'; '.join(parts)}")
    return "\n".join(lines)


def _worth_lines(outcome: Outcome) -> str:
    """Say how domain-specific what is measured is, where an arm had general text alone.

    The score compares models of equally many tokens, with the domain's text and without.
    """
    shares = {
        run["arm"]: _domain_share(run, outcome.facts["general_data"]) for run in _first(outcome)
    }
    general = next((arm for arm, share in shares.items() if share == 0), None)
    domain = next((arm for arm, share in shares.items() if share == 1), None)
    if general is None or domain is None:
        return ""
    number = min(outcome.measured.repetitions)
    without, trained = (outcome.evaluations[arm, number] for arm in (general, domain))
    losses = [
        name
        for name, measure in without.measures.items()
        if measure.unit == "bits per byte" and name.partition("/")[0] in outcome.facts["domain"]
    ]
    told = [str(domain_specificity(without, trained, name)) for name in losses]
    return "\n".join(f"{one}: '{domain}' against '{general}'" for one in told)


def _first(outcome: Outcome) -> Iterator[Mapping[str, Any]]:
    """Yield the first repetition of each arm."""
    for run in outcome.facts["runs"]:
        if run["arm"] != BASE and run["repetition"] == 0:
            yield run


def _skipped_lines(outcome: Outcome) -> str:
    skipped = outcome.evaluations[BASE, 0].skipped
    return "\n".join(
        f"{name}: {count:,} items are not measured: {why}"
        for name, reasons in skipped.items()
        for why, count in reasons.items()
    )
