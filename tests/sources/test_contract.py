"""The contract of a source, on real files where they are there and on small ones everywhere."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation import Jsonl, Parquet, Pdf, TextFiles, Union, Warc
from curation.stage import Source
from curation.testing import check_stage
from tests.sources.test_warc import LAYOUTS


def _small(folder: Path) -> dict[str, Source]:
    (folder / "a.warc.gz").write_bytes(LAYOUTS["each.warc.gz"])
    (folder / "a.txt").write_text("漢" * 100)
    (folder / "b.txt").write_text("漢" * 4_000_000)
    (folder / "c.txt").write_text("漢" * 2_000_000)
    (folder / "d.html.gz").write_bytes(gzip.compress(b"<p>x"))
    (folder / "a.pdf").write_bytes(b"%PDF-1.7")
    (folder / "a.jsonl").write_text(
        "".join(json.dumps({"text": "é" * n}) + "\n" for n in range(99))
    )
    pq.write_table(pa.table({"text": ["a", None, "b"], "n": [1, 2, 3]}), folder / "a.parquet")
    columns = (("n", "int64"),)
    return {
        "Warc": Warc(str(folder)),
        "TextFiles": TextFiles(str(folder)),
        "Pdf": Pdf(str(folder)),
        "Jsonl": Jsonl(str(folder)),
        "Parquet": Parquet(str(folder)),
        "Parquet with a column": Parquet(str(folder), columns=columns),
        "Union": Union((Jsonl(str(folder)), Parquet(str(folder), columns=columns))),
    }


@pytest.mark.parametrize(
    "name",
    ["Warc", "TextFiles", "Pdf", "Jsonl", "Parquet", "Parquet with a column", "Union"],
)
def test_every_source_keeps_the_contract(name: str, tmp_path: Path) -> None:
    """The engine stores, resumes and rereads on the strength of it."""
    check_stage(_small(tmp_path)[name])


def test_real_files_keep_the_contract(data: Path) -> None:
    """Made-up files are tidier than those of the world."""
    for source in (
        Warc(str(data / "warc/**")),
        Jsonl(str(data / "domains/cybersecurity.jsonl.zst"), license_field="license"),
        TextFiles(str(data / "html/trafilatura/html/*.gz")),
        Pdf(str(data / "pdf")),
    ):
        check_stage(source)
