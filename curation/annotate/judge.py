"""Grades that a language model gives to texts.

A model's grade costs a thousand times what any other stage does: judge a sample, and let a
classifier learn from it (pipelines/distill.py). Nothing is asked twice: grades are columns, and the
store keeps them; a changed prompt, model or sampling is another stage and asks anew.

Trade-off: grades are kept when a shard is done, as with every stage. A run that is killed asks
again for the shard under way, unless the model has a journal: ModelServer(..., journal="FOLDER").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.annotate.model import Model, Reply, Request
from curation.annotate.rubrics import EDUCATIONAL, Rubric
from curation.arrow import to_column, values_of
from curation.columns import COLUMNS
from curation.errors import RecipeError
from curation.stage import ERROR, Annotator

if TYPE_CHECKING:
    from curation.build import Build

#: What every judge counts, after its name: what the account is made of (annotate/costs.py).
COUNTS = ("request_count", "prompt_tokens", "completion_tokens")
#: Characters of a reply that an error shows.
_SHOWN_CHARS = 120


@dataclass(frozen=True, kw_only=True)
class Judge(Annotator):
    """Let a language model grade each text by a rubric.

        Judge(model=ModelServer(model="Qwen/Qwen3-8B"), rubric=EDUCATIONAL)

    A reply that cannot be read, or is out of range, is asked for again, as another draw; after the
    last the row is in error, with the beginning of the reply. A text that is null or blank is not
    asked about. Only a model that gives the same reply to the same request gives the same grades
    twice: servers that batch do so nearly, at a temperature of 0.

    model       ModelServer, VllmModel, TransformersModel, or anything with their methods
    rubric      EDUCATIONAL, ASK_LLM, DATAMAN (curation.annotate.rubrics), or one's own
    name        what the columns begin with, so that several judges fit into one recipe
    max_chars   a longer text is cut to so many characters, as the rubric says; 0 for no limit
    retries     how often a reply that cannot be read is asked for again
    keep_reply  write the reply too: the reasons that the model gives
    prices      money for a million tokens of prompts and of replies, for the account

    reads    text  large_string  any length; null allowed
    writes   what the rubric reads from a reply, behind the name: judge_grade (EDUCATIONAL),
             judge_yes_prob (ASK_LLM), judge_domain and judge_CRITERION_grade (DATAMAN); then
             judge_request_count, judge_prompt_tokens, judge_completion_tokens, all attempts
             counted, 0 where nothing was asked; then judge_reply, where it is wanted
    source   Penedo et al. 2024, arXiv:2406.17557 (FineWeb-Edu); Sachdeva et al. 2024,
             arXiv:2402.09668 (Ask-LLM); Peng et al. 2025, arXiv:2502.19363 (DataMan)
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("text",)
    incidental: ClassVar[tuple[str, ...]] = ("prices",)

    model: Model
    rubric: Rubric = EDUCATIONAL
    name: str = "judge"
    max_chars: int = 8000
    retries: int = 2
    keep_reply: bool = False
    prices: tuple[float, float] = field(default=(0.0, 0.0), repr=False)

    @property
    def writes(self) -> pa.Schema:
        """The columns of this rubric under this name."""
        answers = [answer.field for answer in self.rubric.answers]
        counts = [pa.field(name, pa.uint32()) for name in COUNTS]
        reply = [pa.field("reply", pa.large_string())] if self.keep_reply else []
        return pa.schema([f.with_name(f"{self.name}_{f.name}") for f in answers + counts + reply])

    def check(self) -> None:
        faults = {
            "name is a column's beginning": bool(re.fullmatch(r"[a-z][a-z0-9_]*", self.name)),
            "max_chars is 0 or more": self.max_chars >= 0,
            "retries is 0 or more": self.retries >= 0,
            "prices are two, 0 or more": len(self.prices) == 2 and min(self.prices) >= 0,
        }
        for law, kept in faults.items():
            if not kept:
                raise RecipeError(f"Judge: {law}.", found=f"{self}, prices={self.prices}")
        for column in self.writes:
            known = COLUMNS.get(column.name, (column.type, ""))
            if known[0] != column.type:
                raise RecipeError(
                    f"Judge cannot write {column.name!r}: that name stands for {known[0]}.",
                    meaning=known[1],
                    remedy="give the judge another name",
                )

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        text = cut_text(batch["text"], self.max_chars, self.rubric.cut)
        is_asked = pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(text), ""), False)
        rows = _Rows(self, text.filter(is_asked).to_pylist())
        rows.ask()
        asked_N = values_of(is_asked)
        place = to_column(np.cumsum(asked_N) - 1, asked_N)
        made = rows.columns(self.writes)
        spent = {f"{self.name}_{name}" for name in COUNTS}
        arrays = {name: array.take(place) for name, array in made.items()}
        arrays |= {name: pc.fill_null(arrays[name], 0) for name in spent}
        fields = [*self.writes, pa.field(ERROR, pa.large_string())]
        return pa.RecordBatch.from_arrays(
            [arrays[f.name] for f in fields], schema=pa.schema(fields)
        )

    def finish(self, build: Build) -> None:
        """Print what the judge's grades have cost."""
        from curation.annotate.costs import print_cost

        print_cost(build, self.name, self.prices)


