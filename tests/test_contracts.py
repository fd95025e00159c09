"""Every stage of the package keeps its contract, those included that nobody has written yet."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curation
from curation.annotate.hashed import HashedEmbedding
from curation.annotate.size import TextSize
from curation.rewrite.chunk import Chunk
from curation.stage import Annotator, FunctionAnnotator, Reducer, Rewriter, Source, Stage
from curation.testing import check_stage
from tests.conftest import ROOT

#: Two texts that are always there, as examples for stages that look for a target.
README, FIGURES = str(ROOT / "README.md"), str(ROOT / "benchmarks" / "README.md")

#: Settings small enough to make a stage work hard on the examples, or without which it has none.
SETTINGS: dict[str, dict[str, Any]] = {
    "BesideDialogues": {"rewriter": Chunk(max_chars=40)},
    "BlockedWords": {"words": ("fox jumps", "the", "a")},
    "Chunk": {"max_chars": 40},
    "ClusterBandit": {"scorer": TextSize(), "scorer_column": "text_bytes", "budget": 9},
    "TargetSimilarity": {"target": README, "embed": HashedEmbedding(dims=16)},
    "TransportGain": {"base": README, "target": FIGURES, "embed": HashedEmbedding(dims=16)},
    "DomainKeywords": {"general": README, "min_documents": 1, "ratio": 0.1},
    "SubstringDuplicates": {"min_words": 5, "memory_bytes": 1 << 20},
}


def modules() -> Iterator[str]:
    for found in pkgutil.walk_packages(curation.__path__, "curation."):
        if not found.name.endswith("__main__"):
            yield found.name


def stages() -> dict[str, type[Stage]]:
    """Return every concrete stage class of the package by its name."""
    found = {}
    for name in modules():
        for kind in vars(importlib.import_module(name)).values():
            if inspect.isclass(kind) and kind.__module__ == name and is_concrete(kind):
                found[kind.__name__] = kind
    return found


def is_concrete(kind: type) -> bool:
    """A kind of stage is concrete where it does the work of its kind."""
    if not issubclass(kind, Stage) or kind is FunctionAnnotator:
        return False
    work = {Annotator: "annotate", Reducer: "reduce", Rewriter: "rewrite", Source: "plan"}
    return any(
        issubclass(kind, base) and getattr(kind, name) is not getattr(base, name)
        for base, name in work.items()
    )


def needs(kind: type[Stage]) -> set[str]:
    """Return the settings without a default."""
    missing = dataclasses.MISSING
    fields = [f for f in dataclasses.fields(kind) if f.default is missing]
    return {f.name for f in fields if f.default_factory is missing}


STAGES = stages()
ROW_STAGES = sorted(name for name, kind in STAGES.items() if not issubclass(kind, Source))


@pytest.mark.parametrize("name", ROW_STAGES)
def test_the_stage_keeps_its_contract(name: str) -> None:
    """A stage that breaks it writes a corpus that nobody can make a second time."""
    missing = needs(STAGES[name]) - SETTINGS.get(name, {}).keys()
    if missing:
        pytest.skip(f"{name} needs {', '.join(sorted(missing))}: give it settings above")
    check_stage(STAGES[name](**SETTINGS.get(name, {})))


def test_the_stages_are_found() -> None:
    """A walk that finds nothing would pass every time."""
    assert {"TextSize", "TextHash", "ExactDuplicates", "Chunk"} <= STAGES.keys()


# ---------------------------------------------------------------- sources


def jsonl(folder: Path) -> dict[str, Any]:
    rows = [json.dumps({"text": f"row {n}"}) for n in range(5)]
    (folder / "a.jsonl").write_text("\n".join([*rows, "not json", ""]))
    (folder / "b.jsonl").write_text("")
    return {"paths": str(folder / "*.jsonl")}


def parquet(folder: Path) -> dict[str, Any]:
    rows = pa.table({"text": [f"row {n}" for n in range(5)] + [None], "url": ["u"] * 6})
    pq.write_table(rows, folder / "a.parquet", row_group_size=2)
    return {"paths": str(folder / "*.parquet")}


def text_files(folder: Path) -> dict[str, Any]:
    (folder / "a.txt").write_text("one\n\ntwo")
    (folder / "b.md").write_text("# Title\n\ncaf\xe9")
    (folder / "c.html").write_text("<p>three</p>")
    return {"paths": str(folder / "*.*")}


#: Source → what writes tiny files to a folder and returns the settings that read them.
FILES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "Jsonl": jsonl,
    "Parquet": parquet,
    "TextFiles": text_files,
}


@pytest.mark.parametrize("name", sorted(FILES))
def test_the_source_keeps_its_contract(name: str, tmp_path: Path) -> None:
    """Ids are the thread by which every later value finds its document."""
    if name not in STAGES:
        pytest.skip(f"there is no source {name}")
    check_stage(STAGES[name](**FILES[name](tmp_path)))
