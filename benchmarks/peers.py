"""What other packages do to the same documents: which they remove, how fast, in how much memory.

    python benchmarks/peers.py PEER --input FOLDER --out FILE [--documents N] [--workers 2]

runs one peer on the Parquet files of a folder (columns ``id`` and ``text``), prints one line of
JSON and writes a Parquet file with ``id``, ``kept`` and ``group`` (equal for documents that the
peer puts together, null where it does not say). All peers have 14 bands of 8 rows and shingles of
5 words; the rest is as each package ships it:

  datatrove        its four steps and its local executor; spaCy cuts English words
  datatrove-regex  the same with a compiled regular expression for the words
  datasketch       MinHash.update_batch and MinHashLSH in one process; connected components
  rensa            RMinHashDeduplicator in one process; a document is compared with kept ones only
  text-dedup       its command ``python -m text_dedup.minhash``
  text-dedup-xxh3  the same with ``--hash_func xxh3 --hash_bits 32``, the fastest it offers
  daft             the recipe of its documentation: normalize, minhash, explode bands, group,
                   alternate large star and small star until no edge changes

``sketch-PEER`` times the sketch alone, shingling included, on one core; with ``--out FILE.npy`` it
saves the sketches in the order of the rows.

A run is a process of its own, watched from outside: seconds are the peer's from its import to its
last result, CPU seconds and memory are summed over the process and all its children. Memory is
proportional (a page that n processes share counts 1/n in each). This file imports no part of the
package that it is compared with, so that it runs in the peers' own environment.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import pickle
import re
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow.dataset import dataset

BANDS, ROWS, SHINGLE_WORDS = 14, 8, 5
HASHES = BANDS * ROWS
#: Where 14 bands of 8 rows are steepest: (1/14)^(1/8).
THRESHOLD = 0.72
SCHEMA = pa.schema([("id", pa.large_string()), ("kept", pa.bool_()), ("group", pa.int64())])
WORD = re.compile(r"\w+")


# ---------------------------------------------------------------- documents


def read(paths: list[Path]) -> Iterator[tuple[list[str], list[str]]]:
    """Yield ids and texts, some thousand at a time."""
    for path in paths:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=5000, columns=["id", "text"]):
                yield batch["id"].to_pylist(), batch["text"].to_pylist()


def first_documents(folder: Path, documents: int, into: Path) -> None:
    """Copy the first documents of each file, so many in all."""
    into.mkdir(parents=True)
    paths = sorted(folder.glob("*.parquet"))
    for number, path in enumerate(paths):
        share = documents * (number + 1) // len(paths) - documents * number // len(paths)
        table = dataset(path).head(share, columns=["id", "text"])
        pq.write_table(table, into / path.name, compression="zstd", row_group_size=5000)


def text_bytes(paths: list[Path]) -> tuple[int, int]:
    """Return the documents and the bytes of text in some files."""
    rows = size = 0
    for path in paths:
        for batch in pq.ParquetFile(path).iter_batches(columns=["text"]):
            rows += len(batch)
            size += pc.sum(pc.binary_length(batch["text"])).as_py() or 0
    return rows, size


def shingles(text: str) -> list[str]:
    """Return the runs of five words of a text, in order; all its words if it has fewer."""
    words = WORD.findall(text.lower())
    runs = max(len(words) - SHINGLE_WORDS + 1, 1)
    return [" ".join(words[place : place + SHINGLE_WORDS]) for place in range(runs)]


# ---------------------------------------------------------------- datatrove


def datatrove_words(tokenizer: str) -> Any:
    """Return the language that stands for spaCy's English, or a tokenizer by regular expression."""
    if tokenizer == "spacy":
        return "eng"
    from datatrove.utils.word_tokenizers import WordTokenizer

    word = re.compile(r"\w+|[^\w\s]")

    class Regex(WordTokenizer):  # type: ignore[misc]
        def word_tokenize(self, text: str) -> list[str]:
            return word.findall(text)

        sent_tokenize = span_tokenize = word_tokenize  # asked for by the class, used by no step

    return Regex()


