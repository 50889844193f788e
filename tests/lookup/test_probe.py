"""Servers that are away are found again without traffic."""

import asyncio
import contextlib

import pytest

from agentkit.virtual import VirtualLoop
from secondlook.config.query import CircuitSettings, RemoteServer
from secondlook.core.answer import Tier
from secondlook.lookup.client import ServerClient
from secondlook.lookup.failure import Remedy, ServerFailure
from secondlook.lookup.member import TierMember
from secondlook.lookup.pace import Share
from secondlook.lookup.probe import AGAIN_S, PATIENCE, Prober
from secondlook.lookup.reading import SearchResult

REFUSED = ServerFailure("refused", Remedy.ELSEWHERE)


class Client(ServerClient):
    def __init__(self, loop, *, google=False):
        super().__init__(RemoteServer(url="http://127.0.0.1:1", name="office"))
        self.google, self.up, self.loop = google, True, loop
        self.asked = []
        self.timeouts = []

    async def search(self, prefixes, *, timeout_s):
        self.asked.append((self.loop.time(), *prefixes))
        self.timeouts.append(timeout_s)
        if not self.up:
            raise REFUSED
        return SearchResult({})


class Scene:
    """A member, a prober and virtual time."""

    def __init__(self, *, google=False, heartbeat_s=None):
        self.loop = VirtualLoop()
        self.client = Client(self.loop, google=google)
        self.changes = []
        self.member = TierMember(
            self.client, Tier.INTRANET, CircuitSettings(failures=3, backoff_min=1.0, backoff_max=60.0),
            monotonic=self.loop.time, draw=lambda: 0.5, on_change=lambda change: self.changes.append(change.what),
        )  # fmt: skip
        self.members = [self.member]
        self.prober = Prober(
            lambda: self.members, attempt_timeout_s=0.5, monotonic=self.loop.time, draw=lambda: 0.5,
            heartbeat_s=heartbeat_s,
        )  # fmt: skip

    def run(self, *steps):
        """Take steps: a number of seconds to wait, or something to call."""

        async def main():
            for step in steps:
                if callable(step):
                    step()
                else:
                    await asyncio.sleep(step)
            await self.prober.aclose()

        self.loop.run_until_complete(main())
        self.loop.close()

    def fail(self):
        self.client.up = False
        for _ in range(3):
            self.member.failed(REFUSED, Share.BROWSING)

    def watch(self):
        self.prober.watch(self.member)


def test_it_is_probed_until_it_is_back_and_then_left_alone():
    scene = Scene()
    seen = []

    def back():
        seen.append(len(scene.client.asked))
        scene.client.up = True

    scene.run(
        scene.fail, scene.watch, scene.watch, 20, back, 60, lambda: seen.append(len(scene.client.asked)), 600
    )
    assert 2 <= seen[0] <= 8, "each after a longer pause"
    assert scene.changes == ["opened", "closed"]
    assert len(scene.client.asked) == seen[1]


def test_a_healthy_one_is_not_watched():
    scene = Scene()
    scene.run(scene.watch, 600)
    assert scene.client.asked == []


def test_who_is_a_member_no_more_is_not_probed_and_may_come_back():
    scene = Scene()
    counts = []
    scene.run(
        scene.fail, scene.members.clear, scene.watch, 60, lambda: counts.append(len(scene.client.asked)),
        lambda: scene.members.append(scene.member), scene.watch, 60, lambda: counts.append(len(scene.client.asked)),
    )  # fmt: skip
    assert counts[0] <= 1
    assert counts[1] > counts[0]


@pytest.mark.parametrize(("google", "timeouts"), [(False, [0.5 * PATIENCE, 0.5]), (True, [0.5])])
def test_the_first_request_may_set_up_a_connection_and_google_gets_one_only(google, timeouts):
    scene = Scene(google=google)
    assert scene.loop.run_until_complete(scene.prober.probe(scene.member)) is True
    assert scene.client.timeouts == timeouts
    assert all(len(prefix) == 4 for _, prefix in scene.client.asked)
    scene.loop.close()


def test_a_first_request_that_fails_is_learnt_from():
    scene = Scene()
    scene.client.up = False
    for _ in range(3):
        assert scene.loop.run_until_complete(scene.prober.probe(scene.member)) is False
    assert scene.changes == ["opened"]
    assert scene.client.timeouts == [0.5 * PATIENCE] * 3
    scene.loop.close()


@pytest.mark.parametrize(
    ("heartbeat_s", "google", "asked"), [(10.0, False, True), (None, False, False), (10.0, True, False)]
)
def test_a_process_without_traffic_makes_sure(heartbeat_s, google, asked):
    scene = Scene(heartbeat_s=heartbeat_s, google=google)
    scene.run(scene.prober.start, 100)
    assert bool(scene.client.asked) == asked


def test_who_was_asked_a_moment_ago_is_not_asked_by_the_heartbeat():
    scene = Scene(heartbeat_s=10.0)

    async def main():
        scene.prober.start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(100):
                while True:
                    await scene.member.ask([b"1234"], Share.BROWSING, 0.5)
                    await asyncio.sleep(4)
        await scene.prober.aclose()

    scene.loop.run_until_complete(main())
    scene.loop.close()
    assert all(prefix == b"1234" for _, prefix in scene.client.asked)


def test_a_server_that_went_away_is_asked_until_that_is_sure():
    scene = Scene(heartbeat_s=10.0)
    scene.client.up = False
    scene.run(scene.prober.start, 12)
    assert scene.changes == ["opened"]
    times = [at for at, _ in scene.client.asked]
    assert times[2] - times[0] == pytest.approx(2 * AGAIN_S)
