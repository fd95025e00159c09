"""Replies kept as they come: a run that is killed pays for none twice, and the account of them.

The store keeps a shard's columns when the shard is done; a journal keeps each reply when it is
there. It is a folder with one SQLite file, which every process of a run writes to, and which any
SQLite opens: a row a reply, with the model, what it was for, its tokens and its time. In a run the
folder is STORE/replies, so that a stage whose reading of the replies has changed, or whose columns
were deleted, asks nothing again either. It may be deleted at any time at that price.

Trade-off: SQLite's write-ahead log wants all processes on one machine, and a disk of that machine.
What is written survives the end of any process at once, and the end of the machine but for the
last replies: waiting for the disk at each would cost more than they do.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

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
)
"""
#: SQLite's names of errors, or their beginnings → what to do about it.
_REMEDIES = {
    "SQLITE_FULL": "free space and run the same command again: the replies so far are kept",
    "SQLITE_IOERR": "look at the disk and run the same command again: the replies so far are kept",
    "SQLITE_NOTADB": "move the file away and run again; what it held is asked once more",
    "SQLITE_CORRUPT": "move the file away and run again; what it held is asked once more",
    "SQLITE_BUSY": "end the process that holds the file, and run the same command again",
}
_REMEDY = "name a folder on a disk of this machine that can be written: journal=PATH"


def request_key(facts: Mapping[str, object], request: Request) -> str:
    """Return a name for what decides a reply: the model's facts and the whole request."""
    told = json.dumps([facts, request.facts()], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def journal_of(folder: str) -> Journal | None:
    """Return the journal of a folder, or of the run under way where none is named, if one is."""
    where = folder or stage.REPLIES
    if not where:
        return None
    name = str(Path(where).absolute())
    if not _opened(name).is_there():  # deleted, perhaps to have all asked anew
        _opened.cache_clear()
    return _opened(name)


@lru_cache(maxsize=8)
def _opened(folder: str) -> Journal:
    return Journal(folder)


class Journal:
    """The replies of a folder; what is added is there for good when ``add`` returns."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.path = Path(folder) / FILE_NAME
        self._lock = threading.Lock()
        with _explaining(self.path):
            Path(folder).mkdir(parents=True, exist_ok=True)
            with _alone(Path(folder) / "opening"):  # the change to a log waits for nobody
                self._file = sqlite3.connect(
                    self.path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False
                )
                self._file.execute("pragma journal_mode = wal")
                self._file.execute("pragma synchronous = normal")
                self._file.execute(_TABLE)
            self._inode = self.path.stat().st_ino

    def is_there(self) -> bool:
        """Tell whether the file that was opened is still the one of this name."""
        try:
            return self.path.stat().st_ino == self._inode
        except OSError:
            return False

    def get(self, key: str) -> Reply | None:
        """Return a reply that an earlier call was given, or None."""
        with _explaining(self.path), self._lock:
            found = self._file.execute("select reply from replies where key = ?", (key,)).fetchone()
        return None if found is None else read_reply(found[0])

    def add(self, key: str, model: str, purpose: str, reply: Reply, seconds: float) -> Reply:
        """Keep a reply, and return the one that is kept: another process may have been faster.

        One without an answer is not kept, so that it is asked for again.
        """
        if reply.error is not None:
            return reply
        told = json.dumps(asdict(reply))
        row = (key, model, purpose, reply.prompt_tokens, reply.completion_tokens, seconds, told)
        columns = "key, model, purpose, prompt_tokens, completion_tokens, seconds, reply"
        add = f"insert into replies ({columns}) values (?, ?, ?, ?, ?, ?, ?) on conflict do nothing"
        with _explaining(self.path), self._lock:
            is_new = self._file.execute(add, row).rowcount > 0
        return reply if is_new else self.get(key) or reply


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold a lock file against other processes; they wait until it is free."""
    with open(lock, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def reading(folder: str) -> Iterator[sqlite3.Connection]:
    """Open a folder's replies for reading only, also while a run adds to them.

    No file is made beside one that nobody writes.
    """
    path = Path(folder) / FILE_NAME
    with _explaining(path):
        if not path.exists():
            raise ResourceError(
                "no replies are kept here.", path=path, remedy="name the store of a run that asked"
            )
        # without its log's index, in a folder that is read-only, SQLite opens no file as it is
        beside = [path.with_name(f"{FILE_NAME}-{end}").exists() for end in ("wal", "shm")]
        is_still = not beside[0] or (not os.access(folder, os.W_OK) and not beside[1])
        mode = "immutable=1" if is_still else "mode=ro"
        file = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=_WAIT_S)
        try:
            yield file
        finally:
            file.close()


@contextmanager
def _explaining(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        name = getattr(error, "sqlite_errorname", "")
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            name = "SQLITE_FULL"
        remedy = next(
            (told for known, told in _REMEDIES.items() if name.startswith(known)), _REMEDY
        )
        raise ResourceError(
            "the journal of replies cannot be used.", path=path, found=f"{error}", remedy=remedy
        ) from error


def read_reply(told: str) -> Reply | None:
    """Read a reply; None for one that other versions of the package wrote: it is asked again."""
    try:
        facts = json.loads(told)
        top = tuple((str(token), float(prob)) for token, prob in facts.pop("first_logprob"))
        return Reply(**facts, first_logprob=top)
    except (ValueError, TypeError, LookupError, AttributeError):
        return None
