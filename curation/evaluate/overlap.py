"""Which passages stand in training rows, by the rules that corpora are decontaminated with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.build import Build
from curation.dedup.decontaminate import Decontaminate, overlaps
from curation.dedup.evalitems import Item
from curation.dedup.evals import ALL_RULES, Evaluations, Limits, items_with, make_evaluations

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

#: What is trained on: a build, or batches with a column text.
Training = Build | Iterable[pa.RecordBatch]
Bool_P = npt.NDArray[np.bool_]


def find_in_training(
    passages: Sequence[AbstractSet[str]], training: Iterable[Training], *, shared: int
) -> tuple[Bool_P, Bool_P]:
    """Return bool[P], whether each passage stands in training; bool[P], whether it can be told.

    A passage stands there if a row has 13 of its words in a row or 70 % of its 8-grams. It cannot
    be told of one that is too short for either, or whose n-grams are a template's: those of more
    than ``Decontaminate.most_fields`` documents.

    passages  P spellings of each, such as with markup and without: one that is found is enough
    shared    spellings of all passages, at most, that may lie about one place of one document
    """
    evals = make_evaluations(
        [
            Item("probe", str(number), tuple(("text", text) for text in sorted(texts)), ())
            for number, texts in enumerate(passages)
        ],
        _limits(shared),
    )
    rules_E = np.zeros(len(evals.items_E), dtype=np.int64)
    for batch in _batches(training):
        found = overlaps(batch["text"], evals)
        np.bitwise_or.at(rules_E, found.entry_M, found.rules_M)
    return _passages(evals, rules_E, len(passages)), evals.checkable


def _passages(evals: Evaluations, rules_E: npt.NDArray[np.int64], count: int) -> Bool_P:
    return items_with(rules_E != 0, evals.items_E, count)


def _limits(shared: int) -> Limits:
    """Return the stage's own numbers; one document's passages do not make an n-gram common."""
    stage = Decontaminate
    return Limits(
        rules=ALL_RULES[:2],
        fields=("text",),
        ngram_words=stage.ngram_words,
        coverage_words=stage.coverage_words,
        coverage_frac=stage.coverage_frac,
        coverage_least_words=stage.coverage_least_words,
        question_least_words=stage.question_least_words,
        answer_within_words=stage.answer_within_words,
        most_fields=stage.most_fields * shared,
    )


def _batches(training: Iterable[Training]) -> Iterator[pa.RecordBatch]:
    for rows in training:
        if isinstance(rows, Build):
            rows.documents(columns=["text"])  # says so where it has none
            yield from (batch for *_, batch in rows.reader(rows.outcomes[-1]).batches(["text"]))
        else:
            yield from rows
