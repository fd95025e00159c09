"""Parity of our reading of fastText's models with fastText itself, for every kind of model."""

from __future__ import annotations

import functools
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.annotate import fasttext_model
from curation.annotate.fasttext_model import FastTextModel, load_model
from curation.arrow import bytes_and_offsets
from curation.errors import ResourceError
from curation.kernels.fasttext_tables import remainder
from tests.conftest import ROOT
from tests.oracles.fasttext_file import (
    HIERARCHICAL,
    NEGATIVE,
    ONE_VERSUS_ALL,
    SOFTMAX,
    Kind,
    write_model,
)
from tests.oracles.text import hard_text

DATA = ROOT.parent / "shared" / "data"
LID = DATA / "models" / "lid.176.ftz"

_HS, _NS, _SOFTMAX, _OVA = HIERARCHICAL, NEGATIVE, SOFTMAX, ONE_VERSUS_ALL
MODELS = {
    "hs": Kind(loss=_HS, labels=40, min_chars=2, max_chars=4),
    "softmax": Kind(loss=_SOFTMAX, word_ngrams=2),
    "softmax-runs-of-4": Kind(loss=_SOFTMAX, word_ngrams=4, min_chars=1, max_chars=3, dim=10),
    "softmax-no-end": Kind(
        loss=_SOFTMAX, word_ngrams=3, min_chars=2, max_chars=3, ends_lines=False
    ),
    "ova": Kind(loss=_OVA, min_chars=3, max_chars=3),
    "ns": Kind(loss=_NS, min_chars=2, max_chars=6, word_ngrams=3),
    "words-only": Kind(loss=_SOFTMAX, buckets=0),
    "words-only-no-end": Kind(loss=_HS, buckets=0, ends_lines=False),
    "two-labels": Kind(loss=_HS, labels=2, min_chars=0, max_chars=2),
    "one-label": Kind(loss=_HS, labels=1, word_ngrams=2),
    "version-11": Kind(loss=_SOFTMAX, min_chars=2, max_chars=4, version=11),
    "quantized": Kind(loss=_HS, min_chars=2, max_chars=4, part=2),
    "quantized-uneven": Kind(loss=_SOFTMAX, dim=15, min_chars=2, max_chars=4, part=4),
    "quantized-norms": Kind(loss=_SOFTMAX, word_ngrams=2, part=2, norms=True),
    "quantized-output": Kind(loss=_SOFTMAX, max_chars=3, part=3, quantized_output=True, norms=True),
    "pruned": Kind(loss=_HS, min_chars=2, max_chars=4, word_ngrams=2, kept=200, part=2),
    "pruned-norms": Kind(loss=_OVA, min_chars=1, max_chars=3, kept=400, part=5, norms=True),
    "pruned-to-words": Kind(loss=_SOFTMAX, min_chars=1, max_chars=3, kept=0, part=2),
}
_SYLLABLES = "ba ce di fo gu ña öl ша це のに 한 a b".split()


@functools.cache
def words() -> list[str]:
    draw = random.Random(7)
    return sorted({"".join(draw.choices(_SYLLABLES, k=draw.randint(1, 4))) for _ in range(700)})


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fasttext")


def written(folder: Path, name: str) -> tuple[str, Any]:
    """Return the path of a small model, and the package's model of it."""
    import fasttext

    path = folder / f"{name}.bin"
    if not path.exists():
        write_model(path, MODELS[name], words()[::2])
    return str(path), fasttext.load_model(str(path))


def column(texts: list[str]) -> tuple[Any, Any, Any]:
    data, offset = bytes_and_offsets(pa.array(texts, pa.large_string()))
    return data, offset[:-1], offset[1:]


def agree(model: FastTextModel, package: Any, texts: list[str], close: float = 1e-4) -> None:
    """Compare the likeliest label, its probability and all probabilities with the package's."""
    if model.tables.loss not in (HIERARCHICAL, SOFTMAX):
        close = 4e-3  # sigmoids come from a table: a last digit can be a step of it
    label, prob = model.predict(*column(texts))
    probs = model.probabilities(*column(texts))
    for n, text in enumerate(texts):
        names, wanted = package.predict(text.replace("\n", " "), k=-1)
        if not len(names):
            assert label[n] == -1
            assert prob[n] == 0
            assert not probs[n].any()
            continue
        all_wanted = dict(
            zip((name.removeprefix("__label__") for name in names), wanted, strict=True)
        )
        assert prob[n] == pytest.approx(min(wanted[0], 1.0), abs=close), text[:80]
        assert all_wanted[model.labels[label[n]]] == pytest.approx(wanted[0], abs=close), text[:80]
        for i, name in enumerate(model.labels):
            assert probs[n, i] == pytest.approx(min(all_wanted.get(name, 0.0), 1.0), abs=close)


