"""How requests are put to a server that speaks OpenAI's form, and what is made of its answers.

One ``Line`` a process and server knows what its answers have shown of it: how many requests it
takes, until when it asks to wait, when it last answered. One ``Asking`` is the requests of one
call. The settings, and what they mean, are ``ModelServer``'s in client.py.

Trade-off: all of it runs in the one thread that client.py keeps for it, and nothing is locked.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from curation.annotate.model import Reply, Request
from curation.errors import ResourceError, needed
from curation.rewrite import faults
from curation.rewrite.faults import Fault, back_off, fault_of
from curation.rewrite.journal import journal_of, request_key
from curation.rewrite.limits import Bucket, Gate
from curation.rewrite.lineage import model_id
from curation.stage import pulse

if TYPE_CHECKING:
    from curation.rewrite.client import ModelServer

#: What a server may refuse to give → the settings that ask for it.
Extras = dict[str, dict[str, Any]]
#: So many requests refused in a row, and it is asked whether the server refuses all.
DEAD_AFTER = 20
#: A request that has no fault, which tells whether a fault is the server's.
_TRIAL = Request(messages=(("user", "Say yes."),), max_tokens=16)
#: From so many signs in a row that the server takes no requests, all of them pause.
_SILENT = 3
#: So often a server may die under a request in company; then it is asked alone, as often again.
_DEATHS_IN_COMPANY, _DEATHS = 2, 4
#: A request's extra that a server may refuse → words by which its message is known.
_EXTRAS = {
    "logprobs": ("logprob",),
    "response_format": ("response_format", "json_schema", "guided", "grammar", "structured"),
}
#: Words by which a server says that it knows schemas, and that this one is wrong.
_BAD_SCHEMA = re.compile(r"invalid (json[ _]?)?schema|schema is (invalid|not valid)")
#: Ends by which a server says that it broke off, and not the model.
_BROKEN_OFF = ("abort", "error", "cancelled")
#: Characters of a prompt for a token, to guess before an answer what it takes of the limit.
_TOKEN_CHARS = 4
#: What reading an answer of another form may raise: a proxy's page, fields of other types.
_NO_COMPLETION = (ValueError, TypeError, AttributeError, LookupError)
_REMEDIES = {
    faults.NO_SERVER: "start it (vllm serve {model}), or mend base_url; run again: it goes on",
    faults.OTHER_KEY: "put the key into ${key}",
    faults.NO_MODEL: "ask {url}/models for names",
    faults.NO_CREDIT: "pay, or ask another; run again: it goes on from there",
    faults.TOO_MANY: "lower concurrency or --workers, or wait; run again: it goes on from there",
    faults.NO_ANSWER: "look at the server's log; run again: it goes on from there",
}


@lru_cache(maxsize=8)
def line_to(server: ModelServer, key: str) -> Line:
    """Return what this process knows of a server."""
    return Line(server, key)


class Line:
    """The connections to a server, and what its answers so far have shown of it."""

    def __init__(self, server: ModelServer, key: str) -> None:
        self.server, self.key = server, key
        self.openai = needed("openai", "llm")
        base = self.openai.DefaultAsyncHttpxClient.__mro__[1].__module__  # of httpx, or of httpx2
        under = needed(base.partition(".")[0], "llm")
        limits = under.Limits(max_connections=None, max_keepalive_connections=server.concurrency)
        self.client = self.openai.AsyncOpenAI(
            base_url=server.base_url,
            api_key=key or "none",
            timeout=server.timeout_s,
            max_retries=0,
            http_client=self.openai.DefaultAsyncHttpxClient(limits=limits),
        )
        self.gate = Gate(server.concurrency)
        self.requests = Bucket(server.requests_per_minute)
        self.tokens = Bucket(server.tokens_per_minute)
        self.refused: set[tuple[str, str]] = set()  # extras that it does not take
        self.heard_at = 0.0  # when it last answered anything, be it a refusal
        self.answered_at = 0.0  # when it last gave a reply
        self.refusals = 0  # requests refused in a row
        self.trying = asyncio.Lock()
        self.tried_at = 0.0  # when it was last tried with a request that has no fault
        self.trial: Fault | None = None  # what came of that, if no reply
        self.silent = 0  # signs in a row that it takes none
        self._paused_until = self._paused_at = 0.0
        self._pauses = 0

    def heard(self) -> None:
        """Note an answer, be it a refusal."""
        self.heard_at = time.monotonic()
        self.silent = self._pauses = 0

    def answered(self) -> None:
        """Note a reply."""
        self.heard()
        self.answered_at, self.refusals = self.heard_at, 0
        self.gate.answered()

    def pause(self, began: float, asked_s: float | None) -> None:
        """Let all requests of this process wait: as long as the server asks to, or ever longer.

        began  when the request was sent that was told so
        """
        now = time.monotonic()
        if began >= self._paused_at:
            self._pauses, self._paused_at = self._pauses + 1, now
        wait_s = back_off(self._pauses - 1) if asked_s is None else asked_s
        self._paused_until = max(self._paused_until, now + wait_s)

    async def clear(self, tokens: int) -> None:
        """Wait until a request of so many tokens may be sent."""
        now = time.monotonic()
        await asyncio.sleep(max(self.requests.take(1, now), self.tokens.take(tokens, now)))
        while (left := self._paused_until - time.monotonic()) > 0:
            await asyncio.sleep(left)

    def missing(self, fault: Fault) -> ResourceError:
        """Return the error for what every request would meet."""
        server = self.server
        names = {"model": server.model, "url": server.base_url, "key": server.api_key_variable}
        return ResourceError(
            f"{fault.told}.",
            server=server.base_url,
            model=server.model,
            found=self.message(fault),
            remedy=_REMEDIES[fault.told].format(**names),
        )

    def message(self, fault: Fault) -> str:
        """Return what the server said, the key blotted out."""
        return fault.message.replace(self.key, "…") if self.key else fault.message


@dataclass
class Past:
    """What one request has met so far.

    failed   faults that were its own doing: the server answered others
    failed_at  when the last fault came that may be so, or was found to be so
    since    a reply to another request after this shows that the last fault was its own
    in_doubt whether it has to be found out whose the last fault was
    waited   times that the server was away or asked to wait
    away_at  when that began, by time.monotonic
    lost_at  when it was sent that last lost its connection; 0 where another fault came since
    deaths   times that the server was gone after that
    """

    failed: int = 0
    failed_at: float = 0.0
    since: float = 0.0
    in_doubt: bool = False
    waited: int = 0
    away_at: float = 0.0
    lost_at: float = 0.0
    deaths: int = 0

    @property
    def is_alone(self) -> bool:
        """Whether it has to be asked while no other is."""
        return self.deaths >= _DEATHS_IN_COMPANY


class Asking:
    """The requests of one call."""

    def __init__(self, server: ModelServer) -> None:
        self.server = server
        self.line = line_to(server, os.environ.get(server.api_key_variable, "").strip())
        self.journal = journal_of(server.journal)
        self.done = self.count = 0
        self.ended: ResourceError | None = None  # what every further request would meet

    async def all(self, requests: Sequence[Request]) -> list[Reply]:
        """Ask all, equal ones once; the first error that is no single row's cancels the others."""
        self.line.heard_at = time.monotonic()  # patience begins
        facts = self.server.facts()
        keys = [request_key(facts, request) for request in requests]
        first: dict[str, Request] = {}
        for key, request in zip(keys, requests, strict=True):
            first.setdefault(key, request)
        self.count = len(first)
        tasks = {k: asyncio.ensure_future(self.one(k, request)) for k, request in first.items()}
        try:
            await asyncio.gather(*tasks.values())
            return [tasks[key].result() for key in keys]
        finally:
            for task in tasks.values():
                task.cancel()

    async def one(self, key: str, request: Request) -> Reply:
        """Ask one, unless the journal has the reply."""
        reply = self.journal.get(key) if self.journal else None
        if reply is None:
            reply, seconds = await self.asked(request)
            if self.journal:
                name = model_id(self.server)
                reply = self.journal.add(key, name, request.purpose, reply, seconds)
        self.done += 1
        pulse()
        return reply

    async def asked(self, request: Request) -> tuple[Reply, float]:
        """Ask one until it is answered or given up; return the reply, and the seconds it took."""
        past = Past()
        try:
            while True:
                rank, alone = -past.failed - past.waited, past.is_alone  # those asked again first
                async with self.line.gate.entered(rank, alone=alone):
                    if self.ended is not None:  # none is sent, and paid for, that is then cancelled
                        raise self.ended
                    made, began = await self.tried(request)
                    if isinstance(made, Reply):
                        return made, time.monotonic() - began
                    pause_s = self.judged(made, began, past)
                    if alone:  # nobody is sent to a server that may be dying of this one
                        is_given_up = await self.is_given_up(made, pause_s, past)
                if not alone:
                    is_given_up = await self.is_given_up(made, pause_s, past)
                if is_given_up:
                    return Reply(error=f"the model server: {self.line.message(made)}"), 0.0
        except ResourceError as error:
            self.ended = error
            raise

    async def tried(self, request: Request) -> tuple[Reply | Fault, float]:
        """Send a request once; return what came of it, and when it was sent."""
        try:
            extras = _extras(request)
        except ValueError as error:  # not sent: no server would take it
            told = f"json_schema is no JSON: {faults.shown(error)}"
            return Fault("row", faults.NO_ANSWER, told), time.monotonic()
        line, prompt = self.line, sum(len(text) for _, text in request.messages)
        taken, used = prompt // _TOKEN_CHARS + request.max_tokens, 0
        await line.clear(taken)
        began = time.monotonic()
        try:
            async with asyncio.timeout(self.server.timeout_s):
                reply = await self.sent(request, extras)
            used = reply.prompt_tokens + reply.completion_tokens or taken
        except (line.openai.OpenAIError, TimeoutError, *_NO_COMPLETION) as error:
            return fault_of(error, self.server.timeout_s), began
        finally:
            line.tokens.give_back(taken - used)
        line.answered()
        return reply, began

    def judged(self, fault: Fault, began: float, past: Past) -> float | None:
        """Return the pause after a fault; None where the request is given up.

        Raises ResourceError for what every request would meet.
        """
        line, now = self.line, time.monotonic()
        if fault.kind == "end" or (fault.status == 429 and self.is_over(fault)):
            raise line.missing(fault)
        if fault.is_busy:
            line.gate.overloaded(began)
        if fault.kind == "row":
            line.heard()
            line.refusals += 1
        is_first = fault.kind in ("row", "key") or not past.failed_at
        past.since = now if is_first else past.failed_at
        past.in_doubt = self.is_doubtful(fault, past)
        if not past.in_doubt:
            return None if fault.kind == "row" else self.waits(fault, began, past)
        if fault.kind != "wait":
            past.lost_at = began if fault.kind == "lost" else 0.0
        past.failed_at = now
        return 0.0 if fault.kind in ("row", "key") else back_off(past.failed)

    async def is_given_up(self, fault: Fault, pause_s: float | None, past: Past) -> bool:
        """Pause, and say whether a request is not asked again."""
        await asyncio.sleep(pause_s or 0.0)
        return pause_s is None or (past.in_doubt and await self.is_its_own(fault, past))

    def is_over(self, fault: Fault) -> bool:
        """Say whether patience is at its end."""
        patience_s = self.server.patience_s
        silent_s = time.monotonic() - self.line.heard_at
        return silent_s > patience_s or (fault.wait_s or 0) > patience_s

    def is_doubtful(self, fault: Fault, past: Past) -> bool:
        """Say whether a fault may be the server's as well as the request's."""
        if fault.kind == "row":
            return self.line.refusals >= DEAD_AFTER
        if fault.kind == "wait":  # that of one request only, where others were answered meanwhile
            return self.is_over(fault) or (past.failed > 0 and fault.status not in (0, 429))
        return True

    async def is_its_own(self, fault: Fault, past: Past) -> bool:
        """Find out whose a fault is; say whether the request is given up.

        It counts against the request if the server answers others; if not, the server is waited
        for. Raises ResourceError where patience ends before, or where the server refuses all.
        """
        line = self.line
        met = await self.trial(past.since)
        if met is None:
            past.failed, past.failed_at = past.failed + 1, time.monotonic()
            return fault.kind in ("row", "key") or past.failed > self.server.retries
        while met is not None:
            refuses_all = met.kind in ("key", "end") or met.kind == fault.kind == "row"
            if refuses_all or self.is_over(met):
                raise line.missing(met)
            tried_at = line.tried_at
            pause_s = self.waits(met, tried_at, past)
            if pause_s is None:
                return True
            await asyncio.sleep(pause_s)
            met = await self.trial(tried_at)
        return False

    async def trial(self, since: float) -> Fault | None:
        """Return None if the server has given a reply since then, or gives one to _TRIAL.

        Else what _TRIAL met, which all share who wanted to know before it was sent.
        """
        line, called = self.line, time.monotonic()
        async with line.trying:
            if line.answered_at <= since and line.tried_at <= called:
                made, tried_at = await self.tried(_TRIAL)
                line.tried_at = tried_at
                line.trial = made if isinstance(made, Fault) else None
            return line.trial if line.answered_at <= since else None

    def waits(self, fault: Fault, began: float, past: Past) -> float | None:
        """Return the pause after a sign that the server takes no requests now; None to give up."""
        line, now, patience_s = self.line, time.monotonic(), self.server.patience_s
        is_away = fault.kind == "wait" and not fault.status
        if is_away and past.lost_at:  # it was there, and has died under the request
            past.deaths += 1
            line.gate.died(past.lost_at)
        past.lost_at, past.waited = 0.0, past.waited + 1
        past.away_at = past.away_at or now
        is_its_own = fault.status != 429 and line.heard_at > past.away_at + patience_s
        if past.deaths >= _DEATHS or is_its_own:
            return None
        line.silent += 1
        if line.silent == 1 and fault.told != faults.TOO_MANY:
            told = f"  {self.server.model}: {fault.told} at {self.server.base_url}"
            limit = f"asked again for up to {patience_s:g} s"
            print(f"{told} ({line.message(fault)}): {limit}", file=sys.stderr, flush=True)
        if fault.status == 429 or fault.wait_s is not None or line.silent >= _SILENT:
            line.pause(began, fault.wait_s)
            return 0.0
        return back_off(past.waited - 1)

    async def sent(self, request: Request, wanted: Extras) -> Reply:
        """Send one request; again without an extra that the server refuses.

        Raises what the openai package raises, and what reading another form does.
        """
        refused = self.line.refused
        extras = {n: e for n, e in wanted.items() if (n, str(e)) not in refused}
        while True:
            try:
                reply = await self.completed(request, extras)
            except self.line.openai.APIStatusError as error:
                name = _refused_extra(error, extras)
                if not name:
                    raise
                extras = {n: e for n, e in extras.items() if n != name}
                continue
            refused |= {(n, str(e)) for n, e in wanted.items() if n not in extras}
            return reply

    async def completed(self, request: Request, extras: Extras) -> Reply:
        server = self.server
        temperature, seed = request.sampling(server.temperature, server.seed)
        settings: dict[str, Any] = {server.token_limit: request.max_tokens}
        if request.top_p < 1:
            settings["top_p"] = request.top_p
        if request.stop:
            settings["stop"] = list(request.stop)
        for extra in extras.values():
            settings |= extra
        made = await self.line.client.chat.completions.create(
            model=server.model,
            messages=[{"role": role, "content": text} for role, text in request.messages],
            temperature=temperature,
            seed=seed,
            extra_body=json.loads(server.extra_body or "{}"),
            **settings,
        )
        return _as_reply(made)


