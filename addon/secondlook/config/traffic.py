"""Settings of the proxy's edge: downloads, clients, passed-through hosts, mitmproxy's own options."""

import ipaddress
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator

from secondlook.config.ldap import LdapSettings
from secondlook.config.query import Level, Mode, PolicySettings, UnverifiableSettings
from secondlook.config.value import (
    MAX_PORT,
    AuthorityFile,
    BaseUrl,
    Bytes,
    Count,
    FilePath,
    Host,
    Listen,
    Network,
    PasswordHash,
    Positive,
    Seconds,
    Secret,
    Section,
    Share,
    SomeSeconds,
    Switch,
    Text,
    check_names,
    false_is_empty,
    parse_address,
    problem,
    section,
)
from secondlook.core.ldap_text import user_name

FEWEST_HEAD_LINES = 100  # browsers send 30
SMALLEST_HEAD_BYTES = 4096  # one cookie may be as long


class ArchiveSettings(Section):
    """Looking inside archives, in bounded depth, number, size and time."""

    enabled: Switch = True
    depth: Count = 3
    members: Positive = 10_000
    max_bytes: Bytes = 256 << 20  # unpacked, of one archive
    time: SomeSeconds = 5.0


class DownloadsSettings(Section):
    """The download check."""

    folders: tuple[FilePath, ...] = ()  # where the second look searches for a bad file
    hold: Literal["tail", "full"] = "tail"
    hold_up_to: Bytes = 16 << 20  # risky files of known length up to this are held whole
    tail_min: Bytes = 64 << 10
    tail_part: Share = 0.01  # of the length; the larger of the two is withheld
    local_up_to: Bytes = 256 << 10  # harmless-looking bodies up to this are looked up before they go on
    sniff: Bytes = 4096  # first bytes that show the type
    patience: Seconds = 5.0  # without a byte, before a held body begins to trickle; 0: never
    spool_max: Bytes = 4 << 30  # disk used for held files, of all workers
    spool_memory: Bytes = 1 << 20  # of one held file, before it goes to disk
    decoded_ratio: Positive = 1000  # of a Content-Encoding
    decoded_layers: Positive = 4
    partial: Literal["flag", "block"] = "flag"  # a risky piece of a file nobody has seen whole
    reblock: Seconds = 600.0  # the URL of a bad file is refused so long
    ranges: Switch = True  # risky files are asked for whole
    archives: Annotated[ArchiveSettings, BeforeValidator(false_is_empty)] = section()


class TrafficLimitsSettings(Section):
    """How much of the machine a client or an origin may take."""

    head: Annotated[Bytes, Field(ge=SMALLEST_HEAD_BYTES)] = 256 << 10  # of a message, as it is on the wire
    head_lines: Annotated[Positive, Field(ge=FEWEST_HEAD_LINES)] = 1000
    head_time: SomeSeconds = 30.0  # from the first byte of a head to its last
    connections: Positive = 4096  # of clients, in each worker; fewer where descriptors do not suffice
    connections_per_address: Positive = 1024  # in each worker; of IPv6: of one /64


def _filled(raw: object) -> object:
    """Leave out what has no value, as the settings page writes what a group gives up."""
    return {name: value for name, value in raw.items() if value is not None} if isinstance(raw, dict) else raw


class GroupPolicy(Section):
    """What a group of clients does differently; what is not named stays as in `policy`."""

    level: Level | None = None
    block_untested: Switch | None = None
    unverifiable: Annotated[
        dict[Literal["page", "subresource", "download", "malformed"], Literal["flag", "block"]],
        BeforeValidator(_filled),
    ] = Field(default_factory=dict)
    mode: Mode | None = None
    override: Switch | None = None

    def over(self, base: PolicySettings) -> PolicySettings:
        """Lay this group's differences over the common policy."""
        return base.model_copy(
            update={
                "level": self.level or base.level,
                "block_untested": base.block_untested if self.block_untested is None else self.block_untested,
                "unverifiable": UnverifiableSettings(**(base.unverifiable.model_dump() | self.unverifiable)),
                "mode": self.mode or base.mode,
                "override": base.override
                if self.override is None
                else base.override.model_copy(update={"enabled": self.override}),
            }
        )


class GroupRules(Section):
    """Rules of one group, written like those of `secondlook allow` and `block`."""

    allow: tuple[Text, ...] = ()
    block: tuple[Text, ...] = ()


