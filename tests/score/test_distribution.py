from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curation.errors import RecipeError
from curation.score.distribution import Features, divergence, kl_reduction, kl_reductions

SECURITY = [f"the attacker number {n} sends a crafted packet to port {n}" for n in range(40)]
NEWS = [f"the minister said on day {n} that the vote of the house was {n}" for n in range(160)]


def column(texts: list[str]) -> pa.Array:
    return pa.array(texts, pa.large_string())


def seeds(folder: Path) -> str:
    path = folder / "seeds.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in SECURITY[:10]))
    return str(path)


def test_divergence_is_that_of_the_textbook() -> None:
    """Sets would be ranked by something that only looks like a divergence."""
    p, q = np.array([0.5, 0.25, 0.25, 0.0]), np.array([0.25, 0.25, 0.25, 0.25])
    assert divergence(p, q) == pytest.approx(0.5 * np.log(2), abs=1e-6)
    assert divergence(p * 1000, p) == pytest.approx(0, abs=1e-9)
    gone = divergence(np.array([0.5, 0.5]), np.array([1.0, 0.0]))
    assert gone == pytest.approx(0.5 * np.log(0.5) + 0.5 * np.log(0.5 / 1e-8), abs=1e-6)


def test_a_reduction_is_the_pools_divergence_less_the_sets() -> None:
    """The larger would not be the better."""
    target, raw, near = (np.array(counts) for counts in ([8, 1, 1], [2, 4, 4], [6, 2, 2]))
    assert kl_reduction(target, raw, raw) == 0
    assert kl_reduction(target, raw, near) > 0 > kl_reduction(target, near, raw)
    p, q, r = target / 10, raw / 10, near / 10
    wanted = (p * np.log(p / q)).sum() - (p * np.log(p / r)).sum()
    assert kl_reduction(target, raw, near) == pytest.approx(wanted, abs=1e-6)


def test_every_selected_set_is_reported_and_the_target_like_one_is_nearest(tmp_path: Path) -> None:
    """A method that chooses worse than chance would not be found out."""
    pool = [column(NEWS[:80]), column(SECURITY[10:]), column(NEWS[80:])]
    sets = {
        "like": [column(SECURITY[10:])],
        "random": [column(NEWS[::6]), column(SECURITY[10::6])],
        "all": pool,
    }
    found = kl_reductions(seeds(tmp_path), lambda: pool, sets)
    assert found["like"] > 1
    assert abs(found["random"]) < 0.3
    assert found["all"] == 0


def test_a_random_set_of_any_size_is_no_nearer_than_another(tmp_path: Path) -> None:
    """A small set would look bad for being small, and chance would seem to do harm."""
    texts = NEWS + SECURITY[10:]
    order = np.random.default_rng(0).permutation(len(texts))
    pool = [column([texts[n] for n in order[:100]]), column([texts[n] for n in order[100:]])]
    sizes = (20, 60, 120)
    sets = {str(n): [column([texts[i] for i in order[-n:]])] for n in sizes}
    for size, found in kl_reductions(seeds(tmp_path), lambda: pool, sets).items():
        assert abs(found) < 1.2, size
    few = {"like": [column(SECURITY[10:13])]}
    assert kl_reductions(seeds(tmp_path), lambda: pool, few)["like"] > 2


def test_an_empty_set_is_told(tmp_path: Path) -> None:
    """A divergence from nothing is not a number."""
    with pytest.raises(RecipeError, match="nothing chosen: it holds no words"):
        kl_reductions(seeds(tmp_path), lambda: [column(NEWS)], {"nothing chosen": [column([])]})


def test_counts_do_not_depend_on_batches_or_threads() -> None:
    """The same pool cut otherwise would be another pool."""
    features = Features(buckets=97, ngrams=3)
    whole = features.counts([column(NEWS)], threads=1)
    cut = features.counts((column(NEWS[at : at + 7]) for at in range(0, 160, 7)), threads=3)
    assert np.array_equal(whole, cut)
    assert whole.sum() == sum(3 * len(text.split()) - 3 for text in NEWS)
