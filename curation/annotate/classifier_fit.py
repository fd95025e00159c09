"""Training a classifier: texts and what is true of them → a model with its figures.

Two kinds of model. ``linear``: runs of words hashed to buckets, 1 + ln(count) times idf, unit
length, and one of scikit-learn's solvers. ``fasttext``: the published package trains it, on one
thread, so that the same texts give the same model. Both are scored by our kernels.

Trade-off: the linear model sees capitals and small letters as one and cuts punctuation off its
words; fastText takes what stands between white space as it is, as its published models do.

N texts, L labels, F features of all texts, U different buckets, O outputs
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.annotate import classifier_report as figures
from curation.annotate.classifier_head import Head
from curation.annotate.classifier_model import (
    ClassifierModel,
    HeldOut,
    Linear,
    calibrated,
)
from curation.annotate.classifier_targets import (
    Target,
    flat,
    held_out_texts,
    targets_of,
    warn_of_contradictions,
)
from curation.arrow import bytes_and_offsets, is_valid
from curation.errors import RecipeError, TrainingError, nearest, needed

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]
Bool_N = npt.NDArray[np.bool_]

Solver = Literal["logistic", "sgd", "ridge", "svc"]
#: A squared or hinge loss wants this times the strength that a logistic loss wants.
_SQUARED = 0.1


@dataclass(frozen=True, kw_only=True)
class ClassifierSettings:
    """How a classifier is trained.

    kind      linear    logistic regression or the like over hashed runs of words
              fasttext  fastText's own trainer; one head with labels
    ngrams    words of the longest run that is a feature
    buckets   what hashes of runs are taken modulo (fastText: of runs of two words and more)
    held_out  share of the texts that figures, calibration and thresholds are found on
    seed      of the split, and of what a trainer draws
    drop_rare  leave out labels of one example, with a warning

    solver    linear: logistic, sgd (its stochastic form, for many texts), ridge, svc
    strength  linear: how closely texts are followed; scikit-learn's C for logistic
    min_texts linear: a run is a feature if so many texts have it

    epochs, rate, dimensions  fasttext: as its package has them
    quantized                 fasttext: rows as codes, about a tenth of the size
    """

    kind: Literal["linear", "fasttext"] = "linear"
    ngrams: int = 2
    buckets: int = 1 << 18
    held_out: float = 0.1
    seed: int = 0
    drop_rare: bool = False
    solver: Solver = "logistic"
    strength: float = 10.0
    min_texts: int = 2
    epochs: int = 5
    rate: float = 0.1
    dimensions: int = 100
    quantized: bool = False

    def __post_init__(self) -> None:
        for name, known in (("kind", ("linear", "fasttext")), ("solver", get_args(Solver))):
            value = getattr(self, name)
            if value not in known:
                raise RecipeError(
                    f"a classifier has no {name} '{value}'.",
                    known=", ".join(known),
                    remedy=nearest(str(value), known) or f"one of {', '.join(known)}",
                )
        limits = {
            "ngrams": (1, 16),
            "buckets": (2, 1 << 30),
            "held_out": (0, 0.9),
            "seed": (0, 2**31 - 1),
            "strength": (1e-9, 1e9),
            "min_texts": (1, 1 << 30),
            "epochs": (1, 10_000),
            "rate": (1e-9, 10),
            "dimensions": (1, 10_000),
        }
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise RecipeError(
                    f"a classifier cannot be trained with {name}={value}.",
                    wanted=f"{least} to {most}",
                )


@dataclass(frozen=True, eq=False)
class _Texts:
    """Texts as kernels take them."""

    data_B: U8
    offset: I64
    column: pa.Array

    def taken(self, chosen_N: Bool_N) -> _Texts:
        column = self.column.filter(pa.array(chosen_N))
        return _Texts(*bytes_and_offsets(column), column)


def train_classifier(
    text: pa.Array | pa.ChunkedArray,
    heads: Mapping[str, pa.Array | pa.ChunkedArray],
    *,
    settings: ClassifierSettings | None = None,
    positive: str = "",
    groups: pa.Array | None = None,
    say: Callable[[str], None] | None = None,
) -> ClassifierModel:
    """Train a classifier and measure it on texts that it has not seen.

        table = read_labelled("abstracts.jsonl.zst", ["label"])
        model = train_classifier(table["text"], {"topic": table["label"]})
        model.save("topic.classifier")

    text      strings; null and blank ones are left out, with a warning; another warning tells of
              texts that stand with several labels of a head of which one holds
    heads     name → column: strings are one label each, lists of strings are several that hold
              independently, numbers are grades; null where nothing is known
    positive  the label that is looked for: its probability is then what the stage writes
    groups    names of groups that are not to be torn apart by the split, such as an article's;
              texts that are equal never are
    say       is told each step, as a line
    """
    settings, tell = settings or ClassifierSettings(), say or _silent
    column = flat(text).cast(pa.large_string())
    usable_N = _usable(column)
    targets = targets_of(heads, usable_N, positive=positive, drop_rare=settings.drop_rare)
    _check_kind(settings, targets)
    warn_of_contradictions(column, targets)
    group = column if groups is None else flat(groups).cast(pa.large_string())
    if len(group) != len(column):
        raise RecipeError(f"there are {len(group):,} groups for {len(column):,} texts.")
    held_N = held_out_texts(group, targets, held_out=settings.held_out, seed=settings.seed)
    learnt_N = ~held_N & usable_N
    texts = _Texts(*bytes_and_offsets(column), column)
    tell(f"training on {int(learnt_N.sum()):,} texts, {int((held_N & usable_N).sum()):,} held out")
    fit = _fit_linear if settings.kind == "linear" else _fit_fasttext
    model = fit(texts.taken(learnt_N), [_part(t, learnt_N) for t in targets], settings)
    if not (held_N & usable_N).any():
        return model
    tell("measuring on the texts held out")
    tested_N = held_N & usable_N
    measured = _measured(model, texts.taken(tested_N), [_part(t, tested_N) for t in targets])
    for target in targets:
        measured.report[target.head.name]["trained"] = int((target.labelled_N & learnt_N).sum())
    return measured


def _silent(_: str) -> None:
    pass


def _usable(column: pa.Array) -> Bool_N:
    blank = pc.equal(pc.utf8_trim_whitespace(column), "")
    usable_N = is_valid(column) & ~np.asarray(pc.fill_null(blank, True).to_numpy(False), np.bool_)
    if not usable_N.any():
        raise RecipeError("there is no text to train on.", found=f"{len(column):,} empty rows")
    if not usable_N.all():
        warnings.warn(f"{int((~usable_N).sum()):,} texts are empty and left out", stacklevel=3)
    return usable_N


def _check_kind(settings: ClassifierSettings, targets: list[Target]) -> None:
    scores = [target.head.name for target in targets if target.head.kind == "score"]
    if settings.kind == "fasttext" and (scores or len(targets) > 1):
        raise RecipeError(
            "fastText learns one head with labels.",
            found=f"grades '{scores[0]}'" if scores else f"{len(targets)} heads",
            remedy="kind='linear' (--model linear)",
        )


def _part(target: Target, chosen_N: Bool_N) -> Target:
    return Target(target.head, target.truth_NL[chosen_N], target.labelled_N[chosen_N])


# ---------------------------------------------------------------- linear


def _fit_linear(
    texts: _Texts, targets: list[Target], settings: ClassifierSettings
) -> ClassifierModel:
    bucket_U, idf_U, features = _features(texts, settings)
    weights, biases = [], []
    for target in targets:
        known_N = np.flatnonzero(target.labelled_N)
        fitted = _fit_head(features[known_N], target.truth_NL[known_N], target.head, settings)
        weights.append(fitted[0])
        biases.append(fitted[1])
    row_UX = np.vstack([idf_U[None], *weights]).T.astype(np.float32)
    inner = Linear(
        bucket_U,
        np.ascontiguousarray(row_UX),
        np.concatenate(biases).astype(np.float32),
        settings.ngrams,
        settings.buckets,
    )
    return ClassifierModel(tuple(t.head for t in targets), inner, settings=asdict(settings))


def _features(texts: _Texts, settings: ClassifierSettings) -> tuple[U32, F32, Any]:
    """Return the buckets that are features, their idf, and the texts as sparse rows of length 1."""
    from curation.kernels.hashed_ngrams import WORDPUNCT, bucket_counts, hashed_ngrams
    from curation.kernels.linear import SEED

    scipy_sparse = needed("scipy.sparse", "classify")
    runs = hashed_ngrams(
        texts.data_B, texts.offset, settings.ngrams, settings.buckets, WORDPUNCT, SEED
    )
    start, bucket_F, count_F = bucket_counts(*runs)
    texts_M = np.bincount(bucket_F, minlength=settings.buckets)
    (bucket_U,) = np.nonzero(texts_M >= settings.min_texts)
    if not len(bucket_U):
        raise RecipeError(
            "no run of words is in enough texts to be a feature.",
            found=f"min_texts={settings.min_texts}, {len(texts.column):,} texts",
            remedy="a lower min_texts",
        )
    idf_U = np.log((1 + len(texts.column)) / (1 + texts_M[bucket_U])) + 1
    shape = (len(texts.column), settings.buckets)
    counts = scipy_sparse.csr_matrix((count_F, bucket_F.astype(np.int64), start), shape=shape)
    counts = counts[:, bucket_U]
    counts.data = (1 + np.log(counts.data)).astype(np.float64)
    features = counts.multiply(idf_U[None]).tocsr()
    length_N = np.sqrt(np.asarray(features.multiply(features).sum(axis=1)).ravel())
    scale = np.repeat(1 / np.maximum(length_N, 1e-12), np.diff(features.indptr))
    features.data *= scale
    return bucket_U.astype(np.uint32), idf_U.astype(np.float32), features


def _fit_head(
    features: Any, truth_NL: F32, head: Head, settings: ClassifierSettings
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return a head's weights and biases: float64[O, U], float64[O]."""
    if head.kind == "one":
        return _solved(features, truth_NL.argmax(axis=1), "one", settings)
    kind = "one" if head.kind == "many" else "score"
    parts = [_solved(features, truth_L, kind, settings) for truth_L in truth_NL.T]
    return np.vstack([weight for weight, _ in parts]), np.concatenate([bias for _, bias in parts])


