"""REQMOD: a request goes on as it is, or is answered here: the refusal, or a page of the internal site.

Nothing is read of the body of a request that is refused: an upload to a listed host ends with its head. A
piece of what may be risky is asked for whole, so its client gets a 200; of a file that was judged here, the
blocks around it are asked for where RESPMOD will hear of the piece (`wanted.py`). What answers for
`secondlook.internal` believes the gateway as to whose request it is, as everything here does; so an exception
from the block page holds for the client and the user that met the block.
"""

import logging

from secondlook.agent import metrics
from secondlook.core.verdict import Action, Decision
from secondlook.download.body.body_type import declared
from secondlook.download.body.ranges import may_hide_the_first
from secondlook.download.request_facts import DICTIONARY
from secondlook.gateway.icap.answers import answer_http, refuse, tag_fields
from secondlook.gateway.icap.connection import IcapConnection
from secondlook.gateway.icap.heads import Fields, HttpRequest
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
from secondlook.gateway.icap.wanted import AS_ASKED, WANTED, Aim, Handover, aim
from secondlook.gateway.parts import Gate
from secondlook.gateway.request import CONNECT, GatewayRequest
from secondlook.refusal.language import phrase
from secondlook.refusal.refusal import is_internal
from secondlook.site.internal_site import FORM_MAX_BYTES, InternalSite, SiteRequest, Visitor

logger = logging.getLogger(__name__)

_RANGES = frozenset({b"range", b"if-range"})
_DICTIONARY = frozenset({DICTIONARY.encode()})


async def decide(
    link: IcapConnection,
    gate: Gate,
    asked: Request,
    request: GatewayRequest,
    refused_by: str | None,
    handover: Handover,
) -> None:
    """Answer one request; `refused_by`: the event by which a helper refused it a moment ago."""
    if gate.site is not None and is_internal(request.host) and request.context.method != CONNECT:
        await _answer_own(link, gate, gate.site, asked, request)
        return
    changed = False
    if request.asked.dictionary is not None and asked.request is not None:
        asked, changed = asked._replace(request=_without(asked.request, _DICTIONARY)), True
    decision = gate.now(request) if refused_by is None else None
    if decision is None:
        decision = await gate.decide(request, refused_by=refused_by)
    if decision.action is Action.BLOCK:
        await refuse(link, gate, request, decision)
    elif await _asks_for_a_piece(gate, asked, request):
        await _ask_for_a_piece(link, gate, asked, request, handover)
    else:
        await go_on(link, gate, asked, _as_asked(asked, request), changed=changed)


def _as_asked(asked: Request, request: GatewayRequest) -> Fields:
    """Have RESPMOD hear that a range is its client's own, from a gateway that hands that on."""
    announced = request.asked.range is not None and Handover.is_announced(asked.head.fields)
    return ((WANTED, AS_ASKED),) if announced else ()


async def _asks_for_a_piece(gate: Gate, asked: Request, request: GatewayRequest) -> bool:
    """Return whether a piece of what may be risky is asked for, which would prove nothing about the whole."""
    header = request.asked.range
    if header is None or not gate.bodies.whole_files or request.context.method != "GET":
        return False
    if asked.head.encapsulated.body:  # nobody sends one
        return False
    if may_hide_the_first(header) or declared(None, None, request.path).risky:
        return True
    subject = request.subjects(gate.gatekeeper.subject)[0]
    if gate.bodies.memory.is_risky(subject.identity):
        return True
    return await gate.bodies.unfinished.concerns(subject.identity, request.context, request.asked)


async def _ask_for_a_piece(
    link: IcapConnection, gate: Gate, asked: Request, request: GatewayRequest, handover: Handover
) -> None:
    """Have the gateway ask for the blocks of a judged file, or without the range.

    A 200 is an answer to a range too (RFC 9110, 14.2).
    """
    assert asked.request is not None
    aimed: Aim | Decision | None = None
    subject = request.subjects(gate.gatekeeper.subject)[0]
    if await handover.may_aim(link.peer, asked.head.fields, subject.identity):
        aimed = await aim(gate, asked.request, request)
    if isinstance(aimed, Decision):
        await refuse(link, gate, request, aimed)
    elif aimed is not None:
        link.send(Answer(200, (*tag_fields(gate), *aimed.fields), aimed.http))
    else:
        fields = (*tag_fields(gate), *_as_asked(asked, request))
        link.send(Answer(200, fields, _without(asked.request, _RANGES)))


def _without(http: HttpRequest, names: frozenset[bytes]) -> HttpRequest:
    return http._replace(fields=tuple(field for field in http.fields if field[0].lower() not in names))


async def go_on(
    link: IcapConnection, gate: Gate, asked: Request, more: Fields = (), *, changed: bool = False
) -> None:
    """Let a request go on: by 204, or, where it was `changed` or 204 was not announced, as it is here."""
    fields = (*tag_fields(gate), *more)
    if link.machine.may_pass and not changed:
        link.send(Pass(fields))
        return
    body = asked.head.encapsulated.body
    link.send(Answer(200, fields, asked.request, body=body))
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
        request.context.method or "GET",
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
            answer = await site.answer(
                page, Visitor(request.context.client, request.context.user), None, body
            )
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
