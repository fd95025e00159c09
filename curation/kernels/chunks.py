"""Where to cut long documents, so that each piece ends where a reader would pause.

One walk over the bytes, which steps back to each cut: the walk keeps the last place of each kind
that the window holds, and takes the best kind when the window is full.

B bytes of all documents laid end to end, N documents, C chunks
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.leaf import leaf
from curation.kernels.unicode import before
from curation.kernels.words import KIND, LETTER, space_width

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

# Kinds of places to cut, the better the higher.
_SPACE, _SENTENCE, _LINE, _PARAGRAPH = 0, 1, 2, 3


@numba.njit(cache=True, nogil=True)
def cut(data_B: U8, offset: I64, max_chars: int) -> tuple[I64, I64, I64]:
    """Cut documents into pieces of at most ``max_chars`` code points.

    A piece ends at the last paragraph end (white space with two or more line feeds) of its
    window; without one at the last line end; then at the last sentence end; all three looked for
    in the second half of the window, so that no piece is needlessly short; then at the last
    white space anywhere in the window; then at ``max_chars``. White space around a cut belongs to
    neither piece. A document within the limit is one piece, as it is; a document of nothing but
    white space is none.

    data_B   uint8[B]            UTF-8, all documents laid end to end
    offset   int64[N+1]          document n owns data_B[offset[n]:offset[n+1]]
    returns  int64[C], each      document, first byte, byte after the last; in order
    """
    parent_C: list[int] = []
    start_C: list[int] = []
    stop_C: list[int] = []
    for n in range(offset.size - 1):
        first, end = offset[n], offset[n + 1]
        at, stop = skip_space(data_B, first, end), end
        if at < end and after_chars(data_B, first, end, max_chars) == end:
            at = first
        else:
            stop = trim_end(data_B, at, end)
        while at < stop:
            after = _end_of_piece(data_B, at, stop, max_chars)
            parent_C.append(n)
            start_C.append(at)
            stop_C.append(after)
            at = skip_space(data_B, after, stop)
    return np.array(parent_C), np.array(start_C), np.array(stop_C)


@numba.njit(cache=True, nogil=True)
def copy_pieces(data_B: U8, start_C: I64, stop_C: I64) -> tuple[U8, I64]:
    """Lay pieces end to end; return their bytes and the int64[C+1] offsets of the pieces."""
    offset = np.zeros(start_C.size + 1, dtype=np.int64)
    offset[1:] = np.cumsum(stop_C - start_C)
    copied = np.empty(offset[-1], dtype=np.uint8)
    for c in range(start_C.size):
        copied[offset[c] : offset[c + 1]] = data_B[start_C[c] : stop_C[c]]
    return copied, offset


@numba.njit(cache=True, nogil=True)
def trim_ends(data_B: U8, start_C: I64, stop_C: I64) -> I64:
    """Return where the last character of each piece that is not white space ends."""
    end_C = np.empty_like(stop_C)
    for c in range(start_C.size):
        end_C[c] = trim_end(data_B, start_C[c], stop_C[c])
    return end_C


@numba.njit(cache=True, nogil=True)
def _end_of_piece(data_B: U8, start: int, stop: int, max_chars: int) -> int:
    """Return where the piece that starts at ``start``, not at white space, ends."""
    best = np.full(4, -1, dtype=np.int64)
    at, chars, enough = start, 0, (max_chars + 1) // 2
    while at < stop:
        byte = data_B[at]
        if KIND[byte] != LETTER and space_width(data_B, at, stop) > 0:
            after, run_chars, feeds = space_run(data_B, at, stop)
            kind = min(_SENTENCE + feeds, _PARAGRAPH) if feeds else _SPACE
            if kind == _SPACE and ends_sentence(data_B, start, at):
                kind = _SENTENCE
            best[_SPACE] = at
            if chars >= enough:
                best[kind] = at
            at, chars = after, chars + run_chars
        else:
            if chars >= enough and _is_wide_stop(data_B, at - 3, start):
                best[_SENTENCE] = at
            if chars == max_chars:
                break
            at, chars = at + _char_width(data_B, at, stop), chars + 1
        if chars > max_chars:
            break
    else:
        return stop
    for kind in (_PARAGRAPH, _LINE, _SENTENCE, _SPACE):
        if best[kind] >= 0:
            return int(best[kind])
    return at


@numba.njit(cache=True, nogil=True)
def space_run(data_B: U8, at: int, stop: int) -> tuple[int, int, int]:
    """Return where the white space from ``at`` on ends, its code points and its line feeds."""
    chars, feeds = 0, 0
    while at < stop:
        width = space_width(data_B, at, stop)
        if width == 0:
            break
        feeds += data_B[at] == 0x0A
        at, chars = at + width, chars + 1
    return at, chars, feeds


@numba.njit(cache=True, nogil=True)
def ends_sentence(data_B: U8, start: int, at: int) -> bool:
    """Say whether the bytes before ``at`` are . ! or ?, perhaps with closing quotes after it."""
    while at > start:
        byte = data_B[at - 1]
        if byte in (0x22, 0x27, 0x29, 0x5D):  # " ' ) ]
            at -= 1
        elif _is_closing_quote(data_B, at - 3, start):
            at -= 3
        else:
            return byte in (0x2E, 0x21, 0x3F) or _is_wide_stop(data_B, at - 3, start)  # . ! ?
    return False


@numba.njit(cache=True, nogil=True)
def _is_closing_quote(data_B: U8, at: int, start: int) -> bool:
    if at < start or data_B[at] != 0xE2 or data_B[at + 1] != 0x80:
        return False
    return data_B[at + 2] in (0x99, 0x9D)  # U+2019, U+201D


@numba.njit(cache=True, nogil=True)
def _is_wide_stop(data_B: U8, at: int, start: int) -> bool:
    """Say whether U+3002, U+FF01 or U+FF1F stands at ``at``: they end a sentence by themselves."""
    if at < start:
        return False
    if data_B[at] == 0xE3:
        return bool(data_B[at + 1] == 0x80 and data_B[at + 2] == 0x82)
    is_wide = data_B[at] == 0xEF and data_B[at + 1] == 0xBC
    return bool(is_wide and data_B[at + 2] in (0x81, 0x9F))


@numba.njit(cache=True, nogil=True)
def _char_width(data_B: U8, at: int, stop: int) -> int:
    """Return the bytes of the code point at ``at``: up to the next byte that begins one."""
    after = at + 1
    while after < stop and data_B[after] & 0xC0 == 0x80:
        after += 1
    return after - at


@numba.njit(cache=True, nogil=True)
def after_chars(data_B: U8, at: int, stop: int, chars: int) -> int:
    """Return the place after so many code points, or ``stop`` if there are no more than that."""
    while at < stop and chars > 0:
        at, chars = at + _char_width(data_B, at, stop), chars - 1
    return at


@leaf
def skip_space(data_B: U8, at: int, stop: int) -> int:
    """Return the first place from ``at`` on that is no white space, or ``stop``."""
    while at < stop:
        width = space_width(data_B, at, stop)
        if width == 0:
            break
        at += width
    return at


@leaf
def trim_end(data_B: U8, start: int, stop: int) -> int:
    """Return where the last character before ``stop`` that is not white space ends."""
    while stop > start:
        at = before(data_B, stop, start)
        if space_width(data_B, at, stop) == 0:
            break
        stop = at
    return stop
