"""Pieces of texts, as columns of lists hold them, laid flat and back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.arrow import Bool_N, is_valid, to_column, values_of
from curation.columns import SPAN

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]


class Spans(NamedTuple):
    """Pieces of consecutive texts.

    row_S    int64[S]   the text, counted from the first of these
    kind     S strings  null allowed
    start_S  uint64[S]  first byte within the text
    stop_S   uint64[S]  and the byte after the last
    """

    row_S: I64
    kind: pa.Array
    start_S: U64
    stop_S: U64


NO_SPANS = Spans(
    np.empty(0, np.int64),
    pa.array([], pa.large_string()),
    np.empty(0, np.uint64),
    np.empty(0, np.uint64),
)


def spans_of(lists: pa.Array) -> Spans:
    """Return the spans of lists in their order, but for null ones and those with no place."""
    count_N = values_of(pc.fill_null(pc.list_value_length(lists), 0))
    # not list_parent_indices, which counts what lies beneath a null list
    row_S = np.repeat(np.arange(len(lists)), count_N)
    kind, start, stop = pc.list_flatten(lists).flatten()  # a null span has null fields
    known_S = is_valid(start) & is_valid(stop)
    start_S, stop_S = values_of(start)[known_S], values_of(stop)[known_S]
    return Spans(row_S[known_S], kind.filter(to_column(known_S)), start_S, stop_S)


def span_lists(valid_N: Bool_N, spans: Spans) -> pa.Array:
    """Return spans, sorted by row, as a column of lists; null where a row is not valid."""
    first = to_column(np.searchsorted(spans.row_S, np.arange(len(valid_N) + 1)))
    edges = [to_column(edge_S) for edge_S in (spans.start_S, spans.stop_S)]
    pieces = pa.StructArray.from_arrays([spans.kind, *edges], fields=list(SPAN))
    mask = None if valid_N.all() else to_column(~valid_N)
    return pa.LargeListArray.from_arrays(first, pieces, mask=mask)
