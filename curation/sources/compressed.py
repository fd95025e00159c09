"""Compressed files, member by member: where each begins, and where one is broken.

gzip, zstd, bzip2 and lz4 files may be several compressed pieces laid end to end (WARC has one
a record). The standard readers hide where a piece begins, stop at the first broken one, and some
take a truncated file for a whole one. ``Inflated`` tells all three.
"""

from __future__ import annotations

import bz2
import io
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, Protocol

import zstandard
from fastwarc.stream_io import Lz4Reader

#: Compressed bytes that are read and inflated at a time.
CHUNK = 64 << 10
MAGIC = {
    "gz": b"\x1f\x8b\x08",
    "zst": b"\x28\xb5\x2f\xfd",
    "bz2": b"BZh",
    "lz4": b"\x04\x22\x4d\x18",
}
#: Skippable frames of zstd and lz4 have sixteen magic numbers that end so.
_SKIPPABLE = b"\x2a\x4d\x18"
#: The skippable frame that holds a dictionary at the head of a .warc.zst
#: (iipc.github.io/warc-specifications/specifications/warc-zstd).
_DICTIONARY = b"\x5d\x2a\x4d\x18"
_BROKEN = (zlib.error, zstandard.ZstdError, EOFError, ValueError, OSError)


class _Decoder(Protocol):
    """One member: bytes in, bytes out, then ``eof`` and what was not its own."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def sniff_codec(head: bytes) -> str:
    """Return the codec that the first bytes of a file show, or ``""`` for none."""
    if head[1:4] == _SKIPPABLE and head[:1] and 0x50 <= head[0] <= 0x5F:
        return "zst"
    return next((name for name, magic in MAGIC.items() if head.startswith(magic)), "")


def file_codec(file: BinaryIO) -> str:
    """Return the codec that a file's first bytes show, and go back to its start."""
    head = file.read(18)
    file.seek(0)
    return sniff_codec(head)


class Inflated:
    """The bytes of a file, decompressed; ends early at a hole and says where.

    codec    "" (as it is), gz, zst, bz2 or lz4
    start    where to begin in the file: the first byte of a member
    problem  what is wrong with the member at ``problem_at``, once the bytes before are read
    """

    def __init__(self, file: BinaryIO, codec: str, start: int = 0) -> None:
        self._file = file
        self._codec = codec
        self._data = b""  # read from the file and not yet inflated
        self._next = start  # place in the file after _data
        self._decoder: _Decoder | None = None
        self._zstd = _zstd_decompressor(None)
        self.member_at = start
        self.problem = ""
        self.problem_at = 0
        if codec == "zst" and start:
            self._load_dictionary()
        file.seek(start)

    @property
    def position(self) -> int:
        """Place in the file of the first byte that is not inflated yet."""
        return self._next - len(self._data)

    def read(self) -> tuple[bytes, bool]:
        """Return (some bytes, whether a member begins with them); b"" at the end or a hole."""
        while not self.problem:
            if not self._data and not self._fill():
                return b"", False
            if not self._codec:
                data, self._data = self._data, b""
                return data, False
            begins = self._decoder is None
            if begins and not self._begin():
                continue
            piece = self._inflate()
            if piece or begins:
                return piece, begins
        return b"", False

    def _fill(self) -> bool:
        block = self._file.read(CHUNK)
        self._next += len(block)
        self._data += block
        if not block and self._decoder is not None:
            self._fail("is truncated")
        return bool(block)

    def _begin(self) -> bool:
        """Open the member at the position; False where there is none to inflate."""
        while len(self._data) < 18 and self._fill():
            pass
        self.member_at = self.position
        if sniff_codec(self._data) == "zst" and self._data[1:4] == _SKIPPABLE:
            self._skip_frame()
        elif not self._data.strip(b"\0"):  # zeros that pad a tape or a block device
            self._data = b""
        elif not self._data.startswith(MAGIC[self._codec]):
            self._fail(f"is not {self._codec} data")
        else:
            self._decoder = _decoder(self._codec, self._zstd)
            return True
        return False

    def _skip_frame(self) -> None:
        size = int.from_bytes(self._data[4:8], "little") + 8
        if self._data[:4] == _DICTIONARY and self.member_at == 0:
            self._load_dictionary()
        self._next = self._file.seek(self.member_at + size)
        self._data = b""

    def _load_dictionary(self) -> None:
        try:
            self._zstd = _zstd_decompressor(read_dictionary(self._file))
        except zstandard.ZstdError as error:
            self._fail(f"has a broken dictionary ({error})")

    def _inflate(self) -> bytes:
        assert self._decoder is not None
        try:
            piece = self._decoder.decompress(self._data)
        except _BROKEN as error:
            self._fail(f"is corrupt ({error})")
            return b""
        self._data = b""
        if self._decoder.eof:
            self._data = self._decoder.unused_data
            self._decoder = None
        return piece

    def _fail(self, what: str) -> None:
        self.problem = f"{self._codec} data {what}"
        self.problem_at = self.member_at
        self._decoder = None


