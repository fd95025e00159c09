"""Clean text from a folder of documents: PDF files, Markdown and plain text side by side."""

from __future__ import annotations

from curation import (
    ExactDuplicates,
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


def documents(*, folder: str, license: str | None = None, min_words: int = 50) -> Recipe:
    """Clean, exactly deduplicated text from the PDF and Markdown files below a folder."""
    below = folder.rstrip("/")
    return Recipe(
        source=[
            Pdf(f"{below}/**/*.pdf", license=license),
            TextFiles((f"{below}/**/*.md", f"{below}/**/*.txt"), license=license),
        ],
        steps=[
            ExtractPdf(),
            Normalize(),
            TextSize(),
            keep(col("word_count") >= min_words, because="too short"),
            TextHash(),
            ExactDuplicates(),
            keep(col("duplicate_of").is_null(), because="exact duplicate"),
        ],
    )
