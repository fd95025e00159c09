"""Mixtures: exact counts, the shares asked for, and a clear word where the data is too small."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import Jsonl, Mixture, Recipe, TokenCount, col, keep, mixture_table
from curation.errors import RecipeError, ResourceError
from curation.mix.budget import draw
from curation.mix.tokenizer import Tokenizer
from curation.mix.tokens import write_tokens
from curation.testing import MemoryRows, check_stage
from tests.conftest import curation
from tests.mix.token_sets import byte_tokenizer, tokenizer

Row = tuple[str, str | None, int | None]

TEN = [(f"r{n}", "ab"[n % 2], 10) for n in range(20)]


def mixed(mixture: Mixture, rows: list[Row], size: int = 3) -> tuple[list[int], list[Any]]:
    """Return how often each row is trained on, and the table of groups."""
    ids, groups, tokens = ([row[i] for row in rows] for i in range(3))
    batch = pa.RecordBatch.from_arrays(
        [
            pa.array(ids, pa.large_string()),
            pa.array(groups, pa.large_string()),
            pa.array(tokens, pa.uint32()),
        ],
        names=["id", "source", "token_count"],
    )
    held = MemoryRows([batch[at : at + size] for at in range(0, len(batch), size)], Path())
    made = [value for part in mixture.reduce(held) for value in part["mix_count"].to_pylist()]
    return made, mixture_table(held.notes).to_dicts()


def tokens_of(counts: list[int], rows: list[Row]) -> dict[str, int]:
    """Count, one row after the other, the tokens that each group gives."""
    found: dict[str, int] = defaultdict(int)
    for count, (_, group, tokens) in zip(counts, rows, strict=True):
        found[group or ""] += count * (tokens or 0)
    return found


rows_of_groups = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", None]), st.none() | st.integers(0, 30)), max_size=40
).map(lambda found: [(f"r{n}", *row) for n, row in enumerate(found)])


@settings(deadline=None)  # the first call compiles
@given(
    rows_of_groups,
    st.integers(1, 600),
    st.sampled_from([0.5, 1.0, 2.0, math.inf]),
    st.sampled_from(["cap", "spread"]),
    st.sampled_from([0.5, 1.0, 3.0]),
)
def test_no_group_gets_more_than_its_share_and_the_table_is_exact(
    rows: list[Row], tokens: int, temperature: float, beyond: Any, max_epochs: float
) -> None:
    """A budget that is exceeded, or counts that are a guess, spoil an experiment's comparison."""
    mixture = Mixture(
        tokens=tokens, temperature=temperature, beyond=beyond, max_epochs=max_epochs, seed=7
    )
    counts, table = mixed(mixture, rows)
    got = tokens_of(counts, rows)
    there = tokens_of([1] * len(rows), rows)
    assert sum(got.values()) <= tokens
    assert {row["group"]: row["tokens"] for row in table} == got
    assert {row["group"]: row["pool_tokens"] for row in table} == there
    for row in table:
        members = [
            (c, n or 0)
            for c, (_, g, n) in zip(counts, rows, strict=True)
            if (g or "") == row["group"]
        ]
        assert row["tokens"] <= row["wanted_tokens"] <= max_epochs * row["pool_tokens"] + 1
        # what is missing is less than the longest document of the group
        assert row["wanted_tokens"] - row["tokens"] <= max(n for _, n in members)
        assert row["documents"] == sum(c > 0 for c, _ in members)
        assert row["unique_tokens"] == sum(n for c, n in members if c)
        able = [c for c, n in members if n]
        assert not able or max(able) - min(able) <= 1
        assert all(c == 0 for c, n in members if not n)


