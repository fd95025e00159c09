from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import RecipeError
from curation.mix.budget import draw
from curation.mix.schedule import Phase, Schedule, plan_sequences
from curation.mix.stream import Batches
from curation.mix.tokens import TokenSet, write_tokens
from tests.mix.token_sets import batches, byte_tokenizer, make_set, numbered, tokenizer
from tests.oracles.packing import windows


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TokenSet]:
    """Two sets, one of several shards."""
    general = [(f"general {n}", f"{n} general", None) for n in range(90)]
    return {
        "d": make_set(tmp_path_factory.mktemp("d"), list(numbered(120)), shard_tokens=400),
        "g": make_set(tmp_path_factory.mktemp("g"), general),
    }


def run(sets: dict[str, TokenSet], schedule: Schedule, **how: Any) -> Batches:
    sizes = {"tokens": 1_000, "sequence_length": 8, "batch_sequences": 4, "seed": 1, "key": "k"}
    return Batches(sets, schedule, **{**sizes, **how})


def rows(found: Batches) -> list[list[int]]:
    return [row for step in range(found.steps) for row in found.batch(step).tolist()]


mixtures = st.sampled_from(
    [
        Schedule.plain("d"),
        Schedule.replay("d", "g"),
        Schedule.anneal("g", "d", last=0.3, share=0.5),
        Schedule.sequential("g", "d"),
        Schedule(phases=(Phase(1.0, {"g": 0.5, "d": 0.5}),), unique_tokens={"d": 200}),
    ]
)


@settings(deadline=None, max_examples=60)
@given(mixtures, st.integers(64, 4_000), st.integers(1, 16), st.integers(1, 4), st.integers(0, 2))
def test_a_run_is_every_window_of_its_streams_once(
    sets: dict[str, TokenSet],
    schedule: Schedule,
    tokens: int,
    length: int,
    sequences: int,
    seed: int,
) -> None:
    """A token would be learned twice an epoch or never, or be predicted from another document."""
    how: Any = {"tokens": tokens, "sequence_length": length, "batch_sequences": sequences}
    found = run(sets, schedule, **how, seed=seed, beyond="repeat")
    assert found.steps == tokens // (length * sequences)
    assert found.tokens == found.steps * length * sequences
    component_N, _ = plan_sequences(schedule, found.steps * sequences, seed=seed)
    made = rows(found)
    for number, name in enumerate(schedule.names):
        mine = [row for row, of in zip(made, component_N, strict=True) if of == number]
        if not mine:
            continue
        drawn = draw(
            sets[name],
            tokens=len(mine) * length + 1,
            key="k",
            unique_tokens=schedule.unique_tokens.get(name),
            beyond="repeat",
        )
        documents = [sets[name].document(d).tolist() for d in range(sets[name].documents)]
        begins = [n * length for n in range(len(mine))]
        wanted = windows(documents, drawn.document_K.tolist(), begins, length + 1)
        assert Counter(map(tuple, mine)) == Counter(map(tuple, wanted))


def test_a_batch_depends_on_its_number_alone(sets: dict[str, TokenSet]) -> None:
    """A run that goes on after a kill would go on with other data."""
    one, other = (run(sets, Schedule.replay("d", "g")) for _ in range(2))
    forwards = [one.batch(step) for step in range(one.steps)]
    backwards = [other.batch(step) for step in reversed(range(other.steps))][::-1]
    assert np.array_equal(forwards, backwards)
    assert forwards[0].dtype == np.int64
    assert forwards[0].shape == (4, 9)
    assert one.fingerprint == other.fingerprint


def test_the_order_of_a_run_is_for_ever(tmp_path: Path) -> None:
    """A model of last year could not be trained again."""
    letters = [(f"row {c}", c * 7, None) for c in "abcdefghijkl"]
    one = make_set(tmp_path, letters)
    found = run({"d": one, "g": one}, Schedule.replay("d", "g"), tokens=96, batch_sequences=12)
    assert byte_tokenizer().decode(found.batch(0)[:, 3]) == GOLDEN


GOLDEN = "gabcejjfgkkl"


def test_batches_do_not_depend_on_how_the_set_lies(
    sets: dict[str, TokenSet], tmp_path: Path
) -> None:
    """The same corpus from more workers would train another model."""
    turned = make_set(tmp_path, list(numbered(120))[::-1], shard_tokens=90)
    assert len(turned.shards) > len(sets["d"].shards) > 2
    schedule = Schedule.plain("d")
    one, other = (run({"d": s}, schedule, tokens=9_000) for s in (sets["d"], turned))
    assert rows(one) == rows(other)
    assert one.documents(3) == other.documents(3)
    assert one.fingerprint == other.fingerprint


def test_an_epoch_is_over_before_the_next_begins(tmp_path: Path) -> None:
    """Some documents would be read three times while others wait for their first."""
    one = make_set(tmp_path, list(numbered(48, length=7)))  # with its end mark a sequence of 8
    found = run({"d": one}, Schedule.plain("d"), tokens=3 * 48 * 8)
    first = [tuple(row[:8]) for row in rows(found)]
    epochs = [first[at : at + 48] for at in (0, 48, 96)]
    assert [len({*epoch}) for epoch in epochs] == [48, 48, 48]
    assert epochs[0] != epochs[1] != epochs[2]


def test_the_parts_of_a_book_are_spread_over_the_epoch(tmp_path: Path) -> None:
    """Batch after batch would come from one book, and the loss follow the books."""
    books = [(f"book {n}", f"{n}" * 799, None) for n in range(8)]
    found = run({"d": make_set(tmp_path, books)}, Schedule.plain("d"), tokens=8 * 800)
    together = [len({row[0] for row in found.batch(step).tolist()}) for step in range(found.steps)]
    assert float(np.mean(together)) > 2.5


