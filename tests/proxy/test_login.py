"""Users: no password from this machine, one from everywhere else, none that is wrong."""

import asyncio
import contextlib
import socket
import subprocess

import pytest
from argon2 import PasswordHasher

from proxykit.origin import Asked, send
from secondlook.proxy.access import Access

PASSWORD = "correct hörse"
USERS = {"ann": PasswordHasher(time_cost=1, memory_cost=1024).hash(PASSWORD)}


async def hello(asked: Asked, writer: asyncio.StreamWriter) -> None:
    await send(writer, b"hello " + (asked.header("proxy-authorization") or "nothing").encode())


@pytest.fixture
def stranger(monkeypatch):
    """Make every client one from another machine."""
    monkeypatch.setattr(Access, "is_open", lambda self, client: False)


def _curl(proxy, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = ["curl", "-sS", "-i", "-m", "10", "--cacert", str(proxy.ca), *arguments]
    return subprocess.run(command, capture_output=True, check=False)


@pytest.mark.parametrize("tls", [False, True])
def test_a_stranger_logs_in(make_proxy, make_origin, gatekeeper, stranger, tls):
    proxy = make_proxy(clients={"users": USERS})
    origin = make_origin(hello, tls=tls)
    url = f"http{'s' if tls else ''}://127.0.0.1:{origin.port}/"
    assert b" 407" in _curl(proxy, "-x", proxy.url, url).stdout[:20]
    assert b" 407" in _curl(proxy, "-x", proxy.url, "-U", "ann:wrong", url).stdout[:20]
    assert b" 407" in _curl(proxy, "-x", proxy.url, "-U", f"bob:{PASSWORD}", url).stdout[:20]
    assert origin.connections == 0
    done = _curl(proxy, "-x", proxy.url, "-U", f"ann:{PASSWORD}", url)
    assert done.stdout.endswith(b"hello nothing")  # the password does not travel on
    assert {use.user for _, subject, use, _ in gatekeeper.seen if subject.kind == "url"} == {"ann"}


def test_this_machine_needs_no_password(make_proxy, make_origin):
    proxy = make_proxy(clients={"users": USERS})
    origin = make_origin(hello)
    assert _curl(proxy, "-x", proxy.url, f"http://127.0.0.1:{origin.port}/").stdout.endswith(b"hello nothing")


def test_the_set_up_pages_need_no_password(make_proxy, stranger):
    proxy = make_proxy(clients={"users": USERS})
    assert b" 200" in _curl(proxy, f"{proxy.url}/proxy.pac").stdout[:20]


def test_socks_users(make_proxy, make_origin, stranger):
    proxy = make_proxy(mode="socks5", clients={"users": USERS})
    origin = make_origin(hello)
    through = ["--socks5-hostname", f"127.0.0.1:{proxy.port}"]
    url = f"http://127.0.0.1:{origin.port}/"
    assert _curl(proxy, *through, url).returncode != 0
    assert _curl(proxy, *through, "-U", "ann:wrong", url).returncode != 0
    assert _curl(proxy, *through, "-U", f"ann:{PASSWORD}", url).stdout.endswith(b"hello nothing")


def test_a_client_that_nobody_named_is_turned_away(make_proxy, stranger):
    proxy = make_proxy()
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as client:
        client.sendall(b"GET http://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(100) == b""
