"""Traffic through Squid while its agent is killed, hangs, is read anew and Squid itself is restarted. 40 s.

Squid is set up by the printed lines in their closed form; the server is away, so that what is unknown is flagged.
"""

import contextlib
import http.client
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator

from e2e.processes import Proxy, lives, wait_for
from e2e.squid import Site, gateway_site

WORKERS = 4
CLIENTS = 12
KILLS = 20
PAUSE_S = 0.2  # of each client between two requests, where nothing is killed in the middle of one
WENT_ON = 5  # requests that get through between two troubles
PATIENCE_S = 120.0


class Load:
    """Clients that ask for a new page, then for a listed one, again and again; each has one connection."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._ended = threading.Event()
        self.pause_s = 0.0
        self.passed: list[str] = []  # clean paths that were answered with 200
        self.listed: Counter[int] = Counter()  # answers about listed ones by status; 0: none
        self._threads = [threading.Thread(target=self._ask, args=(each,)) for each in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _ask(self, number: int) -> None:
        link: http.client.HTTPConnection | None = None
        count = 0
        while not self._ended.is_set():
            count += 1
            link = link or http.client.HTTPConnection("127.0.0.1", self._site.squid.port, timeout=60)
            status = path = None
            bad = count % 2 == 0
            host, path = "malware.secondlook.test" if bad else "opened.test", f"/load/{number}/{count}"
            try:
                link.request("GET", f"http://{host}:{self._site.plain.port}{path}")
                answer = link.getresponse()
                answer.read()
                status = answer.status
            except (OSError, http.client.HTTPException):
                link.close()
                link = None
            if bad:
                self.listed[status or 0] += 1
            elif status == 200:
                self.passed.append(path)
            self._ended.wait(self.pause_s)
        if link is not None:
            link.close()

    def goes_on(self, what: str) -> None:
        """Wait until some more requests got through."""
        before = len(self.passed)
        wait_for(lambda: len(self.passed) >= before + WENT_ON or None, f"traffic {what}", PATIENCE_S)

    def end(self) -> None:
        """Stop asking."""
        self._ended.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)


def running(agent: Proxy) -> list[int]:
    """Return the gate workers that run."""
    return [gate for gate in agent.fresh_facts()["gates"] if gate and lives(gate)]


def kill_one(agent: Proxy, number: int) -> bool:
    """Kill a gate worker, a different one each time; False where none runs."""
    gates = running(agent)
    if not gates:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(gates[number % len(gates)], signal.SIGKILL)
        return True
    return False


@contextlib.contextmanager
def hanging(agent: Proxy) -> Iterator[None]:
    """Have all gate workers hang."""
    gates = wait_for(lambda: gates if len(gates := running(agent)) == WORKERS else None, "all gate workers")
    for gate in gates:
        os.kill(gate, signal.SIGSTOP)
    try:
        yield
    finally:
        for gate in gates:
            os.kill(gate, signal.SIGCONT)


def test_nothing_listed_passes_and_no_flag_is_lost_whatever_happens_to_who_is_asked() -> None:
    with gateway_site(WORKERS) as site:
        load = Load(site)
        try:
            load.goes_on("at the beginning")
            for number in range(KILLS):
                wait_for(lambda: kill_one(site.agent, number), "a gate worker")  # noqa: B023
                load.goes_on(f"after kill {number + 1}")
            load.pause_s = PAUSE_S  # until all gate workers are back seconds pass
            with hanging(site.agent):
                denied = site.squid.curl(f"http://opened.test:{site.plain.port}/hung")
            assert denied.status in {403, 500, 503}
            assert "x-second-look" not in denied.headers
            load.goes_on("after all of them hung")
            site.config.write_text(site.config.read_text() + "policy: {level: high}\n")
            site.agent.command("reload")
            load.goes_on("after a reload")
            site.squid.stop()
            site.squid.start()
            load.goes_on("after Squid's restart")
        finally:
            load.end()
        assert load.listed[200] == 0
        assert load.listed[403] > KILLS
        asked = {(host.partition(":")[0], path) for _, host, path in site.plain.requests}
        assert ("opened.test", "/hung") not in asked
        assert not {path for host, path in asked if host == "malware.secondlook.test"}
        reached = {path for host, path in asked if host == "opened.test"}
        assert reached >= set(load.passed)
        urls = {site.plain.url(path, "opened.test") for path in reached}
        site.agent.json_when(lambda queue: urls <= {each["url"] for each in queue}, "queue", "list")
