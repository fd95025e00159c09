"""RefinedWeb's line-wise corrections: counters, buttons and headings that are no part of a text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.annotate.quality import share
from curation.arrow import (
    Bool_N,
    bytes_and_offsets,
    from_bytes_and_offsets,
    is_valid,
    to_column,
    values_of,
)
from curation.columns import columns
from curation.errors import RecipeError
from curation.stage import Annotator

if TYPE_CHECKING:
    from curation.kernels.corrections import LineArray, Listed

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

#: Penedo et al. 2023, arXiv:2306.01116, section 3.2: a document goes that loses more.
MAX_REMOVED_WORD_FRAC = 0.05

#: What a pattern below takes for white space: RE2's own class has ASCII alone.
_BLANK = r"[ \t\x{A0}]*"
_MARK = r"[^\pL\pN]"
_THING = (
    "(?:(?:bookmark|comment|download|downvote|favorite|favourite|follower|like|quote|reaction"
    "|reblog|repost|retweet|share|subscriber|upvote|view|vote)s?|reply|replies)"
)
_COUNT = rf"[0-9][0-9.,]*{_BLANK}[kmb]?\+?{_BLANK}{_THING}"

#: Counts of what readers did, one or several on a line. The paper gives one example, "3 likes".
COUNTERS = (rf"{_MARK}*{_COUNT}(?:{_MARK}+{_COUNT})*{_MARK}*",)
#: The paper's own examples; the lists that it used are not published.
LINE_STARTS = (r"sign-in\b",)
LINE_ENDS = (r"\bread more ?(?:\.\.\.|\x{2026})",)
LINE_PARTS = (r"\bitems in cart\b",)


@dataclass(frozen=True, kw_only=True)
class LineCorrections(Annotator):
    """Take lines out that are no part of a text, and phrases out of short lines.

    The paper's rules: a line goes if it is mainly capital letters, only digits, a counter ("3
    likes") or one word. A short line is edited where a pattern fits its start ("sign-in"), its end
    ("Read more...") or any part ("items in cart"). Where the paper is silent, this is our reading:

    - lines end at line feeds, and white space at their ends is not looked at; blank lines stay
    - "mainly" is more than half of a line's code points, as DCLM has it; capitals are category Lu
    - "only digits" lets white space stand between the digits
    - words are runs between white space; a language that does not write them needs another rule
      than one word: ``min_line_words=0``
    - patterns, the counters among them, are looked at on short lines alone
    - an edit takes out each phrase that fits any part, then one at the end, then one at the start,
      as DCLM does, and white space beside them; what is left is judged by the rules on whole lines
    - the share of words removed counts those of an edited line that went, not all of them

    The rules are for prose: one word on a line may be all that a list, a table or code is made of.

    Patterns are RE2's (no look-around, no back-references), and fit in any mixture of cases. A
    counter fits a line as a whole.

    reads    text                large_string  any length; null allowed
    writes   text                large_string  the lines that stay, joined by line feeds
             removed_line_count  uint32        edited lines of which nothing is left among them
             removed_word_frac   float32       0..1; null if there was no word
    source   Penedo et al. 2023, arXiv:2306.01116 (RefinedWeb), section 3.2 and appendix G.2;
             Li et al. 2024, arXiv:2406.11794 (DCLM), released code
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("text",)
    writes: ClassVar[pa.Schema] = columns("text", "removed_line_count", "removed_word_frac")

    #: Remove lines with a larger share of capital letters; 1 for none.
    upper_frac: float = 0.5
    #: Remove lines of fewer words, blank ones aside.
    min_line_words: int = 2
    #: A line of at most so many words is short; 0 looks at no pattern.
    max_pattern_words: int = 10
    counters: tuple[str, ...] = COUNTERS
    line_starts: tuple[str, ...] = LINE_STARTS
    line_ends: tuple[str, ...] = LINE_ENDS
    line_parts: tuple[str, ...] = LINE_PARTS

    def check(self) -> None:
        if not 0 <= self.upper_frac <= 1 or self.min_line_words < 0 or self.max_pattern_words < 0:
            raise RecipeError(
                "LineCorrections takes a share of a line, 0 to 1, and counts words from 0 on.",
                found=f"upper_frac={self.upper_frac}, min_line_words={self.min_line_words}, "
                f"max_pattern_words={self.max_pattern_words}",
            )
        for name in ("counters", "line_starts", "line_ends", "line_parts"):
            _check_patterns(name, getattr(self, name))

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from curation.kernels.corrections import lay_out

        data, offset = bytes_and_offsets(batch["text"])
        listed = self._list(data, offset)
        edits = self._settle(data, listed)
        made, made_offset, lines, words = lay_out(
            data, offset, listed.offset, listed.line_L, *bytes_and_offsets(edits)
        )
        valid = is_valid(batch["text"])
        removed = share(words, listed.word_N)
        arrays = [
            from_bytes_and_offsets(made, made_offset, pa.large_string(), valid),
            to_column(lines.astype(np.uint32), valid),
            to_column(removed.astype(np.float32), valid & (listed.word_N > 0)),
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.writes)

    def _list(self, data: U8, offset: I64) -> Listed:
        from curation.kernels.corrections import list_lines
        from curation.kernels.unicode import flag_table

        return list_lines(
            data,
            offset,
            flag_table(),
            upper_frac=self.upper_frac,
            min_words=self.min_line_words,
            short_words=self.max_pattern_words,
        )

    def _settle(self, data: U8, listed: Listed) -> pa.Array:
        """Decide what becomes of the short lines, and return those that take others' place.

        Writes to ``fate``, and makes ``words`` the words that go with a line.
        """
        from curation.kernels.corrections import KEPT, REMOVED, SHORT

        line_L = listed.line_L
        short = np.flatnonzero(line_L["fate"] == SHORT)
        lines = _copy(data, line_L[short])
        fits = _fits_any(lines, self._all_patterns())
        line_L["fate"][short[~fits]] = KEPT
        short, lines = short[fits], lines.filter(to_column(fits))
        line_L["fate"][short] = REMOVED
        counter = self._is_counter(lines)
        return self._edit(lines.filter(to_column(~counter)), line_L, short[~counter])

    def _edit(self, lines: pa.Array, line_L: LineArray, place: I64) -> pa.Array:
        """Take phrases out of lines, and return those that stay; the others' fate is REMOVED.

        place  where the lines are in ``line_L``
        """
        from curation.kernels.corrections import SHORT

        for pattern in self._edits():
            lines = pc.replace_substring_regex(lines, pattern, "")
        # each line is judged once more, as a document of one line
        data, offset = bytes_and_offsets(lines)
        again = self._list(data, offset)
        stays = again.line_L["fate"] == SHORT
        place = place[np.flatnonzero(np.diff(again.offset))][stays]
        left = again.line_L[stays]
        lines = _copy(data, left)
        counter = self._is_counter(lines)
        place = place[~counter]
        line_L["fate"][place] = np.arange(len(place))
        line_L["words"][place] -= left["words"][~counter]
        return lines.filter(to_column(~counter))

    def _is_counter(self, lines: pa.Array) -> Bool_N:
        return _fits_any(lines, [rf"\A(?:{p})\z" for p in self.counters])

    def _all_patterns(self) -> list[str]:
        """Return what finds every line that a counter fits or that an edit would change."""
        return [
            *(rf"\A(?:{pattern})\z" for pattern in self.counters),
            *(rf"\A(?:{pattern})" for pattern in self.line_starts),
            *(rf"(?:{pattern})\z" for pattern in self.line_ends),
            *self.line_parts,
        ]

    def _edits(self) -> Iterator[str]:
        """Yield what is taken out of a line, in this order."""
        if self.line_parts:
            yield rf"(?i){_BLANK}(?:{_one_of(self.line_parts)})"
        if self.line_ends:
            yield rf"(?i)(?:{_one_of(self.line_ends)})\z"
        if self.line_starts:
            yield rf"(?i)\A{_BLANK}(?:{_one_of(self.line_starts)})"


