"""Licences: which one a free statement names, and which ones a corpus takes."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from importlib.metadata import version
from typing import ClassVar, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from curation.columns import columns
from curation.stage import Annotator

#: Longer statements are no name of a licence but its text, or an article about licences.
MOST_CHARS = 500

#: What SPDX has no identifier for, in the form that SPDX leaves for such things.
STATED_PUBLIC_DOMAIN = "LicenseRef-public-domain"

PUBLIC_DOMAIN = ("CC0-1.0", "CC-PDM-1.0", "CC-PDDC", "PDDL-1.0", "Unlicense", STATED_PUBLIC_DOMAIN)
#: Attribution alone. "CC-BY-*" would be a trap: CC-BY-NC-4.0 begins so too.
ATTRIBUTION = (
    *("CC-BY-1*", "CC-BY-2*", "CC-BY-3*", "CC-BY-4*", "LicenseRef-CC-BY"),
    *("ODC-By-1.0", "OGL-UK-*", "etalab-2.0", "CDLA-Permissive-*"),
)
#: Open-source licences that ask for a notice and no more.
PERMISSIVE = (
    *("MIT", "MIT-0", "X11", "Apache-1.1", "Apache-2.0", "0BSD", "BSD-1-Clause", "BSD-2-Clause"),
    *("BSD-3-Clause", "ISC", "Zlib", "BSL-1.0", "PostgreSQL", "PSF-2.0", "Python-2.0", "NCSA"),
    *("WTFPL", "Artistic-2.0", "BlueOak-1.0.0", "UPL-1.0", "MulanPSL-2.0"),
)
#: What is made from these has to carry the same licence.
SHARE_ALIKE = ("CC-BY-SA-*", "CC-SA-1.0", "LicenseRef-CC-BY-SA", "ODbL-1.0", "GFDL-*")
#: Open-source licences of the same kind.
COPYLEFT = ("GPL-*", "LGPL-*", "AGPL-*", "MPL-*", "EPL-*", "EUPL-*", "CDDL-*")
#: Not for commercial use; some of them not to be changed or only alike.
NON_COMMERCIAL = ("CC-BY-NC-*", "LicenseRef-CC-BY-NC*", "CC-NC-*")
#: Not to be changed, which a cut or cleaned text is.
NO_DERIVATIVES = ("CC-BY-ND-*", "LicenseRef-CC-BY-ND")

#: The default: no duty but to name the author. Add SHARE_ALIKE or others by ``+``.
OPEN_LICENSES = PUBLIC_DOMAIN + ATTRIBUTION + PERMISSIVE


@dataclass(frozen=True, kw_only=True)
class LicenseId(Annotator):
    """Recognise the licence that a statement names: an identifier, a name or an address.

    The statement has to be one licence's name and little else: words such as "this work is
    licensed under" are passed over, and whatever else is not understood makes the licence
    unknown, as do two different licences. An address of a licence counts whatever stands around
    it, unless that names another one or denies it ("not", "except", "all rights reserved"); an
    address inside another address does not count. Elements of Creative Commons licences add up,
    so that of "CC BY 4.0, CC BY-NC 4.0" the stricter remains.

    A Creative Commons name without a version becomes ``LicenseRef-CC-BY-SA`` and so on, and
    "public domain" ``LicenseRef-public-domain``: SPDX has no identifier for these. National
    versions that SPDX does not list become the international one of the same number. A choice of
    licences ("MIT OR Apache-2.0") is not one identifier: null.

    reads    license     large_string  free text; null allowed
    writes   license_id  large_string  SPDX identifier or LicenseRef; null where not recognised
    source   SPDX License List, as the package ``packaging`` carries it
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("license",)
    writes: ClassVar[pa.Schema] = columns("license_id")

    def identity(self) -> dict[str, object]:
        """Return the identity with the release of the list of identifiers."""
        return {**super().identity(), "spdx": f"packaging {version('packaging')}"}

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        stated = batch["license"]
        short = pc.less_equal(pc.utf8_length(stated), MOST_CHARS)
        coded = pc.if_else(short, stated, None).dictionary_encode()
        ids = [spdx_id(text) for text in coded.dictionary.to_pylist()]
        column = pa.array(ids, pa.large_string()).take(coded.indices)
        return pa.RecordBatch.from_arrays([column], schema=self.writes)


