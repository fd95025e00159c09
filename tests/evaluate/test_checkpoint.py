"""One checkpoint, measured by named files and told as a table."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from curation.errors import RecipeError, ResourceError
from curation.evaluate.checkpoint import Wanted, describe, measure_checkpoint, repeated
from curation.evaluate.panel import Texts
from curation.mix.tokens import Tokenizer
from curation.train.model import new_model, open_checkpoint, save_checkpoint
from curation.train.settings import Training
from curation.train.timing import step_seconds
from tests.conftest import environment, write_jsonl

TEXT = "The court of appeal found that estoppel bars a claim that was heard before."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of random weights, held-out texts and a quiz."""
    path = tmp_path_factory.mktemp("checkpoint")
    tokenizer = Tokenizer.train([TEXT], vocab_size=300)
    model = new_model("0.5M", vocab_size=tokenizer.vocab_size, context=64, seed=0)
    save_checkpoint(model, tokenizer, path / "model")
    rows = [{"text": f"{TEXT} {n}", "source": "even" if n % 2 == 0 else "odd"} for n in range(6)]
    write_jsonl(path / "law.jsonl", rows)
    quiz = [{"question": "What bars?", "choices": ["estoppel", "rain"], "answer": 0}] * 3
    write_jsonl(path / "quiz.jsonl", [*quiz, "no item"])
    return path


def texts() -> Texts:
    return Texts("law", pa.table({"id": ["a", "b"], "text": [TEXT, "é" * 300]}))


def test_a_checkpoint_is_measured_by_texts_and_tasks(folder: Path) -> None:
    """A person would have to write Python to know what a folder of weights is worth."""
    wanted = Wanted(texts={"law": texts()}, tasks=(str(folder / "quiz.jsonl"),), context=64)
    found = measure_checkpoint(folder / "model", wanted)
    assert {"law/bits_per_byte", "quiz/accuracy", "quiz/answer_bits_per_byte"} <= set(
        found.measures
    )
    assert found.facts["repetition/continuations"] == 2
    shown = describe(found)
    assert "chance 0.500; 3 items" in shown
    assert "bits per byte, lower is better; 2 items" in shown
    assert "repetition/rep_2" in shown
    assert "quiz: 1 items are not measured" in shown


def test_texts_of_many_bytes_a_character_still_leave_room_to_go_on(folder: Path) -> None:
    """One page in another script would end the evaluation of every model."""
    model, tokenizer = open_checkpoint(folder / "model")
    found = repeated(
        model, tokenizer, [Texts("x", pa.table({"id": ["a"], "text": ["語" * 99]}))], 64
    )
    assert found["repetition/too_long"] == 0
    assert repeated(model, tokenizer, [], 64) == {}
    assert repeated(model, tokenizer, [texts()], 3) == {}


def test_nothing_to_measure_and_no_checkpoint_are_told(folder: Path) -> None:
    """An empty table would pass for a result."""
    with pytest.raises(RecipeError, match="nothing to measure"):
        Wanted(texts={})
    with pytest.raises(ResourceError):
        measure_checkpoint(folder / "nowhere", Wanted(texts={"law": texts()}))


def test_the_command_measures_by_source(folder: Path) -> None:
    """A loss on one kind of text would hide in the mean of all."""
    words = ["evaluate", "model", "--texts", "law.jsonl", "--context", "64", "--by-source"]
    done = subprocess.run(
        [sys.executable, "-m", "curation.cli", *words],
        cwd=folder,
        env=environment() | {"PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("law/bits_per_byte")]
    assert [line.split()[1] for line in lines] == ["even", "odd"]


def test_a_step_takes_some_time(folder: Path) -> None:
    """The expected time would be nothing, whatever is asked for."""
    training = Training(tokens=64, sequence_length=32, batch_sequences=2)
    assert step_seconds(folder / "model", folder / "model", training) > 0
