from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from curation.rewrite import pool


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A model folder for the stand-in, whose engines end with the test."""
    path = tmp_path / "little"
    path.mkdir()
    (path / "config.json").write_text("{}")
    yield path
    pool.close_all()