def cut_text(text: pa.Array, most: int, cut: str) -> pa.Array:
    """Cut texts to so many characters: their beginning, or as much of the end as of the beginning.

    text  large_string[N]; null allowed
    most  0 for no limit
    cut   "beginning" or "ends"
    """
    if not most:
        return text
    if cut == "beginning":
        return pc.utf8_slice_codeunits(text, 0, most)
    long = pc.greater(pc.utf8_length(text), most)
    head = pc.utf8_slice_codeunits(text, 0, most - most // 2)
    tail = pc.utf8_slice_codeunits(text, -(most // 2)) if most > 1 else pa.scalar("", text.type)
    ends = pc.binary_join_element_wise(head, tail, pa.scalar("\n...\n", text.type))
    return pc.if_else(long, ends, text)


class _Rows:
    """The texts of one batch that are asked about, and what has been said of them."""

    def __init__(self, judge: Judge, texts: Sequence[str]) -> None:
        self.judge, self.texts = judge, texts
        self.answers: list[dict[str, Any]] = [{} for _ in texts]
        self.errors: list[str | None] = [None] * len(texts)
        self.counts = np.zeros((len(COUNTS), len(texts)), dtype=np.uint32)

    def ask(self) -> None:
        """Ask about all; again, as another draw, where a reply cannot be read."""
        waiting = list(range(len(self.texts)))
        for attempt in range(self.judge.retries + 1):
            requests = [self._request(self.texts[row], attempt) for row in waiting]
            replies = self.judge.model.generate(requests)
            unread = [self._take(row, reply) for row, reply in zip(waiting, replies, strict=True)]
            waiting = [row for row, again in zip(waiting, unread, strict=True) if again]

    def _request(self, text: str, attempt: int) -> Request:
        rubric = self.judge.rubric
        return Request(
            messages=rubric.messages(text),
            max_tokens=rubric.max_tokens,
            attempt=attempt,
            top_logprobs=rubric.top_logprobs,
            purpose=self.judge.name,
        )

    def _take(self, row: int, reply: Reply) -> bool:
        """Note a reply; tell whether it is to be asked for again."""
        self.counts[:, row] += np.array(
            [1, reply.prompt_tokens, reply.completion_tokens], dtype=np.uint32
        )
        if reply.error is not None:
            self.errors[row] = reply.error
            return False
        try:
            self.answers[row] = {**self.judge.rubric.read(reply), "reply": reply.text}
        except ValueError as error:
            self.answers[row] = {"reply": reply.text}
            self.errors[row] = unread_reply(reply, str(error))
            return True
        self.errors[row] = None
        return False

    def columns(self, schema: pa.Schema) -> dict[str, pa.Array]:
        """Return the columns of a schema, and ``error``."""
        name = self.judge.name
        counts = {f"{name}_{c}": self.counts[at] for at, c in enumerate(COUNTS)}
        made = {
            f.name: to_column(counts[f.name])
            if f.name in counts
            else pa.array([a.get(f.name[len(name) + 1 :]) for a in self.answers], f.type)
            for f in schema
        }
        return {**made, ERROR: pa.array(self.errors, pa.large_string())}


def unread_reply(reply: Reply, why: str) -> str:
    """Return what is wrong with a reply, and its beginning."""
    shown = " ".join(reply.text.split())[:_SHOWN_CHARS]
    cut = "; the reply was cut at max_tokens" if reply.is_cut else ""
    return f"the reply cannot be read: {why}{cut}: {shown!r}"
