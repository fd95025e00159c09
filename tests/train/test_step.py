"""A step: what the optimizer does, and does not, on a device that nobody waits for."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from curation.errors import RecipeError, ResourceError
from curation.train.distributed import Place, placed
from curation.train.step import Stepper
from tests.train.tiny import SEQUENCES, TinyBatches, same, settings, tiny_model, weights


def stepper(model: Any, **changed: Any) -> Stepper:
    return Stepper(model, settings(**changed), Place(torch.device("cpu")))


def tokens(step: int) -> torch.Tensor:
    return torch.from_numpy(TinyBatches().batch(step))


def test_after_a_bad_step_nothing_changes_any_more() -> None:
    """A GPU is looked at every few steps only; those in between would ruin the weights."""
    model = tiny_model()
    taken = stepper(model, micro_sequences=SEQUENCES)
    poison = [1.0]
    model.register_forward_hook(
        lambda module, inputs, output: setattr(output, "logits", output.logits * poison[0])
    )
    taken.take(tokens(0), 1e-2)
    after, moments = weights(model), taken.optimizer.state_dict()["state"][0]["exp_avg"].clone()
    assert taken.bad == 0
    poison[0] = float("nan")
    loss, _ = taken.take(tokens(1), 1e-2)
    assert loss.isnan()
    assert taken.bad == 1
    poison[0] = 1.0
    loss, norm = taken.take(tokens(2), 1e-2)
    assert loss.isfinite()
    assert norm.isfinite()
    assert taken.bad == 1
    assert same(weights(model), after)
    state = taken.optimizer.state_dict()["state"][0]
    assert torch.equal(state["exp_avg"], moments)
    assert state["step"] == 1


def test_matrices_decay_and_vectors_do_not() -> None:
    """The scales of the norms would shrink, which no paper's recipe has."""
    model = tiny_model()
    with torch.no_grad():
        for value in model.parameters():
            value.fill_(0.5)
    taken = stepper(model, weight_decay=0.5)
    for value in model.parameters():
        value.grad = torch.zeros_like(value)
    taken.optimizer.param_groups[0]["lr"] = taken.optimizer.param_groups[1]["lr"] = 0.1
    taken.optimizer.step()
    for value in model.parameters():
        expected = 0.5 if value.ndim < 2 else 0.5 * (1 - 0.1 * 0.5)
        assert value.unique().tolist() == pytest.approx([expected])


@pytest.mark.parametrize(
    ("device", "processes", "micro", "expected"),
    [
        ("cpu", 1, None, 6),
        ("cuda", 1, None, 6),
        ("cpu", 2, 4, 3),
        ("cpu", 3, 1, 1),
    ],
)
def test_how_many_sequences_are_taken_at_a_time(
    device: str, processes: int, micro: int | None, expected: int
) -> None:
    """A setting for one device would ask for more than a device's share has."""
    place = Place(torch.device(device), 0, processes)
    assert Stepper.micro_of(settings(micro_sequences=micro), place) == expected


def test_a_cpu_takes_what_its_caches_hold() -> None:
    """The whole batch with its logits goes through memory several times."""
    plan = settings(sequence_length=256, batch_sequences=16)
    assert Stepper.micro_of(plan, Place(torch.device("cpu"))) == 4
    assert Stepper.micro_of(plan, Place(torch.device("cuda"))) == 16


def test_a_gpu_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of the driver says nothing of the setting."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with (
        pytest.raises(ResourceError, match="no device 'cuda:1'"),
        placed(settings(device="cuda:1")),
    ):
        pass


def test_a_batch_is_shared_out_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some sequences would be trained on by nobody."""
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(RecipeError, match="evenly") as caught, placed(settings()):
        pass
    assert "multiple of 4" in caught.value.facts["remedy"]
    rows = [Place(torch.device("cpu"), rank, 3).rows(6) for rank in range(3)]
    assert [list(range(6))[part] for part in rows] == [[0, 1], [2, 3], [4, 5]]
