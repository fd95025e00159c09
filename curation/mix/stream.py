"""Batches of a run by their number alone: no state to save, no state to lose.

What a step trains on follows from the token sets, the schedule, the seed and the key; a run that
goes on after a kill asks for the next number. A component's drawn documents are laid end to end and
cut into windows that overlap by one token, so that each token is a target once an epoch. The
windows of an epoch are shuffled: else the parts of one book would fill batch after batch.

Trade-off: the order of all sequences is held in memory, nine bytes a sequence and eight for each
window and drawn document.

B sequences of a batch, T tokens of a sequence, N sequences of the run, W windows of a component
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from curation.errors import RecipeError
from curation.kernels.packing import Stream, gather_windows, mark_shards, scattered
from curation.mix.budget import MAX_EPOCHS, Beyond, Draw, draw, salted
from curation.mix.schedule import Schedule, plan_sequences
from curation.mix.tokens import TokenSet
from curation.store import canonical_json

I64 = npt.NDArray[np.int64]


class Batches:
    """The batches of one run.

    steps        whole batches that the budget has room for
    tokens       targets of all of them, steps * B * T
    fingerprint  16 hex digits of everything that decides what a step trains on
    """

    def __init__(  # noqa: PLR0913  what decides a run, each by its name
        self,
        token_sets: Mapping[str, TokenSet],
        schedule: Schedule,
        *,
        tokens: int,
        sequence_length: int,
        batch_sequences: int,
        seed: int,
        key: str,
        max_epochs: float = MAX_EPOCHS,
        beyond: Beyond = "error",
    ) -> None:
        """Draw the documents and lay out the run.

        token_sets  component → its documents; all made by one tokenizer
        tokens      the budget; a last batch that it has no room for is left out
        seed        decides the order of sequences
        key         decides which documents are drawn, for every component
        max_epochs, beyond   see ``budget.draw``; with ``cap`` the run becomes shorter and keeps
                             its shares
        """
        _check_sizes(tokens, sequence_length, batch_sequences)
        _check_sets(token_sets, schedule)
        self.asked_tokens, self.seed, self.key = tokens, seed, key
        self.sequence_length, self.batch_sequences = sequence_length, batch_sequences
        self.schedule = schedule
        self.steps, drawn = _drawn(
            token_sets,
            schedule,
            tokens // (sequence_length * batch_sequences),
            (batch_sequences, sequence_length),
            {"key": key, "max_epochs": max_epochs, "beyond": beyond},
        )
        self.tokens = self.steps * sequence_length * batch_sequences
        self._parts = {
            name: _Part(token_sets[name], one, (one.tokens - 1) // sequence_length, sequence_length)
            for name, one in drawn.items()
        }
        self._component_N, self._window_N = plan_sequences(
            schedule, self.steps * batch_sequences, seed=seed
        )
        for number, name in enumerate(schedule.names):
            if name in self._parts:
                of_it = self._component_N == number
                order_W = self._parts[name].shuffled(salted("windows", seed, name))
                self._window_N[of_it] = order_W[self._window_N[of_it]]
        self.fingerprint = self._fingerprint()

    def __repr__(self) -> str:
        return f"Batches {self.fingerprint}: {self.steps:,} steps, {self.tokens:,} tokens"

    def batch(self, step: int) -> I64:
        """Return int64[B, T+1]: inputs are [:, :-1], targets are [:, 1:]; IndexError beyond."""
        shape = (self.batch_sequences, self.sequence_length + 1)
        out_BT1 = np.empty(shape, dtype=np.int64)
        for part, row_B, window_B in self._rows(step):
            part.gather(window_B * self.sequence_length, row_B, out_BT1)
        return out_BT1

    def documents(self, step: int) -> list[str]:
        """Return the ids of the documents in a batch, in the order of its sequences."""
        of_row: dict[int, list[str]] = {}
        for part, row_B, window_B in self._rows(step):
            for row, window in zip(row_B.tolist(), window_B.tolist(), strict=True):
                of_row[row] = part.documents(window * self.sequence_length)
        return list(dict.fromkeys(name for row in sorted(of_row) for name in of_row[row]))

    def manifest(self) -> dict[str, Any]:
        """Return what the run is made of, as JSON can hold it."""
        table = self.schedule.table(self.tokens, sequence_length=self.sequence_length)
        return {
            "fingerprint": self.fingerprint,
            "asked_tokens": self.asked_tokens,
            "tokens": self.tokens,
            "steps": self.steps,
            "sequence_length": self.sequence_length,
            "batch_sequences": self.batch_sequences,
            "seed": self.seed,
            "key": self.key,
            "components": {name: part.facts() for name, part in self._parts.items()},
            "schedule": table.to_dicts(),
        }

    def _rows(self, step: int) -> list[tuple[_Part, I64, I64]]:
        """Return each component that a batch has sequences of, their rows and their windows."""
        if not 0 <= step < self.steps:
            raise IndexError(f"step {step} of a run of {self.steps} steps")
        here = slice(step * self.batch_sequences, (step + 1) * self.batch_sequences)
        component_B, window_B = self._component_N[here], self._window_N[here]
        found = []
        for number, name in enumerate(self.schedule.names):
            row_B = np.flatnonzero(component_B == number)
            if len(row_B):
                found.append((self._parts[name], row_B, window_B[row_B]))
        return found

    def _fingerprint(self) -> str:
        facts = {
            "sets": {name: part.token_set.fingerprint for name, part in self._parts.items()},
            "pools": {name: part.draw.pool_tokens for name, part in self._parts.items()},
            "schedule": self.schedule.identity(),
            "steps": self.steps,
            "shape": (self.batch_sequences, self.sequence_length),
            "order": (self.seed, self.key),
        }
        return hashlib.sha256(canonical_json(facts).encode()).hexdigest()[:16]


class _Part:
    """A component of a run: its drawn stream, and how windows are read from it."""

    def __init__(self, token_set: TokenSet, draw: Draw, windows: int, length: int) -> None:
        self.token_set, self.draw = token_set, draw
        self._windows, self._length = windows, length
        self._shards = [
            np.asarray(shard) for shard in token_set.shards
        ]  # memory-mapped all the same
        self._stream = Stream(draw.document_K, draw.start_K1, token_set.shard_D, token_set.start_D)

    def shuffled(self, salt: np.uint64) -> I64:
        """Return int64[W]: the windows, epoch after epoch, each epoch in an order of its own."""
        window_W = np.arange(self._windows, dtype=np.uint64)
        epoch_W = window_W * np.uint64(self._length) // np.uint64(self.draw.pool_tokens)
        return np.lexsort((scattered(window_W, salt), epoch_W))

    def gather(self, begin_B: I64, row_B: I64, out_RT1: I64) -> None:
        """Fill rows of a batch with the windows that begin at these places of the stream."""
        met_X = np.ones(len(self._shards), dtype=np.bool_)
        if len(self._shards) > 1:
            met_X[:] = False
            mark_shards(begin_B, self._length + 1, self._stream, met_X)
        for shard in np.flatnonzero(met_X):
            gather_windows(self._shards[shard], int(shard), begin_B, row_B, self._stream, out_RT1)

    def documents(self, begin: int) -> list[str]:
        """Return the ids of the documents that a window has tokens of."""
        ends = (begin, begin + self._length)
        first, last = np.searchsorted(self.draw.start_K1, ends, side="right") - 1
        ids: list[str] = self.token_set.ids.take(self.draw.document_K[first : last + 1]).to_pylist()
        return ids

    def facts(self) -> dict[str, Any]:
        """Return the part's numbers for the manifest."""
        tokens = self._windows * self._length
        return {
            "token_set": self.token_set.fingerprint,
            "tokens": tokens,
            "documents": self.draw.documents,
            "epochs": tokens / self.draw.pool_tokens,
            "unique_tokens": min(tokens, self.draw.pool_tokens),
            "pool_documents": self.draw.pool_documents,
            "pool_tokens": self.draw.pool_tokens,
        }


