"""Overlaps of a text with evaluation items, word by word, and cutting them out."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from typing import NamedTuple

from curation.dedup.evalitems import Item
from curation.dedup.evals import ALL_RULES, Limits
from tests.oracles.words import is_single

#: Format characters that are not seen.
UNSEEN = "\u00ad\u200c\u200d\u2060\ufeff"
Words = tuple[str, ...]
#: A field's name and words, or "pair" and the words of question and answer.
Entry = tuple[str, Words] | tuple[str, Words, Words]


class Word(NamedTuple):
    """A folded word and its bytes in the text."""

    text: str
    start: int
    stop: int


def plain(char: str) -> str:
    """Return a letter without case and accents, a ligature as its letters."""
    for form in (bare(char), char):
        low = bare(form.casefold())
        if len(low) == 1 or (len(low) in (2, 3) and low.isascii() and low.isalnum()):
            return low
    return char


def bare(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(c for c in decomposed if unicodedata.category(c)[0] != "M")


def cut(text: str) -> list[Word]:
    """Cut a text into folded words."""
    words: list[Word] = []
    letters, start, stop, at = "", 0, 0, 0
    for char in text + " ":
        after = at + len(char.encode(errors="surrogatepass"))
        kind = unicodedata.category(char)[0]
        if kind == "M" or char in UNSEEN:
            stop = after
        elif kind in "LN" and not is_single(char):
            start = start if letters else at
            letters, stop = letters + plain(char), after
        else:
            if letters:
                words.append(Word(letters, start, stop))
            letters = ""
            if kind in "LN":
                words.append(Word("alone " + plain(char), at, after))
        at = after
    return words


def words_of(text: str) -> Words:
    return tuple(word.text for word in cut(text))


def grams(words: Words, length: int) -> set[Words]:
    return {words[at : at + length] for at in range(len(words) - length + 1)}


def places(words: Words, wanted: Words) -> list[int]:
    """Return where a run of words stands."""
    return [n for n in range(len(words)) if wanted and words[n : n + len(wanted)] == wanted]


def all_fields(items: list[Item], limits: Limits) -> set[tuple[str, Words]]:
    found = {(name, words_of(text)) for item in items for name, text in item.fields}
    return {(name, words) for name, words in found if name in limits.fields and words}


def all_pairs(items: list[Item], limits: Limits) -> set[tuple[str, Words, Words]]:
    found = {("pair", words_of(q), words_of(a)) for item in items for q, a in item.pairs}
    long = {p for p in found if len(p[1]) >= limits.question_least_words and p[2]}
    answers = Counter(question for _, question, _ in long)
    return {pair for pair in long if answers[pair[1]] <= limits.most_fields}


def own_grams(
    items: list[Item], limits: Limits, length: int
) -> dict[tuple[str, Words], set[Words]]:
    """Return the n-grams of each field that are not too many fields'."""
    fields = all_fields(items, limits)
    common = Counter(gram for _, words in fields for gram in grams(words, length))
    return {
        field: {g for g in grams(field[1], length) if common[g] <= limits.most_fields}
        for field in fields
    }


class Found(NamedTuple):
    """Rules that found an entry, the share held of its n-grams, and the bytes in common."""

    rules: set[str]
    frac: float | None
    spans: set[tuple[int, int]]


def overlaps(text: str, items: list[Item], limits: Limits) -> dict[Entry, Found]:
    """Return what a text has in common with items."""
    cut_text = cut(text)
    words = tuple(word.text for word in cut_text)
    long = own_grams(items, limits, limits.ngram_words)
    short = own_grams(items, limits, limits.coverage_words)
    found: dict[Entry, Found] = {}
    for field in all_fields(items, limits):
        rules, frac = set(), None
        held = short[field] & grams(words, limits.coverage_words)
        if short[field]:
            frac = len(held) / len(short[field])
            # by whole numbers, as 70 % of 10 must be 7
            needed = math.ceil(round(limits.coverage_frac * len(short[field]), 6))
            if len(held) >= needed and len(field[1]) >= limits.coverage_least_words:
                rules.add(ALL_RULES[1])
        if long[field] & grams(words, limits.ngram_words):
            rules.add(ALL_RULES[0])
        rules &= {*limits.rules}
        if rules:
            shown = held if ALL_RULES[1] in rules else long[field]
            found[field] = Found(rules, frac, runs(cut_text, shown))
    if ALL_RULES[2] in limits.rules:
        for pair in all_pairs(items, limits):
            spans = pair_spans(cut_text, pair[1], pair[2], limits.answer_within_words)
            if spans:
                found[pair] = Found({ALL_RULES[2]}, 1.0, spans)
    return found


def runs(text: list[Word], wanted: set[Words]) -> set[tuple[int, int]]:
    """Return the bytes of n-grams, those that touch or overlap by a word made one."""
    words = tuple(word.text for word in text)
    spans: list[tuple[int, int]] = []
    for at, word in enumerate(text):
        for gram in wanted:
            if words[at : at + len(gram)] == gram:
                stop = text[at + len(gram) - 1].stop
                if spans and word.start <= spans[-1][1]:
                    spans[-1] = (spans[-1][0], stop)
                else:
                    spans.append((word.start, stop))
    return {*spans}


def pair_spans(text: list[Word], question: Words, answer: Words, near: int) -> set[tuple[int, int]]:
    """Return the bytes of each question with an answer near it, and of the nearest answer."""
    words = tuple(word.text for word in text)
    spans = set()
    for begin in places(words, question):
        end = begin + len(question)
        gaps = []
        for at in places(words, answer):
            if at >= end:
                gaps.append((at - end, 0, at))
            elif at + len(answer) <= begin:
                gaps.append((begin - at - len(answer), 1, at))
        gap, _, at = min(gaps, default=(near + 1, 0, 0))
        if gap <= near:
            spans.add((text[begin].start, text[end - 1].stop))
            spans.add((text[at].start, text[at + len(answer) - 1].stop))
    return spans


def checkable(item: Item, items: list[Item], limits: Limits) -> bool:
    """Say whether some rule can find an item: whether its own texts overlap with it."""
    texts = [text for name, text in item.fields if name in limits.fields]
    texts += [" ".join(pair) for pair in item.pairs]
    mine = {(name, words_of(text)) for name, text in item.fields}
    mine_pairs = {("pair", words_of(q), words_of(a)) for q, a in item.pairs}
    return any(
        entry in mine or entry in mine_pairs
        for text in texts
        for entry in overlaps(text, items, limits)
    )


def without(text: str, spans: list[tuple[int, int]], window: int, least: int, most: int) -> str:
    """Return a text without spans (bytes) and the characters around them; as GPT-3."""
    data = text.encode()
    inside = [(start, min(stop, len(data))) for start, stop in spans]
    inside = [(start, stop) for start, stop in inside if start < stop]
    if not inside:
        return text
    gone = set()
    for start, stop in inside:
        first = len(data[:start].decode(errors="ignore"))
        last = len(data[:stop].decode(errors="ignore"))
        last += len(data[:stop].decode(errors="ignore").encode()) < stop
        gone |= {*range(first - window, last + window)}
    pieces = "".join("\0" if n in gone else "x" for n in range(len(text)))
    kept, at = [], 0
    for piece in pieces.split("\0"):
        if piece:
            kept.append(text[at : at + len(piece)])
        at += len(piece) + 1
    return "\n\n".join(p for p in kept if len(p) >= least) if len(kept) <= most else ""
