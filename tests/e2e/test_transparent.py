"""A gateway sends what its network asks for through the proxy (`mode: transparent`): about 6 s."""

import subprocess
from collections.abc import Callable

import pytest

from e2e.namespaces import cable, inside, ip, namespaces
from e2e.origin import origin
from e2e.processes import Answer, Proxy, curl, make_certificate, needs, wait_for
from proxykit.samples import EICAR

CLIENT, GATE, GATE_OUT, SITE = "10.77.2.2", "10.77.2.1", "10.88.2.2", "10.88.2.1"
CONFIG = """
mode: transparent
workers: 2
feeds: [{name: test, builtin: test}]
clients: {networks: [10.77.2.0/24]}
mitmproxy: {ssl_insecure: true}
"""
REDIRECT = """
table ip nat {{
  chain prerouting {{
    type nat hook prerouting priority dstnat;
    ip saddr 10.77.2.0/24 tcp dport {{ 80, 443 }} redirect to :{port}
  }}
}}
"""


def _nft(rules: str) -> None:
    """Load rules into the namespace that this thread is in; skips where the kernel has no such tables."""
    nft = needs("nft")
    done = subprocess.run([nft, "-f", "-"], input=rules, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no redirection here: {done.stderr}")


def test_a_network_behind_a_gateway_is_checked(start_proxy, tmp_path):
    with namespaces("client", "gate", "site") as (client, gate, site):
        cable(client, f"{CLIENT}/24", gate, f"{GATE}/24", "inner")
        cable(gate, f"{GATE_OUT}/24", site, f"{SITE}/24", "outer")
        ip("-n", client, "route", "add", "default", "via", GATE)
        certificate = make_certificate(tmp_path, "clean.example")
        with (
            inside(site),
            origin(address=(SITE, 80)) as plain,
            origin(address=(SITE, 443), certificate=certificate) as secure,
            inside(gate),
        ):
            for one in (plain, secure):
                one.pages["/eicar.com"] = ("application/octet-stream", EICAR)
            proxy: Proxy = start_proxy(CONFIG, listen="0.0.0.0:0")
            _nft(REDIRECT.format(port=proxy.port))
            with inside(client):
                for scheme, port, there in (("http", 80, plain), ("https", 443, secure)):

                    def get(host: str, path: str, scheme: str = scheme, port: int = port):
                        where = ("--resolve", f"{host}:{port}:{SITE}", "--cacert", str(proxy.ca))
                        return curl(f"{scheme}://{host}{path}", *where)

                    page = get("clean.example", "/page")
                    assert page.body == b"<h1>origin</h1>", page
                    assert there.requests == [("GET", "clean.example", "/page")]

                    def by_the_lists(get: Callable[[str, str], Answer] = get) -> bool:
                        """Refused it is at once; until the first lists are here, by the server's word."""
                        blocked = get("malware.secondlook.test", "/")
                        assert blocked.status == 403, blocked
                        return "stage=pattern" in blocked.headers["x-second-look"]

                    wait_for(by_the_lists, "the lists")
                    assert len(there.requests) == 1, "the origin heard nothing of it"
                    assert get("files.example", "/eicar.com").status == 403
                # nobody is led in a circle by asking the proxy's own port
                itself = curl(f"http://{GATE}:{proxy.port}/")
                assert (itself.status, itself.exit in {52, 56}) == (0, True), (
                    itself
                )  # closed without an answer
            hosts = {"malware.secondlook.test", "files.example"}
            blocked = proxy.json_when(
                lambda events: hosts <= {event["host"] for event in events}, "log", "--decision", "block"
            )
            assert {event["client"] for event in blocked} >= {CLIENT}
