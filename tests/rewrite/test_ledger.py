"""The account of a store's replies, in Python and on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation import reply_costs
from curation.annotate.model import Reply
from curation.errors import ResourceError
from curation.rewrite.journal import Journal
from tests.conftest import curation


@pytest.fixture
def spent(tmp_path: Path) -> Path:
    """A store with three replies to one prompt and one to another; one request failed."""
    kept = Journal(str(tmp_path / "store" / "replies"))
    reply = Reply(text="x", prompt_tokens=1000, completion_tokens=200)
    for n in range(3):
        kept.add(f"a{n}", "large", "qa@1", reply, 2.0)
    kept.add("b", "large", "", reply, 0.0)
    kept.add("c", "small", "qa@1", Reply(error="none"), 9.0)
    return tmp_path / "store"


def test_tokens_time_and_money_are_summed_by_model_and_purpose(spent: Path) -> None:
    """What a corpus has cost could not be told, nor what the next one will."""
    found = reply_costs(spent, prices=(1.0, 10.0)).to_dicts()
    assert [(row["purpose"], row["requests"]) for row in found] == [("", 1), ("qa@1", 3)]
    row = found[1]
    assert (row["prompt_tokens"], row["completion_tokens"], row["seconds"]) == (3000, 600, 6.0)
    assert row["tokens_per_second"] == 100
    assert row["money"] == pytest.approx((3000 + 6000) / 1e6)
    assert row["first"] <= row["last"]
    assert found[0]["tokens_per_second"] is None
    assert reply_costs(spent / "replies")["money"].to_list() == [None, None]


def test_the_command_prints_the_account(spent: Path) -> None:
    """Who pays does not always write Python."""
    told = curation("costs", "store", "--prices", "100", "1000", cwd=spent.parent).stdout
    assert "4 requests, 4,000 + 800 tokens, 1.20 in money" in told
    assert "qa@1" in told
    assert "3,000" in told
    assert "money" not in curation("costs", "store", cwd=spent.parent).stdout
    failed = curation("costs", "store", "--prices", "-1", "0", cwd=spent.parent, check=1)
    assert "RecipeError: prices" in failed.stderr


def test_a_store_without_replies_is_told(tmp_path: Path) -> None:
    """An empty table would pass for a run that cost nothing."""
    with pytest.raises(ResourceError, match="no replies are kept here"):
        reply_costs(tmp_path)
