"""Writes the index of a finished build; see ``curation.dedup.index`` for what it holds.

The rows are those that the build kept, so that a later build is compared with what was published
and not with what was thrown away. Rows that a rewriter made are found by the rows they come from.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.arrow import bytes_and_offsets
from curation.engine.plan import Outcome, restore
from curation.engine.progress import Progress
from curation.errors import RecipeError
from curation.store import canonical_json, write_json

if TYPE_CHECKING:
    from curation.build import Build
    from curation.dedup.minhash import MinHashSketch

#: How much of a text an index keeps, to show what a row repeats.
HEAD_CHARS = 200


def write_index(build: Build, progress: Progress | None = None) -> Path:
    """Write a build's index into the build's folder, unless it is there; return its folder.

    The caller holds the store's lock. Raises RecipeError for a build without sketches.
    """
    from curation.dedup.index import FOLDER, MANIFEST

    folder, shown = build.store.build_folder(build.fingerprint) / FOLDER, progress or Progress()
    if not (folder / MANIFEST).exists():
        sketcher, outcome = _sketches_of(build)
        temporary = folder.with_name(f"{FOLDER}.tmp-{os.getpid()}")
        temporary.mkdir(parents=True)
        try:
            with build.store.explaining():
                _IndexWriter(temporary, build, sketcher, outcome).write(shown)
                shutil.rmtree(folder, ignore_errors=True)
                os.replace(temporary, folder)
        finally:
            shown.close()
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _sketches_of(build: Build) -> tuple[MinHashSketch, Outcome]:
    """Return the stage that sketched the rows, and the rows with the text that it saw."""
    from curation.dedup.minhash import MinHashSketch

    for outcome in reversed(build.outcomes):
        group = outcome.columns.get("sketch")
        for step in build.facts["steps"]:
            if group and step["group"] == group and step["settings"]:
                sketcher = restore(step["settings"])
                assert isinstance(sketcher, MinHashSketch)
                seen = {**outcome.columns, "text": step["reads"]["text"].partition(":")[0]}
                return sketcher, Outcome(outcome.space, seen, outcome.selection)
    raise RecipeError(
        f"build {build.fingerprint} has no sketches to make an index of.",
        recipe=build.facts["recipe"],
        remedy="put MinHashSketch() into the recipe and run it again: nothing else is done anew",
    )


class _IndexWriter:
    """Writes the files of an index, row by row, and then band by band."""

    def __init__(
        self, folder: Path, build: Build, sketcher: MinHashSketch, outcome: Outcome
    ) -> None:
        self.folder, self.build, self.sketcher, self.outcome = folder, build, sketcher, outcome
        self.count = self.shingle_count = 0
        self.ends = {"ids": 0, "heads": 0}
        self.files: dict[str, BinaryIO] = {}

    def write(self, progress: Progress) -> None:
        """Write everything, the manifest last."""
        from curation.dedup.index import (
            FILES,
            LAYOUT,
            MANIFEST,
            full_digest,
            sketch_settings,
            spot_digest,
        )

        with ExitStack() as stack:
            for name in (*FILES, "entries"):
                file = open(self.folder / f"{name}.bin", "wb")  # noqa: SIM115  the stack closes it
                self.files[name] = stack.enter_context(file)
            for batch in self._batches(progress):
                self._add(batch)
        self._sort_bands()
        paths = {name: self.folder / f"{name}.bin" for name in FILES}
        facts = {
            "layout": LAYOUT,
            "build": self.build.fingerprint,
            "sketch": sketch_settings(self.sketcher),
            "count": self.count,
            "bytes": {name: path.stat().st_size for name, path in paths.items()},
            "looks": {name: spot_digest(path) for name, path in paths.items()},
            "blake2b": {name: full_digest(path) for name, path in paths.items()},
        }
        digest = hashlib.sha256(canonical_json(facts).encode()).hexdigest()
        write_json(self.folder / MANIFEST, {**facts, "digest": digest[:24]})

    def _batches(self, progress: Progress) -> Iterator[pa.RecordBatch]:
        reader = self.build.reader(self.outcome)
        shards = self.build.shards
        place = {shard.key: at for at, shard in enumerate(shards)}
        input_bytes = [0, *accumulate(shard.bytes for shard in shards)]
        progress.begin("index", len(shards), 0, input_bytes[-1])
        text_bytes = 0
        for shard, _, batch in reader.batches(["id", "text", "sketch"]):
            at = place[shard.key]
            progress.advance(self.count, text_bytes, at, input_bytes[at])
            text_bytes += batch["text"].nbytes
            sketched = batch.filter(pc.is_valid(batch["sketch"]))
            if len(sketched):
                yield sketched

    def _add(self, batch: pa.RecordBatch) -> None:
        from curation.kernels.minhash import band_keys
        from curation.kernels.shingles import different_shingles

        hash_NH = self.sketcher.hashes(batch["sketch"])
        self._put("entries", band_keys(hash_NH, self.sketcher.bands, self.sketcher.rows))
        start, shingle_S = different_shingles(*self.sketcher.shingles(batch["text"]))
        self._put("shingles", shingle_S)
        self._put("starts", start[:-1] + self.shingle_count)
        self._put("counts", np.diff(start).astype(np.uint32))
        self.shingle_count += len(shingle_S)
        self._put_strings("ids", "id_stops", batch["id"])
        heads = pc.utf8_slice_codeunits(batch["text"], 0, HEAD_CHARS)
        self._put_strings("heads", "head_stops", heads)
        self.count += len(batch)

    def _put(self, name: str, array: np.ndarray[Any, Any]) -> None:
        self.files[name].write(np.ascontiguousarray(array).data)

    def _put_strings(self, name: str, stops: str, strings: pa.Array) -> None:
        data, offset = bytes_and_offsets(strings)
        self._put(name, data[offset[0] : offset[-1]])
        self._put(stops, offset[1:] - offset[0] + self.ends[name])
        self.ends[name] += int(offset[-1] - offset[0])

    def _sort_bands(self) -> None:
        """Write each band's keys in ascending order, with their rows."""
        from curation.dedup.spill import mapped

        path = self.folder / "entries.bin"
        key_NK = mapped(path, np.uint64).reshape(self.count, self.sketcher.bands + 1)
        with (
            open(self.folder / "keys.bin", "wb") as keys,
            open(self.folder / "rows.bin", "wb") as rows,
        ):
            for band in range(self.sketcher.bands + 1):
                key_N = np.ascontiguousarray(key_NK[:, band])
                order = np.argsort(key_N, kind="stable")
                keys.write(key_N[order].data)
                rows.write(order.astype(np.uint32).data)
        path.unlink()
