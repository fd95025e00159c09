"""Compares builds, and checks that a store says the truth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.build import Build
from curation.engine.view import ShardView
from curation.errors import IntegrityError, ResourceError
from curation.store import MANIFEST, Store, check_part, part_facts, read_json


def diff(first: Build, second: Build) -> pl.DataFrame:
    """Return the rows that are in one corpus and not in the other.

    Columns: id; ``only_in`` (first, second); step and because: why the other build has not got
    it ("not in its input" where it never saw it).
    """
    kept = [build.documents(columns=["id"]).collect() for build in (first, second)]
    gone = [build.dropped().select("id", "step", "because").collect() for build in (first, second)]
    sides = [
        kept[here]
        .join(kept[1 - here], on="id", how="anti")
        .join(gone[1 - here], on="id", how="left")
        .with_columns(
            only_in=pl.lit(("first", "second")[here]),
            because=pl.col("because").fill_null("not in its input"),
        )
        for here in (0, 1)
    ]
    return pl.concat(sides).select("id", "only_in", "step", "because")


def check_store(store: Store) -> Iterator[tuple[str, str]]:
    """Yield (what was checked, what is wrong; "" if nothing) for each group and build."""
    for folder in sorted(path.parent for path in store.path.glob(f"*/{MANIFEST}")):
        yield f"group {folder.name}", "; ".join(_wrong_parts(folder))
    from curation.dedup.index import FOLDER

    for fingerprint in store.builds():
        yield f"build {fingerprint}", _wrong_record(store, fingerprint)
        if (store.build_folder(fingerprint) / FOLDER).exists():
            yield f"index of build {fingerprint}", _wrong_index(store, fingerprint)


def _wrong_parts(folder: Path) -> Iterator[str]:
    manifest = read_json(folder / MANIFEST)
    assert manifest is not None
    for shard, facts in sorted(manifest["parts"].items()):
        path = folder / f"part-{shard}.parquet"
        try:
            check_part(path, facts)
            found = part_facts(path)
        except IntegrityError as error:
            yield str(error.facts["found"])
            continue
        if found["blake2b"] != facts["blake2b"]:
            yield f"{path.name} has other bytes than its manifest says"
        elif pq.read_metadata(path).num_rows != facts["rows"]:
            yield f"{path.name} has other rows than its manifest says"


def _wrong_record(store: Store, fingerprint: str) -> str:
    try:
        return "; ".join(_wrong_build(Build(store, fingerprint)))
    except IntegrityError as error:
        return f"{error.headline} {error.facts.get('found', '')}".strip()


def _wrong_index(store: Store, fingerprint: str) -> str:
    from curation.dedup.index import open_index, wrong_files

    try:
        wrong = wrong_files(open_index(str(store.build_folder(fingerprint))))
    except (IntegrityError, ResourceError) as error:
        return f"{error.headline} {error.facts.get('found', '')}".strip()
    return f"other bytes than were written in {', '.join(wrong)}" if wrong else ""


def _wrong_build(build: Build) -> Iterator[str]:
    ledger = build.ledger()
    if not ledger.balances:
        yield f"its ledger does not balance: {ledger}"
    counted = count_reasons(build)
    told: dict[str, int] = {}
    for reason, rows in ({**ledger.dropped, "": ledger.rows_out}).items():
        told[reason] = rows
    for reason, rows in told.items():
        if counted.get(reason, 0) != rows:
            yield f"'{reason}' counts {counted.get(reason, 0):,} rows, its record says {rows:,}"
    errors = sum(rows for reason, rows in counted.items() if reason.startswith("error in "))
    if errors != ledger.errors:
        yield f"{errors:,} rows went in error, its record says {ledger.errors:,}"


def count_reasons(build: Build) -> dict[str, int]:
    """Count, from the selection parts themselves, the rows of each reason; "" for those kept."""
    counts: dict[str, int] = {}
    last = build.outcomes[-1]
    for outcome in build.outcomes:
        for shard in build.shards:
            view = ShardView(build.store, build.source, shard, outcome.space)
            for index in range(len(view.sizes)):
                _add(counts, view.column(outcome.selection, index, "because"), outcome is last)
            view.close()
    return counts


def _add(counts: dict[str, int], reasons: Any, is_last: bool) -> None:
    for entry in pc.value_counts(reasons).to_pylist():
        reason = entry["values"]
        if reason is not None:
            counts[reason] = counts.get(reason, 0) + entry["counts"]
        elif is_last:
            counts[""] = counts.get("", 0) + entry["counts"]
