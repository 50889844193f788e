"""One Smart Protection Server, spoken to in Safe Browsing v5 over httpx.

Requests go straight to an httpx *transport* with addresses and headers made once: the client layer
above it (redirects, cookies, authentication flows, its request log that would show keys) is not
needed here and costs a third of a query's time. Queries use the `$req` form (one base64url parameter
instead of one for each prefix). HTTP/2 is used where a server offers it over TLS.
"""

import asyncio
import base64
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

import httpx
from google.protobuf.message import DecodeError

from secondlook.config.query import RemoteServer
from secondlook.config.traffic import UpstreamProxySettings
from secondlook.core.answer import GOOGLE, MAX_EXPIRY_S, MIN_EXPIRY_S, MOST_PREFIXES
from secondlook.core.neutralize import inert
from secondlook.core.url.address import is_loopback
from secondlook.ground.clock import Clock, SystemClock
from secondlook.ground.lanes import LISTS
from secondlook.lookup.failure import Remedy, ServerFailure, bad_answer, failure_of, failure_of_status
from secondlook.lookup.reading import SearchResult, read_search
from secondlook.lookup.transport import make_transport, user_agent
from secondlook.wire import safebrowsing_pb2 as pb

MAX_SEARCH_BYTES: Final = 4 << 20
MAX_LISTS_BYTES: Final = 512 << 20
MAX_HEALTH_BYTES: Final = 4096
TROUBLE_CHARS: Final = 300  # of what troubles a server
MAX_ANSWER_BYTES: Final = 256 << 10  # to what was posted
MAX_PAGES: Final = 100
_LISTS_S: Final = 300.0  # for the entries of lists
_NAMES_S: Final = 30.0  # for a page of their names
THREADED_BYTES: Final = 1 << 20  # messages above this are parsed off the event loop

_PROTOBUF_TYPES: Final = frozenset(
    {
        b"application/x-protobuf",
        b"application/protobuf",
        b"application/octet-stream",
        b"application/vnd.google.protobuf",
    }
)


@dataclass(frozen=True, slots=True)
class Health:
    """The answer of `/healthz`: whether the server has anything to serve, its generation, its trouble."""

    serving: bool
    generation: str | None
    trouble: str | None = None