def _extras(request: Request) -> Extras:
    """Return what a server may refuse to give, by name."""
    extras: Extras = {}
    if request.top_logprobs:
        extras["logprobs"] = {"logprobs": True, "top_logprobs": request.top_logprobs}
    if request.json_schema:
        schema = {"name": "reply", "schema": json.loads(request.json_schema), "strict": True}
        extras["response_format"] = {
            "response_format": {"type": "json_schema", "json_schema": schema}
        }
    return extras


def _refused_extra(error: Any, extras: Extras) -> str:
    """Return the extra that a server's refusal names, or an empty text."""
    if error.status_code not in (400, 422):
        return ""
    message = str(error).lower()
    if _BAD_SCHEMA.search(message):
        return ""
    return next((name for name in extras if any(word in message for word in _EXTRAS[name])), "")


def _as_reply(made: Any) -> Reply:
    """Read a completion; servers leave out what they do not know."""
    choice, usage = made.choices[0], made.usage
    text, finish = choice.message.content, str(choice.finish_reason or "")
    if finish in _BROKEN_OFF or (text is None and not finish):
        raise ValueError(f"the reply was broken off: finish_reason {finish!r}")
    tokens = (choice.logprobs.content or ()) if choice.logprobs else ()
    tops = (tokens[0].top_logprobs or ()) if tokens else ()
    return Reply(
        text=str(text or ""),
        finish=finish,
        prompt_tokens=_count(usage.prompt_tokens) if usage else 0,
        completion_tokens=_count(usage.completion_tokens) if usage else 0,
        first_logprob=tuple((str(top.token), float(top.logprob)) for top in tops),
    )


def _count(tokens: Any) -> int:
    return min(max(int(tokens or 0), 0), 2**31)
