"""Fetching a flagged download again, to judge it by its content (`recheck.refetch`, off by default).

The result may confirm, never clear: an origin can show a clean file to us. So:

- GET without cookies, credentials or referrer;
- to public addresses only: every address that a name resolves to is looked at, at each redirect again,
  and the connection goes to the very address that was looked at;
- http and https on their own ports only; at most so many redirects, bytes and seconds, in all.
"""

import asyncio
import hashlib
import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import httpx

from secondlook.core.subject import FileSubject
from secondlook.core.url.canonical import WEB_PORTS
from secondlook.ground.errors import SecondLookError
from secondlook.reach import Depth, depth, get
from secondlook.resolver import Place, Resolver

logger = logging.getLogger(__name__)

type Resolve = Callable[[str], Awaitable[Sequence[Place]]]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {"User-Agent": "Mozilla/5.0 (compatible)", "Accept": "*/*", "Accept-Encoding": "identity"}


class RefetchError(SecondLookError):
    """A URL was not fetched again; the message is why."""


@dataclass(frozen=True, slots=True)
class RefetchLimits:
    """How much one fetch may take, redirects included."""

    max_bytes: int = 64 << 20
    timeout_s: float = 30.0
    redirects: int = 5


class Refetcher:
    """Fetches URLs again. `resolver` and `allowed` (whether an address may be contacted) are for tests."""

    def __init__(
        self,
        limits: RefetchLimits | None = None,
        *,
        resolver: Resolve | None = None,
        allowed: Callable[[Place], bool] | None = None,
        ports: dict[str, int] | None = None,
        verify: ssl.SSLContext | None = None,
    ) -> None:
        self._limits = limits or RefetchLimits()
        self._resolve = resolver or Resolver().places
        self._allowed = allowed or is_public
        self._ports = ports or WEB_PORTS
        self._verify = verify

    async def fetch(self, url: str) -> FileSubject:
        """Fetch a URL and give its content as a subject. Raise RefetchError."""
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                return await self._follow(url)
        except TimeoutError:
            raise RefetchError(f"not fetched within {self._limits.timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise RefetchError(f"not fetched: {type(error).__name__}: {error}") from error

    async def _follow(self, text: str) -> FileSubject:
        # cookies and proxies of the environment stay out; each hop gets a client of its own
        url = httpx.URL(text).copy_with(userinfo=b"")
        for _ in range(self._limits.redirects + 1):
            places = await self._judged(url)
            async with (
                httpx.AsyncClient(
                    trust_env=False, verify=self._verify or True, timeout=self._limits.timeout_s
                ) as client,
                get(client, url, places, _HEADERS, port=self._ports[url.scheme]) as response,
            ):
                if response.status_code not in _REDIRECTS:
                    return await self._read(response)
                location = response.headers.get("location")
            if not location:
                raise RefetchError("a redirect that leads nowhere")
            url = url.join(location).copy_with(userinfo=b"")
        raise RefetchError(f"more than {self._limits.redirects} redirects")

    async def _judged(self, url: httpx.URL) -> Sequence[Place]:
        """Return the addresses of a URL's host; all must be public. Raise RefetchError, OSError."""
        if url.scheme not in self._ports or not url.host:
            raise RefetchError(f"not fetched: {url.scheme or 'no'} scheme")
        if url.port is not None and url.port != self._ports[url.scheme]:
            raise RefetchError(f"not fetched: port {url.port}")
        places = await self._resolve(url.host)
        if not places:
            raise RefetchError("the host has no address")
        refused = [place for place in places if not self._allowed(place)]
        if refused:
            raise RefetchError(f"not fetched: {refused[0].text} is not a public address")
        return places

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


def is_public(place: Place) -> bool:
    """Return whether an address lies in the public internet, whatever it is wrapped in."""
    return depth(place) is Depth.PUBLIC
