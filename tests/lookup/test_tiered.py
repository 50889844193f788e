"""TieredLookup against real servers on loopback, in every state that a server can be in."""

import asyncio
import time

import pytest

from lookup.serving import full_hash, until
from secondlook.core.answer import Tier
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import Risk, SubjectClass, Threat

URL, PAGE = SubjectKind.URL, SubjectClass.PAGE
BAD = full_hash("bad.test/")
GOOD = full_hash("good.test/")


def prefixes(*hashes):
    return [each[:4] for each in hashes]


async def ask(lookup, deadline, hashes=(BAD, GOOD), tier=Tier.INTRANET, cls=PAGE):
    return await lookup.ask(tier, URL, cls, prefixes(*hashes), deadline=deadline)


def test_listed_and_not_listed(run, serve, make_lookup, soon):
    async def main(stack):
        server = await serve(stack)
        server.list("bad.test/", 2, list="se-8b", risk=2, feeds=["own"], family="kit", first_seen=1700000000)
        lookup = await make_lookup(stack, intranet=[{"url": server.url, "name": "one"}])
        assert lookup.tiers(URL, PAGE) == (Tier.INTRANET,)
        before = time.time()
        answer = await ask(lookup, soon())
        assert answer.error is None
        assert answer.tier is Tier.INTRANET
        (listed,) = answer.answers[BAD[:4]].listed
        assert listed.full_hash == BAD
        assert (listed.threat, listed.risk, listed.list) == (
            Threat.SOCIAL_ENGINEERING,
            Risk.HIGHLY_SUSPICIOUS,
            "se-8b",
        )
        assert (listed.feeds, listed.family, listed.first_seen) == (("own",), "kit", 1700000000.0)
        clean = answer.answers[GOOD[:4]]
        assert clean.listed == ()
        assert (clean.server, clean.source) == ("one", "one")
        assert before + 60 <= clean.expires_at <= time.time() + 60
        assert [attempt.outcome for attempt in answer.attempts] == ["answered"]

    run(main)


def test_the_next_server_answers_when_the_first_fails_in_any_way(run, serve, make_lookup, soon):
    async def main(stack):
        for mood in (
            "hang", "close", "cut", "noise", "html", "garbage", "no_duration", "huge", "endless", "gzip",
            204, 302, 400, 401, 403, 404, 429, 500, 502, 503,
        ):  # fmt: skip
            first, second = await serve(stack), await serve(stack)
            first.behave = mood
            second.list("bad.test/")
            lookup = await make_lookup(
                stack,
                intranet=[{"url": first.url, "name": "first"}, {"url": second.url, "name": "second"}],
                attempt_timeout=2.0,
            )
            answer = await ask(lookup, soon())
            assert answer.error is None, mood
            assert answer.answers[BAD[:4]].server == "second"
            assert [attempt.server for attempt in answer.attempts] == ["first", "second"], mood
            assert answer.attempts[0].outcome != "answered"
            assert answer.attempts[1].outcome == "answered"

    run(main)


def test_a_refusing_server_and_a_single_one_that_comes_back_within_the_budget(run, serve, make_lookup, soon):
    async def main(stack):
        first, second = await serve(stack), await serve(stack)
        await first.stop()
        lookup = await make_lookup(stack, intranet=[{"url": first.url}, {"url": second.url}])
        answer = await ask(lookup, soon())
        assert [attempt.outcome for attempt in answer.attempts] == ["refused", "answered"]

        moods = iter([500, 500])
        second.behave = lambda _: next(moods, "answer")
        alone = await make_lookup(stack, intranet=[{"url": second.url}])
        answer = await ask(alone, soon())
        assert answer.error is None
        assert [attempt.outcome for attempt in answer.attempts] == ["status 500", "status 500", "answered"]

    run(main)


@pytest.mark.parametrize("mood", ["cut", "close"])
def test_what_one_death_cuts_off_is_asked_again_and_counts_once(run, serve, make_lookup, soon, mood):
    """Behind a load balancer's single address one of several servers is killed: the others answer at once."""

    async def main(stack):
        server = await serve(stack)
        server.behave, server.gate = mood, asyncio.Event()
        lookup = await make_lookup(stack, intranet=[{"url": server.url, "name": "one"}])
        checks = []
        for number in range(4):  # each on its way before the next, so that each is a request of its own
            hashes = (full_hash(f"{number}.test/"),)
            checks.append(asyncio.create_task(ask(lookup, soon(10), hashes)))
            await until(lambda sent=number + 1: len(server.requests) == sent)
        server.behave = "answer"
        server.gate.set()
        for answer in await asyncio.gather(*checks):
            assert answer.error is None
            assert [attempt.outcome for attempt in answer.attempts] == [
                "bad answer: broken or cut off",
                "answered",
            ]
        (status,) = lookup.status()
        assert (status.state, len(server.requests)) == ("closed", 8)

    run(main)


def test_a_server_that_cuts_every_answer_off_is_left_alone_after_its_failures(run, serve, make_lookup, soon):
    async def main(stack):
        server = await serve(stack)
        server.behave = "cut"
        lookup = await make_lookup(stack, intranet=[{"url": server.url}], circuit={"backoff_min": 60})
        answer = await ask(lookup, soon(10))
        assert [attempt.outcome for attempt in answer.attempts] == ["bad answer: broken or cut off"] * 3
        assert lookup.status()[0].state == "open"

    run(main)


