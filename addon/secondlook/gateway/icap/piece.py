"""RESPMOD of the blocks around a piece of a judged file: each is proved before anything of it goes on.

```
206 ─┬─ the blocks that were asked for ─► proved ─┬─ each fits ─────────────► what is wanted of it goes on
     │                                            ├─ not, and nothing is out ─► 503
     │                                            └─ not, and bytes are out ──► the connection is aborted
     └─ anything else ─► 503
```

A gateway cannot be made to ask its origin again, so its client has to: the whole is asked for then. The
digests of the file are looked at once more here, for what was listed since REQMOD let it through.

Squid may read no further once its buffer is full, until its client gets something (its bug 5352), and a block
is one byte larger than that. So the head goes before the first block is whole, without a byte of the body;
and a byte of each block is kept back, which goes where the next one does not come on.
"""

import asyncio
import logging
import time
from dataclasses import replace
from typing import Final

from secondlook.core.verdict import Action, Decision, SubjectClass
from secondlook.download.body.cutting import Cut
from secondlook.download.body.ranges import WantedRange
from secondlook.download.body.response_facts import read_response
from secondlook.download.exchange import Exchange
from secondlook.download.judged_files import Proof
from secondlook.download.pieces import misfit
from secondlook.gateway.icap.answers import END_LATER_S, answer_http, refuse
from secondlook.gateway.icap.connection import IcapConnection
from secondlook.gateway.icap.heads import Fields, HttpResponse
from secondlook.gateway.icap.messages import Continue, Data, End, Finish, PreviewEnd
from secondlook.gateway.icap.outlet import SQUID_BUFFER_BYTES, STUCK_S, Outlet, declared_length
from secondlook.gateway.parts import Gate
from secondlook.gateway.request import GatewayRequest
from secondlook.ground.ulid import make_id

logger = logging.getLogger(__name__)

AGAIN: Final = 503  # Service Unavailable: what download tools ask again after
_AGAIN_FIELDS: Final = ((b"Content-Type", b"text/plain; charset=utf-8"), (b"Retry-After", b"1"))
_AGAIN_TEXT: Final = b"This piece is not of the file that was checked at this address. Ask again.\n"


class PiecePassage:
    """A piece on its way from a gateway, and back."""

    def __init__(
        self,
        link: IcapConnection,
        front: Gate,
        request: GatewayRequest,
        state: Exchange,
        response: HttpResponse,
    ) -> None:
        self._link = link
        self._front = front
        self._request = request
        self._state = state
        self._response = response
        self.misfit = False
        self._spare = b""  # the last byte that was proved and has not gone on
        self._out: Outlet | None = None

    async def run(self, wanted: WantedRange | None) -> None:
        """Answer; `wanted`: what the client asked for. Raise GoneError."""
        proof = await self._proof(wanted)
        if proof is None:
            await self._misfit()
            return
        listed = self._listed_since(proof)
        if listed is not None:
            await refuse(self._link, self._front, self._request, listed)
            return
        sent = self._response._replace(fields=label(self._response.fields, proof.cut))
        self._out = Outlet(self._link, self._front, sent, 0.0, changed=True)
        await self._pass(proof, self._out)

    async def _pass(self, proof: Proof, out: Outlet) -> None:
        received = 0
        while True:
            match await self._link.next(STUCK_S if self._spare and not out.preview else None):
                case None:
                    spare, self._spare = self._spare, b""
                    await out.send(spare)
                case Data(data):
                    received += len(data)
                    proved = proof.feed(data)
                    if proved is None:
                        await self._misfit()
                        return
                    if proved:
                        held, self._spare = self._spare + proved[:-1], proved[-1:]
                        await out.send(held)
                    elif received >= SQUID_BUFFER_BYTES and not out.begun:
                        await out.send(b"")
                case PreviewEnd():
                    self._link.send(Continue())
                    await out.end_preview(begin=False)
                case End():
                    await self._end(proof, out)
                    return
                case other:
                    raise AssertionError(f"unexpected: {other!r}")

    async def _proof(self, wanted: WantedRange | None) -> Proof | None:
        """Return what proves the piece; None where it is not the one that was asked for."""
        judged = self._front.bodies.judged
        file = await judged.known(self._state.subject.identity)
        windows = wanted.windows(file.size) if file is not None and wanted is not None else []
        if file is None or not windows:
            return None
        proof = Proof(file, windows, judged.key)
        facts = read_response(self._response.fields)
        length = declared_length(self._response)
        fits = proof.begin(facts, length)
        return proof if fits else None

    def _listed_since(self, proof: Proof) -> Decision | None:
        """Return the decision about a file that was listed since its piece was asked for."""
        gatekeeper, use = self._front.gatekeeper, replace(self._request.use, cls=SubjectClass.DOWNLOAD)
        seen = gatekeeper.checker.check_now(proof.file.subject, use)
        if seen is None or seen.action is not Action.BLOCK:
            return None
        return gatekeeper.now(proof.file.subject, use) or seen

    async def _end(self, proof: Proof, out: Outlet) -> None:
        if not proof.whole:  # the origin failed
            await self._give_up()
            return
        await out.end_preview(begin=False)
        await out.send(self._spare)
        await asyncio.sleep(END_LATER_S)
        self._link.send(Finish())

    async def _misfit(self) -> None:
        """Forget the file, so that all of it is asked for, and have nothing more of this go on."""
        self.misfit = True
        now = time.time()
        self._front.record(misfit(self._state, now, make_id(now)))
        try:
            await self._front.bodies.judged.forget(self._state.subject.identity)
        except OSError as error:
            logger.warning("a judged file is not forgotten: %r", error)
        await self._give_up()

    async def _give_up(self) -> None:
        if self._out is not None and self._out.begun:
            self._link.abort()
        else:
            await answer_http(self._link, self._front, AGAIN, _AGAIN_FIELDS, _AGAIN_TEXT)


def label(fields: Fields, cut: Cut) -> Fields:
    """Return the fields of the response that has what is cut out."""
    labels: dict[str, str] = {}
    cut.label(labels)
    replaced = {"transfer-encoding", "content-range", *labels}
    kept = [field for field in fields if field[0].decode("latin-1").lower() not in replaced]
    return (*kept, *((name.encode(), value.encode("latin-1", "replace")) for name, value in labels.items()))
