"""The promises at the end of the query process, held by a stateful test over the whole machinery."""

import asyncio
import logging
import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from agentkit.virtual import Poll, VirtualLoop
from agentkit.wire import MODES
from agentkit.world import URLS, World

WORKERS = st.sampled_from(["worker-1", "worker-2"])
PROCESSES = st.sampled_from(["worker-1", "worker-2", "service"])
SERVERS = st.sampled_from(["embedded", "intranet-1", "intranet-2", "network"])
SOME_URLS = st.sampled_from(URLS)
EXAMPLES = int(os.environ.get("SECONDLOOK_PROMISES", "50"))
QUICK_EXAMPLES = 5  # of `make quick`


STEPS = {"taken": 0}


class Promises(RuleBasedStateMachine):
    """Whatever servers, disk, clock and processes do, the promises hold."""

    def __init__(self) -> None:
        super().__init__()
        logging.disable(logging.CRITICAL)
        self.world: World | None = None

    @initialize(seed=st.integers(0, 1 << 32))
    def begin(self, seed) -> None:
        self.world = World(seed)

    @rule(name=WORKERS, url=SOME_URLS)
    def visit(self, name, url) -> None:
        self.world.run(self.world.visit(name, url))

    @rule(visits=st.lists(st.tuples(WORKERS, SOME_URLS), min_size=2, max_size=12))
    def visit_at_once(self, visits) -> None:
        async def together() -> None:
            await asyncio.gather(*(self.world.visit(name, url) for name, url in visits))

        self.world.run(together())

    @rule(name=SERVERS, mode=st.sampled_from(MODES))
    def behave(self, name, mode) -> None:
        self.world.servers[name].mode = mode

    @rule(mode=st.sampled_from(["up", "down", "hang"]))
    def all_behave(self, mode) -> None:
        for server in self.world.servers.values():
            server.mode = mode

    @rule(name=SERVERS, url=SOME_URLS)
    def list_it(self, name, url) -> None:
        for other in ("intranet-1", "intranet-2") if name.startswith("intranet") else (name,):
            self.world.servers[other].listed.setdefault(self.world.hash_of(url), self.world.loop.time())
        if name == "embedded":
            self.world.publish()

    @rule(name=SERVERS, url=SOME_URLS)
    def list_it_no_more(self, name, url) -> None:
        for other in ("intranet-1", "intranet-2") if name.startswith("intranet") else (name,):
            self.world.servers[other].listed.pop(self.world.hash_of(url), None)
        if name == "embedded":
            self.world.publish()

    @rule(seconds=st.sampled_from([0.3, 1.2, 5.0, 61.0, 301.0]))
    def wait(self, seconds) -> None:
        self.world.run(asyncio.sleep(seconds))

    @rule(seconds=st.sampled_from([-86_400.0, -600.0, -2.0, 2.0, 600.0, 86_400.0]))
    def jump_clock(self, seconds) -> None:
        self.world.clock.jump(seconds)

    @rule(name=PROCESSES)
    def kill(self, name) -> None:
        self.world.run(self.world.crash(name))

    @rule(
        name=WORKERS, url=SOME_URLS, steps=st.integers(0, 40), wait_s=st.sampled_from([0.0, 0.001, 0.01, 0.4])
    )
    def kill_worker_during_a_visit(self, name, url, steps, wait_s) -> None:
        async def scenario() -> None:
            visit = asyncio.ensure_future(self.world.visit(name, url))
            await asyncio.sleep(wait_s)
            for _ in range(steps):
                await asyncio.sleep(0)
            self.world.processes[name].tasks.append(visit)
            await self.world.crash(name)

        self.world.run(scenario())

    @rule(steps=st.integers(0, 60), wait_s=st.sampled_from([0.0, 0.002, 0.01, 0.3]))
    def kill_service_during_the_second_look(self, steps, wait_s) -> None:
        async def scenario() -> None:
            self.world.processes["service"].rechecker.trigger("test", renew_all=True)
            await asyncio.sleep(wait_s)
            for _ in range(steps):
                await asyncio.sleep(0)
            await self.world.crash("service")

        self.world.run(scenario())

    @rule(full=st.booleans())
    def disk(self, full) -> None:
        self.world.ledger.full = full

    @precondition(lambda self: self.world is not None and self.world.ledger.full)
    @rule(full=st.booleans())
    def journal(self, full) -> None:
        self.world.ledger.journal_full = full

    @invariant()
    def promises(self) -> None:
        if self.world is not None:
            STEPS["taken"] += 1
            self.world.check_promises()

    def teardown(self) -> None:
        logging.disable(logging.NOTSET)
        if self.world is None:
            return
        world = self.world
        try:
            self._recover()
            self._learn()
            self._keep()
            self._forget()
        finally:
            world.run(world.close())
            world.loop.close()

    def _recover(self) -> None:
        """Everything comes back: the queue drains while traffic flows, and nothing is lost."""
        world = self.world
        world.ledger.full = world.ledger.journal_full = False
        for server in world.servers.values():
            server.mode = "up"
        for number in range(40):
            world.run(world.visit("worker-1", URLS[number % len(URLS)]))
            world.run(asyncio.sleep(10.0))
            if number >= len(URLS) and not world.ledger.queue.rows and not world.ledger.flags.journal:
                break
        world.check_promises()
        waiting = [row.entry for row in world.ledger.queue.rows.values()]
        assert not waiting, f"the queue does not drain: {waiting}"
        assert not world.ledger.flags.journal

    def _learn(self) -> None:
        """What a server begins to list is blocked as soon as the answers about it have expired."""
        world = self.world
        for url in (URLS[0], URLS[5]):
            for name in ("intranet-1", "intranet-2", "network"):
                world.servers[name].listed.setdefault(world.hash_of(url), world.loop.time())
        # an answer in which something is listed holds for 300 s, for all that was asked with it
        world.run(asyncio.sleep(301.0))
        for url in (URLS[0], URLS[5]):
            for name in ("worker-1", "worker-2"):
                action = world.run(world.visit(name, url))
                assert action == "block", f"{url} is listed and was let through: {world.last}"
        world.check_promises()
        world.run(asyncio.sleep(900.0))
        for url in (URLS[0], URLS[5]):
            assert world.run(world.visit("worker-2", url)) == "block", f"{url} is listed: {world.last}"
        world.check_promises()

    def _keep(self) -> None:
        """What was let through and is confirmed stays so while nobody answers."""
        world, url = self.world, URLS[1]
        self.all_behave("down")
        action = world.run(world.visit("worker-1", url))
        for name in ("intranet-1", "intranet-2", "network"):
            world.servers[name].listed.setdefault(world.hash_of(url), world.loop.time())
        self.all_behave("up")
        world.run(asyncio.sleep(120.0))
        confirmed = world.confirmed_hits()
        assert action == "block" or world.hash_of(url) in confirmed, f"{url} is not confirmed: {world.last}"
        self.all_behave("down")
        world.run(asyncio.sleep(900.0))
        assert confirmed <= world.confirmed_hits()
        self.all_behave("up")
        world.check_promises()

    def _forget(self) -> None:
        """Nobody lists anything any more: every block ends."""
        world = self.world
        for server in world.servers.values():
            server.listed.clear()
        world.publish()
        world.run(asyncio.sleep(700.0))
        for url in URLS:
            for name in ("worker-1", "worker-2"):
                action = world.run(world.visit(name, url))
                assert action == "allow", f"{url} is blocked for ever: {world.last}"
        world.check_promises()


