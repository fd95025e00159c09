"""Lines of a page with their places → running text. No PDF library; pure functions on lines.

The signs of a paragraph's end, strongest first: more white than between the lines around it,
another font size, a bullet or number at the next line's start, a first-line indent, and a line
that stops although the first word of the next one would have fitted on it.
"""

from __future__ import annotations

import itertools
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

#: A running head or foot is among so many lines from the edge of its page …
_EDGE_LINES = 3
#: … within this share of the page's height …
_EDGE_FRAC = 0.15
#: … on so many pages, and on this share of the pages from its first to its last: left and right
#: pages may have heads of their own.
_RUNNING_PAGES = 3
_RUNNING_FRAC = 0.4
#: A head stands at the same height on each page, give or take so many points.
_SAME_HEIGHT = 4.0

#: Columns: at least so many lines on each side of the gutter, filled to this share of its width;
#: the cells of a table are not.
_COLUMN_LINES = 8
_COLUMN_FILL = 0.75

#: More than this many times the usual distance between lines ends a block.
_BLOCK_GAP = 1.25
_BULLET = re.compile(
    r"(?:[•◦▪▫■□●○‣⁃∙·➢➤►✓✔\uf0b7\uf0a7]|[-–—*]\s|\(?(?:\d{1,3}(?:\.\d{1,3})*[.)]?|[A-Za-z][.)])\s)"
)
_NUMBERED = re.compile(r"\d+(?:\.\d+)+\s")
_SENTENCE_END = re.compile(r"[.!?:;…。！？][\"'”’»)\]]*$")
_LEADERS = re.compile(r"\s*(?:\.\s?){5,}\s*")
_DIGITS = re.compile(r"\d+|\b[ivxlc]+\b")
_PAGE_NUMBER = re.compile(r"\W*(?:\d+|[ivxlc]+)\W*", re.IGNORECASE)
_ROMAN = {"i": 1, "v": 5, "x": 10, "l": 50, "c": 100}
_HYPHENS = ("-", "\u00ad", "\u2010")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_LAST_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*\Z")


@dataclass(frozen=True)
class Line:
    """One line of a page. Points, origin at the lower left, as in the PDF.

    y0, y1  bottom and top of its first character, in the full height of the font
    broken  the line's last word goes on, its hyphen already taken off
    gaps    where it has more white than words need
    place   position of first and last character in pdfium's text of the page
    """

    text: str
    x0: float
    x1: float
    y0: float
    y1: float
    page_height: float
    page: int = 0
    broken: bool = False
    gaps: tuple[tuple[float, float], ...] = ()
    place: tuple[int, int] = (0, 0)

    @property
    def height(self) -> float:
        return max(self.y1 - self.y0, 0.1)


def text_of(pages: Sequence[Sequence[Line]]) -> str:
    """Return the running text of a document: a paragraph a line, a blank line between blocks."""
    body = [in_reading_order(page) for page in without_running_lines(pages)]
    words = Words([line for page in body for line in page])
    spacing = line_spacing(body)
    pieces: list[str] = []
    paragraph: list[Line] = []
    margin = 0.0
    for line, next_margin in _with_margins(body, spacing):
        if paragraph and (end := _end(paragraph, margin, line, spacing)):
            pieces += [joined(paragraph, words), end]
            paragraph = []
        paragraph.append(line)
        margin = next_margin
    pieces.append(joined(paragraph, words))
    return "".join(pieces).strip()


# ---------------------------------------------------------------- running heads and feet


def without_running_lines(pages: Sequence[Sequence[Line]]) -> list[list[Line]]:
    """Leave out what stands at the same height near the edge of page after page.

    Numbers count as equal, so that page numbers and "Chapter 3" go too.
    """
    seen: dict[str, list[tuple[Line, float]]] = defaultdict(list)
    for page in pages:
        for line, white in _at_edges(page):
            seen[_masked(line)].append((line, white))
    running = {
        id(line) for found in seen.values() for line in _repeated(found, len(pages))
    }  # fmt: skip
    return [[line for line in page if id(line) not in running] for page in pages]


