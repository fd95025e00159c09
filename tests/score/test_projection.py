from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import RecipeError
from curation.score.projection import l2, linear, project, token_caps
from tests.oracles import correlation as oracle

CAPS, ESTIMATES = np.array([0.2, 0.5, 0.9, 0.4, 1.0]), np.array([-0.3, 4, 1, 0.9, 0])
KEY = np.arange(5, dtype=np.uint64)


def test_the_published_vectors_come_out() -> None:
    """These are the examples by which the two projections were defined."""
    for key in (None, KEY):
        assert linear(ESTIMATES, CAPS, key=key) == pytest.approx([0, 0.5, 0.5, 0, 0])
    assert l2(ESTIMATES, CAPS) == pytest.approx([0, 0.5, 0.3, 0.2, 0])


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 30), st.floats(1, 30), st.floats(-3, 3), st.integers(0, 9999))
def test_projections_are_the_best_that_the_caps_allow(
    domains: int, room: float, scale: float, seed: int
) -> None:
    """A weight above its cap repeats a domain; weights that do not add up to 1 are no mixture."""
    rng = np.random.default_rng(seed)
    estimates = rng.normal(size=domains) * 10**scale
    caps = rng.uniform(1e-6, 1, domains) ** 3
    caps *= room / caps.sum()
    key = rng.permutation(domains).astype(np.uint64)
    for found, wanted in (
        (linear(estimates, caps, key=key), oracle.linear(estimates, caps)),
        (l2(estimates, caps), oracle.l2(estimates, caps)),
    ):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9)
        assert found.sum() == pytest.approx(1, abs=1e-9)
        assert (found >= -1e-12).all()
        assert (found <= caps + 1e-9).all()


def test_equal_estimates_are_told_apart_by_the_key_and_not_by_their_place() -> None:
    """Sorting the table of domains would change which of them are trained on."""
    estimates, caps = np.array([1.0, 1.0, 1.0, 0.5]), np.full(4, 0.5)
    key = np.array([3, 1, 2, 0], dtype=np.uint64)
    assert linear(estimates, caps, key=key).tolist() == [0, 0.5, 0.5, 0]
    order = [2, 3, 0, 1]
    again = linear(estimates[order], caps[order], key=key[order])
    assert again.tolist() == [0.5, 0, 0, 0.5]


def test_the_published_projections_say_the_same() -> None:
    """Its mixtures could not be made again with ours."""
    package = pytest.importorskip("perplexity_correlations.projection")
    rng = np.random.default_rng(0)
    estimates, caps = rng.normal(size=2000).round(2), rng.uniform(1, 2, 2000) / 400
    assert (linear(estimates, caps) == package.linear(estimates, caps)).all()
    assert np.abs(l2(estimates, caps) - package.l2(estimates, caps)).max() <= 1e-12


def test_caps_are_shares_of_tokens_over_what_is_kept() -> None:
    """A domain could be repeated, or a tenth of it trained on only."""
    assert token_caps([1, 3], 0.5).tolist() == [0.5, 1.5]
    assert linear(np.array([1.0, 2, 3]), token_caps([1, 1, 1], 1.0), key=KEY[:3]) == pytest.approx(
        [1 / 3] * 3
    )
    for keep in (0, 1.1, -1, float("nan")):
        with pytest.raises(RecipeError, match="share to keep"):
            token_caps([1], keep)
    for tokens in ([1, 0], [-1, 2], [float("nan"), 1]):
        with pytest.raises(RecipeError, match="tokens above 0"):
            token_caps(tokens, 0.1)


def test_what_allows_no_distribution_is_refused() -> None:
    """The published package raises ValueError here; weights of another sum would come out."""
    for projection in ("linear", "l2"):
        with pytest.raises(RecipeError, match="must be above 0"):
            project(ESTIMATES, CAPS * [1, 1, 0, 1, 1], projection)  # type: ignore[arg-type]
        with pytest.raises(RecipeError, match="together they are below 1"):
            project(ESTIMATES, CAPS / 4, projection)  # type: ignore[arg-type]
        with pytest.raises(RecipeError, match="for each domain"):
            project(ESTIMATES, CAPS[:3], projection)  # type: ignore[arg-type]
        with pytest.raises(RecipeError, match="no number"):
            project(ESTIMATES * np.nan, CAPS, projection)  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="no projection 'l1'"):
        project(ESTIMATES, CAPS, "l1")  # type: ignore[arg-type]
