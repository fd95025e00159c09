"""Mining: how well each selector finds one domain's documents inside other text.

Issue 6. Cybersecurity documents are hidden among news, medicine and pieces of books at 1:20, and
200 other documents of cybersecurity are given as the target. No document of the target stands in
the pool, and none in it twice. Every selector of pipelines/mine_domain.py scores the same pool.
Average precision and the recall among as many documents as there are relevant ones are measured
over three draws of the pool and the target; the median and the range are shown. Chance gives 1/21.
Perplexity and perplexity correlation train models first, and are measured on the first draw alone.

What asks a language model for grades is not here: there is none on the machines that this runs on.
Coverage methods do not look for a domain, and stand here for comparison.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import statistics
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import zstandard

from benchmarks.measure import Report, arguments, records, spread
from curation import (
    Ablation,
    Arm,
    Base,
    Chunk,
    Classifier,
    ClassifierSettings,
    Clusters,
    DomainEstimate,
    HashedEmbedding,
    Jsonl,
    Mining,
    Recipe,
    Schedule,
    Selector,
    Training,
    col,
    keep,
    train_classifier,
)
from curation.ablate.base import Workshop, prepare_base
from curation.ablate.correlations import correlation_tables
from curation.ablate.results import models
from curation.ablate.run import run_ablation
from curation.engine.progress import PlainProgress
from curation.mining import Pool
from curation.recipe import Step
from curation.score.domains import (
    CorrelationSettings,
    correlated_domains,
    measured_models,
    read_domain_table,
)
from curation.store import Store
from pipelines.mine_domain import mine_domain

#: Relevant documents in a pool, and how many others there are for each.
RELEVANT, OTHERS = 250, 20
TARGETS = 200
#: Pieces of books are of the size of the other documents.
PIECE_CHARS = 1500
LEAST_CHARS = 200
#: What perplexity correlation is computed from: clusters of the pool stand for domains, small
#: models on mixtures of a few of them for the models of others.
CLUSTERS, MODELS, MIXED, MEASURED = 24, 16, 3, 12
MODEL_TOKENS, ARM_TOKENS = 200_000, 50_000
#: Stands for no score, below all others.
LAST = -1e300
#: Selectors of which nothing is expected: those that do not look for a domain, and perplexity,
#: which says how well a text is foretold more than what it is about.
NO_BAR = ("random", "density", "clusters", "perplexity")


def by_hash(texts: list[str], seed: int) -> list[str]:
    """Return different texts in an order that a seed decides."""
    salted = {t: hashlib.blake2b(f"{seed} {t}".encode(), digest_size=8).digest() for t in texts}
    return sorted(salted, key=salted.__getitem__)


def long_enough(name: str) -> list[str]:
    return [r["text"] for r in records(name) if len(r["text"]) >= LEAST_CHARS]


def pieces(name: str) -> Iterator[str]:
    for record in records(name):
        text = record["text"]
        yield from (text[i : i + PIECE_CHARS] for i in range(0, len(text), PIECE_CHARS * 15))


class Texts:
    """The texts that pools are drawn from, read once."""

    def __init__(self) -> None:
        self.security = long_enough("domains/cybersecurity.jsonl.zst")
        self.others = {
            "news": long_enough("text/wikinews.jsonl.zst"),
            "medicine": long_enough("domains/medicine.jsonl.zst"),
            "books": list(pieces("text/books.jsonl.zst")),
        }

    def write(self, folder: Path, seed: int, relevant: int) -> None:
        """Write pool, target and a sample of general text; the sample is not in the pool."""
        security = by_hash(self.security, seed)
        rows = [("security", text) for text in security[:relevant]]
        share = relevant * OTHERS // len(self.others)
        base = []
        for name, texts in self.others.items():
            ordered = by_hash(texts, seed)
            share_here = min(share, len(ordered) * 3 // 4)
            rows += [(name, text) for text in ordered[:share_here]]
            base += [(name, text) for text in ordered[share_here : share_here + 300]]
        missing = relevant * (1 + OTHERS) - len(rows)
        news = by_hash(self.others["news"], seed)
        rows += [("news", text) for text in news[share : share + missing]]
        base = [row for row in base if row not in set(rows)]
        write_jsonl(folder / "pool.jsonl.zst", rows)
        write_jsonl(folder / "target.jsonl", [("security", t) for t in security[-TARGETS:]])
        write_jsonl(folder / "base.jsonl", base)


def write_jsonl(path: Path, rows: list[tuple[str, str]]) -> None:
    lines = "".join(json.dumps({"source": s, "text": t}) + "\n" for s, t in rows).encode()
    path.write_bytes(zstandard.compress(lines) if path.suffix == ".zst" else lines)


def average_precision(relevant: Any, score: Any) -> tuple[float, float]:
    """Return average precision, and recall among as many as are relevant; ties at their mean."""
    from sklearn.metrics import average_precision_score

    found = average_precision_score(relevant, score)
    count = int(relevant.sum())
    edge = np.sort(score)[::-1][count - 1]
    above, tied = score > edge, score == edge
    share = (count - above.sum()) / tied.sum()
    return float(found), float((relevant & above).sum() + share * (relevant & tied).sum()) / count


def language_model(folder: Path) -> str:
    """Train a small model on the target and on general text, half and half; return its folder."""
    texts = {"target": folder / "target.jsonl", "general": folder / "base.jsonl"}
    base = Base(
        data={name: Recipe(source=Jsonl(str(path)), steps=[]) for name, path in texts.items()},
        schedule=Schedule.mixed({"target": 0.5, "general": 0.5}),
        preset="0.5M",
        training=Training(tokens=MODEL_TOKENS, threads=2),
    )
    return str(prepare_base(base, Workshop(Store(folder / "models"))).folder)


def correlated(folder: Path, mining: Mining) -> dict[str, Selector]:
    """Train small models on mixtures of the pool's clusters; return what their losses choose.

    A cluster is a domain, an arm a model, and its bits per byte on the target the error.
    """
    embedded = (HashedEmbedding(), Clusters(clusters=CLUSTERS))
    recipe = dataclasses.replace(mining.pool, steps=[*mining.pool.steps, *embedded])
    rows = recipe.run(store=folder / "store").documents(columns=["text", "cluster_id"]).collect()
    names = write_clusters(folder, rows)
    run_ablation(arms(folder, names), store=folder / "models", progress=PlainProgress())
    tables = correlation_tables(models(folder / "models"), benchmarks=["target/bits_per_byte"])
    losses = tables.losses.filter(pl.col("id").is_in(names))
    measured = measured_models(losses, tables.errors, ["target/bits_per_byte"])
    sizes = dict(rows.group_by(pl.col("cluster_id").cast(pl.String)).len().iter_rows())
    found = correlated_domains(measured, CorrelationSettings(keep=2 / (1 + OTHERS)), sizes)
    found.write(folder / "estimates.csv")
    table = DomainEstimate(table=str(folder / "estimates.csv"), key="cluster_id")
    return {
        "correlation (clusters)": Selector(column="correlation_score", steps=(*embedded, table)),
        "correlation (pages)": Selector(
            column="label_prob",
            prepare=partial(page_classifier, rows=rows, estimates=folder / "estimates.csv"),
        ),
    }


def page_classifier(pool: Pool, *, rows: pl.DataFrame, estimates: Path) -> list[Step]:
    """Let a classifier of pages learn which domains are included, as the paper does."""
    file = pool.folder / "pages.classifier"
    labels = read_domain_table(str(estimates)).select("domain", "label")
    named = rows.with_columns(domain=pl.col("cluster_id").cast(pl.String))
    labelled = named.join(labels, on="domain").to_arrow()
    settings = ClassifierSettings(kind="fasttext")
    model = train_classifier(
        labelled["text"], {"label": labelled["label"]}, settings=settings, positive="include"
    )
    model.save(file)
    return [Classifier(model=str(file))]


def write_clusters(folder: Path, rows: pl.DataFrame) -> list[str]:
    """Write texts of each cluster: those to train on, and some to measure; return the names."""
    found = rows.drop_nulls().with_columns(source=pl.col("cluster_id").cast(pl.String))
    place = pl.int_range(pl.len()).over("source")
    counts = found.group_by("source").len().filter(pl.col("len") > 2 * MEASURED)
    found = found.filter(pl.col("source").is_in(counts["source"].to_list()))
    for name, part in (("measured", place < MEASURED), ("trained", place >= MEASURED)):
        chosen = found.filter(part).select("source", "text")
        write_jsonl(folder / f"{name}.jsonl", list(chosen.iter_rows()))
    return sorted(counts["source"])


def arms(folder: Path, names: list[str]) -> Ablation:
    """Return models on equal mixtures of a few clusters each, drawn by chance."""
    rng = np.random.default_rng(0)
    mixtures = [sorted(rng.choice(names, MIXED, replace=False)) for _ in range(MODELS)]
    text = Jsonl(str(folder / "trained.jsonl"), source_field="source")
    data = {
        name: Recipe(source=text, steps=[keep(col("source") == name, because="other cluster")])
        for name in names
    }
    measured = Jsonl(str(folder / "measured.jsonl"), source_field="source")
    target = Jsonl(str(folder / "target.jsonl"), source_field=None)
    general = Recipe(source=Jsonl(str(folder / "base.jsonl")), steps=[])
    return Ablation(
        base=Base(
            data={"general": general},
            preset="0.5M",
            training=Training(tokens=MODEL_TOKENS, threads=2),
        ),
        data=data,
        arms=[
            Arm(
                name=f"{number} {' '.join(mixture)}",
                schedule=Schedule.mixed(dict.fromkeys(mixture, 1 / MIXED)),
            )
            for number, mixture in enumerate(mixtures)
        ],
        training=Training(tokens=ARM_TOKENS, learning_rate=1e-3),
        repetitions=1,
        held_out={
            "clusters": Recipe(source=measured, steps=[Chunk(max_chars=700)]),
            "target": Recipe(source=target, steps=[Chunk(max_chars=700)]),
        },
        domain=("target",),
        beyond="repeat",
        most_items=None,
        keep_models=False,
    )


def measured(folder: Path, dear: bool) -> dict[str, tuple[float, float]]:
    """Return average precision and recall of every selector on one pool.

    dear  those too that train models
    """
    mining = mine_domain(
        pool=(str(folder / "pool.jsonl.zst"),),
        target=str(folder / "target.jsonl"),
        base=str(folder / "base.jsonl"),
        language_model=language_model(folder) if dear else "",
        megabytes=0.1,
        min_words=1,
    )
    if dear:
        more = correlated(folder, mining)
        mining = dataclasses.replace(mining, selectors={**mining.selectors, **more})
    table = mining.scores(store=folder / "store", progress=PlainProgress())
    pool = mining.pool.run(store=folder / "store").documents(columns=["id", "source"]).collect()
    relevant = (table.join(pool, on="id", maintain_order="left")["source"] == "security").to_numpy()
    return {
        name: average_precision(relevant, table[name].fill_null(LAST).to_numpy())
        for name in mining.selectors
    }


def main() -> None:
    options = arguments(__doc__ or "")
    report = Report("selection_mining: 200 examples, 1 relevant document in 21", issue=6)
    texts = Texts()
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in range(1 if options.quick else 3):
        dear = seed == 0 and not options.quick
        with tempfile.TemporaryDirectory() as folder:
            texts.write(Path(folder), seed, 40 if options.quick else RELEVANT)
            for name, figures in measured(Path(folder), dear).items():
                found.setdefault(name, []).append(figures)
    chance = statistics.mean(precision for precision, _ in found["random"])
    by_precision = sorted(found, key=lambda name: -statistics.mean(p for p, _ in found[name]))
    for name in by_precision:
        precision, recall = ([figures[i] for figures in found[name]] for i in (0, 1))
        wanted = "" if name in NO_BAR else "better than random, ours"
        better = statistics.mean(precision) > chance
        shown = f"average precision {spread(precision)}, recall {spread(recall)}"
        if not better:
            shown += ", worse than random" if name != "random" else ""
        report.add(name, shown, wanted, better or name in NO_BAR)
    report.finish(options.check)


if __name__ == "__main__":
    main()
