"""Questions made from held-out documents, for a domain that no benchmark measures.

Two tasks: which passage belongs under a title, and which term a sentence goes on with. The wrong
choices are passages and terms of other documents that look like the right one: of its source and
length, or of its kind and frequency. Nothing that a reader could match by spelling is left: a
passage holds no word of its title, a term does not stand in what is shown before it, and no wrong
term stands in the document.

An item is a text and choices to go on with, and has no question: a base model too small to follow
a question can still tell a likely text from an unlikely one.

An item depends on its document, the seed, and what the other documents offer as wrong choices, and
not on the documents' order. No passage that stands in the training rows is used, right or wrong.
"""

from __future__ import annotations

import json
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa

from curation.errors import RecipeError
from curation.evaluate.masking import Cut, TermPool, find_cuts
from curation.evaluate.overlap import Training, find_in_training
from curation.evaluate.ring import rank
from curation.evaluate.sentences import Document, read_document
from curation.evaluate.tasks import Task, TaskItem
from curation.evaluate.terms import KINDS, TermRules, find_terms
from curation.evaluate.titles import Titled, TitlePool, find_titled, with_telling_titles
from curation.store import replacing

#: Cuts of a document that are looked at for each item that it may give.
POOL_TIMES = 3

TASKS = ("title_to_text", "text_to_title", "masked_term")


@dataclass(frozen=True, kw_only=True)
class ProbeSettings:
    """What the items of a probe are.

    tasks            of TASKS
    choices          of an item, the right one among them
    per_document     masked terms of one document, at most; it gives one title
    per_term         items whose answer is the same term, at most
    most_title_frac  share of a title's words that may stand in its passage
    passage_chars    of a passage under a title, at most; a third of them at least
    context_chars    of the sentences shown before a cut sentence, at most
    kinds            kinds of terms, of ``terms.KINDS``
    least_documents  held-out documents that have a term, at least
    most_term_frac   share of the documents that have a term, at most
    least_z          log-odds of a term against general text, in standard deviations
    least_ratio      times that a term is as frequent as in general text
    most_documents   held-out documents that are looked at, drawn by their ids
    """

    tasks: tuple[str, ...] = ("title_to_text", "masked_term")
    choices: int = 4
    per_document: int = 2
    per_term: int = 3
    most_title_frac: float = 0.0
    passage_chars: int = 320
    context_chars: int = 320
    kinds: tuple[str, ...] = ("code", "file", "acronym", "mixed", "name", "word")
    least_documents: int = 2
    most_term_frac: float = 0.03
    least_z: float = 2.0
    least_ratio: float = 8.0
    most_documents: int = 20_000

    def __post_init__(self) -> None:
        laws = {
            f"tasks are of {', '.join(TASKS)}, each once": _subset(self.tasks, TASKS),
            f"kinds are of {', '.join(KINDS)}, each once": _subset(self.kinds, KINDS),
            "context_chars is 0 at least": self.context_chars >= 0,
            "most_title_frac is 0 at least and at most 1": 0 <= self.most_title_frac <= 1,
            "an item has two choices at least": self.choices >= 2,
            "most_term_frac is above 0 and at most 1": 0 < self.most_term_frac <= 1,
        }
        counts = ("per_document", "per_term", "passage_chars", "least_documents", "most_documents")
        laws |= {f"{name} is 1 at least": getattr(self, name) >= 1 for name in counts}
        for law, kept in laws.items():
            if not kept:
                raise RecipeError(f"ProbeSettings: {law}.", found=str(self))


def _subset(chosen: tuple[str, ...], known: tuple[str, ...]) -> bool:
    return 0 < len(chosen) == len({*chosen}) and {*chosen} <= {*known}


@dataclass(frozen=True)
class Probe:
    """The tasks of a probe, and what became of each document in each of them.

    tasks   those of the settings, NAME_TASK each, in their order
    counts  task → outcome → documents; "used" and why others were not. They add up to the
            documents that were given
    """

    tasks: list[Task]
    counts: dict[str, dict[str, int]]


