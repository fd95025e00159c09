"""The two tables that perplexity correlation takes: losses by domain and errors by benchmark.

``bpb.csv`` has a row for each domain of text and a column for each model, ``error.csv`` a row for
each benchmark. Their first columns are called id and benchmark, as in the published tables of
Thrush, Potts and Hashimoto 2024, arXiv:2409.05816; an empty field is a model that was not measured
there. Models are in the order given, which decides ties of ranks in the published estimator.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from curation.errors import RecipeError, ResourceError, nearest
from curation.evaluate.measures import Evaluation
from curation.store import replacing

LOSS_FILE, LOSS_KEY = "bpb.csv", "id"
ERROR_FILE, ERROR_KEY = "error.csv", "benchmark"


@dataclass(frozen=True)
class CorrelationTables:
    """Losses and errors of the same models.

    losses  id, then a float64 column for each model: bits per byte of each domain
    errors  benchmark, then a float64 column for each model: lower is better
    """

    losses: pl.DataFrame
    errors: pl.DataFrame

    @property
    def models(self) -> list[str]:
        """The models, in the order of the columns of the losses."""
        return self.losses.columns[1:]

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write both tables as CSV, each under a temporary name first."""
        for name, table in ((LOSS_FILE, self.losses), (ERROR_FILE, self.errors)):
            with (
                replacing(Path(folder) / name) as temporary,
                temporary.open("w", encoding="utf-8", newline="") as file,
            ):
                rows = csv.writer(file, lineterminator="\n")
                rows.writerow(table.columns)
                rows.writerows(table.rows())


def correlation_tables(
    evaluations: Mapping[str, Evaluation],
    *,
    losses: str = "bits_per_byte",
    benchmarks: Sequence[str] = (),
) -> CorrelationTables:
    """Make the tables of models that were evaluated with one panel.

    evaluations  name of the model → its evaluation
    losses       a text measure, or the quantity of several: every measure that ends in it; a
                 domain's name is its source, or SET where a set has no sources or two share one
    benchmarks   measures of tasks; empty for all with a chance level or a unit of probability or
                 accuracy; one where higher is better becomes 1 minus its value
    Raises RecipeError where models were measured on different texts or have no benchmark.
    """
    if len(evaluations) < 2:
        raise RecipeError(
            "correlations over models need two models or more.",
            found=", ".join(evaluations) or "none",
            remedy="evaluate more models, of different families",
        )
    columns = {model: _domain_losses(found, losses) for model, found in evaluations.items()}
    _check_same_domains(columns)
    chosen = list(benchmarks) or _tasks(evaluations)
    errors = {model: _errors(found, model, chosen) for model, found in evaluations.items()}
    return CorrelationTables(_table(columns, LOSS_KEY), _table(errors, ERROR_KEY))


def read_correlation_tables(
    losses: str | os.PathLike[str], errors: str | os.PathLike[str]
) -> CorrelationTables:
    """Read two CSV files of this form; ResourceError where one is missing or has another form."""
    return CorrelationTables(_read(Path(losses), LOSS_KEY), _read(Path(errors), ERROR_KEY))


def _read(path: Path, key: str) -> pl.DataFrame:
    # polars leaves doubled quotes in a header as they are, so its reader does not serve
    if not path.is_file():
        raise ResourceError("a table of perplexity correlation is missing.", found=path)
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    if header[:1] != [key] or any(len(row) != len(header) for row in rows):
        raise ResourceError(
            f"{path.name} is no table whose first column is '{key}'.",
            found=", ".join(header[:3]) or "an empty file",
            remedy=f"give the file that has '{key}' first and a column for each model after it",
        )
    try:
        columns = [[float(field) if field else None for field in row[1:]] for row in rows]
    except ValueError as problem:
        raise ResourceError(
            f"{path.name} holds a field that is no number.", found=problem
        ) from problem
    by_model = {model: [row[at] for row in columns] for at, model in enumerate(header[1:])}
    return pl.DataFrame(
        {key: [row[0] for row in rows], **by_model},
        schema={key: pl.String, **dict.fromkeys(header[1:], pl.Float64)},
    )


def _domain_losses(evaluation: Evaluation, losses: str) -> dict[str, float]:
    """Return domain → loss."""
    values = evaluation.values(by_source=True).filter(
        (pl.col("measure") == losses) | pl.col("measure").str.ends_with(f"/{losses}")
    )
    if values.is_empty():
        known = evaluation.values()["measure"].to_list()
        raise RecipeError(
            f"a model was not measured on '{losses}'.",
            found=", ".join(known) or "no measure",
            remedy=nearest(losses, known) or "evaluate every model with one panel",
        )
    shared = {
        source
        for source, measures in values.group_by("source").agg(pl.col("measure").n_unique()).rows()
        if measures > 1
    }
    found = {}
    rows = [
        (measure.rpartition("/")[0] or measure, source, value)
        for measure, source, value in values.select("measure", "source", "value").rows()
    ]
    texts = {text for text, _, _ in rows}
    for text, source, value in rows:
        apart = source in shared or source in texts
        found[(f"{text}/{source}" if apart else source) if source else text] = value
    return found


def _check_same_domains(columns: Mapping[str, Mapping[str, float]]) -> None:
    first, *others = columns
    for model in others:
        apart = set(columns[first]) ^ set(columns[model])
        if apart:
            raise RecipeError(
                "models that are correlated must be measured on the same texts.",
                found=f"{first} and {model} differ in {', '.join(sorted(apart)[:5])}",
                remedy="evaluate every model with one panel",
            )


def _tasks(evaluations: Mapping[str, Evaluation]) -> list[str]:
    names: dict[str, None] = {}
    for evaluation in evaluations.values():
        for name, measure in evaluation.measures.items():
            if measure.chance is not None or measure.unit in ("probability", "accuracy"):
                names[name] = None
    if not names:
        raise RecipeError(
            "no model was measured on a benchmark.",
            found=", ".join(next(iter(evaluations.values())).measures),
            remedy="evaluate on a task, or name measures in benchmarks=",
        )
    return list(names)


def _errors(evaluation: Evaluation, model: str, benchmarks: Sequence[str]) -> dict[str, float]:
    """Return benchmark → error, for those that the model was measured on."""
    unknown = [name for name in benchmarks if name not in evaluation.measures]
    if len(unknown) == len(benchmarks):
        raise RecipeError(
            f"{model} was measured on none of the benchmarks.",
            found=", ".join(evaluation.measures),
            remedy=nearest(unknown[0], evaluation.measures) or "evaluate it with the same panel",
        )
    value = dict(evaluation.values().select("measure", "value").iter_rows())
    return {
        name: 1 - value[name] if evaluation.measures[name].better == "higher" else value[name]
        for name in benchmarks
        if name in value
    }


def _table(columns: Mapping[str, Mapping[str, float]], key: str) -> pl.DataFrame:
    if key in columns:
        raise RecipeError(f"a model cannot be called '{key}'.", remedy="give it another name")
    rows = list(dict.fromkeys(name for column in columns.values() for name in column))
    values = {model: [column.get(name) for name in rows] for model, column in columns.items()}
    return pl.DataFrame(
        {key: rows, **values},
        schema={key: pl.String, **dict.fromkeys(columns, pl.Float64)},
    )
