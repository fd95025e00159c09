"""Values that break stages: what the contract tries a column of each type with."""

from __future__ import annotations

import datetime
import math
from typing import Any

import pyarrow as pa
import pyarrow.types as kinds

from curation.errors import RecipeError

_STRINGS = [
    "",
    " ",
    "\n\n\t \u00a0\u2003\u2028\u3000",
    "a",
    "The quick brown fox jumps over the lazy dog. It was not amused!",
    "THE QUICK  brown\tfox\r\njumps over the lazy dog. It was not amused! ",
    "First line\nsecond line\n\nNew paragraph\n\n\n- item\n* item\n1. item\n",
    "the the the the the the the the\n" * 40,
    "x" * 20_000,
    "\n" * 3_000,
    "A sentence of a megabyte, one of very many; it goes on. \n" * 18_000,
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1eb\U0001f1f7 \U0001f44d\U0001f3fd",
    "e\u0301" * 200 + " Z\u0351\u0346\u0307a\u0322\u0315lgo",
    "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 \u202eabc\u202c \u200f123",
    "\u4e2d\u6587\u6ca1\u6709\u7a7a\u683c\u3002\u4e5f\u6709\u53e5\u53f7\uff01\uff1f" * 50,
    "\u0e44\u0e17\u0e22 \u0939\u093f\u0928\u094d\u0926\u0940 \ud55c\uad6d\uc5b4 \u03a3\u03af\u03c2",
    "\u0130stanbul Stra\u00dfe \ufb03 \u1e9e \u01c5 \u2460 \u00bd",
    "\x00\x01\x1b[31m\x1c\x1d\x7f\x85 \ufeff\ufffd\u200b",
    "\U0010ffff\ue000\ufdd0",
    "<!DOCTYPE html><html><head><title>T</title></head><body><p>Hi &amp; bye &lt;</p><br></body>",
    "<div>" * 300 + "deep",
    "<script>if (a < b && c > d) {}</script><!-- no end",
    "12345 -1.5e308 NaN inf 0x1F 1,000.00 \u0663\u0664",
    '{"a": [1, null, "b\\n"]}',
    "https://user@example.org:8080/a%20b?q=\u00fc#x me@example.org +1 (555) 010-9999 192.168.0.1",
    "def f(x):\n    return x  # code\n\n\nclass A:\n    pass\n",
    "... \u2026 !!! ??? --- ### $$$ \u2022 \u2022 \u2022 lorem ipsum { } javascript",
    None,
]
_BROKEN_BYTES = [b"\xff\xfe\x00", b"caf\xe9", b"\xed\xa0\x80", b"\xf0\x9f\x91", b"%PDF-1.7\n%\xe2"]


def adversarial_values(kind: pa.DataType) -> list[Any]:
    """Return values of an Arrow type that stages trip over; null is the last of them."""
    if kinds.is_string(kind) or kinds.is_large_string(kind):
        return _STRINGS
    if kinds.is_fixed_size_binary(kind):
        width = kind.byte_width
        return [bytes(width), b"\xff" * width, b"\x80" + bytes(width - 1), *_counters(width), None]
    if kinds.is_binary(kind) or kinds.is_large_binary(kind):
        texts = [text.encode() for text in _STRINGS if text is not None]
        return [*_BROKEN_BYTES, *texts, None]
    if kinds.is_boolean(kind):
        return [True, False, None]
    if kinds.is_integer(kind):
        return _integers(kind)
    if kinds.is_floating(kind):
        return [0.0, -0.0, 1.0, -1.5, 0.1, 1e30, 1e-30, math.nan, math.inf, -math.inf, None]
    if kinds.is_temporal(kind):
        return _moments(kind)
    if kinds.is_list(kind) or kinds.is_large_list(kind):
        inner = adversarial_values(kind.value_type)
        return [[], inner[:1], inner[1:5], inner[:3] * 20, [None], None]
    if kinds.is_struct(kind):
        pools = {field.name: adversarial_values(field.type) for field in kind}
        rows = range(max(map(len, pools.values()), default=0))
        made = [{name: pool[row % len(pool)] for name, pool in pools.items()} for row in rows]
        return [*made, None]
    raise RecipeError(
        f"no example values are known for columns of type {kind}.",
        remedy="check_stage(stage, examples=...) with a batch of your own",
    )


def _integers(kind: pa.DataType) -> list[Any]:
    signed = kinds.is_signed_integer(kind)
    bits = kind.bit_width - signed
    low = [-1, -(1 << bits)] if signed else []
    return [0, 1, 2, 100, (1 << bits) - 1, *low, None]


def _moments(kind: pa.DataType) -> list[Any]:
    if kinds.is_date(kind):
        return [*(datetime.date(year, 12, 31) for year in (1, 1970, 9999)), None]
    if kinds.is_timestamp(kind):
        zone = datetime.UTC if kind.tz else None
        return [datetime.datetime(year, 1, 1, tzinfo=zone) for year in (1900, 1970, 2200)] + [None]
    raise RecipeError(f"no example values are known for columns of type {kind}.")


def _counters(width: int) -> list[bytes]:
    return [number.to_bytes(width, "big") for number in (1, 2, 3)]
