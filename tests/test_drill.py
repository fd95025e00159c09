"""The drill: kills, crashes, hangs, Ctrl-C and full disks, and the store is as if none had been."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from curation import Build
from curation.audit import check_store
from curation.store import Store
from tests.conftest import (
    command,
    curation,
    environment,
    is_worker,
    snapshot,
    wait_until,
    workers_of,
    write_jsonl,
    write_words,
)

#: A recipe with a phase of every kind; its stages are slow, or misbehave where a text says so.
RECIPE = """
import os, time
import pyarrow as pa
from curation import *
from tests.conftest import Files

@row_annotator(writes={"vowel_count": pa.uint32()})
def vowels(text: str) -> int:
    time.sleep(0.003)
    return sum(letter in "aeiou" for letter in text)

@annotator(writes={"mark": pa.int64()})
def careless(text):
    if any("KILL" in t for t in text.to_pylist()):
        os.kill(os.getpid(), 9)
    if any("EXIT" in t for t in text.to_pylist()):
        os._exit(3)
    if any("HANG" in t for t in text.to_pylist()):
        time.sleep(1000)
    if any("RAISE" in t for t in text.to_pylist()):
        raise ValueError("RAISE")
    return pa.array([len(t) for t in text.to_pylist()])

def drill(*, paths: str) -> Recipe:
    return Recipe(
        source=Files(paths),
        steps=[
            vowels,
            TextSize(),
            keep(col("word_count") >= 3, because="too short"),
            TextHash(),
            ExactDuplicates(),
            keep(col("duplicate_of").is_null(), because="exact duplicate"),
            keep_best("vowel_count", words=2500, because="below the budget"),
            Chunk(max_chars=40),
            careless,
            keep(col("mark") > 8, because="small piece"),
        ],
        max_error_frac=0.5,
    )

def marked(*, paths: str) -> Recipe:
    return Recipe(source=Files(paths), steps=[careless, keep(col("mark") > 2, because="x")])

def bulky(*, paths: str) -> Recipe:
    @row_annotator(writes={"noise": pa.large_string()})
    def noise(text: str) -> str:
        import random
        return random.Random(text).randbytes(1000).hex()
    return Recipe(source=Files(paths), steps=[noise, TextHash(), ExactDuplicates()])
"""

BULKY = ["run", "recipe.py:bulky", "--paths", "in/*.jsonl"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the recipe and twelve files of 40 texts."""
    folder = tmp_path_factory.mktemp("drill")
    (folder / "recipe.py").write_text(RECIPE)
    write_words(folder / "in", files=12, rows=40)
    return folder


@pytest.fixture(scope="module")
def calm(place: Path) -> Path:
    """The store of an undisturbed run."""
    finish(start(place, "calm", "--workers", "2"))
    return place / "calm"


@pytest.fixture(scope="module")
def calm_bulk(place: Path) -> Path:
    """The store of an undisturbed run of the bulky recipe."""
    curation(*BULKY, "--store", "calm-bulk", cwd=place)
    return place / "calm-bulk"


def start(
    place: Path, store: str, *more: str, recipe: str = "drill", paths: str = "in/*.jsonl"
) -> subprocess.Popen[str]:
    words = ["run", f"recipe.py:{recipe}", "--paths", paths, "--store", store, *more]
    return subprocess.Popen(
        command(*words),
        cwd=place,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], status: int = 0) -> str:
    """Wait for the end and return what was written to stderr."""
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == status, f"{process.returncode}\n{out}\n{err}"
    return err


def wait_until_gone(workers: list[int]) -> None:
    wait_until(lambda: not any(map(is_worker, workers)), at_most_s=3)


def check_sound(folder: Path) -> Build:
    """Check a store part by part and its ledger; return its build."""
    wrong = [f"{what}: {problem}" for what, problem in check_store(Store(folder)) if problem]
    assert wrong == []
    build = Build.open(folder)
    assert build.ledger().balances
    return build


def ids(build: Build) -> list[str]:
    gone = build.dropped().select("id").collect()["id"].to_list()
    return [*build.documents(columns=["id"]).collect()["id"].to_list(), *gone]


# ---------------------------------------------------------------- kill -9


class Drill:
    """Runs over fresh stores until so many kills have struck a run that was under way."""

    def __init__(self, place: Path, workers: int, kills: int, seed: int) -> None:
        self.place, self.workers, self.kills = place, workers, kills
        self.random = random.Random(seed)
        self.stores = 0
        self.struck = {"worker": 0, "main": 0}

    def finished_stores(self) -> Iterator[Path]:
        while sum(self.struck.values()) < self.kills:
            self.stores += 1
            name = f"store-{self.workers}-{self.stores}"
            while not self._run(name):
                pass
            yield self.place / name

    def _run(self, name: str) -> bool:
        """Run until the end (True) or until the main process was killed (False)."""
        process = start(self.place, name, "--workers", str(self.workers))
        wait_until(lambda: workers_of(process.pid) or process.poll() is not None)
        while sum(self.struck.values()) < self.kills:
            time.sleep(self.random.uniform(0.2, 1.6))
            if process.poll() is not None:
                break
            workers = workers_of(process.pid)
            if workers and self.random.random() < 0.6:
                self._kill(self.random.choice(workers), "worker")
            else:
                self._kill(process.pid, "main")
                process.communicate()
                wait_until_gone(workers)
                return False
        finish(process)
        return True

    def _kill(self, pid: int, kind: str) -> None:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.struck[kind] += 1


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "kills"), [(1, 3), (2, 7), (4, 6)])
def test_a_store_survives_kills_at_random_moments(
    place: Path, calm: Path, workers: int, kills: int
) -> None:
    """Whoever runs on machines that may be taken away would lose or double rows in silence."""
    build, wanted = check_sound(calm), snapshot(calm)
    assert len(set(ids(build))) == len(ids(build)) > 480
    assert build.ledger().rows_in == 480
    drill = Drill(place, workers, kills, seed=workers)
    for store in drill.finished_stores():
        assert snapshot(store) == wanted
        assert ids(check_sound(store)) == ids(build)
    assert sum(drill.struck.values()) == kills
    assert min(drill.struck.values()) > 0


