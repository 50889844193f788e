"""`proxy.yaml`, whole."""

import os
import re
import socket
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from secondlook.config.gateway import GatewaySettings
from secondlook.config.query import (
    ActionsSettings,
    CacheSettings,
    PatternSettings,
    PolicySettings,
    RecheckSettings,
    ServersSettings,
)
from secondlook.config.record import (
    BlockPageSettings,
    LedgerSettings,
    LogSettings,
    NotifySettings,
    notify_from,
)
from secondlook.config.scan import ScanSettings
from secondlook.config.service import RULES, FeedSettings
from secondlook.config.traffic import (
    ClientsSettings,
    DownloadsSettings,
    MitmproxySettings,
    PassthroughSettings,
    ReviewSettings,
    TrafficLimitsSettings,
    UpstreamProxySettings,
    review_from,
)
from secondlook.config.value import (
    FilePath,
    ListenAddresses,
    Quoted,
    Seconds,
    Section,
    Token,
    check_names,
    expected,
    parse_address,
    problem,
    section,
    short_for,
)
from secondlook.core.tls_exception import Lasting

MULTI_WORKER_MODES = ("regular", "upstream", "reverse", "socks5", "transparent")
SINGLE_WORKER_MODES = ("wireguard", "local", "tun", "dns")
NO_PROXY = "none"  # the service and gate workers alone
LONGEST_NAME = 64
MOST_WORKERS = 64
_MODE = re.compile(r"(?P<name>[a-z0-9]+)(?::(?P<data>.+))?")


def _mode(raw: object) -> str:
    names = ", ".join((*MULTI_WORKER_MODES, *SINGLE_WORKER_MODES))
    what = f"a mitmproxy mode ({names}), such as regular or upstream:http://proxy:3128, or {NO_PROXY}"
    if raw == NO_PROXY:
        return NO_PROXY
    name, at, _ = raw.partition("@") if isinstance(raw, str) else ("", "", "")
    if at and name.partition(":")[0] in MULTI_WORKER_MODES:
        raise expected("a mode without its own listen address (@…): use listen")
    found = _MODE.fullmatch(raw.strip()) if isinstance(raw, str) else None
    if found is None or found["name"] not in (*MULTI_WORKER_MODES, *SINGLE_WORKER_MODES):
        raise expected(what)
    if found["name"] in {"upstream", "reverse"} and not found["data"]:
        raise expected(f"{found['name']}: with a target, such as {found['name']}:https://example.org")
    return found[0]


def _name(raw: object) -> str:
    if not isinstance(raw, str) or not 0 < len(raw) <= LONGEST_NAME or not raw.isprintable():
        raise expected(f"a name of 1 to {LONGEST_NAME} printable characters")
    return str(raw)


def _workers(raw: object) -> object:
    if raw is None or raw == "auto":
        return None
    if isinstance(raw, bool | Quoted) or not (isinstance(raw, int) or str(raw).isdecimal()):
        raise expected("a number of worker processes, or auto")
    return raw


