"""Every way in which a server can fail us, mapped once to what is done about it.

| remedy | meaning | circuit | what next |
|---|---|---|---|
| `elsewhere` | the request brought nothing | counts a failure | another server, or this one again |
| `back_off` | 429, Retry-After: ask less often | stays closed | another server; this one later |
| `configuration` | key, address or certificate | counts a failure | another server; shown to the operator |

One death of a server breaks every request that is on its way to it: such losses (`LOST`) count once, whatever
their number, or they would open the circuit before anything could be asked again.

The outcome texts are those shown in explanations and in the log.
"""

import email.utils
import socket
import ssl
from enum import StrEnum
from http import HTTPStatus
from typing import Final

import httpx

from secondlook.ground.errors import ServiceError

MAX_RETRY_AFTER_S: Final = 3600.0  # longer, and a server could switch us off


_LOST: Final = "connection lost"
_CUT: Final = "bad answer: broken or cut off"
UNTRUSTED: Final = "certificate not trusted"
LOST: Final = frozenset({_LOST, _CUT})


class Remedy(StrEnum):
    """What to do after a failure."""

    ELSEWHERE = "elsewhere"
    BACK_OFF = "back_off"
    CONFIGURATION = "configuration"


class ServerFailure(ServiceError):  # noqa: N818 - named for what it is, not for being raised
    """One request to one server brought no usable answer; `outcome` is why, in a few words."""

    def __init__(self, outcome: str, remedy: Remedy, wait_s: float | None = None) -> None:
        super().__init__(outcome)
        self.outcome = outcome
        self.remedy = remedy
        self.wait_s = wait_s  # as asked for by Retry-After


# Most specific first: the first entry that is an instance decides. A test holds that every
# exception class that httpx exports is named here itself.
EXCEPTIONS: Final[tuple[tuple[type[Exception], str, Remedy], ...]] = (
    (httpx.ConnectTimeout, "timeout", Remedy.ELSEWHERE),
    (httpx.ReadTimeout, "timeout", Remedy.ELSEWHERE),
    (httpx.WriteTimeout, "timeout", Remedy.ELSEWHERE),
    (httpx.PoolTimeout, "timeout: no free connection", Remedy.ELSEWHERE),
    (httpx.TimeoutException, "timeout", Remedy.ELSEWHERE),
    (httpx.ConnectError, "refused", Remedy.ELSEWHERE),
    (httpx.ReadError, _LOST, Remedy.ELSEWHERE),
    (httpx.WriteError, _LOST, Remedy.ELSEWHERE),
    (httpx.CloseError, _LOST, Remedy.ELSEWHERE),
    (httpx.NetworkError, _LOST, Remedy.ELSEWHERE),
    (httpx.RemoteProtocolError, _CUT, Remedy.ELSEWHERE),
    (httpx.LocalProtocolError, "request not possible", Remedy.CONFIGURATION),
    (httpx.ProtocolError, _CUT, Remedy.ELSEWHERE),
    (httpx.ProxyError, "upstream proxy failed", Remedy.ELSEWHERE),
    (httpx.UnsupportedProtocol, "address not usable", Remedy.CONFIGURATION),
    (httpx.TransportError, _LOST, Remedy.ELSEWHERE),
    (httpx.DecodingError, "bad answer: encoding", Remedy.ELSEWHERE),
    (httpx.TooManyRedirects, "redirected", Remedy.CONFIGURATION),
    (httpx.RequestError, "request failed", Remedy.ELSEWHERE),
    (httpx.HTTPStatusError, "bad status", Remedy.ELSEWHERE),
    (httpx.HTTPError, "request failed", Remedy.ELSEWHERE),
    (httpx.InvalidURL, "address not usable", Remedy.CONFIGURATION),
    (httpx.CookieConflict, "request not possible", Remedy.ELSEWHERE),
    (httpx.StreamConsumed, "bad answer: read twice", Remedy.ELSEWHERE),
    (httpx.StreamClosed, _LOST, Remedy.ELSEWHERE),
    (httpx.ResponseNotRead, "bad answer: not read", Remedy.ELSEWHERE),
    (httpx.RequestNotRead, "request not possible", Remedy.ELSEWHERE),
    (httpx.StreamError, _LOST, Remedy.ELSEWHERE),
    (TimeoutError, "timeout", Remedy.ELSEWHERE),
    (ssl.SSLError, "TLS failed", Remedy.ELSEWHERE),
    (OSError, _LOST, Remedy.ELSEWHERE),
)

