"""Settings of the query process: servers, cache, pattern, policy, second look, actions."""

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from secondlook.config.value import (
    AuthorityFile,
    BaseUrl,
    Bytes,
    Count,
    Host,
    HttpUrl,
    Network,
    Positive,
    Seconds,
    Secret,
    Section,
    Share,
    SomeSeconds,
    Switch,
    Text,
    problem,
    section,
    short_for,
)
from secondlook.core.answer import EMBEDDED, Tier
from secondlook.core.url.address import is_loopback
from secondlook.core.verdict import SubjectClass

GOOGLE_HOST = "safebrowsing.googleapis.com"
_PUBLIC_KEY = re.compile(r"\s*(?:[0-9a-fA-F]{64}|[A-Za-z0-9+/]{43}=)\s*", re.ASCII)


_SWITCHED = short_for("enabled", bool, str)


class RemoteServer(Section):
    """One Smart Protection Server: an own one, or Google Safe Browsing v5 (`kind: google`)."""

    url: BaseUrl
    name: Text | None = None  # shown in log and status; default: host and port of the URL
    kind: Literal["second_look", "google"] | None = None  # default: google for Google's host
    key: Secret | None = (
        None  # own server: Ed25519 public key (hex or base64) of its publisher; google: API key
    )
    token: Secret | None = None  # client token, where the server asks for one
    insecure: Switch = False  # http:// to another machine is refused without it
    ca: AuthorityFile | None = None  # PEM file of the authority that signed the server's certificate
    fresh_for: Seconds = 0.0  # a mirrored list answers without a query for so long
    trusted_allow: Switch = False  # its known-good lists count

    @property
    def label(self) -> str:
        """The name shown to people."""
        return self.name or urlsplit(self.url).netloc

    @property
    def google(self) -> bool:
        """Whether Google's conditions of use bind us."""
        return self.kind == "google" or (self.kind is None and urlsplit(self.url).hostname == GOOGLE_HOST)

    @model_validator(mode="after")
    def _plain_http_stays_here(self) -> Self:
        parts = urlsplit(self.url)
        if parts.scheme == "http" and not self.insecure and not is_loopback(parts.hostname or ""):
            raise problem(
                "url", f"expected https:// for another machine, got {self.url} (or set insecure: true)"
            )
        if self.google and self.key is None:
            raise problem("key", "expected the API key of Google Safe Browsing, such as key: ${GSB_KEY}")
        if not self.google and self.key is not None and not _PUBLIC_KEY.fullmatch(self.key):
            raise problem(
                "key",
                "expected the Ed25519 public key of its publisher (`secondlook server status` shows it): "
                "64 hex digits, or base64 of 32 bytes",
            )
        return self


class Reference(Section):
    """A place that answers only on the intranet: a web address over verified TLS."""

    url: HttpUrl
    pin: Text | None = None  # SHA-256 (hex) of the server's public key, instead of a known authority
    ca: AuthorityFile | None = None


class LocationSettings(Section):
    """How the machine knows that it is on the intranet; with nothing set: when an intranet server answers."""

    references: tuple[Reference, ...] = ()
    networks: tuple[Network, ...] = ()
    check_every: SomeSeconds = 30.0  # addresses and default route are watched besides


class CircuitSettings(Section):
    """When a server that fails is left alone, and for how long."""

    failures: Positive = 3
    backoff_min: SomeSeconds = 1.0
    backoff_max: SomeSeconds = 300.0


class EmbeddedSettings(Section):
    """The Smart Protection Server inside this program."""

    enabled: Switch = True
    trusted_allow: Switch = True


