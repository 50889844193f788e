"""A pinned program is learned: its TLS passes unopened for a while, and its host is checked all the same (15 s)."""

import socket
import ssl
from pathlib import Path

import pytest

from e2e.origin import origin
from e2e.processes import Answer, Proxy, curl, make_certificate, wait_for

CONFIG = """
workers: WORKERS
feeds: [{name: test, builtin: test}]
mitmproxy: {ssl_insecure: true}
passthrough: {learn: {enabled: true, failures: 3, within: 1m, duration: DURATION}}
"""
REFUSED = 60  # curl's exit status: the certificate is not trusted


class Pinned:
    """A program that trusts one certificate only, as curl does with a `--cacert` of its own."""

    def __init__(self, proxy: Proxy, port: int, trusted: Path) -> None:
        self.proxy, self.port, self.trusted = proxy, port, trusted

    def get(self, host: str, *, source: str = "127.0.0.1", trusted: Path | None = None) -> Answer:
        return curl(
            f"https://{host}:{self.port}/page",
            "--interface", source, "-x", self.proxy.url, "--cacert", str(trusted or self.trusted),
        )  # fmt: skip

    def refuse(self, host: str, times: int) -> None:
        for _ in range(times):
            assert self.get(host).exit == REFUSED


def _learned(proxy: Proxy, host: str) -> bool:
    return f"TLS of 127.0.0.1 to {host} is passed through" in proxy.output


def _config(duration: str, workers: int = 1) -> str:
    return CONFIG.replace("DURATION", duration).replace("WORKERS", str(workers))


@pytest.fixture
def pinned(start_proxy, tmp_path, request):
    certificate = make_certificate(tmp_path, "localhost", "localhost.localdomain", "127.0.0.1")
    with origin(certificate=certificate) as site:
        proxy = start_proxy(request.param)
        yield Pinned(proxy, site.port, certificate[0]), site


@pytest.mark.parametrize("pinned", [_config("1h")], indirect=True)
def test_a_client_that_refuses_our_certificate_is_passed_through_for_that_host_alone(pinned):
    program, site = pinned
    proxy = program.proxy
    program.refuse("localhost", 3)
    wait_for(lambda: _learned(proxy, "localhost"), "the line in the log")
    assert site.requests == []
    # our own pages, to which every block page leads, are never passed through
    own = [curl("https://secondlook.internal/", "-x", proxy.url, *trust) for trust in [()] * 4 + [("-k",)]]
    assert [answer.exit for answer in own[:4]] == [REFUSED] * 4
    assert b"Set up a browser" in own[4].body
    passed = program.get("localhost")
    assert (passed.status, passed.body) == (200, b"<h1>origin</h1>"), passed
    assert "x-second-look" not in passed.headers
    # per host: another name of the same origin is opened as before, and so is the same one by another client
    assert program.get("127.0.0.1").exit == REFUSED
    assert program.get("localhost", source="127.0.0.2").exit == REFUSED
    assert program.get("localhost", source="127.0.0.2", trusted=proxy.ca).status == 200
    # the host is checked: a block cuts it at its first bytes, before the origin hears of it
    proxy.command("block", "localhost")
    wait_for(lambda: program.get("localhost").exit not in {0, REFUSED}, "the cut")
    connections = site.connections
    cut = program.get("localhost")
    assert (cut.status, cut.exit in {35, 56}) == (0, True), cut
    assert site.connections == connections
    told = proxy.json_when(bool, "log", "--decision", "block", "--host", "localhost")
    assert {event["stage"] for event in told} == {"rules"}


@pytest.mark.parametrize("pinned", [_config("1h", workers=2)], indirect=True)
def test_what_one_worker_learns_holds_in_all_is_listed_and_survives_a_restart(pinned, start_proxy):
    program, _ = pinned
    proxy = program.proxy
    # the line may come only when the passage holds already: what the last attempt met says nothing
    wait_for(lambda: program.get("localhost") and _learned(proxy, "localhost"), "the lesson")

    def passes_everywhere() -> bool:
        # who trusts our authority alone teaches nothing: unopened, he meets the origin's certificate
        return all(program.get("localhost", trusted=program.proxy.ca).exit == REFUSED for _ in range(12))

    wait_for(passes_everywhere, "the passage in both workers")
    [status] = proxy.json("status")
    [passage] = status["passed_through"]
    assert f"localhost for 127.0.0.1, until {passage['until']}" in proxy.command("status").stdout

    def learned() -> list[dict[str, object]]:
        return [each for each in proxy.json("log", "--kind", "action") if each["stage"] == "passthrough"]

    wait_for(lambda: any(each["time"] == passage["since"] for each in learned()), "the event of the passage")
    proxy.stop()  # from now on no other worker tells that it has learned it
    events = learned()
    assert {(each["client"], each["host"]) for each in events} == {("127.0.0.1", "localhost")}
    assert 1 <= len(events) <= 2, "the other worker may have learned it before it heard of it"
    [event] = [each for each in events if each["time"] == passage["since"]]
    assert "passed through unopened until 2" in event["detail"]
    assert "refused our certificate 3 times" in event["detail"]
    assert (passage["client"], passage["host"], passage["since"]) == ("127.0.0.1", "localhost", event["time"])
    assert f"until {passage['until']}" in event["detail"]
    program.proxy = start_proxy(_config("1h", workers=2))
    wait_for(passes_everywhere, "the passage after a restart")
    assert len(program.proxy.json("log", "--kind", "action")) == len(events)


@pytest.mark.parametrize("pinned", [_config("3s")], indirect=True)
def test_it_ends(pinned):
    program, _ = pinned
    program.refuse("localhost", 3)
    wait_for(lambda: program.get("localhost").exit == 0, "the passage")
    wait_for(lambda: program.get("localhost").exit == REFUSED, "its end")
    assert program.get("localhost", trusted=program.proxy.ca).status == 200


@pytest.mark.parametrize("pinned", [_config("1h")], indirect=True)
def test_a_client_that_only_hangs_up_teaches_nothing(pinned):
    """Only an alert about the certificate counts: a scanner or a broken line must not open a hole."""
    program, _ = pinned
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", program.proxy.port), timeout=60) as raw:
            raw.sendall(f"CONNECT localhost:{program.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            raw.recv(1000)
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
            with pytest.raises(ssl.SSLWantReadError):
                tls.do_handshake()
            raw.sendall(outgoing.read())
            raw.recv(100)
    assert program.get("localhost", trusted=program.proxy.ca).status == 200
    assert not _learned(program.proxy, "localhost")