_CONFIGURATION_STATUSES: Final = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.PAYMENT_REQUIRED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.METHOD_NOT_ALLOWED,
        HTTPStatus.NOT_ACCEPTABLE,
        HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
        HTTPStatus.GONE,
        HTTPStatus.LENGTH_REQUIRED,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.REQUEST_URI_TOO_LONG,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UPGRADE_REQUIRED,
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    }
)


def bad_answer(why: str) -> ServerFailure:
    """Failure of a server that answered something unusable."""
    return ServerFailure(f"bad answer: {why}", Remedy.ELSEWHERE)


def failure_of(error: Exception) -> ServerFailure:
    """Failure for anything that sending a request and reading its answer may raise."""
    if isinstance(error, ServerFailure):
        return error
    if isinstance(error, httpx.HTTPStatusError):
        return failure_of_status(error.response.status_code, error.response.headers.get("retry-after"), 0.0)
    for kind, outcome, remedy in EXCEPTIONS:
        if isinstance(error, kind):
            return _closer(error) or ServerFailure(outcome, remedy)
    return ServerFailure(f"internal error: {type(error).__name__}", Remedy.ELSEWHERE)


def _closer(error: Exception) -> ServerFailure | None:
    """Distinguish what httpx does not: certificates and names, which it reports as refused connections."""
    if isinstance(error, httpx.ProxyError):
        status = str(error)[:3]
        if status in {"401", "403", "407"}:
            return ServerFailure(f"upstream proxy refused: status {status}", Remedy.CONFIGURATION)
        return None
    if not isinstance(error, httpx.ConnectError):
        return None
    cause: BaseException | None = error
    for _ in range(8):
        match cause:
            case None:
                return None
            case ssl.SSLCertVerificationError():
                return ServerFailure(
                    f"{UNTRUSTED}: {getattr(cause, 'verify_message', cause)}",
                    Remedy.CONFIGURATION,
                )
            case ssl.SSLError():
                return ServerFailure("TLS failed", Remedy.ELSEWHERE)
            case socket.gaierror():
                return ServerFailure("name not found", Remedy.ELSEWHERE)
            case _:
                cause = cause.__cause__ or cause.__context__
    return None


def failure_of_status(status: int, retry_after: str | None, now: float) -> ServerFailure:
    """Failure for any status but 200; `now` (Unix seconds) turns a Retry-After date into a wait."""
    outcome = f"status {status}"
    wait_s = read_retry_after(retry_after, now)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return ServerFailure(outcome, Remedy.BACK_OFF, wait_s)
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return ServerFailure(f"{outcome}: redirects are not followed", Remedy.CONFIGURATION)
    if status in _CONFIGURATION_STATUSES:
        return ServerFailure(outcome, Remedy.CONFIGURATION)
    if wait_s is not None and status >= HTTPStatus.BAD_REQUEST:
        return ServerFailure(outcome, Remedy.BACK_OFF, wait_s)
    return ServerFailure(outcome, Remedy.ELSEWHERE)


def read_retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait (RFC 9110, 10.2.3: seconds or a date), bounded; None when absent or unreadable."""
    if not value:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        wait_s = float(text[:9])
    else:
        try:
            wait_s = email.utils.parsedate_to_datetime(text).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return min(max(wait_s, 0.0), MAX_RETRY_AFTER_S)
