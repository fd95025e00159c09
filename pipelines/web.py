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
from curation.errors import RecipeError
from curation.sources.files import expand, with_compression
from curation.stage import Source

#: Parts of a file name that tell a crawl from a page, such as CC-MAIN-00000.warc.gz.
CRAWL = {"warc", "wet", "wat", "arc"}


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
    """Tell WARC files from pages by name; RecipeError where the pattern matches both."""
    pages = with_compression(TextFiles.endings)
    endings = (*with_compression(Warc.endings), *pages)
    names = [span.name.lower() for span in expand((paths,), endings=endings, reader="web")]
    crawls = [n for n in names if not n.endswith(pages) and CRAWL & set(n.split(".")[1:])]
    if 0 < len(crawls) < len(names):
        raise RecipeError(
            f"'{paths}' matches WARC files and other files.",
            crawls=f"{len(crawls)}, such as {crawls[0]}",
            others=f"{len(names) - len(crawls)}, such as {min(set(names) - set(crawls))}",
            remedy="give a pattern for each and run twice: --paths 'crawl/*.warc.gz'",
        )
    return bool(crawls)


def _crawl_rules() -> list[object]:
    status, kind = col("http_status"), col("http_content_type")
    is_page = kind.is_null() | kind.is_in(["text/html", "application/xhtml+xml", "text/plain"])
    return [
        keep(status.is_null() | (status == 200), because="not status 200"),
        keep(is_page, because="not a page"),
    ]
