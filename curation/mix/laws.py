"""The loss of continued pretraining as a law of model size, tokens and share: the D-CPT law.

    L(N, D, r) = E + A / N^alpha + B r^eta / D^beta + C / (r + epsilon)^gamma

N is parameters, D tokens, and r the share of the kind of text whose loss is modelled: the domain's
share for the loss on domain text, one minus that for the loss on general text.

What the data cannot determine is taken out before a fit (see ``form.py``).

Legend of shapes: P points (one run at one token count), S starts or settings, K parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from curation.errors import RecipeError
from curation.mix.fitting import F64, HeldOutError, line_prediction, minimise
from curation.mix.form import (
    ALPHA,
    BETA,
    EPSILON,
    GAMMA,
    GIVEN,
    PARAMETERS,
    A,
    B,
    Form,
    Points,
    choose_form,
)
from curation.mix.surface import LEAST_STRENGTH_FRAC, Surface

#: Steps of the searches from all starts, how many of the best go on, and how often.
FIRST_STEPS = 150
POLISHED_ENDS = 3
POLISHING_ROUNDS = 3
#: A run whose residuals a fit takes up further than this is treated as if it left so much.
LEAST_LEFT_FRAC = 0.05
#: A term that moves less than this share of the loss over all the data is not seen in them.
LEAST_SEEN_FRAC = 1e-4


@dataclass(frozen=True, kw_only=True)
class MixtureLaw:
    """The D-CPT law; a term with a coefficient of 0 is absent.

    Source: Que et al., NeurIPS 2024, arXiv:2406.01375. Losses are in the unit that was fitted.
    """

    E: float
    A: float = 0.0
    alpha: float = GIVEN[ALPHA]
    B: float = 0.0
    eta: float = 0.0
    beta: float = GIVEN[BETA]
    C: float
    epsilon: float = GIVEN[EPSILON]
    gamma: float = GIVEN[GAMMA]

    def losses(self, parameters: F64 | float, tokens: F64 | float, share: F64 | float) -> F64:
        """Return the loss; the share is that of the text whose loss it is. Arguments broadcast."""
        size = self.A / np.power(parameters, self.alpha)
        data = self.B * np.power(share, self.eta) / np.power(tokens, self.beta)
        mix = self.C / np.power(share + np.float64(self.epsilon), self.gamma)
        return np.asarray(self.E + size + data + mix, np.float64)

    def __str__(self) -> str:
        terms = [f"{self.E:.4g}"]
        if self.A:
            terms.append(f"{self.A:.4g} / N^{self.alpha:.3g}")
        if self.B:
            power = f" r^{self.eta:.3g}" if self.eta else ""
            terms.append(f"{self.B:.4g}{power} / D^{self.beta:.3g}")
        if self.C:
            terms.append(f"{self.C:.4g} / (r + {self.epsilon:.3g})^{self.gamma:.3g}")
        return "L = " + " + ".join(terms)


@dataclass(frozen=True)
class MixtureFit:
    """A law fitted to points.

    law     the law
    points  what it was fitted to
    form    which of its parameters were fitted, and why not all
    loose   parameters that these data do not tell apart: read the losses, not their values
    rmse    root mean square error on the points themselves, in their unit
    end_K   the optimum in the unbounded parameters, from which like fits start
    """

    law: MixtureLaw
    points: Points
    form: Form
    loose: tuple[str, ...]
    rmse: float
    end_K: F64

    def predicted(self, points: Points) -> F64:
        """Return the law's loss at each point: float64[P]."""
        return self.law.losses(points.parameters_P, points.tokens_P, points.share_P)

    def sees_share(self) -> bool:
        """Whether the loss falls with its text's share by more than what the law leaves over."""
        share_P = self.points.share_P
        size, tokens = self.points.parameters_P.mean(), self.points.tokens_P.mean()
        ends_2 = self.law.losses(size, tokens, np.array([share_P.min(), share_P.max()]))
        unseen = LEAST_SEEN_FRAC * float(np.median(self.points.loss_P))
        return float(ends_2[0] - ends_2[1]) > max(unseen, self.rmse)

    def residuals(self) -> F64:
        """Return log loss minus the law's, made larger by what the fit took up of it: float64[P].

        A fit bends to its points, the more the fewer runs there are near one. The residuals of a
        run become what they are against a fit without that run (the CR3 estimate of variance; Bell
        and McCaffrey 2002, "Bias reduction in standard errors for linear regression with
        multi-stage samples"), so that draws made of them are as far apart as new runs would be.
        """
        points = self.points
        rest_P = np.log(points.loss_P / self.predicted(points))
        effect_PK = Surface(points, self.form).effects(self.end_K)
        base_PK, strength_K, _ = np.linalg.svd(effect_PK, full_matrices=False)
        base_PK = base_PK[:, strength_K > LEAST_STRENGTH_FRAC * strength_K[0]]
        for run in np.unique(points.run_P):
            own = np.flatnonzero(points.run_P == run)
            left_PP = np.eye(len(own)) - base_PK[own] @ base_PK[own].T
            part_K, turn_PK = np.linalg.eigh(left_PP)
            part_K = np.maximum(part_K, LEAST_LEFT_FRAC)
            rest_P[own] = turn_PK @ ((turn_PK.T @ rest_P[own]) / part_K)
        return rest_P

    def refitted(self, loss_P: F64) -> MixtureLaw:
        """Return the law fitted to other losses of the same points, from where this one ended."""
        surface = Surface(replace(self.points, loss_P=loss_P), self.form)
        return MixtureLaw(**surface.parameters(surface.from_near(self.end_K)))


