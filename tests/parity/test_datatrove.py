"""Every document is decided as datatrove 0.10.1 decides it, given our words.

Two differences are known and meant: datatrove joins the words of a repeated run without a
separator, so that runs which differ in where words end are one to it; and it looks for C4's phrases
in lower case by Unicode, so that the Kelvin sign is a k.
"""

from __future__ import annotations

import functools
import itertools
import json
import random
from collections.abc import Iterator
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
import spacy
import zstandard
from datatrove.data import Document
from datatrove.pipeline import filters
from datatrove.utils.text import PUNCTUATION_SET, TERMINAL_PUNCTUATION
from datatrove.utils.word_tokenizers import WordTokenizer

from curation import (
    C4Lines,
    C4Quality,
    FineWebQuality,
    GopherQuality,
    GopherRepetition,
    c4_rules,
    fineweb_rules,
    gopher_quality_rules,
    gopher_repetition_rules,
)
from curation.arrow import bytes_and_offsets
from curation.kernels.words import split_words
from tests.conftest import ROOT
from tests.oracles import nasty, unicode_flags, words

DATA = ROOT.parent / "shared" / "data"
TEXTS = (
    "text/wikinews.jsonl.zst",
    "domains/medicine.jsonl.zst",
    "domains/cybersecurity.jsonl.zst",
    "text/books.jsonl.zst",
)

#: datatrove's reason → ours.
REPETITION = {
    "empty": "gopher: repeated paragraphs",  # the first rule that a null does not pass
    "dup_para_frac": "gopher: repeated paragraphs",
    "dup_para_char_frac": "gopher: text in repeated paragraphs",
    "dup_line_frac": "gopher: repeated lines",
    "dup_line_char_frac": "gopher: text in repeated lines",
    **{f"top_{n}_gram": f"gopher: one run of {n} words" for n in range(2, 5)},
    **{f"duplicated_{n}_n_grams": f"gopher: repeated runs of {n} words" for n in range(5, 11)},
}
QUALITY = {
    "gopher_short_doc": "gopher: too few words",
    "gopher_long_doc": "gopher: too many words",
    "gopher_below_avg_threshold": "gopher: words too short",
    "gopher_above_avg_threshold": "gopher: words too long",
    "gopher_too_many_hashes": "gopher: too many number signs",
    "gopher_too_many_ellipsis": "gopher: too many ellipses",
    "gopher_too_many_bullets": "gopher: lines of a list",
    "gopher_too_many_end_ellipsis": "gopher: lines cut off",
    "gopher_below_alpha_threshold": "gopher: words without letters",
    "gopher_enough_stop_words": "gopher: too few stop words",
}
FINEWEB = {
    "empty": "fineweb: lines without an end",
    "line_punct_ratio": "fineweb: lines without an end",
    "short_line_ratio": "fineweb: short lines",
    "char_dup_ratio": "fineweb: repeated lines",
    "list_ratio": "fineweb: a list",
}
#: A page with both goes for the one that datatrove meets first and we ask about first.
C4 = {
    "lorem_ipsum": "c4: a page goes",
    "curly_bracket": "c4: a page goes",
    "too_few_sentences": "c4: too few sentences",
}


class Ours(WordTokenizer):
    """datatrove's tokenizer over our words; sentences are those of the oracle."""

    def word_tokenize(self, text: str) -> list[str]:
        data, offset = bytes_and_offsets(pa.array([text], pa.large_string()))
        return next(words.spelt(data, offset, split_words(data, offset, "english")))

    def sent_tokenize(self, text: str) -> list[str]:
        return [text[start:stop] for start, stop in self.span_tokenize(text)]

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        """Return as many spans as there are sentences; where they end is asked by nobody."""
        count = words.sentences(self.word_tokenize(text))
        return [*[(0, 0)] * (count - 1), (0, len(text))]


