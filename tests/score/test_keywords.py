"""Words of a domain against their slow definition."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curation import DomainKeywords, Jsonl, Recipe
from curation.errors import RecipeError
from curation.score.keywords import log_likelihood_ratio
from curation.testing import MemoryRows, check_stage
from tests.conftest import ROOT, write_jsonl
from tests.oracles import long_words as oracle

DATA = ROOT.parent / "shared" / "data"
TERMS = ["bradycardia", "anti-coagulant", "Haemorrhage", "thrombocyte", "vasoconstriction"]
PLAIN = ["government", "particularly", "understanding", "the", "of", "and", "newspaper", "was"]


def drawn(count: int, words: list[str], seed: int) -> list[str]:
    chance = random.Random(seed)
    return [" ".join(chance.choices(words, k=chance.randint(3, 30))) for _ in range(count)]


POOL: list[str | None] = [
    *drawn(60, TERMS + PLAIN, 0),
    None,
    "",
    "Once-mentioned electrocardiogram",
]
GENERAL = [*drawn(80, PLAIN, 1), "a haemorrhage"]


@pytest.fixture(scope="module")
def general(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("general") / "general.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in GENERAL))
    return str(path)


def reduced(texts: list[str | None], size: int, **given: Any) -> tuple[list[Any], dict[str, Any]]:
    column = pa.array(texts, pa.large_string())
    batches = [
        pa.RecordBatch.from_arrays([column.slice(at, size)], ["text"])
        for at in range(0, len(texts), size)
    ]
    rows = MemoryRows(batches, Path())
    made = pa.Table.from_batches(DomainKeywords(**given).reduce(rows))
    return made["keywords"].to_pylist(), rows.notes


def test_the_stage_keeps_its_contract(general: str) -> None:
    """Words that hang on the order of rows make another corpus at every run."""
    examples = pa.RecordBatch.from_arrays([pa.array(POOL, pa.large_string())], ["text"])
    check_stage(DomainKeywords(general=general), examples=examples)


@pytest.mark.filterwarnings("ignore:DomainKeywords")
def test_the_stage_keeps_its_contract_on_texts_that_break_stages(general: str) -> None:
    """One odd text would end the run of all others."""
    check_stage(DomainKeywords(general=general, min_letters=1, min_documents=1))


@pytest.mark.parametrize(
    "given",
    [{}, {"ratio": 1.01, "min_documents": 1}, {"most": 2}, {"smoothing": 5.0}, {"min_letters": 3}],
)
def test_words_are_those_of_the_oracle(general: str, given: dict[str, Any]) -> None:
    """Chance words among the domain's would be asked for in every example."""
    wanted = oracle.keywords(POOL, GENERAL, **given)
    assert wanted
    found, notes = reduced(POOL, 7, general=general, **given)
    least = given.get("min_letters", 10)
    for text, words in zip(POOL, found, strict=True):
        held = [word for word in oracle.long_words(text or "", least, 64) if word in set(wanted)]
        assert words == (None if text is None else list(dict.fromkeys(held)))
    assert notes["keywords"] == len(wanted)
    assert notes["first"] == wanted[:20]


def test_words_do_not_depend_on_how_rows_are_split(general: str) -> None:
    """Another number of workers would make another corpus."""
    whole = reduced(POOL, len(POOL), general=general, ratio=2.0)
    for size in (1, 5, 32):
        assert reduced(POOL, size, general=general, ratio=2.0) == whole


def test_a_spelling_does_not_depend_on_which_stands_first(general: str) -> None:
    """ "Haemorrhage" in one run and "haemorrhage" in another would be two corpora."""
    for first in ("HAEMORRHAGE", "haemorrhage", "Haemorrhage"):
        found, _ = reduced([first, *["Haemorrhage " * 9] * 8], 3, general=general)
        assert found[0] == ["haemorrhage"]


def test_a_word_needs_so_many_documents_and_not_so_many_places(general: str) -> None:
    """A term that one document repeats is that document's and not the domain's."""
    texts: list[str | None] = ["bradycardia " * 30, "bradycardia", "thrombocyte", "thrombocyte"]
    texts += ["thrombocyte", "government"]
    for size in (1, 6):
        found, notes = reduced(texts, size, general=general, min_documents=3)
        assert notes["first"] == ["thrombocyte"]
        assert found[:3] == [[], [], ["thrombocyte"]]


