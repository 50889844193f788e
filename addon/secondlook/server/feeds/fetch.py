"""Fetching one feed over HTTP or from a file: only when it changed, within bounds of time and size."""

import asyncio
import importlib.metadata
import re
import shutil
import socket
import stat
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import httpx

from secondlook.config.service import FeedSettings
from secondlook.config.traffic import UpstreamProxySettings
from secondlook.core.url.address import parse_address
from secondlook.feeds.entries.entry import FeedRefused
from secondlook.feeds.unpacking.stream import ENCODINGS, PIECE_BYTES, decoded
from secondlook.ground.errors import ServiceError
from secondlook.ground.files import replacing
from secondlook.ground.lanes import FEED_FILES, LISTS
from secondlook.ground.trust import trust
from secondlook.reach import Depth, depth, get
from secondlook.resolver import Place, Resolver, is_own_name
from secondlook.server.feeds.feed_state import FeedState

MAX_REDIRECTS: Final = 5
MAX_PARTS: Final = 1000
MAX_MANIFEST_BYTES: Final = 1 << 20
_PART: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
NOT_MODIFIED: Final = 304
OK: Final = 200
MAX_DIGITS: Final = 18
MAX_VALIDATOR_CHARS: Final = 1024
PATIENCE_S: Final = 3600.0  # where a server asks for less often and does not name a time
MAX_RETRY_AFTER_S: Final = 86_400.0  # longer, and a server could switch its feed off for good
TOO_MANY: Final = frozenset({429, 509})  # 509: PhishTank's "over limit"
_looking: Final[dict[Path, asyncio.Future[Any]]] = {}  # looks at files that have not ended


