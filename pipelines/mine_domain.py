"""One pool, one budget, and every way to find a domain in it: which documents does each choose?

The pool is cleaned of what is too short and of exact copies. Then each method scores it:

    random       by chance, which all others have to beat
    similarity   cosine of hashed words to the mean of the target examples
    dsir         importance weights of runs of words, as a sum over the document
    dsir-mean    the same for each run, so that long documents do not win by length
    fasttext     a classifier of target examples against a sample of the pool, as DCLM's
    linear       the same by logistic regression over hashed runs of words
    bandit       the linear classifier asked about a tenth of the pool, cluster by cluster
    density      sparse regions first: for coverage, and blind to the target
    clusters     equal shares for clusters of the pool: for coverage, and blind to the target
    transport    what brings a model's pretraining sample (--base) nearer to the target
    perplexity   low bits per byte under a language model of the domain (--language-model)
    judge        grades of a model on a server (--judge) for a sample, distilled to a classifier
    correlation  documents of the sources that curation correlate found good (--estimates)

Methods whose option is not given are left out, and so are classifiers for a handful of examples.
"""

from __future__ import annotations

import hashlib
from functools import partial
from typing import Literal

import pyarrow as pa

from curation import (
    BitsPerByte,
    Classifier,
    ClusterBandit,
    ClusterQuota,
    Clusters,
    Density,
    DomainEstimate,
    DsirWeights,
    ExactDuplicates,
    HashedEmbedding,
    Jsonl,
    Judge,
    Mining,
    ModelServer,
    RandomScore,
    Recipe,
    Selector,
    TargetSimilarity,
    TextHash,
    TextSize,
    TokenCount,
    TransportGain,
    col,
    keep,
)
from curation.annotate.classifier_fit import ClassifierSettings, train_classifier
from curation.annotate.labelled import read_build
from curation.errors import RecipeError, nearest
from curation.mining import Pool
from curation.recipe import Step
from curation.score.target import read_target

Kind = Literal["linear", "fasttext"]

#: A classifier learns from so many examples of the target at least.
LEAST_EXAMPLES = 10
#: Documents of the pool that a classifier learns to tell the target from, for each example.
NEGATIVES = 10
#: Share of the pool that the bandit's classifier is asked about.
ASKED_FRAC = 0.1
#: Documents of the pool that the judge grades.
JUDGED = 500


def mine_domain(  # noqa: PLR0913  the flags of the experiment
    *,
    pool: tuple[str, ...],
    target: str,
    tokens: int = 0,
    megabytes: float = 0.0,
    tokenizer: str = "",
    methods: tuple[str, ...] = (),
    min_words: int = 50,
    base: str = "",
    language_model: str = "",
    judge: str = "",
    judge_model: str = "",
    estimates: str = "",
    estimates_by: str = "source",
) -> Mining:
    """Sets of one size that each method chooses from a pool.

    pool         JSON lines to choose from; may be repeated
    target       examples of the domain: JSON lines, Parquet or text files
    tokens       size of each set in tokens of --tokenizer; or
    megabytes    its size in text
    tokenizer    a tokenizer.json, or the folder of a checkpoint with one
    methods      only these; may be repeated
    min_words    shorter documents go
    base         a sample of what the model to be trained has seen, for transport
    language_model  folder of a causal language model of the domain, for perplexity
    judge        address of an OpenAI-compatible server, such as http://localhost:8000/v1
    judge_model  the model's name there
    estimates    table of domains that curation correlate has written
    estimates_by column that holds a document's domain
    """
    text = Jsonl(pool, source_field="source")
    found = selectors(
        target,
        base=base,
        language_model=language_model,
        judge=ModelServer(model=judge_model, base_url=judge) if judge else None,
        estimates=DomainEstimate(table=estimates, key=estimates_by) if estimates else None,
    )
    for name in methods:
        if name not in found:
            raise RecipeError(
                f"there is no method '{name}', or what it needs is not given.",
                present=", ".join(found),
                needed=f"classifiers: {LEAST_EXAMPLES} target examples; others: an option",
                remedy=nearest(name, found),
            )
    return Mining(
        pool=Recipe(source=text, steps=_cleaning(min_words, tokenizer)),
        selectors={name: one for name, one in found.items() if not methods or name in methods},
        budget=_budget(tokens, megabytes, tokenizer),
        target=target,
    )


