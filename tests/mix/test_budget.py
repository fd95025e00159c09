from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import RecipeError
from curation.mix import budget
from curation.mix.budget import Draw, draw
from curation.mix.tokens import TokenSet
from tests.mix.token_sets import make_set, numbered


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> TokenSet:
    """400 documents of 5 to 45 tokens."""
    return make_set(tmp_path_factory.mktemp("pool"), list(numbered(400)))


def names(found: Draw, token_set: TokenSet) -> list[str]:
    every = token_set.ids.to_pylist()
    return [every[d] for d in found.document_K]


@settings(deadline=None)
@given(st.data())
def test_a_draw_is_whole_epochs_of_its_documents(pool: TokenSet, data: st.DataObject) -> None:
    """Some documents would be read twice before others are read at all."""
    tokens = data.draw(st.integers(1, 3 * pool.tokens))
    unique = data.draw(st.none() | st.integers(1, pool.tokens))
    found = draw(pool, tokens=tokens, key="k", unique_tokens=unique, beyond="repeat")
    size = found.pool_documents
    first = found.document_K[:size]
    assert len(np.unique(first)) == len(first) == found.documents
    for at in range(size, len(found.document_K), size):
        epoch = found.document_K[at : at + size]
        assert len(np.unique(epoch)) == len(epoch)
        assert {*epoch.tolist()} <= {*first.tolist()}
    counts = pool.count_D[found.document_K]
    assert found.start_K1.tolist() == [0, *np.cumsum(counts).tolist()]
    # the last document is needed, and nothing is needed beyond it
    assert found.start_K1[-2] < found.tokens == tokens <= found.start_K1[-1]
    assert found.epochs == tokens / found.pool_tokens
    assert found.unique_tokens == min(tokens, found.pool_tokens)
    if unique is None:
        assert (found.pool_tokens, size) == (pool.tokens, pool.documents)
    elif tokens >= found.pool_tokens:
        assert found.pool_tokens == pool.count_D[first].sum()
        assert found.pool_tokens - pool.count_D[first[-1]] < unique <= found.pool_tokens


def test_each_epoch_has_an_order_of_its_own(pool: TokenSet) -> None:
    """What comes after what would be learned by heart."""
    found = draw(pool, tokens=2 * pool.tokens, key="k")
    one, two = found.document_K[:400], found.document_K[400:]
    assert (one == two).mean() < 0.05
    assert sorted(one) == sorted(two)


def test_a_draw_does_not_depend_on_how_the_set_lies(pool: TokenSet, tmp_path: Path) -> None:
    """The same corpus from more workers would be another experiment."""
    turned = list(numbered(400))[::-1]
    other = make_set(tmp_path, turned, shard_tokens=500)
    for how in ({}, {"unique_tokens": 2_000}):
        made: list[Any] = [
            draw(s, tokens=20_000, key="k", beyond="repeat", **how) for s in (pool, other)
        ]
        assert names(made[0], pool) == names(made[1], other)
        assert made[0].start_K1.tolist() == made[1].start_K1.tolist()


