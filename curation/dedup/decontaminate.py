"""Documents that overlap with evaluation items, and how the overlaps are cut out.

What a document overlaps with depends on it and on the evaluation files alone, so both stages are
annotators: they run in parallel, and a new evaluation set is a new column and no new corpus.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.arrow import (
    bytes_and_offsets,
    from_bytes_and_offsets,
    is_valid,
    to_column,
)
from curation.columns import columns
from curation.dedup.evalitems import ALL_FIELDS, FieldName
from curation.dedup.evals import (
    ALL_RULES,
    PAIR,
    Evaluations,
    Limits,
    Rule,
    eval_files,
    items_of,
    load,
    stamp,
)
from curation.dedup.spans import Spans, span_lists, spans_of
from curation.errors import RecipeError
from curation.stage import Annotator

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
U32 = npt.NDArray[np.uint32]


@dataclass(frozen=True, kw_only=True)
class Decontaminate(Annotator):
    """Name the evaluation item that a text overlaps with, if it does with any, and where.

    Three rules, on words without case, accents and punctuation:

    13-gram              13 words in a row are those of one of the item's fields (GPT-3)
    8-gram coverage      the text holds 70 % or more of a field's different 8-grams (PaLM)
    question and answer  the question stands in the text from its first word to its last, and the
                         right answer within some words before or after it: for items too short
                         for n-grams

    The item named is the one of whose field the text holds the largest share. Of items that share
    the field, it is the first; of equals, the one with the longer field, and then the first in the
    order of the files. ``dedup/evals.py`` says what an evaluation set looks like.

    Trade-off: GPT-3 leaves out n-grams that more than 10 training documents hold, which no row can
    tell by itself. In its place, n-grams that many fields of the evaluation sets share are left
    out; ``curation.dedup.contamination`` counts by GPT-3's rule over a whole build.

    reads    text                 large_string  any length; null allowed
    writes   contaminated_by      large_string  TASK#ITEM; null where clean or text is null
             contamination_rule   large_string  the first of the rules that found it, with the length
                                  that is set, and the field: "13-gram: context"; null where clean
             contamination_frac   float32       share of the field's different 8-grams in the text,
                                  1 for a question and answer; null where clean, and where the field
                                  has no 8-gram
             contamination_spans  large_list<item: struct<kind: large_string, start: uint64, stop: uint64>>
                                  pieces in common with any item found, in the order of the text;
                                  kind is the item; those of two items may overlap; null where text
                                  is null
    source   Brown et al. 2020, arXiv:2005.14165 (GPT-3), appendix C; Chowdhery et al. 2022,
             arXiv:2204.02311 (PaLM), section 8
    """  # noqa: E501  the type of a column stands on one line

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("text",)
    writes: ClassVar[pa.Schema] = columns(
        "contaminated_by", "contamination_rule", "contamination_frac", "contamination_spans"
    )

    #: Files, folders or glob patterns of evaluation sets.
    evals: tuple[str, ...]
    rules: tuple[Rule, ...] = ALL_RULES
    #: Which fields of items are looked for by n-grams. A context may be a published text that a
    #: corpus holds by right; without "context" it is not looked for.
    fields: tuple[FieldName, ...] = ALL_FIELDS
    #: Words of the first rule's n-gram. GPT-3 takes 8 to 13, by the length of a task's items.
    ngram_words: int = 13
    #: Words of the second rule's n-gram, and the share of them that makes a field covered (PaLM).
    coverage_words: int = 8
    coverage_frac: float = 0.7
    #: Fields with fewer words are not judged by coverage: a phrase of 8 words is one 8-gram.
    coverage_least_words: int = 13
    #: Questions with fewer words tell no item: "All are true:"
    question_least_words: int = 4
    #: Words between a question and its answer, at most: four choices may stand between them.
    answer_within_words: int = 100
    #: An n-gram in more fields than so many, or a question with more answers, is a template's.
    most_fields: int = 10

    def check(self) -> None:
        least = {"coverage_least_words": 0, "answer_within_words": 0, "ngram_words": 1}
        least |= dict.fromkeys(("coverage_words", "question_least_words", "most_fields"), 1)
        wrong = [name for name, value in least.items() if getattr(self, name) < value]
        if not 0 < self.coverage_frac <= 1:
            wrong.append("coverage_frac")
        if wrong:
            raise RecipeError(
                f"Decontaminate takes no such {wrong[0]}.",
                found=f"{wrong[0]}={getattr(self, wrong[0])}",
            )
        for name in ("evals", "rules", "fields"):
            if not getattr(self, name) or len({*getattr(self, name)}) < len(getattr(self, name)):
                raise RecipeError(
                    f"Decontaminate takes each of its {name} once, and one at least.",
                    found=f"{name}={getattr(self, name)!r}",
                )
        self._warn_of_unread()  # what is wrong with a set is told at once

    def _warn_of_unread(self) -> None:
        """Say of which files some items have no text that is known: none of them is ever found."""
        lines: dict[str, list[int]] = {}
        for item in items_of(stamp(eval_files(self.evals))):
            if item.unread:
                lines.setdefault(item.task, []).append(item.line)
        for task, unread in lines.items():
            warnings.warn(
                f"Decontaminate finds no text in {len(unread):,} items of {task}, such as line "
                f"{unread[0]}: name their texts {', '.join(ALL_FIELDS)}",
                stacklevel=5,
            )

    def model_files(self) -> tuple[str, ...]:
        return eval_files(self.evals)

    def load(self) -> Evaluations:
        """Return the evaluation sets, made ready once a process."""
        return load(stamp(eval_files(self.evals)), self._limits())

    def _limits(self) -> Limits:
        return Limits(
            self.rules,
            self.fields,
            self.ngram_words,
            self.coverage_words,
            self.coverage_frac,
            self.coverage_least_words,
            self.question_least_words,
            self.answer_within_words,
            self.most_fields,
        )

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        text = batch["text"]
        evals = self.load()
        found = overlaps(text, evals)
        best = _best(found, evals, len(text))
        valid = is_valid(text)
        match = pa.array(best, mask=best < 0)
        entry, rules = (pa.array(column).take(match) for column in (found.entry_M, found.rules_M))
        frac = found.frac_M[best] if len(found.frac_M) else np.full(len(best), np.nan)
        made = [
            evals.name_E.take(entry),
            evals.rule_name_E.take(pc.add(pc.multiply(entry, 8), rules)),
            to_column(frac.astype(np.float32), (best >= 0) & ~np.isnan(frac)),
            span_lists(valid, _named(found.span_G4, evals.name_E)),
        ]
        return pa.RecordBatch.from_arrays(made, schema=self.writes)


class Overlaps(NamedTuple):
    """What documents have in common with entries; see ``kernels.contamination.find_overlaps``.

    row_M, entry_M  int64[M]    document and entry, document by document
    rules_M         int64[M]    rules as bits
    frac_M          float64[M]  share of the entry's 8-grams held; 1 for pairs; NaN if it has none
    span_G4         int64[G, 4] document, entry, first byte, byte after the last; in the order of
                                the documents and of their bytes
    docs_K          uint32[K]   documents that hold each key
    """

    row_M: I64
    entry_M: I64
    rules_M: I64
    frac_M: F64
    span_G4: I64
    docs_K: U32


def overlaps(text: pa.Array, evals: Evaluations) -> Overlaps:
    """Find what the rows of a text column have in common with evaluation items."""
    from curation.kernels.contamination import find_overlaps
    from curation.kernels.contamination_index import code_table

    data, offset = bytes_and_offsets(text)
    match_M4, span_G4, docs_K = find_overlaps(data, offset, code_table(), evals.index)
    row_M, entry_M, rules_M, held_M = match_M4.T
    grams_M = evals.index.grams_E[entry_M].astype(np.float64)
    frac_M = np.divide(held_M, grams_M, out=np.full(len(row_M), np.nan), where=grams_M > 0)
    frac_M[evals.field_E[entry_M] == PAIR] = 1.0
    span_G4 = np.unique(span_G4[:, [0, 2, 3, 1]], axis=0)[:, [0, 3, 1, 2]]
    return Overlaps(row_M, entry_M, rules_M, frac_M, span_G4, docs_K)


def _best(found: Overlaps, evals: Evaluations, rows: int) -> I64:
    """Return int64[N]: the match that names a row's item, -1 for none."""
    grams_M = evals.index.grams_E[found.entry_M]
    share_M = np.nan_to_num(found.frac_M, nan=0.0)
    order = np.lexsort((found.entry_M, -grams_M, -share_M, found.row_M))
    best = np.full(rows, -1, dtype=np.int64)
    at, first = np.unique(found.row_M[order], return_index=True)
    best[at] = order[first]
    return best


