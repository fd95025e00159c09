"""What of the D-CPT law a set of runs can determine.

Nine parameters are more than most experiments can tell apart. What the data cannot determine is
taken out or fixed before anything is fitted, and the form says so: with one model size the term of
size is a part of E, with two token counts the exponent of tokens is not seen, and so on.

Legend of shapes: P points (one run at one token count), S settings, K parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from curation.errors import RecipeError
from curation.mix.fitting import F64, I64

PARAMETERS = ("E", "A", "alpha", "B", "eta", "beta", "C", "epsilon", "gamma")
E, A, ALPHA, B, ETA, BETA, C, EPSILON, GAMMA = range(len(PARAMETERS))
#: Between what the exponents and the shift of the share lie; their logarithms are bounded.
RANGE = {
    ALPHA: (0.02, 1.5),
    ETA: (0.01, 4.0),
    BETA: (0.02, 1.5),
    EPSILON: (1e-3, 1),
    GAMMA: (0.02, 4),
}
#: What is taken where the data cannot say. The exponents of size and tokens are those of Hoffmann
#: et al. 2022, arXiv:2203.15556, equation 10. Gamma and epsilon are our choice: in published tables
#: domain loss is nearly logarithmic in the share, general loss nearly goes with 1 / (r + 0.04).
GIVEN = {ALPHA: 0.34, BETA: 0.28, EPSILON: 0.03, GAMMA: 0.5, ETA: 0.0}
#: Distinct shares that a law of the share needs at least.
LEAST_SHARES = 3


@dataclass(frozen=True)
class Points:
    """Losses of runs, one point for each run and token count.

    parameters_P  float64[P]  above 0
    tokens_P      float64[P]  above 0
    share_P       float64[P]  0..1, of the text whose loss it is
    loss_P        float64[P]  above 0
    run_P         int64[P]    number of the run that a point belongs to
    """

    parameters_P: F64
    tokens_P: F64
    share_P: F64
    loss_P: F64
    run_P: I64

    def __len__(self) -> int:
        return len(self.loss_P)

    def settings(self) -> I64:
        """Return the number of each point's setting (parameters, tokens, share): int64[P]."""
        keys_P3 = np.column_stack([self.parameters_P, self.tokens_P, self.share_P])
        return np.unique(keys_P3, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)

    def plain(self) -> F64:
        """Return log parameters, log tokens and share, which a straight line is over: [P, 3]."""
        return np.column_stack([np.log(self.parameters_P), np.log(self.tokens_P), self.share_P])

    def take(self, chosen_P: Any) -> Points:
        """Return some of the points, by a mask or by their numbers."""
        return Points(
            self.parameters_P[chosen_P],
            self.tokens_P[chosen_P],
            self.share_P[chosen_P],
            self.loss_P[chosen_P],
            self.run_P[chosen_P],
        )


@dataclass(frozen=True)
class Form:
    """What of the law the data can determine.

    free   numbers of the parameters that are fitted
    given  number → value of those that are not; absent terms have a coefficient of 0
    notes  what was taken out or fixed, and why
    """

    free: tuple[int, ...]
    given: dict[int, float]
    notes: tuple[str, ...]

    def without(self, numbers: tuple[int, ...], value: float | None, note: str) -> Form:
        """Return the form with parameters fixed: at a value, or at what is taken by default."""
        fixed = {one: GIVEN[one] if value is None else value for one in numbers}
        free = tuple(one for one in self.free if one not in numbers)
        return Form(free, {**self.given, **fixed}, (*self.notes, note))

    def without_term(self, coefficient: int, note: str) -> Form:
        """Return the form without the term of size or the term of tokens."""
        exponents = (ALPHA,) if coefficient == A else (ETA, BETA)
        rest = self.without(tuple(one for one in exponents if one in self.free), None, note)
        return replace(rest.without((coefficient,), 0.0, note), notes=rest.notes)


