"""The columns that the package's own stages write: one name, one type, one meaning.

A user's stage may add columns of its own; a column that stands here keeps its type everywhere,
which is what lets a recipe be checked before a byte is read.
"""

from __future__ import annotations

import pyarrow as pa

_TEXT = pa.large_string()
_BYTES = pa.large_binary()

COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    # where a row comes from (every source)
    "id": (_TEXT, "name of the row, made from its place: FILE#PLACE"),
    "source": (_TEXT, "data set or folder that the row belongs to"),
    "url": (_TEXT, "address of the page, where known"),
    "license": (_TEXT, "licence of the row, where known"),
    "date": (_TEXT, "date of the row as its source states it, where known"),
    "file": (_TEXT, "input file, relative to the fixed part of its pattern"),
    "offset": (pa.int64(), "place in the file: byte, row or record, as the source says"),
    "length": (pa.int64(), "bytes of the record at that place; null where it has no such size"),
    # payloads: handed on within a pass and read again by place, never stored by a source
    "html": (_BYTES, "page as it was served, content encodings undone"),
    "pdf": (_BYTES, "PDF file"),
    "text": (_TEXT, "text of the document"),
    # facts that sources find beside the payload
    "http_status": (pa.uint16(), "status code of the HTTP response"),
    "http_charset": (_TEXT, "character set that the server named"),
    "http_content_type": (_TEXT, "media type that the server named"),
    # extraction
    "title": (_TEXT, "title of the document, where it states one"),
    "encoding": (_TEXT, "character encoding that the bytes were read with"),
    "page_count": (pa.uint32(), "pages of the PDF"),
    "unread_page_count": (pa.uint32(), "pages of the PDF that could not be read"),
    # statistics and identity
    "text_bytes": (pa.uint64(), "UTF-8 bytes of the text"),
    "text_chars": (pa.uint64(), "code points of the text"),
    "word_count": (pa.uint32(), "runs of characters between Unicode white space"),
    "text_hash": (pa.binary(16), "128-bit hash of the text, case and white space folded"),
    # deduplication
    "duplicate_of": (_TEXT, "id of the row that this one repeats; null for the one that stays"),
    "group_size": (pa.uint64(), "rows of the group, the one that stays included"),
    # lineage
    "parent_id": (_TEXT, "id of the row that this one was made from"),
}

#: Columns that every source writes, in this order.
PLACE: tuple[str, ...] = ("id", "source", "url", "license", "date", "file", "offset", "length")
#: Columns that a rewritten row inherits from its parent.
CARRIED: tuple[str, ...] = ("source", "url", "license", "date")


def columns(*names: str) -> pa.Schema:
    """Return the Arrow schema of registered columns, in the order given; KeyError if unknown."""
    return pa.schema([pa.field(name, COLUMNS[name][0]) for name in names])
