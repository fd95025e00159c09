"""MinHash sketches: speed against three packages, error against theory, pairs found on real copies.

Issue 4. Speeds are of one core and of the same documents, shingling included; the peers run in
processes of their own, in an environment of their own (``make peers``), and time the step
themselves. Outputs come first: which pairs of the revisions of real documents, whose exact Jaccard
index is known, share a band; and that a sketch is datatrove's bit for bit where words and
permutations are datatrove's.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import PEERS, Report, arguments, records, spread
from benchmarks.peers import run_peer
from curation import MinHashSketch, NearDuplicates
from curation.testing import MemoryRows

#: Bins of exact similarity in which recall is told.
BINS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.01)
SEEDS = 8


class Revisions:
    """Real documents in many revisions, with the exact similarity of every pair of 0.2 or more."""

    def __init__(self) -> None:
        documents, pairs = (records(f"dedup/{name}.jsonl.zst") for name in ("revisions", "pairs"))
        self.ids = [document["id"] for document in documents]
        self.text = pa.array([document["text"] for document in documents], pa.large_string())
        place = {name: at for at, name in enumerate(self.ids)}
        self.first = np.array([place[pair["a"]] for pair in pairs])
        self.second = np.array([place[pair["b"]] for pair in pairs])
        self.jaccard = np.array([pair["jaccard"] for pair in pairs])

    def write(self, folder: Path) -> None:
        table = pa.table({"id": pa.array(self.ids, pa.large_string()), "text": self.text})
        pq.write_table(table, folder / "revisions.parquet")

    def recall(self, hash_NH: Any, bands: int = 14, rows: int = 8) -> list[float]:
        """Return the share of pairs of each bin that share a band."""
        equal = (hash_NH[self.first] == hash_NH[self.second]).reshape(-1, bands, rows)
        return self.shares(equal.all(axis=2).any(axis=1))

    def shares(self, found: Any) -> list[float]:
        where = np.digitize(self.jaccard, BINS) - 1
        return [float(found[where == at].mean()) for at in range(len(BINS) - 1)]

    def precision(self, pairs: list[tuple[str, str]]) -> tuple[float, int]:
        """Return the share of pairs, row that goes and row that stays, of 0.8 or more; how many."""
        exact = {
            frozenset((self.ids[a], self.ids[b])): float(jaccard)
            for a, b, jaccard in zip(self.first, self.second, self.jaccard, strict=True)
        }
        truth = [exact.get(frozenset(pair), 0.0) for pair in pairs]
        return float(np.mean(np.array(truth) >= 0.8)), len(truth)

    def curve(self, stage: MinHashSketch) -> list[float]:
        return self.shares(np.array([stage.found_prob(s) for s in self.jaccard]))


def batch_of(text: pa.Array) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([text], names=["text"])


def sketched(stage: MinHashSketch, text: pa.Array) -> Any:
    return stage.hashes(stage.annotate(batch_of(text))["sketch"])


def quality(report: Report, revisions: Revisions, peers: dict[str, Any], seeds: int) -> None:
    """Which pairs are found, and which rows go, by us and by the others."""
    head = " / ".join(f"{low:g}" for low in BINS[:-1])
    for bands, rows in ((14, 8), (25, 5), (9, 13)):
        stages = [MinHashSketch(bands=bands, rows=rows, seed=seed) for seed in range(1, seeds + 1)]
        every = [revisions.recall(sketched(one, revisions.text), bands, rows) for one in stages]
        found, curve = np.mean(every, axis=0), revisions.curve(stages[0])
        shown = " / ".join(f"{f:.3f} ({c:.3f})" for f, c in zip(found, curve, strict=True))
        # revisions of one document are found or missed together, so the seeds are what varies
        allowed = 3 * np.std(every, axis=0, ddof=1) / np.sqrt(seeds) + 0.01
        fits = bool((np.abs(found - curve) <= allowed).all())
        name = f"pairs found from {head}, {bands} bands of {rows}, {seeds} seeds (curve)"
        report.add(name, shown, "as the curve predicts", fits)
    high = revisions.jaccard >= 0.8
    hash_NH = sketched(MinHashSketch(), revisions.text)
    equal = (hash_NH[revisions.first] == hash_NH[revisions.second]).reshape(-1, 14, 8)
    recall = float(equal.all(axis=2).any(axis=1)[high].mean())
    report.add("recall of pairs of 0.8 or more, default", f"{recall:.4f}", "0.95", recall >= 0.95)
    for name, values in peers.items():
        shown = " / ".join(f"{share:.3f}" for share in revisions.recall(values))
        report.add(f"pairs found, {name}", shown, "", True)
    for verify in (True, False):
        precision, gone = precision_of(revisions, verify)
        mode = "verified" if verify else "unverified, for comparison"
        wanted = "1.0" if verify else ""
        report.add(
            f"rows that go, and the share of them that are 0.8 like the row that stays, {mode}",
            f"{gone}, {precision:.4f}",
            wanted,
            precision == 1.0 or not verify,
        )


def precision_of(revisions: Revisions, verify: bool) -> tuple[float, int]:
    made = MinHashSketch().annotate(batch_of(revisions.text))
    ids = pa.array(revisions.ids, pa.large_string())
    rows = pa.RecordBatch.from_arrays(
        [ids, revisions.text, *made.columns, pa.nulls(len(ids), pa.uint64())],
        names=["id", "text", *made.schema.names, "group_size"],
    )
    with tempfile.TemporaryDirectory() as scratch:
        found = pa.Table.from_batches(
            NearDuplicates(verify=verify).reduce(MemoryRows([rows], Path(scratch)))
        )
    pairs = zip(revisions.ids, found["duplicate_of"].to_pylist(), strict=True)
    return revisions.precision([pair for pair in pairs if pair[1] is not None])


def precision_of_peer(revisions: Revisions, result: Path) -> tuple[float, int]:
    """Return the same of a peer's result: of each row that goes, with the one of its group kept."""
    rows = pq.read_table(result).to_pylist()
    stays = {row["group"]: row["id"] for row in rows if row["kept"]}
    return revisions.precision([(r["id"], stays[r["group"]]) for r in rows if not r["kept"]])


