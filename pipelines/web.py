"""Clean text from web pages: WARC files (WET too) or folders of HTML.

Rules on what the server said come first, for they cost nothing; extraction, the dearest step, sees
only pages that passed them. The thresholds are deliberately mild: 50 words is Gopher's lower bound
(Rae et al. 2021, arXiv:2112.11446), and pages over 100,000 words are lists or dumps.
"""

from __future__ import annotations

from typing import Literal

from curation import (
    ExtractHtml,
    Normalize,
    Recipe,
    TextSize,
    Warc,
    col,
    decontamination_steps,
    duplicate_steps,
    keep,
    page_rules,
    web_source,
)


def web(  # noqa: PLR0913  the flags of the command
    *,
    paths: str,
    extractor: Literal["resiliparse", "trafilatura", "trafilatura-fast"] = "resiliparse",
    mojibake: bool = False,
    min_words: int = 50,
    max_words: int = 100_000,
    similarity: float = 0.8,
    against: str = "",
    evals: str = "",
) -> Recipe:
    """Clean, deduplicated text from WARC files or HTML pages.

    similarity  least Jaccard similarity at which a page is a near-duplicate
    against     a store whose latest build has an index: pages that it kept are not kept again
    evals       evaluation sets (JSON lines): pages that hold one of their items go
    """
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
            *duplicate_steps(similarity=similarity, against=against),
            *decontamination_steps(evals),
        ],
    )
