"""How good a classifier is on texts that it was not trained on, and where to draw the line.

All figures are functions of what it said and what is true, on arrays; they need no package. Terms
are scikit-learn's, and so are the values.

M held-out texts, L labels, K bins
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from curation.errors import RecipeError

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating[Any]]

#: Bins of equal width between 0 and 1 (Guo et al. 2017, arXiv:1706.04599, section 2).
BINS = 10
#: A label of ``many`` holds where its probability is at least this.
HOLDS = 0.5
#: Shares and precisions that the table of thresholds is made for.
KEEP_FRACS = (0.01, 0.05, 0.1, 0.2, 0.5)
PRECISIONS = (0.5, 0.8, 0.9, 0.95, 0.99)
#: The golden section's share of an interval, and how often it is taken.
_GOLDEN, _STEPS = 0.6180339887498949, 48
#: Least and greatest temperature, as logarithms.
_COLDEST, _HOTTEST = -4.0, 4.0


# ---------------------------------------------------------------- labels


def label_figures(said_ML: Floats, truth_ML: Floats, labels: tuple[str, ...]) -> dict[str, Any]:
    """Return the figures of a head of which one label holds.

    said_ML, truth_ML  float[M, L]  probabilities; 1 where the label holds
    """
    best_M, right_M = said_ML.argmax(axis=1), truth_ML.argmax(axis=1)
    chosen_ML = np.zeros(said_ML.shape, dtype=np.bool_)
    chosen_ML[np.arange(len(best_M)), best_M] = True
    sure_M = said_ML.max(axis=1) if len(said_ML) else np.zeros(0)
    figures = {
        "accuracy": _mean(best_M == right_M),
        **_by_label(chosen_ML, truth_ML > 0, labels),
        **reliability(sure_M, best_M == right_M),
    }
    return figures


def tag_figures(said_ML: Floats, truth_ML: Floats, labels: tuple[str, ...]) -> dict[str, Any]:
    """Return the figures of a head whose labels hold independently."""
    chosen_ML, holds_ML = said_ML >= HOLDS, truth_ML > 0
    figures = {
        "accuracy": _mean((chosen_ML == holds_ML).all(axis=1)),
        **_by_label(chosen_ML, holds_ML, labels),
        **reliability(said_ML.ravel(), holds_ML.ravel()),
    }
    precisions = [average_precision(said_ML[:, at], holds_ML[:, at]) for at in range(len(labels))]
    return figures | {"mean_average_precision": _mean(np.array(precisions))}


def _by_label(
    chosen_ML: npt.NDArray[np.bool_], holds_ML: npt.NDArray[np.bool_], labels: tuple[str, ...]
) -> dict[str, Any]:
    """Return precision, recall and F1 of each label, 0 where nothing divides, and their mean F1."""
    both_L = (chosen_ML & holds_ML).sum(axis=0)
    chosen_L, holds_L = chosen_ML.sum(axis=0), holds_ML.sum(axis=0)
    precision_L, recall_L = both_L / np.maximum(chosen_L, 1), both_L / np.maximum(holds_L, 1)
    f1_L = 2 * both_L / np.maximum(chosen_L + holds_L, 1)
    rows = zip(labels, precision_L, recall_L, f1_L, holds_L, strict=True)
    by_label = {
        label: {"precision": float(p), "recall": float(r), "f1": float(f), "count": int(n)}
        for label, p, r, f, n in rows
    }
    return {"macro_f1": _mean(f1_L), "labels": by_label}


def ranking(said_M: Floats, truth_M: Floats) -> dict[str, float]:
    """Return the area under the ROC curve and the average precision of one label."""
    return {
        "auc": area_under_curve(said_M, truth_M > 0),
        "average_precision": average_precision(said_M, truth_M > 0),
    }


def area_under_curve(said_M: Floats, holds_M: npt.NDArray[np.bool_]) -> float:
    """Return how often a text of the label is above one without it; half for a tie."""
    positives = int(holds_M.sum())
    negatives = len(holds_M) - positives
    if not positives or not negatives:
        return float("nan")
    above = ranks(said_M)[holds_M].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def average_precision(said_M: Floats, holds_M: npt.NDArray[np.bool_]) -> float:
    """Return the mean precision at each text of the label, texts of equal answers taken at once."""
    if not holds_M.any():
        return float("nan")
    order = np.argsort(-said_M, kind="stable")
    hits = np.cumsum(holds_M[order])
    (ends,) = np.nonzero(np.append(np.diff(said_M[order]) != 0, True))
    precision, gained = hits[ends] / (ends + 1), np.diff(hits[ends], prepend=0)
    return float((precision * gained).sum() / hits[-1])


# ---------------------------------------------------------------- scores


def score_figures(said_M: Floats, truth_M: Floats) -> dict[str, Any]:
    """Return the figures of a head that gives a number."""
    error_M = said_M.astype(np.float64) - truth_M
    whole = np.rint(np.clip(said_M, truth_M.min(initial=0), truth_M.max(initial=0)))
    return {
        "mean_absolute_error": _mean(np.abs(error_M)),
        "root_mean_square_error": float(np.sqrt(_mean(error_M**2))),
        "spearman": correlation(ranks(said_M), ranks(truth_M)),
        "pearson": correlation(said_M, truth_M),
        "accuracy_rounded": _mean(whole == np.rint(truth_M)),
    }


def ranks(values_M: Floats) -> F64:
    """Return the rank of each value from 1 on; equal values share the mean of theirs."""
    _, inverse, count = np.unique(values_M, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    found: F64 = (last - (count - 1) / 2)[inverse].astype(np.float64)
    return found


def correlation(one_M: Floats, other_M: Floats) -> float:
    """Return Pearson's correlation; NaN where one of them does not vary."""
    one, other = one_M - np.mean(one_M), other_M - np.mean(other_M)
    scale = float(np.sqrt((one.astype(np.float64) ** 2).sum() * (other**2).sum()))
    return float((one * other).sum() / scale) if scale > 0 else float("nan")


