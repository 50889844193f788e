"""What `doctor` is for, each trouble made for real: it is found, named, and told with what to do (10 s).

One proxy runs well, and `doctor` ends with 0; each trouble is then the only one, and ends it with 1.
"""

import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from e2e.processes import Proxy, make_certificate
from e2e.test_full_disk import fill, small_disk
from secondlook.agent.pattern.alerts import ALERTS, misfit_key, read_alerts
from secondlook.cli.operation import doctor
from secondlook.ledger.ledger import Ledger
from secondlook.run.authority import make_authority
from secondlook.server.feeds.feed_state import FeedState, write_state
from secondlook.server.store.feeds_off import Off, write_off
from serverkit import make_store
from serverkit.ports import free_port

HOUR_S = 3600
QUIC_ORIGIN = "192.0.2.9"  # of this module's own browser


def findings(*arguments, **env) -> tuple[int, dict[str, list[dict[str, str]]]]:
    done = CliRunner().invoke(doctor.app, ["--json", *map(str, arguments)], env=env)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    found: dict[str, list[dict[str, str]]] = {}
    for line in done.stdout.splitlines():
        each = json.loads(line)
        found.setdefault(each["check"], []).append(each)
    return done.exit_code, found


@pytest.fixture(scope="module")
def well(tmp_path_factory) -> Iterator[Callable[..., list[dict[str, str]]]]:
    """Give a function that runs `doctor` on a good proxy with another configuration, and gives the problems."""
    folder = tmp_path_factory.mktemp("doctor")
    (folder / "home").mkdir()
    config = folder / "proxy.yaml"
    config.write_text("workers: 1\nservers: {embedded: true}\n")
    (folder / "state").mkdir(mode=0o700)
    proxy = Proxy(folder / "state", config)
    proxy.facts["folder"] = folder

    def examine(text: str | None = None, **env: str) -> list[dict[str, str]]:
        other = folder / "other.yaml"
        other.write_text(config.read_text() if text is None else text)
        surroundings = {"HOME": str(folder / "home"), "SSL_CERT_FILE": str(proxy.ca), **env}
        status, found = findings("-c", other, "--state", proxy.state, **surroundings)
        problems = [each for checks in found.values() for each in checks if each["result"] == "problem"]
        assert status == (1 if problems else 0)
        # Tests beside this one share the machine's table of connections.
        problems = [
            each for each in problems if QUIC_ORIGIN in each["text"] or "past the proxy" not in each["text"]
        ]
        assert all(each["remedy"] for each in problems)
        return problems

    examine.proxy = proxy  # type: ignore[attr-defined]
    yield examine
    proxy.stop()


def only(problems: list[dict[str, str]], check: str) -> dict[str, str]:
    (found,) = problems
    assert found["check"] == check
    return found


def test_when_all_is_well_it_ends_with_0(well):
    assert well() == []


def test_an_authority_that_is_not_trusted(well, tmp_path):
    nobody = make_certificate(tmp_path, "localhost")[0]
    found = only(well(SSL_CERT_FILE=str(nobody)), "ca")
    assert "does not trust the CA" in found["text"]
    assert "secondlook setup ca" in found["remedy"]


BROWSER = f"""
import socket, sys
quic = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
try:
    quic.connect(("{QUIC_ORIGIN}", 443))  # sends nothing
except OSError:
    print("no route to anywhere", flush=True)
print("open", flush=True)
sys.stdin.read()
"""


