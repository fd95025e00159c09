"""Training throughput against a bare PyTorch loop and the Trainer of transformers.

Issue 5. All three train the same model, from the same weights, on the same batches in the same
order, with the same AdamW, learning rate, weight decay on matrices alone and clipping, in float32
on the threads that this machine has. Their losses after the last step are compared before their
speeds. Turns alternate, so that what else the machine does falls on all of them; a rate is that of
the median turn, a ratio the median of the ratios within turns.

The bare loop is what a person writes first: the whole batch at once, ``loss.backward()``,
``clip_grad_norm_``, ``optimizer.step()``, and nothing is logged. Beside it stands a bare loop that
works on as many sequences at a time as ours does on a CPU, which is what most of the difference
comes from. The share of a step that goes by waiting for data is that of our own log.

Where there is a GPU, the presets 125M and 350M in bfloat16, compiled: tokens a second and the model
FLOPs utilisation against the matrix rate that is measured on that card in the same run, and how
many tokens a second an evaluation reads.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch.nn import functional
from torch.utils.data import Dataset

from benchmarks.measure import Report, arguments, spread
from curation import Schedule, Training
from curation.engine.progress import Progress
from curation.evaluate.score import bits_per_byte
from curation.mix.stream import Batches
from curation.mix.tokens import Tokenizer, write_tokens
from curation.train.loop import train
from curation.train.model import flops_per_token, new_model, parameter_count
from curation.train.speed import measure_peak_flops

VOCABULARY = 2048


class Fixed:
    """Batches that are there already: random tokens, always the same."""

    def __init__(self, settings: Training, steps: int) -> None:
        self.steps, self.tokens = steps, steps * settings.batch_tokens
        self.fingerprint = f"fixed {steps}"
        shape = (steps, settings.batch_sequences, settings.sequence_length + 1)
        self._batches = np.random.default_rng(0).integers(1, VOCABULARY, shape)

    def batch(self, step: int) -> Any:
        return self._batches[step]

    def documents(self, step: int) -> list[str]:
        return []


def made(preset: str, settings: Training) -> Any:
    """Return the model of every turn."""
    return new_model(preset, vocab_size=VOCABULARY, context=settings.sequence_length, seed=0)


def groups(model: Any, settings: Training) -> list[dict[str, Any]]:
    """Return the parameter groups that all three optimizers have."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    return [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]


# Each returns the seconds of its steps after the first few, and the mean loss of the last few.


