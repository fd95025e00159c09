"""Evaluation sets, and the index of what in them a corpus must not hold.

An n-gram that stands in many different fields is a template's ("Which of the following ...") and
no item's: it is not looked for. Items that share a field, such as many questions about one text,
share its n-grams and do not make them common.
"""

from __future__ import annotations

import functools
import glob
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.arrow import bytes_and_offsets, to_strings
from curation.dedup.evalitems import ALL_FIELDS, FieldName, Item, read_items, unreadable
from curation.errors import ResourceError

if TYPE_CHECKING:
    from curation.kernels.contamination_index import Index, PairArray

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
Bool_I = npt.NDArray[np.bool_]

Rule = Literal["13-gram", "8-gram coverage", "question and answer"]
#: The rules, in the order of the kernel's codes.
ALL_RULES: tuple[Rule, ...] = ("13-gram", "8-gram coverage", "question and answer")
_ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst")
#: Field number of an entry that is a question with its answer.
PAIR = len(ALL_FIELDS)

#: Path, time stamp (ns) and bytes of each file, the key of the cache.
Stamp = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Limits:
    """The numbers of the rules; ``decontaminate.Decontaminate`` says what they are."""

    rules: tuple[Rule, ...]
    fields: tuple[FieldName, ...]
    ngram_words: int
    coverage_words: int
    coverage_frac: float
    coverage_least_words: int
    question_least_words: int
    answer_within_words: int
    most_fields: int


@dataclass(frozen=True)
class Evaluations:
    """Evaluation sets, ready to be looked for.

    I items, E entries: the different fields (F), then the different questions with an answer

    tasks      the tasks, in the order of their files
    task_I     int64[I]  task of each item
    names      I names, TASK#ID
    items_E    the items that have each entry, ascending
    field_E    int64[E]  number in ALL_FIELDS, or PAIR
    checkable  bool[I]   whether some rule can find the item at all
    unread     bool[I]   whether no text of the item is known
    index      for the kernel
    rule_K     int64[K]  rule of each key of the index
    name_E     E names of the first item that has each entry
    rule_name_E  8 * E spellings of rule and field: at 8 times the entry, plus the rules as bits
    """

    tasks: tuple[str, ...]
    task_I: I64
    names: tuple[str, ...]
    items_E: tuple[tuple[int, ...], ...]
    field_E: I64
    checkable: Bool_I
    unread: Bool_I
    index: Index
    rule_K: I64
    name_E: pa.Array
    rule_name_E: pa.Array


# ---------------------------------------------------------------- files


def eval_files(evals: Iterable[str]) -> tuple[str, ...]:
    """Return the files that paths, folders and glob patterns mean; ResourceError if one has none.

    A folder means its .jsonl, .jsonl.gz and .jsonl.zst files, those of its folders too.
    """
    files: dict[str, None] = {}
    for place in evals:
        if os.path.isdir(place):
            found = [str(f) for f in Path(place).rglob("*") if f.name.endswith(_ENDINGS)]
        else:
            found = [place] if os.path.isfile(place) else glob.glob(place, recursive=True)
        if not found:
            raise ResourceError(
                f"there is no evaluation set at {place}.",
                remedy=f"give a file, a folder or a pattern of {', '.join(_ENDINGS)} files",
            )
        files |= dict.fromkeys(sorted(f for f in found if os.path.isfile(f)))
    return tuple(files)


def stamp(files: Iterable[str]) -> Stamp:
    """Return what tells whether files have changed."""
    try:
        facts = [(file, os.stat(file)) for file in files]
    except OSError as error:
        raise unreadable(str(error.filename), error) from None
    return tuple((file, fact.st_mtime_ns, fact.st_size) for file, fact in facts)


def task_names(files: Iterable[str]) -> list[str]:
    """Return each file's name without endings, after its folder's where two have the same name."""
    plain = [_without_ending(Path(file).name) for file in files]
    names = [
        f"{Path(file).resolve().parent.name}/{name}" if plain.count(name) > 1 else name
        for file, name in zip(files, plain, strict=True)
    ]
    for name in names:
        if names.count(name) > 1:
            raise ResourceError(
                f"two evaluation sets are named {name}.",
                found=", ".join(f for f, n in zip(files, names, strict=True) if n == name),
                remedy="rename one, or leave one out",
            )
    return names


def _without_ending(name: str) -> str:
    for ending in sorted(_ENDINGS, key=len, reverse=True):
        name = name.removesuffix(ending)
    return name


@functools.lru_cache(maxsize=2)
def items_of(files: Stamp) -> Sequence[Item]:
    """Return the items of all files; read again where a file's stamp is another."""
    names = [file for file, *_ in files]
    tasks = task_names(names)
    sets = [read_items(file, task) for file, task in zip(names, tasks, strict=True)]
    return tuple(item for items in sets for item in items)


# ---------------------------------------------------------------- the index


