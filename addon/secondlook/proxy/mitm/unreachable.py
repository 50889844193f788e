"""Why an origin gave no answer, in plain words; mitmproxy has only those of the system."""

import errno
import re
import socket

from mitmproxy.proxy.layers.http._events import ErrorCode

from secondlook.core.neutralize import inert
from secondlook.refusal.language import ENGLISH, Language, phrase

ORIGIN_FAILED = "secondlook.origin_failed"  # key of a flow's metadata
FAILURES = frozenset({ErrorCode.CONNECT_FAILED, ErrorCode.GENERIC_SERVER_ERROR})
STATUS = 502
UNREADABLE = "Cannot parse HTTP response: "  # begins what an answer is reported by that cannot be read

_NUMBER = re.compile(r"\[Errno (-?\d+)\]")
_OF_SYSTEM = {
    errno.ECONNREFUSED: phrase("it refuses connections"),
    errno.ECONNRESET: phrase("it broke off the connection"),
    errno.ETIMEDOUT: phrase("it does not answer"),
    errno.EHOSTUNREACH: phrase("it cannot be reached from here"),
    errno.ENETUNREACH: phrase("it cannot be reached from here"),
    errno.EMFILE: phrase("this proxy has too many connections open just now"),
    socket.EAI_NONAME: phrase("there is no site of that name"),
    socket.EAI_NODATA: phrase("there is no site of that name"),
    socket.EAI_AGAIN: phrase("its name could not be looked up just now"),
}
_CERTIFICATE = "certificate verify failed: "
_OF_CERTIFICATE = (
    ("self-signed certificate in", phrase("it was issued by an authority that is not known here")),
    ("self-signed", phrase("the site issued it itself")),
    (
        "local issuer",
        phrase(
            "it was issued by an authority that is not known here, or an intermediate certificate is missing"
        ),
    ),
    ("expired", phrase("it has expired")),
    ("not yet valid", phrase("it is not valid yet, or the clock of this machine is wrong")),
    ("mismatch", phrase("it is for another name")),
    ("revoked", phrase("it was revoked")),
    ("too weak", phrase("it is too weak")),
)
WAY = phrase(
    "If this is intended, the administrator of this proxy can pass it through unopened (passthrough.hosts); "
    "then the browser itself judges what it meets."
)
_PASSING_HELPS = (
    "certificate required",
    "alert handshake failure",
    "agree on a tls version",
    "unsupported protocol",
)
_OF_MITMPROXY = (
    ("does not speak tls", phrase("it does not speak TLS there")),
    ("certificate required", phrase("it wants a certificate of its client")),
    (
        "alert handshake failure",
        phrase("it supports no TLS version that this proxy does, or wants a client's certificate"),
    ),
    ("agree on a tls version", phrase("it speaks only an old TLS (mitmproxy.tls_version_server_min)")),
    ("unsupported protocol", phrase("it speaks only an old TLS (mitmproxy.tls_version_server_min)")),
    ("no tls handshake", phrase("it takes connections but does not begin TLS")),
    ("timed out", phrase("it does not answer")),
    ("http connect", phrase("the proxy on the way to it refused")),
    ("protocol that nobody asked for", phrase("it switches to a protocol that nobody asked for")),
    ("clos", phrase("it closed the connection without an answer")),
)


def sentence(host: str, message: str, language: Language = ENGLISH) -> str:
    """Return in a sentence why `host` gave no answer."""
    text = phrase("Second Look did not block this, but %(host)s cannot be opened: %(why)s")
    return language.say(text, host=host, why=_why(message, language))


def advice(message: str, language: Language = ENGLISH) -> str | None:
    """Return what may help: to pass the host's TLS through unopened; None where that would not."""
    lowered = message.lower()
    helps = lowered.startswith(_CERTIFICATE) or any(mark in lowered for mark in _PASSING_HELPS)
    return language.say(WAY) if helps else None


def _why(message: str, language: Language) -> str:
    number = _NUMBER.search(message)
    if number is not None and int(number[1]) in _OF_SYSTEM:
        return language.say(_OF_SYSTEM[int(number[1])])
    if message.startswith(UNREADABLE):
        return language.say("its answer cannot be read (%(why)s)", why=inert(message[len(UNREADABLE) :], 200))
    lowered = message.lower()
    if lowered.startswith(_CERTIFICATE):
        lowered = message[len(_CERTIFICATE) :]
        words = next((words for mark, words in _OF_CERTIFICATE if mark in lowered.lower()), None)
        why = language.say(words) if words is not None else inert(lowered, 80)
        return language.say("its certificate does not prove who it is (%(why)s)", why=why)
    words = next((words for mark, words in _OF_MITMPROXY if mark in lowered), None)
    return language.say(words if words is not None else phrase("it gave no proper answer"))
