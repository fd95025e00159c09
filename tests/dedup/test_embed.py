from __future__ import annotations

import importlib.machinery
import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curation import Recipe, TextFiles, col, keep
from curation.annotate.lists import stamp
from curation.columns import columns
from curation.dedup import embed
from curation.dedup.embed import Embed
from curation.dedup.semantic import SemanticDuplicates
from curation.errors import RecipeError, ResourceError
from curation.stage import annotator
from curation.testing import check_stage


class Fake:
    """Stands in for either library's model: a text's vector is its length and its first letter."""

    calls: list[tuple[list[str], dict[str, Any]]]
    shape: str = "right"

    def __init__(self, folder: str, **settings: Any) -> None:
        self.folder, self.settings = folder, settings
        Fake.calls = []

    @classmethod
    def from_pretrained(cls, folder: str) -> Fake:
        return cls(folder)

    def encode(self, texts: list[str], **settings: Any) -> Any:
        Fake.calls.append((texts, settings))
        made = [[len(t), ord(t[0]), 1.0] for t in texts]
        return np.array(made if Fake.shape == "right" else made[:-1], dtype=np.float64)


def module(name: str, **contents: Any) -> types.ModuleType:
    made = types.ModuleType(name)
    made.__spec__ = importlib.machinery.ModuleSpec(name, None)
    vars(made).update(contents)
    return made


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    embed._loaded.cache_clear()
    Fake.shape = "right"
    yield
    embed._loaded.cache_clear()


@pytest.fixture
def transformer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(
        sys.modules,
        "sentence_transformers",
        module("sentence_transformers", SentenceTransformer=Fake),
    )
    return folder_of(tmp_path / "transformer", "sentence_transformers.models.Transformer")


