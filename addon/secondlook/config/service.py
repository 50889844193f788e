"""Settings of a Smart Protection Server (`server.yaml`) and of the feeds it reads."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from secondlook.config.extra import needs
from secondlook.config.query import RemoteServer
from secondlook.config.traffic import TlsFiles
from secondlook.config.value import (
    AuthorityFile,
    BaseUrl,
    Bytes,
    Count,
    FilePath,
    HttpUrl,
    ListenAddresses,
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
    expected,
    parse_address,
    problem,
    section,
)
from secondlook.core.lists.feed_format import Format

DEFAULT_SERVER_PORT = 5274
TOP_LIST = "toplist"  # the format of popular hosts, which are known to be good
STORE = re.compile(r"(?:valkey|redis|rediss|valkeys)(?:\+cluster)?://")
GUARD_FORMATS = ("auto", TOP_LIST, "warninglist")
LIST_NAME = re.compile(r"(?:mw|se|uws)(?:-hs|-s)?-8b|gc-32b|x-file-mw(?:-hs|-s)?-8b|x-file-gc-32b")


def _list_name(raw: object) -> str:
    if not isinstance(raw, str) or not LIST_NAME.fullmatch(raw):
        raise expected(
            "a list such as mw-8b, se-8b, uws-8b, mw-hs-8b, mw-s-8b, gc-32b, x-file-mw-8b or x-file-gc-32b"
        )
    return raw


def _format(raw: object) -> str:
    names = ("auto", *Format, RULES, *GUARD_FORMATS)
    if raw not in names:
        raise expected(f"a format: {', '.join(dict.fromkeys(names))}")
    return str(raw)


type ListName = Annotated[str, BeforeValidator(_list_name)]


RULES = "yara"  # the format of feeds that bring rules for the engine, and no entries


class FeedSettings(Section):
    """One list of bad (or known-good) things: from the web, a file, or shipped with the program."""

    name: Annotated[Text, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    url: HttpUrl | None = None
    path: FilePath | None = None
    builtin: Literal["test"] | None = None
    enabled: Switch = True
    list: ListName | None = None  # default: from threat, risk and what the entries are
    threat: Literal["malware", "social_engineering", "unwanted_software"] = "malware"
    risk: Literal["dangerous", "highly_suspicious", "suspicious"] = "dangerous"
    format: Annotated[str, BeforeValidator(_format)] = "auto"
    every: SomeSeconds = 3600.0
    expires: Seconds | None = None  # entries no longer seen in the feed leave after so long; default: at once
    headers: dict[str, Secret] = Field(default_factory=dict)
    max_bytes: Bytes = 512 << 20
    timeout: SomeSeconds = 120.0
    # of formats with a confidence; default: what the format's own advice is
    min_confidence: Annotated[Count, Field(le=100)] | None = None
    licence: Text | None = None
    terms: Text | None = None
    insist: Switch = False  # take entries that the known-good guard holds back
    guard: Switch = (
        False  # its hosts are known to be good: nothing is listed by it, and no other feed may block them
    )
    rank: Positive | None = None  # of a guard that is a list of popular hosts: the first so many

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(source is not None for source in (self.url, self.path, self.builtin)) != 1:
            raise problem("", "expected exactly one of url, path and builtin")
        if self.guard and (self.list is not None or self.insist or self.format not in GUARD_FORMATS):
            raise problem("guard", f"expected no list, no insist, and a format of {', '.join(GUARD_FORMATS)}")
        if self.format == RULES and (self.list is not None or self.insist):
            raise problem("format", f"expected no list and no insist: {RULES} feeds bring rules, not entries")
        if self.format == RULES and self.enabled:
            needs("yara")
        for key, alone in (("rank", self.rank is not None), ("format", self.format == TOP_LIST)):
            if alone and not self.guard:
                raise problem(key, "expected guard: true beside it")
        return self


class PublishSettings(Section):
    """How entries become a generation."""

    keep: Positive = 14  # earlier generations: for partial updates and rollback
    auto: Switch = True  # after each change of a feed
    shrink: Share = 0.5
    shrink_from: Count = 1000
    key: FilePath | None = None  # Ed25519 private key; default: made in the state folder
    listed_for: Seconds = 300.0  # cache_duration of an answer that lists something
    not_listed_for: Seconds = 60.0
    minimum_wait: Seconds = 300.0
    known_good: tuple[FilePath, ...] = ()  # lists of hosts that no entry may block
    stale_after: Seconds = 2 * 86_400.0


class ListSettings(Section):
    """One list of the server."""

    enabled: Switch = True
    complete: Switch = True  # agents that mirror it need not ask


class LimitsSettings(Section):
    """What one client may ask of the server."""

    requests: Positive = 600  # a second, of one address
    burst: Positive = 1200
    connections: Positive = 1024  # in all
    connections_per_address: Positive = 256  # a load balancer of ours may have them all
    prefixes: Annotated[Positive, Field(le=1000)] = 1000  # in one request
    headers: Bytes = 64 << 10  # with the request line
    timeout: SomeSeconds = 30.0  # until a request has come as a whole
    balancers: tuple[Network, ...] = ()  # load balancers of ours, whose X-Forwarded-For names the client


class UpstreamSettings(Section):
    """The publisher whose generations this replica serves: another server, or a static web server."""

    url: BaseUrl
    key: Secret | None = None
    token: Secret | None = None
    ca: AuthorityFile | None = None
    insecure: Switch = False
    every: SomeSeconds = 30.0

    @model_validator(mode="after")
    def _plain_http_stays_here(self) -> Self:
        RemoteServer(url=self.url, key=self.key, insecure=self.insecure)
        return self


def _store(raw: object) -> str:
    what = "files, valkey://HOST:PORT/DB, redis://… or valkey+cluster://HOST:PORT (with TLS valkeys…)"
    if not isinstance(raw, str) or not (raw == "files" or STORE.match(raw)):
        raise expected(what)
    if raw != "files":
        needs("valkey")
    return raw


def tokens_from(raw: object) -> object:
    """Let `false` mean that no token is asked for, even off loopback."""
    if isinstance(raw, bool):
        return {"required": raw}
    if isinstance(raw, dict | TokenSettings):
        return raw
    if not isinstance(raw, list | tuple):
        raise expected('a list of tokens, such as ["${TOKEN}"], or false')
    return {"values": raw}


class TokenSettings(Section):
    """Client tokens; off loopback at least one is required unless `tokens: false` says otherwise."""

    values: tuple[Secret, ...] = ()
    required: Switch | None = None


class AdminSettings(Section):
    """The administrator's page of a server."""

    password: PasswordHash  # Argon2 hash, as `secondlook password` makes it


