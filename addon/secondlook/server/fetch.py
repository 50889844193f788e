"""Fetching one feed over HTTP or from a file: only when it changed, within bounds of time and size."""

import asyncio
import importlib.metadata
import json
import re
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import httpx

from secondlook.config import FeedSettings, UpstreamProxySettings
from secondlook.errors import ServiceError
from secondlook.lookup.transport import trust
from secondlook.server.store import dump_json, write_beside

MAX_REDIRECTS: Final = 5
MAX_PARTS: Final = 1000
MAX_MANIFEST_BYTES: Final = 1 << 20
_PART: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
NOT_MODIFIED: Final = 304
OK: Final = 200
TOO_MANY: Final = frozenset({429, 509})  # 509: PhishTank's "over limit"


class FetchFailed(ServiceError):  # noqa: N818 - told to the operator as it is
    """A feed could not be fetched; `wait_s` is what its server asked for."""

    def __init__(self, reason: str, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedState:
    """What is known of a feed between fetches; instants in Unix seconds."""

    etag: str | None = None
    last_modified: str | None = None
    checked_at: float = 0.0
    good_at: float = 0.0
    due_at: float = 0.0
    failures: int = 0
    error: str | None = None
    entries: int = 0


def read_state(folder: Path, name: str) -> FeedState:
    """Read what is known of a feed; nothing, when it was never fetched."""
    try:
        return FeedState(**json.loads((folder / f"{name}.json").read_bytes()))
    except (OSError, ValueError, TypeError):
        return FeedState()


def write_state(folder: Path, name: str, state: FeedState) -> None:
    """Keep what is known of a feed."""
    folder.mkdir(exist_ok=True)
    write_beside(folder / f"{name}.json", dump_json(asdict(state)))


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
        follow_redirects=True,
        max_redirects=MAX_REDIRECTS,
        headers={"User-Agent": f"secondlook/{importlib.metadata.version('secondlook')}"},
    )


async def fetch(
    client: httpx.AsyncClient, feed: FeedSettings, state: FeedState, target: Path
) -> FeedState | None:
    """Fetch a feed into a file; gives its new validators, None when it has not changed.

    Raises FetchFailed; nothing is left of a broken fetch but the unfinished file.
    """
    if feed.path is not None:
        return _look_at_file(feed.path, state)
    assert feed.url is not None
    headers = dict(feed.headers)
    if state.etag:
        headers["If-None-Match"] = state.etag
    if state.last_modified:
        headers["If-Modified-Since"] = state.last_modified
    try:
        async with asyncio.timeout(feed.timeout), client.stream("GET", feed.url, headers=headers) as response:
            if response.status_code == NOT_MODIFIED:
                return None
            _check(response, feed)
            size = await _save(response, feed.max_bytes, target)
            if ".manifest." in urlsplit(feed.url).path:
                await _follow_manifest(client, feed, target, feed.max_bytes - size)
                return state  # its parts change while it stays the same: no validator tells of that
            return replace(
                state, etag=response.headers.get("etag"), last_modified=response.headers.get("last-modified")
            )
    except TimeoutError:
        raise FetchFailed(f"no answer within {feed.timeout:g} s") from None
    except httpx.HTTPError as error:
        raise FetchFailed(_plain(error)) from error


def _check(response: httpx.Response, feed: FeedSettings) -> None:
    if response.status_code in TOO_MANY:
        asked = response.headers.get("retry-after", "")
        raise FetchFailed(f"status {response.status_code}", float(asked) if asked.isdigit() else 3600.0)
    if response.status_code != OK:
        raise FetchFailed(f"status {response.status_code}")
    if feed.url is not None and feed.url.startswith("https:") and response.url.scheme != "https":
        raise FetchFailed(f"redirected to plain http ({response.url.host})")
    declared = response.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > feed.max_bytes:
        raise FetchFailed(f"{declared} bytes, more than {feed.max_bytes} (max_bytes)")


async def _follow_manifest(client: httpx.AsyncClient, feed: FeedSettings, target: Path, limit: int) -> None:
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
            async with client.stream("GET", url, headers=dict(feed.headers)) as response:
                _check(response, feed)
                limit -= await _save(response, limit, part)
            with part.open("rb") as file:
                shutil.copyfileobj(file, whole)
            whole.write(b"\n")


async def _save(response: httpx.Response, limit: int, target: Path) -> int:
    size = 0
    with target.open("wb") as file:
        async for chunk in response.aiter_bytes(1 << 16):
            size += len(chunk)
            if size > limit:
                raise FetchFailed(f"more than {limit} bytes (max_bytes)")
            file.write(chunk)
    declared: Any = response.headers.get("content-length")
    if declared and "content-encoding" not in response.headers and int(declared) != size:
        raise FetchFailed(f"cut: {size} of {declared} bytes came")
    return size


def _look_at_file(path: Path, state: FeedState) -> FeedState | None:
    try:
        status = path.stat()
    except OSError as error:
        raise FetchFailed(f"cannot read {path}: {error.strerror}") from error
    mark = f"{status.st_mtime_ns}-{status.st_size}"
    return None if mark == state.etag else replace(state, etag=mark)


def _plain(error: httpx.HTTPError) -> str:
    match error:
        case httpx.ConnectTimeout() | httpx.ConnectError():
            return "no connection; goes on with what is there"
        case httpx.TimeoutException():
            return "no answer in time"
        case httpx.TooManyRedirects():
            return "redirected too often"
        case _:
            return f"transfer failed ({type(error).__name__})"


def terms_of(feed: FeedSettings) -> str:
    """Say under which licence and terms a feed is used, for the operator who enabled it."""
    return f"licence: {feed.licence or 'not stated'}; terms: {feed.terms or 'not stated'}"
