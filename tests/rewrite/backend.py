"""A stand-in for a model in its own process: it answers by rule, and dies by marks in the text.

KILL (as when memory is full), LOST (dies on GPU 1, which then takes no engine any more), EXIT,
RAISE, HANG, ONCE (dies the first time that it is asked, which a file remembers), THRICE (so the
first three times), REFUSE (no step is made), SLOW, GRADED (answers as a judge). What it keeps lies
beside the model's folder: every request that reaches it is a line of the file "asked", with the
process's id and the text.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from curation.annotate.model import Reply
from curation.rewrite.engine import Asked
from curation.rewrite.local import VllmModel


@dataclass(frozen=True, kw_only=True, repr=False)
class FakeModel(VllmModel):
    """VllmModel with the stand-in in its place."""

    backend: ClassVar[str] = "tests.rewrite.backend:FakeBackend"


class FakeBackend:
    """Answers up to four requests a step with their text, temperature and seed."""

    window = 8

    def __init__(self, settings: Mapping[str, Any], beat: Callable[[], None]) -> None:
        self.folder = Path(settings["model"]).parent
        fate = self.folder / "fate"
        if fate.exists():
            word = fate.read_text()
            if word == "KILL":
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError(word)
        self.gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        self.lost = self.folder / "lost"
        if self.gpu == "1" and self.lost.exists():
            with open(self.lost, "a") as file:
                file.write("tried\n")
            raise RuntimeError("CUDA error: no CUDA-capable device is detected")
        self.waiting: list[Asked] = []

    @property
    def is_busy(self) -> bool:
        return bool(self.waiting)

    def add(self, asked: Asked) -> Reply | None:
        text = asked[1].messages[-1][1]
        with open(self.folder / "asked", "a") as file:
            file.write(f"{os.getpid()} {text.partition(chr(10))[0]}\n")
        if "REFUSE" in text:
            return Reply(error="refused")
        self.waiting.append(asked)
        return None

    def step(self) -> list[tuple[int, Reply]]:
        taken, self.waiting = self.waiting[:4], self.waiting[4:]
        return [(asked[0], self.answer(asked)) for asked in taken]

    def answer(self, asked: Asked) -> Reply:
        _, request, (temperature, seed) = asked
        text = request.messages[-1][1]
        once = self.folder / "once"
        if "ONCE" in text and not once.exists():
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if "THRICE" in text:
            with open(self.folder / "thrice", "a+") as file:
                file.write(".")
                if file.tell() <= 3:
                    file.close()
                    os.kill(os.getpid(), signal.SIGKILL)
        if "LOST" in text and self.gpu == "1":
            self.lost.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if "KILL" in text:
            os.kill(os.getpid(), signal.SIGKILL)
        if "EXIT" in text:
            print("ValueError: the last words", flush=True)
            os._exit(3)
        if "RAISE" in text:
            raise RuntimeError("EngineCore encountered an issue")
        if "HANG" in text:
            time.sleep(60)
        if "GRADED" in text:
            text = "Educational score: 2"
        if "SLOW" in text:
            time.sleep(0.05)
        told = f"{text} {temperature:g} {seed}"
        return Reply(text=told, finish="stop", prompt_tokens=7, completion_tokens=9)
