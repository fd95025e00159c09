"""Clean text from documents: PDF files beside Markdown, plain text and saved pages."""

from __future__ import annotations

from curation import (
    ExtractHtml,
    ExtractPdf,
    Normalize,
    Pdf,
    Recipe,
    TextFiles,
    TextSize,
    col,
    decontamination_steps,
    duplicate_steps,
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
    similarity: float = 0.8,
    against: str = "",
    evals: str = "",
) -> Recipe:
    """Clean, deduplicated text from PDF files (pdf) and Markdown, text or HTML (text).

    similarity  least Jaccard similarity at which a document is a near-duplicate
    against     a store whose latest build has an index: what it kept is not kept again
    evals       evaluation sets (JSON lines): documents that hold one of their items go
    """
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
            *duplicate_steps(similarity=similarity, against=against),
            *decontamination_steps(evals),
        ],
    )
