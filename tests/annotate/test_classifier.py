from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curation import Jsonl, Recipe, col, keep, keep_best
from curation.annotate.classifier import Classifier
from curation.annotate.classifier_fit import ClassifierSettings, train_classifier
from curation.annotate.classifier_model import (
    ClassifierModel,
    Head,
    Linear,
    load_classifier,
    read_heads,
)
from curation.annotate.fasttext_model import load_model
from curation.errors import RecipeError, ResourceError
from curation.testing import check_stage
from tests.annotate.test_classifier_fit import made_up
from tests.conftest import write_jsonl
from tests.oracles.fasttext_file import ONE_VERSUS_ALL, SOFTMAX, Kind, write_model
from tests.oracles.linear import outputs

HEADS = (
    Head("field", "one", ("law", "medicine", "sport")),
    Head("quality", "one", ("bad", "good"), positive="good", temperature=2.0),
    Head("tags", "many", ("C++", "long text")),
    Head("depth", "score"),
)
WORDS = [f"w{n}" for n in range(50)]


def drawn(heads: tuple[Head, ...] = HEADS, buckets: int = 500) -> ClassifierModel:
    """Return a linear model with weights drawn at random."""
    draw = np.random.default_rng(4)
    width = sum(head.outputs for head in heads)
    met = np.sort(draw.choice(buckets, 300, replace=False)).astype(np.uint32)
    rows = np.abs(draw.normal(size=(300, 1 + width))).astype(np.float32) + 0.1
    rows[:, 1:] *= draw.choice([-3, 3], size=(300, width))
    return ClassifierModel(
        heads, Linear(met, rows, draw.normal(size=width).astype(np.float32), 2, buckets)
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of a linear model with a head of every kind."""
    path = tmp_path_factory.mktemp("classifier") / "all.classifier"
    drawn().save(path)
    return str(path)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A fastText file that somebody else made."""
    path = tmp_path_factory.mktemp("classifier") / "bare.bin"
    write_model(path, Kind(loss=SOFTMAX, labels=2, word_ngrams=2), WORDS)
    return str(path)


def told(stage: Classifier, texts: list[str | None]) -> list[dict[str, Any]]:
    batch = pa.record_batch({"text": pa.array(texts, pa.large_string())})
    rows: list[dict[str, Any]] = stage.annotate(batch).to_pylist()
    return rows


def test_every_head_has_its_columns(model: str) -> None:
    """A rule would name a column that is not there, or one of another type."""
    assert [(f.name, str(f.type)) for f in Classifier(model=model).writes] == [
        ("field", "large_string"),
        ("field_prob", "float"),
        ("quality_prob", "float"),
        ("tags", "large_list<item: large_string>"),
        ("tags_c_prob", "float"),
        ("tags_long_text_prob", "float"),
        ("depth_score", "float"),
    ]
    named = Classifier(model=model, name="mine").writes.names
    assert named[:3] == ["mine_field", "mine_field_prob", "mine_quality_prob"]


def test_answers_are_those_of_the_definitions(model: str) -> None:
    """Outputs of one head would be read as another's."""
    text = "the judge and the court, 12 goals"
    (row,) = told(Classifier(model=model), [text])
    inner = drawn().inner
    assert isinstance(inner, Linear)
    by_bucket = dict(zip(inner.bucket_U.tolist(), inner.row_UX.tolist(), strict=True))
    logit, _ = outputs(text, by_bucket, inner.bias_O.tolist(), 2, 500)
    power = np.exp(logit[:3])
    best = int(np.argmax(power))
    assert row["field"] == HEADS[0].labels[best]
    assert row["field_prob"] == pytest.approx(power[best] / power.sum(), rel=1e-4)
    assert row["quality_prob"] == pytest.approx(1 / (1 + np.exp(-logit[3] / 2)), rel=1e-4)
    tags = 1 / (1 + np.exp(-np.array(logit[4:6])))
    assert [row["tags_c_prob"], row["tags_long_text_prob"]] == pytest.approx(tags, rel=1e-4)
    assert row["tags"] == [t for t, p in zip(HEADS[2].labels, tags, strict=True) if p >= 0.5]
    assert row["depth_score"] == pytest.approx(logit[6], rel=1e-4)


def test_all_kinds_of_models_keep_the_contract(model: str, bare: str, tmp_path: Path) -> None:
    """A score that depends on its neighbours is stored once and used for ever."""
    tags = tmp_path / "tags.bin"
    write_model(tags, Kind(loss=ONE_VERSUS_ALL, labels=3), WORDS)
    for stage in (
        Classifier(model=model),
        Classifier(model=model, name="x"),
        Classifier(model=bare),
        Classifier(model=bare, positive="l1", name="quality"),
        Classifier(model=str(tags)),
    ):
        check_stage(stage)
        examples = pa.record_batch(
            {"text": pa.array(["w1 w2", None, "", "w3 w4\nw5", "zz", "w1"] * 4, pa.large_string())}
        )
        check_stage(stage, examples=examples)


def test_a_text_without_a_known_word_has_no_answer(model: str, bare: str) -> None:
    """The base rate would be taken for a finding about the text."""
    stages = (
        Classifier(model=model),
        Classifier(model=bare),
        Classifier(model=bare, positive="l0"),
    )
    for stage in stages:
        for row in told(stage, [None, "", " \n\x0c"]):
            assert set(row.values()) == {None}
        (row,) = told(stage, ["w1 w2 judge"])
        assert None not in row.values()


def test_a_fasttext_file_says_what_it_says_without_us(bare: str) -> None:
    """Scores of DCLM's classifier would be ours alone."""
    texts = [" ".join(WORDS[n : n + 5]) for n in range(40)]
    inner = load_model(bare)
    data = np.frombuffer("".join(texts).encode(), dtype=np.uint8)
    offset = np.concatenate([[0], np.cumsum([len(text) for text in texts])])
    label, prob = inner.predict(data, offset[:-1], offset[1:])
    rows = told(Classifier(model=bare, name="q"), list(texts))
    assert [row["q"] for row in rows] == [inner.labels[at] for at in label]
    assert [row["q_prob"] for row in rows] == pytest.approx(prob.tolist())
    sided = told(Classifier(model=bare, positive="l1", name="q"), list(texts))
    wanted = [p if inner.labels[at] == "l1" else 1 - p for at, p in zip(label, prob, strict=True)]
    assert [row["q_prob"] for row in sided] == pytest.approx(wanted, abs=1e-4)


def test_two_classifiers_fit_into_one_recipe(model: str, bare: str, tmp_path: Path) -> None:
    """One experiment compares a domain's model with a quality model over the same rows."""
    write_jsonl(tmp_path / "a.jsonl", [{"text": f"w{n} w{n + 1} judge"} for n in range(20)])
    recipe = Recipe(
        source=Jsonl(str(tmp_path / "a.jsonl")),
        steps=[
            Classifier(model=model),
            Classifier(model=bare, name="other", positive="l1"),
            keep(col("quality_prob") >= 0.0, because="quality"),
            keep_best("other_prob", documents=5, because="below the budget"),
        ],
    )
    build = recipe.run(store=tmp_path / "store", workers=0)
    rows = build.documents(columns=["field", "other_prob", "depth_score"]).collect()
    assert len(rows) == 5
    with pytest.raises(RecipeError, match="which is there already"):
        Recipe(
            source=Jsonl(str(tmp_path / "a.jsonl")),
            steps=[Classifier(model=model), Classifier(model=model)],
        ).plan()


# ---------------------------------------------------------------- the file


def test_a_model_is_the_same_after_it_was_saved(tmp_path: Path) -> None:
    """The corpus would be scored by another model than the one that was measured."""
    texts, labels = made_up(60)
    made = train_classifier(
        texts, {"field": labels}, settings=ClassifierSettings(buckets=1 << 10), positive="law"
    )
    made.save(tmp_path / "m")
    read = load_classifier(tmp_path / "m")
    assert read.heads == made.heads == read_heads(str(tmp_path / "m"))
    assert dict(read.report) == json.loads(json.dumps(made.report))
    assert dict(read.settings) == dict(made.settings)
    assert read.threshold_for(keep_frac=0.2) == made.threshold_for(keep_frac=0.2)
    assert read.threshold_for(label="sport", precision=0.5) >= 0
    read.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "m").read_bytes()
    with pytest.raises(RecipeError, match="has no label 'laws'") as told_so:
        read.threshold_for(label="laws", keep_frac=0.1)
    assert "'law'" in told_so.value.facts["remedy"]
    with pytest.raises(RecipeError, match="has no head 'fields'"):
        read.threshold_for("fields", keep_frac=0.1)


