"""A dozen texts, and how a stage's columns over them are compared with a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

FOLDER = Path(__file__).parents[1] / "golden" / "annotate"

GOLDEN_TEXTS: list[str | None] = [
    None,
    "",
    " \n\t",
    "The quick brown fox doesn't jump over the lazy dog. It never did, and nobody knows why.",
    "- one\n- two\n• three\n\n- one\n-- two...\nthe end…",
    "Menu\nHome\nHome\nAbout us\nHome\n\nMenu\n\nMenu\n\nWe use cookies. See our Privacy Policy.",
    "One line is here.[1]\r\nAnother follows [2].\r\nNo end of it\r\nToo short.\rYes, this stays!",
    "Lorem ipsum dolor sit amet. #tag #tag # ...\nfunction() { return 1; }\nEnable JavaScript now.",
    "spam and eggs and spam and eggs and spam and eggs and spam and eggs and spam and eggs. " * 3,
    "Die Größe der Bäume ändert sich — 20 °C, 3,5 kg, 1.000 €. Mr. O'Neill won't pay $5.50!",
    "今天天气很好。我们去公园吧！你觉得呢？\n今天天气很好。我们去公园吧！",
    "ภาษาไทยไม่มีช่องว่าง e\u0301 \u0301 😀😀 x\u2028y\x85z \x1c w",
    "A1 B2 C3 4 5 6 7 8 9 10 UPPER CASE {curly} [edit] (marks) <tag> & % $ € ² Ⅷ _ \x00",
]


def check_golden(stage: Any, file: str) -> None:
    """Fail where a stage's columns over the golden texts are not those of the file."""
    golden = json.loads((FOLDER / file).read_text(encoding="utf-8"))[str(stage)]
    assert list(golden) == stage.writes.names
    for name, found in annotated(stage).items():
        assert found == golden[name], f"{name}: a golden that moves needs a new version of {stage}"


def annotated(stage: Any) -> dict[str, list[Any]]:
    """Return a stage's columns over the golden texts, as the files hold them."""
    texts = pa.array(GOLDEN_TEXTS, pa.large_string())
    made = stage.annotate(pa.record_batch({"text": texts})).to_pydict()
    return {name: [_shown(value) for value in column] for name, column in made.items()}


def _shown(value: Any) -> Any:
    """Return a share with the digits that float32 holds for certain."""
    return float(f"{value:.6g}") if isinstance(value, float) else value
