"""A real Squid asks us, set up by the lines that are printed for it: blocks, exceptions, users, failures. 50 s."""

import contextlib
import http.client
import json
import os
import re
import signal
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from e2e.processes import Proxy, make_certificate, origin, wait_for
from e2e.squid import CLOSED, OPEN, Squid
from serverkit.ports import free_port

CONFIG = """\
mode: none
gateway:
  enabled: true
  socket: {folder}/gateway.sock
  workers: 2
  icap: 127.0.0.1:{icap}
passthrough: [spliced.test, bad.malware.secondlook.test]
servers: {{intranet: [{{url: "http://127.0.0.1:9", insecure: true}}]}}  # away: what is unknown is flagged
"""
KILLS = 4


class Site:
    """The agent, the Squid that asks it, and two origins."""

    def __init__(self, folder: Path, plain, tls) -> None:
        self.folder, self.plain, self.tls = folder, plain, tls
        self.config = folder / "proxy.yaml"
        self.config.write_text(CONFIG.format(folder=folder, icap=free_port()))
        self.agent = Proxy(folder / "state", self.config)
        self.squid = Squid(folder, self.agent, folder / "origin.pem")

    def start_agent(self) -> None:
        self.agent = self.squid.agent = Proxy(self.agent.state, self.config)

    def paths(self, origin):
        return [path for _, _, path in origin.requests]


@pytest.fixture(scope="module")
def site():
    with TemporaryDirectory(prefix="slg", dir="/tmp") as name:  # a socket's path has to be short
        folder = Path(name)
        certificate = make_certificate(folder, "opened.test", "spliced.test", "malware.secondlook.test")
        with origin() as plain, origin(certificate=certificate) as tls:
            site = Site(folder, plain, tls)
            try:
                yield site
            finally:
                site.squid.stop()
                if site.agent.process.poll() is None:
                    site.agent.stop()


@pytest.fixture(autouse=True)
def the_agent_runs(site):
    if site.agent.process.poll() is not None:
        site.start_agent()


def event_of(answer):
    assert answer.status == 403, answer
    (event,) = re.findall(r"event=([0-9A-Z]{26});", answer.headers["x-second-look"])
    return event


def test_the_check_of_the_command_finds_what_works(site):
    words = ["setup", "squid", "--check", "--bump", "--squid", f"127.0.0.1:{site.squid.port}", "--json"]
    done = site.agent.command(*words, check=False)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    steps = {each["step"]: each for each in found}
    assert list(steps) == ["socket", "icap", "pages", "refused", "opened", "response", "large", "download"]
    assert {each["result"] for each in steps.values()} == {"ok"}, steps
    assert done.returncode == 0


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_listed_page_is_refused_with_our_page_and_its_origin_hears_nothing(site, scheme):
    there = site.plain if scheme == "http" else site.tls
    before = there.connections
    url = f"{scheme}://malware.secondlook.test:{there.port}/x"
    answer = site.squid.curl(url, "-H", "Accept: text/html", "--interface", "127.0.0.2")
    event = event_of(answer)
    assert answer.headers["content-type"].startswith("text/html")
    assert event.encode() in answer.body
    assert there.connections == before
    found = [each for each in site.agent.json("log", "--kind", "blocked") if each["url"] == url]
    assert [(each["id"], each["client"], each["class"]) for each in found] == [(event, "127.0.0.2", "page")]


def test_an_upload_to_a_listed_host_is_refused_before_it_is_sent(site):
    (site.folder / "upload").write_bytes(bytes(8 << 20))
    before = site.plain.connections
    url = f"http://malware.secondlook.test:{site.plain.port}/up"
    answer = site.squid.curl(url, "-T", str(site.folder / "upload"), "-w", "%{stderr}sent=%{size_upload}")
    event_of(answer)
    assert int(re.findall(r"sent=(\d+)", answer.error)[0]) < 1 << 20
    assert site.plain.connections == before


def test_the_user_is_whom_squid_names(site):
    url = f"http://malware.secondlook.test:{site.plain.port}/user"
    answer = site.squid.curl(url, login="anna")
    (found,) = [each for each in site.agent.json("log", "--kind", "blocked") if each["url"] == url]
    assert (found["id"], found["user"]) == (event_of(answer), "anna")
    assert site.squid.curl(f"http://malware.secondlook.test:{site.plain.port}/nobody", login=":").status in {
        403,
        407,
    }


