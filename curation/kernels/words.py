"""White space and words in UTF-8 bytes.

White space is Unicode's White_Space property, 25 characters that have not changed since
Unicode 6.3. Python's ``str.split`` also splits at the separators U+001C to U+001F; Unicode does
not, and neither does this file. Bytes that are not UTF-8 are letters like any other.

Compiled kernels are cached beside their files, or in ~/.cache/numba where the package is
read-only; where that cannot be written either, importing a kernel fails with numba's "no locator
available" unless NUMBA_CACHE_DIR names a folder that can.

B bytes of all documents laid end to end, N documents
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
I64 = npt.NDArray[np.int64]

#: What a byte is: part of a letter, white space, or the first byte of what may be white space.
LETTER, SPACE, PERHAPS = 0, 1, 2
KIND = np.zeros(256, dtype=np.uint8)
KIND[[0x20, *range(0x09, 0x0E)]] = SPACE
KIND[[0xC2, 0xE1, 0xE2, 0xE3]] = PERHAPS


@numba.njit(cache=True, nogil=True)
def space_width(data_B: U8, at: int, stop: int) -> int:
    """Return how many bytes the white space character that starts at ``at`` takes; 0 for others.

    stop  end of the document: no byte at or after it is looked at

    Numba's cache watches a kernel's own file alone: whoever changes this function empties
    the cache (``__pycache__/*.nb?``) of the kernels that call it.
    """
    first = data_B[at]
    if first < 0x80:
        return 1 if first == 0x20 or 0x09 <= first <= 0x0D else 0
    if first == 0xC2:  # U+0085, U+00A0
        return 2 if at + 1 < stop and (data_B[at + 1] == 0x85 or data_B[at + 1] == 0xA0) else 0
    if first < 0xE1 or first > 0xE3 or at + 2 >= stop:
        return 0
    second, third = data_B[at + 1], data_B[at + 2]
    if first == 0xE1:  # U+1680
        return 3 if second == 0x9A and third == 0x80 else 0
    if first == 0xE3:  # U+3000
        return 3 if second == 0x80 and third == 0x80 else 0
    if second == 0x81:  # U+205F
        return 3 if third == 0x9F else 0
    general = 0x80 <= third <= 0x8A or third == 0xA8 or third == 0xA9 or third == 0xAF
    return 3 if second == 0x80 and general else 0  # U+2000..200A, U+2028, U+2029, U+202F


@numba.njit(cache=True, nogil=True)
def count_words(data_B: U8, offset: I64) -> U32:
    """Count the runs of characters between white space in each document.

    data_B   uint8[B]    UTF-8, all documents laid end to end
    offset   int64[N+1]  document n owns data_B[offset[n]:offset[n+1]]; need not start at 0
    returns  uint32[N]
    """
    count_N = np.zeros(offset.size - 1, dtype=np.uint32)
    for n in range(count_N.size):
        at, stop = offset[n], offset[n + 1]
        words, after_space = 0, 1
        while at < stop:
            kind = KIND[data_B[at]]
            if kind == PERHAPS:  # the only branch: letters and ASCII spaces are told by arithmetic
                width = space_width(data_B, at, stop)
                kind = SPACE if width else LETTER
                at += max(width - 1, 0)
            words += after_space & (1 - kind)
            after_space = kind
            at += 1
        count_N[n] = words
    return count_N
