"""The cheap filters against datatrove's: equal decisions first, then speed.

Issue 3: the whole cheap pass (all statistics of Gopher quality and repetition, C4 and FineWeb, and
one shingle hash) at 50 MB/s of text per core or more; at least 200 times datatrove's chain as
shipped and 25 times the chain with a regular expression for its tokens. Parity on at least 10,000
real documents: given our words, datatrove decides every document as we do and each statistic is
equal to 1e-6; as shipped, 98 % of its tokens and 99 % of its decisions on each filter are ours.

Needs datatrove 0.10.1 and spacy: ``pip install -e '.[dev]'``.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from unittest import mock

import numpy as np
import polars as pl
import pyarrow as pa

from benchmarks.measure import DATA, Report, arguments, texts
from curation import (
    C4Lines,
    C4Quality,
    ExtractHtml,
    FineWebQuality,
    GopherQuality,
    GopherRepetition,
    ShingleHash,
    TextFiles,
    c4_rules,
    fineweb_rules,
    gopher_quality_rules,
    gopher_repetition_rules,
)
from curation.arrow import bytes_and_offsets
from curation.kernels.words import ALL_PUNCT, ENDS_SENTENCE, split_words
from curation.recipe import Keep
from curation.stage import Annotator

FILTERS = ("repetition", "quality", "c4", "fineweb")
RULES: dict[str, list[Keep]] = {
    "repetition": gopher_repetition_rules(),
    "quality": gopher_quality_rules(),
    "c4": c4_rules(),
    "fineweb": fineweb_rules(),
}


# ---------------------------------------------------------------- documents


def documents(count: int) -> list[str]:
    """Return real documents: web pages first, then news, medicine, security, pieces of books."""
    pages = list(itertools.islice(web_pages(), count // 8))
    known = list(texts())
    step = max(len(known) // (count - len(pages)), 1)
    return [*pages, *known[::step][: count - len(pages)]]


def web_pages() -> Iterator[str]:
    """Yield the text of real pages, menus and lists included."""
    source = TextFiles(str(DATA / "html" / "trafilatura" / "html" / "*.gz"))
    stage = ExtractHtml(extractor="resiliparse")
    for shard in source.plan():
        for batch in source.read(shard):
            page = batch.select(["html"])
            for name in stage.may_read:
                page = page.append_column(name, pa.nulls(len(batch), pa.large_string()))
            extracted = stage.annotate(page)
            yield from (text for text in extracted["text"].to_pylist() if text)


# ---------------------------------------------------------------- datatrove with our words


def our_words(text: str) -> tuple[list[str], list[bool], list[bool]]:
    """Return the words of a text, which of them end a sentence, and which are marks."""
    words = split_words(*bytes_and_offsets(pa.array([text], pa.large_string())), "english")
    data = text.encode()
    found = []
    for start, chars in zip(words.word_W["start"], words.word_W["chars"], strict=True):
        found.append(data[start : start + 4 * chars].decode(errors="ignore")[:chars])
    kind = words.word_W["kind"]
    return found, list(kind & ENDS_SENTENCE != 0), list(kind & ALL_PUNCT != 0)


def our_tokenizer() -> Any:
    """Return datatrove's tokenizer interface over our words and sentences."""
    from datatrove.utils.word_tokenizers import WordTokenizer

    class Ours(WordTokenizer):
        def word_tokenize(self, text: str) -> list[str]:
            return our_words(text)[0]

        def sent_tokenize(self, text: str) -> list[str]:
            return [text[a:b] for a, b in self.span_tokenize(text)]

        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            """Cut before the first word that is no mark after one that ends a sentence."""
            starts, place, ended = [0], 0, False
            for word, is_end, is_mark in zip(*our_words(text), strict=True):
                place = text.index(word, place)
                if is_end:
                    ended = True
                elif ended and not is_mark:
                    starts.append(place)
                    ended = False
                place += len(word)
            return list(zip(starts, [*starts[1:], len(text)], strict=True))

    return Ours()


def regex_tokenizer() -> Any:
    """Return the fastest tokenizer that plain Python has."""
    from datatrove.utils.word_tokenizers import WordTokenizer

    word, end = re.compile(r"\w+|[^\w\s]"), re.compile(r"[.!?]+[\"')\]]*\s+")

    class Regex(WordTokenizer):
        def word_tokenize(self, text: str) -> list[str]:
            return word.findall(text)

        def sent_tokenize(self, text: str) -> list[str]:
            return end.split(text)

        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            starts = [0, *(match.end() for match in end.finditer(text))]
            return list(zip(starts, [*starts[1:], len(text)], strict=True))

    return Regex()


