"""Replies kept as they come: a run that is killed pays for none twice, and the account of them.

The store keeps a shard's columns when the shard is done; a journal keeps each reply when it is
there. It is a folder with one SQLite file, which every process of a run writes to, and which any
SQLite opens: a row a reply, with the model, what it was for, its tokens and its time. In a run the
folder is STORE/replies, so that a stage whose reading of the replies has changed, or whose columns
were deleted, asks nothing again either. It may be deleted at any time at that price.

Trade-off: SQLite's write-ahead log wants all processes on one machine, and a disk of that machine.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from curation import stage
from curation.annotate.model import Reply, Request
from curation.errors import ResourceError

FILE_NAME = "replies.sqlite"
#: How long a process waits for another's write; each takes a fraction of a millisecond.
_WAIT_S = 60.0
_TABLE = """
create table if not exists replies (
    key text primary key, model text not null, purpose text not null,
    prompt_tokens integer not null, completion_tokens integer not null, seconds real not null,
    asked_at text not null default current_timestamp, reply text not null
) without rowid
"""


def request_key(facts: Mapping[str, object], request: Request) -> str:
    """Return a name for what decides a reply: the model's facts and the whole request."""
    told = json.dumps([facts, request.facts()], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def journal_of(folder: str) -> Journal | None:
    """Return the journal of a folder, or of the run under way where none is named, if one is."""
    where = folder or stage.REPLIES
    return _opened(str(Path(where).absolute())) if where else None


@lru_cache(maxsize=8)
def _opened(folder: str) -> Journal:
    return Journal(folder)


class Journal:
    """The replies of a folder; what is added is there for good when ``add`` returns."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        with self._explaining():
            Path(folder).mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(
                Path(folder) / FILE_NAME,
                timeout=_WAIT_S,
                isolation_level=None,
                check_same_thread=False,
            )
            self._file.execute("pragma journal_mode = wal")
            self._file.execute("pragma synchronous = normal")
            self._file.execute(_TABLE)

    def get(self, key: str) -> Reply | None:
        """Return a reply that an earlier call was given, or None."""
        with self._explaining(), self._lock:
            found = self._file.execute("select reply from replies where key = ?", (key,)).fetchone()
        return None if found is None else _reply(json.loads(found[0]))

    def add(self, key: str, model: str, purpose: str, reply: Reply, seconds: float) -> None:
        """Keep a reply; one without an answer is not kept, so that it is asked for again."""
        if reply.error is not None:
            return
        told = json.dumps(asdict(reply))
        row = (key, model, purpose, reply.prompt_tokens, reply.completion_tokens, seconds, told)
        columns = "key, model, purpose, prompt_tokens, completion_tokens, seconds, reply"
        with self._explaining(), self._lock:
            self._file.execute(
                f"insert or replace into replies ({columns}) values (?, ?, ?, ?, ?, ?, ?)", row
            )

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise ResourceError(
                "the journal of replies cannot be used.",
                path=self.folder,
                found=f"{error}",
                remedy="name a folder on a disk of this machine that can be written: journal=PATH",
            ) from error


def _reply(facts: dict[str, Any]) -> Reply:
    top = tuple((str(token), float(prob)) for token, prob in facts.pop("first_logprob"))
    return Reply(**facts, first_logprob=top)
