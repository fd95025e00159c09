from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.annotate.language import JUDGED_LETTERS, Language, MixedLanguage
from curation.errors import RecipeError, ResourceError
from curation.testing import check_stage
from tests.oracles.fasttext_file import SOFTMAX, Kind, write_model
from tests.oracles.text import hard_text

GOLDEN = Path(__file__).parents[1] / "golden" / "language.json"

ENGLISH = "All human beings are born free and equal in dignity and rights."
GERMAN = "Alle Menschen sind frei und gleich an Würde und Rechten geboren."
RUSSIAN = "Все люди рождаются свободными и равными в своем достоинстве и правах."


def told(stage: Language | MixedLanguage, texts: list[str | None]) -> list[dict[str, Any]]:
    batch = pa.record_batch({"text": pa.array(texts, pa.large_string())})
    rows: list[dict[str, Any]] = stage.annotate(batch).to_pylist()
    return rows


def mixed(*lines: str, stage: MixedLanguage | None = None) -> float | None:
    (row,) = told(stage or MixedLanguage(), ["\n".join(lines)])
    share: float | None = row["mixed_language_frac"]
    return share


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A fastText file whose labels mean nothing."""
    path = tmp_path_factory.mktemp("language") / "model.ftz"
    kind = Kind(loss=SOFTMAX, min_chars=1, max_chars=3, kept=300, part=2)
    write_model(path, kind, [f"w{n}" for n in range(50)])
    return str(path)


def test_languages_of_known_texts_stay_what_they_are() -> None:
    """A corpus is filtered by these labels: one that moves must move the version too."""
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    rows = told(Language(), [entry["text"] for entry in golden["texts"]])
    assert golden["version"] == Language.version
    for row, entry in zip(rows, golden["texts"], strict=True):
        assert (row["language"], row["script"]) == (entry["language"], entry["script"])
        assert row["language_prob"] == pytest.approx(entry["language_prob"], abs=1e-4)


def test_a_text_without_a_letter_has_no_language(model: str) -> None:
    """Tables of numbers would be filed under the language that digits happen to favour."""
    for stage in (Language(), Language(model=model)):
        for row in told(stage, ["", " \n", "12 345,00 €", "… — !", "ー℃"]):
            assert row == {"language": None, "language_prob": None, "script": "Zyyy"}
        (row,) = told(stage, [None])
        assert row == {"language": None, "language_prob": None, "script": None}


def test_a_text_that_the_model_knows_nothing_of_has_no_language() -> None:
    """py3langid calls it Serbian, its first label for two classes, at a probability of 1/71."""
    (row,) = told(Language(), ["\U00010400\U00010401"])
    assert row == {"language": None, "language_prob": None, "script": "Dsrt"}


def test_labels_lose_their_prefix_and_nothing_else(model: str) -> None:
    """A rule such as language == "en" would never hold."""
    (row,) = told(Language(model=model), ["w1 w2 w3"])
    assert row["language"] in {f"l{n}" for n in range(9)}
    assert 0 < row["language_prob"] <= 1


@settings(deadline=None, max_examples=40)
@given(text=hard_text, most=st.integers(1, 12))
def test_judging_the_beginning_is_judging_a_shorter_text(text: str, most: int) -> None:
    """Half a character at the cut would be another language's byte."""
    short = text.encode()[:most].decode(errors="ignore")
    row, whole = told(Language(max_bytes=most), [text]), told(Language(), [short])
    assert row == whole
    assert told(Language(max_bytes=len(text.encode()) + most), [text]) == told(Language(), [text])


def test_a_cut_in_one_text_leaves_the_next_alone() -> None:
    """The cut is a place in the whole batch, and the batch may begin anywhere."""
    batch = pa.record_batch({"text": pa.array(["é" * 9, GERMAN, None, RUSSIAN], pa.large_string())})
    found = Language(max_bytes=81).annotate(batch.slice(1)).to_pylist()
    assert found == told(
        Language(), [GERMAN, None, RUSSIAN.encode()[:81].decode("utf-8", "ignore")]
    )
    assert [row["language"] for row in found] == ["de", None, "ru"]


def test_lines_of_another_language_are_counted_by_their_characters() -> None:
    """A page in two languages would pass for one."""
    assert mixed(ENGLISH) == 0
    assert mixed(ENGLISH, GERMAN, ENGLISH) == pytest.approx(
        len(GERMAN) / (len(GERMAN) + 2 * len(ENGLISH))
    )
    assert mixed(RUSSIAN, ENGLISH, RUSSIAN) == pytest.approx(
        len(ENGLISH) / (len(ENGLISH) + 2 * len(RUSSIAN))
    )
    assert mixed("", f"  {ENGLISH}\r", "\t", f"{RUSSIAN} ") == pytest.approx(
        len(ENGLISH) / len(ENGLISH + RUSSIAN)
    )


def test_short_lines_are_not_judged() -> None:
    """Menus and captions of one word would make every page a mixture."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    assert mixed("Über uns", "Kontakt", "1 2 3 " * 30) is None
    assert mixed(letters[: JUDGED_LETTERS - 1] + " 1234567890") is None
    assert mixed(letters[:JUDGED_LETTERS]) is not None
    assert mixed(ENGLISH, "Über uns", "Datenschutz", ENGLISH) == 0
    assert told(MixedLanguage(), [None, ""]) == [{"mixed_language_frac": None}] * 2


def test_both_stages_keep_their_contract_with_a_fasttext_model(model: str) -> None:
    """The contract is run without settings; a model of the user's must keep it as well."""
    check_stage(Language(model=model))
    check_stage(MixedLanguage(model=model))
    check_stage(Language(max_bytes=100))


def test_a_model_that_is_not_there_is_told_before_any_data_is_read(tmp_path: Path) -> None:
    """A long run would end at its first batch, hours after the crawl was fetched."""
    for stage in (Language, MixedLanguage):
        with pytest.raises(ResourceError, match="cannot be read"):
            stage(model=str(tmp_path / "lid.bin"))
    wrong = tmp_path / "wrong.bin"
    wrong.write_bytes(b"not a model")
    with pytest.raises(ResourceError, match="not a fastText model"):
        Language(model=str(wrong))
    with pytest.raises(RecipeError, match="max_bytes"):
        Language(max_bytes=-1)


def test_another_model_is_another_stage(model: str, tmp_path: Path) -> None:
    """Scores of one model would be taken for those of another that has its path."""
    copy = tmp_path / "model.ftz"
    copy.write_bytes(Path(model).read_bytes())
    first = Language(model=str(copy)).identity()
    assert first["files"] == Language(model=model).identity()["files"]
    write_model(copy, Kind(loss=SOFTMAX), ["a"])
    assert Language(model=str(copy)).identity()["files"] != first["files"]
    assert Language().identity()["files"] != first["files"]
    assert Language().identity()["files"] == MixedLanguage().identity()["files"]


def test_a_stage_that_has_worked_is_no_larger_to_hand_to_a_worker(model: str) -> None:
    """A model of gigabytes would be pickled to each worker process."""
    stage = Language(model=model)
    before = len(pickle.dumps(stage))
    told(stage, [ENGLISH])
    assert len(pickle.dumps(stage)) == before