def test_documents_with_equal_hashes_are_told_apart_by_their_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among a billion documents two hashes are equal, and their order would be the disk's."""
    monkeypatch.setattr(budget, "_hashes", lambda s: s.count_D.astype(np.uint64) // np.uint64(20))
    rows = list(numbered(50))
    orders = []
    for n, given_rows in enumerate((rows, rows[::-1], rows[25:] + rows[:25])):
        one = make_set(tmp_path / f"{n}", given_rows)
        orders.append(names(draw(one, tokens=one.tokens * 2, key="k"), one))
    assert orders[0] == orders[1] == orders[2]
    assert len({*orders[0][:50]}) == 50


def test_another_key_is_another_draw(pool: TokenSet) -> None:
    """The spread over draws would be nought, and every difference a finding."""
    half = pool.tokens // 2
    drawn = [{*names(draw(pool, tokens=half, key=f"draw {n}"), pool)} for n in range(8)]
    shared = [
        len(one & other) / len(one) for n, one in enumerate(drawn) for other in drawn[n + 1 :]
    ]
    assert 0.47 < float(np.mean(shared)) < 0.53
    assert min(shared) > 0.35
    assert max(shared) < 0.65


def test_the_order_of_a_key_is_for_ever(pool: TokenSet) -> None:
    """Results of last year could not be compared with this year's."""
    found = draw(pool, tokens=200, key="golden")
    assert names(found, pool) == GOLDEN


GOLDEN = [
    "row 296",
    "row 293",
    "row 375",
    "row 66",
    "row 63",
    "row 3",
    "row 105",
    "row 207",
    "row 55",
    "row 177",
]


def test_subsets_of_one_key_are_nested(pool: TokenSet) -> None:
    """A larger subset would differ by luck from a smaller one, beside its size."""
    small, large = (
        draw(pool, tokens=5_000, key="k", unique_tokens=unique) for unique in (500, 2_000)
    )
    assert {*small.document_K} < {*large.document_K}
    assert small.epochs > 9
    assert small.tokens == 5_000  # a subset is repeated as often as its owner says


def test_a_budget_beyond_the_data_is_an_error_capped_or_repeated(pool: TokenSet) -> None:
    """Ten epochs over a small corpus would pass for so many new tokens."""
    beyond = int(pool.tokens * 1.5) + 1
    for tokens, how in ((beyond, {"max_epochs": 1.5}), (4 * pool.tokens + 1, {})):
        with pytest.raises(RecipeError, match="larger than the data") as error:
            draw(pool, tokens=tokens, key="k", **how)  # type: ignore[arg-type]
        assert f"{pool.tokens:,} tokens of 400 documents" in error.value.facts["found"]
        assert f"{tokens - 1:,}" in error.value.facts["allowed"]
        assert "max_epochs" in error.value.facts["remedy"]
    capped = draw(pool, tokens=beyond, key="k", max_epochs=1.5, beyond="cap")
    assert capped.tokens == beyond - 1
    assert draw(pool, tokens=beyond - 1, key="k", max_epochs=1.5).tokens == beyond - 1
    repeated = draw(pool, tokens=beyond, key="k", max_epochs=1.5, beyond="repeat")
    assert repeated.tokens == beyond
    assert draw(pool, tokens=4 * pool.tokens, key="k").epochs == 4


def test_a_subset_larger_than_the_data_is_an_error_too(pool: TokenSet) -> None:
    """Five epochs were asked for, and there would be ten."""
    asked: dict[str, Any] = {"tokens": 10, "key": "k", "unique_tokens": pool.tokens + 1}
    with pytest.raises(RecipeError, match="larger than the data: a subset"):
        draw(pool, **asked)
    assert draw(pool, **asked, beyond="cap").pool_tokens == pool.tokens
    more = {**asked, "tokens": 9 * pool.tokens}
    assert draw(pool, **more, beyond="cap").epochs == 4
    assert draw(pool, **more, beyond="repeat").epochs == 9


@pytest.mark.parametrize(
    "how",
    [{"tokens": 0}, {"unique_tokens": 0}, {"max_epochs": 0}, {"beyond": "never"}],
)
def test_settings_that_make_no_sense_are_named(pool: TokenSet, how: dict[str, Any]) -> None:
    """A typing mistake would show in numpy's words."""
    with pytest.raises(RecipeError, match=next(iter(how))):
        draw(pool, **{"tokens": 1, "key": "k", **how})


def test_nothing_is_drawn_from_an_empty_set(tmp_path: Path) -> None:
    """An arm whose rules drop everything would fail with a division by zero."""
    empty = make_set(tmp_path, [("a", None, None)])
    with pytest.raises(RecipeError, match="nothing can be drawn"):
        draw(empty, tokens=1, key="k")
