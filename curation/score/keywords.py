"""Words of a domain: long words that are much commoner in the pool than in general text.

AdaptLLM takes the pieces of a vocabulary trained on the domain that one trained on general text
does not have. Here no vocabulary is trained: a word's share of the pool's words is held against its
share of the general text's, and the surest differences stay, by the log-likelihood ratio.

The pool is read twice: to count, and to say which words each document holds. Counts are whole
numbers and kept by a word's hash, so neither order nor shards matter and memory grows with the
vocabulary alone. Two of ten million words share a 64-bit hash once in 400,000 pools.

V words of the vocabulary, W long words of a batch, K domain words, N documents
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.arrow import bytes_and_offsets, is_valid, strings_between
from curation.columns import columns
from curation.errors import RecipeError
from curation.score.target import target_files, target_texts
from curation.stage import Reducer, Rows
from curation.threads import in_order

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

#: Letters of the longest word: what is longer is a chain of symbols in letters.
LONGEST = 64
#: Words that the record of a build shows.
SHOWN = 20
#: Entries that wait before they are added up.
_WAITING = 1 << 20


@dataclass(frozen=True, kw_only=True)
class DomainKeywords(Reducer):
    """Find the domain's words in the pool, and say which of them each document holds.

    A word is a run of letters, hyphens inside; case does not matter. It is a domain word if it
    stands in ``min_documents`` documents and its share of the pool's words is ``ratio`` times its
    share of the general text's, where ``smoothing`` is added to how often it occurs. Of those the
    ``most`` with the highest log-likelihood ratio stay.

    general        file or pattern of general text; see ``score.target.read_target``
    text           field of its text
    min_letters    letters of the shortest word; AdaptLLM's pieces have ten
    min_documents  documents of the pool that hold the word
    ratio          how much commoner it is in the pool
    smoothing      added to its count in the general text, and to the words there
    most           domain words, over all documents
    per_document   words of a document, the first ones

        DomainKeywords(general="wiki/*.jsonl.zst"),
        ReadingComprehension(),

    reads    text      large_string                    null allowed
    writes   keywords  large_list<item: large_string>  lower-cased; null where the text is
    source   Cheng et al. 2024, arXiv:2309.09530, word to text (the use, not the way to find them);
             Dunning 1993, aclanthology.org/J93-1003 (log-likelihood ratio)
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("text",)
    writes: ClassVar[pa.Schema] = columns("keywords")

    general: str
    text: str = "text"
    min_letters: int = 10
    min_documents: int = 5
    ratio: float = 5.0
    smoothing: float = 1.0
    most: int = 10_000
    per_document: int = 256

    def check(self) -> None:
        for name in ("min_letters", "min_documents", "most", "per_document"):
            if getattr(self, name) < 1:
                raise RecipeError(
                    f"DomainKeywords takes {name} of 1 or more.",
                    found=f"{name}={getattr(self, name)}",
                )
        if self.min_letters > LONGEST:
            raise RecipeError(
                f"DomainKeywords looks at words of {LONGEST} letters at most.",
                found=f"min_letters={self.min_letters}",
            )
        for name in ("ratio", "smoothing"):
            if not 0 < getattr(self, name) < float("inf"):
                raise RecipeError(
                    f"DomainKeywords takes a {name} above 0.",
                    found=f"{name}={getattr(self, name)}",
                )
        target_files(self.general)  # a pattern without a file is told at once

    def model_files(self) -> tuple[str, ...]:
        return target_files(self.general)

    def reduce(self, rows: Rows) -> Iterator[pa.RecordBatch]:
        found = self.find(batch["text"] for batch in rows.batches("text"))
        rows.note(**found.facts())

        def told(batch: pa.RecordBatch) -> pa.RecordBatch:
            lists = found.of(batch["text"], self.min_letters, self.per_document)
            return pa.RecordBatch.from_arrays([lists], schema=self.writes)

        yield from in_order(told, rows.batches("text"))

    def find(self, texts: Iterable[pa.Array]) -> DomainWords:
        """Return the domain words of a pool, given as columns of text."""
        pool = _Vocabulary()
        for counted in in_order(self._counted, texts):
            pool.add(counted)
        candidates = pool.counts()
        candidates = candidates.take(candidates.documents_V >= self.min_documents)
        general_V, general_words = self._in_general(candidates.hash_V)
        if general_words == 0:
            raise RecipeError(
                f"the general text '{self.general}' holds no words.",
                remedy="give text that is not of the domain, such as news or an encyclopaedia",
            )
        words = _chosen(self, candidates, pool.words, general_V, general_words)
        made = DomainWords(
            text=words.spelled(),
            hash_K=words.hash_V,
            candidates=len(candidates.hash_V),
            pool_words=pool.words,
            general_words=general_words,
        )
        if len(made.text) == 0:
            warnings.warn(
                f"DomainKeywords: no word is {self.ratio:g} times commoner in the pool than in "
                f"{self.general} and in {self.min_documents} documents: lower ratio, "
                "min_documents or min_letters, or give more text.",
                stacklevel=2,
            )
        return made

    def _counted(self, text: pa.Array) -> _Counts:
        """Count the long words of a batch."""
        from curation.kernels.long_words import long_words

        data, offset = bytes_and_offsets(text)
        words = long_words(data, offset, self.min_letters, LONGEST)
        hash_V, first_V, of_W, count_V = np.unique(
            words.hash_W, return_index=True, return_inverse=True, return_counts=True
        )
        document_W = np.repeat(np.arange(len(text), dtype=np.int64), np.diff(words.offset))
        once = np.unique(document_W * len(hash_V) + of_W) % max(1, len(hash_V))
        documents_V = np.bincount(once, minlength=len(hash_V))
        return _Counts(
            hash_V=hash_V,
            count_V=count_V.astype(np.int64),
            documents_V=documents_V.astype(np.int64),
            spelling=strings_between(data, words.start_W[first_V], words.stop_W[first_V]),
            words=words.runs,
        )

    def _in_general(self, hash_V: U64) -> tuple[I64, int]:
        """Return int64[V], how often each word occurs in the general text, and its words in all."""
        count_V, total = np.zeros(len(hash_V), dtype=np.int64), 0
        for counted in in_order(self._counted, target_texts(self.general, text=self.text)):
            total += counted.words
            which = _places(hash_V, counted.hash_V)
            count_V[which[which >= 0]] += counted.count_V[which >= 0]
        return count_V, total


