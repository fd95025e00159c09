"""Whether an estimate foretells the errors of models that it has not seen.

Each model is left out in turn. From the others the weights of the domains are found; the model is
foretold by the mean, under these weights, of its ranks in loss among all models. Its own error is
used nowhere.

Trade-off: models of one family are near copies of each other, so that leaving out one of them
leaves its likeness in. Foretelling a family that is left out whole is harder than this says.

source  Thrush, Potts and Hashimoto 2024, arXiv:2409.05816, section on held-out models; the
        published package has no code for it

N models, D domains
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from curation.score.correlation import average_centred_ranks, estimate
from curation.score.domains import CorrelationSettings, Measured, counted
from curation.score.projection import project, token_caps

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What was foretold of each model from the others.

    table     model, error, foretold_error, rank (1 for the lowest error), foretold_rank
    spearman  between foretold and true ranks; 1 is best
    spearman_unweighted  the same, were every domain weighed by its tokens and nothing else
    mean_error_gap    mean of the absolute difference between foretold and true error
    mean_error_spread the same, were every model foretold the mean error of the others
    """

    table: pl.DataFrame
    spearman: float
    spearman_unweighted: float
    mean_error_gap: float
    mean_error_spread: float


def leave_one_out(
    measured: Measured, settings: CorrelationSettings, tokens: Mapping[str, int] | None = None
) -> HeldOut:
    """Foretell each model from all others; at least three models are needed.

    tokens  domain → tokens; None takes all domains to be equally large
    """
    measured, counts = counted(measured, tokens)
    models, cap_D = len(measured.models), token_caps(counts, settings.keep)
    # 0 for the model with the lowest loss on a domain, 1 for the one with the highest
    rank_ND = (average_centred_ranks(measured.loss_ND) + models - 1) / (2 * (models - 1))
    score_N, foretold_N = np.empty(models), np.empty(models)
    for n in range(models):
        others = np.arange(models) != n
        error_M = measured.error_N[others]
        estimate_D = estimate(
            measured.loss_ND[others], error_M, settings.estimator, ties=settings.ties
        )
        score_M = rank_ND @ project(estimate_D, cap_D, settings.projection)
        score_N[n] = score_M[n]
        known_M = np.sort(score_M[others])
        foretold_N[n] = np.interp(score_M[n], known_M, np.sort(error_M))
    error_N = measured.error_N
    mean_of_others_N = (error_N.sum() - error_N) / (models - 1)
    table = pl.DataFrame(
        {"model": measured.models, "error": error_N, "foretold_error": foretold_N, "score": score_N}
    ).with_columns(
        rank=pl.col("error").rank("average"), foretold_rank=pl.col("score").rank("average")
    )
    return HeldOut(
        table=table.drop("score"),
        spearman=float(estimate(score_N[:, None], error_N)[0]),
        spearman_unweighted=float(estimate((rank_ND @ cap_D)[:, None], error_N)[0]),
        mean_error_gap=float(np.abs(foretold_N - error_N).mean()),
        mean_error_spread=float(np.abs(mean_of_others_N - error_N).mean()),
    )
