"""Web pages to text: the main content of a page, without menus, footers and comments.

Four extractors behind one contract. ``resiliparse`` runs some hundred pages a second;
``trafilatura`` is ten times slower and more precise; ``trafilatura-fast`` lies between, and
``trafilatura-precise`` leaves out what is doubtful, as FineWeb's recipe does. The others' options
were chosen by measurement (benchmarks/engine_extraction.py), together with two rules that the
libraries lack: where the main content is a small part of the page's text, the extractor has missed
it, and the whole text without menus is taken instead; and resiliparse keeps lists of text.
"""

from __future__ import annotations

import itertools
import logging
import re
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pyarrow as pa

from curation.columns import columns
from curation.errors import RecipeError
from curation.extract.encoding import decode, is_binary
from curation.stage import Annotator, map_rows, rows_to_batch

Extractor = Literal["resiliparse", "trafilatura", "trafilatura-fast", "trafilatura-precise"]

#: An extraction shorter than this is compared with the whole text of the page.
_SHORT_CHARS = 500
#: A short extraction below this share of the page's text is taken for a miss. trafilatura has
#: fallbacks of its own, so only the grossest of its misses are.
_MISSED_FRAC = {
    "resiliparse": 0.2,
    "trafilatura": 0.05,
    "trafilatura-fast": 0.05,
    "trafilatura-precise": 0.0,  # what it leaves out it was asked to
}
#: What is no content wherever it stands. By element only: class names that hold "cookie" or
#: "newsletter" stand on <body> of pages that are all content.
_CHROME = ["nav", "footer"]
_CHROME_OF_WHOLE = [
    *_CHROME, "header", "aside", "button", "select", '[role="navigation"]'
]  # fmt: skip

_LINK_CHARS = 60
_HIGH_LISTS = "body > ul, body > * > ul, body > * > * > ul"

#: resiliparse's main content takes quadratic time in the depth of these (10,000: two seconds, in
#: C, where no time limit reaches); Blink cuts a page off at a depth of 512.
_DEEP = re.compile(r"<(/?)(?:div|article)(?=[\s/>])", re.IGNORECASE)
_MAX_DEPTH = 512
#: lexbor's parser takes quadratic time in the options of a menu and the attributes of a tag.
_OPTION = re.compile(r"<opt(?:ion|group)\b[^>]*>[^<]*", re.IGNORECASE)
_MAX_OPTIONS = 2000
_LONG_TAG = re.compile(r"<[A-Za-z][^<>]{20000,}")
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
_MAX_ATTRIBUTES = 5000


@dataclass(frozen=True, kw_only=True)
class ExtractHtml(Annotator):
    """Take the main content and the title of a web page.

    reads    html               large_binary  page as served; null: the row's text goes through
    may_read http_charset       large_string  believed after a byte-order mark, before <meta>
             http_content_type  large_string  text/plain is decoded and not parsed
             text               large_string  goes through unchanged where html is null
             title              large_string  likewise
             encoding           large_string  likewise
    writes   text               large_string  "" where the page has none; null where in error
             title              large_string  null where the page states none
             encoding           large_string  null where the page is empty

    A page over max_bytes, one that is no text (an image served as HTML) and one over the time
    limit are error rows. The limit does not interrupt a parser's C code; inputs on which that is
    known to be slow are defused first, and max_bytes bounds memory: a tree takes 20 to 200 times
    its page.
    """

    extractor: Extractor = "resiliparse"
    comments: bool = False
    time_limit_s: float = 10.0
    max_bytes: int = 8 << 20

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("html",)
    may_read: ClassVar[tuple[str, ...]] = (
        "http_charset",
        "http_content_type",
        "text",
        "title",
        "encoding",
    )
    writes: ClassVar[pa.Schema] = columns("text", "title", "encoding")

    def check(self) -> None:
        if self.max_bytes < 1 or self.time_limit_s < 0:
            raise RecipeError(
                "ExtractHtml needs a size limit of at least 1 byte and no negative time limit.",
                found=f"max_bytes={self.max_bytes}, time_limit_s={self.time_limit_s}",
            )

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        names = ("html", *self.may_read)
        cells = [batch[name].to_pylist() for name in names]
        values, errors = map_rows(self._row, *cells, time_limit_s=self.time_limit_s)
        return rows_to_batch(values, errors, self.writes)

    def _row(
        self,
        html: bytes | None,
        charset: str | None,
        kind: str | None,
        text: str | None,
        title: str | None,
        encoding: str | None,
    ) -> tuple[str | None, str | None, str | None]:
        if html is None:
            return text, title, encoding
        if len(html) > self.max_bytes:
            raise ValueError(f"page of {len(html):,} bytes is over max_bytes={self.max_bytes:,}")
        if not html:
            return "", None, None
        if is_binary(html):
            raise ValueError(f"not a page but binary data, beginning {html[:8]!r}")
        page, encoding = decode(html, charset)
        page = page.replace("\0", "")
        if (kind or "").strip().lower().startswith("text/plain"):
            return _storable(page).strip(), None, encoding
        text, title = self._extract(_defused(page))
        return text, title, encoding

    def _extract(self, page: str) -> tuple[str, str | None]:
        from resiliparse.parse.html import HTMLTree

        tree = HTMLTree.parse(_storable(page))
        title = " ".join((tree.title or "").split()) or None
        if _too_deep(page):
            return _whole_text(tree), title
        main = self._main_content(page, tree)
        if len(main) < _SHORT_CHARS:
            whole = _whole_text(tree)
            if len(main) < _MISSED_FRAC[self.extractor] * len(whole):
                main = whole
        return _storable(main), title and _storable(title)

    def _main_content(self, page: str, tree: Any) -> str:
        if self.extractor == "resiliparse":
            from resiliparse.extract.html2text import extract_plain_text

            _lower_lists(tree)
            return str(
                extract_plain_text(
                    tree,
                    main_content=True,
                    alt_texts=False,
                    comments=self.comments,
                    skip_elements=_CHROME,
                )
            ).strip()
        return _by_trafilatura(page, self.extractor, self.comments)