# ---------------------------------------------------------------- from a statement to an id


@functools.lru_cache(maxsize=1 << 14)
def spdx_id(stated: str) -> str | None:
    """Return the SPDX identifier of the one licence that a statement names, else None."""
    by_id = _listed(stated.strip())
    if by_id:
        return by_id
    text = stated.casefold()
    found = {_of_address(address) for address in _ADDRESS.findall(text)} - {None}
    named = _of_words(_ADDRESS.sub(" ", text))
    if len(found) > 1:
        return None
    if not found:
        return named
    if _DENIAL.search(_ADDRESS.sub(" ", text)):
        return None
    [address] = found
    return address if named is None or _agree(named, address) else None


def _agree(named: str, address: str | None) -> bool:
    """Tell whether a name is that of the address, though perhaps without version or country."""
    loose = named.removeprefix("LicenseRef-")
    return address is not None and (
        named == address
        or address.startswith(f"{named}-")
        or re.fullmatch(rf"{re.escape(loose)}-\d.*", address) is not None
        or (named == STATED_PUBLIC_DOMAIN and address in PUBLIC_DOMAIN)
    )


def _listed(text: str) -> str | None:
    """Return an identifier of SPDX's list as that spells it; the old GNU ones as the new."""
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    if not re.fullmatch(r"[A-Za-z0-9.+-]+", text):
        return None
    try:
        found = str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        return None
    old = re.fullmatch(r"((?:A|L)?GPL-\d\.\d|GFDL-\d\.\d)(\+?)", found)
    if old:
        return f"{old[1]}-{'or-later' if old[2] else 'only'}"
    return found.removesuffix("+") if found.endswith("+") else found


_ADDRESS = re.compile(
    r"(?<![^\s<>\"'()\[\],;])"
    r"(?:(?:https?:)?//|(?:www\.)?[a-z]+\.(?:org|com|net)/)[^\s<>\"')\]]+"
)
#: What makes the address beside it the licence of something else, or of a part.
_DENIAL = re.compile(
    r"\b(?:not|cannot|never|no longer|neither|nor|except|excluding|unless|other than"
    r"|all rights reserved|non(?![\s-]*commercial))\b|n['\u2019]t\b"
)
_HOST = r"(?:(?:https?:)?//)?(?:[a-z0-9-]+\.)*"
_CC = re.compile(
    rf"{_HOST}"
    r"creativecommons\.org/(?:licen[sc]es|publicdomain)/"
    r"(?P<kind>[a-z-]+|zero|mark)(?:/(?P<number>\d\.\d))?(?:/(?P<country>[a-z]{2,3})\b)?"
)
_OTHERS = tuple(
    (re.compile(_HOST + pattern), name)
    for pattern, name in (
        (r"apache\.org/licenses/license-(\d\.\d)", "Apache-{}"),
        (r"mozilla\.org/(?:[a-z-]+/)?mpl/(\d\.\d)", "MPL-{}"),
        (r"gnu\.org/(?:licenses|copyleft)/(?:old-licenses/)?gpl-(\d\.\d)", "GPL-{}-only"),
        (r"gnu\.org/(?:licenses|copyleft)/(?:old-licenses/)?lgpl-(\d\.\d)", "LGPL-{}-only"),
        (r"gnu\.org/(?:licenses|copyleft)/agpl-(\d\.\d)", "AGPL-{}-only"),
        (r"gnu\.org/(?:licenses|copyleft)/(?:old-licenses/)?fdl-(\d\.\d)", "GFDL-{}-only"),
        (r"opendatacommons\.org/licenses/by/(\d)[.-](\d)", "ODC-By-{}.{}"),
        (r"opendatacommons\.org/licenses/odbl/(\d)[.-](\d)", "ODbL-{}.{}"),
        (r"opendatacommons\.org/licenses/pddl/(\d)[.-](\d)", "PDDL-{}.{}"),
        (r"nationalarchives\.gov\.uk/doc/open-government-licence/version/(\d)", "OGL-UK-{}.0"),
        (r"unlicense\.org(?:[/?#]|\W?$)", "Unlicense"),
        (r"wtfpl\.net(?:[/?#]|\W?$)", "WTFPL"),
        (r"(?:opensource\.org/licen[sc]es?|spdx\.org/licenses|choosealicense\.com/licenses)/"
         r"([a-z0-9.+-]*[a-z0-9+])", "{}"),
    )
)  # fmt: skip


