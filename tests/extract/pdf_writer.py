"""A PDF writer of one screen, for tests: text at given places, one font, nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

#: One piece of text: left edge, baseline (points from the lower left corner), size, characters.
Placed = tuple[float, float, float, str]


def pdf(pages: Iterable[Sequence[Placed]], title: str = "") -> bytes:
    """Return a PDF of 600 × 800 points a page; characters are Latin-1 (WinAnsi)."""
    streams = [_content(page) for page in pages]
    first = 5
    kids = b" ".join(b"%d 0 R" % (first + 2 * i) for i in range(len(streams)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, len(streams)),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Courier /Encoding /WinAnsiEncoding >>",
        b"<< /Title (%s) >>" % _escaped(title),
    ]
    for i, stream in enumerate(streams):
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents %d 0 R"
            b" /Resources << /Font << /F 3 0 R >> >> >>" % (first + 2 * i + 1)
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
    return _file(objects)


def paragraph(lines: Sequence[str], *, left: float = 60, top: float = 700) -> list[Placed]:
    """Place lines of 10 points, 12 points apart."""
    return [(left, top - 12 * i, 10, line) for i, line in enumerate(lines)]


def _content(page: Sequence[Placed]) -> bytes:
    shown = (
        b"BT /F %g Tf 1 0 0 1 %g %g Tm (%s) Tj ET" % (size, x, y, _escaped(text))
        for x, y, size, text in page
    )
    return b"\n".join(shown)


def _escaped(text: str) -> bytes:
    raw = text.encode("cp1252")
    return raw.replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")


def _file(objects: Sequence[bytes]) -> bytes:
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    trailer = b"trailer\n<< /Size %d /Root 1 0 R /Info 4 0 R >>\n" % size
    start = b"startxref\n%d\n%%%%EOF\n" % len(out)
    return out + b"xref\n0 %d\n0000000000 65535 f \n%s" % (size, table) + trailer + start