def datatrove_filters(language: Any) -> dict[str, Any]:
    """Return FineWeb's four filters, as its published script sets them."""
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )

    return {
        "repetition": GopherRepetitionFilter(language=language),
        "quality": GopherQualityFilter(language=language),
        "c4": C4QualityFilter(filter_no_terminal_punct=False, language=language),
        "fineweb": FineWebQualityFilter(language=language),
    }


def decide_datatrove(
    language: Any, docs: list[str]
) -> tuple[dict[str, list[str]], list[tuple[str, int]]]:
    """Return each filter's verdict on each document ("" for keep), and C4's text and sentences."""
    from datatrove.data import Document
    from datatrove.pipeline.filters import c4_filters

    cut, counts = c4_filters.split_into_sentences, [0]

    def counted(line: str, language: Any) -> Any:
        sentences = cut(line, language)
        counts[0] += len(sentences)
        return sentences

    filters = datatrove_filters(language)
    verdicts: dict[str, list[str]] = {name: [] for name in FILTERS}
    kept = []
    with mock.patch.object(c4_filters, "split_into_sentences", counted):
        for text in docs:
            counts[0] = 0
            for name, one in filters.items():
                document = Document(text=text, id="")
                verdicts[name].append(verdict(one, document))
                if name == "c4":
                    kept.append((document.text, counts[0]))
    return verdicts, kept


def verdict(one: Any, document: Any) -> str:
    """Return why a filter drops a document; "" where it keeps it."""
    try:
        result = one.filter(document)
    except ZeroDivisionError:
        return "division by zero"
    return "" if result is True else result[1] if isinstance(result, tuple) else "dropped"


def run_chain(language: Any, docs: list[str]) -> list[str]:
    """Run the chain as datatrove does: a dropped document is seen by no further filter."""
    from datatrove.data import Document

    filters = datatrove_filters(language)
    reasons = []
    for text in docs:
        document, reason = Document(text=text, id=""), ""
        for one in filters.values():
            reason = verdict(one, document)
            if reason:
                break
        reasons.append(reason)
    return reasons


# ---------------------------------------------------------------- ours


def batches(docs: list[str], size: int = 8 << 20) -> Iterator[pa.RecordBatch]:
    """Yield the documents in batches of the engine's size."""
    rows: list[str] = []
    total = 0
    for text in docs:
        rows.append(text)
        total += len(text)
        if total >= size:
            yield as_batch(rows)
            rows, total = [], 0
    if rows:
        yield as_batch(rows)


def as_batch(rows: Iterable[str]) -> pa.RecordBatch:
    """Return a batch with one column, text."""
    return pa.RecordBatch.from_arrays([pa.array(rows, pa.large_string())], names=["text"])


STATISTICS: tuple[Annotator, ...] = (
    GopherRepetition(),
    GopherQuality(),
    C4Quality(terminal_only=False),
    FineWebQuality(),
    ShingleHash(),
)