def fit_mixture_law(points: Points, *, starts: int = 12, seed: int = 0) -> MixtureFit:
    """Fit the D-CPT law by Huber loss of log losses and L-BFGS from many starts.

    The parameters stay in their ranges by the way they are written: coefficients are exponentials,
    exponents lie on a logistic curve between two bounds, and B is a share of the largest value at
    which the loss still falls with the share everywhere between the data's smallest share and 1, at
    their smallest token count and above.

    Raises RecipeError where the points cannot determine a law of the share.
    """
    form = choose_form(points)
    fit = _fitted(points, form, starts, seed)
    for coefficient, name in ((A, "A / N^alpha"), (B, "B r^eta / D^beta")):
        if coefficient in form.free and not _seen(fit, coefficient):
            form = form.without_term(coefficient, f"{name} is dropped: the losses do not show it")
    return fit if form is fit.form else _fitted(points, form, starts, seed)


def held_out(fit: MixtureFit) -> HeldOutError:
    """Return the error at each setting of fits to all the others, beside simpler descriptions."""
    setting_P = fit.points.settings()
    settings = [setting_P != one for one in range(int(setting_P.max()) + 1)]
    errors_S3 = [
        _errors(_fitted_from(fit, fit.points.take(kept_P)), fit.points.take(~kept_P))
        for kept_P in settings
    ]
    return _summary(np.array(errors_S3))


def extrapolation(fit: MixtureFit) -> HeldOutError | None:
    """Return the error at the largest token count of a fit to all the others.

    None where fewer than two token counts are left, or what is left determines no law.
    """
    points = fit.points
    kept_P = points.tokens_P < points.tokens_P.max()
    if len(np.unique(points.tokens_P[kept_P])) < 2:
        return None
    try:
        below = fit_mixture_law(points.take(kept_P))
    except RecipeError:
        return None
    last = points.take(~kept_P)
    setting_P = last.settings()
    one_by_one = (last.take(setting_P == one) for one in range(int(setting_P.max()) + 1))
    return _summary(np.array([_errors(below, one) for one in one_by_one]))


def _errors(fit: MixtureFit, held: Points) -> tuple[float, float, float]:
    """Return the errors of law, line and mean at the mean of one setting."""
    truth = float(held.loss_P.mean())
    line = line_prediction(fit.points.plain(), fit.points.loss_P, held.plain()[:1])
    law = fit.predicted(held)[0]
    return float(law) - truth, float(line[0]) - truth, float(fit.points.loss_P.mean()) - truth


def _summary(errors_S3: F64) -> HeldOutError:
    law, line, mean = np.sqrt((errors_S3**2).mean(axis=0))
    return HeldOutError(float(law), float(line), float(mean), len(errors_S3))


def _fitted(points: Points, form: Form, starts: int, seed: int) -> MixtureFit:
    surface = Surface(points, form)
    ends_SK, _ = minimise(surface.objective, surface.starts(starts, seed), steps=FIRST_STEPS)
    polished_SK = ends_SK[:POLISHED_ENDS]
    for _ in range(POLISHING_ROUNDS):
        polished_SK = np.array([surface.from_near(end_K) for end_K in polished_SK])
    best = min(range(len(polished_SK)), key=lambda at: surface.objective(polished_SK[at])[0])
    return _finished(surface, polished_SK[best])


def _fitted_from(fit: MixtureFit, points: Points) -> MixtureFit:
    surface = Surface(points, fit.form)
    return _finished(surface, surface.from_near(fit.end_K))


def _finished(surface: Surface, end_K: F64) -> MixtureFit:
    law = MixtureLaw(**surface.parameters(end_K))
    points = surface.points
    rest_P = law.losses(points.parameters_P, points.tokens_P, points.share_P) - points.loss_P
    rmse = float(np.sqrt((rest_P**2).mean()))
    return MixtureFit(law, points, surface.form, surface.loose(end_K), rmse, end_K)


def _seen(fit: MixtureFit, coefficient: int) -> bool:
    """Whether a term moves at all over the data."""
    bare = {"A": 0.0, "B": 0.0, "C": 0.0, "E": 0.0}
    name = PARAMETERS[coefficient]
    alone = replace(fit.law, **{**bare, name: getattr(fit.law, name)})
    points = fit.points
    term_P = alone.losses(points.parameters_P, points.tokens_P, points.share_P)
    return float(np.ptp(term_P)) > LEAST_SEEN_FRAC * float(np.median(points.loss_P))