class ServersSettings(Section):
    """Whom to ask, in which order and for how long."""

    embedded: Annotated[EmbeddedSettings, _SWITCHED] = section()
    intranet: tuple[RemoteServer, ...] = ()
    network: RemoteServer | None = None
    order: Literal["listed", "random"] = "listed"
    location: LocationSettings = section()
    attempts: Positive = 3
    attempt_timeout: SomeSeconds = 0.5
    budget: SomeSeconds = 1.5
    hedge: Switch = True  # a second query when the first is slower than usual
    batch_window: Seconds = 0.002
    connections: Positive = 8  # to one server
    downloads_share: Share = 0.25  # of the connections kept free for downloads
    poll: SomeSeconds = 30.0  # how often a server is asked for its generation
    circuit: CircuitSettings = section()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        labels = [server.label for server in self.intranet]
        if len(set(labels)) != len(labels):
            raise problem("intranet", "expected servers with different names")
        return self

    @property
    def tiers(self) -> frozenset[Tier]:
        """The tiers that have a server, be it one that is not there now."""
        named = {
            Tier.LOCAL: self.embedded.enabled,
            Tier.INTRANET: bool(self.intranet),
            Tier.NETWORK: self.network is not None,
        }
        return frozenset(tier for tier, is_named in named.items() if is_named)

    @property
    def names(self) -> frozenset[str]:
        """What the servers are called in the pattern."""
        remote = (*self.intranet, *((self.network,) if self.network else ()))
        return frozenset((*((EMBEDDED,) if self.embedded.enabled else ()), *(each.label for each in remote)))


class CacheSettings(Section):
    """Answers of servers, kept in each worker."""

    size: Positive = 200_000  # prefixes
    expiry_min: Seconds = 10.0  # the server's expiry is clamped to these
    expiry_max: Seconds = 86_400.0
    stale_for: Seconds = 3600.0  # an expired answer may serve so long when nobody answers
    save_every: SomeSeconds = 300.0


class PatternSettings(Section):
    """The local signature data."""

    stale_after: Seconds = 86_400.0  # older mirrored data no longer answers in place of a query
    keep: Positive = 14  # earlier generations for rollback
    shrink: Share = 0.5  # an update smaller than this part of the last one is refused
    shrink_from: Count = 1000  # entries; smaller lists may shrink freely
    max_list: Bytes = 4 << 30
    accept_shrink: Switch = False
    may_block: tuple[Host, ...] = ()  # known-good sites that lists may block all the same


class UnverifiableSettings(Section):
    """What happens to a subject that nobody could answer about, by class."""

    page: Literal["flag", "block"] = "flag"
    subresource: Literal["flag", "block"] = "flag"
    download: Literal["flag", "block"] = "flag"
    malformed: Literal["flag", "block"] = "block"

    def of(self, cls: SubjectClass) -> Literal["flag", "block"]:
        """Return the setting of one class."""
        match cls:
            case SubjectClass.PAGE:
                return self.page
            case SubjectClass.SUBRESOURCE:
                return self.subresource
            case SubjectClass.DOWNLOAD:
                return self.download
            case SubjectClass.MALFORMED:
                return self.malformed


class OverrideSettings(Section):
    """Whether a user may pass a blocked page on, or a host's TLS that cannot be opened, and for how long."""

    enabled: Switch = True
    duration: SomeSeconds = 600.0
    unopened: Switch = True


type Level = Literal["high", "medium", "low"]
type Mode = Literal["enforce", "assess"]


class PolicySettings(Section):
    """From what is known to what is done."""

    level: Level = "medium"
    block_untested: Switch = False
    unverifiable: UnverifiableSettings = section()
    mode: Mode = "enforce"
    override: Annotated[OverrideSettings, _SWITCHED] = section()


class RefetchSettings(Section):
    """Fetching a flagged URL again, without cookies, from public addresses only."""

    enabled: Switch = False
    max_bytes: Bytes = 64 << 20
    timeout: SomeSeconds = 30.0
    redirects: Count = 5


class RecheckSettings(Section):
    """The second look."""

    first: Seconds = 60.0  # first look after flagging; doubles up to `longest`
    longest: SomeSeconds = 3600.0
    batch: Annotated[Positive, Field(le=1000)] = 1000  # prefixes in one request
    lease: SomeSeconds = 120.0
    expire_after: Seconds = 30 * 86_400.0
    history: Seconds = 7 * 86_400.0  # how long allowed subjects are remembered for late verdicts; 0: not
    refetch: Annotated[RefetchSettings, _SWITCHED] = section()


type FileAction = Literal["quarantine", "delete", "rename", "pass"]


class ActionsSettings(Section):
    """What happens when a flagged subject is confirmed malicious; blocking happens always."""

    file: FileAction = "quarantine"
    fallback: FileAction | None = None  # when `file` fails; never delete unless written here
    notify: Switch = True
