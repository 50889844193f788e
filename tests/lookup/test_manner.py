"""How servers are asked: order, hedges, patience after 429, Google's conditions, what is counted."""

import asyncio
import time

import pytest
from prometheus_client import REGISTRY

from lookup.serving import full_hash, until
from secondlook.config.query import RemoteServer
from secondlook.core.answer import Tier
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import SubjectClass

URL, FILE = SubjectKind.URL, SubjectKind.FILE
PAGE, SUBRESOURCE, DOWNLOAD = SubjectClass.PAGE, SubjectClass.SUBRESOURCE, SubjectClass.DOWNLOAD
BAD = full_hash("bad.test/")


def number(n):
    return n.to_bytes(4)


def ask(lookup, prefix=b"abcd", cls=PAGE, tier=Tier.INTRANET, seconds=30.0, kind=URL):
    return lookup.ask(tier, kind, cls, [prefix], deadline=time.monotonic() + seconds)


def sample(name, **labels):
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_as_listed_or_at_random(run, serve, make_lookup):
    async def main(stack):
        servers = [await serve(stack) for _ in range(3)]
        intranet = [{"url": server.url, "name": f"o{n}"} for n, server in enumerate(servers)]
        patient = {"hedge": False, "attempt_timeout": 60.0}  # no slow answer is asked for elsewhere too
        listed = await make_lookup(stack, intranet=intranet, **patient)
        for n in range(30):
            await ask(listed, number(n), seconds=60.0)
        assert [len(server.asked) for server in servers] == [30, 0, 0]
        shuffled = await make_lookup(stack, intranet=intranet, order="random", **patient)
        for n in range(90):
            await ask(shuffled, number(n), seconds=60.0)
        assert min(len(servers[0].asked) - 30, len(servers[1].asked), len(servers[2].asked)) > 10

    run(main)


def test_a_slow_answer_is_hedged_and_both_connections_stay(run, serve, make_lookup):
    async def main(stack):
        first, second = await serve(stack), await serve(stack)
        first.list("bad.test/")
        second.list("bad.test/")
        lookup = await make_lookup(
            stack,
            intranet=[{"url": first.url, "name": "h0"}, {"url": second.url, "name": "h1"}],
        )
        for n in range(24):
            assert (await ask(lookup, number(n))).error is None
        assert second.asked == []
        before = sample("secondlook_lookup_hedges_total", server="h1")
        first.gate = asyncio.Event()
        answer = await ask(lookup, BAD[:4])
        assert answer.answers[BAD[:4]].server == "h1"
        assert {attempt.outcome for attempt in answer.attempts} == {"answered", "overtaken"}
        assert sample("secondlook_lookup_hedges_total", server="h1") == before + 1
        first.gate.set()
        await until(lambda: not lookup._tiers[Tier.INTRANET].losers)
        assert (await ask(lookup, number(77))).answers[number(77)].server == "h0"
        assert first.connections == 1
        assert {status.state for status in lookup.status()} == {"closed"}

    run(main)


def test_no_hedge_when_it_is_switched_off(run, serve, make_lookup):
    async def main(stack):
        first, second = await serve(stack), await serve(stack)
        lookup = await make_lookup(stack, intranet=[{"url": first.url}, {"url": second.url}], hedge=False)
        for n in range(24):
            await ask(lookup, number(n))
        first.delay_s = 0.2
        await ask(lookup, number(99))
        assert second.asked == []

    run(main)


def test_429_slows_pages_down_without_opening_and_leaves_downloads_their_share(
    run, serve, make_lookup, events
):
    async def main(stack):
        server = await serve(stack)
        lookup = await make_lookup(
            stack,
            intranet=[{"url": server.url, "name": "own"}],
            circuit={"failures": 2, "backoff_min": 0.3, "backoff_max": 0.6},
        )
        recovered = []
        lookup.on_recovery(recovered.append)
        server.behave, server.retry_after = 429, 1
        answer = await ask(lookup, number(1), seconds=0.5)
        assert answer.error == "own: status 429"
        for n in range(20):
            answer = await ask(lookup, number(n), seconds=0.2)
            assert (
                answer.error == "slowed down"
            )  # at once ("timeout" if it had waited): there is no use in it
        assert len(server.requests) == 1
        assert lookup.status()[0].state == "slowed"
        assert lookup.tiers(URL, PAGE) == (Tier.INTRANET,)
        server.behave = "answer"
        assert (await ask(lookup, number(2), DOWNLOAD)).error is None
        # a page that has the time waits for the server
        assert (await ask(lookup, number(3), seconds=30)).error is None
        assert recovered[:1] == ["own"]
        assert lookup.status()[0].state == "closed"
        assert [detail.split(":")[0] for detail in events.details("own")] == ["slowed", "resumed"]

    run(main)


