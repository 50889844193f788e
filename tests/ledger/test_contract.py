"""What the query process may rely on: one suite over SQLite, PostgreSQL and the fake."""

import asyncio
from dataclasses import replace

import pytest

from ledgerkit.samples import START, identity_of, make_confirmed, make_event, make_flag
from secondlook.core.event import EventKind, QuarantineRecord
from secondlook.core.rules.rule import Rule, Scope
from secondlook.core.subject import SubjectKind

pytestmark = pytest.mark.anyio


def settle(store) -> None:
    """Let what is late be written."""
    if hasattr(store, "settle"):
        store.settle()
    else:
        while store.writer.waiting:
            store.commit_now(lambda _: None)
        store.commit_now(lambda _: None)


async def kinds_of(store, identity: bytes) -> list[str]:
    settle(store)
    if hasattr(store, "log"):
        found = [event for event in store.log if event.identity == identity]
    else:
        from secondlook.ledger.ledger import EventFilter

        page = await store.run(store.events, EventFilter(identity=identity), newest_first=False)
        found = page.events
    return [str(event.kind) for event in found]


async def take(store, **options):
    return await store.take_due(START + 1000, **({"limit": 100, "lease_s": 30} | options))


async def test_a_flag_is_queued_whole(store):
    event, entry = make_flag("one", labels=("sha256",), size=7, filename="a.exe")
    await store.flag(event, entry)
    (queued,) = await take(store)
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
    assert await kinds_of(store, entry.identity) == ["flagged"]


async def test_a_second_visit_does_not_queue_twice(store):
    for at, client in enumerate(["10.0.0.2", "10.0.0.1", "10.0.0.2", None]):
        await store.flag(*make_flag("one", START + at, client))
    (queued,) = await take(store)
    assert queued.count == 4
    assert queued.clients == ("10.0.0.1", "10.0.0.2")
    assert (queued.first_seen, queued.last_seen) == (START, START + 3)


async def test_flags_that_come_at_once_are_all_kept(store):
    await asyncio.gather(*[store.flag(*make_flag(number % 40, START + number)) for number in range(200)])
    queued = await take(store)
    assert len(queued) == 40
    assert sum(entry.count for entry in queued) == 200


async def test_due_entries_come_oldest_first_and_leased_ones_not_again(store):
    for number in (3, 1, 2, 0):
        await store.flag(*make_flag(number, START + number))
    assert await store.take_due(START + 10, limit=9, lease_s=30) == []
    first = await take(store, limit=3)
    assert [entry.first_seen for entry in first] == [START, START + 1, START + 2]
    assert [entry.first_seen for entry in await take(store)] == [START + 3]
    assert await take(store, everything=True) == []
    again = await store.take_due(START + 1031, limit=9, lease_s=30)
    assert len(again) == 4  # the leases have ended


async def test_everything_takes_what_is_not_due(store):
    await store.flag(*make_flag("one"))
    assert len(await store.take_due(START, limit=9, lease_s=30, everything=True)) == 1


async def test_a_clock_that_was_set_back_keeps_nothing_waiting(store):
    await store.flag(*make_flag("one"))
    (entry,) = await take(store)
    a_day_ago = START - 86_400
    assert len(await store.take_due(a_day_ago, limit=9, lease_s=30)) == 1  # the lease was written later
    await store.postpone([entry], [START + 3600], "still away")
    assert len(await store.take_due(a_day_ago, limit=9, lease_s=30)) == 1  # so was the next attempt


async def test_an_entry_ends_with_its_event(store):
    await store.flag(*make_flag("one"))
    (queued,) = await take(store)
    event = make_event(EventKind.CLEARED, identity=queued.identity)
    await store.close_entries([(queued, event)])
    assert await take(store, everything=True) == []
    assert await kinds_of(store, queued.identity) == ["flagged", "cleared"]
    await store.close_entries([(queued, replace(event, id=make_event().id))])
    assert await kinds_of(store, queued.identity) == ["flagged", "cleared"]