OURS = Ours()
PAIRS: dict[str, tuple[Any, list[Any], Any, dict[str, str]]] = {
    "repetition": (
        GopherRepetition(),
        gopher_repetition_rules(),
        filters.GopherRepetitionFilter(language=OURS),
        REPETITION,
    ),
    "quality": (
        GopherQuality(),
        gopher_quality_rules(),
        filters.GopherQualityFilter(language=OURS),
        QUALITY,
    ),
    "fineweb": (
        FineWebQuality(),
        fineweb_rules(),
        filters.FineWebQualityFilter(language=OURS),
        FINEWEB,
    ),
    "c4": (C4Quality(), c4_rules(), filters.C4QualityFilter(language=OURS), C4),
    "c4 as fineweb has it": (
        C4Quality(terminal_only=False),
        c4_rules(),
        filters.C4QualityFilter(language=OURS, filter_no_terminal_punct=False),
        C4,
    ),
}


def our_reasons(name: str, docs: list[str]) -> list[str]:
    """Return the first rule that drops each document; "" for one that stays."""
    stage, rules, _, _ = PAIRS[name]
    made = stage.annotate(pa.record_batch({"text": pa.array(docs, pa.large_string())}))
    passed = pl.DataFrame(pa.table(made)).select(
        rule.rule.fill_null(False).alias(str(n)) for n, rule in enumerate(rules)
    )
    found = []
    for row in passed.iter_rows():
        broken = [rule.because for rule, passes in zip(rules, row, strict=True) if not passes]
        found.append(broken[0] if broken else "")
    page = ("c4: lorem ipsum", "c4: curly bracket")
    return ["c4: a page goes" if reason in page else reason for reason in found]


def their_reasons(name: str, docs: list[str]) -> list[str]:
    """Return why datatrove drops each document, in our words; "" for one that stays."""
    _, _, one, ours = PAIRS[name]
    found = []
    for text in docs:
        result = one.filter(Document(text=text, id=""))
        found.append("" if result is True else ours[result[1]])
    return found


def real_documents(each: int = 75) -> Iterator[str]:
    """Yield documents of each kind, as long as web pages are."""
    for name in TEXTS:
        with open(DATA / name, "rb") as file, zstandard.open(file, "rt", encoding="utf-8") as rows:
            step = 1 if "books" in name else 40
            for row in itertools.islice(rows, 0, step * each, step):
                yield json.loads(row)["text"][:12_000]


@functools.cache
def documents() -> list[str]:
    """Return real documents where there are any, and generated ones of every length."""
    real = list(real_documents()) if DATA.is_dir() else []
    chance = random.Random(7)
    return [*real, *(generated(chance) for _ in range(120)), "", " ", "\n", *EDGES]


def generated(chance: random.Random) -> str:
    """Return prose with lines again and again, lists, and pieces that some rule looks at."""
    some = [*chance.sample(SENTENCES, 4), "and then we have", "- an item of it", "see more..."]
    odd, again = chance.choice([0, 0.05, 0.3]), chance.choice([0, 0.1, 0.5])
    text: list[str] = []
    for _ in range(chance.randrange(80)):
        if text and chance.random() < again:
            text.append(chance.choice(text))
        piece = chance.choice(nasty.PIECES) if chance.random() < odd else fresh(chance, some)
        text += [piece, chance.choice([" ", " ", "\n", "\n", "\n\n", "\r\n"])]
    return "".join(text)


def fresh(chance: random.Random, some: list[str]) -> str:
    """Return a sentence with words of its own."""
    return chance.choice(some).replace("it", f"it {chance.choice(NOUNS)} {chance.choice(NOUNS)}")


