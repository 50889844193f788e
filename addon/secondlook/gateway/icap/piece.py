"""RESPMOD of the blocks around a piece of a judged file: each is proved before any byte of its body goes on.

```
206 ─┬─ the blocks that were asked for ─► proved ─┬─ each fits ─────────────► what is wanted of it goes on
     │                                            ├─ not, and nothing is out ─► 503
     │                                            └─ not, and bytes are out ──► the connection is aborted
     └─ anything else ─► 503
```

A gateway cannot be made to ask its origin again, so its client has to: the whole is asked for then. The
digests of the file are looked at once more here: it may have been listed since REQMOD let its piece through,
or be another, which somebody else fetched meanwhile and this client may not have. Where no file is known any
more, as another of its pieces did not fit, the origin of this one did nothing wrong.

Squid may read no further once its buffer is full, until its client gets something (its bug 5352), and a block
is one byte larger than that. So the head goes before the first block is whole, without a byte of the body;
and a byte of each block is kept back, which goes where the next one does not come on.
"""

import asyncio
import time
from dataclasses import dataclass, replace

from secondlook.core.verdict import Action, Decision, SubjectClass
from secondlook.download.body.ranges import WantedRange
from secondlook.download.body.response_facts import read_response
from secondlook.download.body.slicing import Slice
from secondlook.download.exchange import Exchange
from secondlook.download.judged_files import JudgedFile, Proof
from secondlook.download.pieces import judge_again, misfit
from secondlook.gateway.icap.answers import END_LATER_S, ask_again, refuse
from secondlook.gateway.icap.connection import IcapConnection
from secondlook.gateway.icap.heads import Fields, HttpResponse
from secondlook.gateway.icap.messages import Continue, Data, End, Finish, PreviewEnd
from secondlook.gateway.icap.outlet import SQUID_BUFFER_BYTES, STUCK_S, Outlet, declared_length
from secondlook.gateway.parts import Gate
from secondlook.gateway.request import GatewayRequest
from secondlook.ground.ulid import make_id


@dataclass(eq=False)
class PiecePassage:
    """A piece on its way from a gateway, and back."""

    link: IcapConnection
    front: Gate
    request: GatewayRequest
    state: Exchange
    response: HttpResponse

    def __post_init__(self) -> None:
        self.misfit = False
        self._spare = b""  # the last byte that was proved and has not gone on
        self._out: Outlet | None = None

    async def run(self, wanted: WantedRange | None) -> None:
        """Answer; `wanted`: what the client asked for. Raise GoneError."""
        file = await self.front.bodies.judged.known(self.state.subject.identity)
        windows = wanted.windows(file.size) if file is not None and wanted is not None else []
        if file is None or (wanted is not None and not windows):
            await self._give_up()
            return
        proof = self._begin(file, windows)
        if proof is None:
            await self._misfit()
            return
        refused = await self._refused(file)
        if refused is not None:
            await refuse(self.link, self.front, self.request, refused)
            return
        sent = self.response._replace(fields=label(self.response.fields, proof.slice))
        self._out = Outlet(self.link, self.front, sent, 0.0, changed=True)
        await self._pass(proof, self._out)

    async def _pass(self, proof: Proof, out: Outlet) -> None:
        received = 0
        while True:
            match await self.link.next(STUCK_S if self._spare and not out.preview else None):
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
                    self.link.send(Continue())
                    await out.end_preview(begin=False)
                case End():
                    await self._end(proof, out)
                    return
                case other:
                    raise AssertionError(f"unexpected: {other!r}")

    def _begin(self, file: JudgedFile, windows: list[tuple[int, int]]) -> Proof | None:
        """Return what proves the piece; None where it is not the one that was asked for."""
        if not windows:
            return None
        proof = Proof(file, windows, self.front.bodies.judged.key)
        fits = proof.begin(read_response(self.response.fields), declared_length(self.response))
        return proof if fits else None

    async def _refused(self, file: JudgedFile) -> Decision | None:
        """Return the decision about a file of which this client may not have a piece (any more).

        Where memory knows that it may, nothing is written down a second time.
        """
        gatekeeper, context = (
            self.front.gatekeeper,
            replace(self.request.context, cls=SubjectClass.DOWNLOAD),
        )
        seen = gatekeeper.checker.check_now(file.subject, context)
        if file.problem is None and seen is not None and seen.action is not Action.BLOCK:
            return None
        decision = await judge_again(gatekeeper, file, context)
        return decision if decision.action is Action.BLOCK else None

    async def _end(self, proof: Proof, out: Outlet) -> None:
        if not proof.whole:  # the origin failed
            await self._give_up()
            return
        await out.end_preview(begin=False)
        await out.send(self._spare)
        await asyncio.sleep(END_LATER_S)
        self.link.send(Finish())

    async def _misfit(self) -> None:
        """Forget the file, so that all of it is asked for, and have nothing more of this go on."""
        self.misfit = True
        if await self.front.bodies.judged.forget(self.state.subject.identity):
            now = time.time()
            self.front.record(misfit(self.state, now, make_id(now)))
        await self._give_up()

    async def _give_up(self) -> None:
        if self._out is not None and self._out.begun:
            self.link.abort()
        else:
            await ask_again(self.link, self.front)


def label(fields: Fields, part: Slice) -> Fields:
    """Return the fields of the response that has what is taken out."""
    labels: dict[str, str] = {}
    part.label(labels)
    replaced = {"transfer-encoding", "content-range", *labels}
    kept = [field for field in fields if field[0].decode("latin-1").lower() not in replaced]
    return (*kept, *((name.encode(), value.encode("latin-1", "replace")) for name, value in labels.items()))
