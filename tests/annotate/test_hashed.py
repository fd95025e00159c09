from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from curation import HashedEmbedding
from curation.errors import RecipeError
from curation.testing import check_stage


def embedded(texts: list[str | None], **settings: object) -> list[list[float] | None]:
    batch = pa.RecordBatch.from_arrays([pa.array(texts, pa.large_string())], names=["text"])
    stage = HashedEmbedding(**settings)  # type: ignore[arg-type]
    made: list[list[float] | None] = stage.annotate(batch)["embedding"].to_pylist()
    return made


@pytest.mark.parametrize(
    "settings", [{}, {"words": "space", "ngrams": 3, "log": False, "dims": 7, "seed": 5}]
)
def test_the_stage_keeps_its_contract(settings: dict[str, object]) -> None:
    """A vector that depends on the row beside it makes another corpus at each run."""
    check_stage(HashedEmbedding(**settings))  # type: ignore[arg-type]


def test_texts_that_share_words_are_near_and_others_are_not() -> None:
    """Quotas by cluster would be quotas of nothing."""
    made = embedded(
        [
            "the patient was given aspirin for the headache",
            "a headache: the patient was given aspirin",
            "interest rates rose in march as markets fell sharply",
        ],
        dims=1024,
    )
    one, near, far = np.array(made)
    assert one @ near > 0.7 > 0.4 > one @ far


def test_a_text_without_words_has_no_vector_and_any_other_one_of_length_one() -> None:
    """A row of zeros is as near to everything as to nothing."""
    made = embedded([None, "", " \n", "word", "!"], dims=16)
    assert made[:3] == [None] * 3
    assert np.linalg.norm(np.array(made[3:]), axis=1) == pytest.approx([1, 1], abs=1e-6)


def test_counts_are_damped_unless_asked_otherwise() -> None:
    """Frequent words would decide alone."""
    text = ["the the the the the the the the cat", "cat"]
    damped, plain = (np.array(embedded(text, dims=512, log=log)) for log in (True, False))
    assert damped[0] @ damped[1] > plain[0] @ plain[1] + 0.1


@pytest.mark.parametrize("name", ["dims", "ngrams", "places"])
def test_a_setting_that_makes_no_sense_is_told(name: str) -> None:
    """A vector of no length would fail in the middle of a night's run."""
    with pytest.raises(RecipeError, match=f"{name} of 1 to"):
        HashedEmbedding(**{name: 0})
