"""Path patterns → spans → shards: which files a source reads, and which task reads which piece.

A pattern is a file, a folder (everything below it that the source understands, by ending) or a
glob (``*`` and ``?`` within a folder, ``**`` across folders). Hidden files are only found by a
pattern that spells the dot. Local paths are walked with the standard library; ``s3://``,
``gs://``, ``file://`` and the like are opened by pyarrow's own filesystems.

The order is by name, and the packing looks at names and sizes alone: same files, same shards.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import BinaryIO, ClassVar, cast

import pyarrow as pa
import pyarrow.fs as pafs

from curation.errors import RecipeError, nearest
from curation.stage import Shard, Source, Span

#: Input that one task reads at most; a compressed file counts as if it were so many times longer.
SHARD_BYTES = 32 << 20
#: A small input is cut finer, so that every core has work and a stopped run has kept some: into
#: about so many shards, none of less than LEAST_SHARD_BYTES.
SHARDS = 16
LEAST_SHARD_BYTES = 128 << 10
COMPRESSED_FACTOR = 4
SHARD_FILES = 2000

COMPRESSED = (".gz", ".zst", ".bz2", ".lz4")
_MAGIC = re.compile(r"[*?\[]")
_URI = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+)://")


@dataclass(frozen=True, kw_only=True)
class FileSource(Source):
    """A source of files: what all the readers share.

    paths    one pattern or several
    name     value of the ``source`` column; the last fixed folder of the pattern where not given
    license  value of the ``license`` column
    """

    paths: str | tuple[str, ...] = field(kw_only=False)
    name: str | None = None
    license: str | None = None

    #: Endings that a folder is searched for, without those of compression.
    endings: ClassVar[tuple[str, ...]] = ()

    def check(self) -> None:
        if not self.paths or (isinstance(self.paths, tuple) and not all(self.paths)):
            raise RecipeError(
                f"{type(self).__name__} has no paths to read.",
                found=repr(self.paths),
                remedy="name a file, a folder or a pattern such as 'data/*.gz'",
            )

    def spans(self) -> list[Span]:
        """Return the files that the patterns name, sorted by name."""
        patterns = (self.paths,) if isinstance(self.paths, str) else self.paths
        return expand(patterns, with_compression(self.endings), type(self).__name__)

    def plan(self) -> list[Shard]:
        return pack(self.spans())

    def source_of(self, span: Span) -> str:
        """Return the value of the ``source`` column for the rows of a span."""
        return self.name if self.name is not None else folder_label(span)


def expand(patterns: Sequence[str], endings: tuple[str, ...], reader: str) -> list[Span]:
    """Return the files that patterns match, sorted by name, each file once.

    endings  what a bare folder is searched for
    raises   RecipeError for a pattern that matches nothing, or two files of the same name
    """
    by_path: dict[str, Span] = {}
    by_name: dict[str, Span] = {}
    for pattern in patterns:
        found = _remote(pattern, endings) if _URI.match(pattern) else _local(pattern, endings)
        if not found.spans:
            raise _nothing(pattern, found, endings, reader)
        for span in found.spans:
            if span.path in by_path:
                continue
            twin = by_name.get(span.name)
            if twin is not None:
                raise _same_name(span, twin, reader)
            by_path[span.path] = by_name[span.name] = span
    return sorted(by_path.values(), key=lambda span: span.name)


@dataclass
class _Found:
    """What a pattern matched, and for the message: where it was looked for and what is there."""

    folder: str
    spans: list[Span]
    names: list[str]


def split_pattern(pattern: str) -> tuple[str, str]:
    """Return (fixed folder, rest): the rest starts at the first segment with a glob sign."""
    segments = pattern.split("/")
    for index, segment in enumerate(segments):
        if _MAGIC.search(segment):
            return "/".join(segments[:index]) or (
                "/" if pattern.startswith("/") else "."
            ), "/".join(segments[index:])
    return pattern, ""


def _local(pattern: str, endings: tuple[str, ...]) -> _Found:
    pattern = os.path.expanduser(pattern)
    literal = os.path.lexists(pattern)
    folder, rest = (pattern, "") if literal else split_pattern(pattern)
    if not rest and not os.path.isdir(folder):
        parent, base = os.path.split(os.path.abspath(folder))
        spans = [_local_span(parent, base)] if os.path.exists(folder) else []
        return _Found(parent, spans, _listing(parent) if not spans else [])
    root = os.path.abspath(folder)
    if not os.path.isdir(root):
        return _Found(root, [], _listing(os.path.dirname(root)))
    wanted = _matcher(rest, endings)
    names = [name for name in _walk(root, rest) if wanted(name)]
    return _Found(root, [_local_span(root, n) for n in names], _listing(root) if not names else [])


def _walk(root: str, rest: str) -> Iterator[str]:
    """Yield the files below a folder that a glob could reach; a folder is entered once."""
    segments = rest.split("/") if rest else ["**"]
    entered = {os.path.realpath(root)}
    for folder, below, files in os.walk(root, onerror=_raise, followlinks=True):
        relative = os.path.relpath(folder, root)
        depth = 0 if relative == "." else relative.count(os.sep) + 1
        keep = []
        for name in sorted(below):
            real = os.path.realpath(os.path.join(folder, name))
            if _enters(segments, depth, name) and real not in entered:
                entered.add(real)
                keep.append(name)
        below[:] = keep
        yield from (name if depth == 0 else f"{relative}/{name}" for name in sorted(files))


def _enters(segments: list[str], depth: int, name: str) -> bool:
    if "**" in segments[: depth + 1]:
        return not name.startswith(".") or any(s.startswith(".") for s in segments)
    return depth < len(segments) - 1 and _glob_regex(segments[depth]).fullmatch(name) is not None


def _raise(error: OSError) -> None:
    raise error


def _local_span(root: str, name: str) -> Span:
    path = os.path.join(root, name)
    facts = os.stat(path)
    return Span(path=path, name=name, size=facts.st_size, modified=facts.st_mtime_ns)


def _remote(pattern: str, endings: tuple[str, ...]) -> _Found:
    """Expand a URI; options after ``?`` (``?region=…``) go to every file's URI."""
    address, mark, options = pattern.partition("?")
    if "=" not in options:  # a glob sign, not options
        address, mark, options = pattern, "", ""
    folder, rest = split_pattern(address)
    filesystem, base = pafs.FileSystem.from_uri(folder + mark + options)
    facts = filesystem.get_file_info(base)
    if not rest and facts.type == pafs.FileType.File:
        parent, name = folder.rsplit("/", 1)
        return _Found(parent, [_remote_span(folder + mark + options, name, facts)], [])
    deep = not rest or "/" in rest or "**" in rest
    selector = pafs.FileSelector(base, allow_not_found=True, recursive=deep)
    files = [f for f in filesystem.get_file_info(selector) if f.type == pafs.FileType.File]
    below = {f.path[len(base) :].lstrip("/"): f for f in files}
    wanted = _matcher(rest, endings)
    spans = [
        _remote_span(f"{folder.rstrip('/')}/{name}{mark}{options}", name, facts)
        for name, facts in sorted(below.items())
        if wanted(name)
    ]
    return _Found(folder, spans, sorted(below))