NOUNS = "river stone cloud engine letter garden window silver doctor number paper house".split()
SENTENCES = [
    "The use of it is known to all that have been there with us.",
    "Nobody who saw it would say what it had been before the war!",
    '"And what of it?" said the man. "Is it not to be seen?"',
    "Mr. Hill didn't pay for it; he's never paid, and won't.",
    "It is so that it was, as it will be.[3]",
    "Of the others, it knew little (and it cared less).",
]
_LINE = "the one and only line of words that is number {} of them all."
#: Shares that are exactly what the rules compare with.
EDGES = [
    "\n".join([f"- item {n} of the list that is here." for n in range(9)] + ["no item and no end"]),
    "\n".join([f"- item {n} of the list that is here." for n in range(10)]),
    "\n".join([f"line {n} of the text that is here" + "..." * (n < 3) for n in range(10)]),
    "\n".join([_LINE.format(n) for n in range(7)] + [_LINE.format(0)] * 3),
    "\n\n".join([_LINE.format(n) for n in range(7)] + [_LINE.format(0)] * 3),
    "\n".join(_LINE.format(n)[: 30 if n < 67 else 31] for n in range(100)),
    "\n".join(["the word and so on" + ("." if n < 12 else "") for n in range(100)]),
    " ".join(["the", "and"] + ["word"] * 48),
    " ".join(["the", "and"] + ["word"] * 47),
    " ".join(["the and of"] * 20),
    " ".join(["the", "and", "of"] * 20 + ["1"] * 15),
    " ".join(["the", "and", "of", "number"] * 15 + ["#"] * 6),
    "One is here. Two is here. Three is here. Four is here. Five is here.",
    "One is here. Two is here. Three is here. Four is here.",
]


@pytest.mark.parametrize("name", PAIRS)
def test_every_document_is_decided_as_datatrove_decides_it(name: str) -> None:
    """A corpus filtered here would be another than the one that the papers measured."""
    docs = documents()
    ours, theirs = our_reasons(name, docs), their_reasons(name, docs)
    differ = [(a, b, text) for a, b, text in zip(ours, theirs, docs, strict=True) if a != b]
    assert differ == []
    assert len({*ours}) > 2, "too few reasons for a comparison to mean anything"
    assert ours.count("") >= 10


@pytest.mark.parametrize("terminal_only", [True, False])
def test_the_lines_that_c4_keeps_are_datatroves(terminal_only: bool) -> None:
    """The text itself would be another, and with it every step that follows."""
    docs = documents()
    one = filters.C4QualityFilter(
        language=OURS, filter_no_terminal_punct=terminal_only, min_num_sentences=-1
    )
    batch = pa.record_batch({"text": pa.array(docs, pa.large_string())})
    made = C4Lines(terminal_only=terminal_only).annotate(batch)["text"].to_pylist()
    compared = 0
    for text, ours in zip(docs, made, strict=True):
        document = Document(text=text, id="")
        if one.filter(document) is True:
            assert ours == document.text
            compared += ours != ""
    assert compared >= 20


def test_the_marks_are_datatroves() -> None:
    """A mark that is missing in one list makes a symbol a word, or a line unfinished."""
    assert {*unicode_flags.TERMINAL} == TERMINAL_PUNCTUATION
    assert {*unicode_flags.TERMINAL, *unicode_flags.FILLER} == PUNCTUATION_SET


def test_runs_of_words_cut_in_other_places_are_one_to_datatrove() -> None:
    """The first known difference must not grow unseen."""
    one, other = [], []
    for n in range(12):
        rest = [f"{noun}{n}" for noun in NOUNS[:3]]
        one += [f"a{n}b", f"c{n}d", *rest]
        other += [f"a{n}", f"bc{n}d", *rest]
    docs = [" ".join([*one, *other])]
    assert their_reasons("repetition", docs) == ["gopher: repeated runs of 5 words"]
    assert our_reasons("repetition", docs) == [""]


def test_the_kelvin_sign_is_a_k_to_datatrove() -> None:
    """The second known difference must not grow unseen."""
    line = "This site uses coo\u212aies, as you know."
    one = filters.C4QualityFilter(language=OURS, min_num_sentences=-1)
    document = Document(text=line, id="")
    assert one.filter(document) is True
    assert document.text == ""
    made = C4Lines().annotate(pa.record_batch({"text": pa.array([line], pa.large_string())}))
    assert made["text"].to_pylist() == [line]


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not on this machine")
def test_sentences_are_counted_as_spacy_counts_them() -> None:
    """A page of fewer than five sentences goes; datatrove asks spaCy how many there are."""
    english = spacy.blank("en")
    english.add_pipe("sentencizer")
    compared = 0
    for text in real_documents(20):
        for line in filter(None, map(str.strip, text[:4000].splitlines())):
            theirs = english(line)
            ours = OURS.word_tokenize(line)
            if ours == [token.text for token in theirs]:
                assert words.sentences(ours) == len([*theirs.sents]), line
                compared += 1
    assert compared > 500
