"""Mixtures over time: which share of a run's tokens comes from which component, and when.

A schedule is data. Plain continued pretraining, replay of general text, domain text in the last
part, several epochs on a subset and one domain after the other are all phases with shares, and a
table shows what a run will be made of, to the token.

N sequences of the run, C components
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from curation.errors import RecipeError, nearest
from curation.mix.budget import salted

I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]

#: How far a phase's shares may be from 1, so that thirds can be written.
TOLERANCE = 1e-6
#: Sequences within which the order is left to the seed; longer stretches keep the phase's shares.
BLOCK_SEQUENCES = 16
#: The share of general text that holds forgetting down where domains differ much
#: (Ibrahim et al. 2024, arXiv:2403.08763).
REPLAY_SHARE = 0.25
#: The last part of a run in which domain text is worth most (Blakeney et al. 2024,
#: arXiv:2406.03476: 10 to 20 % of the tokens).
ANNEAL_FRAC = 0.2


@dataclass(frozen=True)
class Phase:
    """A stretch of the run with a fixed mixture.

    until   share of the run's tokens at which it ends; the last phase's is 1
    shares  component → share of the phase's tokens; they sum to 1
    """

    until: float
    shares: Mapping[str, float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "shares", {name: float(s) for name, s in self.shares.items()})
        total = sum(self.shares.values())
        if not abs(total - 1) <= TOLERANCE or min(self.shares.values()) < 0:
            raise RecipeError(
                "a phase's shares are 0 or more and sum to 1.",
                found=f"{dict(self.shares)}, which sum to {total:g}",
            )


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Phases in their order, and how much of a component takes part.

    phases         their ends ascend, and the last one's is 1
    unique_tokens  component → tokens of its subset that takes part; all of it where not named
    """

    phases: tuple[Phase, ...]
    unique_tokens: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "unique_tokens", dict(self.unique_tokens))
        ends = [0.0, *(phase.until for phase in self.phases)]
        if ends[-1] != 1 or not all(start < end for start, end in pairwise(ends)):
            raise RecipeError("the ends of a schedule's phases ascend to 1.", found=str(ends[1:]))
        if len(self.names) > 255:
            raise RecipeError("a schedule has 255 components at most.", found=len(self.names))
        for name, tokens in self.unique_tokens.items():
            if name not in self.names or tokens < 1:
                raise RecipeError(
                    "unique_tokens are 1 or more for a component of the schedule.",
                    found=f"{name!r}: {tokens}",
                    present=", ".join(self.names),
                )

    # ---- the common ones

    @classmethod
    def plain(cls, name: str) -> Schedule:
        """One component from beginning to end."""
        return cls.mixed({name: 1.0})

    @classmethod
    def mixed(cls, shares: Mapping[str, float]) -> Schedule:
        """A fixed mixture from beginning to end."""
        return cls(phases=(Phase(1.0, shares),))

    @classmethod
    def replay(cls, name: str, general: str, share: float = REPLAY_SHARE) -> Schedule:
        """Domain text with a share of general text mixed in throughout."""
        return cls.mixed(_two(general, name, share))

    @classmethod
    def anneal(
        cls, general: str, name: str, last: float = ANNEAL_FRAC, share: float = 1.0
    ) -> Schedule:
        """General text, then domain text as a share of the last part of the run."""
        first = Phase(1 - last, {general: 1.0})
        return cls(phases=(first, Phase(1.0, _two(name, general, share))))

    @classmethod
    def sequential(cls, *names: str) -> Schedule:
        """One component after the other, of equal length; a name may come again."""
        ends = [(n + 1) / len(names) for n in range(len(names))]
        return cls(
            phases=tuple(Phase(end, {name: 1.0}) for end, name in zip(ends, names, strict=True))
        )

    @classmethod
    def epochs(cls, name: str, times: float, tokens: int) -> Schedule:
        """A subset gone through several times.

        tokens  of the whole run: the subset is their ``times``-th part
        source  Guo et al. 2024, arXiv:2406.14833 (several epochs on a subset)
        """
        if times < 1 or tokens < 1:
            raise RecipeError("epochs are 1 or more.", found=f"times={times}, tokens={tokens}")
        phases = (Phase(1.0, {name: 1.0}),)
        return cls(phases=phases, unique_tokens={name: int(-(-tokens // times))})

    def renamed(self, names: Mapping[str, str]) -> Schedule:
        """The same mixture over other components: old name → new name."""
        phases = tuple(
            Phase(phase.until, {names.get(n, n): share for n, share in phase.shares.items()})
            for phase in self.phases
        )
        unique = {names.get(n, n): tokens for n, tokens in self.unique_tokens.items()}
        return Schedule(phases=phases, unique_tokens=unique)

    # ---- what it comes to

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The components that have any share, sorted."""
        return tuple(sorted({n for p in self.phases for n, share in p.shares.items() if share}))

    def validate(self, present: Collection[str], *, who: str = "the schedule") -> None:
        """Raise RecipeError unless there is something by the name of every component."""
        for name in self.names:
            if name not in present:
                raise RecipeError(
                    f"{who} trains on '{name}', which is no set of its data: no such token set.",
                    present=", ".join(present),
                    remedy=nearest(name, present),
                )

    def identity(self) -> dict[str, object]:
        """Return what makes two schedules the same; the order of names does not."""
        phases = [
            [phase.until, {n: phase.shares[n] for n in self.names if phase.shares.get(n)}]
            for phase in self.phases
        ]
        return {"phases": phases, "unique_tokens": dict(sorted(self.unique_tokens.items()))}

    def table(self, tokens: int, *, sequence_length: int = 1) -> pl.DataFrame:
        """Return a row for each phase and component: where it lies, its share, its exact tokens.

        sequence_length  components alternate by so many tokens; the last, incomplete one is left
                         out
        """
        unit, rows = sequence_length, []
        for number, (start, stop, count_C) in enumerate(self.counts(tokens // unit)):
            shares = self.phases[number].shares
            rows += [
                (number, start * unit, stop * unit, name, shares[name], int(count) * unit)
                for name, count in zip(self.names, count_C, strict=True)
                if shares.get(name)
            ]
        whole = dict.fromkeys(("from_tokens", "to_tokens"), pl.Int64)
        kinds = {"phase": pl.Int64, **whole, "component": pl.String, "share": pl.Float64}
        return pl.DataFrame(rows, schema={**kinds, "tokens": pl.Int64}, orient="row")

    def tokens_of(self, total: int) -> dict[str, int]:
        """Return component → its exact tokens in a run of ``total``."""
        count_C = np.sum([count_C for _, _, count_C in self.counts(total)], axis=0)
        return dict(zip(self.names, count_C.tolist(), strict=True))

    def counts(self, total: int) -> list[tuple[int, int, I64]]:
        """Return begin, end and int64[C] counts of each phase in a run of ``total`` things.

        Each count is the share's, rounded; what is left goes to the largest remainders.
        """
        ends = [0, *(int(phase.until * total + 0.5) for phase in self.phases)]
        spans = ((*span, phase) for span, phase in zip(pairwise(ends), self.phases, strict=True))
        return [
            (start, stop, _apportioned(self._shares(phase.shares), stop - start))
            for start, stop, phase in spans
        ]

    def _shares(self, shares: Mapping[str, float]) -> npt.NDArray[np.float64]:
        return np.array([shares.get(name, 0.0) for name in self.names], dtype=np.float64)


def plan_sequences(schedule: Schedule, sequences: int, *, seed: int) -> tuple[U8, I64]:
    """Return which component each sequence of a run comes from, and which of its windows it is.

    Within a phase the components alternate as evenly as their counts allow; then each short block
    is shuffled by the seed, so that the place in a batch says nothing of the component.

    returns  uint8[N]  index into schedule.names
             int64[N]  number of the sequence among those of its component
    """
    from curation.kernels.packing import scattered

    component_N = np.empty(sequences, dtype=np.uint8)
    window_N = np.empty(sequences, dtype=np.int64)
    for number, (start, stop, count_C) in enumerate(schedule.counts(sequences)):
        each = np.repeat(np.arange(len(count_C)), count_C)
        nth = np.arange(len(each)) - np.repeat(np.cumsum(count_C) - count_C, count_C)
        even = np.lexsort((each, (nth + 0.5) / count_C[each]))
        place = np.arange(len(each), dtype=np.uint64)
        luck = scattered(place, salted("interleave", number, seed))
        block = place // np.uint64(BLOCK_SEQUENCES)
        component_N[start:stop] = each[even][np.lexsort((luck, block))]
    for component in range(len(schedule.names)):
        of_it = component_N == component
        window_N[of_it] = np.arange(np.count_nonzero(of_it))
    return component_N, window_N


def _two(name: str, other: str, share: float) -> dict[str, float]:
    """Return a mixture of two, which must be different components."""
    if name == other or not 0 <= share <= 1:
        raise RecipeError(
            "a mixture of two takes two names and a share of 0 to 1.",
            found=f"{name!r}, {other!r}, {share:g}",
        )
    return {name: share, other: 1 - share}


def _apportioned(share_C: npt.NDArray[np.float64], total: int) -> I64:
    """Return whole counts that sum to the total (largest remainder; the first of equals)."""
    exact_C = share_C / share_C.sum() * total
    count_C: I64 = np.floor(exact_C).astype(np.int64)
    left = total - int(count_C.sum())
    most = np.argsort(-(exact_C - count_C), kind="stable")[:left]
    count_C[most] += 1
    return count_C
