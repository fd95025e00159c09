"""The folder of a run: what it is, how far it is, and how it goes on after a kill.

    run.json                      what decides the result; a run of another kind is refused
    log.jsonl, evaluations.jsonl  see ``log.py``
    checkpoints/step-00000064/    weights, as transformers reads them
        state.safetensors         and all else that going on to the bit needs
    model/                        the trained model; where it is there, the run has ended

Everything is written under another name and renamed. A state holds the parameters that are
trained, the optimizer's moments, torch's random numbers and what the log has not written yet; there
is one, and it goes when the next is there.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from curation.errors import IntegrityError, TrainingError
from curation.store import read_json, write_json
from curation.train.distributed import put, whole
from curation.train.log import Log
from curation.train.model import save_checkpoint

if TYPE_CHECKING:
    from curation.mix.tokens import Tokenizer
    from curation.train.step import Stepper

_STATE = "state.safetensors"
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


class RunFolder:
    """The files of a run.

    log, evaluations  its lines
    model             where the trained model lies, or will lie
    """

    def __init__(self, path: str | os.PathLike[str], tokenizer: Tokenizer | None) -> None:
        self.path, self._tokenizer = Path(path), tokenizer
        self.log, self.evaluations = (
            Log(self.path / "log.jsonl"),
            Log(self.path / "evaluations.jsonl"),
        )
        self.model = self.path / "model"
        self._checkpoints = self.path / "checkpoints"

    def check(self, record: Mapping[str, Any], *, resume: bool) -> None:
        """Raise TrainingError where the folder holds another run, or something else."""
        found = read_json(self.path / "run.json")
        taken = [p.name for p in (self._checkpoints, self.model, self.log.path) if p.exists()]
        if found is None and taken:
            raise TrainingError(
                f"{self.path} holds something, and no run.json that says what.",
                found=", ".join(taken),
                remedy="give another folder, or delete this one",
            )
        if found is not None and not resume:
            raise TrainingError(
                f"{self.path} holds a run already, and resume=False would write over it.",
                remedy="give another folder, delete this one, or let it go on with resume=True",
            )
        if found is not None and found != record:
            raise TrainingError(
                f"the run in {self.path} is another one.",
                **{
                    name: f"{old!r} there, {new!r} here"
                    for name, old, new in differences(found, record)
                },
                remedy="give the settings, batches and base model that it began with, another "
                "folder, or delete this one",
            )

    def claim(self, record: Mapping[str, Any]) -> None:
        """Say what the run is."""
        if not (self.path / "run.json").exists():
            write_json(self.path / "run.json", record)

    # ------------------------------------------------------------ checkpoints

    def checkpoint(self, step: int) -> Path:
        """Where the weights after so many steps lie, or will lie."""
        return self._checkpoints / f"step-{step:08}"

    def steps(self, *, resumable: bool = False) -> list[int]:
        """Return the steps of which there are checkpoints, or states to go on from, in order."""
        found = self._checkpoints.glob("step-*/" + (_STATE if resumable else "config.json"))
        return sorted(int(path.parent.name.removeprefix("step-")) for path in found)

    def save_weights(self, step: int, model: Any, weights: Mapping[str, Tensor]) -> None:
        """Write a checkpoint, unless it is there already."""
        if not (self.checkpoint(step) / "config.json").exists():
            save_checkpoint(model, self._tokenizer, self.checkpoint(step), weights=weights)

    def save_model(self, model: Any, weights: Mapping[str, Tensor]) -> None:
        """Write the trained model."""
        save_checkpoint(model, self._tokenizer, self.model, weights=weights)

    def save_state(self, step: int, tensors: Mapping[str, Tensor], keep: set[int]) -> None:
        """Write a state beside its checkpoint; drop older ones, and checkpoints not in ``keep``."""
        from safetensors.torch import save_file

        path = self.checkpoint(step) / _STATE
        temporary = path.with_name(f"{_STATE}.tmp")
        # one key: several would be written in an order that changes
        save_file(dict(tensors), temporary, metadata={"state": json.dumps({"step": step})})
        os.replace(temporary, path)
        self.drop_states(step, keep)

    def drop_states(self, before: int, keep: set[int]) -> None:
        """Drop states of earlier steps, and their checkpoints where they are not in ``keep``."""
        for step in self.steps(resumable=True):
            if step < before:
                (self.checkpoint(step) / _STATE).unlink()
        for step in self.steps():
            if step < before and step not in keep:
                shutil.rmtree(self.checkpoint(step))
        if self._checkpoints.exists() and not any(self._checkpoints.iterdir()):
            self._checkpoints.rmdir()

    def read_state(self, step: int) -> dict[str, Tensor]:
        """Return the tensors of a state; IntegrityError for a damaged one."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        path = self.checkpoint(step) / _STATE
        try:
            found: dict[str, Tensor] = load_file(path)
        except (SafetensorError, OSError) as error:
            raise IntegrityError(
                f"the state {path} cannot be read.",
                found=str(error),
                remedy=f"delete {path}: the run begins anew",
            ) from error
        return found


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return name, value here and value there of what differs, settings one by one."""
    found = []
    for name in sorted({*one, *other}):
        old, new = one.get(name), other.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += differences(old, new)
        elif old != new:
            found.append((name, old, new))
    return found


# ---------------------------------------------------------------- what a state holds


def weights_digest(model: nn.Module) -> str:
    """Return 32 hex digits of the names, shapes and bits of a model's parameters."""
    digest = hashlib.blake2b(digest_size=16)
    for name, value in model.named_parameters():
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def weights_of(model: Any) -> dict[str, Tensor]:
    """Return name → weight or stored buffer, adapters added and tied ones once; all take part."""
    from curation.train.lora import merged_weights

    names = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    found = {name: value for name, value in model.state_dict().items() if name not in names}
    return {name: whole(value) for name, value in (found | merged_weights(model)).items()}


def state_of(stepper: Stepper) -> dict[str, Tensor]:
    """Return all tensors that the next steps depend on; every process takes part."""
    found = {}
    for name, value in stepper.parameters.items():
        found[f"weight/{name}"] = whole(value)
        moments = stepper.optimizer.state.get(value, {})
        found |= {f"{kind}/{name}": whole(moments[kind]) for kind in _MOMENTS if kind in moments}
    found["random/cpu"] = torch.get_rng_state()
    if stepper.place.device.type == "cuda":
        found["random/cuda"] = torch.cuda.get_rng_state(stepper.place.device)
    return {name: value.contiguous() for name, value in found.items()}


def restore(stepper: Stepper, tensors: Mapping[str, Tensor]) -> None:
    """Put what ``state_of`` returned back in place, on any number of devices."""
    for name, value in stepper.parameters.items():
        put(value, tensors[f"weight/{name}"])
        if f"step/{name}" not in tensors:
            continue
        moments = {kind: torch.zeros_like(value) for kind in _MOMENTS[:2]}
        for kind, moment in moments.items():
            put(moment, tensors[f"{kind}/{name}"])
        steps = tensors[f"step/{name}"].to(stepper.place.device)
        stepper.optimizer.state[value] = {**moments, "step": steps}
    if stepper.place.writes:  # the others draw their own
        torch.set_rng_state(tensors["random/cpu"])
        if "random/cuda" in tensors and stepper.place.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random/cuda"], stepper.place.device)