def _copy(data: U8, line_L: LineArray) -> pa.Array:
    from curation.kernels.corrections import copy_lines

    return from_bytes_and_offsets(*copy_lines(data, line_L), pa.large_string())


def _one_of(patterns: Iterable[str]) -> str:
    return "|".join(f"(?:{pattern})" for pattern in patterns)


def _fits_any(lines: pa.Array, patterns: Iterable[str]) -> Bool_N:
    """Say which lines a pattern is found in, in any mixture of cases."""
    wanted = _one_of(patterns)
    if not wanted:
        return np.zeros(len(lines), dtype=np.bool_)
    return values_of(pc.match_substring_regex(lines, wanted, ignore_case=True))


def _check_patterns(name: str, patterns: tuple[str, ...]) -> None:
    """Raise RecipeError for a pattern that RE2 cannot read, or that fits where nothing stands."""
    for pattern in patterns:
        try:
            pc.match_substring_regex("", pattern)  # by itself: "a)|(b" is one only among others
            nothing = [("", rf"\A(?:{pattern})\z"), ("a", rf"\A(?:{pattern})a\z")]
            fits = any(pc.match_substring_regex(text, p).as_py() for text, p in nothing)
        except pa.ArrowInvalid as error:
            raise RecipeError(
                f"LineCorrections cannot read a pattern of its {name}.",
                found=repr(pattern),
                reason=str(error),
                remedy="a regular expression of RE2: without look-around and back-references",
            ) from None
        if fits:
            raise RecipeError(
                f"LineCorrections would take nothing out: a pattern of its {name} fits nothing.",
                found=repr(pattern),
                remedy="a pattern that wants one character at least",
            )
