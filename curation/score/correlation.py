"""How the loss on each domain goes with the error on a benchmark, over many models.

A domain whose loss is low in those models that make few errors is a domain worth training on. Five
estimators say how strongly; none of them trains anything. Positive is good: X is loss and y is
error, so both are low in a good model.

    estimate      over models
    product       mean of y x
    sign          mean over pairs of sign(y_g - y_k) (x_g - x_k)
    sign_cdf      the same with ranks of x, over N, in place of x
    sign_sign     the same with sign(x_g - x_k): Kendall's tau-a
    spearmanr     Spearman's rank correlation

Where models tie, ``ties="average"`` gives them the mean of their ranks, so that the result does not
depend on the order of the models. ``ties="ordinal"`` ranks them as the published package does, in
the order that numpy's default sort happens to leave them in: for comparison with it, digit by
digit. sign and sign_sign know no ranks and are the same under both.

source  Thrush, Potts and Hashimoto 2024, arXiv:2409.05816; perplexity_correlations 0.1

N models, D domains, T domains in which values tie
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from curation.errors import RecipeError, nearest

F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

Estimator = Literal["product", "sign", "sign_cdf", "sign_sign", "spearmanr"]
Ties = Literal["average", "ordinal"]
ESTIMATORS: tuple[Estimator, ...] = ("product", "sign", "sign_cdf", "sign_sign", "spearmanr")
TIES: tuple[Ties, ...] = ("average", "ordinal")

#: Threads that pairs of models are compared in; sums are of whole numbers, so their number does
#: not show in the result.
THREADS = 2
#: Domains that a thread of its own is worth the start of.
_THREAD_DOMAINS = 2048
#: Models up to which comparing all with all is faster than sorting.
_MOST_COMPARED = 256
#: Domains that are looked at first, to see whether ties are the rule.
_FIRST = 64


def estimate(
    losses: F64,
    errors: F64,
    estimator: Estimator = "spearmanr",
    *,
    ties: Ties = "average",
    threads: int | None = None,
) -> F64:
    """Return float64[D]: how each domain's loss goes with the error; positive is good.

    losses   float64[N, D]  bits per byte, or any loss that is lower in a better model
    errors   float64[N]     lower in a better model
    ties     average, or ordinal for the published package's order of models that tie
    threads  None for THREADS, where there are so many cores
    returns  0 where all models tie
    raises   RecipeError for fewer than two models, shapes that do not fit, what is no number
    """
    check_choice("estimator", estimator, ESTIMATORS)
    check_choice("ties", ties, TIES)
    x_ND, y_N = _checked(losses, errors)
    threads = min(THREADS, os.cpu_count() or 1) if threads is None else threads
    return _ESTIMATES[estimator](x_ND, y_N, ties, threads)


def average_centred_ranks(losses: F64) -> F64:
    """Return float64[N, D]: twice each model's average rank on a domain, less N + 1."""
    x_ND = np.ascontiguousarray(losses, dtype=np.float64)
    column_D, weight_N = np.arange(x_ND.shape[1]), np.zeros(len(x_ND))
    _, _, rank_DN = _sorted_ranks(x_ND, column_D, weight_N, 1)
    return rank_DN.T.astype(np.float64)


def check_choice(what: str, chosen: str, known: tuple[str, ...]) -> None:
    """Raise RecipeError where a name is none of those known."""
    if chosen not in known:
        raise RecipeError(
            f"there is no {what} '{chosen}'.",
            present=", ".join(known),
            remedy=nearest(chosen, known),
        )


def _checked(losses: F64, errors: F64) -> tuple[F64, F64]:
    from curation.kernels.correlation import weighted_sums

    x_ND = np.ascontiguousarray(losses, dtype=np.float64)
    y_N = np.ascontiguousarray(errors, dtype=np.float64)
    if x_ND.ndim != 2 or y_N.ndim != 1 or len(x_ND) != len(y_N):
        raise RecipeError(
            "losses are models by domains, errors one for each model.",
            found=f"losses of shape {x_ND.shape}, errors of shape {y_N.shape}",
            remedy="losses[model, domain] and errors[model], models in one order",
        )
    if len(y_N) < 2:
        raise RecipeError("a correlation over models needs two models.", found=str(len(y_N)))
    zero_D = weighted_sums(x_ND, np.zeros(len(y_N)))  # 0 times what is no number is no number
    if not (np.isfinite(zero_D).all() and np.isfinite(y_N).all()):
        raise RecipeError(
            "a loss or an error is no number.",
            found=f"{int((~np.isfinite(zero_D)).sum())} domains, {int((~np.isfinite(y_N)).sum())} "
            "errors",
            remedy="leave out domains and models that were not measured",
        )
    return x_ND, y_N


