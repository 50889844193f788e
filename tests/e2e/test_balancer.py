"""A real TCP load balancer in front: each client stays who it is, in the log and in exceptions (10 s)."""

import subprocess

import pytest

from e2e.processes import Proxy, curl, needs, wait_for
from serverkit.ports import free_port

BALANCER = "127.0.0.9"
HAPROXY = """
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen proxies
  bind 127.0.0.1:{port}
  server one {proxy} source {balancer} {says} check inter 200ms
"""
LISTED = "http://malware.secondlook.test/"


@pytest.mark.parametrize("says", ["send-proxy", "send-proxy-v2"])
def test_behind_a_balancer_each_client_is_itself(start_proxy, tmp_path, says):
    proxy: Proxy = start_proxy(f"workers: 2\nclients: {{balancers: [{BALANCER}], networks: [127.0.0.0/8]}}\n")
    port, settings = free_port(), tmp_path / "haproxy.cfg"
    settings.write_text(HAPROXY.format(port=port, proxy=proxy.address, balancer=BALANCER, says=says))
    with subprocess.Popen([needs("haproxy"), "-db", "-f", str(settings)]) as haproxy:
        try:
            through = ["-x", f"http://127.0.0.1:{port}"]
            anna, ben = ["--interface", "127.0.0.2"], ["--interface", "127.0.0.3"]
            wait_for(lambda: curl(LISTED, *through, *anna).status == 403 or None, "the balancer")
            proxy.command("allow", "malware.secondlook.test", "--client", "127.0.0.2")
            wait_for(lambda: curl(LISTED, *through, *anna).status != 403 or None, "the exception")
            assert all(curl(LISTED, *through, *ben).status == 403 for _ in range(6))
            events = proxy.json("log", "--kind", "blocked")
            assert {event["client"] for event in events} == {"127.0.0.2", "127.0.0.3"}
        finally:
            haproxy.terminate()
