"""Gathering prefixes: one flight a prefix, lanes that do not hold each other up, deadlines kept."""

import asyncio
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from lookup.serving import until
from secondlook.core.answer import MOST_PREFIXES, Attempt, PrefixAnswer
from secondlook.lookup.batch import REPORT_S, Batcher, QueryOutcome
from secondlook.lookup.pace import Share

BROWSING, DOWNLOADS = Share.BROWSING, Share.DOWNLOADS
NOTHING = PrefixAnswer((), 0.0, 1.0, "s", "s")


def number(n):
    return n.to_bytes(4)


class Servers:
    """Stands for a tier: answers when let, and watches that no prefix is on its way twice."""

    def __init__(self, delay_s=0.0):
        self.queries = []
        self.under_way = set()
        self.gate = None  # an Event that queries wait for
        self.delay_s = delay_s
        self.failing = 0

    async def query(self, prefixes, share, deadline):
        assert self.under_way.isdisjoint(prefixes)
        assert len(prefixes) == len(set(prefixes)) <= MOST_PREFIXES
        self.under_way.update(prefixes)
        self.queries.append((share, list(prefixes)))
        try:
            if self.gate is not None:
                await self.gate.wait()
            await asyncio.sleep(self.delay_s)
        finally:
            self.under_way.difference_update(prefixes)
        if self.failing:
            self.failing -= 1
            return QueryOutcome({}, (Attempt("s", "refused", 1.0),), "s: refused")
        return QueryOutcome(dict.fromkeys(prefixes, NOTHING), (Attempt("s", "answered", 1.0),))


def make(servers, browsing=2, downloads=2, **options):
    return Batcher(servers.query, {BROWSING: browsing, DOWNLOADS: downloads}, **options)


def soon(seconds=60.0):
    return time.monotonic() + seconds


def test_checks_of_one_turn_leave_in_one_request():
    async def main():
        servers = Servers()
        batcher = make(servers)
        outcomes = await asyncio.gather(
            *(batcher.ask([number(n), number(n + 1)], BROWSING, soon()) for n in range(10))
        )
        assert [len(sent) for _, sent in servers.queries] == [11]
        assert all(outcome.error is None and len(outcome.answers) == 2 for outcome in outcomes)

    asyncio.run(main())


def test_a_busy_lane_gathers_and_an_idle_one_sends_at_once():
    async def main():
        servers = Servers()
        servers.gate = asyncio.Event()
        batcher = make(servers, window_s=60)
        first = asyncio.ensure_future(batcher.ask([number(1)], BROWSING, soon()))
        await asyncio.sleep(0.01)
        later = [asyncio.ensure_future(batcher.ask([number(n)], BROWSING, soon())) for n in range(2, 9)]
        await asyncio.sleep(0.01)
        assert [sent for _, sent in servers.queries] == [[number(1)]]  # the window is far away
        servers.gate.set()
        await asyncio.gather(first, *later)
        assert [sent for _, sent in servers.queries] == [[number(1)], [number(n) for n in range(2, 9)]]

    asyncio.run(main())


def test_the_window_ends_although_the_first_query_still_runs():
    async def main():
        servers = Servers()
        servers.gate = asyncio.Event()
        batcher = make(servers, window_s=0.002)
        waiting = [asyncio.ensure_future(batcher.ask([number(1)], BROWSING, soon()))]
        await asyncio.sleep(0.005)
        waiting.append(asyncio.ensure_future(batcher.ask([number(2)], BROWSING, soon())))
        await until(lambda: len(servers.queries) == 2)
        waiting.append(asyncio.ensure_future(batcher.ask([number(3)], BROWSING, soon())))
        await asyncio.sleep(0.02)
        assert len(servers.queries) == 2  # the lane's limit
        servers.gate.set()
        await asyncio.gather(*waiting)
        assert len(servers.queries) == 3

    asyncio.run(main())


def test_a_full_browsing_lane_does_not_hold_up_downloads():
    async def main():
        servers = Servers()
        servers.gate = asyncio.Event()
        batcher = make(servers, browsing=1)
        pages = [asyncio.ensure_future(batcher.ask([number(n)], BROWSING, soon())) for n in range(50)]
        await asyncio.sleep(0.01)
        pages += [asyncio.ensure_future(batcher.ask([number(n)], BROWSING, soon())) for n in range(50, 99)]
        await asyncio.sleep(0.01)
        # 60 waits in the browsing lane; the download takes it along
        download = asyncio.ensure_future(batcher.ask([number(60), number(200)], DOWNLOADS, soon()))
        await asyncio.sleep(0.01)
        assert servers.queries[1] == (DOWNLOADS, [number(60), number(200)])
        servers.gate.set()
        await asyncio.gather(download, *pages)
        sent = [prefix for _, prefixes in servers.queries for prefix in prefixes]
        assert len(sent) == len(set(sent)) == 100

    asyncio.run(main())


def test_who_joined_a_query_that_failed_asks_again_with_the_time_that_is_left():
    async def main():
        servers = Servers(delay_s=0.02)
        servers.failing = 1
        batcher = make(servers)
        first = asyncio.ensure_future(batcher.ask([number(1)], BROWSING, soon()))
        await asyncio.sleep(0.01)
        joined = await batcher.ask([number(1), number(2)], BROWSING, soon())
        assert (await first).error == "s: refused"
        assert joined.error is None
        assert set(joined.answers) == {number(1), number(2)}

    asyncio.run(main())


