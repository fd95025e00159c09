"""Group rows by hash in a dict."""

from __future__ import annotations


def duplicates(
    ids: list[str], hashes: list[bytes | None]
) -> tuple[list[str | None], list[int | None]]:
    """Return (duplicate_of, group_size) of each row; the smallest id in byte order stays."""
    members: dict[bytes, list[str]] = {}
    for name, value in zip(ids, hashes, strict=True):
        if value is not None:
            members.setdefault(value, []).append(name)
    stays = {value: min(names, key=str.encode) for value, names in members.items()}
    repeats: list[str | None] = []
    sizes: list[int | None] = []
    for name, value in zip(ids, hashes, strict=True):
        known = value is not None
        repeats.append(stays[value] if known and stays[value] != name else None)
        sizes.append(len(members[value]) if known else None)
    return repeats, sizes
