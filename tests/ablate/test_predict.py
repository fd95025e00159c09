from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from curation.ablate.predict import RESULTS, _caution, predict
from curation.ablate.prediction import Question
from curation.errors import RecipeError
from curation.mix.critical import best_share
from curation.mix.laws import MixtureLaw

DOMAIN = MixtureLaw(E=1.8, B=8.0, eta=0.1, beta=0.2, C=0.3, epsilon=0.05, gamma=0.4)
GENERAL = MixtureLaw(E=2.4, B=1.0, eta=0.2, beta=0.2, C=0.06, epsilon=0.05, gamma=0.9)
SHARES = (0.25, 0.5, 0.75, 0.9, 1.0)
TOKENS = (2e5, 4e5, 8e5, 1.6e6)
SIZE = 1e6
BASE = 2.55
#: One law of each: fast, and enough for what does not look at tokens.
ONE = Question(draws=20, general_rise_frac=0.06)
KEYS = ["arm", "repetition", "parameters", "tokens", "domain_share"]


def table(
    *,
    shares: tuple[float, ...] = SHARES,
    tokens: tuple[float, ...] = TOKENS[-1:],
    repetitions: int = 2,
    noise: float = 1e-3,
    seed: int = 0,
    base: bool = True,
) -> pl.DataFrame:
    """Results of runs whose draws move all losses of a run alike."""
    draw = np.random.default_rng(seed)
    rows: list[tuple[Any, ...]] = []
    if base:
        rows.append(("base", 0, SIZE, 0, 0.0, "cyber/bits_per_byte", 3.9, "domain"))
        rows.append(("base", 0, SIZE, 0, 0.0, "books/bits_per_byte", BASE, "general"))
    for share in shares:
        for repetition in range(repetitions):
            run = np.exp(draw.normal(0, noise, 2))
            for count in tokens:
                key = (f"share {share}", repetition, SIZE, count, share)
                domain = float(DOMAIN.losses(SIZE, count, share) * run[0])
                general = float(GENERAL.losses(SIZE, count, 1 - share) * run[1])
                rows.append((*key, "cyber/bits_per_byte", domain, "domain"))
                rows.append((*key, "books/bits_per_byte", general, "general"))
    return pl.DataFrame(rows, schema=list(RESULTS), orient="row", strict=False)


def true_share(question: Question, tokens: float) -> float:
    best = best_share(
        lambda share: DOMAIN.losses(SIZE, tokens, share),
        lambda share: GENERAL.losses(SIZE, tokens, 1 - share),
        limit=BASE * (1 + question.general_rise_frac),
        low=min(SHARES),
        high=max(SHARES),
    )
    assert best is not None
    return best.share


@pytest.mark.slow
def test_the_best_share_of_known_laws_lies_in_its_interval() -> None:
    """The share that a long run is started with would be wrong by more than anybody was told."""
    question = Question(draws=40, general_rise_frac=0.06)
    # an interval of 95 % misses now and then; with these draws it does not
    found = predict(table(tokens=TOKENS, repetitions=3, seed=1), question)
    assert found.share is not None
    assert found.domain_loss is not None
    assert found.general_loss is not None
    expected = true_share(question, TOKENS[-1])
    assert found.share.value == pytest.approx(expected, abs=0.02)
    assert found.share.low <= expected <= found.share.high
    assert 0 < found.share.high - found.share.low < 0.1
    loss = float(DOMAIN.losses(SIZE, TOKENS[-1], found.share.value))
    assert found.domain_loss.low <= loss <= found.domain_loss.high
    assert found.domain_loss.high - found.domain_loss.low < 0.02
    assert found.general_loss.value <= BASE * 1.06 + 1e-9
    assert found.runs == 15
    assert found.unit == "bits per byte"
    domain, general = found.losses(0.6)
    assert domain == pytest.approx(float(DOMAIN.losses(SIZE, TOKENS[-1], 0.6)), rel=3e-3)
    assert general == pytest.approx(float(GENERAL.losses(SIZE, TOKENS[-1], 0.4)), rel=3e-3)
    assert found.losses(0.6, tokens=TOKENS[0])[0] > domain
    critical = found.critical
    assert critical.share == pytest.approx(expected, abs=0.05)
    assert set(critical.at) == set(TOKENS)
    report = str(found)
    assert "best share" in report
    assert "held out" in report
    assert "A / N^alpha is dropped" in report
    assert f"{found.share.value:.3f}" in report
    assert "warning" not in report