def error(report: Report, revisions: Revisions) -> None:
    """Root mean square error of the estimate, over pairs and seeds, as a multiple of theory's."""
    for settings in ({}, {"bits": 64}, {"bands": 64}):
        ratios = []
        for seed in range(1, SEEDS + 1):
            stage = MinHashSketch(seed=seed, **settings)
            hash_NH = sketched(stage, revisions.text)
            estimate = (hash_NH[revisions.first] == hash_NH[revisions.second]).mean(axis=1)
            truth = revisions.jaccard
            ratios.append(
                ((estimate - truth) ** 2).mean() / (truth * (1 - truth) / stage.values).mean()
            )
        ratio = float(np.sqrt(np.mean(ratios)))
        name = f"error of the estimate, {stage.values} values of {stage.bits} bits, {SEEDS} seeds"
        report.add(name, f"{ratio:.3f} of theory's", "0.9 to 1.1", 0.9 <= ratio <= 1.1)


def parity(report: Report, values: Any, revisions: Revisions) -> None:
    """Compare with datatrove's signatures of texts that hold no character that it changes."""
    stage = MinHashSketch(unit="token", family="mersenne", bits=64)
    plain = pa.array(plain_texts(revisions), pa.large_string())
    same = int((sketched(stage, plain) == values).all(axis=1).sum())
    wanted = len(plain)
    report.add(
        "sketches equal to datatrove's bit for bit, its words and permutations",
        f"{same} of {wanted}",
        "all",
        same == wanted,
    )


def plain_texts(revisions: Revisions) -> list[str]:
    """Lower-cased words of letters only: what datatrove's normalization leaves as it is."""
    import re

    found = [
        " ".join(re.findall(r"[b-z][a-z]{3,}", text.lower())) for text in revisions.text.to_pylist()
    ]
    return [text for text in found if len(text.split()) >= 5]


def speed(report: Report, revisions: Revisions, peers: dict[str, float]) -> None:
    """Sketch the documents that the peers sketched, on one core, batch by batch."""
    size, batch_rows = revisions.text.nbytes, 200
    stage, rates = MinHashSketch(), []
    for _ in range(6):
        began = time.process_time()
        for at in range(0, len(revisions.text), batch_rows):
            stage.annotate(batch_of(revisions.text.slice(at, batch_rows)))
        rates.append(size / 1e6 / (time.process_time() - began))
    rates = rates[1:]  # the first loads the compiled code
    usual = float(np.median(rates))
    report.add("MinHashSketch, one core", f"{spread(rates)} MB/s", "100", usual >= 100)
    for name, wanted in (("rensa", 5), ("datasketch", 25), ("datatrove", 100)):
        if name in peers:
            times = usual / peers[name]
            found = f"{times:.1f} times {peers[name]:.3g} MB/s"
            what = f"against {name}'s, shingling included"
            report.add(what, found, f"{wanted} times", times >= wanted)


def main() -> None:
    """Run the comparisons."""
    flags = arguments(__doc__ or "")
    report = Report("MinHash sketches", issue=4)
    revisions = Revisions()
    with tempfile.TemporaryDirectory() as scratch:
        folder, quality_of, rate_of = Path(scratch), dict[str, Any](), dict[str, float]()
        (folder / "revisions").mkdir()
        revisions.write(folder / "revisions")
        if PEERS.exists():
            for name in ("rensa", "datasketch", "datatrove-regex", "datatrove"):
                peer, out = f"sketch-{name}", folder / f"{name}.npy"
                found = run_peer(peer, folder / "revisions", out, python=str(PEERS))
                rate_of[name] = found["text_bytes"] / 1e6 / found["seconds"]
                quality_of[name] = np.load(out)
            (folder / "plain").mkdir()
            rows = plain_texts(revisions)
            plain = pa.table({"id": [str(n) for n in range(len(rows))], "text": rows})
            pq.write_table(plain, folder / "plain" / "plain.parquet")
            run_peer(
                "sketch-datatrove-regex", folder / "plain", folder / "p.npy", python=str(PEERS)
            )
            parity(report, np.load(folder / "p.npy"), revisions)
        else:
            print(f"no peers in {PEERS.parent}: `make peers` installs them")
        for name in ("datasketch", "datatrove") if PEERS.exists() else ():
            result = folder / f"{name}.parquet"
            run_peer(name, folder / "revisions", result, python=str(PEERS))
            precision, gone = precision_of_peer(revisions, result)
            what = (
                f"rows that go, and the share of them that are 0.8 like the row that stays, {name}"
            )
            report.add(what, f"{gone}, {precision:.4f}", "", True)
        quality(report, revisions, quality_of, 6 if flags.quick else 20)
        error(report, revisions)
        speed(report, revisions, rate_of)
    report.finish(flags.check)


if __name__ == "__main__":
    main()