def datatrove_config() -> Any:
    """Return the settings that every step gets; hash function (XXH64) and seed are the default."""
    from datatrove.pipeline.dedup.minhash import MinhashConfig

    return MinhashConfig(n_grams=SHINGLE_WORDS, num_buckets=BANDS, hashes_per_bucket=ROWS)


def id_writer(folder: Path) -> Any:
    """Return a last step, which is also a writer of what is excluded, that notes ids only."""
    from datatrove.pipeline.base import PipelineStep

    class Ids(PipelineStep):  # type: ignore[misc]
        name, type = "ids", "writer"

        def __enter__(self) -> Any:
            self.lines: list[str] = []
            return self

        def __exit__(self, *_: object) -> None:
            with open(folder / f"removed-{os.getpid()}-{time.time_ns()}.tsv", "w") as file:
                file.writelines(self.lines)

        def write(self, document: Any, rank: int) -> None:
            self.lines.append(f"{document.id}\t0\t{document.metadata['minhash_cluster_id']}\n")

        def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Any:
            with open(folder / f"kept-{rank}.tsv", "w") as file:
                for document in data:
                    group = document.metadata.get("minhash_cluster_id", -1)
                    file.write(f"{document.id}\t1\t{group}\n")
            yield from ()

    return Ids()


def run_datatrove(paths: list[Path], work: Path, workers: int, tokenizer: str) -> pa.Table:
    """Run signature, buckets, cluster and filter; only ids are written in the end."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.readers import ParquetReader

    config = datatrove_config()
    signatures, pairs, clusters = (str(work / name) for name in ("signatures", "pairs", "clusters"))
    (work / "ids").mkdir()
    reader = ParquetReader(str(paths[0].parent), read_metadata=False, glob_pattern="*.parquet")
    words, ids = datatrove_words(tokenizer), id_writer(work / "ids")
    signature = MinhashDedupSignature(signatures, config, language=words)
    buckets = MinhashDedupBuckets(signatures, pairs, config=config)
    cluster = MinhashDedupCluster(pairs, clusters, config, save_cluster_id=True)
    filtered = MinhashDedupFilter(clusters, exclusion_writer=ids, load_cluster_ids=True)
    steps = [
        ([reader, signature], workers),
        ([buckets], BANDS),
        ([cluster], 1),
        ([reader, filtered, ids], workers),
    ]
    for number, (pipeline, tasks) in enumerate(steps):
        logs = str(work / f"logs-{number}")
        began = time.perf_counter()
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=workers, logging_dir=logs).run()
        print(f"step {number + 1}: {time.perf_counter() - began:.2f} s", file=sys.stderr)
    lines = [line for path in (work / "ids").iterdir() for line in path.open()]
    found = [line.rstrip("\n").rsplit("\t", 2) for line in lines]
    group = [None if number == "-1" else int(number) for _, _, number in found]
    return pa.table([[one for one, _, _ in found], [k == "1" for _, k, _ in found], group], SCHEMA)


# ---------------------------------------------------------------- datasketch, rensa


def datasketches(texts: list[str]) -> Iterator[Any]:
    """Yield datasketch's sketch of each text."""
    from datasketch import MinHash

    empty = MinHash(num_perm=HASHES)
    for text in texts:
        sketch = empty.copy()
        sketch.update_batch([shingle.encode() for shingle in shingles(text)])
        yield sketch


def run_datasketch(paths: list[Path], work: Path, workers: int) -> pa.Table:
    """Query each document before it is inserted, in one process; then connected components."""
    from datasketch import MinHashLSH
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    index = MinHashLSH(num_perm=HASHES, params=(BANDS, ROWS))
    names: list[str] = []
    later, earlier = array("q"), array("q")
    for ids, texts in read(paths):
        for name, sketch in zip(ids, datasketches(texts), strict=True):
            found = index.query(sketch)
            earlier.extend(found)
            later.extend([len(names)] * len(found))
            index.insert(len(names), sketch, check_duplication=False)
            names.append(name)
    size = (len(names), len(names))
    edges = coo_array((np.ones(len(later), np.int8), (later, earlier)), shape=size)
    label = connected_components(edges, directed=False)[1]
    _, first, place = np.unique(label, return_index=True, return_inverse=True)
    root = first[place]
    return pa.table([names, root == np.arange(len(names)), root], SCHEMA)


