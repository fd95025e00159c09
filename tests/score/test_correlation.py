from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.ablate.correlations import read_correlation_tables
from curation.errors import RecipeError
from curation.kernels import correlation as kernel
from curation.score import correlation
from curation.score.correlation import ESTIMATORS, TIES, average_centred_ranks, estimate
from curation.score.domains import measured_models
from tests.conftest import ROOT
from tests.oracles import correlation as oracle

TABLES = ROOT.parent / "shared" / "data" / "tables" / "perplexity-correlations"
GOLDEN = json.loads((ROOT / "tests" / "golden" / "correlation.json").read_text())


def losses(models: int, domains: int, *, digits: int | None = None, seed: int = 0) -> Any:
    drawn = np.random.default_rng(seed).uniform(0.5, 2, (models, domains))
    return drawn if digits is None else drawn.round(digits)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 12), st.integers(1, 5), st.sampled_from((0, 1, None)), st.integers(0, 999))
def test_every_estimator_is_its_definition(
    models: int, domains: int, digits: int | None, seed: int
) -> None:
    """A domain would be trained on for a sum that nobody wrote down."""
    x = losses(models, domains, digits=digits, seed=seed)
    y = losses(1, models, digits=digits, seed=seed + 1)[0] - 1
    for name in ESTIMATORS:
        for ties in TIES:
            found = estimate(x, y, name, ties=ties)
            wanted = [oracle.estimate(name, x[:, d], y, ties) for d in range(domains)]
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12, err_msg=f"{name} {ties}")


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("digits", [None, 2])
def test_blocks_and_threads_do_not_show(name: Any, digits: int | None) -> None:
    """The last domains of a table, or those at a seam, would have another domain's estimate."""
    x, y = losses(23, 4500, digits=digits), losses(1, 23)[0]
    for ties in TIES:
        whole = estimate(x, y, name, ties=ties, threads=2)
        assert (estimate(x, y, name, ties=ties, threads=1) == whole).all()
        for some in (slice(0, 1), slice(63, 65), slice(4370, 4500)):
            assert (estimate(x[:, some], y, name, ties=ties) == whole[some]).all()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_order_of_models_does_not_show_in_average_ranks(name: Any) -> None:
    """Two people with one table in two orders would train on different domains."""
    x, y = losses(31, 300, digits=1), losses(1, 31, digits=1)[0]
    order = np.random.default_rng(3).permutation(31)
    np.testing.assert_allclose(
        estimate(x, y, name), estimate(x[order], y[order], name), rtol=0, atol=1e-14
    )


def test_values_that_float32_cannot_tell_apart_are_ranked_all_the_same() -> None:
    """Models that are nearly as good as each other would count as equal, or in no order at all."""
    x = 1 + losses(40, 200) * 1e-12
    x[:, ::7] *= -1
    x[3] = x[4]
    x[0], x[1] = 0.0, -0.0
    y = losses(1, 40)[0]
    for name in ("spearmanr", "sign_cdf", "sign_sign"):
        wanted = [oracle.estimate(name, x[:, d], y, "average") for d in range(200)]
        np.testing.assert_allclose(estimate(x, y, name), wanted, rtol=0, atol=1e-12)
    wanted_ND = np.array([oracle.average_ranks(x[:, d]) for d in range(200)]).T
    assert (average_centred_ranks(x) == 2 * wanted_ND - 41).all()


def test_sums_of_many_models_do_not_run_over() -> None:
    """More models than 32 bits hold the sums of would give estimates out of nowhere."""
    x = np.linspace(0, 1, 2500)[:, None] * np.array([1.0, -1.0])
    assert estimate(x, x[:, 0]) == pytest.approx([1, -1], abs=1e-12)
    assert estimate(x, x[:, 0], "sign_sign") == pytest.approx([1, -1], abs=1e-12)


@pytest.mark.parametrize("models", [127, 128, 129])
def test_sums_of_sixteen_bits_do_not_run_over(models: int) -> None:
    """At one number of models more than was tried every estimate would be off."""
    order = np.linspace(0, 1, models)
    x = np.stack([order, -order, np.roll(order, 1), np.roll(order, -1), np.ones(models)], axis=1)
    for name in ("spearmanr", "sign_cdf"):
        for y in (order, -order):
            wanted = [oracle.estimate(name, x[:, d], y, "average") for d in range(5)]
            np.testing.assert_allclose(estimate(x, y, name), wanted, rtol=0, atol=1e-12)


def test_losses_of_any_size_are_ranked() -> None:
    """A domain with one absurd loss would rank its other models by nothing."""
    x, y = losses(40, 12), losses(1, 40)[0]
    for column, factor in enumerate((1e308, 1e-308, 1e-320, 1e290, 1e-290)):
        x[:, column] = (x[:, column] - 1.25) * factor
    x[0, 5], x[0, 6], x[:2, 7] = 1e308, -1e308, (1e308, -1e308)
    wanted = [oracle.estimate("spearmanr", x[:, d], y, "average") for d in range(12)]
    np.testing.assert_allclose(estimate(x, y), wanted, rtol=0, atol=1e-12)


def test_where_all_models_tie_nothing_goes_with_anything() -> None:
    """A domain on which nothing can be seen would be the best or no number."""
    x = np.ones((5, 3))
    x[:, 1] = range(5)
    assert estimate(x, np.arange(5.0)).tolist() == [0, 1, 0]
    assert estimate(x, np.ones(5)).tolist() == [0, 0, 0]