def test_another_model_is_another_stage(model: str, tmp_path: Path) -> None:
    """Scores of one model would be taken for those of another that has its path."""
    copy = tmp_path / "copy"
    copy.write_bytes(Path(model).read_bytes())
    first = Classifier(model=str(copy)).identity()
    assert first["files"] == Classifier(model=model).identity()["files"]
    drawn(HEADS[:1]).save(copy)
    assert Classifier(model=str(copy)).identity()["files"] != first["files"]
    assert Classifier(model=str(copy)).writes.names == ["field", "field_prob"]


class _Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("trap-was-sprung"),))


def test_a_pickle_is_never_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sends a model would run their code on every worker."""
    monkeypatch.chdir(tmp_path)
    for name in ("model.pkl", "model.joblib", "model.bin"):
        path = tmp_path / name
        path.write_bytes(pickle.dumps(_Trap()))
        with pytest.raises(ResourceError, match="no classifier") as told_so:
            Classifier(model=str(path))
        assert "pickle" in told_so.value.facts["found"]
    arrays = tmp_path / "arrays"
    drawn().save(arrays)
    rewritten(arrays, {"row.npy": b"\x93NUMPY" + pickled_array()})
    with pytest.raises(ResourceError, match="no classifier"):
        load_classifier(arrays)
    assert not (tmp_path / "trap-was-sprung").exists()


def header_of(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        header: dict[str, Any] = json.loads(archive.read("header.json"))
    return header


def as_file(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def pickled_array() -> bytes:
    stream = io.BytesIO()
    trap = np.empty((1, 1), dtype=object)
    trap[0, 0] = _Trap()
    np.save(stream, trap, allow_pickle=True)
    return stream.getvalue()[6:]


def rewritten(path: Path, changed: dict[str, bytes]) -> None:
    """Write an archive again with members changed."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {**members, **changed}.items():
            archive.writestr(name, data)