def _of_address(address: str) -> str | None:
    """Return the identifier of the licence that an address leads to."""
    cc = _CC.match(address)
    if cc:
        return _of_cc_address(cc["kind"], cc["number"] or "", cc["country"] or "")
    for pattern, name in _OTHERS:
        found = pattern.match(address)
        if found:
            guess = name.format(*found.groups())
            return _listed(guess.removesuffix(".html"))
    return None


def _of_cc_address(kind: str, number: str, country: str) -> str | None:
    fixed = {"zero": "CC0-1.0", "mark": "CC-PDM-1.0", "publicdomain": "CC-PDDC"}
    return fixed.get(kind) or _cc(frozenset(kind.split("-")), number, country)


def _cc(elements: frozenset[str], number: str, country: str) -> str | None:
    """Return the identifier of a Creative Commons licence, given as its elements."""
    if elements == {"sa"} and number == "1.0":
        return "CC-SA-1.0"
    if "by" not in elements or elements >= {"sa", "nd"} or elements - {"by", "nc", "nd", "sa"}:
        return None
    name = "-".join(["CC", *(part for part in ("by", "nc", "nd", "sa") if part in elements)])
    if not number:
        return f"LicenseRef-{name.upper()}"
    of_country = _listed(f"{name}-{number}-{country}") if country else None
    return of_country or _listed(f"{name}-{number}")


# ---------------------------------------------------------------- names

#: Words around a name that say nothing about which licence it is.
_IDLE = frozenset(
    "a all an and are article available been content contents data dataset details distributed "
    "document for has is it its licence licenced licences license licensed licenses made material "
    "materials of our page published released see software spdx terms text the these this under "
    "used v ver version was with work works".split()
)
#: Words that make up names of Creative Commons licences, and what they stand for.
_ELEMENTS = {
    **{"by": "by", "attribution": "by"},
    **{"nc": "nc", "noncommercial": "nc", "non commercial": "nc"},
    **{"sa": "sa", "sharealike": "sa", "share alike": "sa"},
    **{"nd": "nd", "noderivs": "nd", "noderivatives": "nd", "no derivs": "nd"},
    **{"no derivatives": "nd", "no derivative": "nd"},
}
_ELEMENT = re.compile(rf"\b(?:{'|'.join(sorted(_ELEMENTS, key=len, reverse=True))})\b")
_CC_WORDS = frozenset(
    "cc creative commons international unported generic universal public domain dedication zero "
    "mark deed legalcode".split()
)
#: Countries for which Creative Commons once had licences of their own.
_COUNTRIES = frozenset(
    "igo ar at au be bg br ca ch cl cn co cr cz de dk ec ee eg es fi fr gr gt hk hr hu ie il in it "
    "jp kr lu mk mt mx my nl no nz pe ph pl pr pt ro rs se sg si th tw ug uk us ve vn za".split()
)
_PUBLIC_DOMAIN_WORDS = frozenset("public domain publicdomain pd dedication in us usa".split())


class _Family(NamedTuple):
    """Licences known by one name and a number.

    spdx   their identifier, ``{}`` for the number
    words  all that their names are made of
    needs  alternatives, words that go together: one of them has to be there
    """

    spdx: str
    words: frozenset[str]
    needs: tuple[frozenset[str], ...]


def _family(spdx: str, words: str, *needs: str) -> _Family:
    alternatives = tuple(frozenset(need.split()) for need in needs)
    return _Family(spdx, frozenset(words.split()).union(*alternatives), alternatives)


