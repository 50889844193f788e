"""Two intranet servers and one network server break in every way, in turn, under continuous traffic."""

import signal
import time
from dataclasses import dataclass

import pytest

from e2e.fronts import FAULTS, Front
from e2e.processes import Proxy, Server, server_import, server_publish, wait_for
from e2e.traffic import Traffic, Visit

BUDGET_S = 1.5  # servers.budget as it is by default
PAUSE_S = (
    0.05  # of each client between two requests: enough of them to notice whatever happens to the servers
)
ATTEMPT_S = 0.6  # a little more than servers.attempt_timeout
# What lies beside the check on a busy machine: two processes that must be scheduled in turn, the origin's
# answer, and a flag's commit (bounded by ledger.deadline). The clients' own lateness comes on top. A check
# that waited for a server which hangs would wait until its fault is over, or for ever.
BESIDE_S = 10.0


@dataclass
class Watch:
    """Waits until a circuit is seen in the metrics."""

    proxy: Proxy

    def circuit(self, server: str) -> float:
        """0 closed, 1 half open, 2 open: the worst of all processes."""
        return max(
            value
            for name, value in self.proxy.metrics().items()
            if name.startswith("secondlook_lookup_circuit{") and f'server="{server}"' in name
        )

    def opened(self, server: str) -> None:
        """Wait until a process leaves the server alone."""
        wait_for(lambda: self.circuit(server) == 2 or None, f"the open circuit of {server}")

    def closed(self, server: str) -> None:
        """Wait until every process asks the server again."""
        wait_for(lambda: self.circuit(server) == 0 or None, f"the closed circuit of {server}")

    def answered(self, server: str) -> float:
        """Count the queries that a server has answered."""
        return self.proxy.metrics().get(
            f'secondlook_lookup_queries_total{{outcome="answered",server="{server}"}}', 0.0
        )


def settle(traffic: Traffic) -> None:
    """Let the attempts of one fault end before the next begins."""
    settled = time.monotonic() + ATTEMPT_S
    wait_for(lambda: any(visit.started > settled for visit in traffic.visits[-4:]) or None, "traffic")


def assert_flowing(visits: list[Visit], traffic: Traffic) -> None:
    """Every page came, and none waited longer than the budget."""
    assert visits, "no traffic at all"
    assert {visit.status for visit in visits} == {200}
    slowest = max(visits, key=lambda visit: visit.took_s)
    assert slowest.took_s <= BUDGET_S + BESIDE_S + traffic.latest_s, slowest


@pytest.mark.parametrize("flags", [400, pytest.param(10_000, marks=pytest.mark.soak)])
def test_every_fault_of_every_server_under_traffic(  # noqa: PLR0915 - one story
    start_proxy, start_server, memory_path, flags
):
    harmless = memory_path / "harmless.txt"
    harmless.write_text("harmless.example\n")
    server_import(memory_path / "first", "mw-8b", harmless)
    server_publish(memory_path / "first")
    for name in ("second", "third"):
        (memory_path / name).symlink_to(memory_path / "first", target_is_directory=True)
    first: Server = start_server(memory_path / "first", address="127.0.0.2")
    second: Server = start_server(memory_path / "second", address="127.0.0.3")
    third: Server = start_server(memory_path / "third", address="127.0.0.4")
    with Front(second.url.removeprefix("http://"), address="127.0.0.3") as front:
        proxy: Proxy = start_proxy(
            "workers: 2\n"
            "servers:\n"
            "  embedded: false\n"
            "  order: random\n"
            "  circuit: {backoff_min: 100ms, backoff_max: 1s}\n"
            "  intranet:\n"
            f"  - {{url: '{first.url}', name: first}}\n"
            f"  - {{url: '{front.url}', name: second}}\n"
            f"  network: {{url: '{third.url}', name: third}}\n"
            "recheck: {first: 5s, longest: 10s}\n",
            folder=memory_path,
        )
        watch = Watch(proxy)
        with Traffic(lambda: proxy.address, pause_s=PAUSE_S) as traffic:
            wait_for(lambda: len(traffic.visits) > 20 or None, "traffic")

            for fault in FAULTS:  # one intranet server
                front.manner = fault
                watch.opened("second")
                front.manner = "relay"
                watch.closed("second")
                settle(traffic)

            first.process.send_signal(signal.SIGSTOP)  # accepts and never answers
            watch.opened("first")
            first.process.send_signal(signal.SIGCONT)
            watch.closed("first")

            first.kill()
            watch.opened("first")
            watch.closed("second")
            # one intranet server is enough: what a busy machine had flagged is looked at again, and no more comes
            proxy.json_when(lambda queue: not queue, "queue", "list")

            front.manner = "hang"  # now both are gone: the network server takes over
            watch.opened("second")
            before = watch.answered("third")
            wait_for(lambda: watch.answered("third") > before + 20 or None, "answers of the network server")

            traffic.pause_s = 0.01
            third.kill()  # and now nobody is left
            alone = traffic.mark()
            alone_at = time.monotonic()
            watch.opened("third")
            wait_for(
                lambda: len(traffic.since(alone)) > flags + len(traffic.clients) or None,
                f"{flags} flagged subjects",
                120 + flags / 20,
            )
            unverified = {visit.url for visit in traffic.since(alone) if visit.started >= alone_at}
            assert len(unverified) >= flags

            traffic.pause_s = PAUSE_S
            back = traffic.mark()
            front.manner = "relay"
            first = start_server(memory_path / "first", address="127.0.0.2", port=first.port)
            third = start_server(memory_path / "third", address="127.0.0.4", port=third.port)
            for name in ("first", "second", "third"):
                watch.closed(name)

            def drained() -> bool | None:
                return watch.proxy.metrics()["secondlook_queue_entries"] == 0 or None

            wait_for(drained, "the second look at all of them", 120 + flags / 100)
            during = traffic.since(back)
            wait_for(lambda: len(traffic.since(back)) > len(during) + 20 or None, "traffic after it")
        assert_flowing(traffic.visits, traffic)

    proxy.json_when(
        lambda events: unverified <= {event["url"] for event in events}, "log", "--kind", "cleared"
    )
    proxy.json_when(lambda queue: not queue, "queue", "list")
    told = proxy.json("log", "--kind", "server")
    for name, faults in (("first", 2), ("second", len(FAULTS) + 1), ("third", 1)):
        of_server = [event["detail"] for event in told if event["server"] == name]
        assert sum(detail.startswith("opened: ") for detail in of_server) >= faults, of_server
        assert sum(detail.startswith("closed: ") for detail in of_server) >= faults, of_server
    why = {event["detail"].removeprefix("opened: ") for event in told if event["server"] == "second"}
    for expected in ("timeout", "status 500", "not a protobuf message", "broken or cut off"):
        assert any(expected in detail for detail in why), why
