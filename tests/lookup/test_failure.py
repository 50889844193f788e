"""Every failure of the HTTP client and every status is mapped, once, to what is done about it."""

import inspect
import socket
import ssl
from http import HTTPStatus

import httpx
import pytest

from secondlook.lookup.failure import (
    EXCEPTIONS,
    MAX_RETRY_AFTER_S,
    Remedy,
    ServerFailure,
    failure_of,
    failure_of_status,
    read_retry_after,
)

HTTPX_EXCEPTIONS = sorted(
    {cls for _, cls in inspect.getmembers(httpx, inspect.isclass) if issubclass(cls, Exception)},
    key=lambda cls: cls.__name__,
)
ELSEWHERE, BACK_OFF, CONFIGURATION = Remedy.ELSEWHERE, Remedy.BACK_OFF, Remedy.CONFIGURATION


def make(cls):
    if cls is httpx.HTTPStatusError:
        request = httpx.Request("GET", "http://test/")
        return cls("x", request=request, response=httpx.Response(500, request=request))
    if cls in {httpx.StreamConsumed, httpx.StreamClosed, httpx.ResponseNotRead, httpx.RequestNotRead}:
        return cls()
    return cls("x")


def test_the_list_of_httpx_exceptions_is_the_whole_one():
    assert len(HTTPX_EXCEPTIONS) >= 28
    assert {kind for kind, *_ in EXCEPTIONS if kind.__module__.startswith("httpx")} == set(HTTPX_EXCEPTIONS)


def test_no_entry_is_hidden_behind_an_earlier_one():
    for place, (kind, *_) in enumerate(EXCEPTIONS):
        assert not any(issubclass(kind, earlier) for earlier, *_ in EXCEPTIONS[:place]), kind


@pytest.mark.parametrize("cls", HTTPX_EXCEPTIONS, ids=lambda cls: cls.__name__)
def test_every_exception_of_httpx_has_an_outcome_of_its_own_class(cls):
    failure = failure_of(make(cls))
    assert isinstance(failure, ServerFailure)
    assert failure.outcome
    assert not failure.outcome.startswith("internal error")
    if cls is not httpx.HTTPStatusError:
        assert (cls, failure.outcome, failure.remedy) in EXCEPTIONS


@pytest.mark.parametrize(
    ("error", "outcome", "remedy"),
    [
        (httpx.ConnectTimeout("x"), "timeout", ELSEWHERE),
        (httpx.ConnectError("x"), "refused", ELSEWHERE),
        (httpx.ReadError("x"), "connection lost", ELSEWHERE),
        (httpx.LocalProtocolError("x"), "request not possible", CONFIGURATION),
        (httpx.UnsupportedProtocol("x"), "address not usable", CONFIGURATION),
        (httpx.InvalidURL("x"), "address not usable", CONFIGURATION),
        (
            httpx.ProxyError("407 Proxy Authentication Required"),
            "upstream proxy refused: status 407",
            CONFIGURATION,
        ),
        (httpx.ProxyError("502 Bad Gateway"), "upstream proxy failed", ELSEWHERE),
        (TimeoutError(), "timeout", ELSEWHERE),
        (ConnectionResetError(), "connection lost", ELSEWHERE),
        (ssl.SSLError("x"), "TLS failed", ELSEWHERE),
        (KeyError("x"), "internal error: KeyError", ELSEWHERE),
    ],
)
def test_what_is_said_and_done(error, outcome, remedy):
    failure = failure_of(error)
    assert (failure.outcome, failure.remedy) == (outcome, remedy)


@pytest.mark.parametrize(
    ("cause", "outcome", "remedy"),
    [
        (ssl.SSLCertVerificationError(1, "x"), "certificate not trusted", CONFIGURATION),
        (ssl.SSLError("x"), "TLS failed", ELSEWHERE),
        (socket.gaierror(-2, "x"), "name not found", ELSEWHERE),
        (ConnectionRefusedError(), "refused", ELSEWHERE),
    ],
)
def test_what_httpx_calls_a_refused_connection_is_told_apart(cause, outcome, remedy):
    middle = OSError("middle")
    middle.__cause__ = cause
    error = httpx.ConnectError("x")
    error.__cause__ = middle
    failure = failure_of(error)
    assert failure.outcome.partition(":")[0] == outcome
    assert failure.remedy is remedy


@pytest.mark.parametrize("status", [s for s in range(100, 600) if s != 200])
def test_every_status_but_200_is_a_failure_with_a_remedy(status):
    failure = failure_of_status(status, None, 0.0)
    assert failure.outcome.startswith(f"status {status}")
    match status:
        case 429:
            expected = BACK_OFF
        case 400 | 401 | 402 | 403 | 404 | 405 | 406 | 407 | 410 | 411 | 413 | 414 | 415 | 426 | 431:
            expected = CONFIGURATION
        case _ if 300 <= status < 400:
            expected = CONFIGURATION
        case _:
            expected = ELSEWHERE
    assert failure.remedy is expected


def test_retry_after_turns_a_failing_server_into_a_patient_wait():
    assert failure_of_status(503, "7", 0.0).remedy is BACK_OFF
    assert failure_of_status(503, "7", 0.0).wait_s == 7.0
    assert failure_of_status(500, "7", 0.0).remedy is BACK_OFF
    assert failure_of_status(403, "7", 0.0).remedy is CONFIGURATION
    assert failure_of_status(429, None, 0.0).wait_s is None
    assert {failure_of_status(s, "1", 0.0).remedy for s in HTTPStatus if s.value >= 500} == {BACK_OFF}


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("0", 0.0),
        ("120", 120.0),
        ("-5", None),
        ("٣", None),
        ("999999999999999", MAX_RETRY_AFTER_S),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Thu, 01 Jan 2099 00:00:00 GMT", MAX_RETRY_AFTER_S),
        ("Thu, 99 Foo 1970", None),
    ],
)
def test_retry_after_in_seconds_or_as_a_date(value, wait_s):
    assert read_retry_after(value, now=10.0) == wait_s