_FAMILIES = (
    _family("MIT", "", "mit", "expat"),
    _family("ISC", "", "isc"),
    _family("Zlib", "", "zlib"),
    _family("Unlicense", "", "unlicense"),
    _family("WTFPL", "", "wtfpl"),
    _family("PostgreSQL", "", "postgresql"),
    _family("Apache-{}", "foundation", "apache"),
    _family("BSD-{}-Clause", "", "bsd clause"),
    _family("BSD-3-Clause", "", "new bsd", "modified bsd", "revised bsd"),
    _family("BSD-2-Clause", "", "simplified bsd", "freebsd"),
    _family("BSL-{}", "", "boost"),
    _family("PSF-{}", "python foundation", "psf", "python foundation"),
    _family("Artistic-{}", "", "artistic"),
    _family("MPL-{}", "mozilla public mpl", "mpl", "mozilla"),
    _family("EPL-{}", "public", "epl", "eclipse"),
    _family("EUPL-{}", "public", "eupl", "european union"),
    _family("GPL-{}", "gnu", "gpl", "general public"),
    _family("LGPL-{}", "gnu general public gpl", "lgpl", "lesser", "library general"),
    _family("AGPL-{}", "gnu general public gpl", "agpl", "affero"),
    _family("GFDL-{}", "gnu", "gfdl", "fdl", "free documentation"),
    _family("ODbL-{}", "open commons odc database", "odbl", "open database"),
    _family("ODC-By-{}", "open commons", "odc by", "odc attribution", "open commons attribution"),
    _family("PDDL-{}", "open commons odc public domain dedication", "pddl"),
    _family("OGL-UK-{}", "uk", "ogl", "open government"),
    _family("etalab-{}", "open ouverte", "etalab"),
    _family("CDLA-Permissive-{}", "", "cdla permissive"),
)


def _of_words(text: str) -> str | None:
    """Return the identifier of the licence of a name, which is in lower case."""
    tokens = re.findall(
        r"[^\W\d_]+|\d+(?:\.\d+)*\+?", re.sub(r"\bv(?=\d)|(?<=l)v(?=\d)", " ", text)
    )
    words = {token for token in tokens if token[0].isalpha()} - _IDLE
    numbers = {token.removesuffix(".0") for token in tokens if not token[0].isalpha()}
    if words & {"cc", "creative"}:
        return _of_cc_words(" ".join(t for t in tokens if t in words), numbers)
    if words and words <= _PUBLIC_DOMAIN_WORDS and words & {"domain", "publicdomain", "pd"}:
        return None if numbers else STATED_PUBLIC_DOMAIN
    later = "later" in words or any(number.endswith("+") for number in numbers)
    words -= {"or", "any", "later", "newer", "only"}
    numbers = {number.removesuffix("+").removesuffix(".0") for number in numbers}
    for family in _FAMILIES:
        if words <= family.words and any(need <= words for need in family.needs):
            return _numbered(family.spdx, numbers, "+" if later else "")
    return None


def _of_cc_words(words: str, numbers: set[str]) -> str | None:
    """Return the identifier of a Creative Commons licence; ``words`` are in their order."""
    elements = frozenset(_ELEMENTS[found] for found in _ELEMENT.findall(words))
    rest = set(_ELEMENT.sub(" ", words).split())
    countries = rest - _CC_WORDS
    if not countries <= _COUNTRIES or len(countries) > 1 or not rest & {"cc", "commons"}:
        return None
    zero = "zero" in rest or "0" in numbers
    if zero or "mark" in rest:
        fine = not elements and numbers <= {"0", "1"} and not (zero and "mark" in rest)
        return ("CC0-1.0" if zero else "CC-PDM-1.0") if fine else None
    if len(numbers) > 1 or "domain" in rest:
        return None
    number = "".join(numbers)
    number = f"{number}.0" if len(number) == 1 else number
    return _cc(elements, number, "".join(countries))


def _numbered(spdx: str, numbers: set[str], later: str) -> str | None:
    """Return the identifier of a family with a number, if SPDX lists it."""
    if "{}" not in spdx:
        return spdx if numbers <= set(re.findall(r"\d", spdx)) else None
    if len(numbers) != 1:
        return None
    number = "".join(numbers)
    return _listed(spdx.format(f"{number}.0") + later) or _listed(spdx.format(number) + later)
