"""Low-rank adapters: what is saved is a plain model, and only what they touch is changed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from curation.errors import RunStopped
from curation.train.loop import train
from curation.train.model import flops_per_token, open_model, parameter_count
from curation.train.state import weights_of
from tests.train.tiny import (
    TinyBatches,
    content,
    distance,
    interrupt,
    same,
    settings,
    tiny_model,
    weights,
)


def test_a_run_with_adapters_yields_a_plain_checkpoint(tmp_path: Path) -> None:
    """vLLM and the harness would read the base and call it trained."""
    model, base = tiny_model(), weights(tiny_model())
    seen: list[torch.Tensor] = []

    def look(model: torch.nn.Module, step: int) -> dict[str, float]:
        seen.append(model(input_ids=torch.arange(8)[None]).logits)
        return {}

    plan = settings(lora_rank=2, evaluate_every=12, early_checkpoints=4)
    trained = train(model, TinyBatches(), plan, folder=tmp_path / "run", evaluate=look)
    assert type(model).__name__ == "LlamaForCausalLM"
    assert all(value.requires_grad for value in model.parameters())
    found = open_model(trained.checkpoint)
    assert same(weights(found), weights(model))
    again = found(input_ids=torch.arange(8)[None]).logits
    assert torch.allclose(again, seen[-1], atol=1e-5)
    for name, value in weights(found).items():
        changed = name.endswith("_proj.weight")
        assert torch.equal(value, base[name]) != changed, name
        if changed:
            assert torch.linalg.matrix_rank(value - base[name], atol=1e-4) <= 2
    assert trained.log["loss"][-1] < trained.log["loss"][0]
    early = weights(open_model(tmp_path / "run/checkpoints/step-00000004"))
    assert distance(early, weights(found)) > 0
    assert early.keys() == base.keys()


def test_a_killed_run_with_adapters_ends_with_the_same_bits(tmp_path: Path) -> None:
    """The adapters are not in the checkpoint, which holds only their sum with the weights."""
    plan = settings(lora_rank=2, keep_state=True)
    train(tiny_model(), TinyBatches(), plan, folder=tmp_path / "one")
    with pytest.raises(RunStopped):
        train(tiny_model(), TinyBatches(at={5: interrupt}), plan, folder=tmp_path / "two")
    train(tiny_model(), TinyBatches(), plan, folder=tmp_path / "two")
    assert content(tmp_path / "one") == content(tmp_path / "two")
    last = tiny_model()
    train(last, TinyBatches(), plan, folder=tmp_path / "two")
    assert same(weights(last), weights(open_model(tmp_path / "two/model")))


def test_frozen_weights_cost_less() -> None:
    """The utilisation of a run with adapters would be half as high again as it is."""
    model = tiny_model()
    free = flops_per_token(model, 0)
    for value in model.parameters():
        value.requires_grad_(False)
    assert free == 6 * parameter_count(model)
    assert flops_per_token(model, 0) == 4 * parameter_count(model)


def test_weights_without_adapters_are_those_of_the_model() -> None:
    """A checkpoint would lack a weight, or hold a tied one twice."""
    model = tiny_model()
    assert same(weights_of(model), weights(model))
