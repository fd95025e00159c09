"""What may go wrong with a request to a server, and what each fault means for it.

    row     the server refuses this request: it is the row's error
    key     the server refuses the key, or what this request says: the row's error in that case
    end     every request would meet it: no such model, no credit
    wait    the server is away or asks to wait: asked again for as long as patience lasts
    lost    the connection broke after the request was sent
    failed  an error inside the server, no answer in time, an answer that is no completion

``lost`` and ``failed`` count against a request's retries where the server answers others, and are
waited for like ``wait`` where it does not.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from curation.errors import needed

#: The first pause before a request is repeated, and the longest; each is twice the one before.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
#: Characters of a server's message that are kept.
_MESSAGE_CHARS = 300
#: Above this a number is a point in time (seconds since 1970), and above the next in milliseconds.
_EPOCH_S, _EPOCH_MS = 1e9, 1e12
_UNIT_S = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}

NO_SERVER = "no server answers"
OTHER_KEY = "the server wants another key"
NO_MODEL = "the server knows no such model or address"
TOO_MANY = "the server keeps asking to wait"
NO_CREDIT = "the account at the server has no credit left"
NO_ANSWER = "the server answers no request"

#: What the package under openai, which is another from release to release, raises before it sends.
_NOT_CONNECTED = ("ConnectError", "ConnectTimeout")
#: Statuses by which a server says that it cannot take requests now.
_WAIT = {429: TOO_MANY, 502: NO_SERVER, 503: TOO_MANY, 504: NO_ANSWER, 529: TOO_MANY}
_END = {402: NO_CREDIT, 404: NO_MODEL, 405: NO_MODEL}
#: Statuses for a key that is not the right one; moderation gives 403 to a text, too.
_KEY = (401, 403)
#: Statuses of 4xx that say nothing about the request: time out, conflict, too early.
_PASSING = (408, 409, 425)


@dataclass(frozen=True)
class Fault:
    """What went wrong with one sending of a request.

    told     the headline, should it end the run
    message  what the server said
    status   of the answer; 0 where there was none
    wait_s   the pause that the server asks for
    is_busy  a sign of too many requests at a time
    """

    kind: Literal["row", "key", "end", "wait", "lost", "failed"]
    told: str
    message: str
    status: int = 0
    wait_s: float | None = None
    is_busy: bool = False


def fault_of(error: Exception, timeout_s: float) -> Fault:
    """Return what an exception of the openai package, or one of reading an answer, means."""
    openai = needed("openai", "llm")
    if isinstance(error, openai.APIStatusError):
        return _of_status(error)
    if type(error.__cause__).__name__ in _NOT_CONNECTED:
        return Fault("wait", NO_SERVER, shown(error))
    if isinstance(error, TimeoutError | openai.APITimeoutError):
        told = f"the request timed out after {timeout_s:g} s"
        return Fault("failed", NO_ANSWER, told, is_busy=True)
    if isinstance(error, openai.APIConnectionError):
        return Fault("lost", NO_SERVER, shown(error))
    return Fault("failed", NO_ANSWER, f"no completion in OpenAI's form: {shown(error)}")


def _of_status(error: Any) -> Fault:
    status, message = int(error.status_code), shown(error)
    if status == 429 and "insufficient_quota" in (error.code, error.type):
        return Fault("end", NO_CREDIT, message, status)
    if status in _WAIT:
        asked = pause_asked(error.response.headers, time.time())
        return Fault("wait", _WAIT[status], message, status, asked, is_busy=status != 502)
    if status in _END:
        return Fault("end", _END[status], message, status)
    if status in _KEY:
        return Fault("key", OTHER_KEY, message, status)
    refused = 400 <= status < 500 and status not in _PASSING
    return Fault("row" if refused else "failed", NO_ANSWER, message, status)


def shown(error: BaseException) -> str:
    """Return an error's message and its cause's on one line, cut."""
    cause = error.__cause__
    text = f"{error}" if cause is None else f"{error} {cause}"
    return " ".join(text.split())[:_MESSAGE_CHARS]


def back_off(times: int) -> float:
    """Return a pause in seconds before a request is repeated once more.

    times  how often it was repeated already
    """
    longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(times, 30))
    return random.uniform(
        longest / 2, longest
    )  # so that those who failed together do not return so


def pause_asked(headers: Mapping[str, str], now: float) -> float | None:
    """Return for how many seconds a server asks to wait; None where it does not say.

    Read are retry-after-ms, Retry-After (seconds, or a date), and, where neither is there, the
    latest x-ratelimit-reset of a kind of which nothing remains, or of any.

    now  seconds since 1970
    """
    if (ms := _number(headers.get("retry-after-ms", ""))) is not None:
        return max(0.0, ms / 1000)
    if (after := headers.get("retry-after", "").strip()) and (s := _after(after, now)) is not None:
        return max(0.0, s)
    resets = {
        name.lower().replace("-reset", "-remaining"): _after(value.strip(), now)
        for name, value in headers.items()
        if name.lower().startswith("x-ratelimit-reset")
    }
    known = {name: s for name, s in resets.items() if s is not None}
    spent = [s for name, s in known.items() if headers.get(name, "").strip() == "0"]
    return max(0.0, *(spent or known.values())) if known else None


def _after(text: str, now: float) -> float | None:
    """Read seconds, a point in time as a number or a date, or a duration such as 6m0.5s."""
    if (number := _number(text)) is not None:
        if number > _EPOCH_S:
            number = number / (1000 if number > _EPOCH_MS else 1) - now
        return number
    if re.fullmatch(r"(\d+(\.\d+)?(ms|[dhms]))+", text):
        pieces = re.findall(r"(\d+(?:\.\d+)?)(ms|[dhms])", text)
        return sum(float(number) * _UNIT_S[unit] for number, unit in pieces)
    try:
        return parsedate_to_datetime(text).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return None


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\s*[-+]?\d{1,18}(\.\d{1,18})?\s*", text) else None