def test_smoothing_counts_in_the_general_text_s_words_too(tmp_path: Path) -> None:
    """In a small general text, what it does not hold would never be the domain's."""
    path = tmp_path / "general.txt"
    path.write_text("two words")
    texts: list[str | None] = ["bradycardia bradycardia bradycardia and so"]
    settings = {"general": str(path), "smoothing": 2.0, "min_documents": 1}
    assert reduced(texts, 1, **settings, ratio=1.19)[0] == [["bradycardia"]]
    with pytest.warns(UserWarning, match="no word"):
        assert reduced(texts, 1, **settings, ratio=1.21)[0] == [[]]


def test_the_general_text_is_counted_over_all_its_files(tmp_path: Path) -> None:
    """The last file alone would say what is general."""
    row = {"text": "bradycardia and more words of no length at all here"}
    for n in range(4):  # each file is a batch
        write_jsonl(tmp_path / f"{n}.jsonl", [row] * (1 + 9 * (n < 3)))
    texts: list[str | None] = ["bradycardia is there and more words"] * 5
    found, _ = reduced(texts, 2, general=str(tmp_path / "*.jsonl"), ratio=1.2, smoothing=0.01)
    assert found == [["bradycardia"]] * 5
    with pytest.warns(UserWarning, match="no word"):
        found, _ = reduced(texts, 2, general=str(tmp_path / "*.jsonl"), ratio=1.9, smoothing=0.01)
    assert found == [[]] * 5


def test_words_are_written_with_plain_hyphens(general: str) -> None:
    """A list with two hyphens for one word would find half of its places."""
    for hyphen in "-\u2010\u2011":
        found, _ = reduced([f"Anti{hyphen}Coagulant"] * 5, 2, general=general)
        assert found[0] == ["anti-coagulant"]


def test_a_document_keeps_its_first_words_only(general: str) -> None:
    """A book would carry the whole vocabulary with it."""
    found, _ = reduced(POOL, 9, general=general, per_document=1)
    whole, _ = reduced(POOL, 9, general=general)
    assert found == [words and words[:1] for words in whole]


def test_the_ratio_is_that_of_dunning() -> None:
    """A wrong ratio ranks rare accidents before the domain's words; worked out by hand."""
    ratio = log_likelihood_ratio(np.array([10, 5, 0]), 100, np.array([10, 20, 4]), 400)
    assert ratio == pytest.approx([9.4020, 0.0, 1.7932], abs=1e-3)


def test_no_word_at_all_is_told(general: str) -> None:
    """A run without a keyword makes no word-to-text example, and nobody would know why."""
    with pytest.warns(UserWarning, match="no word is 5 times commoner"):
        found, notes = reduced(["the government", None], 1, general=general)
    assert found == [[], None]
    assert notes["keywords"] == 0


def test_general_text_without_words_is_an_error(tmp_path: Path) -> None:
    """Against nothing, every word of the pool would be the domain's."""
    path = tmp_path / "general.txt"
    path.write_text("... ---")
    with pytest.raises(RecipeError, match="holds no words"):
        reduced(POOL, 9, general=str(path))


@pytest.mark.parametrize(
    "given",
    [
        {"min_letters": 0},
        {"min_letters": 65},
        {"min_documents": 0},
        {"most": 0},
        {"per_document": 0},
        {"ratio": 0.0},
        {"smoothing": float("inf")},
        {"general": "nowhere/*.jsonl"},
        {"general": "words.csv"},
    ],
)
def test_settings_that_make_no_sense_are_told_at_once(general: str, given: dict[str, Any]) -> None:
    """A run of hours would end at its first reducer."""
    with pytest.raises(RecipeError):
        DomainKeywords(**{"general": general, **given})


def test_medical_words_are_found_in_medical_text(tmp_path: Path) -> None:
    """On real text the words have to be the domain's and not the writers'."""
    medicine = DATA / "domains" / "medicine.jsonl.zst"
    if not medicine.exists():
        pytest.skip("no data in shared/data/domains")
    [news] = [str(path) for path in (DATA / "text").glob("wikinews*")][:1]
    recipe = Recipe(source=Jsonl(str(medicine)), steps=[DomainKeywords(general=news)])
    build = recipe.run(store=tmp_path / "store", workers=1, limit=2000)
    notes = build.notes()["DomainKeywords"]
    assert notes["keywords"] > 100
    assert {"medications", "treatments", "laboratory"} & set(notes["first"])
