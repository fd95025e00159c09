"""How much of a training run should be the domain's: arms that differ in its share alone.

What they find is what the laws of mixtures are fitted to: `curation predict` gives the share of
least loss in the domain whose general loss stays within a limit, with an interval. Losses are
measured in the course of training too, so that the laws see several token counts.
"""

from __future__ import annotations

from pathlib import Path

from curation import Ablation, Arm, Schedule, Training
from curation.recipe_file import find_function


def ratios(  # noqa: PLR0913  the flags of the experiment
    *,
    domain: str,
    general: tuple[str, ...],
    tokens: int = 200_000,
    repetitions: int = 3,
    preset: str = "1M",
    base_tokens: int = 2_000_000,
    learning_rate: float = 1e-3,
    most_items: int = 250,
) -> Ablation:
    """Shares of a tenth to all of the tokens for the domain, the rest replayed general text.

    domain       JSON lines of the domain's text
    general      JSON lines of general text; may be repeated
    tokens       how many each arm is trained on
    repetitions  draws and seeds for each arm
    base_tokens  how many the base is trained on
    most_items   held-out texts measured, of each set
    """
    base_file = Path(__file__).with_name("base.py")
    data, held_out = find_function(f"{base_file}:domain_and_general")(domain, general)
    steps = tokens // (16 * 256)
    return Ablation(
        base=find_function(f"{base_file}:base")(texts=general, preset=preset, tokens=base_tokens),
        data=data,
        arms=[
            Arm(name=f"share {share:.0%}", schedule=Schedule.replay("domain", "general", 1 - share))
            for share in (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
        ],
        training=Training(
            tokens=tokens,
            learning_rate=learning_rate,
            schedule="constant",
            evaluate_every=max(1, steps // 4),
        ),
        repetitions=repetitions,
        held_out=held_out,
        reference="share 50%",
        most_items=most_items,
    )
