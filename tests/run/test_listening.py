"""Listening sockets: opened once, errors that say what to do."""

import grp
import os
import resource
import socket
import stat
from pathlib import Path

import pytest

from secondlook.run.supervisor.listening import (
    CannotListenError,
    Sockets,
    address_of,
    close_all,
    inherited,
    listen,
    listen_at,
    open_to,
    visited,
)
from secondlook.run.supervisor.plan import Endpoints, Invocation, Plan
from serverkit.ports import free_port


def test_listens_and_tells_its_address():
    with listen("127.0.0.1", 0, setting="listen") as sock:
        host, port = address_of(sock).rsplit(":", 1)
        socket.create_connection((host, int(port)), 5).close()


def test_ipv6_address_stands_in_brackets():
    try:
        sock = listen("::1", 0, setting="listen")
    except CannotListenError:
        pytest.skip("no IPv6 here")
    with sock:
        assert address_of(sock).startswith("[::1]:")


def test_what_listens_everywhere_is_visited_on_loopback():
    assert visited("0.0.0.0:8081") == "127.0.0.1:8081"
    assert visited("[::]:8081") == "[::1]:8081"
    assert visited("192.0.2.1:8081") == "192.0.2.1:8081"


def test_taken_port_names_setting_and_option():
    with listen("127.0.0.1", 0, setting="listen") as sock:
        port = sock.getsockname()[1]
        with pytest.raises(
            CannotListenError, match=rf"127\.0\.0\.1:{port}: another program .* --listen or `listen`"
        ):
            listen("127.0.0.1", port, setting="listen", option="--listen")


def test_address_of_another_machine():
    with pytest.raises(CannotListenError, match="this machine does not have that address"):
        listen("192.0.2.77", 0, setting="listen")


def test_a_child_takes_the_socket_over():
    with listen("127.0.0.1", 0, setting="listen") as sock:
        copy = inherited(socket.dup(sock.fileno()))
        with copy:
            assert address_of(copy) == address_of(sock)


def test_a_port_can_be_kept_for_who_listens_there():
    with listen("127.0.0.1", 0, setting="listen", accepts=False) as kept:
        host, port = kept.getsockname()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, port), 5)
        with listen(host, port, setting="listen"):
            socket.create_connection((host, port), 5).close()


@pytest.mark.parametrize("way", [("127.0.0.1", "0.0.0.0"), ("0.0.0.0", "127.0.0.1")])
def test_a_reload_moves_from_this_machine_to_every_address_and_back(way):
    port = free_port()
    before = Sockets(_plan(way[0], port))
    after = Sockets(_plan(way[1], port), before)
    before.close_all_but(after)
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
        after.of("proxy")[0].settimeout(5)
        after.of("proxy")[0].accept()[0].close()
        with pytest.raises(CannotListenError, match="another program"):
            listen(way[0], port, setting="listen")
    finally:
        close_all(after.of("proxy"))


def test_a_reload_refuses_two_addresses_that_no_start_could_have_together():
    port = free_port()
    before = Sockets(_plan("127.0.0.1", port))
    both = _plan("127.0.0.1", port, further=["0.0.0.0"])
    with pytest.raises(CannotListenError, match="another program"):
        Sockets(both, before)
    close_all(before.of("proxy"))
    with pytest.raises(CannotListenError, match="another program"):
        Sockets(both)


def test_what_is_refused_leaves_the_sockets_of_before_as_they_were():
    port = free_port()
    with listen("127.0.0.1", 0, setting="listen") as taken:
        before = Sockets(_plan("127.0.0.1", port))
        wanted = _plan("0.0.0.0", port, review=taken.getsockname())
        with pytest.raises(CannotListenError, match="another program"):
            Sockets(wanted, before)
        socket.create_connection(("127.0.0.1", port), 5).close()
        before.of("proxy")[0].accept()[0].close()
        with pytest.raises(CannotListenError, match="another program"):
            listen("127.0.0.1", port, setting="listen")
        close_all(before.of("proxy"))


def _plan(host, port, review=None, further=()):
    proxy = tuple((each, port) for each in (host, *further))
    endpoints = Endpoints(proxy=proxy, review=review, embedded=False)
    return Plan(settings="{}", state="", workers=1, endpoints=endpoints, invocation=Invocation(None))


def test_a_socket_in_the_file_system_is_its_owners_until_it_is_opened_to_a_group(tmp_path):
    path = str(tmp_path / "s")
    with listen_at(path) as sock:
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
        group = grp.getgrgid(os.getgid()).gr_name
        for named in (group, str(os.getgid()), None):
            open_to(path, named)
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o660
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            sock.accept()[0].close()
        with pytest.raises(CannotListenError, match=r"no group nobody-has-this \(`gateway.group`"):
            open_to(path, "nobody-has-this")
        with pytest.raises(CannotListenError, match="no group 99999999999"):
            open_to(path, "99999999999")


def test_a_socket_in_the_file_system_wants_a_descriptor(tmp_path, short_of):
    with pytest.raises(CannotListenError, match="Too many open files"), short_of(resource.RLIMIT_NOFILE, 3):
        listen_at(str(tmp_path / "s"))


def test_what_a_killed_process_left_is_replaced_and_nothing_else(tmp_path):
    path = tmp_path / "s"
    listen_at(str(path)).close()  # its name is still there
    with (
        listen_at(str(path)),
        pytest.raises(CannotListenError, match=r"another program is using it; .* `gateway.socket`"),
    ):
        listen_at(str(path))
    path.unlink()
    path.write_text("mine")
    with pytest.raises(CannotListenError, match="there is another file"):
        listen_at(str(path))
    assert path.read_text() == "mine"


def test_a_path_that_is_too_long_for_a_socket(tmp_path):
    with pytest.raises(
        CannotListenError, match=r"the path has 2[0-9][0-9] bytes, and a socket's may have about 100"
    ):
        listen_at(str(tmp_path / ("x" * 200)))


def test_a_group_that_is_not_ones_own(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refuse)
    with pytest.raises(CannotListenError, match=r"to the group 0: Operation not permitted; `gateway.group`"):
        open_to(str(tmp_path), "0")
