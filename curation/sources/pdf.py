"""PDF files: one row a file. What is in them is read by ``extract.pdf``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from curation.columns import columns
from curation.sources.text import WholeFiles
from curation.stage import ERROR, Span

#: Readers look for the header within the first 1,024 bytes (ISO 32000-1, annex H.3).
_HEADER_BYTES = 1024


@dataclass(frozen=True, kw_only=True)
class Pdf(WholeFiles):
    """Read PDF files, a file a row.

    writes   nothing beside the place
    payload  pdf  large_binary  bytes of the file
    source   ISO 32000-1:2008

    Bytes without a PDF header are an error row. An encrypted or damaged PDF is for the
    extractor to tell.
    """

    version: ClassVar[int] = 1
    payload: ClassVar[pa.Schema] = columns("pdf")
    endings: ClassVar[tuple[str, ...]] = (".pdf",)

    def row(self, span: Span, data: bytes) -> dict[str, Any]:
        if b"%PDF" not in data[:_HEADER_BYTES]:
            return {ERROR: "not a PDF: no %PDF header in the first 1,024 bytes"}
        return {"pdf": data}