def _named(span_G4: I64, names: pa.Array) -> Spans:
    """Return overlaps as spans whose kind is the item."""
    row_G, entry_G, start_G, stop_G = span_G4.T
    kind = names.take(to_column(entry_G))
    return Spans(row_G, kind, start_G.astype(np.uint64), stop_G.astype(np.uint64))


@dataclass(frozen=True, kw_only=True)
class RemoveContamination(Annotator):
    """Cut what overlaps with evaluation items out of a text, as GPT-3 does.

    With each overlap go ``window_chars`` characters on either side; what is left between two cuts
    and is shorter than ``least_piece_chars`` goes too. Where a text would be left in more than
    ``most_pieces`` pieces, the short ones counted, nothing is left of it. Pieces are parted by an
    empty line. A text without spans stays as it is.

    reads    text                 large_string  any length; null allowed
             contamination_spans  large_list<item: struct<kind: large_string, start: uint64, stop: uint64>>
                                  null and null members allowed
    writes   text                 large_string  null where text is null
    source   Brown et al. 2020, arXiv:2005.14165 (GPT-3), appendix C
    """  # noqa: E501  the type of a column stands on one line

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("text", "contamination_spans")
    writes: ClassVar[pa.Schema] = columns("text")

    window_chars: int = 200
    least_piece_chars: int = 200
    most_pieces: int = 10

    def check(self) -> None:
        for name in ("window_chars", "least_piece_chars", "most_pieces"):
            if getattr(self, name) < 0:
                raise RecipeError(
                    f"RemoveContamination takes no such {name}.",
                    found=f"{name}={getattr(self, name)}",
                )

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from curation.kernels.contamination import Cut, cut_out

        text = batch["text"]
        data, offset = bytes_and_offsets(text)
        first, span_G2 = _clipped(batch["contamination_spans"], np.diff(offset))
        cut = Cut(self.window_chars, self.least_piece_chars, self.most_pieces)
        made = cut_out(data, offset, first, span_G2, cut)
        kept = from_bytes_and_offsets(*made, pa.large_string(), is_valid(text))
        return pa.RecordBatch.from_arrays([kept], schema=self.writes)


def _clipped(lists: pa.Array, size_N: I64) -> tuple[I64, I64]:
    """Return spans that lie in their text, ascending: int64[N+1], where a row's begin; int64[G, 2].

    Spans that are null, empty or beyond the text are none.
    """
    spans = spans_of(lists)
    size_S = size_N[spans.row_S].astype(np.uint64)
    start_S, stop_S = (np.minimum(edge, size_S).astype(np.int64) for edge in spans[2:])
    kept = np.flatnonzero(start_S < stop_S)
    order = kept[np.lexsort((stop_S[kept], start_S[kept], spans.row_S[kept]))]
    first = np.searchsorted(spans.row_S[order], np.arange(len(size_N) + 1))
    return first, np.stack([start_S[order], stop_S[order]], axis=1)
