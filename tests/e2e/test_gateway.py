"""A real Squid asks us, set up by the lines that are printed for it: blocks, exceptions, users, an agent that is away. 40 s."""

import http.client
import json
import os
import re
import signal

import pytest

from e2e.processes import curl, wait_for
from e2e.squid import CLOSED, OPEN, gateway_site
from proxykit.samples import EICAR, program
from secondlook.cli.setup.squid import outside


@pytest.fixture(scope="module")
def site():
    with gateway_site(workers=2) as found:
        yield found


@pytest.fixture(autouse=True)
def the_agent_runs(site):
    if site.agent.process.poll() is not None:
        site.start_agent()


def event_of(answer):
    assert answer.status == 403, answer
    (event,) = re.findall(r"event=([0-9A-Z]{26});", answer.headers["x-second-look"])
    return event


def blocked(site, url):
    """Wait for the events of a refused URL."""

    def of_it(events):
        return [each for each in events if each["url"] == url]

    return of_it(site.agent.json_when(of_it, "log", "--kind", "blocked"))


def test_the_check_of_the_command_finds_what_works(site):
    words = ["setup", "squid", "--check", "--bump", "--squid", f"127.0.0.1:{site.squid.port}", "--json"]
    done = site.agent.command(*words, check=False)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    steps = {each["step"]: each for each in found}
    network = [] if outside("127.0.0.1") is None else ["network"]
    parts = ["socket", "icap", "pages", "refused", *network, "opened", "response", "large", "download"]
    assert list(steps) == parts
    assert {each["result"] for each in steps.values()} == {"ok"}, steps
    assert done.returncode == 0


@pytest.mark.parametrize(("scheme", "version"), [("http", "1.1"), ("https", "1.1"), ("https", "2")])
def test_a_listed_page_is_refused_with_our_page_and_its_origin_hears_nothing(site, scheme, version):
    """A client that would speak HTTP/2 is among them: Squid has it speak HTTP/1.1."""
    there = site.plain if scheme == "http" else site.tls
    before = there.connections
    url = f"{scheme}://malware.secondlook.test:{there.port}/x{version}"
    as_client = ("-H", "Accept: text/html", "--interface", "127.0.0.2", f"--http{version}")
    answer = site.squid.curl(url, *as_client)
    event = event_of(answer)
    assert answer.headers["content-type"].startswith("text/html")
    assert event.encode() in answer.body
    assert there.connections == before
    (found,) = blocked(site, url)
    assert (found["id"], found["client"], found["class"]) == (event, "127.0.0.2", "page")
    assert found["gateway"] == "squid"


def test_log_and_statistics_know_by_which_gateway_it_came(site):
    """What its helper asks about and what comes by ICAP is of one gateway."""
    url = f"http://malware.secondlook.test:{site.plain.port}/statistics"
    event = event_of(site.squid.curl(url))
    site.agent.json_when(lambda events: event in {each["id"] for each in events}, "log", "--gateway", "squid")
    assert site.agent.json("log", "--gateway", "another") == []

    def counted():
        facts = site.agent.fresh_facts()
        bearer = f"Authorization: Bearer {facts['token']}"
        shown = curl(f"http://{facts['review']}/api/v1/statistics?range=1h", "-H", bearer)
        return [each for each in json.loads(shown.body)["gateways"] if each["blocked"]] or None

    (squid,) = wait_for(counted, "what the gateway asked for in the statistics")
    assert squid["gateway"] == "squid"
    assert squid["checked"] >= squid["blocked"] > 0


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
    (found,) = blocked(site, url)
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
    site.agent.json_when(bool, "log", "--kind", "blocked", "--host", "bad.malware.secondlook.test")


def test_a_piece_of_a_judged_file_is_asked_for_by_its_blocks(site):
    """The printed lines have RESPMOD hear of REQMOD, for a tunnel's requests too."""
    body = program(150_000)
    for scheme, there in (("http", site.plain), ("https", site.tls)):
        there.pages[f"/judged-{scheme}.exe"] = ("application/x-msdownload", body)
        url = f"{scheme}://opened.test:{there.port}/judged-{scheme}.exe"

        def asked(there=there, url=url):
            answer = site.squid.curl(url, "-r", "70000-70009")
            assert (answer.status, answer.body == body) == (200, True)
            return there.ranges or None

        assert wait_for(asked, "both gate workers' judgement") == ["bytes=65536-131071"]


def test_an_exception_is_made_from_the_block_page_through_squid(site):
    url = f"http://malware.secondlook.test:{site.plain.port}/excepted"
    page = f"https://secondlook.internal/blocked/{event_of(site.squid.curl(url, '--interface', '127.0.0.3'))}"
    html = site.squid.curl(page, "-H", "Accept: text/html", "--interface", "127.0.0.3").body.decode()
    (token,) = re.findall(r'name="token" value="([^"]+)"', html)
    assert site.squid.curl(page, "--data-urlencode", f"token={token}").status == 404  # another client
    done = site.squid.curl(page, "--data-urlencode", f"token={token}", "--interface", "127.0.0.3")
    assert done.status == 200
    wait_for(
        lambda: site.squid.curl(url, "--interface", "127.0.0.3").body == b"<h1>origin</h1>",
        "the exception in both gate workers",
    )
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


def test_the_open_form_goes_on_while_all_gate_workers_hang(site):
    """Bodies too, and at once: Squid would wait for ICAP until who hangs is killed, here for ten minutes."""
    site.plain.pages["/eicar.com"] = ("application/octet-stream", EICAR)
    download = f"http://opened.test:{site.plain.port}/eicar.com"
    assert site.squid.curl(f"{download}?closed").status == 403
    gates = site.agent.fresh_facts()["gates"]
    try:
        site.squid.while_nobody_can_tell(OPEN)
        assert site.squid.curl(f"{download}?open").status == 403  # there is a decision
        for pid in gates:
            os.kill(pid, signal.SIGSTOP)
        assert site.squid.curl(f"{download}?hung").body == EICAR
        for pid in gates:
            os.kill(pid, signal.SIGCONT)
        wait_for(lambda: site.squid.curl(f"{download}?again").status == 403 or None, "a decision again")
    finally:
        for pid in gates:
            os.kill(pid, signal.SIGCONT)
        site.squid.while_nobody_can_tell(CLOSED)


def test_the_open_form_looks_into_what_only_the_helper_refused(site):
    """The helper hears of no Accept: to it the request is a page, and REQMOD lets the picture go on."""
    site.plain.pages["/picture"] = ("image/png", EICAR)
    url = f"http://opened.test:{site.plain.port}/picture"
    picture = ("--interface", "127.0.0.9", "-H", "Accept: image/png")
    try:
        site.squid.while_nobody_can_tell(OPEN)
        answer = site.squid.curl(url, *picture)
        assert "/picture" in site.paths(site.plain)
        assert (answer.status, EICAR in answer.body) == (403, False)
    finally:
        site.squid.while_nobody_can_tell(CLOSED)


def test_a_client_asks_on_over_its_connection_after_a_refusal(site):
    link = http.client.HTTPConnection("127.0.0.1", site.squid.port, timeout=60)
    for host, status in (("malware.secondlook.test", 403), ("opened.test", 200)) * 2:
        link.request("GET", f"http://{host}:{site.plain.port}/connection")
        answer = link.getresponse()
        answer.read()
        assert (answer.status, answer.isclosed()) == (status, True)
    link.close()
