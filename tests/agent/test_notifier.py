"""When notices are sent, and what becomes of them at a stop; what they say is tested in test_notice."""

import asyncio
import json
import stat
import threading
from typing import Any

import pytest

from agentkit.notices import Sender, notice
from secondlook.agent.actions import notifier as module
from secondlook.agent.actions.notice import Notice
from secondlook.agent.actions.notifier import Notifier
from secondlook.ground.clock import SystemClock


def test_many_are_told_together(house):
    sender = Sender()
    notifier = Notifier(sender, house.clock, at_most_every_s=60.0)

    async def scenario():
        running = asyncio.create_task(notifier.run())
        notifier.notify(notice())
        await asyncio.sleep(1)
        for _ in range(37):
            notifier.notify(notice())
        await asyncio.sleep(30)
        assert len(sender.sent) == 1
        await asyncio.sleep(40)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    house.run(scenario())
    assert len(sender.sent) == 2
    title, body = sender.sent[1]
    assert "37 of them" in title
    assert body.endswith("… and 27 more.")


def test_a_sender_that_fails_harms_nobody(house, caplog):
    notifier = Notifier(Sender(fail=True), house.clock)
    notifier.notify(notice())
    house.run(notifier.send_due())
    assert "could not be sent" in caplog.text
    assert house.run(notifier.send("test", "a test")) is False


def test_what_waits_is_bounded(house):
    sender = Sender()
    notifier = Notifier(sender, house.clock)
    for _ in range(3000):
        notifier.notify(notice())
    house.run(notifier.send_due())
    assert "3000 of them" in sender.sent[0][0]


def run_for(house, notifier, seconds, *notices):
    """Run it, give it notices a moment later, and stop it."""

    async def scenario():
        running = asyncio.create_task(notifier.run())
        await asyncio.sleep(1)
        for each in notices:
            notifier.notify(each)
        await asyncio.sleep(seconds)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    house.run(scenario())


def test_what_waits_at_a_stop_is_sent_at_the_next_start_and_once(house, tmp_path):
    kept, sender = tmp_path / "notices.json", Sender()
    notifier = Notifier(sender, house.clock, kept=kept)
    run_for(house, notifier, 1, notice())
    run_for(
        house,
        notifier,
        30,
        *[notice(f"http://bad.test/{number}") for number in range(3)],
        notice(kind="other"),
    )
    assert len(sender.sent) == 2  # the first of each kind, the rest comes too soon
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    run_for(house, Notifier(sender, house.clock, kept=kept), 1)
    assert len(sender.sent) == 3
    assert "(3 of them)" in sender.sent[2][0]
    assert not kept.exists()
    run_for(house, Notifier(sender, house.clock, kept=kept), 100)
    assert len(sender.sent) == 3


def follow(house, sender, kept, end):
    """Run a service that has sent a notice and keeps another, and the next, which has a third; `end` both."""

    async def scenario():
        last, following = (Notifier(sender, house.clock, kept=kept) for _ in range(2))
        running = asyncio.create_task(last.run())
        last.notify(notice("http://bad.test/first"))
        await asyncio.sleep(1)
        last.notify(notice("http://bad.test/second"))
        beside = asyncio.create_task(following.run())
        await asyncio.sleep(1)
        following.notify(notice("http://bad.test/third"))
        await end(running, beside)
        await asyncio.gather(running, beside, return_exceptions=True)

    house.run(scenario())


def test_the_next_service_begins_with_what_the_last_one_left(house, tmp_path):
    """At a reload the next one is there before the last one has ended."""
    kept, sender = tmp_path / "notices.json", Sender()

    async def end(last, following):
        await asyncio.sleep(10)
        assert len(sender.sent) == 1
        last.cancel()
        await asyncio.sleep(10)
        following.cancel()

    follow(house, sender, kept, end)
    assert len(sender.sent) == 2
    assert "(2 of them)" in sender.sent[1][0]
    assert not kept.exists()


