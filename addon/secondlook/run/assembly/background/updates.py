"""Pattern updates, put together: from which servers lists are taken, and when."""

from collections.abc import Iterator

from secondlook.agent.pattern.source import UpdateSource
from secondlook.agent.pattern.updater import PatternUpdater
from secondlook.config.query import ServersSettings
from secondlook.core.answer import EMBEDDED, GOOGLE, Tier
from secondlook.run.assembly.check.parts import Parts
from secondlook.wire.signature import read_public_key


def make_updater(parts: Parts, *, servers: ServersSettings | None = None) -> PatternUpdater:
    """Make the updater of the one process that runs it.

    `servers` are those of the settings, whose lists alone stay in force; None, as for a command, which may
    know other settings and has no embedded server: nothing is given up.
    """
    return PatternUpdater(
        list(sources_of(parts)),
        parts.settings.state,
        parts.ledger.recorder,
        parts.clock,
        parts.settings.pattern,
        poll_s=parts.settings.servers.poll,
        reachable=parts.lookup.reachable,
        servers=servers,
    )


def sources_of(parts: Parts) -> Iterator[UpdateSource]:
    """Return the servers that lists are taken from, as the lookup knows them now."""
    servers = parts.settings.servers
    for client in parts.lookup.clients(Tier.LOCAL):
        yield UpdateSource(
            name=EMBEDDED,
            tier=Tier.LOCAL,
            client=client,
            trusted_allow=servers.embedded.trusted_allow,
            announced=True,
        )
    tiers = ((Tier.INTRANET, servers.intranet), (Tier.NETWORK, (servers.network,) if servers.network else ()))
    for tier, configured in tiers:
        for server, client in zip(configured, parts.lookup.clients(tier), strict=True):
            yield UpdateSource(
                name=server.label,
                tier=tier,
                client=client,
                key=None if server.key is None or server.google else read_public_key(server.key),
                trusted_allow=server.trusted_allow,
                fresh_for_s=server.fresh_for,
                google=server.google,
                source=GOOGLE if server.google else server.label,
            )
