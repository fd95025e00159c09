"""The script of a text, and whether its letters are in the form that a language model knows.

What a code point is comes from ``scripts.txt``, made from Unicode 14's character database by
``python -m tests.oracles.scripts``: the ISO 15924 codes in its first line, then runs of equal
flags. A letter is a code point of category L whose script is neither Common nor Inherited.

C code points, B bytes of all texts, N texts, S scripts
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.unicode import CODE_POINTS as CODE_POINTS
from curation.kernels.unicode import decode

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
I64 = npt.NDArray[np.int64]

#: Flags of a code point. The lowest 8 bits are its script, 0 where it is no letter; then 8 bits
#: with its canonical combining class.
SCRIPT = 0xFF
CLASS_SHIFT = 8
LOWER = 1 << 16  # property Lowercase, or a title-case letter
UPPER = 1 << 17  # property Uppercase
UNSTABLE = 1 << 18  # property NFC_Quick_Check is not Yes

#: What keeps a text from being read as it is: see ``Survey``.
NOT_NORMAL, ALL_UPPER = 1, 2

#: At least so many of the Han and kana letters of Japanese are kana: one in 20.
KANA_SHARE = 20

_FILE = Path(__file__).with_name("scripts.txt")


class Survey(NamedTuple):
    """What texts are made of.

    script_N   uint8[N]  index to ``script_codes()``
    letter_N   int64[N]  letters
    char_N     int64[N]  code points
    unready_N  uint8[N]  NOT_NORMAL: may not be in Unicode normalization form C;
                         ALL_UPPER: has capitals and no small letter, as ``str.isupper`` says
    """

    script_N: U8
    letter_N: I64
    char_N: I64
    unready_N: U8


class _Numbers(NamedTuple):
    """The scripts that are judged together."""

    hani: int
    hira: int
    kana: int
    jpan: int


@functools.cache
def script_codes() -> tuple[str, ...]:
    """Return the ISO 15924 code of each script: Zyyy first, and last Jpan, Han mixed with kana."""
    first = _FILE.read_text(encoding="ascii").split("\n", 1)[0]
    return ("Zyyy", *first.split(), "Jpan")


@functools.cache
def flag_table() -> U32:
    """Return uint32[C]: the flags of every code point."""
    lines = _FILE.read_text(encoding="ascii").split("\n", 1)[1].split()
    start = np.array([int(line, 16) for line in lines[0::2]], dtype=np.int64)
    flags = np.array([int(line, 16) for line in lines[1::2]], dtype=np.uint32)
    return np.repeat(flags, np.diff(np.append(start, CODE_POINTS)))


@functools.cache
def _numbers() -> _Numbers:
    codes = script_codes()
    return _Numbers(*(codes.index(name) for name in ("Hani", "Hira", "Kana", "Jpan")))


def survey(data_B: U8, start_N: I64, stop_N: I64) -> Survey:
    """Count the letters of each text, find its script and what a model must undo before it reads.

    data_B   uint8[B]  UTF-8
    start_N  int64[N]  text n is data_B[start_N[n]:stop_N[n]]
    stop_N   int64[N]
    """
    # Copies, since numba compiles a kernel again for arrays that are read-only.
    return Survey(*_survey(data_B, start_N.copy(), stop_N.copy(), flag_table(), _numbers()))


@numba.njit(cache=True, nogil=True)
def _survey(
    data_B: U8, start_N: I64, stop_N: I64, flag_C: U32, numbers: _Numbers
) -> tuple[U8, I64, I64, U8]:
    script_N = np.zeros(start_N.size, dtype=np.uint8)
    letter_N = np.zeros(start_N.size, dtype=np.int64)
    char_N = np.zeros(start_N.size, dtype=np.int64)
    unready_N = np.zeros(start_N.size, dtype=np.uint8)
    count_S = np.zeros(SCRIPT + 1, dtype=np.int64)
    for n in range(start_N.size):
        count_S[:] = 0
        char_N[n], unready_N[n] = _count(data_B, start_N[n], stop_N[n], flag_C, count_S)
        letter_N[n] = count_S[1:].sum()
        script_N[n] = _script(count_S, numbers)
    return script_N, letter_N, char_N, unready_N


@numba.njit(cache=True, nogil=True)
def _count(data_B: U8, at: int, stop: int, flag_C: U32, count_S: I64) -> tuple[int, int]:
    """Add up the code points by script; return how many there are, and the unready flags.

    Normal form is told by the quick check of Unicode Standard Annex 15, section 9: no unstable
    code point, and combining classes that never fall within a run of marks.
    """
    latin = flag_C[0x41] & SCRIPT
    chars, latins, normal, last, seen = 0, 0, True, 0, np.uint32(0)
    while at < stop:
        chars += 1
        byte = data_B[at]
        if byte < 0x80:
            flags = flag_C[byte]
            seen |= flags
            latins += 1 if flags & SCRIPT else 0
            last, at = 0, at + 1
            continue
        code, width = decode(data_B, at, stop)
        flags = flag_C[code]
        seen |= flags
        count_S[flags & SCRIPT] += 1
        kind = (flags >> CLASS_SHIFT) & 0xFF
        if flags & UNSTABLE or 0 < kind < last:
            normal = False
        last, at = kind, at + width
    count_S[latin] += latins
    unready = 0 if normal else NOT_NORMAL
    if seen & UPPER and not seen & LOWER:
        unready |= ALL_UPPER
    return chars, unready


@numba.njit(cache=True, nogil=True)
def _script(count_S: I64, numbers: _Numbers) -> int:
    """Return the script with the most letters, Han and kana taken together; 0 without a letter."""
    kana = count_S[numbers.hira] + count_S[numbers.kana]
    east = count_S[numbers.hani] + kana
    japanese = kana * KANA_SHARE >= east
    best, most = 0, 0
    for script in range(1, numbers.jpan + 1):
        count = count_S[script]
        if script == numbers.hira or script == numbers.kana:
            count = 0
        elif script == numbers.hani:
            count = 0 if japanese else east
        elif script == numbers.jpan:
            count = east if japanese else 0
        if count > most:
            best, most = script, count
    return best
