"""Rules about addresses: listed hosts and pages, words in the address."""

from __future__ import annotations

import functools
import string
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.annotate.hosts import Addresses, bare, domain_starts, hosts_of, nullable, take_apart
from curation.annotate.lists import Listed, Stamp, files_of, read_list, stamp
from curation.arrow import I64, U8, Bool_N, bytes_and_offsets, from_bytes_and_offsets, to_column
from curation.columns import columns
from curation.errors import RecipeError
from curation.stage import Annotator

if TYPE_CHECKING:
    from curation.kernels.automaton import Automaton
    from curation.kernels.members import Members

#: The rules in the order in which they are asked; the first that an address breaks is its rule.
RULES = ("domain", "subdomain", "url", "banned word", "soft words", "banned subword")


@dataclass(frozen=True, kw_only=True)
class UrlRules(Annotator):
    """Compare addresses with lists of hosts, pages and words.

    domains              hosts. ``domain`` is broken where the registered domain (or a host that
                         has none, such as an IP address) is listed, ``subdomain`` where the whole
                         host is; what lies between the two is not asked
    urls                 pages, compared without scheme, user, fragment and one slash at the end
    banned_words         words of which an address may hold none
    soft_words           words of which it may hold fewer than ``soft_word_threshold`` different
                         ones
    banned_subwords      strings that may occur nowhere in the letters and digits of the address
                         laid end to end

    A list is the path of a file with an entry a line, or a tuple of entries. Words are runs of
    ASCII letters and digits in any case, the scheme's and host's too; of an entry all other
    characters are dropped.

    reads    url         large_string  null and blank addresses break no rule
    writes   url_host    large_string  lower-cased; null where the address has no host
             url_domain  large_string  one label and the public suffix; null where there is none
             url_rule    large_string  one of RULES; null where none is broken
             url_match   large_string  domain, host, entry or words (", " between) that were found
    source   datatrove 0.10.1, URLFilter: the same rules in the same order. It differs where that
             is plainly at fault: hosts and words in capitals are compared in lower case, domain
             lists too; IP addresses and names without a public suffix can be listed; both
             spellings of an international name are one; entries of its own url list, which have
             no scheme, can match; a blank line does not ban every address that ends in a slash
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("url",)
    writes: ClassVar[pa.Schema] = columns("url_host", "url_domain", "url_rule", "url_match")

    domains: Listed = ""
    urls: Listed = ""
    banned_words: Listed = ""
    soft_words: Listed = ""
    banned_subwords: Listed = ""
    soft_word_threshold: int = 2

    def check(self) -> None:
        stamp(*self._settings())  # a missing file is told before data is read
        if self.soft_word_threshold < 1:
            raise RecipeError(
                "UrlRules takes a soft_word_threshold of 1 or more.",
                found=str(self.soft_word_threshold),
                remedy="1 to ban every soft word",
            )

    def model_files(self) -> tuple[str, ...]:
        return files_of(*self._settings())

    def identity(self) -> dict[str, object]:
        """Return the identity with the release of the Public Suffix List."""
        return {**super().identity(), "suffixes": f"tldextract {version('tldextract')}"}

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from curation.kernels.urls import gather

        addresses = take_apart(batch["url"])
        host, offset = addresses.host_data, addresses.host_offset
        start = domain_starts(addresses)
        domain = gather(host, start, np.where(start < 0, start, offset[1:]))
        # a host without a registered domain is looked up by its own name
        named = gather(host, np.where(start < 0, offset[:-1], start), offset[1:])
        chosen = _choose(_find(self, addresses, named))
        arrays = [nullable(host, offset), nullable(*domain), *chosen]
        return pa.RecordBatch.from_arrays(arrays, schema=self.writes)

    def _settings(self) -> tuple[Listed, ...]:
        words = self.banned_words, self.soft_words, self.banned_subwords
        return self.domains, self.urls, *words


class _Lists(NamedTuple):
    """A stage's lists, ready to be looked up; an entry's number is its place in its column."""

    domains: Members
    domain: pa.Array
    urls: Members
    url: pa.Array
    words: Members
    word: pa.Array
    is_banned: Bool_N
    is_soft: Bool_N
    subwords: Automaton
    subword: pa.Array


#: Which string a rule found in each address, -1 for none, and the strings.
_Found = tuple[I64, pa.Array]


def _find(stage: UrlRules, addresses: Addresses, named: tuple[U8, I64]) -> list[_Found]:
    """Ask each of RULES about each address."""
    from curation.kernels.automaton import first_strings
    from curation.kernels.members import find_spans
    from curation.kernels.urls import listed_words

    lists = _lists(stage, stamp(*stage.model_files()))
    pages, ends = bare(addresses)
    name, edges = named
    host, offset = addresses.host_data, addresses.host_offset
    words = listed_words(addresses.data, addresses.offset, lists.words)
    return [
        (find_spans(lists.domains, name, edges[:-1], edges[1:]), lists.domain),
        (find_spans(lists.domains, host, offset[:-1], offset[1:]), lists.domain),
        (find_spans(lists.urls, pages, ends[:-1], ends[1:]), lists.url),
        _banned_word(lists, *_only(*words, lists.is_banned)),
        _soft_words(lists, *_only(*words, lists.is_soft), stage.soft_word_threshold),
        (first_strings(lists.subwords, addresses.data, addresses.offset), lists.subword),
    ]


def _only(word: I64, offset: I64, wanted: Bool_N) -> tuple[I64, I64]:
    """Return the wanted ones of the words found, and their offsets."""
    keep = wanted[word]
    return word[keep], np.append(0, np.cumsum(keep))[offset]


def _banned_word(lists: _Lists, word: I64, offset: I64) -> _Found:
    first = np.append(word, -1)[offset[:-1]]
    return np.where(np.diff(offset) > 0, first, -1), lists.word


def _soft_words(lists: _Lists, word: I64, offset: I64, threshold: int) -> _Found:
    broken = np.diff(offset) >= threshold
    words = pa.LargeListArray.from_arrays(to_column(offset), lists.word.take(to_column(word)))
    joined = pc.binary_join(words.filter(to_column(broken)), pa.scalar(", ", pa.large_string()))
    return np.where(broken, np.cumsum(broken) - 1, -1), joined


def _choose(found: list[_Found]) -> tuple[pa.Array, pa.Array]:
    """Return the name of the first rule that each address breaks, and what it found."""
    rule = np.full(len(found[0][0]), -1, dtype=np.int64)
    for number in reversed(range(len(found))):
        rule[found[number][0] >= 0] = number
    place = np.argsort(np.argsort(rule, kind="stable"), kind="stable") - np.sum(rule < 0)
    matches = [
        strings.take(to_column(index[rule == number]))
        for number, (index, strings) in enumerate(found)
    ]
    names = pa.array(RULES, pa.large_string())
    return (
        names.take(to_column(rule, rule >= 0)),
        pa.concat_arrays(matches).take(to_column(place, rule >= 0)),
    )


@functools.lru_cache(maxsize=4)
def _lists(stage: UrlRules, _: Stamp) -> _Lists:
    from curation.kernels.members import make_members

    domain = hosts_of(read_list(stage.domains), "domains")
    url = from_bytes_and_offsets(*bare(take_apart(read_list(stage.urls))), pa.large_string())
    banned = _reduced(stage.banned_words, "banned_words")
    soft = _reduced(stage.soft_words, "soft_words")
    word = pa.array(dict.fromkeys([*banned, *soft]), pa.large_string())
    subword = pa.array(_reduced(stage.banned_subwords, "banned_subwords"), pa.large_string())
    return _Lists(
        domains=make_members(*bytes_and_offsets(domain)),
        domain=domain,
        urls=make_members(*bytes_and_offsets(url)),
        url=url,
        words=make_members(*bytes_and_offsets(word)),
        word=word,
        is_banned=np.isin(word.to_pylist(), banned),
        is_soft=np.isin(word.to_pylist(), soft),
        subwords=_subword_automaton(subword),
        subword=subword,
    )


def _reduced(listed: Listed, setting: str) -> list[str]:
    """Return the letters and digits of each entry in lower case, each once."""
    entries = read_list(listed)
    reduced = pc.ascii_lower(pc.replace_substring_regex(entries, "[^a-zA-Z0-9]+", ""))
    empty = entries.filter(pc.equal(reduced, ""))
    if len(empty):
        raise RecipeError(
            f"UrlRules compares the ASCII letters and digits of {setting}, and an entry has none.",
            found=repr(empty[0].as_py()),
            remedy="take it out of the list",
        )
    return list(dict.fromkeys(reduced.to_pylist()))


def _subword_automaton(subword: pa.Array) -> Automaton:
    from curation.kernels.automaton import SKIP, make_automaton

    class_256 = np.full(256, SKIP, dtype=np.uint8)
    for number, character in enumerate(string.ascii_lowercase + string.digits):
        class_256[[ord(character), ord(character.upper())]] = number
    return make_automaton(*bytes_and_offsets(subword), class_256)
