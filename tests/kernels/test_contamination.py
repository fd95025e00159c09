from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curation.arrow import bytes_and_offsets
from curation.dedup.decontaminate import overlaps
from curation.dedup.evalitems import ALL_FIELDS, Item
from curation.dedup.evals import ALL_RULES, PAIR, Limits, make_evaluations
from curation.kernels import contamination as kernel
from curation.kernels import contamination_index as table
from tests.oracles import contamination as oracle
from tests.oracles.nasty import BAD_BYTES, column, nasty_text
from tests.oracles.text import hard_text

#: Numbers so small that a few words make every rule decide either way.
SMALL = Limits(
    rules=ALL_RULES,
    fields=ALL_FIELDS,
    ngram_words=3,
    coverage_words=2,
    coverage_frac=0.7,
    coverage_least_words=4,
    question_least_words=2,
    answer_within_words=3,
    most_fields=3,
)

#: Few words, so that they meet again; some are equal when folded.
letters = st.sampled_from("a A à b c d e f1 中 文 е".split())
words = st.lists(letters, max_size=9).map(" ".join)


@st.composite
def items(draw: st.DrawFn) -> list[Item]:
    """Items with at most one field of a name and one pair, so that entries are told by these."""
    made = []
    for number in range(draw(st.integers(1, 5))):
        others = st.sampled_from([name for name in ALL_FIELDS if name != "prompt"])
        names = draw(st.lists(others, max_size=3, unique=True))
        fields = tuple((name, draw(words)) for name in names)
        pairs = ()
        if draw(st.booleans()):
            question = " ".join(draw(st.lists(letters, min_size=2, max_size=4)))
            fields, pairs = (*fields, ("prompt", question)), ((question, draw(letters)),)
        made.append(Item("task", str(number), fields, pairs))
    return made


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[str], list[Item]]:
    """Items, and texts that are made of pieces of them as well as of other words."""
    sets = draw(items())
    own = [text for item in sets for _, text in item.fields]
    pairs = [pair for item in sets for pair in item.pairs]
    own += [text for pair in pairs for text in (*pair, " ".join(pair), " a ".join(pair[::-1]))]
    piece = words if not own else words | st.sampled_from(own)
    return draw(st.lists(st.lists(piece, max_size=6).map("-".join), max_size=3)), sets


limits = st.builds(
    dataclasses.replace,
    st.just(SMALL),
    rules=st.sampled_from([ALL_RULES, *((rule,) for rule in ALL_RULES), ALL_RULES[:2]]),
    fields=st.sampled_from([ALL_FIELDS, ALL_FIELDS[:2]]),
    ngram_words=st.integers(1, 4),
    coverage_frac=st.sampled_from([0.01, 0.5, 0.7, 1.0]),
    coverage_least_words=st.integers(0, 5),
    answer_within_words=st.integers(0, 4),
    most_fields=st.integers(1, 3),
)

#: An entry by its field and the items that have it.
Named = dict[tuple[str, tuple[int, ...]], oracle.Found]


def found_by_kernel(texts: list[str], sets: list[Item], wanted: Limits) -> list[Named]:
    evals = make_evaluations(sets, wanted)
    found = overlaps(column(texts), evals)
    rows: list[Named] = [{} for _ in texts]
    for row, entry, rules, frac in zip(*found[:4], strict=True):
        spans = {(s, e) for n, at, s, e in found.span_G4.tolist() if (n, at) == (row, entry)}
        names = {rule for code, rule in enumerate(ALL_RULES) if rules >> code & 1}
        field = evals.field_E[entry]
        name = "pair" if field == PAIR else ALL_FIELDS[field]
        share = None if np.isnan(frac) else frac
        assert (name, evals.items_E[entry]) not in rows[row], "an entry is found once a document"
        rows[row][name, evals.items_E[entry]] = oracle.Found(names, share, spans)
    return rows


def found_by_oracle(text: str, sets: list[Item], wanted: Limits) -> Named:
    rows: Named = {}
    for entry, found in oracle.overlaps(text, sets, wanted).items():
        has = tuple(number for number, item in enumerate(sets) if entry in entries_of(item))
        rows[entry[0], has] = found
    return rows


