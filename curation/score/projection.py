"""From estimates to a distribution to sample domains by, none of them above its cap.

A cap ``tau`` says how large a share of training a domain can be without being repeated. The linear
projection fills the best domains to their caps, one after the other; it looks at the order of the
estimates alone. The other finds the distribution nearest to the estimates themselves.

source  Thrush, Potts and Hashimoto 2024, arXiv:2409.05816, and perplexity_correlations 0.1

D domains
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

from curation.errors import RecipeError

F64 = npt.NDArray[np.float64]
U64 = npt.NDArray[np.uint64]

Projection = Literal["linear", "l2"]
PROJECTIONS: tuple[Projection, ...] = ("linear", "l2")

#: By so much caps may fall short of 1, for shares that add up to 1 but for rounding.
_ROUNDING = 1e-9
#: Newton's steps can run in a circle between two pieces; after so many the interval is halved.
_STEPS = 50


def token_caps(tokens: npt.ArrayLike, keep: float) -> F64:
    """Return float64[D]: each domain's share of the tokens over the share that is to be kept.

    tokens  how many each domain holds
    keep    0..1, the paper's desired_filter_ratio: 0.1 trains on a tenth of all, each text once
    """
    token_D = np.asarray(tokens, dtype=np.float64)
    if not 0 < keep <= 1:
        raise RecipeError(
            "the share to keep is above 0 and at most 1.",
            found=str(keep),
            remedy="0.1 to keep a tenth of the tokens",
        )
    if not np.isfinite(token_D).all() or (token_D <= 0).any():
        raise RecipeError(
            "every domain needs a number of tokens above 0.",
            found=f"{int((~(token_D > 0)).sum())} domains of {len(token_D)} without",
            remedy="leave out domains without text",
        )
    caps: F64 = token_D / token_D.sum() / keep
    return caps


def project(
    estimate: F64, tau: F64, projection: Projection = "linear", *, key: U64 | None = None
) -> F64:
    """Return the distribution over domains by either projection."""
    chosen: dict[str, Callable[[], F64]] = {
        "linear": lambda: linear(estimate, tau, key=key),
        "l2": lambda: l2(estimate, tau),
    }
    if projection not in chosen:
        raise RecipeError(f"there is no projection '{projection}'.", present=", ".join(PROJECTIONS))
    return chosen[projection]()


def linear(estimate: F64, tau: F64, *, key: U64 | None = None) -> F64:
    """Return the distribution that goes best with the estimates: the best domains at their caps.

    estimate  float64[D]
    tau       float64[D]  caps, above 0, together 1 or more
    key       uint64[D]   decides between equal estimates, such as a hash of the domain's name;
                          None for the published package's order, which is that of numpy's default
                          sort, and for its float32
    raises    RecipeError where a cap is 0 or less, or their sum is below 1
    """
    _check(estimate, tau)
    order = np.argsort(-1 * estimate) if key is None else np.lexsort((key, -estimate))
    kind = np.float32 if key is None else np.float64
    sorted_D = tau[order]
    full = min(int(np.searchsorted(np.cumsum(sorted_D), 1.0)), len(tau) - 1)
    weight_D: F64 = np.zeros(len(tau), dtype=kind)
    weight_D[order[:full]] = sorted_D[:full]
    weight_D[order[full]] = 1 - np.sum(weight_D)
    return weight_D


def l2(estimate: F64, tau: F64) -> F64:
    """Return the distribution nearest to the estimates: clip(estimate + c, 0, tau).

    The published package halves an interval until c is known to 1e-12; here c is exact but for
    rounding, by Newton's steps on a function that is made of straight pieces.
    raises  RecipeError where a cap is 0 or less, or their sum is below 1
    """
    _check(estimate, tau)
    low, high = -float(np.max(estimate)), float(np.max(tau - estimate))
    offset = low
    for step in range(2 * _STEPS):
        raised_D = estimate + offset
        above = float(np.clip(raised_D, 0, tau).sum()) - 1
        low, high = (offset, high) if above <= 0 else (low, offset)
        slope = int(np.count_nonzero((raised_D >= 0) & (raised_D < tau)))
        following = offset - above / slope if slope and step < _STEPS else (low + high) / 2
        following = following if low <= following <= high else (low + high) / 2
        if following == offset or not low < high:
            break
        offset = following
    return np.clip(estimate + offset, 0, tau)


def _check(estimate: F64, tau: F64) -> None:
    if estimate.ndim != 1 or tau.shape != estimate.shape:
        raise RecipeError(
            "a projection takes an estimate and a cap for each domain.",
            found=f"estimates of shape {estimate.shape}, caps of shape {tau.shape}",
        )
    if not np.isfinite(estimate).all():
        raise RecipeError("an estimate is no number.", remedy="leave out its domain")
    if not (tau > 0).all():
        raise RecipeError(
            "caps must be above 0.",
            found=f"{int((~(tau > 0)).sum())} of {len(tau)} are not",
            remedy="estimate without the domains that must not be sampled",
        )
    if float(tau.sum()) < 1 - _ROUNDING:
        raise RecipeError(
            "the caps allow no distribution: together they are below 1.",
            found=f"{float(tau.sum()):.6g}",
            remedy="keep a smaller share, or more domains",
        )
