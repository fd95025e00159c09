"""DSIR's importance weights: equal to the authors' package's, and how much faster.

Issue 6. The pool is news, medicine and half of the texts on security; the other half is the target.
The package runs in one process of its own, in an environment of its own (``make
peers``). Both have the pool in memory and are timed in CPU seconds, so that
threads do not count; ours reads the target from its file within that time. Weights are compared
before speeds. Then what the fast hash does to the ranking, and how near to the target a tenth of
the pool's words is: the best, a sample by weight, and a random one.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.measure import PEERS, Report, arguments, records, spread
from curation import DsirWeights
from curation.score.distribution import kl_reductions
from curation.testing import MemoryRows

#: Share of the pool's words that is selected.
BUDGET_FRAC = 0.1


def write(path: Path, texts: list[str]) -> None:
    with path.open("w") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in texts)


def weigh(rows: MemoryRows, target: Path, **settings: Any) -> tuple[Any, Any, float]:
    """Return log weights, scores and CPU seconds; null is NaN."""
    began = time.process_time()
    found = pa.Table.from_batches(DsirWeights(target=str(target), **settings).reduce(rows))
    seconds = time.process_time() - began
    arrays = (found[name].to_numpy() for name in ("dsir_log_weight", "dsir_score"))
    return (*arrays, seconds)


def best(score: Any, words: Any, budget: int) -> Any:
    """Return the rows with the highest scores that a budget of words has room for."""
    order = np.argsort(-np.nan_to_num(score, nan=-np.inf), kind="stable")
    return order[np.cumsum(words[order]) <= budget]


def run_peer(pool: Path, target: Path, out: Path, *engine: str) -> dict[str, Any]:
    command = [PEERS, Path(__file__).with_name("dsirpeer.py"), pool, target, out, *engine]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"data-selection failed:\n{done.stderr[-4000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def parity(report: Report, made: Any, wanted: Any, nltk: str) -> None:
    """Compare the weight of each document."""
    error = np.abs(made - wanted) / np.maximum(np.abs(wanted), 1)
    differ = int((error > 1e-10).sum())
    what = f"log weights off the package's by more than 1e-10, of {len(made):,}, {nltk}"
    report.add(what, f"{differ} (largest {error.max():.1e})", "0", differ == 0)


def speed(report: Report, peer: dict[str, Any], seconds: dict[str, list[float]], size: int) -> None:
    """Report CPU seconds from documents to weights."""
    theirs = peer["cpu_seconds"]
    rate = f"{size / 1e6 / theirs:.3g} MB/s"
    report.add(f"data-selection {peer['versions']['data-selection']}, one core", rate, "", True)
    for name, wanted in (("fast", 20), ("sha256", 0)):
        times = theirs / float(np.median(seconds[name]))
        rates = [size / 1e6 / one for one in seconds[name]]
        goal = f"{wanted} times" if wanted else ""
        found = f"{times:.1f} times ({spread(rates)} MB/s)"
        report.add(f"DsirWeights(hash={name!r}), one core", found, goal, times >= wanted)


def selections(report: Report, text: pa.Array, target: Path, scores: dict[str, Any]) -> None:
    """Report KL reductions of what is chosen and of a random set of as many words."""
    words = pc.count_substring_regex(text, r"\S+").to_numpy()
    budget = int(words.sum() * BUDGET_FRAC)
    scores["random"] = np.random.default_rng(0).random(len(text))
    chosen = {name: best(score, words, budget) for name, score in scores.items()}
    sets = {name: [text.take(pa.array(rows))] for name, rows in chosen.items()}
    reduction = kl_reductions(str(target), lambda: [text], sets)
    for name, value in reduction.items():
        wanted = "" if name == "random" else "above 0 and random's"
        reached = name == "random" or value > max(0.0, reduction["random"])
        what = f"KL reduction, {name}, {len(chosen[name]):,} documents, nats per run"
        report.add(what, f"{value:.4f}", wanted, reached)
    both = np.intersect1d(chosen["best, fast"], chosen["best, sha256"]).size
    share = both / len(chosen["best, sha256"])
    report.add("best by SHA-256 that are best by the fast hash too", f"{share:.3f}", "", True)


def main() -> None:
    """Run the comparisons."""
    flags = arguments(__doc__ or "")
    report = Report("DSIR", issue=6)
    share = 20 if flags.quick else 2
    security = [record["text"] for record in records("domains/cybersecurity.jsonl.zst")]
    texts = security[:: 2 * share]
    for name in ("text/wikinews.jsonl.zst", "domains/medicine.jsonl.zst"):
        texts += [record["text"] for record in records(name)[::share]]
    text = pa.array(texts, pa.large_string())
    batch = pa.RecordBatch.from_arrays(
        [pa.array([f"pool#{n}" for n in range(len(text))], pa.large_string()), text], ["id", "text"]
    )
    size = sum(len(one.encode()) for one in texts)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        pool, target = folder / "pool.jsonl", folder / "target.jsonl"
        write(pool, texts)
        write(target, security[1 :: 2 * share])
        rows = MemoryRows([batch.slice(at, 1000) for at in range(0, len(batch), 1000)], folder)
        found, seconds, scores = {}, dict[str, list[float]](), {}
        for name in ("fast", "sha256"):
            runs = [weigh(rows, target, hash=name, min_words=1) for _ in range(6)]
            found[name] = runs[0][0]
            seconds[name] = [run[2] for run in runs[1:]]  # the first loads the compiled code
            weight, score, _ = weigh(rows, target, hash=name)
            scores |= {f"best, {name}": weight, f"sampled, {name}": score}
        scores["best per run, fast"], _, _ = weigh(rows, target, per_ngram=True)
        if PEERS.exists():
            peer = run_peer(pool, target, folder / "re.npz", "re")
            values, nltk = np.load(folder / "re.npz"), peer["versions"]["nltk"]
            parity(report, found["sha256"], values["weight"], "words of nltk 3.9")
            left_out = np.isnan(scores["best, sha256"])
            same = bool((left_out == (values["words"] < 100)).all())
            report.add("same documents under 100 words", str(same), "True", same)
            what = f"documents that nltk {nltk} cuts otherwise than nltk 3.9"
            report.add(what, f"{peer['otherwise']:,} of {peer['documents']:,}", "", True)
            if peer["otherwise"]:
                run_peer(pool, target, folder / "own.npz")
                cut = {"hash": "sha256", "words": "wordpunct-regex", "min_words": 1}
                made, _, _ = weigh(rows, target, **cut)
                own = np.load(folder / "own.npz")["weight"]
                parity(report, made, own, f"words of nltk {nltk}")
            speed(report, peer, seconds, size)
        else:
            report.add("log weights of the package", "not there: `make peers`", "equal", False)
        selections(report, text, target, scores)
    report.finish(flags.check)


if __name__ == "__main__":
    main()
