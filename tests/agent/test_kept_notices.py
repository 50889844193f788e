"""The file of notices that wait: whose it is, and who is erased in it."""

import asyncio
import json
import os
import threading

import pytest

from agentkit.notices import Sender, notice
from secondlook.agent.actions import kept_notices, notifier
from secondlook.agent.actions.kept_notices import KeptNotices, erase_client
from secondlook.agent.actions.notifier import Notifier, discard
from secondlook.ground.clock import SystemClock
from secondlook.ground.errors import LedgerError
from secondlook.ground.lanes import COMMANDS
from secondlook.ground.lock import take_lock

OWN = notice("http://bad.test/own", "let through to 10.0.0.7", clients=("10.0.0.7",))
BOTH = notice("http://bad.test/both", "let through to 10.0.0.7, 10.0.0.77", clients=("10.0.0.7", "10.0.0.77"))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "notices.json"


class Clock(SystemClock):
    """The system's, that can be moved on."""

    ahead = 0.0

    def monotonic(self):
        return super().monotonic() + self.ahead


async def until(true):
    for _ in range(2000):
        if true():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came")


def written(path):
    """What is kept now: the file goes when nothing is."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


async def ended(task):
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_what_is_written_is_read_as_it_was(path):
    waiting = {"confirmed": ([OWN, notice(None, users=("ann",))], 3)}
    KeptNotices(path).write(waiting)
    assert KeptNotices(path).read() == waiting
    KeptNotices(path).write({})
    assert not path.exists()


def test_one_without_names_is_read_as_an_earlier_version_wrote_it(path):
    values = ["confirmed", "A title", "bad.test", None, "let through to 10.0.0.7"]
    path.write_text(json.dumps({"confirmed": {"more": 0, "waiting": [values]}}))
    ((read,), _) = KeptNotices(path).read()["confirmed"]
    assert (read.text, read.clients, read.users) == ("let through to 10.0.0.7", (), ())
    erase_client(path, "10.0.0.7")
    assert "bad.test" not in path.read_text()  # nobody knows who else met it


def test_a_client_is_erased_where_no_service_runs(path):
    KeptNotices(path).write({"confirmed": ([OWN, BOTH], 1)})
    path.chmod(0o640)
    erase_client(path, "10.0.0.7")
    (alone, both), more = KeptNotices(path).read()["confirmed"]
    assert (alone.host, alone.subject, alone.text, alone.clients) == (None, None, "", ())
    assert (both.text, both.clients) == ("let through to (erased), 10.0.0.77", ("10.0.0.77",))
    assert (more, path.stat().st_mode & 0o777) == (1, 0o640)
    erase_client(path.with_name("none.json"), "10.0.0.7")
    assert not path.with_name("none.lock").exists()


def test_a_file_that_cannot_be_read_is_no_erased_one(path):
    path.write_text("10.0.0.7")
    with pytest.raises(LedgerError, match="still name"):
        erase_client(path, "10.0.0.7")


def test_a_client_is_erased_in_what_a_running_service_keeps_and_sends(path, monkeypatch):
    """The service alone knows what it has in memory."""
    monkeypatch.setattr(notifier, "_LOOK_S", 0.01)
    sender, clock = Sender(), Clock()

    async def scenario():
        service = Notifier(sender, clock, kept=path, at_most_every_s=1e6)
        running = asyncio.create_task(service.run())
        service.notify(notice("http://bad.test/first"))
        await until(lambda: sender.sent)
        service.notify(OWN)
        service.notify(BOTH)
        await until(lambda: b"/both" in written(path))
        await COMMANDS.run(erase_client, path, "10.0.0.7")
        content = path.read_text()
        clock.ahead = 2e6
        await until(lambda: len(sender.sent) == 2)
        await ended(running)
        return content

    content = asyncio.run(scenario())
    assert "/both" in content
    assert "/own" not in content
    assert '10.0.0.7"' not in content
    assert sender.sent[1][1].splitlines() == [
        "- (not kept)",
        "- hxxp://bad(.)test/both: let through to (erased), 10.0.0.77",
    ]
    assert [left.name for left in path.parent.iterdir()] == ["notices.lock"]


def test_who_erases_hears_that_a_service_did_not_do_it(path, monkeypatch):
    monkeypatch.setattr(kept_notices, "_PATIENCE_S", 0.01)
    kept = KeptNotices(path)
    kept.write({"confirmed": ([OWN], 0)})
    kept.take()
    with pytest.raises(LedgerError, match="try again"):
        erase_client(path, "10.0.0.7")
    kept.let_go()
    assert kept.to_erase() == {}


def test_a_command_that_sends_at_once_leaves_alone_what_a_service_keeps(house, path):
    """As a second look that is asked for beside a running proxy."""
    sender = Sender()
    path.write_text("of the service")

    async def scenario():
        command = Notifier(sender, house.clock, kept=path)
        command.notify(notice())
        await command.send_due()

    house.run(scenario())
    assert len(sender.sent) == 1
    assert path.read_text() == "of the service"


def test_a_service_that_is_stopped_as_it_gets_its_turn_has_it_and_gives_it_back(path, monkeypatch):
    taking, go_on = threading.Event(), threading.Event()

    def slowly(lock, *, wait):
        taking.set()
        go_on.wait(30.0)
        return take_lock(lock, wait=wait)

    monkeypatch.setattr(kept_notices, "take_lock", slowly)

    async def scenario():
        service = Notifier(Sender(), SystemClock(), kept=path)
        service.notify(notice())
        running = asyncio.create_task(service.run())
        await until(taking.is_set)
        running.cancel()
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())
    assert len(KeptNotices(path).read()["confirmed"][0]) == 1
    os.close(take_lock(path.with_suffix(".lock"), wait=False))


def test_what_waits_goes_where_nobody_wants_notices_any_more(house, path):
    """Also what a service leaves that still had them."""

    async def scenario():
        last = Notifier(Sender(), house.clock, kept=path)
        running = asyncio.create_task(last.run())
        for _ in range(2):
            last.notify(notice())
            await asyncio.sleep(1)
        discarding = asyncio.create_task(discard(KeptNotices(path)))
        await asyncio.sleep(5)
        assert path.exists()
        await ended(running)
        assert path.exists()
        await discarding

    house.run(discard(KeptNotices(path)))
    assert list(path.parent.iterdir()) == []  # nobody ever wanted any
    house.run(scenario())
    assert not path.exists()
