"""Scores from comparisons that a language model makes: which of two texts is the better one.

Models compare more reliably than they grade, and prefer a place: every pair is asked about in both
orders, and what a model says of a place alone cancels out. As a document has to be compared with
others, this is a step over all rows: sample first, and teach a classifier the scores.

Trade-off: the step is one task. A run that is killed in it asks for all of it again, unless the
model has a journal: ModelServer(..., journal="FOLDER").
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.annotate.judge import COUNTS, cut_text, unread_reply
from curation.annotate.model import Model, Reply, Request
from curation.arrow import to_column, values_of
from curation.columns import COLUMNS
from curation.errors import DataError, RecipeError
from curation.score.bradley_terry import bradley_terry
from curation.stage import Reducer, Rows

if TYPE_CHECKING:
    from curation.build import Build

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
#: One question: its pair, criterion, order (0 as drawn, 1 reversed) and vote.
Place = tuple[int, int, int, int]

#: Requests that are made out at a time.
_BLOCK_REQUESTS = 4096
_REPLY_TOKENS = 16
#: A reply's last line: a letter, perhaps after the word that the question used.
_LETTER = re.compile(r"\W*(?:(?:answer|choice|text)\W{1,5}){0,2}([AB])\W*", re.IGNORECASE)
_PROMPT = """Here are two texts.

<text A>
{first}
</text A>

<text B>
{second}
</text B>

{asks}

