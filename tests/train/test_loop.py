"""The loop: that it learns what a plain one learns, whatever happens to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from curation.engine.progress import Progress
from curation.errors import (
    IntegrityError,
    RecipeError,
    ResourceError,
    RunStopped,
    TrainingError,
)
from curation.mix.tokens import Tokenizer
from curation.train.loop import train
from curation.train.model import open_checkpoint, open_model
from curation.train.settings import Training
from tests.train.tiny import (
    LENGTH,
    SEQUENCES,
    STEPS,
    VOCABULARY,
    TinyBatches,
    distance,
    interrupt,
    same,
    settings,
    tiny_model,
    weights,
)


def bare_loop(model: Any, batches: TinyBatches, plan: Training) -> list[float]:
    """Train as a page of PyTorch's manual would; return the loss of each step."""
    vectors = [p for p in model.parameters() if p.ndim < 2]
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    optimizer = torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": plan.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        betas=plan.betas,
    )
    losses = []
    for step in range(batches.steps):
        token_BT1 = torch.from_numpy(batches.batch(step))
        logits_BTV = model(input_ids=token_BT1[:, :-1]).logits
        loss = functional.cross_entropy(logits_BTV.flatten(0, 1), token_BT1[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), plan.clip or 1e9)
        for group in optimizer.param_groups:
            group["lr"] = plan.learning_rate_at(step, batches.steps)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


# ---------------------------------------------------------------- what is learned


@pytest.mark.parametrize("clip", [None, 0.1])
def test_it_learns_what_a_bare_loop_learns(tmp_path: Path, clip: float | None) -> None:
    """Whoever compares with another's run would compare two different trainings."""
    plan = settings(clip=clip, weight_decay=0.5)
    ours, theirs = tiny_model(), tiny_model()
    trained = train(ours, TinyBatches(), plan, folder=tmp_path / "run")
    losses = bare_loop(theirs, TinyBatches(), plan)
    assert distance(weights(ours), weights(theirs)) < 1e-5
    assert trained.log["step"].to_list() == [5, 10, 12]
    means = [sum(losses[a:b]) / (b - a) for a, b in ((0, 5), (5, 10), (10, 12))]
    assert trained.log["loss"].to_list() == pytest.approx(means, abs=1e-5)
    assert losses[-1] < losses[0] - 0.5


@pytest.mark.parametrize("micro", [1, 4, 6])
def test_parts_of_a_batch_add_up_to_the_batch(tmp_path: Path, micro: int) -> None:
    """Who has little memory would train another model, most of all where parts are uneven."""
    whole, parted = tiny_model(), tiny_model()
    train(whole, TinyBatches(), settings(micro_sequences=SEQUENCES), folder=tmp_path / "whole")
    plan = settings(micro_sequences=micro)
    train(parted, TinyBatches(), plan, folder=tmp_path / "parted")
    assert distance(weights(whole), weights(parted)) < 1e-5


def test_the_log_tells_of_each_span_of_steps(tmp_path: Path) -> None:
    """A curve would be drawn at the wrong number of tokens, or the last steps be missing."""
    plan = settings(peak_flops=1e9)
    trained = train(tiny_model(), TinyBatches(), plan, folder=tmp_path / "run")
    rows = trained.log.to_dicts()
    assert [row["tokens"] for row in rows] == [n * SEQUENCES * LENGTH for n in (5, 10, 12)]
    assert [row["learning_rate"] for row in rows] == [
        plan.learning_rate_at(step, STEPS) for step in (4, 9, 11)
    ]
    for row in rows:
        assert row["tokens_per_second"] > 0
        assert row["mfu"] > 0
        assert 0 <= row["data_frac"] < 1
        assert row["grad_norm"] > 0
    assert trained.steps == STEPS
    assert trained.tokens == STEPS * SEQUENCES * LENGTH
    assert trained.tokens_per_second == sorted(r["tokens_per_second"] for r in rows)[1]
    assert trained.mfu == sorted(r["mfu"] for r in rows)[1]


def test_half_precision_learns_nearly_the_same(tmp_path: Path) -> None:
    """A run in bfloat16 that fell behind would be taken for a worse corpus."""
    losses = [
        train(
            tiny_model(),
            TinyBatches(),
            settings(precision=precision),
            folder=tmp_path / precision,
        ).log["loss"]
        for precision in ("float32", "bfloat16")
    ]
    assert losses[1].to_list() == pytest.approx(losses[0].to_list(), abs=0.05)
    assert losses[1].to_list() != losses[0].to_list()


