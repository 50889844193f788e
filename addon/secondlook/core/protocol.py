"""Which protocol the first bytes of a connection are: TLS, HTTP, another, or not enough of them to know.

A peer chooses how its bytes are cut into packets, so nothing is decided from what *could still become* TLS or
HTTP. Servers read more than the standards allow (empty lines first, white space of any kind, HTTP/0.9), and
what some server takes for HTTP must be HTTP here too.

```
empty, or white space only ─────────────────────────────► None (wait)
0x16 0x03 …, or an SSLv2-framed ClientHello (RFC 5246 E.2) ► TLS     a beginning of it ► None
first line "… HTTP/…" (RFC 9112 3), or "GET …" (HTTP/0.9) ─► HTTP    a line without end ► None
else ───────────────────────────────────────────────────► OTHER
```
"""

import re
from enum import StrEnum

LONGEST_LINE = 8192  # of a first line that is waited for; nginx and Apache read no longer one
_TLS = b"\x16\x03"
_WHITE = b" \t\r\n\v\f"
_METHOD = rb"[\x21-\x7e]++"  # more than a token is taken by old servers; what follows it may be any byte
_VERSION = re.compile(_METHOD + rb"(?=[ \t\v\f\r]).*?[ \t\v\f\r]HTTP/", re.IGNORECASE | re.DOTALL)
_WITHOUT_VERSION = re.compile(rb"GET[ \t\v\f]")
_UNENDED = re.compile(_METHOD + rb"(?:[ \t\v\f\r].*)?", re.DOTALL)
_METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"CONNECT", b"TRACE", b"PRI")
_V2_HEAD_BYTES = 11  # of a ClientHello in SSLv2 framing: length, type, version, three lengths


class Protocol(StrEnum):
    """What a connection speaks, as far as the proxy opens it."""

    TLS = "TLS"
    HTTP = "HTTP"
    OTHER = "other"


def recognise(data: bytes, *, patient: bool = True) -> Protocol | None:
    """Return what a client begins with; None: more is needed.

    Without patience (its sender has fallen silent) only what begins like TLS or a well-known method of HTTP
    is waited for.
    """
    text = data.lstrip(_WHITE)
    if not text:
        return None if len(data) < LONGEST_LINE else Protocol.OTHER
    if _TLS.startswith(data[:2]):
        return Protocol.TLS if len(data) > len(_TLS) else None
    if data[0] & 0x80 and (framed := _framed_as_v2(data)) is not False and (framed or patient):
        return Protocol.TLS if framed else None
    return _by_line(text, patient=patient)


def _by_line(text: bytes, *, patient: bool) -> Protocol | None:
    line, ended, _ = text[:LONGEST_LINE].partition(b"\n")
    if _VERSION.match(line) is not None or _WITHOUT_VERSION.match(line) is not None:
        return Protocol.HTTP
    if ended or _UNENDED.fullmatch(line) is None:
        return Protocol.OTHER
    method = re.split(rb"[ \t\v\f\r]", line, maxsplit=1)[0]
    if len(line) == LONGEST_LINE:
        return (
            Protocol.OTHER if method == line else Protocol.HTTP
        )  # whoever reads it will refuse it as too long
    if patient or any(known.startswith(method) for known in _METHODS):
        return None
    return Protocol.OTHER


def _framed_as_v2(data: bytes) -> bool | None:
    """Return whether this is a ClientHello in the framing of SSLv2; None: not known yet.

    OpenSSL's servers still take one; it is called TLS, which nobody here can open: it goes nowhere.
    """
    if len(data) < _V2_HEAD_BYTES:
        return None if (data[2:4] + b"\x01\x03"[len(data[2:4]) :])[:2] == b"\x01\x03" else False
    length = (data[0] & 0x7F) << 8 | data[1]
    ciphers, session, challenge = (int.from_bytes(data[at : at + 2]) for at in (5, 7, 9))
    return data[2:4] == b"\x01\x03" and length == _V2_HEAD_BYTES - 2 + ciphers + session + challenge


_NAMES = (
    (re.compile(rb"SSH-"), "SSH"),
    (re.compile(rb"220[ -][^\r\n]*(?:SMTP|ESMTP)"), "SMTP"),
    (re.compile(rb"220[ -]"), "FTP or SMTP"),
    (re.compile(rb"\* (?:OK|PREAUTH|BYE)"), "IMAP"),
    (re.compile(rb"\+OK"), "POP3"),
    (re.compile(rb"[\x01-\xff]..\x00\x0a", re.DOTALL), "MySQL"),
    (re.compile(rb"RFB \d"), "VNC"),
    (re.compile(rb"\x03\x00..[\x02-\xff]\xe0", re.DOTALL), "RDP"),
    (re.compile(rb"\x13BitTorrent protocol"), "BitTorrent"),
    (re.compile(rb"\x00\x00..\x00\x03\x00\x00|\x00\x00\x00\x08\x04\xd2\x16\x2f", re.DOTALL), "PostgreSQL"),
    (re.compile(rb"\x10.{1,4}\x00[\x04\x06]MQ", re.DOTALL), "MQTT"),
    (re.compile(rb"\*\d+\r\n\$"), "Redis"),
    (re.compile(rb"[A-Z]+ [^\r\n]* SIP/2"), "SIP"),
    (re.compile(rb"[A-Z]+ [^\r\n]* RTSP/"), "RTSP"),
)


def name_of(first: bytes) -> str:
    """Name a protocol by the first bytes of who spoke first; a guess for the log, which decides nothing."""
    return next((name for mark, name in _NAMES if mark.match(first)), "neither TLS nor HTTP")
