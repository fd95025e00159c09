from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.annotate import classifier_report as report
from curation.errors import RecipeError

metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the peer of the figures")
DRAW = np.random.default_rng(1)

scored = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=40).filter(
    lambda pairs: 0 < sum(holds for _, holds in pairs) < len(pairs)
)


@settings(deadline=None, max_examples=60)
@given(pairs=scored)
def test_figures_of_a_ranking_are_scikit_learns(pairs: list[tuple[int, bool]]) -> None:
    """Two projects' figures could not be compared; ties are where such figures differ."""
    said = np.array([said for said, _ in pairs], dtype=np.float32)
    holds = np.array([holds for _, holds in pairs])
    assert report.area_under_curve(said, holds) == pytest.approx(metrics.roc_auc_score(holds, said))
    assert report.average_precision(said, holds) == pytest.approx(
        metrics.average_precision_score(holds, said)
    )


def test_figures_of_labels_are_scikit_learns() -> None:
    """A model would be chosen by an F1 that nobody else would find."""
    said = DRAW.dirichlet(np.ones(3), size=200).astype(np.float32)
    right = np.where(DRAW.random(200) < 0.6, said.argmax(axis=1), DRAW.integers(0, 3, 200))
    truth = np.eye(3, dtype=np.float32)[right]
    found = report.label_figures(said, truth, ("a", "b", "c"))
    best = said.argmax(axis=1)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(right, best))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(right, best, average="macro"))
    rows = metrics.precision_recall_fscore_support(right, best)
    for at, label in enumerate("abc"):
        shown = [found["labels"][label][name] for name in ("precision", "recall", "f1", "count")]
        assert shown == pytest.approx([row[at] for row in rows])


def test_figures_of_tags_are_scikit_learns() -> None:
    """A label of two that hold together would count against the other."""
    said = DRAW.random((100, 4)).astype(np.float32)
    truth = (DRAW.random((100, 4)) < said).astype(np.float32)
    found = report.tag_figures(said, truth, tuple("abcd"))
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(truth, said >= 0.5))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(truth, said >= 0.5, average="macro"))
    assert found["mean_average_precision"] == pytest.approx(
        metrics.average_precision_score(truth, said, average="macro")
    )


def test_figures_of_grades_are_scipys() -> None:
    """Grades come in few values, and ties decide what a rank correlation is."""
    stats = pytest.importorskip("scipy.stats", reason="scipy is the peer of the rank correlation")
    truth = DRAW.integers(0, 6, 80).astype(np.float32)
    said = np.round(truth + DRAW.normal(size=80), 1).astype(np.float32)
    found = report.score_figures(said, truth)
    assert found["spearman"] == pytest.approx(stats.spearmanr(said, truth).statistic, rel=1e-5)
    assert found["pearson"] == pytest.approx(stats.pearsonr(said, truth).statistic, rel=1e-5)
    assert found["mean_absolute_error"] == pytest.approx(np.abs(said - truth).mean(), rel=1e-5)
    assert np.isnan(report.score_figures(np.ones(3), truth[:3])["spearman"])


def test_grades_are_rounded_as_pythons_round_does() -> None:
    """FineWeb-Edu's grades are ``round(score)``: a half goes to the even grade."""
    said = np.array([0.5, 1.5, 2.5, 2.0, 4.5, 0.0], dtype=np.float32)
    truth = np.array([0.0, 2.0, 2.0, 2.5, 4.0, 5.0], dtype=np.float32)
    right = [round(float(s)) == round(float(t)) for s, t in zip(said, truth, strict=True)]
    assert right == [True] * 5 + [False]
    assert report.score_figures(said, truth)["accuracy_rounded"] == pytest.approx(5 / 6)


def test_calibration_error_is_the_mean_distance_of_bins() -> None:
    """A probability of 0.9 that is right half of the time would pass for sure."""
    said = np.array([0.95, 0.95, 0.55, 0.55], dtype=np.float32)
    holds = np.array([True, False, True, True])
    found = report.reliability(said, holds)
    assert found["calibration_error"] == pytest.approx((2 * 0.45 + 2 * 0.45) / 4, abs=1e-6)
    assert [b["count"] for b in found["reliability"]] == [0, 0, 0, 0, 0, 2, 0, 0, 0, 2]
    assert report.reliability(np.ones(2, np.float32), np.ones(2, bool))["calibration_error"] == 0


