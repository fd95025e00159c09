"""Recipes: a source, a list of stages, and which rows stay.

A recipe is checked when it is made: every column that a step reads must have been written before
it, with the type that the name stands for. Nothing is opened until ``run``.

Selections are expressions or named quantities and never opaque functions, so that they can be
compared, shown and left out one at a time.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import polars as pl
import pyarrow as pa

from curation.columns import CARRIED, COLUMNS, PLACE
from curation.errors import RecipeError, nearest
from curation.stage import ERROR, Annotator, Reducer, Rewriter, Source, Stage

if TYPE_CHECKING:
    from curation.build import Build
    from curation.engine.plan import Plan
    from curation.engine.progress import Progress

#: What a ``keep_best`` budget is counted in, and the column that holds each row's share.
UNITS = {"tokens": "token_count", "text_bytes": "text_bytes", "words": "word_count"}

col = pl.col


@dataclass(frozen=True, eq=False)
class Keep:
    """Rows stay where a rule is true; where it is false or null they are dropped with a reason."""

    rule: pl.Expr
    because: str

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.rule.meta.root_names()))

    def identity(self) -> dict[str, object]:
        rule = self.rule.meta.serialize(format="json")
        digest = hashlib.sha256(rule.encode()).hexdigest()
        return {"keep": digest, "because": self.because}

    def __str__(self) -> str:
        return f"keep {show_rule(self.rule)}"


@dataclass(frozen=True)
class KeepBest:
    """The rows with the highest (or lowest) value stay, up to a budget over the whole corpus.

    unit    tokens, text_bytes or words (the column in UNITS is summed), or documents (rows)
    budget  how much stays at most; the first row that would pass it ends the selection
    """

    column: str
    unit: str
    budget: int
    because: str
    lowest: bool = False

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(("id", *self.numbers)))

    @property
    def numbers(self) -> tuple[str, ...]:
        """The column that is ranked, and the one that is summed."""
        return (self.column, *((UNITS[self.unit],) if self.unit in UNITS else ()))

    def identity(self) -> dict[str, object]:
        return {"keep_best": [self.column, self.unit, self.budget, self.lowest, self.because]}

    def __str__(self) -> str:
        which = "lowest" if self.lowest else "highest"
        return f"keep_best {self.budget:,} {self.unit} with the {which} {self.column}"


@dataclass(frozen=True)
class Sample:
    """Rows stay by a hash of their id: the same rows at any worker count and in any order."""

    frac: float | None
    documents: int | None
    seed: int
    because: str

    reads = ("id",)

    def identity(self) -> dict[str, object]:
        return {"sample": [self.frac, self.documents, self.seed, self.because]}

    def __str__(self) -> str:
        amount = f"{self.frac:.6g} of the" if self.documents is None else f"{self.documents:,}"
        return f"sample {amount} rows, seed {self.seed}"


Selection = Keep | KeepBest | Sample
Step = Stage | Keep | KeepBest | Sample


def keep(rule: pl.Expr, *, because: str) -> Keep:
    """Keep the rows for which a rule is true. Null never passes.

    rule     an expression over columns, such as ``col("word_count") >= 50``; it looks at one row
             at a time and calls no Python function
    because  the reason that each dropped row is given
    """
    if not isinstance(rule, pl.Expr):
        raise RecipeError(
            "keep takes a rule made with col(...).",
            found=f"{rule!r} ({type(rule).__name__})",
            remedy='write it as an expression: keep(col("word_count") >= 50, because="too short")',
        )
    if not rule.meta.root_names():
        raise RecipeError("keep takes a rule over columns.", found=show_rule(rule))
    if "python_udf" in str(rule):
        raise RecipeError(
            "keep takes an expression, and this one calls a Python function.",
            found=show_rule(rule),
            remedy="put the function into an @annotator and keep on the column it writes",
        )
    if not _is_row_local(rule):
        raise RecipeError(
            "keep takes a rule that looks at one row at a time.",
            found=show_rule(rule),
            remedy="rank over all rows with keep_best, or write a Reducer",
        )
    return Keep(rule, _reason(because))


def keep_best(
    column: str,
    *,
    because: str,
    tokens: int | None = None,
    text_bytes: int | None = None,
    words: int | None = None,
    documents: int | None = None,
    lowest: bool = False,
) -> KeepBest:
    """Keep the rows with the highest value of a column, up to one budget over the whole corpus.

    Ties are broken by a hash of the id. Null never passes. Give exactly one budget: tokens (summed
    over token_count), text_bytes, words (word_count) or documents.
    """
    budgets = {"tokens": tokens, "text_bytes": text_bytes, "words": words, "documents": documents}
    given = {unit: budget for unit, budget in budgets.items() if budget is not None}
    if len(given) != 1 or not all(_is_count(budget) for budget in given.values()):
        raise RecipeError(
            f"keep_best on '{column}' takes exactly one budget, a whole number from 0 on.",
            found=str(given or "none"),
            remedy=f"one of {', '.join(budgets)}",
        )
    [(unit, budget)] = given.items()
    return KeepBest(column, unit, budget, _reason(because), lowest)


def sample(
    *,
    frac: float | None = None,
    documents: int | None = None,
    seed: int = 0,
    because: str = "not sampled",
) -> Sample:
    """Keep a random share of the rows, or so many of them, chosen by a hash of id and seed."""
    if (frac is None) == (documents is None):
        raise RecipeError("sample takes either frac or documents.", found=f"{frac=}, {documents=}")
    share = frac is None or (isinstance(frac, int | float) and 0 <= frac <= 1)
    if not share or not (documents is None or _is_count(documents)):
        raise RecipeError(
            "sample takes a share between 0 and 1, or a number of rows.",
            found=f"{frac=}, {documents=}",
        )
    return Sample(frac, documents, seed, _reason(because))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_row_local(rule: pl.Expr) -> bool:
    # polars answers for the outermost node alone, so each node is asked
    return rule.meta.is_row_separable() and all(_is_row_local(part) for part in rule.meta.pop())


def _reason(because: str) -> str:
    if not isinstance(because, str) or not because.strip():
        raise RecipeError(
            "a selection needs a reason.",
            found=f"because={because!r}",
            remedy='say why rows go: because="too short"',
        )
    return because


def show_rule(rule: pl.Expr) -> str:
    """Return a rule as a person would write it: ``word_count >= 50``."""
    text = str(rule)
    text = re.sub(r"\b(?:dyn )?(?:int|float): ", "", text)
    text = re.sub(r'col\("([^"]+)"\)', r"\1", text)
    while True:
        bare = re.sub(r"(?<![\w.])\(([\w.\-]+|\"[^\"]*\")\)", r"\1", text)
        if bare == text:
            break
        text = bare
    text = re.sub(r"\(\[(\[?[^\[\]]*\]?)\]\)", r"(\1)", text)
    text = re.sub(r"(?<!\w)\((\w+(?:\.\w+\([^()]*\))+)\)", r"\1", text)
    return text[1:-1] if text.startswith("[") and text.endswith("]") else text


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A source, the steps in their order, and what to do with rows in error.

    source          where rows come from; several are read one after the other
    steps           stages and selections
    on_error        drop: a row that a stage could not do is dropped, the stage being the reason;
                    keep: it goes on with nulls, and stands in the build's errors
    max_error_frac  a run ends with DataError when more than this share of the rows is in error,
                    judged once MIN_ROWS rows have been read
    """

    source: Source | Sequence[Source]
    steps: Sequence[Step]
    on_error: Literal["drop", "keep"] = "drop"
    max_error_frac: float = 0.2
    origin: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not self.origin:
            object.__setattr__(self, "origin", _caller())
        if not isinstance(self.source, Source):
            object.__setattr__(self, "source", self._union())
        object.__setattr__(self, "steps", tuple(self.steps))
        if self.on_error not in ("drop", "keep"):
            raise RecipeError("on_error is 'drop' or 'keep'.", found=repr(self.on_error))
        if not 0 <= self.max_error_frac <= 1:
            raise RecipeError(
                "max_error_frac is a share of the rows, 0 to 1.", found=repr(self.max_error_frac)
            )
        self.schemas()

    def _union(self) -> Source:
        from curation.sources.union import Union

        members = self.source if isinstance(self.source, Sequence) else (self.source,)
        if not members or not all(isinstance(member, Source) for member in members):
            raise RecipeError(
                "a recipe's source is a Source, or a list of them.",
                recipe=self.origin,
                found=repr(self.source),
                remedy="such as source=Jsonl('data/*.jsonl.gz')",
            )
        return members[0] if len(members) == 1 else Union(sources=tuple(members))

    @property
    def rows_source(self) -> Source:
        """The one source of the recipe (several are made into one when it is built)."""
        assert isinstance(self.source, Source)
        return self.source

    def schemas(self) -> list[pa.Schema]:
        """Return the columns present before each step and, last, those of the outcome.

        Raises RecipeError, before any data is read, for a column that is missing, written twice
        or of the wrong type, and for a rule that is not a truth value.
        """
        present = {f.name: f.type for f in self.rows_source.schema if f.name != ERROR}
        self._check_writes(0, self.rows_source, present={}, written=self.rows_source.schema)
        schemas = [pa.schema(list(present.items()))]
        for index, step in enumerate(self.steps, start=1):
            present = self._after(index, step, present)
            schemas.append(pa.schema(list(present.items())))
        return schemas

    def _after(
        self, index: int, step: Step, present: dict[str, pa.DataType]
    ) -> dict[str, pa.DataType]:
        if isinstance(step, Source) or not isinstance(step, Stage | Keep | KeepBest | Sample):
            raise RecipeError(
                f"step {index} is neither a stage nor a selection.",
                recipe=self._where(index),
                found=f"{step!r} ({type(step).__name__})",
                remedy="pass stages such as ExtractHtml(), or keep(...), keep_best(...), sample()",
            )
        self._check_reads(index, step, present)
        if isinstance(step, Stage):
            self._check_writes(index, step, present=present, written=step.writes)
            if isinstance(step, Rewriter):
                present = {n: present[n] for n in ("id", *CARRIED)} | {
                    "parent_id": COLUMNS["id"][0]
                }
            return present | {f.name: f.type for f in step.writes}
        self._check_selection(index, step, present)
        return present

    def _check_reads(self, index: int, step: Step, present: Mapping[str, pa.DataType]) -> None:
        for name in step.reads:
            if name not in present:
                raise RecipeError(
                    f"step {index} {step_name(step)} reads '{name}', which no earlier step writes.",
                    recipe=self._where(index),
                    present=", ".join(present),
                    remedy=_who_writes(name, index) or nearest(name, present),
                )

    def _check_writes(
        self, index: int, stage: Stage, present: Mapping[str, pa.DataType], written: pa.Schema
    ) -> None:
        name = f"step {index} {step_name(stage)}" if index else f"source {step_name(stage)}"
        if index and not len(written):
            raise RecipeError(f"{name} writes no column.", recipe=self._where(index))
        for f in written:
            known = COLUMNS.get(f.name)
            if known and known[0] != f.type:
                raise RecipeError(
                    f"{name} writes '{f.name}' as {f.type}, and that name stands for {known[0]}.",
                    recipe=self._where(index),
                    meaning=known[1],
                    remedy="write that type, or give the column another name",
                )
            hidden = f.name in present and f.name not in (*stage.reads, *stage.may_read)
            if hidden and not isinstance(stage, Rewriter):
                raise RecipeError(
                    f"{name} writes '{f.name}', which is there already.",
                    recipe=self._where(index),
                    remedy="rename the column, or read it too if the step is meant to replace it",
                )
            reserved = index and f.name in (*PLACE, *RESERVED)
            if reserved:
                raise RecipeError(
                    f"{name} writes '{f.name}', which belongs to the engine.",
                    recipe=self._where(index),
                    remedy="give the column another name",
                )

    def _check_selection(
        self, index: int, step: Selection, present: Mapping[str, pa.DataType]
    ) -> None:
        if isinstance(step, Keep):
            # not empty_table(), whose arrays make pyarrow import pandas where it is installed
            schema = pa.schema(list(present.items()))
            frame = pl.DataFrame(pa.Table.from_batches([], schema=schema))
            try:
                # run on no rows: the schema alone does not tell that text cannot be compared with 5
                found = frame.select(step.rule).dtypes
            except pl.exceptions.PolarsError as error:
                raise RecipeError(
                    f"step {index}: the rule does not fit its columns.",
                    recipe=self._where(index),
                    rule=show_rule(step.rule),
                    found=str(error).splitlines()[0],
                    types=", ".join(f"{name} {present[name]}" for name in step.reads),
                ) from None
            if found != [pl.Boolean]:
                raise RecipeError(
                    f"step {index}: a rule is true or false for a row, and this one is not.",
                    recipe=self._where(index),
                    rule=show_rule(step.rule),
                    found=", ".join(str(kind) for kind in found),
                    remedy='compare with something, such as col("word_count") >= 50',
                )
        elif isinstance(step, KeepBest):
            for name in step.numbers:
                kind = present[name]
                if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
                    raise RecipeError(
                        f"step {index}: keep_best ranks and sums numbers, '{name}' is {kind}.",
                        recipe=self._where(index),
                    )

    def _where(self, index: int) -> str:
        return f"{self.origin}, step {index} of {len(self.steps)}" if index else self.origin

    def plan(self, *, limit: int | None = None) -> Plan:
        """List the input files and return what a run would do; nothing is read."""
        from curation.engine.plan import compile_plan

        return compile_plan(self, limit=limit)

    def run(
        self,
        *,
        store: str | os.PathLike[str],
        workers: int | None = None,
        limit: int | None = None,
        stall_s: float = 300.0,
        progress: Progress | None = None,
    ) -> Build:
        """Run the recipe and return its build. What the store holds already is not done again.

        store     folder for the column groups; made if absent
        workers   processes; None for one a core, 0 for none (in this process, without protection
                  against a stage that crashes or hangs)
        limit     read the first so many rows only
        stall_s   a worker that finishes no row or batch for so long is killed, and the row that
                  it hung on becomes an error row
        raises    RecipeError, ResourceError, IntegrityError, DataError, RunStopped
        """
        from curation.engine.run import run_recipe

        return run_recipe(
            self, store=store, workers=workers, limit=limit, stall_s=stall_s, progress=progress
        )