class FetchFailed(ServiceError):  # noqa: N818 - shown to the operator as it is
    """A feed could not be fetched; `wait_s` is what its server asked for."""

    def __init__(self, reason: str, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


def make_client(proxy: UpstreamProxySettings | None = None) -> httpx.AsyncClient:
    """Make the client that fetches feeds, through the upstream proxy where there is one."""
    ca = str(proxy.ca) if proxy is not None and proxy.ca is not None else None
    through: httpx.Proxy | None = None
    if proxy is not None:
        auth = (proxy.user, proxy.password or "") if proxy.user is not None else None
        through = httpx.Proxy(proxy.url, auth=auth)
    return httpx.AsyncClient(
        verify=trust(ca),
        proxy=through,
        trust_env=False,
        # Fetches are rare: a kept connection would mostly be found closed by the other side.
        limits=httpx.Limits(max_keepalive_connections=0),
        follow_redirects=False,  # `_get` does, as a feed's own headers must not follow everywhere
        headers={
            "User-Agent": f"secondlook/{importlib.metadata.version('secondlook')}",
            "Accept-Encoding": ", ".join(ENCODINGS),
        },
    )


class FeedClient:
    """The client of feeds: through the upstream proxy, or to addresses that were judged.

    A feed leads no further inside than it lies itself (`Depth`): one in the internet redirects to no address
    of this network or machine. A name that leads to this machine must be one of its own (`localhost`, its
    own name, an address): whoever owns another one could turn it here any day.

    Without an upstream proxy, which may name a file, the connections' settings are made when they are needed:
    reading all authorities is 0.09 s of a start.
    """

    def __init__(self, proxy: UpstreamProxySettings | None = None, resolver: Resolver | None = None) -> None:
        self._client = None if proxy is None else make_client(proxy)
        self._making = asyncio.Lock()
        self._resolver = (resolver or Resolver()) if proxy is None else None  # else names are the proxy's

    async def places(self, host: str, most: Depth) -> Sequence[Place]:
        """Return the addresses of a host that lie no deeper than `most`; nothing where a proxy resolves.

        Raises FetchFailed where all lie deeper, OSError where the name has none.
        """
        async with self._making:
            if self._client is None:
                self._client = await LISTS.run(make_client)
        if self._resolver is None:
            literal = parse_address(host) or (ip_address("127.0.0.1") if is_own_name(host) else None)
            found: Sequence[Place] = () if literal is None else (Place(0, str(literal)),)
        else:
            found = await self._resolver.places(host)
        left = [place for place in found if depth(place) <= most]
        if found and not left:
            raise FetchFailed(f"{host} leads to {found[0].text}, further inside than the feed lies")
        return left

    def get(
        self, url: httpx.URL, places: Sequence[Place], headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[httpx.Response]:
        """Ask for a URL at the addresses that were judged, or through the proxy."""
        assert self._client is not None, "places come first"
        if self._resolver is None:
            return self._client.stream("GET", url, headers=dict(headers))
        return get(self._client, url, places, headers)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()


async def fetch(client: FeedClient, feed: FeedSettings, state: FeedState, target: Path) -> FeedState | None:
    """Fetch a feed into a file; returns its new validators, None when it has not changed.

    Raises FetchFailed; nothing is left of a broken fetch but the unfinished file.
    """
    if feed.path is not None:
        return await look_at(feed.path, partial(_look_at_file, state=state), within_s=feed.timeout)
    assert feed.url is not None
    asked = {"If-None-Match": state.etag, "If-Modified-Since": state.last_modified}
    conditions = {name: value for name, value in asked.items() if value and _can_be_sent(value)}
    try:
        async with asyncio.timeout(feed.timeout), _get(client, feed, feed.url, conditions) as response:
            if response.status_code == NOT_MODIFIED and conditions:
                return None
            _check(response, feed)
            size = await _save(response, feed.max_bytes, target)
            if ".manifest." in urlsplit(feed.url).path:
                await _follow_manifest(client, feed, target, feed.max_bytes - size)
                return state  # its parts change while it stays the same: no validator shows that
            return replace(
                state, etag=response.headers.get("etag"), last_modified=response.headers.get("last-modified")
            )
    except TimeoutError:
        raise FetchFailed(f"no answer within {feed.timeout:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, socket.gaierror) as error:
        raise FetchFailed(_plain(error)) from error


async def look_at[T](path: Path, look: Callable[[Path], T], *, within_s: float) -> T:
    """Look at a file of a feed off the event loop; on a drive that hangs, once until that look ends.

    Raises FetchFailed where nothing comes of it, and what `look` raises.
    """
    if path not in _looking:
        looking: asyncio.Future[T] = asyncio.ensure_future(FEED_FILES.run(look, path))
        _looking[path] = looking
        looking.add_done_callback(lambda _: _looking.pop(path, None))
        await asyncio.wait({looking}, timeout=within_s)
        if looking.done():
            return looking.result()
        looking.add_done_callback(lambda late: late.cancelled() or late.exception())  # nobody asks any more
    raise FetchFailed(f"nothing is known of {path} after {within_s:g} s")


def _can_be_sent(validator: str) -> bool:
    """Return whether a server would get back the validator that it gave, in a request that it takes."""
    return validator.isascii() and validator.isprintable() and len(validator) <= MAX_VALIDATOR_CHARS


@asynccontextmanager
async def _get(
    client: FeedClient, feed: FeedSettings, url: str, conditions: Mapping[str, str]
) -> AsyncGenerator[httpx.Response]:
    """Ask for a URL of a feed, following a few redirects.

    The feed's own headers (its key) are sent to the origin that the operator named and to no other.
    """
    at = httpx.URL(url)
    own = dict(feed.headers)
    most = Depth.MACHINE if is_own_name(at.host) else Depth.NETWORK
    for hop in range(MAX_REDIRECTS + 1):
        places = await client.places(at.host, most)
        if not hop and places:
            most = min(map(depth, places))
        async with client.get(at, places, {**own, **conditions}) as response:
            if not response.has_redirect_location:
                yield response
                return
            to = at.join(response.headers["location"])
        if to.scheme not in {"http", "https"}:
            raise FetchFailed(f"redirected to {to.scheme or 'nowhere'}, which is not the web")
        if at.scheme == "https" and to.scheme != "https":
            raise FetchFailed(f"redirected to plain http ({to.host})")
        if _origin(to) != _origin(at):
            own = {}
        at = to
    raise FetchFailed("redirected too often")


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port  # httpx leaves out a scheme's usual port


def _check(response: httpx.Response, feed: FeedSettings) -> None:
    if response.status_code in TOO_MANY:
        asked_s = _number(response.headers.get("retry-after"))
        wait_s = PATIENCE_S if asked_s is None else min(asked_s, MAX_RETRY_AFTER_S)
        raise FetchFailed(f"status {response.status_code}", wait_s)
    if response.status_code != OK:
        raise FetchFailed(f"status {response.status_code}")
    declared = _number(response.headers.get("content-length"))
    if declared is not None and declared > feed.max_bytes:
        raise FetchFailed(f"{declared} bytes, more than {feed.max_bytes} (max_bytes)")


def _number(text: str | None) -> int | None:
    """Return the number that a field of an answer is; None where it is none in plain digits."""
    return int(text[:MAX_DIGITS]) if text and text.isascii() and text.isdigit() else None


async def _follow_manifest(client: FeedClient, feed: FeedSettings, target: Path, limit: int) -> None:
    """Put the files that a manifest names (one a line, beside it) in place of the manifest.

    Large lists are published so, in parts (Phishing.Database): a name may stand there twice.
    """
    assert feed.url is not None
    with target.open("rb") as manifest:
        lines = manifest.read(MAX_MANIFEST_BYTES).decode("utf-8", "replace").splitlines()
    names = list(dict.fromkeys(line.strip() for line in lines))
    names = [name for name in names if name and not name.startswith("#")]
    if not names or len(names) > MAX_PARTS or not all(_PART.fullmatch(name) for name in names):
        raise FetchFailed("its manifest does not name files beside it")
    with target.open("wb") as whole:
        for name in names:
            part = target.with_name("part")
            url = urljoin(feed.url, name)
            async with _get(client, feed, url, {}) as response:
                _check(response, feed)
                limit -= await _save(response, limit, part)
            with part.open("rb") as file:
                shutil.copyfileobj(file, whole)
            whole.write(b"\n")


async def _save(response: httpx.Response, limit: int, target: Path) -> int:
    """Write a body into a file, bounded as it is sent and as it unpacks; returns its size unpacked."""
    size = 0
    with target.open("wb") as file:
        # As it was sent: a decoder that is fed as the bytes come would not notice an end that is missing.
        async for chunk in response.aiter_raw(PIECE_BYTES):
            size += len(chunk)
            if size > limit:
                raise FetchFailed(f"more than {limit} bytes (max_bytes)")
            file.write(chunk)
    declared = _number(response.headers.get("content-length"))
    if declared is not None and declared != size:
        raise FetchFailed(f"cut: {size} of {declared} bytes came")
    encodings = response.headers.get("content-encoding", "").lower().replace(" ", "").split(",")
    encodings = [each for each in encodings if each not in {"", "identity"}]
    if encodings and size:
        return await LISTS.run(_decode, target, encodings, limit)
    return size


def _decode(target: Path, encodings: Sequence[str], limit: int) -> int:
    """Put a file's unpacked content in its place; returns its size."""
    size = 0
    try:
        with target.open("rb") as packed, replacing(target, synced=False) as file:
            for piece in decoded(iter(lambda: packed.read(PIECE_BYTES), b""), encodings):
                size += len(piece)
                if size > limit:
                    raise FetchFailed(f"more than {limit} bytes (max_bytes)")
                file.write(piece)
    except FeedRefused as refusal:
        raise FetchFailed(str(refusal)) from None
    return size


def _look_at_file(path: Path, state: FeedState) -> FeedState | None:
    try:
        status = path.stat()
    except OSError as error:
        raise FetchFailed(f"cannot read {path}: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for, and every other feed with it
        raise FetchFailed(f"{path} is not a file")
    mark = f"{status.st_mtime_ns}-{status.st_size}"
    return None if mark == state.etag else replace(state, etag=mark)


def _plain(error: Exception) -> str:
    match error:
        case httpx.ConnectTimeout() | httpx.ConnectError() | socket.gaierror():
            return "no connection"
        case httpx.TimeoutException():
            return "no answer in time"
        case _:
            return f"transfer failed ({type(error).__name__})"


def terms_of(feed: FeedSettings) -> str:
    """Return under which licence and terms a feed is used, for the operator who enabled it."""
    return f"licence: {feed.licence or 'not stated'}; terms: {feed.terms or 'not stated'}"
