"""What can be wrong at a start: each fault is told clearly, and nothing half-starts."""

import os
import socket
import sqlite3
from contextlib import closing

import pytest

from e2e.processes import Proxy, command, wait_for
from serverkit.ports import free_port

BROKEN = {
    "unknown key": ("polcy: {level: high}\n", 1, "polcy: unknown key; did you mean policy?"),
    "unknown inner key": ("policy:\n  levl: high\n", 2, "policy.levl: unknown key; did you mean level?"),
    "wrong word": ("policy:\n  level: extreme\n", 2, "policy.level: expected 'high', 'medium' or 'low'"),
    "wrong type": ("workers: many\n", 1, "workers: expected"),
    "not an address": ("listen: localhost\n", 1, "listen: expected an address such as"),
    "open to the network": ("listen: 0.0.0.0:8080\n", 1, "expected `clients` to name who may use the proxy"),
    "plain http elsewhere": (
        "servers:\n  intranet:\n  - url: http://192.0.2.1:5274\n",
        3,
        "servers.intranet.0.url: expected https:// for another machine",
    ),
    "a check switched off": (
        "mitmproxy:\n  ignore_hosts: [bank.example]\n",
        2,
        "mitmproxy.ignore_hosts: this mitmproxy option would switch a check off or is set elsewhere; use passthrough",
    ),
    "unset variable": (
        "servers: {network: {url: https://s.example, token: '${NOT_SET_HERE}'}}\n",
        1,
        "is not set",
    ),
    "bad YAML": ("listen: [127.0.0.1:1\n", 1, "not valid YAML: what begins here is not closed with ]"),
    "bad rule": (
        "clients:\n  groups:\n  - {name: g, networks: [10.0.0.0/8], rules: {block: ['/(/']}}\n",
        None,
        "clients.groups.0.rules.block.0: ",
    ),
    "bad duration": ("recheck:\n  first: soon\n", 2, "recheck.first: expected a duration such as"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_configuration(tmp_path, name):
    text, line, told = BROKEN[name]
    config, state = tmp_path / "proxy.yaml", tmp_path / "state"
    config.write_text(text)
    done = command("run", "-c", config, "--state", state, check=False)
    assert done.returncode == 2
    assert told in done.stderr
    assert f"{config}:{line}: " in done.stderr or line is None
    assert "Traceback" not in done.stderr
    assert not state.exists()


def test_port_in_use(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = command(
            "run", "--state", tmp_path / "state", "--listen", address, "--review", "127.0.0.1:0", check=False
        )
    assert done.returncode == 1
    assert f"cannot listen on {address}: another program is using it" in done.stderr
    assert "--listen" in done.stderr
    assert not (tmp_path / "state" / "run.json").exists()


def test_a_mode_that_cannot_be_served(tmp_path):
    """In WireGuard's mode mitmproxy listens itself, by UDP: nothing says that it is ready before it does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        port = free_port()  # for TCP, of which UDP's ports know nothing
        taken.bind(("127.0.0.1", port))
        address = f"127.0.0.1:{port}"
        state = tmp_path / "state"
        config = tmp_path / "proxy.yaml"
        config.write_text("mode: wireguard\nreview: false\nservers: {embedded: false}\n")
        done = command("run", "-c", config, "--state", state, "--listen", address, check=False)
    assert done.returncode == 1
    assert "`mode: wireguard` cannot be served here" in done.stderr
    assert "proxy  " not in done.stdout
    assert not (state / "run.json").exists()


def test_unusable_state_folder(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    done = command("run", "--state", blocker / "state", "--listen", "127.0.0.1:0", check=False)
    assert done.returncode == 1
    assert "cannot use the state folder" in done.stderr
    assert "--state" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_state_folder(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir(mode=0o500)
    done = command("run", "--state", folder, "--listen", "127.0.0.1:0", check=False)
    assert done.returncode == 1
    assert "cannot use the state folder" in done.stderr


def test_a_damaged_pattern_file_is_left_out_and_fetched_again(start_proxy):
    proxy: Proxy = start_proxy()
    proxy.stop()
    (damaged,) = (proxy.state / "pattern").glob("mw-8b.*.slh")
    data = bytearray(damaged.read_bytes())
    data[-1] ^= 0xFF
    damaged.chmod(0o600)
    damaged.write_bytes(data)
    assert proxy.command("pattern", "verify", check=False).returncode == 1
    again: Proxy = start_proxy()
    blocked = wait_for(
        lambda: again.curl("http://malware.secondlook.test/").status == 403 or None, "the list"
    )
    assert blocked
    wait_for(lambda: again.command("pattern", "verify", check=False).returncode == 0 or None, "a sound list")


def test_a_damaged_ledger_is_set_aside(start_proxy):
    proxy: Proxy = start_proxy()
    proxy.command("block", "kept.example")
    proxy.stop()
    ledger = proxy.state / "ledger.sqlite3"
    for beside in proxy.state.glob("ledger.sqlite3-*"):
        beside.unlink()
    with closing(sqlite3.connect(ledger)) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    ledger.write_bytes(b"this is no database at all, " * 400)
    again: Proxy = start_proxy()
    assert again.curl("http://malware.secondlook.test/").status == 403
    wait_for(lambda: "ledger" in again.output, "the line about the ledger")
    kept = [path for path in again.state.iterdir() if "ledger" in path.name and "damaged" in path.name]
    assert kept, sorted(path.name for path in again.state.iterdir())
