"""Continued pretraining: a model, batches and settings become a trained model and its log.

A run that is killed anywhere and started again with the same arguments goes on and, on a CPU, ends
with the same bits as one that was not. The host looks at a number that a GPU computed only where a
line of the log is due.

Trade-off: what a caller wants to know meanwhile comes by two callbacks and not by a class of hooks.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import Tensor

from curation.engine.progress import Progress, Words
from curation.errors import IntegrityError, RecipeError, RunStopped, TrainingError
from curation.store import write_json
from curation.train.distributed import Place, placed
from curation.train.interrupts import Interrupts, interruptible
from curation.train.log import COLUMNS
from curation.train.lora import add_adapters, merge_adapters
from curation.train.model import flops_per_token, open_model
from curation.train.speed import Clock, finish, known_peak_flops
from curation.train.state import RunFolder, restore, state_of, weights_digest, weights_of
from curation.train.step import Stepper

if TYPE_CHECKING:
    from curation.mix.tokens import Tokenizer
    from curation.train.settings import Training

#: Documents of a bad batch that an error names; all are in ``bad_batch.json``.
_NAMED_DOCUMENTS = 12

#: Model and steps done → name → value.
Evaluate = Callable[[Any, int], Mapping[str, float]]


class AnyBatches(Protocol):
    """What a run reads: batches by their number, always the same ones.

    steps        number of batches
    tokens       tokens of all of them
    fingerprint  of all that they hold
    """

    @property
    def steps(self) -> int: ...
    @property
    def tokens(self) -> int: ...
    @property
    def fingerprint(self) -> str: ...

    def batch(self, step: int) -> npt.NDArray[np.int64]:
        """Return int64[B, T+1]: token t+1 of a sequence is what comes after its token t."""

    def documents(self, step: int) -> list[str]:
        """Return the ids of the documents in a batch."""


@dataclass(frozen=True)
class Trained:
    """What a run came to.

    log                a line for each few steps; the columns of ``log.COLUMNS``
    evaluations        a row for each evaluation: step, tokens and what it returned
    tokens_per_second  the median of the log
    mfu                model FLOPs utilisation, likewise; None where no peak is known
    data_frac          the share of the time that went by waiting for batches, the mean
    folder             of the run
    """

    steps: int
    tokens: int
    log: pl.DataFrame
    evaluations: pl.DataFrame
    tokens_per_second: float
    mfu: float | None
    data_frac: float
    folder: Path

    @property
    def checkpoint(self) -> Path:
        """The folder of the trained model and its tokenizer."""
        return self.folder / "model"


def train(  # noqa: PLR0913  what is trained on what and how, where it goes, and who looks on
    model: Any,
    batches: AnyBatches,
    settings: Training,
    *,
    folder: str | os.PathLike[str],
    tokenizer: Tokenizer | None = None,
    evaluate: Evaluate | None = None,
    progress: Progress | None = None,
    resume: bool = True,
) -> Trained:
    """Train a model, in place, and write it, its log and its checkpoints into a folder.

    A run that is under way there goes on, and one that has ended is read; both only if it is this
    very run. Under torchrun each process calls this with the same arguments, and ``evaluate`` is
    called in each.

    model      a causal language model of transformers
    evaluate   is given the model, without gradients, and the steps done; see ``evaluate_every``
    progress   is told of sequences, steps and tokens at each line of the log
    tokenizer  is saved beside the model; without it the checkpoint is of little use
    raises     RecipeError for batches of another shape than the settings say; TrainingError for
               another run's folder or a loss that is no number; ResourceError where memory runs
               out; RunStopped after Ctrl-C
    """
    files = RunFolder(folder, tokenizer)
    record = {
        "settings": settings.identity(),
        "batches": batches.fingerprint,
        "steps": batches.steps,
        "base": weights_digest(model),
    }
    with placed(settings) as place, _drawing(settings, place):
        files.check(record, resume=resume)
        place.wait()  # nothing is written before all have looked
        if files.model.exists():
            _load(model, files, place)
        else:
            if place.writes:
                files.claim(record)
            _run(Run(model, batches, settings, place, files), evaluate, progress)
        place.wait()
    return _trained(files, batches)


def _run(run: Run, evaluate: Evaluate | None, progress: Progress | None) -> None:
    with interruptible() as interrupts:
        run.go(interrupts, evaluate, progress)
    run.end()


def _load(model: Any, files: RunFolder, place: Place) -> None:
    """Put the weights of a run that has ended into the model."""
    found = open_model(files.model).state_dict()
    model.load_state_dict(found)
    model.to(place.device)


def _trained(files: RunFolder, batches: AnyBatches) -> Trained:
    log = files.log.frame(COLUMNS)
    mfu = log["mfu"].median()
    return Trained(
        steps=batches.steps,
        tokens=batches.tokens,
        log=log,
        evaluations=files.evaluations.frame(),
        tokens_per_second=_number(log["tokens_per_second"].median()),
        mfu=None if mfu is None else _number(mfu),
        data_frac=_number(log["data_frac"].mean()),
        folder=files.path,
    )


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


@contextmanager
def _drawing(settings: Training, place: Place) -> Iterator[None]:
    """Seed torch's random numbers for this run, and leave those of the caller as they are."""
    devices = [place.device] if place.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(settings.seed + place.rank)
        yield


