"""A web server with a feed, and the keeper that fetches it."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from secondlook.config.service import FeedSettings, PublishSettings
from secondlook.ground.tcp import listen_on
from secondlook.lookup.address_watch import local_addresses
from secondlook.resolver import Resolver, look_up
from secondlook.server.feeds.keeper import FeedKeeper
from secondlook.server.store.builtin import add_builtin_lists
from secondlook.server.store.store import ServerStore
from serverkit import NOW, current, full_hash

HOSTS = [f"evil{number}.example" for number in range(1200)]


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self):
        self.at = NOW
        self.ahead = 0.0  # of the wall clock, when somebody set it

    def now(self):
        return self.at + self.ahead

    def monotonic(self):
        return self.at

    def elapsed(self):
        return self.at


class Publisher:
    """A web server with one feed whose answer the test chooses."""

    def __init__(self):
        self.lines = HOSTS
        self.answer = None
        self.requests = []
        self.etag = '"1"'

    async def feed(self, request):
        self.requests.append(dict(request.headers))
        if self.answer is not None:
            return self.answer() if callable(self.answer) else self.answer
        if request.headers.get("if-none-match") == self.etag:
            return Response(status_code=304)
        return Response("".join(f"{line}\n" for line in self.lines), headers={"etag": self.etag})

    async def part(self, request):
        number = int(request.path_params["part"].removeprefix("list").removesuffix(".txt"))
        return Response("".join(f"{host}\n" for host in HOSTS[600 * (number - 1) : 600 * number]).rstrip())

    def change(self, lines):
        self.lines, self.etag = lines, f'"{len(self.requests) + 2}"'


def named(hosts):
    """Make a resolver that knows a few names and asks the system for the rest."""

    def look_up_here(host):
        texts = hosts.get(host)
        return look_up(host) if texts is None else tuple(look_up(text)[0] for text in texts)  # type: ignore[index]

    return Resolver(system=look_up_here)


def own_address():
    """Give an address of this machine that is not loopback."""
    for address in local_addresses():
        if address.version == 4 and not address.is_link_local:
            return str(address)
    pytest.skip("this machine is in no network")


@asynccontextmanager
async def keeping(tmp_path, **options):
    import uvicorn

    publisher, clock = Publisher(), Clock()
    sock = listen_on(options.pop("bind", "127.0.0.1"), 0)
    hosts = options.pop("hosts", {})
    app = Starlette(
        routes=[
            Route("/feed.txt", publisher.feed),
            Route("/list/list.manifest.txt", publisher.feed),
            Route("/list/{part}", publisher.part),
        ]
    )
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", access_log=False))
    task = asyncio.create_task(server._serve([sock]))
    while not server.started:
        await asyncio.sleep(0.01)
    store = ServerStore(tmp_path / "server")
    add_builtin_lists(store, now=NOW)
    address, port = sock.getsockname()[:2]
    url = f"http://{options.pop('host', address)}:{port}/feed.txt"
    if options.pop("manifest", False):
        url = url.replace("feed.txt", "list/list.manifest.txt")
    feed = FeedSettings.model_validate(
        {"name": "feed", "url": url, "every": 600, "headers": {"Auth-Key": "k3y"}} | options
    )
    notices = []
    keeper = FeedKeeper(
        store, [feed], clock, settings=PublishSettings(), resolver=named(hosts), on_notice=notices.append
    )
    try:
        yield keeper, publisher, clock, store, notices
    finally:
        await keeper.aclose()
        server.should_exit = True
        await task
        sock.close()


def listed(store, *expressions):
    table = current(store).table
    return [table.has(full_hash(expression)) for expression in expressions]


TEXT = "".join(f"{host}\n" for host in HOSTS).encode()


def packed(body, encoding="gzip"):
    return Response(body, headers={"content-encoding": encoding})
