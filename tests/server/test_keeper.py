"""Feeds over real HTTP: fetched when they changed, refused when they are no feed, never for the worse."""

import asyncio
import gzip
from contextlib import asynccontextmanager

import httpx
import pytest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from secondlook.config import FeedSettings, PublishSettings
from secondlook.ground.tcp import listen_on
from secondlook.lookup.address_watch import local_addresses
from secondlook.resolver import Resolver, look_up
from secondlook.server.feeds.fetch import FeedClient, FeedState, FetchFailed, fetch, read_state
from secondlook.server.feeds.keeper import FeedKeeper
from secondlook.server.publish.generation import Generation
from secondlook.server.store.builtin import add_builtin_lists
from secondlook.server.store.store import ServerStore
from serverkit import NOW, full_hash

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
        return look_up(host) if texts is None else tuple(look_up(text)[0] for text in texts)

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
    server.install_signal_handlers = lambda: None
    task = asyncio.create_task(server._serve([sock]))
    while not server.started:
        await asyncio.sleep(0.01)
    store = ServerStore(tmp_path / "server")
    add_builtin_lists(store, now=NOW)
    address, port = sock.getsockname()[:2]
    url = f"http://{options.pop('host', address)}:{port}/feed.txt"
    if options.pop("manifest", False):
        url = url.replace("feed.txt", "list/list.manifest.txt")
    feed = FeedSettings(
        **({"name": "feed", "url": url, "every": 600, "headers": {"Auth-Key": "k3y"}} | options)
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
    table = Generation(store.generation_folder(store.current())).table
    return [table.has(full_hash(expression)) for expression in expressions]


def test_a_feed_is_fetched_on_its_schedule_and_only_when_it_changed(tmp_path):
    async def scene():
        async with keeping(tmp_path) as (keeper, publisher, clock, store, notices):
            [notice] = await keeper.fetch_due()
            assert (notice.outcome, notice.entries, notice.rejected) == ("taken", 1200, 0)
            assert listed(store, "evil7.example/", "malware.secondlook.test/", "good.example/") == [
                True,
                True,
                False,
            ]
            assert publisher.requests[0]["auth-key"] == "k3y"
            assert publisher.requests[0]["user-agent"].startswith("secondlook/")
            assert await keeper.fetch_due() == []
            clock.at += 700
            [notice] = await keeper.fetch_due()
            assert notice.outcome == "unchanged"
            assert publisher.requests[1]["if-none-match"] == '"1"'
            assert store.generations() == [1]
            publisher.change([*HOSTS[1:], "new.example"])
            clock.at += 700
            [notice] = await keeper.fetch_due()
            assert notice.outcome == "taken"
            assert listed(store, "evil0.example/", "evil1.example/", "new.example/") == [False, True, True]
            assert [each.outcome for each in notices] == ["taken", "taken"]

    asyncio.run(scene())


TEXT = "".join(f"{host}\n" for host in HOSTS).encode()


def packed(body, encoding="gzip"):
    return Response(body, headers={"content-encoding": encoding})


BAD = {
    "empty": (lambda: Response(""), "empty"),
    "HTML": (lambda: Response("<!DOCTYPE html><html><body>Sign in</body></html>"), "HTML"),
    "binary": (lambda: Response(bytes(range(256)) * 50), "binary"),
    "status 500": (lambda: Response(status_code=500), "status 500"),
    "shrunk": (lambda: Response("".join(f"{host}\n" for host in HOSTS[:100])), "shrunk"),
    "gzip cut short": (lambda: packed(gzip.compress(TEXT)[:-40]), "truncated"),
    "gzip damaged": (lambda: packed(TEXT), "damaged"),
    "an encoding not asked for": (lambda: packed(TEXT, "deflate"), "content encoding"),
    "too long once unpacked": (lambda: packed(gzip.compress(bytes(300_000))), "max_bytes"),
    "too long": (lambda: Response("x" * 300_000), "max_bytes"),
    "too long, unannounced": (lambda: StreamingResponse(iter(["evil.example\n" * 1000] * 30)), "max_bytes"),
}


def test_what_is_no_feed_leaves_the_last_good_one(tmp_path):
    async def scene():
        async with keeping(tmp_path, max_bytes=200_000) as (keeper, publisher, clock, store, notices):
            await keeper.fetch_due()
            for bad, (answer, reason) in BAD.items():
                publisher.answer = answer
                clock.at += 100_000
                [notice] = await keeper.fetch_due()
                assert notice.outcome in {"refused", "failed"}, bad
                assert reason in notice.detail, bad
                assert listed(store, "evil7.example/", "evil1100.example/") == [True, True], bad
                assert keeper.alerts == {"feed": notice.detail}, bad
                told = len(notices)
                clock.at += 100_000
                await keeper.fetch_due()
                assert len(notices) == told, "the same trouble is told once"
                publisher.answer = None
                clock.at += 100_000
                [notice] = await keeper.fetch_due()
                assert notice.outcome == "unchanged", (
                    bad
                )  # nothing of the bad one is kept for the last good one
                assert keeper.alerts == {}, bad
                assert "works again" in notices[-1].detail, bad
            publisher.answer = BAD["HTML"][0]
            clock.at += 100_000
            await keeper.fetch_due()
            publisher.answer = None
            publisher.change([*HOSTS, "new.example"])
            clock.at += 100_000
            [notice] = await keeper.fetch_due()
            assert notice.outcome == "taken"
            assert keeper.alerts == {}
            assert "works again" in notices[-1].detail
            assert listed(store, "new.example/", "evil7.example/") == [True, True]

    asyncio.run(scene())


def test_licence_and_terms_are_told_once_when_a_feed_is_enabled(tmp_path, caplog):
    async def scene():
        async with keeping(tmp_path, licence="CC0-1.0", terms="https://terms.example/") as (keeper, *_):
            await keeper.fetch_due()
            await keeper.fetch_due(everything=True)

    asyncio.run(scene())
    [told] = [record.getMessage() for record in caplog.records if "enabled" in record.getMessage()]
    assert "licence: CC0-1.0; terms: https://terms.example/" in told


def test_a_packed_answer_is_unpacked(tmp_path):
    async def scene():
        async with keeping(tmp_path) as (keeper, publisher, *_):
            publisher.answer = lambda: packed(gzip.compress(TEXT))
            [notice] = await keeper.fetch_due()
            assert (notice.outcome, notice.entries) == ("taken", 1200)
            assert publisher.requests[0]["accept-encoding"] == "gzip, br, zstd"

    asyncio.run(scene())


@pytest.mark.parametrize(
    "nothing",
    [
        "*://*.site.example/*\n" * 60,
        "||bad.example^\n@@||bad.example^\n",
        "com\nnet\n",
        "@@||good.example^\n",
    ],
)
def test_a_small_feed_is_not_replaced_by_one_of_which_nothing_can_be_used(tmp_path, nothing):
    async def scene():
        async with keeping(tmp_path) as (keeper, publisher, clock, store, _):
            publisher.change([f"bad{n}.example" for n in range(60)])
            await keeper.fetch_due()
            publisher.answer = lambda: Response(nothing)
            clock.at += 100_000
            [notice] = await keeper.fetch_due()
            assert notice.outcome == "refused"
            assert "nothing usable" in notice.detail
            assert read_state(store.root / "feeds", "feed").error == notice.detail  # for status and doctor
            assert listed(store, "bad7.example/") == [True]

    asyncio.run(scene())


def test_nothing_is_not_the_last_good_feed(tmp_path):
    async def scene():
        async with keeping(tmp_path) as (keeper, publisher, _, store, _):
            publisher.answer = lambda: Response(status_code=304)
            [notice] = await keeper.fetch_due()
            assert (notice.outcome, notice.detail) == ("failed", "status 304")
            assert read_state(store.root / "feeds", "feed").good_at == 0

    asyncio.run(scene())


def test_a_feed_s_key_stays_with_the_origin_it_was_given_for(tmp_path):
    async def scene():
        async with (
            keeping(tmp_path / "a") as (keeper, publisher, clock, _, _),
            keeping(tmp_path / "b", name="other") as (other, foreign, *_),
        ):
            [there] = other._feeds
            publisher.answer = lambda: RedirectResponse(there.url)
            [notice] = await keeper.fetch_due()
            assert notice.outcome == "taken"
            assert publisher.requests[0]["auth-key"] == "k3y"
            assert "auth-key" not in foreign.requests[0]
            [here] = keeper._feeds
            foreign.answer = lambda: RedirectResponse(here.url)
            answers = iter([RedirectResponse(there.url), RedirectResponse(here.url + "?again")])
            publisher.answer = lambda: next(answers, Response(TEXT))
            clock.at += 700
            [notice] = await keeper.fetch_due()
            assert notice.outcome == "taken"
            assert [each.get("auth-key") for each in publisher.requests[1:]] == ["k3y", None, None]
            publisher.answer = lambda: RedirectResponse(here.url + "?round")
            clock.at += 700
            [notice] = await keeper.fetch_due()
            assert (notice.outcome, notice.detail) == ("failed", "redirected too often")
            assert {each.get("auth-key") for each in publisher.requests[4:]} == {"k3y"}
            assert len(publisher.requests) == 10

    asyncio.run(scene())


@pytest.mark.parametrize("to", ["http://list.example/feed", "file:///etc/passwd", "ftp://list.example/feed"])
def test_a_feed_over_tls_goes_on_nowhere_else(tmp_path, to):
    asked = []

    def answer(request):
        asked.append(str(request.url))
        return (
            httpx.Response(302, headers={"location": to})
            if len(asked) == 1
            else httpx.Response(200, text=TEXT)
        )

    async def scene():
        client = FeedClient(resolver=named({"list.example": ["192.0.2.7"]}))
        await client.aclose()
        client._client = httpx.AsyncClient(
            transport=httpx.MockTransport(answer)
        )  # no authority signs list.example
        feed = FeedSettings(name="list", url="https://list.example/feed")
        with pytest.raises(FetchFailed, match="redirected to"):
            await fetch(client, feed, FeedState(), tmp_path / "feed")
        await client.aclose()

    asyncio.run(scene())
    assert asked == ["https://192.0.2.7/feed"]


TURNING = "turning.example"  # its name server says something else every time


@pytest.mark.parametrize("inside", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "0.0.0.0"])
def test_a_feed_s_name_does_not_lead_to_this_machine(tmp_path, inside):
    async def scene():
        async with keeping(tmp_path, hosts={TURNING: [inside]}, host=TURNING) as (keeper, publisher, *_):
            [notice] = await keeper.fetch_due()
            assert notice.outcome == "failed"
            assert notice.detail == f"{TURNING} leads to {inside}, further inside than the feed lies"
            assert not publisher.requests

    asyncio.run(scene())