def _at_edges(page: Sequence[Line]) -> Iterator[tuple[Line, float]]:
    """Yield the lines next to a page's upper and lower edge, with the white on their inner side."""
    down = sorted(page, key=lambda line: -line.y0)
    if len(page) == 1 and not _PAGE_NUMBER.fullmatch(page[0].text):
        return  # all that the page has
    for i, line in enumerate(down):
        below = down[i + 1].y1 if i + 1 < len(down) else 0.0
        above = down[i - 1].y0 if i else line.page_height
        if i < _EDGE_LINES and line.y1 > (1 - _EDGE_FRAC) * line.page_height:
            yield line, line.y0 - below
        elif i >= len(down) - _EDGE_LINES and line.y0 < _EDGE_FRAC * line.page_height:
            yield line, above - line.y1


def _masked(line: Line) -> str:
    return " ".join(_DIGITS.sub("#", line.text.lower()).split())


def _repeated(found: Sequence[tuple[Line, float]], page_count: int) -> list[Line]:
    usual = statistics.median(line.y0 for line, _ in found)
    level = [(line, white) for line, white in found if abs(line.y0 - usual) <= _SAME_HEIGHT]
    lines = [line for line, _ in level]
    pages = {line.page for line in lines}
    if len(pages) < _RUNNING_PAGES or not _counts_pages(lines):
        return []
    if len(pages) < _RUNNING_FRAC * (max(pages) - min(pages) + 1):
        return []
    # The heading of a table that goes on over a few pages repeats too, but the table follows it
    # without white between.
    apart = statistics.median(white for _, white in level) > 2 * lines[0].height
    return lines if apart or len(pages) >= _RUNNING_FRAC * page_count else []


def _counts_pages(lines: Sequence[Line]) -> bool:
    """Tell whether lines that differ by numbers alone differ as page numbers do."""
    if len({line.text for line in lines}) == 1:
        return True
    offsets = Counter(
        offset for line in lines for offset in {_number(n) - line.page for n in _numbers(line)}
    )
    same_text = max(Counter(line.text for line in lines).values())
    return max(same_text, *offsets.values(), 0) >= 0.6 * len(lines)


def _numbers(line: Line) -> list[str]:
    return _DIGITS.findall(line.text.lower())


def _number(digits: str) -> int:
    if digits.isdecimal():
        return int(digits[:9])
    values = [_ROMAN[letter] for letter in digits]
    following = [*values[1:], 0]
    return sum(-v if v < n else v for v, n in zip(values, following, strict=True))


# ---------------------------------------------------------------- columns


def gutter(lines: Sequence[Line]) -> float | None:
    """Return where the white between two columns of prose runs down a page, if it does."""
    prose = [line for line in lines if not _LEADERS.search(line.text)]
    if len(prose) < _COLUMN_LINES or len(prose) < len(lines) / 2:
        return None  # too little, or a table of contents
    left, right = min(line.x0 for line in lines), max(line.x1 for line in lines)
    width = right - left
    places = [left + width * percent / 100 for percent in range(35, 66)]
    crossing = [
        sum(line.x0 < x < line.x1 and not _open_at(line, x) for line in lines) for x in places
    ]
    fewest = min(crossing)
    if fewest > 0.25 * len(lines):
        return None
    middle = statistics.median(x for x, n in zip(places, crossing, strict=True) if n == fewest)
    merged = [line for line in lines if _open_at(line, middle)]
    if 2 * sum(len(line.gaps) > 1 for line in merged) > len(merged):
        return None  # cells of a table: prose has no other gaps
    sides = _sides(lines, middle)
    filled = all(
        len(side) >= _COLUMN_LINES
        and statistics.median(b - a for a, b in side) >= _COLUMN_FILL * room
        for side, room in zip(sides, (middle - left, right - middle), strict=True)
    )
    return middle if filled else None


