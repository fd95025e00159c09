"""Our client against servers with faults: nothing lost, nothing doubled, and how often asked.

Issue 7. The server is that of our tests (tests/rewrite/server.py): of all requests 30 % meet a
closed connection, half an answer, 429 with a pause, 503, 500, a proxy's page, garbage, no choices,
or an answer after the time limit. Each reply tells which request it belongs to. Then the same by a
recipe over as many rows with two workers. With ``--vllm-python PATH`` (Python of an environment
with vLLM, ../shared/DEPENDENCIES.md) and ``--model FOLDER`` a real server is started and asked.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sqlite3
import subprocess
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.measure import Report
from curation import Build, ModelServer
from curation.annotate.model import Request
from curation.audit import check_store
from curation.rewrite.journal import FILE_NAME
from curation.store import Store
from tests.conftest import write_jsonl
from tests.rewrite.asking import asking
from tests.rewrite.server import Stand, reply_to, standing

FAULT_FRAC = 0.3
#: An answer that is late comes after the time limit, which is short for the sake of the benchmark.
TIMEOUT_S, SLOW_S = 0.5, 0.7
#: What vLLM wants on a CPU.
ON_CPU = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}
SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"answer": {"enum": ["yes", "no"]}},
        "required": ["answer"],
        "additionalProperties": False,
    }
)


def faulty(stand: Stand) -> None:
    stand.fault_frac, stand.slow_s = FAULT_FRAC, SLOW_S


def asked(text: str, **settings: object) -> Request:
    return Request(messages=(("user", text),), **settings)  # type: ignore[arg-type]


def journalled(folder: Path) -> int:
    with sqlite3.connect(folder / FILE_NAME) as file:
        return int(file.execute("select count(*) from replies").fetchone()[0])


def by_client(report: Report, folder: Path, count: int) -> None:
    """Ask directly, and look at each reply."""
    texts = [f"ECHO {n}" for n in range(count)]
    with standing() as stand:
        faulty(stand)
        model = ModelServer(
            model="m", base_url=stand.url, timeout_s=TIMEOUT_S, journal=str(folder / "journal")
        )
        began = time.perf_counter()
        replies = model.generate([asked(text) for text in texts])
        seconds = time.perf_counter() - began
        sent, faults = len(stand.requests), dict(stand.faults)
        model.generate([asked(text) for text in texts])
        repeated = len(stand.requests) - sent
    own = sum(r.text == reply_to(text, 0) for r, text in zip(replies, texts, strict=True))
    shown = ", ".join(f"{name} {number:,}" for name, number in sorted(faults.items()))
    report.add(f"faults met ({shown})", f"{sum(faults.values()) / sent:.1%} of {sent:,}", "", True)
    report.add("requests with the answer that is theirs", f"{own:,}", f"{count:,}", own == count)
    kept = journalled(folder / "journal")
    report.add("replies in the journal", f"{kept:,}", f"{count:,}", kept == count)
    report.add("sent again when all are asked once more", f"{repeated}", "0", repeated == 0)
    most = sent - sum(faults.values())
    report.add("answered by the server", f"{most:,}", "", True)
    report.add("time", f"{seconds:.0f} s, {count / seconds:.0f} requests/s", "", True)


def by_recipe(report: Report, folder: Path, count: int) -> None:
    """Let a recipe ask with two workers, and count its rows."""
    for part in range(10):
        texts = [f"ECHO {n}" for n in range(part, count, 10)]
        write_jsonl(folder / "in" / f"{part}.jsonl", ({"text": text} for text in texts))
    with standing() as stand:
        faulty(stand)
        recipe = asking(
            paths=str(folder / "in" / "*.jsonl"),
            url=stand.url,
            concurrency=32,
            timeout_s=TIMEOUT_S,
        )
        began = time.perf_counter()
        build = recipe.run(store=folder / "store", workers=2)
        seconds = time.perf_counter() - began
    made = Counter(build.documents(columns=["text"]).collect()["text"])
    wanted = Counter(f"ECHO {n}\n{reply_to(f'ECHO {n}', 0)}" for n in range(count))
    rows = Build.open(folder / "store").ledger().rows_out
    report.add("rows of a recipe with two workers", f"{rows:,}", f"{count:,}", made == wanted)
    kept = journalled(folder / "store" / "replies")
    report.add("replies in its store", f"{kept:,}", f"{count:,}", kept == count)
    wrong = [what for what, problem in check_store(Store(folder / "store")) if problem]
    report.add("parts of its store that are wrong", f"{len(wrong)}", "0", not wrong)
    report.add("time", f"{seconds:.0f} s, {count / seconds:.0f} requests/s", "", True)


@contextmanager
def vllm_server(python: str, model: str, folder: Path) -> Iterator[tuple[str, float]]:
    """Start vLLM's server; yield its address and the seconds until it was up."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", model]
    words += ["--served-model-name", "tiny", "--port", str(port), "--host", "127.0.0.1"]
    words += ["--enforce-eager", "--max-model-len", "512"]
    began = time.perf_counter()
    with open(folder / "vllm.log", "w") as log:
        process = subprocess.Popen(words, env={**os.environ, **ON_CPU}, stdout=log, stderr=log)
    try:
        while True:
            if process.poll() is not None or time.perf_counter() - began > 300:
                raise RuntimeError((folder / "vllm.log").read_text()[-4000:])
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
                break
            except OSError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1", time.perf_counter() - began
    finally:
        process.terminate()
        process.wait(60)


