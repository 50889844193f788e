"""Servers over time: the service looks at what it knows of each, and counts whether it answers."""

import asyncio
from collections.abc import Sequence

from secondlook.ledger.log.counts import Counts
from secondlook.lookup.tiered import MemberStatus, TieredLookup

EVERY_S = 15.0
ANSWERING = frozenset({"closed", "slowed"})


async def watch_servers(lookup: TieredLookup, counts: Counts) -> None:
    """Count looks until cancelled."""
    while True:
        count_looks(lookup.status(), counts)
        await asyncio.sleep(EVERY_S)


def count_looks(servers: Sequence[MemberStatus], counts: Counts) -> None:
    """Count one look at each server; one that is not asked from here, or was not asked yet, is left out."""
    for server in servers:
        asked = server.answered or server.problem is not None or server.state != "closed"
        if asked and server.state != "away":
            counts.look(server.name, answered=server.state in ANSWERING)
