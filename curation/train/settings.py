"""How a model is trained: what decides the result, and what decides only how fast it comes.

Trade-off: one flat set of settings, since a run has one of each and an ablation varies them singly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Literal

from curation.errors import RecipeError

#: Fields that do not decide what is learned, only where, how fast and what is looked at meanwhile.
#: (Sums are rounded in another order, so two such runs agree to rounding and not to the bit.)
_INCIDENTAL = frozenset(
    "micro_sequences compile threads device sharding evaluate_every checkpoint_every "
    "early_checkpoints log_every keep_state peak_flops".split()
)


@dataclass(frozen=True, kw_only=True)
class Training:
    """The settings of a training run.

    The learning rate rises linearly from zero to its peak and then follows the schedule, whether
    the weights are new or trained already: re-warming and re-decaying (Ibrahim et al. 2024,
    arXiv:2403.08763). An anneal from a checkpoint is "wsd" with ``decay_frac=1``.
    """

    #: Tokens to train on; a last batch that they do not fill is left out.
    tokens: int
    #: Tokens of a sequence.
    sequence_length: int = 256
    #: Sequences of a step, over all devices.
    batch_sequences: int = 16
    #: Sequences that are in memory at a time on a device; gradients of several add up to those of
    #: the batch. None: all on a GPU, and what the caches of a processor hold well on a CPU.
    micro_sequences: int | None = None
    #: The peak.
    learning_rate: float = 3e-3
    #: The lowest learning rate at the end, as a share of the peak.
    min_learning_rate_frac: float = 0.1
    #: Share of the steps in which the learning rate rises.
    warmup_frac: float = 0.02
    #: "wsd" is warm-up, stable, decay (Hu et al. 2024, arXiv:2404.06395).
    schedule: Literal["cosine", "wsd", "constant"] = "cosine"
    #: Share of the steps in which "wsd" decays; by 1 - sqrt, which Hägele et al. 2024
    #: (arXiv:2405.18392) found better than a line.
    decay_frac: float = 0.2
    betas: tuple[float, float] = (0.9, 0.95)
    #: Of matrices; vectors do not decay.
    weight_decay: float = 0.1
    #: Greatest norm of the gradient; None does not clip.
    clip: float | None = 1.0
    #: "bfloat16" multiplies in bfloat16 and keeps weights as they are.
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False
    #: Of adapters and dropout; the order of the data has its own in the batches.
    seed: int = 0
    #: Threads of a CPU; 0 leaves them as they are.
    threads: int = 1
    #: Steps between evaluations, which are also made at early checkpoints and at the end.
    evaluate_every: int | None = None
    #: Steps between states that a run can go on from; None keeps none before it is stopped.
    checkpoint_every: int | None = None
    #: Keep the weights of steps 1, 2, 4, 8 … up to this one, to see the stability gap (Guo et al.
    #: 2024, arXiv:2406.14833).
    early_checkpoints: int = 0
    #: Steps of a line of the log.
    log_every: int = 10
    #: Keep the state of the optimizer when the run has ended.
    keep_state: bool = False
    #: Rank of low-rank adapters of all linear layers (Hu et al. 2021, arXiv:2106.09685) that are
    #: trained in place of the weights; 0 trains the weights.
    lora_rank: int = 0
    #: Scale of the adapters, divided by the rank.
    lora_alpha: float = 16.0
    #: "auto" is a GPU where there is one.
    device: str = "auto"
    #: With several devices: "copies" of the model (DDP), or "shards" of it (FSDP2).
    sharding: Literal["copies", "shards"] = "copies"
    #: Operations a second that the device can do, for model FLOPs utilisation; None looks it up.
    peak_flops: float | None = None

    def __post_init__(self) -> None:
        for law, kept in self._laws().items():
            if not kept:
                raise RecipeError(f"Training: {law}.", found=str(self))

    def _laws(self) -> dict[str, bool]:
        micro = self.micro_sequences
        every = (micro, self.evaluate_every, self.checkpoint_every)
        return {
            "tokens, sequence_length and batch_sequences are at least 1": (
                min(self.tokens, self.sequence_length, self.batch_sequences) >= 1
            ),
            "micro_sequences, evaluate_every and checkpoint_every are None or at least 1": (
                all(value is None or value >= 1 for value in every)
            ),
            "micro_sequences is at most batch_sequences": (
                micro is None or micro <= self.batch_sequences
            ),
            "log_every is at least 1": self.log_every >= 1,
            "threads is at least 0": self.threads >= 0,
            "learning_rate is above 0 and finite": (
                self.learning_rate > 0 and math.isfinite(self.learning_rate)
            ),
            "min_learning_rate_frac is 0..1": 0 <= self.min_learning_rate_frac <= 1,
            "warmup_frac is 0..1, and with decay_frac (of 'wsd') at most 1": (
                self.warmup_frac >= 0
                and self.warmup_frac + self.decay_frac * (self.schedule == "wsd") <= 1
            ),
            "decay_frac is 0..1": 0 <= self.decay_frac <= 1,
            "schedule is cosine, wsd or constant": self.schedule in ("cosine", "wsd", "constant"),
            "betas are at least 0 and below 1": all(0 <= beta < 1 for beta in self.betas),
            "weight_decay is at least 0": self.weight_decay >= 0,
            "clip is None or above 0": self.clip is None or self.clip > 0,
            "precision is float32 or bfloat16": self.precision in ("float32", "bfloat16"),
            "early_checkpoints and lora_rank are at least 0": (
                self.early_checkpoints >= 0 and self.lora_rank >= 0
            ),
            "sharding is copies or shards": self.sharding in ("copies", "shards"),
            "adapters are trained on copies of the model": (
                not self.lora_rank or self.sharding == "copies"
            ),
            "peak_flops is None or above 0": self.peak_flops is None or self.peak_flops > 0,
        }

    @property
    def batch_tokens(self) -> int:
        """Tokens of a step, over all devices."""
        return self.batch_sequences * self.sequence_length

    def learning_rate_at(self, step: int, steps: int) -> float:
        """Return the learning rate of a step, counted from 0, of a run of so many steps."""
        warmup = round(self.warmup_frac * steps)
        if step < warmup:
            return self.learning_rate * (step + 1) / (warmup + 1)
        if self.schedule == "cosine":
            done = (step - warmup) / max(1, steps - warmup)
            left = (1 + math.cos(math.pi * done)) / 2
        elif self.schedule == "wsd":
            decay = min(round(self.decay_frac * steps), steps - warmup)
            left = 1 - math.sqrt(max(0, step - (steps - decay)) / max(1, decay))
        else:
            left = 1.0
        lowest = self.min_learning_rate_frac
        return self.learning_rate * (lowest + (1 - lowest) * left)

    def is_early(self, step: int) -> bool:
        """Tell whether the weights after so many steps are kept as an early checkpoint."""
        return 0 < step <= self.early_checkpoints and step & (step - 1) == 0

    def identity(self) -> dict[str, Any]:
        """Return what decides the result, as JSON types."""
        shown = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in shown.items()
            if name not in _INCIDENTAL
        }