def sentences(count: int) -> list[str]:
    draw = random.Random(3)
    known = [*words(), "unknown", "x", "</s>", "__label__l1", "__label__new", "é\n", "\t", "\0a"]
    return [" ".join(draw.choices(known, k=draw.randint(0, 30))) for _ in range(count)]


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_model_says_what_the_package_says(folder: Path, name: str) -> None:
    """Every score of a classifier would be of a model that nobody has trained."""
    path, package = written(folder, name)
    agree(load_model(path), package, sentences(60))


@pytest.mark.parametrize("loss", [_HS, _SOFTMAX, _OVA])
@pytest.mark.parametrize("labels", [2, 3, 8])
def test_of_equal_labels_the_one_that_the_package_takes_is_taken(
    tmp_path: Path, loss: int, labels: int
) -> None:
    """A model that cannot tell would be quoted with a label of its own by each program."""
    import fasttext

    write_model(tmp_path / "flat.bin", Kind(loss=loss, labels=labels, flat=True), words())
    package, model = (
        fasttext.load_model(str(tmp_path / "flat.bin")),
        load_model(str(tmp_path / "flat.bin")),
    )
    (name,), _ = package.predict("some words")
    (label,), _ = model.predict(*column(["some words"]))
    assert f"__label__{model.labels[label]}" == name


@pytest.mark.parametrize("name", ["pruned", "ns"])
@settings(deadline=None, max_examples=40)
@given(texts=st.lists(hard_text | st.sampled_from(words()), max_size=6))
def test_any_text_is_read_as_the_package_reads_it(
    folder: Path, name: str, texts: list[str]
) -> None:
    """White space, null bytes and wide characters would be cut into other words."""
    path, package = written(folder, name)
    agree(load_model(path), package, [*texts, " ".join(texts), "".join(texts)])


