"""TLS settings and the httpx transport to one server."""

import functools
import importlib.metadata
import ssl
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlsplit

import httpcore
import httpx

from secondlook.config.traffic import UpstreamProxySettings
from secondlook.core.url.address import is_loopback
from secondlook.ground.trust import trust, trust_for

KEEPALIVE_S: Final = 60.0


@functools.cache  # the packages' folders are searched for it
def user_agent() -> str:
    """`secondlook <version>`, the "clientid version" that the protocol asks for."""
    try:
        return f"secondlook {importlib.metadata.version('secondlook')}"
    except importlib.metadata.PackageNotFoundError:
        return "secondlook 0"


class Transport(httpx.AsyncHTTPTransport):
    """An httpx transport that closes its socket when a TLS handshake is cancelled.

    httpcore closes it after errors only; with a server that accepts and stays silent, each attempt
    given up would leave a socket behind for the life of the process.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._pool._network_backend = _Backend(self._pool._network_backend)  # noqa: SLF001 - no public seam


def make_transport(
    url: str, *, ca: str | None, proxy: UpstreamProxySettings | None, connections: int
) -> Transport:
    """Transport to one server; `proxy` is used unless the server is on this machine.

    The proxy's own authority also counts for what it passes on: proxies that look into TLS sign
    every certificate with it. Raise OSError or ssl.SSLError for certificate files that are unusable.
    """
    parts = urlsplit(url)
    proxied = None if proxy is None or is_loopback(parts.hostname or "") else proxy
    proxy_ca = str(proxied.ca) if proxied is not None and proxied.ca is not None else None
    secure = parts.scheme == "https"
    return Transport(
        verify=trust_for(url, ca, proxy_ca, only=ca is not None),
        http2=secure,
        limits=httpx.Limits(
            max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=KEEPALIVE_S
        ),
        proxy=None if proxied is None else _proxy(proxied, proxy_ca),
    )


def _proxy(settings: UpstreamProxySettings, ca: str | None) -> httpx.Proxy:
    auth = (settings.user, settings.password or "") if settings.user is not None else None
    secure = urlsplit(settings.url).scheme == "https"
    return httpx.Proxy(settings.url, auth=auth, ssl_context=trust(ca) if secure else None)


class _Stream(httpcore.AsyncNetworkStream):
    """A connection that is closed when its handshake does not come to an end, for whatever reason."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self.read = stream.read  # type: ignore[method-assign]
        self.write = stream.write  # type: ignore[method-assign]
        self.aclose = stream.aclose  # type: ignore[method-assign]
        self.get_extra_info = stream.get_extra_info  # type: ignore[method-assign]

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
    ) -> httpcore.AsyncNetworkStream:
        try:
            return _Stream(await self._stream.start_tls(ssl_context, server_hostname, timeout))
        except BaseException:
            await self._stream.aclose()
            raise


class _Backend(httpcore.AsyncNetworkBackend):
    """httpcore's own backend, with `_Stream` for its connections."""

    def __init__(self, backend: httpcore.AsyncNetworkBackend) -> None:
        self._backend = backend

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return _Stream(await self._backend.connect_tcp(host, port, timeout, local_address, socket_options))

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)