@functools.lru_cache(maxsize=4)
def load(files: Stamp, limits: Limits) -> Evaluations:
    """Return the evaluation sets of files; made anew where a file's stamp is another."""
    return make_evaluations(items_of(files), limits)


class _Cut(NamedTuple):
    """Texts cut into words; the arrays are those of ``kernels.contamination_index``."""

    first: I64
    prefix_W: U64
    hash_N: U64
    power_N: U64
    words_N: I64


class _Entries(NamedTuple):
    """F different fields or Q different pairs: the items that have each, and their words."""

    items: list[tuple[int, ...]]
    field: list[int]
    cut: _Cut


class _Keys(NamedTuple):
    """Key and entry of every run that is looked for under a rule, each once."""

    key_P: U64
    entry_P: I64


def make_evaluations(items: Sequence[Item], limits: Limits) -> Evaluations:
    """Return items ready to be looked for."""
    from curation.kernels.contamination_index import Index, power_of, table_of

    fields = _different_fields(items, limits.fields)
    pairs, pair_Q = _different_pairs(items, limits)
    entries = len(fields.items) + len(pairs.items)
    length_R = _lengths(limits)
    keys_R = [_runs(fields, rule, length_R[rule], limits.most_fields) for rule in (0, 1)]
    keys_R.append(_question_runs(pairs, pair_Q, limits, len(fields.items)))
    grams_RE = [np.bincount(keys.entry_P, minlength=entries) for keys in keys_R]
    need_E = _needed(grams_RE[1], fields.cut.words_N, limits)
    usable_E = (grams_RE[0] > 0) | (grams_RE[2] > 0) | (need_E <= grams_RE[1])
    key_P, entry_P = (np.concatenate(arrays) for arrays in zip(*keys_R, strict=True))
    key_K, place_P, runs_K = np.unique(key_P, return_inverse=True, return_counts=True)
    rule_P = np.repeat(np.arange(3), [len(keys.key_P) for keys in keys_R])
    rule_K = np.zeros(len(key_K), dtype=np.int64)
    rule_K[place_P] = rule_P
    items_E = (*fields.items, *pairs.items)
    tasks = tuple(dict.fromkeys(item.task for item in items))
    names = tuple(f"{item.task}#{item.name}" for item in items)
    field_E = np.array([*fields.field, *pairs.field], dtype=np.int64)
    return Evaluations(
        tasks,
        np.array([tasks.index(item.task) for item in items], dtype=np.int64),
        names,
        items_E,
        field_E,
        items_with(usable_E, items_E, len(items)),
        np.array([item.unread for item in items], dtype=np.bool_),
        Index(
            length_R,
            np.array([power_of(length) for length in length_R], dtype=np.uint64),
            *table_of(key_K),
            np.concatenate([[0], np.cumsum(runs_K)]).astype(np.int64),
            entry_P[np.argsort(place_P, kind="stable")].astype(np.int32),
            grams_RE[1].astype(np.int32),
            need_E.astype(np.int32),
            pair_Q,
            limits.answer_within_words,
        ),
        rule_K,
        to_strings([names[has[0]] for has in items_E]),
        _rule_names(field_E, limits),
    )


def _rule_names(field_E: I64, limits: Limits) -> pa.Array:
    """Return the spellings of rules and fields: "13-gram: context"; the first rule is named."""
    ngram, coverage = f"{limits.ngram_words}-gram", f"{limits.coverage_words}-gram coverage"
    by_bits = ["", ngram, coverage, ngram, ALL_RULES[2], ngram, coverage, ngram]
    spelled = [f"{rule}: {field}" for field in ALL_FIELDS for rule in by_bits]
    place = (field_E[:, None] * 8 + np.arange(8)).ravel()
    return to_strings([*spelled, *by_bits]).take(pa.array(place))


def items_with(
    wanted_E: npt.NDArray[np.bool_], items_E: tuple[tuple[int, ...], ...], count: int
) -> Bool_I:
    """Return bool[I]: whether an item has an entry that is wanted."""
    found = np.zeros(count, dtype=np.bool_)
    found[[item for entry in np.flatnonzero(wanted_E) for item in items_E[entry]]] = True
    return found


def _lengths(limits: Limits) -> I64:
    """Return int64[R]; coverage is counted for 13-grams too, which tell no share of an item."""
    ngram, coverage, answer = (rule in limits.rules for rule in ALL_RULES)
    return np.array(
        [
            limits.ngram_words * ngram,
            limits.coverage_words * (ngram or coverage),
            limits.question_least_words * answer,
        ],
        dtype=np.int64,
    )


def _needed(grams_E: I64, words_F: I64, limits: Limits) -> I64:
    """Return int64[E]: how many of an entry's runs make it covered; more than it has where none."""
    need_E = np.ceil(limits.coverage_frac * grams_E - 1e-9).astype(np.int64)
    judged_E = grams_E > 0
    judged_E[: len(words_F)] &= words_F >= limits.coverage_least_words
    if ALL_RULES[1] not in limits.rules:
        judged_E[:] = False
    return np.where(judged_E, np.maximum(need_E, 1), grams_E + 1)