async def test_postponing_counts_and_frees(store):
    await store.flag(*make_flag("one"))
    await store.flag(*make_flag("two", START + 1))
    entries = await take(store)
    await store.postpone(entries, [START + 2000, START + 3000], "still away")
    assert await store.take_due(START + 1999, limit=9, lease_s=30) == []
    (due,) = await store.take_due(START + 2000, limit=9, lease_s=30)
    assert (due.attempts, due.next_attempt, due.reason) == (1, START + 2000, "still away")


async def test_confirming_closes_the_entry_and_shows_in_the_set(store):
    await store.flag(*make_flag("one"))
    (queued,) = await take(store)
    before = store.version()
    event = make_event(EventKind.CONFIRMED, identity=queued.identity)
    await store.confirm(make_confirmed("one"), event, queue_id=queued.id)
    assert store.version() != before
    assert list(store.confirmed()) == [make_confirmed("one")]
    assert await take(store, everything=True) == []
    assert await kinds_of(store, queued.identity) == ["flagged", "confirmed"]


async def test_confirming_without_queue_id_closes_the_entry_too(store):
    await store.flag(*make_flag("one"))
    await store.confirm(make_confirmed("one"), make_event(EventKind.CONFIRMED))
    assert await take(store, everything=True) == []


async def test_confirming_again_renews_without_another_event(store):
    event = make_event(EventKind.CONFIRMED, identity=identity_of("one"))
    await store.confirm(make_confirmed("one"), event)
    renewed = make_confirmed("one", START + 50, expires_at=START + 900, risk="suspicious")
    await store.confirm(renewed, replace(event, id=make_event().id))
    (entry,) = store.confirmed()
    assert (entry.risk, entry.expires_at, entry.confirmed_at) == ("suspicious", START + 900, START)
    assert await kinds_of(store, identity_of("one")) == ["confirmed"]


async def test_renewing_without_event_leaves_the_queue_alone(store):
    await store.confirm(make_confirmed("one"), make_event(EventKind.CONFIRMED, identity=identity_of("one")))
    await store.flag(*make_flag("one"))
    await store.confirm(make_confirmed("one", expires_at=START + 900), None)
    (queued,) = await take(store)
    await store.confirm(make_confirmed("one"), None, queue_id=queued.id)
    assert await take(store, everything=True) == []
    assert await kinds_of(store, identity_of("one")) == ["confirmed", "flagged"]


async def test_withdrawn_subjects_leave_the_set_and_may_come_back(store):
    await store.confirm(make_confirmed("one"), make_event(EventKind.CONFIRMED, identity=identity_of("one")))
    assert len(store.confirmed()) == 1
    withdrawn = make_event(EventKind.WITHDRAWN, START + 5, identity=identity_of("one"))
    await store.withdraw(identity_of("one"), withdrawn)
    assert list(store.confirmed()) == []
    await store.withdraw(identity_of("one"), replace(withdrawn, id=make_event().id))
    again = make_event(EventKind.CONFIRMED, START + 9, identity=identity_of("one"))
    await store.confirm(make_confirmed("one", START + 9), again)
    (entry,) = store.confirmed()
    assert entry.confirmed_at == START + 9
    assert await kinds_of(store, identity_of("one")) == ["confirmed", "withdrawn", "confirmed"]


async def test_confirmed_subjects_are_due_at_their_expiry(store):
    findings = [
        (make_confirmed(name, expires_at=expires), make_event(EventKind.CONFIRMED), None)
        for name, expires in (("late", START + 500), ("soon", START + 100), ("never", None))
    ]
    await store.confirm_many(findings)
    due = await store.confirmed_due(START + 100, limit=9)
    assert [entry.host for entry in due] == ["soon.example"]
    assert len(await store.confirmed_due(START, limit=9, everything=True)) == 3
    await store.extend([identity_of("soon")], START + 800)
    assert await store.confirmed_due(START + 499, limit=9) == []
    assert {entry.expires_at for entry in store.confirmed()} == {START + 500, START + 800, None}


async def test_overdue_entries_are_those_first_seen_long_ago(store):
    for number in range(4):
        await store.flag(*make_flag(number, START + number))
    old = await store.overdue(START + 100, older_than=START + 2, limit=9)
    assert [entry.first_seen for entry in old] == [START, START + 1]


