"""A model in a process of its own: it takes requests from its parent and sends replies as they end.

It is started as ``python -m curation.rewrite.engine FD``, so that what kills a model (memory, a bad
kernel, one prompt) kills no worker and no batch. It leads a process group, with the processes that
the backend starts, and the whole group leaves when its parent does. Ctrl-C is the parent's matter.

What is said, in pickles:
    from the parent   (sys.path, settings), then lists of Asked
    to the parent     (READY, window), then (REPLIES, [(number, Reply), …]), perhaps empty: a sign
                      of life; (FAILED, error) where the model cannot be loaded, and (DYING, words)
                      before an end that was seen coming

Trade-off: this process renders and tokenises prompts between two steps of the engine. A window of
twice what the engine runs at a time keeps it busy meanwhile.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, Protocol

from curation.annotate.model import Reply, Request
from curation.errors import CurationError, needed
from curation.stage import attempt

#: A request under a number, with its temperature and seed: engines serve models that differ there.
Asked = tuple[int, Request, tuple[float, int]]
READY, REPLIES, FAILED, DYING = "ready", "replies", "failed", "dying"
#: A working engine is heard of so often at least.
_BEAT_S = 1.0
#: Requests that the engine holds, as a multiple of those that it runs at a time.
_WINDOW = 2
#: vLLM on a CPU: threads that are free to move (bound, it is 60 times slower on few cores), a
#: cache of so many GB, and no second process for the engine. Nothing is looked up in the network.
_CPU_DEFAULTS = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "4",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
}
_DEFAULTS = {
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
}


class Backend(Protocol):
    """What runs a model: made of settings and of a function to be called at signs of life."""

    #: How many requests it wants to hold.
    window: int

    def add(self, asked: Asked) -> Reply | None:
        """Take a request; a Reply with an error where it cannot be asked."""

    def step(self) -> list[tuple[int, Reply]]:
        """Work on, and return what is finished, by number."""

    @property
    def is_busy(self) -> bool:
        """Whether there are requests without a reply."""


def main() -> None:
    """Serve requests over the connection whose descriptor is the first argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = Connection(int(sys.argv[1]))
    sys.path[:], settings = connection.recv()
    inbox: SimpleQueue[list[Asked]] = SimpleQueue()
    threading.Thread(target=_read, args=(connection, inbox), daemon=True).start()
    _, error = attempt(_serve, connection, inbox, settings)
    if error is not None:
        attempt(connection.send, (DYING, _words(error)))
    _leave()


def _read(connection: Connection, inbox: SimpleQueue[list[Asked]]) -> None:
    """Take requests as they come, so that the parent never waits to be read; leave when it does."""
    while True:
        asked, error = attempt(connection.recv)
        if error is not None:
            _leave()
        inbox.put(asked)


def _leave() -> None:
    """End this process and those that the backend has started."""
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)


def _serve(
    connection: Connection,
    inbox: SimpleQueue[list[Asked]],
    settings: Mapping[str, Any],
) -> None:
    outbox = Outbox(connection)
    backend, error = attempt(_loaded, settings, outbox.beat)
    if error is not None:
        told = error if isinstance(error, CurationError) else _words(error)
        connection.send((FAILED, told))
        return
    connection.send((READY, backend.window))
    while True:
        while not (inbox.empty() and backend.is_busy):
            outbox.flush()
            for asked in inbox.get():
                refused = backend.add(asked)
                if refused is not None:
                    outbox.replies.append((asked[0], refused))
        outbox.replies += backend.step()
        outbox.flush() if outbox.replies else outbox.beat()


class Outbox:
    """Replies on their way to the parent, and signs of life between them."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.replies: list[tuple[int, Reply]] = []
        self.sent_at = 0.0

    def flush(self) -> None:
        """Send what there is."""
        if self.replies:
            self.connection.send((REPLIES, self.replies))
            self.replies, self.sent_at = [], time.monotonic()

    def beat(self) -> None:
        """Say that work goes on, now and then."""
        if time.monotonic() - self.sent_at >= _BEAT_S:
            self.connection.send((REPLIES, []))
            self.sent_at = time.monotonic()


def _loaded(settings: Mapping[str, Any], beat: Callable[[], None]) -> Backend:
    for name, value in {**_DEFAULTS, **({} if settings["gpus"] else _CPU_DEFAULTS)}.items():
        os.environ.setdefault(name, value)
    module, _, name = settings["backend"].partition(":")
    backend: Backend = getattr(import_module(module), name)(settings, beat)
    return backend


def _words(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


# ---------------------------------------------------------------- prompts


def prompt_tokens(tokenizer: Any, messages: Sequence[tuple[str, str]]) -> list[int]:
    """Return a conversation's tokens: by the chat template, or laid end to end without one."""
    if getattr(tokenizer, "chat_template", None):
        talk = [{"role": role, "content": text} for role, text in messages]
        text = tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
        tokens = tokenizer.encode(text, add_special_tokens=False)
    else:
        tokens = tokenizer.encode("\n\n".join(text for _, text in messages))
    return [int(token) for token in tokens]