def find_member(file: BinaryIO, codec: str, start: int, accept: Callable[[bytes], bool]) -> int:
    """Return the place, at or after start, of the next member whose first bytes are accepted.

    returns  -1 where there is none
    """
    magic = MAGIC[codec]
    file.seek(start)
    data, at = b"", start
    while block := file.read(1 << 20):
        data += block
        found = data.find(magic)
        while found >= 0:
            if accept(_first_bytes(file, codec, at + found)):
                return at + found
            found = data.find(magic, found + 1)
        at += len(data) - len(magic) + 1
        data = data[-(len(magic) - 1) :]
        file.seek(at + len(data))
    return -1


def _first_bytes(file: BinaryIO, codec: str, start: int) -> bytes:
    stream = Inflated(file, codec, start)
    piece, begins = stream.read()
    return piece or (stream.read()[0] if begins else b"")


def read_dictionary(file: BinaryIO) -> zstandard.ZstdCompressionDict | None:
    """Return the dictionary at the head of a .warc.zst file, itself perhaps compressed."""
    file.seek(0)
    head = file.read(8)
    if head[:4] != _DICTIONARY:
        return None
    data = file.read(int.from_bytes(head[4:8], "little"))
    if data.startswith(MAGIC["zst"]):
        data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return zstandard.ZstdCompressionDict(data)


def _decoder(codec: str, zstd: zstandard.ZstdDecompressor) -> Any:
    if codec == "gz":
        return zlib.decompressobj(zlib.MAX_WBITS | 16)
    if codec == "bz2":
        return bz2.BZ2Decompressor()
    if codec == "lz4":
        return _Lz4Frame()
    return zstd.decompressobj()


def _zstd_decompressor(
    dictionary: zstandard.ZstdCompressionDict | None,
) -> zstandard.ZstdDecompressor:
    """Return a decompressor for windows of up to 2 GiB, as ``zstd --long=31`` writes them.

    raises  ZstdError for a dictionary that cannot be used
    """
    zstd = zstandard.ZstdDecompressor(dictionary, max_window_size=1 << 31)
    zstd.decompressobj()
    return zstd


class _Lz4Frame:
    """One lz4 frame as a decoder: finds its end by the block sizes, then inflates it whole.

    fastwarc inflates lz4 but does not say where a frame ends. Frames of a WARC hold one record;
    a file that is one single frame is held in memory.
    (github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md)
    """

    def __init__(self) -> None:
        self._data = bytearray()
        self._at = 0  # next block size
        self.eof = False
        self.unused_data = b""

    def decompress(self, data: bytes) -> bytes:
        self._data += data
        stop = self._end()
        if stop is None:
            return b""
        self.eof = True
        self.unused_data = bytes(self._data[stop:])
        return bytes(Lz4Reader(io.BytesIO(bytes(self._data[:stop]))).read())

    def _end(self) -> int | None:
        if len(self._data) < 7:
            return None
        flags = self._data[4]
        checksum = 4 if flags & 0x10 else 0
        self._at = self._at or 7 + (8 if flags & 0x08 else 0) + (4 if flags & 0x01 else 0)
        while len(self._data) >= self._at + 4:
            size = int.from_bytes(self._data[self._at : self._at + 4], "little")
            if size == 0:
                stop = self._at + 4 + (4 if flags & 0x04 else 0)
                return stop if len(self._data) >= stop else None
            self._at += 4 + (size & 0x7FFFFFFF) + checksum
        return None
