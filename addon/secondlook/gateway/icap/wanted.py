"""What a client wants of a judged file: REQMOD asks for the blocks around it, and RESPMOD has to hear of it.

```
REQMOD  Range: bytes=5-9 ─► judged again ─► Range: bytes=0-65535, Cache-Control: no-cache ─► origin
           └── X-Second-Look-Wanted: bytes=5-9 ── the gateway hands it on ──┐                  │
RESPMOD    each block is proved, bytes 5-9 are cut out of it ◄──────────────┴──────────────────┘
```

RFC 3507 has nothing by which one service hears of the other. Squid hands an ICAP header of REQMOD's answer on
to RESPMOD of the same request (`adaptation_masterx_shared_names`). No client can write it, nor what marks
that a gateway does so (`X-Second-Look-Hands-On`, `adaptation_meta`): ICAP headers are the gateway's own.

A range is changed only for a gateway that announces it and was seen to do so. From then on the header comes
with every request that has a Range; where it is missing all the same, nobody knows whose range that is, so no
piece of a judged file or of what is risky passes, and the gateway has to be seen again. `no-cache` keeps a
cache from taking the blocks out of what it has: its client would get them all.

Several ranges, and pieces of a file so large that its blocks are larger (256 MiB), are asked for whole: Squid
would stop in the middle of bytes of which none may go on (its bug 5352, `piece.py`).
"""

import logging
import time
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, assert_never

from secondlook.core.verdict import Action, Decision
from secondlook.download.body.ranges import WantedRange, read_range, write_range
from secondlook.download.body.response_facts import PARTIAL_STATUS, UNSATISFIABLE_STATUS
from secondlook.download.judged_files import BLOCK_BYTES, JudgedFiles, Proof
from secondlook.download.pieces import judge_again
from secondlook.gateway.icap.heads import Fields, HttpRequest
from secondlook.gateway.icap.messages import Request
from secondlook.gateway.parts import Gate
from secondlook.gateway.request import GatewayRequest

logger = logging.getLogger(__name__)

WANTED: Final = b"X-Second-Look-Wanted"
HANDS_ON: Final = b"X-Second-Look-Hands-On"
AS_ASKED: Final = b"as-asked"  # nothing was aimed at blocks
_ONLY_CACHED = b"only-if-cached"
_HANDS_ON, _ASK_WHOLE = ".hands-on", ".ask-whole"  # marks of gateways, and of URLs
_LATE_S = 3600.0  # a URL: by then a file that changed may be one that keeps still


@dataclass(frozen=True, slots=True)
class OwnRange:
    """The range that the origin was asked for is the client's own, or there is none."""


@dataclass(frozen=True, slots=True)
class UnknownRange:
    """It may be that of blocks: nothing was handed on, by a gateway that announces that it does."""


@dataclass(frozen=True, slots=True)
class BlocksRange:
    """It is that of blocks; `wanted` is the client's, None where what was handed on is no range."""

    wanted: WantedRange | None


type AskedRange = OwnRange | UnknownRange | BlocksRange


async def may_answer_another(asked: AskedRange, status: int, judged: JudgedFiles, url: bytes) -> bool:
    """Return whether a status, to what the origin was asked for, may be no answer to what the client wants.

    A suffix is asked for by the places that it had in what was judged.
    """
    match asked:
        case OwnRange():
            return False
        case UnknownRange():
            return status == PARTIAL_STATUS and await judged.known(url) is not None
        case BlocksRange(wanted):
            return status == UNSATISFIABLE_STATUS and (wanted is None or wanted.first is None)
        case other:
            assert_never(other)


