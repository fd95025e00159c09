"""The device of a process and the other processes of the run, as torchrun starts them.

    torchrun --nproc_per_node=4 script.py        one process for each device

Each process takes its rows of every batch. With ``sharding="copies"`` it holds the whole model
(DDP); with "shards" its part of each layer, of the gradients and of the optimizer (FSDP2). The loss
is that of the whole batch either way.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from curation.errors import RecipeError, ResourceError

if TYPE_CHECKING:
    from curation.train.settings import Training


@dataclass(frozen=True)
class Place:
    """Where a process computes, and which of how many it is."""

    device: torch.device
    rank: int = 0
    processes: int = 1

    @property
    def writes(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def rows(self, sequences: int) -> slice:
        """Return the rows of a batch that are this process's."""
        share = sequences // self.processes
        return slice(self.rank * share, (self.rank + 1) * share)

    def total(self, value: Tensor) -> Tensor:
        """Return the sum of a value over the processes."""
        if self.processes > 1:
            dist.all_reduce(value)
        return value

    def any(self, flag: bool) -> bool:
        """Tell whether one of the processes says so."""
        if self.processes == 1:
            return flag
        return bool(self.total(torch.tensor(float(flag), device=self.device)))

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.processes > 1:
            dist.barrier()


@contextmanager
def placed(settings: Training) -> Iterator[Place]:
    """Join the processes of this run, with the threads of the settings, and leave them again.

    raises  ResourceError where there is no such device; RecipeError where the sequences of a batch
            cannot be shared out evenly
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if settings.batch_sequences % processes:
        raise RecipeError(
            "the sequences of a batch are shared out evenly among the processes.",
            found=f"batch_sequences={settings.batch_sequences}, {processes} processes",
            remedy=f"set batch_sequences to a multiple of {processes}",
        )
    device = chosen_device(settings.device)
    place = Place(device, int(os.environ.get("RANK", "0")), processes)
    threads = torch.get_num_threads()
    joined = processes > 1 and not dist.is_initialized()
    if joined:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    if settings.threads:
        torch.set_num_threads(settings.threads)
    try:
        yield place
    finally:
        torch.set_num_threads(threads)
        if joined:
            dist.destroy_process_group()


def chosen_device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if not name.startswith("cuda"):
        return torch.device(name)
    if not torch.cuda.is_available():
        raise ResourceError(
            f"there is no device {name!r}.",
            found="torch sees no GPU",
            remedy='set device="cpu", or install the build of torch for this GPU',
        )
    device = torch.device(name)
    if device.index is None:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device


# ---------------------------------------------------------------- modules


def spread(loss: nn.Module, model: nn.Module, settings: Training, place: Place) -> nn.Module:
    """Return the module that computes the loss, compiled and spread over the devices as set.

    loss   computes the loss of a batch by calling ``model``, which changes in place
    """
    if place.processes > 1 and settings.sharding == "shards":
        _shard(model, settings, place)
        return loss
    if settings.compile:
        loss.compile(dynamic=False)
    if place.processes == 1:
        return loss
    devices = [place.device] if place.device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(
        loss, device_ids=devices, gradient_as_bucket_view=True
    )


def _shard(model: nn.Module, settings: Training, place: Place) -> None:
    """Shard each layer by itself, so that only one is whole at a time, and then the rest."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(place.device.type, (place.processes,))
    half = settings.precision == "bfloat16"
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if half else None, reduce_dtype=torch.float32 if half else None
    )
    names = set(cast(Any, model)._no_split_modules or ())
    for layer in [part for part in model.modules() if type(part).__name__ in names]:
        if settings.compile:
            layer.compile(dynamic=False)
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)


def adding_up(module: nn.Module, model: nn.Module, last: bool) -> AbstractContextManager[Any]:
    """Return a context in which gradients travel between devices only for the last part."""
    if isinstance(module, nn.parallel.DistributedDataParallel):
        return nullcontext() if last else module.no_sync()
    gather = getattr(model, "set_requires_gradient_sync", None)
    if gather is not None:
        gather(last)
    return nullcontext()


# ---------------------------------------------------------------- tensors


def whole(value: Tensor) -> Tensor:
    """Return a tensor that may lie in shards as one on the CPU; all processes take part."""
    value = value.detach()
    return (value.full_tensor() if isinstance(value, DTensor) else value).cpu()


@torch.no_grad()
def put(target: Tensor, value: Tensor) -> None:
    """Write a whole tensor into one that may lie in shards."""
    value = value.to(target.device)
    if isinstance(target, DTensor):
        value = distribute_tensor(value, target.device_mesh, target.placements)
    target.copy_(value)


def plain(value: Tensor) -> Tensor:
    """Return a scalar that may lie in shards as one on this process's device."""
    return value.full_tensor() if isinstance(value, DTensor) else value
