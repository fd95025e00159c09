"""The parent's side of engines: one process a GPU, kept busy, replaced when it dies or hangs.

Requests are handed out as there is room, neighbours together, so that an engine finds the prompts
that begin alike one after another. What a dead engine has not answered is asked again. A request
that was in flight at two deaths is a suspect; suspects are asked apart, in halves of those whose
engine died with them, until one stands alone. If it takes two engines down by itself, or makes one
hang, it is that row's error. An engine killed from outside finds other requests each time. One
that cannot be replaced is given up, and the others answer what it was asked.

Engines stay up between calls, one pool for each set of settings, and leave with their process.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from typing import Any

from curation.annotate.model import Reply
from curation.errors import CurationError, ResourceError, death, python_path
from curation.rewrite.engine import DYING, FAILED, READY, Asked
from curation.stage import attempt, pulse

#: How often the parent looks around, and says to the engine of the run that it lives.
_POLL_S = 0.5
#: How often a person is told how many requests are done.
_TELL_S = 30.0
#: Loading takes so long at most: reading a large model from a slow disk, compiling its graphs.
_LOAD_S = 3600.0
#: An engine that takes the place of a dead one finds its memory taken for a moment.
_RELOADS = 3
_RELOAD_PAUSE_S = 5.0
#: A process whose connection has ended is given so long to end by itself, and say how.
_DYING_S = 5.0
#: So many deaths without a reply between them are no single request's fault: halving a window of
#: 2,048 suspects down to the last takes 2 + 11 + 2.
MAX_DEATHS = 20
#: Lone deaths that prove a request guilty.
_PROOF = 2
_MESSAGE_CHARS = 300
_LOG_BYTES = 20_000


class Engine:
    """A child process with a model, and what it has been asked and not answered."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        ours, theirs = socket.socketpair()
        self.log = tempfile.TemporaryFile()  # noqa: SIM115  closed by ``end``
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "curation.rewrite.engine", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self.log,
                stderr=self.log,
                env=_environment(settings["gpus"]),
                process_group=0,
            )
        self.connection, self.gpus = Connection(ours.detach()), settings["gpus"]
        self.flight: dict[int, float] = {}  # number of a request → when it was handed over
        self.window = 0  # until it is ready
        self.is_apart = self.is_stalled = False
        self.said = ""
        self.heard_at = time.monotonic()
        self._outbox: SimpleQueue[object] = SimpleQueue()
        threading.Thread(target=self._write, daemon=True).start()
        self._outbox.put((sys.path, dict(settings)))

    def _write(self) -> None:
        """Send from a thread: an engine that hangs does not read, and would stop its parent."""
        while (message := self._outbox.get()) is not None:
            _, error = attempt(self.connection.send, message)
            if error is not None:
                return

    def give(self, asked: Sequence[Asked]) -> None:
        """Hand requests over."""
        now = time.monotonic()
        if not self.flight:
            self.heard_at = now
        self.flight |= {number: now for number, _, _ in asked}
        self._outbox.put(list(asked))

    def hangs(self, stall_s: float) -> bool:
        """Tell whether it has been silent for too long."""
        limit = stall_s if self.window else _LOAD_S
        is_working = bool(self.flight) or not self.window
        return is_working and time.monotonic() - self.heard_at > limit

    def kill(self) -> None:
        """End the process and those that it has started; its connection ends, too."""
        attempt(os.killpg, self.process.pid, signal.SIGKILL)

    def end(self, *, is_dying: bool = False) -> str:
        """Bury the process; return how it died and its last words."""
        if is_dying:
            attempt(self.process.wait, _DYING_S)
        self.kill()
        code = self.process.wait()
        self._outbox.put(None)
        self.connection.close()
        words = self.said or self._last_words()
        self.log.close()
        died = "hung" if self.is_stalled else death(code)
        return f"{died}: {words}" if words else died

    def _last_words(self) -> str:
        """Return the last line that names an error, or the last line."""
        self.log.seek(max(0, self.log.seek(0, os.SEEK_END) - _LOG_BYTES))
        text = self.log.read().decode(errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        named = [line for line in lines if "Error" in line or "error:" in line]
        return (named or lines or [""])[-1][-_MESSAGE_CHARS:]


class Pool:
    """The engines of one set of settings.

    settings  what the child is sent, but for its GPUs; ``kind`` and ``name`` are for messages
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings
        self.places = places(settings["tensor_parallel"]) if settings["uses_gpus"] else [()]
        self.engines: list[Engine] = []
        self.has_loaded = False
        self.failed_loads: Counter[tuple[str, ...]] = Counter()  # in a row
        self._due: dict[tuple[str, ...], float] = {}  # when it is tried again, by time.monotonic
        self._given_up: set[tuple[str, ...]] = set()  # for this call
        self._told: set[tuple[str, ...]] = set()

    def ask(
        self, requests: Sequence[Asked], done: Callable[[int, Reply, float], None], stall_s: float
    ) -> None:
        """Ask all, numbered from 0; ``done`` gets number, reply and seconds of each as it comes."""
        self._given_up.clear()  # each is tried once more
        try:
            _Asking(self, requests, done, stall_s).run()
        except BaseException:
            self.close()  # what is in flight would be answered into the next call
            raise

    def staff(self, wanted: int) -> None:
        """Start engines where there are none and may be one now, up to so many in all."""
        now = time.monotonic()
        closed = self._given_up | {engine.gpus for engine in self.engines}
        for place in self.places:
            is_due = place not in closed and self._due.get(place, now) <= now
            if is_due and len(self.engines) < wanted:
                self.engines.append(Engine({**self.settings, "gpus": place}))

    def loaded(self, place: tuple[str, ...]) -> None:
        """Note that the model has been loaded there."""
        self.has_loaded = True
        self.failed_loads.pop(place, None)
        self._told.discard(place)

    def failed(self, place: tuple[str, ...], said: CurationError | str) -> None:
        """Note that the model could not be loaded there: it is tried again later, or given up.

        ResourceError where no engine is left.
        """
        self.failed_loads[place] += 1
        if self.has_loaded and self.failed_loads[place] <= _RELOADS:
            self._due[place] = time.monotonic() + _RELOAD_PAUSE_S
            return
        self._given_up.add(place)
        is_no_gpus_fault = isinstance(said, CurationError) and not self.has_loaded
        is_new = not self.has_loaded and not self.engines  # the next would not load it either
        if is_no_gpus_fault or is_new or self._given_up.issuperset(self.places):
            raise self._unloadable(said)
        if place not in self._told:
            self._told.add(place)
            where = f"{self.settings['name']}: the engine on GPU {', '.join(place)}"
            told = f"  {where} cannot load the model and is given up: {str(said)[:_MESSAGE_CHARS]}"
            print(told, file=sys.stderr, flush=True)

    def _unloadable(self, said: CurationError | str) -> CurationError:
        if isinstance(said, CurationError):
            return said
        again = " again" if self.has_loaded else ""
        return ResourceError(
            f"{self.settings['kind']} could not load the model{again}.",
            model=self.settings["model"],
            found=said[:_MESSAGE_CHARS],
            remedy=_remedy(said, self.settings["kind"], has_loaded=self.has_loaded),
        )

    def close(self) -> None:
        """End all engines."""
        while self.engines:
            self.engines.pop().end()


class _Asking:
    """One call: what waits, who is suspect, and what has been answered."""

    def __init__(
        self,
        pool: Pool,
        requests: Sequence[Asked],
        done: Callable[[int, Reply, float], None],
        stall_s: float,
    ) -> None:
        self.pool, self.requests, self.done, self.stall_s = pool, requests, done, stall_s
        order = sorted(range(len(requests)), key=lambda n: requests[n][1].messages)
        self.queue, self.groups = deque(order), deque[list[int]]()
        self.deaths: Counter[int] = Counter()
        self.lone_deaths: Counter[int] = Counter()
        self.left, self.fruitless = len(requests), 0
        self.told_at = time.monotonic()

    def run(self) -> None:
        """Work until every request is answered."""
        while self.left:
            self.pool.staff(self.left)
            for engine in self.pool.engines:
                self.feed(engine)
            known = {engine.connection: engine for engine in self.pool.engines}
            for connection in wait(list(known), timeout=_POLL_S):
                self.hear(known[connection])  # type: ignore[index]
            for engine in self.pool.engines:
                if engine.hangs(self.stall_s):
                    engine.is_stalled = True
                    engine.kill()  # its connection ends, and ``hear`` finds out
            pulse()
            self.tell()

    def tell(self) -> None:
        if time.monotonic() - self.told_at < _TELL_S:
            return
        self.told_at = time.monotonic()
        total = len(self.requests)
        state = "" if any(e.window for e in self.pool.engines) else ", the model is being loaded"
        line = f"  {self.pool.settings['name']}: {total - self.left:,} of {total:,} requests{state}"
        print(line, file=sys.stderr, flush=True)

    def feed(self, engine: Engine) -> None:
        """Fill the engine's window; suspects only when all others are handed out, and alone."""
        room = engine.window - len(engine.flight)
        if room <= 0 or (engine.is_apart and engine.flight):
            return
        engine.is_apart = bool(not self.queue and self.groups and not engine.flight)
        if engine.is_apart:
            numbers = self.groups.popleft()
        else:
            numbers = [self.queue.popleft() for _ in range(min(room, len(self.queue)))]
        if numbers:
            engine.give([self.requests[number] for number in numbers])

    def hear(self, engine: Engine) -> None:
        message, error = attempt(engine.connection.recv)
        if error is not None:
            self.lost(engine)
            return
        kind, what = message
        engine.heard_at = time.monotonic()
        if kind == READY:
            engine.window = what
            self.pool.loaded(engine.gpus)
        elif kind == FAILED:
            self.pool.engines.remove(engine)
            engine.end(is_dying=True)
            self.pool.failed(engine.gpus, what)
        elif kind == DYING:
            engine.said = what[:_MESSAGE_CHARS]
        else:
            for number, reply in what:
                self.answered(number, reply, engine.heard_at - engine.flight.pop(number))

    def answered(self, number: int, reply: Reply, seconds: float) -> None:
        self.left -= 1
        self.fruitless = 0
        self.done(number, reply, seconds)

    def lost(self, engine: Engine) -> None:
        """Replace an engine that died, and ask again what it has not answered."""
        self.pool.engines.remove(engine)
        reason = engine.end(is_dying=True)
        if not engine.window:
            self.pool.failed(engine.gpus, reason)
            return
        self.fruitless += 1
        if self.fruitless >= MAX_DEATHS:
            raise ResourceError(
                f"engines of {self.pool.settings['name']} die without a reply.",
                found=f"{self.fruitless} deaths in a row, the last {reason}",
                remedy=_remedy(reason, self.pool.settings["kind"], has_loaded=True),
            )
        flight = list(engine.flight)
        self.deaths.update(flight)
        if engine.is_apart and len(flight) == 1:
            self.judge(flight[0], engine.is_stalled, reason)
        elif engine.is_apart or engine.is_stalled:
            self.halve(flight)
        else:
            suspects = [number for number in flight if self.deaths[number] > 1]
            self.queue.extendleft(n for n in reversed(flight) if self.deaths[n] == 1)
            self.halve(suspects)

    def halve(self, suspects: list[int]) -> None:
        middle = (len(suspects) + 1) // 2
        halves = (suspects[:middle], suspects[middle:])
        self.groups.extendleft(half for half in reversed(halves) if half)

    def judge(self, number: int, hung: bool, reason: str) -> None:
        """Give a request up that took an engine down with nobody beside it, if that is proven."""
        self.lone_deaths[number] += 1
        if hung or self.lone_deaths[number] >= _PROOF:
            print(f"  a request takes the engine down: {reason}", file=sys.stderr, flush=True)
            self.left -= 1
            self.done(number, Reply(error=f"takes the engine down: {reason}"), 0.0)
        else:
            self.groups.appendleft([number])


# ---------------------------------------------------------------- places and deaths


def places(tensor_parallel: int) -> list[tuple[str, ...]]:
    """Return the GPUs of each engine; one engine with none where the machine has none."""
    gpus = visible_gpus()
    if not gpus:
        return [()]
    if len(gpus) < tensor_parallel:
        raise ResourceError(
            f"tensor_parallel={tensor_parallel} wants as many GPUs.",
            found=f"{len(gpus)} to be seen: {', '.join(gpus)}",
            remedy="set tensor_parallel lower, or CUDA_VISIBLE_DEVICES",
        )
    starts = range(0, len(gpus) - tensor_parallel + 1, tensor_parallel)
    return [tuple(gpus[at : at + tensor_parallel]) for at in starts]


def visible_gpus() -> list[str]:
    """Return the GPUs that this process may use, without touching one."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [one.strip() for one in named.split(",") if one.strip() not in ("", "-1")]
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    command = [tool, "--query-gpu=index", "--format=csv,noheader"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    return told.stdout.split() if told.returncode == 0 else []


def _environment(gpus: Sequence[str]) -> dict[str, str]:
    seen = {"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {}
    return {**os.environ, "PYTHONPATH": python_path(), **seen}


def _remedy(said: str, kind: str, *, has_loaded: bool) -> str:
    """Return what helps, as far as the last words tell, and whether the model once was loaded."""
    lower = said.lower()
    if "memory" in lower:
        return "lower gpu_memory_frac, max_tokens, or take a smaller model or tensor_parallel=2"
    if has_loaded:
        return (
            "it had been loaded here before: look whether the GPU is there and free (nvidia-smi), "
            "and run again: the replies so far are kept"
        )
    others = "ModelServer(...) asks a server, TransformersModel(...) runs a small model on the CPU"
    if any(word in lower for word in ("device type", "cuda", "libcu", "gpu", "driver")):
        return f"vLLM finds no GPU here; {others}"
    if kind == "vLLM":
        return f"look whether `vllm serve` takes the folder; {others}"
    return "look whether transformers' AutoModelForCausalLM takes the folder"


_POOLS: dict[tuple[tuple[str, Any], ...], Pool] = {}


def pool_of(settings: Mapping[str, Any]) -> Pool:
    """Return the pool of these settings; its engines start when it is asked."""
    key = tuple(sorted(settings.items()))
    if key not in _POOLS:
        _POOLS[key] = Pool(settings)
    return _POOLS[key]


@atexit.register
def close_all() -> None:
    """End the engines of this process."""
    for pool in _POOLS.values():
        pool.close()
    _POOLS.clear()
