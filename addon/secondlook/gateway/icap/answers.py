"""Answers that every service gives: the tag of what is answered from, and whole HTTP responses."""

from functools import lru_cache
from http import HTTPStatus

from secondlook.core.verdict import Decision
from secondlook.gateway.icap.connection import IcapConnection
from secondlook.gateway.icap.heads import Fields, HttpResponse
from secondlook.gateway.icap.messages import Answer, Finish, More
from secondlook.gateway.parts import Gate
from secondlook.gateway.request import GatewayRequest
from secondlook.refusal.refusal import FAULT, STATUS


def tag_fields(gate: Gate) -> Fields:
    """Return the header whose change tells gateways to forget what they keep (RFC 3507, 4.7)."""
    return _fields(gate.tag())


@lru_cache(maxsize=16)
def _fields(tag: str) -> Fields:
    return ((b"ISTag", b'"%b"' % tag.encode()),)


async def refuse(
    link: IcapConnection, gate: Gate, request: GatewayRequest, decision: Decision | None
) -> None:
    """Answer with the refusal that fits the request, in place of what was asked about."""
    refusal = gate.refuse(request, decision or FAULT)
    await answer_http(link, gate, STATUS, tuple(refusal.headers), refusal.body)


async def answer_http(link: IcapConnection, gate: Gate, status: int, fields: Fields, body: bytes) -> None:
    """Answer with a whole HTTP response."""
    fields = (*fields, (b"Content-Length", b"%d" % len(body)))
    head = HttpResponse("1.1", status, HTTPStatus(status).phrase.encode(), fields)
    link.send(Answer(200, tag_fields(gate), head, body=bool(body)), *((More(body), Finish()) if body else ()))
    await link.drain()
