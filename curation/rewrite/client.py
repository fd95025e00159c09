"""Language models by their server: one that speaks OpenAI's form. Models of this machine: local.py.

All are settings of a stage and satisfy ``annotate.model.Model``. What decides a reply (model,
temperature, seed) is part of the stage's identity; the address, the number of requests at a time
and how long to wait are not. A connection is opened when first used, once a process.

Trade-off: a server's requests run in one thread of their own with an event loop, so that a
notebook, which has a loop already, can ask too, and so that Ctrl-C can cancel what is in flight.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from curation.annotate.model import Model as Model
from curation.annotate.model import Reply as Reply
from curation.annotate.model import Request as Request
from curation.errors import RecipeError, ResourceError, needed
from curation.rewrite.journal import journal_of, request_key
from curation.rewrite.local import TransformersModel as TransformersModel
from curation.rewrite.local import VllmModel as VllmModel
from curation.stage import pulse

#: How often a waiting stage says that it lives; requests end by their own limit.
_PULSE_S = 2.0
#: How often a person is told how many requests are done.
_TELL_S = 30.0
#: A call in which so many requests have failed and none succeeded is the server's fault.
DEAD_AFTER = 20
#: Characters of a server's message that are kept.
_MESSAGE_CHARS = 300
#: What reading an answer of another form may raise: a proxy's page, fields of other types.
_NO_COMPLETION = (ValueError, TypeError, AttributeError, LookupError)


@dataclass(frozen=True, kw_only=True, repr=False)
class ModelServer:
    """A server with OpenAI's chat completions: vLLM, llama.cpp, Ollama, SGLang, a provider's.

        ModelServer(model="Qwen/Qwen3-8B", base_url="http://localhost:8000/v1")

    Every worker of a run opens ``concurrency`` requests at a time: a run with --workers 4 asks four
    times as many. Requests that fail for a while (429, 5xx, no connection, no answer in time) are
    repeated with growing pauses, or the pause that the server asks for. A request that the server
    refuses (400, 422) or keeps failing on is that row's error; a server that is not there, does not
    know the model or the key, or keeps saying 429, is a ResourceError: nothing is stored then, and
    the next run asks again.

    model             as the server calls it
    base_url          up to /v1
    temperature       0 for the likeliest reply; one asked for again is drawn at RETRY_TEMPERATURE
    seed              handed on to the server, which may or may not heed it
    extra_body        JSON object that is added to each request, such as
                      '{"chat_template_kwargs": {"enable_thinking": false}}'
    token_limit       what the server calls the limit of a reply; OpenAI's own newer models want
                      max_completion_tokens
    api_key_variable  environment variable that holds the key; local servers want none
    journal           folder in which replies are kept as they come, so that a run that is killed
                      asks for none of them again; "" for STORE/replies of the run under way
    """

    model: str
    base_url: str = "http://localhost:8000/v1"
    temperature: float = 0.0
    seed: int = 0
    extra_body: str = ""
    token_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    api_key_variable: str = "OPENAI_API_KEY"
    concurrency: int = 32
    timeout_s: float = 120.0
    retries: int = 5
    journal: str = ""

    def __post_init__(self) -> None:
        faults = {
            f"base_url={self.base_url!r}": not self.base_url.startswith(("http://", "https://")),
            f"model={self.model!r}": not self.model.strip(),
            f"temperature={self.temperature}": not 0 <= self.temperature < float("inf"),
            f"concurrency={self.concurrency}": self.concurrency < 1,
            f"timeout_s={self.timeout_s}": not 0 < self.timeout_s < float("inf"),
            f"retries={self.retries}": self.retries < 0,
            f"token_limit={self.token_limit!r}": not self.token_limit.startswith("max_"),
            f"extra_body={self.extra_body!r}": not _is_object(self.extra_body),
        }
        found = ", ".join(fault for fault, wrong in faults.items() if wrong)
        if found:
            raise RecipeError(
                "ModelServer takes no such settings.",
                found=found,
                wanted="an http address, a model, concurrency of 1 or more, extra_body as JSON",
            )

    def __repr__(self) -> str:
        return f"ModelServer({self.model!r})"

    def facts(self) -> Mapping[str, object]:
        return {
            "model": self.model,
            "temperature": float(self.temperature),
            "seed": self.seed,
            "extra_body": json.loads(self.extra_body or "{}"),
        }

    def generate(self, requests: Sequence[Request]) -> list[Reply]:
        if not requests:
            return []
        asking = _Asking(self)

        def tell() -> None:
            done = asking.answered + asking.failed
            line = f"  {self.model}: {done:,} of {len(requests):,} requests"
            print(line, file=sys.stderr, flush=True)

        return _run(asking.all(requests), tell)


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text or "{}"), dict)
    except ValueError:
        return False


# ---------------------------------------------------------------- the thread with the loop


@lru_cache(maxsize=1)
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="model requests", daemon=True).start()
    return loop


def _run(work: Coroutine[Any, Any, list[Reply]], tell: Callable[[], None]) -> list[Reply]:
    """Wait for work in the loop's thread; whatever interrupts the wait cancels the work.

    tell  is called now and then: the engine counts rows when a batch is done, which may be hours
    """
    future = asyncio.run_coroutine_threadsafe(work, _loop())
    told = time.monotonic()
    try:
        while True:
            try:
                return future.result(timeout=_PULSE_S)
            except concurrent.futures.TimeoutError:
                if future.done():  # the work's own
                    raise
                pulse()
            if time.monotonic() - told >= _TELL_S:
                told = time.monotonic()
                tell()
    finally:
        future.cancel()


@lru_cache(maxsize=8)
def _connection(server: ModelServer, key: str) -> Any:
    openai = needed("openai", "llm")
    return openai.AsyncOpenAI(
        base_url=server.base_url,
        api_key=key or "none",
        timeout=server.timeout_s,
        max_retries=server.retries,
    )


class _Asking:
    """The requests of one call."""

    def __init__(self, server: ModelServer) -> None:
        self.server = server
        self.openai = needed("openai", "llm")
        self.client = _connection(server, os.environ.get(server.api_key_variable, ""))
        self.journal = journal_of(server.journal)
        self.gate = asyncio.Semaphore(server.concurrency)
        self.answered = self.failed = 0
        self.ended: ResourceError | None = None  # what every further request would meet

    async def all(self, requests: Sequence[Request]) -> list[Reply]:
        """Ask all; the first error that is no single row's cancels the others."""
        tasks = [asyncio.ensure_future(self.one(request)) for request in requests]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()

    async def one(self, request: Request) -> Reply:
        """Ask one, unless the journal has the reply."""
        if self.journal is None:
            return await self.asked(request)
        key = request_key(self.server.facts(), request)
        if (known := self.journal.get(key)) is not None:
            return known
        began = time.monotonic()
        reply = await self.asked(request)
        took = time.monotonic() - began
        self.journal.add(key, self.server.model, request.purpose, reply, took)
        return reply

    async def asked(self, request: Request) -> Reply:
        """Ask one; again without alternatives where the server refuses to tell them."""
        async with self.gate:
            if self.ended is not None:  # no request is sent, and paid for, that is then cancelled
                raise self.ended
            try:
                reply = await self.guarded(request, request.top_logprobs)
                if request.top_logprobs and "logprob" in (reply.error or "").lower():
                    reply = await self.guarded(request, 0)
            except ResourceError as error:
                self.ended = error
                raise
        pulse()
        return reply

    async def guarded(self, request: Request, top_logprobs: int) -> Reply:
        """Ask one; what goes wrong with it is its error."""
        try:
            return await self.ask(request, top_logprobs)
        except self.openai.OpenAIError as error:
            return self.refused(error)
        except _NO_COMPLETION as error:
            return self.refused(ValueError(f"no completion in OpenAI's form: {error}"))

    async def ask(self, request: Request, top_logprobs: int) -> Reply:
        """Send one request; raises what the openai package raises."""
        temperature, seed = request.sampling(self.server.temperature, self.server.seed)
        alternatives = {"logprobs": True, "top_logprobs": top_logprobs} if top_logprobs else {}
        made = await self.client.chat.completions.create(
            model=self.server.model,
            messages=[{"role": role, "content": text} for role, text in request.messages],
            temperature=temperature,
            seed=seed,
            extra_body=json.loads(self.server.extra_body or "{}"),
            **{self.server.token_limit: request.max_tokens},
            **alternatives,
        )
        reply = _as_reply(made)
        self.answered += 1
        return reply

    def refused(self, error: Any) -> Reply:
        """Return a row's error, or raise what every row would meet."""
        status = getattr(error, "status_code", None)
        if isinstance(error, self.openai.APIConnectionError) and not isinstance(
            error, self.openai.APITimeoutError
        ):
            raise self.missing("no server answers", error) from error
        if status in (401, 403):
            raise self.missing("the server wants another key", error) from error
        if status in (404, 405):
            raise self.missing("the server knows no such model or address", error) from error
        if status == 429:
            raise self.missing("the server keeps asking to wait", error) from error
        self.failed += 1
        if self.failed >= DEAD_AFTER and not self.answered:
            raise self.missing("the server answers no request", error) from error
        return Reply(error=f"the model server: {_message(error)}")

    def missing(self, what: str, error: Any) -> ResourceError:
        server = self.server
        remedies = {
            "no server answers": f"start it (vllm serve {server.model}), or mend base_url",
            "the server wants another key": f"put the key into ${server.api_key_variable}",
            "the server knows no such model or address": f"ask {server.base_url}/models for names",
            "the server keeps asking to wait": "lower concurrency or --workers, or wait; run again",
        }
        return ResourceError(
            f"{what}.",
            server=server.base_url,
            model=server.model,
            found=_message(error),
            remedy=remedies.get(what, "look at the server's log, then run again"),
        )


def _message(error: Any) -> str:
    cause = error.__cause__
    text = f"{error}" if cause is None else f"{error} {cause}"
    return " ".join(text.split())[:_MESSAGE_CHARS]


def _as_reply(made: Any) -> Reply:
    """Read a completion; servers leave out what they do not know."""
    choice, usage = made.choices[0], made.usage
    tokens = (choice.logprobs.content or ()) if choice.logprobs else ()
    tops = (tokens[0].top_logprobs or ()) if tokens else ()
    return Reply(
        text=str(choice.message.content or ""),
        finish=str(choice.finish_reason or ""),
        prompt_tokens=_count(usage.prompt_tokens) if usage else 0,
        completion_tokens=_count(usage.completion_tokens) if usage else 0,
        first_logprob=tuple((str(top.token), float(top.logprob)) for top in tops),
    )


def _count(tokens: Any) -> int:
    return min(max(int(tokens or 0), 0), 2**31)