class ServerClient:
    """One server. Every method raises ServerFailure and nothing else; none follows a redirect.

    To be used from one event loop; connections are opened when needed and kept.
    """

    def __init__(
        self,
        server: RemoteServer,
        *,
        upstream_proxy: UpstreamProxySettings | None = None,
        connections: int = 8,
        max_lists_bytes: int = MAX_LISTS_BYTES,
        expiry_s: tuple[float, float] = (MIN_EXPIRY_S, MAX_EXPIRY_S),
        clock: Clock | None = None,
    ) -> None:
        parts = urlsplit(server.url)
        self.name = server.label
        self.google = server.google
        self.source = GOOGLE if server.google else server.label
        self.loopback = is_loopback(parts.hostname or "")
        self.verified = parts.scheme == "https"
        self._server = server
        self._proxy = upstream_proxy
        self._connections = connections
        self._max_lists_bytes = max_lists_bytes
        self._expiry_s = expiry_s
        self._clock: Clock = clock or SystemClock()
        self._url = httpx.URL(server.url)
        self._base = parts.path.rstrip("/").encode()
        self._proxied = upstream_proxy is not None and not self.loopback
        headers = [
            (b"Host", self._url.netloc),
            (b"User-Agent", user_agent().encode()),
            (b"Accept", b"application/x-protobuf"),
            (b"Accept-Encoding", b"identity"),
        ]
        if server.token is not None:
            headers.append((b"Authorization", b"Bearer " + server.token.encode()))
        self._headers = httpx.Headers(headers)
        self._key = f"&key={quote(server.key, safe='')}".encode() if server.google and server.key else b""
        self._transport: httpx.AsyncBaseTransport | None = None

    def __repr__(self) -> str:
        return f"ServerClient({self.name!r})"

    async def search(self, prefixes: Sequence[bytes], *, timeout_s: float) -> SearchResult:
        """Ask about up to 1000 4-byte prefixes; an answer for each of them."""
        if not 0 < len(prefixes) <= MOST_PREFIXES:
            raise ValueError(f"cannot ask about {len(prefixes)} prefixes at once")
        request = pb.SearchHashesRequest(hash_prefixes=prefixes).SerializeToString()
        body = await self._get(
            b"/v5/hashes:search?$req=" + base64.urlsafe_b64encode(request) + b"&alt=proto" + self._key,
            timeout_s=timeout_s,
            limit_bytes=MAX_SEARCH_BYTES,
        )
        return read_search(
            body,
            prefixes,
            now=self._clock.now(),
            server=self.name,
            source=self.source,
            google=self.google,
            expiry_s=self._expiry_s,
        )

    async def batch_get(
        self,
        names: Sequence[str],
        versions: Sequence[bytes] = (),
    ) -> list[pb.HashList]:
        """Fetch lists, or what changed since the given versions; in the order of the answer."""
        request = pb.BatchGetHashListsRequest(names=names, version=[v for v in versions if v])
        target = b"/v5/hashLists:batchGet?$req=" + base64.urlsafe_b64encode(request.SerializeToString())
        body = await self._get_lists(target, _LISTS_S)
        lists = list((await _parse(pb.BatchGetHashListsResponse, body)).hash_lists)
        if not {entry.name for entry in lists} <= set(names):
            raise bad_answer("a list that was not asked for")
        return lists

    async def hash_lists(self) -> list[pb.HashList]:
        """Name and metadata of every list that the server has, all pages."""
        found: list[pb.HashList] = []
        token = ""
        for _ in range(MAX_PAGES):
            target = f"/v5/hashLists?{urlencode({'pageToken': token})}" if token else "/v5/hashLists"
            page = await _parse(pb.ListHashListsResponse, await self._get_lists(target.encode(), _NAMES_S))
            found.extend(page.hash_lists)
            token = page.next_page_token
            if not token:
                return found
        raise bad_answer("pages of lists without end")

    async def health(self, *, timeout_s: float = 5.0) -> Health:
        """Read `/healthz`: `ok generation=000012` and troubles below, or 503 where nothing is served."""
        try:
            body = await self._get(b"/healthz", timeout_s=timeout_s, limit_bytes=MAX_HEALTH_BYTES, plain=True)
        except ServerFailure as failure:
            if failure.outcome == f"status {HTTPStatus.SERVICE_UNAVAILABLE.value}":
                return Health(serving=False, generation=None)
            raise
        # a server of 0.1.0 has its trouble behind a semicolon
        first, *troubles = body.decode("utf-8", "replace").replace("; ", "\n").strip().split("\n")
        words = first.split()
        if not words or words[0] != "ok":
            raise bad_answer("not a health page")
        generations = [
            word.removeprefix("generation=") for word in words[1:] if word.startswith("generation=")
        ]
        trouble = inert("; ".join(troubles), TROUBLE_CHARS) or None
        return Health(serving=True, generation=generations[0] if generations else None, trouble=trouble)

    async def generation(self, *, timeout_s: float = 5.0) -> str | None:
        """Generation that the server serves now, None while it has nothing to serve."""
        return (await self.health(timeout_s=timeout_s)).generation

    async def aclose(self) -> None:
        """Close every connection."""
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.aclose()

    async def _get_lists(self, target: bytes, timeout_s: float) -> bytes:
        joiner = b"&" if b"?" in target else b"?"
        return await self._get(
            target + joiner + b"alt=proto" + self._key,
            timeout_s=timeout_s,
            limit_bytes=self._max_lists_bytes,
        )

    async def post(self, target: bytes, content: bytes, *, timeout_s: float) -> bytes:
        """Send what is not a query, such as a report; the body of the answer."""
        request = httpx.Request(
            "POST",
            self._url.copy_with(raw_path=self._base + target),
            headers=self._headers,
            content=content,
            extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), timeout_s)},
        )
        return await self._send(request, timeout_s=timeout_s, limit_bytes=MAX_ANSWER_BYTES, plain=True)

    async def _get(self, target: bytes, *, timeout_s: float, limit_bytes: int, plain: bool = False) -> bytes:
        request = self._request(self._base + target, timeout_s)
        return await self._send(request, timeout_s=timeout_s, limit_bytes=limit_bytes, plain=plain)

    async def _send(
        self, request: httpx.Request, *, timeout_s: float, limit_bytes: int, plain: bool
    ) -> bytes:
        try:
            if self._transport is None:
                self._transport = self._open()
            async with asyncio.timeout(timeout_s):
                response = await self._transport.handle_async_request(request)
                try:
                    if response.status_code != HTTPStatus.OK:
                        raise failure_of_status(
                            response.status_code, response.headers.get("retry-after"), self._clock.now()
                        )
                    _check_headers(response, limit_bytes, plain=plain)
                    return await _read(response, limit_bytes)
                finally:
                    await response.aclose()
        except Exception as error:
            raise failure_of(error) from error

    def _request(self, target: bytes, timeout_s: float) -> httpx.Request:
        timeout = dict.fromkeys(("connect", "read", "write", "pool"), timeout_s)
        if self._proxied:  # httpcore would send the target to the proxy as well
            url = self._url.copy_with(raw_path=target)
            return httpx.Request("GET", url, headers=self._headers, extensions={"timeout": timeout})
        # The address is made once; only what stands in the request line changes.
        extensions = {"timeout": timeout, "target": target}
        return httpx.Request("GET", self._url, headers=self._headers, extensions=extensions)

    def _open(self) -> httpx.AsyncBaseTransport:
        ca = None if self._server.ca is None else str(self._server.ca)
        try:
            return make_transport(self._server.url, ca=ca, proxy=self._proxy, connections=self._connections)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise ServerFailure(
                f"certificate file or proxy not usable: {error}", Remedy.CONFIGURATION
            ) from error


def _check_headers(response: httpx.Response, limit_bytes: int, *, plain: bool) -> None:
    for name, value in response.headers.raw:
        match name.lower():
            case b"content-type":
                kind = value.partition(b";")[0].strip().lower()
                if not plain and kind not in _PROTOBUF_TYPES:
                    raise bad_answer(f"content type {kind[:60].decode('latin-1')}")
            case b"content-encoding" if value.strip().lower() not in {b"", b"identity"}:
                raise bad_answer("compressed without being asked for")
            case b"content-length" if value.isdigit() and int(value[:18]) > limit_bytes:
                raise bad_answer(f"longer than {limit_bytes} bytes")
            case _:
                pass


async def _read(response: httpx.Response, limit_bytes: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    stream = response.stream
    assert isinstance(stream, httpx.AsyncByteStream)
    async for chunk in stream:
        size += len(chunk)
        if size > limit_bytes:
            raise bad_answer(f"longer than {limit_bytes} bytes")
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _parse[M: (pb.HashList, pb.BatchGetHashListsResponse, pb.ListHashListsResponse)](
    kind: type[M], body: bytes
) -> M:
    try:
        if len(body) > THREADED_BYTES:
            return await LISTS.run(kind.FromString, body)
        return kind.FromString(body)
    except DecodeError:
        raise bad_answer("not a protobuf message") from None
