"""Which domains to train on for a benchmark: estimates, weights and labels, domain by domain.

    tables = read_correlation_tables("bpb.csv", "error.csv")
    measured = measured_models(tables.losses, tables.errors, ("sciq",))
    found = correlated_domains(measured, CorrelationSettings(keep=0.1), tokens)
    found.write("labels.csv")

Labels have two uses. ``DomainEstimate`` writes a domain's estimate beside each of its pages, for
keep_best. ``label_pages`` writes pages with the label of their domain, for a classifier that then
scores pages of any domain, which is what the paper does.

Trade-off: the label of a domain is a coarse label for its pages. A classifier learns what most
pages of the good domains have in common, and its probability ranks pages well; its own choice of
label is poor, for nine tenths of what it learns from is excluded.

N models, D domains
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from curation.columns import columns
from curation.errors import RecipeError, ResourceError, nearest
from curation.score.correlation import (
    ESTIMATORS,
    TIES,
    Estimator,
    Ties,
    check_choice,
    estimate,
)
from curation.score.projection import PROJECTIONS, Projection, project, token_caps
from curation.stage import Annotator

if TYPE_CHECKING:
    from curation.build import Build

F64 = npt.NDArray[np.float64]

INCLUDE, EXCLUDE = "include", "exclude"
#: Columns of a table of domains.
TABLE = ("domain", "estimate", "weight", "cap", "label")
#: What the first column of a file of token counts may be called.
_NAMES = ("domain", "id", "url_domain", "source")


@dataclass(frozen=True, kw_only=True)
class CorrelationSettings:
    """How domains are chosen.

    estimator   one of ``curation.score.correlation.ESTIMATORS``
    projection  linear or l2
    ties        average, or ordinal for the published package's order
    keep        share of all tokens that is to be trained on, each of them once
    """

    estimator: Estimator = "spearmanr"
    projection: Projection = "linear"
    ties: Ties = "average"
    keep: float = 0.1

    def __post_init__(self) -> None:
        check_choice("estimator", self.estimator, ESTIMATORS)
        check_choice("projection", self.projection, PROJECTIONS)
        check_choice("way with ties", self.ties, TIES)
        token_caps([1], self.keep)


# ---------------------------------------------------------------- what was measured


@dataclass(frozen=True, eq=False)
class Measured:
    """Losses and errors of the same models.

    domains, models   their names
    loss_ND           float64[N, D]
    error_N           float64[N]  mean over the benchmarks
    benchmarks        whose errors they are
    left_out_domains  domains that some model was not measured on, or without a number of tokens
    left_out_models   models without an error
    """

    domains: tuple[str, ...]
    models: tuple[str, ...]
    loss_ND: F64
    error_N: F64
    benchmarks: tuple[str, ...]
    left_out_domains: int
    left_out_models: int


def measured_models(
    losses: pl.DataFrame, errors: pl.DataFrame, benchmarks: Sequence[str]
) -> Measured:
    """Return what can be correlated of two tables, models in the order of the losses.

    losses      domain, then a column for each model: as of ``CorrelationTables``
    errors      benchmark, then a column for each model
    benchmarks  one, or several whose mean error is taken
    raises      RecipeError for an unknown benchmark, or where fewer than two models, no domain or
                no difference in error are left
    """
    known = errors[errors.columns[0]].to_list()
    for name in benchmarks:
        if name not in known:
            raise RecipeError(
                f"there is no benchmark '{name}'.",
                present=", ".join(known),
                remedy=nearest(name, known) or "name one of those present",
            )
    if not benchmarks:
        raise RecipeError("name a benchmark.", present=", ".join(known))
    rows = errors.filter(pl.col(errors.columns[0]).is_in(list(benchmarks)))
    error = {name: rows[name].fill_nan(None) for name in errors.columns[1:]}
    shared = [name for name in losses.columns[1:] if name in error]
    models = [name for name in shared if not error[name].null_count()]
    whole = losses.select(losses.columns[0], pl.col(models).fill_nan(None)).drop_nulls()
    found = Measured(
        domains=tuple(whole[losses.columns[0]].to_list()),
        models=tuple(models),
        loss_ND=np.ascontiguousarray(whole.select(models).to_numpy().T, dtype=np.float64),
        error_N=np.array([error[name].to_numpy().mean() for name in models]),
        benchmarks=tuple(benchmarks),
        left_out_domains=len(losses) - len(whole),
        left_out_models=len(losses.columns) - 1 - len(models),
    )
    _check(found, len(losses))
    return found


def _check(found: Measured, domains: int) -> None:
    names = ", ".join(found.benchmarks)
    if len(found.models) < 2:
        raise RecipeError(
            f"fewer than two models have losses and an error on {names}.",
            found=", ".join(found.models) or "none",
            remedy="models are matched by their names: give both tables the same",
        )
    if not found.domains:
        raise RecipeError(
            "there is no domain that every model was measured on.",
            found=f"{domains} domains, {len(found.models)} models",
            remedy="measure all models on one set of texts, or leave out those with gaps",
        )
    if np.ptp(found.error_N) == 0:
        raise RecipeError(
            f"all models have the same error on {names}, so nothing goes with it.",
            found=f"{found.error_N[0]:.4g} for {len(found.models)} models",
            remedy="take another benchmark, or models that differ more",
        )


def read_token_counts(path: str | os.PathLike[str]) -> dict[str, int]:
    """Return domain → tokens of a CSV file with the columns domain (or id) and tokens."""
    if not Path(path).is_file():
        raise ResourceError("there is no file of token counts.", path=path)
    table = pl.read_csv(Path(path), infer_schema=False)
    first = next((name for name in _NAMES if name in table.columns), "")
    if not first or "tokens" not in table.columns:
        raise ResourceError(
            "a file of token counts has the columns domain and tokens.",
            path=path,
            found=", ".join(table.columns[:5]),
        )
    counts = table["tokens"].cast(pl.Int64, strict=False)
    if counts.null_count():
        row = int(counts.is_null().arg_max() or 0)
        raise ResourceError(
            "a number of tokens is no whole number.", path=path, found=str(table.row(row))
        )
    return dict(zip(table[first].to_list(), counts.to_list(), strict=True))


# ---------------------------------------------------------------- the table of domains


@dataclass(frozen=True, eq=False)
class DomainTable:
    """Domains with their estimates, the best first.

    table  domain, estimate, weight (0..1, together 1), cap, label (include or exclude)
    """

    table: pl.DataFrame

    def included(self) -> list[str]:
        """Return the domains to train on."""
        return self.table.filter(pl.col("label") == INCLUDE)["domain"].to_list()

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the table as CSV, or as Parquet where the name ends so."""
        from curation.store import replacing

        with replacing(Path(path)) as temporary:
            if Path(path).suffix == ".parquet":
                self.table.write_parquet(temporary)
            else:
                self.table.write_csv(temporary)


