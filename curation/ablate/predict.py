"""What share of domain text to train with, from runs that were made: laws, errors, an interval.

The results table has a row for each loss of each run at each token count. The D-CPT law is fitted
to the losses on domain text and to those on general text; the best share is the one of least domain
loss whose general loss stays within a limit over the base's. The interval comes from a bootstrap
that keeps each run's losses together, since they share a draw of documents.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl

from curation.ablate.prediction import (
    Critical,
    Interval,
    Judged,
    Limited,
    Prediction,
    Question,
    warnings_of,
)
from curation.errors import RecipeError, nearest
from curation.mix.critical import (
    LEAST_FOR_A_POWER,
    BestShare,
    CriticalShare,
    best_share,
    critical_share,
    fit_critical_law,
    loss_curve,
)
from curation.mix.fitting import F64, interval, scipy_stats, wild_weights
from curation.mix.form import Points
from curation.mix.laws import (
    MixtureFit,
    MixtureLaw,
    extrapolation,
    fit_mixture_law,
    held_out,
)

#: Column → what it holds.
RESULTS = {
    "arm": "name of the arm",
    "repetition": "number of the repetition; each draws its own documents",
    "parameters": "parameters of the model, above 0",
    "tokens": "tokens of continued pretraining so far; 0 for the base itself",
    "domain_share": "share of domain text in training, 0 to 1",
    "measure": "name of the measure, such as cybersecurity/bits_per_byte",
    "value": "the loss, in nats per token or bits per byte",
    "set": "domain or general: which text the loss is of",
}

#: Degrees of freedom that an interval is made with at least; with one it would be of no use.
LEAST_FREEDOM = 2

Kind = Literal["domain", "general"]


def predict(results: pl.DataFrame, question: Question | None = None) -> Prediction:
    """Fit the laws to a results table and answer a question.

    results  a frame of the columns RESULTS; more columns are ignored
    Raises RecipeError where the table cannot answer, and says how many shares, token counts or
    sizes it would take.
    """
    question = question or Question()
    rows = _checked(results)
    domain_rows = _of_measure(rows, "domain", question.domain)
    general_rows = _of_measure(rows, "general", question.general)
    question = _completed(question, domain_rows, general_rows)
    points_of, runs = _points(domain_rows, general_rows)
    domain, general = (_judged(points_of[kind]) for kind in ("domain", "general"))
    base = _base(general_rows, question, question.base_general)
    if base is None:
        raise RecipeError(
            "the base's general loss is not known, so nothing says how far it rose.",
            found=f"no row of 0 tokens for {question.parameters:,.0f} parameters",
            remedy="evaluate the base (rows with tokens = 0), or set base_general",
        )
    limit = base * (1 + question.general_rise_frac)
    search = _Search(question, limit, *_range(domain.fit.points, question))
    best = search.best(domain.fit.law, general.fit.law)
    share, losses, infeasible = _bootstrapped(search, domain.fit, general.fit, runs)
    critical = _critical(domain_rows, general_rows, question, limit - base)
    prediction = Prediction(
        question=question,
        unit=_unit(domain_rows),
        runs=runs,
        domain=domain,
        general=general,
        best=best,
        share=share,
        domain_loss=losses[0],
        general_loss=losses[1],
        infeasible_frac=infeasible,
        limited=_limited(domain.fit, question),
        critical=critical,
        warnings=(),
    )
    return replace(prediction, warnings=tuple(warnings_of(prediction)))


@dataclass(frozen=True)
class _Search:
    """Where the best share is sought."""

    question: Question
    limit: float
    low: float
    high: float

    def best(self, domain: MixtureLaw, general: MixtureLaw) -> BestShare | None:
        size, tokens = self.question.parameters or 1.0, self.question.tokens or 1.0
        return best_share(
            lambda share_G: domain.losses(size, tokens, share_G),
            lambda share_G: general.losses(size, tokens, 1 - share_G),
            limit=self.limit,
            low=self.low,
            high=self.high,
        )


def _checked(results: pl.DataFrame) -> pl.DataFrame:
    for name, meaning in RESULTS.items():
        if name not in results.columns:
            raise RecipeError(
                f"the results table has no column '{name}'.",
                found=", ".join(results.columns),
                remedy=nearest(name, results.columns) or f"add it: {meaning}",
            )
    numbers = ["parameters", "tokens", "domain_share", "value"]
    rows = results.select(
        *[pl.col(name).cast(pl.Float64) if name in numbers else name for name in RESULTS]
    )
    good = (
        pl.all_horizontal(pl.col(numbers).is_finite())
        & (pl.col("parameters") > 0)
        & (pl.col("tokens") >= 0)
        & pl.col("domain_share").is_between(0, 1)
        & (pl.col("value") > 0)
        & pl.col("set").is_in(["domain", "general"])
    )
    bad = rows.filter(~good.fill_null(False))
    if bad.height:
        raise RecipeError(
            "rows of the results table are not losses of runs.",
            found=f"{bad.height} of {rows.height} rows, such as {bad.row(0, named=True)}",
            remedy="; ".join(f"{name}: {meaning}" for name, meaning in RESULTS.items()),
        )
    return rows


def _of_measure(rows: pl.DataFrame, kind: Kind, name: str) -> pl.DataFrame:
    of_kind = rows.filter(pl.col("set") == kind)
    found = of_kind["measure"].unique().sort().to_list()
    if name and name not in found:
        raise RecipeError(
            f"the results table has no {kind} measure '{name}'.",
            found=", ".join(found) or "none",
            remedy=nearest(name, found) or f"name one of them in {kind}=",
        )
    if not name and len(found) != 1:
        raise RecipeError(
            f"one {kind} measure is needed, and the results table has {len(found)}.",
            found=", ".join(found) or f"no row with set = '{kind}'",
            remedy=f"name one in {kind}=" if found else f"evaluate the runs on {kind} text",
        )
    return of_kind.filter(pl.col("measure") == (name or found[0])).sort(
        "arm", "repetition", "parameters", "tokens", "domain_share"
    )


def _completed(question: Question, domain: pl.DataFrame, general: pl.DataFrame) -> Question:
    """Fill in what the question leaves to the table."""
    trained = domain.filter(pl.col("tokens") > 0)
    if trained.is_empty() or general.filter(pl.col("tokens") > 0).is_empty():
        raise RecipeError(
            "the results table has no trained run with a domain and a general loss.",
            found=f"{domain.height} domain rows and {general.height} general rows",
            remedy="add rows with tokens above 0 of both sets",
        )
    size = question.parameters or float(np.max(trained["parameters"].to_numpy()))
    tokens = question.tokens or float(
        np.max(trained.filter(pl.col("parameters") == size)["tokens"].to_numpy(), initial=0)
        or np.max(trained["tokens"].to_numpy())
    )
    return replace(
        question,
        domain=domain["measure"][0],
        general=general["measure"][0],
        parameters=size,
        tokens=tokens,
    )


def _points(domain: pl.DataFrame, general: pl.DataFrame) -> tuple[dict[str, Points], int]:
    """Return the points of both sets, runs numbered alike, and how many runs there are."""
    keys = ["arm", "repetition", "parameters", "domain_share"]
    trained = pl.concat([domain, general]).filter(pl.col("tokens") > 0)
    numbered = trained.select(keys).unique(maintain_order=True).with_row_index("run")
    trained = trained.join(numbered, on=keys, maintain_order="left")

    def of(kind: Kind) -> Points:
        rows = trained.filter(pl.col("set") == kind)
        share_P = rows["domain_share"].to_numpy()
        return Points(
            rows["parameters"].to_numpy(),
            rows["tokens"].to_numpy(),
            share_P if kind == "domain" else 1 - share_P,
            rows["value"].to_numpy(),
            rows["run"].to_numpy().astype(np.int64),
        )

    return {"domain": of("domain"), "general": of("general")}, numbered.height


def _judged(points: Points) -> Judged:
    fit = fit_mixture_law(points)
    return Judged(fit, held_out(fit), extrapolation(fit))


def _base(rows: pl.DataFrame, question: Question, given: float | None) -> float | None:
    if given is not None:
        return given
    base = rows.filter((pl.col("tokens") == 0) & (pl.col("parameters") == question.parameters))
    return None if base.is_empty() else float(base["value"].to_numpy().mean())


def _range(points: Points, question: Question) -> tuple[float, float]:
    """Return between which shares the best is sought: those run, and what the text allows."""
    low, high = float(points.share_P.min()), float(points.share_P.max())
    if question.domain_tokens is None:
        return low, high
    most = question.domain_tokens * question.max_epochs / (question.tokens or 1.0)
    if most < low:
        raise RecipeError(
            "there is too little domain text for the least share that was run.",
            found=f"{question.domain_tokens:,.0f} domain tokens, {question.max_epochs:g} times, are"
            f" a share of {most:.3f} of {question.tokens:,.0f}; the least share run is {low:g}",
            remedy="ask about fewer tokens, allow more epochs, or run smaller shares",
        )
    return low, min(high, most)


def _bootstrapped(
    search: _Search, domain: MixtureFit, general: MixtureFit, runs: int
) -> tuple[Interval | None, tuple[Interval | None, Interval | None], float]:
    """Return the intervals of the best share and of both losses there, by a wild bootstrap."""
    question = search.question
    best = search.best(domain.law, general.law)
    if best is None:
        return None, (None, None), 1.0
    shares, losses, infeasible = [], [], 0
    size, tokens = question.parameters or 1.0, question.tokens or 1.0
    rests = [(fit, fit.residuals() * _caution(fit, runs, question)) for fit in (domain, general)]
    for weight_R in wild_weights(runs, question.draws, question.seed):
        laws = [_redrawn(fit, rest_P, weight_R) for fit, rest_P in rests]
        found = search.best(*laws)
        infeasible += found is None
        shares.append(found.share if found else search.low)
        at = (
            laws[0].losses(size, tokens, best.share),
            laws[1].losses(size, tokens, 1 - best.share),
        )
        losses.append([float(one) for one in at])
    loss_D2 = np.array(losses)

    def around(value: float, drawn: F64) -> Interval:
        low, high = interval(drawn, question.confidence)
        return Interval(value, min(low, value), max(high, value))

    intervals = (around(best.domain, loss_D2[:, 0]), around(best.general, loss_D2[:, 1]))
    return around(best.share, np.array(shares)), intervals, infeasible / question.draws


def _caution(fit: MixtureFit, runs: int, question: Question) -> float:
    """Return by how much the spread of few runs is enlarged, since it is itself uncertain."""
    stats = scipy_stats()
    freedom = max(runs - len(fit.form.free), LEAST_FREEDOM)
    at = (1 + question.confidence) / 2
    return float(stats.t.ppf(at, freedom) / stats.norm.ppf(at))


def _redrawn(fit: MixtureFit, rest_P: F64, weight_R: F64) -> MixtureLaw:
    """Return the law of losses whose residuals have other signs and sizes, run by run."""
    points = fit.points
    return fit.refitted(fit.predicted(points) * np.exp(rest_P * weight_R[points.run_P]))


def _limited(fit: MixtureFit, question: Question) -> Limited | None:
    """Answer usage 2: all domain text is used, and as much general text added as the share wants.

    None for a law without a term of tokens.
    """
    if question.domain_tokens is None or not fit.law.B:
        return None
    use = question.domain_tokens * question.max_epochs
    size, share_P = question.parameters or 1.0, fit.points.share_P
    found = best_share(
        lambda share_G: fit.law.losses(size, use / share_G, share_G),
        lambda share_G: np.zeros_like(share_G),
        low=float(share_P[share_P > 0].min()),
        high=float(share_P.max()),
    )
    if found is None:
        return None
    return Limited(found.share, found.edge, use / found.share, found.domain)


def _critical(
    domain: pl.DataFrame, general: pl.DataFrame, question: Question, tolerance: float
) -> Critical:
    """Find the critical share at each token count that the runs of the size asked about share."""
    base_domain = _base(domain, question, None)
    base_general = _base(general, question, question.base_general) or 0.0
    rises = _changes(general, question, base_general, "general")
    if not rises:
        return Critical({}, None, None, "no share was run at the size asked about")
    falls = _changes(domain, question, base_domain, "domain") if base_domain is not None else {}
    at: dict[float, CriticalShare] = {}
    for tokens in sorted({tokens for found in rises.values() for tokens in found}):
        shares = [share for share in sorted(rises) if tokens in rises[share]]
        change_S = [falls.get(share, {}).get(tokens, -1.0) for share in shares]
        if len(shares) > 1 and min(change_S) < 0:
            rise_S = np.array([rises[share][tokens] for share in shares])
            at[tokens] = critical_share(
                np.array(shares),
                rise_S,
                tolerance=tolerance,
                domain_change_S=np.array(change_S),
            )
    inside = {tokens: found.share for tokens, found in at.items() if not found.bound}
    here = at.get(question.tokens or 0.0)
    if len(inside) < LEAST_FOR_A_POWER:
        why = (
            f"it needs {LEAST_FOR_A_POWER} token counts with a critical share between two that "
            f"were run, and has {len(inside)}"
        )
        return Critical(at, None, here.share if here else None, why)
    law = fit_critical_law(np.array(list(inside)), np.array(list(inside.values())))
    return Critical(at, law, law.share(question.tokens or 1.0), "")


def _changes(
    rows: pl.DataFrame, question: Question, base: float, kind: Kind
) -> dict[float, dict[float, float]]:
    """Return share → tokens → change of the loss against the base, smoothed by its curve."""
    means = (
        rows.filter((pl.col("tokens") > 0) & (pl.col("parameters") == question.parameters))
        .group_by("domain_share", "tokens")
        .agg(pl.col("value").mean())
        .sort("domain_share", "tokens")
    )
    changes: dict[float, dict[float, float]] = {}
    for (share,), found in means.group_by(["domain_share"], maintain_order=True):
        tokens_T, change_T = found["tokens"].to_numpy(), found["value"].to_numpy() - base
        if len(tokens_T) > LEAST_FOR_A_POWER:
            curve = loss_curve(tokens_T, change_T, kind=kind)
            change_T = np.array([curve(float(tokens)) for tokens in tokens_T])
        changes[float(str(share))] = dict(zip(tokens_T.tolist(), change_T.tolist(), strict=True))
    return changes


def _unit(rows: pl.DataFrame) -> str:
    return "bits per byte" if rows["measure"][0].endswith("bits_per_byte") else "nats per token"
