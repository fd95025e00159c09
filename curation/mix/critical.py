"""Which share of domain text is best: under a limit, from limited text, for a budget of compute.

Three questions to the D-CPT law, as its paper asks them, and the critical mixture ratio, which is
read off measured curves without a law of size: the largest share whose rise in general loss stays
within a tolerance while domain loss falls.

Legend of shapes: S shares, T token counts, G points of a grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from curation.errors import RecipeError
from curation.mix.fitting import (
    F64,
    PowerLaw,
    TwoPowerLaw,
    fit_power,
    fit_two_powers,
    scipy_interpolate,
)
from curation.mix.laws import MixtureLaw

Curve = Callable[[F64], F64]

#: Tokens in which Gu et al. 2024 (arXiv:2407.17467) count training: their T = 100 is 20 billion.
CMR_UNIT_TOKENS = 200_000_000
#: Token counts that a curve of general loss needs for its two powers; with fewer it gets one.
LEAST_FOR_TWO_POWERS = 6
#: Token counts or shares that any power law needs.
LEAST_FOR_A_POWER = 3
#: Floating-point operations of a training step per parameter and token: Kaplan et al. 2020,
#: arXiv:2001.08361, section 2.1.
FLOPS_PER_PARAMETER_AND_TOKEN = 6
_GRID = 2001


@dataclass(frozen=True)
class BestShare:
    """The share of least domain loss among those whose general loss is within the limit.

    share    0..1
    domain   domain loss there
    general  general loss there
    limit    what general loss may be at most
    edge     "lowest" or "highest" where the best share is an end of the range, else ""
    """

    share: float
    domain: float
    general: float
    limit: float
    edge: Literal["", "lowest", "highest"]


def best_share(
    domain: Curve, general: Curve, *, limit: float = np.inf, low: float, high: float
) -> BestShare | None:
    """Return the best share between low and high, or None where no share is within the limit.

    domain   share of domain text float64[G] → loss on domain text float64[G]
    general  share of domain text float64[G] → loss on general text float64[G]
    Source: Que et al. 2024, arXiv:2406.01375, usage 1 (and 2, with curves at fixed domain tokens).
    """
    if not 0 <= low <= high <= 1:
        raise RecipeError(
            "a share is sought between two shares of 0 to 1.", found=f"low={low}, high={high}"
        )
    left, right = low, high
    # each round looks closely where the round before found the best point
    for _ in range(4):
        share_G = np.linspace(left, right, _GRID)
        loss_G = np.where(general(share_G) <= limit, domain(share_G), np.inf)
        best = int(loss_G.argmin())
        if not np.isfinite(loss_G[best]):
            return None
        left, right = share_G[max(best - 1, 0)], share_G[min(best + 1, _GRID - 1)]
    share = share_G[best]
    near = 1e-9 + 1e-6 * (high - low)
    edge: Literal["", "lowest", "highest"] = ""
    if high - share <= near:
        edge = "highest"
    elif share - low <= near:
        edge = "lowest"
    at = np.array([share])
    return BestShare(float(share), float(domain(at)[0]), float(general(at)[0]), limit, edge)


@dataclass(frozen=True)
class BestSize:
    """The model size and token count of least loss for a budget of compute."""

    parameters: float
    tokens: float
    loss: float
    edge: bool


def best_size(law: MixtureLaw, *, flops: float, share: float, low: float, high: float) -> BestSize:
    """Return the best size between low and high parameters; tokens are flops / (6 parameters).

    ``edge`` is true where the best size is an end of the range. Raises RecipeError for a law that
    lacks the term of size or of tokens. Source: Que et al. 2024, arXiv:2406.01375, usage 3.
    """
    if not (law.A and law.B):
        raise RecipeError(
            "this law cannot choose a model size: it has no term of size or none of tokens.",
            found=str(law),
            remedy="fit it to runs of 3 or more sizes at 3 or more token counts",
        )
    parameters_G = np.geomspace(low, high, 20 * _GRID)
    tokens_G = flops / (FLOPS_PER_PARAMETER_AND_TOKEN * parameters_G)
    loss_G = law.losses(parameters_G, tokens_G, share)
    best = int(loss_G.argmin())
    edge = best in (0, len(loss_G) - 1)
    return BestSize(float(parameters_G[best]), float(tokens_G[best]), float(loss_G[best]), edge)


@dataclass(frozen=True)
class LossCurve:
    """How a loss changes with tokens at one share: T^s forms of the CMR scaling law.

    curve  tokens → change of the loss against the base
    low    fewest tokens measured
    high   most tokens measured
    """

    curve: PowerLaw | TwoPowerLaw
    low: float
    high: float

    def __call__(self, tokens: float) -> float:
        return float(self.curve(tokens))


def loss_curve(tokens_T: F64, change_T: F64, *, kind: Literal["domain", "general"]) -> LossCurve:
    """Fit the change of a loss against tokens.

    Domain loss is a T^s + b. General loss is a T^s + b T^t + c, for it may rise and fall again;
    where there are too few token counts for that, it is one power too.
    Source: Gu et al. 2024, arXiv:2407.17467. Raises RecipeError for fewer than 3 token counts.
    """
    enough = len(np.unique(tokens_T)) >= LEAST_FOR_TWO_POWERS
    fit = fit_two_powers if kind == "general" and enough else fit_power
    return LossCurve(fit(tokens_T, change_T), float(tokens_T.min()), float(tokens_T.max()))


@dataclass(frozen=True)
class CriticalShare:
    """The largest share whose general loss stays within the tolerance at a token count.

    share  0..1
    bound  "" for a share between two that were measured; "at least" where the largest share
           measured is still within the tolerance; "below" where the smallest is not
    """

    share: float
    bound: Literal["", "at least", "below"]


def critical_share(
    share_S: F64, rise_S: F64, *, tolerance: float, domain_change_S: F64 | None = None
) -> CriticalShare:
    """Return the critical share of measured rises in general loss.

    share_S          float64[S]  shares of domain text, each once
    rise_S           float64[S]  general loss minus the base's
    tolerance        what it may rise, in the unit of the losses
    domain_change_S  float64[S]  domain loss minus the base's; a share where it has not fallen is
                                 left out
    Between the two measured shares where the rise crosses the tolerance, a monotone cubic through
    all of them says where (Fritsch and Carlson 1980). A power law of the share, which domain loss
    follows, does not: general loss turns up steeply where replay ends.
    """
    falls_S = np.ones(len(share_S), bool) if domain_change_S is None else domain_change_S < 0
    if not falls_S.any():
        raise RecipeError(
            "there is no critical share: domain loss falls at none of the shares.",
            found=f"shares {np.sort(share_S).tolist()}",
            remedy="train for longer, or look at the domain's held-out text",
        )
    order_S = np.argsort(share_S[falls_S])
    share_S, rise_S = share_S[falls_S][order_S], rise_S[falls_S][order_S]
    over_S = np.flatnonzero(rise_S > tolerance)
    if not len(over_S):
        return CriticalShare(float(share_S[-1]), "at least")
    above = int(over_S[0])
    if above == 0:
        return CriticalShare(float(share_S[0]), "below")
    return CriticalShare(_crossing(share_S, rise_S, tolerance, above), "")


def _crossing(share_S: F64, rise_S: F64, tolerance: float, above: int) -> float:
    curve = scipy_interpolate().PchipInterpolator(share_S, rise_S)
    share_G = np.linspace(share_S[above - 1], share_S[above], _GRID)
    return float(share_G[curve(share_G) <= tolerance][-1])


@dataclass(frozen=True)
class CriticalLaw:
    """R(T) = scale * T^exponent + offset: the critical share after T tokens.

    curve        the law, with T counted in unit_tokens
    unit_tokens  how many tokens T counts
    Source: Gu et al. 2024, arXiv:2407.17467. It says nothing of another model size, and its paper
    tested it to 20 billion tokens.
    """

    curve: PowerLaw
    unit_tokens: float = CMR_UNIT_TOKENS

    def share(self, tokens: float) -> float:
        """Return the critical share, kept within 0..1."""
        return float(np.clip(self.curve(tokens / self.unit_tokens), 0.0, 1.0))


def fit_critical_law(
    tokens_T: F64, share_T: F64, *, unit_tokens: float = CMR_UNIT_TOKENS
) -> CriticalLaw:
    """Fit the law to critical shares at 3 or more token counts; RecipeError for fewer."""
    return CriticalLaw(fit_power(np.asarray(tokens_T) / unit_tokens, share_T), unit_tokens)
