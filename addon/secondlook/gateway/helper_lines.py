"""The lines of Squid's helpers (`external_acl_type`): what is asked in one, and how it is answered. No I/O.

```
17 192.0.2.7 anna GET http://example.org/%2541 - document     asked: a number, then fields, URL-escaped
17 OK                                                         let it go on (flagged: log=EVENT)
17 ERR message="…" log=EVENT tag=secondlook secondlook=EVENT  refused
17 BH message="…"                                             nobody knows: squid.conf has the last word
```

Fields are `%>a %un %>rm %>ru`, then as many as are given of `%ssl::>sni %>ha{Sec-Fetch-Dest} %>ha{Accept}
%>ha{Referer}`; `-` is an absent one. The number is the helper's own (`helper.py`). `secondlook=` is a note
that no other helper of a Squid sets: ACLs and ICAP headers are made of it.
"""

from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from secondlook.core.verdict import Action, Decision
from secondlook.download.request_facts import RequestFacts
from secondlook.gateway.request import GatewayRequest, UnreadableRequestError, read_request
from secondlook.refusal.language import ENGLISH
from secondlook.refusal.wording import explanation

FIELDS: Final = ("client", "user", "method", "url", "sni", "dest", "accept", "referrer")
_NEEDED = 4
LONGEST_LINE_BYTES: Final = 256 << 10  # a URL of 64 KiB, escaped
_LONGEST_NUMBER = 20
_LONGEST_MESSAGE = 300
_QUOTED = str.maketrans({'"': "'", "\\": "/"})


class UnreadableLineError(ValueError):
    """A line that is no question; `number` is its number, where it has one."""

    def __init__(self, number: bytes, expected: str) -> None:
        super().__init__(expected)
        self.number = number


class Question(NamedTuple):
    """One line, read."""

    number: bytes
    request: GatewayRequest


def read_line(line: bytes, gateway: str | None = None) -> Question:
    """Read a line without its end, of a gateway of this name.

    Raises UnreadableLineError, whose text holds nothing of the line.
    """
    number, *fields = line.split() or (b"",)
    if not number.isdigit() or len(number) > _LONGEST_NUMBER:
        raise UnreadableLineError(b"", "expected a number at the beginning of a line")
    if not _NEEDED <= len(fields) <= len(FIELDS):
        raise UnreadableLineError(
            number, f"expected {_NEEDED} to {len(FIELDS)} fields ({' '.join(FIELDS)}), got {len(fields)}"
        )
    texts = [None if each == b"-" else _text(each) for each in fields]
    texts += [None] * (len(FIELDS) - len(texts))
    client, user, method, url, sni, dest, accept, referrer = texts
    if method is None or url is None:
        raise UnreadableLineError(number, "expected a method and a URL, got none")
    asked = RequestFacts(dest=dest, accept=accept, referrer=referrer)
    try:
        request = read_request(method, url, client=client, user=user, sni=sni, asked=asked, gateway=gateway)
    except UnreadableRequestError as error:
        raise UnreadableLineError(number, error.expected) from error
    return Question(number, request)


def _text(field: bytes) -> str:
    return (unquote_to_bytes(field) if b"%" in field else field).decode("latin-1")


def answer(number: bytes, decision: Decision) -> bytes:
    """Write the line of a decision."""
    match decision.action:
        case Action.ALLOW:
            return b"%b OK\n" % number
        case Action.FLAG:
            return b"%b OK log=%b\n" % (number, _word(decision.event_id))
        case Action.BLOCK:
            reason, event = _quoted(explanation(decision, ENGLISH)), _word(decision.event_id)
            line = b"%b ERR message=%b log=%b tag=secondlook secondlook=%b\n"
            return line % (number, reason, event, event)


def cannot_tell(number: bytes, why: str) -> bytes:
    """Write the line of a question that nobody could answer."""
    return b"%b BH message=%b\n" % (number, _quoted(why)) if number else b"BH message=%b\n" % _quoted(why)


def _word(text: str | None) -> bytes:
    return (text or "-").encode("ascii", "replace")


def _quoted(text: str) -> bytes:
    plain = "".join(each if each.isprintable() else " " for each in text[:_LONGEST_MESSAGE]).translate(
        _QUOTED
    )
    return b'"%b"' % plain.encode("ascii", "replace")
