"""A small corpus of scientific-computing documentation, from text that every Python brings.

The documents are the docstrings of the standard library and of the installed packages, and the
descriptions in the packages' metadata. Nothing is imported and nothing is downloaded. It shows the
two ways to bring one's own code: a source (a class) and a filter (a decorated function).
"""

from __future__ import annotations

import ast
import email.parser
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from curation import ExactDuplicates, Normalize, Recipe, TextHash, TextSize, annotator, col, keep
from curation.columns import columns
from curation.sources.batch import batches
from curation.stage import Shard, Source, Span, guarded

#: Files that one task reads.
SHARD_FILES = 400

#: Words that a text on scientific computing uses and other documentation seldom does.
SCIENCE = (
    r"\b(array|arrays|ndarray|matrix|matrices|vector|tensor|dtype|axis|axes|float32|float64|"
    r"numpy|scipy|linear algebra|eigenvalues?|polynomials?|fourier|fft|gradient|integral|"
    r"probability|distribution|variance|covariance|correlation|mean|median|quantiles?|"
    r"random|sampling|histogram|interpolation|regression|numerical|floating.point|"
    r"dataframe|aggregation|broadcast|broadcasting|kernel|statistics)\b"
)


@dataclass(frozen=True, kw_only=True)
class PackageTexts(Source):
    """Read the docstrings of Python files and the descriptions of installed packages.

    writes   title  large_string  dotted name of the module, class or function, or of the package
    payload  text   large_string  the docstring or description
    """

    writes: ClassVar[pa.Schema] = columns("title")
    payload: ClassVar[pa.Schema] = columns("text")

    def plan(self) -> list[Shard]:
        roots = dict.fromkeys(Path(sysconfig.get_paths()[k]) for k in ("stdlib", "purelib"))
        spans = [span for root in roots for span in _spans(root)]
        groups = [spans[i : i + SHARD_FILES] for i in range(0, len(spans), SHARD_FILES)]
        return [Shard(tuple(group), sum(span.size for span in group)) for group in groups]

    def read(self, shard: Shard) -> Iterator[pa.RecordBatch]:
        return batches((row for span in shard.spans for row in _rows(span)), self.schema)


def _spans(root: Path) -> Iterator[Span]:
    for path in sorted([*root.rglob("*.py"), *root.rglob("*.dist-info/METADATA")]):
        name = path.relative_to(root).as_posix()
        if root.name != "site-packages" and name.startswith(("site-packages/", "test/")):
            continue
        facts = path.stat()
        yield Span(str(path), name, facts.st_size, facts.st_mtime_ns)


def _rows(span: Span) -> Iterator[dict[str, Any]]:
    """Yield a row for each text of a file; one error row for a file that does not parse."""
    parse = _package if span.name.endswith("METADATA") else _module
    texts, error = guarded(parse, Path(span.path))
    package = span.name.partition("/")[0].removesuffix(".py")
    place = {"file": span.name, "source": package}
    if error is not None:
        yield place | {"id": f"{span.name}#0", "error": error}
        return
    for line, text in texts.items():
        yield place | {"id": f"{span.name}#{line}", "offset": line, "length": None} | text


def _module(path: Path) -> dict[int, dict[str, Any]]:
    """Return line → title and text of each docstring."""
    found = {}
    waiting: list[tuple[str, ast.AST]] = [(path.stem, ast.parse(path.read_bytes()))]
    while waiting:
        name, node = waiting.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                found[getattr(node, "lineno", 0)] = {"title": name, "text": text}
        for child in ast.iter_child_nodes(node):
            waiting.append((f"{name}.{getattr(child, 'name', '')}".rstrip("."), child))
    return dict(sorted(found.items()))


def _package(path: Path) -> dict[int, dict[str, Any]]:
    """Return the package's description, with its licence and home page."""
    facts = email.parser.Parser().parsestr(path.read_text(encoding="utf-8", errors="replace"))
    row = {
        "title": facts["Name"],
        "text": facts.get_payload(),
        "license": facts["License-Expression"] or facts["License"],
        "url": facts["Home-page"],
    }
    return {1: row} if row["text"] else {}


@annotator(writes={"science_term_frac": pa.float32()})
def science_term_frac(text: pa.LargeStringArray, word_count: pa.UInt32Array) -> pa.Array:
    """Return the share of words that are terms of scientific computing."""
    terms = pc.count_substring_regex(text, SCIENCE, ignore_case=True)
    share = pc.divide(pc.cast(terms, pa.float64()), pc.cast(word_count, pa.float64(), safe=False))
    return pc.cast(share, pa.float32())


def quickstart(*, min_words: int = 40, min_science_frac: float = 0.03) -> Recipe:
    """Scientific-computing documentation out of everything that is installed."""
    return Recipe(
        source=PackageTexts(),
        steps=[
            Normalize(),
            TextSize(),
            keep(col("word_count") >= min_words, because="too short"),
            science_term_frac,
            keep(col("science_term_frac") >= min_science_frac, because="not scientific computing"),
            TextHash(),
            ExactDuplicates(),
            keep(col("duplicate_of").is_null(), because="exact duplicate"),
        ],
    )
