"""Trains in each process that torchrun starts; see ``test_distributed.py``."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch.distributed as dist

from curation.errors import RunStopped
from curation.train.loop import train
from tests.train.tiny import TinyBatches, interrupt, settings, tiny_model


def main(folder: Path) -> None:
    """Train with copies and with shards, undisturbed and stopped in between by one process."""
    dist.init_process_group("gloo")
    first = os.environ["RANK"] == "0"
    for sharding in ("copies", "shards"):
        plan = settings(sharding=sharding, micro_sequences=2, clip=0.5, early_checkpoints=2)
        model = tiny_model()
        train(model, TinyBatches(), plan, folder=folder / sharding, evaluate=look)
        stopping = TinyBatches(at={} if first else {6: interrupt})
        with pytest.raises(RunStopped, match="7 of 12"):
            train(tiny_model(), stopping, plan, folder=folder / f"{sharding} stopped")
        train(tiny_model(), TinyBatches(), plan, folder=folder / f"{sharding} stopped")
        stopping = TinyBatches(at={} if first else {6: interrupt})
        with suppress(RunStopped):
            train(tiny_model(), stopping, plan, folder=folder / f"{sharding} left")
    dist.destroy_process_group()


def look(model: object, step: int) -> dict[str, float]:
    return {"step": step}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