async def test_visits_name_every_let_through(store):
    event, entry = make_flag("one")
    await store.flag(event, entry)
    await store.flag(*make_flag("one", START + 1, "10.0.0.2"))
    store.record(make_event(EventKind.BLOCKED, START + 2, identity=entry.identity, client="10.0.0.3"))
    store.record(make_event(EventKind.CHECK, START + 3, identity=entry.identity, client="10.0.0.4"))
    settle(store)
    assert [visit.client for visit in await store.visits(entry.identity)] == [
        "10.0.0.1",
        "10.0.0.2",
        "10.0.0.4",
    ]


async def test_details_are_filled_in_afterwards(store):
    event, entry = make_flag("one")
    await store.flag(replace(event, detail="pending", extra={"steps": [1]}), entry)
    store.amend(event.id, detail="feed X", extra={"family": "y"})
    late = make_event(EventKind.CHECK, START + 1, identity=identity_of("late"), detail="pending")
    store.record(late)
    store.amend(late.id, detail="filled in at once")
    settle(store)
    assert [visit.detail for visit in await store.visits(identity_of("late"))] == ["filled in at once"]
    (visit,) = await store.visits(entry.identity)
    assert visit.detail == "feed X"
    assert visit.extra == {"steps": [1], "family": "y"}


async def test_history_gives_back_what_was_allowed(store):
    for number in range(5):
        event = make_event(
            EventKind.CHECK, START + number, url=f"https://{number}/", host=str(number), client="c"
        )
        identity = identity_of(number)
        store.remember(identity, (identity, identity_of("x")), SubjectKind.URL, event)
    batches = [part async for part in store.remembered(since=START + 1, batch=2)]
    assert [len(batch) for batch in batches] == [2, 2]
    found = {each.identity: each for batch in batches for each in batch}
    assert list(found) == sorted(identity_of(number) for number in range(1, 5))
    first = found[identity_of(1)]
    assert first == (identity_of(1), SubjectKind.URL, (identity_of(1), identity_of("x")))
    [entry] = await store.recall([first.identity, identity_of("never met")])
    assert (entry.identity, entry.hashes) == (first.identity, first.hashes)
    assert (entry.url, entry.client, entry.time) == ("https://1/", "c", START + 1)


async def test_rules_and_pauses_change_the_version(store, clock):
    versions = [store.version()]
    rule = Rule(
        id="",
        action="block",
        scope=Scope.DOMAIN,
        subject="bad.example",
        client=None,
        reason="because",
        created=START,
        expires=START + 60,
    )
    rule = store.add_rule(rule)
    versions.append(store.version())
    assert list(store.rules()) == [rule]
    assert rule.id
    await store.add_operator_rule(replace(rule, id="r2", scope=Scope.SHA256, subject="00" * 32))
    assert {one.id for one in store.rules()} == {rule.id, "r2"}
    assert store.remove_rule(rule.id)
    assert not store.remove_rule(rule.id)
    versions.append(store.version())
    assert [one.id for one in store.rules()] == ["r2"]
    pause = store.add_pause(10)
    versions.append(store.version())
    assert list(store.pauses()) == [pause]
    assert pause.until == clock.now() + 600
    store.add_pause(5, client="10.0.0.1")
    clock.at += 60
    assert store.end_pauses() == 1
    versions.append(store.version())
    assert sorted(one.until - START for one in store.pauses()) == [60, 300]
    assert store.end_pauses(everybody=True) == 1
    assert len(set(versions)) == len(versions)


async def test_quarantine_records_are_kept_and_replaced(store):
    record = QuarantineRecord(
        id="q1",
        state="moving",
        sha256="ab" * 32,
        size=3,
        path="/home/u/\udcff\n.exe",
        stored_as="ab" * 32,
        mode=0o644,
        modified_at=START,
        moved_at=START,
        identity=identity_of("x"),
    )
    await store.keep_record(record)
    await store.keep_record(replace(record, id="q2", moved_at=START + 1))
    await store.keep_record(replace(record, state="held"))
    assert await store.quarantined("q1") == replace(record, state="held")
    assert await store.quarantined("q9") is None
    assert [one.id for one in await store.quarantine_records()] == ["q1", "q2"]
    assert [one.id for one in await store.quarantine_records(states=["moving"])] == ["q2"]