def test_temperature_evens_sizes_out() -> None:
    """A small language or domain would drown, or a tiny one be repeated without end."""
    rows: list[Row] = [(f"a{n}", "a", 1) for n in range(900)]
    rows += [(f"b{n}", "b", 1) for n in range(100)]
    expected = {1.0: 0.1, 2.0: 0.25, math.inf: 0.5}
    for temperature, share in expected.items():
        counts, _ = mixed(Mixture(tokens=200, temperature=temperature), rows)
        assert tokens_of(counts, rows)["b"] == round(200 * share)


def test_general_text_is_replayed_by_its_share() -> None:
    """Forgetting is held down by how much general text there is, and by nothing else."""
    rows: list[Row] = [(f"{g}{n}", g, 5) for g in ("law", "news", "wiki") for n in range(40)]
    counts, table = mixed(Mixture(tokens=200, general=("news", "wiki"), replay=0.25), rows)
    assert tokens_of(counts, rows) == {"law": 150, "news": 25, "wiki": 25}
    assert [row["share"] for row in table] == [0.75, 0.125, 0.125]


def test_shares_and_replay_go_together() -> None:
    """Who fixes one source would have to do without replay, or work out all shares by hand."""
    rows: list[Row] = [
        (f"{g}{n}", g, 5) for g in ("law", "news", "wiki", "court") for n in range(40)
    ]
    counts, _ = mixed(
        Mixture(tokens=200, shares={"law": 0.5, "news": 0.1}, general=("news", "wiki"), replay=0.2),
        rows,
    )
    assert tokens_of(counts, rows) == {"law": 100, "news": 20, "wiki": 40, "court": 40}


def test_groups_of_several_columns_are_their_combinations() -> None:
    """Quotas of sources within each language would need a column made for them alone."""
    ids = pa.array([f"r{n}" for n in range(40)], pa.large_string())
    source = pa.array(["law", "news"] * 20, pa.large_string())
    language = pa.array(["en"] * 20 + ["de"] * 10 + [None] * 10, pa.large_string())
    batch = pa.RecordBatch.from_arrays(
        [ids, source, language, pa.array([10] * 40, pa.uint32())],
        names=["id", "source", "language", "token_count"],
    )
    held = MemoryRows([batch], Path())
    mixture = Mixture(
        tokens=100, by=("source", "language"), shares={"law / en": 0.5, "news / ": 0.2}
    )
    list(mixture.reduce(held))
    found = {row["group"]: row["tokens"] for row in mixture_table(held.notes).to_dicts()}
    assert found["law / en"] == 50
    assert found["news / "] == 20
    assert sum(found.values()) == 80  # the others' shares are not always whole documents
    assert len(found) == 6


def test_named_shares_leave_the_rest_to_the_others_by_size() -> None:
    """A user who fixes one share means the others to keep their proportions."""
    rows: list[Row] = [(f"a{n}", "a", 1) for n in range(100)]
    rows += [(f"b{n}", "b", 1) for n in range(300)] + [(f"c{n}", "c", 1) for n in range(100)]
    counts, _ = mixed(Mixture(tokens=160, shares={"a": 0.5}), rows)
    assert tokens_of(counts, rows) == {"a": 80, "b": 60, "c": 20}
    counts, _ = mixed(Mixture(tokens=100, shares={"a": 0.7, "c": 0.3}), rows)
    assert tokens_of(counts, rows) == {"a": 70, "b": 0, "c": 30}


def test_a_small_group_is_repeated_up_to_its_limit() -> None:
    """Text repeated ten times teaches a model to recite it."""
    counts, table = mixed(Mixture(tokens=250, shares={"a": 1.0}), TEN)
    assert sorted(counts[::2]) == [2] * 5 + [3] * 5
    assert table[0]["epochs"] == 2.5
    with pytest.raises(RecipeError, match="larger than the data") as told:
        mixed(Mixture(tokens=401, shares={"a": 1.0}), TEN)
    assert told.value.facts["missing"] == "a: 401 wanted, 400 there"
    counts, _ = mixed(Mixture(tokens=1000, shares={"a": 1.0}, beyond="cap"), TEN)
    assert tokens_of(counts, TEN) == {"a": 400, "b": 0}
    counts, _ = mixed(
        Mixture(tokens=150, shares={"a": 0.8, "b": 0.2}, max_epochs=1, beyond="spread"), TEN
    )
    assert tokens_of(counts, TEN) == {"a": 100, "b": 50}


