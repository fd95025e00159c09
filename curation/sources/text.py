"""Text, Markdown and HTML files: one row a file."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
from resiliparse.parse.encoding import detect_encoding

from curation.columns import columns
from curation.errors import IntegrityError
from curation.sources.batch import Record, batches
from curation.sources.compressed import Inflated, file_codec
from curation.sources.files import FileSource, open_file
from curation.stage import ERROR, Shard, Span

_HTML = (".html", ".htm", ".xhtml")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: Control characters that text does not hold; a file with more than this share is binary.
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f\ufffd]")
_CONTROL_FRAC = 0.01


def decode_text(data: bytes, charset: str | None = None) -> tuple[str | None, str | None]:
    """Decode by byte-order mark, UTF-8, the named character set, then sniffing.

    returns  (text, encoding), or (None, None) where the bytes are no text
    """
    mark = next((name for bom, name in _BOMS if data.startswith(bom)), None)
    wide = _wide(data)
    names = [mark] if mark else [wide] if wide else ["utf-8", charset, detect_encoding(data)]
    for name in names:
        text = _decoded(data, name) if name else None
        if text is not None:
            return text, codecs.lookup(str(name)).name.removesuffix("-sig")
    return None, None


def _wide(data: bytes) -> str | None:
    """Name UTF-16 without a byte-order mark: of ASCII characters, every other byte is zero."""
    head = data[:4096]
    half = len(head) // 2
    if half < 4 or head.count(0) < half * 0.4:
        return None
    return "utf-16-le" if head[1::2].count(0) > head[0::2].count(0) else "utf-16-be"


def _decoded(data: bytes, name: str) -> str | None:
    try:
        text = data.decode(name)
    except (UnicodeError, LookupError):
        return None
    if len(_CONTROL.findall(text)) > len(text) * _CONTROL_FRAC:
        return None
    return text


def read_whole(span: Span) -> tuple[bytes, str]:
    """Return (bytes of a file, decompressed; what is wrong with them or "")."""
    with open_file(span.path) as file:
        codec = file_codec(file)
        if not codec:
            return file.read(), ""
        stream = Inflated(file, codec)
        pieces: list[bytes] = []
        while True:
            piece, begins = stream.read()
            if not piece and not begins:
                break
            pieces.append(piece)
        problem = f"the {stream.problem}" if stream.problem else ""
        return b"".join(pieces), problem


@dataclass(frozen=True, kw_only=True)
class WholeFiles(FileSource):
    """A source whose files are documents, one row each: TextFiles and Pdf.

    ``id`` is FILE#0.
    """

    def row(self, span: Span, data: bytes) -> Record:
        """Return the facts and the payload of one file, or its ``error``."""
        raise NotImplementedError

    def read(self, shard: Shard) -> Iterator[pa.RecordBatch]:
        return batches((self._record(span) for span in shard.spans), self.schema)

    def reread(self, shard: Shard, wanted: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        files = {f"{span.name}#0": span for span in shard.spans}
        for want in wanted:
            rows = [
                self._again(files.get(id_), size)
                for id_, size in zip(
                    want["id"].to_pylist(), want["length"].to_pylist(), strict=True
                )
            ]
            arrays = [pa.array([r.get(f.name) for r in rows], type=f.type) for f in self.payload]
            yield pa.RecordBatch.from_arrays(arrays, schema=self.payload)

    def _record(self, span: Span) -> Record:
        place = {
            "id": f"{span.name}#0",
            "source": self.source_of(span),
            "file": span.name,
            "offset": 0,
        }
        data, problem = read_whole(span)
        row = {ERROR: problem} if problem else self._checked(span, data)
        if row.get(ERROR):
            return {**place, ERROR: f"{row[ERROR]} ({span.name})"}
        return {**place, "license": self.license, "length": len(data), **row}

    def _checked(self, span: Span, data: bytes) -> Record:
        return self.row(span, data) if data else {ERROR: "the file is empty"}

    def _again(self, span: Span | None, size: int | None) -> Record:
        data, problem = read_whole(span) if span else (b"", "gone")
        row: Record = {ERROR: problem or "changed"}
        if span and not problem and len(data) == size:
            row = self._checked(span, data)
        if row.get(ERROR):
            raise IntegrityError(
                "an input file no longer holds what it held when it was first read.",
                file=span.path if span else "",
                remedy="run the recipe again: changed files are read anew",
            )
        return row


@dataclass(frozen=True, kw_only=True)
class TextFiles(WholeFiles):
    """Read text, Markdown, reStructuredText and HTML files, a file a row.

    writes   encoding  large_string  encoding of a text file; null for HTML, which states its own
    payload  html      large_binary  files that end in .html, .htm or .xhtml
             text      large_string  all others, decoded
    source   WHATWG Encoding Standard (sniffing by resiliparse)

    Any of them may be compressed. Bytes that are no text are an error row.
    """

    version: ClassVar[int] = 1
    writes: ClassVar[pa.Schema] = columns("encoding")
    payload: ClassVar[pa.Schema] = columns("html", "text")
    endings: ClassVar[tuple[str, ...]] = (".txt", ".md", ".markdown", ".rst", *_HTML)

    def row(self, span: Span, data: bytes) -> dict[str, Any]:
        name = re.sub(r"\.(gz|zst|bz2|lz4)$", "", span.name.lower())
        if name.endswith(_HTML):
            return {"html": data}
        text, encoding = decode_text(data)
        if text is None:
            return {ERROR: "the bytes are no text in any known encoding"}
        return {"text": text, "encoding": encoding}