def test_noisier_runs_give_a_wider_interval() -> None:
    """The interval would not be one of these runs."""
    quiet, loud = (predict(table(noise=noise, seed=2), ONE) for noise in (3e-4, 6e-3))
    assert quiet.share is not None
    assert loud.share is not None
    assert loud.share.high - loud.share.low > 2 * (quiet.share.high - quiet.share.low)


def test_the_same_table_in_another_order_gives_the_same_answer() -> None:
    """Two people with one results store would read two shares."""
    rows = table()
    first = predict(rows, ONE)
    again = predict(rows.sample(fraction=1.0, shuffle=True, seed=4), ONE)
    assert str(first) == str(again)


def test_an_optimum_at_the_edge_comes_with_a_warning() -> None:
    """The largest share of an experiment would be taken for the best one."""
    loose = predict(table(), replace(ONE, general_rise_frac=0.5))
    assert loose.best is not None
    assert loose.best.edge == "highest"
    assert any("may lie beyond it" in warning for warning in loose.warnings)
    inside = predict(table(), ONE)
    assert not any("beyond it" in warning for warning in inside.warnings)


def test_no_share_within_the_limit_is_said_and_not_guessed() -> None:
    """A share would be recommended that forgets more than was allowed."""
    found = predict(table(), replace(ONE, base_general=2.0))
    assert found.best is None
    assert found.share is None
    assert found.infeasible_frac == 1
    assert any("run smaller ones" in warning for warning in found.warnings)
    assert "none that was run" in str(found)
    assert "below" in str(found)


@pytest.mark.slow
def test_a_law_that_a_simpler_description_beats_comes_with_a_warning() -> None:
    """Noise would be extrapolated with the authority of a scaling law."""
    rows = table()
    noise = np.random.default_rng(5).normal(3, 0.2, rows.height)
    value = pl.when(pl.col("set") == "domain").then(pl.Series(noise)).otherwise(pl.col("value"))
    found = predict(rows.with_columns(value.alias("value")), ONE)
    assert any("the domain law predicts held-out settings worse" in one for one in found.warnings)


def test_losses_that_rise_with_the_share_come_with_a_warning() -> None:
    """A law that can only fall would hide that the domain text harms the domain."""
    rows = table()
    rising = 3 + 0.3 * pl.col("domain_share")
    value = pl.when(pl.col("set") == "domain").then(rising).otherwise(pl.col("value"))
    found = predict(rows.with_columns(value.alias("value")), ONE)
    assert any("domain losses do not fall with the share" in one for one in found.warnings)


def test_tokens_and_sizes_that_were_not_run_come_with_a_warning() -> None:
    """A guess about ten times the tokens would look like a measurement."""
    far = predict(table(), replace(ONE, tokens=1e8))
    assert any("is not predicted: the law has no term of tokens" in one for one in far.warnings)
    other = predict(table(), replace(ONE, parameters=5e6, base_general=BASE))
    assert any("no term of size" in warning for warning in other.warnings)
    assert other.critical.share is None
    near = predict(table(tokens=TOKENS[:2]), replace(ONE, tokens=2e6))
    assert any("is extrapolated" in warning for warning in near.warnings)


def test_few_runs_come_with_a_warning() -> None:
    """Three runs have an interval too, and it means nothing."""
    found = predict(table(shares=(0.25, 0.6, 0.95), repetitions=1), ONE)
    assert found.runs == 3
    assert any("runs are few" in warning for warning in found.warnings)


def test_the_spread_of_few_runs_is_enlarged() -> None:
    """Intervals of four runs would miss the truth far more often than they say."""
    fit = predict(table(), ONE).domain.fit
    free = len(fit.form.free)
    # the ratios of Student's t to the normal distribution at 10 and at 2 degrees of freedom
    assert _caution(fit, free + 10, ONE) == pytest.approx(2.2281 / 1.96, abs=1e-3)
    assert _caution(fit, free, ONE) == pytest.approx(4.3027 / 1.96, abs=1e-3)


