from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from curation.annotate.classifier_fit import ClassifierSettings, train_classifier
from curation.annotate.classifier_model import ClassifierModel
from curation.annotate.classifier_report import best_temperature, describe, reliability
from curation.annotate.classifier_targets import held_out_texts, targets_of
from curation.annotate.fasttext_model import FastTextModel
from curation.annotate.labelled import read_labelled
from curation.arrow import bytes_and_offsets
from curation.errors import RecipeError
from tests.conftest import ROOT

pytest.importorskip("sklearn", reason="scikit-learn trains linear classifiers")
LABELS = ROOT.parent / "shared" / "data" / "labels"

WORDS = {
    "law": "court judge appeal statute plaintiff ruling verdict counsel",
    "medicine": "patient dose tumour clinic surgery nurse therapy symptom",
    "sport": "goal match team coach league season striker referee",
}


def made_up(count: int = 120, seed: int = 0) -> tuple[pa.Array, pa.Array]:
    """Return texts of three kinds, and which kind each is of."""
    draw = np.random.default_rng(seed)
    texts, labels = [], []
    for n in range(count):
        label = list(WORDS)[n % 3]
        own = draw.choice(WORDS[label].split(), 6)
        texts.append(f"{n} the " + " ".join([*own, *draw.choice("and of a in it".split(), 6)]))
        labels.append(label)
    return pa.array(texts, pa.large_string()), pa.array(labels)


def said(model: ClassifierModel, texts: list[str]) -> list[str]:
    data, offset = bytes_and_offsets(pa.array(texts, pa.large_string()))
    answers, _ = model.answers(data, offset[:-1], offset[1:])
    head = model.heads[0]
    return [head.labels[at] for at in answers[head.name].argmax(axis=1)]


TOLD = ["the judge and the court", "a dose for the patient", "the coach of a team"]


@pytest.mark.parametrize("solver", ["logistic", "sgd", "ridge", "svc"])
def test_every_solver_learns_what_is_plain(solver: Any) -> None:
    """A transposed weight would still give probabilities that sum to one."""
    texts, labels = made_up()
    model = train_classifier(
        texts, {"field": labels}, settings=ClassifierSettings(solver=solver, buckets=1 << 12)
    )
    assert said(model, TOLD) == ["law", "medicine", "sport"]
    assert model.report["field"]["accuracy"] > 0.9
    assert model.report["field"]["trained"] + model.report["field"]["held_out"] == len(texts)
    pair = pc.is_in(labels, pa.array(["law", "sport"]))
    two = train_classifier(
        texts.filter(pair),
        {"field": labels.filter(pair)},
        settings=ClassifierSettings(solver=solver, buckets=1 << 12),
    )
    assert said(two, [TOLD[0], TOLD[2]]) == ["law", "sport"]


@pytest.mark.parametrize("quantized", [False, True])
def test_fasttext_learns_what_is_plain(quantized: bool) -> None:
    """The labels of its file are in an order of its own."""
    pytest.importorskip("fasttext", reason="the fastText package trains its models")
    texts, labels = made_up(600)
    settings = ClassifierSettings(
        kind="fasttext", epochs=30, rate=0.5, buckets=500, dimensions=16, quantized=quantized
    )
    model = train_classifier(texts, {"field": labels}, settings=settings)
    assert said(model, TOLD) == ["law", "medicine", "sport"]
    assert model.report["field"]["accuracy"] > 0.9
    assert isinstance(model.inner, FastTextModel)
    spread = model.inner.tables.input_RD.nbytes
    assert (len(model.source) < spread) == quantized


@pytest.mark.parametrize("kind", ["linear", "fasttext"])
def test_the_same_texts_give_the_same_file(kind: Any, tmp_path: Path) -> None:
    """A corpus could not be made a second time, and every stage would run again."""
    if kind == "fasttext":
        pytest.importorskip("fasttext", reason="the fastText package trains its models")
    texts, labels = made_up()
    settings = ClassifierSettings(kind=kind, buckets=1 << 10, epochs=2, dimensions=8)
    for name in "ab":
        train_classifier(texts, {"field": labels}, settings=settings).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    train_classifier(texts, {"field": labels}, settings=ClassifierSettings(seed=1)).save(
        tmp_path / "c"
    )
    assert (tmp_path / "c").read_bytes() != (tmp_path / "a").read_bytes()


