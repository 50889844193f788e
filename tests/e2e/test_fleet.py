"""Two proxies on one PostgreSQL: rules of one hold in the other, one queue, and no flag lost in a restart."""

import itertools
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from e2e.fronts import Front
from e2e.processes import Proxy, Server, curl, needs, server_import, server_publish, wait_for
from e2e.traffic import Traffic
from ledgerkit.postgres import PostgresServer, find_binaries
from secondlook.core.url.canonical import url_subject


class CountingFront(Front):
    """A front that also counts how often each prefix was asked."""

    def __init__(self, behind: str) -> None:
        super().__init__(behind)
        self.times: Counter[bytes] = Counter()

    def _note(self, target: str) -> None:
        before = dict(self.answered)
        self.answered.clear()
        super()._note(target)
        self.times.update(self.answered.keys())
        self.answered = {**self.answered, **before}


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of this module's own."""
    binaries = find_binaries()
    if binaries is None:
        needs("postgres")
    assert binaries is not None
    server = PostgresServer(binaries)
    server.start()
    yield server
    server.remove()


@pytest.fixture
def front(start_server, tmp_path) -> Iterator[CountingFront]:
    """A server that is away until its front relays."""
    harmless = tmp_path / "harmless.txt"
    harmless.write_text("harmless.example\n")
    server_import(tmp_path / "server", "mw-8b", harmless)
    server_publish(tmp_path / "server")
    server: Server = start_server(tmp_path / "server")
    with CountingFront(urlsplit(server.url).netloc) as found:
        found.manner = "error"
        yield found


def configuration(postgres: PostgresServer, front: CountingFront, workers: int = 1) -> str:
    """Settings of a proxy with a fresh database, whose only server is away."""
    return (
        f"workers: {workers}\n"
        f"ledger: '{postgres.database()}'\n"
        "servers:\n"
        "  embedded: false\n"
        "  attempt_timeout: 20s\n"  # on a busy machine one that is slow would be asked twice
        "  budget: 25s\n"
        "  circuit: {backoff_min: 100ms, backoff_max: 500ms}\n"
        f"  intranet: [{{url: '{front.url}', name: office}}]\n"
        "recheck: {first: 1s, longest: 5s, lease: 20s}\n"  # nor may a lease end while its holder is at work
    )


@pytest.fixture
def fleet(start_proxy, postgres, front) -> list[Proxy]:
    """Two proxies with one ledger."""
    config = configuration(postgres, front)
    return [start_proxy(config, name=name) for name in ("north", "south")]


def test_a_rule_made_at_one_proxy_holds_at_the_other(fleet, plain_origin):
    north, south = fleet
    url = plain_origin.url("/offer/setup")
    assert [proxy.curl(url).status for proxy in fleet] == [200, 200]
    slowest = 0.0
    for maker, other in ((north, south), (south, north)):
        for action, status in (("block", 403), ("allow", 200)):
            maker.command(action, url)
            made = time.monotonic()
            wait_for(
                lambda other=other, status=status: other.curl(url).status == status,
                f"the rule of {maker.state.name} at {other.state.name}",
            )
            slowest = max(slowest, time.monotonic() - made)
            (rule,) = [each for each in other.json("rules", "list") if each["action"] == action]
            maker.command("rules", "remove", rule["id"])
            wait_for(lambda other=other: other.curl(url).status == 200, "the rule's end")
    sys.stdout.write(f"a rule was in force at the other proxy {slowest:.2f} s after its command at most\n")


