"""Does reading comprehension teach a domain more than its plain text, at equal tokens?

Arms from one small base: the domain's text, the same text with mined tasks, and each of both with
general text replayed; where instruction data is given, also with general instructions, and those
alone (the columns of AdaptLLM's table 5). The documents are the same in all, and are measured on
texts that are held out by groups of near-duplicates, as they are.

Tasks make documents longer: at equal tokens, the arms with tasks see fewer documents. Bits per byte
of held-out text favour plain text, which looks like it; the questions of tasks are what reading
comprehension is for. A model of a few million parameters answers them by chance: see for how small
a difference the verdict is sure before it is believed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from curation import (
    Ablation,
    Arm,
    Instructions,
    Jsonl,
    Normalize,
    ReadingComprehension,
    Recipe,
    Schedule,
    Training,
)
from curation.ablate.arms import task_name
from curation.recipe import Step
from curation.recipe_file import find_function

#: Share of instructions beside the domain's text: AdaptLLM's 1:1.
INSTRUCTION_SHARE = 0.5


def reading_ablation(  # noqa: PLR0913  the flags of the experiment
    *,
    domain: str,
    general: tuple[str, ...],
    instructions: tuple[str, ...] = (),
    tasks: tuple[str, ...] = (),
    general_tasks: tuple[str, ...] = (),
    replay: float = 0.25,
    tokens: int = 200_000,
    repetitions: int = 3,
    preset: str = "1M",
    base_tokens: int = 2_000_000,
    learning_rate: float = 1e-3,
    most_items: int = 250,
    precision: Literal["float32", "bfloat16"] = "float32",
    compile: bool = False,
    seed: int = 0,
) -> Ablation:
    """Plain text against reading comprehension, with and without replay and instructions.

    domain       JSON lines of the domain's text
    general      JSON lines of general text, for the base, the domain's words and replay; may be
                 repeated
    instructions general instruction data, for the arms with instructions; may be repeated
    tasks        the domain's questions: JSON lines with question, choices, answer; may be repeated
    general_tasks  questions of general knowledge, to see what is forgotten; may be repeated
    replay       share of general text in the arms with replay
    tokens       how many each arm is trained on
    repetitions  draws and seeds for each arm
    base_tokens  how many the base is trained on
    most_items   held-out texts and task items measured, each
    precision    of products: bfloat16 pays on a GPU, and from 3M parameters on a CPU
    compile      by torch.compile, which pays on a GPU and in runs of many minutes
    seed         another seed, other mined tasks
    """
    base_file = Path(__file__).with_name("base.py")
    general_text = find_function(f"{base_file}:general_text")
    measured_pieces = find_function(f"{base_file}:measured_pieces")
    ablation_file = Path(__file__).with_name("ablation.py")
    for_training = [*find_function(f"{ablation_file}:for_training")(), Normalize()]
    held_out = find_function(f"{ablation_file}:held_out")()
    text = Jsonl(domain, source_field="source", columns=(("title", "string"),))
    data = {
        "raw": Recipe(source=text, steps=for_training),
        "mined": Recipe(source=text, steps=[*for_training, *_mining(general[0], seed)]),
        "general": general_text(general),
    }
    if instructions:
        data["instructions"] = Recipe(source=Instructions(instructions, seed=seed), steps=[])
    return Ablation(
        base=find_function(f"{base_file}:base")(
            texts=general,
            preset=preset,
            tokens=base_tokens,
            precision=precision,
            compile=compile,
        ),
        data=data,
        arms=_arms(replay, with_instructions=bool(instructions)),
        training=Training(
            tokens=tokens, learning_rate=learning_rate, precision=precision, compile=compile
        ),
        repetitions=repetitions,
        held_out={
            "domain": Recipe(source=text, steps=[*held_out, measured_pieces()]),
            "general": general_text(general, held_out=True),
        },
        tasks=(*tasks, *general_tasks),
        domain=("domain", *map(task_name, tasks)),
        general_data=("general", *(["instructions"] if instructions else [])),
        most_items=most_items,
    )


def _arms(replay: float, *, with_instructions: bool) -> list[Arm]:
    arms = [Arm(name=name, schedule=Schedule.plain(name)) for name in ("raw", "mined")]
    arms += [
        Arm(name=f"{name} + replay", schedule=Schedule.replay(name, "general", share=replay))
        for name in ("raw", "mined")
    ]
    if with_instructions:
        share = {"instructions": INSTRUCTION_SHARE}
        arms += [
            Arm(
                name=f"{name} + instructions",
                schedule=Schedule.mixed({name: 1 - INSTRUCTION_SHARE, **share}),
            )
            for name in ("raw", "mined")
        ]
        arms.append(Arm(name="instructions", schedule=Schedule.plain("instructions")))
    return arms


def _mining(general: str, seed: int) -> list[Step]:
    pipeline = Path(__file__).with_name("reading_comprehension.py")
    keyword_steps = find_function(f"{pipeline}:keyword_steps")
    return [*keyword_steps(general), ReadingComprehension(seed=seed)]
