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
    TextHash,
    TextSize,
    Warc,
    col,
    keep,
    page_rules,
    web_source,
)


def web(
    *,
    paths: str,
    extractor: Literal["resiliparse", "trafilatura", "trafilatura-fast"] = "resiliparse",
    mojibake: bool = False,
    min_words: int = 50,
    max_words: int = 100_000,
) -> Recipe:
    """Clean, exactly deduplicated text from WARC files or HTML pages."""
    source = web_source(paths)
    return Recipe(
        source=source,
        steps=[
            *(page_rules() if isinstance(source, Warc) else ()),
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
