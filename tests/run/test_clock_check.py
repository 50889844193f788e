"""Whether the clock is right, by our own files and by what others answer."""

import asyncio
import os
import time
from email.utils import formatdate

import pytest

from agentkit.ledger import FakeLedger
from agentkit.virtual import FakeClock, VirtualLoop
from secondlook.config.agent import Settings
from secondlook.run.diagnosis.clock_check import (
    CLOCK_WRONG_S,
    clock,
    compared,
    date_of,
    from_the_future,
    watch_clock,
)


async def asked(date: bytes, ask):
    """Have something asked of a server that gives this Date."""

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n" + date + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        return await ask(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")


@pytest.mark.parametrize(("ahead_s", "found"), [(CLOCK_WRONG_S - 20, False), (CLOCK_WRONG_S + 20, True)])
def test_a_file_from_the_future(tmp_path, ahead_s, found):
    assert from_the_future(tmp_path) is None
    (tmp_path / "file").touch()
    at = time.time() + ahead_s
    os.utime(tmp_path / "file", (at, at))
    assert (from_the_future(tmp_path) is not None) == found


@pytest.mark.parametrize("zone", [b" GMT", b" -0000", b""])
@pytest.mark.parametrize(("age", "later_s"), [(b"", 0), (b"Age: 600\r\n", 600), (b"Age: -1\r\n", 0)])
def test_the_date_of_a_server(zone, age, later_s, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    date = b"Date: Sun, 06 Nov 1994 08:49:37" + zone + b"\r\n" + age
    found = asyncio.run(asked(date, lambda url: date_of(url, None)))
    monkeypatch.undo()
    time.tzset()
    assert found == (784111777.0, 784111777.0 + later_s)


@pytest.mark.parametrize("date", [b"", b"Date: soon\r\n"])
def test_a_server_that_gives_none(date):
    assert asyncio.run(asked(date, lambda url: date_of(url, None))) is None


def test_nobody_there():
    assert asyncio.run(date_of("http://127.0.0.9:1/", None)) is None


@pytest.mark.parametrize(
    ("off_s", "text"),
    [
        (CLOCK_WRONG_S, "the clock agrees with the database"),
        (86_400.4, "the clock is 86400 s ahead of that of the database"),
        (-CLOCK_WRONG_S - 1, "the clock is 121 s behind that of the database"),
    ],
)
def test_the_clock_is_held_against_the_databases(off_s, text):
    found = compared(off_s, "the database")
    assert (found.check, found.text) == ("clock", text)
    assert (found.result == "ok") == ("agrees" in text)


@pytest.mark.parametrize(
    ("off_s", "age_s", "result"),
    [
        (0.0, 0, "ok"),
        (300.0, 0, "problem"),
        (-300.0, 0, "problem"),
        (600.0, 600, "ok"),  # the answer of a cache, with the Date of then …
        (0.0, 600, "ok"),  # … or of now
        (900.0, 600, "problem"),
        (-300.0, 600, "problem"),
    ],
)
def test_the_clock_is_held_against_a_feed(tmp_path, off_s, age_s, result):
    date = f"Date: {formatdate(time.time() - off_s, usegmt=True)}\r\nAge: {age_s}\r\n".encode()

    async def ask(url):
        feed = {"name": "one", "url": url, "list": "mw-8b"}
        return await clock(Settings.model_validate({"state": tmp_path, "feeds": [feed]}))

    found = asyncio.run(asked(date, ask))
    assert (found.check, found.result) == ("clock", result)
    assert ("ahead of" in found.text) == (result == "problem" and off_s > 0)


@pytest.fixture
def details():
    """What is logged when the clock is moved by so many seconds, one after the other."""
    loop = VirtualLoop()
    clock = FakeClock(loop)
    ledger = FakeLedger(clock)

    async def scene(jumps):
        watching = asyncio.create_task(watch_clock(ledger.recorder, clock))
        for jump_s in jumps:
            await asyncio.sleep(20.0)
            clock.jump(jump_s)
        await asyncio.sleep(20.0)
        watching.cancel()
        return [event.detail for event in ledger.recorded]

    yield lambda *jumps: loop.run_until_complete(scene(jumps))
    loop.close()


def test_each_jump_is_told_once(details):
    assert details(60 * 86_400.0, -60 * 86_400.0, 600.0, -5 * 3600.0) == [
        "the clock was set forward by 60 days; nothing expires because of it",
        "the clock was set back by 60 days; nothing expires because of it",
        "the clock was set forward by 10 minutes; nothing expires because of it",
        "the clock was set back by 5 hours; nothing expires because of it",
    ]


def test_a_clock_that_is_kept_right_is_no_news(details):
    assert details(0.5, -0.5, 30.0) == []
