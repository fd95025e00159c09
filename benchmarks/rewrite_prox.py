"""Refining programs against ProX's released executor, on real documents and drawn programs.

Issue 7: parse, validate and execute safely, with the published acceptance rules; the reference's
bugs are not reproduced. Programs in plain published form must give the same text and the same
count of errors on every pair. Every other form of line is drawn by itself, into programs that are
otherwise plain, so that each class of difference stands alone and has its reason.

The reference is Apache-2.0 and no part of this project: utils/chunk_utils.py of GAIR-NLP/ProX,
commit b3fcbb2. Without ``--reference PATH`` only the speed of ours is measured.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import Report, texts, timed
from curation.rewrite.programs import execute, parse

#: Pairs of a class: all, and with --quick.
PAIRS, QUICK_PAIRS = 4000, 400
#: Documents are cut to so many characters: pages as a chunk of a program has them.
DOCUMENT_CHARS = 4000


@dataclass(frozen=True)
class Kind:
    """A kind of line: how it is drawn from a document, and why the two executors may differ."""

    name: str
    draw: Callable[[random.Random, str], str]
    why: str = ""


def word(chance: random.Random, text: str) -> str:
    """Return a plain word of the document."""
    words = [one for one in text.split() if one.isalnum()]
    return chance.choice(words) if words else "x"


def span(chance: random.Random, text: str) -> str:
    lines = text.count("\n") + 1
    start = chance.randint(0, lines)
    return f"remove_lines(start={start}, end={start + chance.randint(0, 1 + lines // 4)})"


def replaced(chance: random.Random, text: str) -> str:
    target = chance.choice(["", word(chance, text)])
    return f'normalize(source_str="{word(chance, text)}", target_str="{target}")'


def plain(chance: random.Random, text: str) -> str:
    """Return a line in the published form."""
    forms = [span, span, replaced]
    return chance.choice(forms)(chance, text)


def two_words(mark: str) -> Callable[[random.Random, str], str]:
    """Return what draws a normalisation of a string with a mark inside, taken from the text."""

    def draw(chance: random.Random, text: str) -> str:
        at = text.find(mark, chance.randint(0, max(len(text) - 1, 0)))
        piece = text[max(at - 4, 0) : at + 5] if at >= 0 else f"a{mark}b"
        piece = piece.split("\n")[0].replace('"', "").replace("\\", "") or mark
        return f'normalize(source_str="{piece}", target_str="")'

    return draw


KINDS = (
    Kind("plain", plain),
    Kind("all lines", lambda c, t: "remove_lines(all=True)"),
    Kind("blank line", lambda c, t: ""),
    Kind("code fence", lambda c, t: "```"),
    Kind("keep", lambda c, t: "keep_all()"),
    Kind("reversed interval", lambda c, t: "remove_lines(start=5, end=2)"),
    Kind("negative start", lambda c, t: "remove_lines(start=-2, end=1)"),
    Kind("no source", lambda c, t: 'normalize(source_str="", target_str="x")'),
    Kind("a space as source", lambda c, t: 'normalize(source_str=" ", target_str="x")'),
    Kind("without numbers", lambda c, t: "remove_lines(start=, end=3)"),
    Kind("without names", lambda c, t: "remove_lines(1, 2)"),
    Kind(
        "comma in a string",
        two_words(","),
        "cut at the comma there, and no error: half the string is replaced, or nothing is",
    ),
    Kind("parenthesis in a string", two_words(")"), "cut at the parenthesis there"),
    Kind("equals sign in a string", two_words("="), "cut at the equals sign there"),
    Kind(
        "quotes in a string",
        lambda c, t: 'normalize(source_str=""the"", target_str="a")',
        "all quotes at the ends of a string are taken off there, its own too",
    ),
    Kind(
        "escaped quote",
        lambda c, t: r'normalize(source_str="\"a", target_str="\"b")',
        "escapes are not known there: the backslash is looked for in the text",
    ),
    Kind(
        "only a space, deleted",
        lambda c, t: 'normalize(source_str=" ")',
        "deletes every space there; a space is no source here, as with a target",
    ),
    Kind(
        "without quotes",
        lambda c, t: f"normalize(source_str={word(c, t)}, target_str=b)",
        "a string without quotes is done there and an error here",
    ),
    Kind(
        "three arguments",
        lambda c, t: 'normalize(source_str="a", target_str="b", count="1")',
        "ignored there; an error here",
    ),
    Kind(
        "broken off in a number",
        lambda c, t: "remove_lines(start=1, end=23",
        "an error, and done all the same there, without the last digit: end=2",
    ),
    Kind(
        "broken off in a string",
        lambda c, t: f'normalize(source_str="{word(c, t)}", target_str="{word(c, t)}',
        "an error, and done all the same there, without the last letter",
    ),
    Kind(
        "arguments in another order",
        lambda c, t: "remove_lines(end=4, start=1)",
        "names are not read there: start=4, end=1 removes nothing",
    ),
    Kind(
        "indented",
        lambda c, t: f"  {span(c, t)}",
        "no operation there, unless it is the first line; done here",
    ),
    Kind(
        "two on a line",
        lambda c, t: f"{span(c, t)}, {span(c, t)}",
        "the first is done there; an error here",
    ),
    Kind("prose", lambda c, t: "I remove the menu.", "ignored there; an error here"),
    Kind("unknown operation", lambda c, t: "trim()", "ignored there; an error here"),
    Kind(
        "drop()",
        lambda c, t: "drop()",
        "an operation of ours; ignored there",
    ),
    Kind(
        "grows without end",
        lambda c, t: 'normalize(source_str="e", target_str="eeeeeeeeee")',
        "done there at any size; an error here beyond twice the text",
    ),
)


def pairs(kind: Kind, documents: list[str], count: int) -> Iterator[tuple[str, str]]:
    """Yield documents with programs of plain lines, of which one or two are of a kind."""
    chance = random.Random(kind.name)
    for number in range(count):
        text = documents[number % len(documents)]
        lines = [plain(chance, text) for _ in range(chance.randint(0, 3))]
        lines += [kind.draw(chance, text) for _ in range(chance.randint(1, 2))]
        chance.shuffle(lines)
        yield text, "\n".join(lines)


def ours(text: str, program: str) -> tuple[str, int]:
    """Return the text ("" where it is dropped) and the count of errors."""
    made = execute(text, parse(program))
    return "" if made.verdict == "dropped" else made.text, made.error_count


def theirs(reference: Any, text: str, program: str) -> tuple[str, int]:
    """Return what the reference makes of it; an exception is a text of its own."""
    errors = reference.execute_operations(text, program.strip(" ").split("\n"))[-1]
    try:
        return reference.execute_meta_operations(text, program), errors
    except ZeroDivisionError:
        return "ZeroDivisionError", errors


def loaded(path: Path) -> Any:
    """Return a module from a file."""
    spec = importlib.util.spec_from_file_location("prox_reference", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compare(reference: Any, documents: list[str], count: int, report: Report) -> None:
    """Add a row for each kind of line."""
    for kind in KINDS:
        same_text = same_errors = 0
        for text, program in pairs(kind, documents, count):
            we, they = ours(text, program), theirs(reference, text, program)
            same_text += we[0] == they[0]
            same_errors += we[1] == they[1]
        found = f"{same_text / count:.1%} texts, {same_errors / count:.1%} error counts"
        wanted = "" if kind.why else "100 %"
        report.add(
            f"{kind.name}{f': {kind.why}' if kind.why else ''}",
            f"{found} of {count:,} equal",
            wanted,
            bool(kind.why) or same_text == same_errors == count,
        )
    blank = [theirs(reference, text, "keep_all()")[0] for text in ("", " \n")]
    found = f"{blank.count('ZeroDivisionError')} of 2 raise there; dropped here"
    report.add("text without words: a division by zero there", found, "", True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer pairs, under a minute")
    parser.add_argument("--check", action="store_true", help="exit 1 if a figure falls short")
    parser.add_argument("--reference", type=Path, help="utils/chunk_utils.py of GAIR-NLP/ProX")
    given = parser.parse_args()
    count = QUICK_PAIRS if given.quick else PAIRS
    chosen = itertools.islice(texts(), 0, 40 * count, 40)
    documents = [text[:DOCUMENT_CHARS] for text in chosen]
    report = Report("Refining programs against ProX's released executor", issue=7)
    work = list(pairs(KINDS[0], documents, count))
    if given.reference:
        reference = loaded(given.reference)
        compare(reference, documents, count, report)
        they = timed(lambda: [reference.execute_meta_operations(*pair) for pair in work])
    we = timed(lambda: [ours(*pair) for pair in work])
    peer = f", {they / we:.2f} times the reference" if given.reference else ""
    report.add("programs read and carried out", f"{count / we:,.0f} a second{peer}", "", True)
    report.finish(given.check)


if __name__ == "__main__":
    main()