def entries_of(item: Item) -> set[tuple[object, ...]]:
    fields = {(name, oracle.words_of(text)) for name, text in item.fields}
    return fields | {("pair", oracle.words_of(q), oracle.words_of(a)) for q, a in item.pairs}


@settings(deadline=None, max_examples=300)
@given(cases(), limits)
def test_what_is_found_is_what_comparing_words_finds(
    case: tuple[list[str], list[Item]], wanted: Limits
) -> None:
    """A leak that is missed makes a benchmark worthless; a false one costs a document."""
    texts, sets = case
    found = found_by_kernel(texts, sets, wanted)
    assert found == [found_by_oracle(text, sets, wanted) for text in texts]


@settings(deadline=None, max_examples=100)
@given(items(), limits)
def test_items_are_called_checkable_if_they_can_find_themselves(
    sets: list[Item], wanted: Limits
) -> None:
    """A report of no leak is believed; for an item that no rule can find it says nothing."""
    evals = make_evaluations(sets, wanted)
    assert evals.checkable.tolist() == [oracle.checkable(item, sets, wanted) for item in sets]


@settings(deadline=None)
@given(st.lists(nasty_text | hard_text, max_size=4))
@example(["\u0130stanbul STRASSE \ufb01n \uff21\uff22 \u00bd x\u00b2 \u03a3\u03af\u03c2"])
@example(
    ["\u05e9\u05c1\u05dc\u05d5\u05dd e\u0301t\u00e9 soft\u00adhyphen a\u200db \u0e17\u0e35\u0e48"]
)
def test_words_are_cut_as_the_oracle_cuts_them(texts: list[str]) -> None:
    """Items and documents would be cut differently from what the documentation says."""
    data, offset = bytes_and_offsets(column(texts))
    room = table.word_room(int(np.diff(offset).max(initial=0)))
    for n, text in enumerate(texts):
        count = table.cut(data[offset[n] : offset[n + 1]], table.code_table(), room)
        spans = list(zip(room.start_W[:count], room.stop_W[:count], strict=True))
        assert spans == [(word.start, word.stop) for word in oracle.cut(text)]


@settings(deadline=None)
@given(nasty_text, nasty_text)
def test_texts_are_the_same_run_if_their_folded_words_are(one: str, other: str) -> None:
    """Case, accents and marks would hide a leak; or unlike words would pass for a leak."""
    data = bytes_and_offsets(column([one, other, one.upper(), one.replace(" ", " - ")]))
    hashes, _ = table.whole_runs(*table.prefix_sums(*data, table.code_table()))
    assert (hashes[0] == hashes[1]) == (oracle.words_of(one) == oracle.words_of(other))
    assert hashes[0] == hashes[3]
    if one.isascii():
        assert hashes[0] == hashes[2]


@pytest.mark.parametrize("data", BAD_BYTES)
def test_bytes_that_are_no_text_are_walked_to_their_end(data: bytes) -> None:
    """A reader that lets such bytes through must not bring down the worker."""
    evals = make_evaluations([Item("t", "1", (("question", "caf b a"),), ())], SMALL)
    texts = pa.array([data, b"CAF b, a.", data], pa.large_binary())
    found = overlaps(texts, evals)
    assert found.row_M.tolist() == [1]
    assert found.span_G4[:, 2:].tolist() == [[0, 8]]


spans = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=4)
cuts = st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4))


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.text("ab \n\u00e9\u4e2d", max_size=20), spans), max_size=3), cuts)
def test_what_is_cut_out_is_what_slicing_cuts_out(
    rows: list[tuple[str, list[tuple[int, int]]]], wanted: tuple[int, int, int]
) -> None:
    """Half an item would stay, or more of the text would go than was asked for."""
    data, offset = bytes_and_offsets(column([text for text, _ in rows]))
    inside = [
        sorted((a, min(b, len(text.encode()))) for a, b in found if a < min(b, len(text.encode())))
        for text, found in rows
    ]
    first = np.cumsum([0, *map(len, inside)])
    flat = np.array([span for found in inside for span in found], dtype=np.int64).reshape(-1, 2)
    made, ends = kernel.cut_out(data, offset, first, flat, kernel.Cut(*wanted))
    texts = [bytes(made[a:b]).decode() for a, b in pairwise(ends)]
    assert texts == [oracle.without(text, found, *wanted) for text, found in rows]