def test_what_waits_is_kept_as_soon_as_it_waits(house, tmp_path):
    """Nothing is done at the end of a process that is killed."""
    kept, sender = tmp_path / "notices.json", Sender()

    async def scenario():
        notifier = Notifier(sender, house.clock, kept=kept)
        running = asyncio.create_task(notifier.run())
        for number in range(3):
            notifier.notify(notice(f"http://bad.test/{number}"))
            await asyncio.sleep(1)
        before = kept.read_bytes()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return before

    assert len(json.loads(house.run(scenario()))["confirmed"]["waiting"]) == 2


def test_one_that_is_on_its_way_at_a_stop_is_waited_for_and_not_sent_again(tmp_path):
    on_its_way, arrive = threading.Event(), threading.Event()
    sender = Sender()

    class Slow:
        def send(self, title, body):
            on_its_way.set()
            arrive.wait(30.0)
            return sender.send(title, body)

    async def stopped_meanwhile():
        notifier = Notifier(Slow(), SystemClock(), kept=tmp_path / "notices.json")
        notifier.notify(notice())
        running = asyncio.create_task(notifier.run())
        while not on_its_way.is_set():
            await asyncio.sleep(0)
        assert (tmp_path / "notices.json").exists()
        running.cancel()
        await asyncio.sleep(0)
        arrive.set()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(stopped_meanwhile())
    assert len(sender.sent) == 1
    assert not (tmp_path / "notices.json").exists()


def test_one_of_which_nobody_knows_whether_it_arrived_is_sent_again(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_ON_ITS_WAY_S", 0.01)
    on_its_way, arrive = threading.Event(), threading.Event()

    class Hanging:
        def send(self, title, body):
            on_its_way.set()
            return arrive.wait(30.0)

    async def stopped_meanwhile():
        notifier = Notifier(Hanging(), SystemClock(), kept=tmp_path / "notices.json")
        notifier.notify(notice())
        running = asyncio.create_task(notifier.run())
        while not on_its_way.is_set():
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        waits = json.loads((tmp_path / "notices.json").read_bytes())
        arrive.set()
        return waits

    assert len(asyncio.run(stopped_meanwhile())["confirmed"]["waiting"]) == 1


@pytest.mark.parametrize(("privacy", "kept"), [(0, "q=secret"), (2, "bad.test"), (3, "turned out dangerous")])
def test_no_more_is_kept_than_may_be_shown(house, tmp_path, privacy, kept):
    path = tmp_path / "notices.json"
    notifier = Notifier(Sender(), house.clock, privacy=privacy, kept=path)
    run_for(house, notifier, 1, notice())
    run_for(house, notifier, 1, notice())
    text = path.read_text()
    assert kept in text
    shown = {"q=secret": 0, "listed as malware": 0, "bad.test": 2}
    assert all((word in text) == (privacy <= level) for word, level in shown.items())


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", '{"confirmed": 1}', '{"confirmed": {"waiting": [[1]], "more": 0}}', "\0", "[" * 100_000),
        *(
            json.dumps({"confirmed": {"waiting": [["confirmed", *values]], "more": more}})
            for values, more in (
                (["t", 5, 5, "text"], 0),
                (["t", None, [], "text"], 0),
                (["t", None, None, 5], 0),
                ([None, None, None, "text"], 0),
                (["t", None, None, "text"], "1"),
                (["t", None, None, "text"], float("inf")),
            )
        ),
    ],
)
def test_a_damaged_file_is_left_with_a_word(house, tmp_path, content, caplog):
    path, sender = tmp_path / "notices.json", Sender()
    path.write_text(content)
    run_for(house, Notifier(sender, house.clock, kept=path), 1, notice())
    assert len(sender.sent) == 1
    assert "cannot be read" in caplog.text
    assert not path.exists()


def test_what_a_full_disk_does_not_take_is_sent_all_the_same(house, tmp_path, caplog):
    sender = Sender()
    notifier = Notifier(sender, house.clock, kept=tmp_path / "no" / "such" / "folder")
    run_for(house, notifier, 100, notice(), notice("http://bad.test/2"))
    assert len(sender.sent) >= 1
    assert "cannot be kept" in caplog.text