@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_a_compiled_model_learns_the_same(
    tmp_path: Path, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiler would be blamed, or worse, not blamed."""
    seen = []
    compile_ = torch.nn.Module.compile

    def traced(self: torch.nn.Module, **options: Any) -> None:
        seen.append(type(self).__name__)
        compile_(self, backend=backend, **options)

    monkeypatch.setattr(torch.nn.Module, "compile", traced)
    eager, compiled = (tiny_model(num_hidden_layers=1) for _ in range(2))
    train(eager, TinyBatches(3), settings(), folder=tmp_path / "eager")
    train(compiled, TinyBatches(3), settings(compile=True), folder=tmp_path / "compiled")
    assert seen == ["NextToken"]
    assert distance(weights(eager), weights(compiled)) < 1e-4


def test_the_callers_random_numbers_threads_and_mode_stay(tmp_path: Path) -> None:
    """An ablation that draws between two runs would draw something else after each."""
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    torch.set_num_threads(2)
    model = tiny_model()
    seen = []
    train(
        model,
        TinyBatches(),
        settings(evaluate_every=12),
        folder=tmp_path / "run",
        evaluate=lambda model, step: seen.append(torch.get_num_threads()) or {},
    )
    assert torch.equal(torch.rand(3), expected)
    assert (seen, torch.get_num_threads()) == ([1], 2)
    assert not model.training


class Told(Progress):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.lines: list[tuple[Any, ...]] = []

    def begin(self, title: str, shards: int, finished: int, total_bytes: int, **_: str) -> None:
        self.lines.append((title, shards, finished, total_bytes))

    def advance(self, rows: int, payload_bytes: int, shards: int, input_bytes: int) -> None:
        self.lines.append((rows, payload_bytes, shards, input_bytes))


def test_a_person_is_told_how_far_it_is(tmp_path: Path) -> None:
    """A bar that stands still, or ends early, makes people end runs."""
    told = Told()
    train(tiny_model(), TinyBatches(), settings(), folder=tmp_path / "run", progress=told)
    total = STEPS * SEQUENCES * LENGTH
    assert told.lines[0] == ("train", STEPS, 0, total)
    assert [line[2] for line in told.lines[1:]] == [5, 10, 12]
    assert told.lines[-1] == (STEPS * SEQUENCES, 0, STEPS, total)


# ---------------------------------------------------------------- bad input


def poisoned(model: Any, at: int, value: float) -> Any:
    """Make a model yield a loss that is no number at its n-th batch."""
    seen = [0]

    def hook(module: Any, inputs: Any, output: Any) -> Any:
        seen[0] += 1
        if seen[0] == at:
            output.logits = output.logits * value
        return output

    model.register_forward_hook(hook)
    return model


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path, value: float) -> None:
    """A run would go on for days with weights that are nothing."""
    model, good = poisoned(tiny_model(), 8, value), tiny_model()
    plan = settings(checkpoint_every=3, micro_sequences=SEQUENCES)
    with pytest.raises(TrainingError) as caught:
        train(model, TinyBatches(), plan, folder=tmp_path / "run")
    error = caught.value
    assert error.headline.startswith("step 8 of 12")
    assert "loss is nan" in error.headline
    assert "document 7-0, document 7-1" in error.facts["documents"]
    assert "8 more" in error.facts["documents"]
    assert str(tmp_path / "run/checkpoints/step-00000006") in error.facts["checkpoint"]
    open_model(tmp_path / "run/checkpoints/step-00000006")
    bad = json.loads((tmp_path / "run/bad_batch.json").read_text())
    assert (bad["step"], len(bad["documents"])) == (8, 20)
    with pytest.raises(RunStopped):  # a run that stops before that step has the same weights
        train(good, TinyBatches(at={6: interrupt}), plan, folder=tmp_path / "good")
    assert same(weights(model), weights(good))


def test_a_gradient_that_is_no_number_ends_the_run(tmp_path: Path) -> None:
    """The loss can be a number where its slope is not."""
    model = tiny_model()
    model.model.norm.weight.register_hook(lambda grad: grad * float("inf"))
    before = weights(model)
    with pytest.raises(TrainingError, match=r"step 1 .* norm of the gradient is") as caught:
        train(model, TinyBatches(), settings(), folder=tmp_path / "run")
    assert "none yet" in caught.value.facts["checkpoint"]
    assert same(weights(model), before)


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    MemoryError(),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
    RuntimeError("not enough memory: you tried to allocate 9 bytes."),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=repr)
@pytest.mark.parametrize(
    ("micro", "wanted"), [(4, "micro_sequences=2"), (1, "sequence_length"), (None, "micro_seq")]
)
def test_an_end_of_memory_says_what_to_lower(
    tmp_path: Path, error: Exception, micro: int | None, wanted: str
) -> None:
    """People would guess, and try the setting that changes the result first."""
    model = tiny_model()
    model.register_forward_hook(lambda *_: (_ for _ in ()).throw(error))
    with pytest.raises(ResourceError) as caught:
        train(model, TinyBatches(), settings(micro_sequences=micro), folder=tmp_path / "run")
    assert f"set {wanted}" in caught.value.facts["remedy"]


def test_other_errors_are_not_taken_for_an_end_of_memory(tmp_path: Path) -> None:
    """A wrong remedy is worse than none."""
    model = tiny_model()
    model.register_forward_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("something else")))
    with pytest.raises(RuntimeError, match="something else"):
        train(model, TinyBatches(), settings(), folder=tmp_path / "run")


def test_batches_of_another_shape_are_refused(tmp_path: Path) -> None:
    """The log would count tokens that are not there."""
    batches = TinyBatches(length=LENGTH + 1)
    with pytest.raises(RecipeError, match="another shape"):
        train(tiny_model(), batches, settings(), folder=tmp_path / "run")


@pytest.mark.parametrize("token", [VOCABULARY, -1])
def test_tokens_that_the_model_does_not_know_are_refused(tmp_path: Path, token: int) -> None:
    """On a GPU the process would die with an assertion of the device."""

    class Foreign(TinyBatches):
        def batch(self, step: int) -> Any:
            found = super().batch(step)
            found[-1, -1] = token
            return found

    with pytest.raises(IntegrityError, match="does not know"):
        train(tiny_model(), Foreign(), settings(), folder=tmp_path / "run")


# ---------------------------------------------------------------- what is kept


def test_early_checkpoints_are_the_weights_of_their_steps(tmp_path: Path) -> None:
    """The stability gap is seen in the first steps or not at all."""
    tokenizer = Tokenizer.train(["a few words"], vocab_size=257)
    plan = settings(early_checkpoints=9, checkpoint_every=3)
    model = tiny_model()
    seen: dict[int, dict[str, torch.Tensor]] = {}

    def look(model: Any, step: int) -> dict[str, float]:
        seen[step] = weights(model)
        return {}

    looked = settings(early_checkpoints=9, evaluate_every=1)
    train(tiny_model(), TinyBatches(), looked, folder=tmp_path / "looked", evaluate=look)
    train(model, TinyBatches(), plan, folder=tmp_path / "run", tokenizer=tokenizer)
    names = [f"step-{step:08}" for step in (1, 2, 4, 8)]
    assert sorted(path.name for path in (tmp_path / "run/checkpoints").iterdir()) == names
    for step in (1, 2, 4, 8):
        found = tmp_path / f"run/checkpoints/step-{step:08}"
        assert same(weights(open_model(found)), seen[step])
        assert (found / "tokenizer.json").exists()
        assert not (found / "state.safetensors").exists()
    assert same(weights(open_model(tmp_path / "run/model")), weights(model))
    assert not same(seen[1], seen[2])


def test_a_trained_checkpoint_opens_with_its_tokenizer(tmp_path: Path) -> None:
    """Evaluation reads what training wrote."""
    tokenizer = Tokenizer.train(["a few words"], vocab_size=257)
    model = tiny_model()
    model.resize_token_embeddings(257)
    trained = train(model, TinyBatches(2), settings(), folder=tmp_path / "r", tokenizer=tokenizer)
    found, words = open_checkpoint(trained.checkpoint)
    assert words.fingerprint == tokenizer.fingerprint
    assert same(weights(found), weights(model))


def test_only_the_last_state_is_kept_and_none_after_the_end(tmp_path: Path) -> None:
    """A state is thrice the size of its model; a long run would fill the disk."""
    kept: list[list[str]] = []

    def look(model: Any, step: int) -> dict[str, float]:
        kept.append(sorted(p.name for p in (tmp_path / "run").glob("checkpoints/step-*")))
        return {}

    plan = settings(checkpoint_every=2, evaluate_every=5)
    train(tiny_model(), TinyBatches(), plan, folder=tmp_path / "run", evaluate=look)
    assert kept == [["step-00000004"], ["step-00000008"], ["step-00000010"]]
    files = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert files == ["evaluations.jsonl", "log.jsonl", "model", "run.json"]


def test_evaluations_are_made_when_due_and_disturb_nothing(tmp_path: Path) -> None:
    """A run that is looked at more often would become another one."""
    modes: list[tuple[int, bool, bool]] = []

    def look(model: Any, step: int) -> dict[str, float]:
        modes.append((step, model.training, torch.is_grad_enabled()))
        return {"drawn": float(torch.rand(()))}

    model, unseen = (tiny_model(attention_dropout=0.3) for _ in range(2))
    plan = settings(evaluate_every=5, early_checkpoints=3)
    trained = train(model, TinyBatches(), plan, folder=tmp_path / "one", evaluate=look)
    assert modes == [(step, False, False) for step in (1, 2, 5, 10, 12)]
    assert trained.evaluations["step"].to_list() == [1, 2, 5, 10, 12]
    assert trained.evaluations["tokens"][0] == SEQUENCES * LENGTH
    assert set(trained.evaluations.columns) == {"step", "tokens", "drawn"}
    train(unseen, TinyBatches(), settings(), folder=tmp_path / "two")
    assert same(weights(model), weights(unseen))
