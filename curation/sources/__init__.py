"""Bytes to rows. Names are loaded when they are first used, as in the package itself."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curation.sources.pdf import Pdf as Pdf
    from curation.sources.tables import Jsonl as Jsonl
    from curation.sources.tables import Parquet as Parquet
    from curation.sources.text import TextFiles as TextFiles
    from curation.sources.union import Union as Union
    from curation.sources.warc import Warc as Warc

_HOME = {
    "Jsonl": "tables",
    "Parquet": "tables",
    "Pdf": "pdf",
    "TextFiles": "text",
    "Union": "union",
    "Warc": "warc",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'curation.sources' has no attribute '{name}'")
    return getattr(importlib.import_module(f"curation.sources.{_HOME[name]}"), name)