def choose_form(points: Points) -> Form:
    """Decide which parameters of the law these points can determine.

    Raises RecipeError where the share cannot be studied: too few shares, or shares that change
    with size or tokens only.
    """
    setting_S = np.unique(points.settings(), return_index=True)[1]
    at = points.take(setting_S)
    sizes, counts, shares = (
        len(np.unique(one)) for one in (at.parameters_P, at.tokens_P, at.share_P)
    )
    if shares < LEAST_SHARES:
        raise RecipeError(
            f"the D-CPT law needs runs at {LEAST_SHARES} or more shares of the domain.",
            found=f"{shares}: {np.unique(at.share_P).tolist()}",
            remedy="add arms that differ in the domain's share only, such as 0.25, 0.5, 0.75, 1",
        )
    form = Form(tuple(range(len(PARAMETERS))), {}, ())
    form = _size_and_tokens(form, at, sizes, counts)
    if shares == LEAST_SHARES:
        form = form.without((EPSILON,), None, f"epsilon is fixed: there are only {shares} shares")
    if B in form.free and not _crossed(at):
        form = form.without(
            (ETA,), 0.0, "eta is dropped: no share was run at two token counts of one size"
        )
    form = _few_settings(form, len(at))
    _check_share_moves_alone(at, form)
    return form


def _size_and_tokens(form: Form, at: Points, sizes: int, counts: int) -> Form:
    if sizes == 1:
        form = form.without_term(
            A, "A / N^alpha is dropped: with one model size it cannot be told from E"
        )
    elif _rank(at.plain()[:, :2]) < min(sizes, 2) + min(counts, 2) - 2:
        form = form.without_term(
            A, "A / N^alpha is dropped: size and tokens rise together and cannot be told apart"
        )
    elif sizes == 2:
        form = form.without((ALPHA,), None, "alpha is fixed: two model sizes do not show it")
    if counts == 1:
        return form.without_term(
            B, "B r^eta / D^beta is dropped: with one token count it cannot be told from the rest"
        )
    if counts == 2:
        form = form.without((BETA,), None, "beta is fixed: two token counts do not show it")
    return form


def _few_settings(form: Form, settings: int) -> Form:
    """Fix parameters until there are more settings than parameters."""
    for one in (EPSILON, ETA, BETA, ALPHA, GAMMA):
        if len(form.free) < settings:
            break
        if one in form.free:
            name = PARAMETERS[one]
            form = form.without((one,), None, f"{name} is fixed: {settings} settings are too few")
    if len(form.free) >= settings:
        names = ", ".join(PARAMETERS[one] for one in form.free)
        raise RecipeError(
            "there are too few settings for a law of share, size and tokens.",
            found=f"{settings} settings for the parameters {names}",
            remedy=f"run at least {len(form.free) + 1} settings, or at one size and token count",
        )
    return form


def _check_share_moves_alone(at: Points, form: Form) -> None:
    columns = [column for column, term in ((0, A), (1, B)) if term in form.free]
    varied_SK = at.plain()[:, columns]
    if _rank(np.column_stack([varied_SK, at.share_P])) == _rank(varied_SK):
        raise RecipeError(
            "the share of the domain changes only together with size or tokens.",
            found="every share was run at a size or token count of its own",
            remedy="run several shares at one size and one token count",
        )


def _crossed(at: Points) -> bool:
    """Whether two shares at least were each run at two token counts of one size."""
    places: dict[tuple[float, float], set[float]] = {}
    for size, share, tokens in zip(at.parameters_P, at.share_P, at.tokens_P, strict=True):
        places.setdefault((float(size), float(share)), set()).add(float(tokens))
    return len({share for (_, share), found in places.items() if len(found) > 1}) > 1


def _rank(columns_SK: F64) -> int:
    """Return how many directions the settings are spread in."""
    if not columns_SK.shape[1]:
        return 0
    away_SK = columns_SK - columns_SK.mean(axis=0)
    spread_K = np.abs(away_SK).max(axis=0)
    scaled_SK = away_SK / np.where(spread_K > 0, spread_K, 1.0)
    return int(np.linalg.matrix_rank(scaled_SK, tol=1e-6))