def run_rensa(paths: list[Path], work: Path, workers: int) -> pa.Table:
    """Add all documents to its deduplicator, which says of each whether it is new."""
    from rensa import RMinHashDeduplicator

    settings = {"threshold": THRESHOLD, "num_perm": HASHES, "num_bands": BANDS}
    index = RMinHashDeduplicator(use_lsh=True, **settings)
    names: list[str] = []
    kept: list[bool] = []
    for ids, texts in read(paths):
        kept += index.add_pairs(zip(ids, map(shingles, texts), strict=True))
        names += ids
    return pa.table([names, kept, pa.nulls(len(names), pa.int64())], SCHEMA)


# ---------------------------------------------------------------- text-dedup


def run_text_dedup(paths: list[Path], work: Path, workers: int, hashing: str) -> pa.Table:
    """Run its command and read what it saved; documents under five words are among the removed."""
    from datasets import load_from_disk

    options = (
        f"--path parquet --split train --column text --idx_column id --debug {hashing} "
        f"--ngram {SHINGLE_WORDS} --num_perm {HASHES} --b {BANDS} --r {ROWS} "
        f"--threshold {THRESHOLD} --num_proc {workers} --output {work / 'out'} "
        f"--cache_dir {work / 'cache'} --data_files {paths[0].parent}/*.parquet"
    )
    command = [sys.executable, "-m", "text_dedup.minhash", *options.split()]
    offline = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(work / "home")}
    subprocess.run(command, check=True, stdout=sys.stderr, env=offline)
    kept = set(load_from_disk(str(work / "out"))["id"])
    names = [one for path in paths for one in pq.read_table(path, columns=["id"])["id"].to_pylist()]
    with open(work / "out" / "uf.pkl", "rb") as file:
        parent = pickle.load(file)  # its own union-find, from ids to ids
    number = {name: place for place, name in enumerate(names)}
    group = [number[parent.find(name)] if name in parent.parent else None for name in names]
    return pa.table([names, [name in kept for name in names], group], SCHEMA)


# ---------------------------------------------------------------- Daft


def run_daft(paths: list[Path], work: Path, workers: int) -> pa.Table:
    """Follow the recipe; the sketches are collected once, where it would compute them twice."""
    import daft
    from daft import col
    from daft import functions as f

    plain = f.normalize(
        col("text"), remove_punct=True, lowercase=True, nfd_unicode=True, white_space=True
    )
    sketch = f.minhash(
        plain, num_hashes=HASHES, ngram_size=SHINGLE_WORDS, seed=42, hash_function="xxhash"
    )
    pages = daft.read_parquet([str(path) for path in paths])
    pages = pages.select("id", sketch.alias("sketch"))
    pages = pages.with_column("node", f.monotonically_increasing_id()).collect()
    band = pages.select("node", f.chunk(col("sketch"), ROWS).alias("band"))
    alike = (
        band.explode("band", index_column="place")
        .groupby("place", "band")
        .agg(f.list_agg(col("node")).alias("v"))
        .where(f.list_count(col("v")) > 1)
    )
    edges = alike.select(f.list_min(col("v")).alias("u"), "v").explode("v")
    edges = edges.where(col("u") != col("v")).distinct().collect()
    before: set[tuple[int, int]] | None = None
    while (after := edge_set(edges)) != before:
        before = after
        edges = star(star(edges, large=True), large=False)
    found = edges.groupby("u").agg(col("v").min().alias("root"))
    table = pages.select("id", "node").join(found, left_on="node", right_on="u", how="left")
    named = table.select("id", "node", "root").to_pydict()
    pairs = list(zip(named["node"], named["root"], strict=True))
    kept = [root is None or root == node for node, root in pairs]
    return pa.table(
        [named["id"], kept, [node if root is None else root for node, root in pairs]], SCHEMA
    )


