"""Wishes of owners: rows, domains and paths that are not to be used."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.annotate.hosts import Addresses, hosts_of, take_apart
from curation.annotate.lists import Listed, Stamp, files_of, read_list, stamp
from curation.annotate.robots import Rule, read_robots, rules_for
from curation.arrow import (
    I64,
    U8,
    Bool_N,
    bytes_and_offsets,
    from_bytes_and_offsets,
    to_column,
    values_of,
)
from curation.columns import columns
from curation.errors import RecipeError
from curation.stage import Annotator

if TYPE_CHECKING:
    from curation.kernels.members import Members
    from curation.kernels.paths import Rules


@dataclass(frozen=True, kw_only=True)
class OptOut(Annotator):
    """Say which rows an owner's wish excludes, and which wish.

    domains  ``example.com`` or ``http://example.com/`` covers the domain and all hosts below it,
             ``*.example.com`` those below it alone,
             ``example.com/private/`` the addresses on any of them whose path
             begins so; in paths ``*`` and ``$`` mean what they mean in robots.txt
    ids      ids of rows
    robots   robots.txt files: a folder of them, named after their hosts, or JSON lines such as
             {"host": "example.com", "robots": "User-agent: …"}; of several for a host the last
             counts. Rules count for that very host, whatever the port
    agents   user agents that count in robots.txt: a page is opted out that any of them is refused
             by a group of its own; ``*`` stands for the group for all agents, which is asked
             where none of the others has a group

    A list is the path of a file with an entry a line, or a tuple of entries. What follows a tab
    in an entry is the reason, which is repeated in ``opt_out``. The first wish found is given:
    of ids, then of domains (the longest domain first), then of robots.txt.

    reads    id       large_string
             url      large_string  rows without one are judged by their id alone
    writes   opt_out  large_string  null where no wish excludes the row; else ``id ID: REASON``,
                                    ``domain ENTRY: REASON``, ``path ENTRY: REASON`` or
                                    ``robots.txt of HOST for AGENT: Disallow PATTERN``
    source   RFC 9309, Robots Exclusion Protocol: groups, longest match, percent-encoding
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("id", "url")
    writes: ClassVar[pa.Schema] = columns("opt_out")

    domains: Listed = ""
    ids: Listed = ""
    robots: str = ""
    agents: tuple[str, ...] = (
        *("CCBot", "GPTBot", "ClaudeBot", "Google-Extended", "PerplexityBot", "Bytespider"),
        *("anthropic-ai", "*"),
    )

    def check(self) -> None:
        stamp(self.domains, self.ids, self.robots)  # a missing file is told before data is read
        if not self.agents or not all(agent.strip() for agent in self.agents):
            raise RecipeError(
                "OptOut takes the names of user agents.",
                found=f"agents={self.agents!r}",
                remedy='such as agents=("CCBot", "*")',
            )

    def model_files(self) -> tuple[str, ...]:
        return files_of(self.domains, self.ids, self.robots)

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from curation.kernels.paths import covered, disallowed

        wishes = _wishes(self, stamp(*self.model_files()))
        addresses = take_apart(batch["url"])
        places = addresses.host_data, addresses.host_offset, *_paths(addresses)
        found = [
            (_find(wishes.ids, batch["id"]), wishes.id_said),
            (covered(wishes.domains, *places), wishes.domain_said),
            *((disallowed(rules, *places), said) for rules, said in wishes.robots),
        ]
        said = pc.coalesce(*(said(index) for index, said in found))
        return pa.RecordBatch.from_arrays([said], schema=self.writes)


class _Said(NamedTuple):
    """Sentences, joined from their parts only for the rows that need one."""

    kind: pa.Array
    entry: pa.Array
    reason: pa.Array

    def __call__(self, index_N: I64) -> pa.Array:
        """Return the sentence with each number; null for -1."""
        place = to_column(index_N, index_N >= 0)
        parts = [column.take(place) for column in self]
        return pc.binary_join_element_wise(*parts, _large(""))


class _Wishes(NamedTuple):
    """A stage's lists, ready to be looked up."""

    ids: Members
    id_said: _Said
    domains: Rules
    domain_said: _Said
    robots: list[tuple[Rules, _Said]]  #: of each agent


@functools.lru_cache(maxsize=4)
def _wishes(stage: OptOut, _: Stamp) -> _Wishes:
    from curation.kernels.members import make_members

    ids, reasons = _with_reasons(stage.ids)
    kinds = pa.array(["id "] * len(ids), pa.large_string())
    return _Wishes(
        make_members(*bytes_and_offsets(ids)),
        _Said(kinds, ids, reasons),
        *_domain_rules(stage.domains),
        _robots_rules(stage.robots, stage.agents),
    )


def _large(text: str) -> pa.Scalar:
    return pa.scalar(text, pa.large_string())