def test_a_share_that_does_not_help_the_domain_is_not_critical() -> None:
    """A share would be called safe at which the domain itself got worse."""
    rows = table()
    is_base = (pl.col("tokens") == 0) & (pl.col("set") == "domain")
    value = pl.when(is_base).then(2.6).otherwise(pl.col("value")).alias("value")
    question = replace(ONE, general_rise_frac=0.0)
    harmed = predict(rows.with_columns(value), question).critical.at[TOKENS[-1]]
    helped = predict(rows, question).critical.at[TOKENS[-1]]
    assert (harmed.share, harmed.bound) == (0.75, "below")
    assert (helped.bound, helped.share < 0.75) == ("", True)


def test_limited_text_caps_the_share() -> None:
    """A run would be planned that sees its domain text twenty times."""
    tokens, text = TOKENS[-1], 1e5
    found = predict(
        table(tokens=TOKENS[2:]), replace(ONE, domain_tokens=text, general_rise_frac=0.5)
    )
    assert found.best is not None
    assert found.best.share == pytest.approx(4 * text / tokens, abs=1e-6)
    assert found.limited is not None
    assert found.limited.share * found.limited.tokens == pytest.approx(4 * text)
    assert "limited text" in str(found)
    with pytest.raises(RecipeError, match="too little domain text"):
        predict(table(), replace(ONE, domain_tokens=1e4))


def test_the_base_can_be_given_and_is_missed_when_it_is_not() -> None:
    """General loss would be compared with nothing."""
    bare = table(base=False)
    with pytest.raises(RecipeError, match="base's general loss is not known"):
        predict(bare, ONE)
    given = predict(bare, replace(ONE, base_general=BASE))
    assert given.share == predict(table(), ONE).share


def test_one_share_too_few_is_an_error_that_says_how_many() -> None:
    """Two arms would make a law of the share."""
    with pytest.raises(RecipeError, match="3 or more shares") as error:
        predict(table(shares=(0.5, 1.0)), ONE)
    assert "0.25, 0.5, 0.75, 1" in str(error.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"value": pl.lit(float("nan"))}, "not losses of runs"),
        ({"domain_share": pl.lit(50.0)}, "not losses of runs"),
        ({"set": pl.lit("other")}, "not losses of runs"),
        ({"parameters": pl.lit(0.0)}, "not losses of runs"),
        ({"value": pl.lit(None, pl.Float64)}, "not losses of runs"),
        ({"tokens": pl.lit(0.0)}, "no trained run"),
        ({"set": pl.lit("domain")}, "one domain measure is needed"),
    ],
)
def test_a_table_that_is_none_of_results_is_refused(change: dict[str, pl.Expr], says: str) -> None:
    """Percent for shares, or a diverged run, would be fitted like losses."""
    with pytest.raises(RecipeError, match=says):
        predict(table().with_columns(**change), ONE)


def test_a_missing_column_and_a_mistyped_measure_are_named() -> None:
    """The reader would search the code for what the table lacks."""
    with pytest.raises(RecipeError, match="no column 'domain_share'"):
        predict(table().drop("domain_share"), ONE)
    with pytest.raises(RecipeError, match="no domain measure") as error:
        predict(table(), replace(ONE, domain="cyber/bit_per_byte"))
    assert "did you mean 'cyber/bits_per_byte'" in str(error.value)


def test_of_several_measures_one_is_named() -> None:
    """The loss of one set would be fitted together with that of another."""
    rows = table()
    other = rows.with_columns(("other/" + pl.col("measure")).alias("measure"), pl.col("value") * 2)
    with pytest.raises(RecipeError, match="one domain measure is needed"):
        predict(pl.concat([rows, other]), ONE)
    named = replace(ONE, domain="cyber/bits_per_byte", general="books/bits_per_byte")
    assert predict(pl.concat([rows, other]), named).share == predict(rows, ONE).share


@pytest.mark.parametrize(
    "wrong",
    [{"draws": 5}, {"confidence": 1.0}, {"general_rise_frac": -0.1}, {"tokens": 0.0}],
)
def test_a_question_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    """An interval of five draws would be printed."""
    with pytest.raises(RecipeError, match="cannot be asked"):
        Question(**wrong)
