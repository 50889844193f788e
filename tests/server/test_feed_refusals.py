"""What is no feed, or leads elsewhere: refused, and the last good one stays."""

import asyncio
import gzip

import httpx
import pytest
from starlette.responses import RedirectResponse, Response, StreamingResponse

from secondlook.config.service import FeedSettings
from secondlook.reach import Depth
from secondlook.server.feeds.feed_state import FeedState, read_state
from secondlook.server.feeds.fetch import FeedClient, FetchFailed, fetch
from serverkit.feeds import HOSTS, TEXT, keeping, listed, named, own_address, packed

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
def test_a_feed_of_this_network_redirects_to_nothing_on_this_machine(tmp_path, to, caplog):
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
            publisher.answer = lambda: RedirectResponse("http://xn--/")
            clock.at += 7000
            [notice] = await keeper.fetch_due()
            assert notice.detail == "transfer failed (IDNAError)"
            assert "Traceback" not in caplog.text
            publisher.answer = None
            clock.at += 7000
            [notice] = await keeper.fetch_due()
            assert notice.outcome == "taken"

    asyncio.run(scene())


def test_authorities_are_read_when_something_is_fetched_and_once():
    async def scene():
        client = FeedClient()
        assert client._client is None
        await client.aclose()
        await asyncio.gather(*(client.places("127.0.0.1", Depth.MACHINE) for _ in range(2)))
        made = client._client
        await client.places("127.0.0.1", Depth.MACHINE)
        assert client._client is made is not None
        await client.aclose()
        assert made.is_closed

    asyncio.run(scene())
