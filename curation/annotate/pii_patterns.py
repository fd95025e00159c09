"""Personal data in a batch of texts: the one search behind ``Pii`` and ``RedactPii``."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

Kind = Literal["email", "ip", "phone", "card", "iban", "secret"]
ALL_KINDS: tuple[Kind, ...] = ("email", "ip", "phone", "card", "iban", "secret")

#: How often a text is searched again with what was found put out of sight. A number beside
#: another is left alone as part of a longer row until that other is known to be a card; a third
#: search has found nothing new in any text that was not made to need it.
SEARCHES = 4


class Found(NamedTuple):
    """Spans of personal data in the order of the text, no two of them overlapping.

    row_S, kind_S    document; index into ALL_KINDS
    start_S, stop_S  bytes of the data that was searched, not of the document
    """

    row_S: I64
    kind_S: I64
    start_S: I64
    stop_S: I64


def find(data_B: U8, offset: I64, kinds: tuple[Kind, ...]) -> Found:
    """Find personal data of the wanted kinds.

    data_B  uint8[B]    UTF-8, all documents laid end to end
    offset  int64[N+1]  document n owns data_B[offset[n]:offset[n+1]]; need not start at 0
    """
    from curation.kernels.pii import copy_masked, in_order

    span_SF = _search(data_B, offset, kinds)
    found, row_R = [span_SF], np.arange(len(offset) - 1)
    origin_R, hidden_B, within = offset[:-1], data_B, offset
    for _ in range(SEARCHES - 1):
        if not len(span_SF):
            break
        hit_R = np.unique(np.searchsorted(within, span_SF[:, 1], side="right") - 1)
        hidden = _read_only(hidden_B), _read_only(within)
        hidden_B, within = copy_masked(*hidden, hit_R, span_SF)
        row_R, origin_R = row_R[hit_R], origin_R[hit_R]
        span_SF = _search(hidden_B, within, kinds)
        row_S = np.searchsorted(within, span_SF[:, 1], side="right") - 1
        shift = (origin_R - within[:-1])[row_S][:, None]
        found.append(span_SF + np.concatenate([0 * shift, shift, shift], axis=1))
    more = [later for later in found[1:] if len(later)]
    kind_S, start_S, stop_S = (in_order(np.concatenate([found[0], *more])) if more else found[0]).T
    row_S = np.searchsorted(offset, start_S, side="right") - 1
    return Found(row_S, kind_S, start_S, stop_S)


def _read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a view that is read-only, as Arrow's are: a kernel is compiled once for each kind."""
    view = array.view()
    view.flags.writeable = False
    return view


def _search(data_B: U8, offset: I64, kinds: tuple[Kind, ...]) -> I64:
    """Search once; return int64[S, 3]: kind, first byte, byte after the last."""
    from curation.kernels.pii import anchors, in_order
    from curation.kernels.pii_accounts import find_accounts
    from curation.kernels.pii_addresses import find_addresses
    from curation.kernels.pii_emails import find_emails
    from curation.kernels.pii_phones import find_phones
    from curation.kernels.pii_secrets import find_secrets

    finders = {
        "email": find_emails,
        "ip": find_addresses,
        "phone": find_phones,
        "card": find_accounts,
        "iban": find_accounts,
        "secret": find_secrets,
    }
    data_B, offset = _read_only(data_B), _read_only(offset)
    place_A, row_A = anchors(data_B, offset)
    wanted = dict.fromkeys(finders[kind] for kind in kinds)  # in order, each of them once
    found = [np.zeros((0, 3), dtype=np.int64)]
    found += [finder(data_B, offset, place_A, row_A) for finder in wanted]
    span_SF = np.concatenate(found)
    if ("card" in kinds) != ("iban" in kinds):  # one search finds both
        codes = [ALL_KINDS.index(kind) for kind in kinds]
        span_SF = span_SF[np.isin(span_SF[:, 0], codes)]
    return in_order(span_SF)
