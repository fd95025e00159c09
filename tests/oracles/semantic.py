"""Cluster vectors in Python's whole numbers and compare all pairs of a cluster, one by one."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import xxhash

_SEED_0, _SEED_1 = 0x243F6A8885A308D3, 0xB7E151628AED2A6A
_MASK = 2**64 - 1
Found = tuple[str | None, float | None, str | None, int | None]


@dataclass
class Row:
    """A row as it comes."""

    id: str
    embedding: list[float | None] | None
    duplicate_of: str | None = None
    group_size: int | None = None


@dataclass(eq=False)
class Vector:
    """A distinct vector and the rows that have it."""

    unit: list[float]
    whole: list[int]
    rows: list[Row]
    first: Row
    near: int = 0


def semantic_duplicates(
    rows: list[Row],
    similarity: float = 0.95,
    clusters: int = 1,
    iterations: int = 20,
    keep: str = "hard",
    seed: int = 0,
    passes: int = 2,
) -> list[Found]:
    """Return (duplicate_of, similarity, group_id, group_size) of each row."""
    judged = [row for row in rows if row.duplicate_of is None and unit(row.embedding)]
    lengths = Counter(len(row.embedding or ()) for row in judged)
    dims = max(lengths, key=lambda n: (lengths[n], n), default=0)
    vectors = distinct([row for row in judged if len(row.embedding or ()) == dims], seed)
    found = {row.id: (row.duplicate_of, None, None, row.group_size) for row in rows}
    stays = {vector: (vector, 1.0) for vector in vectors}
    for number in range(passes):
        fresh = [vector for vector in vectors if stays[vector][0] is vector]
        if number and min(clusters, len(fresh)) < 2:
            break
        for members in clustered(fresh, clusters, iterations, number):
            sign = 1 if keep == "hard" else -1
            members.sort(key=lambda v: (sign * v.near, name_hash(v.first.id, seed)))
            for group in grouped(members, similarity):
                stays |= {vector: (group[0][0], cosine) for vector, cosine in group}
        stays = {vector: followed(vector, stays, similarity) for vector in vectors}
    for first in vectors:
        group = [(v, cosine) for v, (stay, cosine) in stays.items() if stay is first]
        found |= described(sorted(group, key=lambda member: member[0] is not first))
    return [found[row.id] for row in rows]


def unit(vector: list[float | None] | None) -> list[float]:
    """Return the vector at norm 1, in float32; nothing where it has no direction."""
    values = [math.nan if x is None else float(np.float32(x)) for x in vector or ()]
    total = sum(x * x for x in values)
    if not math.isfinite(total) or total == 0:
        return []
    return [float(np.float32(x / math.sqrt(total))) + 0.0 for x in values]


def distinct(rows: list[Row], seed: int) -> list[Vector]:
    """Return the distinct vectors in the order of their hash."""
    found: dict[tuple[float, ...], Vector] = {}
    for row in rows:
        made = unit(row.embedding)
        scale = math.floor(4095 - math.sqrt(len(made)) / 2)
        whole = [int(np.rint(np.float32(x) * np.float32(scale))) for x in made]
        found.setdefault(tuple(made), Vector(made, whole, [], row)).rows.append(row)
    for vector in found.values():
        vector.first = min(vector.rows, key=lambda row: name_hash(row.id, seed))
    return sorted(found.values(), key=lambda vector: content_hash(vector.unit, seed))


def content_hash(made: list[float], seed: int) -> tuple[int, int]:
    data = np.array(made, dtype="<f4").tobytes()
    first, second = (xxhash.xxh64_intdigest(data, seed=s ^ seed) for s in (_SEED_0, _SEED_1))
    return first, second


def name_hash(name: str, seed: int) -> int:
    value = xxhash.xxh64_intdigest(name.encode(), seed=_SEED_0) ^ seed
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ value >> 27) * 0x94D049BB133111EB & _MASK
    return value ^ value >> 31


def dot(a: list[int], b: list[int]) -> int:
    return sum(x * y for x, y in zip(a, b, strict=True))


def followed(
    vector: Vector, stays: dict[Vector, tuple[Vector, float]], similarity: float
) -> tuple[Vector, float]:
    """Return what stays for a vector now that others have joined elsewhere."""
    own = stays[vector]
    further = stays[own[0]][0]
    if further is own[0]:
        return own
    cosine = math.fsum(x * y for x, y in zip(vector.unit, further.unit, strict=True))
    return (further, cosine) if cosine >= similarity else (vector, 1.0)


def clustered(
    vectors: list[Vector], clusters: int, iterations: int, number: int
) -> list[list[Vector]]:
    """Return the clusters, with each vector's product with its centre noted on it."""
    count = min(clusters, len(vectors))
    centres = [vectors[(number * count + n) % len(vectors)].whole for n in range(count)]
    trained = vectors[: 256 * count]
    for _ in range(iterations if count < len(vectors) else 0):
        sums = [[0] * len(centre) for centre in centres]
        for vector in trained:
            at = nearest(vector, centres)
            sums[at] = [x + y for x, y in zip(sums[at], vector.whole, strict=True)]
        centres = [centre_of(s, c) for s, c in zip(sums, centres, strict=True)]
    found: list[list[Vector]] = [[] for _ in centres]
    for vector in vectors:
        at = nearest(vector, centres)
        vector.near = dot(vector.whole, centres[at])
        found[at].append(vector)
    return found


def nearest(vector: Vector, centres: list[list[int]]) -> int:
    return max(range(len(centres)), key=lambda at: (dot(vector.whole, centres[at]), -at))


def centre_of(total: list[int], before: list[int]) -> list[int]:
    norm = math.sqrt(sum(x * x for x in total))
    scale = math.floor(4095 - math.sqrt(len(total)) / 2)
    return [int(np.rint(x * (scale / norm))) for x in total] if norm else before


def grouped(members: list[Vector], similarity: float) -> list[list[tuple[Vector, float]]]:
    """Return groups of (vector, cosine to the first); each joins the most similar that stays."""
    groups: list[list[tuple[Vector, float]]] = []
    for vector in members:
        cosines = [
            math.fsum(x * y for x, y in zip(vector.unit, group[0][0].unit, strict=True))
            for group in groups
        ]
        best = max(range(len(groups)), key=lambda at: (cosines[at], -at), default=-1)
        if best >= 0 and cosines[best] >= similarity:
            groups[best].append((vector, cosines[best]))
        else:
            groups.append([(vector, 1.0)])
    return groups


def described(group: list[tuple[Vector, float]]) -> dict[str, Found]:
    if not group:
        return {}
    stays = group[0][0].first.id
    size = sum(
        1 if row.group_size is None else row.group_size
        for vector, _ in group
        for row in vector.rows
    )
    alone = len(group) == 1 and len(group[0][0].rows) == 1
    found: dict[str, Found] = {}
    for vector, cosine in group:
        for row in vector.rows:
            leads = row.id == stays
            found[row.id] = (
                None if leads else stays,
                None if leads else min(1.0, cosine),
                None if alone else stays,
                size % 2**64,
            )
    return found
