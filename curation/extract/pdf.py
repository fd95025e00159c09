"""PDF to text: what pdfium reads of each line and where it stands; pdf_layout makes text of it.

Geometry is asked for by the line, not by the character: two boxes a line, and the boxes of single
characters only where a line has to be cut at the gutter between two columns.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from curation.columns import columns
from curation.errors import RecipeError
from curation.extract.pdf_layout import Line, gutter, text_of
from curation.stage import Annotator, map_rows, rows_to_batch

#: What pdfium puts in place of a hyphen and the line end after it.
_BROKEN_WORD = "\ufffe"
_LIGATURES = {
    0xFB00: "ff",
    0xFB01: "fi",
    0xFB02: "fl",
    0xFB03: "ffi",
    0xFB04: "ffl",
    0xFB05: "st",
    0xFB06: "st",
    0x00A0: " ",
}


@dataclass(frozen=True, kw_only=True)
class ExtractPdf(Annotator):
    """Take the running text, the title and the number of pages of a PDF.

    reads    pdf                large_binary  the file; null: the row's text and title go through
    may_read text               large_string  goes through unchanged where pdf is null
             title              large_string  likewise
    writes   text               large_string  a paragraph a line; "" where no page has text
             title              large_string  as the file's metadata state it
             page_count         uint32        all pages; null where pdf is null
             unread_page_count  uint32        pages that are damaged and left out of the text

    Lines are joined into paragraphs, words broken at a line's end are made whole, running heads,
    feet and page numbers are left out, two columns are read one after the other. A file of which
    no page can be read, one that wants a password and one over max_pages are error rows.
    """

    time_limit_s: float = 60.0
    max_pages: int = 5000

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("pdf",)
    may_read: ClassVar[tuple[str, ...]] = ("text", "title")
    writes: ClassVar[pa.Schema] = columns("text", "title", "page_count", "unread_page_count")

    def check(self) -> None:
        if self.max_pages < 1 or self.time_limit_s < 0:
            raise RecipeError(
                "ExtractPdf needs at least one page and no negative time limit.",
                found=f"max_pages={self.max_pages}, time_limit_s={self.time_limit_s}",
            )

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        cells = [batch[name].to_pylist() for name in ("pdf", *self.may_read)]
        values, errors = map_rows(self._row, *cells, time_limit_s=self.time_limit_s)
        return rows_to_batch(values, errors, self.writes)

    def _row(
        self, pdf: bytes | None, text: str | None, title: str | None
    ) -> tuple[str | None, str | None, int | None, int | None]:
        if pdf is None:
            return text, title, None, None
        with closing(_opened(pdf)) as document:
            page_count = len(document)
            if page_count > self.max_pages:
                raise ValueError(f"{page_count:,} pages are over max_pages={self.max_pages:,}")
            stated = " ".join(document.get_metadata_value("Title").split())
            pages = _pages(document)
            return text_of(pages), stated or None, page_count, page_count - len(pages)


def _opened(pdf: bytes) -> Any:
    import pypdfium2
    import pypdfium2.raw

    try:
        return pypdfium2.PdfDocument(pdf)
    except pypdfium2.PdfiumError as error:
        if error.err_code == pypdfium2.raw.FPDF_ERR_PASSWORD:
            raise ValueError("encrypted: the PDF wants a password") from error
        raise ValueError(f"damaged: {error}") from error


def _pages(document: Any) -> list[list[Line]]:
    """Return the lines of each page, as far as pages can be read; ValueError if none can."""
    import pypdfium2

    pages, first_error = [], None
    for number in range(len(document)):
        try:
            with closing(document[number]) as page, closing(page.get_textpage()) as text_page:
                pages.append(_lines(text_page, page.get_height(), number))
        except pypdfium2.PdfiumError as error:
            first_error = first_error or f"page {number + 1}: {error}"
    if first_error and not pages:
        raise ValueError(f"damaged: none of {len(document)} pages can be read; {first_error}")
    return pages


def _lines(text_page: Any, page_height: float, number: int) -> list[Line]:
    reader = _Reader(text_page, page_height, number)
    lines = list(reader.lines())
    middle = gutter(lines)
    if middle is None:
        return lines
    return [part for line in lines for part in reader.cut(line, middle)]


class _Reader:
    """The lines of one page with their boxes. Positions count UTF-16 units, as pdfium's do."""

    def __init__(self, text_page: Any, page_height: float, number: int) -> None:
        import pypdfium2.raw as pdfium

        self._pdfium = pdfium
        self._raw = text_page.raw
        self._page_height = page_height
        self._number = number
        self._box = pdfium.FS_RECTF()
        count = text_page.count_chars()
        buffer = (ctypes.c_ushort * (count + 1))()
        written = pdfium.FPDFText_GetText(self._raw, 0, count, buffer) if count > 0 else 0
        self._units = bytes(buffer)[: 2 * max(0, written - 1)]

    def lines(self) -> Iterator[Line]:
        start = 0
        # A character a unit, halves of pairs included, keeps positions right.
        text = "".join(map(chr, memoryview(self._units).cast("H")))
        for row in text.split("\n"):
            parts = row.split(_BROKEN_WORD)
            for i, part in enumerate(parts):
                line = self._line(part, start, broken=i + 1 < len(parts))
                if line is not None:
                    yield line
                start += len(part) + 1

    def _line(self, units: str, start: int, broken: bool) -> Line | None:
        stripped = units.strip()
        if not stripped:
            return None
        first = start + units.index(stripped[0])
        last = first + len(stripped) - 1
        left, right = self._boxed(first), self._boxed(last)
        if left is None or right is None:
            return None
        gaps = self._gaps(first, last, left[3] - left[1])
        return Line(
            text=_characters(stripped),
            x0=min(left[0], right[0]),
            x1=max(left[2], right[2]),
            y0=left[1],
            y1=left[3],
            broken=broken,
            page_height=self._page_height,
            page=self._number,
            gaps=gaps,
            place=(first, last),
        )

    def cut(self, line: Line, middle: float) -> Iterator[Line]:
        """Cut a line that runs over the gutter with a gap in it; others come back as they are."""
        if not any(left <= middle <= right for left, right in line.gaps):
            yield line
            return
        first, last = line.place
        for position in range(first, last + 1):
            box = self._boxed(position)
            if box is not None and box[0] >= middle:
                break
        units = [chr(u) for u in memoryview(self._units).cast("H")[first : last + 1]]
        split = position - first
        for part, start, broken in (
            ("".join(units[:split]), first, False),
            ("".join(units[split:]), position, line.broken),
        ):
            found = self._line(part, start, broken)
            if found is not None:
                yield found

    def _boxed(self, position: int) -> tuple[float, float, float, float] | None:
        """Return left, bottom, right, top of a character, in its font's full height."""
        index = self._pdfium.FPDFText_GetCharIndexFromTextIndex(self._raw, position)
        if not self._pdfium.FPDFText_GetLooseCharBox(self._raw, index, self._box):
            return None
        box = self._box
        return box.left, box.bottom, box.right, box.top

    def _gaps(self, first: int, last: int, height: float) -> tuple[tuple[float, float], ...]:
        """Return where a line has more white than words need, as left and right edges."""
        to_index = self._pdfium.FPDFText_GetCharIndexFromTextIndex
        start = to_index(self._raw, first)
        count = self._pdfium.FPDFText_CountRects(
            self._raw, start, to_index(self._raw, last) - start + 1
        )
        if count < 2:
            return ()
        edges = sorted(self._rect(i) for i in range(count))
        found, reach = [], edges[0][1]
        for left, right in edges[1:]:
            if left - reach > 0.8 * height:
                found.append((reach, left))
            reach = max(reach, right)
        return tuple(found)

    def _rect(self, index: int) -> tuple[float, float]:
        left, top, right, bottom = (ctypes.c_double() for _ in range(4))
        self._pdfium.FPDFText_GetRect(self._raw, index, left, top, right, bottom)
        return left.value, right.value


def _characters(units: str) -> str:
    """Return the characters of UTF-16 units, ligatures spelled out."""
    if any("\ud800" <= unit <= "\udfff" for unit in units):
        units = units.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return units.translate(_LIGATURES)
