"""What a recipe's language models will be asked, and what that will take, before anything is spent.

Some rows go through the recipe in a temporary store, with models that only count. What they counted
is scaled by the bytes of input. A selection by what a model says cannot be made then and lets every
row pass: what comes after it is an upper bound. Requests that the store holds the replies to are
left out of what it takes. Nothing is sent, and nothing is written into the user's store.

Trade-off: many rows are read and some of them tried, for files are often sorted; they are read from
the beginnings of a few shards, as a compressed file has no other place to begin. What is asked for
again, or twice as long, is not foreseen; nor is what a step over all rows would ask of more rows
than were tried.
"""

from __future__ import annotations

import dataclasses
import math
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from curation.annotate.costs import money_for
from curation.annotate.model import Model
from curation.build import Build
from curation.engine.local import LocalExecutor
from curation.engine.plan import Planner, fingerprint
from curation.engine.progress import Progress
from curation.engine.record import write_record
from curation.engine.run import Run
from curation.errors import DataError, RecipeError
from curation.recipe import Keep, KeepBest, Recipe, Sample, Step, step_name
from curation.rewrite.counting import (
    CHARS_PER_TOKEN,
    Asked,
    CountingModel,
    History,
    read_history,
    tokenizer_of,
)
from curation.rewrite.lineage import model_id
from curation.sources.covered import covered_bytes
from curation.stage import REPLIES_FOLDER, Reducer, Rewriter, Shard, Stage
from curation.store import Store

if TYPE_CHECKING:
    from rich.table import Table

