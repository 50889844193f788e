"""The operator's own hosts: this machine, and what its settings name as a server, a feed, a ledger.

Whoever lists one of them in a feed would cut a network off from what it stands on. A host that only has
to be judged in another way (`passthrough.hosts`, `log.ignore`) is none of them, nor is a service that
carries notices. Of the servers no page may be listed either; a feed may come from where many have pages.
"""

import ipaddress
import re
import socket
from collections.abc import Iterator
from contextlib import suppress

from pydantic import BaseModel

from secondlook.config.query import RemoteServer
from secondlook.config.service import UpstreamSettings
from secondlook.config.traffic import TlsFiles, UpstreamProxySettings
from secondlook.config.value import Address
from secondlook.core.url.address import is_loopback

_AUTHORITY = re.compile(r"://(?:[^/?#]*@)?([^/?#\s]+)")
_PORT = re.compile(r":[0-9]*\Z")
_NOT_OURS = frozenset({"urls", "headers"})  # of notices, and what is sent with a request


def own_hosts(settings: BaseModel) -> tuple[str, ...]:
    """Return the operator's own hosts as far as settings name them, sorted, as `feeds.known_good` reads them.

    Reads their certificates.
    """
    plain = {name for each in _named(settings) if (name := _outside(each))}
    whole = {name for each in (socket.gethostname(), *_machines(settings)) if (name := _outside(each))}
    return tuple(sorted({*(f"{host}/*" for host in whole), *(plain - whole)}))


def _named(value: object) -> Iterator[str]:
    """Yield the host of each URL in the settings."""
    if isinstance(value, str):
        for authority in _AUTHORITY.findall(value):
            for each in authority.split(","):  # a database or a Valkey Cluster has several
                yield _PORT.sub("", each)
    for each in _within(value):
        yield from _named(each)


def _machines(value: object) -> Iterator[str]:
    """Yield the hosts that serve us, and those that we serve at."""
    match value:
        case RemoteServer() | UpstreamSettings() | UpstreamProxySettings():
            yield from _named(value.url)
        case TlsFiles():
            with suppress(OSError, ValueError):  # reported by whoever serves with it
                yield from certified_names(value.cert.read_bytes())
        case Address():
            yield value.host
        case _:
            for each in _within(value):
                yield from _machines(each)


def _within(value: object) -> Iterator[object]:
    match value:
        case BaseModel():
            yield from (each for name, each in value if name not in _NOT_OURS)
        case dict():
            yield from value.values()
        case list() | tuple():
            yield from value
        case _:
            pass


def _outside(host: str) -> str | None:
    """Return a host that others can reach; None for a name without a domain, and for loopback."""
    name = host.lower().strip(".[]").removeprefix("*.")
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return None if "." not in name or is_loopback(name) else name
    return None if is_loopback(name) or address.is_unspecified else name


def certified_names(pem: bytes) -> list[str]:
    """Return the names and addresses that a certificate is for. Raises ValueError where it is none."""
    from cryptography import x509  # noqa: PLC0415 - slow to import, and only what serves TLS needs it

    extensions = x509.load_pem_x509_certificate(pem).extensions
    try:
        found = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress))]
