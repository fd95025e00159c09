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
from curation.errors import RecipeError, present
from curation.rewrite.local import TransformersModel as TransformersModel
from curation.rewrite.local import VllmModel as VllmModel
from curation.rewrite.server import Asking
from curation.stage import pulse

#: How often a waiting stage says that it lives; requests end by their own limit.
_PULSE_S = 2.0
#: How often a person is told how many requests are done.
_TELL_S = 30.0


@dataclass(frozen=True, kw_only=True, repr=False)
class ModelServer:
    """A server with OpenAI's chat completions: vLLM, llama.cpp, Ollama, SGLang, a provider's.

        ModelServer(model="Qwen/Qwen3-8B", base_url="http://localhost:8000/v1")

    Every worker of a run opens up to ``concurrency`` requests at a time: a run with --workers 4
    asks four times as many, and uses four times the limits a minute. It begins with few, opens more
    as answers come, and half as many when the server is too busy.

    A server that is away, or asks to wait (429, 502, 503, 504), is waited for; when it has answered
    nothing for ``patience_s``, that is a ResourceError, as a wrong key and an unknown model are at
    once: the replies so far are kept, and the next run goes on from there. What may be one
    request's doing (500, a lost connection, no answer in time, an answer that is no completion) is
    asked again, ``retries`` times, and then is that row's error, provided that the server answers
    others meanwhile, or "Say yes." where none is left; else it is waited for as well. What the
    server refuses (400, 422; 403 where the key is right) is a row's error at once. A request under
    which the server goes away four times, the last two of them alone, is a row's error too.

    model             as the server calls it
    base_url          up to /v1
    temperature       0 for the likeliest reply; one asked for again is drawn at RETRY_TEMPERATURE
    seed              handed on to the server, which may or may not heed it
    extra_body        JSON object that is added to each request, such as
                      '{"chat_template_kwargs": {"enable_thinking": false}}'
    token_limit       what the server calls the limit of a reply; OpenAI's own newer models want
                      max_completion_tokens
    api_key_variable  environment variable that holds the key; local servers want none
    concurrency       requests at a time, at most
    timeout_s         from sending a request to the last byte of its answer
    requests_per_minute, tokens_per_minute
                      limits of the account, divided by the workers; 0 for none. Tokens are those of
                      prompt and reply together
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
    retries: int = 10
    patience_s: float = 600.0
    requests_per_minute: float = 0.0
    tokens_per_minute: float = 0.0
    journal: str = ""

    def __post_init__(self) -> None:
        faults = {
            f"base_url={self.base_url!r}": not self.base_url.startswith(("http://", "https://")),
            f"model={self.model!r}": not self.model.strip(),
            f"temperature={self.temperature}": not 0 <= self.temperature < float("inf"),
            f"concurrency={self.concurrency}": self.concurrency < 1,
            f"timeout_s={self.timeout_s}": not 0 < self.timeout_s < float("inf"),
            f"retries={self.retries}": self.retries < 0,
            f"patience_s={self.patience_s}": not self.patience_s >= 0,
            f"requests_per_minute={self.requests_per_minute}": not self.requests_per_minute >= 0,
            f"tokens_per_minute={self.tokens_per_minute}": not self.tokens_per_minute >= 0,
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

    def ready(self) -> None:
        """Raise ResourceError without the package that asks; the server is not asked."""
        present("openai", "llm")

    def generate(self, requests: Sequence[Request]) -> list[Reply]:
        if not requests:
            return []
        asking = Asking(self)

        def tell() -> None:
            line = f"  {self.model}: {asking.done:,} of {asking.count:,} requests"
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