def test_a_host_that_is_passed_through_keeps_its_certificate_and_a_listed_one_gets_no_tunnel(site):
    own = ["--cacert", str(site.folder / "origin.pem")]
    assert site.squid.curl(f"https://spliced.test:{site.tls.port}/s", *own).body == b"<h1>origin</h1>"
    assert site.squid.curl(f"https://opened.test:{site.tls.port}/o").body == b"<h1>origin</h1>"  # ours
    before = site.tls.connections
    refused = site.squid.curl(f"https://bad.malware.secondlook.test:{site.tls.port}/", *own)
    assert refused.exit != 0
    assert site.tls.connections == before
    hosts = {each["host"] for each in site.agent.json("log", "--kind", "blocked")}
    assert "bad.malware.secondlook.test" in hosts


def test_an_exception_is_made_from_the_block_page_through_squid(site):
    url = f"http://malware.secondlook.test:{site.plain.port}/excepted"
    page = f"https://secondlook.internal/blocked/{event_of(site.squid.curl(url, '--interface', '127.0.0.3'))}"
    html = site.squid.curl(page, "-H", "Accept: text/html", "--interface", "127.0.0.3").body.decode()
    (token,) = re.findall(r'name="token" value="([^"]+)"', html)
    assert site.squid.curl(page, "--data-urlencode", f"token={token}").status == 404  # another client
    done = site.squid.curl(page, "--data-urlencode", f"token={token}", "--interface", "127.0.0.3")
    assert done.status == 200
    assert site.squid.curl(url, "--interface", "127.0.0.3").body == b"<h1>origin</h1>"
    event_of(site.squid.curl(url, "--interface", "127.0.0.4"))  # for whom it was not made


def test_a_killed_agent_is_closed_or_open_as_the_variable_says(site):
    def fetch(path):
        return site.squid.curl(f"http://opened.test:{site.plain.port}{path}")

    assert fetch("/before").status == 200
    site.agent.kill_family()
    answer = fetch("/closed")
    assert answer.status in {403, 500, 503}
    assert "x-second-look" not in answer.headers
    assert "/closed" not in site.paths(site.plain)
    try:
        site.squid.while_nobody_can_tell(OPEN)
        assert wait_for(lambda: fetch("/open").status == 200 or None, "Squid going on by itself")
        site.start_agent()
        listed = f"http://malware.secondlook.test:{site.plain.port}/open"
        wait_for(lambda: site.squid.curl(listed).status == 403 or None, "a refusal in the open form")
        assert "/open" in site.paths(site.plain)
    finally:
        site.squid.while_nobody_can_tell(CLOSED)
    assert wait_for(lambda: fetch("/after").status == 200 or None, "the closed form")


def kill_one(agent):
    """Kill a gate worker, where one of those that are known still runs."""
    for gate in agent.fresh_facts()["gates"]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(gate, signal.SIGKILL)
            return True
    return None


def test_nothing_is_lost_when_gate_workers_are_killed_under_load(site):
    ended = threading.Event()
    asked = []

    def load(number):
        for count in range(10_000):
            if ended.is_set():
                return
            path = f"/load/{number}/{count}"
            link = http.client.HTTPConnection("127.0.0.1", site.squid.port, timeout=60)
            try:
                link.request("GET", f"http://opened.test:{site.plain.port}{path}")
                if link.getresponse().status == 200:
                    asked.append(path)
            except (OSError, http.client.HTTPException):
                pass
            finally:
                link.close()

    threads = [threading.Thread(target=load, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(KILLS):
            before = len(asked)
            wait_for(lambda: len(asked) > before + 20 or None, "traffic", 120)  # noqa: B023
            wait_for(lambda: kill_one(site.agent), "a gate worker")
        before = len(asked)
        wait_for(lambda: len(asked) > before + 20 or None, "traffic after the last", 120)
    finally:
        ended.set()
        for thread in threads:
            thread.join(120)
    reached = {path for path in site.paths(site.plain) if path.startswith("/load/")}
    assert len(reached) >= 20 * KILLS
    queued = {each["url"].partition(f":{site.plain.port}")[2] for each in site.agent.json("queue", "list")}
    assert reached <= queued
