"""Servers over time: the service looks at what it knows of each, counts answers, and tells misfits."""

import asyncio
from collections.abc import Sequence

from secondlook.agent.pattern.alerts import PatternAlerts
from secondlook.ground.program_name import typed
from secondlook.ledger.log.counts import Counts
from secondlook.lookup.failure import UNTRUSTED
from secondlook.lookup.tiered import MemberStatus, TieredLookup

EVERY_S = 15.0
ANSWERING = frozenset({"closed", "slowed"})


async def watch_servers(lookup: TieredLookup, counts: Counts, alerts: PatternAlerts) -> None:
    """Count looks, and keep the alerts about what does not fit, until cancelled."""
    while True:
        servers = lookup.status()
        count_looks(servers, counts)
        alerts.note_misfits(misfits(servers))
        await asyncio.sleep(EVERY_S)


def count_looks(servers: Sequence[MemberStatus], counts: Counts) -> None:
    """Count one look at each server; one that is not asked from here, or was not asked yet, is left out."""
    for server in servers:
        asked = server.answered or server.problem is not None or server.state != "closed"
        if asked and server.state != "away":
            counts.look(server.name, answered=server.state in ANSWERING)


def misfits(servers: Sequence[MemberStatus]) -> dict[str, str]:
    """Return by server why asking it is in vain until somebody mends that: its certificate, token, address.

    Also of one that is away: the refused certificate of the only server of an intranet is why it counts as
    that. What it failed with last decides, as a guest's network may answer in its place for a moment.
    """
    return {
        server.name: (
            f"the running processes cannot use {server.name}: {server.problem}; {_way_out(server.problem)}"
        )
        for server in servers
        if server.problem is not None and server.problem == server.lost
    }


def _way_out(problem: str) -> str:
    reload = f"`{typed('reload')}`"
    if problem.startswith(UNTRUSTED):
        return (
            f"put its certificate, or the authority of it, into the file of its `ca`, and {reload} has it "
            "tried at once; or give the server a certificate that is trusted here"
        )
    return f"see its address and its token or key in the settings, then {reload}"