def test_the_best_documents_of_a_group_come_first() -> None:
    """A ranking that the mixture does not follow was computed for nothing."""
    ids = pa.array([f"r{n}" for n in range(6)], pa.large_string())
    score = pa.array([0.1, None, 0.9, 0.5, float("nan"), 0.7])
    batch = pa.RecordBatch.from_arrays(
        [ids, pa.array(["a"] * 6, pa.large_string()), pa.array([10] * 6, pa.uint32()), score],
        names=["id", "source", "token_count", "quality"],
    )
    [made] = Mixture(tokens=30, best="quality").reduce(MemoryRows([batch], Path()))
    assert made["mix_count"].to_pylist() == [0, 0, 1, 1, 0, 1]


def test_a_mixture_keeps_its_contract() -> None:
    """Another order of files, or another number of workers, would be another corpus."""
    check_stage(Mixture(tokens=30, beyond="spread"))
    chosen = [mixed(Mixture(tokens=70, seed=seed), TEN)[0] for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"tokens": 0}, "tokens are 1 or more"),
        ({"tokens": 9, "shares": {"a": 0.9, "b": 0.2}}, "sum to 1 at most"),
        ({"tokens": 9, "shares": {"a": -0.1}}, "0 or more"),
        ({"tokens": 9, "shares": {"a": 0.9}, "general": ("b",)}, "sum to 1 at most"),
        ({"tokens": 9, "by": ("source", "")}, "by names a column"),
        ({"tokens": 9, "temperature": 0.0}, "temperature"),
        ({"tokens": 9, "replay": 1.5}, "replay"),
        ({"tokens": 9, "max_epochs": 0.0}, "max_epochs"),
        ({"tokens": 9, "by": ""}, "by names a column"),
    ],
)
def test_settings_without_sense_are_refused(settings: dict[str, Any], told: str) -> None:
    """They would be found out after a crawl was read."""
    with pytest.raises(RecipeError, match=told):
        Mixture(**settings)


def test_a_group_that_is_not_there_is_named_with_the_nearest() -> None:
    """A share for a misspelt source would silently go to nobody."""
    rows: list[Row] = [("r", "wikinews", 5)]
    with pytest.raises(RecipeError, match="'wikinew'") as told:
        mixed(Mixture(tokens=5, shares={"wikinew": 1.0}), rows)
    assert "wikinews" in str(told.value.facts["remedy"])


# ---------------------------------------------------------------- end to end


