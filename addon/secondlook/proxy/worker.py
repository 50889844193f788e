"""A worker: the lean master, our addons and the listener, put together from settings.

`run/worker.py` builds what the proxy judges by (agent, ledger, lookup) and hands it in with the listening
sockets of the supervisor; nothing here knows how those are made.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from mitmproxy.proxy import mode_servers, mode_specs

from secondlook.agent.check.gatekeeper import Gatekeeper
from secondlook.agent.signin import RefusedPasswords
from secondlook.config.agent import Settings
from secondlook.config.traffic import ClientsSettings
from secondlook.ground.clock import SystemClock
from secondlook.ground.ulid import Identifiers
from secondlook.ledger.log.privacy import Discretion
from secondlook.proxy.access.access import Access
from secondlook.proxy.access.forwarding import Forwarding
from secondlook.proxy.access.login import Login
from secondlook.proxy.access.passthrough import Learner, Passthrough
from secondlook.proxy.access.tls_exceptions import Passages
from secondlook.proxy.access.trust import TrustSeen
from secondlook.proxy.access.unopened import Unopened
from secondlook.proxy.addon import SecondLookAddon
from secondlook.proxy.bodies import Bodies
from secondlook.proxy.connections import Connections
from secondlook.proxy.event_follower import Tail
from secondlook.proxy.late_notice import LateNotices
from secondlook.proxy.mitm.layers import GatedLayers
from secondlook.proxy.mitm.master import STREAMED_MODES, LeanMaster, make_options
from secondlook.proxy.mitm.tls.certificates import new_key
from secondlook.proxy.mitm.transport.connection_limits import Crowd, most_clients, most_origins
from secondlook.proxy.mitm.transport.dialing import Dialer
from secondlook.proxy.mitm.transport.listener import Listener
from secondlook.proxy.mitm.transport.spread import Spread
from secondlook.proxy.own_site import OwnSite
from secondlook.refusal.block_page import BlockPage, Pages
from secondlook.refusal.keeping import Keeping
from secondlook.refusal.refusal import INTERNAL_HOST, Override, Refusals
from secondlook.resolver import Resolver
from secondlook.site.internal_site import InternalSite, SiteFacts
from secondlook.site.ports import Records

logger = logging.getLogger(__name__)

WIREGUARD_CLIENT_NAME = "wireguard-client.conf"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a worker is given besides its settings.

    `site_key` is the installation's secret for the forms of the internal site; `own_ports` gives the ports of
    our own review page and server (they may move); `not_ready` gives what keeps it from protecting;
    `override_s` and `unopened_s` how long exceptions last that a client and user make for themselves;
    `list_title` what people call a list.
    """

    gatekeeper: Gatekeeper
    records: Records
    site_key: bytes
    own_ports: Callable[[], Collection[int]]
    not_ready: Callable[[], str | None]
    override_s: Override
    unopened_s: Override
    list_title: Callable[[str], str] = str
    late: Tail | None = None  # where verdicts are read that clients are shown on their next page load
    passages: Tail | None = None  # where workers learn from each other whose TLS is passed through
    on_clamd: Callable[[str | None], None] = lambda _: None  # it went away (why), or answers again