# ---------------------------------------------------------------- the estimators


def _product(x_ND: F64, y_N: F64, ties: Ties, threads: int) -> F64:
    from curation.kernels.correlation import weighted_sums

    return weighted_sums(x_ND, y_N) / len(y_N)


def _sign(x_ND: F64, y_N: F64, ties: Ties, threads: int) -> F64:
    from curation.kernels.correlation import weighted_sums

    # x_g stands in the sum with the sign of its own error against each other's
    return weighted_sums(x_ND, _centred(y_N)) / _pairs(len(y_N))


def _sign_cdf(x_ND: F64, y_N: F64, ties: Ties, threads: int) -> F64:
    models = len(y_N)
    if ties == "ordinal":
        return _published_sign_cdf(x_ND, y_N, threads)
    sum_D, _ = _rank_sums(x_ND, _centred(y_N), threads)
    return sum_D / (2 * models * _pairs(models))


def _sign_sign(x_ND: F64, y_N: F64, ties: Ties, threads: int) -> F64:
    from curation.kernels.correlation import exact_pair_sums

    sum_D = np.empty(x_ND.shape[1])
    higher_NN, lower_NN = y_N[:, None] > y_N[None, :], y_N[:, None] < y_N[None, :]
    sign_NN = higher_NN.view(np.int8) - lower_NN.view(np.int8)
    _over_domains(
        lambda start, stop: exact_pair_sums(x_ND, sign_NN, start, stop, sum_D),
        x_ND.shape[1],
        threads,
    )
    return sum_D / _pairs(len(y_N))


def _spearmanr(x_ND: F64, y_N: F64, ties: Ties, threads: int) -> F64:
    models = len(y_N)
    cubes = models**3 - models
    if ties == "ordinal":
        rank_N = (2 * np.argsort(np.argsort(y_N)) - (models - 1)).astype(np.float64)
        sum_D = _ordinal_rank_sums(x_ND, rank_N, threads)
        # sum of squared differences of ranks, from that of the products of centred ones
        return 1 - 6 * ((cubes / 3 - sum_D) / 2) / (models * (models**2 - 1))
    rank_N = _centred(y_N)
    sum_D, tied_D = _rank_sums(x_ND, rank_N, threads)
    squares_D = (cubes - tied_D) / 3 * (rank_N @ rank_N)
    return np.divide(sum_D, np.sqrt(squares_D), out=np.zeros_like(sum_D), where=squares_D > 0)


_ESTIMATES: dict[str, Callable[[F64, F64, Ties, int], F64]] = {
    "product": _product,
    "sign": _sign,
    "sign_cdf": _sign_cdf,
    "sign_sign": _sign_sign,
    "spearmanr": _spearmanr,
}


def _pairs(models: int) -> float:
    return models * (models - 1) / 2


def _centred(value_N: F64) -> F64:
    """Return how many values are lower, less how many are higher: 2 rank - N - 1."""
    sorted_N = np.sort(value_N)
    lower_N = np.searchsorted(sorted_N, value_N, side="left")
    not_higher_N = np.searchsorted(sorted_N, value_N, side="right")
    return (lower_N + not_higher_N - len(value_N)).astype(np.float64)


# ---------------------------------------------------------------- ranks of losses


def _rank_sums(x_ND: F64, weight_N: F64, threads: int) -> tuple[F64, F64]:
    """Return the sums of weight times centred average rank, and t^3 - t over ties of t models."""
    sum_D, tied_D, column_T = _untied_sums(x_ND, weight_N, threads)
    if len(column_T):
        sum_D[column_T], tied_D[column_T], _ = _sorted_ranks(x_ND, column_T, weight_N, threads)
    return sum_D, tied_D


def _ordinal_rank_sums(x_ND: F64, weight_N: F64, threads: int) -> F64:
    """Return the sums of weight times centred rank, ties in the order of numpy's default sort."""
    sum_D, _, column_T = _untied_sums(x_ND, weight_N, threads)
    if len(column_T):
        # a column is sorted in a buffer of its own, so its order is that of argsort(X, axis=0)
        order_TN = np.argsort(np.ascontiguousarray(x_ND[:, column_T].T), axis=1)
        place_N = 2.0 * np.arange(len(weight_N)) - (len(weight_N) - 1)
        sum_D[column_T] = np.einsum("tn,n->t", weight_N[order_TN], place_N)
    return sum_D