@pytest.mark.parametrize(
    "to",
    ["http://127.0.0.1:{port}/x", "http://localhost:{port}/x", "http://[::1]:{port}/x", "http://2130706433/"],
)
def test_a_feed_of_this_network_redirects_to_nothing_on_this_machine(tmp_path, to):
    async def scene():
        # an address of this machine's network stands for the feed's; the redirect is judged by what it leads to
        hosts = {"lists.example": [own_address()]}
        async with keeping(tmp_path, hosts=hosts, host="lists.example", bind=own_address()) as (
            keeper, publisher, clock, *_,
        ):  # fmt: skip
            publisher.answer = lambda: RedirectResponse(to.format(port=1))
            [notice] = await keeper.fetch_due()
            assert (notice.outcome, "further inside" in notice.detail) == ("failed", True), notice
            assert len(publisher.requests) == 1
            assert publisher.requests[0]["host"].startswith("lists.example:")
            publisher.answer = lambda: RedirectResponse("file:///etc/passwd")
            clock.at += 700
            [notice] = await keeper.fetch_due()
            assert "not the web" in notice.detail
            publisher.answer = None
            clock.at += 7000
            [notice] = await keeper.fetch_due()
            assert notice.outcome == "taken"

    asyncio.run(scene())


def test_a_server_that_asks_for_patience_gets_it(tmp_path):
    async def scene():
        async with keeping(tmp_path) as (keeper, publisher, clock, _, _):
            publisher.answer = lambda: Response(status_code=429, headers={"retry-after": "5000"})
            [notice] = await keeper.fetch_due()
            assert "429" in notice.detail
            clock.at += 4900
            assert await keeper.fetch_due() == []
            clock.at += 200
            publisher.answer = None
            assert [each.outcome for each in await keeper.fetch_due()] == ["taken"]

    asyncio.run(scene())


