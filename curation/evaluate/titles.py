"""Passages that belong under titles, and passages of other documents that do not."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from curation.evaluate.ring import Ring, rank
from curation.evaluate.sentences import WORD, Document, Sentence, joined, joined_raw
from curation.evaluate.terms import COMMON, TELLING_FRAC

if TYPE_CHECKING:
    from curation.evaluate.probe import ProbeSettings

#: Words of titles with the same first letters count as one word: "injection" and "injected".
STEM_CHARS = 5
#: A word in this share of a source's titles, and in more than so many, tells none of them apart.
COMMON_FRAC = 0.05
COMMON_TITLES = 3
#: Passages that are compared are of like length: the shorter is at least this share of the longer.
LIKE_LENGTH_FRAC = 0.6
#: The right passage is related to the title, and more so than a wrong one, at least by so much
#: (natural log of documents in common over those expected).
LEAST_GAP = 0.2
#: A passage has at least this part of the characters that it may have.
LEAST_PART = 3
#: A sentence that begins so leans on the one before it, and no passage begins with it.
_LEANING = frozenset(
    """also although another because but each either else finally furthermore he however if instead
    it its moreover neither next nor other otherwise she since some such that their then
    therefore these they this those thus when while yet""".split()
)


@dataclass(frozen=True)
class Titled:
    """A document with a passage that holds no word of its title.

    stems    first letters of the words of the title that tell it from others
    related  how related a text is to the title, by the other documents
    """

    document: Document
    passage: tuple[Sentence, ...]
    stems: frozenset[str]
    related: Callable[[str], float]

    @property
    def text(self) -> str:
        return joined(self.passage)

    @property
    def spellings(self) -> frozenset[str]:
        """The passage as it is shown, and as a corpus would hold it."""
        return frozenset((self.text, joined_raw(self.passage)))


def stems_of(text: str) -> frozenset[str]:
    """Return the first letters of the words of a text that mean something."""
    words = (word.lower() for word in WORD.findall(text.replace("-", " ")))
    return frozenset(
        w[:STEM_CHARS] for w in words if len(w) > 2 and w not in COMMON and not w[0].isdigit()
    )


def with_telling_titles(documents: Sequence[Document]) -> list[Document]:
    """Return the documents, without titles that tell none of them apart: "Analytic 0209"."""
    known = _Known(documents)
    return [d if known.telling(d) else dataclasses.replace(d, title="") for d in documents]


def find_titled(
    documents: Sequence[Document], settings: ProbeSettings
) -> tuple[list[Titled], dict[str, str]]:
    """Return the documents that have a title and a passage, and of the others why they have none.

    A sentence that stands in several documents is a template's and in no passage. Of a document's
    passages the one is taken that is most related to the title, by the other documents; of equals
    the one with the rarest words.
    """
    known = _Known(documents)
    found, lacking = [], {}
    for place, document in enumerate(documents):
        stems = known.telling(document)
        related = partial(known.relatedness, document.title, place)
        passages = list(_passages(document, stems, known, settings)) if stems else []
        ranked = [(related(joined(p)), known.rarity(joined(p)), p) for p in passages]
        best = max(ranked, key=lambda told: told[:2], default=(0.0, 0.0, ()))
        if best[0] >= LEAST_GAP:
            found.append(Titled(document, best[2], stems, related))
        elif passages:
            lacking[document.id] = "no passage that is related to its title"
        else:
            lacking[document.id] = "no passage without words of its title" if stems else "no title"
    return found, lacking


class _Known:
    """What is counted over all documents: sentences, words of titles by source, words.

    holding  first letters of words → the documents that have them, in their titles too
    """

    def __init__(self, documents: Sequence[Document]) -> None:
        self.size = len(documents)
        self.sentences, self.titles = Counter[str](), Counter[tuple[str, str]]()
        self.sources = Counter[str]()
        self.holding: dict[str, set[int]] = {}
        for place, document in enumerate(documents):
            own = {sentence.text for run in document.runs for sentence in run}
            self.sentences.update(own)
            self.sources[document.source] += 1
            self.titles.update((document.source, stem) for stem in stems_of(document.title))
            for stem in stems_of(" ".join((document.title, *own))):
                self.holding.setdefault(stem, set()).add(place)

    def telling(self, document: Document) -> frozenset[str]:
        """Return the words of a title that tell it from others of its source."""
        most = max(COMMON_TITLES, COMMON_FRAC * self.sources[document.source])
        stems = stems_of(document.title)
        return frozenset(s for s in stems if self.titles[document.source, s] <= most)

    def rarity(self, text: str) -> float:
        """Return the mean over words of the log of all documents over those that have it."""
        stems = stems_of(text)
        return sum(math.log(self.size / len(self.holding[stem])) for stem in stems) / max(
            len(stems), 1
        )

    def relatedness(self, title: str, place: int, text: str) -> float:
        """Return how much more often words of a title and a text share documents than by chance.

        The mean over pairs of the log of documents in common over those expected, one more of each;
        the document at ``place`` does not count. 0 where no word tells anything.
        """
        told_by_title, told_by_text = (
            [held for stem in sorted(stems_of(part)) if (held := self._telling_documents(stem))]
            for part in (title, text)
        )
        logs = []
        for one, other in itertools.product(told_by_title, told_by_text):
            sizes = len(one) - (place in one), len(other) - (place in other)
            common = len(one & other) - (place in one and place in other)
            logs.append(math.log((common + 1) / (sizes[0] * sizes[1] / self.size + 1)))
        return sum(logs) / len(logs) if logs else 0.0

    def _telling_documents(self, stem: str) -> set[int]:
        """Return the documents that have a word; none where they are one, or many."""
        held = self.holding.get(stem, set())
        return held if 2 <= len(held) <= max(2, TELLING_FRAC * self.size) else set()


def _passages(
    document: Document, stems: frozenset[str], known: _Known, settings: ProbeSettings
) -> Iterator[tuple[Sentence, ...]]:
    """Yield sentences in a row that are long enough and share no more words with the title."""
    most_shared = settings.most_title_frac * len(stems)
    for run in document.runs:
        for start, first in enumerate(run):
            if first.text.split()[0].rstrip(",").lower() in _LEANING:
                continue
            part = _long_enough(run[start:], settings.passage_chars)
            own = all(known.sentences[sentence.text] == 1 for sentence in part)
            if part and own and len(stems & stems_of(joined(part))) <= most_shared:
                yield part


def _long_enough(run: tuple[Sentence, ...], most_chars: int) -> tuple[Sentence, ...]:
    """Return as many of the first sentences as make a passage; none where they are too long."""
    for stop in range(1, len(run) + 1):
        size = len(joined(run[:stop]))
        if size > most_chars:
            break
        if size >= most_chars / LEAST_PART:
            return run[:stop]
    return ()


class TitlePool:
    """Documents whose passages may be used, and their draws.

    seed  of the draws
    """

    def __init__(self, titled: Sequence[Titled], seed: int) -> None:
        self.seed = seed
        self.titled = {t.document.id: t for t in titled}
        sources = {t.document.source for t in titled}
        self._rings = {
            source: Ring((t.document.id for t in titled if t.document.source == source), seed)
            for source in sources
        }

    def ranked(self) -> list[Titled]:
        """Return the documents in the order in which items are made of them."""
        return sorted(self.titled.values(), key=lambda t: rank(self.seed, "title", t.document.id))

    def distractors(self, right: Titled, count: int) -> list[Titled]:
        """Return so many documents of the same source whose passages are as long; fewer if none."""
        chosen: list[Titled] = []
        place = rank(self.seed, "distractors", right.document.id)
        most_related = right.related(right.text) - LEAST_GAP
        for name in self._rings[right.document.source].after(place):
            other = self.titled[name]
            apart = all(_apart(other, one) for one in (right, *chosen))
            if apart and right.related(other.text) <= most_related:
                chosen.append(other)
            if len(chosen) == count:
                break
        return chosen


def _apart(a: Titled, b: Titled) -> bool:
    """Whether two passages are as long, and neither has to do with the other's title."""
    shorter, longer = sorted((len(a.text), len(b.text)))
    if shorter < LIKE_LENGTH_FRAC * longer or a.stems & b.stems:
        return False
    return not (a.stems & stems_of(b.text)) and not (b.stems & stems_of(a.text))
