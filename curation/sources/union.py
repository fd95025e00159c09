"""Several sources as one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

import pyarrow as pa

from curation.errors import RecipeError
from curation.stage import Shard, Source


@dataclass(frozen=True, kw_only=True)
class Union(Source):
    """Read the rows of several sources, one source after the other.

    writes   what the members write
    payload  what the members hand on
    source   members in the order given

    A column that a member does not have is null in its rows.
    """

    version: ClassVar[int] = 1
    sources: tuple[Source, ...] = field(kw_only=False)

    def check(self) -> None:
        if not self.sources:
            raise RecipeError("Union has no sources.", remedy="name at least one source")
        _ = self.writes, self.payload  # a column of two types is told before anything is read

    @property
    def writes(self) -> pa.Schema:
        """What the members write, each column once."""
        payloads = set(self.payload.names)
        return _merged(f for s in self.sources for f in s.writes if f.name not in payloads)

    @property
    def payload(self) -> pa.Schema:
        """What the members hand on, each column once."""
        return _merged(f for s in self.sources for f in s.payload)

    def identity(self) -> dict[str, object]:
        """Return the identities of the members, in order."""
        settings = {"sources": [source.identity() for source in self.sources]}
        return {**super().identity(), "settings": settings}

    def plan(self) -> list[Shard]:
        shards: list[Shard] = []
        seen: dict[str, tuple[int, str]] = {}
        for part, source in enumerate(self.sources):
            for shard in source.plan():
                for span in shard.spans:
                    before = seen.setdefault(span.name, (part, span.path))
                    if before[0] != part:
                        raise _same_name(span.name, before, (part, span.path))
                shards.append(replace(shard, part=part))
        return shards

    def read(self, shard: Shard) -> Iterator[pa.RecordBatch]:
        for batch in self.sources[shard.part].read(_member(shard)):
            yield _widened(batch, self.schema)

    def reread(self, shard: Shard, wanted: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in self.sources[shard.part].reread(_member(shard), wanted):
            yield _widened(batch, self.payload)


def _member(shard: Shard) -> Shard:
    """Return the shard as its member planned it."""
    return replace(shard, part=0)


def _widened(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    names = set(batch.schema.names)
    arrays = [
        batch[f.name] if f.name in names else pa.nulls(batch.num_rows, f.type) for f in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _merged(fields: Iterable[pa.Field]) -> pa.Schema:
    found: dict[str, pa.Field] = {}
    for item in fields:
        before = found.setdefault(item.name, item)
        if before.type != item.type:
            raise RecipeError(
                f"Union: the members disagree on the type of '{item.name}'.",
                found=f"{before.type} and {item.type}",
                remedy="give the column another name in one of the members",
            )
    return pa.schema(list(found.values()))


def _same_name(name: str, one: tuple[int, str], other: tuple[int, str]) -> RecipeError:
    return RecipeError(
        f"Union: two members read files of the same name '{name}', so their rows would share ids.",
        first=f"{one[1]} (member {one[0] + 1})",
        second=f"{other[1]} (member {other[0] + 1})",
        remedy="let one pattern start at a higher folder, such as 'data/**/*.jsonl'",
    )