def correlated_domains(
    measured: Measured,
    settings: CorrelationSettings,
    tokens: Mapping[str, int] | None = None,
) -> DomainTable:
    """Return which domains go with low errors, and how much of each to train on.

    tokens  domain → tokens, which decide how large a share it can be; a domain without is left
            out. None takes all domains to be equally large
    """
    measured, counts = counted(measured, tokens)
    cap_D = token_caps(counts, settings.keep)
    estimate_D = estimate(
        measured.loss_ND, measured.error_N, settings.estimator, ties=settings.ties
    )
    weight_D = _weights(measured.domains, estimate_D, cap_D, settings)
    table = pl.DataFrame(
        {
            "domain": measured.domains,
            "estimate": estimate_D,
            "weight": weight_D.astype(np.float64),
            "cap": cap_D,
            "label": np.where(weight_D > 0, INCLUDE, EXCLUDE).tolist(),
        }
    ).sort("estimate", "weight", descending=True, maintain_order=True)
    return DomainTable(table)


def counted(measured: Measured, tokens: Mapping[str, int] | None) -> tuple[Measured, list[int]]:
    """Return the domains that have a number of tokens, and these numbers; 1 each for None."""
    if tokens is None:
        return measured, [1] * len(measured.domains)
    keep = [n for n, name in enumerate(measured.domains) if name in tokens]
    domains = tuple(measured.domains[n] for n in keep)
    if not domains:
        raise RecipeError(
            "no domain has a number of tokens.",
            found=f"domains such as {measured.domains[0]!r}, counts of "
            f"{next(iter(tokens), 'nothing')!r}",
            remedy="name the domains alike in both files",
        )
    left_out = measured.left_out_domains + len(measured.domains) - len(domains)
    some = dataclasses.replace(
        measured, domains=domains, loss_ND=measured.loss_ND[:, keep], left_out_domains=left_out
    )
    return some, [tokens[name] for name in domains]


def _weights(
    domains: Sequence[str], estimate_D: F64, cap_D: F64, settings: CorrelationSettings
) -> F64:
    """Return the projection; equal estimates are told apart by a hash of the domain's name."""
    if settings.ties == "ordinal":
        return project(estimate_D, cap_D, settings.projection)
    from curation.engine.best import id_hash

    key_D = id_hash(pa.array(domains, pa.large_string()))
    return project(estimate_D, cap_D, settings.projection, key=key_D)


