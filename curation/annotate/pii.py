"""Personal data: where it stands in a text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from curation.annotate.pii_patterns import ALL_KINDS, Kind, find
from curation.arrow import bytes_and_offsets, is_valid, to_column
from curation.columns import SPAN, columns
from curation.errors import RecipeError
from curation.stage import Annotator


@dataclass(frozen=True, kw_only=True)
class Pii(Annotator):
    """Find personal data: what it is and which bytes of the text it takes.

    email   addresses of mail
    ip      public IPv4 and IPv6 addresses; four numbers of a version or a section are left out
            where a word beside them or their shape tells it, and are taken for an address elsewhere
    phone   telephone numbers: +CC forms, the common national forms, what "Tel." announces
    card    numbers of payment cards: an issuer's range and length, Luhn's check
    iban    bank accounts: ISO 13616 country, length, check digits
    secret  keys and tokens of known format, private keys, passwords behind their name unless they
            have a square bracket in them

    What each form is stands at the top of ``curation/kernels/pii_*.py``. Time grows in
    proportion to the text, whatever the text. Addresses in words ("bob at x dot com"), names of
    people and postal addresses are not looked for.

    reads    text             large_string  any length; null allowed
    writes   pii_spans  large_list<item: struct<kind: large_string, start: uint64, stop: uint64>>
                        in the order of the text, none overlapping; null where text is null
             pii_count  uint32  spans; null where text is null
    """

    version: ClassVar[int] = 3
    reads: ClassVar[tuple[str, ...]] = ("text",)
    writes: ClassVar[pa.Schema] = columns("pii_spans", "pii_count")

    #: What to look for.
    kinds: tuple[Kind, ...] = ALL_KINDS

    def check(self) -> None:
        check_kinds(self, self.kinds)

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        text = batch["text"]
        data, offset = bytes_and_offsets(text)
        found = find(data, offset, self.kinds)
        start = found.start_S - offset[found.row_S]
        places = [start, found.stop_S - found.start_S + start]
        names = pa.array(ALL_KINDS, pa.large_string()).take(pa.array(found.kind_S))
        numbers = [to_column(place.astype(np.uint64)) for place in places]
        spans = pa.StructArray.from_arrays([names, *numbers], fields=list(SPAN))
        count = np.bincount(found.row_S, minlength=len(text)).astype(np.uint32)
        valid = is_valid(text)
        first = pa.array(np.concatenate([[0], np.cumsum(count)]), pa.int64())
        mask = pa.array(~valid) if not valid.all() else None
        lists = pa.LargeListArray.from_arrays(first, spans, mask=mask)
        return pa.RecordBatch.from_arrays([lists, to_column(count, valid)], schema=self.writes)


def check_kinds(stage: object, kinds: tuple[Kind, ...]) -> None:
    """Raise RecipeError where there is nothing to look for or something twice."""
    if not kinds or len({*kinds}) != len(kinds):
        raise RecipeError(
            f"{type(stage).__name__} looks for each kind once, and for one at least.",
            found=f"kinds={kinds!r}",
            remedy=f"name some of {', '.join(ALL_KINDS)}",
        )
