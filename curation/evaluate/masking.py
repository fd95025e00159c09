"""Sentences cut off at a term of the domain, and terms of the same kind to go on with."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from curation.evaluate.ring import Ring, rank
from curation.evaluate.sentences import Document, Sentence, joined, joined_raw
from curation.evaluate.terms import TOKEN, Vocabulary

#: Words of a sentence that stand before its term, at least: fewer tell nothing.
LEAST_WORDS_BEFORE = 5
#: A wrong term's length differs by so many characters or this share of the right one's, at most.
LIKE_CHARS = 2
LIKE_CHARS_FRAC = 0.34
#: One term is at most so many times as frequent as the other.
LIKE_COUNT_RATIO = 4
#: The right term is related to what is shown, and more so than a wrong one, at least by so much
#: (natural log of documents in common over those expected).
LEAST_GAP = 0.2
#: Terms that begin alike are forms of one word: "attacker", "attacks".
STEM_CHARS = 5
#: What may stand after a term: white space, the end, or a mark.
_AFTER = (" ", ",", ".", ";", ":", ")", "!", "?", '"', "”", "")
#: Kinds that are parts of speech: what may follow a word is told by what does follow it.
_SPOKEN = ("word",)
_VOWELS = "aeiouAEIOU"


@dataclass(frozen=True)
class Cut:
    """A sentence cut off before a term.

    place     the document's, among all
    number    the sentence's, in its document
    context   the sentences before it that are shown
    before    the sentence up to its term, without the space
    """

    document: Document
    place: int
    number: int
    context: tuple[Sentence, ...]
    sentence: Sentence
    before: str
    word_before: str
    term: str

    @property
    def id(self) -> str:
        return f"{self.document.id}:{self.number}:{self.term}"

    @property
    def shown(self) -> str:
        """Title, sentences before, and the sentence up to the term."""
        cut = self.sentence._replace(text=self.before)
        title = "" if self.term.lower() in self.document.title.lower() else self.document.title
        return f"{title}\n{joined((*self.context, cut))}".strip()

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The different words that are shown, in lower case."""
        return tuple(dict.fromkeys(TOKEN.findall(self.shown.lower())))

    @property
    def spellings(self) -> frozenset[str]:
        """The sentences as they are shown, and as a corpus would hold them, with the term."""
        whole = (*self.context, self.sentence)
        return frozenset((joined(whole), joined_raw(whole)))


def find_cuts(
    documents: Sequence[Document], vocabulary: Vocabulary, context_chars: int, seed: int
) -> list[list[Cut]]:
    """Return the cuts of each document, one a sentence at most, in the order of their draw."""
    chosen = []
    for place, document in enumerate(documents):
        best: dict[int, tuple[int, Cut]] = {}
        for cut in _cuts(document, place, vocabulary, context_chars):
            drawn = rank(seed, "cut", cut.id)
            if cut.number not in best or drawn < best[cut.number][0]:
                best[cut.number] = drawn, cut
        chosen.append([cut for _, cut in sorted(best.values(), key=lambda pair: pair[0])])
    return chosen


def _cuts(
    document: Document, place: int, vocabulary: Vocabulary, context_chars: int
) -> Iterator[Cut]:
    number = 0
    for run in document.runs:
        for at, sentence in enumerate(run):
            number += 1
            context = _context(run[:at], context_chars)
            told = joined(context).lower()
            words = list(TOKEN.finditer(sentence.text))
            for word, found in itertools.pairwise(words[LEAST_WORDS_BEFORE - 1 :]):
                before = sentence.text[: word.end()]
                if (
                    found[0] in vocabulary.kind
                    and sentence.text[word.end() : found.start()] == " "
                    and sentence.text[found.end() : found.end() + 1] in _AFTER
                    and found[0].lower() not in f"{told} {before.lower()}"
                ):
                    yield Cut(document, place, number, context, sentence, before, word[0], found[0])


def _context(run: tuple[Sentence, ...], most_chars: int) -> tuple[Sentence, ...]:
    """Return as many of the last sentences as have no more characters."""
    start = len(run)
    while start and len(joined(run[start - 1 :])) <= most_chars:
        start -= 1
    return run[start:]


class TermPool:
    """The terms of a domain, and their draws as wrong choices."""

    def __init__(self, vocabulary: Vocabulary, seed: int) -> None:
        self.vocabulary, self.seed = vocabulary, seed
        self._rings = {kind: Ring(terms, seed) for kind, terms in vocabulary.members.items()}

    def distractors(self, cut: Cut, count: int) -> list[str]:
        """Return so many terms like a cut's that its document does not have, or fewer."""
        document = f"{cut.document.title}\n{cut.document.text}".lower()
        chosen: list[str] = []
        if self._relatedness(cut, cut.term) < LEAST_GAP:
            return chosen
        fitting = self._fitting(cut)
        place = rank(self.seed, "terms", cut.id)
        for term in self._rings[self.vocabulary.kind[cut.term]].after(place):
            apart = all(_stem(term) != _stem(one) for one in (cut.term, *chosen))
            if apart and fitting(term) and term.lower() not in document:
                chosen.append(term)
            if len(chosen) == count:
                break
        return chosen

    def _fitting(self, cut: Cut) -> Callable[[str], bool]:
        """Return the test of a wrong term.

        Nothing that a reader sees who knows nothing of the domain tells it from the right one; what
        the domain's other documents say does.
        """
        known, right = self.vocabulary, cut.term
        after = known.after.get(cut.word_before.lower(), frozenset())
        spoken = known.kind[right].startswith(_SPOKEN)
        article = cut.word_before.lower() in ("a", "an")
        most_apart = max(LIKE_CHARS, LIKE_CHARS_FRAC * len(right))
        most_related = self._relatedness(cut, right) - LEAST_GAP

        def fits(term: str) -> bool:
            counts = sorted((known.count[term], known.count[right]))
            return (
                abs(len(term) - len(right)) <= most_apart
                and counts[1] <= LIKE_COUNT_RATIO * counts[0]
                and (not spoken or term in after)
                and (not article or (term[0] in _VOWELS) == (right[0] in _VOWELS))
                and self._relatedness(cut, term) <= most_related
            )

        return fits

    def _relatedness(self, cut: Cut, term: str) -> float:
        return self.vocabulary.relatedness(term, cut.words, without=cut.place)


def _stem(term: str) -> str:
    return term[:STEM_CHARS].lower() if term.isalpha() else term.lower()
