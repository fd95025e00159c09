from __future__ import annotations

import hashlib
import importlib.util
import sys
import types

import numpy as np
import pyarrow as pa
import pytest

from curation import MinHashSketch
from curation.dedup.minhash import banding
from curation.errors import RecipeError
from curation.testing import check_stage
from tests.oracles import near as oracle

TEXTS = [
    "The quick brown fox jumps over the lazy dog",
    "the QUICK brown fox, jumps over the lazy dog!",
    "one two",
    "",
    None,
    "\u00c9t\u00e9 \u4e2d\u6587 \u0e44\u0e17\u0e22",
]


def sketched(texts: list[str | None], stage: MinHashSketch) -> pa.RecordBatch:
    return stage.annotate(pa.record_batch({"text": pa.array(texts, pa.large_string())}))


@pytest.mark.parametrize(
    "stage",
    [
        MinHashSketch(),
        MinHashSketch(unit="char", ngram=20, bits=64, seed=7),
        MinHashSketch(unit="token", family="mersenne", bits=64, bands=3),
    ],
    ids=str,
)
def test_the_stage_keeps_its_contract(stage: MinHashSketch) -> None:
    """A sketch that depends on the batch would find other copies with more workers."""
    check_stage(stage)


def test_case_and_punctuation_do_not_change_a_sketch() -> None:
    """Copies that differ in layout alone would survive."""
    found = sketched(TEXTS, MinHashSketch())
    sketches = found["sketch"].to_pylist()
    assert sketches[0] == sketches[1] != sketches[2]
    assert [value is None for value in sketches] == [False, False, False, True, True, False]
    assert found["shingle_count"].to_pylist() == [5, 5, 1, 0, None, 2]


