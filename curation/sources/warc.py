"""WARC files: the pages of a crawl, and the texts of its WET files."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar

import pyarrow as pa

from curation.columns import columns
from curation.errors import IntegrityError
from curation.sources import http
from curation.sources.batch import batches
from curation.sources.files import FileSource, open_file
from curation.sources.records import Place, Record, Records
from curation.sources.text import decode_text
from curation.stage import ERROR, Shard, Span

#: Record types that hold a document of their own; a revisit only points at one.
DOCUMENTS = frozenset({"response", "resource", "conversion"})
#: Records that are wanted again are fetched together where no more than this lies between them,
#: and no more than this at a time.
_GAP_BYTES = 256 << 10
_FETCH_BYTES = 16 << 20


@dataclass(frozen=True, kw_only=True)
class Warc(FileSource):
    """Read the responses, resources and conversions of WARC files, a record a row.

    writes   http_status        uint16        null where the record is no HTTP response
             http_content_type  large_string  media type, lower case, without parameters
             http_charset       large_string  character set of the Content-Type
    payload  html               large_binary  codings undone; null unless the media type is HTML
             text               large_string  text/plain only, such as WET; null otherwise
    source   ISO 28500:2017 (WARC 1.1)

    ``id`` is FILE#PLACE: the byte of the record in the file; in a file that is compressed as a
    whole, MEMBER+BYTES: where the compressed member starts and how far into it. Every status
    and media type is a row, so that a rule can drop it and say why. Plain, gzip, zstd (with the
    dictionary of .warc.zst) and lz4 are told by their first bytes, not by the name. A broken or
    truncated record is one error row; reading goes on at the next record that can be found.
    """

    version: ClassVar[int] = 1
    writes: ClassVar[pa.Schema] = columns("http_status", "http_content_type", "http_charset")
    payload: ClassVar[pa.Schema] = columns("html", "text")
    endings: ClassVar[tuple[str, ...]] = (".warc", ".wet", ".arc")

    def read(self, shard: Shard) -> Iterator[pa.RecordBatch]:
        return batches(self._rows(shard), self.schema)

    def reread(self, shard: Shard, wanted: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        files = {span.name: span for span in shard.spans}
        again = _Again()
        for want in wanted:
            yield again.payload(want, files, self.payload)

    def _rows(self, shard: Shard) -> Iterator[dict[str, Any]]:
        for span in shard.spans:
            with open_file(span.path) as file:
                yield from self._file_rows(span, file)

    def _file_rows(self, span: Span, file: BinaryIO) -> Iterator[dict[str, Any]]:
        records = Records(file, _is_text)
        head = records.head()
        if head == b"":
            yield self._hole(span, Place(0), "the file is empty")
            return
        if head and head.startswith(b"filedesc://"):
            yield self._hole(span, Place(0), "this is an ARC file, not WARC: convert it first")
            return
        passed: Counter[str] = Counter()
        starts: Counter[int] = Counter()  # what was found at the start of each member
        rows = 0
        for record in records:
            if record.problem:
                # a member may hold sound records and still be damaged: both have its place
                known = starts[record.place.stored] if not record.place.inner else 0
                which = f":hole-{known}" if known else ""
                yield self._hole(span, record.place, record.problem, which)
            elif record.kind in DOCUMENTS:
                yield self._row(span, record)
            else:
                passed[record.kind] += 1
                continue
            rows += 1
            starts[record.place.stored] += not record.place.inner
        if not rows:
            seen = ", ".join(f"{n} {kind}" for kind, n in sorted(passed.items()))
            yield self._hole(span, Place(0), f"no response, resource or conversion among {seen}")

    def _hole(self, span: Span, place: Place, problem: str, which: str = "") -> dict[str, Any]:
        return {
            "id": f"{span.name}#{place}{which}",
            "source": self.source_of(span),
            "file": span.name,
            "offset": place.stored,
            ERROR: f"{problem} ({span.name} at byte {place})",
        }

    def _row(self, span: Span, record: Record) -> dict[str, Any]:
        facts, payload = _document(record)
        if "error" in payload:
            return self._hole(span, record.place, payload["error"])
        return {
            "id": f"{span.name}#{record.place}",
            "source": self.source_of(span),
            "url": (record.headers.get("WARC-Target-URI") or "").strip("<> ") or None,
            "license": self.license,
            "date": record.headers.get("WARC-Date"),
            "file": span.name,
            "offset": record.place.stored,
            "length": record.length,
            **facts,
            **payload,
        }


# ---------------------------------------------------------------- one record


def _response(record: Record) -> http.Response:
    """Return the HTTP header of a record, or what the WARC header says where there is none."""
    if record.kind == "response":
        parsed = http.parse_response(record.body)
        if parsed.status is not None:
            return parsed
    media_type, charset = http.media(record.headers.get("Content-Type") or "")
    return http.Response(None, media_type, charset, (), 0)


def _is_text(record: Record) -> bool:
    """Tell whether a body is worth reading whole."""
    if record.kind not in DOCUMENTS:
        return False
    media_type = _response(record).media_type
    return media_type in http.HTML_TYPES or media_type in ("", "text/plain")


def _document(record: Record) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the HTTP facts of a record and its payload: html, text, ``error`` or nothing."""
    response = _response(record)
    facts = {
        "http_status": response.status,
        "http_content_type": response.media_type or None,
        "http_charset": response.charset,
    }
    if not _is_text(record):
        return facts, {}
    try:
        body = http.decode_body(record.body[response.body_at :], response.codings)
    except http.BodyError as error:
        return facts, {"error": str(error)}
    if response.media_type in http.HTML_TYPES:
        return facts, {"html": body}
    if not response.media_type:
        return facts, {"html": body} if http.looks_like_html(body) else {}
    text, _ = decode_text(body, response.charset)
    return facts, {"error": "text/plain that is not text"} if text is None else {"text": text}


