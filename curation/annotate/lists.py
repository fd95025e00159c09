"""Lists that a user keeps: a file with an entry a line, or a tuple of strings.

In a file, blank lines and lines that begin with ``#`` are no entries; .gz and .zst files are
unpacked. Every string of a tuple is an entry, one that begins with ``#`` too. White space around
an entry is no part of it.
"""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import zstandard

from curation.arrow import from_bytes_and_offsets
from curation.errors import RecipeError, ResourceError

#: A path, or the entries themselves; "" and () are a list without entries.
Listed = str | tuple[str, ...]
#: Path, time stamp (ns) and bytes of every file that a setting names.
Stamp = tuple[tuple[str, int, int], ...]


def files_of(*settings: Listed) -> tuple[str, ...]:
    """Return the paths among settings."""
    return tuple(setting for setting in settings if isinstance(setting, str) and setting)


def stamp(*settings: Listed) -> Stamp:
    """Return what tells whether the files of settings have changed, to be a key of caches.

    Every file of a folder is looked at, so a folder of very many is slow.
    """
    facts = []
    for path in files_of(*settings):
        try:
            for file in sorted(Path(path).rglob("*")) if os.path.isdir(path) else [path]:
                seen = os.stat(file)
                facts.append((str(file), seen.st_mtime_ns, seen.st_size))
        except OSError as error:
            raise _unreadable(path, error) from None
    return tuple(facts)


def read_list(listed: Listed) -> pa.Array:
    """Return the entries in their order, as large strings; ResourceError if there is no file."""
    if isinstance(listed, str):
        return _read_file(listed) if listed else pa.array([], pa.large_string())
    try:
        entries = pa.array(listed, pa.large_string())
    except UnicodeEncodeError as error:
        raise RecipeError(
            "an entry of a list is no text that UTF-8 can hold.",
            found=ascii(error.object)[:100],
        ) from None
    return _entries(entries)


def _read_file(path: str) -> pa.Array:
    data = read_bytes(path).removeprefix(b"\xef\xbb\xbf")
    place_B = np.frombuffer(data, dtype=np.uint8)
    end = np.flatnonzero(place_B == ord("\n")) + 1
    offset = np.concatenate([[0], end, [len(data)]]).astype(np.int64)
    lines = from_bytes_and_offsets(place_B, offset, pa.large_string())
    try:
        lines.validate(full=True)
    except pa.ArrowInvalid:
        raise ResourceError(
            f"the list {path} is not UTF-8.",
            remedy="write the file anew as UTF-8, with one entry a line",
        ) from None
    entries = _entries(lines)
    return entries.filter(pc.invert(pc.starts_with(entries, "#")))


def _entries(lines: pa.Array) -> pa.Array:
    lines = pc.utf8_trim_whitespace(lines)
    return lines.filter(pc.not_equal(lines, ""))


def read_bytes(path: str) -> bytes:
    """Return the bytes of a file, unpacked where its name ends in .gz or .zst."""
    try:
        data = Path(path).read_bytes()
        if path.endswith(".gz"):
            return gzip.decompress(data)
        if path.endswith(".zst"):
            reader = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True)
            return bytes(reader.read())
        return data
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: str, error: Exception) -> ResourceError:
    return ResourceError(
        f"the list {path} cannot be read.",
        found=getattr(error, "strerror", None) or f"{type(error).__name__}: {error}",
        remedy="check the path in the recipe; a tuple of strings gives the entries themselves",
    )
