"""Documents that nobody wrote: a megabyte of one mark, a line of 50 MB, bytes that are no text."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curation import (
    C4Lines,
    C4Quality,
    DsirQuality,
    FineWebQuality,
    GopherQuality,
    GopherRepetition,
    TextShape,
)
from curation.stage import Annotator
from tests.conftest import ROOT, environment
from tests.oracles.nasty import BAD_BYTES

M = 1_000_000
STAGES: tuple[Annotator, ...] = (
    GopherQuality(),
    FineWebQuality(),
    DsirQuality(),
    GopherRepetition(),
    C4Quality(),
    TextShape(),
)


def measured(text: str) -> dict[str, Any]:
    """Return all columns of a text that lies between two others."""
    texts = pa.array(["One before is here.", text, "", "One after is here."], pa.large_string())
    row: dict[str, Any] = {}
    for stage in STAGES:
        made = stage.annotate(pa.record_batch({"text": texts})).to_pylist()
        row |= made[1]
        alone = stage.annotate(pa.record_batch({"text": texts[3:]})).to_pylist()
        assert made[3] == alone[0], "what follows a huge document is measured as it is by itself"
    row["left"] = C4Lines().annotate(pa.record_batch({"text": texts}))["text"].to_pylist()[1]
    return row


#: The text; the words that it has; columns that are known.
HUGE: dict[str, tuple[str, int, dict[str, Any]]] = {
    "empty lines": (
        "\n" * M,
        0,
        {"line_count": M + 1, "bullet_line_frac": 0, "dup_line_frac": 0.5, "dup_para_frac": 0}
        | {"terminal_line_frac": None, "c4_unterminated_line_count": M, "top_2gram_char_frac": 0},
    ),
    "carriage returns": (
        "\r" * M,
        0,
        {"line_count": 1, "ellipsis_line_frac": 0, "c4_unterminated_line_count": M}
        | {"space_char_frac": 1, "longest_line_chars": M, "newline_word_ratio": None},
    ),
    "combining marks": (
        "\u0301" * (M // 2),
        1,
        {"mean_word_chars": M // 2, "alpha_word_frac": 0, "longest_word_chars": M // 2}
        | {"c4_long_word_line_count": 1, "alpha_char_frac": 0, "symbol_char_frac": 0},
    ),
    "exclamation marks": (
        "!" * M,
        M,
        {"nonsymbol_word_count": 0, "mean_word_chars": None, "terminal_line_frac": 1}
        | {"top_2gram_char_frac": 3 * (M - 1) / M, "top_4gram_char_frac": 7 * (M - 3) / M}
        | {"dup_5gram_char_frac": 5 * ((M - 6) // 5 + 1) / M, "top_word_frac": 1},
    ),
    "brackets": (
        "(" * M,
        M,
        {"symbol_char_frac": 1, "dup_10gram_char_frac": 10 * ((M - 11) // 10 + 1) / M},
    ),
    "square brackets": ("[" * M + ".", M + 1, {"c4_long_word_line_count": 1}),
    "numbers": ("1+" * (M // 2), M, {"alpha_word_frac": 0, "top_2gram_char_frac": 1.5}),
    "possessives": ("'s" * (M // 2), M // 2, {"alpha_word_frac": 1, "stop_word_count": 0}),
    "at signs": ("@" * M, 1, {"mean_word_chars": None, "nonsymbol_word_count": 0}),
    "full stops": ("." * M, 1, {"ellipsis_word_ratio": M // 3, "ellipsis_line_frac": 1}),
    "letters and stops": ("a." * (M // 2), 2, {"mean_word_chars": M - 1}),
    "one word": (
        "x" * (5 * M),
        1,
        {"longest_word_chars": 5 * M, "c4_long_word_line_count": 1, "mean_word_chars": 5 * M}
        | {"top_2gram_char_frac": 0, "dup_5gram_char_frac": 0, "top_word_frac": 1},
    ),
    "words of a letter": (
        "a b " * (M // 2),
        M,
        {"top_word_frac": 0.5, "top_2gram_char_frac": 0.75, "mean_word_chars": 1}
        | {"top_3gram_char_frac": 5 * (M // 2 - 1) / (2 * M), "line_count": 1},
    ),
    "lines of a word": (
        "ab.\n" * (M // 4),
        M // 2,
        {"dup_line_frac": 1 - 2 / (M // 4 + 1), "dup_line_char_frac": 0.75 * (1 - 4 / M)}
        | {"fineweb_dup_char_frac": 1 - 4 / M, "short_line_frac": 1, "dup_para_frac": 0}
        | {"c4_short_line_count": M // 4, "newline_word_ratio": 0.5},
    ),
    "kept lines": (
        "It is so.[1]\r\n" * (M // 14),
        4 * (M // 14),
        {"c4_kept_line_count": M // 14, "c4_sentence_count": M // 14}
        | {"left": "\n".join(["It is so."] * (M // 14))},
    ),
}


@pytest.mark.parametrize("name", HUGE)
def test_a_document_that_nobody_wrote_is_measured_like_any_other(name: str) -> None:
    """One page of a crawl would hold up a worker for an hour, or end it."""
    text, words, known = HUGE[name]
    row = measured(text)
    assert row["split_word_count"] == words
    assert {column: row[column] for column in known} == {
        column: pytest.approx(value, rel=1e-6) if isinstance(value, float | int) else value
        for column, value in known.items()
    }


@pytest.mark.parametrize("raw", [*BAD_BYTES, b"\x80" * M, b"\xe2\x80" * (M // 2)], ids=range(10))
def test_bytes_that_are_no_utf8_end_no_worker(raw: bytes) -> None:
    """Arrow checks no string, and a source may lie; a good row beside it stays good."""
    rows = [raw, b"This one is here."]
    texts = pa.array(rows, pa.large_binary()).view(pa.large_string())
    good = pa.array([rows[1].decode()], pa.large_string())
    for stage in (*(s for s in STAGES if not isinstance(s, DsirQuality)), C4Lines()):
        made = stage.annotate(pa.record_batch({"text": texts}))
        assert len(made) == 2
        alone = stage.annotate(pa.record_batch({"text": good}))
        assert made.slice(1).to_pylist() == alone.to_pylist()


#: Measures one line of 50 MB, and prints the words and the peak of memory in bytes.
MEASURE = r"""
import re, sys
from pathlib import Path
import pyarrow as pa
from curation import *
line = sys.argv[1] * (50_000_000 // len(sys.argv[1]))
batch = pa.record_batch({"text": pa.array([line], pa.large_string())})
stages = GopherQuality(), FineWebQuality(), GopherRepetition(), C4Quality(), C4Lines(), TextShape()
made = [stage.annotate(batch) for stage in stages]
words = made[0]["split_word_count"][0].as_py()
# not ru_maxrss, which a process inherits from the one that started it
peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
print(words, int(peak[1]) * 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("piece", ["words ", "x"])
def test_a_line_of_50_megabytes_takes_memory_in_proportion(piece: str) -> None:
    """A worker that grows without bound is killed, and takes its machine's others with it."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, piece],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    words, peak = map(int, done.stdout.split())
    assert words == (1 if piece == "x" else 50_000_000 // len(piece))
    # the first part is Python, its libraries and, on a cold machine, the compiler
    assert peak < 1_000_000_000 + 5 * 50_000_000 + 130 * words


#: Runs every kernel over texts that end where an array does, each by itself and all at once.
WITHIN = """
import pyarrow as pa
from curation import *
from tests.annotate.golden import GOLDEN_TEXTS
from tests.oracles.nasty import BAD_BYTES, PIECES

texts = [*filter(None, GOLDEN_TEXTS), *PIECES, "é" * 40, "One is here."]
texts += ["".join(PIECES[n:]) for n in range(0, len(PIECES), 7)]
rows = pa.array([*(text.encode() for text in texts), *BAD_BYTES], pa.large_binary())
rows = rows[1:].view(pa.large_string())
stages = [TextShape()]
for words in ("english", "unicode", "space"):
    stages += [GopherQuality(words=words), FineWebQuality(words=words)]
    stages += [GopherRepetition(words=words)]
for words in ("english", "unicode"):
    stages += [C4Quality(words=words), C4Lines(words=words), C4Lines(terminal_only=False)]
for stage in stages:
    for n in range(len(rows)):
        stage.annotate(pa.record_batch({"text": rows[n : n + 1]}))
    stage.annotate(pa.record_batch({"text": rows}))
"""


@pytest.mark.slow
def test_no_kernel_reads_or_writes_beyond_its_arrays(tmp_path: Path) -> None:
    """Compiled code checks no bounds; what it overwrites is found out days later, if ever."""
    checked = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run(
        [sys.executable, "-c", WITHIN], cwd=ROOT, env=environment(checked), timeout=600, check=True
    )
