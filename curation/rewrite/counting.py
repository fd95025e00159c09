"""A model that sends nothing: it counts what is asked, and answers as short as the form allows.

A request whose reply a journal holds gets that reply: a run would not ask it again. What any other
reply will cost is known from replies to the same prompt, where a journal holds some, and otherwise
from what the prompt says of itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from curation.annotate.model import Model, Reply, Request
from curation.errors import CurationError, ResourceError
from curation.rewrite.journal import FILE_NAME, read_reply, reading, request_key
from curation.rewrite.parse import filler
from curation.rewrite.schema import example

#: Characters of a token where no tokenizer is at hand: usual for English.
CHARS_PER_TOKEN = 4
#: Replies further apart than this are of two runs, or of one that stood still.
_STILL_S = 60
#: From so few replies no speed is told.
_FEW_REPLIES = 20


@dataclass
class Asked:
    """Requests for one purpose.

    answered      those of them that a journal holds the reply to
    limit_tokens  limits of their replies, added up
    """

    requests: int = 0
    answered: int = 0
    prompt_tokens: float = 0.0
    limit_tokens: int = 0


@dataclass(frozen=True, kw_only=True, repr=False)
class CountingModel:
    """Stands in for the model of one step.

    A request with a schema gets the smallest reply that keeps it, its texts as long as such a reply
    usually is, so that steps behind have rows to count; any other an empty one. What is asked for
    again is not counted: the real model may be understood at once.

    typical  tokens of a reply, by purpose
    replies  folder of a journal, which need not be there
    """

    instead_of: Model
    step: int
    typical: Mapping[str, int] = field(default_factory=dict)
    replies: Path | None = None
    asked: dict[str, Asked] = field(default_factory=dict, compare=False)

    def facts(self) -> Mapping[str, object]:
        return {"model": f"counting at step {self.step}"}

    def generate(self, requests: Sequence[Request]) -> list[Reply]:
        known = self._known(requests)
        first = [n for n, request in enumerate(requests) if not request.attempt]
        contents = [content for n in first for _, content in requests[n].messages]
        counts = iter(count_tokens(self.instead_of, contents))
        for n in first:
            request = requests[n]
            account = self.asked.setdefault(request.purpose, Asked())
            account.requests += 1
            account.answered += n in known
            account.prompt_tokens += sum(next(counts) for _ in request.messages)
            account.limit_tokens += request.max_tokens
        return [known.get(n) or self._reply(request) for n, request in enumerate(requests)]

    def _known(self, requests: Sequence[Request]) -> dict[int, Reply]:
        """Return the replies that the journal holds, by the number of the request."""
        if self.replies is None or not (self.replies / FILE_NAME).is_file():
            return {}
        facts = self.instead_of.facts()
        keys = [request_key(facts, request) for request in requests]
        ask = "select reply from replies where key = ?"
        try:
            with reading(str(self.replies)) as file:
                found = [file.execute(ask, (key,)).fetchone() for key in keys]
        except ResourceError:
            return {}
        replies = [None if one is None else read_reply(one[0]) for one in found]
        return {n: reply for n, reply in enumerate(replies) if reply is not None}

    def _reply(self, request: Request) -> Reply:
        if not request.json_schema:
            return Reply(finish="stop")
        schema = json.loads(request.json_schema)
        texts = max(1, json.dumps(example(schema, filler())).count("text "))
        tokens = min(self.typical.get(request.purpose, request.max_tokens // 2), request.max_tokens)
        told = example(schema, filler(tokens * CHARS_PER_TOKEN // texts))
        return Reply(text=json.dumps(told), finish="stop")


def count_tokens(model: Model, texts: Sequence[str]) -> list[float]:
    """Return how many tokens each text has for a model, as far as that can be known here."""
    tokenizer = tokenizer_of(model)
    if tokenizer is None:
        return [len(text) / CHARS_PER_TOKEN for text in texts]
    return [float(len(ids)) for ids in tokenizer.encode(list(texts))]


def tokenizer_of(model: Model) -> Any | None:
    """Return the tokenizer of a model that is a folder here; None for any other."""
    return _opened(str(getattr(model, "model", "")))


@lru_cache(maxsize=8)
def _opened(name: str) -> Any | None:
    from curation.mix.tokenizer import Tokenizer

    if not (Path(name) / "tokenizer.json").is_file():
        return None
    try:
        return Tokenizer.open(name)
    except CurationError:
        return None


# ---------------------------------------------------------------- what a journal knows


@dataclass(frozen=True)
class History:
    """What is known of a model's earlier replies.

    reply_tokens       mean of a reply's tokens, by purpose
    replies            how many there are, by purpose
    tokens_per_second  of replies, while some were coming in; None where too few are known
    """

    reply_tokens: Mapping[str, float] = field(default_factory=dict)
    tokens_per_second: float | None = None
    replies: Mapping[str, int] = field(default_factory=dict)


def read_history(folder: Path, model: str) -> History:
    """Return what a folder's journal knows of a model; nothing is written, nothing has to be there.

    The speed is all tokens by all seconds from reply to reply, pauses left out: that of the runs
    as they were, with the workers and the concurrency that they had.
    """
    if not (folder / FILE_NAME).is_file():
        return History()
    try:
        with reading(str(folder)) as file:
            means = file.execute(
                "select purpose, avg(completion_tokens) from replies "
                "where model = ? and completion_tokens > 0 group by purpose",
                (model,),
            ).fetchall()
            counts = file.execute(
                "select purpose, count(*) from replies where model = ? group by purpose", (model,)
            ).fetchall()
            gaps = file.execute(_GAPS, (model, _STILL_S)).fetchone()
    except ResourceError:
        return History()
    replies, tokens, seconds = gaps
    rate = tokens / seconds if replies >= _FEW_REPLIES and seconds else None
    return History({str(purpose): float(mean) for purpose, mean in means}, rate, dict(counts))


#: Stamps are whole seconds: replies, tokens and gaps of one second are those of that second.
_GAPS = """
with each_second as (
    select cast(strftime('%s', asked_at) as integer) as at, count(*) as replies,
           sum(completion_tokens) as tokens
    from replies where model = ? group by at
), gaps as (
    select replies, tokens, at - lag(at) over (order by at) as gap from each_second
)
select coalesce(sum(replies), 0), coalesce(sum(tokens), 0), coalesce(sum(gap), 0)
from gaps where gap <= ?
"""
