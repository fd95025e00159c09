"""Domain text in the last part of training: what each set is worth there, from one checkpoint.

The base is trained at a constant learning rate, as far as the stable part of warmup-stable-decay
goes. Every arm starts from it and decays to the end, on general text alone or with a share of the
domain's. An annealing costs a tenth of what a run from the start does, which makes it a cheap probe
of a set (Blakeney et al. 2024, arXiv:2406.03476).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from curation import Ablation, Arm, Schedule, Training
from curation.recipe_file import find_function


def anneal(  # noqa: PLR0913  the flags of the experiment
    *,
    domain: str,
    general: tuple[str, ...],
    tokens: int = 200_000,
    repetitions: int = 3,
    preset: str = "1M",
    base_tokens: int = 2_000_000,
    learning_rate: float = 3e-3,
    most_items: int = 250,
) -> Ablation:
    """What a share of the domain in the decay is worth, and what it costs.

    domain       JSON lines of the domain's text
    general      JSON lines of general text; may be repeated
    tokens       how many each arm is annealed on
    repetitions  draws and seeds for each arm
    base_tokens  how many the base is trained on before
    most_items   held-out texts measured, of each set
    """
    base_file = Path(__file__).with_name("base.py")
    data, held_out = find_function(f"{base_file}:domain_and_general")(domain, general)
    base = find_function(f"{base_file}:base")(
        texts=general, preset=preset, tokens=base_tokens, learning_rate=learning_rate
    )
    return Ablation(
        base=dataclasses.replace(
            base, training=dataclasses.replace(base.training, schedule="constant")
        ),
        data=data,
        arms=[
            Arm(name="general text alone", schedule=Schedule.plain("general")),
            *(
                Arm(
                    name=f"{share:.0%} of the domain",
                    schedule=Schedule.replay("domain", "general", 1 - share),
                )
                for share in (0.3, 1.0)
            ),
        ],
        training=Training(
            tokens=tokens,
            learning_rate=learning_rate,
            schedule="wsd",
            warmup_frac=0.0,
            decay_frac=1.0,
            min_learning_rate_frac=0.0,
        ),
        repetitions=repetitions,
        held_out=held_out,
        most_items=most_items,
    )