# ---------------------------------------------------------------- the run


class Window:
    """Losses and norms of the steps that are not in the log yet; they stay on the device.

    loss_S  nats per token
    norm_S  of the gradient, before clipping
    """

    def __init__(self, size: int, device: torch.device) -> None:
        self.loss_S, self.norm_S = torch.zeros(2, size, device=device)
        self.count = 0

    def add(self, loss: Tensor, norm: Tensor) -> None:
        """Add a step."""
        self.loss_S[self.count], self.norm_S[self.count] = loss, norm
        self.count += 1

    def values(self) -> tuple[list[float], list[float]]:
        """Return losses and norms; the device has to be waited for."""
        return self.loss_S[: self.count].tolist(), self.norm_S[: self.count].tolist()

    def tensors(self) -> dict[str, Tensor]:
        """Return what is in it, for a state."""
        kept = {"window/loss": self.loss_S, "window/norm": self.norm_S}
        return {name: value[: self.count].cpu().clone() for name, value in kept.items()}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], size: int, device: torch.device) -> Window:
        """Return the window whose ``tensors`` these are; it may have been of another size."""
        count = len(tensors["window/loss"])
        made = cls(max(size, count + 1), device)
        made.loss_S[:count], made.norm_S[:count] = tensors["window/loss"], tensors["window/norm"]
        made.count = count
        return made


