"""curation: raw pages to a domain corpus, with a reason for every document that is dropped.

    from curation import Jsonl, Recipe, col, keep

Names are loaded when they are first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curation.annotate.size import TextSize as TextSize
    from curation.build import Build as Build
    from curation.dedup.exact import ExactDuplicates as ExactDuplicates
    from curation.dedup.exact import TextHash as TextHash
    from curation.extract.html import ExtractHtml as ExtractHtml
    from curation.extract.normalize import Normalize as Normalize
    from curation.extract.pdf import ExtractPdf as ExtractPdf
    from curation.recipe import Recipe as Recipe
    from curation.recipe import col as col
    from curation.recipe import keep as keep
    from curation.recipe import keep_best as keep_best
    from curation.recipe import sample as sample
    from curation.rewrite.chunk import Chunk as Chunk
    from curation.sources.pdf import Pdf as Pdf
    from curation.sources.tables import Jsonl as Jsonl
    from curation.sources.tables import Parquet as Parquet
    from curation.sources.text import TextFiles as TextFiles
    from curation.sources.union import Union as Union
    from curation.sources.warc import Warc as Warc
    from curation.stage import Annotator as Annotator
    from curation.stage import Reducer as Reducer
    from curation.stage import Rewriter as Rewriter
    from curation.stage import Source as Source
    from curation.stage import annotator as annotator
    from curation.stage import row_annotator as row_annotator
    from curation.writers import JsonlFiles as JsonlFiles
    from curation.writers import ParquetFiles as ParquetFiles

_HOME = {
    "Build": "build",
    **dict.fromkeys(("Recipe", "col", "keep", "keep_best", "sample"), "recipe"),
    **dict.fromkeys(("Source", "Annotator", "Reducer", "Rewriter"), "stage"),
    **dict.fromkeys(("annotator", "row_annotator"), "stage"),
    **dict.fromkeys(("JsonlFiles", "ParquetFiles"), "writers"),
    "Jsonl": "sources.tables",
    "Parquet": "sources.tables",
    "Pdf": "sources.pdf",
    "TextFiles": "sources.text",
    "Union": "sources.union",
    "Warc": "sources.warc",
    "ExtractHtml": "extract.html",
    "ExtractPdf": "extract.pdf",
    "Normalize": "extract.normalize",
    "TextSize": "annotate.size",
    "TextHash": "dedup.exact",
    "ExactDuplicates": "dedup.exact",
    "Chunk": "rewrite.chunk",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'curation' has no attribute '{name}'")
    return getattr(importlib.import_module(f"curation.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