# ---------------------------------------------------------------- calibration


def reliability(said_M: Floats, holds_M: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Return the expected calibration error, and the bins that it is made of."""
    bin_M = np.minimum((said_M * BINS).astype(np.int64), BINS - 1)
    count_K = np.bincount(bin_M, minlength=BINS)
    said_K = np.bincount(bin_M, weights=said_M, minlength=BINS) / np.maximum(count_K, 1)
    held_K = np.bincount(bin_M, weights=holds_M, minlength=BINS) / np.maximum(count_K, 1)
    error = float((count_K * np.abs(said_K - held_K)).sum() / max(len(said_M), 1))
    bins = [
        {"count": int(n), "said": float(s), "true": float(t)}
        for n, s, t in zip(count_K, said_K, held_K, strict=True)
    ]
    return {"calibration_error": error, "reliability": bins}


def best_temperature(logit_ML: Floats, truth_ML: Floats, *, exclusive: bool) -> float:
    """Return what to divide outputs by so that the held-out texts are the likeliest.

    Each truth is taken for a little less than sure, one text in all of them being as good as
    unknown (Platt 1999, section 2.2), or where every answer is right the best temperature were 0
    and every probability 0 or 1.

    exclusive  one label holds (a softmax); otherwise each by itself (sigmoids)
    source     Guo et al. 2017, arXiv:1706.04599
    """
    if not len(logit_ML):
        return 1.0
    doubt = 1.0 / (len(logit_ML) + 2)
    shares = truth_ML.shape[1] if exclusive else 2
    wanted_ML = truth_ML * (1 - doubt) + doubt / shares
    loss = _softmax_loss if exclusive else _sigmoid_loss
    logit = logit_ML.astype(np.float64)
    at = _lowest(lambda power: loss(logit / np.exp(power), wanted_ML), _COLDEST, _HOTTEST)
    return round(float(np.exp(at)), 6)


def _softmax_loss(logit_ML: F64, wanted_ML: Floats) -> float:
    most = logit_ML.max(axis=1, keepdims=True)
    total = np.log(np.exp(logit_ML - most).sum(axis=1, keepdims=True)) + most
    return float((wanted_ML * (total - logit_ML)).sum())


def _sigmoid_loss(logit_ML: F64, wanted_ML: Floats) -> float:
    return float((np.logaddexp(0, logit_ML) - wanted_ML * logit_ML).sum())


def _lowest(function: Callable[[float], float], low: float, high: float) -> float:
    """Return where a function with one valley is lowest, by golden sections."""
    one, other = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_one, at_other = function(one), function(other)
    for _ in range(_STEPS):
        if at_one < at_other:
            high, other, at_other = other, one, at_one
            one = high - _GOLDEN * (high - low)
            at_one = function(one)
        else:
            low, one, at_one = one, other, at_other
            other = low + _GOLDEN * (high - low)
            at_other = function(other)
    return (low + high) / 2


# ---------------------------------------------------------------- thresholds


def threshold_for(
    said_M: Floats, truth_M: Floats, *, keep_frac: float = 0.0, precision: float = 0.0
) -> float:
    """Return the least answer to keep.

    keep_frac  keep as near to this share of the texts as equal answers allow, and one at least
    precision  keep as many as can be kept with so many of them being of the label
    """
    if (keep_frac > 0) == (precision > 0) or not 0 < max(keep_frac, precision) <= 1:
        raise RecipeError(
            "a threshold is found for a share to keep or for a precision.",
            found=f"keep_frac={keep_frac}, precision={precision}",
            remedy="one of the two, above 0 and at most 1",
        )
    falling = np.sort(said_M)[::-1]
    if keep_frac:
        return float(falling[max(round(keep_frac * len(falling)), 1) - 1])
    order = np.argsort(-said_M, kind="stable")
    (ends,) = np.nonzero(np.append(np.diff(said_M[order]) != 0, True))
    found = np.cumsum(truth_M[order] > 0)[ends] / (ends + 1)
    (enough,) = np.nonzero(found >= precision)
    if not len(enough):
        raise RecipeError(
            "no threshold reaches this precision on the held-out texts.",
            found=f"{found.max(initial=0.0):.3f} at best, {precision} wanted",
            remedy="a lower precision, or more texts to train on",
        )
    return float(falling[ends[enough[-1]]])


def threshold_table(said_M: Floats, truth_M: Floats, *, graded: bool) -> list[dict[str, float]]:
    """Return thresholds for usual shares and precisions, with what each keeps and how pure it is.

    graded  the truth is a grade: then there is no precision
    """
    wanted = [("keep_frac", value) for value in KEEP_FRACS]
    wanted += [] if graded else [("precision", value) for value in PRECISIONS]
    rows = []
    for name, value in wanted:
        try:
            at = threshold_for(said_M, truth_M, **{name: value})
        except RecipeError:
            continue
        kept = said_M >= np.float32(at)
        row = {name: value, "threshold": at, "kept": _mean(kept)}
        if graded:
            row["mean_grade"] = _mean(truth_M[kept])
        else:
            row["found_precision"] = _mean(truth_M[kept] > 0)
            row["recall"] = float((truth_M[kept] > 0).sum() / max((truth_M > 0).sum(), 1))
        rows.append(row)
    return rows


def _mean(values: npt.NDArray[Any]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


# ---------------------------------------------------------------- words


def describe(report: Mapping[str, Any]) -> str:
    """Return a report as a person reads it."""
    lines: list[str] = []
    for name, figures in report.items():
        lines += _head_lines(name, figures)
    return "\n".join(lines)


_SHOWN = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "auc": "area under the curve",
    "average_precision": "average precision",
    "mean_average_precision": "mean average precision",
    "mean_absolute_error": "mean absolute error",
    "spearman": "Spearman",
    "accuracy_rounded": "accuracy, rounded",
    "calibration_error": "calibration error",
    "temperature": "temperature",
}


def _head_lines(name: str, figures: Mapping[str, Any]) -> list[str]:
    lines = [f"{name}: trained on {figures['trained']:,} texts, {figures['held_out']:,} held out"]
    lines += [
        f"  {shown:<24} {figures[key]:.4f}" for key, shown in _SHOWN.items() if key in figures
    ]
    if "labels" in figures:
        width = max([5, *(len(label) for label in figures["labels"])])
        lines.append(f"  {'label':<{width}}  precision  recall      F1  held out")
        lines += [
            f"  {label:<{width}}  {f['precision']:9.3f}  {f['recall']:6.3f}  {f['f1']:6.3f}"
            f"  {f['count']:8,}"
            for label, f in figures["labels"].items()
        ]
    if "thresholds_for" in figures:
        lines.append(f"  to keep '{figures['thresholds_for']}':")
    for row in figures.get("thresholds", ()):
        wanted = next(iter(row))
        rest = [f"{key} {row[key]:.3f}" for key in list(row)[2:]]
        lines.append(f"  {wanted} {row[wanted]:<5} at >= {row['threshold']:.7g}: {', '.join(rest)}")
    return lines
