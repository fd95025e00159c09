"""The contract as a test that anybody can run on a stage: ``check_stage(MyFilter())``.

Each law is one small function below and raises ContractError with the law, the column and the
row. What the laws guard: a stage's values are stored once and used for ever, by any number of
workers, whatever the batches; a stage that depends on its neighbours or its luck would write a
corpus that nobody can make again.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curation.columns import COLUMNS
from curation.errors import CurationError, RecipeError
from curation.example_values import adversarial_values
from curation.stage import (
    BATCH_BYTES,
    BATCH_ROWS,
    ERROR,
    PARENT,
    Annotator,
    FunctionAnnotator,
    Reducer,
    Rewriter,
    Shard,
    Source,
    Stage,
)

_ERROR_FIELD = pa.field(ERROR, pa.large_string())


class ContractError(AssertionError):
    """A stage breaks a law of its contract."""


def check_stage(stage: Stage, *, examples: pa.RecordBatch | None = None) -> None:
    """Run the contract on a stage; ContractError says which law is broken, and where.

    examples  rows to try it on, with the columns it reads; without them, adversarial values are
              made for every column that the package knows. A Source reads the files it names.
    """
    _check_declaration(stage)
    if isinstance(stage, Source):
        _check_source(stage)
    elif isinstance(stage, Annotator):
        _check_annotator(stage, _example_rows(stage, examples))
    elif isinstance(stage, Reducer):
        _check_reducer(stage, _with_ids(_example_rows(stage, examples, repeat=2)))
    elif isinstance(stage, Rewriter):
        _check_rewriter(stage, _example_rows(stage, examples))
    else:
        raise _broken(stage, "a stage is a Source, an Annotator, a Reducer or a Rewriter")


# ---------------------------------------------------------------- every stage


def _check_declaration(stage: Stage) -> None:
    for law in (_is_frozen_dataclass, _survives_pickling, _declares_known_columns):
        law(stage)
    if not isinstance(stage, FunctionAnnotator):
        _docstring_states_columns(stage)


def _is_frozen_dataclass(stage: Stage) -> None:
    kind = type(stage)
    parameters = vars(kind).get("__dataclass_params__")  # a parent's do not count
    if parameters is None or not parameters.frozen:
        raise _broken(stage, "a stage is a @dataclass(frozen=True, kw_only=True)")
    # Warc("crawl/*.gz") reads better than Warc(paths=...): a source's first setting may do without.
    settings = dataclasses.fields(stage)[isinstance(stage, Source) :]
    for field in settings:
        if not field.kw_only:
            raise _broken(stage, "settings are keyword-only", f"setting {field.name!r} is not")


def _survives_pickling(stage: Stage) -> None:
    import cloudpickle

    law = "a stage is pickled to its workers and is the same stage there"
    copy = _call(stage, law, lambda: cloudpickle.loads(cloudpickle.dumps(stage)))
    before, after = stage.identity(), copy.identity()
    for part in before:
        if before[part] != after.get(part):
            found = f"{part} was {before[part]!r} and is {after.get(part)!r}"
            raise _broken(stage, law, f"its identity changed: {found}")


def _declares_known_columns(stage: Stage) -> None:
    for name in {*stage.reads} & {*stage.may_read}:
        law = "a column is in reads or in may_read, not in both"
        raise _broken(stage, law, f"column {name!r} is in both")
    for field in stage.writes:
        if field.name in (ERROR, PARENT):
            raise _broken(stage, f"{field.name!r} is the engine's and is not declared in writes")
        known = COLUMNS.get(field.name, (field.type, ""))[0]
        if field.type != known:
            found = f"column {field.name!r} is {field.type} and the package's is {known}"
            raise _broken(stage, "a registered column keeps its type everywhere", found)


def _docstring_states_columns(stage: Stage) -> None:
    """Compare the block of reads, may_read, writes and payload with what the class declares."""
    stated = _stated_columns(inspect.getdoc(type(stage)) or "")
    ours = type(stage).__module__.startswith("curation.")
    declared = {"reads": _typed(stage.reads), "may_read": _typed(stage.may_read)}
    declared["writes"] = [(f.name, _type_name(f.type)) for f in stage.writes]
    if isinstance(stage, Source):
        declared["payload"] = [(f.name, _type_name(f.type)) for f in stage.payload]
    for section, wanted in declared.items():
        if section not in stated and not (ours and wanted):
            continue
        lines = stated.get(section, [])
        found = [(name, _type_name(kind)) for name, kind in lines if kind]
        if lines and not found:  # prose, such as "what the members write"
            continue
        if section == "reads" and isinstance(inspect.getattr_static(stage, "reads"), property):
            # settings decide what is read: more columns than stated, or fewer
            both = {name for name, _ in found} & {name for name, _ in wanted}
            found = [column for column in found if column[0] in both]
            wanted = [column for column in wanted if column[0] in both]
        if not _states(found, wanted):
            facts = f"{section} are declared as {wanted} and stated as {found}"
            raise _broken(stage, "the docstring states the columns that the class declares", facts)


def _typed(names: Iterable[str]) -> list[tuple[str, str]]:
    return [(name, _type_name(COLUMNS[name][0]) if name in COLUMNS else "") for name in names]


def _type_name(kind: pa.DataType | str) -> str:
    """Return a type's name; Arrow prints float32 and float64 as C would call them."""
    plain = {"halffloat": "float16", "float": "float32", "double": "float64"}
    return re.sub(r"\w+", lambda name: plain.get(name[0], name[0]), str(kind))


