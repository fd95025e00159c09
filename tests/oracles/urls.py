"""What UrlRules decides, one address at a time and with tldextract itself."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from hypothesis import strategies as st
from tldextract import TLDExtract

WORD = re.compile(r"[a-zA-Z0-9]+")
_NAME = re.compile(r"[a-z0-9._-]{1,253}")


@functools.cache
def extractor() -> TLDExtract:
    """Return tldextract with the list that comes with it; it asks no network."""
    return TLDExtract(cache_dir=None, suffix_list_urls=())


def host_of(url: str) -> str | None:
    """Return the host of an address: the standard library's, if it is a name or an IP address."""
    url = url.strip("".join(map(chr, range(33))))
    rest = re.sub(r"^(?:[a-zA-Z0-9+.-]+:)?//", "", url).replace("\\", "/")
    try:
        netloc = urlsplit(f"http://{rest}").netloc
    except ValueError:
        return None
    host = netloc.rpartition("@")[2]
    host = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
    host = re.sub("[\u3002\uff0e\uff61]", ".", host).strip().rstrip(".").lower()
    if host.startswith("["):
        return host if re.fullmatch(r"\[[0-9a-f:.]+\]", host) and len(host) > 3 else None
    return host if _NAME.fullmatch(host) else None


def domain_of(host: str | None) -> str | None:
    """Return the registered domain of a host, as tldextract has it."""
    return extractor()(host).top_domain_under_public_suffix or None if host else None


def bare(url: str) -> str:
    """Return an address without scheme, user, fragment and one slash at the end."""
    host = host_of(url)
    url = url.strip("".join(map(chr, range(33)))).partition("#")[0]
    if host:
        url = re.sub(r"^(?:[a-zA-Z0-9+.-]+:)?//", "", url)
        authority = re.match(r"[^/?\\]*", url)
        assert authority
        port = re.sub(r"^(\[[^\]]*\]|[^:]*)", "", authority[0].rpartition("@")[2])
        url = host + port + url[authority.end() :]
    return url[:-1] if len(url) > 1 and url.endswith("/") else url


@dataclass(frozen=True)
class Lists:
    """Entries as a user writes them, hosts and words in lower case."""

    domains: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    banned: tuple[str, ...] = ()
    soft: tuple[str, ...] = ()
    subwords: tuple[str, ...] = ()
    threshold: int = 2


def rule_of(url: str | None, lists: Lists) -> tuple[str | None, str | None]:
    """Return the first rule that an address breaks, and what the rule found."""
    if url is None:
        return None, None
    host = host_of(url)
    name = domain_of(host) or host
    if name in lists.domains:
        return "domain", name
    if host in lists.domains:
        return "subdomain", host
    if bare(url) in map(bare, lists.urls):
        return "url", bare(url)
    words = [word.lower() for word in WORD.findall(url)]
    for word in words:
        if word in lists.banned:
            return "banned word", word
    soft = [word for word in dict.fromkeys(words) if word in lists.soft]
    if len(soft) >= lists.threshold:
        return "soft words", ", ".join(soft)
    joined = "".join(words)
    for end in range(len(joined) + 1):
        ending = [word for word in lists.subwords if joined[:end].endswith(word)]
        if ending:
            return "banned subword", max(ending, key=len)
    return None, None


_LABELS = ["www", "a", "example", "com", "co", "uk", "ck", "kawasaki", "city", "jp", "blogspot"]
_LABELS += [
    "foo_bar",
    "x-y",
    "1",
    "255",
    "xn--p1ai",
    "xn--bcher-kva",
    "COM",
    "Example",
    "kobe",
    "s3",
]
_host = st.lists(st.sampled_from(_LABELS), min_size=1, max_size=6).map(".".join)
_oddity = st.sampled_from(["", "", "", ".", "..", "[::1]", " ", "@", "%41", "a" * 260])
_path = st.lists(
    st.sampled_from(
        ["/", "?", "#", "-", ".", "sex", "SEX", "hot", "free", "Now", "word", "\\", "/é"]
    ),
    max_size=8,
).map("".join)
#: Addresses of few parts, so that lists of the same parts often match.
address = st.builds(
    "{}{}{}{}{}{}".format,
    st.sampled_from(["", "//", "http://", "HTTPS://", "a b://", "://", "http:/", "x:y://"]),
    st.sampled_from(["", "", "u@", "u:p@", "a.com@"]),
    _host,
    _oddity,
    st.sampled_from(["", "", ":80", ":", ":a"]),
    _path,
)
