"""Personal data replaced by placeholders."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from string import Formatter
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.annotate.pii import check_kinds
from curation.annotate.pii_patterns import ALL_KINDS, Found, Kind, find
from curation.arrow import bytes_and_offsets, is_valid
from curation.columns import columns
from curation.errors import RecipeError
from curation.stage import PARENT, Rewriter

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

#: Bytes that say nothing about which number a number is.
_NOT_DIGITS = bytes({*range(256)} - {*b"0123456789"})
#: Bytes of the keyed hash that a salted placeholder shows, two hexadecimal digits each.
_HASH_BYTES = 4
_DEFAULT = "[{kind}_{number}]"
#: Texts around a placeholder in which it must not pass for personal data, nor make what follows.
_AROUND = ("{}", "a {} b", "password={}", "phone {}", "{} 5551234")


@dataclass(frozen=True, kw_only=True)
class RedactPii(Rewriter):
    """Replace personal data by placeholders; one new row for each row.

    What is replaced is what ``Pii`` finds. Within a document a value has one placeholder wherever
    it is found, the values of a kind are numbered by their first appearance: "[email_1]". A number
    whose placeholder the text holds already is passed over. With a salt the number is a keyed hash
    of the value, 8 hexadecimal digits, so that a value has one placeholder in the whole corpus (two
    values may share one), and only who has the salt can try which value it stands for. Case does
    not tell addresses apart; spaces and marks do not tell telephone numbers, cards and accounts
    apart.

    Redacting twice changes nothing more. A text without personal data stays as it is; a null
    stays a null.

    reads    text             large_string  any length; null allowed
    writes   text             large_string  the text, its personal data replaced; null likewise
    """

    version: ClassVar[int] = 3
    reads: ClassVar[tuple[str, ...]] = ("text",)
    writes: ClassVar[pa.Schema] = columns("text")

    #: What to replace.
    kinds: tuple[Kind, ...] = ALL_KINDS
    #: What stands in its place: {number}, and {kind} where wanted, among other characters.
    placeholder: str = _DEFAULT
    #: A secret of the corpus's owner; without it numbers mean something in one document only.
    salt: str = field(default="", repr=False)

    def check(self) -> None:
        check_kinds(self, self.kinds)
        if self.placeholder == _DEFAULT:
            return
        try:
            _check_fields(self.placeholder)
            shown = [_shown(self.placeholder, "phone", n) for n in ("1", "12345678", "a1b2c3d4")]
        except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
            raise RecipeError(
                "RedactPii cannot fill in its placeholder.",
                found=f"placeholder={self.placeholder!r}: {type(error).__name__}: {error}",
                remedy=f"use {{number}}, perhaps {{kind}}, no other field: such as {_DEFAULT!r}",
            ) from None
        texts = [around.encode().replace(b"{}", one) for one in shown for around in _AROUND]
        offset = np.cumsum([0, *map(len, texts)])
        if len(find(np.frombuffer(b"".join(texts), np.uint8), offset, ALL_KINDS).row_S):
            raise RecipeError(
                "RedactPii would take its own placeholder for personal data.",
                found=f"placeholder={self.placeholder!r}",
                remedy=f"put brackets around it, such as {_DEFAULT!r}",
            )

    def identity(self) -> dict[str, object]:
        """Return the identity with a hash of the salt: identities are stored beside the data."""
        facts = super().identity()
        settings = facts["settings"]
        assert isinstance(settings, dict)
        salt = hashlib.sha256(self.salt.encode(errors="surrogatepass")).hexdigest()
        return {**facts, "settings": {**settings, "salt": salt if self.salt else ""}}

    def rewrite(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        text = batch["text"]
        data, offset = bytes_and_offsets(text)
        found = find(data, offset, self.kinds)
        made, stops = _replaced(data, offset, found, self._placeholders(data, offset, found))
        mask = pa.py_buffer(np.packbits(is_valid(text), bitorder="little"))
        buffers = [mask, pa.py_buffer(stops), pa.py_buffer(made)]
        texts = pa.Array.from_buffers(pa.large_string(), len(text), buffers)
        schema = pa.schema([pa.field(PARENT, pa.int32()), *self.writes])
        parent = pa.array(np.arange(len(text), dtype=np.int32))
        return pa.RecordBatch.from_arrays([parent, texts], schema=schema)

    def _placeholders(self, data: U8, offset: I64, found: Found) -> list[bytes]:
        """Return what stands in the place of each span."""
        spans = zip(*(column.tolist() for column in found), strict=True)
        key = hashlib.sha256(self.salt.encode(errors="surrogatepass")).digest()
        view, counts = data.data, [0] * len(ALL_KINDS)
        known: dict[tuple[int, bytes], bytes] = {}
        used: set[bytes] = set()
        made, row_before = [], -1
        pattern = _pattern(self.placeholder)
        for row, kind, start, stop in spans:
            if row != row_before and not self.salt:
                known, counts, row_before = {}, [0] * len(ALL_KINDS), row
                used = {*pattern.findall(view[offset[row] : offset[row + 1]])}
            value = kind, _same(ALL_KINDS[kind], bytes(view[start:stop]))
            if value not in known:
                shown = _shown(self.placeholder, ALL_KINDS[kind], _keyed(value, key))
                while not self.salt:
                    counts[kind] += 1
                    shown = _shown(self.placeholder, ALL_KINDS[kind], str(counts[kind]))
                    if shown not in used:
                        break
                known[value] = shown
            made.append(known[value])
        return made


def _check_fields(placeholder: str) -> None:
    """Raise ValueError unless {number} is in it and every field stands plainly."""
    names = set()
    for _, name, form, conversion in Formatter().parse(placeholder):
        if form or conversion:
            raise ValueError(f"{{{name}}} takes no form")
        names.add(name)
    if "number" not in names:
        raise ValueError("there is no {number}")


def _pattern(placeholder: str) -> re.Pattern[bytes]:
    """Return what matches a placeholder of any kind and of up to nine digits."""
    parts = {"number": b"[0-9]{1,9}", "kind": "|".join(ALL_KINDS).join(("(?:", ")")).encode()}
    pattern = b""
    for text, name, _, _ in Formatter().parse(placeholder):
        pattern += re.escape(text.encode()) + parts.get(name or "", b"")
    return re.compile(pattern)


def _shown(placeholder: str, kind: str, number: str) -> bytes:
    return placeholder.format(kind=kind, number=number).encode()


def _same(kind: Kind, value: bytes) -> bytes:
    """Return a spelling that is the same for values that are the same."""
    if kind in ("phone", "card"):
        return value.translate(None, _NOT_DIGITS)
    if kind == "iban":
        return value.translate(None, b" -")
    return value if kind == "secret" else value.decode(errors="replace").lower().encode()


def _keyed(value: tuple[int, bytes], key: bytes) -> str:
    person = ALL_KINDS[value[0]].encode()  # the same digits as a card and as a phone number differ
    return hashlib.blake2b(value[1], key=key, person=person, digest_size=_HASH_BYTES).hexdigest()


def _replaced(data: U8, offset: I64, found: Found, made: list[bytes]) -> tuple[bytes, I64]:
    """Return the bytes of all texts with their spans replaced, and int64[N+1] offsets."""
    view, at = data.data, int(offset[0])
    pieces: list[bytes | memoryview] = []
    for start, stop, one in zip(found.start_S.tolist(), found.stop_S.tolist(), made, strict=True):
        pieces += (view[at:start], one)
        at = stop
    pieces.append(view[at : int(offset[-1])])
    grown_S = np.array([len(one) for one in made], dtype=np.int64) - found.stop_S + found.start_S
    grown = np.concatenate([[0], np.cumsum(grown_S)])  # up to each span
    before = np.searchsorted(found.row_S, np.arange(len(offset)))  # spans of earlier documents
    return b"".join(pieces), offset - offset[0] + grown[before]