def too_long(tokens: int, longest: int) -> Reply:
    """Return the error of a prompt that leaves no room for a reply."""
    return Reply(
        error=f"the prompt has {tokens:,} tokens, and the model takes {longest:,} with the reply: "
        "cut documents into smaller chunks",
        prompt_tokens=tokens,
    )


# ---------------------------------------------------------------- vLLM


class VllmBackend:
    """vLLM's offline engine, stepped by hand: requests come in and replies go out at every step."""

    def __init__(self, settings: Mapping[str, Any], beat: Callable[[], None]) -> None:
        vllm = needed("vllm", "vllm")
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        self.sampling = vllm.SamplingParams
        self.kind, self.structured = RequestOutputKind.FINAL_ONLY, StructuredOutputsParams
        client = getattr(import_module("vllm.exceptions"), "VLLMClientError", ValueError)
        self.refusals = (ValueError, TypeError, client)
        llm = vllm.LLM(**engine_arguments(settings))
        self.engine, self.tokenizer = llm.llm_engine, llm.get_tokenizer()
        self.longest = int(self.engine.model_config.max_model_len)
        scheduler = self.engine.vllm_config.scheduler_config
        self.window = _WINDOW * int(scheduler.max_num_seqs)

    def add(self, asked: Asked) -> Reply | None:
        number, request, draw = asked
        tokens, error = attempt(prompt_tokens, self.tokenizer, request.messages)
        if error is not None:  # such as a template that takes no system message
            return Reply(error=f"the chat template: {_words(error)}")
        if len(tokens) >= self.longest:
            return too_long(len(tokens), self.longest)
        try:
            prompt = {"type": "token", "prompt_token_ids": tokens}
            self.engine.add_request(str(number), prompt, self.params(request, *draw))
        except self.refusals as refusal:
            return Reply(error=f"vLLM: {_words(refusal)}")
        return None

    def params(self, request: Request, temperature: float, seed: int) -> Any:
        """Return vLLM's form of how a request is to be sampled."""
        schema = request.json_schema
        return self.sampling(
            temperature=temperature,
            seed=seed if temperature else None,
            top_p=request.top_p,
            max_tokens=request.max_tokens,
            stop=list(request.stop),
            logprobs=request.top_logprobs or None,
            structured_outputs=self.structured(json=schema) if schema else None,
            output_kind=self.kind,
        )

    def step(self) -> list[tuple[int, Reply]]:
        made = self.engine.step()
        return [(int(one.request_id), _from_vllm(one)) for one in made if one.finished]

    @property
    def is_busy(self) -> bool:
        return bool(self.engine.has_unfinished_requests())


def engine_arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what vllm.LLM is called with."""
    wanted = {
        "max_model_len": settings["max_tokens"],
        "quantization": settings["quantization"],
        "load_format": "dummy" if settings["dummy_weights"] else "",
    }
    return {
        "model": settings["model"],
        "dtype": settings["dtype"],
        "tensor_parallel_size": settings["tensor_parallel"],
        "gpu_memory_utilization": settings["gpu_memory_frac"],
        "enforce_eager": settings["eager"],
        "enable_prefix_caching": True,
        **{name: value for name, value in wanted.items() if value},
    }


def _from_vllm(made: Any) -> Reply:
    said, tokens = made.outputs[0], len(made.prompt_token_ids or ())
    finish = said.finish_reason or ""
    if finish not in ("stop", "length"):
        return Reply(error=f"vLLM ended the reply: {finish or 'no reason'}", prompt_tokens=tokens)
    first = said.logprobs[0].values() if said.logprobs else ()
    return Reply(
        text=said.text,
        finish=finish,
        prompt_tokens=tokens,
        completion_tokens=len(said.token_ids),
        first_logprob=tuple((top.decoded_token or "", float(top.logprob)) for top in first),
    )


if __name__ == "__main__":
    main()
