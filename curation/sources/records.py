"""WARC records in a byte stream: where each begins and ends, and how to go on after a broken one.

fastwarc parses headers and decodes bodies, but its iterator gives every record of a file that is
one gzip member the same position, ends at the first broken record and does not tell a truncated
record from a short one. An id must be unique and a hole must be seen, so the framing is done
here: a version line, headers up to an empty line, Content-Length bytes, empty lines.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from fastwarc.warc import HeaderMap

from curation.sources.compressed import Inflated, file_codec, find_member

#: Longest header block that is believed.
HEAD_BYTES = 1 << 20
#: Of a body that is not handed on, so much is kept: the HTTP header is in it.
PEEK_BYTES = 64 << 10
_VERSION = b"WARC/"
_RESYNC = re.compile(rb"(?:^|\n)(?=WARC/[01]\.\d+\r?\n)")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_KEEP_TAIL = 16


@dataclass(frozen=True)
class Place:
    """Where a record starts: a place in the file, and how far into the member that is there.

    stored  byte of the file; for compressed files the first byte of a member
    inner   bytes into the inflated member; 0 in plain files and where each record is a member
    """

    stored: int
    inner: int = 0

    def __str__(self) -> str:
        return f"{self.stored}+{self.inner}" if self.inner else str(self.stored)


@dataclass
class Record:
    """One record, or a hole: then ``problem`` says what is wrong.

    length  stored bytes from this record to the next; None where another shares the member
    body    the whole body of a record that is wanted, else its first PEEK_BYTES
    """

    place: Place
    headers: HeaderMap = field(default_factory=HeaderMap)
    body: bytes = b""
    length: int | None = None
    problem: str = ""

    @property
    def kind(self) -> str:
        """The WARC-Type, in lower case."""
        return (self.headers.get("WARC-Type") or "").lower()


class Records:
    """The records of one stream, in order.

    wanted  tells, from the headers and the first PEEK_BYTES of the body, whether it is read whole
    """

    def __init__(self, file: BinaryIO, wanted: Callable[[Record], bool], start: int = 0) -> None:
        self._file = file
        self._wanted = wanted
        self._codec = file_codec(file)
        self._stream = Inflated(file, self._codec, start)
        self._data = b""
        self._at = 0  # next byte of _data that belongs to no record yet
        self._base = 0  # position of _data[0] in the inflated stream
        self._starts: list[tuple[int, int]] = []  # (inflated, stored) of the members in reach
        self._plain_start = start
        self._ended = False

    def __iter__(self) -> Iterator[Record]:
        while True:
            told = False
            place = self._next_place()
            while self._ensure(1):
                record = self._next(place)
                place = self._next_place()
                alone = not record.place.inner and not place.inner
                if alone and place.stored > record.place.stored:  # else the member is damaged
                    record.length = place.stored - record.place.stored
                told = bool(record.problem and self._stream.problem)
                if told:  # one hole, one row: the record that it cut short
                    record.problem = f"{record.problem}; the {self._stream.problem}"
                yield record
                del record
            if not self._stream.problem:
                return
            if not told:
                where = Place(self._stream.problem_at)
                yield Record(place=where, problem=f"the {self._stream.problem}")
            if not self._restart():
                return

    def head(self) -> bytes | None:
        """Return the first bytes of the stream, None where a hole comes first."""
        self._ensure(64)
        head = self._data[self._at : self._at + 64]
        return head if head or not self._stream.problem else None

    # ------------------------------------------------------------ one record

    def _next(self, place: Place) -> Record:
        """Read the record that starts here; a broken one moves on to the next that is whole."""
        if not self._ensure(10) or not self._data.startswith(_VERSION, self._at):
            self._resync(self._at)
            return Record(place=place, problem="no WARC record starts here")
        stop = self._head_end()
        if stop < 0:
            self._resync(self._at + 5)
            return Record(place=place, problem="the record's header does not end")
        record = Record(place=place)
        record.headers.parse(io.BytesIO(self._data[self._at : stop]))
        declared = record.headers.get("Content-Length") or ""
        if not declared.strip().isdigit():
            self._resync(stop)
            record.problem = f"the record's Content-Length is '{declared[:40]}'"
            return record
        self._at = stop
        self._body(record, int(declared))
        return record

    def _body(self, record: Record, size: int) -> None:
        peek = min(size, PEEK_BYTES)
        self._ensure(peek)
        record.body = self._data[self._at : self._at + peek]
        if not self._wanted(record):
            missing = self._skip(size)
            if missing:
                record.problem = f"the record is truncated: {size - missing} of {size} bytes"
            return
        whole = self._ensure(size)
        record.body = self._data[self._at : self._at + size]
        if not whole:
            record.problem = f"the record is truncated: {len(record.body)} of {size} bytes"
            self._resync(self._at)
        elif not self._ends_well(size):
            record.problem = f"the record does not end after its {size} bytes"
            self._resync(self._at)
        else:
            self._at += size

    def _ends_well(self, size: int) -> bool:
        """Tell whether empty lines, a record or the end follow a body."""
        self._ensure(size + 10)
        stop = self._at + size
        rest = self._data[stop : stop + 10]
        if rest.startswith((b"\r\n\r\n", b"\n\n")):
            return True
        rest = rest.lstrip(b"\r\n")
        return not rest or rest.startswith(_VERSION[: len(rest)])

    def _head_end(self) -> int:
        """Return the index in _data after the empty line that ends the headers, or -1."""
        size = 4096
        while True:
            whole = self._ensure(size)
            found = _HEAD_END.search(self._data, self._at, self._at + size)
            if found:
                return found.end()
            if not whole or size > HEAD_BYTES:
                return -1
            size *= 4

    def _resync(self, start: int) -> None:
        """Move to the next line that opens a record, or to the end; start is an index of _data."""
        self._at = start
        while True:
            found = _RESYNC.search(self._data, self._at)
            if found:
                self._at = found.end()
                return
            self._at = max(self._at, len(self._data) - _KEEP_TAIL)
            if not self._grow():
                self._at = len(self._data)
                return

    # ------------------------------------------------------------ bytes

    def _grow(self) -> bool:
        """Read on; drop what belongs to records that are done."""
        if self._ended:
            return False
        piece, begins = self._stream.read()
        if not piece and not begins:
            self._ended = True
            return False
        if self._at:
            self._data = self._data[self._at :]
            self._base += self._at
            self._at = 0
            self._forget()
        if begins:
            self._starts.append((self._base + len(self._data), self._stream.member_at))
        self._data += piece
        return True

    def _ensure(self, size: int) -> bool:
        """Have so many bytes from here on; False where the stream ends before."""
        missing = size - (len(self._data) - self._at)
        if missing <= 0:
            return True
        pieces: list[bytes] = [self._data[self._at :]]
        self._base += self._at
        self._at = 0
        self._forget()
        total = len(pieces[0])
        while total < size and not self._ended:
            piece, begins = self._stream.read()
            if not piece and not begins:
                self._ended = True
            if begins:
                self._starts.append((self._base + total, self._stream.member_at))
            pieces.append(piece)
            total += len(piece)
        self._data = b"".join(pieces)
        return total >= size

    def _skip(self, size: int) -> int:
        """Pass over so many bytes; return how many of them are missing."""
        while size > len(self._data) - self._at:
            size -= len(self._data) - self._at
            self._at = len(self._data)
            if not self._grow():
                return size
        self._at += size
        return 0

    def _next_place(self) -> Place:
        """Pass over the empty lines between records; return where the next one starts."""
        while self._ensure(1) and self._data[self._at : self._at + 1] in (b"\r", b"\n"):
            self._at += 1
        return self._place()

    def _forget(self) -> None:
        """Drop the members that end before the first byte held; one start at or before it stays."""
        while len(self._starts) > 1 and self._starts[1][0] <= self._base:
            self._starts.pop(0)

    def _place(self) -> Place:
        position = self._base + self._at
        if not self._codec:
            return Place(self._plain_start + position)
        if self._at == len(self._data):  # the end: as if a member began after the last byte
            stream = self._stream
            return Place(stream.problem_at if stream.problem else stream.position)
        start = next(s for s in reversed(self._starts) if s[0] <= position)
        return Place(start[1], position - start[0])

    # ------------------------------------------------------------ after a hole

    def _restart(self) -> bool:
        """Go to the next member after the broken one that opens with a record."""
        after = self._stream.problem_at + 1
        start = find_member(self._file, self._codec, after, _opens_record)
        if start < 0:
            return False
        self._stream = Inflated(self._file, self._codec, start)
        self._data, self._at, self._base = b"", 0, 0
        self._starts.clear()
        self._ended = False
        return True


def _opens_record(data: bytes) -> bool:
    return data.startswith(_VERSION)
