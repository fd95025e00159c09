from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from curation.errors import RecipeError
from curation.mix.critical import (
    CMR_UNIT_TOKENS,
    CriticalLaw,
    best_share,
    best_size,
    critical_share,
    fit_critical_law,
    loss_curve,
)
from curation.mix.fitting import PowerLaw, TwoPowerLaw
from tests.mix.test_laws import DCPT_GENERAL, DCPT_SHARE, TRUE

#: Loss on chemistry by share of chemistry: Que et al. 2024, arXiv:2406.01375, table 5.
DCPT_DOMAIN = np.array([1.7321, 1.7312, 1.7311, 1.7291, 1.7279, 1.7265, 1.7220])
#: Size → scale, exponent, offset and the critical share at 20 billion tokens.
#: Gu et al. 2024, arXiv:2407.17467, table 5.
CMR_TABLE_5 = {
    "460M": (0.22524761, 0.26944345, -0.48139982, 0.298),
    "940M": (0.7520627, 0.13720245, -1.06581937, 0.349),
    "1.6B": (-2.36384831, -0.15125569, 1.59223649, 0.414),
    "3.1B": (-2.5368197, -0.42071423, 0.84375368, 0.478),
}


@pytest.mark.parametrize("size", list(CMR_TABLE_5))
def test_the_published_critical_laws_give_the_published_shares(size: str) -> None:
    """Tokens would be counted in another unit than the law's, or the law be another."""
    scale, exponent, offset, share = CMR_TABLE_5[size]
    law = CriticalLaw(PowerLaw(scale, exponent, offset))
    assert CMR_UNIT_TOKENS * 100 == 20_000_000_000
    assert law.share(20e9) == pytest.approx(share, abs=5e-4)
    tokens_T = np.array([10, 20, 40, 70, 100]) * CMR_UNIT_TOKENS
    shares_T = np.array([float(law.curve(tokens / CMR_UNIT_TOKENS)) for tokens in tokens_T])
    again = fit_critical_law(tokens_T, shares_T)
    assert float(again.curve(200.0)) == pytest.approx(float(law.curve(200.0)), abs=1e-4)


def test_a_critical_share_is_a_share() -> None:
    """A law that goes on would recommend more than all of the tokens, or fewer than none."""
    law = CriticalLaw(PowerLaw(1.0, 1.0, -0.5))
    assert law.share(10 * CMR_UNIT_TOKENS) == 1
    assert law.share(0.1 * CMR_UNIT_TOKENS) == 0


def test_the_published_table_gives_the_published_optimum() -> None:
    """The best share would break the limit on general loss, or stop short of it."""
    base, limit = 2.8602, 2.9460
    assert base * 1.03 == pytest.approx(limit, abs=5e-5)
    best = best_share(
        lambda share: np.interp(share, DCPT_SHARE, DCPT_DOMAIN),
        lambda share: np.interp(share, DCPT_SHARE, DCPT_GENERAL),
        limit=limit,
        low=0.9,
        high=1.0,
    )
    assert best is not None
    assert best.share == pytest.approx(0.924, abs=1e-3)
    assert best.domain == pytest.approx(1.7291, abs=2e-4)
    assert best.general == pytest.approx(limit, abs=1e-5)
    assert best.general <= limit
    assert best.edge == ""


def test_an_optimum_at_an_end_of_the_range_is_marked() -> None:
    """The edge of what was run would be taken for the best there is."""
    falling = {"domain": lambda share: 1 - share, "general": lambda share: 2 + share}
    assert best_share(**falling, low=0.2, high=0.8).edge == "highest"  # type: ignore[union-attr]
    rising = best_share(lambda share: share, lambda share: share, low=0.2, high=0.8)
    assert rising is not None
    assert (rising.share, rising.edge) == (0.2, "lowest")
    inside = best_share(lambda share: (share - 0.4321) ** 2, falling["general"], low=0.2, high=0.8)
    assert inside is not None
    assert inside.share == pytest.approx(0.4321, abs=1e-6)
    assert inside.edge == ""
    assert best_share(**falling, limit=2.1, low=0.2, high=0.8) is None
    with pytest.raises(RecipeError, match="between two shares"):
        best_share(**falling, low=0.8, high=0.2)


def test_with_limited_text_the_best_share_spends_it_all() -> None:
    """A share that is best without a limit would ask for text that does not exist."""
    use = 1e6
    best = best_share(
        lambda share: TRUE.losses(1e6, use / share, share), np.zeros_like, low=0.05, high=1.0
    )
    assert best is not None
    share_G = np.linspace(0.05, 1, 5001)
    loss_G = TRUE.losses(1e6, use / share_G, share_G)
    assert best.domain == pytest.approx(loss_G.min(), abs=1e-7)
    assert best.share == pytest.approx(share_G[loss_G.argmin()], abs=1e-3)
    assert best.edge == ""


