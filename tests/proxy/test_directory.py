"""Users of a directory: who is remembered, who is bounded, and who goes on while it is away; slapd is real."""

import asyncio
import logging
import subprocess

import pytest
from argon2 import PasswordHasher

from proxykit.origin import send
from proxykit.slapd import PASSWORD, TEMPLATE, slapd
from secondlook.config.ldap import LdapSettings
from secondlook.proxy.access import directory
from secondlook.proxy.access.access import Access
from secondlook.proxy.access.login import TRIES, Login

AT = "192.0.2.1"
OF_FILE = "of the file"
USERS = {"Ben": PasswordHasher(time_cost=1, memory_cost=1024).hash(OF_FILE)}


@pytest.fixture
def server(tmp_path):
    with slapd(tmp_path / "slapd") as running:
        yield running


@pytest.fixture
def clock(monkeypatch):
    """Return a list whose only number is now, in seconds."""
    now = [1000.0]
    monkeypatch.setattr(directory.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def make_login(server):
    made = []

    def make(users=USERS, **more):
        settings = LdapSettings.model_validate(
            {"uri": server.uri, "bind": TEMPLATE, "timeout": "10s", "remember": "10m", "stale": "8h"} | more
        )
        made.append(Login(users, lambda _: False, lambda _: False, settings))
        return made[-1]

    yield make
    for each in made:
        each.done()


def ask(login, *tries):
    async def scene():
        return [await login._verify(name, password, AT) for name, password in tries]

    return asyncio.run(scene())


def test_who_is_let_in(make_login):
    asked = [("ann", PASSWORD), ("ANN", PASSWORD), ("ann", "wrong"), ("ann", ""), ("nobody", PASSWORD)]
    assert ask(make_login({}), *asked) == ["ann", "ann", None, None, None]


@pytest.mark.parametrize("name", ["Ben", "ben", "BEN"])
def test_who_is_in_the_settings_is_not_asked_about(make_login, server, name):
    """Or else a person of that name in the directory had the rights of the one in the settings."""
    assert ask(make_login(), (name, PASSWORD)) == [None]
    assert server.binds() == 0


def test_users_of_the_settings_go_on(make_login):
    assert ask(make_login(), ("Ben", OF_FILE), ("ann", PASSWORD)) == ["Ben", "ann"]


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ann", ""),
        ("ann", "\udcff"),
        ("ann", "a" * 1025),
        ("", PASSWORD),
        ("a nn", PASSWORD),
        ("ànn", PASSWORD),
    ],
)
def test_what_cannot_be_is_not_asked_about_and_counts(make_login, server, name, password):
    login = make_login()
    assert ask(login, *[(name, password)] * TRIES, ("cleo", PASSWORD)) == [None] * (TRIES + 1)
    assert server.binds() == 0


def test_wrong_tries_are_bounded_as_those_of_the_settings(make_login, server, clock):
    login = make_login()
    assert ask(login, ("ann", PASSWORD)) == ["ann"]
    wrong = [("ann", f"wrong{n}") for n in range(TRIES - 1)]
    assert not any(ask(login, *wrong, ("Ben", "wrong"), ("Ben", OF_FILE), ("cleo", PASSWORD)))
    assert server.binds() == TRIES, "none after the last that was allowed"
    clock[0] += 601
    assert not any(ask(login, *wrong, ("Ben", "wrong")))
    assert ask(login, ("ann", PASSWORD)) == ["ann"], "who was in is asked about all the same"


def test_success_is_remembered_as_no_password_and_asked_anew_later(make_login, server, clock):
    login = make_login()
    assert ask(login, *[("ann", PASSWORD)] * 3) == ["ann"] * 3
    assert server.binds() == 1
    (mark,) = login._directory._confirmed_at.keys()
    assert len(mark) == 32
    assert PASSWORD.encode() not in mark
    clock[0] += 599
    assert ask(login, ("ann", PASSWORD)) == ["ann"]
    assert server.binds() == 1
    clock[0] += 2
    assert ask(login, ("ann", PASSWORD)) == ["ann"]
    assert server.binds() == 2


def test_a_page_of_requests_is_one_try(make_login, server):
    login = make_login()

    async def scene(password):
        return await asyncio.gather(*(login._verify("ann", password, AT) for _ in range(3 * TRIES)))

    assert asyncio.run(scene(PASSWORD)) == ["ann"] * 3 * TRIES
    assert asyncio.run(scene("wrong")) == [None] * 3 * TRIES
    assert server.binds() == 2
    assert ask(login, ("cleo", PASSWORD)) == ["cleo"]


def test_a_directory_that_is_away(make_login, server, clock, caplog):
    login = make_login()
    assert ask(login, ("ann", PASSWORD)) == ["ann"]
    server.kill()
    with caplog.at_level(logging.WARNING):
        clock[0] += 8 * 3600 - 1
        assert ask(login, ("ann", PASSWORD), ("ann", "wrong"), ("cleo", PASSWORD)) == ["ann", None, None]
        assert ask(login, *[("cleo", PASSWORD)] * 2 * TRIES) == [None] * 2 * TRIES
    (line,) = caplog.messages
    assert line == f"no answer about users from the directory {server.uri}: Connection refused"
    clock[0] += 1
    assert ask(login, ("ann", PASSWORD)) == [None], "not for ever"
    server.start()
    assert ask(login, ("cleo", PASSWORD)) == [None], "asked again a little later"
    clock[0] += directory.PAUSE_S
    assert ask(login, ("cleo", PASSWORD)) == ["cleo"], "none of this counted as wrong"


def test_who_is_refused_meanwhile_is_forgotten(make_login, server, clock):
    login = make_login()
    assert ask(login, ("ann", PASSWORD)) == ["ann"]
    clock[0] += 601

    async def no(name, password):
        return False

    login._directory._ldap.holds, holds = no, login._directory._ldap.holds
    assert ask(login, ("ann", PASSWORD)) == [None]
    login._directory._ldap.holds = holds
    server.kill()
    assert ask(login, ("ann", PASSWORD)) == [None], (
        "a user who was taken out gets nothing of the directory's absence"
    )


def test_through_a_proxy(make_proxy, make_origin, gatekeeper, monkeypatch, server):
    async def hello(asked, writer):
        await send(writer, b"hello " + (asked.header("proxy-authorization") or "nothing").encode())

    def curl(*more):
        command = [
            "curl",
            "-sS",
            "-i",
            "-m",
            "20",
            "-x",
            proxy.url,
            *more,
            f"http://127.0.0.1:{origin.port}/",
        ]
        return subprocess.run(command, capture_output=True, check=False).stdout

    monkeypatch.setattr(Access, "is_open", lambda self, client: False)
    proxy = make_proxy(clients={"ldap": {"uri": server.uri, "bind": TEMPLATE, "remember": "0s"}})
    origin = make_origin(hello)
    for more in ([], ["-U", "ann:wrong"], ["-U", "ann:"], ["-U", f"nobody:{PASSWORD}"]):
        assert curl(*more).startswith(b"HTTP/1.1 407")
    assert origin.connections == 0
    assert curl("-U", f"Ann:{PASSWORD}").endswith(b"hello nothing")
    server.kill()
    assert curl("-U", f"ann:{PASSWORD}").endswith(b"hello nothing")
    assert curl("-U", f"cleo:{PASSWORD}").startswith(b"HTTP/1.1 407")
    assert {context.user for _, subject, context, _ in gatekeeper.seen if subject.kind == "url"} == {"ann"}