def test_a_file_of_another_kind_is_refused_with_what_it_is(tmp_path: Path) -> None:
    """A long run would end at its first batch, or score a corpus by chance."""
    good = tmp_path / "good"
    drawn().save(good)
    header = header_of(good)
    cases = {
        "version 9": {"header.json": json.dumps({**header, "version": 9}).encode()},
        "something else": {"header.json": b'{"format": "x"}'},
        "outputs": {"header.json": json.dumps({**header, "heads": header["heads"][:1]}).encode()},
        "heads are damaged": {"header.json": json.dumps({**header, "heads": [{}]}).encode()},
        "header is damaged": {"header.json": json.dumps({**header, "ngrams": None}).encode()},
        "buckets": {"header.json": json.dumps({**header, "buckets": 3}).encode()},
        "bias is damaged": {"bias.npy": b"no array"},
    }
    for found, changed in cases.items():
        bad = tmp_path / "bad"
        bad.write_bytes(good.read_bytes())
        rewritten(bad, changed)
        with pytest.raises(ResourceError, match="no classifier") as told_so:
            load_classifier(bad)
        assert found in told_so.value.facts["found"], found
    (tmp_path / "text").write_text("hello, world")
    with pytest.raises(ResourceError, match="no classifier"):
        Classifier(model=str(tmp_path / "text"))
    with pytest.raises(ResourceError, match="cannot be read"):
        Classifier(model=str(tmp_path / "none"))
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    with pytest.raises(ResourceError, match="no classifier"):
        Classifier(model=str(tmp_path / "other.zip"))


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"temperature": 0}, "'quality' has the temperature 0"),
        ({"temperature": "x"}, "'quality' has the temperature 'x'"),
        ({"temperature": float("nan")}, "'quality' has the temperature nan"),
        ({"temperature": 10**400}, "'quality' has the temperature 1000"),
        ({"labels": [1, "good"]}, "labels of 'quality' are no text: [1, 'good']"),
        ({"labels": "good"}, "labels of 'quality' are no text: 'good'"),
        ({"labels": ["\ud800", "good"]}, "labels of 'quality' are no text"),
        ({"labels": ["good"]}, "kind one, with the labels ['good']"),
        ({"labels": ["good", "good"]}, "kind one, with the labels ['good', 'good']"),
        ({"name": 7}, "one is called 7"),
        ({"name": ""}, "one is called ''"),
        ({"name": "field"}, "two have one name"),
        ({"positive": "fine"}, "'quality' looks for 'fine'"),
        ({"positive": 3}, "'quality' looks for 3"),
        ({"kind": "many"}, "'quality' looks for 'good'"),
        ({"kind": "score"}, "kind score, with the labels ['bad', 'good']"),
        ({"kind": ["one"]}, "'quality' is of the unknown kind ['one']"),
        ({"colour": 1}, "is no head"),
    ],
)
def test_a_head_that_cannot_be_used_is_refused_with_what_it_is(
    changed: dict[str, Any], found: str, tmp_path: Path
) -> None:
    """It would end in a division by nought at the first batch, or in columns of a wrong name."""
    path = tmp_path / "bad"
    drawn().save(path)
    header = header_of(path)
    header["heads"][1].update(changed)
    rewritten(path, {"header.json": json.dumps(header).encode()})
    for read in (load_classifier, read_heads):
        with pytest.raises(ResourceError, match="no classifier") as told_so:
            read(str(path))
        assert found in told_so.value.facts["found"]


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"kind": "forest"}, "a model of the unknown kind 'forest'"),
        ({"kind": None}, "a model of the unknown kind None"),
        ({"ngrams": "2"}, "ngrams is '2'"),
        ({"ngrams": True}, "ngrams is True"),
        ({"buckets": float("inf")}, "buckets is inf"),
        ({"settings": [1]}, "settings is [1]"),
        ({"report": "fine"}, "report is 'fine'"),
        ({"heads": {}}, "there are none"),
        ({"heads": []}, "there are none"),
        ({"heads": ["field"]}, "'field' is no head"),
    ],
)
def test_a_header_that_cannot_be_used_is_refused_with_what_it_is(
    changed: dict[str, Any], found: str, tmp_path: Path
) -> None:
    """Weights would be read as those of a model that they are not of."""
    path = tmp_path / "bad"
    drawn().save(path)
    rewritten(path, {"header.json": json.dumps({**header_of(path), **changed}).encode()})
    for read in (load_classifier, read_heads):
        with pytest.raises(ResourceError, match="no classifier") as told_so:
            read(str(path))
        assert found in told_so.value.facts["found"]


