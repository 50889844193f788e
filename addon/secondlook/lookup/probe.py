"""Background probes: a server that is back is noticed without any traffic.

A probe is a real query about one random prefix, as that is what has to work. Its first request may
take longer than traffic would wait (names, connection and TLS are set up anew); the second, over the
connection that is there now, must be as quick as traffic needs it. Google gets one request only.

With `heartbeat_s` healthy servers that nobody has asked for so long are probed as well: a process without
traffic of its own (the service, whose rechecker waits for servers to return) then sees them go and come back.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from secondlook.ground.tasks import Tasks
from secondlook.lookup.failure import ServerFailure
from secondlook.lookup.member import TierMember
from secondlook.lookup.pace import Share

PREFIX_SPACE: Final = 1 << 32
PATIENCE: Final = 4  # times the attempt timeout, to set up a connection
MIN_SLEEP_S: Final = 0.02
AGAIN_S: Final = 0.25  # between probes that make sure that a server is gone


class Prober:
    """Probes unhealthy members until they are well; `members` gives all of them at any time."""

    def __init__(
        self,
        members: Callable[[], list[TierMember]],
        *,
        attempt_timeout_s: float,
        monotonic: Callable[[], float],
        draw: Callable[[], float],
        heartbeat_s: float | None = None,
    ) -> None:
        self._members = members
        self._attempt_timeout_s = attempt_timeout_s
        self._monotonic = monotonic
        self._draw = draw
        self._heartbeat_s = heartbeat_s
        self._watched: set[TierMember] = set()
        self._tasks = Tasks()

    def start(self) -> None:
        """Begin the heartbeat, if there is to be one."""
        if self._heartbeat_s is not None:
            self._tasks.start("the heartbeat", self._heartbeat(self._heartbeat_s))

    def watch(self, member: TierMember) -> None:
        """Probe a member until it is healthy again, when its backoff allows it."""
        if member not in self._watched and not member.healthy:
            self._watched.add(member)
            self._tasks.start("probing a server", self._until_healthy(member))

    async def probe(self, member: TierMember, share: Share = Share.BROWSING) -> bool:
        """Ask a member about a random prefix; whether it answered. The member learns from it."""
        prefix = int(self._draw() * PREFIX_SPACE).to_bytes(4)
        if not member.client.google:
            try:
                await member.client.search([prefix], timeout_s=self._attempt_timeout_s * PATIENCE)
            except ServerFailure as failure:
                member.failed(failure, share)
                return False
        answer = await member.ask([prefix], share, self._attempt_timeout_s)
        return not isinstance(answer, ServerFailure)

    async def aclose(self) -> None:
        """Stop all probes."""
        await self._tasks.aclose()

    async def _until_healthy(self, member: TierMember) -> None:
        try:
            while (probe_at := member.probe_at) is not None and member in self._members():
                await asyncio.sleep(max(MIN_SLEEP_S, probe_at - self._monotonic()))
                if member.begin_probe():
                    slowed = [share for share in Share if member.pace.slowed(share)]
                    await self.probe(member, slowed[0] if slowed else Share.BROWSING)
        finally:
            self._watched.discard(member)

    async def _heartbeat(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s * (0.75 + 0.5 * self._draw()))
            now = self._monotonic()
            idle = [
                member
                for member in self._members()
                if member.healthy
                and not member.client.google
                and (member.heard_at is None or now - member.heard_at >= every_s / 2)
            ]
            await asyncio.gather(*(self._make_sure(member) for member in idle))

    async def _make_sure(self, member: TierMember) -> None:
        """Probe once; a server that fails is asked until it answers or its circuit opens.

        Else an outage shorter than several heartbeats would pass unseen here, and what the traffic flagged
        meanwhile would wait for its schedule instead of being looked at when the server is back.
        """
        while not await self.probe(member) and member.healthy:  # noqa: ASYNC110 - nobody else would notice
            await asyncio.sleep(AGAIN_S)
