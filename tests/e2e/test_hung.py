"""Processes that really stand still: found, killed and started again, while who waits for them is told. 15 s."""

import contextlib
import os
import signal
import socket
import subprocess

from e2e.halves import HEAD, halves
from e2e.processes import Proxy, wait_for
from icapkit.wire import PAGE_REQUEST, chunked, message
from proxykit.samples import program
from serverkit.ports import free_port

PATIENCE_S = 60.0
SIZE = 1 << 20


def test_whoever_hangs_is_started_again_and_nobody_waits_for_it_any_longer(start_proxy):
    icap = free_port()
    proxy: Proxy = start_proxy(
        f"workers: 1\nhung_after: 8s\ngateway: {{enabled: true, icap: '127.0.0.1:{icap}'}}\n"
    )
    before = proxy.fresh_facts()
    hanging = [before["service"], *before["workers"], *before["gates"]]
    with halves(program(SIZE)) as half, socket.create_connection(("127.0.0.1", icap)) as gateway:
        client = subprocess.Popen(
            ["curl", "-sS", "-o", os.devnull, "-x", proxy.url, f"http://127.0.0.1:{half.port}/half.exe"]
        )
        gateway.settimeout(PATIENCE_S)
        gateway.sendall(message("OPTIONS", "respmod"))
        assert gateway.recv(4096).startswith(b"ICAP/1.0 200")
        respmod = message("RESPMOD", "respmod", request=PAGE_REQUEST, response=HEAD % SIZE, body="res-body")
        gateway.sendall(respmod + chunked(program(SIZE)[: SIZE // 2]))
        assert half.begun.wait(PATIENCE_S)
        for pid in hanging:
            os.kill(pid, signal.SIGSTOP)
        assert client.wait(PATIENCE_S) in {18, 52, 56}  # cut, empty, reset
        with contextlib.suppress(ConnectionResetError):
            while gateway.recv(1 << 20):  # whatever was on its way; then its end
                pass

    def renewed() -> bool:
        facts = proxy.fresh_facts()
        now = [facts["service"], *facts["workers"], *facts["gates"]]
        return None not in now and not {*now} & {*hanging}

    wait_for(renewed, "others in their place")
    names = {"service", "worker 0", "gate worker 0"}

    def events() -> list[dict[str, str]] | None:
        found = [each for each in proxy.json("log", "--kind", "error") if " hung: " in (each["detail"] or "")]
        return found if len(found) == len(names) else None

    found = wait_for(events, "an event of each")
    assert {each["extra"]["process"] for each in found} == names
    assert {each["detail"].partition(": ")[2] for each in found} == {
        "its event loop stood still for 8 s; it was killed and is started again"
    }
    [status] = proxy.json("status")
    assert status["hung"]["process"] in names
    assert [alert for alert in status["alerts"] if alert.endswith("; 3 did since the start")]
    counted = {name: value for name, value in proxy.metrics().items() if "hung_processes" in name}
    assert counted == {
        f'secondlook_hung_processes_total{{process="{role}"}}': 1.0 for role in ("service", "worker", "gate")
    }
    assert proxy.curl("http://secondlook.internal/").status == 200
