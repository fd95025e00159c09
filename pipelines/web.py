"""Clean text from web pages: WARC files (WET too) or folders of HTML.

Rules on what the server said come first, for they cost nothing; extraction, the dearest step, sees
only pages that passed them. The thresholds are deliberately mild: 50 words is Gopher's lower bound
(Rae et al. 2021, arXiv:2112.11446), and pages over 100,000 words are lists or dumps.
"""

from __future__ import annotations

from typing import Literal

from curation import (
    ExactDuplicates,
    ExtractHtml,
    Normalize,
    Recipe,
    TextFiles,
    TextHash,
    TextSize,
    Warc,
    col,
    keep,
)
from curation.sources.files import expand
from curation.stage import Source

#: What tells a crawl from a folder of pages.
CRAWL = (".warc", ".wet", ".arc")


def web(
    *,
    paths: str,
    extractor: Literal["resiliparse", "trafilatura", "trafilatura-fast"] = "resiliparse",
    mojibake: bool = False,
    min_words: int = 50,
    max_words: int = 100_000,
) -> Recipe:
    """Clean, exactly deduplicated text from WARC files or HTML pages."""
    is_crawl = _is_crawl(paths)
    source: Source = Warc(paths) if is_crawl else TextFiles(paths)
    return Recipe(
        source=source,
        steps=[
            *(_crawl_rules() if is_crawl else ()),
            ExtractHtml(extractor=extractor),
            Normalize(mojibake=mojibake),
            TextSize(),
            keep(col("word_count") >= min_words, because="too short"),
            keep(col("word_count") <= max_words, because="too long"),
            TextHash(),
            ExactDuplicates(),
            keep(col("duplicate_of").is_null(), because="exact duplicate"),
        ],
    )


def _is_crawl(paths: str) -> bool:
    every_file = expand((paths,), endings=("",), reader="web")
    return any(ending in span.name for ending in CRAWL for span in every_file)


def _crawl_rules() -> list[object]:
    status, kind = col("http_status"), col("http_content_type")
    is_page = kind.is_null() | kind.is_in(["text/html", "application/xhtml+xml", "text/plain"])
    return [
        keep(status.is_null() | (status == 200), because="not status 200"),
        keep(is_page, because="not a page"),
    ]