def build_addons(settings: Settings, around: Surroundings) -> tuple[Any, ...]:
    """Build our addons, in the order in which they must stand."""
    pages = Pages(settings.block_page)
    keeping = Keeping(Discretion(settings.log.privacy, settings.log.ignore))
    clients = settings.clients or ClientsSettings()
    access = Access(
        clients.networks,
        around.own_ports,
        _set_destinations(settings.mode),
        users=clients.can_sign_in,
        balancers=clients.balancers,
    )
    edge = SecondLookAddon(
        around.gatekeeper,
        access,
        Refusals(BlockPage(pages, INTERNAL_HOST, keeping, around.list_title), around.override_s),
        OwnSite(_internal_site(settings, around, pages)),
        Bodies.of_process(settings, around.gatekeeper, around.site_key, around.on_clamd),
        settings.limits,
        settings.via,
    )
    learn = settings.passthrough.learn
    clock = SystemClock()
    learner = Learner(learn.failures, learn.within, learn.duration, clock.now) if learn.enabled else None
    resolver = Resolver()
    dialer = Dialer(access, resolver, most_origins(_clients(settings)))
    connections = Connections(around.gatekeeper, access, dialer)
    login = Login(clients.users, access.is_open, edge.is_own_site, clients.ldap)
    if around.passages is not None:
        login.refused = RefusedPasswords(around.passages.record, clock, "the proxy").note
    unopened = Unopened(around.gatekeeper, settings.may_pass_unknown, resolver, login.user_of)
    passthrough = Passthrough(
        unopened,
        settings.passthrough.hosts,
        learner,
        Passages(settings.passages, around.passages, clock),
        tail=around.passages,
        keeping=keeping,
        clock=clock,
        new_id=Identifiers().new,
    )
    edge.failure_of = passthrough.event_of_failure
    if around.passages is not None:
        edge.record = around.passages.record
    late: tuple[LateNotices, ...] = ()
    if around.late is not None:
        late = (LateNotices(around.late, pages, clock, Identifiers().new, edge.is_own_site),)
    forwarding = (Forwarding(access, edge.is_own_site, login.sign_out),) if clients.balancers else ()
    trust = TrustSeen(settings.state)
    return (*forwarding, login, *late, connections, unopened, edge, passthrough, trust, GatedLayers(edge))


def _internal_site(settings: Settings, around: Surroundings, pages: Pages) -> InternalSite:
    facts = SiteFacts(
        ca_pem=settings.authority,
        key=around.site_key,
        override_s=around.override_s,
        unopened_s=around.unopened_s,
        not_ready=around.not_ready,
    )
    return InternalSite(facts, around.records, pages)


class Worker:
    """Serves the proxy on sockets that listen already; with a mode that has none, mitmproxy opens its own."""

    def __init__(
        self,
        settings: Settings,
        sockets: Sequence[socket.socket],
        around: Surroundings,
        spread: Spread | None = None,
    ) -> None:
        self._folder = settings.authority.parent  # mitmproxy's `confdir`
        self._own_loop = settings.mode_name in STREAMED_MODES
        options = make_options(
            str(self._folder),
            settings.mode,
            settings.mitmproxy.given(),
            None if self._own_loop else sockets[0].getsockname()[:2],
        )
        self.master = LeanMaster(
            options, new_key(settings.ca), own=build_addons(settings, around), serve=not self._own_loop
        )
        self.master.configure()
        changed = spread.note if spread is not None else None
        crowd = Crowd(_clients(settings), settings.limits.connections_per_address, changed)
        balancers = settings.clients.balancers if settings.clients is not None else ()
        self.listener = (
            Listener(self.master, settings.mode, sockets, crowd, balancers, spread)
            if self._own_loop
            else None
        )
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to serve. SystemExit where mitmproxy cannot open what its mode needs."""
        self._running = asyncio.get_running_loop().create_task(self.master.run(), name="master")
        if self.listener is not None:
            await self.listener.start()
            return
        started = asyncio.ensure_future(self.master.started.wait())
        await asyncio.wait((started, self._running), return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        self._write_client_configuration()

    def _write_client_configuration(self) -> None:
        """Write what a WireGuard client needs beside the keys, for its owner alone."""
        for server in self.master.proxyserver.servers:
            if isinstance(server, mode_servers.WireGuardServerInstance):
                path = self._folder / WIREGUARD_CLIENT_NAME
                path.unlink(missing_ok=True)
                path.touch(mode=0o600)
                path.write_text(f"{server.client_conf()}\n")

    async def drain(self, timeout_s: float) -> None:
        """Accept no more, let open connections end for `timeout_s`, then stop."""
        if self.listener is not None:
            await self.listener.drain(timeout_s)
        self.master.shutdown()
        if self._running is not None:
            await self._running


def _clients(settings: Settings) -> int:
    """Return how many clients a worker may serve at a time: as set, fewer where descriptors are few."""
    return min(settings.limits.connections, most_clients())


def _set_destinations(mode: str) -> list[tuple[str, int]]:
    """List the destinations that the operator wrote into the mode: an upstream proxy, a reverse target."""
    parsed = mode_specs.ProxyMode.parse(mode)
    if isinstance(parsed, mode_specs.UpstreamMode | mode_specs.ReverseMode):
        return [parsed.address]
    return []