def test_arrays_that_cannot_be_used_are_refused_with_what_they_are(tmp_path: Path) -> None:
    """Every score would be null, or a word's weight would be another's, in all silence."""
    texts, labels = made_up(60)
    path, good = tmp_path / "bad", tmp_path / "good"
    made = train_classifier(
        texts, {"field": labels}, settings=ClassifierSettings(buckets=1 << 10), positive="law"
    )
    made.save(good)
    assert isinstance(made.inner, Linear)
    bucket, row, held = made.inner.bucket_U, made.inner.row_UX, made.held_out["field"]
    holed = row.copy()
    holed[3, 1] = np.nan
    swapped = bucket[[1, 0, *range(2, len(bucket))]]
    cases: list[tuple[str, Any, str]] = [
        ("row", holed, "its row has 1 values that are NaN or infinite"),
        ("bias", np.full(3, np.inf, np.float32), "its bias has 3 values"),
        ("bucket", swapped, "do not ascend"),
        ("bucket", bucket[[0, 0, *range(2, len(bucket))]], "do not ascend"),
        ("bucket", bucket.astype(np.float32), "its bucket is 1-dimensional b'<f4'"),
        ("row", row.astype(np.float64), "its row is 2-dimensional b'<f8'"),
        ("said-0", held.said_ML[:, :1], "held-out texts of 'field' do not fit"),
        ("truth-0", held.truth_ML[1:], "held-out texts of 'field' do not fit"),
        ("said-0", held.said_ML * np.float32(np.nan), "its said-0 has"),
    ]
    for name, array, found in cases:
        path.write_bytes(good.read_bytes())
        rewritten(path, {f"{name}.npy": as_file(array)})
        with pytest.raises(ResourceError, match="no classifier") as told_so:
            load_classifier(path)
        assert found in told_so.value.facts["found"], found
    path.write_bytes(good.read_bytes())
    before = as_file(row)
    for data in (
        before[:-4],
        before + b"four",
        before.replace(b"'shape': (", b"'shape': (9", 1),
        before.replace(b"'shape': (", b"'shape': ((", 1),
        before.replace(b"'shape': (", b"'shape': (-", 1),
    ):
        rewritten(path, {"row.npy": data})
        with pytest.raises(ResourceError, match="no classifier") as told_so:
            load_classifier(path)
        assert "its row is damaged" in told_so.value.facts["found"]