def _lower_lists(tree: Any) -> None:
    """Push lists of text further down the tree.

    resiliparse drops every <ul> less than four levels below <body> as a menu, and with it all
    lists of plainly written pages. One with much text for each of its links is no menu.
    """
    if tree.body is None:
        return
    for item in tree.body.query_selector_all(_HIGH_LISTS):
        # Counting links is cheap where reading each is not; a menu's links are some words long.
        links = len(item.get_elements_by_tag_name("a"))
        if len(" ".join((item.text or "").split())) > _LINK_CHARS * links:
            inner = outer = tree.create_element("div")
            for _ in range(2):
                inner = inner.append_child(tree.create_element("div"))
            item.parent_node.replace_child(outer, item)
            inner.append_child(item)


def _by_trafilatura(page: str, extractor: Extractor, comments: bool) -> str:
    from trafilatura import extract

    # It logs every page it finds nothing on; here that is a value.
    logging.getLogger("trafilatura").setLevel(logging.CRITICAL + 1)
    # Recall is the better setting for the fast extractor alone: the thorough one has its own
    # second attempt. deduplicate=False: its cache of seen text would tie a row to earlier rows.
    fast = extractor == "trafilatura-fast"
    found = extract(
        page,
        fast=fast,
        favor_recall=fast,
        favor_precision=extractor == "trafilatura-precise",
        include_comments=comments,
        deduplicate=False,
    )
    return (found or "").strip()


def _whole_text(tree: Any) -> str:
    """Return all text of a page but its menus; linear in the page whatever its nesting."""
    from resiliparse.extract.html2text import extract_plain_text

    text = extract_plain_text(tree, alt_texts=False, skip_elements=_CHROME_OF_WHOLE)
    return _storable(text).strip()


def _too_deep(page: str) -> bool:
    steps = (-1 if closing else 1 for closing in _DEEP.findall(page))
    return max(itertools.accumulate(steps), default=0) > _MAX_DEPTH


def _defused(page: str) -> str:
    """Take out what makes the parser quadratic and is no text; refuse what cannot be taken out."""
    if page.count("<opt") + page.count("<OPT") > _MAX_OPTIONS:
        page = _OPTION.sub(" ", page)
    for tag in _LONG_TAG.findall(page):
        # Few of the long tags have many attributes: most hold one picture as a data: address.
        count = len(_QUOTED.sub("", tag).split())
        if count > _MAX_ATTRIBUTES:
            raise ValueError(f"a tag with {count:,} attributes (at most {_MAX_ATTRIBUTES:,})")
    return page


def _storable(text: str) -> str:
    """Replace what UTF-8 cannot hold (halves of surrogate pairs)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
