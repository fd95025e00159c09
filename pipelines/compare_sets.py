"""Which way to choose documents helps? Arms of an ablation out of the sets that select has written.

    curation select pipelines/mine_domain.py --pool 'crawl/*.jsonl' --target seeds.jsonl \\
        --megabytes 20 --out sets
    curation ablate pipelines/compare_sets.py --sets sets/random --sets sets/dsir \\
        --sets sets/linear --general 'news/*.jsonl' --held-out law-test.jsonl --tasks law.jsonl

Every arm goes on from one small base with one set, on equally many tokens. The first set is what
the others are compared with: take the random one. What is measured must stand in no set.
"""

from __future__ import annotations

from pathlib import Path

from curation import Ablation, Arm, Jsonl, Recipe, Schedule, Training
from curation.ablate.arms import task_name
from curation.errors import RecipeError
from curation.recipe_file import find_function


def compare_sets(  # noqa: PLR0913  the flags of the experiment
    *,
    sets: tuple[str, ...],
    general: tuple[str, ...],
    held_out: str = "",
    tasks: tuple[str, ...] = (),
    tokens: int = 200_000,
    repetitions: int = 3,
    preset: str = "1M",
    base_tokens: int = 2_000_000,
    learning_rate: float = 1e-3,
    replay: float = 0.0,
    most_items: int = 250,
) -> Ablation:
    """One arm for each set of documents, from one base.

    sets         folders of JSON lines, as select --out writes them; may be repeated
    general      JSON lines of general text, for the base and for replay; may be repeated
    held_out     JSON lines of the domain that no set holds, to measure bits per byte on
    tasks        the domain's questions: JSON lines with question, choices, answer; may be repeated
    tokens       how many each arm is trained on; a set is gone through four times at most
    repetitions  draws and seeds for each arm
    replay       share of general text in every arm
    """
    base_file = Path(__file__).with_name("base.py")
    general_text = find_function(f"{base_file}:general_text")
    measured_pieces = find_function(f"{base_file}:measured_pieces")
    for folder in sets:
        if not any(Path(folder).glob("*.jsonl.zst")):
            raise RecipeError(
                f"there is no set in {folder}.",
                found="no file *.jsonl.zst",
                remedy="a folder that select --out has written",
            )
    names = [Path(folder).name for folder in sets]
    data = {
        name: Recipe(source=Jsonl(str(Path(folder) / "*.jsonl.zst")), steps=[])
        for name, folder in zip(names, sets, strict=True)
    }
    measured = {"general": general_text(general, held_out=True)}
    if held_out:
        text = Recipe(source=Jsonl(held_out), steps=[measured_pieces()])
        measured = {"domain": text, **measured}
    schedules = {
        name: Schedule.replay(name, "general", share=replay) if replay else Schedule.plain(name)
        for name in names
    }
    return Ablation(
        base=find_function(f"{base_file}:base")(texts=general, preset=preset, tokens=base_tokens),
        data={**data, "general": general_text(general)},
        arms=[Arm(name=name, schedule=schedule) for name, schedule in schedules.items()],
        training=Training(tokens=tokens, learning_rate=learning_rate),
        repetitions=repetitions,
        held_out=measured,
        tasks=tasks,
        domain=(*(["domain"] if held_out else []), *map(task_name, tasks)),
        most_items=most_items,
    )