def test_an_archive_that_cannot_be_unpacked_is_refused(tmp_path: Path) -> None:
    """The errors of the unpacker would be all that a person sees."""
    path = tmp_path / "bad"
    drawn().save(path)
    rewritten(path, {"header.json": b"[" * 200_000})
    with pytest.raises(ResourceError, match="no classifier"):
        load_classifier(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", b"{" + b" " * 1000)
    data = path.read_bytes()
    at = data.index(b"header.json") + len("header.json")
    path.write_bytes(data[:at] + b"\xff" * 4 + data[at + 4 :])
    with pytest.raises(ResourceError, match="no classifier"):
        load_classifier(path)


def test_a_file_that_is_cut_off_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    """A copy that was interrupted would be half a model."""
    good, cut = tmp_path / "good", tmp_path / "cut"
    drawn().save(good)
    data = good.read_bytes()
    for size in (0, 3, 5, 100, len(data) // 2, len(data) - 1):
        cut.write_bytes(data[:size])
        with pytest.raises(ResourceError, match="no classifier"):
            load_classifier(cut)


def test_settings_that_do_not_fit_the_model_are_told(model: str, bare: str, tmp_path: Path) -> None:
    """The wrong label's probability would rank the corpus."""
    with pytest.raises(RecipeError, match="has no label 'l7'"):
        Classifier(model=bare, positive="l7")
    with pytest.raises(RecipeError, match="cannot look for one label"):
        Classifier(model=model, positive="good")
    alike = tmp_path / "alike"
    drawn((Head("t", "many", ("a b", "a-b")),)).save(alike)
    with pytest.raises(RecipeError, match="'t_a_b_prob' twice"):
        Classifier(model=str(alike))


def test_a_stage_that_has_worked_is_no_larger_to_hand_to_a_worker(model: str) -> None:
    """A model of gigabytes would be pickled to each worker process."""
    stage = Classifier(model=model)
    before = len(pickle.dumps(stage))
    told(stage, ["a judge"])
    assert len(pickle.dumps(stage)) == before