def test_the_manifest_says_what_a_set_of_tokens_holds(tmp_path: Path) -> None:
    """The counts of an experiment's description would not be those that it was run with."""
    byte_tokenizer().save(tmp_path / "tokenizer")
    for name, count in (("law", 30), ("news", 90)):
        lines = [f'{{"text": "{name} {n:04d}", "source": "{name}"}}\n' for n in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    recipe = Recipe(
        source=Jsonl(str(tmp_path / "*.jsonl"), source_field="source"),
        steps=[
            TokenCount(tokenizer=str(tmp_path / "tokenizer")),
            Mixture(tokens=800, shares={"law": 0.6}, seed=3),
            keep(col("mix_count") > 0, because="outside the mixture"),
        ],
    )
    build = recipe.run(store=tmp_path / "store", workers=0)
    table = mixture_table(build.notes()["Mixture"])
    assert table["group"].to_list() == ["law", "news"]
    assert table["tokens"].to_list() == [480, 315]
    found = write_tokens(build, byte_tokenizer(), tmp_path / "set", fingerprint=build.fingerprint)
    assert found.tokens - found.documents == 795
    assert found.documents == 60 + 35
    told = curation(
        *("tokenize", tmp_path / "tokenizer", "--store", tmp_path / "store"), cwd=tmp_path
    )
    assert told.stdout.startswith("795 tokens and 95 end marks")
    shown = curation("show", "--store", tmp_path / "store", cwd=tmp_path)
    assert re.search(r"law +480 +60\.4% +2\.00 +30 +240", shown.stdout)
    again = recipe.run(store=tmp_path / "store", workers=2)
    assert again.notes() == build.notes()
    drawn = draw(found, tokens=found.tokens, key="any")
    assert sorted(drawn.document_K.tolist()) == list(range(95))
    names = found.ids.take(drawn.document_K).to_pylist()
    beside = sum(a == b for a, b in pairwise(names))
    assert beside < 5, "copies of a document follow each other"


@pytest.mark.slow
def test_tokens_are_counted_as_the_tokenizer_encodes_them(tmp_path: Path) -> None:
    """A budget in tokens would be one of something else."""
    byte_tokenizer().save(tmp_path)
    stage = TokenCount(tokenizer=str(tmp_path))
    text = pa.array(["abc", None, "", "é<|endoftext|>"], pa.large_string())
    batch = pa.RecordBatch.from_arrays([text], names=["text"])
    assert stage.annotate(batch)["token_count"].to_pylist() == [3, None, 0, 15]
    check_stage(stage)
    with pytest.raises(ResourceError, match="no tokenizer"):
        TokenCount(tokenizer=str(tmp_path / "absent"))


def test_the_number_of_tokens_is_not_lost_in_floats() -> None:
    """At a trillion tokens a count would be off by some, and the ledger not add up."""
    rows: list[Row] = [(f"r{n}", "a", 2**32 - 1 - n) for n in range(300)]
    counts, [row] = mixed(Mixture(tokens=10**13, max_epochs=100), rows)
    exact = sum(c * n for c, (_, _, n) in zip(counts, rows, strict=True) if n is not None)
    assert row["tokens"] == exact
    assert np.sum(counts) == sum(counts)


def test_a_tokenizer_that_was_replaced_is_read_again(tmp_path: Path) -> None:
    """Counts of the old one would be kept under the new one's name."""
    byte_tokenizer().save(tmp_path)
    batch = pa.RecordBatch.from_pydict({"text": pa.array(["a storm at sea"], pa.large_string())})
    before = TokenCount(tokenizer=str(tmp_path)).annotate(batch)["token_count"][0].as_py()
    tokenizer().save(tmp_path)
    after = TokenCount(tokenizer=str(tmp_path)).annotate(batch)["token_count"][0].as_py()
    assert before == 14
    assert after == len(tokenizer().encode(["a storm at sea"])[0])
    assert after < before


def test_any_tokenizer_counts_and_one_with_a_usual_mark_ends_documents(tmp_path: Path) -> None:
    """A file of the library alone, such as BERT's, would be refused for what it need not say."""
    library = pytest.importorskip("tokenizers")
    words = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "storm": 3, "sea": 4}
    made = library.Tokenizer(library.models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = library.pre_tokenizers.Whitespace()
    made.save(str(tmp_path / "tokenizer.json"))
    stage = TokenCount(tokenizer=str(tmp_path / "tokenizer.json"))
    batch = pa.RecordBatch.from_pydict({"text": pa.array(["storm sea wind"], pa.large_string())})
    assert stage.annotate(batch)["token_count"].to_pylist() == [3]
    assert Tokenizer.open(tmp_path).end_id == 2
    del words["[SEP]"]
    made = library.Tokenizer(library.models.WordLevel({**words, "sea": 2}, unk_token="[UNK]"))
    made.save(str(tmp_path / "tokenizer.json"))
    assert stage.annotate(batch)["token_count"][0].as_py() is not None
    with pytest.raises(ResourceError, match="end mark"):
        Tokenizer.open(tmp_path)