class Handover:
    """Which gateways were seen to hand on what REQMOD writes, and which URLs have to be asked for whole.

    The gate workers share it: a gateway may ask one of them by REQMOD, and another by RESPMOD.
    """

    def __init__(self, judged: JudgedFiles) -> None:
        self._judged = judged

    @staticmethod
    def is_announced(fields: dict[bytes, bytes]) -> bool:
        """Return whether a gateway announces that it hands the header on."""
        return fields.get(HANDS_ON.lower(), b"").lower() == WANTED.lower()

    @classmethod
    def may_be_blocks(cls, asked: Request) -> bool:
        """Return whether the response is a piece, and maybe not the one that its client wants."""
        response, fields = asked.response, asked.head.fields
        if response is None or response.status != PARTIAL_STATUS or not cls.is_announced(fields):
            return False
        return fields.get(WANTED.lower()) != AS_ASKED

    async def read(self, peer: str, fields: dict[bytes, bytes], *, has_range: bool) -> AskedRange:
        """Read whose range a RESPMOD is about, and note whether this gateway hands on."""
        if not self.is_announced(fields):
            return OwnRange()
        value = fields.get(WANTED.lower())
        if value is None:
            if not has_range:
                return OwnRange()
            await self._mark(_gateway(peer), _HANDS_ON, on=False)
            return UnknownRange()
        if not self._is_of_late(await self._judged.marked_at(_gateway(peer), _HANDS_ON)):
            await self._mark(_gateway(peer), _HANDS_ON)  # anew too: what is old may be cleaned away
        if value == AS_ASKED or not has_range:
            return OwnRange()
        return BlocksRange(read_range(value.decode("latin-1"), None))

    async def may_aim(self, peer: str, fields: dict[bytes, bytes], url: bytes) -> bool:
        """Return whether RESPMOD will hear of what is aimed at the blocks of a URL."""
        if not self.is_announced(fields) or await self._judged.marked_at(_gateway(peer), _HANDS_ON) is None:
            return False
        return not self._is_of_late(await self._judged.marked_at(url, _ASK_WHOLE))

    async def note_ask_whole(self, url: bytes) -> None:
        """Have a URL asked for whole for an hour: it gave the whole, or a piece of something else."""
        await self._mark(url, _ASK_WHOLE)

    @staticmethod
    def _is_of_late(noted_at: float | None) -> bool:
        return noted_at is not None and abs(time.time() - noted_at) <= _LATE_S

    async def _mark(self, what: bytes, ending: str, *, on: bool = True) -> None:
        try:
            await self._judged.mark(what, ending, on=on)
        except OSError as error:
            logger.warning("what a gateway hands on cannot be noted: %r", error)


def _gateway(peer: str) -> bytes:
    return sha256(peer.encode()).digest()


class Aim:
    """The request for the blocks around a piece, and what RESPMOD is to hear of it."""

    def __init__(self, http: HttpRequest, proof: Proof, wanted: WantedRange) -> None:
        kept = tuple(field for field in http.fields if field[0].lower() != b"range")
        added = ((b"Range", proof.header.encode()), (b"Cache-Control", b"no-cache"))
        self.http = http._replace(fields=(*kept, *added))
        self.fields: Fields = ((WANTED, write_range(wanted).encode()),)


async def aim(gate: Gate, http: HttpRequest, request: GatewayRequest) -> Aim | Decision | None:
    """Choose the blocks around a piece of a judged file; None: it has to be asked for whole.

    Return the decision where the file may not go on to this client (any more).
    """
    wanted = read_range(request.asked.range, None)
    if wanted is None or _asks_the_cache(http):
        return None
    subject = request.subjects(gate.gatekeeper.subject)[0]
    file = await gate.bodies.judged.known(subject.identity)
    windows = wanted.windows(file.size) if file is not None else []
    if file is None or not windows or file.block != BLOCK_BYTES:
        return None
    decision = await judge_again(gate.gatekeeper, file, request.context)
    if decision.action is Action.BLOCK:
        return decision
    return Aim(http, Proof(file, windows, gate.bodies.judged.key), wanted)


def _asks_the_cache(http: HttpRequest) -> bool:
    return any(
        name.lower() == b"cache-control" and _ONLY_CACHED in value.lower() for name, value in http.fields
    )