@dataclass(frozen=True, eq=False)
class DomainWords:
    """The words of a domain, the surest first.

    text           large_string[K]  lower-cased
    hash_K         uint64[K]
    candidates     different words that stand in enough documents
    pool_words     words of the pool, and
    general_words  of the general text, short ones too
    """

    text: pa.Array
    hash_K: U64
    candidates: int
    pool_words: int
    general_words: int

    def facts(self) -> dict[str, object]:
        """Return what the record of a build says of them."""
        return {
            "keywords": len(self.text),
            "candidates": self.candidates,
            "pool_words": self.pool_words,
            "general_words": self.general_words,
            "first": self.text[:SHOWN].to_pylist(),
        }

    def of(self, text: pa.Array, min_letters: int, most: int) -> pa.Array:
        """Return the words that each text holds, in the order of their first places."""
        from curation.kernels.long_words import first_met, long_words

        data, offset = bytes_and_offsets(text)
        words = long_words(data, offset, min_letters, LONGEST)
        order = np.argsort(self.hash_K)
        which_W = _places(self.hash_K[order], words.hash_W)
        start, word_S = first_met(words.offset, which_W, len(order), most)
        values = self.text.take(pa.array(order[word_S]))
        valid = pa.array(is_valid(text))
        return pa.LargeListArray.from_arrays(pa.array(start), values, mask=pa.compute.invert(valid))


# ---------------------------------------------------------------- counts