class Watch(Progress):
    """Notes when the steps of each line of the log were done."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def advance(self, rows: int, payload_bytes: int, shards: int, input_bytes: int) -> None:
        self.at.append(time.perf_counter())


def ours(preset: str, settings: Training, batches: Any) -> tuple[float, float, float]:
    """Train by curation; return the share of the time spent on waiting for data as well."""
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        trained = train(made(preset, settings), batches, settings, folder=folder, progress=watch)
    return watch.at[-1] - watch.at[0], float(trained.log["loss"][-1]), trained.data_frac


def bare(preset: str, settings: Training, batches: Any, micro: int) -> tuple[float, float]:
    """Train by a loop of a few lines."""
    model = made(preset, settings).to(device())
    optimizer = torch.optim.AdamW(
        groups(model, settings), lr=settings.learning_rate, betas=settings.betas, fused=True
    )
    began, losses = 0.0, []
    for step in range(batches.steps):
        if step == settings.log_every:
            wait()
            began = time.perf_counter()
        token_BT = torch.from_numpy(batches.batch(step)).to(device())
        losses.append(torch.zeros((), device=device()))
        for part_BT in token_BT.split(micro):
            with autocast(settings):
                logits_BTV = model(input_ids=part_BT[:, :-1]).logits
            part = functional.cross_entropy(
                logits_BTV.flatten(0, 1).float(), part_BT[:, 1:].flatten()
            )
            part = part * (len(part_BT) / len(token_BT))
            part.backward()
            losses[-1] += part.detach()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
        optimizer.zero_grad()
    wait()
    last = torch.stack(losses[-settings.log_every :]).mean()
    return time.perf_counter() - began, float(last)


def trainer(preset: str, settings: Training, batches: Any) -> tuple[float, float]:
    """Train by transformers' Trainer."""
    import transformers

    model = made(preset, settings)
    optimizer = torch.optim.AdamW(
        groups(model, settings), lr=settings.learning_rate, betas=settings.betas, fused=True
    )
    constant = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)

    class Clock(transformers.TrainerCallback):
        began = 0.0
        seconds = 0.0

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == settings.log_every:
                Clock.began = time.perf_counter()
            Clock.seconds = time.perf_counter() - Clock.began

    with tempfile.TemporaryDirectory() as folder:
        how = transformers.TrainingArguments(
            output_dir=folder,
            max_steps=batches.steps,
            per_device_train_batch_size=settings.batch_sequences,
            max_grad_norm=settings.clip,
            bf16=settings.precision == "bfloat16",
            logging_steps=settings.log_every,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=device() == "cpu",
            dataloader_drop_last=True,
        )
        run = transformers.Trainer(
            model=model,
            args=how,
            train_dataset=Rows(batches),
            optimizers=(optimizer, constant),
            callbacks=[Clock()],
        )
        run.get_train_dataloader = lambda: _in_order(run, batches)
        run.train()
    logged = [row["loss"] for row in run.state.log_history if "loss" in row]
    return Clock.seconds, float(logged[-1])


class Rows(Dataset):
    """The sequences of all batches, for the Trainer, with the very targets of the other loops."""

    def __init__(self, batches: Any) -> None:
        self._batches = batches
        self._size = len(batches.batch(0))

    def __len__(self) -> int:
        return self._batches.steps * self._size

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = torch.from_numpy(self._batches.batch(index // self._size)[index % self._size])
        return {"input_ids": row[:-1], "labels": row[:-1], "shift_labels": row[1:]}


def _in_order(run: Any, batches: Any) -> Any:
    loader = torch.utils.data.DataLoader(Rows(batches), batch_size=len(batches.batch(0)))
    return run.accelerator.prepare(loader)


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def autocast(settings: Training) -> Any:
    return torch.autocast(device(), torch.bfloat16, enabled=settings.precision == "bfloat16")


def compare(report: Report, preset: str, settings: Training, steps: int, turns: int) -> None:
    """Alternate turns of all loops; add their rates, ratios and how far their losses differ."""
    batches = Fixed(settings, steps)
    micro = max(1, 1024 // settings.sequence_length)
    loops: dict[str, Callable[[], tuple[float, ...]]] = {
        "curation": lambda: ours(preset, settings, batches),
        "bare loop": lambda: bare(preset, settings, batches, settings.batch_sequences),
        "bare loop, parts of a batch": lambda: bare(preset, settings, batches, micro),
        "Trainer": lambda: trainer(preset, settings, batches),
    }
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in loops}
    for _ in range(turns):
        for name, loop in loops.items():
            found[name].append(loop())
    tokens = (steps - settings.log_every) * settings.batch_tokens
    last = {name: rows[0][1] for name, rows in found.items()}
    apart = max(abs(last["curation"] - loss) for loss in last.values())
    size = parameter_count(made(preset, settings))
    report.add(f"{preset}: loss after {steps} steps, largest difference from the others",
               f"{apart:.1e} nats ({size:,} parameters)", "the same", apart < 2e-3)  # fmt: skip
    for name, rows in found.items():
        rates = [tokens / row[0] for row in rows]
        report.add(f"{preset}: {name}, tokens a second", spread(rates), "", True)
    for name, wanted in (
        ("bare loop", 0.97),
        ("bare loop, parts of a batch", 0.97),
        ("Trainer", 1),
    ):
        ratios = [mine[0] for mine in found["curation"]]
        ratio = statistics.median(
            theirs[0] / mine for theirs, mine in zip(found[name], ratios, strict=True)
        )
        report.add(f"{preset}: curation to {name}", f"{ratio:.2f} times", f"{wanted} or more",
                   ratio >= wanted)  # fmt: skip


def loading(report: Report, preset: str, settings: Training, steps: int) -> None:
    """Add the share of a step that goes by waiting for batches out of memory-mapped shards."""
    words = [f"word{n}" for n in range(500)]
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(words, 200)) for _ in range(2000)]
    rows = pa.RecordBatch.from_pydict({"id": [str(n) for n in range(2000)], "text": texts})
    with tempfile.TemporaryDirectory() as folder:
        words_of = Tokenizer.train(texts[:200], vocab_size=VOCABULARY)
        tokens = write_tokens([rows], words_of, Path(folder) / "tokens", fingerprint="benchmark")
        batches = Batches(
            {"text": tokens}, Schedule.plain("text"), tokens=steps * settings.batch_tokens,
            sequence_length=settings.sequence_length, batch_sequences=settings.batch_sequences,
            seed=0, key="benchmark", beyond="repeat",
        )  # fmt: skip
        *_, waiting = ours(preset, settings, batches)
    report.add(f"{preset}: share of a step spent on data", f"{waiting:.3%}", "under 1 %",
               waiting < 0.01)  # fmt: skip


