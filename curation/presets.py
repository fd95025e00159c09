"""Published filters as lists of ``keep``: each threshold stands here once, beside its source.

    steps=[GopherRepetition(), *gopher_repetition_rules(), FineWebQuality(), *fineweb_rules()]

The lists hold rules alone. The stages that write the columns go before them, so that a recipe says
what is computed, and a changed threshold computes nothing again. A rule that a row's null values
cannot answer drops the row.

Rules for another language than English take their thresholds from a table as FineWeb2 publishes
it: a folder of files such as ``fra_Latn.yml`` (huggingface/fineweb-2, ``configs``).

Two lists hold stages too, since their order is always the same: duplicates and decontamination.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any, Literal

import polars as pl

from curation.annotate.corrections import MAX_REMOVED_WORD_FRAC
from curation.annotate.license import OPEN_LICENSES
from curation.annotate.quality import GOPHER_STOP_WORDS
from curation.dedup.decontaminate import Decontaminate
from curation.dedup.exact import ExactDuplicates, TextHash
from curation.dedup.minhash import MinHashSketch
from curation.dedup.near import NearDuplicates
from curation.errors import RecipeError, ResourceError, nearest
from curation.recipe import Keep, col, keep
from curation.rewrite.faithful import BOUNDS
from curation.stage import Annotator, Reducer

ENGLISH = "eng_Latn"

#: Runs of so many words, and the share of a document's characters that they may take.
Bounds = tuple[tuple[int, float], ...]


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """What one language's rules compare with; the defaults are English.

    A bound that is None is not asked.
    """

    #: arXiv:2406.17557, section 3.2: English with at least this probability.
    language_prob: float = 0.65

    #: arXiv:2112.11446, section A1.1.
    stop_words: tuple[str, ...] = GOPHER_STOP_WORDS
    min_stop_words: int = 2
    min_words: int = 50
    max_words: int = 100_000
    min_mean_word_chars: float = 3
    max_mean_word_chars: float = 10
    max_symbol_word_ratio: float = 0.1
    max_bullet_line_frac: float = 0.9
    max_ellipsis_line_frac: float = 0.3
    min_alpha_word_frac: float = 0.8

    #: arXiv:2112.11446, table A1.
    max_dup_line_frac: float = 0.3
    max_dup_para_frac: float | None = 0.3
    max_dup_line_char_frac: float | None = 0.2
    max_dup_para_char_frac: float | None = 0.2
    max_top_ngram_char_frac: Bounds = ((2, 0.2), (3, 0.18), (4, 0.16))
    max_dup_ngram_char_frac: Bounds = (
        *((5, 0.15), (6, 0.14), (7, 0.13)),
        *((8, 0.12), (9, 0.11), (10, 0.10)),
    )

    #: arXiv:2406.17557, table 2. Its text says 0.1 for repeated characters; its table, its token
    #: counts and the released code say 0.01.
    min_terminal_line_frac: float = 0.12
    max_short_line_frac: float | None = 0.67
    max_dup_char_frac: float = 0.01
    max_newline_word_ratio: float = 0.3


#: What FineWeb2 sets for all its languages: no rules on paragraphs, on characters in repeated
#: lines and on short lines, and 0.1 for repeated characters.
_FINEWEB2: Mapping[str, Any] = {
    "max_dup_para_frac": None,
    "max_dup_para_char_frac": None,
    "max_dup_line_char_frac": None,
    "max_short_line_frac": None,
    "max_dup_char_frac": 0.1,
}

#: A key of FineWeb2's files → the threshold it sets.
_KEYS = {
    "dup_line_frac": "max_dup_line_frac",
    "dup_n_grams": "max_dup_ngram_char_frac",
    "language_score": "language_prob",
    "line_punct_thr": "min_terminal_line_frac",
    "max_avg_word_length": "max_mean_word_chars",
    "max_non_alpha_words_ratio": "min_alpha_word_frac",
    "min_avg_word_length": "min_mean_word_chars",
    "new_line_ratio": "max_newline_word_ratio",
    "stopwords": "stop_words",
    "top_n_grams": "max_top_ngram_char_frac",
}

#: Keys whose numbers may be above 1.
_NO_SHARES = ("max_avg_word_length", "min_avg_word_length", "new_line_ratio")


def thresholds(language: str = ENGLISH, table: str = "") -> Thresholds:
    """Return a language's thresholds.

    language  ``eng_Latn``, or the name of a file in the table
    table     a folder of FineWeb2's files; for English it may be left out
    raises    ResourceError for a language without a file; RecipeError for a file that is not one
    """
    if not isinstance(language, str) or not isinstance(table, str | Path):
        raise RecipeError(
            "thresholds takes the name of a language and a folder.",
            found=f"language={language!r}, table={table!r}",
            remedy=f'such as thresholds("{ENGLISH}"), or thresholds("fra_Latn", FOLDER)',
        )
    if not table and language == ENGLISH:
        return Thresholds()
    folder = Path(table)
    present = sorted(path.stem for path in folder.glob("*.yml")) if table else []
    if language not in present:
        raise ResourceError(
            f"no thresholds for the language '{language}'.",
            present=f"{ENGLISH} (built in); in {table or 'no table'}: {', '.join(present) or '-'}",
            remedy=nearest(language, present)
            or "table=FOLDER with FineWeb2's configs, such as fra_Latn.yml",
        )
    return _read(folder / f"{language}.yml")


def _read(path: Path) -> Thresholds:
    import yaml

    try:
        facts = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _unfit(path, str(error).splitlines()[0]) from None
    if not isinstance(facts, dict):
        raise _unfit(path, f"a {type(facts).__name__}, not keys and values")
    unknown = [key for key in facts if key not in _KEYS]
    if unknown:
        raise _unfit(path, f"the key {unknown[0]!r}", nearest(str(unknown[0]), _KEYS))
    given = {_KEYS[key]: _as_setting(path, key, value) for key, value in facts.items()}
    return Thresholds(**{**_FINEWEB2, **given})


def _as_setting(path: Path, key: str, value: object) -> object:
    wanted = {field.name: field.default for field in fields(Thresholds)}[_KEYS[key]]
    if not isinstance(wanted, tuple):
        if _is_number(value, float("inf") if key in _NO_SHARES else 1):
            return value
    elif isinstance(value, list):
        if all(isinstance(item, str) for item in value) and isinstance(wanted[0], str):
            return tuple(value)
        if all(_is_bound(item) for item in value) and not isinstance(wanted[0], str):
            found = tuple((n, bound) for n, bound in value)
            if len(dict(found)) == len(found):
                return found
    raise _unfit(path, f"{key}: {value!r}")


def _is_bound(item: object) -> bool:
    """Say whether an item is a number of words from 2 to 10 and a share."""
    if not isinstance(item, list) or len(item) != 2:
        return False
    length, bound = item
    return isinstance(length, int) and 2 <= length <= 10 and _is_number(bound, 1)


def _is_number(value: object, most: float) -> bool:
    """Say whether a value is a finite number from 0 to ``most``."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return 0 <= value <= most and value != float("inf")