def test_a_slowed_server_is_found_ready_again_without_traffic(run, serve, make_lookup):
    async def main(stack):
        server = await serve(stack)
        lookup = await make_lookup(
            stack,
            intranet=[{"url": server.url, "name": "own"}],
            circuit={"backoff_min": 0.05, "backoff_max": 0.1},
        )
        recovered = []
        lookup.on_recovery(recovered.append)
        server.behave, server.retry_after = 503, 0
        await ask(lookup, seconds=5)
        assert lookup.status()[0].state == "slowed"
        server.behave = "answer"
        await until(lambda: recovered == ["own"])

    run(main)


def test_another_server_is_asked_meanwhile(run, serve, make_lookup):
    async def main(stack):
        first, second = await serve(stack), await serve(stack)
        first.behave, first.retry_after = 429, 60
        lookup = await make_lookup(stack, intranet=[{"url": first.url}, {"url": second.url}])
        for n in range(5):
            assert (await ask(lookup, number(n))).error is None
        assert len(first.requests) == 1
        assert len(second.asked) == 5

    run(main)


def test_a_configuration_error_is_told_to_the_operator_once(run, serve, make_lookup, events):
    async def main(stack):
        server = await serve(stack)
        server.behave = 403
        lookup = await make_lookup(
            stack, intranet=[{"url": server.url, "name": "own"}], circuit={"failures": 4, "backoff_min": 60}
        )
        for n in range(3):
            await ask(lookup, number(n), seconds=5)
        assert lookup.status()[0].problem == "status 403"
        told = events.details("own")
        assert [detail.split(":")[0] for detail in told] == ["misconfigured", "opened"]

    run(main)


@pytest.fixture
def google():
    return lambda server: {"url": server.url, "kind": "google", "key": "K", "name": "gsb"}


def test_google_is_asked_about_pages_and_downloads_only_and_never_about_files(
    run, serve, make_lookup, google
):
    async def main(stack):
        server = await serve(stack)
        server.list("bad.test/", 2)
        server.cache_s = 7200
        lookup = await make_lookup(stack, network=google(server))
        assert lookup.tiers(URL, PAGE) == lookup.tiers(URL, DOWNLOAD) == (Tier.NETWORK,)
        for kind, cls in (
            (URL, SUBRESOURCE),
            (URL, SubjectClass.MALFORMED),
            (FILE, DOWNLOAD),
            (FILE, PAGE),
        ):
            assert lookup.tiers(kind, cls) == ()
            assert not lookup.awaited(kind, cls)
            refused = await ask(lookup, cls=cls, kind=kind, tier=Tier.NETWORK)
            assert refused.error == "the network server may not be asked about this"
        assert server.requests == []
        answer = await ask(lookup, BAD[:4], tier=Tier.NETWORK)
        found = answer.answers[BAD[:4]]
        assert (found.source, found.server) == ("google", "gsb")
        assert 1790 < found.expires_at - time.time() <= 1800

    run(main)


def test_google_backs_off_a_quarter_of_an_hour_after_a_single_failure(run, serve, make_lookup, google):
    async def main(stack):
        server = await serve(stack)
        for mood in (500, 429, "garbage"):
            lookup = await make_lookup(stack, network=google(server))
            server.behave = mood
            server.requests.clear()
            assert (await ask(lookup, tier=Tier.NETWORK)).error
            assert len(server.requests) == 1
            (member,) = lookup._tiers[Tier.NETWORK].members
            wait_s = member.circuit.probe_at - time.monotonic()
            assert 895 < wait_s <= 1800
            assert (await ask(lookup, tier=Tier.NETWORK)).error == "every server is away (circuit open)"

    run(main)


