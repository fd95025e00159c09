"""The pipeline that finds a domain in a pool by every method, from files to sets."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from curation import BitsPerByte
from curation.errors import RecipeError
from curation.mining import Mining
from curation.mix.tokenizer import Tokenizer
from pipelines import mine_domain as module
from pipelines.compare_sets import compare_sets
from tests.conftest import curation, write_jsonl
from tests.rewrite.server import standing

#: The model that stands in grades a text by how often it says "good".
SECURITY = (
    "good attack exploit malware payload injection privilege credential firewall token".split()
)
NEWS = "minister election game season weather festival council border market storm".split()
COMMON = "the a of and to in was by with for on this that it as at from".split()


def texts(words: list[str], count: int, seed: str) -> list[str]:
    """Return texts of 80 words, a third of them the subject's."""
    rng = random.Random(seed)
    return [
        " ".join(rng.choice(words if rng.random() < 1 / 3 else COMMON) for _ in range(80))
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool of 20 relevant documents and 180 others, a target, a sample of general text."""
    folder = tmp_path_factory.mktemp("mine")
    pool = [("security", t) for t in texts(SECURITY, 20, "pool")]
    pool += [("news", t) for t in texts(NEWS, 180, "pool")]
    pool += [("news", "too short"), pool[-1]]
    random.Random(0).shuffle(pool)
    write_jsonl(folder / "pool.jsonl", [{"source": s, "text": t} for s, t in pool])
    target = texts(SECURITY, 15, "target")
    write_jsonl(folder / "target.jsonl", [{"text": t} for t in target])
    write_jsonl(folder / "base.jsonl", [{"text": t} for t in texts(NEWS, 30, "base")])
    return folder


def asked(place: Path, **flags: Any) -> Mining:
    settings: dict[str, Any] = {"megabytes": 0.006, "base": str(place / "base.jsonl"), **flags}
    return module.mine_domain(
        pool=(str(place / "pool.jsonl"),), target=str(place / "target.jsonl"), **settings
    )


def test_every_method_finds_more_of_the_domain_than_chance(place: Path, tmp_path: Path) -> None:
    """A method whose sign is turned round would choose the worst, and nobody would see it."""
    mined = asked(place).run(store=tmp_path / "store", workers=0)
    blind = {"random", "density", "clusters"}
    found = {}
    for name, build in mined.builds.items():
        rows = build.documents(columns=["source"]).collect()
        found[name] = (rows["source"] == "security").mean()
        assert build.ledger().dropped["exact duplicate"] == 1
        assert build.ledger().dropped["too short"] == 1
    assert blind < found.keys()
    for name in found.keys() - blind:
        assert found[name] >= 0.8, name
    assert found["random"] < 0.4
    nearer = dict(mined.table().select("set", "kl_reduction").iter_rows())
    assert nearer["linear"] > nearer["random"]


def test_the_sets_become_arms_of_an_ablation(place: Path, tmp_path: Path) -> None:
    """Which method helps a model, the one question that matters, would need files moved by hand."""
    asked(place, methods=("random", "dsir")).run(store=tmp_path / "s", workers=0).write(tmp_path)
    ablation = compare_sets(
        sets=(str(tmp_path / "random"), str(tmp_path / "dsir")),
        general=(str(place / "base.jsonl"),),
        held_out=str(place / "target.jsonl"),
        replay=0.25,
    )
    with pytest.raises(RecipeError, match="no set in"):
        compare_sets(sets=(str(tmp_path / "randomm"),), general=())
    assert ablation.compared_with == "random"
    assert ablation.domain_sets == ("domain",)
    plan = ablation.describe()
    assert "75% dsir" in plan
    assert "25% general" in plan
    rows = ablation.data["dsir"].run(store=tmp_path / "s", workers=0).ledger()
    assert rows.rows_out > 5
    assert not rows.errors


def test_models_made_of_the_pool_are_made_once(place: Path, tmp_path: Path) -> None:
    """A second look at the sets would train all classifiers again."""
    mining = asked(place, methods=("linear", "bandit"))
    first = mining.run(store=tmp_path / "store", workers=0)
    [model] = (tmp_path / "store" / "selectors").rglob("linear-*")
    before = model.stat().st_mtime_ns
    again = mining.run(store=tmp_path / "store", workers=0)
    assert model.stat().st_mtime_ns == before
    assert again.table().equals(first.table())


def test_grades_of_a_model_are_distilled_into_a_classifier_of_the_whole_pool(
    place: Path, tmp_path: Path
) -> None:
    """What a person pays for is a sample's grades; what they want is the whole pool's."""
    with standing() as server:
        mining = asked(place, methods=("judge",), judge=server.url, judge_model="any")
        build = mining.run(store=tmp_path / "store", workers=0).builds["judge"]
    rows = build.documents(columns=["source", "grade_score"]).collect()
    assert (rows["source"] == "security").mean() > 0.8


def test_a_table_of_domains_ranks_documents_by_their_source(place: Path, tmp_path: Path) -> None:
    """Perplexity correlation would have no way from its table to a set of documents."""
    table = pl.DataFrame(
        {
            "domain": ["security", "news"],
            "estimate": [0.7, -0.2],
            "weight": [1.0, 0.0],
            "cap": [1.0, 1.0],
            "label": ["include", "exclude"],
        }
    )
    table.write_csv(tmp_path / "estimates.csv")
    mining = asked(place, methods=("correlation",), estimates=str(tmp_path / "estimates.csv"))
    build = mining.run(store=tmp_path / "store", workers=0).builds["correlation"]
    rows = build.documents(columns=["source"]).collect()
    assert set(rows["source"]) == {"security"}


def test_perplexity_chooses_what_the_model_finds_likely(place: Path, tmp_path: Path) -> None:
    """Turned round, the set would be what the domain's model understands least."""
    pytest.importorskip("transformers", reason="a causal language model is run by transformers")
    from curation.train.model import save_checkpoint
    from tests.oracles.bits import small_model

    tokenizer = Tokenizer.train(texts(SECURITY, 20, "model"), vocab_size=320)
    folder = tmp_path / "model"
    save_checkpoint(small_model("llama", tokenizer.vocab_size, 96), tokenizer, folder)
    mining = asked(place, methods=("perplexity",), language_model=str(folder))
    build = mining.run(store=tmp_path / "store", workers=0).builds["perplexity"]
    chosen = build.documents(columns=["text", "lm_bits_per_byte"]).collect()
    pool = pl.read_ndjson(place / "pool.jsonl")["text"].unique(maintain_order=True)
    left = pool.filter((pool != "too short") & ~pool.is_in(chosen["text"].implode()))
    batch = pa.record_batch({"text": pa.array(left.to_list(), pa.large_string())})
    others = BitsPerByte(model=str(folder)).annotate(batch)["lm_bits_per_byte"].to_pylist()
    assert len(chosen) + len(others) == 200
    assert 5 < len(chosen) < 50
    assert chosen["lm_bits_per_byte"].max() < min(others) + 1e-3
    assert chosen["lm_bits_per_byte"].mean() < sum(others) / len(others)


def test_the_command_says_what_it_lacks(place: Path, tmp_path: Path) -> None:
    """A person who forgets an option would get a traceback, or a set by another method."""
    words = ("select", "pipelines/mine_domain.py", "--pool", place / "pool.jsonl")
    root = Path(__file__).parents[1]
    wrong = curation(*words, "--target", "absent.jsonl", "--megabytes", "1", cwd=root, check=1)
    assert "absent.jsonl" in wrong.stderr
    target = ("--target", place / "target.jsonl")
    wrong = curation(*words, *target, cwd=root, check=1)
    assert "--tokens 10000000 --tokenizer FILE" in wrong.stderr
    wrong = curation(
        *words, *target, "--megabytes", "1", "--methods", "transport", cwd=root, check=1
    )
    assert "what it needs is not given" in wrong.stderr
    (tmp_path / "few.txt").write_text(texts(SECURITY, 1, "one")[0])
    few = ("--target", tmp_path / "few.txt", "--megabytes", "1", "--methods", "linear")
    assert "classifiers: 10 target examples" in curation(*words, *few, cwd=root, check=1).stderr
    store = tmp_path / "store"
    wrong = curation(*words, *target, "--megabytes", "1", "--store", store, cwd=root, check=1)
    assert "missing" in wrong.stderr
    with pytest.raises(RecipeError, match="'dsirr'") as told:
        asked(place, methods=("dsirr",))
    assert "dsir" in str(told.value.facts["remedy"])


def test_the_methods_are_those_that_the_file_describes(place: Path) -> None:
    """Prose that names a method which is gone sends people after it."""
    listed = {
        line.split()[0]
        for line in (module.__doc__ or "").splitlines()
        if line.startswith("    ") and line.strip()
    }
    table = pl.DataFrame({"domain": ["a"], "estimate": [0.5], "weight": [1.0], "cap": [1.0]})
    table.with_columns(label=pl.lit("include")).write_csv(place / "one.csv")
    made = asked(
        place, judge="http://localhost:1/v1", judge_model="m", estimates=str(place / "one.csv")
    )
    assert listed == made.selectors.keys() | {"perplexity"}
