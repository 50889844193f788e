"""Settings of a directory whose users may sign in beside those of the file."""

import re
from typing import Annotated, NamedTuple, Self

from pydantic import AfterValidator, model_validator

from secondlook.config.value import (
    MAX_PORT,
    AuthorityFile,
    Seconds,
    Secret,
    Section,
    SomeSeconds,
    Switch,
    Text,
    expected,
    problem,
)
from secondlook.core.ldap_text import USER, in_filter
from secondlook.core.url.address import is_loopback

_URI = re.compile(
    r"(ldaps?)://(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::(\d{1,5}))?/?", re.ASCII | re.IGNORECASE
)
_PORTS = {"ldap": 389, "ldaps": 636}


class Place(NamedTuple):
    """Where a directory listens, and whether it speaks TLS from the first byte on."""

    host: str
    port: int
    tls: bool


def _place(uri: str) -> Place | None:
    found = _URI.fullmatch(uri)
    if found is None:
        return None
    scheme = found[1].lower()
    port = int(found[4] or _PORTS[scheme])
    return Place(found[2] or found[3], port, scheme == "ldaps") if 0 < port <= MAX_PORT else None


def _uri(raw: str) -> str:
    if _place(raw) is None:
        raise expected("an address such as ldaps://ldap.example.org or ldap://127.0.0.1:389")
    return raw


class LdapSearch(Section):
    """How the entry of a user is found whose name is no part of a common distinguished name."""

    base: Text
    filter: Text = "(uid={user})"
    bind_dn: Text | None = None  # who may search; without it: anybody
    password: Secret | None = None  # of that one

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        from sansldap import LDAPFilter  # noqa: PLC0415 - few have a directory

        if USER not in self.filter:
            raise problem("filter", f"expected {USER} in the filter, such as (uid={USER})")
        try:
            LDAPFilter.from_string(in_filter(self.filter, "a"))
        except ValueError as error:
            raise problem("filter", f"expected a filter of LDAP such as (uid={USER}): {error}") from None
        if (self.bind_dn is None) != (self.password is None):
            raise problem("bind_dn", "expected both bind_dn and password, or neither")
        return self


class LdapSettings(Section):
    """A directory (LDAP)."""

    uri: Annotated[str, AfterValidator(_uri)]
    starttls: Switch = False
    ca: AuthorityFile | None = None  # default: what this machine trusts
    bind: Text | None = None  # distinguished name with {user}; or:
    search: LdapSearch | None = None
    timeout: SomeSeconds = 3.0  # for one question, from the connection on
    remember: Seconds = 600.0  # a right password, without asking again
    stale: Seconds = 28_800.0  # one that was right goes on so long while the directory is away

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.place.tls and self.starttls:
            raise problem(
                "starttls", "expected ldap:// with starttls: ldaps:// is TLS from the first byte on"
            )
        if not (self.encrypted or is_loopback(self.place.host)):
            raise problem(
                "uri",
                f"expected ldaps://, or starttls: true: passwords would go to {self.place.host} in the clear",
            )
        if (self.bind is None) == (self.search is None):
            raise problem("bind", "expected either bind or search: how the entry of a user is found")
        if self.bind is not None and self.bind.count(USER) != 1:
            raise problem("bind", f"expected {USER} once, such as uid={USER},ou=people,dc=example,dc=org")
        return self

    @property
    def place(self) -> Place:
        """Where it listens."""
        place = _place(self.uri)
        assert place is not None
        return place

    @property
    def encrypted(self) -> bool:
        """Whether passwords go by TLS."""
        return self.place.tls or self.starttls
