"""Personal data by regular expressions and Python's own integers, a candidate at a time.

The kinds whose definition is a format: addresses of mail and of machines, cards, accounts and
tokens. Slow, and free to look at every place of a text.
"""

from __future__ import annotations

import ipaddress
import re

from curation.kernels.pii_accounts import _IBANS, _ISSUERS

_WIDE = "\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u04ff"
_LOCAL = rf"(?:[A-Za-z0-9_%+{_WIDE}-]|(?<=[A-Za-z0-9])'(?=[A-Za-z0-9])|(?<!\.)\.)"
_LABEL = rf"[A-Za-z0-9{_WIDE}](?:[A-Za-z0-9{_WIDE}-]*[A-Za-z0-9{_WIDE}])?"
_TOP = rf"(?:[xX][nN]--[A-Za-z0-9-]*[A-Za-z0-9]|[A-Za-z{_WIDE}]{{2,}})"


def emails(text: str) -> list[tuple[int, int]]:
    """Return the places of addresses of mail, in code points; short local parts and labels only."""
    found = []
    for sign in re.finditer("@", text):
        before = re.search(rf"{_LOCAL}*\Z", text[: sign.start()])
        local = before[0].lstrip(".-%").lstrip("+") if before else ""
        outside = text[: sign.start() - len(before[0])] if before else ""
        domain = re.match(rf"({_LABEL}\.)*{_LABEL}", text[sign.end() :])
        if not local or local.endswith(".") or outside.endswith("@") or not domain:
            continue
        labels = domain[0].split(".")
        while len(labels) > 1 and not re.fullmatch(_TOP, labels[-1]):
            labels.pop()
        if len(labels) < 2 or labels[-1].lower() in ("png", "js"):
            continue
        found.append((sign.start() - len(local), sign.end() + len(".".join(labels))))
    return found


def is_public(address: str) -> bool:
    """Say whether an address leads to somebody, as ``pii_addresses.py`` says."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv4Address):
        return (
            found.is_global
            and not found.is_multicast
            and found not in ipaddress.ip_network("192.0.0.0/24")
        )
    inner = found.ipv4_mapped or found.sixtofour
    if found in ipaddress.ip_network("64:ff9b::/96"):
        inner = ipaddress.ip_address(int(found) & 0xFFFFFFFF)
    if inner is not None:
        return is_public(str(inner))
    reserved = ("2001::/23", "2001:db8::/32", "3fff::/20")
    inside = any(found in ipaddress.ip_network(network) for network in reserved)
    return found in ipaddress.ip_network("2000::/3") and not inside


def is_card(number: str) -> bool:
    """Say whether digits have an issuer's beginning and length, and pass Luhn's check."""
    doubled = [int(d) * (1 + i % 2) for i, d in enumerate(reversed(number))]
    if sum(sum(divmod(value, 10)) for value in doubled) % 10:
        return False
    head = int(number[:4])
    return any(low <= head <= high and len(number) in ns for low, high, ns in _ISSUERS)


def is_iban(account: str) -> bool:
    """Say whether letters and digits are an account: its country's length, 1 modulo 97."""
    if not re.fullmatch(r"[A-Z]{2}[0-9]{2}[A-Z0-9]*", account):
        return False
    if account[:2] not in _IBANS.get(len(account), "").split():
        return False
    return int("".join(str(int(c, 36)) for c in account[4:] + account[:4])) % 97 == 1


#: One pattern a format; what may stand before and after is left to the tests.
TOKENS = {
    "AWS": r"A(?:KIA|SIA|BIA|CCA)[A-Z0-9]{16}",
    "GitHub": r"gh[pousr]_[A-Za-z0-9]{36,251}",
    "GitHub, fine-grained": r"github_pat_[A-Za-z0-9_]{82}",
    "GitLab": r"glpat-[A-Za-z0-9_-]{20,300}",
    "Slack": r"xox[abeoprs]-[A-Za-z0-9-]{20,250}",
    "Google": r"AIza[A-Za-z0-9_-]{35}",
    "Stripe": r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,247}",
    "Stripe, webhook": r"whsec_[A-Za-z0-9]{32,64}",
    "Hugging Face": r"hf_[A-Za-z0-9]{34}",
    "DigitalOcean": r"dop_v1_[0-9a-f]{64}",
    "Shopify": r"shp(?:at|ca|pa|ss)_[0-9a-f]{32}",
    "Grafana": r"glsa_[A-Za-z0-9_]{41}",
    "Docker": r"dckr_pat_[A-Za-z0-9_-]{27,36}",
    "Vault": r"hvs\.CAES[A-Za-z0-9_-]{60,300}",
    "Linear": r"lin_api_[A-Za-z0-9]{40}",
    "Groq": r"gsk_[A-Za-z0-9]{52}",
    "Slack, app": r"xapp-[A-Za-z0-9-]{30,250}",
    "Google, OAuth": r"ya29\.(?:[cd]\.)?[A-Za-z0-9_-]{30,1000}",
    "npm": r"npm_[A-Za-z0-9]{36}",
    "PyPI": r"pypi-AgE[A-Za-z0-9_-]{60,1000}",
    "Twilio": r"(?:AC|SK)[0-9a-f]{32}",
    "SendGrid": r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}",
    "Telegram": r"[0-9]{8,10}:AA[A-Za-z0-9_-]{33}",
    "JWT": r"eyJ[A-Za-z0-9_-]{9,}\.eyJ[A-Za-z0-9_-]{9,}\.[A-Za-z0-9_-]*",
}
