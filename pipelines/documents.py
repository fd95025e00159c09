"""Clean text from documents: PDF files beside Markdown, plain text and saved pages."""

from __future__ import annotations

from curation import (
    ExactDuplicates,
    ExtractHtml,
    ExtractPdf,
    Normalize,
    Pdf,
    Recipe,
    TextFiles,
    TextHash,
    TextSize,
    col,
    keep,
)
from curation.errors import RecipeError
from curation.stage import Source


def documents(
    *,
    pdf: str | None = None,
    text: str | None = None,
    license: str | None = None,
    min_words: int = 50,
) -> Recipe:
    """Clean, exactly deduplicated text from PDF files (pdf) and Markdown, text or HTML (text)."""
    sources: list[Source] = []
    if pdf:
        sources.append(Pdf(pdf, license=license))
    if text:
        sources.append(TextFiles(text, license=license))
    if not sources:
        raise RecipeError(
            "documents has nothing to read.",
            remedy="name folders or patterns: --pdf 'docs/**/*.pdf', --text 'docs/**/*.md'",
        )
    return Recipe(
        source=sources,
        steps=[
            *([ExtractPdf()] if pdf else []),
            *([ExtractHtml()] if text else []),
            Normalize(),
            TextSize(),
            keep(col("word_count") >= min_words, because="too short"),
            TextHash(),
            ExactDuplicates(),
            keep(col("duplicate_of").is_null(), because="exact duplicate"),
        ],
    )