#: Names that the engine adds to column groups, which a stage may not write.
RESERVED = (ERROR, "scored", "bytes", "kept", "step", "because", "parent_id", "root_id")


def step_name(step: Step | Source) -> str:
    """Return the short name of a step: its class, its function, or the kind of selection."""
    if isinstance(step, Keep | KeepBest | Sample):
        return {Keep: "keep", KeepBest: "keep_best", Sample: "sample"}[type(step)]
    function = getattr(step, "function", None)
    return function.__name__ if function is not None else type(step).__name__


def _who_writes(name: str, index: int) -> str:
    """Return the advice to add a stage of the package that writes a column; "" for none."""
    import curation

    if name == "text":
        return f"add ExtractHtml() or ExtractPdf() before step {index} (it writes 'text')"
    for known in sorted(curation.__all__):
        stage = getattr(curation, known)
        is_kind = isinstance(stage, type) and issubclass(stage, Annotator | Reducer)
        if is_kind and isinstance(stage.writes, pa.Schema) and name in stage.writes.names:
            return f"add {known}() before step {index} (it writes '{name}')"
    return ""


def _caller() -> str:
    frame = sys._getframe(1)
    package = os.path.dirname(__file__) + os.sep
    while frame.f_back and (frame.f_code.co_filename.startswith((package, "<string>", "<frozen"))):
        frame = frame.f_back
    path, function = frame.f_code.co_filename, frame.f_code.co_name
    shown = os.path.relpath(path) if os.path.isfile(path) else path
    shown = path if shown.startswith("..") else shown
    return shown if function == "<module>" else f"{shown}:{function}"
