"""The queue: one entry a subject, taken once, ended with its event; over each engine and the fake."""

import asyncio
from dataclasses import replace

import pytest

from ledgerkit.contract import kinds_of, take
from ledgerkit.samples import START, make_event, make_flag
from secondlook.core.event import EventKind

pytestmark = pytest.mark.anyio


async def test_a_flag_is_queued_whole(any_ledger):
    event, entry = make_flag("one", labels=("sha256",), size=7, filename="a.exe")
    await any_ledger.flags.flag(event, entry)
    (queued,) = await take(any_ledger)
    assert queued.identity == entry.identity
    assert queued.hashes == entry.hashes
    assert (queued.url, queued.host, queued.kind, queued.cls) == (
        entry.url,
        entry.host,
        entry.kind,
        entry.cls,
    )
    assert (queued.filename, queued.size, queued.labels) == ("a.exe", 7, ("sha256",))
    assert (queued.count, queued.clients, queued.attempts) == (1, ("10.0.0.1",), 0)
    assert queued.first_seen == queued.last_seen == START
    assert queued.reason == "no server answered"
    assert await kinds_of(any_ledger, entry.identity) == ["flagged"]


async def test_a_second_visit_does_not_queue_twice(any_ledger):
    for at, client in enumerate(["10.0.0.2", "10.0.0.1", "10.0.0.2", None]):
        await any_ledger.flags.flag(*make_flag("one", START + at, client))
    (queued,) = await take(any_ledger)
    assert queued.count == 4
    assert queued.clients == ("10.0.0.1", "10.0.0.2")
    assert (queued.first_seen, queued.last_seen) == (START, START + 3)


async def test_flags_that_come_at_once_are_all_kept(any_ledger):
    await asyncio.gather(
        *[any_ledger.flags.flag(*make_flag(number % 40, START + number)) for number in range(200)]
    )
    queued = await take(any_ledger)
    assert len(queued) == 40
    assert sum(entry.count for entry in queued) == 200


async def test_due_entries_come_oldest_first_and_leased_ones_not_again(any_ledger):
    for number in (3, 1, 2, 0):
        await any_ledger.flags.flag(*make_flag(number, START + number))
    assert await any_ledger.queue.take_due(START + 10, limit=9, lease_s=30) == []
    first = await take(any_ledger, limit=3)
    assert [entry.first_seen for entry in first] == [START, START + 1, START + 2]
    assert [entry.first_seen for entry in await take(any_ledger)] == [START + 3]
    assert await take(any_ledger, everything=True) == []
    again = await any_ledger.queue.take_due(START + 1031, limit=9, lease_s=30)
    assert len(again) == 4  # the leases have ended


async def test_everything_takes_what_is_not_due(any_ledger):
    await any_ledger.flags.flag(*make_flag("one"))
    assert len(await any_ledger.queue.take_due(START, limit=9, lease_s=30, everything=True)) == 1


async def test_a_clock_that_was_set_back_keeps_nothing_waiting(any_ledger):
    await any_ledger.flags.flag(*make_flag("one"))
    (entry,) = await take(any_ledger)
    a_day_ago = START - 86_400
    assert (
        len(await any_ledger.queue.take_due(a_day_ago, limit=9, lease_s=30)) == 1
    )  # the lease was written later
    await any_ledger.queue.postpone([entry], [START + 3600], "still away")
    assert (
        len(await any_ledger.queue.take_due(a_day_ago, limit=9, lease_s=30)) == 1
    )  # so was the next attempt


async def test_an_entry_ends_with_its_event(any_ledger):
    await any_ledger.flags.flag(*make_flag("one"))
    (queued,) = await take(any_ledger)
    event = make_event(EventKind.CLEARED, identity=queued.identity)
    await any_ledger.queue.close([(queued, event)])
    assert await take(any_ledger, everything=True) == []
    assert await kinds_of(any_ledger, queued.identity) == ["flagged", "cleared"]
    await any_ledger.queue.close([(queued, replace(event, id=make_event().id))])
    assert await kinds_of(any_ledger, queued.identity) == ["flagged", "cleared"]


async def test_postponing_counts_and_frees(any_ledger):
    await any_ledger.flags.flag(*make_flag("one"))
    await any_ledger.flags.flag(*make_flag("two", START + 1))
    entries = await take(any_ledger)
    await any_ledger.queue.postpone(entries, [START + 2000, START + 3000], "still away")
    assert await any_ledger.queue.take_due(START + 1999, limit=9, lease_s=30) == []
    (due,) = await any_ledger.queue.take_due(START + 2000, limit=9, lease_s=30)
    assert (due.attempts, due.next_attempt, due.reason) == (1, START + 2000, "still away")


async def test_overdue_entries_are_those_first_seen_long_ago(any_ledger):
    for number in range(4):
        await any_ledger.flags.flag(*make_flag(number, START + number))
    old = await any_ledger.queue.take_due(START + 5, limit=9, lease_s=30, older_than=START + 2)
    assert [entry.first_seen for entry in old] == [START, START + 1]
    assert await any_ledger.queue.take_due(START + 5, limit=9, lease_s=30, older_than=START + 2) == []


async def test_a_lease_is_renewed_and_one_that_was_given_back_is_not(any_ledger):
    for number in range(2):
        await any_ledger.flags.flag(*make_flag(number, START + number))
    one, other = await any_ledger.queue.take_due(START + 1000, limit=9, lease_s=30)
    await any_ledger.queue.postpone([other], [START + 1000], "still away")
    await any_ledger.queue.renew([one.id, other.id], START + 1050)
    taken = await any_ledger.queue.take_due(START + 1040, limit=9, lease_s=30)
    assert [entry.id for entry in taken] == [other.id]
    assert len(await any_ledger.queue.take_due(START + 1051, limit=9, lease_s=30)) == 1


@pytest.mark.parametrize("behind_s", [0.5, 29.0])
async def test_a_proxy_whose_clock_is_behind_takes_nothing_that_another_has(any_ledger, behind_s):
    await any_ledger.flags.flag(*make_flag("one"))
    (one,) = await any_ledger.queue.take_due(START + 1000, limit=9, lease_s=30)
    assert await any_ledger.queue.take_due(START + 1000 - behind_s, limit=9, lease_s=30) == []
    await any_ledger.queue.renew([one.id], START + 1050)
    assert await any_ledger.queue.take_due(START + 1020 - behind_s, limit=9, lease_s=30) == []


async def test_two_recheckers_do_no_work_twice(place, open_ledger):
    first, second = open_ledger(place), open_ledger(place)
    for number in range(60):
        await first.flags.flag(*make_flag(number, START + number))
    taken: list[str] = []
    while True:
        one = await first.queue.take_due(START + 1000, limit=7, lease_s=60)
        two = await second.queue.take_due(START + 1000, limit=7, lease_s=60)
        if not one and not two:
            break
        taken += [entry.id for entry in (*one, *two)]
    assert len(taken) == len(set(taken)) == 60