type Leave = Literal["allow", "block"]
type Port = Annotated[int, Field(ge=1, le=MAX_PORT)]


class UnknownSettings(Section):
    """What becomes of a tunnel that is neither TLS nor HTTP: for its port, else for all."""

    otherwise: Leave | None = None
    ports: dict[Port, Leave] = Field(default_factory=dict)

    def of(self, port: int) -> Leave | None:
        """Return what is set for a port; None: nothing."""
        return self.ports.get(port, self.otherwise)


def unknown_from(raw: object) -> object:
    """Let a word stand for all ports, and nothing for nothing given."""
    return {"otherwise": raw} if isinstance(raw, str) else raw or {}


type Unknown = Annotated[UnknownSettings, BeforeValidator(unknown_from)]


class Group(Section):
    """Clients with their own policy and rules."""

    name: Text
    networks: tuple[Network, ...] = ()
    users: tuple[Text, ...] = ()
    policy: GroupPolicy = section()
    unknown: Unknown = section()  # before `passthrough.unknown`
    rules: GroupRules = section()


def _as_kept(client: str) -> str:
    try:
        return str(ipaddress.ip_address(client))
    except ValueError:
        return client  # a user


class ClientsSettings(Section):
    """Who may use the proxy. Without networks: this machine alone."""

    networks: tuple[Network, ...] = ()
    balancers: tuple[Network, ...] = ()  # load balancers, which name by PROXY protocol or header who asks
    users: dict[str, PasswordHash] = Field(default_factory=dict)  # name: Argon2 hash
    ldap: LdapSettings | None = None  # further ones; those above win
    groups: tuple[Group, ...] = ()
    names: dict[str, Text] = Field(default_factory=dict)  # of an address or a user, for the review page

    @model_validator(mode="after")
    def _groups_differ(self) -> Self:
        check_names("groups", [group.name for group in self.groups])
        return self

    @model_validator(mode="after")
    def _names_are_of_one(self) -> Self:
        for client in self.names:
            if "/" in client:
                raise problem(
                    f"names.{client}", f"expected the address of one client or a user, got {client}"
                )
        return self

    @property
    def called(self) -> dict[str, str]:
        """Names by user, or by address as the ledger writes it."""
        return {_as_kept(client): name for client, name in self.names.items()}

    @property
    def can_sign_in(self) -> bool:
        """Whether there are users."""
        return bool(self.users) or self.ldap is not None

    def check_users(self) -> None:
        """See that who is in a group can log in. Raise PydanticCustomError."""
        for index, group in enumerate(self.groups):
            for user in group.users:
                if user in self.users or (self.ldap is not None and user == user_name(user)):
                    continue
                more = "" if self.ldap is None else ", or one of the directory in lower case"
                raise problem(
                    f"clients.groups.{index}.users",
                    f"expected a user named in clients.users{more}, got {user}",
                )

    def group_of(self, client: str | None, user: str | None) -> Group | None:
        """Find the first group that holds this user, else this IP address."""
        for group in self.groups:
            if user is not None and user in group.users:
                return group
        if client is not None:
            address = ipaddress.ip_address(client)
            for group in self.groups:
                if any(address in ipaddress.ip_network(network) for network in group.networks):
                    return group
        return None


class LearnSettings(Section):
    """Hosts whose programs refuse our certificate are passed through for a while, visibly."""

    enabled: Switch = False
    failures: Positive = 3
    within: SomeSeconds = 300.0
    duration: SomeSeconds = 86_400.0


class PassthroughSettings(Section):
    """Hosts whose TLS is not opened; their names are checked all the same."""

    hosts: tuple[Host, ...] = ()
    learn: Annotated[LearnSettings, BeforeValidator(false_is_empty)] = section()
    unknown: Unknown = section()


