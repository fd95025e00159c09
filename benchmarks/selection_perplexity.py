"""Bits per byte of real texts: equal to transformers alone, and faster than one text at a time.

Issue 6: equal to a direct transformers computation to 1e-5 in float32, padded or not, windowed or
not. The direct computation reads one text at a time, or one window of it, with nothing beside it
and nothing padded. The model is a random Llama of 1 M parameters: its values mean nothing, its
arithmetic is any model's. Both sides have the same threads; rates are of one run each, in turn.
"""

from __future__ import annotations

import itertools
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from benchmarks.measure import Report, arguments, texts
from curation import BitsPerByte
from curation.mix.tokenizer import Tokenizer
from curation.train.model import new_model, open_checkpoint, save_checkpoint

THREADS = 2
#: (context, stride): whole where a text fits, half overlapping, not overlapping.
WINDOWS = ((512, 256), (128, 64), (128, 128))


def directly(model: Any, end_id: int, ids: Any, context: int, stride: int) -> float:
    """Return the nats of a text's tokens, each in the first window that has it."""
    text = torch.tensor([[end_id, *ids.tolist()]])
    total, scored, begin = 0.0, 0, 0
    while scored < len(ids):
        window = text[:, begin : begin + context + 1]
        with torch.inference_mode():
            logits = model(input_ids=window[:, :-1]).logits.float()
        nats = -logits.log_softmax(-1).gather(2, window[:, 1:, None])[0, :, 0].double()
        total += float(nats[scored - begin :].sum())
        scored = begin + window.shape[1] - 1
        begin += stride
    return total


def main() -> None:
    options = arguments(__doc__.splitlines()[0])
    count = 24 if options.quick else 200
    torch.set_num_threads(THREADS)
    known = [text[:3000] for text in itertools.islice(texts(), 0, 40 * count, 40)]
    report = Report("Bits per byte against transformers alone", 6)
    with tempfile.TemporaryDirectory() as folder:
        words = Tokenizer.train(known, vocab_size=1024)
        path = Path(folder) / "model"
        made = new_model("1M", vocab_size=words.vocab_size, context=512, seed=0)
        save_checkpoint(made, words, path)
        model, words = open_checkpoint(path)
        model.eval()
        batch = pa.record_batch({"text": pa.array(known, pa.large_string())})
        encoded = words.encode(known)
        tokens = sum(map(len, encoded))
        for context, stride in WINDOWS:
            stage = BitsPerByte(model=str(path), context=context, stride=stride, device="cpu")
            stage.annotate(batch.slice(0, 4))
            began = time.perf_counter()
            found = stage.annotate(batch)["lm_bits_per_byte"].to_numpy()
            ours = time.perf_counter() - began
            began = time.perf_counter()
            nats = [directly(model, words.end_id, ids, context, stride) for ids in encoded]
            theirs = time.perf_counter() - began
            size = np.array([len(text.encode()) for text in known])
            wanted = np.array(nats) / math.log(2) / size
            gap = float(np.abs(found / wanted - 1).max())
            about = f"context {context}, stride {stride}"
            report.add(f"greatest relative difference, {about}", f"{gap:.1e}", "1e-5", gap <= 1e-5)
            report.add(
                f"speed, {about}",
                f"{len(known) / ours:,.1f} documents/s, {tokens / ours:,.0f} tokens/s; "
                f"{theirs / ours:.2f}x one text at a time",
                "",
                True,
            )
    report.finish(options.check)


if __name__ == "__main__":
    main()