def test_a_deadline_ends_the_wait_but_keeps_what_was_answered():
    async def main():
        servers = Servers()
        batcher = make(servers)
        servers.gate = asyncio.Event()
        started = time.monotonic()
        outcome = await batcher.ask([number(1)], BROWSING, started + 0.05)
        assert outcome == QueryOutcome({}, (), "timeout")
        assert time.monotonic() - started >= 0.05
        servers.gate.set()
        assert (await batcher.ask([number(1)], BROWSING, soon())).error is None
        assert (await batcher.ask([], BROWSING, soon())).error is None
        assert (await batcher.ask([number(1)], BROWSING, started)).error in {None, "timeout"}

    asyncio.run(main())


def test_a_query_ends_before_those_who_wait_for_it_so_that_they_hear_what_was_tried():
    deadlines = []

    class Silent(Servers):
        async def query(self, prefixes, share, deadline):
            deadlines.append(deadline)
            return QueryOutcome({}, (Attempt("s", "timeout", 1.0),), "s: timeout")

    async def main():
        last = soon()
        outcome = await make(Silent()).ask([number(1)], BROWSING, last)
        assert (outcome.error, len(outcome.attempts)) == ("s: timeout", 1)
        assert deadlines == [last - REPORT_S]

    asyncio.run(main())


def test_what_nobody_waits_for_any_more_is_not_sent():
    async def main():
        servers = Servers()
        servers.gate = asyncio.Event()
        batcher = make(servers, browsing=1, window_s=0.001)
        first = asyncio.ensure_future(batcher.ask([number(1)], BROWSING, soon()))
        await asyncio.sleep(0.005)
        gone = asyncio.ensure_future(batcher.ask([number(2)], BROWSING, soon()))
        late = await batcher.ask([number(3)], BROWSING, soon(0.01))
        assert late.error == "timeout"
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        servers.gate.set()
        await first
        await batcher.ask([number(4)], BROWSING, soon())
        assert [sent for _, sent in servers.queries] == [[number(1)], [number(4)]]
        # and they may be asked for again
        assert (await batcher.ask([number(2), number(3)], BROWSING, soon())).error is None

    asyncio.run(main())


def test_a_prefix_given_up_in_one_lane_can_be_asked_again_in_the_other():
    async def main():
        servers = Servers()
        servers.gate = asyncio.Event()
        batcher = make(servers, browsing=1, downloads=1, window_s=0.001)
        page = asyncio.ensure_future(batcher.ask([number(1)], BROWSING, soon()))
        await until(lambda: len(servers.queries) == 1)
        gone = [asyncio.ensure_future(batcher.ask([number(9)], BROWSING, soon(0.01)))]
        gone.append(asyncio.ensure_future(batcher.ask([number(9)], BROWSING, soon(0.01))))
        await asyncio.gather(*gone)  # pending in the browsing lane, but nobody waits any more
        flight = batcher._flights[number(9)]
        batcher._lanes[DOWNLOADS].pending[number(9)] = flight
        batcher._dispatch(batcher._lanes[DOWNLOADS])  # which finds nobody waiting, and lets it go
        again = asyncio.ensure_future(batcher.ask([number(9)], BROWSING, soon()))
        await asyncio.sleep(0)
        servers.gate.set()
        assert (await again).error is None
        await page

    asyncio.run(main())


def test_closing_gives_up_what_is_on_its_way():
    async def main():
        servers = Servers()
        servers.gate = asyncio.Event()
        batcher = make(servers)
        waiting = asyncio.ensure_future(batcher.ask([number(1)], BROWSING, soon(60)))
        await asyncio.sleep(0.01)
        await batcher.aclose()
        assert (await waiting).error == "stopped"

    asyncio.run(main())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, 12), min_size=0, max_size=6),
            st.sampled_from(list(Share)),
            st.integers(0, 4),  # milliseconds before it asks
            st.sampled_from([0.0, 0.002, 5.0]),  # budget
        ),
        max_size=40,
    ),
    st.integers(1, 3),
    st.integers(0, 3),
    st.integers(0, 5),
)
def test_every_check_gets_all_its_answers_or_is_told_and_no_prefix_is_asked_twice_at_once(
    checks, limit, delay_ms, failing
):
    async def main():
        servers = Servers(delay_s=delay_ms / 1000)  # asserts that no prefix is under way twice
        servers.failing = failing
        batcher = make(servers, limit, limit, window_s=0.001)

        async def check(numbers, share, wait_ms, budget_s):
            await asyncio.sleep(wait_ms / 1000)
            wanted = {number(n) for n in numbers}
            outcome = await batcher.ask(list(map(number, numbers)), share, time.monotonic() + budget_s)
            assert set(outcome.answers) <= wanted
            assert (outcome.error is None) == (set(outcome.answers) == wanted)

        async with asyncio.timeout(60):
            await asyncio.gather(*(check(*each) for each in checks))
            await until(lambda: not batcher._tasks._tasks)
        assert all(not lane.running for lane in batcher._lanes.values())
        for share in Share:  # nothing stays behind that would block a later check
            assert (await batcher.ask(map(number, range(13)), share, time.monotonic() + 5)).error in {
                None,
                "s: refused",
            }
        assert not batcher._flights
        await batcher.aclose()

    asyncio.run(main())
