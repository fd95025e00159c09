from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import RecipeError
from curation.mix.form import LEAST_SHARES, A, B, Points, choose_form
from curation.mix.laws import MixtureLaw, extrapolation, fit_mixture_law, held_out
from curation.mix.surface import Surface

SIZES = (1e6, 4e6, 1.6e7)
TOKENS = (1e6, 4e6, 1.6e7)
SHARES = (0.1, 0.3, 0.6, 1.0)
TRUE = MixtureLaw(
    E=1.2, A=400.0, alpha=0.34, B=20.0, eta=0.1, beta=0.25, C=0.25, epsilon=0.05, gamma=0.4
)
#: Loss on general text by share of chemistry: Que et al. 2024, arXiv:2406.01375, table 5.
DCPT_SHARE = np.array([0.9, 0.91, 0.92, 0.924, 0.93, 0.94, 1.0])
DCPT_GENERAL = np.array([2.9052, 2.9193, 2.9376, 2.9445, 2.9644, 2.9848, 3.4667])


def points(
    law: MixtureLaw = TRUE,
    *,
    sizes: tuple[float, ...] = SIZES,
    tokens: tuple[float, ...] = TOKENS,
    shares: tuple[float, ...] = SHARES,
    noise: float = 0.0,
    repetitions: int = 1,
) -> Points:
    grid = np.meshgrid(sizes, tokens, shares, np.arange(repetitions), indexing="ij")
    n, d, r, repetition = (one.ravel() for one in grid)
    draw = np.random.default_rng(7).normal(0, noise, len(n))
    run = np.unique(np.column_stack([n, r, repetition]), axis=0, return_inverse=True)[1]
    return Points(n, d, r, law.losses(n, d, r) * np.exp(draw), run.reshape(-1))


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_the_losses_of_a_known_law_are_found_again(noise: float) -> None:
    """Every share that is recommended rests on this fit."""
    fit = fit_mixture_law(points(noise=noise, repetitions=3 if noise else 1))
    assert fit.form.notes == ()
    inside = points(sizes=(2e6, 8e6), tokens=(2e6, 8e6), shares=(0.2, 0.8))
    beyond = points(sizes=(3e7,), tokens=(3e7,), shares=(0.2, 0.8))
    np.testing.assert_allclose(fit.predicted(inside), inside.loss_P, rtol=max(noise, 1e-3))
    np.testing.assert_allclose(fit.predicted(beyond), beyond.loss_P, rtol=0.01)
    assert fit.rmse < 1.2 * noise * 5 + 2e-3


@pytest.mark.slow
def test_outliers_bend_the_law_little() -> None:
    """One diverged run would change what all the others say."""
    clean = points(sizes=(1e6,))
    loss_P = clean.loss_P.copy()
    loss_P[3] *= 1.2
    fit = fit_mixture_law(replace(clean, loss_P=loss_P))
    others = np.arange(len(loss_P)) != 3
    np.testing.assert_allclose(fit.predicted(clean)[others], clean.loss_P[others], rtol=5e-3)


laws = st.builds(
    MixtureLaw,
    E=st.floats(0.5, 3),
    A=st.floats(0, 500),
    alpha=st.floats(0.1, 0.5),
    B=st.floats(0, 100),
    eta=st.floats(0, 2),
    beta=st.floats(0.1, 0.5),
    C=st.floats(0, 0.5),
    epsilon=st.floats(0.01, 0.3),
    gamma=st.floats(0.1, 1.5),
)


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(law=laws, noise=st.sampled_from([0.0, 5e-3]), sizes=st.sampled_from([SIZES, SIZES[:1]]))
def test_a_fitted_loss_falls_with_size_tokens_and_share(
    law: MixtureLaw, noise: float, sizes: tuple[float, ...]
) -> None:
    """More of the domain's text would be said to harm the domain, whatever the runs were."""
    found = fit_mixture_law(points(law, sizes=sizes, noise=noise), starts=2).law
    low = points(sizes=SIZES, shares=(0.1, 0.15, 0.3, 0.6, 0.9), tokens=(1e6, 1e7, 1e9))
    at = found.losses(low.parameters_P, low.tokens_P, low.share_P)
    slack = 1e-9
    assert (found.losses(2 * low.parameters_P, low.tokens_P, low.share_P) <= at + slack).all()
    assert (found.losses(low.parameters_P, 2 * low.tokens_P, low.share_P) <= at + slack).all()
    assert (found.losses(low.parameters_P, low.tokens_P, low.share_P + 0.01) <= at + slack).all()
    assert (at > 0).all()


