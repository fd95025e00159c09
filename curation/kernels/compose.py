"""Documents and what was mined from them, put into templates.

A new text is a list of pieces (where from, first byte, byte after the last), laid in one pass and
copied in a second: templates, document and title are never joined into strings on the way. Runs of
spaces become one space in templates and in what was mined, as AdaptLLM has it; the document itself
is copied as it is, so that code and tables in it keep their shape.

B bytes of all documents laid end to end, N documents, S sentences, T tasks, R new rows, P pieces,
L bytes of all templates, G segments of all templates, V values of a template
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from curation.kernels.chunks import skip_space, trim_end
from curation.kernels.leaf import leaf
from curation.kernels.task_choice import (
    COMPLETION,
    FRAME_BOTH,
    FRAME_COMPLETION,
    FRAME_SUMMARY,
    INTRODUCTION,
    KINDS,
    SUMMARY,
    TEMPLATE,
    cut_after,
    draw,
    frame_of,
)

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

#: Where a piece comes from; spaces of the last, and of none of the others, are left as they are.
LITERAL, MINED, TITLE, TEXT = range(4)
#: What becomes of a document without any task mined from it.
FRAMED, UNCHANGED, DROPPED = range(3)
_KINDS = len(KINDS)
_VALUES = 4


class Forms(NamedTuple):
    """Templates of all families as arrays.

    literal_L  uint8[L]  their text; the first two bytes are what stands between tasks
    slot_G     int64[G]  which value a segment is; -1 for a piece of literal_L
    start_G    int64[G]  first byte of that piece
    stop_G     int64[G]  the byte after its last
    segment    int64[..] template t owns segments segment[t] to segment[t+1]
    family     int64[..] family f owns templates family[f] to family[f+1]
    """

    literal_L: U8
    slot_G: I64
    start_G: I64
    stop_G: I64
    segment: I64
    family: I64


class Layout(NamedTuple):
    """Where the parts of each document are.

    first_N, stop_N  the text without white space around it
    body_N           where it goes on after the line that is its title; first_N without such a line
    title_N          first byte of the title, and
    title_stop_N     the byte after its last, in the documents or in the titles; equal for none
    titled_N         whether the title is a line of the text
    """

    first_N: I64
    stop_N: I64
    body_N: I64
    title_N: I64
    title_stop_N: I64
    titled_N: npt.NDArray[np.bool_]


#: How YAML and notes name their title; the colon has the bit of small letters set already.
_NAMED = np.frombuffer(b"title:", dtype=np.uint8)


@numba.njit(cache=True, nogil=True)
def lay_out(data_B: U8, offset: I64, title_B: U8, title_offset: I64, max_chars: int) -> Layout:
    """Find the text, the title and the body of each document.

    title_B    uint8[..]    given titles, laid end to end; a blank one is none
    max_chars  code points that a first line may have to be taken for a title, where none is given;
               0 for no such titles
    """
    count = offset.size - 1
    first_N, stop_N = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    body_N = np.empty(count, dtype=np.int64)
    title_N, title_stop_N = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    titled_N = np.zeros(count, dtype=np.bool_)
    for n in range(count):
        first = skip_space(data_B, offset[n], offset[n + 1])
        stop = trim_end(data_B, first, offset[n + 1])
        first_N[n], stop_N[n], body_N[n] = first, stop, first
        begin = skip_space(title_B, title_offset[n], title_offset[n + 1])
        end = trim_end(title_B, begin, title_offset[n + 1])
        if end == begin and max_chars > 0:
            begin, end = first, _line_end(data_B, first, stop, max_chars)
            if end == stop:
                end = begin
            elif end > begin:
                after = skip_space(data_B, end, stop)
                begin, end = _bare_title(data_B, begin, trim_end(data_B, begin, end))
                if end > begin:
                    body_N[n], titled_N[n] = after, True
        title_N[n], title_stop_N[n] = begin, end
    return Layout(first_N, stop_N, body_N, title_N, title_stop_N, titled_N)


@numba.njit(cache=True, nogil=True)
def _bare_title(data_B: U8, begin: int, end: int) -> tuple[int, int]:
    """Return the part of a first line that names the document: no number signs, no "title:"."""
    at = begin
    while at < end and data_B[at] == 0x23:
        at += 1
    bare = skip_space(data_B, at, end)
    if at > begin and bare > at:
        begin = bare
        last = end
        while last > begin and data_B[last - 1] == 0x23:
            last -= 1
        if last < end and (last == begin or trim_end(data_B, begin, last) < last):
            end = trim_end(data_B, begin, last)
    elif at == end:
        return end, end
    is_named = end - begin >= _NAMED.size
    for n in range(_NAMED.size):
        is_named = is_named and data_B[begin + n] | 0x20 == _NAMED[n]
    return skip_space(data_B, begin + _NAMED.size, end) if is_named else begin, end


@leaf
def _line_end(data_B: U8, at: int, stop: int, max_chars: int) -> int:
    """Return where the line at ``at`` ends; ``at`` if it has more than so many code points."""
    begin, chars = at, 0
    while at < stop and data_B[at] != 0x0A:
        chars += data_B[at] & 0xC0 != 0x80
        if chars > max_chars:
            return begin
        at += 1
    return at


@numba.njit(cache=True, nogil=True)
def compose(
    source: tuple[U8, U8],
    key_N: U64,
    layout: Layout,
    sentence: tuple[I64, I64, I64],
    task_T: I64,
    forms: Forms,
    taskless: int,
) -> tuple[I64, U32, U8, I64]:
    """Put each document and its tasks into templates.

    source    uint8[B], uint8[..]  documents, and given titles, laid end to end
    key_N     uint64[N]       what every choice for a document is drawn from
    sentence  see ``cut_sentences``, of the bodies
    task_T    see ``choose_tasks``
    taskless  FRAMED, UNCHANGED or DROPPED
    returns   int64[R]        the document of each new row, ascending; a blank one has none
              uint32[R, 6]    how many tasks of each kind it has
              uint8[..]       the new texts laid end to end
              int64[R+1]      row r owns bytes offset[r] to offset[r+1]
    """
    piece_P3, row_offset, parent_R, count_R6 = _lay(
        key_N, layout, sentence, task_T, forms, taskless
    )
    made_B, offset = _copy(*source, forms.literal_L, piece_P3, row_offset)
    return parent_R, count_R6, made_B, offset


@numba.njit(cache=True, nogil=True)
def _lay(
    key_N: U64,
    layout: Layout,
    sentence: tuple[I64, I64, I64],
    task_T: I64,
    forms: Forms,
    taskless: int,
) -> tuple[I64, I64, I64, U32]:
    """Return the pieces of the new rows, and the rows' parents and counts; see ``compose``."""
    parent_R = np.empty(key_N.size, dtype=np.int64)
    row_offset = np.zeros(key_N.size + 1, dtype=np.int64)
    count_R6 = np.zeros((key_N.size, _KINDS), dtype=np.uint32)
    value_V3 = np.zeros((_VALUES, 3), dtype=np.int64)
    widest = 1
    for template in range(forms.segment.size - 1):
        widest = max(widest, forms.segment[template + 1] - forms.segment[template] + 1)
    piece_P3 = np.empty((1024, 3), dtype=np.int64)
    t, rows, at = 0, 0, 0
    for n in range(key_N.size):
        t_stop = t
        while t_stop < task_T.shape[0] and task_T[t_stop, 0] == n:
            t_stop += 1
        begin, t = t, t_stop
        if layout.first_N[n] == layout.stop_N[n] or (t_stop == begin and taskless == DROPPED):
            continue
        while at + widest * (t_stop - begin + 2) > piece_P3.shape[0]:
            piece_P3 = np.concatenate((piece_P3, np.empty_like(piece_P3)))
        if t_stop == begin and taskless == UNCHANGED:
            at = _put(piece_P3, at, TEXT, layout.first_N[n], layout.stop_N[n])
        else:
            family = _frame(key_N[n], layout, sentence, n, value_V3)
            at = _fill(key_N[n], family, 0, forms, value_V3, piece_P3, at)
            count_R6[rows, SUMMARY] = family in (FRAME_SUMMARY, FRAME_BOTH)
            count_R6[rows, COMPLETION] = family in (FRAME_COMPLETION, FRAME_BOTH)
        if t_stop > begin:
            at = _put(piece_P3, at, LITERAL, 0, 2)
            at = _fill(key_N[n], INTRODUCTION, 1, forms, value_V3, piece_P3, at)
        for task in range(begin, t_stop):
            at = _put(piece_P3, at, LITERAL, 0, 2)
            for value in range(_VALUES):
                value_V3[value, 0] = MINED
                value_V3[value, 1] = task_T[task, 3 + 2 * value]
                value_V3[value, 2] = task_T[task, 4 + 2 * value]
            index = 2 + task - begin
            at = _fill(key_N[n], task_T[task, 1], index, forms, value_V3, piece_P3, at)
            count_R6[rows, task_T[task, 2]] += np.uint32(1)
        parent_R[rows] = n
        rows += 1
        row_offset[rows] = at
    return piece_P3[:at], row_offset[: rows + 1], parent_R[:rows], count_R6[:rows]


