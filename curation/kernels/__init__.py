"""Compiled loops over arrays. They import numpy and numba only.

Numba compiles a kernel once and keeps the code on disk, but it looks at the kernel's own file alone
and misses a change in another one that the kernel calls; and it wants to write beside the file,
which a read-only install forbids. So the cache lies in the user's cache folder, under a name that
holds the text of all kernels. NUMBA_CACHE_DIR, where it is set, is left as it is.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from pathlib import Path


def _cache_folder() -> Path:
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = home / "curation" / f"kernels-{digest.hexdigest()[:16]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # no home that can be written: the cache lasts as long as temporary files do
        return Path(tempfile.gettempdir()) / f"curation-{os.getuid()}" / folder.name
    return folder


if "NUMBA_CACHE_DIR" not in os.environ:
    os.environ["NUMBA_CACHE_DIR"] = str(_cache_folder())
    if "numba" in sys.modules:
        sys.modules["numba"].config.reload_config()
