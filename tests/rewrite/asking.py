"""A rewriter that asks a model to echo each text, and the recipe over it that tests and drills run.

A row whose request failed makes no new row, and so is missed by whoever counts them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from curation import ModelServer, Recipe, TextSize, col, keep
from curation.annotate.model import Model, Request
from curation.columns import columns
from curation.stage import PARENT, Rewriter
from tests.conftest import Files


@dataclass(frozen=True, kw_only=True)
class Ask(Rewriter):
    """Let a model answer each text.

    reads    text  large_string  not null
    writes   text  large_string  the text and the reply
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("text",)
    writes: ClassVar[pa.Schema] = columns("text")

    model: Model

    def rewrite(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Ask all; replies come beside their texts."""
        texts = batch["text"].to_pylist()
        requests = [Request(messages=(("user", text),), purpose="ask@1") for text in texts]
        replies = self.model.generate(requests)
        told = [
            (n, f"{text}\n{reply.text}")
            for n, (text, reply) in enumerate(zip(texts, replies, strict=True))
            if reply.error is None
        ]
        schema = pa.schema([pa.field(PARENT, pa.int32()), *self.writes])
        rows = [{PARENT: n, "text": text} for n, text in told]
        return pa.RecordBatch.from_pylist(rows, schema=schema)


def asking(
    *, paths: str, url: str, concurrency: int = 4, timeout_s: float = 30.0, patience_s: float = 60.0
) -> Recipe:
    """Return a recipe that asks about each text."""
    model = ModelServer(
        model="m",
        base_url=url,
        concurrency=concurrency,
        timeout_s=timeout_s,
        patience_s=patience_s,
    )
    return Recipe(
        source=Files(paths),
        steps=[Ask(model=model), TextSize(), keep(col("word_count") > 0, because="empty")],
    )


RECIPE = f"{Path(__file__)}:asking"