def test_no_connection_is_said_and_the_rest_goes_on(tmp_path):
    async def scene():
        async with keeping(tmp_path, url="http://127.0.0.1:9/feed.txt") as (keeper, _, _, store, notices):
            [notice] = await keeper.fetch_due()
            assert notice.detail == "no connection; goes on with what is there"
            assert read_state(store.root / "feeds", "feed").failures == 1
            assert notices == [notice]

    asyncio.run(scene())


def test_entries_that_left_the_feed_stay_for_their_time(tmp_path):
    async def scene():
        async with keeping(tmp_path, expires=3 * 86_400) as (keeper, publisher, clock, store, _):
            await keeper.fetch_due()
            publisher.change([*HOSTS[1:], "new.example"])
            clock.at += 86_400
            await keeper.fetch_due()
            assert listed(store, "evil0.example/", "evil1.example/", "new.example/") == [True, True, True]
            publisher.change([*HOSTS[2:], "new.example"])
            clock.at += 4 * 86_400
            await keeper.fetch_due()
            assert listed(store, "evil0.example/", "evil1.example/", "evil2.example/", "new.example/") == [
                False,
                False,
                True,
                True,
            ]

    asyncio.run(scene())


def test_a_clock_that_jumps_ends_no_entry_and_holds_no_feed_back(tmp_path):
    async def scene():
        async with keeping(tmp_path, expires=3 * 86_400) as (keeper, publisher, clock, store, _):
            await keeper.fetch_due()
            publisher.change(HOSTS[1:])
            clock.ahead = 60 * 86_400.0
            await keeper.fetch_due()
            assert listed(store, "evil0.example/", "evil1.example/") == [True, True]
            clock.ahead = 0.0
            publisher.change([*HOSTS[1:], "new.example"])
            await keeper.fetch_due()
            assert listed(store, "evil0.example/", "new.example/") == [True, True]

    asyncio.run(scene())