def test_the_seed_orders_and_the_key_draws(sets: dict[str, TokenSet]) -> None:
    """The spread over seeds and that over draws could not be told apart."""
    schedule = Schedule.plain("d")

    def drawn(found: Batches) -> set[str]:
        return {name for step in range(found.steps) for name in found.documents(step)}

    base, seeded, keyed = (run(sets, schedule, **how) for how in ({}, {"seed": 2}, {"key": "l"}))
    assert drawn(base) == drawn(seeded) != drawn(keyed)
    assert sorted(rows(base)) == sorted(rows(seeded))
    assert rows(base) != rows(seeded)
    others = [
        run(sets, schedule, **how).fingerprint
        for how in ({"tokens": 900}, {"sequence_length": 16}, {"batch_sequences": 2})
    ]
    others += [run(sets, Schedule.plain("g")).fingerprint, seeded.fingerprint, keyed.fingerprint]
    assert len({base.fingerprint, *others}) == 7


def test_the_documents_of_a_batch_are_named(tmp_path: Path) -> None:
    """A loss that is no number could not be traced to the page that made it."""
    letters = [(f"row {c}", c * 5, "s") for c in "abcdefghijklmnopqrstuvwxyz"]
    found = run(
        {"d": make_set(tmp_path, letters, shard_tokens=20)}, Schedule.plain("d"), tokens=144
    )
    of_letter = {byte_tokenizer().encode([c])[0][0]: f"row {c}" for _, (c, *_), _ in letters}
    end = byte_tokenizer().end_id
    for step in range(found.steps):
        tokens = [t for row in found.batch(step).tolist() for t in row if t != end]
        seen = list(dict.fromkeys(of_letter[t] for t in tokens))
        named = found.documents(step)
        assert [name for name in named if name in seen] == seen
        assert len(named) == len({*named})
        # a window may hold nothing of a document but its end mark
        assert len(named) <= len(seen) + 4
    for step in (-1, found.steps):
        with pytest.raises(IndexError):
            found.batch(step)
        with pytest.raises(IndexError):
            found.documents(step)


def test_the_manifest_says_what_the_run_is_made_of(sets: dict[str, TokenSet]) -> None:
    """A table in a paper would name another number of epochs than there were."""
    schedule = Schedule(
        phases=(Phase(0.5, {"g": 1.0}), Phase(1.0, {"d": 0.75, "g": 0.25})),
        unique_tokens={"d": 300},
    )
    found = run(sets, schedule, tokens=3_300)
    facts = found.manifest()
    assert json.loads(json.dumps(facts)) == facts
    assert (facts["asked_tokens"], facts["tokens"], facts["steps"]) == (3_300, 3_296, 103)
    domain, general = (facts["components"][name] for name in "dg")
    assert domain["tokens"] + general["tokens"] == 3_296
    assert 300 <= domain["pool_tokens"] == domain["unique_tokens"] < 300 + 45
    assert domain["epochs"] == domain["tokens"] / domain["pool_tokens"] > 3
    seen = {name for step in range(found.steps) for name in found.documents(step)}
    assert domain["documents"] == domain["pool_documents"]
    assert domain["documents"] == len([name for name in seen if name.startswith("row")])
    assert general["documents"] == len([name for name in seen if name.startswith("general")])
    assert general["unique_tokens"] == min(general["tokens"], sets["g"].tokens)
    assert [(row["phase"], row["component"]) for row in facts["schedule"]] == [
        (0, "g"),
        (1, "d"),
        (1, "g"),
    ]
    assert sum(row["tokens"] for row in facts["schedule"]) == found.tokens
    of_domain = sum(row["tokens"] for row in facts["schedule"] if row["component"] == "d")
    assert of_domain == domain["tokens"]


def test_a_budget_beyond_the_data_is_an_error_or_a_shorter_run(sets: dict[str, TokenSet]) -> None:
    """One arm would repeat its data ten times and nobody know of it."""
    schedule = Schedule.replay("d", "g", 0.5)
    with pytest.raises(RecipeError, match="larger than the data"):
        run(sets, schedule, tokens=20_000)
    whole = run(sets, schedule, tokens=20_000, beyond="repeat")
    capped = run(sets, schedule, tokens=20_000, beyond="cap")
    assert whole.tokens == 20_000
    facts = capped.manifest()
    short, other = facts["components"]["g"], facts["components"]["d"]
    assert capped.tokens < facts["asked_tokens"] == 20_000
    assert 3.8 < short["epochs"] <= 4
    assert short["tokens"] == other["tokens"]  # it is shorter and has the same shares
    assert len(rows(capped)) * 8 == capped.tokens


def test_what_makes_no_run_is_refused(sets: dict[str, TokenSet], tmp_path: Path) -> None:
    """Somebody would wait for a model and find an empty folder."""
    for how in ({"tokens": 31}, {"sequence_length": 0}, {"batch_sequences": 0}):
        with pytest.raises(RecipeError, match="room for one batch"):
            run(sets, Schedule.plain("d"), **how)
    with pytest.raises(RecipeError, match="no such token set"):
        run(sets, Schedule.plain("e"))
    tiny = make_set(tmp_path / "tiny", [("a", "x", None)])
    with pytest.raises(RecipeError, match="too small for a single batch"):
        run({"d": tiny}, Schedule.plain("d"), beyond="cap")
    given_rows = batches(list(numbered(20)))
    other = write_tokens(given_rows, tokenizer(), tmp_path / "other", fingerprint="rows")
    with pytest.raises(RecipeError, match="one tokenizer"):
        run({**sets, "g": other}, Schedule.replay("d", "g"))
    assert run(
        {**sets, "g": other}, Schedule.plain("d")
    ).steps  # a set that is not used is no fault
