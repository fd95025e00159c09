"""What was asked of the laws, and what they say: a report that a person can read.

A law that predicts held-out settings worse than a straight line is still shown, with a warning.
"""

from __future__ import annotations

from dataclasses import dataclass

from curation.errors import RecipeError
from curation.mix.critical import BestShare, CriticalLaw, CriticalShare
from curation.mix.fitting import HeldOutError
from curation.mix.laws import MixtureFit

#: Epochs over domain text that are worth nearly as much as new text.
#: Muennighoff et al. 2023, arXiv:2305.16264.
WORTHWHILE_EPOCHS = 4.0
#: Runs below which the interval of a bootstrap over runs is too narrow.
FEW_RUNS = 6
#: How many times larger the error on held-out settings may be than on those that were fitted,
#: before a bootstrap of the fit's own errors is said to show too little.
LARGE_GAP = 5.0


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of the laws.

    domain, general    names of the measures; "" where the table has one of that kind
    parameters         model size asked about; None for the largest that was run
    tokens             training tokens asked about; None for the most that were run
    general_rise_frac  how much general loss may rise over the base's, as a share of it
    base_general       the base's general loss; None to take it from rows with 0 tokens
    domain_tokens      how much domain text there is; None for enough
    max_epochs         how often it may be repeated
    draws, confidence, seed   of the bootstrap
    """

    domain: str = ""
    general: str = ""
    parameters: float | None = None
    tokens: float | None = None
    general_rise_frac: float = 0.03
    base_general: float | None = None
    domain_tokens: float | None = None
    max_epochs: float = WORTHWHILE_EPOCHS
    draws: int = 200
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        faults = {
            "general_rise_frac is 0 or more": self.general_rise_frac >= 0,
            "max_epochs is above 0": self.max_epochs > 0,
            "draws is 20 or more": self.draws >= 20,
            "confidence lies between 0 and 1": 0 < self.confidence < 1,
            "parameters, tokens and domain_tokens are above 0": all(
                value is None or value > 0
                for value in (self.parameters, self.tokens, self.domain_tokens)
            ),
        }
        wrong = [rule for rule, holds in faults.items() if not holds]
        if wrong:
            raise RecipeError("this question cannot be asked.", found=self, remedy=wrong[0])


@dataclass(frozen=True)
class Judged:
    """A law with the errors that it makes on what it has not seen, in the unit of the losses.

    held_out   each setting left out once
    largest    the most tokens left out; None with fewer than 3 token counts
    """

    fit: MixtureFit
    held_out: HeldOutError
    largest: HeldOutError | None


@dataclass(frozen=True)
class Interval:
    """A value and the percentile interval of its bootstrap draws."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Limited:
    """The best share where all domain text is used and general text is added to it.

    share   0..1; edge says whether it is an end of what was run
    tokens  tokens of training in all
    loss    domain loss
    """

    share: float
    edge: str
    tokens: float
    loss: float


@dataclass(frozen=True)
class Critical:
    """The critical mixture ratio by token count, and its law.

    at     tokens → critical share, from curves of the runs
    law    None where fewer than 3 token counts have a critical share between two that were run
    share  the law's at the tokens that were asked about, or what was found there; None for neither
    why    why there is no law, or nothing at all
    """

    at: dict[float, CriticalShare]
    law: CriticalLaw | None
    share: float | None
    why: str


@dataclass(frozen=True)
class Prediction:
    """What the laws say; ``str()`` is a report.

    The intervals speak of runs that differ by chance, not of a law that has the wrong form: the
    errors on what was held out do.

    best            the share of least domain loss within the limit; None where no share is
    share           the best share's interval; None as above
    domain_loss     domain loss at that share
    general_loss    general loss at that share
    infeasible_frac share of the bootstrap draws in which no share was within the limit; they count
                    as the lowest share that was run
    """

    question: Question
    unit: str
    runs: int
    domain: Judged
    general: Judged
    best: BestShare | None
    share: Interval | None
    domain_loss: Interval | None
    general_loss: Interval | None
    infeasible_frac: float
    limited: Limited | None
    critical: Critical
    warnings: tuple[str, ...]

    def losses(
        self, share: float, *, tokens: float | None = None, parameters: float | None = None
    ) -> tuple[float, float]:
        """Return domain and general loss at a share, by default at the tokens and size asked."""
        size = parameters or self.question.parameters or 1.0
        count = tokens or self.question.tokens or 1.0
        domain = self.domain.fit.law.losses(size, count, share)
        return float(domain), float(self.general.fit.law.losses(size, count, 1 - share))

    def __str__(self) -> str:
        asked = self.question
        lines = [
            f"best share of domain text at {asked.parameters:,.0f} parameters and "
            f"{asked.tokens:,.0f} tokens, from {self.runs} runs (losses in {self.unit})",
            *self._best_lines(),
        ]
        if self.limited is not None:
            lines.append(
                f"  limited text   {self.limited.share:.3f} over {self.limited.tokens:,.0f} tokens "
                f"uses all domain text: domain loss {self.limited.loss:.4f}"
            )
        lines.append(f"  critical share {self._critical_line()}")
        for kind, judged in (("domain", self.domain), ("general", self.general)):
            lines += _law_lines(kind, judged)
        lines += [f"  warning  {warning}" for warning in self.warnings]
        return "\n".join(lines)

    def _best_lines(self) -> list[str]:
        if not (self.best and self.share and self.domain_loss and self.general_loss):
            return ["  best share     none that was run keeps general loss within the limit"]
        percent = f"{self.question.confidence:.0%}"
        return [
            f"  best share     {self.share.value:.3f} "
            f"({percent} interval {self.share.low:.3f} to {self.share.high:.3f})",
            f"  domain loss    {self.domain_loss.value:.4f} "
            f"({self.domain_loss.low:.4f} to {self.domain_loss.high:.4f})",
            f"  general loss   {self.general_loss.value:.4f} "
            f"({self.general_loss.low:.4f} to {self.general_loss.high:.4f}), "
            f"limit {self.best.limit:.4f}",
        ]

    def _critical_line(self) -> str:
        critical = self.critical
        found = critical.at.get(self.question.tokens or 0.0)
        if critical.share is None:
            return f"unknown: {critical.why}"
        bound = f"{found.bound} " if found and found.bound and not critical.law else ""
        source = "by its law" if critical.law else f"without a law: {critical.why}"
        return f"{bound}{critical.share:.3f}, {source}"


