"""What each Unicode code point is, as bit flags, and how UTF-8 is decoded.

The flags come from ``unicode_flags.txt``, runs of code points made from Unicode 14's character
database by ``python -m tests.oracles.unicode_flags``; a fixed table gives the same words on every
machine, whatever Unicode its Python knows. A kernel takes the table as an argument, since numba
would put a copy of a global one into each compiled function.

C code points, B bytes
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import numpy.typing as npt

from curation.kernels.leaf import Int, leaf

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]

CODE_POINTS = 0x110000

LETTER = 1 << 0  # category L
DIGIT = 1 << 1  # category Nd
UPPER = 1 << 2  # category Lu
SPACE = 1 << 3  # what str.isspace says: property White_Space, and U+001C to U+001F
SYMBOL = 1 << 4  # categories P and S
PUNCT = 1 << 5  # category P
MARK = 1 << 6  # category M
WORD = 1 << 7  # categories L, M, N and Pc: what the Unicode splitter makes words of
SINGLE = 1 << 8  # Han, kana, Thai, Lao, Khmer, Burmese: scripts that put no space between words
FILLER = 1 << 9  # datatrove's PUNCTUATION_SET: a word of nothing else is a symbol
TERMINAL = 1 << 10  # datatrove's TERMINAL_PUNCTUATION: marks that end a sentence, in all scripts
#: The classes of the English splitter's affix rules; see ``english.py``.
LOWER_OR_UNCASED = 1 << 11
UPPER_OR_UNCASED = 1 << 12
ALPHA = LOWER_OR_UNCASED | UPPER_OR_UNCASED
QUOTE = 1 << 13
STOP = 1 << 14  # marks that are cut from either end of a word
ICON = 1 << 15  # category So
CURRENCY = 1 << 16
HYPHEN = 1 << 17
CUTS = 1 << 18  # any affix or infix rule looks at this character

_FILE = Path(__file__).with_name("unicode_flags.txt")


@functools.cache
def flag_table() -> U32:
    """Return uint32[C]: the flags of every code point."""
    lines = _FILE.read_text(encoding="ascii").split()
    start = np.array([int(line, 16) for line in lines[0::2]], dtype=np.int64)
    flags = np.array([int(line, 16) for line in lines[1::2]], dtype=np.uint32)
    table = np.repeat(flags, np.diff(np.append(start, CODE_POINTS)))
    table.flags.writeable = False
    return table


@leaf
def decode(data_B: U8, at: int, stop: int) -> tuple[int, int]:
    """Return the code point that starts at ``at`` and how many bytes it takes.

    A byte that begins no code point, or one cut off by ``stop``, is U+FFFD of one byte.
    """
    first: Int = np.int64(data_B[at])
    if first < 0x80:
        return first, 1
    if 0xC0 <= first < 0xE0 and at + 1 < stop:
        return ((first & 0x1F) << 6) | (data_B[at + 1] & 0x3F), 2
    if 0xE0 <= first < 0xF0 and at + 2 < stop:
        tail = (np.int64(data_B[at + 1] & 0x3F) << 6) | (data_B[at + 2] & 0x3F)
        return ((first & 0x0F) << 12) | tail, 3
    if 0xF0 <= first < 0xF5 and at + 3 < stop:
        tail = (np.int64(data_B[at + 1] & 0x3F) << 12) | (np.int64(data_B[at + 2] & 0x3F) << 6)
        return min(((first & 0x07) << 18) | tail | (data_B[at + 3] & 0x3F), CODE_POINTS - 1), 4
    return 0xFFFD, 1


@leaf
def before(data_B: U8, at: int, start: int) -> int:
    """Return where the code point that ends at ``at`` begins; not before ``start``.

    No more than four bytes are looked at, though a damaged text may have any number that continue
    a code point.
    """
    first = max(start, at - 4)
    at -= 1
    while at > first and data_B[at] & 0xC0 == 0x80:
        at -= 1
    return at
