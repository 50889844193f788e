"""Pattern updates, put together: from which servers lists are taken, and when."""

from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from secondlook.agent.pattern.source import UpdateSource
from secondlook.agent.pattern.updater import PatternUpdater
from secondlook.config import RemoteServer, ServersSettings
from secondlook.core.answer import EMBEDDED, GOOGLE, Tier
from secondlook.ground.errors import ConfigError
from secondlook.run.assembly.check.parts import Parts
from secondlook.wire.signature import read_public_key


def make_updater(parts: Parts, *, servers: ServersSettings | None = None) -> PatternUpdater:
    """Make the updater of the one process that runs it. Raises ConfigError for a key that is none.

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
                key=None if server.key is None or server.google else _key_of(server),
                trusted_allow=server.trusted_allow,
                fresh_for_s=server.fresh_for,
                google=server.google,
                source=GOOGLE if server.google else server.label,
            )


def _key_of(server: RemoteServer) -> Ed25519PublicKey:
    assert server.key is not None
    try:
        return read_public_key(server.key)
    except ValueError as error:
        raise ConfigError(
            f"servers: the key of {server.label} is not an Ed25519 public key: {error}"
        ) from None