@pytest.fixture
def static(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(sys.modules, "model2vec", module("model2vec", StaticModel=Fake))
    return folder_of(tmp_path / "static", "sentence_transformers.models.StaticEmbedding")


def folder_of(path: Path, kind: str) -> str:
    path.mkdir()
    (path / "modules.json").write_text(json.dumps([{"idx": 0, "path": "", "type": kind}]))
    return str(path)


def embedded(stage: Embed, *texts: str | None) -> list[Any]:
    made = stage.annotate(pa.record_batch({"text": pa.array(texts, pa.large_string())}))
    assert made.schema == columns("embedding")
    made.validate(full=True)
    return made["embedding"].to_pylist()


def test_each_text_gets_its_own_vector_and_a_blank_one_none(transformer: str) -> None:
    """One row to the side and every copy would be named after another document."""
    texts = ["bb", None, "", " \n\u3000", "a", None, "cccc"]
    wanted = [[2.0, 98.0, 1.0], None, None, None, [1.0, 97.0, 1.0], None, [4.0, 99.0, 1.0]]
    assert embedded(Embed(model=transformer), *texts) == wanted
    assert Fake.calls == [
        (
            ["bb", "a", "cccc"],
            {"batch_size": 64, "show_progress_bar": False, "convert_to_numpy": True},
        )
    ]


def test_a_static_model_reads_all_that_max_chars_leaves(static: str) -> None:
    """Its library would cut at 512 tokens, and start processes inside of the engine's."""
    stage = Embed(model=static, max_chars=3, batch_rows=2)
    assert embedded(stage, "\u00e9\U0001f600\u00e9\u00e9\u00e9", "ab") == [[3, 233, 1], [2, 97, 1]]
    settings = {"batch_size": 2, "show_progress_bar": False}
    assert Fake.calls[0][1] == settings | {"max_length": None, "use_multiprocessing": False}
    assert embedded(Embed(model=static, max_chars=0), "a" * 5000) == [[5000.0, 97.0, 1.0]]


def test_no_text_needs_no_model(transformer: str) -> None:
    """A batch without text must not load a model of gigabytes."""
    assert embedded(Embed(model=transformer)) == []
    assert embedded(Embed(model=transformer), None, " ") == [None, None]
    assert embed._loaded.cache_info().misses == 0


def test_the_model_is_loaded_once_and_never_from_a_hub(transformer: str) -> None:
    """A model loaded for each batch, or in another version than yesterday's, is no model."""
    stage = Embed(model=transformer)
    embedded(stage, "a")
    embedded(stage, "b")
    assert embed._loaded.cache_info().misses == 1
    assert embed._loaded(transformer, stamp(transformer)).model.settings == {
        "local_files_only": True
    }


def test_the_contract_holds(transformer: str, static: str) -> None:
    """A stage that breaks it writes a corpus that nobody can make a second time."""
    check_stage(Embed(model=transformer))
    check_stage(Embed(model=static, max_chars=7))


def test_the_model_is_part_of_the_identity(transformer: str) -> None:
    """Vectors of an exchanged model beside those of the old one would compare as nonsense."""
    before = Embed(model=transformer).identity()
    (Path(transformer) / "weights").write_bytes(b"other")
    assert Embed(model=transformer).identity() != before


def test_a_model_that_gives_something_else_is_an_error(transformer: str) -> None:
    """A row too few would shift all vectors after it."""
    Fake.shape = "wrong"
    with pytest.raises(ResourceError, match="one vector for each text"):
        embedded(Embed(model=transformer), "a", "b")


def test_what_cannot_be_read_is_refused_at_once(tmp_path: Path) -> None:
    """A missing model found after the extraction would have cost the extraction."""
    with pytest.raises(ResourceError, match="no folder"):
        Embed(model="sentence-transformers/all-MiniLM-L6-v2")
    with pytest.raises(ResourceError, match="neither"):
        Embed(model=str(tmp_path))
    (tmp_path / "modules.json").write_text("{")
    with pytest.raises(ResourceError, match="neither"):
        Embed(model=str(tmp_path))


@pytest.mark.parametrize("name", ["sentence_transformers", "model2vec"])
def test_a_missing_package_is_named_before_any_data_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Who has not installed the extra must be told how, and not after an hour."""
    kinds = {"sentence_transformers": "Transformer", "model2vec": "StaticEmbedding"}
    folder = folder_of(tmp_path / "model", f"sentence_transformers.models.{kinds[name]}")
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(embed, "find_spec", lambda _: None)
    with pytest.raises(ResourceError, match=name.replace("_", "-")) as error:
        Embed(model=folder)
    extra = {"model2vec": "curation[embed]", "sentence_transformers": "sentence-transformers"}
    assert f"pip install {extra[name]}" in error.value.facts["remedy"].replace("'", "")


def test_folders_of_both_kinds_are_told_apart(tmp_path: Path) -> None:
    """A static model read as a transformer would ask for torch, which nobody needs for it."""
    old = tmp_path / "old"
    old.mkdir()
    for name in ("model.safetensors", "tokenizer.json"):
        (old / name).write_bytes(b"{}")
    assert embed._library_of(str(old)) == "model2vec"
    (old / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ResourceError, match="neither"):
        embed._library_of(str(old))
    (old / "config.json").write_text('{"model_type": "model2vec"}')
    assert embed._library_of(str(old)) == "model2vec"


@pytest.mark.parametrize("wrong", [{"max_chars": -1}, {"batch_rows": 0}])
def test_settings_that_cannot_work_are_refused(transformer: str, wrong: dict[str, int]) -> None:
    """A setting that cannot work is refused before the run, not in it."""
    with pytest.raises(RecipeError):
        Embed(model=transformer, **wrong)


def test_a_model_of_model2vec_is_read(tmp_path: Path) -> None:
    """The package's own folder format and names, not what we take them for."""
    model2vec = pytest.importorskip(
        "model2vec", reason="model2vec is not here: pip install 'curation[embed]'"
    )
    tokenizers = pytest.importorskip("tokenizers")
    words = {"[UNK]": 0, "[PAD]": 1, "cat": 2, "dog": 3}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    vectors = np.eye(4, dtype=np.float32)
    model = model2vec.StaticModel(vectors=vectors, tokenizer=tokenizer, normalize=True)
    model.save_pretrained(tmp_path / "model")
    stage = Embed(model=str(tmp_path / "model"))
    made = embedded(stage, "cat cat", "dog", None, "dog cat")
    half = float(np.sqrt(np.float32(0.5)))
    assert made[:3] == [[0, 0, 1, 0], [0, 0, 0, 1], None]
    assert made[3] == pytest.approx([0, 0, half, half])
    check_stage(stage)


def test_a_users_own_model_goes_the_whole_way(tmp_path: Path) -> None:
    """The docstring promises that any function which writes `embedding` will do."""
    for name, text in {"a": "one two three", "b": "three two one", "c": "something else"}.items():
        (tmp_path / f"{name}.txt").write_text(text)

    @annotator(writes={"embedding": pa.large_list(pa.float32())})
    def embedding(text: pa.Array) -> pa.Array:
        made = [[float(t.count(c)) for c in "onetwhrsl"] for t in text.to_pylist()]
        return pa.array(made, pa.large_list(pa.float32()))

    steps = [
        embedding,
        SemanticDuplicates(),
        keep(col("duplicate_of").is_null(), because="said already"),
    ]
    source = TextFiles(str(tmp_path / "*.txt"))
    build = Recipe(source=source, steps=steps).run(store=tmp_path / "store", workers=0)
    assert len(build.documents(columns=["id"]).collect()) == 2
    gone = build.dropped().collect()
    assert gone["similarity"].to_list() == [1.0]
    assert gone["group_size"].to_list() == [2]
