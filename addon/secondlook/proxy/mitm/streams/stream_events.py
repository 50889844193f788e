"""Events between a stream and the connections of its client and its origin, beside mitmproxy's."""

from dataclasses import dataclass

from mitmproxy import http
from mitmproxy.proxy.layers.http._base import HttpEvent
from mitmproxy.proxy.layers.http._events import RequestProtocolError, ResponseProtocolError

GOING_AWAY = "secondlook_going_away"  # attribute of a server connection that takes no new requests


@dataclass
class StopUpload(HttpEvent):
    """The answer is out and the rest of the request is not wanted."""


@dataclass
class InterimResponse(HttpEvent):
    """An answer before the answer (1xx but 101)."""

    response: http.Response


@dataclass
class Withdrawn(RequestProtocolError):  # noqa: N818 - an event
    """A request is given up, and will be made once more: nothing of its old answer is wanted."""


@dataclass
class Unanswered(ResponseProtocolError):  # noqa: N818 - an event
    """A request that its origin seems not to have taken up: it may be made once more.

    A connection that had served others ended before the first byte of the answer (RFC 9112, 9.3.1), or the
    origin said so.
    """


@dataclass
class Unprocessed(Unanswered):
    """A request that its origin reports not to have looked at: any may be made again (RFC 9113, 8.7)."""
