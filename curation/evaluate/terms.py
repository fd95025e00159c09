"""Terms of a domain, each with the kind of thing that its spelling says it is.

A term's kind is what a reader who knows nothing of the domain can see: that it is an identifier
such as T1059.001, a file name, an acronym, a name, a word that ends in -ing, a number with a unit.
A term and its distractors are of one kind, so that the kind tells nothing about the answer.

Whether a lower-case word is a term is decided by its log-odds against a general text, or where
there is none by how few documents have it.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

#: What is taken as one token: words with their inner hyphens and stops, numbers with their unit.
_UNITS = (
    "%|percent|mg|mcg|g|kg|ml|mL|mm|cm|km|m|inches|feet|pounds|calories|degrees|hours?|minutes?"
    "|seconds?|days?|weeks?|months?|years?|bits?|bytes?|KB|MB|GB|Hz|kHz|MHz|GHz|volts?|watts?|ms"
)
_PATTERN = rf"\d+(?:\.\d+)?(?:\s?%|\s(?:{_UNITS})\b)|\w+(?:[-.]\w+)*"
TOKEN = re.compile(_PATTERN)
_QUANTITY = re.compile(rf"(\d+(?:\.\d+)?)\s?({_UNITS})")
_FILE = re.compile(
    r"[\w-]+\.(exe|dll|sys|ps1|py|sh|bat|vbs|js|php|jar|apk|conf|cfg|json|xml|yml|html|docx?|txt|so)"
)
_CODE = re.compile(r"(?=[^\W_]*[^\d\W_])(?=\D*\d)[^\W_]+(?:[-.][^\W_]+)*")
_YEAR = re.compile(r"(?:1[5-9]|20)\d\d")
_NUMBER = re.compile(r"(\d+)(?:\.(\d+))?")
#: Endings that go with a word's part in a sentence, the first that fits.
_ENDINGS = tuple(
    """ing ed ly ous ive able ible ical ic al ful less tion sion ment ness ity ance ence ism ist
    ology ia itis osis ers er ors or ies s y e""".split()
)
#: Kinds a setting can name, and what a kind starts with.
KINDS = ("code", "file", "acronym", "mixed", "name", "word", "quantity", "year", "number")
#: Kinds that are what they are in every text; no log-odds are asked of them.
_SHAPED = ("code", "file", "quantity", "year", "number")
#: Words of more documents say nothing of what a text is about.
TELLING_FRAC = 0.1
#: Words that belong to no domain, whatever they are counted against.
COMMON = frozenset(
    """about above across after again against along already also although always among another
    around because become becomes been before being below between both cannot could does doing done
    down during each either else enough especially even ever every everything example examples few
    find first following found from further give given gives goes going good great have having here
    however important include includes including information instead into itself just keep kind
    known large last later least less like likely little long made mainly make makes making many
    maybe might more most much must near need needed needs never next nothing number numbers often
    once only other others over part parts particular people perhaps place possible probably rather
    really right same second seen several shall should similar since small some something sometimes
    soon still such sure take taken takes taking than that their them themselves then there these
    they thing things think this those though three through thus time times together toward under
    until upon used useful uses using usually various very want ways well were what when where
    whether which while whole whom whose will with within without work works would years your
    different certain common commonly additional specific general generally several directly
    quickly easily simply actually currently recently instance amount order point""".split()
)


def kind_of(token: str) -> str:
    """Return what a token looks like, such as "code T9.9" or "word -ing"; "" for nothing usable."""
    if found := _QUANTITY.fullmatch(token):
        return f"quantity {found[2].rstrip('s')}"
    if found := _FILE.fullmatch(token):
        return f"file {found[1]}"
    if _YEAR.fullmatch(token):
        return "year"
    if found := _NUMBER.fullmatch(token):
        return f"number {len(found[1])}.{len(found[2] or '')}"
    if token.isascii() and _CODE.fullmatch(token):
        return f"code {re.sub('[0-9]+', '9', token)}"
    if not token.isalpha():
        return ""
    if token.islower():
        return f"word -{_ending(token)}" if len(token) >= 5 and token not in COMMON else ""
    if token.isupper():
        return "acronym" if 2 <= len(token) <= 6 else ""
    if token.istitle():
        return "name" if len(token) >= 4 and token.lower() not in COMMON else ""
    return "mixed" if len(token) >= 3 and not token[:-1].isupper() else ""


def _ending(word: str) -> str:
    return next((ending for ending in _ENDINGS if word.endswith(ending)), "")


def looser(kind: str) -> str:
    """Return the kind of identifiers whatever their letters: "code A9.9" for "code T9.9"."""
    shape = kind.removeprefix("code ")
    return "code " + re.sub("[a-z]+", "a", re.sub("[A-Z]+", "A", shape))


@dataclass(frozen=True)
class Vocabulary:
    """What is known of the terms of a domain.

    kind       term → its kind
    count      term → how often it stands in the documents' sentences
    documents  term → the documents that have it
    members    kind → its terms, in the order of their spelling
    after      word in lower case → the terms that follow it somewhere
    holding    word in lower case → the documents that have it; words of some documents only
    size       number of documents
    """

    kind: Mapping[str, str]
    count: Mapping[str, int]
    documents: Mapping[str, frozenset[int]]
    after: Mapping[str, frozenset[str]]
    holding: Mapping[str, frozenset[int]]
    size: int
    members: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for term in sorted(self.kind):
            self.members.setdefault(self.kind[term], []).append(term)

    def relatedness(self, term: str, words: Iterable[str], *, without: int) -> float:
        """Return how much more often a term shares a document with words than by chance.

        The mean over words of the log of documents in common over those expected, one more of
        each; 0 where no word tells anything.

        without  the document that does not count
        """
        held = self.documents[term] - {without}
        logs = []
        for word in words:
            own = self.holding.get(word, frozenset()) - {without}
            if own:
                expected = len(own) * len(held) / self.size
                logs.append(math.log((len(own & held) + 1) / (expected + 1)))
        return sum(logs) / len(logs) if logs else 0.0


@dataclass(frozen=True)
class TermRules:
    """Which tokens are terms.

    kinds            kinds that are wanted, of KINDS
    least_documents  documents that have a term, at least
    most_frac        share of documents that have it, at most
    least_z          log-odds of a word or name against general text, in standard deviations
    least_ratio      times that it is as frequent as in general text
    least_family     identifiers with the same letters, at least, that make a kind of their own
    """

    kinds: tuple[str, ...]
    least_documents: int
    most_frac: float
    least_z: float
    least_ratio: float
    least_family: int


def find_terms(
    sentences: Sequence[Sequence[str]], rules: TermRules, general: Sequence[str] | None
) -> Vocabulary:
    """Return the terms of documents.

    sentences  of each document
    general    texts of no domain, whose words are no terms; None where there are none
    """
    tally = _count(sentences)
    most = max(rules.least_documents, rules.most_frac * len(sentences))
    known = {
        token: kind_of(token)
        for token, held in tally.documents.items()
        if rules.least_documents <= len(held) <= most and token in tally.inside
    }
    kinds = {t: k for t, k in known.items() if k and k.split()[0] in rules.kinds}
    kinds = {t: k for t, k in kinds.items() if not _is_common_word(t, k, tally.count)}
    if general is not None:
        kinds = _of_domain(kinds, tally.count, count_tokens(general), rules)
    kinds = _families(kinds, rules.least_family)
    return Vocabulary(
        kinds,
        {t: tally.count[t] for t in kinds},
        {t: frozenset(tally.documents[t]) for t in kinds},
        {word: frozenset(terms & kinds.keys()) for word, terms in tally.after.items()},
        _holding(tally.documents, TELLING_FRAC * len(sentences)),
        len(sentences),
    )


def _of_domain(
    kinds: Mapping[str, str], own: Mapping[str, int], other: Mapping[str, int], rules: TermRules
) -> dict[str, str]:
    """Return the terms that are much more frequent than in general text, and the shaped ones."""
    scores = log_odds(own, other, kinds)
    scale = sum(other.values()) / max(sum(own.values()), 1)
    return {
        term: kind
        for term, kind in kinds.items()
        if kind.startswith(_SHAPED)
        or (
            scores[term] >= rules.least_z
            and own[term] * scale >= rules.least_ratio * other.get(term, 0)
        )
    }


def _holding(documents: Mapping[str, set[int]], most: float) -> dict[str, frozenset[int]]:
    held: dict[str, set[int]] = {}
    for token, numbers in documents.items():
        word = token.lower()
        if len(word) >= 4 and word not in COMMON:
            held.setdefault(word, set()).update(numbers)
    return {word: frozenset(n) for word, n in held.items() if 2 <= len(n) <= max(most, 2)}


@dataclass
class _Tally:
    """What was counted: see ``Vocabulary``; ``inside`` are tokens that stand within a sentence."""

    count: Counter[str] = field(default_factory=Counter)
    documents: dict[str, set[int]] = field(default_factory=dict)
    after: dict[str, set[str]] = field(default_factory=dict)
    inside: set[str] = field(default_factory=set)


def _count(sentences: Sequence[Sequence[str]]) -> _Tally:
    tally = _Tally()
    for document, own in enumerate(sentences):
        for sentence in own:
            tokens = TOKEN.findall(sentence)
            tally.count.update(tokens)
            tally.inside.update(tokens[1:])
            for token in tokens:
                tally.documents.setdefault(token, set()).add(document)
            for before, token in itertools.pairwise(tokens):
                tally.after.setdefault(before.lower(), set()).add(token)
    return tally


def _is_common_word(token: str, kind: str, count: Mapping[str, int]) -> bool:
    """Return whether a name is as often written as a word: "Attackers"."""
    return kind == "name" and count.get(token.lower(), 0) >= count[token]


def _families(kinds: Mapping[str, str], least: int) -> dict[str, str]:
    """Return kinds in which identifiers of small families are put together by their shape."""
    sizes = Counter(kinds.values())
    return {
        t: looser(k) if k.startswith("code") and sizes[k] < least else k for t, k in kinds.items()
    }


def count_tokens(texts: Sequence[str]) -> dict[str, int]:
    """Return how often each token stands in texts."""
    tokens = pl.Series("token", texts, pl.String).str.extract_all(_PATTERN).explode()
    return dict(tokens.drop_nulls().value_counts(name="count").iter_rows())


def log_odds(
    domain: Mapping[str, int], general: Mapping[str, int], tokens: Iterable[str]
) -> dict[str, float]:
    """Return how much more frequent tokens are in a domain, in standard deviations.

    The log-odds ratio with an informative Dirichlet prior, whose counts are those of both texts
    together, over its standard deviation (Monroe, Colaresi and Quinn 2008, "Fightin' Words",
    equations 16, 20 and 22).
    """
    names = list(tokens)
    own_W, other_W = (
        np.array([counts.get(name, 0) for name in names], dtype=np.float64)
        for counts in (domain, general)
    )
    own, other = float(sum(domain.values())), float(sum(general.values()))
    prior_W, prior = own_W + other_W, own + other
    with np.errstate(divide="ignore"):
        own_odds_W = np.log((own_W + prior_W) / (own + prior - own_W - prior_W))
        other_odds_W = np.log((other_W + prior_W) / (other + prior - other_W - prior_W))
    deviation_W = np.sqrt(1 / (own_W + prior_W) + 1 / (other_W + prior_W))
    score_W = (own_odds_W - other_odds_W) / deviation_W
    return dict(zip(names, score_W.tolist(), strict=True))
