"""Hosts of addresses as columns, and the domains that they are registered under.

A host in other letters than ASCII is written as DNS has it (``xn--…``), so that both spellings of
a name are one. The Public Suffix List is the one that tldextract carries, its private part left
out, as tldextract does and thus datatrove: a blog at blogspot.com belongs to blogspot.com.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.arrow import I64, U8, Bool_N, bytes_and_offsets, from_bytes_and_offsets
from curation.errors import RecipeError

if TYPE_CHECKING:
    from curation.kernels.members import Members
    from curation.kernels.urls import Parts

_DOT_LIKE = ("\u3002", "\uff0e", "\uff61")


class Addresses(NamedTuple):
    """Addresses taken apart; what is missing is an empty string.

    data, offset            the addresses
    parts                   where the parts of each lie; its hosts may hold other than ASCII
    host_data, host_offset  the hosts, in ASCII
    """

    data: U8
    offset: I64
    parts: Parts
    host_data: U8
    host_offset: I64


def take_apart(url: pa.Array) -> Addresses:
    """Take a string column of addresses apart."""
    from curation.kernels.urls import split_urls

    data, offset = bytes_and_offsets(url)
    parts = split_urls(data, offset)
    hosts = parts.host_B, parts.host_offset
    if not parts.ascii_N.all():
        hosts = bytes_and_offsets(_in_ascii(*hosts, parts.ascii_N))
    return Addresses(data, offset, parts, *hosts)


def bare(addresses: Addresses) -> tuple[U8, I64]:
    """Return addresses as they are compared: without scheme, user, fragment, slash at the end."""
    from curation.kernels.urls import bare_urls

    parts = addresses.parts
    places = parts.begin_N, parts.after_N, parts.stop_N
    return bare_urls(addresses.data, addresses.host_data, addresses.host_offset, *places)


def domain_starts(addresses: Addresses) -> I64:
    """Return where in ``host_data`` each registered domain begins, -1 where there is none."""
    from curation.kernels.urls import registered_domains

    host = addresses.host_data, addresses.host_offset
    suffixes, kinds, depth = _public_suffixes()
    return registered_domains(*host, suffixes, kinds, depth)


def hosts_of(entries: pa.Array, setting: str) -> pa.Array:
    """Return the hosts that a list names; RecipeError where an entry is more, or none."""
    addresses = take_apart(entries)
    parts = addresses.parts
    bad = np.diff(addresses.host_offset) == 0
    bad |= parts.stop_N - parts.path_N > 1
    if bad.any():
        raise RecipeError(
            f"{setting} takes hosts, such as example.com, and an entry is none.",
            found=repr(entries[int(np.argmax(bad))].as_py()),
            remedy="correct the entry or take it out of the list",
        )
    host = addresses.host_data, addresses.host_offset
    return from_bytes_and_offsets(*host, pa.large_string())


def nullable(data: U8, offset: I64) -> pa.Array:
    """Return a large string column in which what is empty is null."""
    return from_bytes_and_offsets(data, offset, pa.large_string(), np.diff(offset) > 0)


def _in_ascii(data: U8, offset: I64, ascii_N: Bool_N) -> pa.Array:
    column = from_bytes_and_offsets(data, offset, pa.large_string())
    mask = pa.array(~ascii_N)
    spelled = [ascii_host(host) or "" for host in column.filter(mask).to_pylist()]
    return pc.replace_with_mask(column, mask, pa.array(spelled, pa.large_string()))


@functools.lru_cache(maxsize=1 << 16)  # idna takes some 20 microseconds a name
def ascii_host(host: str) -> str | None:
    """Return a host in ASCII, lower-cased: UTS 46, else IDNA 2003 (emoji); None for no host."""
    import idna

    for dot in _DOT_LIKE:
        host = host.replace(dot, ".")
    host = host.rstrip(".")
    try:
        return idna.encode(host, uts46=True, transitional=False).decode("ascii").lower()
    except UnicodeError:  # idna's own errors too
        pass
    try:
        spelled = host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return None
    return spelled if _IS_NAME.issuperset(spelled) else None


_IS_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-_")


@functools.cache
def _public_suffixes() -> tuple[Members, npt.NDArray[np.uint8], int]:
    """Return the list's names, what is said of each, and the labels of the longest."""
    from tldextract import TLDExtract

    from curation.kernels.members import make_members
    from curation.kernels.urls import EXCEPTION, PLAIN, WILDCARD

    kinds: dict[str, int] = {}
    for rule in TLDExtract(cache_dir=None, suffix_list_urls=()).tlds:
        name = rule.removeprefix("*.").removeprefix("!")
        kind = WILDCARD if rule.startswith("*.") else EXCEPTION if rule[0] == "!" else PLAIN
        spelled = name if name.isascii() else ascii_host(name)
        if spelled:
            kinds[spelled] = kinds.get(spelled, 0) | kind
    names = pa.array(list(kinds), pa.large_string())
    depth = max(name.count(".") + 1 for name in kinds)
    flags = np.array(list(kinds.values()), dtype=np.uint8)
    return make_members(*bytes_and_offsets(names)), flags, depth