def _untied_sums(x_ND: F64, weight_N: F64, threads: int) -> tuple[F64, F64, I64]:
    """Return the sums of weight times centred rank, room for ties, and the columns still to do."""
    from curation.kernels.correlation import COARSE_MODELS, coarse_pair_sums, pair_sums

    models, domains = x_ND.shape
    sum_D, column_T = np.empty(domains), np.arange(domains)
    apart_NN = weight_N[:, None] - weight_N[None, :]
    ways: tuple[tuple[Callable[..., None], int, Any], ...] = (
        (coarse_pair_sums, COARSE_MODELS, np.int16),
        (pair_sums, _MOST_COMPARED, np.int32),
    )
    for sums, most, number in ways:
        if models > most or not len(column_T):
            continue
        some_ND = x_ND if len(column_T) == domains else np.ascontiguousarray(x_ND[:, column_T])
        sum_T, equal_T = np.empty(len(column_T)), np.empty(len(column_T), dtype=np.int64)
        weight_NN = apart_NN.astype(number)
        first = min(_FIRST, len(column_T))
        sums(some_ND, weight_NN, 0, first, sum_T, equal_T)
        if np.count_nonzero(equal_T[:first]) > first // 2:
            break  # ties are the rule

        def work(start: int, stop: int) -> None:
            sums(some_ND, weight_NN, start, stop, sum_T, equal_T)  # noqa: B023  called at once

        _over_domains(work, len(column_T), threads)
        sum_D[column_T] = sum_T
        column_T = column_T[equal_T > 0]
    return sum_D, np.zeros(domains), column_T


def _sorted_ranks(x_ND: F64, column_T: I64, weight_N: F64, threads: int) -> tuple[F64, F64, I32]:
    """Return what ``average_ranks`` does, in the order of ``column_T``."""
    from curation.kernels.correlation import average_ranks, sort_keys

    bits = max(len(x_ND) - 1, 1).bit_length()
    parts: dict[int, tuple[F64, F64, I32]] = {}

    def rank(start: int, stop: int) -> None:
        some_T = column_T[start:stop]
        key_TN = sort_keys(x_ND, some_T, bits)
        key_TN.sort(axis=1)
        parts[start] = average_ranks(key_TN, x_ND, some_T, bits, weight_N)

    _over_domains(rank, len(column_T), threads)
    found = [parts[start] for start in sorted(parts)]
    sums, tied, ranks = zip(*found, strict=True)
    return np.concatenate(sums), np.concatenate(tied), np.concatenate(ranks)


def _published_sign_cdf(x_ND: F64, y_N: F64, threads: int) -> F64:
    """Return sign_cdf as the published package rounds it, which decides between equal domains."""
    from curation.kernels.correlation import rounded_pair_sums

    models, domains = x_ND.shape
    column_D = np.arange(domains)
    sum_D = np.empty(domains)
    if not domains:
        return sum_D
    _, tied_D, rank_DN = _sorted_ranks(x_ND, column_D, np.zeros(models), threads)
    rank_ND = np.ascontiguousarray(((rank_DN + models + 1) // 2).T)
    (column_T,) = np.nonzero(tied_D)
    if len(column_T):
        order_TN = np.argsort(np.ascontiguousarray(x_ND[:, column_T].T), axis=1)
        place_TN = np.empty_like(order_TN)
        np.put_along_axis(place_TN, order_TN, np.arange(1, models + 1)[None, :], axis=1)
        rank_ND[:, column_T] = place_TN.T
    sign_NN = np.sign(y_N[None, :] - y_N[:, None])
    _over_domains(
        lambda start, stop: rounded_pair_sums(rank_ND, sign_NN, start, stop, sum_D),
        domains,
        threads,
    )
    estimate_D: F64 = 2 * sum_D / (models * (models - 1))
    return estimate_D


def _over_domains(work: Callable[[int, int], Any], domains: int, threads: int) -> None:
    """Call work(start, stop) for all domains, in pieces, a thread for each."""
    pieces = max(1, min(threads, domains // _THREAD_DOMAINS))
    edges = np.linspace(0, domains, pieces + 1).astype(int).tolist()
    if pieces == 1:
        work(0, domains)
        return
    with ThreadPoolExecutor(pieces) as pool:
        list(pool.map(work, edges[:-1], edges[1:]))
