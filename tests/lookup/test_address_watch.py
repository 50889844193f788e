"""Own addresses and their changes, with the real kernel: in a network namespace where there may be one."""

import asyncio
import ipaddress
import json
import os
import shutil
import subprocess
import sys
import textwrap

import pytest

from lookup.serving import until
from secondlook.lookup import address_watch
from secondlook.lookup.address_watch import AddressWatch, default_sources, local_addresses


def may_make_namespaces():
    tools = shutil.which("ip") and shutil.which("unshare")
    return bool(tools) and subprocess.run(["unshare", "-n", "true"], check=False).returncode == 0


def test_addresses_are_those_that_the_kernel_lists():
    if shutil.which("ip") is None:
        pytest.skip("no ip command to compare with")
    listed = json.loads(subprocess.run(["ip", "-j", "addr"], capture_output=True, check=True).stdout)
    expected = {
        ipaddress.ip_address(address["local"])
        for interface in listed
        for address in interface["addr_info"]
        if not ipaddress.ip_address(address["local"]).is_loopback
    }
    assert local_addresses() == expected


def test_where_the_kernel_gives_no_list_the_default_routes_do(monkeypatch):
    def refuse():
        raise PermissionError("no netlink here")

    monkeypatch.setattr(address_watch, "_dump_addresses", refuse)
    assert local_addresses() == {each for each in default_sources() if not each.is_loopback}


def test_polling_notices_a_change_where_the_kernel_does_not_tell(monkeypatch):
    def refuse():
        raise PermissionError("no netlink here")

    async def main():
        heard = []
        watch = AddressWatch(lambda: heard.append(1), poll_s=0.01)
        watch.start()
        assert not watch.notified
        await asyncio.sleep(0.05)
        assert heard == []
        elsewhere = frozenset({ipaddress.ip_address("203.0.113.7")})
        monkeypatch.setattr(address_watch, "_snapshot", lambda: (elsewhere, elsewhere))
        await until(lambda: heard == [1])
        watch.close()

    monkeypatch.setattr(address_watch, "_subscribe", refuse)
    asyncio.run(main())


INSIDE = """
    import asyncio, ipaddress, subprocess
    from secondlook.lookup.address_watch import AddressWatch, default_sources, local_addresses

    def ip(*words):
        subprocess.run(["ip", *words], check=True)

    async def main():
        ip("link", "add", "lan0", "type", "veth", "peer", "name", "lan1")
        ip("link", "set", "lan1", "up")
        ip("link", "set", "lan0", "up")
        heard = asyncio.Event()
        watch = AddressWatch(heard.set)
        watch.start()
        assert watch.notified

        async def told():
            async with asyncio.timeout(60):
                await heard.wait()
            await asyncio.sleep(0.5)  # the swarm settles
            heard.clear()

        ip("addr", "add", "10.9.8.7/24", "dev", "lan0")
        await told()
        assert ipaddress.ip_address("10.9.8.7") in local_addresses()
        ip("route", "add", "default", "via", "10.9.8.1")
        await told()
        assert default_sources() == {ipaddress.ip_address("10.9.8.7")}
        ip("route", "replace", "default", "via", "10.9.8.2")  # same source address: not told by addresses
        ip("addr", "del", "10.9.8.7/24", "dev", "lan0")
        ip("addr", "add", "10.9.8.7/24", "dev", "lan0")  # removed and back at once: may be another network
        await told()
        ip("addr", "change", "10.9.8.7/24", "dev", "lan0", "valid_lft", "900", "preferred_lft", "900")
        await asyncio.sleep(1)
        assert not heard.is_set()  # merely refreshed
        ip("addr", "del", "10.9.8.7/24", "dev", "lan0")
        await told()
        assert ipaddress.ip_address("10.9.8.7") not in local_addresses()
        watch.close()

    asyncio.run(main())
"""


def test_the_kernel_tells_of_addresses_and_routes_that_come_and_go():
    if not may_make_namespaces():
        pytest.skip("no network namespaces here")
    script = textwrap.dedent(INSIDE)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        ["unshare", "-n", sys.executable, "-c", script],
        check=False,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
