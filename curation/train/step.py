"""One step of training: the gradients of a batch, and what the optimizer makes of them.

Trade-off: a step that yields no number is undone by the optimizer's own kernel and noticed by the
host when it next looks, so that a GPU never waits for the host to look at each loss.

B sequences, T tokens, V vocabulary
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from curation.errors import ResourceError
from curation.train.distributed import Place, adding_up, plain, spread

if TYPE_CHECKING:
    from curation.train.settings import Training

#: Tokens that a CPU works on at a time: more do not fit into its caches with their logits.
_CPU_TOKENS = 1024
#: How torch says on a CPU that there is no memory left.
_CPU_MEMORY_WORDS = ("not enough memory", "DefaultCPUAllocator")


class NextToken(nn.Module):
    """The loss of a causal language model."""

    def __init__(self, model: nn.Module, precision: str, device: torch.device) -> None:
        super().__init__()
        self.model = model
        self._half = precision == "bfloat16"
        self._device_type = device.type

    def forward(self, token_BT1: Tensor) -> Tensor:
        """Return the loss of each token after the first, in nats, summed."""
        with torch.autocast(self._device_type, torch.bfloat16, enabled=self._half):
            logits_BTV = self.model(input_ids=token_BT1[:, :-1], use_cache=False).logits
        return functional.cross_entropy(
            logits_BTV.flatten(0, 1).float(), token_BT1[:, 1:].flatten(), reduction="sum"
        )


class Stepper:
    """Takes the steps of a run.

    parameters  name → parameter, those that are trained
    bad         1 from the first step on whose loss or gradient is no number: it and all later steps
                leave weights and optimizer as they are
    """

    def __init__(self, model: nn.Module, settings: Training, place: Place) -> None:
        self.model, self.place = model, place
        with memory_watched(settings, self.micro_of(settings, place)):
            model.to(place.device)
            loss = NextToken(model, settings.precision, place.device)
            self.loss = spread(loss, model, settings, place)
        self.parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.optimizer = _optimizer(list(self.parameters.values()), settings)
        self.bad = torch.zeros((), device=place.device)
        cast(Any, self.optimizer).found_inf = self.bad  # as GradScaler sets it
        self._settings, self._micro = settings, self.micro_of(settings, place)
        self._tokens = settings.batch_tokens
        self._clip = settings.clip or math.inf

    @staticmethod
    def micro_of(settings: Training, place: Place) -> int:
        """Return the number of sequences that a process works on at a time."""
        share = settings.batch_sequences // place.processes
        if settings.micro_sequences is not None:
            return min(share, settings.micro_sequences)
        if place.device.type == "cpu":
            return min(share, max(1, _CPU_TOKENS // settings.sequence_length))
        return share

    def take(self, token_BT1: Tensor, learning_rate: float) -> tuple[Tensor, Tensor]:
        """Take a step; return the batch's loss in nats per token, and the norm of its gradient.

        token_BT1  this process's rows
        raises     ResourceError where memory runs out
        """
        with memory_watched(self._settings, self._micro):
            loss = self.place.total(self._gradients(token_BT1) / self._tokens)
            norm = nn.utils.clip_grad_norm_(self.parameters.values(), self._clip)
            norm = plain(norm)
            self.bad.copy_(torch.maximum(self.bad, (~(loss + norm).isfinite()).to(self.bad)))
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate
            self.optimizer.step()
            self.optimizer.zero_grad()
        return loss, norm

    def _gradients(self, token_BT1: Tensor) -> Tensor:
        """Add up the gradients of the parts of a batch; return the sum of their losses.

        Parts count by their tokens. Gradients are averaged over processes, so each makes its own
        as much larger.
        """
        scale = self.place.processes / self._tokens
        parts = torch.split(token_BT1, self._micro)
        total = torch.zeros((), device=token_BT1.device)
        for number, part_BT1 in enumerate(parts, 1):
            with adding_up(self.loss, self.model, last=number == len(parts)):
                loss = self.loss(part_BT1)
                torch.autograd.backward(loss * scale)
            total += loss.detach()
        return total


def _optimizer(parameters: list[nn.Parameter], settings: Training) -> torch.optim.AdamW:
    """Return AdamW over matrices, which decay, and vectors, which do not.

    Fused it is faster on a CPU as well, and it alone can leave out a step by itself.
    """
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=settings.learning_rate,
        betas=settings.betas,
        fused=True,
    )


@contextmanager
def memory_watched(settings: Training, micro: int) -> Iterator[None]:
    """Turn an end of memory into a ResourceError that says which setting to lower.

    micro  sequences that are worked on at a time
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_memory(error):
            raise
        if micro > 1:
            remedy = f"set micro_sequences={micro // 2} or less (now {micro}); the result stays"
        else:
            remedy = (
                f"set sequence_length below {settings.sequence_length} (a step already takes one "
                "sequence at a time), or take a smaller model"
            )
        raise ResourceError(
            "there is not enough memory for a step of training.",
            found=str(error).splitlines()[0] if str(error) else type(error).__name__,
            step=f"{micro} sequences of {settings.sequence_length} tokens at a time",
            remedy=remedy,
        ) from error


def _is_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(words in str(error) for words in _CPU_MEMORY_WORDS)