def _remote_span(path: str, name: str, facts: pafs.FileInfo) -> Span:
    return Span(path=path, name=name, size=facts.size or 0, modified=facts.mtime_ns or 0)


class _Matcher:
    """Tells whether a relative name is meant: by glob, or by ending for a bare folder."""

    def __init__(self, rest: str, endings: tuple[str, ...]) -> None:
        self.pattern = _glob_regex(rest) if rest else None
        self.endings = endings

    def __call__(self, name: str) -> bool:
        if self.pattern is not None:
            return self.pattern.fullmatch(name) is not None
        hidden = any(part.startswith(".") for part in name.split("/"))
        return not hidden and name.lower().endswith(self.endings)


def _matcher(rest: str, endings: tuple[str, ...]) -> _Matcher:
    return _Matcher(rest, endings)


def _glob_regex(pattern: str) -> re.Pattern[str]:
    """Translate a glob: no sign but ``**`` crosses a folder, none matches a leading dot."""
    out, i = "", 0
    while i < len(pattern):
        start = i == 0 or pattern[i - 1] == "/"
        dotless = r"(?!\.)" if start else ""
        if start and pattern.startswith("**/", i):
            out, i = out + r"(?:(?!\.)[^/]+/)*", i + 3
        elif start and pattern[i:] == "**":
            out, i = out + r"(?:(?!\.)[^/]+/)*(?!\.)[^/]+", i + 2
        elif pattern[i] == "*":
            out, i = out + dotless + "[^/]*", i + 1
        elif pattern[i] == "?":
            out, i = out + dotless + "[^/]", i + 1
        elif pattern[i] == "[" and "]" in pattern[i + 2 :]:
            stop = pattern.index("]", i + 2)
            inner = pattern[i + 1 : stop].replace("\\", r"\\")
            inner = "^" + inner[1:] if inner.startswith("!") else inner
            out, i = f"{out}{dotless}[{inner}]", stop + 1
        else:
            out, i = out + re.escape(pattern[i]), i + 1
    return re.compile(out, re.DOTALL)


