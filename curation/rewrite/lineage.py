"""The columns by which a rewritten row says how it was made, beside ``parent_id``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from curation.annotate.model import Model
from curation.arrow import to_column
from curation.stage import Stage

#: What every rewriter of this folder that composes text writes.
LINEAGE: tuple[str, ...] = ("rewriter", "prompt_id", "model_id", "rewrite_seed")


def lineage(
    stage: Stage, prompt_ids: Sequence[str], model: Model | None, seeds: Sequence[int]
) -> Mapping[str, pa.Array]:
    """Return the lineage columns of new rows, by name.

    prompt_ids  for each new row
    model       None where no model was asked
    seeds       for each new row
    """
    rows, kind = len(prompt_ids), pa.large_string()
    rewriter = f"{type(stage).__name__}@{stage.version}"
    asked = None if model is None else model_id(model)
    return {
        "rewriter": pa.array([rewriter] * rows, kind),
        "prompt_id": pa.array(list(prompt_ids), kind),
        "model_id": pa.array([asked] * rows, kind),
        "rewrite_seed": to_column(np.array(seeds, dtype=np.int64)),
    }


def model_seed(model: Model) -> int:
    """Return the seed that a model's draws go by; 0 where it has none."""
    seed = model.facts().get("seed")
    return seed if isinstance(seed, int) else 0


def model_id(model: Model) -> str:
    """Return the name by which a model stands beside what it wrote, and in a journal."""
    facts = model.facts()
    return str(facts.get("name") or facts.get("model") or type(model).__name__)
