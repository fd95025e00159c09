"""Each law of the contract, with a stage that breaks it and is caught."""

from __future__ import annotations

import ctypes
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from curation.columns import COLUMNS, columns
from curation.errors import RecipeError, ResourceError
from curation.example_values import adversarial_values
from curation.stage import (
    BATCH_BYTES,
    BATCH_ROWS,
    PARENT,
    Annotator,
    Reducer,
    Rewriter,
    Rows,
    Shard,
    Source,
    Span,
    Stage,
    annotator,
    row_annotator,
)
from curation.testing import ContractError, check_stage

MARK = pa.schema([("mark", pa.int64())])
TWO = ["mark", "more"]


def breaks(stage: Stage, law: str, **options: Any) -> None:
    with pytest.raises(ContractError, match=law):
        check_stage(stage, **options)


def marked(values: Any) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(values, pa.int64())], schema=MARK)


class Named:
    """Test stages hold functions, which are no part of a sound identity."""

    def identity(self) -> dict[str, object]:
        return {"stage": type(self).__name__}


@dataclass(frozen=True, kw_only=True)
class Mark(Named, Annotator):
    """An annotator whose values a test chooses: a function of the batch."""

    reads: ClassVar[tuple[str, ...]] = ("text",)
    writes: ClassVar[pa.Schema] = MARK
    made: Callable[..., Any] = lambda batch: marked(pc.utf8_length(batch["text"]))

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return self.made(batch)


@dataclass(frozen=True, kw_only=True)
class Total(Named, Reducer):
    """A reducer whose values a test chooses: a function of all rows."""

    reads: ClassVar[tuple[str, ...]] = ("id", "word_count")
    writes: ClassVar[pa.Schema] = MARK
    made: Callable[..., Any] = lambda rows: [
        marked(batch["word_count"].cast(pa.int64())) for batch in rows.batches("word_count")
    ]

    def reduce(self, rows: Rows) -> Iterator[pa.RecordBatch]:
        yield from self.made(rows)


