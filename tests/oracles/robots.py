"""Opt-outs one address at a time: patterns as regular expressions, robots.txt by protego."""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

from hypothesis import strategies as st
from protego import Protego

_UNRESERVED = re.compile(r"%(2D|2E|5F|7E|3\d|[46][1-9A-F]|[57][0-9A])")


def spelled(path: str) -> str:
    """Return a path with percent-encoding wherever it is needed, and nowhere else."""
    path = re.sub("%[0-9a-fA-F]{2}", lambda found: found[0].upper(), path)
    path = _UNRESERVED.sub(lambda found: chr(int(found[1], 16)), path)
    return quote(path, safe="%!\"#$&'()*+,/:;<=>?@[\\]^`{|}~")


def expression(pattern: str) -> re.Pattern[str]:
    """Return the regular expression for a pattern with ``*`` and ``$``."""
    end = pattern.endswith("$")
    parts = map(re.escape, spelled(pattern[:-1] if end else pattern).split("*"))
    return re.compile(".*".join(parts).replace(r"\$", "%24") + ("$" if end else ""), re.DOTALL)


def path_of(url: str) -> str:
    """Return path and query of an address, spelled for comparison."""
    parts = urlsplit(url if "//" in url else f"//{url}")
    path = parts.path + (f"?{parts.query}" if "?" in url.partition("#")[0] else "")
    path = path if path.startswith("/") else f"/{path}"
    return spelled(path).replace("*", "%2A").replace("$", "%24")


def forbids(robots: str, agent: str, url: str) -> bool:
    """Return whether a robots.txt file forbids an address, in protego's view."""
    return not Protego.parse(robots).can_fetch(url, agent)


_PIECES = [
    "/",
    "a",
    "b",
    "*",
    "$",
    "?",
    "%2A",
    "%61",
    "%7e",
    "é",
    "%C3%A9",
    "%",
    "%2",
    ".pdf",
    "/x/",
]
pattern = st.lists(st.sampled_from(_PIECES), min_size=1, max_size=6).map("".join)
path = st.lists(st.sampled_from(_PIECES), max_size=8).map("".join)
#: No versions ("CCBot/2.0"), which protego does not cut off, and no "Crawl-delay", which ends its
#: lists of agents; RFC 9309, 2.2.4, lets other records interfere with nothing.
_AGENTS = ["*", "*", "ccbot", "CCBot", "GPTBot", "CCBot-x"]
_line = st.one_of(
    st.sampled_from(["", "# note", "Sitemap: http://a/", "nonsense", " "]),
    st.sampled_from(_AGENTS).map("User-agent: {}".format),
    st.tuples(st.sampled_from(["Allow:", "Disallow:", "disallow :"]), st.just("") | pattern).map(
        " ".join
    ),
)
robots_txt = st.tuples(
    st.lists(_line, max_size=12), st.sampled_from(["\n", "\r\n", "\r", " # end\n"])
).map(lambda made: made[1].join(made[0]))
