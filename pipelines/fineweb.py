"""FineWeb's recipe (Penedo et al. 2024, arXiv:2406.17557), and FineWeb2's for other languages.

The order is the published one: rules on the address, extraction, language, Gopher's rules on
repetition and on quality, C4's without the one on terminal punctuation, FineWeb's own, duplicates,
personal data. For another language the thresholds come from FineWeb2's published table, C4's rules
are left out as they are there, and words are cut by Unicode's classes.

What differs from the published run: exact duplicates are taken out before near ones, and a near one
goes only if it is verified to be (FineWeb joins all that shares a band, and keeps one of it);
FineWeb does this for each crawl by itself, so give this one crawl at a time. Trafilatura's removal
of text that earlier pages had is off, since a row's values may depend on that row alone. No list of
addresses comes with it: ``url_lists`` names yours. FineWeb replaces addresses of mail and networks
by samples, where this recipe puts placeholders that stand for the same value throughout a document.
Text in other languages than English is normalized first: the published stop words are composed
(NFC), and pages often are not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from curation import (
    C4Lines,
    C4Quality,
    ExtractHtml,
    FineWebQuality,
    GopherQuality,
    GopherRepetition,
    Language,
    Normalize,
    Recipe,
    RedactPii,
    UrlRules,
    Warc,
    c4_rules,
    col,
    decontamination_steps,
    duplicate_steps,
    fineweb_rules,
    gopher_quality_rules,
    gopher_repetition_rules,
    keep,
    language_rules,
    page_rules,
    thresholds,
    web_source,
)
from curation.errors import RecipeError, ResourceError

#: Scripts whose published thresholds cannot be met by single characters.
UNSPACED = ("_Thai", "_Laoo", "_Khmr", "_Mymr")

#: A setting of UrlRules and the file of a folder of lists that it takes.
URL_LISTS = {
    "domains": "domains",
    "urls": "urls",
    "banned_words": "banned_words.txt",
    "soft_words": "soft_banned_words.txt",
    "banned_subwords": "banned_subwords.txt",
}


def fineweb(  # noqa: PLR0913  the flags of the command
    *,
    paths: str,
    language: str = "eng_Latn",
    code: str = "en",
    table: str = "",
    model: str = "",
    dictionary: str = "",
    url_lists: str = "",
    similarity: float = 0.8,
    against: str = "",
    evals: str = "",
) -> Recipe:
    """FineWeb from WARC files or HTML pages.

    language    eng_Latn, or a file of the table
    code        the language as the model names it
    table       a folder with FineWeb2's configs, for other languages than English
    model       a fastText model such as lid.176.bin; without one, a built-in model
    dictionary  a file of words, one a line, for languages without white space between words
    url_lists   a folder of lists of addresses to leave out, one entry a line: any of the files
                domains, urls, banned_words.txt, soft_banned_words.txt, banned_subwords.txt
    similarity  least Jaccard similarity at which a page is a near-duplicate
    against     a store whose latest build has an index: pages that it kept are not kept again
    evals       evaluation sets (JSON lines): pages that hold one of their items go
    """
    if language != "eng_Latn" and code == "en":
        raise RecipeError(
            f"the model's name for {language} is wanted.",
            found="code='en'",
            remedy="such as --code fr for fra_Latn (--code fra_Latn with GlotLID)",
        )
    if language.endswith(UNSPACED) and not dictionary:
        raise RecipeError(
            f"{language} puts no space between words, and its thresholds are for words.",
            found="dictionary=''",
            remedy="a file of words, one a line: --dictionary words.txt",
        )
    is_english = language == "eng_Latn"
    words: Literal["english", "unicode"] = "english" if is_english else "unicode"
    stop_words = thresholds(language, table).stop_words
    source = web_source(paths)
    return Recipe(
        source=source,
        steps=[
            *(page_rules() if isinstance(source, Warc) else ()),
            _url_rules(url_lists),
            keep(col("url_rule").is_null(), because="address"),
            ExtractHtml(extractor="trafilatura-precise"),
            *(() if is_english else (Normalize(),)),
            Language(model=model),
            *language_rules(code, language, table),
            GopherRepetition(words=words, dictionary=dictionary),
            *gopher_repetition_rules(language, table),
            GopherQuality(words=words, dictionary=dictionary, stop_words=stop_words),
            *gopher_quality_rules(language, table),
            *(_c4() if is_english else ()),
            FineWebQuality(words=words, dictionary=dictionary),
            *fineweb_rules(language, table),
            *duplicate_steps(similarity=similarity, against=against),
            *decontamination_steps(evals),
            RedactPii(kinds=("email", "ip")),
        ],
    )


def _url_rules(folder: str) -> UrlRules:
    """The rules on addresses, with those lists that the folder has."""
    paths = {setting: Path(folder) / name for setting, name in URL_LISTS.items()}
    present = {setting: str(path) for setting, path in paths.items() if path.is_file()}
    if folder and not present:
        raise ResourceError(
            f"no list of addresses in {folder}.", wanted=", ".join(URL_LISTS.values())
        )
    return UrlRules(**present) if folder else UrlRules()


def _c4() -> list[object]:
    """C4's rules, and the lines that they take out; after these the text is another."""
    return [C4Quality(terminal_only=False), *c4_rules(), C4Lines(terminal_only=False)]