def test_heads_of_all_kinds_are_one_model() -> None:
    """Each head has outputs of its own, and a text may be labelled for some heads only."""
    texts, labels = made_up(240)
    tags = [[label, "long"] if n % 2 else [label] for n, label in enumerate(labels.to_pylist())]
    long = [n % 2 for n in range(240)]
    texts = pa.array(
        [f"{text} lengthy" if n else text for text, n in zip(texts.to_pylist(), long, strict=True)],
        pa.large_string(),
    )
    grade: list[float | None] = [1.0 + 3.0 * n for n in long]
    grade[:40] = [None] * 40
    heads = {
        "field": labels,
        "tags": pa.array(tags),
        "depth": pa.array(grade),
    }
    model = train_classifier(texts, heads, settings=ClassifierSettings(buckets=1 << 12))
    assert [head.kind for head in model.heads] == ["one", "many", "score"]
    assert model.head("tags").labels == ("law", "long", "medicine", "sport")
    data, offset = bytes_and_offsets(
        pa.array(["the judge lengthy", "the coach"], pa.large_string())
    )
    answers, known = model.answers(data, offset[:-1], offset[1:])
    assert known.all()
    assert (answers["tags"] >= 0.5).tolist() == [
        [True, True, False, False],
        [False, False, False, True],
    ]
    assert answers["depth"][0, 0] > 2.5 > answers["depth"][1, 0]
    assert model.report["depth"]["trained"] + model.report["depth"]["held_out"] == 200
    assert model.report["depth"]["spearman"] > 0.7
    assert "Spearman" in describe(model.report)


def test_copies_and_groups_are_not_torn_apart() -> None:
    """A model would be measured on texts that it knows by heart."""
    texts, labels = made_up(300)
    doubled = pa.concat_arrays([texts, pc.utf8_upper(texts)])
    twice = pa.concat_arrays([labels, labels])
    usable = np.ones(600, dtype=np.bool_)
    held = held_out_texts(doubled, targets_of({"f": twice}, usable), held_out=0.2, seed=3)
    assert (held[:300] == held[300:]).all()
    assert 0.1 < held.mean() < 0.3
    group = pa.array([f"g{n // 10}" for n in range(600)], pa.large_string())
    held = held_out_texts(group, targets_of({"f": twice}, usable), held_out=0.2, seed=3)
    assert (held.reshape(60, 10).all(axis=1) == held.reshape(60, 10).any(axis=1)).all()
    shuffled = np.random.default_rng(0).permutation(600)
    again = targets_of({"f": twice.take(pa.array(shuffled))}, usable)
    moved = held_out_texts(group.take(pa.array(shuffled)), again, held_out=0.2, seed=3)
    assert (moved == held[shuffled]).all()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("share", [0.1, 0.9])
def test_every_label_is_met_on_both_sides(seed: int, share: float) -> None:
    """A rare label would have no figure, or would not be learnt at all."""
    texts, labels = made_up(60)
    rare = pa.array([*labels.to_pylist(), "rare", "rare"])
    texts = pa.concat_arrays([texts, pa.array(["one of two", "two of two"], pa.large_string())])
    targets = targets_of({"f": rare}, np.ones(62, dtype=np.bool_))
    held = held_out_texts(texts, targets, held_out=share, seed=seed)
    for column in targets[0].truth_NL.T > 0:
        assert held[column].any()
        assert not held[column].all()


def test_nothing_is_held_out_where_that_is_asked() -> None:
    """The last model is trained on all there is."""
    texts, labels = made_up()
    settings = ClassifierSettings(held_out=0, buckets=1 << 10)
    model = train_classifier(texts, {"field": labels}, settings=settings)
    assert not model.report
    with pytest.raises(RecipeError, match="no held-out texts"):
        model.threshold_for("field", "law", keep_frac=0.1)


# ---------------------------------------------------------------- bad input


def refused(match: str, heads: dict[str, Any], **more: Any) -> None:
    texts = made_up(6)[0]
    with pytest.raises(RecipeError, match=match):
        train_classifier(texts, {k: pa.array(v) for k, v in heads.items()}, **more)


def test_what_cannot_be_learnt_is_told_by_its_name() -> None:
    """Hours of labelling would end in a traceback of a solver."""
    refused("'f' has one example only: c", {"f": ["a", "a", "b", "b", "b", "c"]})
    refused("all texts of 'f' are of one class", {"f": ["a"] * 6})
    refused("'f' is no column to learn from", {"f": [None] * 6})
    refused("all texts of 't' are of one class", {"t": [["a"], ["a", "b"], ["a", "b"]] * 2})
    refused("2 grades of 'g' are no numbers", {"g": [1.0, float("nan"), 2.0, float("inf"), 3, 4]})
    refused("all grades of 'g' are the same", {"g": [2.0] * 6})
    refused("'f' is no column to learn from", {"f": [{"a": 1}] * 6})
    refused("cannot be called 'text'", {"text": ["a", "b"] * 3})
    refused("needs something to learn", {})
    refused("no text has the positive label 'aa'", {"f": ["a", "b"] * 3}, positive="aa")
    refused("'f' has 2 values for 6 texts", {"f": ["a", "b"]})
    fast = ClassifierSettings(kind="fasttext")
    refused("fastText learns one head", {"g": [1.0, 2.0] * 3}, settings=fast)
    refused("fastText learns one head", {"f": ["a", "b"] * 3, "h": ["a", "b"] * 3}, settings=fast)


