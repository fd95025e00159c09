"""What is mined from AdaptLLM's own 12 texts, against what its own code mines from them.

Differences that are known, all in the choice and none in what is found: AdaptLLM shuffles with
Python's generator, so which two of many it takes is compared by shuffling our candidates likewise.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from curation.arrow import bytes_and_offsets, to_strings
from curation.kernels.keywords import keyword_sentences, keyword_table
from curation.kernels.mining_patterns import RELATIONS, mine
from curation.kernels.sentences import cut_sentences
from tests.conftest import ROOT
from tests.oracles.sentencepiece_model import domain_words

DATA = ROOT.parent / "shared" / "data" / "adaptllm"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason=f"needs AdaptLLM's texts in {DATA}")
#: Where mined.json has the examples of a relation, and the names of their two parts.
PLACES = {
    "entail": ("nli", "Entail", "premise", "hypothesis"),
    "contradict": ("nli", "Contradict", "premise", "hypothesis"),
    "neutral": ("nli", "Neutral", "premise", "hypothesis"),
    "cause_effect": ("common_reason", "Cause-effect", "sentence1", "sentence2"),
    "effect_cause": ("common_reason", "Effect-cause", "sentence1", "sentence2"),
    "similar": ("paraphrase", "Similar", "sentence1", "sentence2"),
    "different": ("paraphrase", "Different", "sentence1", "sentence2"),
    "definition": ("word2text", "definition", "word", "definition"),
    "topic": ("word2text", "topic", "sentence", "topic"),
}


def published() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((DATA / "mined.json").read_text(encoding="utf-8"))
    return found


def body(entry: dict[str, Any]) -> str:
    path: Path = DATA / "input-raw-texts" / entry["file"]
    return path.read_text(encoding="utf-8").split("\n", 1)[1]


def test_the_patterns_find_the_published_examples_and_no_other() -> None:
    """The method would be another one than the paper measured."""
    for entry in published():
        data, offset = bytes_and_offsets(to_strings([body(entry)]))
        ours: dict[str, list[tuple[str, str]]] = {name: [] for name in RELATIONS}
        for _, relation, a, b, c, d in mine(data, offset[:-1], offset[1:]).tolist():
            pair = bytes(data[a:b]).decode(), bytes(data[c:d]).decode()
            ours[RELATIONS[relation]].append(pair)
        for name, (kind, category, first, second) in PLACES.items():
            theirs = [(one[first], one[second]) for one in entry["examples"][kind][category]]
            assert sorted(ours[name]) == sorted(theirs), (entry["file"], name)


def test_the_sentences_are_the_published_ones() -> None:
    """Completions would break off elsewhere, and keywords be sought in other sentences."""
    for entry in published():
        data, offset = bytes_and_offsets(to_strings([body(entry)]))
        _, start, stop = cut_sentences(data, offset[:-1], offset[1:])
        ours = [bytes(data[a:b]).decode() for a, b in zip(start, stop, strict=True)]
        theirs = [one.strip() for one in entry["examples"]["text_completion"]["sents"]]
        assert ours == theirs, entry["file"]


def test_the_keywords_of_sentences_are_the_published_ones() -> None:
    """Sentences would be written from other words than those that set the domain apart.

    A whole word stands for a piece of the model here; no published sentence tells them apart.
    """
    table = keyword_table(domain_words(DATA / "domain.spm", DATA / "general.spm"))
    for entry in published():
        text = body(entry)
        data, offset = bytes_and_offsets(to_strings([text]))
        cut = cut_sentences(data, offset[:-1], offset[1:])
        index, owns, begin, end = keyword_sentences(data, cut, table)
        ours = {}
        for c, s in enumerate(index):
            places = range(owns[c], owns[c + 1])
            words = {bytes(data[begin[k] : end[k]]).decode() for k in places}
            ours[bytes(data[cut[1][s] : cut[2][s]]).decode()] = words
        order = [bytes(data[a:b]).decode() for a, b in zip(cut[1], cut[2], strict=True)]
        random.Random(len(text)).shuffle(order)
        chosen = [(one, ours[one]) for one in order if one in ours][:2]
        theirs = [
            (one["sent"].strip(), set(one["token_set"]))
            for one in entry["examples"]["word2text"]["word2text"]
        ]
        assert chosen == theirs, entry["file"]