def make_probe(
    documents: pa.Table | pa.RecordBatch | pl.DataFrame,
    *,
    name: str,
    items: int = 500,
    seed: int = 0,
    settings: ProbeSettings | None = None,
    general: Sequence[str] | None = None,
    training: Iterable[Training] = (),
) -> Probe:
    """Return the tasks of a probe.

    documents  held-out rows with id and text, and title and source where there are any
    items      of each task, at most; a task that has fewer warns and says why
    general    texts of no domain, which tell what words are the domain's; without them those that
               few documents have are
    training   builds, or batches with a column text, whose passages are not used
    raises     RecipeError for a task without any item, and for ids that are null or not distinct
    """
    settings = settings or ProbeSettings()
    if items < 1:
        raise RecipeError("a probe has one item at least.", found=f"items={items}")
    read, lost = _read(documents, settings.most_documents, seed)
    titles = _Titles(read, settings, seed)
    terms = _Terms(read, settings, seed, general)
    _check(titles, terms, training, 2 * (1 + settings.per_document * POOL_TIMES))
    makers: dict[str, _Titles | _Terms] = {
        "title_to_text": titles,
        "text_to_title": titles,
        "masked_term": terms,
    }
    tasks, counts = [], {}
    for kind in settings.tasks:
        made, outcomes = makers[kind].items(kind, items)
        counts[kind] = dict(Counter((lost | outcomes).values()))
        _warn(f"{name}_{kind}", len(made), items, counts[kind])
        tasks.append(Task(f"{name}_{kind}", tuple(made)))
    return Probe(tasks, counts)


def _read(
    documents: pa.Table | pa.RecordBatch | pl.DataFrame, most: int, seed: int
) -> tuple[list[Document], dict[str, str]]:
    """Return the documents in the order of their ids, and why others are not among them."""
    rows = documents if isinstance(documents, pl.DataFrame) else pl.DataFrame(documents)
    lacking = [column for column in ("id", "text") if column not in rows.columns]
    if lacking:
        raise RecipeError(
            f"a probe needs the column '{lacking[0]}'.", present=", ".join(rows.columns)
        )
    twice = rows.filter(pl.col("id").is_null() | pl.col("id").is_duplicated())["id"]
    if len(twice):
        raise RecipeError(
            "the ids of a probe's documents are not distinct.",
            found=f"{twice[0]} and others, {len(twice):,} rows",
            remedy="give each document an id of its own",
        )
    given = [pl.col(c) if c in rows.columns else pl.lit("").alias(c) for c in ("source", "title")]
    rows = rows.select("id", *given, "text").cast(pl.String).sort("id")
    full = rows.filter(pl.col("text").is_not_null())
    lost = dict.fromkeys(rows.filter(pl.col("text").is_null())["id"], "no text")
    names = sorted(full["id"].to_list(), key=lambda name: (rank(seed, "document", name), name))
    lost |= dict.fromkeys(names[most:], "beyond most_documents")
    kept = full.filter(pl.col("id").is_in(names[:most])).fill_null("")
    return with_telling_titles([read_document(*row) for row in kept.iter_rows()]), lost


def _warn(task: str, made: int, wanted: int, counts: dict[str, int]) -> None:
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in counts.items())
    if not made:
        raise RecipeError(
            f"no item can be made for {task}.",
            found=f"documents: {reasons or 'none'}",
            remedy="hold out more documents, or leave this task out of ProbeSettings(tasks=...)",
        )
    if made < wanted:
        warnings.warn(
            f"{task} has {made:,} items and not {wanted:,}; documents: {reasons}", stacklevel=3
        )


def _check(titles: _Titles, terms: _Terms, training: Iterable[Training], shared: int) -> None:
    """Leave out passages that stand in training, and those of which that cannot be told."""
    passages = [one.spellings for one in titles.found]
    passages += [cut.spellings for cuts in terms.cuts for cut in cuts]
    seen, told = find_in_training(passages, training, shared=shared)
    fault = ["in training" if s else "" if t else "cannot be checked"
             for s, t in zip(seen, told, strict=True)]  # fmt: skip
    titles.faults = fault[: len(titles.found)]
    terms.faults = fault[len(titles.found) :]


class _Titles:
    """Items of titles and passages."""

    def __init__(self, documents: Sequence[Document], settings: ProbeSettings, seed: int) -> None:
        wanted = settings.tasks != ("masked_term",)
        self.settings, self.seed, self.faults = settings, seed, list[str]()
        self.found, self.lacking = find_titled(documents if wanted else (), settings)

    def items(self, kind: str, most: int) -> tuple[list[TaskItem], dict[str, str]]:
        """Return items, and what became of each document."""
        paired = list(zip(self.found, self.faults, strict=True))
        pool = TitlePool([one for one, fault in paired if not fault], self.seed)
        outcomes = self.lacking | {one.document.id: fault for one, fault in paired if fault}
        items: list[TaskItem] = []
        for one in pool.ranked():
            wrong = pool.distractors(one, self.settings.choices - 1) if len(items) < most else []
            if len(items) == most:
                outcomes[one.document.id] = "not needed"
            elif len(wrong) < self.settings.choices - 1:
                outcomes[one.document.id] = "too few distractors"
            else:
                outcomes[one.document.id] = "used"
                items.append(_title_item(kind, one, wrong, len(items)))
        return items, outcomes


