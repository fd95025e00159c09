"""Text to clean text: one form for each character, one kind of line end, no invisible leftovers.

Whole columns at a time with Arrow kernels. Most documents are already clean, so a step touches
only the rows that have what it removes: one search tells them apart, and the expensive
replacements run on those few.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from curation.columns import columns
from curation.stage import Annotator, map_rows, rows_to_batch

# RE2 patterns; Arrow matches them on UTF-8.
_LINE_END = r"\r\n?|[\x0b\x0c\x{85}\x{2028}\x{2029}]"
# C0 and C1 but tab and line feed; DEL; non-characters of the BMP and the last two of each plane;
# zero-width space, word joiner, byte-order mark, soft hyphen, invisible operators, annotation
# anchors. Kept: ZWJ and ZWNJ (Persian, Indic scripts and emoji spell with them), direction marks,
# variation selectors.
_PLANES = "".join(rf"\x{{{plane:x}fffe}}\x{{{plane:x}ffff}}" for plane in range(1, 17))
_INVISIBLE = (
    r"[\x00-\x08\x0e-\x1f\x7f-\x{84}\x{86}-\x{9f}\x{ad}\x{200b}\x{2060}-\x{2064}\x{feff}"
    r"\x{fdd0}-\x{fdef}\x{fff9}-\x{fffb}\x{fffe}\x{ffff}" + _PLANES + "]"
)
# Spaces of all widths become one kind. The no-break space is one of them: web pages use it for
# layout. Ideographic space too.
_ODD_SPACE = r"[\x{a0}\x{1680}\x{2000}-\x{200a}\x{202f}\x{205f}\x{3000}]"
_BLANKS_AT_END = r"[ \t]+(\n|\z)"
# A run of blanks inside a line: after a character that is no blank.
_INNER_BLANKS = r"([^ \t\n])(?:[ \t]{2,}|\t)"
_BLANKS = r"[ \t]{2,}|\t"
_BLANK_LINES = r"\n{3,}"
_COMPOSABLE = r"[\x{300}-\x{10ffff}]"
#: A row without any of these and without blanks before a line's end is clean as it stands. All
#: characters below U+0300 are in NFC, alone and together.
_SUSPECT = (
    r"[\x00-\x09\x0b-\x1f\x7f-\x{a0}\x{ad}\x{300}-\x{10ffff}]|  | \n|\n\n\n|\A\s|\s\z"
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Normalize(Annotator):
    """Give text one Unicode form, one kind of line end and no needless white space.

    reads    text  large_string  any; null stays null
    writes   text  large_string  takes the column's place

    Unicode NFC; control characters, non-characters, soft hyphens and zero-width characters without
    meaning removed; every line end a line feed; runs of blanks one space; no blanks at the ends of
    lines, at most one blank line, both ends of the text trimmed. With indentation kept, the blanks
    that open a line stay as they are, for code and nested lists. Doing it twice changes nothing.
    mojibake=True first repairs text that was decoded with the wrong encoding (ftfy): that goes a
    row at a time, and slowly.
    """

    mojibake: bool = False
    indentation: bool = True

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("text",)
    writes: ClassVar[pa.Schema] = columns("text")

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        text: pa.Array = batch["text"]
        errors: list[str | None] = []
        if self.mojibake:
            text, errors = _repaired(text)
        text = _update(text, _SUSPECT, lambda rows: _clean(rows, self.indentation))
        if any(errors):
            return rows_to_batch(text.to_pylist(), errors, self.writes)
        return pa.RecordBatch.from_arrays([text], schema=self.writes)


def _clean(text: pa.Array, indentation: bool) -> pa.Array:
    # Line ends come before removal (most of them are controls); removal before NFC, so that a
    # letter and its accent meet whatever stood between them; white space last, since every step
    # before it can leave some at the end of a line.
    text = _replace(text, _LINE_END, "\n")
    text = _replace(text, _INVISIBLE, "")
    text = _update(text, _COMPOSABLE, lambda rows: pc.utf8_normalize(rows, form="NFC"))
    text = _replace(text, _ODD_SPACE, " ")
    text = _replace(text, *((_INNER_BLANKS, r"\1 ") if indentation else (_BLANKS, " ")))
    text = _replace(text, _BLANKS_AT_END, r"\1")
    text = _replace(text, _BLANK_LINES, "\n\n")
    return pc.utf8_trim_whitespace(text)


def _replace(text: pa.Array, pattern: str, new: str) -> pa.Array:
    return _update(text, pattern, lambda rows: pc.replace_substring_regex(rows, pattern, new))


def _update(text: pa.Array, pattern: str, change: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Change only the rows in which the pattern occurs; null stays null."""
    found = pc.fill_null(pc.match_substring_regex(text, pattern), False)
    count = found.true_count
    if count == 0:
        return text
    if count == len(text):
        return change(text)
    return pc.replace_with_mask(text, found, change(text.filter(found)))


def _repaired(text: pa.Array) -> tuple[pa.Array, list[str | None]]:
    # Mojibake is never ASCII, and most English documents are.
    suspect = pc.fill_null(pc.invert(pc.string_is_ascii(text)), False)
    values, errors = map_rows(_unscramble, text.filter(suspect).to_pylist())
    repaired = pc.replace_with_mask(text, suspect, pa.array(values, type=text.type))
    found = iter(errors)
    return repaired, [next(found) if dirty else None for dirty in suspect.to_pylist()]


def _unscramble(text: str) -> str:
    import ftfy

    # Encoding alone: fix_text would also change quotation marks, ligatures and widths.
    return ftfy.fix_encoding(text)
