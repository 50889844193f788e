"""REQMOD: a request goes on as it is, or is answered here: the refusal, or a page of the internal site.

Nothing is read of the body of a request that is refused: an upload to a listed host ends with its head. A
piece of what may be risky is asked for whole: its client gets a 200.
What answers for `secondlook.internal` believes the gateway as to whose request it is, as everything here
does; so an exception from the block page holds for the client and the user that met the block.
"""

import logging

from secondlook.agent import metrics
from secondlook.core.verdict import Action
from secondlook.download.body.body_type import declared
from secondlook.download.body.ranges import may_hide_the_first
from secondlook.gateway.icap.answers import answer_http, refuse, tag_fields
from secondlook.gateway.icap.connection import IcapConnection
from secondlook.gateway.icap.messages import (
    Answer,
    Continue,
    Data,
    End,
    Finish,
    More,
    Pass,
    PreviewEnd,
    Request,
)
from secondlook.gateway.parts import Gate
from secondlook.gateway.request import CONNECT, GatewayRequest
from secondlook.refusal.language import phrase
from secondlook.refusal.refusal import is_internal
from secondlook.site.internal_site import FORM_MAX_BYTES, InternalSite, SiteRequest, Visitor

logger = logging.getLogger(__name__)

_RANGES = frozenset({b"range", b"if-range"})


async def decide(
    link: IcapConnection, gate: Gate, asked: Request, request: GatewayRequest, told: str | None
) -> None:
    """Answer one request; `told`: the event by which a helper refused it a moment ago."""
    if gate.site is not None and is_internal(request.host) and request.use.method != CONNECT:
        await _answer_own(link, gate, gate.site, asked, request)
        return
    decision = gate.now(request) if told is None else None
    if decision is None:
        decision = await gate.decide(request, told=told)
    if decision.action is Action.BLOCK:
        await refuse(link, gate, request, decision)
    elif _asks_for_a_piece(gate, asked, request):
        _ask_for_the_whole(link, gate, asked)
    else:
        await go_on(link, gate, asked)


def _asks_for_a_piece(gate: Gate, asked: Request, request: GatewayRequest) -> bool:
    """Return whether a piece of what may be risky is asked for, which would prove nothing about the whole."""
    header = request.asked.range
    if header is None or not gate.bodies.whole_files or request.use.method != "GET":
        return False
    if asked.head.encapsulated.body:  # nobody sends one
        return False
    if may_hide_the_first(header) or declared(None, None, request.path).risky:
        return True
    subject = request.subjects(gate.gatekeeper.subject)[0]
    return gate.bodies.memory.is_risky(subject.identity)


def _ask_for_the_whole(link: IcapConnection, gate: Gate, asked: Request) -> None:
    """Have the gateway ask its origin without the range: a 200 is an answer too (RFC 9110, 14.2)."""
    assert asked.request is not None
    kept = tuple(field for field in asked.request.fields if field[0].lower() not in _RANGES)
    link.send(Answer(200, tag_fields(gate), asked.request._replace(fields=kept)))


async def go_on(link: IcapConnection, gate: Gate, asked: Request) -> None:
    """Let a request go on: by 204, or, for a gateway that did not announce it, as it came."""
    if link.machine.may_pass:
        link.send(Pass(tag_fields(gate)))
        return
    body = asked.head.encapsulated.body
    link.send(Answer(200, tag_fields(gate), asked.request, body=body))
    while body:
        match await link.next():
            case Data(data):
                link.send(More(data))
                await link.drain()
            case PreviewEnd():
                link.send(Continue())
            case End():
                link.send(Finish())
                return
            case other:
                raise AssertionError(f"unexpected: {other!r}")


async def _answer_own(
    link: IcapConnection, gate: Gate, site: InternalSite, asked: Request, request: GatewayRequest
) -> None:
    """Answer for the internal site, once the body of its small form is here."""
    fields = {} if asked.request is None else {name.lower(): value for name, value in asked.request.fields}
    origin, kind = fields.get(b"origin"), fields.get(b"content-type")
    page = SiteRequest(
        request.use.method or "GET",
        request.host,
        request.path,
        request.asked,
        origin.decode("latin-1") if origin is not None else None,
        kind.decode("latin-1") if kind is not None else None,
    )
    body = await _form(link) if asked.head.encapsulated.body else b""
    try:
        if body is None:
            answer = site.problem(page, 413, phrase("expected a small form"))
        else:
            answer = await site.answer(page, Visitor(request.use.client, request.use.user), None, body)
    except Exception:
        logger.exception("the internal site failed")
        metrics.INTERNAL_ERRORS.inc()
        answer = site.problem(
            page, 500, phrase("the proxy failed at this page; the reason is in its own output")
        )
    await answer_http(link, gate, answer.status, tuple(answer.headers), answer.body)


async def _form(link: IcapConnection) -> bytes | None:
    """Read a small body; None for one that is larger."""
    body = b""
    while len(body) <= FORM_MAX_BYTES:
        match await link.next():
            case Data(data):
                body += data
            case PreviewEnd():
                link.send(Continue())
            case End():
                return body
            case other:
                raise AssertionError(f"unexpected: {other!r}")
    return None