@pytest.mark.parametrize("exclusive", [True, False])
def test_the_temperature_that_made_the_labels_is_found(exclusive: bool) -> None:
    """Models that shout would be believed."""
    draw = np.random.default_rng(7)
    logit = draw.normal(size=(6000, 3)) * 2
    chance = np.exp(logit) / np.exp(logit).sum(axis=1, keepdims=True)
    if exclusive:
        drawn = (draw.random((6000, 1)) > chance.cumsum(axis=1)).sum(axis=1)
        truth = np.eye(3)[np.minimum(drawn, 2)]
    else:
        truth = (draw.random((6000, 3)) < 1 / (1 + np.exp(-logit))).astype(float)
    found = report.best_temperature(logit * 3, truth, exclusive=exclusive)
    assert found == pytest.approx(3, rel=0.08)


def test_a_model_that_is_always_right_is_not_made_certain() -> None:
    """All its probabilities would be 0 or 1, and nothing could be ranked by them."""
    logit = np.array([[1.0, -1.0], [-1.0, 1.0]] * 10)
    found = report.best_temperature(logit, (logit > 0).astype(float), exclusive=True)
    assert 1 / (1 + np.exp(-2 / found)) < 0.999
    assert report.best_temperature(logit[:0], logit[:0], exclusive=True) == 1


SAID = np.array([0.9, 0.8, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0])
HOLDS = np.array([1, 1, 1, 0, 1, 0, 0, 0, 0, 0])


def test_a_threshold_keeps_the_share_that_was_asked_for() -> None:
    """A budget would be missed by as much as the threshold is off."""
    for share, least in ((0.1, 0.9), (0.3, 0.8), (0.5, 0.5), (1.0, 0.0), (0.001, 0.9)):
        assert report.threshold_for(SAID, HOLDS, keep_frac=share) == least


def test_a_threshold_for_a_precision_keeps_as_many_as_it_can() -> None:
    """Good texts would be thrown away, or bad ones kept."""
    assert report.threshold_for(SAID, HOLDS, precision=1.0) == 0.8
    assert report.threshold_for(SAID, HOLDS, precision=0.8) == 0.5
    assert report.threshold_for(SAID, HOLDS, precision=0.4) == 0.0
    with pytest.raises(RecipeError, match="no threshold reaches"):
        report.threshold_for(SAID, 1 - HOLDS, precision=0.99)


@pytest.mark.parametrize("wanted", [{}, {"keep_frac": 0.1, "precision": 0.5}, {"keep_frac": 1.1}])
def test_a_threshold_is_for_one_thing(wanted: dict[str, float]) -> None:
    """The other wish would be passed over in silence."""
    with pytest.raises(RecipeError, match="a share to keep or for a precision"):
        report.threshold_for(SAID, HOLDS, **wanted)


def test_the_table_says_what_each_threshold_does() -> None:
    """A person chooses from it."""
    rows = report.threshold_table(SAID, HOLDS, graded=False)
    ten = next(row for row in rows if row.get("keep_frac") == 0.1)
    assert (ten["kept"], ten["found_precision"], ten["recall"]) == (0.1, 1.0, 0.25)
    graded = report.threshold_table(SAID, SAID * 5, graded=True)
    assert graded[0]["mean_grade"] == 4.5
    assert not any("precision" in row for row in graded)


def test_the_table_is_made_for_every_usual_precision() -> None:
    """A strict user would find no row for what they want."""
    said = np.linspace(1, 0, 1000, dtype=np.float32)
    rows = report.threshold_table(said, (said > 0.5).astype(np.float32), graded=False)
    shown = [row for row in rows if "precision" in row]
    assert [row["precision"] for row in shown] == [0.5, 0.8, 0.9, 0.95, 0.99]
    assert all(row["found_precision"] >= row["precision"] for row in shown)
    kept = [row["kept"] for row in shown]
    assert kept == sorted(set(kept), reverse=True)
    assert [row["keep_frac"] for row in rows if "keep_frac" in row] == [0.01, 0.05, 0.1, 0.2, 0.5]