def test_never_longer_than_the_budget_and_no_wait_once_the_circuits_are_open(
    run, serve, make_lookup, soon, events
):
    async def main(stack):
        servers = [await serve(stack) for _ in range(2)]
        for server in servers:
            server.behave = "hang"
        lookup = await make_lookup(
            stack,
            intranet=[{"url": server.url, "name": f"s{n}"} for n, server in enumerate(servers)],
            attempt_timeout=0.1,
            circuit={"failures": 2, "backoff_min": 60},
        )
        for _ in range(2):  # the servers hang for an hour
            answer = await ask(lookup, soon(0.4))
            assert answer.error
            assert not answer.answers
            assert 1 <= len(answer.attempts) <= 3
        assert {status.state for status in lookup.status()} == {"open"}
        asked = len(servers[0].requests) + len(servers[1].requests)
        for _ in range(100):
            answer = await ask(lookup, soon(3600))
            assert answer.error == "every server is away (circuit open)"
            assert answer.attempts == ()
        assert len(servers[0].requests) + len(servers[1].requests) == asked
        assert [detail.split(":")[0] for detail in events.details("s0")] == ["opened"]

    run(main)


def test_recovery_is_noticed_without_traffic(run, serve, make_lookup, soon, events):
    async def main(stack):
        server = await serve(stack)
        await server.stop()
        lookup = await make_lookup(
            stack,
            intranet=[{"url": server.url, "name": "own"}],
            circuit={"failures": 1, "backoff_min": 0.05, "backoff_max": 0.1},
        )
        recovered = []
        lookup.on_recovery(recovered.append)
        assert (await ask(lookup, soon())).error
        assert lookup.status()[0].state == "open"
        await asyncio.sleep(0)
        await server.start()
        await until(lambda: recovered == ["own"])
        assert lookup.status()[0].state == "closed"
        assert (await ask(lookup, soon())).error is None
        assert [detail.split(":")[0] for detail in events.details("own")] == ["opened", "closed"]

    run(main)


def test_each_worker_tells_of_its_own_circuits_by_its_name(run, serve, make_lookup, soon, events):
    async def main(stack):
        server = await serve(stack)
        await server.stop()
        for worker in ("worker 0", "worker 1"):
            lookup = await make_lookup(
                stack, worker=worker, intranet=[{"url": server.url, "name": "own"}], circuit={"failures": 1}
            )
            assert (await ask(lookup, soon())).error
        assert [event.extra for event in events.seen if event.server == "own"] == [
            {"process": "worker 0"},
            {"process": "worker 1"},
        ]

    run(main)


def test_a_process_without_traffic_sees_servers_go_and_come_back(run, serve, make_lookup):
    async def main(stack):
        server = await serve(stack)
        lookup = await make_lookup(
            stack,
            heartbeat_s=0.05,
            intranet=[{"url": server.url, "name": "own"}],
            circuit={"failures": 2, "backoff_min": 0.05, "backoff_max": 0.1},
        )
        recovered = []
        lookup.on_recovery(recovered.append)
        await until(lambda: lookup.status()[0].answered)
        await server.stop()
        await until(lambda: lookup.status()[0].state != "closed")
        await server.start()
        await until(lambda: recovered == ["own"])

    run(main)


def test_concurrent_checks_share_requests_and_no_prefix_is_asked_twice_at_once(run, serve, make_lookup, soon):
    async def main(stack):
        server = await serve(stack)
        server.delay_s = 0.02
        server.list("bad.test/")
        lookup = await make_lookup(stack, intranet=[{"url": server.url}])
        hashes = [full_hash(f"host{n}.test/") for n in range(300)]
        answers = await asyncio.gather(
            *(ask(lookup, soon(5), [BAD, *hashes[n : n + 5], *hashes[n % 7 : n % 7 + 3]]) for n in range(290))
        )
        assert all(answer.error is None for answer in answers)
        assert all(answer.answers[BAD[:4]].listed for answer in answers)
        assert server.overlaps == 0
        asked = [prefix for prefixes in server.asked for prefix in prefixes]
        assert len(asked) == len(set(asked))
        assert len(server.asked) <= 3  # gathered over one turn of the loop

    run(main)


def test_batches_hold_at_most_a_thousand_prefixes(run, serve, make_lookup, soon):
    async def main(stack):
        server = await serve(stack)
        lookup = await make_lookup(stack, intranet=[{"url": server.url}])
        wanted = [n.to_bytes(4) for n in range(2500)]
        answer = await lookup.ask(Tier.INTRANET, URL, PAGE, wanted, deadline=soon(10))
        assert answer.error is None
        assert set(answer.answers) == set(wanted)
        assert sorted(len(asked) for asked in server.asked) == [500, 1000, 1000]

    run(main)


def test_a_fault_of_ours_is_an_unanswered_question_and_is_logged(run, serve, make_lookup, soon, caplog):
    async def main(stack):
        server = await serve(stack)
        lookup = await make_lookup(stack, intranet=[{"url": server.url, "name": "own"}])

        async def broken(*_):
            raise KeyError("planted")

        lookup._batchers[Tier.INTRANET].ask = broken
        answer = await ask(lookup, soon())
        assert answer.error == "internal error: KeyError"
        assert "planted" in caplog.text
        assert (await lookup.ask(Tier.INTRANET, URL, PAGE, [], deadline=soon())).error is None

    run(main)


def test_a_listener_that_fails_does_not_keep_others_from_hearing_of_the_recovery(
    run, serve, make_lookup, soon, caplog
):
    async def main(stack):
        server = await serve(stack)
        await server.stop()
        lookup = await make_lookup(
            stack,
            intranet=[{"url": server.url, "name": "own"}],
            circuit={"failures": 1, "backoff_min": 0.05, "backoff_max": 0.1},
        )
        heard = []

        def broken(name):
            raise KeyError("planted")

        lookup.on_recovery(broken)
        lookup.on_recovery(heard.append)
        await ask(lookup, soon())
        await server.start()
        await until(lambda: heard == ["own"])
        assert "planted" in caplog.text

    run(main)