def _states(found: list[tuple[str, str]], wanted: list[tuple[str, str]]) -> bool:
    """A column that is read and not registered may be of any type."""
    return [name for name, _ in found] == [name for name, _ in wanted] and all(
        kind in ("", stated) for (_, stated), (_, kind) in zip(found, wanted, strict=True)
    )


def _stated_columns(doc: str) -> dict[str, list[tuple[str, str]]]:
    """Return section → [(column, type)] of a docstring's block; the type of prose is ""."""
    stated: dict[str, list[tuple[str, str]]] = {}
    section, indent = "", 0
    for line in doc.splitlines():
        head = re.match(r"(reads|may_read|writes|payload|source) +(?=\S)", line)
        if head:
            section, indent = head[1], head.end()
            stated[section] = []
        elif not line.strip() or len(line) - len(line.lstrip()) != indent:
            section = section if line.startswith(" " * (indent + 1)) else ""  # a wrapped line
        if section:
            name, *rest = re.split(r"\s{2,}", line[indent:].strip())
            is_entry = line[indent : indent + 1].strip() and " " not in name and rest
            stated[section].append((name, rest[0] if is_entry else ""))
    return stated


# ---------------------------------------------------------------- annotators


def _check_annotator(stage: Annotator, rows: pa.RecordBatch) -> None:
    run = partial(_annotated, stage)
    _leaves_input_alone(stage, rows, run)
    whole = run(rows)
    _same(stage, "the same rows give the same values", whole, run(rows))
    _works_on_no_rows_and_on_nulls(stage, rows, run)
    for size in (1, 7, max(1, len(rows) // 2)):
        parts = [run(rows.slice(start, size)) for start in range(0, len(rows), size)]
        law = f"a row's values depend on that row alone, and not on batches of {size}"
        _same(stage, law, whole, pa.concat_batches(parts) if parts else whole)
    order = _permutation(len(rows))
    law = "a row's values depend on that row alone, and not on the order of rows"
    _same(stage, law, whole.take(order), run(rows.take(order)))


def _annotated(stage: Annotator, rows: pa.RecordBatch) -> pa.RecordBatch:
    """Annotate; check schema and length; add the error column where there is none."""
    law = "a bad row is a value (null, or an error) and never an exception"
    made = _call(stage, law, lambda: stage.annotate(rows))
    _has_schema(stage, made, stage.writes)
    if len(made) != len(rows):
        found = f"{len(made)} rows out for {len(rows)} in"
        raise _broken(stage, "an annotator gives one row for each row", found)
    return _with_error_column(made)


def _leaves_input_alone(
    stage: Stage, rows: pa.RecordBatch, run: Callable[[pa.RecordBatch], Any]
) -> None:
    before = rows.serialize().to_pybytes()
    run(rows)
    if rows.serialize().to_pybytes() != before:
        raise _broken(stage, "the batch handed in is left as it was", "its bytes have changed")


def _works_on_no_rows_and_on_nulls(
    stage: Stage, rows: pa.RecordBatch, run: Callable[[pa.RecordBatch], Any]
) -> None:
    run(_empty(rows.schema))
    run(rows.slice(len(rows), 0))
    nulls = [c if n == "id" else pa.nulls(len(rows), c.type) for n, c in _columns(rows)]
    run(pa.RecordBatch.from_arrays(nulls, schema=rows.schema))


# ---------------------------------------------------------------- reducers


class MemoryRows:
    """Rows held in memory, for a Reducer; satisfies ``stage.Rows``."""

    def __init__(self, batches: Sequence[pa.RecordBatch], scratch: Path) -> None:
        self._batches = batches
        self.scratch = scratch
        self.count = sum(len(batch) for batch in batches)
        self.notes: dict[str, object] = {}

    def batches(self, *names: str) -> Iterator[pa.RecordBatch]:
        """Yield the named columns of all rows in order; a registered one that is absent is null."""
        for batch in self._batches:
            for name in names:
                if name not in batch.schema.names and name in COLUMNS:
                    batch = batch.append_column(name, pa.nulls(len(batch), COLUMNS[name][0]))
            yield batch.select(list(names))

    def maker(self, name: str) -> Stage | None:
        """Nothing is known of where the rows come from."""
        return None

    def note(self, **facts: object) -> None:
        """There is no manifest."""
        self.notes.update(facts)


def _check_reducer(stage: Reducer, rows: pa.RecordBatch) -> None:
    whole = _reduced(stage, [rows])
    _same(stage, "the same rows give the same values", whole, _reduced(stage, [rows]))
    for size in (1, 7):
        parts = [rows.slice(start, size) for start in range(0, len(rows), size)]
        law = f"a reducer does not depend on how rows are split, here in batches of {size}"
        _same(stage, law, whole, _reduced(stage, parts))
    order = _permutation(len(rows))
    law = "a reducer gives each id the same values, whatever the order of rows"
    # A sum of floats in another order is another sum in its last digits.
    _same(stage, law, whole.take(order), _reduced(stage, [rows.take(order)]), close=True)
    _reduced(stage, [])
    _reduced(stage, [rows.slice(0, 0)])


def _reduced(stage: Reducer, batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Reduce; check schema and length; return all rows as one batch."""
    with tempfile.TemporaryDirectory() as scratch:
        rows = MemoryRows(batches, Path(scratch))
        law = "a reducer takes any rows, none included"
        parts = _call(stage, law, lambda: list(stage.reduce(rows)))
    for part in parts:
        _has_schema(stage, part, stage.writes)
    made = pa.concat_batches([_with_error_column(p) for p in [_empty(stage.writes), *parts]])
    if len(made) != rows.count:
        found = f"{len(made)} rows out for {rows.count} in"
        raise _broken(stage, "a reducer gives one row for each row", found)
    return made


# ---------------------------------------------------------------- rewriters


def _check_rewriter(stage: Rewriter, rows: pa.RecordBatch) -> None:
    run = partial(_rewritten, stage)
    _leaves_input_alone(stage, rows, run)
    whole = run(rows)
    _same(stage, "the same rows give the same new rows", whole, run(rows))
    _works_on_no_rows_and_on_nulls(stage, rows, run)
    for size in (1, 7):
        starts = range(0, len(rows), size)
        parts = [_moved(run(rows.slice(start, size)), start) for start in starts]
        law = f"new rows depend on their parent alone, and not on batches of {size}"
        _same(stage, law, whole, pa.concat_batches(parts) if parts else whole)


def _rewritten(stage: Rewriter, rows: pa.RecordBatch) -> pa.RecordBatch:
    law = "a bad row is a value (null, or an error) and never an exception"
    made = _call(stage, law, lambda: stage.rewrite(rows))
    _has_schema(stage, made, pa.schema([pa.field(PARENT, pa.int32()), *stage.writes]))
    parents = made[PARENT]
    if parents.null_count:
        raise _broken(stage, "every new row names its parent", "a parent is null")
    index = parents.to_numpy()
    if np.any(index[1:] < index[:-1]):
        row = int(np.argmax(index[1:] < index[:-1])) + 1
        found = f"new row {row} has parent {index[row]} after {index[row - 1]}"
        raise _broken(stage, "parents ascend", found)
    if len(index) and (index[0] < 0 or index[-1] >= len(rows)):
        found = f"parents {index[0]}..{index[-1]} of {len(rows)} rows"
        raise _broken(stage, "a parent is the index of a row in the batch", found)
    made = _with_error_column(made)
    failed = {*made.filter(made[ERROR].is_valid())[PARENT].to_pylist()}
    for parent in index[made[ERROR].is_null().to_numpy(zero_copy_only=False)]:
        if int(parent) in failed:
            law = "a parent in error has no new row: rows, or one row that says why there are none"
            raise _broken(stage, law, f"parent {parent} has both")
    return made


def _moved(made: pa.RecordBatch, start: int) -> pa.RecordBatch:
    parents = pa.array(made[PARENT].to_numpy() + start, type=pa.int32())
    return pa.RecordBatch.from_arrays([parents, *made.columns[1:]], schema=made.schema)


# ---------------------------------------------------------------- sources


def _check_source(stage: Source) -> None:
    shards = stage.plan()
    if stage.plan() != shards:
        raise _broken(stage, "the same files give the same plan", "two plans differ")
    keys = [shard.key for shard in shards]
    if len({*keys}) != len(keys):
        raise _broken(stage, "every shard has a key of its own", f"keys {_repeated(keys)} repeat")
    ids: list[str] = []
    for shard in shards:
        batches = _read(stage, shard)
        _reads_the_same_again(stage, shard, batches)
        _rereads_the_payload(stage, shard, batches)
        ids += [i for batch in batches for i in batch["id"].to_pylist()]
    if None in ids or len({*ids}) != len(ids):
        raise _broken(stage, "every row has an id of its own", f"ids {_repeated(ids)} repeat")


def _read(stage: Source, shard: Shard) -> list[pa.RecordBatch]:
    law = "a record that cannot be read is a row in error and never an exception"
    batches: list[pa.RecordBatch] = _call(stage, law, lambda: list(stage.read(shard)))
    for batch in batches:
        if batch.schema != stage.schema:
            found = f"shard {shard.key} gives {_shown(batch.schema)}"
            raise _broken(stage, f"a source gives {_shown(stage.schema)}", found)
        _is_bounded(stage, batch)
    return batches


def _is_bounded(stage: Source, batch: pa.RecordBatch) -> None:
    """A batch ends with the row that reaches a bound, so all rows but the last are below it."""
    payload = batch.slice(0, max(len(batch) - 1, 0)).select(stage.payload.names)
    room = BATCH_BYTES + 32 * len(batch) * len(payload.columns)  # Arrow's offsets and bitmaps
    if len(batch) > BATCH_ROWS or payload.nbytes > room:
        found = f"{len(batch)} rows with {payload.nbytes} payload bytes before the last row"
        raise _broken(stage, f"a batch holds {BATCH_ROWS} rows or {BATCH_BYTES} bytes", found)


def _reads_the_same_again(stage: Source, shard: Shard, batches: list[pa.RecordBatch]) -> None:
    law = "reading a shard twice gives the same batches"
    again = _read(stage, shard)
    if len(again) != len(batches):
        raise _broken(stage, law, f"{len(batches)} batches, then {len(again)}")
    for first, second in zip(batches, again, strict=True):
        _same(stage, law, first, second)


def _rereads_the_payload(stage: Source, shard: Shard, batches: list[pa.RecordBatch]) -> None:
    """Ask again for every other row that is not in error, and for none of the third batch."""
    law = "a payload read again by its place is the payload"
    wanted, payloads = [], []
    for number, batch in enumerate(batches):
        fine = np.flatnonzero(batch[ERROR].is_null().to_numpy(zero_copy_only=False))
        row = pa.array(fine[::2] if number != 2 else fine[:0], type=pa.int64())
        place = batch.select(["id", "file", "offset", "length"]).take(row)
        wanted.append(place.append_column("row", row))
        payloads.append(batch.take(row).select(stage.payload.names))
    again = _call(stage, law, lambda: list(stage.reread(shard, iter(wanted))))
    if len(again) != len(wanted):
        raise _broken(stage, law, f"{len(wanted)} batches asked for and {len(again)} given")
    for first, second in zip(payloads, again, strict=True):
        _same(stage, law, first, second)


def _repeated(names: Sequence[object]) -> str:
    return ", ".join(sorted({str(n) for n in names if names.count(n) > 1})[:3])


# ---------------------------------------------------------------- rows to try a stage on


def _example_rows(stage: Stage, examples: pa.RecordBatch | None, repeat: int = 1) -> pa.RecordBatch:
    """Return the columns a stage reads, from the examples given or else from made-up values."""
    names = [*dict.fromkeys([*stage.reads, *stage.may_read])]
    if examples is None and (own := stage.examples()) is not None:
        examples = own if "id" in own.schema.names else _with_ids(own)
    if examples is None:
        return _made_up(stage, names, repeat)
    absent = [name for name in stage.reads if name not in examples.schema.names]
    if absent:
        raise RecipeError(f"the examples lack {absent[0]!r}, which {stage} reads.")
    for name in {*names} - {*examples.schema.names}:
        nulls = pa.nulls(len(examples), COLUMNS[name][0])
        examples = examples.append_column(name, nulls)
    with_id = ["id"] if "id" in examples.schema.names and isinstance(stage, Reducer) else []
    return examples.select([*dict.fromkeys([*with_id, *names])])


def _made_up(stage: Stage, names: Sequence[str], repeat: int) -> pa.RecordBatch:
    unknown = [name for name in names if name not in COLUMNS]
    if unknown:
        raise RecipeError(
            f"nothing says what type {unknown[0]!r} has, which {stage} reads.",
            remedy="check_stage(stage, examples=...) with a batch that holds it",
        )
    pools = [adversarial_values(COLUMNS[name][0]) for name in names]
    count = repeat * max((len(pool) for pool in pools), default=3)
    arrays = []
    for number, (name, pool) in enumerate(zip(names, pools, strict=True)):
        # Pools of several columns run against each other, so that odd values meet.
        cells = [pool[(row + 3 * number) % len(pool)] for row in range(count)]
        cells = _ids(count) if name == "id" else cells
        arrays.append(pa.array(cells, type=COLUMNS[name][0]))
    return pa.RecordBatch.from_arrays(arrays, names=list(names))


def _ids(count: int) -> list[str]:
    """Return distinct ids, not in ascending order."""
    return [f"examples#{(row * 7919 + 13) % 100_003}" for row in range(count)]


def _with_ids(rows: pa.RecordBatch) -> pa.RecordBatch:
    if "id" in rows.schema.names:
        return rows
    return rows.append_column("id", pa.array(_ids(len(rows)), type=pa.large_string()))


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=schema)


def _permutation(count: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.random.default_rng(0).permutation(count)


def _columns(rows: pa.RecordBatch) -> list[tuple[str, pa.Array]]:
    return list(zip(rows.schema.names, rows.columns, strict=True))


# ---------------------------------------------------------------- comparing


def _call(stage: Stage, law: str, function: Callable[[], Any]) -> Any:
    """Call; an exception breaks the law, but for the package's own, which says what is missing."""
    try:
        return function()
    except CurationError:
        raise
    except Exception as error:
        raise _broken(stage, law, f"raised {type(error).__name__}: {error}") from error


def _has_schema(stage: Stage, made: object, wanted: pa.Schema) -> None:
    """The columns declared, in that order and type, and perhaps ``error`` after them."""
    law = f"{stage} gives {_shown(wanted)}, and perhaps {ERROR}: {_ERROR_FIELD.type}"
    if not isinstance(made, pa.RecordBatch):
        raise _broken(stage, law, f"it gave a {type(made).__name__}, not a RecordBatch")
    found = [(f.name, f.type) for f in made.schema]
    expected = [(f.name, f.type) for f in wanted]
    if found not in (expected, [*expected, (ERROR, _ERROR_FIELD.type)]):
        raise _broken(stage, law, f"it gave {_shown(made.schema)}")


def _with_error_column(made: pa.RecordBatch) -> pa.RecordBatch:
    if ERROR in made.schema.names:
        return made
    return made.append_column(_ERROR_FIELD, pa.nulls(len(made), _ERROR_FIELD.type))


def _same(
    stage: Stage, law: str, wanted: pa.RecordBatch, found: pa.RecordBatch, close: bool = False
) -> None:
    """Raise for the first row that differs; NaN is the same as NaN."""
    if len(wanted) != len(found):
        raise _broken(stage, law, f"{len(wanted)} rows, then {len(found)}")
    for name, column in _columns(wanted):
        if column.equals(found[name]):
            continue
        for row, (a, b) in enumerate(zip(column.to_pylist(), found[name].to_pylist(), strict=True)):
            if not _equal(a, b, close):
                differ = f"{_short(a)} and {_short(b)}"
                raise _broken(stage, law, f"column {name!r} of row {row} is {differ}")


def _equal(a: Any, b: Any, close: bool) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_equal(x, y, close) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key], close) for key in a)
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (a != a and b != b) or (close and math.isclose(a, b, rel_tol=1e-6))
    return bool(a == b)


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:40]}... ({len(shown)} characters)"


def _shown(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema) or "no columns"


def _broken(stage: Stage, law: str, found: str = "") -> ContractError:
    return ContractError(f"{stage} breaks a law: {law}{'; ' if found else ''}{found}.")
