"""Signing in, and out again."""

import asyncio
import errno
import sys
from pathlib import Path

import httpx
import pytest
from argon2 import PasswordHasher
from markupsafe import escape
from starlette.testclient import TestClient

from review.stage import ORIGIN, keep, post
from secondlook.ground.clock import SystemClock
from secondlook.ground.program_name import typed
from secondlook.review.app import create_app
from secondlook.review.session import COOKIE, DEVICE, LOGIN_TRIES, Doorkeeper, Ended


class Still(SystemClock):
    """A clock whose minutes do not pass."""

    def monotonic(self):
        return 1000.0


def test_signing_out_ends_the_session(client):
    copied = dict(client.cookies)
    post(client, "/sign-out")
    assert client.get("/").headers["location"] == "/sign-in"
    client.cookies.update(copied)
    assert client.get("/").headers["location"] == "/sign-in"


def test_two_proxies_on_one_host_do_not_sign_each_other_out(operations):
    """A browser keeps the cookies of a host for all its ports."""
    jar = httpx.Cookies()
    doors = {port: Doorkeeper(bytes([port % 256]) * 32) for port in (9000, 9001)}

    def get(port, path):
        app = create_app(operations, doors[port], hosts=[f"127.0.0.1:{port}"], clock=SystemClock())
        with TestClient(
            app, base_url=f"http://127.0.0.1:{port}", follow_redirects=False, cookies=jar
        ) as browser:
            answer = browser.get(path)
            jar.update(browser.cookies)
            return answer

    for port, door in doors.items():
        get(port, f"/?token={door.token}")
    assert [get(port, "/").status_code for port in doors] == [200, 200]


def test_a_session_of_before_ports_stood_in_its_cookie_goes_on(client, door):
    client.cookies = {COOKIE: client.cookies[f"{COOKIE}_9000"]}
    assert client.get("/").status_code == 200
    post(client, "/sign-out")
    assert client.get("/").status_code == 303


def test_a_form_that_was_sent_after_the_session_ended_is_not_lost_in_silence(client):
    post(client, "/sign-out")
    answer = client.post("/pause", data={"minutes": "5"})
    assert "what was sent changed nothing" in client.get(answer.headers["location"]).text


def test_signing_out_needs_no_disk(client, door, monkeypatch):
    """On a full disk it is over here and now; only a restart would not know of it."""
    cookie = client.cookies[f"{COOKIE}_9000"]

    def full(*_, **_more):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(door, "_ended", Ended(Path("/nowhere/ended.json"), 0.0))
    monkeypatch.setattr(Path, "write_text", full)
    assert post(client, "/sign-out").headers["location"] == "/sign-in"
    assert f"{COOKIE}_9000" not in client.cookies
    assert door.session(cookie) is None


@pytest.mark.anyio
@pytest.mark.parametrize("password_hash", [None, "no hash"])
async def test_where_the_program_lies_is_shown_on_its_machine_alone(operations, password_hash):
    door = Doorkeeper(b"k" * 32, password_hash=password_hash)
    app = create_app(operations, door, hosts=["127.0.0.1:9000"], clock=SystemClock())
    shown = {}
    for client in ("127.0.0.1", "::1", "192.0.2.7"):
        transport = httpx.ASGITransport(app, client=(client, 1))
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as browser:
            shown[client] = (await browser.get("/sign-in")).text
    assert escape(typed("status")) in shown["127.0.0.1"]
    assert shown["::1"] == shown["127.0.0.1"]
    assert "<code>secondlook status</code>" in shown["192.0.2.7"]
    assert str(Path(sys.executable).parent) not in shown["192.0.2.7"]


@pytest.mark.anyio
async def test_tries_whose_passwords_come_late_are_counted_too(operations):
    """Whoever opens many requests at once and sends the passwords afterwards gets no more of them verified."""
    door = Doorkeeper(b"k" * 32, password_hash="no hash")
    app = create_app(operations, door, hosts=["127.0.0.1:9000"], clock=SystemClock())
    all_asked = asyncio.Event()
    begun = 0

    async def late():
        nonlocal begun
        begun += 1
        if begun == 2 * LOGIN_TRIES:
            all_asked.set()
        await all_asked.wait()
        yield b"password=wrong"

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ORIGIN) as browser:
        headers = {"content-type": "application/x-www-form-urlencoded"}
        asked = [browser.post("/sign-in", content=late(), headers=headers) for _ in range(2 * LOGIN_TRIES)]
        answers = [answer.status_code for answer in await asyncio.gather(*asked)]
    assert sorted(answers) == [403] * LOGIN_TRIES + [429] * LOGIN_TRIES


def test_a_right_password_is_no_wrong_one(operations):
    hashed = PasswordHasher(time_cost=1, memory_cost=64).hash("right")
    door = Doorkeeper(b"k" * 32, password_hash=hashed)
    app = create_app(operations, door, hosts=["127.0.0.1:9000"], clock=SystemClock())
    with TestClient(app, base_url=ORIGIN, follow_redirects=False) as browser:
        for _ in range(2 * LOGIN_TRIES):
            assert browser.post("/sign-in", data={"password": "right"}).headers["location"] == "/"


def test_a_refused_password_is_an_event(client, ledger):
    answers = [client.post("/sign-in", data={"password": "wrong"}).status_code for _ in range(7)]
    assert answers == [403] * 5 + [429] * 2
    keep(ledger)
    (event,) = ledger.events.page().events
    assert (event.kind, event.stage, event.client) == ("error", "sign_in", "testclient")
    assert event.detail == "a password was refused at the review page"


def test_nobody_who_guesses_keeps_a_known_browser_out(operations):
    """Neither from its own address, as behind one balancer or router, nor from many others."""
    hashed = PasswordHasher(time_cost=1, memory_cost=64).hash("right")
    clock = Still()

    def sign_in(address, password, device=None):
        app = create_app(operations, doors[0], hosts=["127.0.0.1:9000"], clock=clock)
        with TestClient(app, base_url=ORIGIN, follow_redirects=False, client=(address, 5)) as browser:
            if device:
                browser.cookies.set(DEVICE, device, domain="127.0.0.1", path="/sign-in")
            return browser.post("/sign-in", data={"password": password})

    doors = [Doorkeeper(b"k" * 32, password_hash=hashed)]
    first = sign_in("192.0.2.1", "right")
    device = first.cookies[f"{DEVICE}_9000"]
    given = next(each for each in first.headers.get_list("set-cookie") if each.startswith(DEVICE))
    assert {"HttpOnly", "Path=/sign-in", "SameSite=strict"} <= set(given.split("; "))
    doors[0] = Doorkeeper(b"k" * 32, password_hash=hashed)  # a start later
    for number in range(11):
        for _ in range(LOGIN_TRIES):
            refused = sign_in(f"192.0.2.{number}", "wrong")
    assert refused.status_code == 429
    assert sign_in("203.0.113.9", "right").status_code == 429
    for address in ("192.0.2.1", "203.0.113.9"):
        assert sign_in(address, "right", device).headers["location"] == "/"
    assert sign_in("203.0.113.9", "right", "forged" + device).status_code == 429
    answers = [sign_in("203.0.113.9", "wrong", device).status_code for _ in range(LOGIN_TRIES + 1)]
    assert answers == [403] * LOGIN_TRIES + [429], "a stolen cookie gives no more tries than an address"
    assert doors[0].session(device) is None, "it opens nothing"