def test_the_best_size_is_that_of_the_closed_form() -> None:
    """A budget would go to a model that is too large for its tokens."""
    flops, share = 6e15, 0.5
    best = best_size(TRUE, flops=flops, share=share, low=1e4, high=1e10)
    ratio = (TRUE.alpha * TRUE.A) / (TRUE.beta * TRUE.B * share**TRUE.eta)
    expected = ratio ** (1 / (TRUE.alpha + TRUE.beta)) * (flops / 6) ** (
        TRUE.beta / (TRUE.alpha + TRUE.beta)
    )
    assert best.parameters == pytest.approx(expected, rel=1e-3)
    assert 6 * best.parameters * best.tokens == pytest.approx(flops)
    assert not best.edge
    assert best_size(TRUE, flops=flops, share=share, low=1e4, high=1e5).edge
    for without in (replace(TRUE, A=0.0), replace(TRUE, B=0.0)):
        with pytest.raises(RecipeError, match="cannot choose a model size"):
            best_size(without, flops=flops, share=share, low=1e4, high=1e10)


def test_the_critical_share_is_where_the_rise_crosses_the_tolerance() -> None:
    """The share would be the nearest one that was run, or one beyond the tolerance."""
    share_S = np.array([1.0, 0.25, 0.5, 0.75])
    rise_S = 0.1 * share_S**2
    found = critical_share(share_S, rise_S, tolerance=0.05)
    assert found.bound == ""
    assert found.share == pytest.approx(np.sqrt(0.5), abs=2e-3)
    straight = critical_share(np.array([0.5, 1.0]), np.array([0.025, 0.1]), tolerance=0.05)
    assert straight.share == pytest.approx(0.5 + 0.5 / 3, abs=1e-3)
    # a rise that turns up steeply: a straight line would say 0.79
    steep_S = 0.06 / (1.05 - share_S) - 0.06 / 0.8
    near = critical_share(share_S, steep_S, tolerance=0.3)
    assert near.share == pytest.approx(1.05 - 0.06 / 0.375, abs=0.06)
    with_zero = critical_share(np.append(share_S, 0.0), np.append(rise_S, -0.01), tolerance=0.05)
    assert with_zero.share == pytest.approx(np.sqrt(0.5), abs=2e-3)


def test_a_critical_share_beyond_what_was_run_is_a_bound() -> None:
    """The largest share of a small experiment would be published as the critical one."""
    share_S, rise_S = np.array([0.25, 0.5]), np.array([0.02, 0.04])
    least = critical_share(share_S, rise_S, tolerance=0.05)
    assert (least.share, least.bound) == (0.5, "at least")
    most = critical_share(share_S, rise_S, tolerance=0.01)
    assert (most.share, most.bound) == (0.25, "below")


def test_a_share_at_which_the_domain_does_not_get_better_is_not_critical() -> None:
    """Training that helps nothing would be called safe, and so recommended."""
    share_S, rise_S = np.array([0.25, 0.5, 0.75]), np.array([0.01, 0.02, 0.03])
    found = critical_share(
        share_S, rise_S, tolerance=0.05, domain_change_S=np.array([-0.1, -0.2, 0.1])
    )
    assert (found.share, found.bound) == (0.5, "at least")
    with pytest.raises(RecipeError, match="domain loss falls at none"):
        critical_share(share_S, rise_S, tolerance=0.05, domain_change_S=np.ones(3))


def test_domain_loss_is_one_power_of_tokens_and_general_loss_two() -> None:
    """A hump of general loss would be smoothed away, or noise of domain loss made into one."""
    tokens_T = np.array([1.0, 2, 4, 8, 16, 32, 64]) * 1e6
    change_T = 0.3 - 0.5 * (tokens_T / 1e6) ** -0.5
    domain = loss_curve(tokens_T, change_T, kind="domain")
    general = loss_curve(tokens_T, change_T, kind="general")
    assert isinstance(domain.curve, PowerLaw)
    assert isinstance(general.curve, TwoPowerLaw)
    assert domain(3e6) == pytest.approx(0.3 - 0.5 * 3**-0.5, abs=1e-6)
    assert (domain.low, domain.high) == (1e6, 6.4e7)
    few = loss_curve(tokens_T[:4], change_T[:4], kind="general")
    assert isinstance(few.curve, PowerLaw)
    with pytest.raises(RecipeError, match="at least 3"):
        loss_curve(tokens_T[:2], change_T[:2], kind="domain")
    with pytest.raises(RecipeError, match="at least 3"):
        fit_critical_law(tokens_T[:2], np.array([0.2, 0.3]))