def _title_item(kind: str, one: Titled, wrong: Sequence[Titled], place: int) -> TaskItem:
    shown = f"{one.document.title}:" if kind == "title_to_text" else f"{one.text}\nTitle:"
    texts = [t.text if kind == "title_to_text" else t.document.title for t in (one, *wrong)]
    return _item(one.document.id, one.document.source, shown, texts, place)


class _Terms:
    """Items of sentences and terms."""

    def __init__(
        self,
        documents: Sequence[Document],
        settings: ProbeSettings,
        seed: int,
        general: Sequence[str] | None,
    ) -> None:
        self.settings, self.seed, self.faults = settings, seed, list[str]()
        self.documents = documents if "masked_term" in settings.tasks else ()
        rules = TermRules(
            settings.kinds,
            settings.least_documents,
            settings.most_term_frac,
            settings.least_z,
            settings.least_ratio,
            2 * settings.choices,
        )
        sentences = [[s.text for run in d.runs for s in run] for d in self.documents]
        vocabulary = find_terms(sentences, rules, general)
        self.pool = TermPool(vocabulary, seed)
        most = settings.per_document * POOL_TIMES
        found = find_cuts(self.documents, vocabulary, settings.context_chars, seed)
        self.cuts = [cuts[:most] for cuts in found]

    def items(self, kind: str, most: int) -> tuple[list[TaskItem], dict[str, str]]:
        """Return items, and what became of each document.

        Each document gives one item before any gives a second.
        """
        del kind  # there is one
        faults = iter(self.faults)
        left = {
            document.id: iter([(cut, next(faults)) for cut in cuts])
            for document, cuts in zip(self.documents, self.cuts, strict=True)
            if cuts
        }
        outcomes = {d.id: "no term" for d in self.documents if d.id not in left}
        items: list[TaskItem] = []
        used = Counter[str]()
        for _ in range(self.settings.per_document):
            for name in sorted(left, key=lambda name: (rank(self.seed, "term", name), name)):
                if len(items) == most:
                    outcomes.setdefault(name, "not needed")
                    continue
                outcome, made = self._next(left[name], used, len(items))
                items += made
                if outcomes.get(name) is None or made:
                    outcomes[name] = outcome
        return items, outcomes

    def _next(
        self, cuts: Iterator[tuple[Cut, str]], used: Counter[str], place: int
    ) -> tuple[str, list[TaskItem]]:
        """Return the next item of a document, or why there is none: of its last cut."""
        outcome = "no term"
        for cut, fault in cuts:
            wrong = [] if fault else self.pool.distractors(cut, self.settings.choices - 1)
            if fault:
                outcome = fault
            elif used[cut.term] == self.settings.per_term:
                outcome = "term used enough"
            elif len(wrong) < self.settings.choices - 1:
                outcome = "too few distractors"
            else:
                used[cut.term] += 1
                texts = [cut.term, *wrong]
                return "used", [_item(cut.id, cut.document.source, cut.shown, texts, place)]
        return outcome, []


def _item(name: str, source: str, shown: str, texts: Sequence[str], place: int) -> TaskItem:
    """Return an item whose right choice, the first of the texts, goes to its place in turn."""
    wrong, answer = list(texts[1:]), place % len(texts)
    choices = (*wrong[:answer], texts[0], *wrong[answer:])
    return TaskItem(name, "", choices, answer, shown, source)


def write_task(task: Task, path: str | os.PathLike[str]) -> Path:
    """Write a task as JSON lines, which ``read_task`` and ``curation contamination`` read."""
    file = Path(path)
    lines = []
    for item in task.items:
        record: dict[str, object] = {"id": item.id, "source": item.source}
        record |= {"context": item.context, "question": item.question}
        record |= {"choices": list(item.choices), "answer": item.answer}
        lines.append(json.dumps(record, ensure_ascii=False) + "\n")
    with replacing(file) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")
    return file
