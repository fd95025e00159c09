"""What the tests of training share: a model of a few thousand parameters, batches, settings."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from curation.train.log import SPEED
from curation.train.settings import Training

VOCABULARY = 64
LENGTH = 16
SEQUENCES = 6
STEPS = 12


def tiny_model(seed: int = 0, **config: Any) -> Any:
    """Return a Llama of two layers."""
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    made = LlamaConfig(
        vocab_size=VOCABULARY,
        num_attention_heads=2,
        max_position_embeddings=2 * LENGTH,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        **{**sizes, **config},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(made)


class TinyBatches:
    """Batches of a language in which a token says much about the next one.

    at  step → what happens when its batch is asked for
    """

    def __init__(
        self,
        steps: int = STEPS,
        at: dict[int, Callable[[], Any]] | None = None,
        sequences: int = SEQUENCES,
        length: int = LENGTH,
    ) -> None:
        self.steps, self.at, self.asked = steps, at or {}, 0
        self.shape = (sequences, length + 1)
        self.tokens = steps * sequences * length
        self.fingerprint = f"tiny {steps} {sequences} {length}"

    def batch(self, step: int) -> Any:
        self.asked += 1
        if step in self.at:
            self.at[step]()
        draw = np.random.default_rng(step)
        start_B1 = draw.integers(0, VOCABULARY // 2, (self.shape[0], 1))
        noise_BT1 = draw.integers(0, 2, self.shape)
        return (start_B1 + 3 * np.arange(self.shape[1]) + noise_BT1) % (VOCABULARY // 2)

    def documents(self, step: int) -> list[str]:
        return [f"document {step}-{number}" for number in range(20)]


def settings(**changed: Any) -> Training:
    """Return settings for the tiny model."""
    made: dict[str, Any] = {
        "tokens": STEPS * SEQUENCES * LENGTH,
        "sequence_length": LENGTH,
        "batch_sequences": SEQUENCES,
        "learning_rate": 1e-2,
        "warmup_frac": 0.2,
        "log_every": 5,
    }
    return Training(**(made | changed))


def weights(model: Any) -> dict[str, torch.Tensor]:
    """Return copies of a model's parameters."""
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Tell whether two sets of weights are equal to the bit."""
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """Return the largest difference of two sets of weights."""
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def content(folder: Path) -> dict[str, bytes]:
    """Return relative path → bytes of a run's files, how fast it went left out of the log."""
    found = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    rows = [json.loads(line) for line in found["log.jsonl"].splitlines()]
    kept = [{name: row[name] for name in row if name not in SPEED} for row in rows]
    found["log.jsonl"] = "\n".join(json.dumps(row) for row in kept).encode()
    return found


def in_a_child(work: Callable[[], Any]) -> int:
    """Do work in a process of its own; return its status: minus the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill_me() -> None:
    """End this process at once, as the kernel does where memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)


def interrupt() -> None:
    """Press Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)
