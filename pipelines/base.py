"""A small general model that experiments start from: minutes on two cores.

A byte-level BPE tokenizer and a Llama of a million parameters, both trained on the same text: the
files that are named, or what the quickstart reads. It is far too small to be of use by itself. What
it is for is to be trained on, cheaply and often, with one set of text or another.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from curation import Base, Chunk, HeldOut, Jsonl, Recipe, TextSize, Training, col, keep
from curation.recipe_file import find_function
from curation.stage import Source

#: Text is cut to pieces, so that a small draw is not one book; what is measured, to such as fit
#: into the context.
PIECE_CHARS, MEASURED_CHARS = 4000, 700


def base(  # noqa: PLR0913  the flags of the model
    *,
    texts: tuple[str, ...] = (),
    preset: str = "1M",
    vocab_size: int = 2048,
    context: int = 256,
    tokens: int = 2_000_000,
    learning_rate: float = 3e-3,
    seed: int = 0,
    precision: Literal["float32", "bfloat16"] = "float32",
    compile: bool = False,
) -> Base:
    """A model trained on general text.

    texts   patterns of JSON lines; may be repeated. By default the docstrings of what is installed
    preset  size of the model
    tokens  how many it is trained on
    precision  of products: bfloat16 pays on a GPU, and from 3M parameters on a CPU
    compile    by torch.compile, which pays on a GPU and in runs of many minutes
    """
    return Base(
        data={"general": general_text(texts)},
        preset=preset,
        vocab_size=vocab_size,
        context=context,
        training=Training(
            tokens=tokens,
            sequence_length=context,
            learning_rate=learning_rate,
            seed=seed,
            precision=precision,
            compile=compile,
            threads=2,  # it trains alone; the arms that follow have a core each
        ),
    )


def general_text(texts: tuple[str, ...], *, held_out: bool = False) -> Recipe:
    """General text in pieces: for training, or the fiftieth part that is held out of it."""
    part = col("held_out") if held_out else ~col("held_out")
    return Recipe(
        source=Jsonl(texts) if texts else quickstart_texts(),
        steps=[
            TextSize(),
            keep(col("word_count") >= 20, because="too short"),
            HeldOut(frac=0.02),
            keep(part, because="for training" if held_out else "held out"),
            measured_pieces() if held_out else Chunk(max_chars=PIECE_CHARS),
        ],
    )


def domain_text(texts: str, *, held_out: bool = False) -> Recipe:
    """A domain's text as it is: for training, or the twentieth part that is held out of it."""
    part = col("held_out") if held_out else ~col("held_out")
    return Recipe(
        source=Jsonl(texts, source_field="source"),
        steps=[
            HeldOut(frac=0.05),
            keep(part, because="for training" if held_out else "held out"),
            *([measured_pieces()] if held_out else []),
        ],
    )


def domain_and_general(
    domain: str, general: tuple[str, ...]
) -> tuple[dict[str, Recipe], dict[str, Recipe]]:
    """A domain's and general text, for training and held out."""
    trained, held_out = (
        {
            "domain": domain_text(domain, held_out=held_out),
            "general": general_text(general, held_out=held_out),
        }
        for held_out in (False, True)
    )
    return trained, held_out


def measured_pieces() -> Chunk:
    """The pieces that what is measured is cut to."""
    return Chunk(max_chars=MEASURED_CHARS)


def quickstart_texts() -> Source:
    """The source of the quickstart."""
    quickstart = find_function(str(Path(__file__).with_name("quickstart.py")))
    recipe: Recipe = quickstart()
    return recipe.rows_source