def _unfit(path: Path, found: str, remedy: str = "") -> RecipeError:
    return RecipeError(
        f"{path} is no table of thresholds as FineWeb2 publishes them.",
        found=found,
        wanted=", ".join(_KEYS),
        remedy=remedy,
    )


# ---------------------------------------------------------------- rules


def page_rules() -> list[Keep]:
    """Return the rules on what a server said; they read what Warc() writes.

    A crawl's records are kept where the status is 200, or unknown, and the type is a page's.
    """
    status, kind = col("http_status"), col("http_content_type")
    is_page = kind.is_null() | kind.is_in(["text/html", "application/xhtml+xml", "text/plain"])
    return [
        keep(status.is_null() | (status == 200), because="not status 200"),
        keep(is_page, because="not a page"),
    ]


def duplicate_steps(
    *, similarity: float = 0.8, against: str = ""
) -> list[Annotator | Reducer | Keep]:
    """Return the steps that take out exact copies and then near ones, verified.

    They read ``text``. The sketches are FineWeb's: 5 words, 14 bands of 8.

    similarity  least Jaccard similarity of near-duplicates
    against     the index of an earlier build, whose rows are not kept a second time
    """
    return [
        TextHash(),
        ExactDuplicates(),
        keep(col("duplicate_of").is_null(), because="exact duplicate"),
        MinHashSketch(),
        NearDuplicates(similarity=similarity, against=(against,) if against else ()),
        keep(col("duplicate_of").is_null(), because="near duplicate"),
    ]


def decontamination_steps(evals: str) -> list[Annotator | Keep]:
    """Return the steps that take out rows with items of evaluation sets; none without sets.

    evals  a file, a folder or a pattern of JSON lines, see ``Decontaminate``
    """
    if not evals:
        return []
    stage = Decontaminate(evals=(evals,))
    return [stage, keep(col("contaminated_by").is_null(), because="holds an evaluation item")]


