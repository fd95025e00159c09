"""Going on: a run that was killed, stopped or done, in its own folder and in others' folders."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from curation.errors import (
    IntegrityError,
    RunStopped,
    TrainingError,
)
from curation.train.loop import train
from curation.train.settings import Training
from tests.train.tiny import (
    STEPS,
    TinyBatches,
    content,
    distance,
    in_a_child,
    interrupt,
    kill_me,
    same,
    settings,
    tiny_model,
    weights,
)

# ---------------------------------------------------------------- going on


def outcome(folder: Path, plan: Training) -> dict[str, bytes]:
    """Train undisturbed, or on from where a run is; return what it wrote."""
    train(tiny_model(), TinyBatches(), plan, folder=folder, evaluate=evaluation)
    return content(folder)


def evaluation(model: Any, step: int) -> dict[str, float]:
    token_BT = torch.from_numpy(TinyBatches().batch(99))[:, :-1]
    return {"logit": float(model(input_ids=token_BT).logits.mean()) + float(torch.rand(()))}


@pytest.mark.parametrize("killed_at", [1, 4, 7, 11])
def test_a_killed_run_ends_with_the_same_bits(tmp_path: Path, killed_at: int) -> None:
    """A verdict would depend on whether the machine was switched off in between."""
    plan = settings(
        checkpoint_every=3, early_checkpoints=4, evaluate_every=4, keep_state=True, clip=0.5
    )
    undisturbed = outcome(tmp_path / "one", plan)
    batches = TinyBatches(at={killed_at: kill_me})

    def work() -> None:
        train(tiny_model(), batches, plan, folder=tmp_path / "two", evaluate=evaluation)

    assert in_a_child(work) == -signal.SIGKILL
    # what a kill in the midst of writing leaves behind
    with (tmp_path / "two/log.jsonl").open("a") as log:
        log.write('{"step": 9, "lo')
    (tmp_path / "two/checkpoints/.step-00000009.tmp").mkdir(parents=True, exist_ok=True)
    (tmp_path / "two/checkpoints/.step-00000009.tmp/config.json").write_text("{")
    assert outcome(tmp_path / "two", plan).keys() >= undisturbed.keys()
    again = content(tmp_path / "two")
    assert {name for name in again if again[name] != undisturbed.get(name)} <= {
        "checkpoints/.step-00000009.tmp/config.json"
    }
    assert "checkpoints/step-00000012/state.safetensors" in undisturbed


def test_a_run_that_has_ended_is_read_and_not_repeated(tmp_path: Path) -> None:
    """An ablation that is started again would pay for all its runs again."""
    first = tiny_model()
    trained = train(first, TinyBatches(), settings(), folder=tmp_path / "run")
    batches, again = TinyBatches(), tiny_model()
    read = train(again, batches, settings(), folder=tmp_path / "run")
    assert batches.asked == 0
    assert same(weights(first), weights(again))
    assert read.log.equals(trained.log)
    assert read.checkpoint == tmp_path / "run/model"


@pytest.mark.parametrize(
    ("plan", "batches", "seed", "named"),
    [
        (settings(learning_rate=1e-3), TinyBatches(), 0, "learning_rate"),
        (settings(), TinyBatches(13), 0, "batches"),
        (settings(), TinyBatches(), 1, "base"),
    ],
)
@pytest.mark.parametrize("ended", [True, False])
def test_another_run_is_not_written_over(
    tmp_path: Path, plan: Training, batches: TinyBatches, seed: int, named: str, ended: bool
) -> None:
    """A mistyped folder would mix two runs, or lose the first one."""
    folder = tmp_path / "run"
    first = settings(checkpoint_every=3)
    stopping = TinyBatches(at={} if ended else {7: interrupt})
    if ended:
        train(tiny_model(), stopping, first, folder=folder)
    else:
        with pytest.raises(RunStopped):
            train(tiny_model(), stopping, first, folder=folder)
    before = content(folder)
    with pytest.raises(TrainingError, match="is another one") as caught:
        train(tiny_model(seed), batches, plan, folder=folder)
    assert named in caught.value.facts
    assert caught.value.facts["remedy"]
    with pytest.raises(TrainingError, match="resume=False"):
        train(tiny_model(), TinyBatches(), first, folder=folder, resume=False)
    assert content(folder) == before


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    """Somebody's checkpoint could lie under the name that a run wants to give its own."""
    (tmp_path / "run/model").mkdir(parents=True)
    with pytest.raises(TrainingError, match=r"no run\.json"):
        train(tiny_model(), TinyBatches(), settings(), folder=tmp_path / "run")


