"""Words of a user's list, counted."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.annotate.lists import Listed, Stamp, files_of, read_list, stamp
from curation.arrow import I64, Bool_N, bytes_and_offsets, is_valid, to_column
from curation.columns import columns
from curation.errors import RecipeError
from curation.stage import Annotator

if TYPE_CHECKING:
    from curation.kernels.automaton import Automaton

I32 = npt.NDArray[np.int32]

_CODE_POINTS = 0x110000
#: No letter that has two cases lies behind these.
_CASED = range(0x80, 0x1F000)


@dataclass(frozen=True, kw_only=True)
class BlockedWords(Annotator):
    r"""Count the words and phrases of a list in a text.

    words        path of a file with an entry a line, or a tuple of entries; entries that differ
                 in case alone are one
    whole_words  count a word only where no letter, digit or underscore (Python's ``\w``) stands
                 on either side of it; False for languages that put no space between words

    Case is folded character by character (Unicode's simple case folding), so that "ß" is not
    "ss". White space within a phrase is what it is in the list. Every place at which an entry
    occurs counts, overlapping ones too: "new york" and "york" are both found in "New York".

    reads    text                large_string  any length; null allowed
    writes   blocked_word_count  uint32        occurrences; null where text is null
    source   Raffel et al. 2020, arXiv:1910.10683 (C4): pages with a word of a list are dropped
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("text",)
    writes: ClassVar[pa.Schema] = columns("blocked_word_count")

    words: Listed
    whole_words: bool = True

    def check(self) -> None:
        stamp(self.words)  # a missing file is told before data is read
        if not self.words:
            raise RecipeError(
                "BlockedWords takes words.",
                found=f"words={self.words!r}",
                remedy='the path of a list, or the words themselves: words=("spam", "ham")',
            )

    def model_files(self) -> tuple[str, ...]:
        return files_of(self.words)

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from curation.kernels.automaton import count_strings

        text = batch["text"]
        words = _words(self.words, stamp(self.words))
        flanks = _word_characters() if self.whole_words else np.zeros(0, dtype=np.bool_)
        data = bytes_and_offsets(text)
        count = count_strings(words.automaton, words.chars, *data, _fold_table(), flanks)
        column = to_column(count, is_valid(text))
        return pa.RecordBatch.from_arrays([column], schema=self.writes)


class _Words(NamedTuple):
    automaton: Automaton
    chars: I64


@functools.lru_cache(maxsize=4)
def _words(listed: Listed, _: Stamp) -> _Words:
    from curation.kernels.automaton import make_automaton

    folded = list(dict.fromkeys(map(fold, read_list(listed).to_pylist())))
    if not folded:
        raise RecipeError(
            "BlockedWords takes words, and the list holds none.",
            found=repr(listed)[:100],
            remedy="a file with an entry a line; blank lines and lines from '#' on do not count",
        )
    entries = bytes_and_offsets(pa.array(folded, pa.large_string()))
    try:
        automaton = make_automaton(*entries, _classes(entries[0]))
    except ValueError as error:
        raise RecipeError(
            "BlockedWords holds its list in memory, and this one is too long.",
            words=f"{len(folded):,}",
            found=str(error),
            remedy="shorten the list; entries that hold another one are found without it",
        ) from None
    return _Words(automaton, np.array([len(word) for word in folded], dtype=np.int64))


def _classes(used_B: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return uint8[256]: a class for each byte that the list holds, 0 for all others."""
    classes = np.zeros(256, dtype=np.uint8)
    used = np.unique(used_B)
    classes[used] = np.arange(1, len(used) + 1)
    upper = np.arange(ord("A"), ord("Z") + 1)
    classes[upper] = classes[upper | 0x20]
    return classes


def fold(text: str) -> str:
    """Return a text with every character folded by itself."""
    return "".join(map(_fold_character, text))


def _fold_character(character: str) -> str:
    for folded in (character.casefold(), character.lower()):
        if len(folded) == 1:
            return folded
    return character


@functools.cache
def _fold_table() -> I32:
    """Return int32[C]: the code point that each one is folded to."""
    table = np.arange(_CODE_POINTS, dtype=np.int32)
    table[_CASED.start : _CASED.stop] = [
        code if 0xD800 <= code < 0xE000 else ord(_fold_character(chr(code))) for code in _CASED
    ]
    return table


@functools.cache
def _word_characters() -> Bool_N:
    r"""Return bool[C]: whether Python's ``\w`` holds for each code point."""
    everything = "".join(map(chr, range(_CODE_POINTS)))
    table = np.zeros(_CODE_POINTS, dtype=np.bool_)
    for run in re.finditer(r"\w+", everything):
        table[run.start() : run.end()] = True
    return table