def test_google_is_left_alone_by_heartbeats(run, serve, make_lookup, google):
    async def main(stack):
        server, own = await serve(stack), await serve(stack)
        await make_lookup(stack, heartbeat_s=0.02, network=google(server), intranet=[{"url": own.url}])
        await until(lambda: len(own.asked) > 4)
        assert server.requests == []

    run(main)


def test_subresources_wait_for_own_servers_where_only_google_is_left(run, serve, make_lookup, google):
    async def main(stack):
        own, public = await serve(stack), await serve(stack)
        await own.stop()
        lookup = await make_lookup(
            stack,
            intranet=[{"url": own.url}],
            network=google(public),
            circuit={"failures": 1, "backoff_min": 60},
        )
        await ask(lookup)
        assert lookup.tiers(URL, PAGE) == (Tier.NETWORK,)
        assert lookup.tiers(URL, SUBRESOURCE) == (Tier.INTRANET,)
        assert lookup.fallback(Tier.INTRANET, URL, SUBRESOURCE) is None
        assert lookup.fallback(Tier.INTRANET, URL, PAGE) is Tier.NETWORK

    run(main)


def test_the_embedded_server_comes_goes_and_moves(run, serve, make_lookup):
    async def main(stack):
        one, two = await serve(stack), await serve(stack)
        lookup = await make_lookup(stack, embedded=True)
        assert lookup.tiers(FILE, DOWNLOAD) == (Tier.LOCAL,)
        assert (await ask(lookup, tier=Tier.LOCAL)).error == "no local server is there"
        assert not lookup.reachable(Tier.LOCAL)
        await lookup.set_local(one.url)
        assert (await ask(lookup, tier=Tier.LOCAL)).error is None
        await lookup.set_local(two.url)
        assert (await ask(lookup, tier=Tier.LOCAL)).error is None
        assert len(one.asked) == len(two.asked) == 1
        assert [client.name for client in lookup.clients(Tier.LOCAL)] == ["embedded"]
        await lookup.set_local(None)
        assert (await ask(lookup, tier=Tier.LOCAL)).error == "no local server is there"

    run(main)


def test_what_is_counted(run, serve, make_lookup):
    async def main(stack):
        server = await serve(stack)
        lookup = await make_lookup(
            stack,
            intranet=[{"url": server.url, "name": "counted"}],
            circuit={"failures": 2, "backoff_min": 60},
        )
        server.list("bad.test/")
        server.behave = "unasked"
        await lookup.ask(Tier.INTRANET, URL, PAGE, [b"abcd", b"efgh"], deadline=time.monotonic() + 30)
        server.behave = 502
        await ask(lookup)
        assert sample("secondlook_lookup_queries_total", server="counted", outcome="answered") == 1
        assert sample("secondlook_lookup_queries_total", server="counted", outcome="status 5xx") == 2
        assert sample("secondlook_lookup_prefixes_total", server="counted") == 4
        assert sample("secondlook_lookup_dropped_hashes_total", server="counted", why="unasked") == 1
        assert sample("secondlook_lookup_seconds_count", server="counted") == 1
        assert sample("secondlook_lookup_circuit", server="counted", tier="intranet") == 2

    run(main)


def test_a_check_that_is_cancelled_takes_nobody_along(run, serve, make_lookup):
    async def main(stack):
        server = await serve(stack)
        server.delay_s = 0.05
        lookup = await make_lookup(stack, intranet=[{"url": server.url}])
        gone = asyncio.ensure_future(ask(lookup))
        stays = asyncio.ensure_future(ask(lookup))
        await asyncio.sleep(0.01)
        gone.cancel()
        assert (await stays).error is None
        assert len(server.asked) == 1

    run(main)


def test_plain_http_to_another_machine_needs_a_word():
    with pytest.raises(ValueError, match="https"):
        RemoteServer(url="http://10.0.0.1:5274")
    assert RemoteServer(url="http://10.0.0.1:5274", insecure=True).insecure