def test_a_giant_site_in_a_feed_is_never_blocked(tmp_path):
    async def scene():
        async with keeping(tmp_path) as (keeper, publisher, _, store, _):
            publisher.change([*HOSTS, "google.com", "https://drive.google.com/file/d/evil"])
            await keeper.fetch_due()
            assert listed(store, "google.com/", "drive.google.com/", "drive.google.com/file/d/evil") == [
                False,
                False,
                True,
            ]

    asyncio.run(scene())


def test_a_list_in_parts_is_put_together_by_its_manifest(tmp_path):
    async def scene():
        async with keeping(tmp_path, manifest=True) as (keeper, publisher, clock, store, _):
            publisher.lines = ["list1.txt", "list1.txt", "list2.txt"]
            [notice] = await keeper.fetch_due()
            assert (notice.outcome, notice.entries) == ("taken", 1200)
            assert listed(
                store, "evil0.example/", "evil599.example/", "evil600.example/", "evil1199.example/"
            ) == [
                True,
                True,
                True,
                True,
            ]
            publisher.change(["../feed.txt"])
            clock.at += 700
            [notice] = await keeper.fetch_due()
            assert notice.outcome == "failed"
            assert "manifest" in notice.detail

    asyncio.run(scene())


THREATFOX = (
    '"2026-07-08 19:05:04", "1", "{host}", "domain", "botnet_cc", "x", "None", "Vidar", "None", '
    '"{confidence}", "0", "None", "t", "0", "r"'
)


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [({}, [50, 100]), ({"min_confidence": 0}, [0, 25, 50, 100]), ({"min_confidence": 75}, [100])],
)
def test_a_feed_s_least_confidence_is_honoured(tmp_path, wanted, taken):
    async def scene():
        async with keeping(tmp_path, **wanted) as (keeper, publisher, clock, store, _):
            clock.at = 1_783_600_000.0  # a day after the entries were seen
            levels = (0, 25, 50, 100)
            publisher.change(
                [THREATFOX.format(host=f"sure{level}.example", confidence=level) for level in levels]
            )
            [notice] = await keeper.fetch_due()
            assert (notice.outcome, notice.entries, notice.rejected) == ("taken", len(taken), 4 - len(taken))
            told = listed(store, *(f"sure{level}.example/" for level in levels))
            assert [level for level, is_listed in zip(levels, told, strict=True) if is_listed] == taken

    asyncio.run(scene())


