"""The contracts: Source, Annotator, Reducer, Rewriter, and the decorators for a user's filters.

A stage is a pure function from the columns it reads to the columns it writes. It is a frozen,
keyword-only dataclass: its fields are its settings. It declares ``reads``, ``writes`` and
``version``; the engine does the rest (storing, resuming, guarding, selecting).

Trade-off: ``reads`` and ``writes`` belong to the class, so that the docstring can state them and
a test can compare; only a decorated function, which has no class of its own, carries them as
fields.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import os
import pickle
import re
import signal
import textwrap
import threading
import types
import typing
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import pyarrow as pa

from curation.columns import COLUMNS, PLACE
from curation.errors import IntegrityError, RecipeError, ResourceError

if TYPE_CHECKING:
    from curation.build import Build

#: A batch ends at whichever comes first; memory is bounded by these and not by the corpus.
BATCH_BYTES = 8 << 20
BATCH_ROWS = 8192

#: Optional column of any stage's output: why a row could not be done, null where it could.
ERROR = "error"
#: Under this name a pickled stage of a user's carries its text.
_TEXT = "_text_when_pickled"
#: Column of a Rewriter's output: index, within the batch, of the row that a new row comes from.
PARENT = "parent"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What all stages share: declared columns, settings checked at construction, an identity."""

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ()
    #: Columns handed over where an earlier step writes them, and as nulls where none does.
    may_read: ClassVar[tuple[str, ...]] = ()
    writes: ClassVar[pa.Schema] = pa.schema([])
    #: Settings that decide how a result is reached and not what it is: no part of the identity.
    incidental: ClassVar[tuple[str, ...]] = ()
    #: Whether a build's record holds the settings, for who works on from what the stage wrote.
    recorded: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_types(self)
        self.check()

    def check(self) -> None:
        """Raise RecipeError if a setting makes no sense; a stage with limits overrides this."""

    def model_files(self) -> tuple[str, ...]:
        """Return the files or folders whose content is part of what this stage is."""
        return ()

    def identity(self) -> dict[str, object]:
        """Return the stage's part of its fingerprint: class, version, settings, files.

        A setting that has ``facts()``, such as a language model, is known by what these say.
        """
        lasting = [f.name for f in dataclasses.fields(self) if f.name not in self.incidental]
        settings = {name: _known_by(getattr(self, name)) for name in lasting}
        facts: dict[str, object] = {
            "stage": f"{type(self).__module__}.{type(self).__qualname__}",
            "version": self.version,
            "settings": settings,
            "files": [content_hash(path) for path in self.model_files()],
        }
        if not type(self).__module__.startswith("curation."):
            facts["source"] = self._written()  # a user edits more often than they count
        return facts

    def _written(self) -> Any:
        """Return the text that makes a user's stage what it is."""
        return self.__dict__.get(_TEXT) or _source_text(type(self))

    def __getstate__(self) -> dict[str, object]:
        """Take a user's text along: where the stage is unpickled, its file is not known."""
        if type(self).__module__.startswith("curation.") and type(self) is not FunctionAnnotator:
            return self.__dict__
        return {**self.__dict__, _TEXT: self._written()}

    @property
    def most_workers(self) -> int | None:
        """How many worker processes of a run make sense; None for any number.

        A model that is loaded by each worker says so, and speaks for the stage that holds it.
        """
        held = [getattr(self, field.name) for field in dataclasses.fields(self)]
        found = [getattr(value, "most_workers", None) for value in held]
        return min((count for count in found if isinstance(count, int)), default=None)

    def ready(self) -> None:
        """Raise ResourceError where the stage could not work here, as far as a glance can tell.

        It is asked before a run reads anything. A model that wants a package, a folder or a GPU
        has such a method, and speaks for the stage that holds it.
        """
        for one in dataclasses.fields(self):
            value = getattr(self, one.name)
            asks = None if isinstance(value, type) else getattr(value, "ready", None)
            if callable(asks):
                asks()

    def examples(self) -> pa.RecordBatch | None:
        """Return rows to try the contract on, where made-up columns would not fit each other."""
        return None

    def finish(self, build: Build) -> None:
        """Do what is to be done once the build that this stage is part of is finished."""

    def __str__(self) -> str:
        shown = [
            f"{f.name}={getattr(self, f.name)!r}"
            for f in dataclasses.fields(self)
            if f.repr and getattr(self, f.name) != f.default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


@dataclass(frozen=True)
class Span:
    """A piece of one input file.

    path      where it is opened
    name      path relative to the fixed part of the pattern; the first half of every id
    size      bytes of the whole file
    modified  time stamp of the file in nanoseconds, as its file system gives it
    start     first place of the piece, in the source's own unit
    stop      place after the last; -1 for the end of the file
    """

    path: str
    name: str
    size: int
    modified: int
    start: int = 0
    stop: int = -1


@dataclass(frozen=True)
class Shard:
    """Spans that one task reads in order; the unit of work, of storage and of resumption.

    bytes  how much input the spans cover, for progress
    limit  read no more than so many rows; -1 for all
    part   which member of a combined source the spans belong to
    """

    spans: tuple[Span, ...]
    bytes: int
    limit: int = -1
    part: int = 0

    @cached_property
    def key(self) -> str:
        """16 hex digits that name the shard: equal files, equal pieces, equal key."""
        spans = [
            (_absolute(s.path), s.name, s.size, s.modified, s.start, s.stop) for s in self.spans
        ]
        facts = repr((self.part, self.limit, spans))
        return hashlib.sha256(facts.encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Source(Stage):
    """Files → rows with ``id``. Same files, same ids, at any worker count.

    ``writes`` are facts beside the payload, stored with the PLACE columns. ``payload`` columns
    are ephemeral: they are handed on within the pass and read again by their place later.
    """

    payload: ClassVar[pa.Schema] = pa.schema([])
    #: Which files there are is the shards' to say.
    incidental: ClassVar[tuple[str, ...]] = ("paths",)

    def plan(self) -> list[Shard]:
        """Return the shards, from the files and the settings alone; no file is read whole."""
        raise NotImplementedError

    def read(self, shard: Shard) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a shard in order, as ``schema``, in batches of BATCH_ROWS/BATCH_BYTES.

        Reading twice yields the same batches. A record that cannot be read is a row with its
        ``error`` set and its other facts null; OSError (a file gone, no permission) is raised.
        """
        raise NotImplementedError

    def reread(self, shard: Shard, wanted: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield the payload again for chosen rows.

        wanted   one batch for each batch of ``read``, possibly empty: columns id, file, offset,
                 length and ``row`` (int64, the row's index within its batch)
        yields   as many batches, with the payload columns, row for row
        raises   IntegrityError where the file no longer holds what it held
        """
        batches = self.read(shard)
        for want in wanted:
            batch = next(batches, None)
            if batch is None:
                raise _changed(shard)
            rows = batch.take(want["row"])
            if not rows["id"].equals(want["id"]):
                raise _changed(shard)
            yield rows.select(self.payload.names)

    @property
    def schema(self) -> pa.Schema:
        """PLACE columns, then ``writes``, then ``payload``, then ``error``."""
        place = [pa.field(name, COLUMNS[name][0]) for name in PLACE]
        return pa.schema([*place, *self.writes, *self.payload, pa.field(ERROR, pa.large_string())])


@dataclass(frozen=True, kw_only=True)
class Annotator(Stage):
    """One batch → columns, row for row. A row's values depend on that row alone."""

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return ``writes`` (and perhaps ``error``) for a batch of ``reads`` and ``may_read``."""
        raise NotImplementedError


class Rows(Protocol):
    """What a Reducer sees: the surviving rows of every shard, as often as it wants to read them."""

    #: A folder for spilled data, emptied afterwards.
    scratch: Path

    @property
    def count(self) -> int:
        """How many rows survive, over all shards."""

    def batches(self, *names: str) -> Iterator[pa.RecordBatch]:
        """Yield the named columns of all rows in source order."""

    def maker(self, name: str) -> Stage | None:
        """Return the stage that a column comes from; None where that is not known."""

    def note(self, **facts: object) -> None:
        """Put facts about all rows (as JSON has them) into the manifest; before the first batch."""


@dataclass(frozen=True, kw_only=True)
class Reducer(Stage):
    """A column of all rows → columns, row for row; order- and split-independent."""

    def reduce(self, rows: Rows) -> Iterator[pa.RecordBatch]:
        """Yield ``writes`` for all rows in the order of ``rows``, in batches of any size."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Rewriter(Stage):
    """Rows → new rows with ``parent_id``. Lineage is never lost.

    The engine names each new row after its parent (PARENT_ID/NAME-1, …) and carries source, url,
    license and date over.
    """

    def rewrite(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return new rows: ``parent`` (int32, index into the batch, ascending), then ``writes``.

        Perhaps ``error`` after them: a row that has one is no new row, and says why its parent
        could not be done. Such a parent is in error, and has that one row only.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class FunctionAnnotator(Annotator):
    """An annotator made of a user's function by ``@annotator`` or ``@row_annotator``."""

    function: Callable[..., Any]
    rowwise: bool
    reads: tuple[str, ...]  # type: ignore[misc]
    writes: pa.Schema  # type: ignore[misc]
    version: int = 1  # type: ignore[misc]

    def identity(self) -> dict[str, object]:
        """Return the function's source text and captured values beside its declared columns."""
        text, around = self._written()
        return {
            "stage": "function",
            "name": self.function.__qualname__,
            "source": text,
            "around": around,
            "version": self.version,
            "rowwise": self.rowwise,
            "writes": [(f.name, str(f.type)) for f in self.writes],
        }

    def _written(self) -> Any:
        known = self.__dict__.get(_TEXT)
        return known or (_source_text(self.function), _surroundings(self.function, set()))

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        arrays = [batch[name] for name in self.reads]
        if not self.rowwise:
            return _as_batch(self.function(*arrays), self.writes)
        values, errors = map_rows(self.function, *(a.to_pylist() for a in arrays))
        return rows_to_batch(values, errors, self.writes)

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)

    def __str__(self) -> str:
        return self.function.__name__


def annotator(
    *, writes: Mapping[str, pa.DataType], version: int = 1
) -> Callable[[Callable[..., Any]], FunctionAnnotator]:
    """Turn a function of whole columns into an annotator.

    The function's parameters name the columns it reads; each arrives as an Arrow array. It
    returns an array for one column, or a dict of arrays. Its source text is its identity:
    editing it scores anew, and ``version`` covers what the text does not show.

        @annotator(writes={"has_cve": pa.bool_()})
        def has_cve(text):
            return pc.match_substring_regex(text, r"CVE-[0-9]{4}-[0-9]+")
    """
    return lambda function: _from_function(function, writes, version, rowwise=False)


def row_annotator(
    *, writes: Mapping[str, pa.DataType], version: int = 1
) -> Callable[[Callable[..., Any]], FunctionAnnotator]:
    """Turn a function of one row into an annotator: convenient, at Python's speed.

    Parameters name the columns read and arrive as Python values (null is None). The function
    returns a value for one column, or a dict; an exception makes that row an error row.

        @row_annotator(writes={"cve_count": pa.uint32()})
        def cve_count(text: str) -> int:
            return text.count("CVE-")
    """
    return lambda function: _from_function(function, writes, version, rowwise=True)


def _from_function(
    function: Callable[..., Any], writes: Mapping[str, pa.DataType], version: int, *, rowwise: bool
) -> FunctionAnnotator:
    parameters = inspect.signature(function).parameters.values()
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if not parameters or any(p.kind not in plain for p in parameters):
        raise RecipeError(
            f"{function.__qualname__} cannot be a stage: its parameters must name the columns.",
            found=str(inspect.signature(function)),
            remedy="one plain parameter for each column, such as (text) or (text, url)",
        )
    return FunctionAnnotator(
        function=function,
        rowwise=rowwise,
        reads=tuple(p.name for p in parameters),
        writes=pa.schema(list(writes.items())),
        version=version,
    )


# ---------------------------------------------------------------- the row guard


class Counters(Protocol):
    """Integers that can be shared between processes."""

    def __getitem__(self, index: int, /) -> int: ...

    def __setitem__(self, index: int, value: int, /) -> None: ...


#: Counters that the engine watches while a stage works: [0] ticks at every row.
PULSE: Counters = array("q", [0])


#: Folder of a store in which replies of language models are kept (rewrite/journal.py).
REPLIES_FOLDER = "replies"
#: Where replies of language models are kept while a run works: STORE/replies; "" outside of runs.
REPLIES = ""


def pulse() -> None:
    """Tell the engine that another row has been done."""
    PULSE[0] += 1


class RowTimeout(BaseException):
    """A row took longer than its time limit. Not an Exception, so that parsers let it through."""


def attempt(
    function: Callable[..., Any], *args: Any, time_limit_s: float = 0.0
) -> tuple[Any, BaseException | None]:
    """Call a function; return (value, None), or (None, what it raised).

    time_limit_s  interrupt the call after so many seconds; 0 for no limit. It needs the main
                  thread, where engine workers run their stages; elsewhere there is no limit.
    """
    timed = time_limit_s > 0 and threading.current_thread() is threading.main_thread()
    try:
        if not timed:
            return function(*args), None
        before = signal.signal(signal.SIGALRM, _raise_timeout)
        try:
            signal.setitimer(signal.ITIMER_REAL, time_limit_s, time_limit_s)
            return function(*args), None
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    except (Exception, RowTimeout) as error:  # noqa: BLE001  the one guard: a failure is a value
        return None, error


def guarded(
    function: Callable[..., Any], *args: Any, time_limit_s: float = 0.0
) -> tuple[Any, str | None]:
    """Call a function on a row; return (value, None), or (None, what went wrong in words).

    Raises the errors that are no row's fault: RecipeError, ResourceError and IntegrityError.
    """
    value, error = attempt(function, *args, time_limit_s=time_limit_s)
    if isinstance(error, RecipeError | ResourceError | IntegrityError):
        raise error
    if isinstance(error, RowTimeout):
        return None, f"took longer than {time_limit_s:g} s"
    return value, None if error is None else f"{type(error).__name__}: {error}"[:1000]


def _raise_timeout(*_: object) -> None:
    raise RowTimeout


def map_rows(
    function: Callable[..., Any], *columns: Sequence[Any], time_limit_s: float = 0.0
) -> tuple[list[Any], list[str | None]]:
    """Call a function once a row; return its values and, for rows that failed, what went wrong.

    columns  equally long sequences of Python values; row n is called with the n-th of each
    returns  (values, errors), both as long as the columns; a failed row's value is None
    """
    values: list[Any] = []
    errors: list[str | None] = []
    for row in zip(*columns, strict=True):
        pulse()
        value, error = guarded(function, *row, time_limit_s=time_limit_s)
        values.append(value)
        errors.append(error)
    return values, errors


def rows_to_batch(
    values: Sequence[Any], errors: Sequence[str | None], schema: pa.Schema
) -> pa.RecordBatch:
    """Build a stage's output from one value, tuple or dict a row (None: nulls) and its errors."""
    names = schema.names
    if len(names) == 1:
        cells = [[v[names[0]] if isinstance(v, dict) else v for v in values]]
    else:
        rows = [_as_tuple(v, names) for v in values]
        cells = [[row[i] for row in rows] for i in range(len(names))]
    arrays = [_cells(cell, field) for cell, field in zip(cells, schema, strict=True)]
    fields = list(schema)
    if any(error is not None for error in errors):
        arrays.append(pa.array(errors, type=pa.large_string()))
        fields.append(pa.field(ERROR, pa.large_string()))
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def _cells(cells: list[Any], field: pa.Field) -> pa.Array:
    if pa.types.is_integer(field.type):
        cut = [c for c in cells if isinstance(c, float) and not c.is_integer()]
        if cut:  # pyarrow would drop the fraction without a word
            raise ValueError(f"{field.name} is {field.type}, and {cut[0]!r} is no whole number")
    return pa.array(cells, type=field.type)


def _as_tuple(value: Any, names: list[str]) -> Sequence[Any]:
    if value is None:
        return [None] * len(names)
    return [value[name] for name in names] if isinstance(value, dict) else value


def _as_batch(result: Any, schema: pa.Schema) -> pa.RecordBatch:
    if isinstance(result, pa.RecordBatch):
        return result
    found = result if isinstance(result, dict) else {schema.names[0]: result}
    arrays = [_as_array(found[field.name], field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _as_array(values: Any, kind: pa.DataType) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values, pa.Array):
        return values if values.type == kind else values.cast(kind)
    return pa.array(values, type=kind)


# ---------------------------------------------------------------- settings and identity


def _known_by(value: object) -> object:
    """Return what a setting is known by: its own facts, or itself."""
    facts = getattr(value, "facts", None)
    return facts() if callable(facts) and not isinstance(value, type) else value


def _check_types(stage: Stage) -> None:
    try:
        hints = typing.get_type_hints(type(stage))
    except NameError:  # a class made inside a function, whose annotations cannot be looked up
        return
    for field in dataclasses.fields(stage):
        value = getattr(stage, field.name)
        if not _fits(value, hints[field.name]):
            raise RecipeError(
                f"{type(stage).__name__} takes no such {field.name}.",
                found=f"{value!r} ({type(value).__name__})",
                wanted=str(field.type),
            )


def _fits(value: object, hint: Any) -> bool:
    if hint is Any:
        return True
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return value in args
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, arg) for arg in args)
    if origin is tuple and isinstance(value, tuple):
        item = args[0] if len(args) == 2 and args[1] is Ellipsis else None
        return item is None or all(_fits(v, item) for v in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    kind = origin or hint
    return isinstance(value, kind) if isinstance(kind, type) else True


def content_hash(path: str) -> str:
    """Return the SHA-256 of a file, or of a folder's files and names; ResourceError if absent."""
    if not os.path.exists(path):
        raise ResourceError(f"no file or folder at {path}.", remedy="check the path in the recipe")
    root = Path(path)
    digest = hashlib.sha256()
    for file in sorted(p for p in root.rglob("*") if p.is_file()) if root.is_dir() else [root]:
        digest.update(str(file.relative_to(root)).encode())
        with open(file, "rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _absolute(path: str) -> str:
    return path if "://" in path else os.path.abspath(path)


def _source_text(made: Callable[..., Any]) -> str:
    """Return the text of a function or class; typed at a prompt, the compiled code has to do."""
    try:
        return textwrap.dedent(inspect.getsource(made))
    except (OSError, TypeError):
        functions = [made, *vars(made).values()]
        return repr([_lasting(f.__code__) for f in functions if hasattr(f, "__code__")])


def _surroundings(function: Callable[..., Any], seen: set[int]) -> dict[str, str]:
    """Return what a function takes from outside: captured values, defaults, its module's names.

    Other modules' things are known by their names alone; ``version`` covers those.
    """
    if id(function) in seen or not isinstance(function, types.FunctionType):
        return {}
    seen.add(id(function))
    named = set(_names(function.__code__))
    found = {n: v for n, v in function.__globals__.items() if n in named}
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    found |= {name: attempt(lambda cell=cell: cell.cell_contents)[0] for name, cell in cells}
    found |= {f"default {i}": value for i, value in enumerate(function.__defaults__ or ())}
    facts = {}
    for name, value in found.items():
        own = getattr(value, "__module__", None) == function.__module__
        if isinstance(value, types.FunctionType | type) and own:
            facts[name] = f"{_source_text(value)} {_surroundings(value, seen)}"
        elif isinstance(value, types.ModuleType | types.FunctionType | type):
            facts[name] = getattr(value, "__qualname__", value.__name__)
        else:
            facts[name] = _lasting(value)
    return facts


def _names(code: types.CodeType) -> Iterator[str]:
    """Yield the names that a function looks up, in the functions inside it too."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _lasting(value: object) -> str:
    """Return a spelling of a value that is the same in every process, for equal content."""
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(_lasting(item) for item in value))}}}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(_lasting(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_lasting(k)}: {_lasting(v)}' for k, v in value.items())}}}"
    if isinstance(value, types.CodeType):
        return f"{value.co_code.hex()} {value.co_names} {_lasting(value.co_consts)}"
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return repr(value)
    data, error = attempt(pickle.dumps, value)
    if error is None:
        return f"{type(value).__qualname__} {hashlib.sha256(data).hexdigest()}"
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _changed(shard: Shard) -> IntegrityError:
    return IntegrityError(
        "an input file no longer holds what it held when it was first read.",
        files=", ".join(span.path for span in shard.spans[:3]),
        remedy="run the recipe again: changed files are read anew",
    )
