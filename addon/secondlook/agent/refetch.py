"""Fetching a flagged download again, to judge it by its content (`recheck.refetch`, off by default).

The result may confirm, never clear: an origin can show a clean file to us. So:

- GET without cookies, credentials or referrer;
- to public addresses only: every address that a name resolves to is looked at, at each redirect again,
  and the connection goes to the very address that was looked at;
- http and https on their own ports only; at most so many redirects, bytes and seconds, in all.
"""

import asyncio
import hashlib
import ipaddress
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import httpx

from secondlook.core.address import AddressClass, classify
from secondlook.core.subject import FileSubject
from secondlook.errors import SecondLookError

logger = logging.getLogger(__name__)

type Address = ipaddress.IPv4Address | ipaddress.IPv6Address
type Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]

_PORTS = {"http": 80, "https": 443}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {"User-Agent": "Mozilla/5.0 (compatible)", "Accept": "*/*", "Accept-Encoding": "identity"}


class RefetchError(SecondLookError):
    """A URL was not fetched again; the message says why."""


async def resolve(host: str, port: int) -> list[Address]:
    """Give every address of a host, by the system's resolver; raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(str(address[0]).partition("%")[0]) for *_, address in found]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one fetch may take, redirects included."""

    max_bytes: int = 64 << 20
    timeout_s: float = 30.0
    redirects: int = 5


class Refetcher:
    """Fetches URLs again. `resolver` and `allowed` (whether an address may be contacted) are for tests."""

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        resolver: Resolve = resolve,
        allowed: Callable[[Address], bool] | None = None,
        ports: dict[str, int] | None = None,
        verify: ssl.SSLContext | None = None,
    ) -> None:
        self._limits = limits or Limits()
        self._resolve = resolver
        self._allowed = allowed or is_public
        self._ports = ports or _PORTS
        self._verify = verify

    async def fetch(self, url: str) -> FileSubject:
        """Fetch a URL and give its content as a subject; raises RefetchError."""
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                return await self._follow(url)
        except TimeoutError:
            raise RefetchError(f"not fetched within {self._limits.timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise RefetchError(f"not fetched: {type(error).__name__}: {error}") from error

    async def _follow(self, url: str) -> FileSubject:
        # cookies and proxies of the environment stay out; each hop gets a client of its own
        for _ in range(self._limits.redirects + 1):
            async with httpx.AsyncClient(
                trust_env=False,
                follow_redirects=False,
                verify=self._verify or True,
                timeout=self._limits.timeout_s,
            ) as client:
                request = await self._request(client, url)
                response = await client.send(request, stream=True)
                try:
                    if response.status_code not in _REDIRECTS:
                        return await self._read(response)
                    location = response.headers.get("location")
                finally:
                    await response.aclose()
            if not location:
                raise RefetchError("a redirect that leads nowhere")
            url = urljoin(url, location)
        raise RefetchError(f"more than {self._limits.redirects} redirects")

    async def _request(self, client: httpx.AsyncClient, url: str) -> httpx.Request:
        """Build the request to the address that was looked at, under the name that was asked for."""
        parts = urlsplit(url)
        if parts.scheme not in self._ports or not parts.hostname:
            raise RefetchError(f"not fetched: {parts.scheme or 'no'} scheme")
        port = parts.port or self._ports[parts.scheme]
        if port != self._ports[parts.scheme]:
            raise RefetchError(f"not fetched: port {port}")
        addresses = await self._resolve(parts.hostname, port)
        if not addresses:
            raise RefetchError("the host has no address")
        refused = [address for address in addresses if not self._allowed(address)]
        if refused:
            raise RefetchError(f"not fetched: {refused[0]} is not a public address")
        address = addresses[0]
        shown = f"[{address}]" if address.version == _IPV6 else str(address)
        target = parts._replace(netloc=f"{shown}:{port}", fragment="")
        return client.build_request(
            "GET",
            target.geturl(),
            headers={**_HEADERS, "Host": parts.netloc.rpartition("@")[2]},
            extensions={"sni_hostname": parts.hostname},
        )

    async def _read(self, response: httpx.Response) -> FileSubject:
        if not response.is_success:
            raise RefetchError(f"not fetched: status {response.status_code}")
        digest, size = hashlib.sha256(), 0
        async for chunk in response.aiter_raw():
            size += len(chunk)
            if size > self._limits.max_bytes:
                raise RefetchError(f"longer than {self._limits.max_bytes} bytes")
            digest.update(chunk)
        return FileSubject((digest.digest(),), size=size)


_IPV6 = 6


def is_public(address: Address) -> bool:
    """Whether an address lies in the public internet, whatever it is wrapped in."""
    return classify(address) is AddressClass.PUBLIC