def folder_label(span: Span) -> str:
    """Return the last folder of the fixed part of the pattern that found a span."""
    path = span.path
    if _URI.match(path) and not path.endswith(span.name):  # options follow the name
        path = path[: path.rindex("?")]
    fixed = path.removesuffix(span.name).rstrip("/")
    return fixed.rsplit("/", 1)[-1] or "/"


# ---------------------------------------------------------------- what is said when it goes wrong


def _nothing(pattern: str, found: _Found, endings: tuple[str, ...], reader: str) -> RecipeError:
    base = pattern.rstrip("/").rsplit("/", 1)[-1]
    shown = ", ".join(found.names[:5]) + (", …" if len(found.names) > 5 else "")
    return RecipeError(
        f"{reader}: the path '{pattern}' matches no file.",
        looked=f"in {found.folder}",
        present=shown or "nothing",
        nearest=nearest(base, found.names),
        remedy=f"correct the pattern; a folder is searched for {', '.join(endings[:7])}",
    )


def _same_name(one: Span, other: Span, reader: str) -> RecipeError:
    return RecipeError(
        f"{reader}: two files have the same name '{one.name}', so their rows would share ids.",
        first=other.path,
        second=one.path,
        remedy="use one pattern that starts at a folder above both, such as 'data/**/*.gz'",
    )


def _listing(folder: str) -> list[str]:
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


# ---------------------------------------------------------------- opening and packing


def open_file(path: str) -> BinaryIO:
    """Open a local path or URI for reading, with random access; OSError if it cannot be opened."""
    if not _URI.match(path):
        return open(path, "rb")
    filesystem, inner = pafs.FileSystem.from_uri(path)
    return cast(BinaryIO, io.BufferedReader(_Remote(filesystem.open_input_file(inner)), 1 << 20))


def open_arrow(path: str) -> pa.NativeFile:
    """Open a local path or URI as pyarrow's own file, for readers that are pyarrow's own."""
    if not _URI.match(path):
        return pa.OSFile(path, "rb")
    filesystem, inner = pafs.FileSystem.from_uri(path)
    return filesystem.open_input_file(inner)


class _Remote(io.RawIOBase):
    """A pyarrow file as Python's raw input, so that io.BufferedReader saves round trips."""

    def __init__(self, file: pa.NativeFile) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        return int(self._file.readinto(buffer))

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        self._file.close()
        super().close()


def compression(name: str) -> str:
    """Return ``gz``, ``zst``, ``bz2`` or ``lz4`` by a file's ending, or ``""``."""
    ending = os.path.splitext(name.lower())[1]
    return ending[1:] if ending in COMPRESSED else ""


def with_compression(endings: tuple[str, ...]) -> tuple[str, ...]:
    """Return endings, each alone and with those of compressed files."""
    return (*endings, *(e + c for c in COMPRESSED for e in endings))


def weight(span: Span) -> int:
    """Return how much reading a span is, in bytes as if uncompressed."""
    whole = span.size if span.start == 0 and span.stop < 0 else 0
    size = whole or (span.size if span.stop < 0 else span.stop) - span.start
    return size * (COMPRESSED_FACTOR if compression(span.name) else 1)


def shard_bytes(total: int) -> int:
    """Return how much input a shard should have, from all there is.

    It is a power of two: a file that is added to the input seldom moves the cuts of the others.
    """
    share = 1 << max(0, (total // SHARDS).bit_length() - 1)
    return min(max(share, LEAST_SHARD_BYTES), SHARD_BYTES)


def cut(span: Span, size: int) -> list[Span]:
    """Cut a splittable file into byte ranges of about ``size``; the last runs to the end."""
    pieces = max(1, -(-span.size // size))
    edges = [span.size * i // pieces for i in range(pieces)]
    return [replace(span, start=a, stop=b) for a, b in zip(edges, [*edges[1:], -1], strict=True)]


def pack(spans: Iterable[Span], weights: Sequence[int] | None = None) -> list[Shard]:
    """Pack spans, in order, into shards of ``shard_bytes`` and SHARD_FILES at most.

    weights  bytes of each span; by size where not given
    """
    shards: list[Shard] = []
    held: list[Span] = []
    total = 0
    items = list(spans)
    sizes = weights or [weight(span) for span in items]
    most = shard_bytes(sum(sizes))
    for span, size in zip(items, sizes, strict=True):
        if held and (total + size > most or len(held) >= SHARD_FILES):
            shards.append(Shard(spans=tuple(held), bytes=total))
            held, total = [], 0
        held.append(span)
        total += size
    return [*shards, Shard(spans=tuple(held), bytes=total)] if held else shards
