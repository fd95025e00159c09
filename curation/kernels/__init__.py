"""Compiled loops over arrays. They import numpy and numba only.

Numba compiles a kernel once and keeps the code on disk, but it looks at the kernel's own file alone
and misses a change in another one that the kernel calls; and it wants to write beside the file,
which a read-only install forbids. So the cache lies in the user's cache folder, under a name that
holds the text of all kernels. NUMBA_CACHE_DIR, where it is set, is left as it is.

Each compilation is logged, at INFO, to the logger ``curation.kernels``; the engine makes one line
a run of it. Code that is found in the cache is not.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

LOG = logging.getLogger(__name__)


def _cache_folder() -> Path:
    """Return the first folder that can be written: in the home, among temporary files, a new one.

    A cache among temporary files lasts as long as these do.
    """
    name = f"kernels-{_digest()}"
    for home in _homes():
        if _can_write(home / name):
            return home / name
    return Path(tempfile.mkdtemp(prefix="curation-"))


def _digest() -> str:
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.iterdir()):
        if file.is_file():  # tables are compiled in like the text of the kernels
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _homes() -> Iterator[Path]:
    with suppress(RuntimeError):  # a user without a home
        yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "curation"
    shared = Path(tempfile.gettempdir()) / f"curation-{os.getuid()}"
    with suppress(OSError):
        shared.mkdir(mode=0o700, exist_ok=True)
        facts = shared.lstat()
        if facts.st_uid == os.getuid() and not facts.st_mode & 0o022:
            yield shared  # nobody else can put code there for us to run


def _can_write(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def _watch_numba() -> None:
    """Log what is compiled, and let one process at a time write into the cache.

    Two processes that save code for different types of one kernel at once would both call it by
    the same number: the loser's code would then be run for the winner's types.
    """
    caching: Any = importlib.import_module("numba.core.caching")
    event: Any = importlib.import_module("numba.core.event")

    class Compilations(event.Listener):  # type: ignore[misc]
        def on_start(self, event: Any) -> None:
            kernel = event.data["dispatcher"].py_func
            if kernel.__module__.startswith(f"{__name__}."):
                LOG.info("compiling %s", kernel.__qualname__)

        def on_end(self, event: Any) -> None:
            pass

    class LockedFile(caching.IndexDataCacheFile):  # type: ignore[misc]
        def save(self, key: Any, data: Any) -> None:
            lock = Path(self._cache_path) / "lock"
            # where there is no space, or no locks, the code is compiled again next time
            with suppress(OSError), open(lock, "w") as held:
                fcntl.flock(held, fcntl.LOCK_EX)
                super().save(key, data)

    event.register("numba:compile", Compilations())
    caching.IndexDataCacheFile = LockedFile


if "NUMBA_CACHE_DIR" not in os.environ:
    os.environ["NUMBA_CACHE_DIR"] = str(_cache_folder())
    if "numba" in sys.modules:
        sys.modules["numba"].config.reload_config()
_watch_numba()
