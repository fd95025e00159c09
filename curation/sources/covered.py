"""How much of a shard's input the first rows of it took, from the places of these rows.

What a place means is each source's own: a byte of the file as it is stored (Warc), of the file
decompressed (Jsonl), a row (Parquet). A file of another source counts whole once a row of it is
read.
"""

from __future__ import annotations

import polars as pl

from curation.sources.compressed import Inflated, file_codec
from curation.sources.files import open_file
from curation.sources.rowgroups import open_parquet
from curation.sources.tables import Jsonl, Parquet
from curation.sources.union import Union
from curation.sources.warc import Warc
from curation.stage import Shard, Source, Span

#: Of a compressed file so much is inflated to see how well it is packed.
_PACKED_BYTES = 8 << 20


def covered_bytes(source: Source, shard: Shard, place: pl.DataFrame) -> float:
    """Return the bytes of a shard's input, as ``Shard.bytes`` counts them, that its rows took.

    shard  as it was read, with its limit
    place  file, offset and length of each row read, in order
    """
    if shard.limit < 0 or len(place) < shard.limit:
        return float(shard.bytes)
    kind = source.sources[shard.part] if isinstance(source, Union) else source
    if isinstance(kind, Parquet):
        return shard.bytes * min(1.0, len(place) / max(_rows(shard), len(place)))
    spans = {span.name: span for span in shard.spans}
    seen = [spans[name] for name in place["file"].unique(maintain_order=True) if name in spans]
    if not seen:
        return float(shard.bytes)
    whole = [_size(span) for span in shard.spans[: shard.spans.index(seen[-1])]]
    read = sum(whole) + _of_last(kind, seen[-1], place)
    # a source may count a compressed file as larger than it is
    return shard.bytes * read / max(sum(map(_size, shard.spans)), 1)


def _size(span: Span) -> int:
    return (span.size if span.stop < 0 else span.stop) - span.start


def _of_last(kind: Source, span: Span, place: pl.DataFrame) -> float:
    """Return how far into its last file the rows went."""
    offset, length = place.row(-1)[1:]
    if not isinstance(kind, Jsonl | Warc) or offset is None:
        return float(_size(span))
    end = float(offset + (length or 0))
    if isinstance(kind, Jsonl):
        end *= _packed(span, int(end))
    return min(max(end - span.start, 1.0), float(_size(span)))


def _packed(span: Span, least: int) -> float:
    """Return the bytes of a file by the bytes that they inflate to, over its beginning."""
    with open_file(span.path) as file:
        codec = file_codec(file)
        if not codec:
            return 1.0
        stream, inflated = Inflated(file, codec), 0
        while inflated < least or stream.position < _PACKED_BYTES:
            data, _ = stream.read()
            if not data:
                break
            inflated += len(data)
        return stream.position / max(inflated, 1)


def _rows(shard: Shard) -> int:
    """Return the rows of a shard of Parquet files; its spans count row groups."""
    rows = 0
    for span in shard.spans:
        with open_parquet(span.path) as file:
            facts = file.metadata
            stop = facts.num_row_groups if span.stop < 0 else span.stop
            rows += sum(facts.row_group(g).num_rows for g in range(span.start, stop))
    return rows
