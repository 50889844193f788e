"""What the ICAP server offers: `reqmod` and `respmod`, and what OPTIONS answers (RFC 3507, 4.10)."""

import base64
import binascii
import logging
import re
from importlib.metadata import version
from typing import Final

from secondlook.agent import metrics
from secondlook.core.verdict import Action
from secondlook.download.body.response_facts import UNSATISFIABLE_STATUS, WHOLE_STATUS
from secondlook.download.request_facts import read_request_facts
from secondlook.gateway.icap import reqmod
from secondlook.gateway.icap.answers import ask_again, refuse, tag_fields
from secondlook.gateway.icap.connection import GoneError, IcapConnection
from secondlook.gateway.icap.heads import IcapError
from secondlook.gateway.icap.machine import Answering
from secondlook.gateway.icap.messages import Answer, Request
from secondlook.gateway.icap.respmod import Passage
from secondlook.gateway.icap.wanted import BlocksRange, Handover
from secondlook.gateway.parts import Gate
from secondlook.gateway.request import GatewayRequest, UnreadableRequestError, gateway_name, read_request

logger = logging.getLogger(__name__)

VERSION: Final = version("secondlook")
METHODS: Final = {"reqmod": "REQMOD", "respmod": "RESPMOD"}
OPTIONS_TTL_S: Final = 600
EVENT_HEADER: Final = b"x-second-look-event"  # the event by which a helper refused the request
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?:[^/]*/)*")


class IcapService:
    """Answers ICAP requests; `encoded_users`: names come in base64."""

    def __init__(
        self, gate: Gate, *, preview: int, max_connections: int, encoded_users: bool = False
    ) -> None:
        self.gate = gate
        self._preview = preview
        self._max_connections = max_connections
        self._encoded_users = encoded_users
        self._handover = Handover(gate.bodies.judged)

    async def answer(self, link: IcapConnection, request: Request) -> None:
        """Answer one request."""
        head = request.head
        method = METHODS.get(head.service)
        tag = tag_fields(self.gate)
        if method is None:
            link.send(Answer(404, tag))
        elif head.method == "OPTIONS":
            link.send(self._options(head.service, method))
        elif head.method != method:
            link.send(Answer(405, tag))
        else:
            await self._modify(link, request)

    def _options(self, service: str, method: str) -> Answer:
        offered = {
            "Methods": method,
            "Service": f"Second Look {VERSION}",
            "Service-ID": service,
            "Max-Connections": self._max_connections,
            "Options-TTL": OPTIONS_TTL_S,
            "Allow": "204, 206" if method == "RESPMOD" else "204",
            "Preview": self._preview if method == "RESPMOD" else 0,
            "Transfer-Preview": "*",
            "X-Include": "X-Client-IP, X-Authenticated-User",
        }
        fields = tuple((name.encode(), str(value).encode()) for name, value in offered.items())
        return Answer(200, (*tag_fields(self.gate), *fields))

    async def _modify(self, link: IcapConnection, asked: Request) -> None:
        try:
            request = self._read(asked, link.peer)
        except UnreadableRequestError as error:
            link.refuse(IcapError(str(error)))
            return
        try:
            if asked.response is None:
                event = asked.head.fields.get(EVENT_HEADER, b"").decode("latin-1")
                event_id = event if event.isalnum() else None  # Squid writes `-` where there is none
                await reqmod.decide(link, self.gate, asked, request, event_id, self._handover)
            else:
                assert asked.request is not None
                has_range = request.asked.range is not None
                fields = asked.head.fields
                asked_range = await self._handover.read(link.peer, fields, has_range=has_range)
                passage = Passage(link, self.gate, request, asked.request, asked.response, asked_range)
                if isinstance(asked_range, BlocksRange):
                    await self._note_what_came(request, asked.response.status)
                await passage.run(comes=asked.head.encapsulated.body)
                if passage.misfit:
                    await self._handover.note_ask_whole(self._url(request))
        except GoneError:
            raise
        except Exception:
            logger.exception("an ICAP request could not be answered")
            metrics.INTERNAL_ERRORS.inc()
            await self._fault(link, asked, request)

    def _url(self, request: GatewayRequest) -> bytes:
        return request.subjects(self.gate.gatekeeper.subject)[0].identity

    async def _note_what_came(self, request: GatewayRequest, status: int) -> None:
        """Note what an origin gave in place of the blocks: its URL is asked for whole for a while."""
        url = self._url(request)
        if status == WHOLE_STATUS and request.asked.if_range is None:
            await self._handover.note_ask_whole(url)
        elif status == UNSATISFIABLE_STATUS:
            await self.gate.bodies.judged.forget(url)

    async def _fault(self, link: IcapConnection, asked: Request, request: GatewayRequest) -> None:
        """Treat what failed inside as unverifiable: as its policy wants, as far as that can still be done."""
        if link.machine.answering is not Answering.NONE:
            link.abort()
            return
        decision = await self.gate.fault(request)
        if decision.action is Action.BLOCK:
            await refuse(link, self.gate, request, decision)
        elif Handover.may_be_blocks(asked):
            await ask_again(link, self.gate)
        elif asked.response is None or link.machine.may_pass:
            await reqmod.go_on(link, self.gate, asked)
        else:
            link.send(Answer(500, tag_fields(self.gate)))

    def _read(self, asked: Request, peer: str) -> GatewayRequest:
        http, fields = asked.request, asked.head.fields
        if http is None:
            raise UnreadableRequestError("req-hdr, to know what it is about", "none")
        if asked.head.method == "RESPMOD" and asked.response is None:
            raise UnreadableRequestError("res-hdr", "none")
        client = fields.get(b"x-client-ip")
        return read_request(
            http.method,
            http.target.decode("latin-1"),
            client=client.decode("latin-1") if client else None,
            user=self._user(fields.get(b"x-authenticated-user")),
            asked=read_request_facts(http.fields),
            gateway=gateway_name(peer, self.gate.name),
        )

    def _user(self, value: bytes | None) -> str | None:
        """Read a user's name, in base64 where gateways send that, without where it is from (`WinNT://X/`)."""
        if not value:
            return None
        if self._encoded_users:
            try:
                value = base64.b64decode(value, validate=True)
            except binascii.Error as error:
                raise UnreadableRequestError("a user's name in base64", value.decode("latin-1")) from error
        try:
            name = value.decode()
        except UnicodeDecodeError:
            name = value.decode("latin-1")
        return _SCHEME.sub("", name, count=1)