def selectors(
    target: str,
    *,
    base: str = "",
    language_model: str = "",
    judge: ModelServer | None = None,
    estimates: DomainEstimate | None = None,
) -> dict[str, Selector]:
    """Return every method that can do with what is given, by its name."""
    embed = HashedEmbedding()
    clusters = (embed, Clusters())
    found = {
        "random": Selector(column="random_score", steps=(RandomScore(),)),
        "similarity": Selector(
            column="target_similarity",
            steps=(embed, TargetSimilarity(target=target, embed=embed)),
        ),
        # the pool's own rule says what is too short
        "dsir": Selector(column="dsir_score", steps=(DsirWeights(target=target, min_words=1),)),
        "dsir-mean": Selector(
            column="dsir_log_weight",
            steps=(DsirWeights(target=target, min_words=1, per_ngram=True, target_laplace=0.1),),
        ),
        "density": Selector(column="density_score", steps=(embed, Density())),
        "clusters": Selector(column="quota_score", steps=(*clusters, ClusterQuota())),
    }
    if len(read_target(target)) >= LEAST_EXAMPLES:
        kinds: tuple[Kind, ...] = ("fasttext", "linear")
        for kind in kinds:
            trained = partial(_classifier, target=target, kind=kind)
            found[kind] = Selector(column="domain_prob", prepare=trained)
        found["bandit"] = Selector(column="bandit_score", prepare=partial(_bandit, target=target))
    if base:
        transport = TransportGain(base=base, target=target, embed=embed)
        found["transport"] = Selector(column="transport_score", steps=(embed, transport))
    if language_model:
        found["perplexity"] = Selector(
            column="lm_bits_per_byte", steps=(BitsPerByte(model=language_model),), lowest=True
        )
    if judge is not None:
        found["judge"] = Selector(column="grade_score", prepare=partial(_distilled, judge=judge))
    if estimates is not None:
        found["correlation"] = Selector(column="correlation_score", steps=(estimates,))
    return found


def _cleaning(min_words: int, tokenizer: str) -> list[Step]:
    return [
        TextSize(),
        keep(col("word_count") >= min_words, because="too short"),
        TextHash(),
        ExactDuplicates(),
        keep(col("duplicate_of").is_null(), because="exact duplicate"),
        *([TokenCount(tokenizer=tokenizer)] if tokenizer else []),
    ]


def _budget(tokens: int, megabytes: float, tokenizer: str) -> dict[str, int]:
    if bool(tokens) == bool(megabytes) or bool(tokens) != bool(tokenizer):
        raise RecipeError(
            "a set's size is given in tokens of a tokenizer, or in megabytes of text.",
            found=f"tokens={tokens}, megabytes={megabytes:g}, tokenizer={tokenizer!r}",
            remedy="--tokens 10000000 --tokenizer FILE, or --megabytes 10",
        )
    return {"tokens": tokens} if tokens else {"text_bytes": int(megabytes * 1_000_000)}


# ---------------------------------------------------------------- made of the pool


def _classifier(pool: Pool, *, target: str, kind: Kind) -> list[Step]:
    """Train target examples against a sample of the pool, unless that has been done."""
    examples = read_target(target)
    digest = hashlib.sha256(examples.hashes.tobytes()).hexdigest()
    file = pool.folder / f"{kind}-{digest[:12]}.classifier"
    if not file.exists():
        wanted = examples.text
        others = read_build(pool.sample(NEGATIVES * len(wanted)), ())["text"]
        text = pa.chunked_array([wanted, *(chunk.cast(wanted.type) for chunk in others.chunks)])
        side = ["domain"] * len(wanted) + ["other"] * len(others)
        model = train_classifier(
            text,
            {"domain": pa.array(side, pa.large_string())},
            settings=ClassifierSettings(kind=kind),
            positive="domain",
            say=pool.progress.say,
        )
        model.save(file)
    return [Classifier(model=str(file))]


def _bandit(pool: Pool, *, target: str) -> list[Step]:
    """Ask the linear classifier about a part of the pool, chosen cluster by cluster."""
    [scorer] = _classifier(pool, target=target, kind="linear")
    assert isinstance(scorer, Classifier)
    budget = max(1, int(ASKED_FRAC * pool.build.ledger().rows_out))
    return [
        HashedEmbedding(),
        Clusters(),
        ClusterBandit(scorer=scorer, scorer_column="domain_prob", budget=budget),
    ]


def _distilled(pool: Pool, *, judge: ModelServer) -> list[Step]:
    """Let the judge grade a sample, and a classifier learn its grades."""
    grading = Judge(model=judge)
    graded = pool.sample(JUDGED, grading)
    file = pool.folder / f"judge-{graded.fingerprint}.classifier"
    if not file.exists():
        rows = read_build(graded, ["judge_grade"])
        model = train_classifier(
            rows["text"],
            {"grade": rows["judge_grade"]},
            settings=ClassifierSettings(kind="linear"),
            say=pool.progress.say,
        )
        model.save(file)
    return [Classifier(model=str(file))]