class Run:
    """A run under way.

    done  steps that were taken
    """

    def __init__(
        self,
        model: Any,
        batches: AnyBatches,
        settings: Training,
        place: Place,
        files: RunFolder,
    ) -> None:
        self.model, self.batches, self.settings = model, batches, settings
        self.place, self.files = place, files
        self.adapted: Any = None
        if settings.lora_rank:
            self.adapted = add_adapters(model, rank=settings.lora_rank, alpha=settings.lora_alpha)
        self.step_tokens = settings.batch_tokens
        self._known_tokens = model.get_input_embeddings().weight.shape[0]
        peak = settings.peak_flops or known_peak_flops(place.device, settings.precision)
        flops = flops_per_token(model, settings.sequence_length)
        self._mfu_of_rate = flops / (peak * place.processes) if peak else None
        model.train()
        self.stepper = Stepper(model, settings, place)
        self.window = Window(settings.log_every, place.device)
        self.clock, self.done = Clock(), 0
        self._resume()

    def _resume(self) -> None:
        """Go on from the last state, or from the start."""
        saved = self.files.steps(resumable=True)
        if saved:
            tensors = self.files.read_state(saved[-1])
            restore(self.stepper, tensors)
            self.window = Window.of(tensors, self.settings.log_every, self.place.device)
            self.done = saved[-1]
        self.place.wait()
        if self.place.writes:
            self.files.log.go_back(self.done)
            self.files.evaluations.go_back(self.done)

    def go(
        self, interrupts: Interrupts, evaluate: Evaluate | None, progress: Progress | None
    ) -> None:
        """Take the steps that are left."""
        begun = self.done
        if progress is not None and self.place.writes:
            left = (self.batches.steps - begun) * self.step_tokens
            progress.begin(
                "train", self.batches.steps, begun, left, words=Words("step", "sequences")
            )
        self.clock.reset()
        while self.done < self.batches.steps:
            self._step()
            if self._watched:
                self._check()
            if self._due(self.settings.log_every):
                self._write_line()
                self._tell(progress, begun)
            elif self.done == begun + 1:  # the first step compiles and asks for memory
                finish(self.place.device)
                self.clock.reset()
            with self._apart():
                if evaluate is not None and self._evaluates:
                    self._evaluate(evaluate)
                self._save(stopping=self._watched and self.place.any(interrupts.asked))

    def _due(self, every: int | None) -> bool:
        return every is not None and (self.done % every == 0 or self.done == self.batches.steps)

    @property
    def _evaluates(self) -> bool:
        every = self.settings.evaluate_every
        return self._due(every) or (every is not None and self.settings.is_early(self.done))

    @property
    def _saves(self) -> bool:
        every = self.settings.checkpoint_every
        last = self.done == self.batches.steps
        return self.settings.keep_state if last else self._due(every)

    @property
    def _watched(self) -> bool:
        """Whether the host looks at this step's numbers: always on a CPU, where it costs nothing.

        Elsewhere it is where something is written, which has to wait for the device anyway.
        """
        settings = self.settings
        written = self._due(settings.log_every) or self._evaluates or self._saves
        return self.place.device.type == "cpu" or written or settings.is_early(self.done)

    # ------------------------------------------------------------ a step

    def _step(self) -> None:
        with self.clock.waiting():
            token_BT1 = self._tokens(self.done)
        rate = self.settings.learning_rate_at(self.done, self.batches.steps)
        self.window.add(*self.stepper.take(token_BT1, rate))
        self.done += 1
        self.clock.steps += 1

    def _tokens(self, step: int) -> Tensor:
        """Return this process's rows of a batch, on its device."""
        settings = self.settings
        batch_BT1 = self.batches.batch(step)
        wanted = (settings.batch_sequences, settings.sequence_length + 1)
        if batch_BT1.shape != wanted:
            raise RecipeError(
                "the batches have another shape than the settings of training say.",
                found=f"{batch_BT1.shape} where {wanted} is wanted",
                remedy="make both with the same sequence_length and batch_sequences",
            )
        if batch_BT1.max() >= self._known_tokens or batch_BT1.min() < 0:
            raise IntegrityError(
                f"a batch holds tokens that the model does not know: step {step + 1}.",
                found=f"ids {batch_BT1.min()} to {batch_BT1.max()}; the model has "
                f"{self._known_tokens}",
                remedy="make the tokens with the tokenizer of this model",
            )
        rows = torch.from_numpy(batch_BT1[self.place.rows(len(batch_BT1))])
        if self.place.device.type == "cuda":
            rows = rows.pin_memory().to(self.place.device, non_blocking=True)
        return rows

    def _check(self) -> None:
        """Raise TrainingError if a step since the last look yielded no number."""
        if not bool(self.stepper.bad):
            return
        losses, norms = self.window.values()
        sums = [loss + norm for loss, norm in zip(losses, norms, strict=True)]
        bad = next(n for n, value in enumerate(sums) if not math.isfinite(value))
        step = self.done - len(sums) + bad
        documents = self.batches.documents(step)
        if self.place.writes:
            listed = {"step": step + 1, "documents": documents}
            write_json(self.files.path / "bad_batch.json", listed)
        what = f"loss is {losses[bad]}"
        if math.isfinite(losses[bad]):
            what = f"norm of the gradient is {norms[bad]}"
        more = len(documents) - _NAMED_DOCUMENTS
        kept = self.files.steps()
        raise TrainingError(
            f"step {step + 1} of {self.batches.steps} in {self.files.path}: the {what}.",
            documents=", ".join(documents[:_NAMED_DOCUMENTS])
            + (f" and {more} more, see bad_batch.json" if more > 0 else ""),
            checkpoint=f"{self.files.checkpoint(kept[-1])}, the last good one"
            if kept
            else "none yet; the model is as it was before this step",
            remedy="look at these documents; lower learning_rate or lengthen warmup_frac, and "
            "give another folder",
        )

    # ------------------------------------------------------------ what is written

    @contextmanager
    def _apart(self) -> Iterator[None]:
        """Leave the time within out of the speed, where the device has been waited for."""
        if not self._watched:
            yield
            return
        self.clock.pause()
        yield
        self.clock.start()

    def _tell(self, progress: Progress | None, begun: int) -> None:
        if progress is not None and self.place.writes:
            taken = self.done - begun
            sequences = taken * self.settings.batch_sequences
            progress.advance(sequences, 0, self.done, taken * self.step_tokens)

    def _write_line(self) -> None:
        losses, norms = self.window.values()
        self.window.count = 0
        rate, waiting = self.clock.rates(self.step_tokens)
        row = {
            "step": self.done,
            "tokens": self.done * self.step_tokens,
            "loss": math.fsum(losses) / len(losses),
            "learning_rate": self.settings.learning_rate_at(self.done - 1, self.batches.steps),
            "grad_norm": math.fsum(norms) / len(norms),
            "tokens_per_second": round(rate, 1),
            "mfu": None if self._mfu_of_rate is None else round(rate * self._mfu_of_rate, 5),
            "data_frac": round(waiting, 6),
        }
        if self.place.writes:
            self.files.log.add(row)
        self.clock.reset()

    def _evaluate(self, evaluate: Evaluate) -> None:
        self.model.eval()
        devices = [self.place.device] if self.place.device.type == "cuda" else []
        with torch.random.fork_rng(devices), torch.no_grad():
            found = {name: float(value) for name, value in evaluate(self.model, self.done).items()}
        self.model.train()
        if self.place.writes:
            tokens = self.done * self.step_tokens
            self.files.evaluations.add({"step": self.done, "tokens": tokens, **found})

    def _save(self, *, stopping: bool) -> None:
        last = self.done == self.batches.steps
        early = self.settings.is_early(self.done)
        resumable = self._saves or (stopping and not last)
        if early or resumable:
            weights = weights_of(self.model)
            tensors = state_of(self.stepper) | self.window.tensors() if resumable else {}
            if self.place.writes:
                self.files.save_weights(self.done, self.model, weights)
                if resumable:
                    self.files.save_state(self.done, tensors, self._early_steps)
            self.place.wait()
        if stopping and not last:
            raise RunStopped(
                "stopped before the end.",
                kept=f"{self.done} of {self.batches.steps} steps, in {self.files.path}",
                resume="start the same run again: it goes on from here",
            )

    @property
    def _early_steps(self) -> set[int]:
        return {step for step in range(self.done + 1) if self.settings.is_early(step)}

    def end(self) -> None:
        """Write the trained model; the state that led to it is of no more use."""
        self.model.eval()
        weights = weights_of(self.model)
        if self.place.writes:
            self.files.save_model(self.model, weights)
            if not self.settings.keep_state:
                self.files.drop_states(self.done + 1, self._early_steps)
        if self.adapted is not None:
            merge_adapters(self.adapted)