def test_a_browser_that_talks_quic(well):
    """The browser is a process of its own: a socket of this one lives on in what is forked meanwhile."""
    with subprocess.Popen(
        [sys.executable, "-c", BROWSER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as browser:
        if browser.stdout.readline() != "open\n":
            pytest.skip("no route to anywhere")
        found = only(well(), "bypass")
        browser.stdin.close()
    assert f"talks QUIC to {QUIC_ORIGIN} past the proxy" in found["text"]
    assert "UDP port 443" in found["remedy"]


def test_a_browser_that_resolves_names_by_itself(well, tmp_path):
    profile = tmp_path / ".mozilla/firefox/abc.default"
    profile.mkdir(parents=True)
    (profile / "prefs.js").write_text('user_pref("network.trr.mode", 3);\n')
    found = only(well(HOME=str(tmp_path)), "bypass")
    assert "Firefox uses DNS over HTTPS of its own" in found["text"]
    assert "secure DNS" in found["remedy"]


def test_lists_that_nobody_confirmed_for_long(well):
    found = only(well("servers: {embedded: true}\npattern: {stale_after: 1ms}\n"), "pattern")
    assert "last confirmed" in found["text"]
    assert "secondlook pattern update" in found["remedy"]


def test_a_server_that_cannot_be_reached(well):
    url = f"http://127.0.0.1:{free_port()}"
    found = only(well(f"servers: {{embedded: true, intranet: [{{url: '{url}', name: away}}]}}\n"), "server")
    assert "away (intranet) cannot be reached" in found["text"]
    assert "whether it runs" in found["remedy"]


def test_a_server_that_answers_here_and_not_the_processes_that_run(well):
    """Their view comes from the service, which looks at its own servers alone: this one it does not know."""
    folder = well.proxy.state / "pattern"
    before = read_alerts(folder)
    told = {misfit_key("office"): "the running processes cannot use office: certificate not trusted; mend it"}
    (folder / ALERTS).write_text(json.dumps(before | told))
    url = well.proxy.facts["server"]
    try:
        problems = well(f"servers: {{embedded: true, intranet: [{{url: '{url}', name: office}}]}}\n")
    finally:
        (folder / ALERTS).write_text(json.dumps(before))
    assert told[misfit_key("office")] in problems[0]["text"]
    found = only(problems[1:], "server")
    assert found["text"].startswith("office (intranet) serves generation")
    assert found["text"].endswith("but the running processes cannot use office: certificate not trusted")
    assert "secondlook reload" in found["remedy"]


@pytest.fixture
def elsewhere(well) -> Iterator[Callable[[float], str]]:
    """Give a function that makes the proxy's own server known again by an address with another time of day."""
    inner = str(well.proxy.facts["server"])
    started: list[ThreadingHTTPServer] = []

    def start(ahead_s: float) -> str:
        class Front(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with urllib.request.urlopen(inner + self.path) as answer:
                    self.answer(answer.read())

            def do_HEAD(self) -> None:
                self.answer(b"")

            def answer(self, body: bytes) -> None:
                self.send_response_only(200)
                self.send_header("Date", formatdate(time.time() + ahead_s, usegmt=True))
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Front)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        started.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("ahead_s", "told"), [(-2 * HOUR_S, "ahead of"), (HOUR_S, "behind")])
def test_a_clock_that_differs_from_a_server_s(well, elsewhere, ahead_s, told):
    url = elsewhere(ahead_s)
    found = only(well(f"servers: {{embedded: true, intranet: [{{url: '{url}'}}]}}\n"), "clock")
    assert f"s {told} that of 127.0.0.1" in found["text"]
    assert "timedatectl" in found["remedy"]


def test_a_clock_that_agrees_with_a_server_s(well, elsewhere):
    assert well(f"servers: {{embedded: true, intranet: [{{url: '{elsewhere(1)}'}}]}}\n") == []


def test_a_clock_that_was_set_back(well):
    left = well.proxy.state / "left-by-an-earlier-run"
    left.touch()
    os.utime(left, (time.time() + HOUR_S, time.time() + HOUR_S))
    try:
        found = only(well(), "clock")
    finally:
        left.unlink()  # whatever fails here: the next test has the same folder
    assert "behind" in found["text"]
    assert "timedatectl" in found["remedy"]


# -- what cannot be while a proxy runs there --------------------------------------------------------


def test_a_proxy_that_speaks_no_http_is_not_called_dead(tmp_path):
    config = tmp_path / "proxy.yaml"
    config.write_text("workers: 1\nmode: socks5\n")
    proxy = Proxy(tmp_path / "state", config, "--listen", "[::1]:0")
    try:
        found = findings("-c", config, "--state", proxy.state)[1]["proxy"]
        addresses = proxy.facts["listen"]
        assert [(each["result"], each["remedy"]) for each in found] == [("ok", None)] * 2
        assert [each["text"] for each in found] == [
            f"the proxy takes connections on {address} (mode socks5)" for address in addresses
        ]
        proxy.command("pause", "5", "--client", "192.0.2.7")
        told = proxy.command("status").stdout
        assert f"  {'  '.join(addresses)}\n" in told
        assert "PAUSED for 192.0.2.7 until" in told
        assert proxy.json("status")[0]["paused_for"] == ["192.0.2.7"]
    finally:
        proxy.stop()


def test_a_port_that_another_program_has(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        config = tmp_path / "proxy.yaml"
        config.write_text(f"listen: {address}\nreview: {{listen: '127.0.0.1:0'}}\n")
        status, found = findings("-c", config, "--state", tmp_path / "state")
    assert status == 1
    (port,) = found["port"]
    assert (port["result"], port["text"]) == (
        "problem",
        f"{address} cannot be listened on: Address already in use",
    )
    assert "`listen`" in port["remedy"]


def test_a_damaged_ledger(tmp_path):
    state = tmp_path / "state"
    ledger = state / "ledger.sqlite3"
    Ledger.open(ledger).close()
    with closing(sqlite3.connect(ledger)) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert findings("--state", state)[1]["ledger"][0]["result"] == "ok"
    size = ledger.stat().st_size
    with ledger.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xff" * (size // 2))
    status, found = findings("--state", state)
    assert status == 1
    (told,) = found["ledger"]
    assert told["result"] == "problem"
    assert told["text"].replace(str(state), "").count("damaged") == 1
    assert "sets the damaged file aside" in told["remedy"]


def test_a_database_that_is_away_is_not_called_damaged(tmp_path):
    config = tmp_path / "proxy.yaml"
    config.write_text(f"ledger: {{url: 'postgresql://nobody@127.0.0.1:{free_port()}/none'}}\n")
    (told,) = findings("-c", config, "--state", tmp_path / "state")[1]["ledger"]
    assert told["result"] == "problem"
    assert "damaged" not in told["text"] + told["remedy"]
    assert "ledger.url" in told["remedy"]


def test_a_folder_that_cannot_be_written(tmp_path: Path):
    with small_disk(tmp_path / "disk", 8) as disk:
        make_authority(disk / "state" / "ca", "ecdsa")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        (told,) = findings("--state", disk / "state")[1]["disk"]
    assert (told["result"], told["text"]) == ("problem", f"{disk / 'state'} cannot be written")
    assert "free some space" not in told["remedy"]


def test_a_feed_that_never_came(tmp_path: Path):
    config = tmp_path / "proxy.yaml"
    config.write_text(
        "feeds:\n- {name: mute, url: 'http://127.0.0.1:1/a', threat: malware}\n"
        "- {name: good, url: 'http://127.0.0.1:1/b', threat: malware}\n"
    )
    feeds = tmp_path / "state/server/feeds"
    feeds.parent.mkdir(parents=True)
    write_state(feeds, "mute", FeedState(error="refused", failures=3))
    write_state(feeds, "good", FeedState(good_at=time.time()))
    (told,) = findings("--state", tmp_path / "state", "-c", config)[1]["feed"]
    assert (told["result"], told["text"]) == ("problem", "the feed mute never came: refused")
    assert "stays blocked" not in told["remedy"]  # it has named nothing yet
    write_state(feeds, "good", FeedState(good_at=time.time() - 7200, error="refused", failures=1))
    fails = findings("--state", tmp_path / "state", "-c", config)[1]["feed"][1]
    assert fails["text"] == "the feed good last came 2.0 h ago: refused"
    assert "what it last named stays blocked" in fails["remedy"]


def test_the_last_feed_is_off(tmp_path: Path):
    config = tmp_path / "proxy.yaml"
    config.write_text("feeds: [{name: last, url: 'http://127.0.0.1:1/a', enabled: false}]\n")
    store = make_store(tmp_path / "state", ["evil.example"])
    [source] = store.sources()
    store.change_source(replace(source, name="last", kind="feed"))
    write_off(store.root, {"last": Off(time.time())})
    (told,) = findings("--state", tmp_path / "state", "-c", config)[1]["feed"]
    assert (told["result"], told["text"].split(":")[0]) == ("problem", "no list protects any more")


def test_a_damaged_certificate(tmp_path: Path):
    certificate = tmp_path / "ca/mitmproxy-ca-cert.pem"
    make_authority(certificate.parent, "ecdsa")
    certificate.write_bytes(certificate.read_bytes()[:100])
    (told,) = findings("--state", tmp_path)[1]["ca"]
    assert (told["result"], f"{certificate} is damaged" in told["text"]) == ("problem", True)
    assert "start the proxy again" in told["remedy"]


def test_a_full_disk(tmp_path: Path):
    with small_disk(tmp_path / "disk", 8) as disk:
        make_authority(disk / "state" / "ca", "ecdsa")
        fill(disk)
        status, found = findings("--state", disk / "state")
    assert status == 1
    (told,) = found["disk"]
    assert (told["result"], told["text"]) == ("problem", f"0.0 GiB free for {disk / 'state'}")
    assert "free some space" in told["remedy"]
