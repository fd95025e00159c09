from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from curation import KenlmPerplexity, perplexity_cutoffs, perplexity_third
from curation.errors import RecipeError, ResourceError
from curation.score.kenlm import normalise_line

#: Words and their log10 probabilities; "storm" is likelier after "the". KenLM reads no unigrams.
WORDS = {"<unk>": -3.0, "</s>": -1.0, "the": -0.5, "storm": -1.5, "of": -0.75, "0000": -2.0}
ARPA = "\n".join(
    ["\\data\\", f"ngram 1={len(WORDS) + 1}", "ngram 2=1", "", "\\1-grams:", "-99\t<s>\t0"]
    + [f"{prob}\t{word}\t0" for word, prob in WORDS.items()]
    + ["", "\\2-grams:", "-0.25\tthe storm", "", "\\end\\", ""]
)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("  Vénus “ÉTÉ” — 1984…  ", 'venus "ete"  -  0000...'),
        ("（金星）、３！", "(金星),0!"),
        ("tab\there\x00\x85", "tabhere"),
        ("İ ǅ ﬃ", "i ǆ ﬃ"),
        ("   ", ""),
    ],
)
def test_a_line_is_normalised_as_the_models_were_trained(line: str, wanted: str) -> None:
    """Every capital and every accent would be an unknown word."""
    assert normalise_line(line) == wanted


def test_thirds_are_cut_for_each_language() -> None:
    """One cut for all would keep one language and drop another."""
    frame = pl.DataFrame(
        {
            "language": ["en"] * 101 + ["de"] * 2 + [None],
            "kenlm_perplexity": [*map(float, range(101)), 10.0, 20.0, 5.0],
        }
    )
    found = perplexity_cutoffs(frame)
    assert found["language"].to_list() == ["de", "en"]
    assert found["documents"].to_list() == [2, 101]
    assert found.row(1)[2:] == pytest.approx((33, 66))
    kinds = frame.select(perplexity_third(33, 66).alias("third"))["third"]
    assert kinds[:101].value_counts().sort("third").rows() == [
        ("head", 33),
        ("middle", 33),
        ("tail", 35),
    ]
    for head, tail in ((2, 1), (0, 1)):
        with pytest.raises(RecipeError, match="ascend"):
            perplexity_third(head, tail)


def test_a_missing_model_is_refused(tmp_path: Path) -> None:
    """The run would end in its first batch."""
    with pytest.raises(ResourceError, match=r"no file of a model|not installed"):
        KenlmPerplexity(model=str(tmp_path / "none.arpa"))


# ---------------------------------------------------------------- with the package


@pytest.fixture
def model(tmp_path: Path) -> str:
    pytest.importorskip("kenlm", reason="kenlm is not installed")
    path = tmp_path / "words.arpa"
    path.write_text(ARPA)
    return str(path)


def perplexities(stage: KenlmPerplexity, *texts: str | None) -> list[Any]:
    batch = pa.record_batch({"text": pa.array(texts, pa.large_string())})
    made = stage.annotate(batch)
    return made["kenlm_perplexity"].to_pylist()


def test_a_perplexity_is_that_of_its_words_and_line_ends(model: str) -> None:
    """A document's value would depend on how long it is."""
    found = perplexities(KenlmPerplexity(model=model), "The storm\nof 1984\n", None, "", "zzz")
    logs = -0.5 - 0.25 - 1 - 0.75 - 2 - 1 - 1  # the last line is blank, and ends too
    wanted = [10 ** (-logs / 7), None, None, 10 ** ((3 + 1) / 2)]
    assert found == pytest.approx(wanted)


def test_settings_change_what_is_scored(model: str) -> None:
    """A model of raw text would be given normalised text."""
    raw = perplexities(KenlmPerplexity(model=model, normalise=False), "The of")
    assert raw == pytest.approx([10 ** ((3 + 0.75 + 1) / 3)], rel=1e-5)
    joined = perplexities(KenlmPerplexity(model=model, one_line=True), "of the \nstorm")
    assert joined == pytest.approx([10 ** ((0.75 + 0.5 + 0.25 + 1) / 4)], rel=1e-5)
    assert KenlmPerplexity(model=model).model_files() == (model,)


def test_a_file_that_is_no_model_is_told(model: str) -> None:
    """Every document would be an error row without a reason."""
    Path(model).write_text("nothing")
    with pytest.raises(ResourceError, match="cannot be read"):
        KenlmPerplexity(model=model).annotate(
            pa.record_batch({"text": pa.array(["a"], pa.large_string())})
        )


def test_the_stage_keeps_its_contract(model: str) -> None:
    """A text that the model chokes on would end a run."""
    from curation.testing import check_stage

    check_stage(KenlmPerplexity(model=model))
    assert math.isfinite(perplexities(KenlmPerplexity(model=model), "x" * 100_000)[0])
