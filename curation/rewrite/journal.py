"""Replies kept as they come, so that a run that is killed does not pay for them again.

The store keeps a shard's columns when the shard is done; a journal keeps each reply when it is
there. It is a folder with a JSON-lines file for each process that wrote to it, and may be deleted
once the run is finished. A line that a kill tore is passed over.

Trade-off: a process holds the replies of all files in memory, a few kilobytes each.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from curation.annotate.model import Reply, Request
from curation.errors import ResourceError


def request_key(facts: Mapping[str, object], request: Request) -> str:
    """Return a name for what decides a reply: the model's facts and the whole request."""
    told = json.dumps([facts, asdict(request)], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:32]


class Journal:
    """The replies of a folder; what is added is written at once."""

    def __init__(self, folder: str) -> None:
        self.known: dict[str, Reply] = {}
        self._path = Path(folder) / f"{socket.gethostname()}-{os.getpid()}-{time.time_ns()}.jsonl"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            for path in sorted(self._path.parent.glob("*.jsonl")):
                self._read(path)
            self._file = open(self._path, "a", encoding="utf-8")  # noqa: SIM115  while we ask
        except OSError as error:
            raise _unusable(folder, error) from error

    def _read(self, path: Path) -> None:
        with open(path, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                try:
                    key, facts = json.loads(line)
                    self.known[str(key)] = _reply(facts)
                except (
                    ValueError,
                    TypeError,
                    KeyError,
                    AttributeError,
                ):  # torn
                    continue

    def add(self, key: str, reply: Reply) -> None:
        """Keep a reply; one without an answer is not kept, so that it is asked for again."""
        if reply.error is not None:
            return
        self.known[key] = reply
        try:
            self._file.write(json.dumps([key, asdict(reply)]) + "\n")
            self._file.flush()
        except OSError as error:
            raise _unusable(str(self._path.parent), error) from error


def _reply(facts: dict[str, Any]) -> Reply:
    top = tuple((str(token), float(prob)) for token, prob in facts.pop("first_logprob"))
    return Reply(**facts, first_logprob=top)


def _unusable(folder: str, error: OSError) -> ResourceError:
    return ResourceError(
        f"the journal of replies cannot be used: {error.strerror}.",
        path=folder,
        remedy="name a folder that can be written, or none: journal=''",
    )