def read_domain_table(path: str | os.PathLike[str]) -> pl.DataFrame:
    """Return a table that ``DomainTable.write`` wrote; ResourceError where it is no such table."""
    if not Path(path).is_file():
        raise ResourceError(
            "there is no table of domains.",
            path=path,
            remedy="curation correlate FOLDER --benchmark NAME --out FILE makes one",
        )
    try:
        table = (
            pl.read_parquet(Path(path))
            if Path(path).suffix == ".parquet"
            else pl.read_csv(Path(path), schema_overrides={"domain": pl.String, "label": pl.String})
        )
        table = table.select(
            pl.col("domain").cast(pl.String),
            pl.col("estimate", "weight").cast(pl.Float64),
            pl.col("label").cast(pl.String),
        )
    except pl.exceptions.PolarsError as error:
        raise ResourceError(
            "a table of domains has the columns domain, estimate, weight and label.",
            path=path,
            found=str(error).splitlines()[0][:200],
            remedy="curation correlate FOLDER --benchmark NAME --out FILE makes one",
        ) from error
    if table["domain"].is_duplicated().any() or table["estimate"].is_null().any():
        raise ResourceError("a domain stands twice in the table, or has no estimate.", path=path)
    return table


# ---------------------------------------------------------------- from domains to pages


@dataclass(frozen=True, kw_only=True)
class DomainEstimate(Annotator):
    """Write how the loss on a page's domain goes with low errors on a benchmark.

    table  file that ``curation correlate`` wrote
    key    column that holds the domain: url_domain (of UrlRules), source, or id for single pages

    reads    url_domain         large_string  or the column of key; null allowed
    writes   correlation_score  float32       null where the table does not know the domain
    source   Thrush, Potts and Hashimoto 2024, arXiv:2409.05816
    """

    version: ClassVar[int] = 1
    writes: ClassVar[pa.Schema] = columns("correlation_score")

    table: str
    key: str = "url_domain"

    @property
    def reads(self) -> tuple[str, ...]:  # type: ignore[override]
        """The column that holds the domain."""
        return (self.key,)

    def check(self) -> None:
        _ = self.known

    def model_files(self) -> tuple[str, ...]:
        return (self.table,)

    @cached_property
    def known(self) -> tuple[pa.Array, pa.Array]:
        """Domains and their estimates."""
        found = read_domain_table(self.table)
        names = pa.array(found["domain"].to_list(), pa.large_string())
        return names, pa.array(found["estimate"].to_list(), pa.float32())

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        names, estimates = self.known
        place = pc.index_in(batch[self.key].cast(pa.large_string()), value_set=names)
        return pa.RecordBatch.from_arrays([estimates.take(place)], schema=self.writes)


def label_pages(
    pages: Build | pl.LazyFrame | pl.DataFrame,
    domains: pl.DataFrame,
    out: str | os.PathLike[str],
    *,
    key: str = "url_domain",
    most: int | None = None,
) -> dict[str, int]:
    """Write pages with the label of their domain as JSON lines, for a classifier to learn from.

    pages    a build, or a frame with id, text and the column of key
    domains  a table as ``read_domain_table`` returns it
    out      file of JSON lines: text, label (include or exclude); domains not in the table and
             empty pages are left out
    most     pages of each label at most, chosen by a hash of their ids; None for all
    returns  label → pages written
    """
    frame = _frame(pages, key)
    # looked up and not joined: the rows stay in their order
    label = (
        pl.col(key)
        .cast(pl.String)
        .replace_strict(domains["domain"], domains["label"], default=None, return_dtype=pl.String)
    )
    labelled = frame.with_columns(label=label).filter(
        pl.col("label").is_not_null(), pl.col("text").str.len_bytes() > 0
    )
    chosen = _chosen(labelled.select("id", "label").collect(engine="streaming"), most)
    if chosen.is_empty():
        raise RecipeError(
            "no page is of a domain of the table.",
            found=f"column {key}; domains such as {', '.join(domains['domain'].head(3).to_list())}",
            remedy="say with key= which column holds the domain",
        )
    from curation.store import replacing

    rows = labelled.filter(pl.col("id").is_in(chosen["id"].implode())) if most else labelled
    with replacing(Path(out)) as temporary:
        rows.select("text", "label").sink_ndjson(temporary)
    return dict(chosen.group_by("label").len().sort("label").iter_rows())


def _frame(pages: Build | pl.LazyFrame | pl.DataFrame, key: str) -> pl.LazyFrame:
    names = list(dict.fromkeys(("id", "text", key)))
    if isinstance(pages, pl.DataFrame | pl.LazyFrame):
        return pages.lazy().select(names)
    return pages.documents(columns=names)


def _chosen(pages: pl.DataFrame, most: int | None) -> pl.DataFrame:
    if not most:
        return pages
    from curation.engine.best import id_hash

    hashed = pl.Series("hash", id_hash(pages["id"].to_arrow().cast(pa.large_string())))
    return pages.with_columns(hashed).sort("hash", "id").group_by("label").head(most)