class TlsFiles(Section):
    """A certificate and its private key, PEM."""

    cert: FilePath
    key: FilePath

    @model_validator(mode="after")
    def _fit(self, info: ValidationInfo) -> Self:
        """Try the files where they are about to be served from: other commands may not read the key."""
        if not (info.context or {}).get("serving"):
            return self
        for key, path, marks, what in (
            ("cert", self.cert, ("-----BEGIN CERTIFICATE-----",), "a certificate"),
            ("key", self.key, ("-----BEGIN ", "PRIVATE KEY-----"), "a private key"),
        ):
            try:
                text = path.read_text(encoding="utf-8", errors="replace")
            except OSError as error:
                raise problem(key, f"cannot read {path}: {error.strerror or error}") from None
            if not all(mark in text for mark in marks):
                raise problem(key, f"expected {what} in PEM, found none in {path}")
        import ssl  # noqa: PLC0415 - slow to import, and only what serves needs it

        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.cert, self.key, password="")
        except (ssl.SSLError, ValueError) as error:
            if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
                raise problem("key", f"{self.key} is not the key of the certificate {self.cert}") from None
            raise problem(
                "key", f"cannot use {self.key} with {self.cert}: damaged, or locked by a passphrase"
            ) from None
        return self


class ReviewSettings(Section):
    """The review page."""

    enabled: Switch = True
    listen: Listen = parse_address("127.0.0.1:8081")
    password: PasswordHash | None = None  # Argon2 hash; needed off loopback
    tls: TlsFiles | None = None
    settings: Switch = True  # whoever is signed in may change lists and policy in the file

    @model_validator(mode="after")
    def _open_only_behind_password_and_tls(self) -> Self:
        if not self.listen.loopback and (self.password is None or self.tls is None):
            raise problem(
                "listen",
                f"expected a loopback address, got {self.listen}: the review page on a network needs "
                "review.password and review.tls",
            )
        return self


def review_from(raw: object) -> object:
    """Let an address, or `false`, stand for the section."""
    return {"listen": raw} if isinstance(raw, str) else false_is_empty(raw)


class UpstreamProxySettings(Section):
    """A proxy for our own queries, feeds and notices."""

    url: BaseUrl
    user: Text | None = None
    password: Secret | None = None
    ca: AuthorityFile | None = None


type TlsVersion = Literal["UNBOUNDED", "SSL3", "TLS1", "TLS1_1", "TLS1_2", "TLS1_3"]


class MitmproxySettings(Section):
    """mitmproxy's own options that switch no check off; every other one is refused."""

    ssl_insecure: Switch | None = None
    ssl_verify_upstream_trusted_ca: AuthorityFile | None = None
    ssl_verify_upstream_trusted_confdir: FilePath | None = None
    upstream_cert: Switch | None = None
    add_upstream_certs_to_client_chain: Switch | None = None
    client_certs: FilePath | None = None
    request_client_cert: Switch | None = None
    certs: tuple[Text, ...] | None = None
    cert_passphrase: Secret | None = None
    ciphers_client: Text | None = None
    ciphers_server: Text | None = None
    tls_version_client_min: TlsVersion | None = None
    tls_version_client_max: TlsVersion | None = None
    tls_version_server_min: TlsVersion | None = None
    tls_version_server_max: TlsVersion | None = None
    tls_ecdh_curve_client: Text | None = None
    tls_ecdh_curve_server: Text | None = None
    http2: Switch | None = None
    http2_ping_keepalive: Count | None = None
    upstream_auth: Secret | None = None
    keep_host_header: Switch | None = None
    normalize_outbound_headers: Switch | None = None
    validate_inbound_headers: Switch | None = None
    connect_addr: Text | None = None
    dns_name_servers: tuple[Text, ...] | None = None
    dns_use_hosts_file: Switch | None = None

    def given(self) -> dict[str, object]:
        """Return the options that are set, as mitmproxy's option manager takes them."""
        values: dict[str, object] = {}
        for name, value in self.model_dump(exclude_none=True).items():
            if isinstance(value, tuple):
                values[name] = list(value)
            elif isinstance(value, bool | int | str):
                values[name] = value
            else:
                values[name] = str(value)
        return values


INSTEAD_OF_MITMPROXY_OPTION = {
    "key_size": "ca",
    "ignore_hosts": "passthrough",
    "allow_hosts": "passthrough",
    "tcp_hosts": "passthrough",
    "udp_hosts": "passthrough",
    "mode": "mode",
    "listen_host": "listen",
    "listen_port": "listen",
    "confdir": "state",
    "proxyauth": "clients.users",
    "block_global": "clients.networks",
    "block_private": "clients.networks",
    "stream_large_bodies": "downloads.hold_up_to",
    "body_size_limit": "downloads",
    "block_list": "`secondlook block`",
    "save_stream_file": "log",
    "termlog_verbosity": "log",
}
