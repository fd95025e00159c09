"""What the benchmarks of the harness share: recipes over the real data, a base, planted faults."""

from __future__ import annotations

import json
import random
import re
import sys
from pathlib import Path

import pyarrow as pa

from benchmarks.measure import DATA
from curation import (
    Base,
    Chunk,
    HeldOut,
    Jsonl,
    Recipe,
    TextSize,
    Training,
    col,
    keep,
    row_annotator,
)
from curation.recipe import Step

#: name → file of the real data.
DOMAINS = {
    "cybersecurity": "domains/cybersecurity.jsonl.zst",
    "medicine": "domains/medicine.jsonl.zst",
}
GENERAL = ("text/wikinews.jsonl.zst", "text/books.jsonl.zst")
#: Text is cut to pieces, so that a draw is not one book; what is measured, to such as fit into the
#: context, which need one window and are many.
PIECE_CHARS, MEASURED_CHARS = 4000, 700
#: So much of a set is held out.
HELD_OUT_FRAC = 0.05
#: Copies of the template differ in a number, as machine-made pages do.
TEMPLATE = (
    "Notice {n}. This page has moved. Please update your bookmarks and visit our new home page. "
    "If you are not redirected within five seconds, click here. All rights reserved. "
    "Contact the webmaster for questions about this page. Last modified on day {n}."
)


def real(*names: str) -> tuple[str, ...]:
    """Return paths of the real data; end where there is none."""
    if not DATA.exists():
        sys.exit(f"this benchmark needs the real texts in {DATA}")
    return tuple(str(DATA / name) for name in names)


def pool(*paths: str, held_out: bool = False, more: tuple[Step, ...] = ()) -> Recipe:
    """Text in pieces, without the held-out part, or that part alone."""
    part = col("held_out") if held_out else ~col("held_out")
    return Recipe(
        source=Jsonl(paths),
        steps=[
            TextSize(),
            keep(col("word_count") >= 20, because="too short"),
            HeldOut(frac=HELD_OUT_FRAC),
            keep(part, because="for training" if held_out else "held out"),
            Chunk(max_chars=MEASURED_CHARS if held_out else PIECE_CHARS),
            *more,
        ],
    )


def domain(name: str, *, held_out: bool = False, more: tuple[Step, ...] = ()) -> Recipe:
    """One of DOMAINS."""
    return pool(*real(DOMAINS[name]), held_out=held_out, more=more)


def general(*, held_out: bool = False) -> Recipe:
    """News and books."""
    return pool(*real(*GENERAL), held_out=held_out)


def small_base(preset: str, tokens: int) -> Base:
    """A base on general text."""
    return Base(
        data={"general": general()},
        preset=preset,
        vocab_size=2048,
        context=256,
        training=Training(tokens=tokens, learning_rate=3e-3, threads=2),
    )


@row_annotator(writes={"text": pa.large_string()})
def shuffled_words(id: str, text: str) -> str:
    """Return the words of a text in another order, decided by its id."""
    words = re.findall(r"\S+\s*", text)
    random.Random(id).shuffle(words)
    return "".join(words)


def template_pages(folder: Path, count: int = 2000) -> str:
    """Write pages that are one template; return their path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "template.jsonl"
    lines = (json.dumps({"text": TEMPLATE.format(n=n)}) for n in range(count))
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)