@pytest.mark.parametrize("rounds", [1, pytest.param(25, marks=pytest.mark.soak)])
def test_one_queue_without_double_work_and_no_flag_lost_when_postgresql_restarts(
    rounds, fleet, front, postgres, suffixes
):
    north, south = fleet
    addresses = itertools.cycle(proxy.address for proxy in fleet)
    with Traffic(lambda: next(addresses), pause_s=0.05, name="fleet") as traffic:

        def let_through(mark: int, wanted: int) -> None:
            wait_for(lambda: sum(visit.let_through for visit in traffic.since(mark)) >= wanted, "traffic")

        let_through(0, 30)
        for how in (signal.SIGINT, signal.SIGQUIT) * rounds:  # an orderly restart, and a crash
            postgres.stop(how)
            let_through(traffic.mark(), 20)  # flags go to the journals now
            postgres.start()
            let_through(traffic.mark(), 20)
    passed = {visit.url for visit in traffic.visits if visit.let_through}

    def queued(proxy: Proxy) -> set[str]:
        return {each["url"] for each in proxy.json("queue", "list")}

    wait_for(lambda: passed <= queued(north), "the journals' replay into the queue")
    wait_for(lambda: queued(north) == queued(south), "the same queue at both")

    front.manner = "relay"
    wait_for(lambda: not queued(north), "the second look", 150)
    closed = ("log", "--kind", "cleared,confirmed")
    south.json_when(lambda events: passed <= {each["url"] for each in events}, *closed)
    closings = Counter(each["url"] for each in south.json(*closed))
    assert {url: count for url, count in closings.items() if count > 1} == {}
    twice = [url for url in passed if front.times[url_subject(url, suffixes).identity[:4]] > 1]
    assert twice == []
    sys.stdout.write(
        f"{len(traffic.visits)} requests, {len(passed)} let through and looked at once, {front.times.total()} prefixes asked\n"
    )


def test_while_the_database_is_away_a_proxy_starts_and_its_processes_are_replaced(
    start_proxy, postgres, front, plain_origin
):
    config = configuration(postgres, front, workers=2)
    listed = plain_origin.url("/listed")
    proxy: Proxy = start_proxy(config)
    proxy.command("block", listed)
    wait_for(lambda: proxy.curl(listed).status == 403, "the rule")
    wait_for(lambda: b"/listed" in (proxy.state / "ledger-known.sqlite3").read_bytes(), "its copy")
    postgres.stop(signal.SIGQUIT)
    try:
        proxy.kill_family()
        proxy = start_proxy(config)
        with Traffic(lambda: proxy.address, pause_s=0.05, name="away") as traffic:

            def serves() -> None:
                mark = traffic.mark()
                wait_for(lambda: sum(visit.let_through for visit in traffic.since(mark)) >= 20, "traffic")
                for _ in range(4):  # whichever worker it meets
                    assert "stage=rules" in proxy.curl(listed).headers["x-second-look"]

            serves()
            # the database is no reason not to be ready; that no server answers and there are no lists is one
            wait_for(lambda: b"no lists, and no server answers" in curl(f"{proxy.url}/healthz").body, "503")
            told = wait_for(
                lambda: found if "attention: ledger" in (found := proxy.command("status").stdout) else None,
                "the alert",
            )
            assert "attention: ledger postgresql://" in told
            assert "the rules read last stay in force" in told
            for role in ("worker", "worker", "service"):
                facts = proxy.fresh_facts()
                victim = facts["service"] if role == "service" else facts["workers"][0]
                os.kill(victim, signal.SIGKILL)
                wait_for(lambda victim=victim: victim not in family(proxy), f"another {role}")
                serves()
    finally:
        postgres.start()
    passed = {visit.url for visit in traffic.visits if visit.let_through}
    wait_for(lambda: passed <= {each["url"] for each in proxy.json("queue", "list")}, "the journal's replay")
    wait_for(lambda: proxy.json("log", "--kind", "error"), "the event that the ledger is back")
    wait_for(lambda: "attention: ledger" not in proxy.command("status").stdout, "the alert's end")
    proxy.command("rules", "remove", proxy.json("rules", "list")[0]["id"])
    wait_for(lambda: proxy.curl(listed).status == 200, "the end of the rule")


def family(proxy: Proxy) -> list[int]:
    """Processes that serve, as `run.json` names them."""
    facts = proxy.fresh_facts()
    return [facts["service"], *facts["workers"]]