def _open_at(line: Line, x: float) -> bool:
    return any(left <= x <= right for left, right in line.gaps)


def _sides(lines: Sequence[Line], x: float) -> tuple[list[tuple[float, float]], ...]:
    """Return the extents of what stands left and right of the gutter."""
    left: list[tuple[float, float]] = []
    right: list[tuple[float, float]] = []
    for line in lines:
        if line.x1 <= x:
            left.append((line.x0, line.x1))
        elif line.x0 >= x:
            right.append((line.x0, line.x1))
        else:
            for start, stop in line.gaps:
                if start <= x <= stop:
                    left.append((line.x0, start))
                    right.append((stop, line.x1))
    return left, right


def in_reading_order(page: Sequence[Line]) -> list[Line]:
    """Read columns one after the other where the file holds their lines in turns.

    A file that holds its lines column by column is left as it is: its order knows more than
    geometry does (boxes, captions, tables).
    """
    middle = gutter(page)
    if middle is None:
        return list(page)
    side = [0 if line.x1 <= middle else 1 if line.x0 >= middle else 2 for line in page]
    turns = sum(a == 1 and b == 0 for a, b in itertools.pairwise(side))
    if turns <= _COLUMN_LINES // 2:
        return list(page)
    # A line over the whole width ends a band: what is above it is read before what is below it.
    full = sorted((line.y0 for line, s in zip(page, side, strict=True) if s == 2), reverse=True)

    def rank(i: int) -> tuple[int, int, float]:
        y = page[i].y0
        band = 2 * sum(edge > y for edge in full) + (side[i] != 2)
        return band if side[i] != 2 else band + 1, side[i] % 2, -y

    return [page[i] for i in sorted(range(len(page)), key=rank)]


# ---------------------------------------------------------------- paragraphs


def line_spacing(pages: Iterable[Sequence[Line]]) -> float:
    """Return the usual distance from line to line, in heights of the line."""
    found = [
        (a.y0 - b.y0) / a.height
        for page in pages
        for a, b in itertools.pairwise(page)
        if 0.5 * a.height < a.y0 - b.y0 < 2.5 * a.height and _same_size(a, b)
    ]
    return statistics.median(found) if found else 1.2


def _same_size(a: Line, b: Line) -> bool:
    return abs(a.height - b.height) <= 0.08 * max(a.height, b.height)


def _in_block(a: Line, b: Line, spacing: float) -> bool:
    """Tell whether b follows a in the same block, as far as white space tells."""
    distance = a.y0 - b.y0
    usual = spacing * max(a.height, b.height)
    return a.page == b.page and -0.3 * a.height < distance <= _BLOCK_GAP * usual


def _with_margins(pages: Iterable[Sequence[Line]], spacing: float) -> Iterator[tuple[Line, float]]:
    """Yield each line with the right edge of its block: where its longest line ends."""
    for page in pages:
        start = 0
        for i in range(len(page)):
            if i + 1 == len(page) or not _in_block(page[i], page[i + 1], spacing):
                block = page[start : i + 1]
                margin = max(line.x1 for line in block)
                yield from ((line, margin) for line in block)
                start = i + 1


def _end(paragraph: Sequence[Line], margin: float, line: Line, spacing: float) -> str:
    """Return what stands between a paragraph and the next line: "" if the line belongs to it."""
    before = paragraph[-1]
    if before.broken:
        return ""
    if _LEADERS.search(before.text):
        return "\n"  # the entries of a table of contents
    if not _in_block(before, line, spacing):
        return "" if _runs_over(before, margin, line) else "\n\n"
    if abs(before.y0 - line.y0) < 0.3 * before.height:
        return ""  # cells of one row
    if not _same_size(before, line) and _set_apart(before, line, spacing):
        return "\n\n"
    if _begins(line) or (before.gaps and line.gaps) or _indented(paragraph, line):
        return "\n"
    return "\n" if _would_fit(before, margin, line) else ""