def test_the_gradient_is_that_of_the_objective() -> None:
    """A search with a wrong slope stops early, and the law is that of its start."""
    surface = Surface(points(noise=1e-2), choose_form(points()))
    anywhere_SK = np.random.default_rng(3).normal(0, 2, (40, len(surface.free)))
    for start_K in [*surface.starts(5, seed=3), *anywhere_SK]:
        _, gradient_K = surface.objective(start_K)
        step = 1e-5
        for at in range(len(start_K)):
            move_K = np.eye(len(start_K))[at] * step
            rise = surface.objective(start_K + move_K)[0] - surface.objective(start_K - move_K)[0]
            np.testing.assert_allclose(
                gradient_K[at], rise / (2 * step), rtol=2e-3, atol=1e-3 * np.abs(gradient_K).max()
            )


def test_one_size_and_one_token_count_leave_out_what_they_cannot_show() -> None:
    """A term would be given a value that no run has anything to say about."""
    one = points(sizes=(1e6,), tokens=(4e6,), shares=(0.1, 0.2, 0.4, 0.7, 1.0))
    fit = fit_mixture_law(one)
    assert (fit.law.A, fit.law.B) == (0, 0)
    assert len(fit.form.notes) == 2
    assert "A / N^alpha is dropped" in fit.form.notes[0]
    assert "B r^eta / D^beta is dropped" in fit.form.notes[1]
    np.testing.assert_allclose(fit.predicted(one), one.loss_P, rtol=1e-3)


@pytest.mark.parametrize(
    ("sizes", "tokens", "shares", "expected"),
    [
        (SIZES[:2], TOKENS, SHARES, {"alpha is fixed"}),
        (SIZES, TOKENS[:2], SHARES, {"beta is fixed"}),
        (SIZES, TOKENS, SHARES[:3], {"epsilon is fixed"}),
        (SIZES[:1], TOKENS[:1], SHARES[:3], {"A / N", "B r^eta", "epsilon", "gamma is fixed"}),
    ],
)
def test_the_form_names_what_is_fixed(
    sizes: tuple[float, ...],
    tokens: tuple[float, ...],
    shares: tuple[float, ...],
    expected: set[str],
) -> None:
    """An exponent that was assumed would be read as one that was measured."""
    form = choose_form(points(sizes=sizes, tokens=tokens, shares=shares))
    assert len(form.notes) == len(expected)
    for start in expected:
        assert any(note.startswith(start) for note in form.notes), (start, form.notes)


def test_sizes_that_rise_with_tokens_cannot_be_told_from_them() -> None:
    """At twenty tokens per parameter a law would promise gains to one that the other gave."""
    every = points(tokens=tuple(20 * one for one in SIZES))
    at = every.take(every.tokens_P == 20 * every.parameters_P)
    form = choose_form(at)
    assert A not in form.free
    assert B in form.free
    assert any("rise together" in note for note in form.notes)


def test_without_a_share_at_two_token_counts_there_is_no_eta() -> None:
    """How the share changes what tokens do would be read from runs that never show it."""
    every = points(sizes=(1e6,), shares=(0.1, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0))
    turn_P = np.round(every.share_P * 10).astype(int) % 3
    at = every.take(every.tokens_P == np.array(TOKENS)[turn_P])
    assert any(note.startswith("eta is dropped") for note in choose_form(at).notes)


def test_too_few_shares_are_an_error_that_says_how_many_it_takes() -> None:
    """Two ratios would give a best ratio."""
    with pytest.raises(RecipeError, match=f"{LEAST_SHARES} or more shares") as error:
        choose_form(points(shares=(0.5, 1.0)))
    assert "[0.5, 1.0]" in str(error.value)


def test_too_few_settings_are_an_error_that_says_how_many_it_takes() -> None:
    """Four coefficients would be read off three runs."""
    every = points(sizes=SIZES[:2], tokens=TOKENS[:2], shares=(0.2, 0.6, 1.0))
    chosen = [(SIZES[0], TOKENS[0], 0.2), (SIZES[0], TOKENS[1], 0.6), (SIZES[1], TOKENS[0], 1.0)]
    keys = zip(every.parameters_P, every.tokens_P, every.share_P, strict=True)
    at = every.take(np.array([key in chosen for key in keys]))
    with pytest.raises(RecipeError, match="too few settings") as error:
        choose_form(at)
    assert "3 settings for the parameters E, A, B, C" in str(error.value)
    assert "at least 5 settings" in str(error.value)


def test_a_share_that_changes_with_tokens_only_is_an_error() -> None:
    """What more tokens did would be credited to the share."""
    shares = (0.2, 0.4, 0.6, 0.8, 1.0, 0.1)
    tokens = tuple(float(np.exp(10 * share)) for share in shares)
    every = points(sizes=(1e6,), tokens=tokens, shares=shares)
    at = every.take(np.isclose(np.log(every.tokens_P), 10 * every.share_P))
    assert len(at) == len(shares)
    with pytest.raises(RecipeError, match="only together"):
        choose_form(at)