def edge_set(edges: Any) -> set[tuple[int, int]]:
    """Return the edges, each with its lower end first."""
    found = edges.to_pydict()
    return {(min(u, v), max(u, v)) for u, v in zip(found["u"], found["v"], strict=True)}


def star(edges: Any, *, large: bool) -> Any:
    """Link neighbours of each node to the lowest of its neighbourhood (Kiveris et al. 2014).

    Large: its higher neighbours, to the lowest of all. Small: the node and its lower neighbours, to
    the lowest of them. The recipe leaves the node itself out of the small star and mends what then
    stays apart by propagating labels, which takes longer.
    """
    from daft import col
    from daft import functions as f

    both = edges.select("u", "v").union_all(edges.select(col("v").alias("u"), col("u").alias("v")))
    near = (both if large else both.where(col("v") < col("u"))).groupby("u")
    near = near.agg(f.list_agg(col("v")).alias("n"), col("v").min().alias("low"))
    low = f.when(col("low") < col("u"), col("low")).otherwise(col("u"))
    near = near.select("u", low.alias("low"), "n").collect()
    linked = near.explode("n").select("u", "n", "low")
    linked = linked.where(col("n") > col("u")) if large else linked
    linked = linked.select(col("n").alias("u"), col("low").alias("v"))
    if not large:
        linked = linked.union_all(near.select("u", col("low").alias("v")))
    return linked.where(col("u") != col("v")).distinct().collect()


# ---------------------------------------------------------------- the sketch alone


def sketch_datasketch(texts: list[str]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Return datasketch's sketches, uint64[N, 112]."""
    return np.array([sketch.hashvalues for sketch in datasketches(texts)], np.uint64)


def sketch_rensa(texts: list[str]) -> Any:
    """Return rensa's matrix of sketches; its ``to_rows()`` gives lists of 32-bit numbers."""
    from rensa import RMinHash

    return RMinHash.digest_matrix_from_token_sets(map(shingles, texts), HASHES, 42)


def sketch_datatrove(
    texts: list[str], tokenizer: str = "spacy"
) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Return datatrove's signatures, uint64[N, 112]; zeros where a text is under five words."""
    from datatrove.pipeline.dedup import MinhashDedupSignature

    nowhere = tempfile.gettempdir()  # wanted by the step, used by its run() alone
    step = MinhashDedupSignature(nowhere, datatrove_config(), datatrove_words(tokenizer))
    found = np.zeros((len(texts), HASHES), np.uint64)
    for row, text in enumerate(texts):
        hashed = step.get_shingles(text)
        if hashed.size:
            found[row].reshape(BANDS, ROWS)[:] = step.get_signature(hashed)
    return found


# ---------------------------------------------------------------- running one


@dataclass(frozen=True)
class Peer:
    """How to run a peer (on files and a folder to work in, or on texts), and where it is from."""

    distribution: str
    note: str
    run: Callable[[list[Path], Path, int], pa.Table] | None = None
    sketch: Callable[[list[str]], Any] | None = None


FAST_HASH = "--hash_func xxh3 --hash_bits 32"
PEERS: dict[str, Peer] = {
    "datatrove": Peer("datatrove", "spaCy words", partial(run_datatrove, tokenizer="spacy")),
    "datatrove-regex": Peer("datatrove", "regex words", partial(run_datatrove, tokenizer="regex")),
    "datasketch": Peer("datasketch", "one process", run_datasketch),
    "rensa": Peer("rensa", "one process; greedy, estimate verified", run_rensa),
    "text-dedup": Peer("text-dedup", "sha1", partial(run_text_dedup, hashing="")),
    "text-dedup-xxh3": Peer("text-dedup", "xxh3", partial(run_text_dedup, hashing=FAST_HASH)),
    "daft": Peer("daft", "all cores", run_daft),
    "sketch-datasketch": Peer("datasketch", "one core", sketch=sketch_datasketch),
    "sketch-rensa": Peer("rensa", "one core", sketch=sketch_rensa),
    "sketch-datatrove": Peer("datatrove", "spaCy words", sketch=sketch_datatrove),
    "sketch-datatrove-regex": Peer(
        "datatrove", "regex words", sketch=partial(sketch_datatrove, tokenizer="regex")
    ),
}


def run_inside(name: str, folder: Path, out: Path | None, workers: int) -> dict[str, Any]:
    """Run a peer in this process."""
    peer = PEERS[name]
    paths = sorted(folder.glob("*.parquet"))
    rows, size = text_bytes(paths)
    version = importlib.metadata.version(peer.distribution)
    line = {"peer": name, "version": version, "documents": rows, "text_bytes": size}
    if peer.sketch:
        texts = [text for _, some in read(paths) for text in some]
        peer.sketch(texts[:20])  # imports and tables
        began = time.perf_counter()
        found = peer.sketch(texts)
        line |= {"seconds": time.perf_counter() - began, "removed": 0, "note": peer.note}
        if out:
            np.save(out, found if isinstance(found, np.ndarray) else np.array(found.to_rows()))
        return line
    if not peer.run or not out:
        raise SystemExit(f"{name} needs --out")
    with tempfile.TemporaryDirectory(prefix=f"peer-{name}-") as work:
        began = time.perf_counter()
        table = peer.run(paths, Path(work), workers)
        seconds = time.perf_counter() - began
    pq.write_table(table.sort_by("id"), out)
    removed = table["kept"].to_pylist().count(False)
    return line | {"seconds": seconds, "removed": removed, "note": peer.note}


def run_peer(
    name: str, folder: Path, out: Path | None, workers: int = 2, python: str = sys.executable
) -> dict[str, Any]:
    """Run a peer in a process of its own, in whatever environment, and watch it."""
    command = [python, __file__, name, "--input", str(folder), "--workers", str(workers)]
    command += ["--inside", *(["--out", str(out)] if out else [])]
    with tempfile.TemporaryFile("w+") as printed, tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=printed, stderr=log, start_new_session=True)
        cpu_seconds, peak = watch(process)
        printed.seek(0)
        log.seek(0)
        lines, logged = printed.read().splitlines(), log.read()
    if process.returncode:
        raise RuntimeError(f"{name} failed:\n{logged[-4000:]}")
    steps = [line for line in logged.splitlines() if line.startswith("step ")]
    found: dict[str, Any] = json.loads(lines[-1])
    found["note"] = "; ".join([found["note"], *steps])
    return found | {"cpu_seconds": cpu_seconds, "peak_rss_bytes": peak}