def test_rare_labels_are_left_out_where_that_is_asked() -> None:
    """A crawl's long tail of labels would have to be pruned by hand."""
    texts, labels = made_up(60)
    named = pa.array(["odd", *labels.to_pylist()[1:]])
    settings = ClassifierSettings(drop_rare=True, buckets=1 << 10)
    with pytest.warns(UserWarning, match="left out: odd"):
        model = train_classifier(texts, {"field": named}, settings=settings)
    assert model.head().labels == ("law", "medicine", "sport")


def test_empty_texts_are_left_out_with_a_warning() -> None:
    """They have no features, and would teach that nothing means their label."""
    texts, labels = made_up(60)
    some = pa.array([None, " \n", *texts.to_pylist()[2:]], pa.large_string())
    with pytest.warns(UserWarning, match="2 texts are empty"):
        model = train_classifier(some, {"field": labels})
    assert model.report["field"]["trained"] + model.report["field"]["held_out"] == 58
    with pytest.raises(RecipeError, match="no text to train on"):
        train_classifier(pa.array(["", None], pa.large_string()), {"f": pa.array(["a", "b"])})


def test_texts_with_several_labels_of_one_head_are_told() -> None:
    """One file given as positive and as negative teaches nothing, and no figure says why."""
    texts, labels = made_up(60)
    words = texts.to_pylist()
    folded = [f" {words[0].upper()}\n", words[1], words[1], words[2], words[3], words[4]]
    other = ["sport", "law", "sport", labels[2].as_py(), "law", None]
    twice = pa.array([*words, *folded], pa.large_string())
    heads = {
        "field": pa.array([*labels.to_pylist(), *other]),
        "side": pa.array(["a", "b"] * 30 + ["a", "b", "b", "a", "a", "a"]),
        "tags": pa.array([["x"], ["y"]] * 30 + [["y"], ["x"], ["x"], ["y"], None, None]),
        "grade": pa.array([0.0, 1.0] * 30 + [1.0, 0.0, 0.0, 1.0, None, None]),
    }
    settings = ClassifierSettings(buckets=1 << 10)
    with pytest.warns(UserWarning, match="several labels") as told:
        train_classifier(twice, heads, settings=settings)
    said_so = [str(warning.message) for warning in told]
    assert len(said_so) == 2, "tags and grades may differ"
    assert said_so[0].startswith("2 texts stand with several labels of 'field', such as 'law' and")
    assert any(repr(words[n][:60]) in said_so[0] for n in (0, 1))
    assert said_so[1].startswith("1 text stands with several labels of 'side', such as 'a' and 'b'")
    assert repr(words[3][:60]) in said_so[1]
    assert {Path(warning.filename) for warning in told} == {Path(__file__)}


def test_calibration_is_measured_on_the_half_that_it_was_not_found_on() -> None:
    """A model would be called calibrated by the very texts that calibrated it."""
    texts, labels = made_up(600)
    draw = np.random.default_rng(5)
    noisy = np.where(draw.random(600) < 0.35, draw.choice(list(WORDS), 600), labels.to_pylist())
    settings = ClassifierSettings(buckets=1 << 12, held_out=0.4)
    model = train_classifier(texts, {"field": pa.array(noisy)}, settings=settings)
    held, found = model.held_out["field"], model.report["field"]
    logit = np.log(held.said_ML.astype(np.float64)) * model.head().temperature
    crossed = np.empty_like(logit)
    for one, other in ((0, 1), (1, 0)):
        heat = best_temperature(logit[one::2], held.truth_ML[one::2], exclusive=True)
        power = np.exp(logit[other::2] / heat)
        crossed[other::2] = power / power.sum(axis=1, keepdims=True)
    right = crossed.argmax(axis=1) == held.truth_ML.argmax(axis=1)
    wanted = reliability(crossed.max(axis=1), right)["calibration_error"]
    assert found["calibration_error"] == pytest.approx(wanted, abs=1e-4)
    inside = reliability(held.said_ML.max(axis=1), right)["calibration_error"]
    assert abs(found["calibration_error"] - inside) > 1e-3, "the test could not tell them apart"


@pytest.mark.parametrize(
    "wrong", [{"kind": "lineal"}, {"solver": "newton"}, {"held_out": 1.0}, {"ngrams": 0}]
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    """A solver would say so in its own words, or not at all."""
    with pytest.raises(RecipeError, match=f"no {next(iter(wrong))}|cannot be trained with"):
        ClassifierSettings(**wrong)


# ---------------------------------------------------------------- real data


def test_reading_level_is_learnt_from_real_articles() -> None:
    """The levels of one article share its words, so that a split by text would flatter."""
    path = LABELS / "onestop-english.jsonl.zst"
    if not path.exists():
        pytest.skip(f"no real data at {path}")
    table = read_labelled(str(path), ["label", "id"])
    article = pc.replace_substring_regex(table["id"].combine_chunks(), "-[a-z]+$", "")
    settings = ClassifierSettings(solver="ridge", held_out=0.2)
    model = train_classifier(
        table["text"], {"level": table["label"]}, settings=settings, groups=article
    )
    assert model.report["level"]["accuracy"] > 0.9
    assert model.report["level"]["held_out"] % 3 == 0
