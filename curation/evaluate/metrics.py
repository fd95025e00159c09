"""What the log-likelihoods of choices say: DataDecide's measures, and answer bits per byte.

A small model is at chance by accuracy long after its probabilities have begun to tell one corpus
from another, so each measure here but accuracy moves with every nat. All is computed in log space:
the probability of a long choice is far below what a float can hold.

Source: Magnusson et al. 2025, "DataDecide" (ICML), and Gu et al. 2024, "OLMES"
(arXiv:2406.08446), for the normalisation by the unconditional probability. The code published with
DataDecide takes the total per byte from the values per character; here it is per byte.

Arrays end in I (items), I1 (one more) or C (choices of all items, laid end to end).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Bool_C = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ChoiceScores:
    """The log-likelihoods of the choices of a task's items, those left out not among them.

    id_I             ids of the items
    source_I         their sources
    start_I1         item i has the choices [start_I1[i]:start_I1[i + 1]]
    answer_I         place of each right choice among all choices
    log_prob_C       nats, ln P(choice | prompt)
    unconditional_C  nats, ln P(choice | "Answer:"); NaN where it was not asked for
    greedy_C         whether each token of the choice is the likeliest in its place
    tokens_C, chars_C, bytes_C  lengths; characters and UTF-8 bytes of the choice itself, without
                     the space before it
    skipped          why items were left out → how many
    """

    id_I: tuple[str, ...]
    source_I: tuple[str, ...]
    start_I1: I64
    answer_I: I64
    log_prob_C: F64
    unconditional_C: F64
    greedy_C: Bool_C
    tokens_C: I64
    chars_C: I64
    bytes_C: I64
    skipped: Mapping[str, int] = field(default_factory=dict)

    @property
    def choices_I(self) -> I64:  # noqa: N802
        """Number of choices of each item."""
        return np.diff(self.start_I1)


#: Suffix of a name → what a log-likelihood is divided by, or for "uncond" freed of.
NORMS: Mapping[str, Callable[[ChoiceScores], F64]] = {
    "": lambda scores: scores.log_prob_C,
    "per_char": lambda scores: scores.log_prob_C / scores.chars_C,
    "per_token": lambda scores: scores.log_prob_C / scores.tokens_C,
    "per_byte": lambda scores: scores.log_prob_C / scores.bytes_C,
    "uncond": lambda scores: scores.log_prob_C - scores.unconditional_C,
}


def correct_log_prob(log_C: F64, start_I1: I64, answer_I: I64) -> F64:
    """Return the (normalised) log-likelihood of each right choice, nats."""
    return log_C[answer_I]


def correct_prob(log_C: F64, start_I1: I64, answer_I: I64) -> F64:
    """Return the (normalised) probability of each right choice."""
    return np.exp(log_C[answer_I])


def total_prob(log_C: F64, start_I1: I64, answer_I: I64) -> F64:
    """Return the sum of the (normalised) probabilities of each item's choices."""
    return np.exp(_log_total(log_C, start_I1))


def norm_correct_prob(log_C: F64, start_I1: I64, answer_I: I64) -> F64:
    """Return the share of each right choice in the sum over its item's choices."""
    return np.exp(log_C[answer_I] - _log_total(log_C, start_I1))


def margin(log_C: F64, start_I1: I64, answer_I: I64) -> F64:
    """Return by how much each right choice is more probable than the best wrong one."""
    wrong_C = log_C.copy()
    wrong_C[answer_I] = -np.inf
    best_I = np.maximum.reduceat(wrong_C, start_I1[:-1])
    right_I = log_C[answer_I]
    # the difference of two close probabilities, without losing it to rounding
    apart_I = right_I - best_I
    larger_I: F64 = np.exp(np.maximum(right_I, best_I))
    return larger_I * np.sign(apart_I) * -np.expm1(-np.abs(apart_I))


