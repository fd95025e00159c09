"""The command that finds the words of a domain: keywords."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curation.console import say


def keywords(  # noqa: PLR0913  a command's options
    domain: Annotated[str, typer.Option(help="File or pattern of the domain's text.")],
    general: Annotated[str, typer.Option(help="File or pattern of general text.")],
    out: Annotated[Path, typer.Option(help="File for the words, one a line, the surest first.")],
    text: Annotated[str, typer.Option(help="Field of the text.")] = "text",
    min_letters: Annotated[int, typer.Option(help="Letters of the shortest word.")] = 10,
    min_documents: Annotated[int, typer.Option(help="Documents that hold a word.")] = 5,
    ratio: Annotated[float, typer.Option(help="How much commoner in the domain's text.")] = 5.0,
    most: Annotated[int, typer.Option(help="Words at most.")] = 10_000,
) -> None:
    """Write the words that are much commoner in a domain's text than in general text.

    Files are JSON lines, Parquet or text; each may be compressed. In a recipe, DomainKeywords finds
    the same words in the rows that the steps before it kept.

    Example: curation keywords --domain 'law/*.jsonl' --general wiki.jsonl.zst --out words.txt
    """
    from curation.score.keywords import SHOWN, DomainKeywords
    from curation.score.target import target_files, target_texts

    target_files(domain)  # a pattern without a file is told before the general text is read
    stage = DomainKeywords(
        general=general,
        text=text,
        min_letters=min_letters,
        min_documents=min_documents,
        ratio=ratio,
        most=most,
    )
    found = stage.find(target_texts(domain, text=text))
    words = found.text.to_pylist()
    out.write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    say(
        f"{len(words):,} words of {found.candidates:,} that {min_documents} documents hold; "
        f"{found.pool_words:,} words against {found.general_words:,} of general text"
    )
    say("first: " + ", ".join(words[:SHOWN]))
    say(f"words in {out}")


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(keywords)
