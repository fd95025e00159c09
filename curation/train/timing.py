"""How long training will take: a few steps, timed before it begins."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from curation.train.distributed import placed
from curation.train.model import open_checkpoint
from curation.train.settings import Training
from curation.train.speed import finish
from curation.train.step import Stepper

#: Steps that are timed, after one that is not: the first allocates what the others use again.
_TIMED = 2


def cuda_devices() -> int:
    """Return how many CUDA devices this process may use."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def step_seconds(checkpoint: Path, tokenizer: Path, training: Training) -> float:
    """Return the seconds of one training step of a checkpoint's model."""
    model, _ = open_checkpoint(checkpoint, tokenizer=tokenizer)
    began = 0.0
    with placed(training) as place:
        stepper = Stepper(model, training, place)
        shape = (training.batch_sequences, training.sequence_length + 1)
        token_BT1 = torch.zeros(shape, dtype=torch.long, device=place.device)
        for step in range(_TIMED + 1):
            if step == 1:
                finish(place.device)
                began = time.perf_counter()
            stepper.take(token_BT1, training.learning_rate)
        finish(place.device)
    return (time.perf_counter() - began) / _TIMED