def _law_lines(kind: str, judged: Judged) -> list[str]:
    held, last = judged.held_out, judged.largest
    lines = [
        f"  {kind} law{'' if kind == 'general' else ' '}    {judged.fit.law}",
        f"    error on {held.settings} settings held out {held.law:.4f} "
        f"(straight line {held.line:.4f}, mean {held.mean:.4f})",
    ]
    if last is not None:
        lines.append(
            f"    error at the most tokens, held out {last.law:.4f} (straight line {last.line:.4f})"
        )
    lines += [f"    {note}" for note in judged.fit.form.notes]
    if judged.fit.loose:
        lines.append(f"    not told apart, read no values: {', '.join(judged.fit.loose)}")
    return lines


def warnings_of(prediction: Prediction) -> list[str]:
    found = [*_law_warnings(prediction), *_reach_warnings(prediction)]
    best = prediction.best
    if best is None:
        found.append("no share that was run keeps general loss within the limit: run smaller ones")
    elif best.edge:
        found.append(
            f"the best share is the {best.edge} that was run or that the text allows: "
            "the optimum may lie beyond it"
        )
    limited, tokens_P = prediction.limited, prediction.domain.fit.points.tokens_P
    if limited and limited.edge:
        found.append(f"for limited text the {limited.edge} share that was run is best")
    if limited and not tokens_P.min() <= limited.tokens <= tokens_P.max():
        found.append(f"for limited text {limited.tokens:,.0f} tokens lie outside of what was run")
    if best and prediction.infeasible_frac:
        frac = prediction.infeasible_frac
        found.append(f"in {frac:.0%} of the draws no share keeps general loss within the limit")
    if prediction.runs < FEW_RUNS:
        found.append(f"{prediction.runs} runs are few: the intervals are too narrow")
    return found


def _law_warnings(prediction: Prediction) -> list[str]:
    found = []
    for kind, judged in (("domain", prediction.domain), ("general", prediction.general)):
        errors = {"held-out settings": judged.held_out, "the most tokens": judged.largest}
        for where, error in errors.items():
            if error is not None and error.worse_than:
                found.append(f"the {kind} law predicts {where} worse than {error.worse_than}")
        if judged.held_out.law > LARGE_GAP * judged.fit.rmse:
            found.append(
                f"the {kind} law misses held-out settings by {judged.held_out.law:.4f} and its own "
                f"points by {judged.fit.rmse:.4f}: the intervals are too narrow"
            )
        if not judged.fit.sees_share():
            found.append(f"the {kind} losses do not fall with the share of {kind} text")
    return found


def _reach_warnings(prediction: Prediction) -> list[str]:
    """Say where the question lies outside of what was run."""
    points, asked = prediction.domain.fit.points, prediction.question
    tokens, size = asked.tokens or 0.0, asked.parameters or 0.0
    law, found = prediction.domain.fit.law, []
    if not points.tokens_P.min() <= tokens <= points.tokens_P.max():
        reach = f"{points.tokens_P.min():,.0f} to {points.tokens_P.max():,.0f} tokens were run"
        what = "is extrapolated" if law.B else "is not predicted: the law has no term of tokens"
        found.append(f"{reach}: {tokens:,.0f} {what}")
    if size not in points.parameters_P:
        what = "is predicted by the law alone" if law.A else "is not: the law has no term of size"
        found.append(f"no run has {size:,.0f} parameters: it {what}")
    return found