# ---------------------------------------------------------------- reading again


class _Again:
    """Payloads by place: records that are members of their own are fetched by their bytes.

    Records that share a member are found by walking the file, which rows in order do once.
    """

    def __init__(self) -> None:
        self._name = ""
        self._file: BinaryIO | None = None
        self._walk: Iterator[Record] | None = None

    def payload(
        self, want: pa.RecordBatch, files: dict[str, Span], schema: pa.Schema
    ) -> pa.RecordBatch:
        """Return the payload columns of the wanted rows, in their order."""
        places = list(
            zip(*(want[n].to_pylist() for n in ("id", "file", "offset", "length")), strict=True)
        )
        found: list[dict[str, Any]] = []
        for group in _groups(places):
            found.extend(self._fetch(group, files))
        arrays = [pa.array([row.get(f.name) for row in found], type=f.type) for f in schema]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _fetch(
        self, group: list[tuple[str, str, int, int | None]], files: dict[str, Span]
    ) -> list[dict[str, Any]]:
        span = files.get(group[0][1])
        if span is None:
            raise _moved(group[0][0])
        file = self._open(span)
        if group[0][3] is None:
            return [self._walk_to(id_) for id_, *_ in group]
        first = group[0][2]
        last = group[-1][2] + (group[-1][3] or 0)
        file.seek(first)
        block = file.read(last - first)
        self._walk = None  # the file stands elsewhere now
        dictionary = _dictionary_frame(file) if first else b""
        return [
            _one(id_, dictionary, block[at - first : at - first + (size or 0)])
            for id_, _, at, size in group
        ]

    def _open(self, span: Span) -> BinaryIO:
        if self._file is None or span.name != self._name:
            if self._file is not None:
                self._file.close()
            self._file, self._name, self._walk = open_file(span.path), span.name, None
        return self._file

    def _walk_to(self, id_: str) -> dict[str, Any]:
        for fresh in (self._walk is None, True):
            if fresh:
                assert self._file is not None
                self._file.seek(0)
                self._walk = iter(Records(self._file, _is_text))
            assert self._walk is not None
            for record in self._walk:
                if f"{self._name}#{record.place}" == id_:
                    return _payload_of(id_, record)
        raise _moved(id_)


def _groups(
    places: list[tuple[str, str, int, int | None]],
) -> Iterator[list[tuple[str, str, int, int | None]]]:
    """Group neighbours that are fetched in one read: one file, small gaps, bounded size."""
    held: list[tuple[str, str, int, int | None]] = []
    for place in places:
        if held and not _joins(held, place):
            yield held
            held = []
        held.append(place)
    if held:
        yield held


def _joins(
    held: list[tuple[str, str, int, int | None]], place: tuple[str, str, int, int | None]
) -> bool:
    _, name, at, size = held[-1]
    if name != place[1] or (size is None) != (place[3] is None):
        return False
    if size is None:
        return True
    gap = place[2] - (at + size)
    return 0 <= gap <= _GAP_BYTES and place[2] + (place[3] or 0) - held[0][2] <= _FETCH_BYTES


def _dictionary_frame(file: BinaryIO) -> bytes:
    """Return the skippable frame at the head of a .warc.zst, which every member needs."""
    file.seek(0)
    head = file.read(8)
    if head[:4] != b"\x5d\x2a\x4d\x18":
        return b""
    return head + file.read(int.from_bytes(head[4:], "little"))


def _one(id_: str, dictionary: bytes, block: bytes) -> dict[str, Any]:
    record = next(iter(Records(io.BytesIO(dictionary + block), _is_text)), None)
    if record is None:
        raise _moved(id_)
    return _payload_of(id_, record)


def _payload_of(id_: str, record: Record) -> dict[str, Any]:
    payload = {} if record.problem else _document(record)[1]
    if record.problem or "error" in payload or record.kind not in DOCUMENTS:
        raise _moved(id_)
    return payload


def _moved(id_: str) -> IntegrityError:
    return IntegrityError(
        f"the record {id_} is not where it was when it was first read.",
        remedy="run the recipe again: changed files are read anew",
    )
