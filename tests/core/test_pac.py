"""The PAC file is run by a real JavaScript engine where there is one (node), else read."""

import json
import shutil
import subprocess

import pytest

from secondlook.core.pac import pac_text

ENGINE = """
const isPlainHostName = (host) => !host.includes(".");
const dnsDomainIs = (host, domain) => host.endsWith(domain);
%s
console.log(JSON.stringify(%s.map((host) => FindProxyForURL("https://" + host + "/", host))));
"""


@pytest.mark.parametrize("fallback", [False, True])
def test_routes(fallback):
    text = pac_text("127.0.0.1", 8080, direct_fallback=fallback)
    hosts = ["example.org", "localhost", "127.0.0.1", "app.localhost", "printer"]
    route = "PROXY 127.0.0.1:8080" + ("; DIRECT" if fallback else "")
    assert json.dumps(route) in text
    if node := shutil.which("node"):
        done = subprocess.run(
            [node, "-e", ENGINE % (text, json.dumps(hosts))], capture_output=True, text=True, check=True
        )
        assert json.loads(done.stdout) == [route, "DIRECT", "DIRECT", "DIRECT", "DIRECT"]


def test_ipv6_is_bracketed():
    assert "PROXY [::1]:8080" in pac_text("::1", 8080)