class Settings(Section):
    """What a proxy does and with which parts; `state` is absolute once loaded from a file."""

    listen: ListenAddresses = (parse_address("127.0.0.1:8080"),)
    mode: Annotated[str, BeforeValidator(_mode)] = "regular"
    workers: Annotated[Annotated[int, Field(ge=1, le=MOST_WORKERS)] | None, BeforeValidator(_workers)] = (
        None  # auto
    )
    hung_after: Annotated[Seconds, Field(ge=5, le=600)] = 25.0  # of silence of a process that was ready
    name: Annotated[str, BeforeValidator(_name)] | None = None  # the host's
    state: FilePath = Path("state")
    review: Annotated[ReviewSettings, BeforeValidator(review_from)] = section()
    servers: ServersSettings = section()
    cache: CacheSettings = section()
    pattern: PatternSettings = section()
    feeds: tuple[FeedSettings, ...] = ()
    policy: PolicySettings = section()
    downloads: DownloadsSettings = section()
    scan: ScanSettings = section()
    limits: TrafficLimitsSettings = section()
    recheck: RecheckSettings = section()
    actions: ActionsSettings = section()
    log: LogSettings = section()
    passthrough: Annotated[PassthroughSettings, short_for("hosts", list, tuple)] = section()
    notify: Annotated[NotifySettings, BeforeValidator(notify_from)] = section()
    block_page: BlockPageSettings = section()
    ledger: Annotated[LedgerSettings, short_for("url", str)] = section()
    gateway: Annotated[GatewaySettings, short_for("enabled", bool)] = section()
    clients: ClientsSettings | None = None
    upstream_proxy: Annotated[UpstreamProxySettings | None, short_for("url", str)] = None
    ca: Literal["ecdsa", "rsa"] = "ecdsa"  # kind of the keys of a new authority and of certificates for sites
    via: Token | None = None  # the name of this proxy in `Via` (RFC 9110, 7.6.3)
    mitmproxy: MitmproxySettings = section()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        check_names("feeds", [feed.name for feed in self.feeds])
        outside = [address for address in self.listen if not address.loopback and self.proxies]
        if outside and self.clients is None:
            raise problem(
                "listen",
                "expected `clients` to name who may use the proxy from other machines, as "
                f"{outside[0]} is open to the network (such as clients: {{networks: [192.168.0.0/16]}})",
            )
        if outside and self.clients is not None and not (self.clients.networks or self.clients.can_sign_in):
            raise problem("clients", "expected networks or users that may use the proxy from other machines")
        if not (self.proxies or self.gateway.enabled):
            raise problem(
                "mode", f"expected gateway.enabled: true with mode: {NO_PROXY}: nothing would be served"
            )
        if self.clients is not None and not self.gateway.enabled:  # which names users of its own
            self.clients.check_users()
        if self.feeds and not self.servers.embedded.enabled:
            raise problem("feeds", "expected servers.embedded: true: feeds are read by the embedded server")
        return self

    def may_pass_unknown(self, client: str | None, user: str | None, port: int) -> bool:
        """Return whether what is neither TLS nor HTTP may run through a tunnel.

        Where nothing is set: yes for a proxy of this machine alone, no for one that others share.
        """
        group = self.clients.group_of(client, user) if self.clients is not None else None
        chosen = group.unknown.of(port) if group is not None else None
        chosen = chosen or self.passthrough.unknown.of(port)
        shared = self.clients is not None and bool(self.clients.networks or self.clients.can_sign_in)
        return chosen == "allow" if chosen is not None else not shared

    @property
    def passages(self) -> Lasting:
        """How long TLS is passed through that was learned, or that a client lets pass."""
        learn, override = self.passthrough.learn, self.policy.override
        return Lasting(
            learned_s=learn.duration if learn.enabled else 0.0,
            excepted_s=override.duration if override.unopened else 0.0,
        )

    @property
    def proxy_name(self) -> str:
        """What this proxy is called among others."""
        return self.name or socket.gethostname()

    @property
    def shares_ledger(self) -> bool:
        """Whether other proxies may write the same ledger."""
        return self.ledger.url != "default"

    @property
    def rule_feeds(self) -> tuple[tuple[str, Path], ...]:
        """Names of the feeds that bring YARA rules, and the folders where those lie."""
        folder = self.state / "server" / "feeds" / "rules"  # `server.feeds.rules`
        return tuple(
            (feed.name, folder / feed.name) for feed in self.feeds if feed.enabled and feed.format == RULES
        )

    @property
    def looking(self) -> ScanSettings:
        """The engines, with the rules of feeds among those of YARA."""
        if not self.rule_feeds:
            return self.scan
        rules = (*self.scan.yara.rules, *(path for _, path in self.rule_feeds))
        return self.scan.model_copy(update={"yara": self.scan.yara.model_copy(update={"rules": rules})})

    @property
    def mode_name(self) -> str:
        """The mode without its target."""
        return self.mode.partition(":")[0]

    @property
    def proxies(self) -> bool:
        """Whether there is a proxy at all, not only gate workers."""
        return self.mode != NO_PROXY

    @property
    def authority(self) -> Path:
        """The certificate of the authority, as clients get it; the file is there once the proxy ran."""
        return self.state / "ca" / "mitmproxy-ca-cert.pem"

    @property
    def gateway_socket(self) -> Path:
        """Where helpers of a gateway connect to."""
        return self.gateway.socket or self.state / "gateway.sock"

    @property
    def judging_count(self) -> int:
        """How many processes judge traffic."""
        return self.worker_count + (self.gateway.workers if self.gateway.enabled else 0)

    @property
    def worker_count(self) -> int:
        """How many workers run: as many as set, else one for each core; one where the mode allows one."""
        if not self.proxies:
            return 0
        if self.mode_name not in MULTI_WORKER_MODES:
            return 1
        if self.workers is not None:
            return self.workers
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return min(cores, MOST_WORKERS)