def gopher_rules(language: str = ENGLISH, table: str = "") -> list[Keep]:
    """Return Gopher's rules on repetition, then those on quality.

    They read what GopherRepetition() and GopherQuality(stop_words=...) write; the stop words of
    another language are ``thresholds(language, table).stop_words``.
    """
    return [*gopher_repetition_rules(language, table), *gopher_quality_rules(language, table)]


def gopher_repetition_rules(language: str = ENGLISH, table: str = "") -> list[Keep]:
    """Return Gopher's rules on repetition; they read what GopherRepetition() writes."""
    wanted = thresholds(language, table)
    top = wanted.max_top_ngram_char_frac
    again = wanted.max_dup_ngram_char_frac
    rules = [
        _most("dup_para_frac", wanted.max_dup_para_frac, "gopher: repeated paragraphs"),
        _most(
            "dup_para_char_frac",
            wanted.max_dup_para_char_frac,
            "gopher: text in repeated paragraphs",
        ),
        _most("dup_line_frac", wanted.max_dup_line_frac, "gopher: repeated lines"),
        _most(
            "dup_line_char_frac", wanted.max_dup_line_char_frac, "gopher: text in repeated lines"
        ),
        *(_most(f"top_{n}gram_char_frac", x, f"gopher: one run of {n} words") for n, x in top),
        *(
            _most(f"dup_{n}gram_char_frac", x, f"gopher: repeated runs of {n} words")
            for n, x in again
        ),
    ]
    return [rule for rule in rules if rule is not None]


def gopher_quality_rules(language: str = ENGLISH, table: str = "") -> list[Keep]:
    """Return Gopher's rules on quality; they read what GopherQuality() writes."""
    wanted = thresholds(language, table)
    ratio = wanted.max_symbol_word_ratio
    return [
        keep(col("nonsymbol_word_count") >= wanted.min_words, because="gopher: too few words"),
        keep(col("nonsymbol_word_count") <= wanted.max_words, because="gopher: too many words"),
        keep(
            col("mean_word_chars") >= wanted.min_mean_word_chars, because="gopher: words too short"
        ),
        keep(
            col("mean_word_chars") <= wanted.max_mean_word_chars, because="gopher: words too long"
        ),
        keep(col("hash_word_ratio") <= ratio, because="gopher: too many number signs"),
        keep(col("ellipsis_word_ratio") <= ratio, because="gopher: too many ellipses"),
        keep(
            col("bullet_line_frac") <= wanted.max_bullet_line_frac,
            because="gopher: lines of a list",
        ),
        keep(
            col("ellipsis_line_frac") <= wanted.max_ellipsis_line_frac,
            because="gopher: lines cut off",
        ),
        keep(
            col("alpha_word_frac") >= wanted.min_alpha_word_frac,
            because="gopher: words without letters",
        ),
        keep(col("stop_word_count") >= wanted.min_stop_words, because="gopher: too few stop words"),
    ]


def c4_rules(*, min_sentences: int = 5, blocked_words: bool = False) -> list[Keep]:
    """Return C4's rules on documents; they read what C4Quality() writes.

    blocked_words  also ask for no word of the list that BlockedWords(words=...) was given
    source         Raffel et al. 2020, arXiv:1910.10683, section 2.2
    """
    rules = [
        keep(col("c4_lorem_line_count") == 0, because="c4: lorem ipsum"),
        keep(col("c4_curly_line_count") == 0, because="c4: curly bracket"),
        keep(col("c4_sentence_count") >= min_sentences, because="c4: too few sentences"),
    ]
    if blocked_words:
        rules.append(keep(col("blocked_word_count") == 0, because="c4: blocked word"))
    return rules


def fineweb_rules(language: str = ENGLISH, table: str = "") -> list[Keep]:
    """Return FineWeb's own rules; they read what FineWebQuality() writes."""
    wanted = thresholds(language, table)
    rules = [
        keep(
            col("terminal_line_frac") >= wanted.min_terminal_line_frac,
            because="fineweb: lines without an end",
        ),
        _most("short_line_frac", wanted.max_short_line_frac, "fineweb: short lines"),
        _most("fineweb_dup_char_frac", wanted.max_dup_char_frac, "fineweb: repeated lines"),
        _most("newline_word_ratio", wanted.max_newline_word_ratio, "fineweb: a list"),
    ]
    return [rule for rule in rules if rule is not None]


def language_rules(code: str = "en", language: str = ENGLISH, table: str = "") -> list[Keep]:
    """Return the rules on the language; they read what Language() writes.

    code      the language's name in the model of Language: 'en', 'fr', or 'fra_Latn' in GlotLID
    language  its name in the table, for the probability that is wanted
    """
    wanted = thresholds(language, table).language_prob
    return [
        keep(col("language") == code, because="another language"),
        keep(col("language_prob") >= wanted, because="language uncertain"),
    ]


