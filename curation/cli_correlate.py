"""The command that finds domains by perplexity correlation: correlate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from curation.console import progress, say
from curation.errors import ResourceError

if TYPE_CHECKING:
    from curation.ablate.correlations import CorrelationTables
    from curation.score.correlation import Estimator, Ties
    from curation.score.domains import CorrelationSettings, DomainTable, Measured
    from curation.score.projection import Projection

#: Domains that are shown at either end.
_SHOWN = 8
#: Longer names are cut in what is shown.
_NAME_CHARS = 48


def correlate(  # noqa: PLR0913  a command's options
    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder with bpb.csv (losses by domain) and error.csv (errors by benchmark), a "
            "column for each model; or a store in which arms were trained and evaluated."
        ),
    ],
    benchmark: Annotated[
        str, typer.Option(help="Benchmark to choose for; the mean error of several: sciq,piqa.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Write domains with their labels here: .csv or .parquet.")
    ] = None,
    tokens: Annotated[
        Path | None,
        typer.Option(help="CSV with domain and tokens; else all domains count as equally large."),
    ] = None,
    keep: Annotated[float, typer.Option(help="Share of all tokens to train on.")] = 0.1,
    estimator: Annotated[
        str, typer.Option(help="product, sign, sign_cdf, sign_sign or spearmanr.")
    ] = "spearmanr",
    projection: Annotated[str, typer.Option(help="linear or l2.")] = "linear",
    ties: Annotated[
        str, typer.Option(help="average, or ordinal for the published package's order of ties.")
    ] = "average",
    held_out: Annotated[
        bool,
        typer.Option(
            "--held-out/--no-held-out",
            help="Foretell each model from the others, to see whether the estimate says anything.",
        ),
    ] = True,
) -> None:
    """Find the domains whose loss goes with low error on a benchmark, over many models.

    Nothing is trained: the losses of models that exist on texts of each domain, and their errors
    on a benchmark, say which domains go with the skill. The file that --out writes is read by
    DomainEstimate(table=FILE), and by label_pages for a classifier of pages.

    Example: curation correlate tables --benchmark sciq --keep 0.1 --out labels.csv
    """
    from curation.score.domains import (
        CorrelationSettings,
        correlated_domains,
        counted,
        measured_models,
        read_token_counts,
    )

    # the settings themselves say what is wrong with a name
    settings = CorrelationSettings(
        estimator=cast("Estimator", estimator),
        projection=cast("Projection", projection),
        ties=cast("Ties", ties),
        keep=keep,
    )
    if out is not None and out.suffix not in (".csv", ".parquet"):
        raise ResourceError(
            "a table of domains is written as .csv or .parquet.", found=out, remedy="--out FILE.csv"
        )
    counts = None if tokens is None else read_token_counts(tokens)
    tables = _tables(folder)
    names = [name.strip() for name in benchmark.split(",") if name.strip()]
    measured = measured_models(tables.losses, tables.errors, names)
    measured, _ = counted(measured, counts)
    found = correlated_domains(measured, settings, counts)
    _show(measured, found, settings)
    if held_out:
        _show_held_out(measured, settings, counts)
    if out is not None:
        found.write(out)
        say(f"written    {out}")


def _tables(folder: Path) -> CorrelationTables:
    """Return the tables of a folder, or those of the arms in a store."""
    from curation.ablate.correlations import (
        ERROR_FILE,
        LOSS_FILE,
        correlation_tables,
        read_correlation_tables,
    )

    if (folder / ERROR_FILE).is_file():
        losses = [folder / LOSS_FILE] if (folder / LOSS_FILE).is_file() else []
        losses = losses or sorted(folder.glob("*bpb*.csv"))
        if len(losses) != 1:
            raise ResourceError(
                f"{folder} needs one table of losses beside {ERROR_FILE}.",
                found=", ".join(path.name for path in losses) or "none whose name has bpb in it",
                remedy=f"call it {LOSS_FILE}",
            )
        return read_correlation_tables(losses[0], folder / ERROR_FILE)
    if (folder / "ablations").is_dir() or (folder / "builds").is_dir():
        from curation.ablate.results import models

        return correlation_tables(models(folder))
    raise ResourceError(
        f"{folder} holds neither tables of perplexity correlation nor trained arms.",
        found=", ".join(sorted(p.name for p in folder.iterdir())[:6]) or "an empty folder"
        if folder.is_dir()
        else "no such folder",
        remedy=f"{LOSS_FILE} and {ERROR_FILE}, a column for each model, or the store of "
        "'curation ablate'",
    )


def _show(measured: Measured, found: DomainTable, settings: CorrelationSettings) -> None:
    table, included = found.table, found.included()
    share = table["weight"].sum()
    for name, line in (
        ("benchmark", f"{', '.join(measured.benchmarks)}, error {measured.error_N.min():.4g} to "
                      f"{measured.error_N.max():.4g}"),
        ("models", f"{len(measured.models):,}{_left_out(measured.left_out_models)}"),
        ("domains", f"{len(table):,}{_left_out(measured.left_out_domains)}"),
        ("chosen by", f"{settings.estimator}, {settings.projection}, ties {settings.ties}"),
        ("included", f"{len(included):,} domains; weights add up to {share:.4f}"),
    ):  # fmt: skip
        say(f"{name:<10} {line}")
    say(f"\n{'estimate':>9}  {'weight':>8}  {'label':<8} domain")
    rows = table.select("estimate", "weight", "label", "domain").rows()
    cut = len(rows) > 2 * _SHOWN
    for row in rows[:_SHOWN] if cut else rows:
        _say_row(*row)
    if cut:
        say(f"{'...':>9}  {len(rows) - 2 * _SHOWN:,} more")
        for row in rows[-_SHOWN:]:
            _say_row(*row)


def _say_row(estimate: float, weight: float, label: str, domain: str) -> None:
    shown = domain if len(domain) <= _NAME_CHARS else f"{domain[: _NAME_CHARS - 3]}..."
    say(f"{estimate:>9.4f}  {weight:>8.5f}  {label:<8} {shown}")


def _left_out(count: int) -> str:
    return f", {count:,} more have gaps and are left out" if count else ""


def _show_held_out(
    measured: Measured,
    settings: CorrelationSettings,
    counts: dict[str, int] | None,
) -> None:
    from curation.score.heldout import leave_one_out

    if len(measured.models) < 3:
        say("\nheld out   three models or more are needed to foretell one from the others")
        return
    if len(measured.models) * len(measured.domains) > 200_000:
        progress().say(f"foretelling each of {len(measured.models)} models from the others")
    told = leave_one_out(measured, settings, counts)
    say(
        f"\nheld out   each model foretold from the others: rank correlation {told.spearman:.3f} "
        f"(all domains alike: {told.spearman_unweighted:.3f}),\n           error off by "
        f"{told.mean_error_gap:.4g} in the mean, where the mean error would be off by "
        f"{told.mean_error_spread:.4g}"
    )


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(correlate)
