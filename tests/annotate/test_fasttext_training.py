from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curation.annotate import fasttext_trainer, fasttext_training
from curation.annotate.fasttext_model import parse_model
from curation.annotate.fasttext_training import DIVERGED, fasttext_lines, train_fasttext
from curation.arrow import bytes_and_offsets
from curation.errors import TrainingError

pytest.importorskip("fasttext", reason="the fastText package trains its models")
OPTIONS = {"lr": 0.5, "epoch": 30, "dim": 16, "wordNgrams": 2, "bucket": 500, "seed": 0}


def some_lines(count: int = 300) -> str:
    draw = np.random.default_rng(2)
    words = np.array(["court judge law".split(), "goal team coach".split()])
    rows = [f"__label__{n % 2} {' '.join(draw.choice(words[n % 2], 5))} {n}" for n in range(count)]
    return "\n".join(rows) + "\n"


def test_the_same_texts_give_the_same_bytes() -> None:
    """fastText leaves nine tenths of its matrix to chance, and most small texts fail by it."""
    first = train_fasttext(some_lines(), dict(OPTIONS), quantized=False)
    assert train_fasttext(some_lines(), dict(OPTIONS), quantized=False) == first
    assert train_fasttext(some_lines(), {**OPTIONS, "seed": 2}, quantized=False) != first
    model = parse_model("trained", np.frombuffer(first, dtype=np.uint8))
    data, offset = bytes_and_offsets(pa.array(["the judge", "the coach"], pa.large_string()))
    label, _ = model.predict(data, offset[:-1], offset[1:])
    assert [model.labels[at] for at in label] == ["0", "1"]


def test_marks_of_fasttext_inside_a_text_mean_nothing() -> None:
    """A page about fastText would teach labels of its own, and end at its first '</s>'."""
    texts = pa.array(["a\nb\r\nc __label__9 x</s> d", "no label", "two"], pa.large_string())
    holds = np.array([[True, False], [False, False], [True, True]])
    assert sorted(fasttext_lines(texts, holds).split("\n")) == [
        "",
        "__label__0 __label__1 two",
        "__label__0 a b  c _label_9 x</ s> d",
    ]


def test_lines_are_mixed_and_their_order_is_the_texts_own() -> None:
    """fastText reads a file from its beginning at every epoch and learns the last label best."""
    texts = pa.array([f"text {n}" for n in range(200)], pa.large_string())
    holds = np.eye(2, dtype=bool)[np.arange(200) // 100]
    lines = fasttext_lines(texts, holds).split()
    assert 30 < lines[: len(lines) // 2].count("__label__0") < 70
    shuffled = np.random.default_rng(0).permutation(200)
    again = fasttext_lines(texts.take(pa.array(shuffled)), holds[shuffled])
    assert again == fasttext_lines(texts, holds)
    assert again != fasttext_lines(texts, holds, 1)


def answered(*codes: int, model: bytes = b"model") -> Any:
    """Return what stands in for the trainer: its exit status at each call, and the rates it met."""
    waiting, rates = list(codes), []

    def run(order: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        rates.append(order["options"]["lr"])
        Path(order["output"]).write_bytes(model)
        return subprocess.CompletedProcess([], waiting.pop(0), "", "first\nEncountered NaN.\n")

    return run, rates


def test_a_training_that_diverges_is_tried_at_a_lower_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole run would end for a number that can be halved."""
    run, rates = answered(DIVERGED, DIVERGED, 0)
    monkeypatch.setattr(fasttext_training, "_run", run)
    with pytest.warns(UserWarning, match=r"diverges at rate 0\.4"):
        assert train_fasttext("x", {"lr": 0.4}, quantized=False) == b"model"
    assert rates == [0.4, 0.2, 0.1]


@pytest.mark.filterwarnings("ignore:fastText's training diverges")
@pytest.mark.parametrize(("codes", "tries"), [((DIVERGED,) * 4, 4), ((1, 0), 1)])
def test_a_training_that_fails_says_so(
    codes: tuple[int, ...], tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was never written would be looked for."""
    run, rates = answered(*codes)
    monkeypatch.setattr(fasttext_training, "_run", run)
    with pytest.raises(TrainingError, match="training fails") as told:
        train_fasttext("x", {"lr": 0.4}, quantized=False)
    assert told.value.facts["found"] == "Encountered NaN."
    assert len(rates) == tries


def test_the_trainer_tells_divergence_from_other_failures(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file that is not there would be tried at four rates."""
    import fasttext

    order = {"input": str(tmp_path / "none"), "output": "", "quantized": False, "options": {}}
    done = subprocess.run(
        [sys.executable, "-P", fasttext_trainer.__file__, "{}"], capture_output=True, check=False
    )
    assert done.returncode == 1

    def failing(*_: Any, **__: Any) -> None:
        raise RuntimeError("Encountered NaN.")

    monkeypatch.setattr(fasttext, "train_supervised", failing)
    assert fasttext_trainer.main(order) == DIVERGED