def by_vllm(report: Report, folder: Path, python: str, tiny: str, count: int) -> None:
    """Ask a real vLLM: speed, schema, stop strings, seeds."""
    with vllm_server(python, tiny, folder) as (url, up_s):
        report.add("vllm serve, up after", f"{up_s:.0f} s", "", True)
        model = ModelServer(model="tiny", base_url=url, temperature=1.0, seed=7)
        requests = [asked(f"text number {n}", max_tokens=16) for n in range(count)]
        began = time.perf_counter()
        first = model.generate(requests)
        seconds = time.perf_counter() - began
        errors = [reply.error for reply in first if reply.error]
        report.add(
            f"vllm serve, {count:,} requests of 16 tokens",
            f"{len(errors)} in error, {count / seconds:.0f} requests/s",
            "nothing lost",
            not errors,
        )
        again = model.generate(requests[:100])
        same = sum(a.text == b.text for a, b in zip(again, first, strict=False))
        report.add("vllm serve, equal replies at an equal seed, of 100", f"{same}", "", True)
        other = replace(model, seed=8).generate(requests[:100])
        differ = sum(a.text != b.text for a, b in zip(other, first, strict=False))
        report.add("vllm serve, other replies at another seed, of 100", f"{differ}", "", True)
        wanted = [replace(r, json_schema=SCHEMA, max_tokens=200) for r in requests[:50]]
        held = model.generate(wanted)
        ended = [reply for reply in held if reply.finish == "stop"]  # others are cut in spaces
        good = sum(_is_answer(reply.text) for reply in ended)
        what = f"vllm serve, replies that keep a JSON schema, of {len(ended)} not cut, of 50"
        report.add(what, f"{good}", f"{len(ended)}", 0 < good == len(ended))
        letter = next(c for c in first[0].text if c.strip())
        (cut,) = model.generate([replace(requests[0], stop=(letter,))])
        kept = cut.finish == "stop" and letter not in cut.text
        report.add("vllm serve, ends before a stop string", f"{kept}", "True", kept)
        (refused,) = model.generate([asked("word " * 5000)])
        told = str(refused.error)[:60]
        report.add("vllm serve, a prompt too long", told, "a row's error", bool(refused.error))


def _is_answer(text: str) -> bool:
    try:
        return json.loads(text)["answer"] in ("yes", "no")
    except (ValueError, KeyError, TypeError):
        return False


def main() -> None:
    """Ask the servers that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1,000 requests, under a minute")
    parser.add_argument("--check", action="store_true", help="exit 1 if a figure falls short")
    parser.add_argument("--vllm-python", default="", help="python of an environment with vLLM")
    parser.add_argument("--model", default="", help="model folder for vLLM")
    flags = parser.parse_args()
    count = 1_000 if flags.quick else 10_000
    report = Report("A client and servers with faults", issue=7)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if flags.vllm_python:
            by_vllm(report, folder, flags.vllm_python, flags.model, count // 5)
        else:
            by_client(report, folder, count)
            by_recipe(report, folder, count)
    report.finish(flags.check)


if __name__ == "__main__":
    main()