#: Rows that are tried where nobody says how many.
SAMPLE_ROWS = 1000
#: They are drawn among so many, from the beginnings of so many shards.
_READ_ROWS, _READ_SHARDS = 20_000, 8
#: Seconds without progress that a stage is given; it runs in this process.
_STALL_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What one step is going to ask for one purpose; the figures are estimates.

    asks_for    such as a prompt's id with its version; "" where the stage does not say
    documents   rows that reach the step; None where that could not be followed
    answered    requests that the store holds the replies to; tokens, hours and money are of the
                others
    tokens_by   by what prompts were measured: the model's tokenizer, or characters
    replies_by  by what the length of replies is known: earlier replies, the prompt, half the limit
    hours       None where nobody knows how fast the model is
    money       None where nobody knows what it costs
    """

    step: int
    stage: str
    model: str
    asks_for: str
    documents: int | None
    requests: int
    answered: int
    prompt_tokens: int
    reply_tokens: int
    tokens_by: str
    replies_by: str
    hours: float | None
    money: float | None


@dataclass(frozen=True)
class DryRun:
    """Estimates for every step that asks a model, and what is to be known of them."""

    estimates: tuple[Estimate, ...]
    tried_rows: int
    read_rows: int
    read_frac: float
    notes: tuple[str, ...] = ()

    def frame(self) -> pl.DataFrame:
        """Return the estimates as a table, a row an estimate."""
        facts = [dataclasses.asdict(one) for one in self.estimates]
        return pl.DataFrame(facts, schema=_SCHEMA, orient="row")


_TOKENS = ("prompt_tokens", "reply_tokens")
_SCHEMA: Mapping[str, Any] = {
    "step": pl.UInt16,
    **dict.fromkeys(("stage", "model", "asks_for"), pl.String),
    **dict.fromkeys((*("documents", "requests", "answered"), *_TOKENS), pl.UInt64),
    **dict.fromkeys(("tokens_by", "replies_by"), pl.String),
    **dict.fromkeys(("hours", "money"), pl.Float64),
}


def dry_run(
    recipe: Recipe,
    *,
    store: str | os.PathLike[str],
    limit: int | None = None,
    sample: int = SAMPLE_ROWS,
    tokens_per_second: float | None = None,
    prices: tuple[float, float] | None = None,
) -> DryRun:
    """Return what a run of the recipe would ask its models, and what that would take.

    store              whose earlier replies are not asked for again, and tell how long replies
                       are; it need not be there
    limit              as of the run that is meant: the first so many rows only
    sample             rows to try, of each member of a combined source
    tokens_per_second  of replies, of each model; None for what the store's replies show
    prices             money for a million tokens of prompts and of replies; None for the stages'

    A recipe's answer is made of the answers for each member of its source.
    """
    if sample < 1 or (tokens_per_second or 1) <= 0 or (prices and min(prices) < 0):
        raise RecipeError(
            "a dry run takes a row or more, a speed above 0 and no negative price.",
            found=f"{sample=}, {tokens_per_second=}, {prices=}",
        )
    parts: dict[int, list[Shard]] = {}
    for shard in recipe.plan(limit=limit).shards:
        parts.setdefault(shard.part, []).append(shard)
    replies = Path(store) / REPLIES_FOLDER
    members = [_Member(recipe, shards, sample, replies) for shards in parts.values()]
    for member in members:
        member.run()
    known = _Known(replies, tokens_per_second, prices)
    notes = dict.fromkeys(note for member in members for note in member.notes)
    estimates = tuple(_estimates(recipe, members, known))
    covered = sum(member.covered for member in members)
    total = sum(member.total for member in members)
    tried, read = (
        sum(counts) for counts in zip(*((m.tried, m.rows) for m in members), strict=True)
    )
    remarks = (*notes, *_remarks(estimates))
    return DryRun(estimates, tried, read, covered / max(total, 1), remarks)


# ---------------------------------------------------------------- one member of the source


class _Member:
    """A dry run over a sample of one member of the source.

    rows       that were read; ``tried`` of them are taken through the steps
    covered    bytes of input that they took, of ``total``
    asked      step → purpose → what was asked
    documents  step → rows that reached it
    """

    def __init__(self, recipe: Recipe, shards: Sequence[Shard], sample: int, replies: Path) -> None:
        self.recipe, self.replies = recipe, replies
        self.total = sum(shard.bytes for shard in shards)
        self.limit = shards[0].limit if shards[0].limit >= 0 else None
        self.shards = _spread(shards, min(max(sample, _READ_ROWS), self.limit or sys.maxsize))
        self.sample = sample
        self.covered, self.rows = 0.0, 0
        self.asked: dict[int, dict[str, Asked]] = {}
        self.documents: dict[int, int] = {}
        self.notes: list[str] = []

    @property
    def scale(self) -> float:
        """How many rows of the input each of those that are tried stands for."""
        if not self.rows or not self.covered:
            return 1.0
        return min(self.total / self.covered * self.rows, self.limit or math.inf) / self.tried

    @property
    def tried(self) -> int:
        """How many rows are taken through the steps."""
        return min(self.rows, self.sample)

    def run(self) -> None:
        """Read the rows, then take some of them through the steps."""
        with tempfile.TemporaryDirectory(prefix="curation-dry-run-") as folder:
            store = Store(folder)
            self._measure(store)
            steps = [*self._steps()]
            try:
                self._follow(store, steps)
            except DataError as error:  # a step that nothing but a model's answers can satisfy
                failed = max(number for number, asked in self.asked.items() if asked)
                self.notes.append(f"steps behind {failed} are not counted: {error.headline}")
                self._follow(store, [(n, s) for n, s in steps if n < failed], upto=failed)

    def _follow(self, store: Store, steps: Sequence[tuple[int, Step]], upto: int = 0) -> None:
        """Run the steps; note how many rows reach each, and the step ``upto`` behind them."""
        drawn = Sample(None, self.sample, 0, "not tried")
        trial = dataclasses.replace(
            self.recipe, steps=[drawn, *(s for _, s in steps)], on_error="keep", max_error_frac=1.0
        )
        rows = _run(store, trial, self.shards).funnel()["rows"].to_list()[1:]
        numbers = [number for number, _ in steps] + ([upto] if upto else [])
        self.documents = dict(zip(numbers, rows, strict=False))

    def _measure(self, store: Store) -> None:
        """Read the rows; note how many there are and how many bytes of input they took."""
        bare = dataclasses.replace(self.recipe, steps=(), on_error="keep", max_error_frac=1.0)
        build = _run(store, bare, self.shards)
        root = fingerprint("source", self.recipe.rows_source.identity())
        for shard in self.shards:
            part = store.newest_part(root, shard.key)
            if part is None:
                continue
            place = pl.read_parquet(part, columns=["file", "offset", "length"])
            self.covered += covered_bytes(self.recipe.rows_source, shard, place)
        self.rows = int(build.funnel()["rows"][0])

    def _steps(self) -> Iterator[tuple[int, Step]]:
        """Yield the steps of the trial under their numbers: models count, budgets are smaller."""
        told: set[str] = set()  # columns that rest on what a model says
        for number, step in enumerate(self.recipe.steps, start=1):
            rests = bool(told & {*step.reads, *getattr(step, "may_read", ())})
            if isinstance(step, Stage):
                counted, models = _counting(step, number, step, self.replies)
                if models:
                    self.asked[number] = models[0].asked
                rests = rests or bool(models)
                told = set() if isinstance(step, Rewriter) else told
                told |= {*step.writes.names} if rests else set()
                yield number, counted
            elif rests:
                self.notes.append(
                    f"step {number} ({step}) selects by what a model says: later steps are counted "
                    "as if every row passed"
                )
            else:
                yield number, self._smaller(step)

    def _smaller(self, step: Keep | KeepBest | Sample) -> Step:
        """Return a selection whose budget is that of the sample."""
        if isinstance(step, KeepBest):
            return dataclasses.replace(step, budget=round(step.budget / self.scale))
        if isinstance(step, Sample) and step.documents is not None:
            return dataclasses.replace(step, documents=round(step.documents / self.scale))
        return step


def _spread(shards: Sequence[Shard], rows: int) -> tuple[Shard, ...]:
    """Return the beginnings of a few shards, from all over the input, with so many rows together.

    Each shard that is taken gives as many rows as the others.
    """
    count = min(len(shards), _READ_SHARDS, rows)
    chosen = [shards[n * len(shards) // count] for n in range(count)]
    return tuple(dataclasses.replace(shard, limit=-(-rows // count)) for shard in chosen)


def _run(store: Store, recipe: Recipe, shards: tuple[Shard, ...]) -> Build:
    """Run a recipe over these shards in this process."""
    plan = Planner(recipe, shards).plan()
    with store.explaining(), store.lock():
        with LocalExecutor(store, plan, 0, _STALL_S) as executor:
            Run(store, plan, Progress()).phases(executor)
        write_record(store, plan)
    return Build(store, plan.fingerprint)


def _counting(
    step: Any, number: int, holder: Stage, replies: Path
) -> tuple[Any, list[CountingModel]]:
    """Return a stage whose models, and those of stages inside it, count; and these models."""
    changed: dict[str, Any] = {}
    found: list[CountingModel] = []
    for one in dataclasses.fields(step):
        value = getattr(step, one.name)
        if isinstance(value, Stage):
            value, inner = _counting(value, number, value, replies)
        elif isinstance(value, Model) and not isinstance(value, type):
            made = CountingModel(
                instead_of=value,
                step=number,
                typical=_typical(holder),
                replies=_journal(value, replies),
            )
            value, inner = made, [made]
        else:
            continue
        if inner:
            changed[one.name] = value
            found += inner
    for later in found[1:]:  # a stage that asks two models has one account
        object.__setattr__(later, "asked", found[0].asked)
    return (dataclasses.replace(step, **changed) if changed else step), found


# ---------------------------------------------------------------- what it takes


@dataclass
class _Known:
    """What is known of models beside the sample."""

    replies: Path
    tokens_per_second: float | None
    prices: tuple[float, float] | None
    _histories: dict[str, History] = field(default_factory=dict)

    def history(self, model: Model) -> History:
        name = model_id(model)
        if name not in self._histories:
            self._histories[name] = read_history(_journal(model, self.replies), name)
        return self._histories[name]


def _journal(model: Model, replies: Path) -> Path:
    """Return the folder of a model's replies: its own, or the store's."""
    return Path(getattr(model, "journal", "") or replies)


def _estimates(recipe: Recipe, members: Sequence[_Member], known: _Known) -> Iterator[Estimate]:
    for number, step in enumerate(recipe.steps, start=1):
        models = [*_models(step)] if isinstance(step, Stage) else []
        if not models:
            continue
        purposes = dict.fromkeys(p for m in members for p in m.asked.get(number, {})) or {"": None}
        for purpose in purposes:
            yield _estimate(number, step, (models[0], purpose), members, known)


def _models(step: Any) -> Iterator[tuple[Model, Stage]]:
    """Yield the models of a stage and of stages inside it, each with the stage that holds it."""
    for one in dataclasses.fields(step):
        value = getattr(step, one.name)
        if isinstance(value, Stage):
            yield from _models(value)
        elif isinstance(value, Model) and not isinstance(value, type):
            yield value, step


def _estimate(
    number: int,
    step: Step,
    asks: tuple[tuple[Model, Stage], str],
    members: Sequence[_Member],
    known: _Known,
) -> Estimate:
    (model, holder), purpose = asks
    history = known.history(model)
    accounts = [m.asked.get(number, {}).get(purpose, Asked()) for m in members]
    asked = [*zip(accounts, _weights(step, accounts, members), strict=True)]
    requests = sum(one.requests * scale for one, scale in asked)
    answered = _answered(asked, history.replies.get(purpose, 0))
    left = 1 - answered / (requests or 1)
    prompts = sum(one.prompt_tokens * scale for one, scale in asked) * left
    limit = sum(one.limit_tokens * scale for one, scale in asked) / (requests or 1)
    mean, by = _reply_tokens(holder, purpose, history, limit)
    replies = requests * left * mean
    rate = known.tokens_per_second or history.tokens_per_second
    prices = known.prices or getattr(holder, "prices", None)
    reached = [(m.documents.get(number), m.scale) for m in members]
    followed = [count * scale for count, scale in reached if count is not None]
    return Estimate(
        step=number,
        stage=step_name(step),
        model=model_id(model),
        asks_for=purpose,
        documents=round(sum(followed)) if len(followed) == len(reached) else None,
        requests=round(requests),
        answered=round(answered),
        prompt_tokens=round(prompts),
        reply_tokens=round(replies),
        tokens_by="tokenizer" if tokenizer_of(model) else f"characters / {CHARS_PER_TOKEN}",
        replies_by=by,
        hours=replies / rate / 3600 if rate else None if replies else 0.0,
        money=_money(prompts, replies, prices),
    )


def _money(prompts: float, replies: float, prices: tuple[float, float] | None) -> float | None:
    if prices and any(prices):
        cost: float = money_for(prompts, replies, prices)
        return cost
    return None if prompts or replies else 0.0


def _answered(asked: Sequence[tuple[Asked, float]], kept: int) -> float:
    """Return how many requests are answered already.

    A run that was killed has answered the beginnings of shards, which are what is tried: the rows
    of the sample do not speak for all rows, and no more are answered than there are replies.

    asked  accounts, and how often each counts
    kept   replies in the journal for the same purpose
    """
    seen = sum(one.answered for one, scale in asked if scale)
    return min(sum(one.answered * scale for one, scale in asked), max(kept, seen))


def _weights(step: Step, accounts: Sequence[Asked], members: Sequence[_Member]) -> Iterator[float]:
    """Yield for each member how often its account counts.

    A step over all rows asks as much as its settings say, however many rows there are: the largest
    account is the estimate.
    """
    largest = max(range(len(members)), key=lambda n: accounts[n].requests)
    for n, member in enumerate(members):
        yield float(n == largest) if isinstance(step, Reducer) else member.scale


def _reply_tokens(holder: Stage, purpose: str, history: History, limit: float) -> tuple[float, str]:
    """Return the tokens of a reply, and by what they are known."""
    if purpose in history.reply_tokens:
        return history.reply_tokens[purpose], "earlier replies"
    typical = _typical(holder)
    if purpose in typical:
        return float(typical[purpose]), "the prompt's own"
    return limit / 2, "half the limit"


def _typical(holder: Stage) -> Mapping[str, int]:
    """Return what a stage says of the length of its replies, by purpose."""
    told: Mapping[str, int] = getattr(holder, "typical_tokens", dict)()
    return told


def _remarks(estimates: Sequence[Estimate]) -> Iterator[str]:
    if not estimates:
        yield "no step of this recipe asks a language model"
        return
    if answered := sum(one.answered for one in estimates):
        yield (
            f"{answered:,} requests are answered already, by replies that the store holds: tokens, "
            "hours and money are of the others"
        )
    if any(one.tokens_by != "tokenizer" for one in estimates):
        yield (
            f"prompt tokens are characters / {CHARS_PER_TOKEN} where the model's tokenizer is not "
            "at hand"
        )
    if any(one.hours is None for one in estimates):
        yield "hours are unknown: --tokens-per-second says how fast the model writes"
    if any(one.money is None for one in estimates):
        yield "money is unknown: --prices says what a million tokens cost"
    yield "replies that have to be asked for again are not counted"


# ---------------------------------------------------------------- for people


def estimate_table(found: DryRun) -> Table:
    """Return the estimates as a table for the terminal, with a sum."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None)
    for title in ("step", "stage", "model", "asks for"):
        table.add_column(title, overflow="fold")
    counts = ("documents", "requests", "answered")
    for title in (*counts, "prompt tokens", "reply tokens", "hours", "money"):
        table.add_column(title, justify="right")
    table.add_column("replies by")
    for one in found.estimates:
        names = (str(one.step), one.stage, one.model, one.asks_for)
        documents = "unknown" if one.documents is None else f"{one.documents:,}"
        table.add_row(*map(Text, (*names, documents, *_figures([one]), one.replies_by)))
    if len(found.estimates) > 1:
        table.add_row("", "all", "", "", "", *_figures(found.estimates))
    return table


def _figures(estimates: Sequence[Estimate]) -> list[str]:
    counts = [
        sum(getattr(one, name) for one in estimates) for name in ("requests", "answered", *_TOKENS)
    ]
    hours = [one.hours for one in estimates if one.hours is not None]
    money = [one.money for one in estimates if one.money is not None]
    return [
        *(f"{count:,}" for count in counts),
        f"{sum(hours):,.2f}" if len(hours) == len(estimates) else "unknown",
        f"{sum(money):,.2f}" if len(money) == len(estimates) else "unknown",
    ]