def test_a_guard_keeps_other_feeds_from_blocking_its_hosts_and_says_who_tried(tmp_path):
    async def scene():
        async with keeping(tmp_path) as (plain, publisher, clock, store, notices):
            ranked = tmp_path / "top.csv"
            ranked.write_text("1,www.shop.example\n2,evil7.example\n3,evil8.example\n")
            guard = FeedSettings(name="popular", path=ranked, guard=True, rank=2, every=600)
            both = [*plain._feeds, guard]
            keeper = FeedKeeper(store, both, clock, on_notice=notices.append)
            await keeper.fetch_due()
            assert listed(store, "evil7.example/", "evil8.example/", "evil9.example/") == [False, True, True]
            assert [(each.feed, each.outcome, each.entries) for each in notices] == [
                ("feed", "taken", 1200),
                ("popular", "taken", 2),
                ("feed", "held back", 0),
            ]
            assert notices[-1].detail == (
                "feed lists 1 known-good sites or pages, which are held back: evil7.example/"
            )
            publisher.change([*HOSTS, "code.jquery.com"])
            clock.at += 700
            await keeper.fetch_due()
            clock.at += 700
            await keeper.fetch_due(everything=True)  # nothing new: nothing is told again
            told = [each.detail for each in notices if each.outcome == "held back"]
            assert told[1:] == [
                "feed lists 2 known-good sites or pages, which are held back: code.jquery.com/, evil7.example/"
            ]
            await keeper.aclose()
            keeper = FeedKeeper(store, both[:1], clock, on_notice=notices.append)
            keeper.forget_guards()
            assert store.guard_files() == ()
            await keeper.fetch_due(everything=True)
            await keeper.publish()
            assert listed(store, "evil7.example/", "code.jquery.com/") == [True, False]
            ranked.write_text("")
            keeper = FeedKeeper(store, [guard], clock)
            [notice] = await keeper.fetch_due(everything=True)
            assert (notice.outcome, "empty" in notice.detail) == ("refused", True)

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"guard": True, "list": "mw-8b"}, "expected no list"),
        ({"guard": True, "format": "hosts"}, "a format of auto, toplist, warninglist"),
        ({"rank": 5}, "expected guard: true"),
    ],
)
def test_a_guard_is_no_block_list(options, told):
    with pytest.raises(ValidationError, match=told):
        FeedSettings(name="popular", path="top.csv", **options)
