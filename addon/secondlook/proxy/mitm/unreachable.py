"""Why an origin gave no answer, in words; mitmproxy tells it in the system's."""

import errno
import re
import socket

from mitmproxy.proxy.layers.http._events import ErrorCode

from secondlook.core.neutralize import inert

ORIGIN_FAILED = "secondlook.origin_failed"  # key of a flow's metadata
FAILURES = frozenset({ErrorCode.CONNECT_FAILED, ErrorCode.GENERIC_SERVER_ERROR})
STATUS = 502
UNREADABLE = "Cannot parse HTTP response: "  # begins what an answer is reported by that cannot be read

_NUMBER = re.compile(r"\[Errno (-?\d+)\]")
_OF_SYSTEM = {
    errno.ECONNREFUSED: "it refuses connections",
    errno.ECONNRESET: "it broke off the connection",
    errno.ETIMEDOUT: "it does not answer",
    errno.EHOSTUNREACH: "there is no way to it from here",
    errno.ENETUNREACH: "there is no way to it from here",
    errno.EMFILE: "this proxy has too many connections open just now",
    socket.EAI_NONAME: "there is no site of that name",
    socket.EAI_NODATA: "there is no site of that name",
    socket.EAI_AGAIN: "its name could not be looked up just now",
}
_CERTIFICATE = "certificate verify failed: "
_OF_CERTIFICATE = (
    ("self-signed certificate in", "an authority made it that is not known here"),
    ("self-signed", "it made it itself"),
    ("local issuer", "an authority made it that is not known here, or one between is not sent"),
    ("expired", "it has expired"),
    ("not yet valid", "it is not valid yet, or the clock of this machine is wrong"),
    ("mismatch", "it is for another name"),
    ("revoked", "it was revoked"),
    ("too weak", "it is too weak"),
)
WAY = (
    "Where it is meant to be so, whoever runs this proxy can pass it through unopened (passthrough.hosts); "
    "then the browser itself judges what it meets."
)
_PASSING_HELPS = (
    "certificate required",
    "alert handshake failure",
    "agree on a tls version",
    "unsupported protocol",
)
_OF_MITMPROXY = (
    ("does not speak tls", "it does not speak TLS there"),
    ("certificate required", "it wants a certificate of its client"),
    ("alert handshake failure", "it speaks no TLS that this proxy does, or wants a client's certificate"),
    ("agree on a tls version", "it speaks only an old TLS (mitmproxy.tls_version_server_min)"),
    ("unsupported protocol", "it speaks only an old TLS (mitmproxy.tls_version_server_min)"),
    ("no tls handshake", "it takes connections but does not begin TLS"),
    ("timed out", "it does not answer"),
    ("http connect", "the proxy on the way to it refused"),
    ("protocol that nobody asked for", "it changes to a protocol that nobody asked for"),
    ("clos", "it closed the connection without an answer"),
)


def told(host: str, message: str) -> str:
    """Return in a sentence why `host` gave no answer."""
    return f"Second Look did not block this, but {host} cannot be opened: {_why(message)}"


def advice(message: str) -> str | None:
    """Return what may help: to pass the host's TLS through unopened; None where that would not."""
    said = message.lower()
    return WAY if said.startswith(_CERTIFICATE) or any(mark in said for mark in _PASSING_HELPS) else None


def _why(message: str) -> str:
    number = _NUMBER.search(message)
    if number is not None and int(number[1]) in _OF_SYSTEM:
        return _OF_SYSTEM[int(number[1])]
    if message.startswith(UNREADABLE):
        return f"its answer cannot be read ({inert(message[len(UNREADABLE) :], 200)})"
    said = message.lower()
    if said.startswith(_CERTIFICATE):
        said = message[len(_CERTIFICATE) :]
        words = next((words for mark, words in _OF_CERTIFICATE if mark in said.lower()), None)
        return f"its certificate does not prove who it is ({words or inert(said, 80)})"
    return next((words for mark, words in _OF_MITMPROXY if mark in said), "it gave no proper answer")