def test_a_term_that_the_losses_do_not_show_is_dropped() -> None:
    """A coefficient of noise would be multiplied by ten times the tokens."""
    fit = fit_mixture_law(points(replace(TRUE, B=0.0)))
    assert fit.law.B == 0
    assert any("the losses do not show it" in note for note in fit.form.notes)
    assert fit.law.A > 0


@pytest.mark.slow
def test_held_out_settings_are_predicted_by_fits_that_have_not_seen_them() -> None:
    """The error that everybody is told would be that of the fit on its own points."""
    data = points(sizes=(1e6,), noise=2e-3)
    fit = fit_mixture_law(data)
    error = held_out(fit)
    assert error.settings == len(data)
    assert error.law > fit.rmse
    assert error.law < error.line < error.mean
    assert not error.worse_than


def test_a_strange_setting_spoils_the_error_when_it_is_held_out() -> None:
    """A setting would count as predicted because the fit had been shown it."""
    data = points(sizes=(1e6,))
    loss_P = data.loss_P.copy()
    loss_P[5] += 1.0
    error = held_out(fit_mixture_law(replace(data, loss_P=loss_P)))
    assert error.law >= 1.0 / np.sqrt(len(data)) * 0.9


@pytest.mark.slow
def test_losses_that_are_a_straight_line_are_said_to_be_one() -> None:
    """A law would be trusted where drawing a line through the runs does better."""
    data = points(sizes=(1e6,))
    line_P = 3 - 0.1 * np.log(data.tokens_P / 1e6) + 0.4 * data.share_P
    fit = fit_mixture_law(replace(data, loss_P=line_P))
    assert held_out(fit).worse_than == "a straight line"
    assert not fit.sees_share()
    assert fit_mixture_law(data).sees_share()


@pytest.mark.slow
def test_the_most_tokens_are_predicted_from_fewer() -> None:
    """Interpolation between runs would stand for what the law says of longer ones."""
    data = points(sizes=(1e6,), tokens=(1e6, 2e6, 4e6, 8e6, 1.6e7))
    error = extrapolation(fit_mixture_law(data))
    assert error is not None
    assert error.settings == len(SHARES)
    assert error.law < 0.02 < error.line
    assert extrapolation(fit_mixture_law(points(sizes=(1e6,), tokens=(1e6, 2e6)))) is None
    spoiled = replace(data, loss_P=np.where(data.tokens_P > 1e7, data.loss_P + 1, data.loss_P))
    worse = extrapolation(fit_mixture_law(spoiled))
    assert worse is not None
    assert worse.law > 0.9


def test_a_refit_to_other_losses_follows_them() -> None:
    """Every draw of the bootstrap would return the law of the data."""
    data = points(sizes=(1e6,))
    other = points(replace(TRUE, C=0.3, E=1.3), sizes=(1e6,))
    again = fit_mixture_law(data).refitted(other.loss_P)
    predicted_P = again.losses(other.parameters_P, other.tokens_P, other.share_P)
    np.testing.assert_allclose(predicted_P, other.loss_P, rtol=2e-3)


def test_the_published_general_losses_are_fitted_within_half_a_percent() -> None:
    """The reduced form would not follow the rise of general loss where replay nearly ends."""
    one_P = np.ones(len(DCPT_SHARE))
    table = Points(
        1.8e9 * one_P, 1e10 * one_P, 1 - DCPT_SHARE, DCPT_GENERAL, np.arange(len(DCPT_SHARE))
    )
    fit = fit_mixture_law(table)
    assert np.abs(fit.predicted(table) - DCPT_GENERAL).max() < 0.005
    assert set(fit.loose) <= {"E", "C", "epsilon", "gamma"}


def test_the_same_points_give_the_same_law() -> None:
    """Two people with one results table would be told two shares."""
    data = points(sizes=(1e6,), noise=1e-3)
    assert fit_mixture_law(data).law == fit_mixture_law(data).law


def test_residuals_are_what_a_fit_without_the_run_leaves() -> None:
    """Three runs at a share would look closer to the law than a fourth would be to it."""
    data = points(sizes=(1e6,), tokens=(4e6,), repetitions=3, noise=2e-3)
    fit = fit_mixture_law(data)
    near = np.log(data.loss_P / fit.predicted(data))
    # three parameters for four shares: nearly each share has its own mean, a third of it by a run
    assert fit.residuals().std() > 1.2 * near.std()
    assert fit.residuals().std() < 2.0 * near.std()


def test_a_law_prints_the_terms_that_it_has() -> None:
    """A reader would take an absent term for one that was measured as zero."""
    assert str(TRUE).count("+") == 4
    assert str(replace(TRUE, A=0.0, B=0.0)) == "L = 1.2 + 0.25 / (r + 0.05)^0.4"