@dataclass(frozen=True, kw_only=True)
class Copies(Named, Rewriter):
    """A rewriter whose rows a test chooses: a function of the texts to (parent, text)."""

    reads: ClassVar[tuple[str, ...]] = ("text",)
    writes: ClassVar[pa.Schema] = columns("text")
    made: Callable[..., Any] = lambda texts: [(n, t) for n, t in enumerate(texts) if t]
    parent_type: str = "int32"

    def rewrite(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        rows = self.made(batch["text"].to_pylist())
        parents = pa.array([row[0] for row in rows], pa.type_for_alias(self.parent_type))
        texts = pa.array([row[1] for row in rows], pa.large_string())
        return pa.RecordBatch.from_arrays([parents, texts], names=[PARENT, "text"])


@dataclass(frozen=True, kw_only=True)
class Failing(Named, Rewriter):
    """A rewriter that copies texts and says of long ones that they failed; or copies these too."""

    reads: ClassVar[tuple[str, ...]] = ("text",)
    writes: ClassVar[pa.Schema] = columns("text")
    both: bool = False

    def rewrite(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        rows: list[tuple[int, str | None, str | None]] = []
        for parent, text in enumerate(batch["text"].to_pylist()):
            is_long = text is not None and len(text) > 9
            rows += [(parent, text, None)] if self.both or not is_long else []
            rows += [(parent, None, "too long")] if is_long else []
        names = (PARENT, "text", "error")
        kinds = (pa.int32(), pa.large_string(), pa.large_string())
        cells = [[row[n] for row in rows] for n in range(3)]
        arrays = [pa.array(c, k) for c, k in zip(cells, kinds, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, names=list(names))


@dataclass(frozen=True, kw_only=True)
class Lines(Named, Source):
    """A source of numbered rows; a test chooses what goes wrong."""

    payload: ClassVar[pa.Schema] = columns("text")
    sizes: tuple[int, ...] = (3, 2)
    read_as: Callable[..., Any] = lambda batch: [batch]
    reread_as: Callable[..., Any] = lambda batches: batches

    def plan(self) -> list[Shard]:
        return [shard_of(f"f{n}", size) for n, size in enumerate(self.sizes)]

    def read(self, shard: Shard) -> Iterator[pa.RecordBatch]:
        span = shard.spans[0]
        names = [f"{span.name}#{n}" for n in range(span.stop)]
        rows = [{"id": name, "file": span.name, "text": f"text of {name}"} for name in names]
        yield from self.read_as(pa.RecordBatch.from_pylist(rows, schema=self.schema))

    def reread(self, shard: Shard, wanted: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from self.reread_as(list(super().reread(shard, wanted)))


def shard_of(name: str, size: int) -> Shard:
    return Shard(spans=(Span(path=name, name=name, size=size, modified=0, stop=size),), bytes=size)


# ---------------------------------------------------------------- stages that keep the law


@annotator(writes={"shout": pa.bool_()})
def shouts(text: pa.LargeStringArray) -> pa.BooleanArray:
    return pc.equal(text, pc.utf8_upper(text))


@row_annotator(writes={"cve_count": pa.uint32()})
def cve_count(text: str) -> int:
    return text.count("CVE")


@row_annotator(writes={"shade": pa.large_string()})
def shade(colour: str) -> str:
    return f"dark {colour}"


@pytest.mark.parametrize("stage", [shouts, cve_count, Mark(), Total(), Copies(), Lines()], ids=str)
def test_stages_that_keep_the_contract_pass(stage: Stage) -> None:
    """A check that faults good stages is switched off, and then catches nothing."""
    check_stage(stage)


def test_examples_are_needed_for_columns_the_package_does_not_know() -> None:
    """A user who reads a column of their own must be told how to check the stage."""
    with pytest.raises(RecipeError, match="colour"):
        check_stage(shade)
    check_stage(shade, examples=pa.record_batch({"colour": ["red", None]}))
    with pytest.raises(RecipeError, match="colour"):
        check_stage(shade, examples=pa.record_batch({"color": ["red", None]}))


def test_a_model_that_is_missing_is_not_a_broken_contract() -> None:
    """The user must read which file is missing, not that the stage is faulty."""

    def absent(_: pa.RecordBatch) -> pa.RecordBatch:
        raise ResourceError("no model")

    with pytest.raises(ResourceError):
        check_stage(Mark(made=absent))


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_every_registered_column_has_examples(name: str) -> None:
    """A stage that reads a column without examples could not be checked at all."""
    values = adversarial_values(COLUMNS[name][0])
    assert values[-1] is None
    assert len(pa.array(values, COLUMNS[name][0])) > 2


# ---------------------------------------------------------------- every stage


def test_a_stage_that_can_change_is_caught() -> None:
    """A setting changed after the fingerprint was taken gives values under a false name."""

    class Plain(Mark):
        pass

    breaks(Plain(), "is a @dataclass")


def test_positional_settings_are_caught() -> None:
    """A recipe with bare numbers breaks in silence when a setting is added."""

    @dataclass(frozen=True)
    class Positional(Mark):
        limit: int = 3

    breaks(Positional(), "keyword-only; setting 'limit'")


def test_a_stage_that_cannot_be_pickled_is_caught() -> None:
    """It would work with one worker and fail with two."""

    @dataclass(frozen=True, kw_only=True)
    class Locked(Mark):
        lock: object = field(default_factory=threading.Lock)

    breaks(Locked(), "pickled to its workers")


def test_an_identity_that_changes_on_the_way_is_caught() -> None:
    """Every worker would look for the results under another fingerprint."""
    counter = itertools.count()

    @dataclass(frozen=True, kw_only=True)
    class Restless(Mark):
        def identity(self) -> dict[str, object]:
            return {"stage": next(counter)}

    breaks(Restless(), "its identity changed: stage was")


def test_a_registered_column_of_another_type_is_caught() -> None:
    """A rule on the column would mean one thing in one recipe and another in the next."""

    @dataclass(frozen=True, kw_only=True)
    class Wrong(Mark):
        writes: ClassVar[pa.Schema] = pa.schema([("word_count", pa.int8())])

    breaks(Wrong(), "column 'word_count' is int8 and the package's is uint32")


@pytest.mark.parametrize("name", ["error", "parent"])
def test_the_engines_own_columns_cannot_be_declared(name: str) -> None:
    """The engine would take a stage's values for errors or for lineage."""

    @dataclass(frozen=True, kw_only=True)
    class Greedy(Mark):
        writes: ClassVar[pa.Schema] = pa.schema([(name, pa.int64())])

    breaks(Greedy(), "is the engine's")


def test_a_column_both_read_and_perhaps_read_is_caught() -> None:
    """Whether the column has to be there would be anybody's guess."""

    @dataclass(frozen=True, kw_only=True)
    class Both(Mark):
        may_read: ClassVar[tuple[str, ...]] = ("text",)

    breaks(Both(), "column 'text' is in both")


@pytest.mark.parametrize(
    "block",
    [
        "reads    html  large_binary  page",
        "reads    text  string        not the type",
        "reads    text  large_string  text\n    may_read url  large_string  not declared",
        "writes   mark  int32         not the type",
        "writes   mark  int64         right\n             more  int64  not written",
    ],
)
def test_a_docstring_that_states_other_columns_is_caught(block: str) -> None:
    """People write recipes from the docstring; a stale one costs them an evening."""
    kind = dataclass(frozen=True, kw_only=True)(
        type("Stale", (Mark,), {"__doc__": f"Mark.\n\n    {block}\n    "})
    )
    breaks(kind(), "docstring states the columns")


def test_a_docstring_that_states_the_columns_passes() -> None:
    """The block of STYLE.md, wrapped lines and prose included, must be understood."""

    @dataclass(frozen=True, kw_only=True)
    class Told(Mark):
        """Mark.

        reads    text             large_string  a text, with a description
                                  that goes  on over lines
        may_read url              large_string  its address
        writes   mark             int64         a number
        source   nobody  in  particular
        """

        may_read: ClassVar[tuple[str, ...]] = ("url",)

    check_stage(Told())


def test_a_stage_of_the_package_without_the_block_is_caught() -> None:
    """Users are free to leave it out; the package is not."""
    kind = dataclass(frozen=True, kw_only=True)(
        type("Ours", (Mark,), {"__doc__": "Mark.", "__module__": "curation.ours"})
    )
    with pytest.raises(ContractError, match="docstring states the columns"):
        check_stage(kind())


def test_a_stage_of_no_kind_is_caught() -> None:
    """The engine would have nothing to call."""

    @dataclass(frozen=True, kw_only=True)
    class Nothing(Stage):
        pass

    breaks(Nothing(), "a stage is a Source")


# ---------------------------------------------------------------- annotators


def nothing(batch: pa.RecordBatch, kind: pa.DataType | None = None) -> pa.Array:
    return pa.nulls(len(batch), kind or pa.int64())


def counting() -> Callable[[Any], Any]:
    """Return a function that gives other values at every call."""
    calls = itertools.count()
    return lambda batch: marked([next(calls)] * len(batch))


def overwriting(batch: pa.RecordBatch) -> pa.RecordBatch:
    if len(batch):
        ctypes.memset(batch["text"].buffers()[2].address, ord("A"), 3)
    return marked([1] * len(batch))


def forgetting_the_offset(batch: pa.RecordBatch) -> pa.RecordBatch:
    buffer = batch["text"].buffers()[1] if len(batch) else bytes(8)
    return marked(np.diff(np.frombuffer(buffer, np.int64)[: len(batch) + 1]))


def failing_on_nulls(batch: pa.RecordBatch) -> pa.RecordBatch:
    if len(batch) > 1 and batch["text"].null_count == len(batch):
        raise ValueError("nothing to look at")
    return marked([1] * len(batch))


def failing_on_no_rows(batch: pa.RecordBatch) -> pa.RecordBatch:
    if len(batch) == 0 and batch["text"].offset == 0:
        raise ValueError("no rows")
    return marked([1] * len(batch))


def failing_on_no_rows_of_some(batch: pa.RecordBatch) -> pa.RecordBatch:
    if len(batch) == 0 and batch["text"].offset > 0:
        raise ValueError("no rows are left")
    return marked([1] * len(batch))


def looking_at_the_row_before(batch: pa.RecordBatch) -> pa.RecordBatch:
    texts = batch["text"].to_pylist()
    return marked([int(before is None) for before in [None, *texts][: len(texts)]])


def minding_the_order(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Only all of the examples are so many rows, and in their own order "" is the first."""
    strange = len(batch) > 20 and batch["text"][0].as_py() != ""
    return marked([int(strange)] * len(batch))


def unlucky_first(batch: pa.RecordBatch) -> pa.RecordBatch:
    errors = pa.array(["unlucky", *[None] * len(batch)][: len(batch)], pa.large_string())
    return marked([1] * len(batch)).append_column("error", errors)


@pytest.mark.parametrize(
    ("law", "made"),
    [
        ("gives mark: int64", lambda b: pa.record_batch({"mark": nothing(b, pa.int32())})),
        ("it gave other: int64", lambda b: pa.record_batch({"other": nothing(b)})),
        (
            "it gave mark: int64, more",
            lambda b: pa.record_batch([nothing(b)] * 2, ["mark", "more"]),
        ),
        ("it gave a Table", lambda b: pa.table({"mark": nothing(b)})),
        ("one row for each row; 1 rows out", lambda b: marked([1])),
        ("never an exception; raised ValueError: nothing to look at", failing_on_nulls),
        ("never an exception; raised ValueError: no rows\\.", failing_on_no_rows),
        ("never an exception; raised ValueError: no rows are left", failing_on_no_rows_of_some),
        ("the same rows give the same values", counting()),
        ("the batch handed in is left as it was", overwriting),
        ("batches of 1; column 'mark' of row 0", lambda b: marked([len(b)] * len(b))),
        ("batches of 1; column 'mark' of row 1 is 0 and 1", looking_at_the_row_before),
        ("batches of 1; column 'mark' of row 1 is 1 and 0", forgetting_the_offset),
        ("batches of 1; column 'error' of row 1 is None", unlucky_first),
        ("the order of rows", minding_the_order),
    ],
)
def test_an_annotator_that_breaks_a_law_is_caught(law: str, made: Callable[..., Any]) -> None:
    """What it writes would depend on the batches, and so on the number of workers."""
    breaks(Mark(made=made), law)


def test_values_that_are_not_a_number_are_equal_to_themselves() -> None:
    """A stage that may write NaN must not be faulted for it."""

    @annotator(writes={"ratio": pa.float64()})
    def ratio(text: pa.LargeStringArray) -> pa.DoubleArray:
        zero = pc.multiply(pc.utf8_length(text).cast(pa.float64()), 0.0)
        return pc.divide(zero, zero)

    check_stage(ratio)


# ---------------------------------------------------------------- reducers


def values_of(rows: Rows) -> list[int]:
    return [v or 0 for b in rows.batches("word_count") for v in b["word_count"].to_pylist()]


def counting_rows() -> Callable[[Rows], list[pa.RecordBatch]]:
    calls = itertools.count()
    return lambda rows: [marked([next(calls)] * rows.count)]


def first_of(rows: Rows) -> list[int]:
    return [next(rows.batches("id"))["id"].null_count][:0]


def dividing_by_rows(rows: Rows) -> list[pa.RecordBatch]:
    return [marked([1 // len(b) * 0] * len(b)) for b in rows.batches("id") if 1 // len(b) < 9]


def sizes_of_batches(rows: Rows) -> list[pa.RecordBatch]:
    return [marked([len(batch)] * len(batch)) for batch in rows.batches("id")]


def share_of_all(rows: Rows) -> Iterator[pa.RecordBatch]:
    """A sum of floats, one after another: its last digits depend on the order."""
    total = sum(value / 3 for value in values_of(rows)) or 1.0
    yield pa.record_batch({"share": pa.array([v / total for v in values_of(rows)], pa.float64())})


@pytest.mark.parametrize(
    ("law", "made"),
    [
        ("gives mark: int64", lambda r: [pa.record_batch({"other": values_of(r)})]),
        ("one row for each row", lambda r: [marked([0, *values_of(r)])]),
        ("none included; raised RuntimeError", lambda r: [marked(first_of(r)), *Total().made(r)]),
        ("none included; raised ZeroDivisionError", dividing_by_rows),
        ("none included; raised ValueError", lambda r: [marked([max(values_of(r))] * r.count)]),
        ("the same rows give the same values", counting_rows()),
        (
            "batches of 1; column 'mark'",
            lambda r: [marked([len(b)] * len(b)) for b in r.batches("id")],
        ),
        ("whatever the order of rows", lambda r: [marked(range(r.count))]),
    ],
)
def test_a_reducer_that_breaks_a_law_is_caught(law: str, made: Callable[..., Any]) -> None:
    """Its values would depend on how the corpus happens to be cut into files."""
    breaks(Total(made=made), law)


def test_the_last_digits_of_a_sum_may_depend_on_the_order() -> None:
    """No reducer that adds floats could pass otherwise."""

    @dataclass(frozen=True, kw_only=True)
    class Share(Total):
        writes: ClassVar[pa.Schema] = pa.schema([("share", pa.float64())])
        made: Callable[..., Any] = share_of_all

    check_stage(Share())


# ---------------------------------------------------------------- rewriters


def growing() -> Callable[[list[str]], list[tuple[int, str]]]:
    calls = itertools.count()
    return lambda texts: [(0, f"call {next(calls)}")] if texts else []


@pytest.mark.parametrize(
    ("law", "made"),
    [
        ("parents ascend; new row 1 has parent 0 after 1", lambda t: [(1, "a"), (0, "b")]),
        ("names its parent", lambda t: [(None, "a")]),
        ("index of a row in the batch; parents 0..28", lambda t: [(0, "a"), (len(t), "b")]),
        ("index of a row in the batch; parents -1..0", lambda t: [(-1, "a"), (0, "b")]),
        ("the same rows give the same new rows", growing()),
        ("batches of 1; column 'text'", lambda t: [(n, str(len(t))) for n in range(len(t))]),
        ("batches of 1; 1 rows, then 28", lambda t: [(0, "only the first")] if t else []),
        ("never an exception; raised TypeError", lambda t: [(n, x + "!") for n, x in enumerate(t)]),
    ],
)
def test_a_rewriter_that_breaks_a_law_is_caught(law: str, made: Callable[..., Any]) -> None:
    """A new row would hang on the wrong parent, and its licence with it."""
    breaks(Copies(made=made), law)


@pytest.mark.parametrize(
    ("law", "annotate"),
    [
        ("the batch handed in is left as it was", overwriting),
        ("never an exception; raised ValueError: nothing to look at", failing_on_nulls),
        ("never an exception; raised ValueError: no rows", failing_on_no_rows),
    ],
)
def test_a_rewriter_is_tried_on_what_annotators_are(law: str, annotate: Any) -> None:
    """A rewriter meets the same batches as an annotator, the odd ones too."""

    @dataclass(frozen=True, kw_only=True)
    class Careless(Copies):
        def rewrite(self, batch: pa.RecordBatch) -> pa.RecordBatch:
            annotate(batch)
            return super().rewrite(batch)

    breaks(Careless(), law)


def test_parents_of_another_type_are_caught() -> None:
    """The engine takes rows by these numbers; it must know what they are."""
    breaks(Copies(parent_type="int64"), "gives parent: int32, text: large_string")


# ---------------------------------------------------------------- sources


def with_column(batch: pa.RecordBatch, name: str, values: list[str | None]) -> pa.RecordBatch:
    column = pa.array(values, pa.large_string())
    return batch.set_column(batch.schema.get_field_index(name), name, column)


def same_ids(batch: pa.RecordBatch) -> list[pa.RecordBatch]:
    return [with_column(batch, "id", ["again"] * len(batch))]


def new_text() -> Callable[[pa.RecordBatch], list[pa.RecordBatch]]:
    calls = itertools.count()
    at = Lines().schema.get_field_index("text")
    return lambda b: [
        b.set_column(at, "text", pa.array([f"{next(calls)}"] * len(b), pa.large_string()))
    ]


def one_by_one() -> Callable[[pa.RecordBatch], list[pa.RecordBatch]]:
    calls = itertools.count()
    return lambda b: [b] if next(calls) % 2 else [b.slice(n, 1) for n in range(len(b))]


@pytest.mark.parametrize(
    ("law", "settings"),
    [
        ("a source gives id: large_string", {"read_as": lambda b: [b.drop_columns(["text"])]}),
        ("never an exception; raised ZeroDivisionError", {"read_as": lambda b: [b, 1 / 0]}),
        (
            "an id of its own; ids again repeat",
            {"read_as": lambda b: [with_column(b, "id", ["again"] * 3)], "sizes": (3,)},
        ),
        ("an id of its own", {"read_as": lambda b: [with_column(b, "id", [None])], "sizes": (1,)}),
        ("reading a shard twice gives the same batches; column 'text'", {"read_as": new_text()}),
        ("reading a shard twice gives the same batches; 3 batches", {"read_as": one_by_one()}),
        (f"a batch holds {BATCH_ROWS} rows", {"sizes": (BATCH_ROWS + 1,)}),
        ("read again by its place is the payload; 1 batches", {"reread_as": lambda bs: []}),
        ("is the payload; column 'text'", {"reread_as": lambda bs: [b[::-1] for b in bs]}),
    ],
)
def test_a_source_that_breaks_a_law_is_caught(law: str, settings: dict[str, Any]) -> None:
    """Ids are the thread by which every later value finds its document."""
    breaks(Lines(**settings), law)


def test_batches_of_too_many_bytes_are_caught() -> None:
    """Memory is bounded by the batch; one large row is let through, two are not."""

    def large(batch: pa.RecordBatch) -> list[pa.RecordBatch]:
        return [with_column(batch, "text", ["x" * (BATCH_BYTES + 1000)] * len(batch))]

    check_stage(Lines(sizes=(1,), read_as=large))
    breaks(Lines(sizes=(2,), read_as=large), "a batch holds")


def test_a_plan_that_changes_is_caught() -> None:
    """A run started again would not find what it has already done."""
    calls = itertools.count()

    @dataclass(frozen=True, kw_only=True)
    class Moving(Lines):
        def plan(self) -> list[Shard]:
            return [shard_of("f", 1 + next(calls))]

    breaks(Moving(), "two plans differ")


def test_shards_with_one_key_are_caught() -> None:
    """The second would overwrite the first's files."""

    @dataclass(frozen=True, kw_only=True)
    class Twice(Lines):
        def plan(self) -> list[Shard]:
            return [shard_of("f", 1)] * 2

    breaks(Twice(), "a key of its own")


def test_rows_in_error_are_not_asked_for_again() -> None:
    """A broken record has no payload; a source need not find it twice."""

    def broken_first(batch: pa.RecordBatch) -> list[pa.RecordBatch]:
        return [with_column(batch, "error", ["broken", *[None] * (len(batch) - 1)])]

    def never_the_first(batches: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
        assert not any("#0" in text for b in batches for text in b["text"].to_pylist())
        return batches

    check_stage(Lines(read_as=broken_first, reread_as=never_the_first))


def test_a_rewriter_may_say_which_parents_failed_and_make_nothing_of_them() -> None:
    """A parent would be both lost and there, and the counts would not balance."""
    check_stage(Failing())
    breaks(Failing(both=True), "a parent in error has no new row")
