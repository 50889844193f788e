"""Proofs of access: links that work once, cookies that last, and their end."""

import time

import pytest
from argon2 import PasswordHasher

from secondlook.review import session
from secondlook.review.session import Doorkeeper


@pytest.fixture
def door():
    return Doorkeeper(b"k" * 32)


def test_a_used_link_is_replaced_and_reported():
    renewed = []
    door = Doorkeeper(b"k" * 32, renewed=renewed.append)
    first = door.token
    assert door.redeem(first)
    assert renewed == [door.token]
    assert door.token != first
    assert door.redeem(first) is None


def test_sessions_survive_a_restart(client, door):
    cookie = door.redeem(door.token)
    assert Doorkeeper(b"k" * 32).session(cookie) is not None


@pytest.mark.parametrize("after", ["new", None])
def test_another_password_ends_the_sessions_of_the_one_before(after):
    hasher = PasswordHasher(time_cost=1, memory_cost=64)
    before = hasher.hash("old")
    door = Doorkeeper(b"k" * 32, password_hash=before)
    by_password, by_link = door.sign_in("old"), door.redeem(door.token)
    same = Doorkeeper(b"k" * 32, password_hash=before)
    other = Doorkeeper(b"k" * 32, password_hash=after and hasher.hash(after))
    for cookie in (by_password, by_link):
        assert same.session(cookie) == door.session(cookie) is not None
    assert other.session(by_password) is None
    assert other.session(by_link) == door.session(by_link)


def test_signing_out_ends_the_copies_of_a_cookie_too(tmp_path):
    ended = tmp_path / "ended.json"
    door = Doorkeeper(b"k" * 32, ended=ended)
    cookie, other = door.redeem(door.token), door.redeem(door.token)
    door.sign_out(door.session(cookie))
    for there in (door, Doorkeeper(b"k" * 32, ended=ended)):
        assert there.session(cookie) is None
        assert there.session(other) is not None
    ended.write_text("[damaged")
    later = Doorkeeper(b"k" * 32, ended=ended)
    assert later.session(other) is None


def test_as_many_sign_outs_as_are_remembered_end_all(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "MOST_ENDED", 2)
    door = Doorkeeper(b"k" * 32, ended=tmp_path / "ended.json")
    cookies = [door.redeem(door.token) for _ in range(4)]
    monkeypatch.setattr(session.time, "time", lambda now=time.time: now() + 2)
    for cookie in cookies[:3]:
        door.sign_out(door.session(cookie))
    assert [door.session(cookie) for cookie in cookies] == [None] * 4


def test_old_sessions_end(door, monkeypatch):
    cookie = door.redeem(door.token)
    monkeypatch.setattr(session, "SESSION_S", -1)
    assert door.session(cookie) is None


def test_a_password_that_is_no_text_is_wrong():
    hashed = PasswordHasher(time_cost=1, memory_cost=64).hash("right")
    assert Doorkeeper(b"k" * 32, password_hash=hashed).sign_in("\ud800") is None
