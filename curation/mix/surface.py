"""The objective of a fit of the D-CPT law, over parameters without bounds, and its gradient.

Legend of shapes: P points, S starts, K parameters.
"""

from __future__ import annotations

import numpy as np

from curation.mix.fitting import F64, HUBER_DELTA, huber, minimise, scipy_optimize
from curation.mix.form import (
    ALPHA,
    BETA,
    EPSILON,
    ETA,
    GAMMA,
    PARAMETERS,
    RANGE,
    A,
    B,
    C,
    E,
    Form,
    Points,
)

#: Random sets of exponents that are tried before the best of them are fitted.
DRAWN_STARTS = 256
#: Steps of a search that starts where a fit to nearly the same points ended.
REFIT_STEPS = 200
#: Directions weaker than this share of the strongest are gone along as if they were so strong.
LEAST_STRENGTH_FRAC = 1e-4


class Surface:
    """The objective over unbounded parameters of one form of the law, with its gradient.

    Inside, size is in units of its geometric mean and tokens in units of their least, so that all
    coefficients are of the size of a loss. ``log_K`` holds the logarithm of every parameter; that
    of an absent one is minus infinity.
    """

    def __init__(self, points: Points, form: Form) -> None:
        self.points, self.form = points, form
        self.size = float(np.exp(np.log(points.parameters_P).mean()))
        self.tokens = float(points.tokens_P.min())
        self.log_n_P = np.log(points.parameters_P / self.size)
        self.log_d_P = np.log(points.tokens_P / self.tokens)
        with np.errstate(divide="ignore"):
            self.log_r_P = np.log(points.share_P)
        self.log_y_P = np.log(points.loss_P)
        positive = points.share_P[points.share_P > 0]
        #: The law of B's limit has its least value at one of these two shares.
        self.ends_2 = np.array([positive.min(), 1.0])
        self.free = np.array(form.free)
        with np.errstate(divide="ignore"):
            self.given_K = np.log([form.given.get(one, 1.0) for one in range(len(PARAMETERS))])
        #: Of each free parameter: whether it has a range, and the logarithm of that.
        self.boxed = np.array([one in RANGE for one in form.free])
        ranges = [np.log(RANGE.get(one, (1, 1))) for one in form.free]
        self.least = np.array([low for low, _ in ranges])
        self.span = np.array([high - low for low, high in ranges])

    def objective(self, point_K: F64) -> tuple[float, F64]:
        log_K, slope_KK = self.logs(point_K)
        loss_P, slope_PK = self.losses(log_K)
        # a loss of zero has no logarithm, and a search may step that far
        safe_P = np.maximum(loss_P, 1e-12)
        value, pull_P = huber(np.log(safe_P) - self.log_y_P)
        gradient_K = (pull_P / safe_P) @ slope_PK @ slope_KK
        # in units of the Huber loss's turning point: the search's tolerances are absolute below 1
        return value / HUBER_DELTA**2, gradient_K[self.free] / HUBER_DELTA**2

    def effects(self, point_K: F64) -> F64:
        """Return the slope of each log loss in each unbounded parameter: float64[P, K]."""
        log_K, slope_KK = self.logs(point_K)
        loss_P, slope_PK = self.losses(log_K)
        return np.asarray((slope_PK @ slope_KK)[:, self.free] / loss_P[:, None], np.float64)

    def from_near(self, point_K: F64) -> F64:
        """Return the optimum that is found from a point near it.

        The search goes in the directions in which the losses at that point depend on the
        parameters, each as long as its effect on them is strong, which takes far fewer steps.
        """
        effect_PK = self.effects(point_K)
        _, strength_K, direction_KK = np.linalg.svd(effect_PK, full_matrices=False)
        floor = LEAST_STRENGTH_FRAC * strength_K[0]
        step_KK = direction_KK.T * (HUBER_DELTA / np.maximum(strength_K, floor))

        def objective(step_K: F64) -> tuple[float, F64]:
            value, gradient_K = self.objective(point_K + step_KK @ step_K)
            return value, gradient_K @ step_KK

        start_SK = np.zeros((1, len(strength_K)))
        ends_SK, _ = minimise(objective, start_SK, steps=REFIT_STEPS)
        return np.asarray(point_K + step_KK @ ends_SK[0], np.float64)

    def logs(self, point_K: F64) -> tuple[F64, F64]:
        """Return the logarithm of each parameter, and its slope in each unbounded one."""
        log_K, slope_KK = self.given_K.copy(), np.zeros((len(PARAMETERS),) * 2)
        value_K = np.minimum(np.maximum(point_K, -40.0), 40.0)
        part_K = 1 / (1 + np.exp(-value_K))
        log_K[self.free] = np.where(self.boxed, self.least + self.span * part_K, value_K)
        slope_KK[self.free, self.free] = np.where(
            self.boxed, self.span * part_K * (1 - part_K), 1.0
        )
        if B in self.form.free:
            self._bound(log_K, slope_KK)
        return log_K, slope_KK

    def _bound(self, log_K: F64, slope_KK: F64) -> None:
        """Turn what is free of B into its share of the limit below which the loss falls in r.

        The slope of the loss in r is eta B r^(eta-1) / D^beta - gamma C / (r + epsilon)^(gamma+1).
        The B at which it is zero has its least value over an interval of r at one of its ends.
        """
        if not np.isfinite(log_K[ETA]):
            return
        eta, epsilon, gamma = np.exp(log_K[[ETA, EPSILON, GAMMA]])
        limit_2 = (1 - eta) * np.log(self.ends_2) - (gamma + 1) * np.log(self.ends_2 + epsilon)
        r = self.ends_2[int(limit_2.argmin())]
        limit = log_K[C] + log_K[GAMMA] - log_K[ETA] + limit_2.min()
        value = log_K[B]
        log_K[B] = limit - np.logaddexp(0.0, -value)
        free_KK = slope_KK.copy()
        slope_KK[B] = (
            free_KK[C]
            + (1 - gamma * np.log(r + epsilon)) * free_KK[GAMMA]
            - (1 + eta * np.log(r)) * free_KK[ETA]
            - (gamma + 1) * epsilon / (r + epsilon) * free_KK[EPSILON]
        )
        slope_KK[B, B] = 1 / (1 + np.exp(value))

    def losses(self, log_K: F64) -> tuple[F64, F64]:
        """Return the loss at each point, and its slope in the logarithm of each parameter."""
        eta = np.exp(log_K[ETA])
        alpha, beta, epsilon, gamma = np.exp(log_K[[ALPHA, BETA, EPSILON, GAMMA]])
        shifted_P = self.points.share_P + epsilon
        size_P = np.exp(log_K[A] - alpha * self.log_n_P)
        power_P = eta * self.log_r_P if eta else np.zeros(len(self.points))
        data_P = np.exp(log_K[B] + power_P - beta * self.log_d_P)
        mix_P = np.exp(log_K[C] - gamma * np.log(shifted_P))
        slope_PK = np.zeros((len(self.points), len(PARAMETERS)))
        slope_PK[:, E] = np.exp(log_K[E])
        slope_PK[:, A] = size_P
        slope_PK[:, ALPHA] = -alpha * self.log_n_P * size_P
        slope_PK[:, B] = data_P
        slope_PK[:, ETA] = np.where(data_P > 0, power_P, 0.0) * data_P
        slope_PK[:, BETA] = -beta * self.log_d_P * data_P
        slope_PK[:, C] = mix_P
        slope_PK[:, EPSILON] = -gamma * epsilon / shifted_P * mix_P
        slope_PK[:, GAMMA] = -gamma * np.log(shifted_P) * mix_P
        return slope_PK[:, E] + size_P + data_P + mix_P, slope_PK

    def starts(self, count: int, seed: int) -> F64:
        """Return the best of many random sets of exponents, each with its best coefficients."""
        generator = np.random.default_rng(seed)
        drawn = [self._start(generator) for _ in range(DRAWN_STARTS)]
        drawn.sort(key=lambda point_K: self.objective(point_K)[0])
        return np.array(drawn[:count])

    def _start(self, generator: np.random.Generator) -> F64:
        log_K = self.given_K.copy()
        place = {one: float(generator.uniform(0.05, 0.95)) for one in RANGE}
        for one in set(RANGE) & set(self.form.free):
            low, high = np.log(RANGE[one])
            log_K[one] = low + (high - low) * place[one]
        weight = self._coefficients(log_K)
        point = {one: np.log(place[one] / (1 - place[one])) for one in RANGE}
        for one in (E, A, C):
            point[one] = np.log(max(weight[one], 1e-3))
        point[B] = np.log(max(weight[B], 1e-3))
        if np.isfinite(log_K[ETA]) and B in self.form.free:
            log_K[C] = point[C]
            point[B] = self._share_of_limit(log_K, max(weight[B], 1e-3))
        return np.array([point[one] for one in self.form.free])

    def _share_of_limit(self, log_K: F64, wanted: float) -> float:
        """Return the unbounded parameter for which B is as wanted, or near its limit."""
        at_half_K = log_K.copy()
        at_half_K[B] = 0.0
        self._bound(at_half_K, np.zeros((len(PARAMETERS),) * 2))
        part = float(np.clip(wanted / (2 * np.exp(at_half_K[B])), 0.02, 0.98))
        return float(np.log(part / (1 - part)))

    def _coefficients(self, log_K: F64) -> dict[int, float]:
        """Return the coefficients of least squares, none below zero, for given exponents."""
        unit_K = log_K.copy()
        unit_K[[E, A, B, C]] = 0.0
        _, slope_PK = self.losses(unit_K)
        present = [one for one in (E, A, B, C) if one in self.form.free]
        scaled_PK = slope_PK[:, present] / self.points.loss_P[:, None]
        found_K, _ = scipy_optimize().nnls(scaled_PK, np.ones(len(self.points)))
        return {E: 0.0, A: 0.0, B: 0.0, C: 0.0, **dict(zip(present, found_K, strict=True))}

    def parameters(self, point_K: F64) -> dict[str, float]:
        """Return the law's parameters, for sizes and tokens as they are."""
        value = dict(zip(PARAMETERS, np.exp(self.logs(point_K)[0]).tolist(), strict=True))
        value["A"] *= self.size ** value["alpha"]
        value["B"] *= self.tokens ** value["beta"]
        return value

    def loose(self, point_K: F64) -> tuple[str, ...]:
        """Name the parameters in directions along which the data allow a factor of e or more."""
        log_K, _ = self.logs(point_K)
        loss_P, slope_PK = self.losses(log_K)
        spread = float(np.std(np.log(np.maximum(loss_P, 1e-12)) - self.log_y_P))
        sensitivity_PK = slope_PK[:, self.free] / loss_P[:, None]
        _, strength_K, direction_KK = np.linalg.svd(sensitivity_PK, full_matrices=False)
        weak_K = strength_K < max(spread, 1e-9)
        named = (np.abs(direction_KK[weak_K]) > 0.3).any(axis=0)
        return tuple(PARAMETERS[one] for one in self.free[np.flatnonzero(named)])
