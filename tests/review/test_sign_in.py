"""Signing in, and out again."""

import errno
from pathlib import Path

from review.stage import keep, post
from secondlook.review.session import COOKIE, Ended


def test_signing_out_ends_the_session(client):
    copied = dict(client.cookies)
    post(client, "/sign-out")
    assert client.get("/").headers["location"] == "/sign-in"
    client.cookies.update(copied)
    assert client.get("/").headers["location"] == "/sign-in"


def test_signing_out_needs_no_disk(client, door, monkeypatch):
    """On a full disk it is over here and now; only a restart would not know of it."""
    cookie = client.cookies[COOKIE]

    def full(*_, **_more):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(door, "_ended", Ended(Path("/nowhere/ended.json"), 0.0))
    monkeypatch.setattr(Path, "write_text", full)
    assert post(client, "/sign-out").headers["location"] == "/sign-in"
    assert COOKIE not in client.cookies
    assert door.session(cookie) is None


def test_a_refused_password_is_an_event(client, ledger):
    answers = [client.post("/sign-in", data={"password": "wrong"}).status_code for _ in range(7)]
    assert answers == [403] * 5 + [429] * 2
    keep(ledger)
    (event,) = ledger.events.page().events
    assert (event.kind, event.stage, event.client) == ("error", "sign_in", "testclient")
    assert event.detail == "a password was refused at the review page"
