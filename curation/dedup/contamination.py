"""What a build holds of evaluation sets, task by task.

The stage ``Decontaminate`` tells of each row what it overlaps with. This tells of each item whether
it stands in the corpus, whatever the recipe was: the rows that stayed are read once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from curation.dedup.decontaminate import Decontaminate, Overlaps, overlaps
from curation.dedup.evals import ALL_RULES, Evaluations, items_with

if TYPE_CHECKING:
    from rich.table import Table

    from curation.build import Build

I64 = npt.NDArray[np.int64]
Bool_I = npt.NDArray[np.bool_]

#: An n-gram that more documents than so many hold is none of an item's (GPT-3, appendix C).
COMMON_DOCUMENTS = 10

_SCHEMA = {
    "task": pl.String,
    "items": pl.UInt32,
    "uncheckable": pl.UInt32,
    "contaminated": pl.UInt32,
    "by_ngram": pl.UInt32,
    "by_rare_ngram": pl.UInt32,
    "by_coverage": pl.UInt32,
    "by_corpus_coverage": pl.UInt32,
    "by_question_and_answer": pl.UInt32,
    "rows": pl.UInt64,
    "unread": pl.UInt32,
    "example_item": pl.String,
    "example_row": pl.String,
}


def report(build: Build, stage: Decontaminate) -> pl.DataFrame:
    """Return what the rows that stayed hold of a stage's evaluation sets; see ``report_rows``.

    Raises ResourceError for a build without text.
    """
    build.documents(columns=["id", "text"])  # says so where it has none
    batches = build.reader(build.outcomes[-1]).batches(["id", "text"])
    return report_rows((batch for *_, batch in batches), stage)


def report_rows(batches: Iterable[pa.RecordBatch], stage: Decontaminate) -> pl.DataFrame:
    """Return a row for each task, in the order of the files.

    batches  columns id and text
    returns  task
             items                   items of the task
             uncheckable             items that no rule can find, unread or too short: nothing can
                                     be said of them
             contaminated            items that some row overlaps with by some rule
             by_ngram                items by the first rule, in any row
             by_rare_ngram           the same without n-grams that more than COMMON_DOCUMENTS rows
                                     hold (GPT-3)
             by_coverage             items of which one row holds enough
             by_corpus_coverage      items of which all rows together hold enough (PaLM)
             by_question_and_answer  items by the third rule
             rows                    rows that overlap with an item of the task
             unread                  items of which no text was found in the file but an answer
             example_item, _row      the first item found, TASK#ITEM, and the first row it is in
    """
    evals = stage.load()
    tally = _Tally(evals)
    for batch in batches:
        tally.add(batch["id"], overlaps(batch["text"], evals))
    return tally.table()


def rich_table(table: pl.DataFrame) -> Table:
    """Return a report as a table to print."""
    from rich.table import Table

    shown = Table(box=None)
    for name in table.columns:
        justify: Any = "left" if table[name].dtype == pl.String else "right"
        shown.add_column(name.replace("_", " "), justify=justify, overflow="fold")
    for row in table.iter_rows():
        shown.add_row(*(_shown(value) for value in row))
    return shown


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value or "")


@dataclass
class _Tally:
    """What has been found so far.

    rules_E  int64[E]  rules that found each entry in some row, as bits
    docs_K   int64[K]  rows that hold each key
    rows_T   int64[T]  rows that overlap with a task
    seen     entry → id of the first row that it was found in
    """

    evals: Evaluations
    rules_E: I64 = field(init=False)
    docs_K: I64 = field(init=False)
    rows_T: I64 = field(init=False)
    seen: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rules_E = np.zeros(len(self.evals.items_E), dtype=np.int64)
        self.docs_K = np.zeros(len(self.evals.rule_K), dtype=np.int64)
        self.rows_T = np.zeros(len(self.evals.tasks), dtype=np.int64)

    def add(self, ids: pa.Array, found: Overlaps) -> None:
        """Count a batch in."""
        np.bitwise_or.at(self.rules_E, found.entry_M, found.rules_M)
        self.docs_K += found.docs_K
        entries, first = np.unique(found.entry_M, return_index=True)
        for entry, match in zip(entries.tolist(), first.tolist(), strict=True):
            if entry not in self.seen:
                self.seen[entry] = ids[int(found.row_M[match])].as_py()
        self.rows_T += np.bincount(self._tasks_hit(found), minlength=len(self.rows_T))

    def _tasks_hit(self, found: Overlaps) -> I64:
        """Return a task for each row that overlaps with one of its items."""
        tasks = len(self.evals.tasks)
        # an entry may be of several tasks
        tasks_E = [
            sorted({int(self.evals.task_I[item]) for item in self.evals.items_E[entry]})
            for entry in found.entry_M.tolist()
        ]
        row_H = np.repeat(found.row_M, [len(several) for several in tasks_E])
        task_H = np.array([task for several in tasks_E for task in several], dtype=np.int64)
        return np.unique(row_H * tasks + task_H) % tasks

    def table(self) -> pl.DataFrame:
        """Return the report."""
        evals = self.evals
        by_rule = [self._items(self.rules_E & (1 << rule) != 0) for rule in range(len(ALL_RULES))]
        rare = self._items(self._rare())
        corpus = self._items(self._held(self.docs_K > 0, 1) >= evals.index.need_E)
        examples = list(self._examples())
        counted = [
            np.ones(len(evals.names), dtype=np.bool_),
            ~evals.checkable,
            self._items(self.rules_E != 0),
            by_rule[0],
            rare,
            by_rule[1],
            corpus,
            by_rule[2],
        ]
        rows = [
            (task, *(int((flags & (evals.task_I == t)).sum()) for flags in counted))
            for t, task in enumerate(evals.tasks)
        ]
        whole = [
            (*row, int(hit), int((evals.unread & (evals.task_I == t)).sum()), *example)
            for t, (row, hit, example) in enumerate(zip(rows, self.rows_T, examples, strict=True))
        ]
        return pl.DataFrame(whole, schema=_SCHEMA, orient="row")

    def _items(self, wanted_E: npt.NDArray[np.bool_]) -> Bool_I:
        return items_with(wanted_E, self.evals.items_E, len(self.evals.names))

    def _rare(self) -> npt.NDArray[np.bool_]:
        """Return bool[E]: whether some n-gram of the first rule stands in a few rows."""
        few_K = (self.docs_K > 0) & (self.docs_K <= COMMON_DOCUMENTS)
        return self._held(few_K, 0) > 0

    def _held(self, wanted_K: npt.NDArray[np.bool_], rule: int) -> I64:
        """Return int64[E]: how many of the keys of a rule that each entry has are wanted."""
        index = self.evals.index
        wanted_P = np.repeat(wanted_K & (self.evals.rule_K == rule), np.diff(index.first_K))
        held: I64 = np.bincount(index.entry_P[wanted_P], minlength=len(index.grams_E))
        return held

    def _examples(self) -> Iterator[tuple[str | None, str | None]]:
        """Yield, for each task, the first item found and the first row that it was found in."""
        first: dict[int, int] = {}  # item → the entry by which it was found first
        for entry in self.seen:
            for item in self.evals.items_E[entry]:
                first.setdefault(item, entry)
        for task in range(len(self.evals.tasks)):
            items = [item for item in first if self.evals.task_I[item] == task]
            if items:
                yield self.evals.names[min(items)], self.seen[first[min(items)]]
            else:
                yield None, None