def test_a_poll_ends_with_the_first_look_that_finds_something() -> None:
    news, looks = [], []

    async def watch() -> None:
        while len(looks) < 3:
            await asyncio.sleep(Poll(0.5, lambda: not news))
            looks.append(loop.time())
            news.clear()

    async def story() -> None:
        watching = asyncio.create_task(watch())
        for seconds in (2.7, 0.6, 1.2):
            await asyncio.sleep(seconds)
            news.append(seconds)
        await watching

    loop = VirtualLoop()
    loop.run_until_complete(story())
    loop.close()
    assert looks == pytest.approx([3.0, 3.5, 5.0])


def test_the_heartbeat_sees_a_server_go_and_come_back_though_looks_at_what_is_up_are_left_out() -> None:
    world = World()
    members = world.processes["service"].lookup._all_members()
    asked, healthy = [], []
    for mode in ("up", "down", "up"):
        for server in world.servers.values():
            server.mode = mode
        before = world.loop.time()
        world.run(asyncio.sleep(90.0))
        asked.append(sum(member.heard_at is not None and member.heard_at > before for member in members))
        healthy.append(sum(member.healthy for member in members))
    world.run(world.close())
    world.loop.close()
    assert (asked, healthy) == ([0, 4, 4], [4, 0, 4])


@pytest.mark.timeout(900)
def test_the_promises_hold(pytestconfig) -> None:
    """Two thousand steps and more, each followed by a look at every promise."""
    examples = min(EXAMPLES, QUICK_EXAMPLES) if pytestconfig.getoption("quick") else EXAMPLES
    STEPS["taken"] = 0
    how = settings(
        max_examples=examples,
        stateful_step_count=50,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=True,
    )
    while STEPS["taken"] < 40 * examples:  # Hypothesis may end some examples early
        run_state_machine_as_test(Promises, settings=how)
