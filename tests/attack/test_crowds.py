"""Crowds. Many connections, and many tries to sign in."""

import contextlib
import resource
import socket
import time
from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher

from attack.conftest import configuration
from attackkit.site import Site
from attackkit.stand import Stand, at_once
from e2e.processes import Proxy


def test_idle_connections(stand):
    """Two thousand idle connections of one address: others of the same address are served."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    try:
        with contextlib.ExitStack() as stack:
            for _ in range(2000):
                with contextlib.suppress(OSError):
                    stack.enter_context(socket.create_connection(("127.0.0.1", stand.port), 1))
            time.sleep(1)
            came = stand.get("/")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert came.startswith(b"HTTP/1.1 200")


def test_waiting_connections(stand):
    """Five hundred requests to a site that does not answer: others are served."""

    async def never(_asked, _writer) -> None:
        return

    stand.site.replies["/never"] = never
    url = stand.site.url("/never")
    with contextlib.ExitStack() as stack:
        for _ in range(400):
            stack.enter_context(stand.line()).sendall(f"GET {url} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        time.sleep(2)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[Stand]:
    """A proxy with users, in SOCKS mode, where this machine signs in too; its watch does."""

    def start() -> Proxy:
        folder = tmp_path_factory.mktemp("guarded")
        known = PasswordHasher().hash("right").replace("$", "$$")
        users = f"mode: socks5\nclients: {{networks: [192.0.2.0/24], users: {{ann: '{known}'}}}}\n"
        return Proxy(folder / "state", configuration(folder, users))

    stand = Stand.make(start, site, "ann:right")
    yield stand
    stand.close()


def sign_in(proxy: Proxy, user: str, password: str) -> bytes:
    """Sign in by RFC 1929; the answer."""
    with socket.create_connection(("127.0.0.1", proxy.port), 20) as line:
        line.sendall(b"\5\1\2")
        assert line.recv(2) == b"\5\2"
        line.sendall(bytes([1, len(user)]) + user.encode() + bytes([len(password)]) + password.encode())
        return line.recv(2)


class TestSignIn:
    @pytest.fixture
    def stand(self, guarded: Stand) -> Stand:
        assert guarded.watch.served(30)
        return guarded

    def test_sign_in(self, stand):
        """Two hundred wrong passwords at once: none is let in, who is known is served."""
        at_once(*(lambda n=n: _wrong(stand.proxy, n) for n in range(200)))
        assert sign_in(stand.proxy, "ann", "right") == b"\1\0"


def _wrong(proxy: Proxy, number: int) -> None:
    with contextlib.suppress(OSError):
        assert sign_in(proxy, "ann" if number % 2 else "bob", f"wrong{number}") != b"\1\0"
