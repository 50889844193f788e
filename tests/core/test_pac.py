"""The PAC file is run by a real JavaScript engine where there is one (node), else read."""

import json
import shutil
import subprocess

import pytest

from secondlook.core.pac import pac_text

ENGINE = """
const isPlainHostName = (host) => !host.includes(".");
const NAMES = {printer: "192.168.1.9", shop: "203.0.113.7", edge: "172.32.0.1", tailed: "100.127.255.255", localhost: "127.0.0.1"};
const dnsResolve = (host) => NAMES[host] || null;
const number = (address) => address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
const isInNet = (address, net, mask) => (number(address) & number(mask)) === (number(net) & number(mask));
const dnsDomainIs = (host, domain) => host.endsWith(domain);
%s
console.log(JSON.stringify(%s.map((host) => FindProxyForURL("https://" + host + "/", host))));
"""


@pytest.mark.parametrize("fallback", [False, True])
def test_routes(fallback):
    text = pac_text("127.0.0.1", 8080, direct_fallback=fallback)
    hosts = ["example.org", "localhost", "127.0.0.1", "::1", "app.localhost", "printer", "tailed"]
    checked = ["shop", "edge", "nowhere", "2001:db8::1", "192.168.1.9"]  # names of the Internet need no dot
    route = "PROXY 127.0.0.1:8080" + ("; DIRECT" if fallback else "")
    assert json.dumps(route) in text
    if node := shutil.which("node"):
        done = subprocess.run(
            [node, "-e", ENGINE % (text, json.dumps(hosts + checked))],
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(done.stdout) == [route] + 6 * ["DIRECT"] + 5 * [route]


def test_ipv6_is_bracketed():
    assert "PROXY [::1]:8080" in pac_text("::1", 8080)
