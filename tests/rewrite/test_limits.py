"""The gate and the buckets: never too many at a time or in a minute, and nobody is forgotten."""

from __future__ import annotations

import asyncio
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from curation.rewrite.limits import START, Bucket, Gate

#: One thing that happens at the gate: what, and to which of those there.
STEPS = st.lists(
    st.tuples(
        st.sampled_from(("enter", "alone", "leave", "cancel", "answer", "busy", "die", "wait")),
        st.integers(0, 9),
    ),
    max_size=60,
)


class Guests:
    """Tasks that enter a gate and stay until they are told to leave."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.inside: list[tuple[bool, asyncio.Event]] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.passed = 0

    async def visit(self, rank: int, alone: bool) -> None:
        leave = asyncio.Event()
        async with self.gate.entered(rank, alone=alone):
            self.inside.append((alone, leave))
            self.check()
            try:
                await leave.wait()
            finally:
                self.inside.remove((alone, leave))
        self.passed += 1

    def check(self) -> None:
        assert 1 <= self.gate.limit <= self.gate.most
        assert len(self.inside) <= self.gate.inside <= self.gate.most
        if any(alone for alone, _ in self.inside):
            assert len(self.inside) == 1


async def played(most: int, steps: list[tuple[str, int]]) -> None:
    gate = Gate(most)
    guests = Guests(gate)
    cancelled = 0
    for what, which in steps:
        if what in ("enter", "alone"):
            visit = guests.visit(which - 5, what == "alone")
            guests.tasks.append(asyncio.ensure_future(visit))
        elif what == "leave" and guests.inside:
            guests.inside[which % len(guests.inside)][1].set()
        elif what == "cancel" and guests.tasks:
            cancelled += guests.tasks[which % len(guests.tasks)].cancel()
        elif what == "answer":
            gate.answered()
        elif what == "busy":
            gate.overloaded(time.monotonic())
        elif what == "die":
            gate.died(time.monotonic())
        elif what == "wait":
            await asyncio.sleep(0)
        assert 1 <= gate.limit <= most
    while not all(task.done() for task in guests.tasks):
        before = guests.passed
        for _ in range(6):
            for _, leave in guests.inside:
                leave.set()
            await asyncio.sleep(0)
        assert guests.passed > before or all(task.done() for task in guests.tasks), "forgotten"
    assert gate.inside == 0
    assert all(task.cancelled() or task.exception() is None for task in guests.tasks)
    assert guests.passed >= len(guests.tasks) - cancelled


@given(st.integers(1, 9), STEPS)
@settings(max_examples=150, deadline=None)
def test_the_gate_keeps_its_limit_and_forgets_nobody(
    most: int, steps: list[tuple[str, int]]
) -> None:
    """A run would hang for ever at its last requests, or a server be asked too much at once."""
    asyncio.run(played(most, steps))


def test_a_place_that_a_cancelled_guest_was_given_is_given_on() -> None:
    """Each Ctrl-C in a notebook would leave one request fewer at a time, and then none."""

    async def found() -> None:
        gate = Gate(1)

        async def visit(alone: bool = False) -> None:
            async with gate.entered(alone=alone):
                await asyncio.sleep(0.01)

        async with gate.entered():
            given = asyncio.ensure_future(visit())
            await asyncio.sleep(0)
        given.cancel()  # let in, and not running yet
        await asyncio.wait_for(visit(), 5)
        gate = Gate(4)
        async with gate.entered():
            barring = asyncio.ensure_future(visit(alone=True))
            await asyncio.sleep(0)
            behind = asyncio.ensure_future(visit())
            await asyncio.sleep(0)
            barring.cancel()
            await asyncio.wait_for(behind, 5)

    asyncio.run(found())


def test_the_limit_doubles_at_first_then_grows_by_one_and_halves_once_a_round() -> None:
    """It would take an hour to find what a server can do, or never leave too much alone."""
    gate = Gate(64)
    for _ in range(START):
        gate.answered()
    assert gate.limit == 2 * START
    began = time.monotonic()
    gate.overloaded(began)
    gate.overloaded(began)  # sent before the first was known
    assert gate.limit == START
    for _ in range(START):
        gate.answered()
    assert START + 0.8 < gate.limit <= START + 1
    gate.died(time.monotonic())
    assert gate.limit == 1
    for _ in range(1000):
        gate.answered()
    assert START < gate.limit < 64


def test_those_who_ask_again_go_first() -> None:
    """A request that has met a fault would wait behind ten thousand others each time."""

    async def order() -> list[int]:
        gate, seen = Gate(1), []

        async def visit(rank: int) -> None:
            async with gate.entered(rank):
                seen.append(rank)

        async with gate.entered():
            tasks = [asyncio.ensure_future(visit(rank)) for rank in (0, -1, 0, -3)]
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        return seen

    assert asyncio.run(order()) == [-3, -1, 0, 0]


@given(st.integers(1, 600), st.lists(st.floats(0, 5), max_size=300))
def test_no_minute_has_more_than_its_limit(per_minute: int, gaps: list[float]) -> None:
    """A provider would refuse, or send a bill."""
    bucket, now, sent = Bucket(per_minute), 0.0, []
    for gap in gaps:
        now += gap / 20
        sent.append(now + bucket.take(1, now))
    for n, at in enumerate(sent):
        assert sum(at <= other < at + 60 for other in sent[n:]) <= per_minute + 1


def test_what_was_not_used_is_given_back_and_no_limit_is_none() -> None:
    """Short replies to long limits would leave most of an account unused."""
    bucket = Bucket(6100)
    bucket.take(6100, 0.0)
    bucket.give_back(6000)
    assert bucket.take(10, 0.0) < 1
    assert Bucket(0).take(1e9, 0.0) == 0
