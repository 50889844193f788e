"""Who is asked by a real Squid stands still: what its clients get meanwhile, and that it recovers by itself. 60 s."""

import contextlib
import hashlib
import os
import signal
import subprocess
from collections.abc import Iterable, Iterator

import pytest

from e2e.halves import halves
from e2e.processes import wait_for
from e2e.squid import CLOSED, Site, gateway_site
from proxykit.samples import EICAR, program

WORKERS = 2
SIZE = 200_000
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with gateway_site(WORKERS, hung_after="16s") as found:  # what is denied meanwhile takes six
        found.plain.pages["/eicar.com"] = ("application/octet-stream", EICAR)
        yield found


def stop(pids: Iterable[int]) -> None:
    """Have processes stand still."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)


@contextlib.contextmanager
def all_hung(site: Site) -> Iterator[None]:
    """Have all gate workers hang; afterwards wait until the last of them was killed and another runs."""
    hung = site.agent.fresh_facts()["gates"]
    stop(hung)
    yield

    def replaced() -> bool:
        gates = site.agent.fresh_facts()["gates"]
        return None not in gates and not {*gates} & {*hung}

    wait_for(replaced, "all of them replaced", PATIENCE_S)


def status(site: Site, host: str, path: str) -> int:
    """Fetch something through Squid."""
    return site.squid.curl(f"http://{host}:{site.plain.port}{path}").status


def works(site: Site, name: str) -> None:
    """Wait until clean pages pass, and what is listed is refused with our page."""
    wait_for(lambda: status(site, "opened.test", f"/{name}") == 200, f"Squid to recover ({name})", PATIENCE_S)
    refused = site.squid.curl(f"http://malware.secondlook.test:{site.plain.port}/{name}")
    assert (refused.status, "x-second-look" in refused.headers) == (403, True)
    download = site.squid.curl(f"http://opened.test:{site.plain.port}/eicar.com?{name}")
    assert (download.status, "x-second-look" in download.headers) == (403, True)


def denied(site: Site, name: str) -> None:
    """Have everything denied, by a page of Squid's own."""
    for host, path in (
        ("malware.secondlook.test", f"/{name}"),
        ("opened.test", f"/{name}"),
        ("opened.test", f"/eicar.com?{name}"),
    ):
        answer = site.squid.curl(f"http://{host}:{site.plain.port}{path}")
        assert (answer.status in {403, 500, 503}, "x-second-look" in answer.headers) == (True, False), path


def nothing_listed_passed(site: Site) -> set[str]:
    """Return the clean paths that reached the origin."""
    asked = {(host.partition(":")[0], path) for _, host, path in site.plain.requests}
    assert "malware.secondlook.test" not in {host for host, _ in asked}
    return {path for host, path in asked if host == "opened.test"}


def test_while_all_gate_workers_hang_nothing_unsafe_passes_and_squid_recovers_by_itself(site):
    works(site, "before")
    bad = program(SIZE, 7)
    site.agent.command("block", hashlib.sha256(bad).hexdigest())
    with halves(bad) as half:
        # asked about, and half of it under way, when all of them stop
        url, got = f"http://opened.test:{half.port}/half.exe", site.folder / "half.exe"
        client = subprocess.Popen(
            ["curl", "-sSf", "-o", got, "-x", f"http://127.0.0.1:{site.squid.port}", url],
            stderr=subprocess.DEVNULL,
        )
        assert half.begun.wait(PATIENCE_S)
        with all_hung(site):
            half.go_on.set()
            denied(site, "hung")
            assert client.wait(PATIENCE_S) != 0  # no later than they are killed
            assert not got.exists() or len(got.read_bytes()) < SIZE
            works(site, "after")
    reached = nothing_listed_passed(site)
    assert "/hung" not in reached
    assert {"/before", "/after"} <= reached
    urls = {site.plain.url(path, "opened.test") for path in ("/before", "/after")}
    site.agent.json_when(lambda queue: urls <= {each["url"] for each in queue}, "queue", "list")


def test_a_squid_that_starts_while_all_gate_workers_hang_recovers_too(site):
    works(site, "beforehand")
    with all_hung(site):
        site.squid.stop()
        site.squid.start()
        denied(site, "start")
        works(site, "started")
    assert "/start" not in nothing_listed_passed(site)


def test_helpers_that_hang_let_nothing_pass_and_squid_starts_others_when_it_reads_its_settings(site):
    """Squid itself waits for its helpers without end, and ends where those that never answered are killed."""
    works(site, "helpers")
    hanging = site.squid.helpers()
    assert len(hanging) == WORKERS
    stop(hanging)
    try:
        url = f"http://malware.secondlook.test:{site.plain.port}/stuck"
        assert site.squid.curl(url, "--max-time", "1").status == 0
        site.squid.while_nobody_can_tell(CLOSED)
        works(site, "others")
    finally:
        for pid in hanging:
            os.kill(pid, signal.SIGCONT)
    nothing_listed_passed(site)