Reply with one letter only: A or B."""


@dataclass(frozen=True)
class Criterion:
    """What two texts are compared by.

    name  part of the column's name
    asks  the question, such as "Which of the two texts explains more clearly?"
    """

    name: str
    asks: str


#: The four criteria of Wettig et al. 2024, arXiv:2402.09739 (QuRating), in our own words.
QURATING: tuple[Criterion, ...] = (
    Criterion("writing_style", "Which of the two texts is better written, in style and polish?"),
    Criterion(
        "facts_trivia",
        "Which of the two texts holds more facts and trivia? Prefer facts that are particular "
        "and little known to those that everybody knows.",
    ),
    Criterion(
        "educational_value",
        "Which of the two texts has the higher educational value, for instance by clear "
        "explanations, reasoning step by step, or questions and answers?",
    ),
    Criterion(
        "required_expertise",
        "Which of the two texts takes more expertise and knowledge to be understood?",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Pairwise(Reducer):
    """Let a language model compare documents in pairs, and score them by who beats whom.

    Pairs are drawn by hashes of ids, round by round: in a round every document meets one other, so
    that each takes part in about 2 * pairs / documents of them. A pair's probability for one
    criterion is (p + 1 - p_reversed) / 2, p and p_reversed being the shares of votes for the first
    place in either order. Pairs on which the model contradicts itself, |2p - 1| below
    ``confidence``, do not count. What counts is fitted by a Bradley-Terry model for each
    criterion, and once more to the majority over criteria.

    It asks 2 * pairs * criteria * votes requests. A reply that is neither A nor B is asked for
    again, as another draw; after the last it is no vote, and neither is a request that failed.
    A step over all rows has no error column: such questions are counted in a column, and a
    warning says how many there are and how a reply begins. Where none at all could be read, the
    run ends with a DataError.

    model       ModelServer, VllmModel, TransformersModel, or anything with their methods
    pairs       how many; documents times 5 to 10 gives scores that hold
    criteria    QURATING, or one's own
    votes       draws for each order; more than one want a temperature above 0
    confidence  0.5 in QuRating; 0 lets every pair count
    ridge       how strongly scores are held near 0
    max_chars   a longer text is cut to its beginning; 0 for no limit
    retries     how often a reply that cannot be read is asked for again
    name        what the columns begin with
    seed        of the hashes that draw the pairs
    prices      money for a million tokens of prompts and of replies, for the account

    reads    id    large_string  distinct
             text  large_string  any length; a null or blank one is not compared
    writes   pairwise_CRITERION_score for each criterion and pairwise_score for their majority
             (float32, higher is better, null where no comparison counts), then
             pairwise_comparison_count, pairwise_unread_count, pairwise_request_count,
             pairwise_prompt_tokens, pairwise_completion_tokens; requests, all attempts of them,
             and questions without a vote are counted with the text in the first place
    source   Wettig et al. 2024, arXiv:2402.09739 (QuRating); Guo et al. 2025, arXiv:2502.19279
             (CritiQ); Bradley and Terry 1952, doi:10.2307/2334029
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("id", "text")
    incidental: ClassVar[tuple[str, ...]] = ("prices",)

    model: Model
    pairs: int
    criteria: tuple[Criterion, ...] = QURATING
    votes: int = 1
    confidence: float = 0.5
    ridge: float = 0.1
    max_chars: int = 2000
    retries: int = 2
    name: str = "pairwise"
    seed: int = 0
    prices: tuple[float, float] = field(default=(0.0, 0.0), repr=False)

    @property
    def writes(self) -> pa.Schema:
        """The columns of these criteria under this name."""
        scores = [f"{criterion.name}_score" for criterion in self.criteria]
        kinds = dict.fromkeys([*scores, "score"], pa.float32())
        kinds |= dict.fromkeys(["comparison_count", "unread_count", *COUNTS], pa.uint32())
        return pa.schema([(f"{self.name}_{name}", kind) for name, kind in kinds.items()])

    def check(self) -> None:
        names = [criterion.name for criterion in self.criteria]
        faults = {
            "there is a criterion, and each has its own name": 0 < len({*names}) == len(names),
            "names are those of columns": all(
                re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in [*names, self.name]
            ),
            "each criterion asks something": all(c.asks.strip() for c in self.criteria),
            "pairs and votes are 1 or more": min(self.pairs, self.votes) >= 1,
            "confidence is 0 to 1": 0 <= self.confidence <= 1,
            "ridge is above 0": 0 < self.ridge < float("inf"),
            "max_chars, retries and seed are 0 or more": min(
                self.max_chars, self.retries, self.seed
            )
            >= 0,
            "prices are two, 0 or more": len(self.prices) == 2 and min(self.prices) >= 0,
            "its columns have their own types": all(
                COLUMNS.get(f.name, (f.type, ""))[0] == f.type for f in self.writes
            ),
        }
        for law, kept in faults.items():
            if not kept:
                raise RecipeError(f"Pairwise: {law}.", found=str(self))

    def identity(self) -> dict[str, object]:
        """Know the criteria by their words."""
        facts = super().identity()
        settings = facts["settings"]
        assert isinstance(settings, dict)
        criteria = [asdict(criterion) for criterion in self.criteria]
        return {**facts, "settings": {**settings, "criteria": criteria}}

    def reduce(self, rows: Rows) -> Iterator[pa.RecordBatch]:
        hash_N, is_text_N = _survey(rows, self.seed)
        (place_D,) = np.nonzero(is_text_N)
        place_D = place_D[np.argsort(hash_N[place_D], kind="stable")]  # in an order of their own
        first_P, second_P = draw_pairs(hash_N[place_D], self.pairs)
        asked = _Comparing(self, self._texts(rows, place_D, first_P, second_P))
        asked.ask(first_P, second_P)
        asked.tell_unread()
        columns = asked.columns(first_P, second_P, len(place_D))
        yield from self._laid_out(columns, place_D, len(hash_N))

    def _texts(self, rows: Rows, place_D: I64, first_P: I64, second_P: I64) -> dict[int, str]:
        """Return the texts of the documents that are compared, cut, by their number."""
        number = np.unique(np.concatenate([first_P, second_P]))
        number = number[np.argsort(place_D[number])]
        texts: dict[int, str] = {}
        start = 0
        for batch in rows.batches("text"):
            low, high = np.searchsorted(place_D[number], [start, start + len(batch)])
            here = number[low:high]
            chosen = batch["text"].take(pa.array(place_D[here] - start))
            cut = cut_text(chosen, self.max_chars, "beginning").to_pylist()
            texts |= dict(zip(here.tolist(), cut, strict=True))
            start += len(batch)
        return texts

    def _laid_out(
        self, columns: Sequence[F64 | U32], place_D: I64, total: int
    ) -> Iterator[pa.RecordBatch]:
        wide = []
        for made, column in zip(columns, self.writes, strict=True):
            empty = np.nan if pa.types.is_floating(column.type) else 0
            full_N = np.full(total, empty, dtype=column.type.to_pandas_dtype())
            full_N[place_D] = made
            wide.append(full_N)
        for start in range(0, total, 1 << 16):
            parts = [full_N[start : start + (1 << 16)] for full_N in wide]
            arrays = [to_column(part, ~np.isnan(part)) for part in parts]
            yield pa.RecordBatch.from_arrays(arrays, schema=self.writes)

    def finish(self, build: Build) -> None:
        """Print what the comparisons have cost."""
        from curation.annotate.costs import print_cost

        print_cost(build, self.name, self.prices)


