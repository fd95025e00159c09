"""Which way imports point, and what importing the package costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from curation.errors import ResourceError, needed
from tests.conftest import ROOT, environment

HEAVY = ("torch", "ray", "vllm", "transformers", "pandas")
PACKAGE = ROOT / "curation"
FILES = sorted(PACKAGE.rglob("*.py"))

#: Which modules of the package a module may import at its top level; folders stand for all in them.
#: The contract knows no method: from errors up to the engine, each may import those before it.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "errors": (),
    "columns": (),
    "stage": ("errors", "columns"),
    "recipe": ("errors", "columns", "stage"),
    "store": ("errors",),
    "arrow": (),
    "kernels": ("kernels",),
    "engine": ("errors", "columns", "stage", "recipe", "store", "arrow", "engine"),
}
#: What a stage may know of: the contract, kernels, and its own folder.
STAGES = ("sources", "extract", "annotate", "dedup", "score", "rewrite")
CONTRACT = ("errors", "columns", "stage", "arrow", "kernels", "threads")


def module_of(path: Path) -> str:
    """Return the module's name below the package, such as engine.plan."""
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    return name.removesuffix("__init__").rstrip(".")


def imports(path: Path, *, anywhere: bool) -> Iterator[str]:
    """Yield the modules that a file imports; those for type checkers only are left out."""
    tree = ast.parse(path.read_text())
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by a relative name"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        inner = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if (not inner or anywhere) and not for_types:
            waiting.extend(ast.iter_child_nodes(node))


def own(path: Path, *, anywhere: bool) -> set[str]:
    """Return first name below the package of each module of ours that a file imports."""
    found = {name for name in imports(path, anywhere=anywhere) if name.startswith("curation.")}
    return {name.split(".")[1] for name in found}


@pytest.mark.parametrize("name", ["curation", "curation.recipe", "curation.cli"])
def test_importing_the_package_loads_nothing_heavy(name: str) -> None:
    """Every command and every notebook would wait for seconds before its first line."""
    code = f"import sys, {name}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    loaded = {module.partition(".")[0] for module in done.stdout.split()}
    assert not loaded & set(HEAVY)
    assert "numba" not in loaded
    if name == "curation":
        assert not loaded & {"polars", "pyarrow", "numpy", "typer", "rich"}


def test_every_name_of_the_package_can_be_imported() -> None:
    """``from curation import X`` would fail for a name that dir() shows."""
    code = "import curation\nfor name in curation.__all__: getattr(curation, name)"
    subprocess.run([sys.executable, "-c", code], env=environment(), check=True)
    wrong = subprocess.run(
        [sys.executable, "-c", "from curation import Recipes"],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ImportError" in wrong.stderr


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_point_one_way(path: Path) -> None:
    """The contract would come to know a method, and no part could be read or changed alone."""
    layer = module_of(path).split(".")[0]
    found = own(path, anywhere=False)
    if layer in MAY_IMPORT:
        assert found <= set(MAY_IMPORT[layer])
    elif layer in STAGES:
        # what is known of one row serves those who compare rows and those who make new ones
        assert found <= {*CONTRACT, layer, "annotate"}


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_nothing_imports_the_pipelines(path: Path) -> None:
    """Thresholds would creep from one person's recipe into everybody's package."""
    tops = {name.partition(".")[0] for name in imports(path, anywhere=True)}
    assert not tops & {"pipelines", "tests", "benchmarks"}


@pytest.mark.parametrize("path", sorted((PACKAGE / "kernels").glob("*.py")), ids=module_of)
def test_kernels_import_numpy_and_numba_only(path: Path) -> None:
    """A kernel could not be compiled, tested or timed by itself."""
    tops = {name.partition(".")[0] for name in imports(path, anywhere=True)}
    foreign = tops - {"numpy", "numba", "curation"} - set(sys.stdlib_module_names)
    assert not foreign
    assert own(path, anywhere=True) <= {"kernels"}


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_heavy_libraries_are_imported_inside_functions(path: Path) -> None:
    """One import at the top of one file makes every start slow."""
    tops = {name.partition(".")[0] for name in imports(path, anywhere=False)}
    allowed = module_of(path).startswith(("train", "evaluate"))
    assert allowed or not tops & set(HEAVY)


def test_the_parsing_of_imports_sees_them_all(tmp_path: Path) -> None:
    """Every law above would hold of files that nobody had read."""
    path = tmp_path / "a.py"
    path.write_text(
        "import os.path, numpy as np\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import torch\n"
        "def f():\n    from curation.engine import plan\n"
        "try:\n    import pandas\nexcept ImportError:\n    pass\n"
    )
    top = {"os.path", "numpy", "typing", "typing.TYPE_CHECKING", "pandas"}
    assert set(imports(path, anywhere=False)) == top
    inside = {"curation.engine", "curation.engine.plan"}
    assert set(imports(path, anywhere=True)) == top | inside
    assert len(FILES) > 30


def test_a_package_that_is_not_there_is_named_with_what_installs_it() -> None:
    """Whoever took the small core would see a traceback in the middle of an experiment."""
    with pytest.raises(ResourceError, match="package nothing_here is not installed") as told:
        needed("nothing_here.part", "train")
    assert told.value.facts["remedy"] == 'pip install "curation[train]"'
    assert needed("json", "train").dumps(1) == "1"