def accuracy(log_C: F64, start_I1: I64, answer_I: I64) -> F64:
    """Return 1 where the right choice is the likeliest, 0 where another is.

    Of several that are equally likely each is chosen as often: a model that cannot tell any choices
    apart is at chance, wherever the right ones stand.
    """
    best_I = np.maximum.reduceat(log_C, start_I1[:-1])
    is_best_C = log_C == np.repeat(best_I, np.diff(start_I1))
    ties_I = np.add.reduceat(is_best_C.astype(np.float64), start_I1[:-1])
    credit_I: F64 = is_best_C[answer_I] / ties_I
    return credit_I


def _log_total(log_C: F64, start_I1: I64) -> F64:
    return np.logaddexp.reduceat(log_C, start_I1[:-1])


def answer_bits_per_byte(scores: ChoiceScores) -> F64:
    """Return bits of each right choice over its UTF-8 bytes; of several right ones, the likeliest.

    ``answer_I`` tells which choice that is.
    """
    nats_I = -scores.log_prob_C[scores.answer_I]
    return nats_I / (math.log(2) * scores.bytes_C[scores.answer_I])


def greedy_match(scores: ChoiceScores) -> F64:
    """Return 1 where greedy decoding begins with the right choice; of several, with any of them.

    For tasks of the kinds cloze and answer, where every choice is a right one.
    """
    return np.maximum.reduceat(scores.greedy_C.astype(np.float64), scores.start_I1[:-1])


def uncond_correct_prob(scores: ChoiceScores, norm: str) -> F64:
    """Return P(right choice | "Answer:"), normalised: what is likely without the question."""
    return np.exp(_unconditional(scores, norm)[scores.answer_I])


def uncond_total_prob(scores: ChoiceScores) -> F64:
    """Return the sum over each item's choices of P(choice | "Answer:")."""
    return np.exp(_log_total(scores.unconditional_C, scores.start_I1))


def _unconditional(scores: ChoiceScores, norm: str) -> F64:
    return NORMS[norm](replace(scores, log_prob_C=scores.unconditional_C))


# ---------------------------------------------------------------- names


@dataclass(frozen=True)
class Metric:
    """A measure of items.

    values         ChoiceScores → float64[I]
    unit           for people
    better         lower or higher
    guessed        whether a guess among the choices has the value one over their number
    unconditional  whether it needs the choices' unconditional probabilities
    """

    values: Callable[[ChoiceScores], F64]
    unit: str
    better: str = "higher"
    guessed: bool = False
    unconditional: bool = False


def _normalised(quantity: Callable[[F64, I64, I64], F64], norm: str, scores: ChoiceScores) -> F64:
    return quantity(NORMS[norm](scores), scores.start_I1, scores.answer_I)


def _metrics() -> dict[str, Metric]:
    found = {}
    units = {
        correct_prob: "probability",
        margin: "probability",
        norm_correct_prob: "share",
        total_prob: "probability",
        accuracy: "share",
        correct_log_prob: "nats",
    }
    for quantity, unit in units.items():
        for norm in NORMS:
            if norm == "uncond" and unit == "probability":
                continue  # a ratio of probabilities, whose mean is that of its few largest
            found["_".join(filter(None, (quantity.__name__, norm)))] = Metric(
                partial(_normalised, quantity, norm),
                unit,
                guessed=quantity in (accuracy, norm_correct_prob),
                unconditional=norm == "uncond",
            )
    for norm in NORMS:
        if norm != "uncond":
            found["_".join(filter(None, ("uncond_correct_prob", norm)))] = Metric(
                partial(uncond_correct_prob, norm=norm), "probability", unconditional=True
            )
    found["uncond_total_prob"] = Metric(uncond_total_prob, "probability", unconditional=True)
    found["answer_bits_per_byte"] = Metric(answer_bits_per_byte, "bits per byte", better="lower")
    return found


#: Name of a metric of a choice task → the metric.
METRICS: Mapping[str, Metric] = _metrics()

#: The same for tasks in which there is no wrong choice.
GOLD_METRICS: Mapping[str, Metric] = {
    "answer_bits_per_byte": METRICS["answer_bits_per_byte"],
    "greedy_match": Metric(greedy_match, "share"),
}
