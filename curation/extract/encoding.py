"""Which characters the bytes of a page mean: the order of the WHATWG Encoding and HTML standards.

A byte-order mark decides; then the server's charset; then the page's own ``<meta>`` or XML
declaration; then the bytes themselves. Two departures, both because a corpus has no reader who
would reload the page with another encoding: markup in UTF-16 without a mark is recognised before
any declaration is believed, and a declared multi-byte encoding in which most of the characters
come out broken gives way to the next candidate. Broken bytes are replaced, never fatal.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

#: How much of a page is searched for its own declaration. The standard says 1,024; pages put
#: scripts and comments in front of it.
_HEAD_BYTES = 4096
#: How much of a page is looked at to tell binary data from text.
_SNIFF_BYTES = 4096
#: More control bytes than this share of the sniffed part is not text in any encoding of the web.
_CONTROL_FRAC = 0.02
_NUL_FRAC = 0.3

_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))

#: WHATWG decoders are supersets of what Python calls by the same name.
_SUPERSET = {
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "gbk": "gb18030",
    "big5": "big5hkscs",
    "iso8859-11": "cp874",
    "iso8859-9": "cp1254",
}
#: Labels of the standard that resiliparse's table lacks.
_LABELS = {"x-user-defined": "cp1252", "x-mac-cyrillic": "mac_cyrillic", "iso-8859-8-i": "cp1255"}

_COMMENT = re.compile(rb"<!--.*?-->", re.DOTALL)
_META = re.compile(rb"<meta\b[^>]*?charset\s*=\s*[\"']?\s*([A-Za-z0-9._:+-]+)", re.IGNORECASE)
_XML = re.compile(rb"\s*<\?xml\b[^>]*?encoding\s*=\s*[\"']\s*([A-Za-z0-9._:+-]+)", re.IGNORECASE)
# Without tab, line feed, form feed, carriage return and escape (ISO-2022-JP shifts with it).
_CONTROL = bytes([*range(0x00, 0x09), 0x0B, *range(0x0E, 0x1B), *range(0x1C, 0x20), 0x7F])


def decode(page: bytes, http_charset: str | None = None) -> tuple[str, str]:
    """Return the page's characters and the name of the encoding they were read with."""
    for mark, name in _MARKS:
        if page.startswith(mark):
            return page[len(mark) :].decode(name, "replace"), name
    first: tuple[str, str] | None = None
    for name in _candidates(page, http_charset):
        text = page.decode(name, "replace")
        if not _mostly_broken(text):
            return text, name
        first = first or (text, name)
    return first or (page.decode("utf-8", "replace"), "utf-8")


def is_binary(page: bytes) -> bool:
    """Tell whether bytes are no text in any encoding: a PDF, or control bytes all over."""
    head = page[:_SNIFF_BYTES]
    if head.startswith(b"%PDF-"):
        return True
    if head.startswith(tuple(mark for mark, _ in _MARKS)) or _unmarked_utf16(page):
        return False
    # A few NULs are a common fault of pages, and every parser drops them.
    nuls = head.count(0)
    controls = len(head) - len(head.translate(None, _CONTROL)) - nuls
    return controls > _CONTROL_FRAC * len(head) or nuls > _NUL_FRAC * len(head)


def _candidates(page: bytes, http_charset: str | None) -> Iterator[str]:
    if name := _unmarked_utf16(page):
        yield name
    if http_charset and (name := _codec(http_charset)):
        yield name
    if (declared := _declared(page)) and (name := _codec(declared)):
        # A declaration that could be read as ASCII cannot be right about UTF-16: the standard
        # takes it for UTF-8.
        yield "utf-8" if name.startswith("utf-16") else name
    yield _sniffed(page)


def _codec(label: str) -> str | None:
    """Return Python's codec for a label of the web; None for a label that the web does not know."""
    from resiliparse.parse.encoding import map_encoding_to_html5

    label = label.strip(" \t\r\n\f\"';,").lower()
    name = _LABELS.get(label) or map_encoding_to_html5(label, fallback_utf8=False)
    return _SUPERSET.get(name, name) if name else None


def _declared(page: bytes) -> str | None:
    head = page[:_HEAD_BYTES]
    found = _META.search(_COMMENT.sub(b"", head)) or _XML.match(head)
    return found[1].decode("ascii") if found else None


def _unmarked_utf16(page: bytes) -> str | None:
    """Recognise UTF-16 markup by the NUL that every ASCII character has on the same side."""
    head = page[:_SNIFF_BYTES]
    even, odd = head[0::2], head[1::2]
    if not odd:
        return None
    even_nuls, odd_nuls = even.count(0) / len(even), odd.count(0) / len(odd)
    if odd_nuls > 0.2 and even_nuls < 0.02:
        return "utf-16-le"
    if even_nuls > 0.2 and odd_nuls < 0.02:
        return "utf-16-be"
    return None


def _sniffed(page: bytes) -> str:
    from resiliparse.parse.encoding import detect_encoding

    try:
        page.decode("utf-8")
    except UnicodeDecodeError as error:
        # A page cut off in the middle of a character is still UTF-8.
        if error.start >= len(page) - 3 and error.reason == "unexpected end of data":
            return "utf-8"
        # Its own mapping to names of the web turns Korean (cp949) into UTF-8: ours is used.
        name = str(detect_encoding(page, html5_compatible=False) or "cp1252")
        return _codec(name) or _known_to_python(name)
    if b"\x1b$B" in page or b"\x1b$@" in page:
        return "iso2022_jp"  # ASCII to every other test
    return "utf-8"


def _known_to_python(name: str) -> str:
    try:
        return codecs.lookup(name).name
    except LookupError:
        return "cp1252"


def _mostly_broken(text: str) -> bool:
    broken = text.count("\ufffd")
    if not broken:
        return False
    return 2 * broken > len(text) - len(text.encode("ascii", "ignore"))