def refinedweb_rules() -> list[Keep]:
    """Return RefinedWeb's rule on its corrections; it reads what LineCorrections() writes."""
    because = "refinedweb: too many words corrected away"
    return [keep(col("removed_word_frac") <= MAX_REMOVED_WORD_FRAC, because=because)]


def refine_rules() -> list[Keep]:
    """Drop what a refining model drops (``Refine``), and what is left of no more than ten words."""
    return [keep(col("refine_verdict") != "dropped", because="refined away")]


def faithful_rules(**changed: float | None) -> list[Keep]:
    """Return the rules on a rewrite's faithfulness; they read what Faithful() writes.

    All of them together are ``is_faithful``; by themselves, each row goes with the first that it
    fails as its reason, and a bound can be changed, or left out by None. That of copying is out
    unless it is given: an extract is faithful.

        faithful_rules(copied_frac=0.8, unsupported_name_count=2, source_word_frac=None)

    changed  column → what it may be at most (counts, copied_frac, rewrite_word_ratio) or has to be
             at least (other shares, added_word_count)
    """
    for name, value in changed.items():
        if name not in BOUNDS or not (value is None or isinstance(value, int | float)):
            raise RecipeError(
                "faithful_rules takes a number, or None, for columns that Faithful writes.",
                found=f"{name}={value!r}",
                wanted=", ".join(BOUNDS),
                remedy=nearest(name, BOUNDS),
            )
    rules = []
    for name, bound in BOUNDS.items():
        wanted = changed.get(name, bound.value)
        if wanted is None:
            continue
        column = col(name).cast(pl.Float32)
        passes = column >= wanted if bound.side == "least" else column <= wanted
        passes = col(name).is_null() | passes if bound.null else passes
        rules.append(keep(passes, because=f"unfaithful: {bound.because}"))
    return rules


def license_rules(
    allow: Sequence[str] = OPEN_LICENSES, *, unknown: Literal["drop", "keep"] = "drop"
) -> list[Keep]:
    """Return rules that keep the rows whose ``license_id`` is allowed.

    allow    SPDX identifiers, or their beginnings followed by ``*``: OPEN_LICENSES holds public
             domain, attribution (CC BY) and permissive software licences; share-alike,
             non-commercial and no-derivatives are choices: ``OPEN_LICENSES + SHARE_ALIKE``
    unknown  whether a row without ``license_id`` goes, as "licence unknown", or stays
    """
    if isinstance(allow, str) or not allow or not all(_is_entry(entry) for entry in allow):
        raise RecipeError(
            "license_rules takes a list of SPDX identifiers; one may end in '*'.",
            found=repr(allow),
            remedy='such as allow=OPEN_LICENSES + SHARE_ALIKE, or allow=("CC-BY-4.0", "MIT")',
        )
    if unknown not in ("drop", "keep"):
        raise RecipeError("license_rules takes unknown='drop' or 'keep'.", found=repr(unknown))
    name = col("license_id")
    whole = [entry for entry in allow if not entry.endswith("*")]
    begins = [name.str.starts_with(entry[:-1]) for entry in allow if entry.endswith("*")]
    allowed = reduce(or_, begins, name.is_in(whole))
    if unknown == "keep":
        return [keep(name.is_null() | allowed, because="licence not allowed")]
    return [
        keep(name.is_not_null(), because="licence unknown"),
        keep(allowed, because="licence not allowed"),
    ]


def _is_entry(entry: object) -> bool:
    return isinstance(entry, str) and bool(re.fullmatch(r"[A-Za-z0-9.+-]+\*?|\*", entry))


def dsir_rules() -> list[Keep]:
    """Return the quality filter of DSIR's data; it reads what DsirQuality() writes.

    source  Xie et al. 2023, arXiv:2302.03169, released preprocessing: for pieces of 128 words
    """
    return [
        keep(_between("dsir_word_count", 40, 500), because="dsir: length"),
        keep(_between("top_word_frac", 0.02, 0.2), because="dsir: one word repeated"),
        keep(_between("informative_word_frac", 0.3, 0.7), because="dsir: informative words"),
        keep(col("nondigit_word_frac") > 0.8, because="dsir: digits"),
    ]


def _most(column: str, bound: float | None, because: str) -> Keep | None:
    return None if bound is None else keep(col(column) <= bound, because=because)


def _between(column: str, low: float, high: float) -> pl.Expr:
    return (col(column) > low) & (col(column) < high)
