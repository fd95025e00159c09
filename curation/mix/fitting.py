"""Fitting curves and laws to losses, and judging a fit by data that it has not seen.

A power law of one variable has two parameters that enter linearly, so its exponent is searched on a
grid and the rest solved exactly: the result depends on no start. A law with several exponents is
fitted by Huber loss and L-BFGS from many starts.

Legend of shapes: P points, S starts or settings, X exponents, K parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.errors import RecipeError, needed

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Objective = Callable[[F64], tuple[float, F64]]

#: Where the Huber loss of a residual of log losses turns from squares to absolute values.
#: Hoffmann et al. 2022, arXiv:2203.15556, section 3.3.
HUBER_DELTA = 1e-3
#: Exponents that a power law of one variable may have.
EXPONENTS = (-4.0, 4.0)
#: The power zero is the constant: an exponent stays so far from it. What the law then says is what
#: a logarithm would, to the sixth digit.
LEAST_EXPONENT = 1e-4
#: Weights of a wild cluster bootstrap: mean 0, variance 1, and enough of them for few clusters.
#: Webb 2023, "Reworking wild bootstrap-based inference for clustered errors".
WEBB = (-(1.5**0.5), -1.0, -(0.5**0.5), 0.5**0.5, 1.0, 1.5**0.5)


@dataclass(frozen=True)
class PowerLaw:
    """y = scale * x^exponent + offset, for x above 0."""

    scale: float
    exponent: float
    offset: float

    def __call__(self, x: F64 | float) -> F64:
        return np.asarray(self.scale * np.power(x, self.exponent) + self.offset, np.float64)


@dataclass(frozen=True)
class TwoPowerLaw:
    """y = scales[0] * x^exponents[0] + scales[1] * x^exponents[1] + offset, for x above 0."""

    scales: tuple[float, float]
    exponents: tuple[float, float]
    offset: float

    def __call__(self, x: F64 | float) -> F64:
        first, second = (
            scale * np.power(x, exponent)
            for scale, exponent in zip(self.scales, self.exponents, strict=True)
        )
        return np.asarray(first + second + self.offset, np.float64)


@dataclass(frozen=True)
class HeldOutError:
    """Root mean square error on settings that a fit has not seen, in the unit of the losses.

    law       of the law
    line      of a straight line in log parameters, log tokens and share, fitted to the same points
    mean      of their mean
    settings  how many settings were held out
    """

    law: float
    line: float
    mean: float
    settings: int

    @property
    def worse_than(self) -> str:
        """The simpler description that beats the law, or nothing."""
        rivals = {"a straight line": self.line, "the mean": self.mean}
        best = min(rivals, key=lambda name: rivals[name])
        return best if rivals[best] < self.law else ""


def fit_power(x_P: F64, y_P: F64) -> PowerLaw:
    """Return the power law of least squares.

    x_P  float64[P]  above 0, at least 3 different values
    y_P  float64[P]
    """
    x_P, y_P = _checked(x_P, y_P, least=3, law="y = a x^s + b")
    optimize = scipy_optimize()
    center = float(np.exp(np.log(x_P).mean()))
    log_P = np.log(x_P / center)

    def solved(exponent_X: F64) -> tuple[F64, F64, F64]:
        """Return squared error, slope and intercept over the curve (x^s - 1) / s, for each s."""
        basis_PX = _curve(log_P, exponent_X)
        mean_X = basis_PX.mean(axis=0)
        away_PX = basis_PX - mean_X
        slope_X = y_P @ away_PX / (away_PX**2).sum(axis=0)
        rest_PX = y_P[:, None] - y_P.mean() - slope_X * away_PX
        return (rest_PX**2).sum(axis=0), slope_X, y_P.mean() - slope_X * mean_X

    grid_X = np.linspace(*EXPONENTS, 161)
    best = int(solved(grid_X)[0].argmin())
    around = (grid_X[max(best - 1, 0)], grid_X[min(best + 1, len(grid_X) - 1)])
    found = optimize.minimize_scalar(
        lambda one: float(solved(np.array([one]))[0][0]),
        bounds=around,
        method="bounded",
        options={"xatol": 1e-9},
    )
    exponent = float(found.x)
    if abs(exponent) < LEAST_EXPONENT:
        exponent = LEAST_EXPONENT if exponent >= 0 else -LEAST_EXPONENT
    _, slope_X, intercept_X = solved(np.array([exponent]))
    scale = float(slope_X[0]) / exponent
    return PowerLaw(scale * center**-exponent, exponent, float(intercept_X[0]) - scale)


def fit_two_powers(x_P: F64, y_P: F64) -> TwoPowerLaw:
    """Return the sum of two powers and a constant of least squares.

    x_P  float64[P]  above 0, at least 6 different values: the law has 5 parameters
    y_P  float64[P]
    """
    x_P, y_P = _checked(x_P, y_P, least=6, law="y = a x^s + b x^t + c")
    optimize = scipy_optimize()
    center = float(np.exp(np.log(x_P).mean()))
    log_P = np.log(x_P / center)

    def solved(pair: F64) -> tuple[float, F64]:
        basis_P3 = np.column_stack([_curve(log_P, np.clip(pair, *EXPONENTS)), np.ones(len(log_P))])
        weight_3 = np.asarray(np.linalg.lstsq(basis_P3, y_P, rcond=None)[0], np.float64)
        return float(((y_P - basis_P3 @ weight_3) ** 2).sum()), weight_3

    grid_X = np.linspace(*EXPONENTS, 18)
    pairs = [np.array([s, t]) for s in grid_X for t in grid_X if s < t]
    start = min(pairs, key=lambda pair: solved(pair)[0])
    found = optimize.minimize(lambda pair: solved(pair)[0], start, method="Nelder-Mead").x
    pair = np.clip(found, *EXPONENTS)
    pair = np.where(np.abs(pair) < LEAST_EXPONENT, LEAST_EXPONENT, pair)
    _, weight_3 = solved(pair)
    scale_2 = weight_3[:2] / pair
    return TwoPowerLaw(
        scales=(
            float(scale_2[0] * center ** -pair[0]),
            float(scale_2[1] * center ** -pair[1]),
        ),
        exponents=(float(pair[0]), float(pair[1])),
        offset=float(weight_3[2] - scale_2.sum()),
    )


def huber(residual_P: F64, delta: float = HUBER_DELTA) -> tuple[float, F64]:
    """Return the sum of the Huber loss over the residuals, and its slope at each of them."""
    size_P = np.abs(residual_P)
    loss_P: F64 = np.where(size_P <= delta, 0.5 * residual_P**2, delta * (size_P - 0.5 * delta))
    slope_P: F64 = np.minimum(np.maximum(residual_P, -delta), delta)
    return float(loss_P.sum()), slope_P


def minimise(objective: Objective, starts_SK: F64, *, steps: int = 500) -> tuple[F64, F64]:
    """Return where L-BFGS ends from each start, the best first, and the objective there.

    objective  point float64[K] → its value and gradient float64[K]
    starts_SK  float64[S, K]
    """
    optimize = scipy_optimize()
    options: dict[str, Any] = {"maxiter": steps, "ftol": 1e-12, "gtol": 1e-7}
    ended = [
        optimize.minimize(objective, start_K, jac=True, method="L-BFGS-B", options=options)
        for start_K in starts_SK
    ]
    order = sorted(range(len(ended)), key=lambda at: (float(ended[at].fun), at))
    return np.array([ended[at].x for at in order]), np.array([ended[at].fun for at in order])


def line_prediction(known_PK: F64, y_P: F64, asked_QK: F64) -> F64:
    """Return what the straight line of least squares through the known points says of others."""
    shift_K = known_PK.mean(axis=0)
    left_PK = np.column_stack([np.ones(len(known_PK)), known_PK - shift_K])
    weight_K = np.linalg.lstsq(left_PK, y_P, rcond=None)[0]
    return np.asarray(
        np.column_stack([np.ones(len(asked_QK)), asked_QK - shift_K]) @ weight_K, np.float64
    )


def wild_weights(runs: int, draws: int, seed: int) -> F64:
    """Return float64[draws, runs]: what the residuals of each run are multiplied by in a draw.

    All points of one run share one weight, for they share its documents and its start.
    """
    generator = np.random.default_rng(seed)
    return np.asarray(WEBB)[generator.integers(0, len(WEBB), (draws, runs))]


def interval(values: F64, confidence: float) -> tuple[float, float]:
    """Return the percentile interval of bootstrap draws."""
    rest = (1 - confidence) / 2
    low, high = np.quantile(values, [rest, 1 - rest])
    return float(low), float(high)


def scipy_optimize() -> Any:
    """Return ``scipy.optimize``; ResourceError where scipy is not installed."""
    return needed("scipy.optimize", "train")


def scipy_stats() -> Any:
    """Return ``scipy.stats``; ResourceError where scipy is not installed."""
    return needed("scipy.stats", "train")


def scipy_interpolate() -> Any:
    """Return ``scipy.interpolate``; ResourceError where scipy is not installed."""
    return needed("scipy.interpolate", "train")


def _curve(log_P: F64, exponent_X: F64) -> F64:
    """Return (x^s - 1) / s, and log x for s = 0, for each x and s: float64[P, X]."""
    near_X = np.where(np.abs(exponent_X) < LEAST_EXPONENT, 1.0, exponent_X)
    power_PX = np.expm1(log_P[:, None] * near_X) / near_X
    flat_X = np.abs(exponent_X) < LEAST_EXPONENT
    return np.asarray(np.where(flat_X, log_P[:, None], power_PX), np.float64)


def _checked(x_P: F64, y_P: F64, *, least: int, law: str) -> tuple[F64, F64]:
    x_P, y_P = np.asarray(x_P, np.float64), np.asarray(y_P, np.float64)
    finite = bool(np.isfinite(x_P).all() and np.isfinite(y_P).all())
    if len(x_P) != len(y_P) or not finite or (x_P <= 0).any():
        raise RecipeError(
            f"the law {law} cannot be fitted to these points.",
            found=f"x {x_P.tolist()}, y {y_P.tolist()}",
            remedy="give as many y as x, all of them finite, and x above 0",
        )
    distinct = len(np.unique(x_P))
    if distinct < least:
        raise RecipeError(
            f"the law {law} needs at least {least} different values of x.",
            found=f"{distinct}: {np.unique(x_P).tolist()}",
            remedy="measure at more settings",
        )
    return x_P, y_P