@leaf
def _frame(
    key: np.uint64, layout: Layout, sentence: tuple[I64, I64, I64], n: int, value_V3: I64
) -> int:
    """Return the family of the frame of a document, after putting its values into ``value_V3``.

    Where a frame has no place for the title, a title that is the text's first line stays there.
    """
    offset, start_S, stop_S = sentence
    sentences = offset[n + 1] - offset[n]
    has_title = layout.title_stop_N[n] > layout.title_N[n]
    family = frame_of(key, has_title, sentences)
    begin = layout.body_N[n] if family in (FRAME_SUMMARY, FRAME_BOTH) else layout.first_N[n]
    value_V3[:, 0] = TEXT
    value_V3[0, 1], value_V3[0, 2] = begin, layout.stop_N[n]
    if family in (FRAME_COMPLETION, FRAME_BOTH):
        s = offset[n] + cut_after(key, sentences)
        value_V3[0, 2] = stop_S[s - 1]
        value_V3[1, 1], value_V3[1, 2] = start_S[s], layout.stop_N[n]
    value_V3[2, 0] = MINED if layout.titled_N[n] else TITLE
    value_V3[2, 1], value_V3[2, 2] = layout.title_N[n], layout.title_stop_N[n]
    return family


@leaf
def _fill(
    key: np.uint64, family: int, index: int, forms: Forms, value_V3: I64, piece_P3: I64, at: int
) -> int:
    """Put down a template of a family, drawn by chance, with the values in its slots."""
    first = forms.family[family]
    choices = np.uint64(forms.family[family + 1] - first)
    template = first + np.int64(draw(key, TEMPLATE, index) % choices)
    for g in range(forms.segment[template], forms.segment[template + 1]):
        slot = forms.slot_G[g]
        if slot < 0:
            at = _put(piece_P3, at, LITERAL, forms.start_G[g], forms.stop_G[g])
        else:
            at = _put(piece_P3, at, value_V3[slot, 0], value_V3[slot, 1], value_V3[slot, 2])
    return at


