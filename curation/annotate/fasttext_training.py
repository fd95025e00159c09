"""Training of fastText models by the published package, so that the same texts give the same file.

Two facts of its code (DenseMatrix::uniform of github.com/facebookresearch/fastText, MIT) make that
hard. With several threads the result depends on their race. With one thread, only the first tenth
of the input matrix is drawn, and the rest is whatever the memory held: noughts in a large block
fresh from the system, and in a small or used one anything at all, which ends in "Encountered NaN"
or in another model each time. So training has a process of its own, whose memory the C library
fills with noughts.

And it reads its texts in the order of the file, again at each epoch: texts sorted by their labels
teach the last label. So lines stand in an order drawn by their hashes, the same for the same texts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.annotate import fasttext_trainer
from curation.annotate.fasttext_trainer import DIVERGED
from curation.errors import TrainingError, needed

#: glibc fills what it hands out with this number's complement in eight bits: with noughts.
_CLEARED = {"MALLOC_PERTURB_": "255"}
#: A rate that makes the loss no number is halved so often.
_ATTEMPTS = 4


def fasttext_lines(text: pa.Array, holds_NL: npt.NDArray[np.bool_], seed: int = 0) -> str:
    """Return texts and labels as fastText reads them: a line each, line breaks made spaces.

    Labels are written by their numbers. What means something to fastText inside a text, the prefix
    of a label and the end of a line, is written so that it does not. Texts without a label are left
    out: fastText would pass them over.
    """
    text = pc.replace_substring_regex(text, "[\\n\\v\\f\\r\\x00]", " ")
    text = pc.replace_substring(text, "__label__", "_label_")
    text = pc.replace_substring(text, "</s>", "</ s>")
    lines = [
        " ".join([*(f"__label__{label}" for label in np.flatnonzero(holds_L)), words])
        for holds_L, words in zip(holds_NL, text.to_pylist(), strict=True)
        if holds_L.any()
    ]
    return "\n".join(_drawn_order(lines, seed)) + "\n"


def _drawn_order(lines: list[str], seed: int) -> list[str]:
    """Return lines in an order that depends on them and the seed alone."""
    from curation.engine.best import id_hash

    column = pa.array(lines, pa.large_string())
    text_order = pc.sort_indices(column).to_numpy(zero_copy_only=False)
    hash_N = id_hash(column, seed)[text_order]
    return [lines[at] for at in text_order[np.argsort(hash_N, kind="stable")]]


def train_fasttext(lines: str, options: dict[str, Any], *, quantized: bool) -> bytes:
    """Return the file of a supervised model.

    lines    as ``fasttext_lines`` gives them
    options  of ``fasttext.train_supervised``, ``lr`` among them

    Raises TrainingError where the training fails, at lower rates as well.
    """
    needed("fasttext", "classify")
    with tempfile.TemporaryDirectory() as folder:
        texts, model = Path(folder) / "texts.txt", Path(folder) / "model.bin"
        texts.write_text(lines, encoding="utf-8")
        order = {"input": str(texts), "output": str(model), "quantized": quantized}
        for _ in range(_ATTEMPTS):
            done = _run({**order, "options": {**options, "thread": 1, "verbose": 0}})
            if done.returncode == 0:
                return model.read_bytes()
            if done.returncode != DIVERGED:
                break
            rate, options = options["lr"], {**options, "lr": options["lr"] / 2}
            warnings.warn(
                f"fastText's training diverges at rate {rate}: tried again at {options['lr']}",
                stacklevel=2,
            )
    raise TrainingError(
        "fastText's training fails.",
        found=done.stderr.strip().rpartition("\n")[2] or f"exit status {done.returncode}",
        remedy="a lower rate, fewer epochs, or kind='linear' (--model linear)",
    )


def _run(order: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Run the trainer; ``-P`` keeps this folder's modules from standing in for others."""
    return subprocess.run(
        [sys.executable, "-P", fasttext_trainer.__file__, json.dumps(order)],
        env={**os.environ, **_CLEARED},
        capture_output=True,
        text=True,
        check=False,
    )