def test_tables_that_cannot_be_correlated_are_refused() -> None:
    """An estimate from a hole in the table would look like any other."""
    x, y = losses(4, 3), losses(1, 4)[0]
    with pytest.raises(RecipeError, match="did you mean") as error:
        estimate(x, y, "spearman")  # type: ignore[arg-type]
    assert "spearmanr" in str(error.value)
    with pytest.raises(RecipeError, match="no ties"):
        estimate(x, y, ties="dense")  # type: ignore[arg-type]
    for bad in (np.nan, np.inf):
        hole = x.copy()
        hole[1, 2] = bad
        with pytest.raises(RecipeError, match="no number"):
            estimate(hole, y)
    with pytest.raises(RecipeError, match="no number"):
        estimate(x, np.array([0, 1, np.nan, 1]))
    with pytest.raises(RecipeError, match="models by domains"):
        estimate(x.T, y)
    with pytest.raises(RecipeError, match="two models"):
        estimate(x[:1], y[:1])
    assert estimate(x[:, :0], y).shape == (0,)


# ---------------------------------------------------------------- what mathematics expects


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_estimates_come_to_what_mathematics_expects(noise: float) -> None:
    """An estimator that converges elsewhere orders domains by something else than their weights."""
    rng = np.random.default_rng(7)
    w = rng.normal(size=10)
    w /= np.linalg.norm(w)
    x = rng.normal(size=(10_000, 10))
    z = x @ w + rng.normal(size=10_000) * noise
    spread, wide = math.sqrt(1 + noise**2), 2 if noise else 1
    cdf, pairs = estimate(x, z, "sign_cdf"), estimate(x, z, "sign_sign")
    np.testing.assert_allclose(cdf, 2 / np.pi * np.arcsin(w / 2 / spread), atol=1.5e-2 * wide)
    np.testing.assert_allclose(pairs, 2 / np.pi * np.arcsin(w / spread), atol=3e-2 * wide)
    for name in ("product", "sign"):
        for y in (z, 2 / (1 + np.exp(-z)) - 1, 3**z):
            found = estimate(x, y, name)  # type: ignore[arg-type]
            np.testing.assert_allclose(found / np.linalg.norm(found), w, atol=5e-2 * wide)
    if not noise:
        np.testing.assert_allclose(estimate(x, z), 6 / np.pi * np.arcsin(w / 2), atol=3e-2)


@pytest.mark.parametrize("name", ["sign", "sign_cdf", "sign_sign", "spearmanr"])
def test_only_the_order_of_errors_counts(name: Any) -> None:
    """How a benchmark spreads its errors would decide which domains are trained on."""
    x, y = losses(50, 40), losses(1, 50)[0]
    assert (estimate(x, y, name) == estimate(x, 3**y, name)).all()


# ---------------------------------------------------------------- the published package


@pytest.mark.skipif(not TABLES.is_dir(), reason="the published tables are not here")
@pytest.mark.parametrize("group", sorted(GOLDEN))
def test_the_best_ten_texts_are_those_that_were_published(group: str) -> None:
    """Parity with the published filters would be a claim; eighty of eighty texts are a fact."""
    tables = read_correlation_tables(
        TABLES / "chunked_synthetic_sample_bpb_id.csv", TABLES / "error.csv"
    )
    measured = measured_models(tables.losses, tables.errors, group.split(","))
    found = estimate(measured.loss_ND, measured.error_N, ties="ordinal")
    best = np.argpartition(found, -10)[-10:]
    assert sorted(measured.domains[n] for n in best) == GOLDEN[group]


@pytest.mark.parametrize("digits", [None, 2, 1])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_published_package_says_the_same(name: Any, digits: int | None) -> None:
    """Its filters could not be made again with ours."""
    package = pytest.importorskip("perplexity_correlations.estimation")
    x, y = losses(90, 500, digits=digits), losses(1, 90, digits=digits)[0] / 2
    wanted = getattr(package, name)(x, y)
    assert np.abs(estimate(x, y, name, ties="ordinal") - wanted).max() <= 1e-12


@pytest.mark.parametrize("digits", [None, 1])
def test_ranks_are_summed_in_the_published_order_to_the_last_bit(digits: int | None) -> None:
    """Domains equal but for rounding would come in another order than the published one."""
    x, y = losses(41, 300, digits=digits), losses(1, 41, digits=digits)[0]
    share = (np.argsort(np.argsort(x, axis=0), axis=0) + 1) / 41
    total = np.zeros(300)
    for k in range(41):
        total += (np.sign(y[k:] - y[k])[:, None] * (share[k:] - share[k])).sum(axis=0)
    assert (estimate(x, y, "sign_cdf", ties="ordinal") == 2 * total / (41 * 40)).all()


def test_a_table_where_ties_are_the_rule_is_sorted_at_once() -> None:
    """Both ways round the ties have to agree, or a table's first domains would decide the rest."""
    x, y = losses(12, 200, digits=1), losses(1, 12)[0]
    x[:, :64] = losses(12, 64)
    late = estimate(x, y)
    assert late == pytest.approx(estimate(x[:, ::-1], y)[::-1], abs=1e-15)
    assert kernel.BLOCK == correlation._FIRST