def _solved(
    features: Any, truth_N: npt.NDArray[Any], kind: str, settings: ClassifierSettings
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    if kind == "one" and len(np.unique(truth_N)) < 2:
        raise RecipeError(
            "a label holds for every text that is trained on.",
            found=f"{len(truth_N):,} texts",
            remedy="more texts of which it does not hold",
        )
    solver = _solver(kind, settings, len(truth_N))
    with warnings.catch_warnings():
        warnings.simplefilter("error", needed("sklearn.exceptions", "classify").ConvergenceWarning)
        try:
            solver.fit(features, truth_N)
        except Warning as warning:
            raise TrainingError(
                f"the solver {settings.solver} does not come to an end.",
                found=str(warning).partition("\n")[0],
                remedy="a lower strength, or another solver",
            ) from warning
    return np.atleast_2d(solver.coef_), np.atleast_1d(solver.intercept_)


def _solver(kind: str, settings: ClassifierSettings, texts: int) -> Any:
    """Return scikit-learn's solver for labels (one) or grades (score)."""
    models, svm = needed("sklearn.linear_model", "classify"), needed("sklearn.svm", "classify")
    strength, seed = settings.strength, settings.seed
    gentle = {"alpha": 1 / (strength * texts), "random_state": seed, "max_iter": 200}
    ridge = {"alpha": 1 / (_SQUARED * strength), "solver": "sparse_cg", "random_state": seed}
    if kind == "score":
        if settings.solver == "sgd":
            return models.SGDRegressor(**gentle)
        if settings.solver == "svc":
            return svm.LinearSVR(C=_SQUARED * strength, random_state=seed, max_iter=10_000)
        return models.Ridge(**ridge)
    if settings.solver == "sgd":
        return models.SGDClassifier(loss="log_loss", **gentle)
    if settings.solver == "svc":
        return svm.LinearSVC(C=_SQUARED * strength, random_state=seed, max_iter=10_000)
    if settings.solver == "ridge":
        return models.RidgeClassifier(**ridge)
    return models.LogisticRegression(C=strength, max_iter=1000)


# ---------------------------------------------------------------- fastText


def _fit_fasttext(
    texts: _Texts, targets: list[Target], settings: ClassifierSettings
) -> ClassifierModel:
    """Train with the package; the labels in its file are numbers, and the head has the names."""
    from curation.annotate.fasttext_model import parse_model
    from curation.annotate.fasttext_training import fasttext_lines, train_fasttext

    (target,) = targets
    head = target.head
    holds_NL = (target.truth_NL > 0) & target.labelled_N[:, None]
    options = {
        "lr": settings.rate,
        "epoch": settings.epochs,
        "dim": settings.dimensions,
        "wordNgrams": settings.ngrams,
        "bucket": settings.buckets if settings.ngrams > 1 else 0,
        "loss": "softmax" if head.kind == "one" else "ova",
        "seed": settings.seed + 1,  # its generator takes 0 for 1
    }
    lines = fasttext_lines(texts.column, holds_NL, settings.seed)
    source = train_fasttext(lines, options, quantized=settings.quantized)
    inner = parse_model("the trained model", np.frombuffer(source, dtype=np.uint8))
    labels = tuple(head.labels[int(number)] for number in inner.labels)
    head = replace(head, labels=labels)
    return ClassifierModel((head,), inner, source, settings=asdict(settings))


# ---------------------------------------------------------------- figures


def _measured(model: ClassifierModel, texts: _Texts, targets: list[Target]) -> ClassifierModel:
    """Return the model calibrated on held-out texts, with its figures and what it said of them."""
    logits, _ = model.logits(texts.data_B, texts.offset[:-1], texts.offset[1:])
    heads, report, held_out = [], {}, {}
    order = {target.head.name: target for target in targets}
    for head in model.heads:
        target = order[head.name]
        places = [target.head.labels.index(label) for label in head.labels] or [0]
        truth_ML = target.truth_NL[target.labelled_N][:, places]
        logit_ML = logits[head.name][target.labelled_N]
        head = replace(head, temperature=_temperature(logit_ML, truth_ML, head))
        said_ML = np.ascontiguousarray(calibrated(logit_ML, head))
        heads.append(head)
        held_out[head.name] = HeldOut(said_ML, np.ascontiguousarray(truth_ML))
        report[head.name] = _figures(logit_ML, truth_ML, head)
    return replace(model, heads=tuple(heads), report=report, held_out=held_out)


def _temperature(logit_ML: F32, truth_ML: F32, head: Head) -> float:
    if head.kind == "score" or not len(logit_ML):
        return 1.0
    return figures.best_temperature(logit_ML, truth_ML, exclusive=head.kind == "one")


def _figures(logit_ML: F32, truth_ML: F32, head: Head) -> dict[str, Any]:
    """Return a head's figures; of calibration, those of each half at the other's temperature."""
    facts: dict[str, Any] = {"held_out": len(logit_ML)}
    if not len(logit_ML):
        return facts
    said_ML = calibrated(logit_ML, head)
    if head.kind == "score":
        said_M, truth_M = said_ML[:, 0], truth_ML[:, 0]
        table = figures.threshold_table(said_M, truth_M, graded=True)
        return facts | figures.score_figures(said_M, truth_M) | {"thresholds": table}
    crossed_ML = np.empty_like(said_ML)
    half_M = np.arange(len(logit_ML)) % 2 == 0
    for fitted_M in (half_M, ~half_M):
        cross = _temperature(logit_ML[fitted_M], truth_ML[fitted_M], head)
        crossed_ML[~fitted_M] = calibrated(logit_ML[~fitted_M], replace(head, temperature=cross))
    figure = figures.label_figures if head.kind == "one" else figures.tag_figures
    facts |= figure(crossed_ML, truth_ML, head.labels) | {"temperature": head.temperature}
    if head.positive or head.is_pair:
        at = head.labels.index(head.positive or head.labels[-1])
        facts |= figures.ranking(said_ML[:, at], truth_ML[:, at])
        facts["thresholds_for"] = head.labels[at]
        facts["thresholds"] = figures.threshold_table(said_ML[:, at], truth_ML[:, at], graded=False)
    return facts
