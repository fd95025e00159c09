"""The rows of a corpus by groups, and in an order inside each group that their ids decide.

Trade-off: 29 bytes are held for each row, and one entry for each group, so that a column with a
value of its own in every row is no group.

N rows of a batch, R all rows, G groups
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.arrow import Bool_N, is_valid, to_column, values_of
from curation.errors import RecipeError
from curation.stage import Rows

F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

#: No row belongs to it.
NO_GROUP = -1


@dataclass(frozen=True)
class Grouped:
    """The groups of all rows, in the order of the stream.

    name_G    value of each group, as text; groups are in the order of these
    group_R   int32[R]   a row's group; NO_GROUP where its value is null
    hash_R    uint64[R]  spread hash of the id and a seed
    """

    name_G: tuple[str, ...]
    group_R: I32
    hash_R: U64

    @classmethod
    def of(cls, rows: Rows, by: str, seed: int) -> Grouped:
        """Read a column of any plain type."""
        return cls.made_of(rows, (by,), seed, lambda batch: batch[by])

    @classmethod
    def made_of(
        cls, rows: Rows, by: tuple[str, ...], seed: int, value: Callable[[pa.RecordBatch], pa.Array]
    ) -> Grouped:
        """Group rows by what a function makes of some columns."""
        from curation.engine.best import id_hash

        place: dict[str, int] = {}
        group_R = np.full(rows.count, NO_GROUP, dtype=np.int32)
        hash_R = np.empty(rows.count, dtype=np.uint64)
        at = 0
        for batch in rows.batches("id", *by):
            part = slice(at, at + len(batch))
            group_R[part] = _numbered(value(batch), ", ".join(by), place)
            hash_R[part] = id_hash(batch["id"], seed)
            at = part.stop
        names = sorted(place)
        new_G = np.full(len(place) + 1, NO_GROUP, dtype=np.int32)
        new_G[[place[name] for name in names]] = np.arange(len(names))
        return cls(tuple(names), new_G[group_R], hash_R)

    def __len__(self) -> int:
        return len(self.name_G)

    def in_order(self, able_R: Bool_N, first_R: U64 | None = None) -> I64:
        """Return int64[M]: rows of a group that are able, group after group.

        first_R  what decides the order inside of a group before the hash does, ascending
        """
        (row_M,) = np.nonzero(able_R & (self.group_R != NO_GROUP))
        keys: list[npt.NDArray[Any]] = [self.hash_R[row_M], self.group_R[row_M]]
        if first_R is not None:
            keys.insert(1, first_R[row_M])
        order: I64 = row_M[np.lexsort(keys)]
        return order

    def starts(self, row_M: I64) -> I64:
        """Return int64[G+1]: where in such an order the rows of each group begin."""
        return np.searchsorted(self.group_R[row_M], np.arange(len(self) + 1))


def _numbered(values: pa.Array, name: str, place: dict[str, int]) -> I32:
    """Return the number of each row's value, -1 for null; new values are added to ``place``."""
    if pa.types.is_nested(values.type):
        raise RecipeError(
            f"rows cannot be put into groups by '{name}'.",
            found=f"'{name}' is {values.type}",
            remedy="a column of text, whole numbers or truth values, such as cluster_id or source",
        )
    if pa.types.is_null(values.type):
        return np.full(len(values), NO_GROUP, dtype=np.int32)
    coded = pc.dictionary_encode(values)
    known = [as_name(value) for value in coded.dictionary.to_pylist()]
    number_V = np.array([place.setdefault(v, len(place)) for v in known] + [NO_GROUP], np.int32)
    index = np.where(is_valid(coded.indices), values_of(coded.indices), len(known))
    return number_V[index]


def as_name(value: Any) -> str:
    """Return a group's value as a recipe spells it."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def numbers(rows: Rows, name: str) -> Iterator[tuple[slice, pa.Array, Bool_N]]:
    """Yield a column of numbers piece by piece, and where it is neither null nor NaN."""
    at = 0
    for batch in rows.batches(name):
        values = batch[name]
        if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
            raise RecipeError(
                f"'{name}' is no column of numbers.",
                found=f"'{name}' is {values.type}",
            )
        part = slice(at, at + len(values))
        yield part, values, ~values_of(pc.is_null(values, nan_is_null=True))
        at = part.stop


def descending(rows: Rows, name: str) -> tuple[U64, Bool_N]:
    """Return uint64[R] that ascends from the highest value of a column, and which rows have one."""
    from curation.engine.best import ascending_key

    rank_R = np.zeros(rows.count, dtype=np.uint64)
    able_R = np.zeros(rows.count, dtype=np.bool_)
    for part, values, valid in numbers(rows, name):
        (row,) = np.nonzero(valid)
        rank_R[part.start + row] = ~ascending_key(values.filter(to_column(valid)))
        able_R[part] = valid
    return rank_R, able_R
