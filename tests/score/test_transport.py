from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curation.annotate.hashed import HashedEmbedding
from curation.annotate.size import TextSize
from curation.errors import RecipeError
from curation.kernels.semantic import whole
from curation.score.transport import Potential, TransportGain, costs
from curation.testing import check_stage
from tests.oracles.coverage import transport

EMBED = HashedEmbedding(dims=128)
CATS = "the cat purrs and hunts mice; a kitten has whiskers, paws and claws number {}"
DOGS = "our dog barks at the postman and fetches a ball on its leash, said owner {}"


def write(folder: Path, name: str, texts: list[str]) -> str:
    path = folder / f"{name}.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}) for text in texts))
    return str(path)


def cats(count: int, first: int = 0) -> list[str]:
    return [CATS.format(first + n) for n in range(count)]


def dogs(count: int, first: int = 0) -> list[str]:
    return [DOGS.format(first + n) for n in range(count)]


def embedded(texts: list[str | None], embed: HashedEmbedding = EMBED) -> pa.RecordBatch:
    rows = pa.RecordBatch.from_arrays([pa.array(texts, pa.large_string())], names=["text"])
    return embed.annotate(rows)


def scores(stage: TransportGain, texts: list[str]) -> Any:
    return np.array(stage.annotate(embedded([*texts]))["transport_score"].to_pylist())


def units(count: int, dims: int, seed: int) -> Any:
    rows = np.random.default_rng(seed).standard_normal((count, dims))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_a_model_of_cats_is_given_dogs(tmp_path: Path) -> None:
    """The paper's own toy: matching the target takes as many cats, which the model has read."""
    stage = TransportGain(
        base=write(tmp_path, "base", cats(60)),
        target=write(tmp_path, "target", cats(20, 100) + dogs(20, 100)),
        embed=EMBED,
    )
    found = scores(stage, cats(50, 200) + dogs(50, 200))
    chosen = np.argsort(-found)[:50]
    assert (chosen >= 50).all()
    assert found[50:].min() > 0


def test_matching_the_target_alone_takes_half_cats(tmp_path: Path) -> None:
    """Without a base that lacks something, the two must come out alike: the toy shows the base."""
    both = cats(30) + dogs(30)
    stage = TransportGain(
        base=write(tmp_path, "base", both), target=write(tmp_path, "target", both), embed=EMBED
    )
    found = scores(stage, cats(50, 200) + dogs(50, 200))
    assert abs(found[:50].mean() - found[50:].mean()) < 0.02


def test_a_contrast_turns_away_from_what_it_holds(tmp_path: Path) -> None:
    """Texts to move away from would be sought."""
    both, base = cats(30) + dogs(30), cats(15, 60) + dogs(15, 60)
    paths = [write(tmp_path, name, texts) for name, texts in [("base", base), ("t", both)]]
    negative = write(tmp_path, "negative", dogs(30, 300))
    plain = TransportGain(base=paths[0], target=paths[1], embed=EMBED)
    turned = TransportGain(base=paths[0], target=paths[1], embed=EMBED, contrast=negative)
    pool = cats(20, 200) + dogs(20, 200)
    moved = scores(turned, pool) - scores(plain, pool)
    assert moved[:20].min() > moved[20:].max()
    assert negative in turned.model_files()
    assert len(turned.model_files()) == 3


@pytest.mark.parametrize("epsilon", [0.05, 0.3])
def test_the_score_is_the_derivative_of_the_distance(epsilon: float) -> None:
    """A score that is not would add what brings the model no nearer."""
    base, target, extra = units(12, 6, 0), units(9, 6, 1), units(5, 6, 2)
    gain = Potential.between(base, target, epsilon).gain(np.concatenate([base, extra]))
    every = np.concatenate([base, extra])
    cost = costs(whole(every), whole(target))
    mass = np.concatenate([np.full(12, 1 / 12), np.zeros(5)])
    right, step = np.full(9, 1 / 9), 1e-4
    # the derivative from both sides, at a mixture in which every point has some mass
    for at in range(len(every)):
        moved = np.zeros(17)
        moved[at] = 1.0
        near, far = (
            transport(cost[mixed > 0], mixed[mixed > 0], right, epsilon)
            for mixed in (
                (1 - step) * mass + step * moved,
                (1 - 2 * step) * mass + 2 * step * moved,
            )
        )
        start = transport(cost[:12], mass[:12], right, epsilon)
        slope = (4 * near - far - 3 * start) / (2 * step)
        assert gain[at] == pytest.approx(-slope, abs=2e-4)


def test_costs_are_those_of_the_cosine() -> None:
    """Rounding may move a cosine by 1e-3 and no more."""
    left, right = units(20, 300, 0), units(30, 300, 1)
    found = costs(whole(left), whole(right))
    assert found == pytest.approx(1 - left.astype(float) @ right.T.astype(float), abs=1e-3)
    assert costs(whole(left), whole(left)).diagonal() == pytest.approx(np.zeros(20), abs=1e-12)


def test_rows_do_not_look_at_each_other(tmp_path: Path) -> None:
    """A score that depends on the batch is another one at the next run."""
    stage = TransportGain(
        base=write(tmp_path, "base", cats(9)),
        target=write(tmp_path, "target", dogs(9)),
        embed=EMBED,
    )
    check_stage(stage, examples=embedded([*cats(30), None, "", *dogs(30)]))


def test_a_sample_is_drawn_where_there_are_too_many(tmp_path: Path) -> None:
    """A cost matrix of all pretraining data fits nowhere."""
    paths = [write(tmp_path, "base", cats(80)), write(tmp_path, "target", dogs(80))]
    few = [
        TransportGain(base=paths[0], target=paths[1], embed=EMBED, sample=10, seed=seed)
        for seed in (0, 0, 1)
    ]
    found = [scores(stage, dogs(5, 900)).tolist() for stage in few]
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_an_embedding_of_another_stage_is_told(tmp_path: Path) -> None:
    """Cosines between two models' vectors are noise that looks like scores."""
    paths = [write(tmp_path, "base", cats(5)), write(tmp_path, "target", dogs(5))]
    stage = TransportGain(base=paths[0], target=paths[1], embed=EMBED)
    with pytest.raises(RecipeError, match="another embedding") as told:
        stage.annotate(embedded(["a cat"], HashedEmbedding(dims=64)))
    assert "64" in told.value.facts["found"]
    with pytest.raises(RecipeError, match="embed="):
        TransportGain(base=paths[0], target=paths[1], embed=TextSize())


def test_a_solution_that_is_not_reached_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Potentials cut short look like any others."""
    monkeypatch.setattr("curation.score.transport.ITERATIONS", 2)
    with pytest.warns(UserWarning, match="larger epsilon"):
        Potential.between(units(30, 8, 0), units(30, 8, 1), 0.01)
    monkeypatch.undo()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Potential.between(units(30, 8, 0), units(30, 8, 1), 0.05)


@pytest.mark.parametrize("wrong", [{"epsilon": 0.0}, {"sample": 1}, {"seed": -1}])
def test_settings_that_cannot_be_solved_are_told(tmp_path: Path, wrong: dict[str, Any]) -> None:
    """An epsilon of nothing divides by it."""
    path = write(tmp_path, "base", cats(5))
    with pytest.raises(RecipeError, match="TransportGain takes"):
        TransportGain(base=path, target=path, embed=EMBED, **wrong)
