"""What cleaning, deduplication and replay are worth for one domain, measured and not believed.

Arms from one small base, on equally many tokens: the domain's text as it is, cleaned by Gopher's
rules, cleaned and deduplicated, cleaned with half of general text replayed, and the text of another
domain, which has to lose. Held-out documents are chosen by groups of near-duplicates, so that no
copy of one is trained on, and are measured as they are, cleaned by nobody.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from curation import (
    Ablation,
    Arm,
    GopherQuality,
    GopherRepetition,
    HeldOut,
    Jsonl,
    MinHashSketch,
    NearDuplicates,
    Normalize,
    Recipe,
    Schedule,
    Training,
    col,
    gopher_rules,
    keep,
)
from curation.ablate.arms import task_name
from curation.recipe import Step
from curation.recipe_file import find_function


def ablation(  # noqa: PLR0913  the flags of the experiment
    *,
    domain: str,
    general: tuple[str, ...],
    other: str = "",
    tasks: tuple[str, ...] = (),
    general_tasks: tuple[str, ...] = (),
    tokens: int = 200_000,
    repetitions: int = 3,
    preset: str = "1M",
    base_tokens: int = 2_000_000,
    learning_rate: float = 1e-3,
    most_items: int = 250,
    probe_items: int = 0,
    precision: Literal["float32", "bfloat16"] = "float32",
    compile: bool = False,
) -> Ablation:
    """Which of five sets helps a domain, and what each costs in general ability.

    domain       JSON lines of the domain's text
    general      JSON lines of general text, for the base and for replay; may be repeated
    other        JSON lines of another domain, for the arm that has to lose
    tasks        the domain's questions: JSON lines with question, choices, answer; may be repeated
    general_tasks  questions of general knowledge, to see what is forgotten; may be repeated
    tokens       how many each arm is trained on
    repetitions  draws and seeds for each arm
    base_tokens  how many the base is trained on
    most_items   held-out texts and task items measured, each
    probe_items  questions of each kind to make of held-out documents
    precision    of products: bfloat16 pays on a GPU, and from 3M parameters on a CPU
    compile      by torch.compile, which pays on a GPU and in runs of many minutes
    """
    base_file = Path(__file__).with_name("base.py")
    general_text = find_function(f"{base_file}:general_text")
    measured_pieces = find_function(f"{base_file}:measured_pieces")
    text = Jsonl(domain, source_field="source")
    data = {
        "raw": Recipe(source=text, steps=for_training()),
        "cleaned": Recipe(source=text, steps=[*for_training(), *_cleaning()]),
        "deduplicated": Recipe(
            source=text,
            steps=[*for_training(), *_cleaning(), *_without_copies()],
        ),
        "general": general_text(general),
    }
    arms = [
        Arm(name="raw", schedule=Schedule.plain("raw")),
        Arm(name="cleaned", schedule=Schedule.plain("cleaned")),
        Arm(name="cleaned, deduplicated", schedule=Schedule.plain("deduplicated")),
        Arm(name="cleaned, half replay", schedule=Schedule.replay("cleaned", "general", share=0.5)),
    ]
    if other:
        data["other"] = Recipe(source=Jsonl(other, source_field="source"), steps=for_training())
        arms.append(Arm(name="another domain", schedule=Schedule.plain("other")))
    return Ablation(
        base=find_function(f"{base_file}:base")(
            texts=general,
            preset=preset,
            tokens=base_tokens,
            precision=precision,
            compile=compile,
        ),
        data=data,
        arms=arms,
        training=Training(
            tokens=tokens, learning_rate=learning_rate, precision=precision, compile=compile
        ),
        repetitions=repetitions,
        held_out={
            "domain": Recipe(
                source=text,
                steps=[*held_out(), measured_pieces()],
            ),
            "general": general_text(general, held_out=True),
        },
        tasks=(*tasks, *general_tasks),
        domain=("domain", *map(task_name, tasks)),
        probe=Recipe(source=text, steps=held_out()) if probe_items else None,
        probe_items=probe_items,
        most_items=most_items,
    )


def _split() -> list[Step]:
    return [MinHashSketch(), NearDuplicates(), HeldOut(frac=0.05, by="group_id")]


def for_training() -> list[Step]:
    """Keep a domain's documents that are not held out, whole groups of near-duplicates apart."""
    return [*_split(), keep(~col("held_out"), because="held out")]


def held_out() -> list[Step]:
    """Keep what is held out of a domain's documents, one of each group of near-duplicates."""
    return [
        *_split(),
        keep(col("held_out"), because="for training"),
        keep(col("duplicate_of").is_null(), because="near duplicate"),
    ]


def _cleaning() -> list[Step]:
    return [Normalize(), GopherRepetition(), GopherQuality(), *gopher_rules()]


def _without_copies() -> list[Step]:
    return [keep(col("duplicate_of").is_null(), because="near duplicate")]
