"""What a stage lacks is told at a glance, before a run reads anything."""

from __future__ import annotations

import json
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from curation import ClusterBandit, Jsonl, Recipe, col, keep
from curation.annotate.judge import Judge
from curation.errors import ResourceError
from curation.rewrite.client import ModelServer
from curation.rewrite.local import TransformersModel, VllmModel
from tests.rewrite.backend import FakeModel


def judge_of(folder: Path, **settings: Any) -> Judge:
    return Judge(model=FakeModel(model=str(folder), **settings), retries=0)


def test_without_a_gpu_a_build_for_cuda_is_refused_at_a_glance(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day of reading and deduplicating would end in a message about a device type."""
    model, build = VllmModel(model=str(folder)), {"": "0.11.0"}
    monkeypatch.setitem(sys.modules, "vllm", types.ModuleType("vllm"))
    monkeypatch.setattr("importlib.metadata.version", lambda _: build[""])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(ResourceError, match="vLLM finds no GPU here") as caught:
        model.ready()
    assert "ModelServer(...) and TransformersModel(...)" in caught.value.facts["remedy"]
    build[""] = "0.11.0+cpu"
    model.ready()
    build[""] = "0.11.0+cu129"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    model.ready()
    with pytest.raises(ResourceError, match="tensor_parallel=2"):
        replace(model, tensor_parallel=2).ready()


@pytest.mark.parametrize("package", ["torch", "transformers"])
def test_a_missing_package_is_told_before_a_model_is_loaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    """It would be told when the first batch has reached the stage."""
    TransformersModel(model=str(folder)).ready()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ResourceError, match=f"{package} is not installed") as caught:
        TransformersModel(model=str(folder)).ready()
    assert "ModelServer" in caught.value.facts["remedy"]


def test_what_a_model_lacks_is_told_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day of reading and deduplicating would come before the message."""
    (tmp_path / "rows.jsonl").write_text(json.dumps({"id": "0", "text": "GRADED"}) + "\n")
    source = Jsonl(str(tmp_path / "rows.jsonl"))
    judge = Judge(model=ModelServer(model="m"))
    bandit = ClusterBandit(scorer=judge, scorer_column="judge_grade", budget=1, by="source")
    monkeypatch.setitem(sys.modules, "openai", None)
    for step in (judge, bandit):
        with pytest.raises(ResourceError, match="openai is not installed") as caught:
            Recipe(source=source, steps=[step]).run(store=tmp_path / "none", workers=0)
        assert "curation[llm]" in caught.value.facts["remedy"]
        assert not [*(tmp_path / "none").rglob("*.parquet")]


def test_a_stage_that_has_no_work_left_needs_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Grades made on a machine with GPUs could not be selected from on one without."""
    (tmp_path / "rows.jsonl").write_text(json.dumps({"id": "0", "text": "GRADED"}) + "\n")
    source, store = Jsonl(str(tmp_path / "rows.jsonl")), tmp_path / "store"
    judge = judge_of(folder)
    Recipe(source=source, steps=[judge]).run(store=store, workers=0)

    def ready(model: FakeModel) -> None:
        raise ResourceError("nothing is here.")

    monkeypatch.setattr(FakeModel, "ready", ready)
    kept = keep(col("judge_grade") > 1, because="poor")
    assert Recipe(source=source, steps=[judge]).run(store=store, workers=0) is not None
    build = Recipe(source=source, steps=[judge, kept]).run(store=store, workers=0)
    assert len(build.documents().collect()) == 1
    other = judge_of(folder, seed=1)
    with pytest.raises(ResourceError, match="nothing is here"):
        Recipe(source=source, steps=[other]).run(store=store, workers=0)
