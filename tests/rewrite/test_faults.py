"""What servers say when they ask to wait, and how long the pauses are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.rewrite.faults import (
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    NO_CREDIT,
    back_off,
    fault_of,
    pause_asked,
)

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": "-3"}, 0),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:30 GMT"}, 10),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:10 GMT"}, 0),
        ({"retry-after": "1700000004"}, 4),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "6m0.5s"}, 360.5),
        (
            {
                "x-ratelimit-reset-requests": "120ms",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-tokens": "6m0s",
                "x-ratelimit-remaining-tokens": "12",
            },
            0.12,
        ),
        ({"x-ratelimit-reset": "1700000030000"}, 30),
        ({"x-ratelimit-reset": "", "retry-after": ""}, None),
    ],
)
def test_the_pause_that_a_server_asks_for_is_read(
    headers: dict[str, str], wanted: float | None
) -> None:
    """Each provider says it in its own way, and shuts out those who do not listen."""
    found = pause_asked(headers, NOW)
    assert found == (None if wanted is None else pytest.approx(wanted, abs=1e-3))


@given(st.dictionaries(st.sampled_from(("retry-after", "x-ratelimit-reset-a")), st.text()))
def test_no_header_makes_an_error(headers: dict[str, str]) -> None:
    """A strange proxy would end a run."""
    found = pause_asked(headers, NOW)
    assert found is None or found >= 0


@given(st.integers(0, 10_000))
def test_pauses_grow_to_a_limit(times: int) -> None:
    """A server that comes back would be noticed after hours."""
    longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(times, 10))
    assert longest / 2 <= back_off(times) <= longest


def test_an_account_without_credit_is_not_waited_for() -> None:
    """A run would wait for ten minutes for money that does not come."""
    openai = pytest.importorskip("openai")
    base = openai.DefaultAsyncHttpxClient.__mro__[1].__module__.partition(".")[0]
    http = pytest.importorskip(base)
    request = http.Request("POST", "http://x")
    body = {"message": "pay", "code": "insufficient_quota"}
    answer = http.Response(429, request=request)
    fault = fault_of(openai.RateLimitError("pay", response=answer, body=body), 1.0)
    assert (fault.kind, fault.told) == ("end", NO_CREDIT)
