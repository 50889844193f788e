"""REQMOD: a request goes on as it is, or is answered here: the refusal, or a page of the internal site.

Nothing is read of the body of a request that is refused: an upload to a listed host ends with its head.
"""

from secondlook.core.verdict import Action
from secondlook.gateway.icap.answers import refuse, tag_fields
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
from secondlook.gateway.request import GatewayRequest


async def decide(
    link: IcapConnection, gate: Gate, asked: Request, request: GatewayRequest, told: str | None
) -> None:
    """Answer one request; `told`: the event by which a helper refused it a moment ago."""
    decision = gate.now(request) if told is None else None
    if decision is None:
        decision = await gate.decide(request, told=told)
    if decision.action is Action.BLOCK:
        await refuse(link, gate, request, decision)
    else:
        await go_on(link, gate, asked)


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
