"""Runs of a recipe that asks a model, killed at random moments and begun again until they end."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from curation.rewrite.journal import FILE_NAME
from tests.conftest import (
    command,
    environment,
    is_worker,
    snapshot,
    wait_until,
    workers_of,
    write_jsonl,
)
from tests.rewrite.asking import RECIPE
from tests.rewrite.server import Stand

WORKERS, CONCURRENCY = 2, 4
KINDS = ("worker", "all", "ctrl-c")


def write_texts(folder: Path, files: int, rows: int) -> str:
    """Write files of texts, each another; return their pattern."""
    for f in range(files):
        texts = [f"ECHO SLOW text {f * rows + n}" for n in range(rows)]
        write_jsonl(folder / f"f{f:03}.jsonl", ({"text": text} for text in texts))
    return f"{folder}/*.jsonl"


class Killing:
    """A drill in one folder against one server."""

    def __init__(self, folder: Path, paths: str, stand: Stand, seed: int) -> None:
        self.folder, self.paths, self.stand = folder, paths, stand
        self.random = random.Random(seed)
        self.struck: Counter[str] = Counter()
        self.said: list[str] = []  # what runs wrote to stderr that Ctrl-C stopped

    def undisturbed(self, name: str) -> Path:
        """Run to the end and return the store."""
        self._finish(self._start(name))
        return self.folder / name

    def killed(self, name: str, kills: int, longest_s: float) -> Path:
        """Run, with so many kills, to the end, and return the store; fewer if it ends before."""
        while kills:
            process = self._start(name)
            wait_until(lambda p=process: workers_of(p.pid) or p.poll() is not None)
            wait_until(lambda p=process: self.stand.at_once or p.poll() is not None)
            while kills:
                time.sleep(self.random.uniform(0.0, longest_s))
                if process.poll() is not None:
                    break
                kind = KINDS[sum(self.struck.values()) % len(KINDS)]
                self.struck[kind] += 1
                kills -= 1
                if self._strike(process, kind):
                    break
            if process.poll() == 0:
                break
            if process.poll() is None:
                self._finish(process)
                break
        else:
            self._finish(self._start(name))
        return self.undisturbed(name)

    def _start(self, name: str) -> subprocess.Popen[str]:
        words = ["run", RECIPE, "--paths", self.paths, "--url", self.stand.url, "--store", name]
        more = ["--workers", str(WORKERS), "--concurrency", str(CONCURRENCY)]
        return subprocess.Popen(
            command(*words, *more),
            cwd=self.folder,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _strike(self, process: subprocess.Popen[str], kind: str) -> bool:
        """Kill; tell whether the run has ended by it."""
        workers = workers_of(process.pid)
        if kind == "worker" and workers:
            with suppress(ProcessLookupError):
                os.kill(self.random.choice(workers), signal.SIGKILL)
            return False
        if kind == "ctrl-c":
            process.send_signal(signal.SIGINT)
        else:
            for pid in (process.pid, *workers):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.said += [process.communicate(timeout=60)[1]] if kind == "ctrl-c" else []
        process.wait()
        wait_until(lambda: not any(map(is_worker, workers)))
        return True

    def _finish(self, process: subprocess.Popen[str]) -> None:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err


def parts_of(store: Path) -> dict[str, str]:
    """Return digests of a store's files but for its replies, which are compared by content."""
    return {n: digest for n, digest in snapshot(store).items() if not n.startswith("replies/")}


def replies_of(store: Path) -> dict[str, str]:
    """Return key → reply of a store's journal."""
    with sqlite3.connect(store / "replies" / FILE_NAME) as file:
        return dict(file.execute("select key, reply from replies"))