@dataclass(frozen=True, eq=False)
class _Counts:
    """Different words, by ascending hash.

    spelling  large_string[V]  the word in one of the ways that it is written
    words     all words of the texts counted, long or not
    """

    hash_V: U64
    count_V: I64
    documents_V: I64
    spelling: pa.Array
    words: int

    def take(self, chosen: npt.NDArray[np.bool_] | I64) -> _Counts:
        """Return some of the words."""
        index = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen
        return _Counts(
            hash_V=self.hash_V[index],
            count_V=self.count_V[index],
            documents_V=self.documents_V[index],
            spelling=self.spelling.take(pa.array(index)),
            words=self.words,
        )

    def spelled(self) -> pa.Array:
        """Return the words in the one way that stands for all, which the hash is made of."""
        from curation.kernels.long_words import CODE, letter_table

        table = letter_table()
        hyphens = str.maketrans("\u2010\u2011", "--")
        return pa.array(
            [
                "".join(chr(int(table[ord(letter)] & CODE)) for letter in word.translate(hyphens))
                for word in self.spelling.to_pylist()
            ],
            pa.large_string(),
        )


class _Vocabulary:
    """Counts of all batches; those of many batches are added up at once."""

    def __init__(self) -> None:
        self.words = 0
        self._parts: list[_Counts] = []
        self._settled = 0

    def add(self, counted: _Counts) -> None:
        self.words += counted.words
        self._parts.append(counted)
        if sum(len(part.hash_V) for part in self._parts) > 2 * self._settled + _WAITING:
            self._parts = [_added(self._parts)]
            self._settled = len(self._parts[0].hash_V)

    def counts(self) -> _Counts:
        return _added(self._parts)


def _added(parts: list[_Counts]) -> _Counts:
    if not parts:
        none = np.empty(0, dtype=np.int64)
        return _Counts(none.astype(np.uint64), none, none, pa.array([], pa.large_string()), 0)
    hash_P = np.concatenate([part.hash_V for part in parts])
    hash_V, first_V, of_P = np.unique(hash_P, return_index=True, return_inverse=True)

    def total(values: list[I64]) -> I64:
        total_V = np.zeros(len(hash_V), dtype=np.int64)
        np.add.at(total_V, of_P, np.concatenate(values))
        return total_V

    return _Counts(
        hash_V=hash_V,
        count_V=total([part.count_V for part in parts]),
        documents_V=total([part.documents_V for part in parts]),
        spelling=pa.concat_arrays([part.spelling for part in parts]).take(pa.array(first_V)),
        words=sum(part.words for part in parts),
    )


def _chosen(
    stage: DomainKeywords, pool: _Counts, pool_words: int, general_V: I64, general_words: int
) -> _Counts:
    """Return the domain words, the highest log-likelihood ratio first; ties by the word."""
    share_V = pool.count_V / max(1, pool_words)
    general_share_V = (general_V + stage.smoothing) / (general_words + stage.smoothing)
    chosen = np.flatnonzero(share_V >= stage.ratio * general_share_V)
    ratio_V = log_likelihood_ratio(
        pool.count_V[chosen], pool_words, general_V[chosen], general_words
    )
    words = pool.take(chosen)
    # bytes of UTF-8 are in the order of code points, and the spelling is the same in every run
    by_word = np.argsort(np.array(words.spelled().to_pylist(), dtype=object), kind="stable")
    order = by_word[np.argsort(-ratio_V[by_word], kind="stable")]
    return words.take(order[: stage.most])


def log_likelihood_ratio(count_V: I64, words: int, other_V: I64, other_words: int) -> F64:
    """Return float64[V]: Dunning's -2 log lambda that a word is as common in both texts.

    count_V  how often it occurs among ``words``; other_V, among ``other_words``
    """
    share_V = (count_V + other_V) / max(1, words + other_words)
    total_V: F64 = np.zeros(len(count_V))
    for seen_V, size in ((count_V, words), (other_V, other_words)):
        for part_V, expected_V in (
            (seen_V, size * share_V),
            (size - seen_V, size * (1 - share_V)),
        ):
            some_V = part_V > 0
            total_V[some_V] += 2 * part_V[some_V] * np.log(part_V[some_V] / expected_V[some_V])
    return total_V


def _places(sorted_V: U64, wanted: U64) -> I64:
    """Return int64: where each wanted hash stands among ascending ones, -1 for nowhere."""
    if len(sorted_V) == 0:
        return np.full(len(wanted), -1, dtype=np.int64)
    place = np.minimum(np.searchsorted(sorted_V, wanted), len(sorted_V) - 1)
    return np.where(sorted_V[place] == wanted, place, -1)
