"""A real load balancer in front: each client stays who it is, in the log and in exceptions (15 s)."""

import re
import socket
import subprocess
from pathlib import Path

import pytest

from e2e.processes import Proxy, curl, needs, wait_for
from serverkit.ports import free_port

BALANCER = "127.0.0.9"
DOCS = Path(__file__).parents[2] / "docs" / "operation.md"
LISTED = "http://malware.secondlook.test/"


def documented(port: int, proxy: str, says: str) -> str:
    """Return the settings of HAProxy that the docs show, for the places here."""
    mode = "http" if says == "http" else "tcp"
    (shown,) = re.findall(rf"```\n(listen proxies\n  mode {mode}\n.*?)```", DOCS.read_text(), re.DOTALL)
    told = shown.replace("bind :8080", f"bind 127.0.0.1:{port}")
    if mode == "tcp":
        told = told.replace("send-proxy-v2", says)
        assert told.count(says) == 2
    told = re.sub(r"10\.0\.0\.1[12]:8080", f"{proxy} source {BALANCER}", told)
    assert told.count(BALANCER) == 2
    return told


def healthy(port: int) -> bool | None:
    """Return True once its health checks had their answer from both servers."""
    with socket.create_connection(("127.0.0.1", port)) as stats:
        stats.sendall(b"GET /;csv HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: stats.recv(65536), b"")).decode()
    return answer.count(",L7OK,200,") == 2 or None


@pytest.mark.parametrize("says", ["send-proxy", "send-proxy-v2", "http"])
def test_behind_a_balancer_each_client_is_itself(start_proxy, tmp_path, says):
    proxy: Proxy = start_proxy(
        f"workers: 2\nclients: {{balancers: [{BALANCER}], networks: [127.0.0.2, 127.0.0.3]}}\n"
    )
    port, stats, settings = free_port(), free_port(), tmp_path / "haproxy.cfg"
    settings.write_text(
        documented(port, proxy.address, says)
        + f"listen stats\n  mode http\n  bind 127.0.0.1:{stats}\n  stats enable\n  stats uri /\n"
        + "  timeout connect 2s\n  timeout client 5s\n  timeout server 5s\n"
    )
    with subprocess.Popen([needs("haproxy"), "-db", "-f", str(settings)]) as haproxy:
        try:
            through = ["-x", f"http://127.0.0.1:{port}"]
            anna, ben = ["--interface", "127.0.0.2"], ["--interface", "127.0.0.3"]
            wait_for(lambda: curl(LISTED, *through, *anna).status == 403 or None, "the balancer")
            proxy.command("allow", "malware.secondlook.test", "--client", "127.0.0.2")
            wait_for(lambda: curl(LISTED, *through, *anna).status != 403 or None, "the exception")
            wait_for(lambda: healthy(stats), "the answers to the health checks")
            assert all(curl(LISTED, *through, *ben).status == 403 for _ in range(6))
            forged = ["-H", "X-Forwarded-For: 127.0.0.2", "-H", "Forwarded: for=127.0.0.2"]
            assert curl(LISTED, *through, *ben, *forged).status == 403
            within = curl(LISTED.replace("http:", "https:"), *through, *ben, "--cacert", str(proxy.ca))
            assert within.status == 403
            events = proxy.json("log", "--kind", "blocked")
            assert {event["client"] for event in events} == {"127.0.0.2", "127.0.0.3"}
        finally:
            haproxy.terminate()
