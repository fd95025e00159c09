"""How long training will take: a few steps, timed before it begins."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from torch.nn import functional

from curation.train.model import open_checkpoint
from curation.train.settings import Training

#: Steps that are timed, after one that is not: the first allocates what the others use again.
_TIMED = 2


def cuda_devices() -> int:
    """Return how many CUDA devices this process may use."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def step_seconds(checkpoint: Path, tokenizer: Path, training: Training) -> float:
    """Return the seconds of one training step of a checkpoint's model, optimizer aside."""
    model, _ = open_checkpoint(checkpoint, tokenizer=tokenizer)
    device = "cuda" if cuda_devices() else "cpu"
    model.to(device)
    shape = (training.batch_sequences, training.sequence_length + 1)
    token_BT = torch.zeros(shape, dtype=torch.long, device=device)
    threads = torch.get_num_threads()
    torch.set_num_threads(training.threads or threads)
    began = 0.0
    try:
        for step in range(_TIMED + 1):
            if step == 1:
                began = time.perf_counter()
            logit_BTV = model(input_ids=token_BT[:, :-1]).logits
            loss = functional.cross_entropy(logit_BTV.flatten(0, 1), token_BT[:, 1:].flatten())
            loss.backward()
            loss.item()  # a GPU has to be waited for
    finally:
        torch.set_num_threads(threads)
    return (time.perf_counter() - began) / _TIMED
