"""Answers that every service gives: the tag of what is answered from, and whole HTTP responses."""

import asyncio
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from secondlook.core.verdict import Decision
from secondlook.gateway.icap.connection import IcapConnection
from secondlook.gateway.icap.heads import Fields, HttpResponse
from secondlook.gateway.icap.messages import Answer, Finish, More
from secondlook.gateway.parts import Gate
from secondlook.gateway.request import GatewayRequest
from secondlook.refusal.refusal import FAULT, STATUS

END_LATER_S: Final = 0.05
"""Where Squid (5.7) reads the end of an answer together with its last bytes, it hangs up on its client.

The client has the whole body by its length before that end, which only a busy Squid reads late.
"""

_AGAIN: Final = 503  # Service Unavailable: what download tools ask again after
_AGAIN_FIELDS: Final = ((b"Content-Type", b"text/plain; charset=utf-8"), (b"Retry-After", b"1"))
_AGAIN_TEXT: Final = b"This piece may not be of the file that was checked at this address. Ask again.\n"


def tag_fields(gate: Gate) -> Fields:
    """Return the header whose change has gateways forget what they keep (RFC 3507, 4.7)."""
    return _fields(gate.tag())


@lru_cache(maxsize=16)
def _fields(tag: str) -> Fields:
    return ((b"ISTag", b'"%b"' % tag.encode()),)


async def refuse(
    link: IcapConnection, gate: Gate, request: GatewayRequest, decision: Decision | None
) -> None:
    """Answer with the refusal that fits the request, in place of what was asked about."""
    refusal = gate.refusals.make(request.path, request.asked, decision or FAULT, request.context)
    await answer_http(link, gate, STATUS, tuple(refusal.headers), refusal.body)


async def ask_again(link: IcapConnection, gate: Gate) -> None:
    """Have a client ask again, in place of a piece that is not, or may not be, the one that it wants."""
    await answer_http(link, gate, _AGAIN, _AGAIN_FIELDS, _AGAIN_TEXT)


async def answer_http(link: IcapConnection, gate: Gate, status: int, fields: Fields, body: bytes) -> None:
    """Answer with a whole HTTP response."""
    fields = (*fields, (b"Content-Length", b"%d" % len(body)))
    head = HttpResponse("1.1", status, HTTPStatus(status).phrase.encode(), fields)
    answer = Answer(200, tag_fields(gate), head, body=bool(body))
    if not body:
        link.send(answer)
        return
    link.send(answer, More(body))
    await link.drain()
    await asyncio.sleep(END_LATER_S)
    link.send(Finish())
    await link.drain()
