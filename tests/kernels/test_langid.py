"""Parity of our reading of py3langid's model with py3langid itself."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.annotate.langid_model import load_langid
from curation.arrow import bytes_and_offsets
from curation.kernels.scripts import survey
from tests.kernels.test_fasttext import paragraphs
from tests.oracles.text import hard_text

#: The package's answer where it knows nothing: the first of the labels that stand for two classes.
_NOTHING = 2 / 142


@functools.cache
def package() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def ours(texts: list[str]) -> list[tuple[str, float]]:
    data, offset = bytes_and_offsets(pa.array(texts, pa.large_string()))
    unready = survey(data, offset[:-1], offset[1:]).unready_N
    model = load_langid()
    label, prob = model.predict(data, offset[:-1], offset[1:], unready)
    return [
        ("" if i < 0 else model.labels[i], p) for i, p in zip(label, prob.tolist(), strict=True)
    ]


def agree(texts: list[str]) -> None:
    for text, (label, prob) in zip(texts, ours(texts), strict=True):
        wanted, wanted_prob = package().classify(text)
        if label == "":
            assert wanted_prob == pytest.approx(_NOTHING), text
            continue
        assert prob == pytest.approx(wanted_prob, abs=1e-4), text
        if label != wanted:  # two labels with as good as the same probability
            assert dict(package().rank(text))[label] == pytest.approx(wanted_prob, abs=1e-5), text


SENTENCES = [
    "The quick brown fox jumps over the lazy dog.",
    "THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG.",
    "Le cœur a ses raisons que la raison ne connaît point.",
    "Le co\u0301eur a ses raisons, de\u0301ja\u0300 vu.",
    "Это очень большая страна, И МОСКВА — её столица.",
    "ЭТО ОЧЕНЬ БОЛЬШАЯ СТРАНА",
    "Ово је српски језик, писан ћирилицом.",
    "Ovo je srpski jezik, pisan latinicom, i to se vidi.",
    "Bu o‘zbek tilidagi matn, бу ўзбек тилидаги матн.",
    "日本語のテキストにはNHKもある。",
    "हिन्दी में क़लम से लिखा गया",
    "12345",
    "",
    "\U00010400",
]


def test_each_language_is_told_as_the_package_tells_it() -> None:
    """Thresholds published for the package would select other pages."""
    agree(SENTENCES)
    labels = [label for label, _ in ours(SENTENCES)]
    assert labels[:2] == ["en", "en"]
    assert labels[-2:] == ["", ""]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(hard_text | st.sampled_from(SENTENCES), min_size=1, max_size=8).map("".join),
    st.sampled_from([1, 1, 40]),
)
def test_any_text_is_told_as_the_package_tells_it(text: str, times: int) -> None:
    """Odd characters would send pages to the wrong language."""
    agree([text * times])


def test_real_paragraphs_are_told_as_the_package_tells_them() -> None:
    """The languages of the world are more than the examples above."""
    agree(paragraphs()[::40])


def test_a_text_never_depends_on_the_texts_beside_it() -> None:
    """Counts left over from one text would be counted for the next."""
    assert ours(SENTENCES) == [ours([text])[0] for text in SENTENCES]
    assert ours(SENTENCES[::-1]) == ours(SENTENCES)[::-1]


def test_counts_beyond_the_table_of_logarithms_are_counted() -> None:
    """A long list of one word would be scored as a short one."""
    agree(["the " * 5000 + "le " * 3000])


def test_probabilities_are_probabilities() -> None:
    """A share above one would pass any threshold."""
    found = np.array([prob for _, prob in ours(SENTENCES)])
    assert (found >= 0).all()
    assert (found <= 1 + 1e-6).all()