def test_what_no_message_can_be_made_of_keeps_no_other_back(house, caplog):
    sender = Sender()
    notifier = Notifier(sender, house.clock)
    values: tuple[Any, ...] = ("odd", "t", 5, 5, 5)
    run_for(house, notifier, 100, Notice(*values), notice())
    assert len(sender.sent) == 1
    assert "are left out" in caplog.text


class Held:
    """A sender whose message is on its way until it is let go."""

    def __init__(self) -> None:
        self.begun, self.let_go = threading.Event(), threading.Event()
        self.sent: list[tuple[str, str]] = []

    def send(self, title, body):
        self.begun.set()
        self.sent.append((title, body))
        return self.let_go.wait(30.0)

    async def is_on_its_way(self) -> None:
        while not self.begun.is_set():
            await asyncio.sleep(0)


def test_what_comes_while_a_message_is_on_its_way_is_kept_as_soon_as_it_waits(tmp_path):
    """Nothing is done at the end of a process that is killed."""
    kept, sender = tmp_path / "notices.json", Held()

    async def killed_meanwhile():
        notifier = Notifier(sender, SystemClock(), kept=kept)
        notifier.notify(notice("http://bad.test/first"))
        running = asyncio.create_task(notifier.run())
        await sender.is_on_its_way()
        notifier.notify(notice("http://bad.test/second"))
        notifier.notify(notice(kind="other"))
        for _ in range(1000):
            if "other" in json.loads(kept.read_bytes()):
                break
            await asyncio.sleep(0.01)
        before = json.loads(kept.read_bytes())
        sender.let_go.set()
        while len(sender.sent) < 2:  # the other kind is due at once
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return before

    waits = asyncio.run(killed_meanwhile())
    assert {kind: len(about["waiting"]) for kind, about in waits.items()} == {"confirmed": 2, "other": 1}
    left = json.loads(kept.read_bytes())
    assert [values[3] for values in left["confirmed"]["waiting"]] == ["http://bad.test/second"]
    assert len(sender.sent) == 2


def test_what_comes_beyond_the_bound_during_a_message_is_kept_and_counted(tmp_path):
    kept, sender = tmp_path / "notices.json", Held()

    async def stopped_after():
        notifier = Notifier(sender, SystemClock(), kept=kept)
        for _ in range(1000):
            notifier.notify(notice("http://bad.test/first"))
        running = asyncio.create_task(notifier.run())
        await sender.is_on_its_way()
        for _ in range(1050):
            notifier.notify(notice("http://bad.test/second"))
        sender.let_go.set()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(stopped_after())
    (about,) = json.loads(kept.read_bytes()).values()
    assert (len(about["waiting"]), about["more"]) == (1000, 50)
    assert {values[3] for values in about["waiting"]} == {"http://bad.test/second"}
    assert "(1000 of them)" in sender.sent[0][0]


def test_a_service_that_stops_before_its_turn_adds_what_waits_to_what_the_last_one_left(house, tmp_path):
    kept, sender = tmp_path / "notices.json", Sender()

    async def end(last, following):
        following.cancel()
        await asyncio.sleep(1)
        last.cancel()

    follow(house, sender, kept, end)
    (about,) = json.loads(kept.read_bytes()).values()
    assert sorted(values[3] for values in about["waiting"]) == [
        "http://bad.test/second",
        "http://bad.test/third",
    ]


def test_a_service_that_never_has_its_turn_reports_what_is_lost(house, tmp_path, caplog):
    kept = tmp_path / "notices.json"

    async def scenario():
        last, following, idle = (Notifier(Sender(), house.clock, kept=kept) for _ in range(3))
        running = [asyncio.create_task(each.run()) for each in (last, following, idle)]
        await asyncio.sleep(1)
        following.notify(notice())
        began = house.clock.monotonic()
        running[2].cancel()
        await asyncio.gather(running[2], return_exceptions=True)
        assert house.clock.monotonic() == began  # nothing waits in it
        running[1].cancel()
        await asyncio.gather(running[1], return_exceptions=True)
        running[0].cancel()
        await asyncio.gather(running[0], return_exceptions=True)

    house.run(scenario())
    assert "another service has" in caplog.text
