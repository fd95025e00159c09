"""FineWeb's recipe (Penedo et al. 2024, arXiv:2406.17557), and FineWeb2's for other languages.

The order is the published one: rules on the address, extraction, language, Gopher's rules on
repetition and on quality, C4's without the one on terminal punctuation, FineWeb's own, duplicates,
personal data. For another language the thresholds come from FineWeb2's published table, C4's rules
are left out as they are there, and words are cut by Unicode's classes.

Two steps differ. Near-duplicates (MinHash, per crawl) are not taken out yet, exact ones are. And
FineWeb replaces addresses of mail and networks by samples, where this recipe puts placeholders
that stand for the same value throughout a document.
"""

from __future__ import annotations

from typing import Literal

from curation import (
    C4Lines,
    C4Quality,
    ExactDuplicates,
    ExtractHtml,
    FineWebQuality,
    GopherQuality,
    GopherRepetition,
    Language,
    Recipe,
    RedactPii,
    TextHash,
    UrlRules,
    Warc,
    c4_rules,
    col,
    fineweb_rules,
    gopher_quality_rules,
    gopher_repetition_rules,
    keep,
    language_rules,
    page_rules,
    pages,
    thresholds,
)
from curation.errors import RecipeError


def fineweb(
    *,
    paths: str,
    language: str = "eng_Latn",
    code: str = "en",
    table: str = "",
    model: str = "",
    dictionary: str = "",
    domains: str = "",
) -> Recipe:
    """FineWeb from WARC files or HTML pages.

    language    eng_Latn, or a file of the table
    code        the language as the model names it
    table       a folder with FineWeb2's configs, for other languages than English
    model       a fastText model such as lid.176.bin; without one, a built-in model
    dictionary  a file of words, one a line, for languages without white space between words
    domains     a file of domains to leave out, one a line
    """
    if language != "eng_Latn" and code == "en":
        raise RecipeError(
            f"the model's name for {language} is wanted.",
            found="code='en'",
            remedy="such as --code fr for fra_Latn (--code fra_Latn with GlotLID)",
        )
    is_english = language == "eng_Latn"
    words: Literal["english", "unicode"] = "english" if is_english else "unicode"
    stop_words = thresholds(language, table).stop_words
    source = pages(paths)
    return Recipe(
        source=source,
        steps=[
            *(page_rules() if isinstance(source, Warc) else ()),
            UrlRules(domains=domains),
            keep(col("url_rule").is_null(), because="address"),
            ExtractHtml(extractor="trafilatura"),
            Language(model=model),
            *language_rules(code, language, table),
            GopherRepetition(words=words, dictionary=dictionary),
            *gopher_repetition_rules(language, table),
            GopherQuality(words=words, dictionary=dictionary, stop_words=stop_words),
            *gopher_quality_rules(language, table),
            *(_c4() if is_english else ()),
            FineWebQuality(words=words, dictionary=dictionary),
            *fineweb_rules(language, table),
            TextHash(),
            ExactDuplicates(),
            keep(col("duplicate_of").is_null(), because="exact duplicate"),
            RedactPii(kinds=("email", "ip")),
        ],
    )


def _c4() -> list[object]:
    """C4's rules, and the lines that they take out; after these the text is another."""
    return [C4Quality(terminal_only=False), *c4_rules(), C4Lines(terminal_only=False)]