def test_a_quantized_model_too_large_to_spread_says_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest models would be the only ones with another answer."""
    for name in ("quantized-uneven", "pruned-norms"):
        path, package = written(folder, name)
        fasttext_model._load.cache_clear()
        monkeypatch.setattr(fasttext_model, "SPREAD_BYTES", 0)
        model = load_model(path)
        fasttext_model._load.cache_clear()
        assert not model.tables.input_RD.size
        agree(model, package, sentences(30))


@pytest.mark.parametrize("name", ["softmax-runs-of-4", "hs"])
def test_long_texts_are_read_in_windows_without_a_seam(folder: Path, name: str) -> None:
    """A window that ends within a text would lose or repeat words there."""
    path, package = written(folder, name)
    draw = random.Random(5)
    many = [f"w{draw.randrange(90_000)}" for _ in range(200_000)]
    texts = [("ab" * 40)[:n] for n in range(60, 70)]  # about as long as what is hashed at once
    texts += ["short one", " ".join(many), "", "x" * 3000, " ".join(many[:1000]), "の" * 2000]
    model = load_model(path)
    agree(model, package, texts, close=1e-3)  # the package adds a million rows in float32
    together = model.predict(*column(texts))
    alone = [model.predict(*column([text])) for text in texts]
    assert np.concatenate([label for label, _ in alone]).tolist() == together[0].tolist()
    assert np.concatenate([prob for _, prob in alone]).tolist() == together[1].tolist()


@settings(deadline=None)
@given(st.integers(1, 2**31 - 1), st.integers(0, 2**32 - 1), st.integers(0, 1))
def test_a_hash_is_put_into_the_bucket_of_its_remainder(buckets: int, value: int, off: int) -> None:
    """A row beyond the last would be read, from whatever memory lies there."""
    for tried in {value, abs(value // buckets * buckets - off), buckets - 1, buckets}:
        assert remainder(np.uint32(tried), buckets, 1.0 / buckets) == tried % buckets


@pytest.mark.parametrize("buckets", [3, 49, 500, 2_000_000, 2_097_152, 10_000_019])
def test_multiples_of_the_buckets_are_in_the_first(buckets: int) -> None:
    """Their quotient in floating point is the one that can be too small."""
    for times in {*range(1, 400), (2**32 - 1) // buckets}:
        assert remainder(np.uint32(times * buckets % 2**32), buckets, 1.0 / buckets) == (
            times * buckets % 2**32 % buckets
        )


def test_many_short_texts_are_each_read_as_if_alone(folder: Path) -> None:
    """The sum of one text would leak into the next block of texts."""
    path, _ = written(folder, "softmax-runs-of-4")
    model = load_model(path)
    texts = sentences(500)
    repeated = model.predict(*column(texts * 300))
    once = model.predict(*column(texts))
    assert (repeated[0].reshape(300, -1) == once[0]).all()
    assert (repeated[1].reshape(300, -1) == once[1]).all()


# ---------------------------------------------------------------- lid.176


def paragraphs() -> list[str]:
    """Return the paragraphs of the Universal Declaration of Human Rights, in 500 languages."""
    path = DATA / "labels" / "udhr.jsonl.zst"
    if not path.exists():
        pytest.skip(f"the paragraphs are not at {path}")
    with open(path, "rb") as file:
        lines = zstandard.ZstdDecompressor().stream_reader(file).read().splitlines()
    return [json.loads(line)["text"] for line in lines]


def test_real_paragraphs_are_told_as_the_package_tells_them() -> None:
    """The published thresholds of every crawl filter are of this model and this package."""
    if not LID.exists():
        pytest.skip(f"the model is not at {LID}")
    import fasttext

    package, model = fasttext.load_model(str(LID)), load_model(str(LID))
    texts = paragraphs()
    texts += ["\n".join(texts[n : n + 50]) for n in range(0, len(texts), 500)]
    label, prob = model.predict(*column(texts))
    for n in range(0, len(texts), 7):
        (name,), (wanted,) = package.predict(texts[n].replace("\n", " "))
        assert model.labels[label[n]] == name.removeprefix("__label__"), texts[n]
        assert prob[n] == pytest.approx(min(wanted, 1.0), abs=1e-4), texts[n]


# ---------------------------------------------------------------- files that are no models


def test_a_file_that_ends_too_early_is_told(folder: Path, tmp_path: Path) -> None:
    """A download that broke off would label a corpus at random, or end the process."""
    for name in ("pruned", "quantized-output", "softmax"):
        whole = Path(written(folder, name)[0]).read_bytes()
        draw = random.Random(1)
        for size in [0, 4, 8, 30, 60, len(whole) - 1, *draw.sample(range(len(whole)), 20)]:
            path = tmp_path / f"{name}-{size}.bin"
            path.write_bytes(whole[:size])
            with pytest.raises(ResourceError):
                load_model(str(path))


def test_a_damaged_file_is_told_or_read_without_harm(folder: Path, tmp_path: Path) -> None:
    """A kernel looks where the file says; a wrong place would end the process."""
    refused = 0
    draw = random.Random(2)
    for name in ("pruned", "quantized-norms", "hs"):
        whole = Path(written(folder, name)[0]).read_bytes()
        for turn in range(60):
            broken = bytearray(whole)
            at = draw.randrange(8, 120) if turn % 2 else draw.randrange(8, len(whole))
            broken[at] ^= draw.randrange(1, 256)
            path = tmp_path / f"{name}-{turn}.bin"
            path.write_bytes(broken)
            try:
                load_model(str(path)).predict(*column(["some words", *words()[:20]]))
            except ResourceError:
                refused += 1
            fasttext_model._load.cache_clear()
            path.unlink()
    assert refused > 20


@pytest.mark.parametrize("name", ["pruned", "softmax"])
def test_buckets_that_the_file_has_no_rows_for_are_told(
    folder: Path, tmp_path: Path, name: str
) -> None:
    """Their rows would be read from beyond the end of the matrix."""
    broken = bytearray(Path(written(folder, name)[0]).read_bytes())
    assert int.from_bytes(broken[40:44], "little") == MODELS[name].buckets
    broken[40:44] = (100 if name == "pruned" else 501).to_bytes(4, "little")
    path = tmp_path / "broken.bin"
    path.write_bytes(broken)
    with pytest.raises(ResourceError, match=r"n-grams"):
        load_model(str(path))


def test_other_files_are_refused_with_a_reason(folder: Path, tmp_path: Path) -> None:
    """Whoever names the wrong file would look for the fault in their data."""
    text, vectors = tmp_path / "words.txt", tmp_path / "vectors.bin"
    text.write_text(" ".join(words() * 3), encoding="utf-8")
    write_model(vectors, Kind(loss=NEGATIVE, model=2), words())
    new = tmp_path / "new.bin"
    whole = Path(written(folder, "hs")[0]).read_bytes()
    new.write_bytes(whole[:4] + (13).to_bytes(4, "little") + whole[8:])
    reasons = {
        str(tmp_path / "none.bin"): "No such file",
        str(tmp_path): "Is a directory",
        str(text): "not a fastText model",
        str(vectors): "not trained on labels",
        str(new): "version 13",
    }
    for path, reason in reasons.items():
        with pytest.raises(ResourceError, match=reason):
            load_model(path)


def test_a_file_that_has_changed_is_read_again(folder: Path, tmp_path: Path) -> None:
    """A notebook would go on with the model of an hour ago."""
    path = tmp_path / "model.bin"
    path.write_bytes(Path(written(folder, "hs")[0]).read_bytes())
    first = load_model(str(path))
    assert load_model(str(path)) is first
    path.write_bytes(Path(written(folder, "words-only")[0]).read_bytes())
    assert load_model(str(path)) is not first