@pytest.mark.parametrize("bits", [32, 64])
def test_a_sketch_has_its_values_in_little_endian(bits: int) -> None:
    """The layout is public: anybody reads it with numpy or DuckDB."""
    stage = MinHashSketch(bits=bits, bands=2, rows=3)
    found = sketched(TEXTS[:3], stage)["sketch"]
    assert {len(value) for value in found.to_pylist()} == {6 * bits // 8}
    values = [np.frombuffer(value, f"<u{bits // 8}").tolist() for value in found.to_pylist()]
    assert stage.hashes(found).tolist() == values


def test_sketches_of_other_settings_are_refused() -> None:
    """Compared byte by byte they would never agree, and every copy would stay."""
    found = sketched(TEXTS[:2], MinHashSketch(bands=2))["sketch"]
    with pytest.raises(RecipeError, match="these settings"):
        MinHashSketch().hashes(found)


def test_a_seed_gives_the_same_bytes_for_ever() -> None:
    """A store of sketches, and an index made elsewhere, are worthless otherwise."""
    digests = {}
    for stage in (MinHashSketch(), MinHashSketch(seed=2), MinHashSketch(bits=64, unit="char")):
        found = sketched(TEXTS, stage)["sketch"].to_pylist()
        digests[str(stage)] = hashlib.sha256(b"|".join(v or b"-" for v in found)).hexdigest()[:16]
    assert digests == GOLDEN


GOLDEN = {
    "MinHashSketch()": "d76ca6a875c94f2f",
    "MinHashSketch(seed=2)": "38800203bf1d85b3",
    "MinHashSketch(unit='char', bits=64)": "afe403881478f73c",
}


def test_the_estimate_is_as_good_as_theory_says() -> None:
    """A family of permutations that is not random enough is biased, and recall falls short."""
    random = np.random.default_rng(3)
    words = [f"w{n}" for n in range(5000)]
    stage = MinHashSketch(ngram=1, bands=64)
    errors = []
    for share in (0.2, 0.5, 0.8, 0.95):
        for _ in range(40):
            picked = random.choice(words, 300, replace=False)
            common = int(300 * 2 * share / (1 + share))
            one, other = picked[:300], [*picked[:common], *(f"x{n}" for n in range(300 - common))]
            truth = oracle.jaccard({(w,) for w in one}, {(w,) for w in other})
            a, b = stage.hashes(sketched([" ".join(one), " ".join(other)], stage)["sketch"])
            errors.append(((a == b).mean() - truth) ** 2 / (truth * (1 - truth) / stage.values))
    assert 0.75 < np.sqrt(np.mean(errors)) < 1.25


@pytest.mark.parametrize(
    "wrong",
    [
        {"bands": 0},
        {"rows": 0},
        {"ngram": 0},
        {"bits": 16},
        {"family": "mersenne"},
        {"seed": -1},
        {"unit": "line"},
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    """A day of sketching would end in a column of no use."""
    with pytest.raises(RecipeError):
        MinHashSketch(**wrong)  # type: ignore[arg-type]


def test_bands_and_rows_are_those_that_datasketch_takes() -> None:
    """People know their thresholds from there."""
    if importlib.util.find_spec("datasketch") is None:
        known = {(0.8, 128): (9, 13), (0.5, 128): (25, 5), (0.7, 256): (25, 10)}
    else:
        from datasketch.lsh import _optimal_param

        settings = [(s, v) for s in (0.5, 0.7, 0.8, 0.9) for v in (64, 128, 256)]
        known = {pair: _optimal_param(*pair, 0.5, 0.5) for pair in settings}
    assert {pair: banding(*pair) for pair in known} == known


def test_a_similarity_and_an_error_decide_the_settings() -> None:
    """Nobody should have to work out bands and rows by hand."""
    stage = MinHashSketch.for_similarity(0.7, error=0.04)
    assert stage.values <= np.ceil(0.7 * 0.3 / 0.04**2) < stage.values + stage.rows + stage.bands
    assert stage.found_prob(0.5) < 0.3 < 0.9 < stage.found_prob(0.85)
    eager = MinHashSketch.for_similarity(0.7, error=0.04, false_positive_weight=0.1)
    assert eager.found_prob(0.7) > stage.found_prob(0.7)
    for wrong in ({"similarity": 1.0}, {"similarity": 0.5, "error": 0.0}):
        with pytest.raises(RecipeError):
            MinHashSketch.for_similarity(**wrong)


def test_the_published_banding_curve() -> None:
    """FineWeb states these probabilities for 14 bands of 8."""
    found = [round(MinHashSketch().found_prob(s), 3) for s in (0.7, 0.75, 0.8, 0.85)]
    assert found == [0.565, 0.772, 0.924, 0.988]


# ---------------------------------------------------------------- parity with datatrove


def needing_no_tokenizers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for a package that datatrove's deduplication imports and does not use."""
    if importlib.util.find_spec("tokenizers") is None:
        for name in ("tokenizers", "tokenizers.processors"):
            module = types.ModuleType(name)
            for member in ("Tokenizer", "Encoding", "TemplateProcessing"):
                setattr(module, member, object)
            monkeypatch.setitem(sys.modules, name, module)


def test_given_its_words_a_sketch_is_datatroves_bit_for_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It shows that the two toolkits disagree by choice of words and not by mistake."""
    pytest.importorskip("datatrove")
    needing_no_tokenizers(monkeypatch)
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
    from datatrove.utils.word_tokenizers import WordTokenizer

    class Given(WordTokenizer):  # type: ignore[misc]
        def word_tokenize(self, text: str) -> list[str]:
            return text.split()

        sent_tokenize = span_tokenize = word_tokenize

    config = MinhashConfig()
    step = MinhashDedupSignature("unused", config, Given())
    stage = MinHashSketch(unit="token", family="mersenne", bits=64, seed=config.seed)
    texts = [
        "one two three four five six seven",
        "been here before \u4e2d\u6587 a b c d e f g a b c d e",
        " ".join("abcdefgh"[n % 8] * (1 + n % 3) for n in range(300)),
    ]
    found = stage.hashes(sketched(texts, stage)["sketch"]).tolist()
    for text, values in zip(texts, found, strict=True):
        assert values == [v for band in step.get_signature(step.get_shingles(text)) for v in band]


def test_sketches_of_a_slice_are_those_of_its_rows() -> None:
    """A batch is often a slice of a larger one, and the first rows would be taken for it."""
    stage = MinHashSketch(bands=2, rows=3)
    found = sketched(TEXTS[:3], stage)["sketch"]
    whole = stage.hashes(found).tolist()
    assert stage.hashes(found.slice(1, 2)).tolist() == whole[1:]
    assert stage.hashes(found.slice(0, 1)).tolist() == whole[:1]