def _drawn(
    token_sets: Mapping[str, TokenSet],
    schedule: Schedule,
    steps: int,
    shape: tuple[int, int],
    how: dict[str, Any],
) -> tuple[int, dict[str, Draw]]:
    """Return how many steps there are tokens for, and each component's documents for them."""
    sequences, length = shape
    while steps:
        windows = schedule.tokens_of(steps * sequences)
        unique = schedule.unique_tokens
        drawn = {
            name: draw(
                token_sets[name], tokens=n * length + 1, unique_tokens=unique.get(name), **how
            )
            for name, n in windows.items()
            if n
        }
        scale = min((one.tokens - 1) // length / windows[name] for name, one in drawn.items())
        if scale >= 1:
            return steps, drawn
        steps = min(steps - 1, int(steps * scale))
    raise RecipeError(
        "the data is too small for a single batch.",
        found=", ".join(f"{n}: {token_sets[n].tokens:,} tokens" for n in schedule.names),
        remedy="lower sequence_length or batch_sequences, or beyond='repeat'",
    )


def _check_sizes(tokens: int, sequence_length: int, batch_sequences: int) -> None:
    if min(sequence_length, batch_sequences) < 1 or tokens < sequence_length * batch_sequences:
        raise RecipeError(
            "a run has room for one batch at least.",
            found=f"{tokens:,} tokens, batches of {batch_sequences} x {sequence_length}",
            remedy="raise tokens, or lower sequence_length or batch_sequences",
        )


def _check_sets(token_sets: Mapping[str, TokenSet], schedule: Schedule) -> None:
    schedule.validate(token_sets)
    made_by = {name: token_sets[name].tokenizer_fingerprint for name in schedule.names}
    if len({*made_by.values()}) > 1:
        raise RecipeError(
            "the token sets of one run are made by one tokenizer.",
            found=", ".join(f"{name}: {one}" for name, one in made_by.items()),
            remedy="write them anew with the tokenizer of the model that is trained",
        )
