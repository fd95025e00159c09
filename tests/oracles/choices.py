"""DataDecide's measures of one item, as the paper has them: exponentials, sums and a maximum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Choice(NamedTuple):
    log_prob: float
    unconditional: float
    tokens: int
    chars: int
    bytes: int


def normalised(choice: Choice, norm: str, log_prob: float) -> float:
    if norm == "uncond":
        return log_prob - choice.unconditional
    length = {"": 1, "per_token": choice.tokens, "per_char": choice.chars,
              "per_byte": choice.bytes}[norm]  # fmt: skip
    return log_prob / length


def measures(choices: Sequence[Choice], answer: int) -> dict[str, float]:
    """Return the value of every measure of an item."""
    found = {}
    for norm in ("", "per_char", "per_token", "per_byte", "uncond"):
        logs = [normalised(choice, norm, choice.log_prob) for choice in choices]
        probs = [math.exp(log) for log in logs]
        wrong = [prob for place, prob in enumerate(probs) if place != answer]
        best = [place for place, log in enumerate(logs) if log == max(logs)]
        values = {
            "correct_log_prob": logs[answer],
            "norm_correct_prob": probs[answer] / sum(probs),
            "accuracy": (answer in best) / len(best),
        }
        if norm != "uncond":
            values["correct_prob"] = probs[answer]
            values["margin"] = probs[answer] - max(wrong)
            values["total_prob"] = sum(probs)
            alone = normalised(choices[answer], norm, choices[answer].unconditional)
            values["uncond_correct_prob"] = math.exp(alone)
        found |= {f"{name}_{norm}".rstrip("_"): value for name, value in values.items()}
    found["uncond_total_prob"] = sum(math.exp(choice.unconditional) for choice in choices)
    right = choices[answer]
    found["answer_bits_per_byte"] = -right.log_prob / math.log(2) / right.bytes
    return found