@leaf
def _put(piece_P3: I64, at: int, origin: int, start: int, stop: int) -> int:
    piece_P3[at, 0], piece_P3[at, 1], piece_P3[at, 2] = origin, start, stop
    return at + 1


@numba.njit(cache=True, nogil=True)
def _copy(data_B: U8, title_B: U8, literal_L: U8, piece_P3: I64, row_offset: I64) -> tuple[U8, I64]:
    """Copy the pieces of each row; return the bytes and the int64[R+1] offsets of the rows."""
    made_B = np.empty((piece_P3[:, 2] - piece_P3[:, 1]).sum(), dtype=np.uint8)
    offset = np.zeros(row_offset.size, dtype=np.int64)
    at = 0
    for r in range(row_offset.size - 1):
        begin = at
        for p in range(row_offset[r], row_offset[r + 1]):
            start, stop = piece_P3[p, 1], piece_P3[p, 2]
            if piece_P3[p, 0] == TEXT:
                made_B[at : at + stop - start] = data_B[start:stop]
                at += stop - start
            elif piece_P3[p, 0] == LITERAL:
                at = _copy_folded(literal_L, start, stop, made_B, begin, at)
            elif piece_P3[p, 0] == TITLE:
                at = _copy_folded(title_B, start, stop, made_B, begin, at)
            else:
                at = _copy_folded(data_B, start, stop, made_B, begin, at)
        offset[r + 1] = at
    return made_B[:at], offset


@leaf
def _copy_folded(from_B: U8, start: int, stop: int, made_B: U8, begin: int, at: int) -> int:
    """Copy bytes, of spaces in a row the first alone; return the place after them."""
    for place in range(start, stop):
        byte = from_B[place]
        if byte == 0x20 and at > begin and made_B[at - 1] == 0x20:
            continue
        made_B[at] = byte
        at += 1
    return at
