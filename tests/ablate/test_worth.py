from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from curation.ablate.worth import domain_specificity, forgetting_removed
from curation.errors import RecipeError
from curation.evaluate.measures import ITEMS, Evaluation, Measure

BITS = "law/bits_per_byte"


def items(
    loss_S: np.ndarray, bytes_S: np.ndarray | None = None, measure: str = BITS
) -> pl.DataFrame:
    weight_S = np.ones(len(loss_S)) if bytes_S is None else bytes_S
    frame = pl.DataFrame(
        {
            "measure": [measure] * len(loss_S),
            "item": [f"item {at}" for at in range(len(loss_S))],
            "source": [""] * len(loss_S),
            "value": loss_S * weight_S,
            "weight": weight_S,
        }
    )
    assert frame.columns == ITEMS.names
    return frame


def test_domain_specificity_is_the_mean_difference_of_item_losses() -> None:
    """One long example would outvote all others, or the sign tell people not to train."""
    general, domain = np.array([2.0, 3.0, 4.0]), np.array([1.0, 2.5, 4.0])
    lengths = np.array([10.0, 1000.0, 10.0])
    found = domain_specificity(items(general, lengths), items(domain, lengths), BITS)
    assert found.score == pytest.approx(0.5)
    assert found.low <= found.score <= found.high
    assert found.items == 3
    shuffled = items(domain, lengths).reverse()
    assert domain_specificity(items(general, lengths), shuffled, BITS) == found
    assert "0.5000" in str(found)


def test_the_interval_is_that_of_a_mean_over_items() -> None:
    """A score would be called sure that rests on a few examples."""
    generator = np.random.default_rng(0)
    general = generator.normal(3, 1, 400)
    gain = generator.normal(0.1, 0.4, 400)
    found = domain_specificity(items(general), items(general - gain), BITS, draws=2000)
    error = gain.std() / 20
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    few = domain_specificity(items(general[:25]), items((general - gain)[:25]), BITS, draws=2000)
    assert few.high - few.low > 2 * (found.high - found.low)
    tight = domain_specificity(
        items(general), items(general - gain), BITS, draws=2000, confidence=0.5
    )
    assert tight.high - tight.low < 0.5 * (found.high - found.low)


def test_models_measured_on_different_items_are_not_compared() -> None:
    """The difference of two texts would be read as that of two models."""
    both, fewer = np.array([2.0, 3.0]), np.array([2.0])
    for first, second in ((both, fewer), (fewer, both)):
        with pytest.raises(RecipeError, match="same items"):
            domain_specificity(items(first), items(second), BITS)
    with pytest.raises(RecipeError, match="was not measured") as error:
        domain_specificity(items(both), items(both), "law/bits_per_bite")
    assert BITS in str(error.value)
    broken = items(np.array([2.0, np.nan]))
    with pytest.raises(RecipeError, match="not losses of one item"):
        domain_specificity(broken, items(both), BITS)
    twice = pl.concat([items(both), items(both)])
    with pytest.raises(RecipeError, match="not losses of one item"):
        domain_specificity(twice, twice, BITS)


def test_a_measure_where_more_is_better_has_no_domain_specificity() -> None:
    """Accuracy gained would come out as a sign against training."""
    name = "law/accuracy"
    frame = items(np.array([1.0, 0.0]), measure=name)
    found = Evaluation({name: Measure(name=name, unit="accuracy")}, frame, {}, {})
    with pytest.raises(RecipeError, match="difference of losses"):
        domain_specificity(found, found, name)
    bits = Measure(name=BITS, unit="bits per byte", better="lower")
    loss = Evaluation({BITS: bits}, items(np.array([1.0, 2.0])), {}, {})
    assert domain_specificity(loss, loss, BITS).score == 0


def test_five_percent_of_replay_removes_what_the_paper_shows() -> None:
    """Shares of forgetting would be of another whole than the published ones."""
    slimpajama = forgetting_removed(base=2.17, without_replay=2.44, with_replay=2.23)
    assert slimpajama == pytest.approx(0.78, abs=0.005)
    german = {"1%": 2.83, "5%": 2.57, "10%": 2.46, "25%": 2.33, "50%": 2.24}
    removed = [
        forgetting_removed(base=2.17, without_replay=3.56, with_replay=loss)
        for loss in german.values()
    ]
    assert removed == sorted(removed)
    assert 0.5 < removed[0] < removed[-1] < 1
    assert forgetting_removed(base=2.0, without_replay=3.0, with_replay=3.5) == -0.5


@pytest.mark.parametrize("after", [2.0, 1.9, float("nan")])
def test_where_nothing_was_forgotten_nothing_is_removed(after: float) -> None:
    """A division by nothing would credit replay with anything."""
    with pytest.raises(RecipeError, match="nothing was forgotten"):
        forgetting_removed(base=2.0, without_replay=after, with_replay=1.9)
