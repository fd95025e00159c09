"""The command train-classifier: from files to a model that a recipe takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation import Classifier, Jsonl, Recipe, load_classifier
from curation.cli import main
from tests.annotate.test_classifier_fit import made_up
from tests.conftest import write_jsonl

pytest.importorskip("sklearn", reason="scikit-learn trains linear classifiers")
FEW = ("--buckets", "1024", "--solver", "ridge")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with labelled rows, and files of one label each."""
    texts, labels = made_up(90)
    rows = [
        {"text": text, "field": label, "tags": [label, "any"][: 1 + n % 2], "grade": n % 3}
        for n, (text, label) in enumerate(zip(texts.to_pylist(), labels.to_pylist(), strict=True))
    ]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    write_jsonl(tmp_path / "law.jsonl", [row for row in rows if row["field"] == "law"])
    write_jsonl(tmp_path / "other.jsonl", [row for row in rows if row["field"] != "law"])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> int:
    """Return the exit status of the command."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["curation", "train-classifier", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    return int(ended.value.code or 0)


def test_a_model_is_trained_from_labels_tags_and_grades(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One text would have to be read by three models."""
    asked = ("--label", "field", "--labels", "tags", "--grade", "grade", "--out", "m.classifier")
    assert run("rows.jsonl", *asked, *FEW) == 0
    assert [head.kind for head in load_classifier("m.classifier").heads] == ["one", "many", "score"]
    printed = capsys.readouterr().out
    for part in ("field: trained on", "macro F1", "tags:", "Spearman", "m.classifier"):
        assert part in printed


def test_a_model_is_trained_from_two_sides_and_taken_by_a_recipe(place: Path) -> None:
    """What the command prints at its end would not work."""
    sides = ("--positive", "law.jsonl", "--negative", "other.jsonl", "--name", "law")
    assert run(*sides, "--out", "law.classifier", *FEW) == 0
    recipe = Recipe(source=Jsonl("rows.jsonl"), steps=[Classifier(model="law.classifier")])
    found = recipe.run(store=place / "store", workers=0).documents().collect()
    law = found["text"].str.contains("court|judge|appeal|statute|plaintiff|ruling|verdict|counsel")
    assert (found["law_prob"] > 0.5).to_list() == law.to_list()


def test_a_model_is_trained_from_a_build(place: Path) -> None:
    """A judge's grades stand in the store and nowhere else."""
    source = Jsonl("rows.jsonl", columns=(("grade", "float64"),))
    Recipe(source=source, steps=[]).run(store=place / "store", workers=0)
    assert run("--store", "store", "--grade", "grade", "--out", "g.classifier", *FEW) == 0
    assert load_classifier("g.classifier").head().kind == "score"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("rows.jsonl", "--label", "feild"), "did you mean 'field'?"),
        (("rows.jsonl",), "nothing says what the classifier is to learn"),
        ((), "learns from one of"),
        (("--positive", "law.jsonl"), "learns from one of"),
        (("rows.jsonl", "--store", "store", "--label", "field"), "learns from one of"),
        (("rows.jsonl", "--label", "field", "--model", "lineal"), "did you mean 'linear'?"),
        (("rows.jsonl", "--grade", "field"), "holds no grades"),
        (("rows.jsonl", "--label", "field", "--labels", "tags", "--name", "x"), "is for one head"),
        (("law.jsonl", "--label", "field"), "are of one class"),
    ],
)
def test_a_command_that_makes_no_sense_says_why(
    words: tuple[str, ...], said: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A traceback is no advice."""
    assert run(*words, "--out", "x") != 0
    assert said in capsys.readouterr().err
    assert not (place / "x").exists()
