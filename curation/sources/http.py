"""HTTP responses as crawlers store them: status, media type, and the body as it was meant.

Archives hold what servers sent and what crawlers made of it, and the two disagree: a header
that says ``chunked`` or ``gzip`` over a body that is neither. A body that plainly is not what its
header says is taken as it is.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import zstandard
from fastwarc.stream_io import BrotliReader
from fastwarc.warc import HeaderMap

#: A body that inflates to more is not a page.
BODY_BYTES = 512 << 20
HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
_STATUS = re.compile(rb"HTTP/[\d.]+ +(\d{3})\b")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([^\s\"';,]+)", re.IGNORECASE)
_HTML_START = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<!--.*?-->\s*)?<(?:!doctype\s+html|html)\b", re.I
)


class BodyError(ValueError):
    """The body cannot be decoded as its headers say, nor be taken as it is."""


@dataclass(frozen=True)
class Response:
    """A parsed header; the body starts at byte ``body_at``.

    status      None where there is no status line
    media_type  lower case, without parameters; "" where none is named
    codings     transfer and content codings, outermost first
    """

    status: int | None
    media_type: str
    charset: str | None
    codings: tuple[str, ...]
    body_at: int


def parse_response(block: bytes) -> Response:
    """Parse the header of a stored response; a block without status line has no header."""
    status = _STATUS.match(block)
    if not status:
        return Response(None, "", None, (), 0)
    end = _HEAD_END.search(block)
    stop = end.end() if end else len(block)
    headers = HeaderMap()
    headers.parse(io.BytesIO(block[:stop]))
    media_type, charset = media(headers.get("Content-Type") or "")
    return Response(int(status[1]), media_type, charset, _codings(headers), stop)


def media(content_type: str) -> tuple[str, str | None]:
    """Split a Content-Type into media type and character set."""
    charset = _CHARSET.search(content_type)
    return content_type.split(";")[0].strip().lower(), charset[1].lower() if charset else None


def _codings(headers: HeaderMap) -> tuple[str, ...]:
    """Return what was done to the body, last act first: the order in which it is undone."""
    content = ",".join(headers.get_multiple("Content-Encoding"))
    transfer = ",".join(headers.get_multiple("Transfer-Encoding"))
    names = [name.strip().lower() for name in f"{content},{transfer}".split(",")]
    return tuple(name for name in reversed(names) if name and name != "identity")


def decode_body(body: bytes, codings: tuple[str, ...]) -> bytes:
    """Undo the codings; BodyError where the body is damaged or the coding unknown."""
    for name in codings:
        decode = _DECODERS.get(name)
        if decode is None:
            raise BodyError(f"unknown content coding '{name[:40]}'")
        body = decode(body)
    return body


def looks_like_html(body: bytes) -> bool:
    """Tell whether a body of unknown type opens as HTML does."""
    return _HTML_START.match(body[:4096]) is not None


def dechunk(body: bytes) -> bytes:
    """Undo chunked transfer; what does not parse as chunks comes back as it is."""
    pieces: list[bytes] = []
    at = 0
    while at < len(body):
        stop = body.find(b"\n", at, at + 1024)
        size = body[at:stop].split(b";")[0].strip() if stop >= 0 else b""
        if not re.fullmatch(rb"[0-9a-fA-F]{1,8}", size):
            return body
        if int(size, 16) == 0:
            break
        pieces.append(body[stop + 1 : stop + 1 + int(size, 16)])
        at = stop + 1 + int(size, 16)
        at += 2 if body[at : at + 2] == b"\r\n" else body[at : at + 1] == b"\n"
    return b"".join(pieces)


def _gzip(body: bytes) -> bytes:
    return _zlib(body, zlib.MAX_WBITS | 16) if body.startswith(b"\x1f\x8b") else body


def _deflate(body: bytes) -> bytes:
    """Undo ``deflate``: a zlib stream by the standard, a bare one by some servers."""
    for bits in (zlib.MAX_WBITS, -zlib.MAX_WBITS):
        try:
            return _zlib(body, bits)
        except BodyError:
            continue
    return body


def _zlib(body: bytes, bits: int) -> bytes:
    """Inflate; a stream that is cut short, as crawlers cut long pages, yields what is there."""
    pieces: list[bytes] = []
    left = BODY_BYTES
    while body:
        stream = zlib.decompressobj(bits)
        try:
            piece = stream.decompress(body, left)
        except zlib.error as error:
            if pieces:  # garbage after a whole stream
                break
            raise BodyError(f"compressed body is corrupt: {error}") from error
        if stream.unconsumed_tail:
            raise BodyError(f"body inflates to more than {BODY_BYTES} bytes")
        pieces.append(piece)
        left -= len(piece)
        body = stream.unused_data
    return b"".join(pieces)


def _brotli(body: bytes) -> bytes:
    return _drain(BrotliReader(io.BytesIO(body)), body)


def _zstd(body: bytes) -> bytes:
    if not body.startswith(b"\x28\xb5\x2f\xfd"):
        return body
    stream = zstandard.ZstdDecompressor().stream_reader(body, read_across_frames=True)
    return _drain(stream, body)


def _drain(stream: BrotliReader | zstandard.ZstdDecompressionReader, body: bytes) -> bytes:
    pieces: list[bytes] = []
    total = 0
    try:
        while piece := stream.read(1 << 20):
            pieces.append(piece)
            total += len(piece)
            if total > BODY_BYTES:
                raise BodyError(f"body inflates to more than {BODY_BYTES} bytes")
    except (OSError, zstandard.ZstdError) as error:
        if looks_like_html(body):  # decoded by the crawler, the header left as it was
            return body
        raise BodyError(f"compressed body is corrupt: {error}") from error
    return b"".join(pieces)


_DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "chunked": dechunk,
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