class ServerSettings(Section):
    """`server.yaml`, whole."""

    listen: ListenAddresses = (parse_address(f"127.0.0.1:{DEFAULT_SERVER_PORT}"),)
    state: FilePath = Path("server-state")
    store: Annotated[str, BeforeValidator(_store)] = "files"
    feeds: tuple[FeedSettings, ...] = ()
    lists: dict[ListName, ListSettings] = Field(default_factory=dict)
    publish: PublishSettings = section()
    upstream: UpstreamSettings | None = None
    tls: TlsFiles | None = None
    tokens: Annotated[TokenSettings, BeforeValidator(tokens_from)] = section()
    limits: LimitsSettings = section()
    findings: Literal["auto", "ask", "off"] = (
        "ask"  # what agents report: listed, approved first, or not taken
    )
    admin: AdminSettings | None = None  # the page under /admin
    access_log: FilePath | None = None  # one JSON object a line for each request; there is no URL in it

    @model_validator(mode="after")
    def _fits(self) -> Self:
        check_names("feeds", [feed.name for feed in self.feeds])
        if any(feed.format == RULES for feed in self.feeds):
            raise problem("feeds", f"expected no {RULES} feed here: rules belong into proxy.yaml")
        outside = [address for address in self.listen if not address.loopback]
        if outside and self.tokens.required is not False and not self.tokens.values:
            raise problem(
                "listen",
                f"expected client tokens, as {outside[0]} is open to the network (or tokens: false)",
            )
        if self.admin is not None and outside and self.tls is None:
            raise problem("admin", f"expected tls, as {outside[0]} is open to the network")
        if self.admin is not None and self.upstream is not None:
            raise problem("admin", "expected none on a replica: its publisher has the page")
        if self.upstream is not None and self.feeds:
            raise problem("feeds", "expected no feeds on a replica: it serves what its upstream publishes")
        return self
