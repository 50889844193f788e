"""`secondlook setup squid`: what it prints, what it wants first, and what keeps a Squid from the agent."""

import grp
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from secondlook.cli.setup import setup
from secondlook.cli.setup.squid import hints
from secondlook.ground.program_name import typed

TRUE = Path("/bin/true")

TRUE = Path("/bin/true")


@pytest.fixture
def call(tmp_path):
    (tmp_path / "state" / "ca").mkdir(parents=True)

    def run(config, *words):
        (tmp_path / "proxy.yaml").write_text(config)
        place = ["-c", str(tmp_path / "proxy.yaml"), "--state", str(tmp_path / "state")]
        return CliRunner().invoke(setup.app, ["squid", *words, *place])

    return run


def test_the_lines_are_of_the_settings(call, tmp_path):
    config = (
        "gateway: {enabled: true, socket: /run/x/s, workers: 2, icap: 127.0.0.1:1344}\n"
        "servers: {budget: 2s}\nledger: {deadline: 1s}\npassthrough: [bank.example]\n"
    )
    done = call(config, "--bump", "--listen", "3129", "--certificates", "/var/c")
    assert done.exit_code == 0, done.output
    assert "children-max=2" in done.stdout
    assert "helper --socket /run/x/s --budget 5.5" in done.stdout  # with the journal's 2 s and a spare half
    assert "icap://127.0.0.1:1344/reqmod" in done.stdout
    assert f"tls-cert={tmp_path}/state/ca/mitmproxy-ca.pem" in done.stdout
    assert "ssl::server_name bank.example" in done.stdout
    assert "set gateway.group to Squid's group" in done.stderr
    text = json.loads(call(config, "--json").stdout)["squid.conf"]
    assert text.splitlines()[0] == done.stdout.splitlines()[0]
    assert "ssl_bump" not in text


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("gateway: false\n", "no gateway is answered here"),
        ("gateway: true\n", "refusals reach Squid's clients by ICAP, which is off"),
        ("gateway: {enabled: true, icap: '127.0.0.1:0'}\n", "gateway.icap.listen is any free port"),
        ("gateway: {enabled: true, socket: '/a b/s', icap: '127.0.0.1:1344'}\n", "squid.conf cannot name"),
    ],
)
def test_what_it_wants_first(call, config, told):
    done = call(config)
    assert done.exit_code == 1
    assert told in done.stderr


def test_an_address_that_is_none(call):
    done = call("gateway: {enabled: true, icap: '127.0.0.1:1344'}\n", "--check", "--squid", "nowhere")
    assert done.exit_code == 2
    assert "--squid: expected an address" in done.stderr


def test_a_check_with_a_problem_ends_with_one(call, tmp_path):
    config = f"gateway: {{enabled: true, socket: {tmp_path}/none, icap: '127.0.0.1:1344'}}\n"
    done = call(config, "--check")
    assert done.exit_code == 1
    assert "PROBLEM  socket" in done.stdout
    assert f"-> start `{typed('run')}`" in done.stdout
    (found,) = map(json.loads, call(config, "--check", "--json").stdout.splitlines())
    assert (found["step"], found["result"]) == ("socket", "problem")


def test_folders_that_another_user_cannot_enter_are_named(tmp_path):
    closed = tmp_path / "closed"
    (closed / "deep").mkdir(parents=True)
    closed.chmod(0o700)
    told = list(hints(closed / "deep" / "s", "proxy", TRUE, TRUE))
    assert [hint for hint in told if "the socket lies" in hint]
    assert not [hint for hint in told if "the helper lies" in hint]
    assert list(hints(Path("/run/s"), "proxy", TRUE, TRUE)) == []


def test_a_python_that_another_user_cannot_start_is_named(tmp_path):
    """A helper that may be read is started by a Python that may lie in somebody's home, behind a link."""
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "python3").touch()
    home.chmod(0o700)
    link = Path("/dev/shm") / f"{tmp_path.name}-python3"
    link.symlink_to(home / "bin" / "python3")
    try:
        told = list(hints(Path("/run/s"), "proxy", TRUE, link))
    finally:
        link.unlink()
    assert [hint for hint in told if "where the Python lies" in hint and str(home / "bin") in hint]


def test_a_socket_of_a_group_with_members_needs_no_other(tmp_path, monkeypatch):
    """As where Squid's user was put into the group of the service."""
    socket = tmp_path / "s"
    socket.touch()
    assert "gateway.group" in next(iter(hints(socket, None, TRUE, TRUE)))
    group = grp.struct_group(("secondlook", "x", socket.stat().st_gid, ["proxy"]))
    monkeypatch.setattr(grp, "getgrgid", {socket.stat().st_gid: group}.__getitem__)
    assert not [hint for hint in hints(socket, None, TRUE, TRUE) if "gateway.group" in hint]
