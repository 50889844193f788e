"""The password of the administrator's page: right, wrong, tried too often, and the token of its forms."""

import asyncio
from base64 import b64encode
from types import SimpleNamespace

import pytest
from argon2 import PasswordHasher

from secondlook.core.wrong_passwords import WINDOW_S
from secondlook.server.admin.sign_in import TRIES, TRIES_OF_ALL, SignIn

HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("right")


def header(password, name="admin"):
    return "Basic " + b64encode(f"{name}:{password}".encode()).decode()


@pytest.fixture
def clock():
    return SimpleNamespace(now=100.0)


@pytest.fixture
def door(clock):
    return SignIn(HASH, lambda: clock.now)


def knows(door, password, address="10.0.0.1"):
    return asyncio.run(door.knows(header(password), address))


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Basic",
        "Basic !!!",
        "Basic " + b64encode(b"right").decode(),
        "Bearer right",
        header("wrong"),
        header(""),
    ],
)
def test_only_the_password_opens(door, authorization):
    assert not asyncio.run(door.knows(authorization, "10.0.0.1"))
    assert asyncio.run(door.knows(header("right", "anybody"), "10.0.0.1"))
    assert asyncio.run(door.knows(header("right").replace("Basic", "basic"), "10.0.0.1"))


def test_wrong_passwords_are_bounded_for_each_address(door, clock):
    for _ in range(TRIES):
        assert door.wait_s("10.0.0.1") == 0
        assert not knows(door, "wrong")
    assert door.wait_s("10.0.0.1") == WINDOW_S
    assert not knows(door, "right")  # not even tried
    assert knows(door, "right", "10.0.0.2")
    assert knows(door, "right")  # remembered: who knows it is not kept out by who does not
    clock.now += WINDOW_S
    assert door.wait_s("10.0.0.1") == 0


def test_wrong_passwords_are_bounded_for_all(door):
    for at in range(TRIES_OF_ALL):
        assert not knows(door, "wrong", f"10.0.1.{at}")
    assert door.wait_s("10.0.0.2") > 0
    assert not knows(door, "right", "10.0.0.2")


def test_a_form_belongs_to_who_got_it_and_to_this_start(door, clock):
    token = door.form_token(header("right"))
    assert token == door.form_token(header("right"))
    assert token != door.form_token(header("other"))
    assert token != SignIn(HASH, lambda: clock.now).form_token(header("right"))
