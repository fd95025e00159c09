"""What a stage asks of a language model, and what it is told: the protocol, and no implementation.

A stage holds a model as a setting: a frozen object that can be pickled, with two methods. Those
that talk to a server stand in ``curation/rewrite/client.py``, those that run a model on this
machine in ``curation/rewrite/local.py``; a user's own is any frozen dataclass with these methods.
One that wants what may not be there (a package, a folder, a GPU) may have a third, ``ready()``: it
raises ResourceError at a glance, before a run reads anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol, runtime_checkable

#: A retry is asked at this temperature at least: at 0 a model says the same again.
RETRY_TEMPERATURE = 0.5
#: What servers say of a reply that the model has ended itself; "" where they say nothing.
WHOLE = ("", "stop", "stop_sequence", "end_turn", "eos", "eos_token")


@dataclass(frozen=True, kw_only=True)
class Request:
    """One conversation to be continued.

    messages      (role, content) in order; role is system, user or assistant
    max_tokens    the reply ends there at the latest
    attempt       0 at first; a higher number is another draw, see ``sampling``
    top_logprobs  how many alternatives to the reply's first token are wanted
    top_p         tokens are drawn from the likeliest that have this share of the probability
    stop          the reply ends before the first of these strings
    json_schema   the reply has to be JSON of this schema, itself JSON; "" for free text. A model
                  that cannot be held to a schema answers freely
    purpose       what is asked for, such as a prompt's id, for the account of what was spent;
                  it decides nothing
    """

    messages: tuple[tuple[str, str], ...]
    max_tokens: int = 512
    attempt: int = 0
    top_logprobs: int = 0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    json_schema: str = ""
    purpose: str = ""

    def facts(self) -> dict[str, object]:
        """Return what decides the reply, as JSON types."""
        facts = asdict(self)
        facts.pop("purpose")
        return facts

    def sampling(self, temperature: float, seed: int) -> tuple[float, int]:
        """Return the temperature and the seed of this attempt, from those of the first."""
        if not self.attempt:
            return temperature, seed
        return max(temperature, RETRY_TEMPERATURE), seed + self.attempt


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a model answered, or why there is no answer.

    finish         stop, length (cut at max_tokens), or what else the server calls it
    first_logprob  token → log probability (nats) of the alternatives to the first token; empty
                   where the server gives none
    error          why this request has no answer; None where it has one
    """

    text: str = ""
    finish: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    first_logprob: tuple[tuple[str, float], ...] = ()
    error: str | None = None

    @property
    def is_cut(self) -> bool:
        """Whether the reply was ended by a limit or a filter, and not by the model."""
        return self.finish not in WHOLE


@runtime_checkable
class Model(Protocol):
    """Answers requests, and tells what it is."""

    def generate(self, requests: Sequence[Request]) -> list[Reply]:
        """Return one reply a request, in their order.

        A request that cannot be answered is a reply with its ``error``. ResourceError where no
        request can be: no server, no such model, no leave to use it.
        """

    def facts(self) -> Mapping[str, object]:
        """Return what decides the replies, as JSON types: a part of the stage's fingerprint.

        ``model`` is among them: the name or the content of the model.
        """