def test_settings_of_speed_may_change_in_between(tmp_path: Path) -> None:
    """The remedy for an end of memory would cost all that was done before."""
    plan = settings(checkpoint_every=4, log_every=9)
    with pytest.raises(RunStopped):
        train(tiny_model(), TinyBatches(at={6: interrupt}), plan, folder=tmp_path / "one")
    model, batches = tiny_model(), TinyBatches()
    changed = settings(micro_sequences=2, log_every=2, checkpoint_every=None)
    trained = train(model, batches, changed, folder=tmp_path / "one")
    assert batches.asked == STEPS - 7
    assert trained.log["step"].to_list() == [8, 10, 12]
    straight = tiny_model()
    train(straight, TinyBatches(), settings(), folder=tmp_path / "two")
    assert distance(weights(model), weights(straight)) < 1e-5


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    """A disk that lost a block would otherwise end the run with a stranger's words."""
    plan = settings(checkpoint_every=3)
    with pytest.raises(RunStopped):
        train(tiny_model(), TinyBatches(at={6: interrupt}), plan, folder=tmp_path / "run")
    [state] = tmp_path.glob("run/checkpoints/*/state.safetensors")
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(IntegrityError, match=r"state\.safetensors"):
        train(tiny_model(), TinyBatches(), plan, folder=tmp_path / "run")
    state.unlink()
    train(tiny_model(), TinyBatches(), plan, folder=tmp_path / "run")


def test_random_numbers_go_on_after_a_kill(tmp_path: Path) -> None:
    """A checkpoint with dropout would be trained with other noise, and end elsewhere."""
    made = [tiny_model(attention_dropout=0.3) for _ in range(4)]
    train(made[0], TinyBatches(), settings(), folder=tmp_path / "one")
    with pytest.raises(RunStopped):
        train(made[1], TinyBatches(at={5: interrupt}), settings(), folder=tmp_path / "two")
    train(made[2], TinyBatches(), settings(), folder=tmp_path / "two")
    assert same(weights(made[0]), weights(made[2]))
    train(made[3], TinyBatches(), settings(seed=1), folder=tmp_path / "three")
    assert not same(weights(made[0]), weights(made[3]))


# ---------------------------------------------------------------- stopping


def test_ctrl_c_keeps_what_is_done(tmp_path: Path) -> None:
    """A night's work would go with a key."""
    plan = settings(keep_state=True)
    undisturbed = outcome(tmp_path / "one", plan)
    handler = signal.getsignal(signal.SIGINT)
    batches = TinyBatches(at={6: interrupt})
    with pytest.raises(RunStopped) as caught:
        train(tiny_model(), batches, plan, folder=tmp_path / "two", evaluate=evaluation)
    assert signal.getsignal(signal.SIGINT) is handler
    assert "7 of 12 steps" in caught.value.facts["kept"]
    assert "again" in caught.value.facts["resume"]
    rest = TinyBatches()
    train(tiny_model(), rest, plan, folder=tmp_path / "two", evaluate=evaluation)
    assert rest.asked == STEPS - 7
    assert content(tmp_path / "two") == undisturbed


def test_ctrl_c_in_the_last_step_is_too_late(tmp_path: Path) -> None:
    """A run that is done would be called stopped."""
    batches = TinyBatches(at={STEPS - 1: interrupt})
    train(tiny_model(), batches, settings(), folder=tmp_path / "run")


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    """A step that hangs could only be ended by a kill."""

    def twice() -> None:
        interrupt()
        interrupt()

    with pytest.raises(KeyboardInterrupt):
        train(tiny_model(), TinyBatches(at={2: twice}), settings(), folder=tmp_path / "run")


def test_a_thread_may_train(tmp_path: Path) -> None:
    """Only the main thread may ask for signals; a notebook's server trains in others."""
    done: list[int] = []

    def work() -> None:
        done.append(train(tiny_model(), TinyBatches(2), settings(), folder=tmp_path / "run").steps)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [2]