def _survey(rows: Rows, seed: int) -> tuple[U64, npt.NDArray[np.bool_]]:
    """Return (uint64[N] hash of each id, bool[N] whether there is a text to compare)."""
    from curation.engine.best import id_hash

    hashes, texts = [np.zeros(0, np.uint64)], [np.zeros(0, np.bool_)]
    for batch in rows.batches("id", "text"):
        is_text = pc.not_equal(pc.utf8_trim_whitespace(batch["text"]), "")
        hashes.append(id_hash(batch["id"], seed))
        texts.append(values_of(pc.fill_null(is_text, False)))
    return np.concatenate(hashes), np.concatenate(texts)


def draw_pairs(hash_D: U64, pairs: int) -> tuple[I64, I64]:
    """Return (first int64[P], second int64[P]): distinct pairs of documents, by their number.

    In each round documents stand in the order of how often they have been in a pair, then of
    another hash, and neighbours are a pair. P is the smaller of ``pairs`` and all that there are.
    """
    from curation.engine.best import mix

    count = len(hash_D)
    every = count * (count - 1) // 2
    if pairs > every // 2:  # rounds would meet the same pairs again and again
        first, second = np.triu_indices(count, 1)
        drawn = np.argsort(mix(hash_D[first] ^ mix(hash_D[second], 1), 0), kind="stable")[:pairs]
        return first[drawn], second[drawn]
    found: dict[tuple[int, int], tuple[int, int]] = {}
    met_D, turn = np.zeros(count, dtype=np.int64), 0
    while len(found) < pairs:
        before = len(found)
        order = np.lexsort((mix(hash_D, turn), met_D))
        left = min(count // 2, pairs - len(found))
        for a, b in order[: 2 * left].reshape(-1, 2).tolist():
            found.setdefault((min(a, b), max(a, b)), (a, b))
        met_D = np.bincount(np.ravel(list(found)), minlength=count)
        if len(found) == before:  # the least met have met each other
            met_D[:] = 0
        turn += 1
    chosen = np.array(list(found.values()), dtype=np.int64).reshape(-1, 2)
    return chosen[:, 0], chosen[:, 1]


def read_letter(reply: Reply) -> str:
    """Return A or B where the last line of a reply is that; "" otherwise."""
    lines = reply.text.strip().splitlines() or [""]
    found = _LETTER.fullmatch(lines[-1].strip()[:100])
    return found[1].upper() if found and reply.error is None else ""


def calibrated(vote_CPO2: I64) -> tuple[F64, npt.NDArray[np.bool_]]:
    """Return each pair's probability that its first document is better, free of the order.

    vote_CPO2  int64[C, P, O=2, 2]  votes for the first and the second place, in the drawn order
                                    and in the reversed one
    returns    (float64[C, P], bool[C, P] whether both orders have a vote)
    """
    count_CPO = vote_CPO2.sum(axis=3)
    is_voted_CP = (count_CPO > 0).all(axis=2)
    share_CPO = vote_CPO2[..., 0] / np.maximum(count_CPO, 1)
    prob_CP = (share_CPO[..., 0] + 1 - share_CPO[..., 1]) / 2
    return prob_CP, is_voted_CP


class _Comparing:
    """The questions about drawn pairs, the votes, and what they add up to."""

    def __init__(self, stage: Pairwise, texts: dict[int, str]) -> None:
        self.stage, self.texts = stage, texts
        self.both_PO = np.zeros((0, 2), dtype=np.int64)
        self.vote_CPO2 = np.zeros((0, 0, 2, 2), dtype=np.int64)
        self.spent: list[tuple[int, int, int]] = []
        self.unread: list[int] = []  # the first text of each question that has no vote
        self.example = ""

    def ask(self, first_P: I64, second_P: I64) -> None:
        """Ask about each pair, by each criterion, in both orders, so many times as there are votes.

        Questions are numbered pair by pair, then by criterion, order and vote.
        """
        shape = (len(first_P), len(self.stage.criteria), 2, self.stage.votes)
        self.vote_CPO2 = np.zeros((shape[1], shape[0], 2, 2), dtype=np.int64)
        self.both_PO = np.stack([first_P, second_P], axis=1)
        for start in range(0, int(np.prod(shape)), _BLOCK_REQUESTS):
            stop = min(start + _BLOCK_REQUESTS, int(np.prod(shape)))
            numbers = np.unravel_index(np.arange(start, stop), shape)
            self._ask_block(list(zip(*(number.tolist() for number in numbers), strict=True)))

    def _ask_block(self, places: Sequence[Place]) -> None:
        """Ask; again, as another draw, where a reply cannot be read."""
        waiting = places
        for attempt in range(self.stage.retries + 1):
            if not waiting:
                break
            replies = self.stage.model.generate([self._request(p, attempt) for p in waiting])
            told = zip(waiting, replies, strict=True)
            waiting = [place for place, reply in told if self._take(place, reply)]
        self.unread += [self._shown(place)[0] for place in waiting]

    def _shown(self, place: Place) -> tuple[int, int]:
        """Return the numbers of the two texts, in the order in which a question shows them."""
        pair, _, order, _ = place
        return int(self.both_PO[pair, order]), int(self.both_PO[pair, 1 - order])

    def _request(self, place: Place, attempt: int) -> Request:
        first, second = self._shown(place)
        _, criterion, _, vote = place
        parts = {
            "first": self.texts[first],
            "second": self.texts[second],
            "asks": self.stage.criteria[criterion].asks,
        }
        # one pass: what looks like a place to fill in inside a text is left as it is
        asked = re.sub(r"\{(\w+)\}", lambda found: parts[found[1]], _PROMPT)
        # no attempt at one vote is the draw of another vote
        draw = vote + attempt * self.stage.votes
        return Request(messages=(("user", asked),), max_tokens=_REPLY_TOKENS, attempt=draw)

    def _take(self, place: Place, reply: Reply) -> bool:
        """Note a reply; tell whether it is to be asked for again."""
        pair, criterion, order, _ = place
        first = self._shown(place)[0]
        self.spent.append((first, reply.prompt_tokens, reply.completion_tokens))
        if letter := read_letter(reply):
            self.vote_CPO2[criterion, pair, order, "AB".index(letter)] += 1
            return False
        self.example = self.example or reply.error or unread_reply(reply, "neither A nor B")
        if reply.error is not None:
            self.unread.append(first)
        return reply.error is None

    def tell_unread(self) -> None:
        """Warn of questions without a vote; DataError where no question has one."""
        if not self.unread:
            return
        if not self.vote_CPO2.any():
            raise DataError(
                f"Pairwise: the model answered none of {len(self.unread):,} questions.",
                requests=f"{len(self.spent):,}",
                found=self.example,
                remedy="a model that answers with a letter alone: an instructed one; for one that"
                " thinks first, switch that off, see extra_body of ModelServer",
            )
        every = len(self.unread) + int(self.vote_CPO2.sum())
        warnings.warn(
            f"Pairwise: {len(self.unread):,} of {every:,} questions have no answer that can be "
            f"read, such as: {self.example}",
            stacklevel=2,
        )

    def columns(self, first_P: I64, second_P: I64, count: int) -> list[F64 | U32]:
        """Return the columns that the stage writes, for the documents in their own order."""
        prob_CP, is_voted_CP = calibrated(self.vote_CPO2)
        counts_CP = is_voted_CP & (np.abs(2 * prob_CP - 1) >= self.stage.confidence)
        lead_P = (np.sign(2 * prob_CP - 1) * counts_CP).sum(axis=0)
        majority_P, is_led_P = (np.sign(lead_P) + 1) / 2, lead_P != 0
        probs = [*zip(prob_CP, counts_CP, strict=True), (majority_P, is_led_P)]
        made: list[F64 | U32] = []
        for prob_P, is_kept_P in probs:
            a, b = first_P[is_kept_P], second_P[is_kept_P]
            score_D = bradley_terry(a, b, prob_P[is_kept_P], count, self.stage.ridge)
            met_D = np.bincount(np.concatenate([a, b]), minlength=count)
            made.append(np.where(met_D > 0, score_D, np.nan))
        unread_D = np.bincount(np.array(self.unread, dtype=np.int64), minlength=count)
        return [*made, met_D.astype(np.uint32), unread_D.astype(np.uint32), *self._spent(count)]

    def _spent(self, count: int) -> list[U32]:
        spent = np.array(self.spent, dtype=np.int64).reshape(-1, 3)
        sums = [np.bincount(spent[:, 0], minlength=count)]
        sums += [np.bincount(spent[:, 0], spent[:, at], count) for at in (1, 2)]
        return [column.astype(np.uint32) for column in sums]
