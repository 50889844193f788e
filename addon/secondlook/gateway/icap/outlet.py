"""What goes back to a gateway of a body that it had looked at, and when."""

import asyncio
import logging
import re
from typing import Final

from secondlook.download.body.response_facts import PARTIAL_STATUS
from secondlook.download.gate.gate import BodyGate
from secondlook.download.gate.gate_state import Fate
from secondlook.download.gate.trickle import EVERY_S
from secondlook.gateway.icap.answers import tag_fields
from secondlook.gateway.icap.connection import IcapConnection
from secondlook.gateway.icap.heads import HttpResponse
from secondlook.gateway.icap.machine import Reading
from secondlook.gateway.icap.messages import Answer, Finish, More, Pass
from secondlook.gateway.parts import Gate
from secondlook.refusal.refusal import passed_fields

logger = logging.getLogger(__name__)

SQUID_BUFFER_BYTES: Final = (64 << 10) - 1
STUCK_S: Final = 0.3  # without a byte, while a body is held
_LENGTH = re.compile(rb"[0-9]{1,15}")


class Outlet:
    """The answer to one RESPMOD; nothing of it goes before the preview is over.

    `changed`: the response is not what the gateway has, so it cannot go on with that.
    """

    def __init__(
        self,
        link: IcapConnection,
        front: Gate,
        response: HttpResponse,
        patience_s: float,
        *,
        changed: bool = False,
    ) -> None:
        self._link = link
        self._front = front
        kept = passed_fields(response.fields, response.status)
        self._changed = changed or len(kept) != len(response.fields)
        self._response = HttpResponse(response.version, response.status, response.reason, kept)
        self._patience_s = patience_s
        self._loop = asyncio.get_running_loop()
        self._early: list[bytes] = []
        self._sent_at = self._loop.time()
        self._trickling = False
        self.preview = link.machine.reading is Reading.PREVIEW  # it is not over yet
        self.begun = False  # the head of the answer is out
        self.taken = 0  # bytes of the body that went out, or will once the preview is over

    def try_to_pass(self) -> bool:
        """Let the gateway go on with what it has, where it understands that."""
        machine = self._link.machine
        if self.begun:
            return False
        if not self._changed:
            if machine.may_pass:
                self._link.send(Pass(tag_fields(self._front)))
                return True
            return False
        if machine.may_use_original:
            head = Answer(PARTIAL_STATUS, tag_fields(self._front), self._response, body=True)
            self._link.send(head, Finish(original=0))
            return True
        return False

    def pass_without_body(self) -> None:
        """Let a response that has no body go on."""
        if self._changed or not self._link.machine.may_pass:
            self._link.send(Answer(200, tag_fields(self._front), self._response))
        else:
            self._link.send(Pass(tag_fields(self._front)))

    async def end_preview(self, *, begin: bool) -> None:
        """Send what waited for the end of the preview; `begin`: the head at least, unless 204 may follow."""
        self.preview = False
        early, self._early = b"".join(self._early), []
        if early or (begin and not self._link.machine.may_pass):
            self.taken -= len(early)
            await self.send(early)

    async def send(self, data: bytes) -> None:
        """Send the next bytes of the body. Raise GoneError."""
        self.taken += len(data)
        if self.preview:
            self._early.append(data)
            return
        if not self.begun:
            self.begun = True
            self._link.send(Answer(200, tag_fields(self._front), self._response, body=True))
        if data:
            self._sent_at, self._trickling = self._loop.time(), False
            self._link.send(More(data))
            await self._link.drain()

    async def send_held(self, gate: BodyGate) -> None:
        """Send what the spool holds, as fast as the gateway takes it. Raise GoneError, OSError."""
        spool = gate.spool
        if spool is None:
            return
        at_once = spool.read_now()
        if at_once is not None:
            await self.send(at_once)
            return
        while piece := await spool.read():
            await self.send(piece)

    async def send_rest(self, gate: BodyGate) -> None:
        """Send all that is held back. Raise GoneError, OSError."""
        await self.send_held(gate)
        while piece := gate.rest_piece():
            await self.send(piece)
        await self.send(gate.rest())

    def patience_left(self, gate: BodyGate) -> float | None:
        """Return how long (s) the other end may wait before it gets a few bytes; None: for ever."""
        if not self._patience_s or self.preview or gate.fate is Fate.PASS:
            return None
        pause_s = min(EVERY_S, self._patience_s) if self._trickling else self._patience_s
        return self._sent_at + pause_s - self._loop.time()

    async def trickle(self, gate: BodyGate) -> None:
        """Send a few bytes of what is held, where some are to spare. Raise GoneError."""
        piece = b""
        try:
            if gate.spare:
                piece = await gate.trickle()
        except OSError:
            logger.exception("a held body could not be read back")
        if piece:
            await self.send(piece)
        self._sent_at, self._trickling = self._loop.time(), True

    async def nudge(self, gate: BodyGate) -> None:
        """Send the head, or the least that may go, to whoever reads on only then. Raise GoneError."""
        if self.begun:
            await self.trickle(gate)
        else:
            await self.send(b"")


def without_length(response: HttpResponse) -> HttpResponse:
    """Return a response without a length."""
    kept = tuple(field for field in response.fields if field[0].lower() != b"content-length")
    return response._replace(fields=kept)


def declared_length(response: HttpResponse) -> int | None:
    """Return the length that a response declares; None where there is none that can be believed."""
    found: set[bytes] = set()
    for name, value in response.fields:
        lower = name.lower()
        if lower == b"transfer-encoding":
            return None
        if lower == b"content-length":
            found |= {one.strip() for one in value.split(b",")}
    if len(found) != 1:
        return None
    length = found.pop()
    return int(length) if _LENGTH.fullmatch(length) else None