def _set_apart(before: Line, line: Line, spacing: float) -> bool:
    # A line that merely begins with a word in another font keeps the distance of its neighbours.
    small, large = sorted((before.height, line.height))
    return large > 1.3 * small or before.y0 - line.y0 > 1.08 * spacing * small


def _runs_over(before: Line, margin: float, line: Line) -> bool:
    """Tell whether a sentence goes on in the next column or on the next page."""
    turned = before.page != line.page or line.y0 > before.y1
    full = before.x1 > margin - 4 * before.height
    goes_on = not _SENTENCE_END.search(before.text) and line.text[0].islower()
    return turned and full and goes_on and _same_size(before, line)


def _begins(line: Line) -> bool:
    return bool(_BULLET.match(line.text) or _NUMBERED.match(line.text))


def _indented(paragraph: Sequence[Line], line: Line) -> bool:
    """Tell whether the line's left edge, against the paragraph's, makes it a new paragraph."""
    before, step = paragraph[-1], line.x0 - paragraph[-1].x0
    alone = len(paragraph) == 1
    if step > 0.8 * before.height:
        return not alone or (not _begins(before) and bool(_SENTENCE_END.search(before.text)))
    if step < -0.8 * before.height:
        return not alone or _begins(before)
    return False


def _would_fit(before: Line, margin: float, line: Line) -> bool:
    word = line.text.split(maxsplit=1)[0]
    width = (line.x1 - line.x0) / max(1, len(line.text)) * (len(word) + 1)
    return before.x1 + width < margin - 0.3 * before.height


# ---------------------------------------------------------------- broken words


class Words:
    """What a document says about its words: which occur, and whether it breaks words at lines.

    A document set without hyphenation ends lines in hyphens too, those of its compounds. What its
    clear cases are decides its unclear ones.
    """

    def __init__(self, lines: Sequence[Line]) -> None:
        self._known: set[str] = set()
        for line in lines:
            found = _WORD.findall(line.text.lower())
            if _breaks(line):
                del found[-1:]
            self._known.update(found)
            self._known.update(part for word in found if "-" in word for part in word.split("-"))
        clear = Counter(
            self._clearly_whole(*halves)
            for before, line in itertools.pairwise(lines)
            if _breaks(before) and (halves := _halves(before.text, line.text))
        )
        self._hyphenates = clear[True] >= clear[False]

    def join(self, text: str, piece: str) -> str:
        """Join a word over a line's end: whole, or with its hyphen where the document says so."""
        text = text.rstrip("".join(_HYPHENS))
        halves = _halves(text, piece)
        if halves is None or not piece[0].islower():
            return f"{text}-{piece}"
        whole = self._clearly_whole(*halves)
        return text + piece if whole or (whole is None and self._hyphenates) else f"{text}-{piece}"

    def _clearly_whole(self, head: str, tail: str) -> bool | None:
        if head + tail in self._known:
            return True
        if f"{head}-{tail}" in self._known:
            return False
        # Both halves are words of their own: a compound rather than syllables. Syllables of two
        # letters are words too often ("in", "an", "de").
        return False if len(head) > 2 and {head, tail} <= self._known else None


def _breaks(line: Line) -> bool:
    return line.broken or (line.text.endswith(_HYPHENS) and line.text[-2:-1].isalpha())


def _halves(text: str, piece: str) -> tuple[str, str] | None:
    head, tail = _LAST_WORD.search(text.rstrip("".join(_HYPHENS))), _WORD.match(piece)
    return (head[0].lower(), tail[0].lower()) if head and tail else None


def joined(lines: Sequence[Line], words: Words) -> str:
    """Return lines as one: a space between them, broken words made whole."""
    text = ""
    for i, line in enumerate(lines):
        piece = _LEADERS.sub(" ... ", line.text).strip()
        if i == 0:
            text = piece
        else:
            text = words.join(text, piece) if _breaks(lines[i - 1]) else f"{text} {piece}"
    return text.replace("\u00ad", "")
