"""Users: no password from this machine, one from everywhere else, none that is wrong."""

import asyncio
import base64
import contextlib
import http.client
import socket
import subprocess

import pytest
from argon2 import PasswordHasher

from proxykit.origin import Asked, send
from secondlook.proxy.access.access import Access
from secondlook.proxy.access.login import TRIES, Login

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
    assert {context.user for _, subject, context, _ in gatekeeper.seen if subject.kind == "url"} == {"ann"}


def test_each_request_on_a_connection_is_of_whom_it_names(make_proxy, make_origin, gatekeeper, stranger):
    proxy = make_proxy(clients={"users": {**USERS, "bob": USERS["ann"]}})
    origin = make_origin(hello)

    def ask(connection, user, password=PASSWORD):
        given = f"{user}:{password}".encode()
        header = {"Proxy-Authorization": f"Basic {base64.b64encode(given).decode()}"} if user else {}
        connection.request("GET", f"http://127.0.0.1:{origin.port}/", headers=header)
        answer = connection.getresponse()
        answer.read()
        return answer.status

    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=60)) as connection:
        users = [("ann", PASSWORD), ("bob", PASSWORD), ("", ""), ("ann", PASSWORD), ("bob", "wrong")]
        assert [ask(connection, *each) for each in users] == [200, 200, 407, 200, 407]
    named = [context.user for _, subject, context, _ in gatekeeper.seen if subject.kind == "url"]
    assert named == ["ann", "bob", "ann"]


def test_who_may_use_the_proxy_unnamed_is_nobody_behind_a_user(make_proxy, make_origin, gatekeeper):
    proxy = make_proxy(clients={"users": USERS})
    origin = make_origin(hello)
    given = base64.b64encode(f"ann:{PASSWORD}".encode()).decode()
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=10)) as connection:
        for header in ({"Proxy-Authorization": f"Basic {given}"}, {}):
            connection.request("GET", f"http://127.0.0.1:{origin.port}/", headers=header)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
    named = [context.user for _, subject, context, _ in gatekeeper.seen if subject.kind == "url"]
    assert named == ["ann", None]


def test_what_comes_through_a_tunnel_signs_in_nobody_else(make_proxy, make_origin, gatekeeper, stranger):
    proxy = make_proxy(clients={"users": {**USERS, "bob": USERS["ann"]}})
    origin = make_origin(hello, tls=True)
    other = base64.b64encode(f"bob:{PASSWORD}".encode()).decode()
    through = _curl(
        proxy, "-x", proxy.url, "-U", f"ann:{PASSWORD}", "-H", f"Proxy-Authorization: Basic {other}",
        f"https://127.0.0.1:{origin.port}/",
    )  # fmt: skip
    assert b" 200" in through.stdout
    assert {context.user for _, subject, context, _ in gatekeeper.seen if subject.kind == "url"} == {"ann"}


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


class Counting(PasswordHasher):
    """Counts verifications, the hash and the password of each."""

    def __init__(self):
        super().__init__()
        self.seen = []
        self.passwords = []

    def verify(self, hash, password):  # noqa: A002 - argon2's name
        self.seen.append(hash)
        self.passwords.append(password)
        return super().verify(hash, password)


@pytest.fixture
def login():
    it = Login(USERS, lambda _: False, lambda _: False)
    it._hasher = Counting()
    yield it
    it.done()


def test_an_unknown_user_costs_what_a_known_one_does(login):
    async def scene():
        for name in ("ann", "bob", ""):
            assert not await login._verify(name, "wrong", "192.0.2.1")
        assert not await login._verify("bob", PASSWORD, "192.0.2.1"), "not even with another's password"

    asyncio.run(scene())
    assert login._hasher.seen == [USERS["ann"]] * 4


def test_wrong_tries_are_bounded_and_success_is_remembered(login):
    async def scene():
        assert await login._verify("ann", PASSWORD, "2001:db8::1")
        assert await login._verify("ann", PASSWORD, "2001:db8::1")
        assert len(login._hasher.seen) == 1, "remembered"
        for n in range(TRIES + 5):
            assert not await login._verify("ann", f"wrong{n}", f"2001:db8::{n}")
        assert len(login._hasher.seen) == 1 + TRIES, "no further work, from the same network"
        assert await login._verify("ann", PASSWORD, "2001:db8::1"), "who was in stays in"
        other = Login(USERS, lambda _: False, lambda _: False)
        other._tries = login._tries
        assert not await other._verify("ann", PASSWORD, "2001:db8::1"), "not tried at all"
        assert await other._verify("ann", PASSWORD, "192.0.2.9"), "nobody locks a user out from elsewhere"
        other.done()

    asyncio.run(scene())


def test_the_many_first_requests_of_a_browser_are_one_try(login):
    """It opens as many connections as it likes, each with the password that it was given."""

    async def scene():
        first = [login._verify("ann", PASSWORD, "192.0.2.1") for _ in range(3 * TRIES)]
        assert await asyncio.gather(*first) == ["ann"] * 3 * TRIES
        assert len(login._hasher.seen) == 1
        wrong = [login._verify("ann", "old password", "192.0.2.2") for _ in range(3 * TRIES)]
        assert await asyncio.gather(*wrong) == [None] * 3 * TRIES
        assert len(login._hasher.seen) == 2
        assert await login._verify("ann", PASSWORD, "192.0.2.2"), "one wrong try is not all of them"

    asyncio.run(scene())


def test_who_guesses_from_many_addresses_holds_nobody_up_by_more_than_one_guess_of_each(login):
    async def scene():
        guesses = [
            asyncio.ensure_future(login._verify("ann", f"wrong{n}", f"192.0.2.{address}"))
            for address in range(20)
            for n in range(TRIES)
        ]
        await asyncio.sleep(0)
        assert await login._verify("ann", PASSWORD, "198.51.100.1") == "ann"
        before = login._hasher.passwords.index(PASSWORD)
        assert before <= 20 + 2 * 3, "one of each; two run at the same time, before it and with it"
        assert await asyncio.gather(*guesses) == [None] * 20 * TRIES

    asyncio.run(scene())


def test_who_tries_too_often_is_told_to_wait(make_proxy, stranger):
    proxy = make_proxy(clients={"users": USERS})
    one = ["-x", proxy.url, "-U", "ann:wrong", "http://example.org/"]
    answers = [_curl(proxy, *one).stdout for _ in range(TRIES + 1)]
    assert answers[0].startswith(b"HTTP/1.1 407")
    assert answers[-1].startswith(b"HTTP/1.1 429")
    assert b"retry-after: " in answers[-1].lower()


def test_refused_passwords_are_events(make_proxy, stranger):
    proxy = make_proxy(clients={"users": USERS})
    for word in ("wrong", "worse"):
        assert (
            b" 407" in _curl(proxy, "-x", proxy.url, "-U", f"ann:{word}", "http://example.org/").stdout[:20]
        )
    (event,) = proxy.log.events  # further ones at the end of the minute
    assert (event.kind, event.client, event.stage) == ("error", "127.0.0.1", "sign_in")
    assert event.detail == "a password was refused at the proxy"


def test_refused_passwords_of_socks_are_events_too(make_proxy, stranger):
    proxy = make_proxy(mode="socks5", clients={"users": USERS})
    _curl(proxy, "--socks5-hostname", f"127.0.0.1:{proxy.port}", "-U", "ann:wrong", "http://example.org/")
    assert [event.stage for event in proxy.log.events] == ["sign_in"]