def _cut(texts: Sequence[str]) -> _Cut:
    from curation.kernels.contamination_index import code_table, prefix_sums, whole_runs

    first, prefix_W = prefix_sums(*bytes_and_offsets(to_strings(texts)), code_table())
    hash_N, power_N = whole_runs(first, prefix_W)
    return _Cut(first, prefix_W, hash_N, power_N, np.diff(first) - 1)


def _different_fields(items: Sequence[Item], wanted: tuple[FieldName, ...]) -> _Entries:
    """Return the fields that differ in more than case, marks and spaces."""
    rows = [
        (number, ALL_FIELDS.index(field), text)
        for number, item in enumerate(items)
        for field, text in item.fields
        if field in wanted
    ]
    cut = _cut([text for *_, text in rows])
    known: dict[tuple[int, int, int], tuple[str, list[int]]] = {}
    facts = zip(rows, cut.hash_N.tolist(), cut.words_N.tolist(), strict=True)
    for (number, field, text), value, words in facts:
        if words:
            known.setdefault((field, value, words), (text, []))[1].append(number)
    texts, numbers = (
        [text for text, _ in known.values()],
        [_ascending(n) for _, n in known.values()],
    )
    return _Entries(numbers, [field for field, *_ in known], _cut(texts))


def _different_pairs(items: Sequence[Item], limits: Limits) -> tuple[_Entries, PairArray]:
    """Return the questions long enough to be known again, with each of their answers."""
    from curation.kernels.contamination_index import PAIR_TYPE

    asked = ALL_RULES[2] in limits.rules
    rows = [(number, *pair) for number, item in enumerate(items) for pair in item.pairs * asked]
    question, answer = _cut([q for _, q, _ in rows]), _cut([a for *_, a in rows])
    fine = (question.words_N >= limits.question_least_words) & (answer.words_N > 0)
    values = zip(question.hash_N.tolist(), answer.hash_N.tolist(), strict=True)
    known: dict[tuple[int, int], list[int]] = {}
    for row, pair in enumerate(values):
        if fine[row]:
            known.setdefault(pair, []).append(row)
    answers = Counter(value for value, _ in known)
    kept = [rows for (value, _), rows in known.items() if answers[value] <= limits.most_fields]
    chosen = [found[0] for found in kept]
    pair_Q = np.zeros(len(chosen), dtype=PAIR_TYPE)
    for name, cut in (("question", question), ("answer", answer)):
        pair_Q[name], pair_Q[f"{name}_power"] = cut.hash_N[chosen], cut.power_N[chosen]
        pair_Q[f"{name}_words"] = cut.words_N[chosen]
    numbers = [_ascending(rows[row][0] for row in found) for found in kept]
    cut = _cut([rows[row][1] for row in chosen])
    return _Entries(numbers, [PAIR] * len(chosen), cut), pair_Q


def _ascending(numbers: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted({*numbers}))


def _runs(fields: _Entries, rule: int, length: int, most_fields: int) -> _Keys:
    """Return the runs of fields, without those that many fields have."""
    from curation.kernels.contamination_index import keys_of, runs_of

    if length == 0:
        return _Keys(np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64))
    runs = runs_of(fields.cut.first, fields.cut.prefix_W, length)
    order = np.lexsort((runs.text_P, runs.hash_P))
    hash_P, text_P = runs.hash_P[order], runs.text_P[order]
    first = np.ones(len(hash_P), dtype=np.bool_)
    first[1:] = (hash_P[1:] != hash_P[:-1]) | (text_P[1:] != text_P[:-1])
    hash_P, text_P = hash_P[first], text_P[first]
    _, place_P, fields_K = np.unique(hash_P, return_inverse=True, return_counts=True)
    rare = fields_K[place_P] <= most_fields
    return _Keys(keys_of(hash_P[rare], rule), text_P[rare])


def _question_runs(pairs: _Entries, pair_Q: PairArray, limits: Limits, fields: int) -> _Keys:
    """Return for each pair the run of its question that fewest questions have; fill in where it is.

    Looked up by their first words, all questions that begin alike would have to be compared.
    """
    from curation.kernels.contamination_index import keys_of, runs_of

    runs = runs_of(pairs.cut.first, pairs.cut.prefix_W, limits.question_least_words)
    _, place_P, times_K = np.unique(runs.hash_P, return_inverse=True, return_counts=True)
    order = np.lexsort((runs.at_P, times_K[place_P], runs.text_P))
    _, first_Q = np.unique(runs.text_P[order], return_index=True)
    chosen = order[first_Q]
    pair_Q["before"] = runs.at_P[chosen]
    return _Keys(keys_of(runs.hash_P[chosen], 2), runs.text_P[chosen] + fields)