def on_gpu(report: Report, quick: bool) -> None:
    """Add tokens a second and utilisation of the larger presets; say so where there is no GPU."""
    if not torch.cuda.is_available():
        report.add("125M and 350M in bfloat16", "not measured: no GPU here", "", True)
        return
    peak = measure_peak_flops("cuda", "bfloat16")
    report.add("matrix rate in bfloat16", f"{peak / 1e12:.0f} TFLOP/s", "", True)
    for preset in ("125M", "350M"):
        settings = Training(
            tokens=1, sequence_length=1024, batch_sequences=64, precision="bfloat16", compile=True,
            peak_flops=peak, learning_rate=3e-4, log_every=5,
        )  # fmt: skip
        batches = Fixed(settings, 15 if quick else 60)
        model = made(preset, settings)
        with tempfile.TemporaryDirectory() as folder:
            trained = train(model, batches, settings, folder=folder)
        used = flops_per_token(model, 1024) * trained.tokens_per_second / peak
        report.add(f"{preset}: tokens a second", f"{trained.tokens_per_second:,.0f}", "", True)
        report.add(f"{preset}: utilisation", f"{used:.1%}", "45 % or more", used >= 0.45)
        rows = pa.table({"id": ["a"], "text": ["word " * 200_000]})
        model.to("cuda")
        began = time.perf_counter()
        read = bits_per_byte(model, words_alone(), rows, context=1024)["tokens"].sum()
        rate = read / (time.perf_counter() - began)
        report.add(f"{preset}: evaluation, tokens a second", f"{rate:,.0f}", "", True)


def words_alone() -> Tokenizer:
    """Return a tokenizer for texts of one word."""
    return Tokenizer.train(["word " * 100], vocab_size=300)


def main() -> None:
    options = arguments(__doc__ or "")
    report = Report("harness_throughput: training", issue=5)
    settings = Training(
        tokens=1,
        learning_rate=1e-3,
        schedule="constant",
        warmup_frac=0.0,
        log_every=4,
        threads=os.cpu_count() or 1,
    )
    torch.set_num_threads(settings.threads)
    steps, turns = (12, 1) if options.quick else (16, 3)
    for preset in ("1M",) if options.quick else ("0.5M", "1M", "3M"):
        compare(report, preset, settings, steps, turns)
    loading(report, "1M", settings, steps)
    on_gpu(report, options.quick)
    report.finish(options.check)


if __name__ == "__main__":
    main()
