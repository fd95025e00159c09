"""An index of a finished build, for later builds to find copies of its rows.

    FOLDER/index.json               what it is: build, settings of the sketches, rows, digest
    FOLDER/keys.bin                 uint64[bands + 1, N], the keys of each band, and of the whole
                                    sketch, ascending
    FOLDER/rows.bin                 uint32[bands + 1, N], the rows that they belong to
    FOLDER/counts.bin               uint32[N], different shingles of each row
    FOLDER/starts.bin               int64[N], where each row's shingles begin
    FOLDER/shingles.bin             uint64[S]
    FOLDER/ids.bin, id_stops.bin    ids laid end to end, and where each ends (int64[N])
    FOLDER/heads.bin, head_stops.bin  the same for the beginning of each text

All numbers are little-endian. The files are mapped and not read: looking a few rows up touches a
few pages. The index stands alone: neither the store nor the input that it was made from is needed.
``curation.indexing`` writes it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curation.dedup.shinglesets import OnDisk
from curation.dedup.spill import Array, mapped, strings_at
from curation.errors import IntegrityError, RecipeError, ResourceError

if TYPE_CHECKING:
    from curation.dedup.minhash import MinHashSketch

I64 = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]

#: The file that makes a folder an index; it is written last.
MANIFEST = "index.json"
#: Name of an index's folder within its build's.
FOLDER = "index"
#: What index.json says: the layout, the build's fingerprint, the settings of the sketches, rows,
#: what tells it from others, and of each file its bytes, a digest of spots and one of all of it.
FACTS = ("layout", "build", "sketch", "count", "digest", "bytes", "looks", "blake2b")
_SPOTS, _SPOT_BYTES = 64, 4096
#: Version of the layout above.
LAYOUT = 1
#: File → type of its numbers.
FILES = {
    "keys": np.uint64,
    "rows": np.uint32,
    "counts": np.uint32,
    "starts": np.int64,
    "shingles": np.uint64,
    "ids": np.uint8,
    "id_stops": np.int64,
    "heads": np.uint8,
    "head_stops": np.int64,
}


class Index:
    """An index, opened; its arrays are mapped when they are first looked at."""

    def __init__(self, folder: Path, facts: Mapping[str, Any]) -> None:
        self.folder, self.facts = folder, facts
        self.count: int = facts["count"]

    @property
    def name(self) -> str:
        """The fingerprint of the build that it was made from."""
        return str(self.facts["build"])

    @property
    def digest(self) -> str:
        """What tells it from other indexes: the content of what it was made from."""
        return str(self.facts["digest"])

    def array(self, name: str) -> Array:
        """Return one of FILES, mapped."""
        return mapped(self.folder / f"{name}.bin", FILES[name])

    def band(self, band: int) -> tuple[U64, U32]:
        """Return a band's keys, ascending, and their rows."""
        part = slice(band * self.count, (band + 1) * self.count)
        return self.array("keys")[part], self.array("rows")[part]

    @property
    def sets(self) -> OnDisk:
        """The shingles of each row."""
        return OnDisk(self.array("starts"), self.array("counts"), self.folder / "shingles.bin")

    def ids(self, row_N: I64, mask: Array) -> pa.Array:
        """Return the ids of rows; null where the mask is False."""
        return self._strings("ids", "id_stops", row_N, mask)

    def head_of(self, row_id: str) -> str | None:
        """Return the beginning of a row's text; None if no row is called that."""
        every = np.arange(self.count)
        found = pa.compute.index(self.ids(every, every >= 0), pa.scalar(row_id, pa.large_string()))
        row = np.array([found.as_py()])
        if row[0] < 0:
            return None
        return str(self._strings("heads", "head_stops", row, row >= 0)[0].as_py())

    def _strings(self, data: str, stops: str, row_N: I64, mask: Array) -> pa.Array:
        return strings_at(self.array(data), self.array(stops), row_N, mask)

    def check_settings(self, sketcher: MinHashSketch) -> None:
        """Raise RecipeError unless the sketches of the index are made as these are."""
        wanted = sketch_settings(sketcher)
        if self.facts["sketch"] != wanted:
            differ = {
                name: f"{self.facts['sketch'].get(name)} there, {value} here"
                for name, value in wanted.items()
                if self.facts["sketch"].get(name) != value
            }
            raise RecipeError(
                f"the index {self.folder} holds sketches of other settings.",
                found="; ".join(f"{name}: {what}" for name, what in differ.items()),
                remedy="sketch with the settings of the index, or make the index anew",
            )


def sketch_settings(sketcher: MinHashSketch) -> dict[str, Any]:
    """Return what has to be equal for sketches to be comparable."""
    names = ("bands", "rows", "ngram", "unit", "bits", "seed", "family", "version")
    return {name: getattr(sketcher, name) for name in names}


def open_index(path: str) -> Index:
    """Open an index: its folder, a build's, or a store's, whose latest build with one is taken.

    Raises ResourceError where there is none, IntegrityError for one whose files are not whole.
    """
    folder = Path(path)
    candidates = [folder, folder / FOLDER, *_in_store(folder)]
    found = next((one for one in candidates if (one / MANIFEST).is_file()), None)
    if found is None:
        raise ResourceError(
            f"there is no index at {path}.",
            found="no such folder" if not folder.exists() else "a folder without index.json",
            remedy="make one of a finished build: curation index --store STORE",
        )
    try:
        facts = json.loads((found / MANIFEST).read_text())
        sizes = {name: (found / f"{name}.bin").stat().st_size for name in FILES}
        looks = {name: spot_digest(found / f"{name}.bin") for name in FILES}
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(found, str(error)) from None
    if not isinstance(facts, dict) or not {*FACTS} <= facts.keys():
        raise _damaged(found, "index.json is not the manifest of an index")
    if facts["layout"] != LAYOUT:
        raise _damaged(found, f"layout {facts['layout']}, this version reads {LAYOUT}")
    if sizes != facts["bytes"]:
        raise _damaged(found, "its files have other sizes than index.json says")
    wrong = [name for name in FILES if looks[name] != facts["looks"].get(name)]
    if wrong:
        raise _damaged(found, f"other bytes than were written in {', '.join(wrong)}")
    return Index(found, facts)


def spot_digest(path: Path) -> str:
    """Return a digest of blocks spread over a file: what a glance can tell of gigabytes."""
    digest, size = hashlib.blake2b(digest_size=16), path.stat().st_size
    with open(path, "rb", buffering=0) as file:
        for spot in range(_SPOTS):
            file.seek(max(0, size - _SPOT_BYTES) * spot // (_SPOTS - 1))
            digest.update(file.read(_SPOT_BYTES))
    return digest.hexdigest()


def full_digest(path: Path) -> str:
    """Return the digest of a whole file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def wrong_files(index: Index) -> list[str]:
    """Return the files of an index that do not hold what was written; reads all of them."""
    return [
        name
        for name in FILES
        if full_digest(index.folder / f"{name}.bin") != index.facts["blake2b"].get(name)
    ]


def _in_store(store: Path) -> list[Path]:
    """Return the folders of the indexes of a store's builds, the latest first."""
    found = store.glob(f"builds/*/{FOLDER}/{MANIFEST}")
    return [path.parent for path in sorted(found, key=lambda p: -p.stat().st_mtime_ns)]


def _damaged(folder: Path, found: str) -> IntegrityError:
    return IntegrityError(
        f"the index {folder} cannot be used.",
        found=found,
        remedy=f"delete {folder} and make it anew: curation index --store STORE",
    )
