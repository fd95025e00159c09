"""A finished build: what stayed, what went and why, as a notebook user expects it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from curation.engine.fused import ERROR_REASON
from curation.engine.plan import PAYLOAD, Outcome, Space, restore
from curation.errors import ResourceError, nearest
from curation.rows import RowReader
from curation.stage import Shard, Source, Span
from curation.store import Store, read_json

if TYPE_CHECKING:
    import pyarrow.dataset as pads

    from curation.alarms import Alarm
    from curation.engine.progress import Progress
    from curation.why import Why
    from curation.writers import JsonlFiles, ParquetFiles, Written


@dataclass(frozen=True)
class Ledger:
    """The balance of a build's rows.

    rows_in  rows that the source read, those in error included
    made     rows that rewriters made beyond those that they took
    rows_out rows that stayed
    dropped  reason → rows
    errors   rows dropped because a stage could not do them
    """

    rows_in: int
    made: int
    rows_out: int
    dropped: Mapping[str, int]
    errors: int

    @property
    def balances(self) -> bool:
        """Whether rows in and made are rows out, dropped and in error."""
        gone = sum(self.dropped.values()) + self.errors
        return self.rows_in + self.made == self.rows_out + gone


class Build:
    """The outcome of a recipe over a store. Nothing is loaded until it is asked for."""

    def __init__(self, store: Store, fingerprint: str) -> None:
        facts = read_json(store.build_folder(fingerprint) / "build.json")
        if facts is None:
            raise ResourceError(
                f"the store {store.path} holds no build {fingerprint}.",
                present=", ".join(store.builds()) or "no finished build",
            )
        self.store, self.fingerprint = store, fingerprint
        self.facts: Mapping[str, Any] = facts

    @classmethod
    def open(cls, store: str | os.PathLike[str], fingerprint: str = "") -> Build:
        """Open a store's latest build, or the one whose fingerprint begins as given."""
        folder = Store(store)
        present = folder.builds()
        found = [build for build in present if build.startswith(fingerprint)]
        if not found or (fingerprint and len(found) > 1):
            wanted = f"single build {fingerprint}" if fingerprint else "finished build"
            raise ResourceError(
                f"the store {folder.path} holds no {wanted}.",
                present=", ".join(present),
                remedy=f"run a recipe into it: curation run RECIPE --store {folder.path}",
            )
        return cls(folder, found[-1])

    def __repr__(self) -> str:
        ledger = self.ledger()
        return (
            f"Build {self.fingerprint} of {self.facts['recipe']}: "
            f"{ledger.rows_out:,} rows of {ledger.rows_in:,}"
        )

    # ---- rows

    def documents(self, *, columns: Sequence[str] | None = None) -> pl.LazyFrame:
        """Return the rows that stayed: the columns named, or all but page and PDF bytes.

        Only what a query uses is read, batch by batch. Text that no stage changed is read again
        from the input files.
        """
        outcome = self.outcomes[-1]
        if columns is None and self.source is None and outcome.columns.get("text") == PAYLOAD:
            facts = self.facts["source"]
            warnings.warn(
                f"documents() has no text: no stage stored it, and the source {facts['name']} of "
                f"{facts['module']} cannot be imported here to read it again",
                stacklevel=2,
            )
        for name in columns or ():
            if name not in outcome.columns:
                raise ResourceError(
                    f"the build has no column '{name}'.",
                    present=", ".join(outcome.columns),
                    remedy=nearest(name, outcome.columns),
                )
        return self.reader(outcome).lazy(columns or self.column_names(outcome))

    def dropped(self, *, because: str | None = None) -> pl.LazyFrame:
        """Return the rows that went, with ``step`` and ``because``: all, or those of one reason."""
        reasons = self.reasons()
        if because is not None and because not in reasons:
            raise ResourceError(
                f"no row was dropped because of '{because}'.",
                present=", ".join(reasons) or "no row was dropped",
                remedy=nearest(because, reasons),
            )
        frames = [
            self.reader(outcome, gone=True, because=because).lazy(
                [*self.column_names(outcome), "step", "because"]
            )
            for outcome in self.outcomes
        ]
        return pl.concat(frames, how="diagonal")

    def errors(self) -> pl.DataFrame:
        """Return every row in error: id, step, stage, reason."""
        return pl.read_parquet(self.store.build_folder(self.fingerprint) / "errors.parquet")

    def dataset(self) -> pads.Dataset:
        """Return the rows that stayed as an Arrow dataset: the columns of ``documents``.

        They are written into the store when this is first asked for.
        """
        import pyarrow.dataset as pads

        from curation.writers import ParquetFiles

        folder = self.store.build_folder(self.fingerprint) / "corpus"
        names = tuple(self.column_names(self.outcomes[-1]))
        written = self.write(ParquetFiles(folder, columns=names))
        return pads.dataset([str(path) for path in written.paths], format="parquet")

    def write(
        self, writer: ParquetFiles | JsonlFiles, *, progress: Progress | None = None
    ) -> Written:
        """Write the corpus as files; see ``curation.writers``."""
        from curation.writers import write_corpus

        return write_corpus(self, writer, progress)

    def write_index(self, *, progress: Progress | None = None) -> Path:
        """Write an index of the rows that stayed, unless it is there; return its folder.

        A later build names it in ``NearDuplicates(against=...)`` to find copies of these rows.
        """
        from curation.indexing import write_index

        with self.store.lock():
            return write_index(self, progress)

    def why(self, row_id: str) -> Why:
        """Return the path of one row: its place, its values, what dropped it, its relatives."""
        from curation.why import explain

        return explain(self, row_id)

    # ---- accounts

    def funnel(self) -> pl.DataFrame:
        """Return what is left after each step: rows, documents, bytes, dropped, errors."""
        texts = dict.fromkeys(("name", "title", "because"), pl.String)
        counts = dict.fromkeys(("rows", "documents", "bytes", "dropped", "errors"), pl.UInt64)
        schema = {"step": pl.UInt16, **texts, **counts}
        return pl.DataFrame(self.facts["funnel"], schema=schema)

    def ledger(self) -> Ledger:
        """Return the balance of rows."""
        funnel = self.facts["funnel"]
        dropped: dict[str, int] = {}
        made = 0
        for before, row in pairwise(funnel):
            if row["dropped"]:
                dropped[row["because"]] = dropped.get(row["because"], 0) + row["dropped"]
            if row["name"] in self._rewriters:
                made += row["dropped"] + row["errors"] - (before["rows"] - row["rows"])
        errors = sum(rows for _, rows in self._dropped_in_error())
        rows_in = funnel[0]["rows"] + funnel[0]["errors"]
        return Ledger(rows_in, made, funnel[-1]["rows"], dropped, errors)

    def reasons(self) -> dict[str, int]:
        """Return each reason for which rows went, errors included, with the number of rows."""
        reasons = dict(self.ledger().dropped)
        for name, rows in self._dropped_in_error():
            if rows:
                reason = ERROR_REASON.format(name)
                reasons[reason] = reasons.get(reason, 0) + rows
        return reasons

    def alarms(self) -> list[Alarm]:
        """Return what is worth a second look: rules that decide nothing, scores all the same.

        Empty for a build made before alarms were recorded; see ``curation.alarms``.
        """
        from curation.alarms import Alarm

        return [Alarm(**facts) for facts in self.facts.get("alarms", ())]

    def notes(self) -> dict[str, dict[str, Any]]:
        """Return what reducers noted of all rows, such as a mixture's token counts: name → facts.

        Of two steps of one name the later counts.
        """
        manifests = {s["name"]: self.store.manifest(s["group"]) for s in self.facts["steps"]}
        return {n: facts["notes"] for n, facts in manifests.items() if facts and facts.get("notes")}

    # ---- inside

    def _dropped_in_error(self) -> Iterator[tuple[str, int]]:
        """Yield each step and the rows that were dropped because it could not do them."""
        funnel = self.facts["funnel"]
        yield funnel[0]["name"], funnel[0]["errors"]
        for before, row in pairwise(funnel):
            lost = before["rows"] - row["rows"] - row["dropped"]
            yield row["name"], row["errors"] if row["name"] in self._rewriters else lost

    @cached_property
    def outcomes(self) -> list[Outcome]:
        """Columns and selection at the end of each row space: the source's, then each rewrite's."""
        return [
            Outcome(Space(o["root"], o["from_source"]), dict(o["columns"]), o["selection"])
            for o in self.facts["outcomes"]
        ]

    @cached_property
    def shards(self) -> list[Shard]:
        """The shards of the input."""
        return [
            Shard(tuple(Span(**span) for span in s["spans"]), s["bytes"], s["limit"], s["part"])
            for s in self.facts["shards"]
        ]

    @cached_property
    def source(self) -> Source | None:
        """The source stage; None where its class cannot be imported here."""
        try:
            source = restore(self.facts["source"])
        except ResourceError:
            return None
        assert isinstance(source, Source)
        return source

    def reader(
        self, outcome: Outcome, *, gone: bool = False, because: str | None = None
    ) -> RowReader:
        """Return a reader of the rows that an outcome keeps, or of those that went before it."""
        return RowReader(self.store, self.source, self.shards, outcome, gone, because)

    def column_names(self, outcome: Outcome) -> list[str]:
        """Columns for people: all but page and PDF bytes, and text only where it can be read."""
        return [
            name
            for name, group in outcome.columns.items()
            if group != PAYLOAD or (name == "text" and self.source is not None)
        ]

    @property
    def _rewriters(self) -> set[str]:
        roots = {outcome.space.root for outcome in self.outcomes[1:]}
        return {step["name"] for step in self.facts["steps"] if step["group"] in roots}
