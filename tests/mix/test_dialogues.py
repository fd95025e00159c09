"""How many dialogues go beside documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curation import DialogueShare
from curation.columns import columns
from curation.errors import RecipeError
from curation.testing import MemoryRows, check_stage

READS = columns("id", "is_dialogue", "text_bytes")


def rows(documents: int, dialogues: int, size: int = 10) -> pa.RecordBatch:
    kinds: list[bool | None] = [*[False, None] * (documents // 2), *[True] * dialogues]
    sizes = [100] * documents + [size + n % 5 for n in range(dialogues)]
    return pa.RecordBatch.from_pydict(
        {"id": [f"a#{n}" for n in range(len(kinds))], "is_dialogue": kinds, "text_bytes": sizes},
        schema=READS,
    )


def blended(batch: pa.RecordBatch, **given: Any) -> tuple[list[bool], dict[str, Any]]:
    memory = MemoryRows([batch], Path())
    made = pa.Table.from_batches(DialogueShare(**given).reduce(memory))
    return made["is_blended"].to_pylist(), memory.notes


@pytest.mark.filterwarnings("ignore:DialogueShare")
@pytest.mark.parametrize("given", [{}, {"unit": "documents", "ratio": 0.5, "seed": 3}])
def test_the_stage_keeps_its_contract(given: dict[str, Any]) -> None:
    """A blend that hangs on the order of rows is another one at every run."""
    check_stage(DialogueShare(**given), examples=rows(10, 60))
    check_stage(DialogueShare(**given))


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.5, 1.0])
def test_documents_stay_and_dialogues_fill_their_share(ratio: float) -> None:
    """A document lost to the blend, or a share that is not what was asked for."""
    batch = rows(10, 500)
    found, notes = blended(batch, ratio=ratio)
    assert all(found[:10])
    taken = sum(size for size, is_in in zip(batch["text_bytes"].to_pylist()[10:], found[10:],
                                            strict=True) if is_in)  # fmt: skip
    assert ratio * 1000 - 15 < taken <= ratio * 1000
    assert notes["dialogue_bytes"] == taken
    assert notes["ratio"] == taken / 1000


def test_a_higher_ratio_takes_all_that_a_lower_one_does_and_a_seed_takes_others() -> None:
    """A sweep of ratios would compare different dialogues with each other."""
    batch = rows(10, 500)
    low, high = (blended(batch, ratio=ratio)[0] for ratio in (0.2, 0.6))
    assert all(more for less, more in zip(low, high, strict=True) if less)
    assert sum(high) > sum(low)
    assert blended(batch, ratio=0.2, seed=1)[0] != low


def test_counting_documents_takes_so_many_dialogues() -> None:
    """Two dialogues for a document would be half of one where dialogues are short."""
    found, notes = blended(rows(10, 500), ratio=2.0, unit="documents")
    assert sum(found[10:]) == 20
    assert notes["ratio"] == 2.0


def test_too_few_dialogues_are_told() -> None:
    """A share that cannot be reached would be taken for the one asked for."""
    with pytest.warns(UserWarning, match="33 text_bytes of dialogues for 1,000 wanted"):
        found, notes = blended(rows(10, 3))
    assert all(found)
    assert notes["ratio"] == 33 / 1000


def test_a_corpus_without_documents_has_no_ratio() -> None:
    """A division by nothing would end the run of who reads dialogues alone."""
    found, notes = blended(rows(0, 5))
    assert found == [False] * 5
    assert notes["ratio"] is None


@pytest.mark.parametrize("given", [{"ratio": -1.0}, {"ratio": float("inf")}, {"seed": -1}])
def test_settings_that_make_no_sense_are_told(given: dict[str, Any]) -> None:
    """A run of hours would end at its last step."""
    with pytest.raises(RecipeError):
        DialogueShare(**given)