def cheap_pass(given: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """Compute every statistic of every document."""
    return [stage.annotate(batch) for batch in given for stage in STATISTICS]


def our_chain(given: list[pa.RecordBatch]) -> list[bool]:
    """Run FineWeb's chain: each filter sees what the one before kept, the last one C4's text."""
    chain: tuple[tuple[Annotator, list[Keep]], ...] = (
        (GopherRepetition(), RULES["repetition"]),
        (GopherQuality(), RULES["quality"]),
        (C4Quality(terminal_only=False), RULES["c4"]),
        (C4Lines(terminal_only=False), []),
        (FineWebQuality(), RULES["fineweb"]),
    )
    kept: list[bool] = []
    for given_batch in given:
        batch, rows = given_batch, np.arange(len(given_batch))
        for stage, rules in chain:
            made = stage.annotate(batch)
            batch = made if "text" in made.schema.names else batch
            if rules:
                stays = np.flatnonzero(judge(made, rules))
                rows, batch = rows[stays], batch.take(pa.array(stays))
        alive = np.zeros(len(given_batch), dtype=bool)
        alive[rows] = True
        kept += alive.tolist()
    return kept


def judge(made: pa.RecordBatch, rules: list[Keep]) -> np.ndarray[Any, Any]:
    """Return bool[N]: which rows pass all rules."""
    frame = pl.DataFrame(pa.table(made))
    verdicts = frame.select(pl.all_horizontal(*(rule.rule for rule in rules)).fill_null(False))
    return verdicts.to_series().to_numpy()


# ---------------------------------------------------------------- parity


def our_verdicts(given: list[pa.RecordBatch]) -> dict[str, list[bool]]:
    """Return, for each filter, which documents it keeps."""
    stages = dict(zip(FILTERS, STATISTICS, strict=False))
    return {
        name: [
            bool(stays)
            for batch in given
            for stays in judge(stages[name].annotate(batch), RULES[name])
        ]
        for name in FILTERS
    }


def differing(ours: list[bool], theirs: list[str]) -> list[int]:
    """Return the documents that are decided otherwise."""
    pairs = enumerate(zip(ours, theirs, strict=True))
    return [n for n, (keeps, reason) in pairs if keeps != (reason == "")]


def statistics_of(text: str, words: list[str]) -> dict[str, float]:
    """Return datatrove's statistics of a document, by its own functions where it has them."""
    from datatrove.pipeline.filters import gopher_repetition_filter as repetition
    from datatrove.utils.text import PUNCTUATION_SET, TERMINAL_PUNCTUATION

    found: dict[str, float] = {}
    for unit, parts in (
        ("para", re.split(r"\n{2,}", text.strip())),
        ("line", re.split(r"\n+", text)),
    ):
        again, chars = repetition.find_duplicates(parts)
        found[f"dup_{unit}_frac"] = again / len(parts)
        found[f"dup_{unit}_char_frac"] = chars / len(text)
    for n in range(2, 5):
        runs = repetition.get_n_grams(words, n)
        top = repetition.find_top_duplicate(runs) if runs else 0
        found[f"top_{n}gram_char_frac"] = top / len(text)
    for n in range(5, 11):
        chars = repetition.find_all_duplicate(words, n)
        found[f"dup_{n}gram_char_frac"] = chars / len(text)
    sense = [word for word in words if any(char not in PUNCTUATION_SET for char in word)]
    lines = text.splitlines()
    found["nonsymbol_word_count"] = len(sense)
    found["mean_word_chars"] = sum(map(len, sense)) / len(sense) if sense else np.nan
    found["hash_word_ratio"] = text.count("#") / len(words)
    found["ellipsis_word_ratio"] = (text.count("...") + text.count("…")) / len(words)
    found["bullet_line_frac"] = sum(x.lstrip().startswith(("•", "-")) for x in lines) / len(lines)
    ends = sum(line.rstrip().endswith(("...", "…")) for line in lines)
    found["ellipsis_line_frac"] = ends / len(lines)
    found["alpha_word_frac"] = sum(any(map(str.isalpha, word)) for word in words) / len(words)
    found["stop_word_count"] = len(set(words) & set(GopherQuality().stop_words))
    rows = [line for line in text.split("\n") if line.strip()]
    ended = sum(row.endswith(tuple(TERMINAL_PUNCTUATION)) for row in rows)
    found["terminal_line_frac"] = ended / len(rows)
    found["short_line_frac"] = sum(len(row) <= 30 for row in rows) / len(rows)
    again = repetition.find_duplicates(rows)[1]
    found["fineweb_dup_char_frac"] = again / len(text.replace("\n", ""))
    found["newline_word_ratio"] = text.count("\n") / len(words)
    return found


def differing_statistics(docs: list[str], given: list[pa.RecordBatch]) -> tuple[list[str], int]:
    """Return the statistics that differ by more than 1e-6, and how many documents explain others.

    datatrove joins a run's words without a mark between them, and so takes "a bc" for "ab c". A
    document whose repeated runs differ is explained where they are equal with words kept apart.
    """
    ours: dict[str, list[Any]] = {}
    for batch in given:
        for stage in STATISTICS:
            for name, column in zip(stage.writes.names, stage.annotate(batch).columns, strict=True):
                ours.setdefault(name, []).extend(column.to_pylist())
    wrong, explained = set[str](), 0
    for n, text in enumerate(docs):
        words = our_words(text)[0]
        found = {name: (ours[name][n], value) for name, value in statistics_of(text, words).items()}
        differing = {name for name, (mine, theirs) in found.items() if not is_close(mine, theirs)}
        for name in differing:
            runs = re.fullmatch(r"dup_(\d+)gram_char_frac", name)
            if runs and is_close(ours[name][n], repeated(words, int(runs[1])) / len(text)):
                continue
            wrong.add(name)
        explained += bool(differing)
    return sorted(wrong), explained


def repeated(words: list[str], n: int) -> int:
    """Return the characters in runs that occurred before, walking on behind each of them."""
    met, at, chars = set[tuple[str, ...]](), 0, 0
    while at + n <= len(words):
        run = tuple(words[at : at + n])
        if run in met:
            chars, at = chars + sum(map(len, run)), at + n
        else:
            met.add(run)
            at += 1
    return chars


def is_close(mine: float | None, theirs: float) -> bool:
    """Say whether two values are equal to 1e-6; null is NaN."""
    mine = np.nan if mine is None else mine
    return bool(np.isclose(mine, theirs, rtol=1e-6, atol=1e-6, equal_nan=True))


def equal_tokens(docs: list[str]) -> tuple[int, int]:
    """Return how many of spaCy's words are ours, place and length, and how many there are."""
    from datatrove.utils.word_tokenizers import load_word_tokenizer

    shipped, equal, total = load_word_tokenizer("eng"), 0, 0
    for text in docs:
        theirs = set(places(text, shipped.word_tokenize(text)))
        equal += len(theirs & set(places(text, our_words(text)[0])))
        total += len(theirs)
    return equal, total


def places(text: str, words: list[str]) -> Iterator[tuple[int, int]]:
    """Yield where each word begins and ends in its text."""
    place = 0
    for word in words:
        place = text.index(word, place)
        yield place, place + len(word)
        place += len(word)


# ---------------------------------------------------------------- the report


def parity(docs: list[str], report: Report) -> None:
    """Compare decisions, C4's text and statistics; then the decisions as shipped."""
    given = list(batches(docs))
    ours = our_verdicts(given)
    theirs, kept_text = decide_datatrove(our_tokenizer(), docs)
    for name in FILTERS:
        wrong = differing(ours[name], theirs[name])
        reasons = sorted({theirs[name][n] or "kept" for n in wrong})
        found = f"{len(wrong)} of {len(docs):,}" + (f" ({', '.join(reasons)})" if wrong else "")
        report.add(f"{name}: decided otherwise, same words", found, "0", not wrong)
    lines, counts = C4Lines(terminal_only=False), C4Quality(terminal_only=False)
    made = [
        (text.as_py(), sentences.as_py())
        for batch in given
        for text, sentences in zip(
            lines.annotate(batch)["text"],
            counts.annotate(batch)["c4_sentence_count"],
            strict=True,
        )
    ]
    pairs = list(zip(made, kept_text, theirs["c4"], strict=True))
    others = sum(mine[0] != text for mine, (text, _), why in pairs if why == "")
    report.add("c4: another text left", str(others), "0", not others)
    whole = ("", "too_few_sentences")  # for the other reasons datatrove stops counting
    others = sum(mine[1] != count for mine, (_, count), why in pairs if why in whole)
    report.add("c4: another number of sentences", str(others), "0", not others)
    wrong_values, explained = differing_statistics(docs, given)
    shown = ", ".join(wrong_values) or "none"
    shown += (
        f" ({explained} documents where datatrove takes 'a bc' for 'ab c')" if explained else ""
    )
    report.add("statistics that differ by over 1e-6", shown, "none", not wrong_values)
    equal, total = equal_tokens(docs)
    report.add(
        "words equal to those as shipped", f"{equal / total:.3%}", "98 %", equal >= 0.98 * total
    )
    theirs, _ = decide_datatrove("eng", docs)
    for name in FILTERS:
        wrong = differing(ours[name], theirs[name])
        share = 1 - len(wrong) / len(docs)
        reasons = sorted({theirs[name][n] or "kept" for n in wrong})
        found = f"{share:.2%}" + (f" (differs: {', '.join(reasons)})" if wrong else "")
        report.add(f"{name}: decided alike, as shipped", found, "99 %", share >= 0.99)


def speed(docs: list[str], report: Report) -> None:
    """Time the chains; each comparison on the same documents, each turn in memory of its own."""
    size = sum(len(text.encode()) for text in docs) / 1e6
    whole, chain = fastest(cheap_pass, docs), fastest(our_chain, docs)
    report.add("all statistics, one core", f"{size / whole:.0f} MB/s", "50", size / whole >= 50)
    report.add("FineWeb's chain, ours", f"{size / chain:.0f} MB/s", "", True)
    some = docs[:: max(len(docs) // 400, 1)]
    ours, ours_chain = fastest(cheap_pass, some), fastest(our_chain, some)
    part = sum(len(text.encode()) for text in some) / 1e6
    for what, language, wanted in (
        ("as shipped", "eng", 200),
        ("with a regular expression", regex_tokenizer(), 25),
    ):
        run_chain(language, some[:20])
        taken = clock(lambda language=language: run_chain(language, some))
        report.add(f"datatrove's chain {what}", f"{part / taken:.2f} MB/s", "", True)
        ratio = taken / ours
        found = f"{ratio:.0f}x (chain against chain {taken / ours_chain:.0f}x)"
        report.add(f"all statistics against its chain {what}", found, f"{wanted}x", ratio >= wanted)


def fastest(function: Callable[[list[pa.RecordBatch]], object], docs: list[str]) -> float:
    """Return the least seconds of five turns, each on a fresh copy: nothing is cut beforehand."""
    function(list(batches(docs[:50])))
    copies = [list(batches(docs)) for _ in range(5)]
    return min(clock(lambda given=given: function(given)) for given in copies)


def clock(function: Callable[[], object]) -> float:
    """Return the processor seconds of a call, those of other threads included."""
    began = time.process_time()
    function()
    return time.process_time() - began


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__ or "")
    report = Report("Cheap filters against datatrove 0.10.1", issue=3)
    docs = documents(800 if options.quick else 12_000)
    parity(docs, report)
    speed(docs, report)
    report.finish(options.check)


if __name__ == "__main__":
    main()
