"""An expensive scorer on few documents: clusters are arms, and the good ones are asked more often.

A scorer that takes seconds a document (a model's gradients, a judge, a perplexity) cannot see a
corpus. Rows of a cluster are alike, so a few of them tell what the others are worth, and which
clusters to go on with: the upper confidence bound of bandits.

Trade-off: each round is a pass over the columns that the scorer reads, perhaps the text of the
whole corpus; the draws of a round are chosen together and know nothing of each other's scores.
13 bytes are held for each row.

G arms, R all rows, M rows of arms
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.annotate.costs import SPENT, added, asking_names, sums_of
from curation.arrow import to_column, values_of
from curation.columns import columns
from curation.errors import RecipeError
from curation.score.groups import Grouped
from curation.stage import BATCH_ROWS, ERROR, Annotator, Reducer, Rows

if TYPE_CHECKING:
    from curation.build import Build

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
#: What a scorer that asks a model has spent: its name → sums (annotate/costs.py).
Spent = dict[str, dict[str, int]]


@dataclass(frozen=True, kw_only=True)
class ClusterBandit(Reducer):
    """Ask a scorer about a budget of rows, most of them in the groups that score high.

        Clusters(clusters=200),
        ClusterBandit(scorer=BitsPerByte(model="..."), scorer_column="lm_bits_per_byte",
                      lowest=True, budget=5_000),
        keep_best("bandit_score", tokens=10_000_000, because="not worth it by its cluster"),

    In the first round every arm is drawn from alike; in each later one the next draw goes to the
    arm with the highest mean + alpha * s * sqrt(2 ln T / T_i): T_i draws of this arm, T of all,
    s the standard deviation of all scores so far, so that alpha has no unit. Inside of an arm
    rows are drawn in the order of a hash of their id.

    A scored row has its score. A row that was not asked has the lower bound of its arm, mean -
    alpha * s * sqrt(2 ln T / T_i): ``keep_best`` takes good rows that were scored first, then the
    rows of good arms that are known well. In an arm without a score it is null, and so it is
    where the scorer was asked and gave none.

    Quad's own scorer is the influence of a document on a reference loss, by gradients and a
    Kronecker-factored Hessian; its code is not published and it is not made here. Any annotator
    serves that writes a number: bits per byte, a classifier, a judge, or without any model
    ``TargetSimilarity``, which reads ``embedding``. Rounds, budget and alpha are ours: an alpha of
    1 spends most of a small budget on looking around (benchmarks/selection_coverage.py). Give it
    some ten rows of budget for each arm, or more. What a judge spends here, ``judge_costs`` tells;
    its columns and its errors are not kept.

    scorer         the stage to ask; it sees the drawn rows only
    scorer_column  which of its columns is the score; "" where it writes one column of numbers
    budget         rows to ask about
    by             column of the arms
    alpha          weight of what is not known yet
    rounds         how often to choose anew; each is a pass over what the scorer reads
    draws          rows of an arm that are drawn together
    lowest         whether low numbers of the scorer are good
    seed           of the hash that orders rows inside of an arm

    reads    id             large_string  distinct
             cluster_id     uint32        or what ``by`` names; a row where it is null has no score
             text           large_string  or what the scorer reads
    writes   bandit_score   float32       higher is better, with the sign turned where ``lowest``
             bandit_scored  bool          whether the scorer was asked and gave a number
    source   Zhang et al. 2024, arXiv:2409.16986 (Quad); Auer et al. 2002,
             doi:10.1023/A:1013689704352 (upper confidence bounds)
    """

    version: ClassVar[int] = 1
    writes: ClassVar[pa.Schema] = columns("bandit_score", "bandit_scored")

    scorer: Annotator
    scorer_column: str = ""
    budget: int = 1000
    by: str = "cluster_id"
    alpha: float = 0.2
    rounds: int = 8
    draws: int = 4
    lowest: bool = False
    seed: int = 0

    @property
    def reads(self) -> tuple[str, ...]:  # type: ignore[override]
        """The id, the arms and what the scorer reads."""
        return (*dict.fromkeys(("id", self.by, *self.scorer.reads)),)

    @property
    def may_read(self) -> tuple[str, ...]:  # type: ignore[override]
        """What the scorer may read."""
        return tuple(name for name in self.scorer.may_read if name not in self.reads)

    def check(self) -> None:
        least = {"budget": 1, "rounds": 1, "draws": 1, "alpha": 0, "seed": 0}
        for name, value in least.items():
            if not value <= getattr(self, name) < math.inf:
                raise RecipeError(
                    f"ClusterBandit takes no {name} below {value}.",
                    found=f"{name}={getattr(self, name)}",
                )
        _ = self.score_name

    @property
    def score_name(self) -> str:
        """Which of the scorer's columns is the score."""
        numeric: list[str] = [f.name for f in self.scorer.writes if _is_number(f.type)]
        if self.scorer_column in numeric:
            return self.scorer_column
        if not self.scorer_column and len(numeric) == 1:
            return numeric[0]
        raise RecipeError(
            "ClusterBandit needs to know which of its scorer's columns is the score.",
            found=f"scorer_column={self.scorer_column!r}",
            present=", ".join(numeric) or "no column of numbers",
            remedy="scorer_column=... with one of these",
        )

    def reduce(self, rows: Rows) -> Iterator[pa.RecordBatch]:
        grouped = Grouped.of(rows, self.by, self.seed)
        order_M = grouped.in_order(np.ones(rows.count, dtype=np.bool_))
        arms = _Arms(order_M, grouped.starts(order_M))
        spent: Spent = {}
        share = -(-self.budget // self.rounds)
        for number in range(self.rounds):
            left = min(share, self.budget - arms.drawn)
            # the first round gets round to every arm, if it can
            draws = self.draws if number else max(1, min(self.draws, left // max(len(grouped), 1)))
            drawn = arms.draw(left, self.alpha if number else math.inf, draws)
            if not len(drawn):
                break
            arms.note(self._asked(rows, drawn, spent))
        if spent:
            rows.note(**{SPENT: spent})
        score_R, scored_R = arms.scores(grouped, self.alpha, rows.count)
        at = 0
        for batch in rows.batches("id"):
            part = slice(at, at + len(batch))
            at = part.stop
            score = to_column(score_R[part].astype(np.float32), ~np.isnan(score_R[part]))
            yield pa.RecordBatch.from_arrays([score, to_column(scored_R[part])], schema=self.writes)

    def _asked(self, rows: Rows, drawn_D: I64, spent: Spent) -> F64:
        """Return float64[D]: the score of each row drawn, NaN where there is none.

        What that has cost is added to ``spent``.
        """
        row_D = np.sort(drawn_D)
        names = [*dict.fromkeys((*self.scorer.reads, *self.scorer.may_read))]
        found, held, held_rows, at, next_row = [], [], 0, 0, 0
        for batch in rows.batches(*names):
            stop = int(np.searchsorted(row_D, next_row + len(batch)))
            if stop > at:
                held.append(batch.take(pa.array(row_D[at:stop] - next_row)))
                held_rows += stop - at
            next_row, at = next_row + len(batch), stop
            if held_rows >= BATCH_ROWS:
                found.append(self._scored(held, spent))
                held, held_rows = [], 0
        if held:
            found.append(self._scored(held, spent))
        score_D = np.empty(len(drawn_D))
        score_D[np.argsort(drawn_D)] = np.concatenate(found)
        return score_D

    def _scored(self, held: list[pa.RecordBatch], spent: Spent) -> F64:
        made = self.scorer.annotate(pa.concat_batches(held))
        for name in asking_names(made.schema.names):
            spent[name] = added(spent.get(name, {}), sums_of(made, name))
        values = made[self.score_name].cast(pa.float64())
        bad = values_of(pc.is_null(values, nan_is_null=True))
        if ERROR in made.schema.names:
            bad = bad | ~values_of(pc.is_null(made[ERROR]))
        score_N = np.where(bad, np.nan, values_of(values))
        score_N[np.isinf(score_N)] = np.nan  # a mean with it in would say nothing any more
        return -score_N if self.lowest else score_N

    def finish(self, build: Build) -> None:
        """Let the scorer do what it does at the end: a judge prints what it has cost."""
        self.scorer.finish(build)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


@dataclass
class _Arms:
    """What is known of the arms so far.

    row_M    int64[M]    rows, arm after arm, in the order in which they are drawn
    start_G  int64[G+1]  where in it each arm begins
    """

    row_M: I64
    start_G: I64
    drawn: int = 0
    next_G: I64 = field(init=False)
    score_M: F64 = field(init=False)
    waiting: I64 = field(init=False)

    def __post_init__(self) -> None:
        self.next_G = self.start_G[:-1].copy()
        self.score_M = np.full(len(self.row_M), np.nan)

    def draw(self, count: int, alpha: float, together: int) -> I64:
        """Choose rows of a round; return their numbers. An infinite alpha looks at no score."""
        mean_G, _, spread = self._known()
        first_G = self.next_G.copy()
        taken_G = (self.next_G - self.start_G[:-1]).astype(np.float64)
        while count > 0 and (self.next_G < self.start_G[1:]).any():
            margin_G = alpha * spread * _width(taken_G) if math.isfinite(alpha) else -taken_G
            bound_G = mean_G + margin_G
            bound_G = np.where(self.next_G < self.start_G[1:], bound_G, -np.inf)
            arm = int(np.argmax(bound_G))
            size = min(count, together, int(self.start_G[arm + 1] - self.next_G[arm]))
            self.next_G[arm] += size
            taken_G[arm] += size
            count -= size
        places = [np.arange(a, b) for a, b in zip(first_G, self.next_G, strict=True) if b > a]
        self.waiting = np.concatenate([np.empty(0, np.int64), *places])
        self.drawn += len(self.waiting)
        return self.row_M[self.waiting]

    def note(self, score_D: F64) -> None:
        """Take the scores of the rows drawn last."""
        self.score_M[self.waiting] = score_D

    def _known(self) -> tuple[F64, I64, float]:
        """Return the mean of each arm (that of all where it has none), its scores, their spread.

        Sums go along the order of draws, which no order of rows changes.
        """
        known_M = ~np.isnan(self.score_M)
        value_M = np.where(known_M, self.score_M, 0.0)
        total_G = _sums(value_M, self.start_G)
        known_G = _sums(known_M.astype(np.float64), self.start_G)
        count = int(known_G.sum())
        if not count:
            return np.zeros(len(known_G)), known_G.astype(np.int64), 0.0
        mean = float(total_G.sum()) / count
        spread = math.sqrt(float(((value_M[known_M] - mean) ** 2).sum()) / count)
        mean_G = np.where(known_G > 0, total_G / np.maximum(known_G, 1), mean)
        return mean_G, known_G.astype(np.int64), spread

    def scores(
        self, grouped: Grouped, alpha: float, count: int
    ) -> tuple[F64, npt.NDArray[np.bool_]]:
        """Return float64[R], NaN for null, and bool[R]: whether the row has a score of its own."""
        mean_G, known_G, spread = self._known()
        low_G = mean_G - alpha * spread * _width(known_G.astype(np.float64))
        low_G = np.where(known_G > 0, low_G, np.nan)
        guess_M = np.repeat(low_G, np.diff(self.start_G))
        asked_M = np.zeros(len(self.row_M), dtype=np.bool_)
        for start, stop in zip(self.start_G[:-1], self.next_G, strict=True):
            asked_M[start:stop] = True
        score_R = np.full(count, np.nan)
        scored_R = np.zeros(count, dtype=np.bool_)
        score_R[self.row_M] = np.where(asked_M, self.score_M, guess_M)
        scored_R[self.row_M] = asked_M & ~np.isnan(self.score_M)
        return score_R, scored_R


def _width(taken_G: F64) -> F64:
    """Return sqrt(2 ln T / T_i); an arm that was never drawn counts as drawn once."""
    total = max(float(taken_G.sum()), 1.0)
    width_G: F64 = np.sqrt(2 * math.log(total) / np.maximum(taken_G, 1.0))
    return width_G


def _sums(value_M: F64, start_G: I64) -> F64:
    """Return the sum of each arm, which has one row or more."""
    if len(start_G) < 2:
        return np.zeros(0)
    return np.add.reduceat(value_M, start_G[:-1])