def watch(process: subprocess.Popen[bytes]) -> tuple[float, int]:
    """Return the CPU seconds of a session until its leader ends, and its peak memory in bytes.

    The session is asked, not the parents, for a fork server's children are nobody's that waits.
    """
    ticks: dict[int, int] = {}
    peak = 0
    while process.poll() is None:
        memory = 0
        for entry in os.listdir("/proc"):
            if entry.isdigit() and (used := usage(Path("/proc") / entry, process.pid)):
                ticks[int(entry)] = used[0]
                memory += used[1]
        peak = max(peak, memory)
        time.sleep(0.1)
    return sum(ticks.values()) / os.sysconf("SC_CLK_TCK"), peak


def usage(folder: Path, session: int) -> tuple[int, int] | None:
    """Return a process's ticks and proportional memory, None if it is of another session."""
    try:
        fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        if int(fields[3]) != session:
            return None
        rollup = (folder / "smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    kilobytes = next((int(line.split()[1]) for line in rollup if line.startswith("Pss:")), 0)
    return int(fields[11]) + int(fields[12]), kilobytes * 1024


def main() -> None:
    """Run one peer and print a line of JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--documents", type=int, help="take the first of each file, so many in all")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.inside:
        print(json.dumps(run_inside(chosen.peer, chosen.input, chosen.out, chosen.workers)))
        return
    with tempfile.TemporaryDirectory(prefix="peer-input-") as work:
        folder = chosen.input
        if chosen.documents:
            folder = Path(work) / "first"
            first_documents(chosen.input, chosen.documents, folder)
        print(json.dumps(run_peer(chosen.peer, folder, chosen.out, chosen.workers)))


if __name__ == "__main__":
    main()