def test_workers_leave_when_their_parent_is_killed(place: Path) -> None:
    """Every kill would leave processes that hold memory, and a text that hangs one for ever."""
    paths, _ = harmful(place, "HANG")
    process = start(place, "left", "--workers", "1", recipe="marked", paths=paths)
    workers = wait_until(lambda: workers_of(process.pid))
    wait_until(lambda: list((place / "left").glob("*/part-*.tmp-*")))  # the worker is at work
    process.kill()
    wait_until_gone(workers)
    process.communicate()


# ---------------------------------------------------------------- rows that do harm


def harmful(place: Path, word: str) -> tuple[str, str]:
    """Write a file of 30 rows, the 17th with a word; return its pattern and that row's id."""
    rows = [{"text": f"text number {n}" + f" {word}" * (n == 16)} for n in range(30)]
    path = write_jsonl(place / "harm" / "h.jsonl", rows)
    return str(
        path
    ), f"h.jsonl#{sum(len(line) for line in path.read_bytes().splitlines(True)[:16])}"


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("KILL", "ended its worker: SIGKILL (out of memory, or killed from outside)"),
        ("EXIT", "ended its worker: exit status 3"),
        ("HANG", "made its worker hang"),
        ("RAISE", "ValueError: RAISE"),
    ],
)
def test_the_one_row_that_does_harm_is_an_error_row(place: Path, word: str, reason: str) -> None:
    """One page that crashes a parser would end every run over the crawl, or take others along."""
    paths, guilty = harmful(place, word)
    more = ("--workers", "2", "--stall-limit", "1")
    stores = [f"{word}-1", f"{word}-2"] if word == "KILL" else [word]
    for store in stores:
        finish(start(place, store, *more, recipe="marked", paths=paths))
        build = check_sound(place / store)
        assert build.errors().rows() == [(guilty, 1, "careless", reason)]
        assert build.reasons() == {"error in careless": 1}
        assert build.ledger().rows_out == 29
        assert f"dropped: error in careless: {reason}" in str(build.why(guilty))
    assert snapshot(place / stores[0]) == snapshot(place / stores[-1])


# ---------------------------------------------------------------- Ctrl-C


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workers", "sign"), [("0", signal.SIGINT), ("2", signal.SIGINT), ("2", signal.SIGTERM)]
)
def test_a_stopped_run_says_how_to_go_on_and_does(
    place: Path, calm: Path, sign: signal.Signals, workers: str
) -> None:
    """Ctrl-C would print a traceback, leave workers behind, or lose what was done."""
    store = f"stopped-{sign.name}-{workers}"
    process = start(place, store, "--workers", workers)
    wait_until(lambda: list((place / store).glob("*/part-*.parquet")))
    running = workers_of(process.pid)
    process.send_signal(sign)
    told = finish(process, status=130)
    assert "stopped before the end." in told
    assert "of 12 shards of the phase under way" in told
    assert "run the same command again: it goes on from here" in told
    assert "Traceback" not in told
    assert not any(map(is_worker, running))
    finish(start(place, store, "--workers", workers))
    assert snapshot(place / store) == snapshot(calm)
    check_sound(place / store)


# ---------------------------------------------------------------- a full disk


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", "2"])
def test_files_that_may_not_grow_end_the_run_and_it_goes_on_later(
    place: Path, calm_bulk: Path, workers: str
) -> None:
    """A quota would end in a traceback, or leave a part that is cut short."""
    store = f"quota-{workers}"
    words = [*BULKY, "--workers", workers, "--store", store]
    done = subprocess.run(
        command(*words),
        cwd=place,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )
    assert done.returncode == 1, done.stderr
    assert f"ResourceError: no space is left for the store {store}." in done.stderr
    assert "run the same command again: finished shards are kept" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((place / store).glob("*/*.tmp-*"))
    curation(*words, cwd=place)
    assert snapshot(place / store) == snapshot(calm_bulk)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 400 kB; the test skips where it cannot be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("free_bytes", [0, 120_000])
def test_a_full_disk_ends_the_run_and_it_goes_on_when_there_is_room(
    place: Path, calm_bulk: Path, small_disk: Path, free_bytes: int
) -> None:
    """Wherever it fills up, at a lock, a part or a manifest, the message is the same."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(400_000 // 4096 * 4096 - free_bytes))
    words = [*BULKY, "--workers", "1", "--store", str(small_disk / "store")]
    done = curation(*words, cwd=place, check=1)
    assert "ResourceError: " in done.stderr
    assert "o space" in done.stderr
    assert "Traceback" not in done.stderr
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    curation(*words, cwd=place)
    assert snapshot(small_disk / "store") == snapshot(calm_bulk)