def _find(members: Members, column: pa.Array) -> I64:
    from curation.kernels.members import find_spans

    data, offset = bytes_and_offsets(column)
    return find_spans(members, data, offset[:-1], offset[1:])


def _with_reasons(listed: Listed) -> tuple[pa.Array, pa.Array]:
    """Return the entries of a list, and what is said after them: ``: REASON`` or nothing."""
    lines = read_list(listed)
    tab = pc.find_substring(lines, "\t")
    has = pc.greater_equal(tab, 0)
    entry = pc.utf8_trim_whitespace(pc.replace_substring_regex(lines, r"(?s)\t.*", ""))
    reason = pc.utf8_trim_whitespace(pc.replace_substring_regex(lines, r"(?s)^[^\t]*\t", ""))
    said = pc.binary_join_element_wise(_large(": "), reason, _large(""))
    return entry, pc.if_else(has, said, _large(""))


def _domain_rules(listed: Listed) -> tuple[Rules, _Said]:
    entries, reasons = _with_reasons(listed)
    below = pc.starts_with(entries, "*.")
    named = pc.replace_substring_regex(entries, r"^\*\.", "")
    named = pc.replace_substring_regex(named, r"^((?i:https?)://[^/?#]+)/$", r"\1")
    addresses = take_apart(named)
    bad = np.diff(addresses.host_offset) == 0
    if bad.any():
        raise RecipeError(
            "OptOut's domains takes hosts, perhaps with a path, and an entry has no host.",
            found=repr(entries[int(np.argmax(bad))].as_py()),
            remedy="such as example.com, *.example.com or example.com/private/",
        )
    parts = addresses.parts
    paths = _large_strings(*_spelled(addresses.data, parts.path_N, parts.stop_N, pattern=True))
    kinds = pc.if_else(to_column(parts.path_N < parts.stop_N), _large("path "), _large("domain "))
    hosts = _large_strings(addresses.host_data, addresses.host_offset)
    rules, order = _grouped(hosts, values_of(below), paths)
    return rules, _Said(kinds.take(order), entries.take(order), reasons.take(order))


def _robots_rules(path: str, agents: tuple[str, ...]) -> list[tuple[Rules, _Said]]:
    """Return the rules for each agent that a file has some for, in the order of the agents."""
    files = list(read_robots(path)) if path else []
    hosts = hosts_of(pa.array([host for host, _ in files], pa.large_string()), "robots")
    latest = dict(zip(hosts.to_pylist(), (text for _, text in files), strict=True))
    rows: dict[str, list[tuple[str, str, Rule]]] = {agent: [] for agent in agents}
    for host, text in latest.items():
        for agent, rules in rules_for(text, agents).items():
            rows[agent] += ((host, f" for {agent}", rule) for rule in rules)
    return [_agent_rules(of_agent) for of_agent in rows.values() if of_agent]


def _agent_rules(rows: list[tuple[str, str, Rule]]) -> tuple[Rules, _Said]:
    host, agent, pattern = (
        pa.array(cells, pa.large_string())
        for cells in (
            [h for h, _, _ in rows],
            [a for _, a, _ in rows],
            [r.pattern for *_, r in rows],
        )
    )
    data, offset = bytes_and_offsets(pattern)
    spelled = _large_strings(*_spelled(data, offset[:-1], offset[1:], pattern=True))
    allows = np.array([rule.allows for *_, rule in rows], dtype=np.bool_)
    rules, order = _grouped(host, allows, spelled)
    said = (
        pc.binary_join_element_wise(_large("robots.txt of "), host, _large("")),
        agent,
        pc.binary_join_element_wise(_large(": Disallow "), pattern, _large("")),
    )
    return rules, _Said(*(column.take(order) for column in said))


def _grouped(name: pa.Array, flag_R: Bool_N, pattern: pa.Array) -> tuple[Rules, pa.Array]:
    """Return rules grouped by their names, and their order; within a group it is the given one."""
    from curation.kernels.members import make_members
    from curation.kernels.paths import Rules

    coded = name.dictionary_encode()
    code_R = values_of(coded.indices)
    order = np.argsort(code_R, kind="stable")
    group = np.searchsorted(code_R[order], np.arange(len(coded.dictionary) + 1))
    place = to_column(order)
    patterns = bytes_and_offsets(pattern.take(place))
    names = make_members(*bytes_and_offsets(coded.dictionary))
    return Rules(names, group, flag_R[order], *patterns), place


def _paths(addresses: Addresses) -> tuple[U8, I64]:
    parts = addresses.parts
    return _spelled(addresses.data, parts.path_N, parts.stop_N, pattern=False)


def _spelled(data: U8, start: I64, stop: I64, *, pattern: bool) -> tuple[U8, I64]:
    from curation.kernels.paths import spell_paths

    return spell_paths(data, start, stop, pattern)


def _large_strings(data: U8, offset: I64) -> pa.Array:
    return from_bytes_and_offsets(data, offset, pa.large_string())
