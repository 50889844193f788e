"""The confirmed set: an entry closes what waits for it, is renewed, withdrawn; over each engine and the fake."""

from dataclasses import replace

import pytest

from ledgerkit.contract import confirm, kinds_of, take
from ledgerkit.samples import START, identity_of, make_confirmed, make_event, make_flag
from secondlook.core.event import EventKind
from secondlook.core.verdict import SubjectClass

pytestmark = pytest.mark.anyio


async def test_confirming_closes_the_entry_and_shows_in_the_set(any_ledger):
    await any_ledger.flags.flag(*make_flag("one"))
    (queued,) = await take(any_ledger)
    before = any_ledger.snapshots.version()
    event = make_event(EventKind.CONFIRMED, identity=queued.identity)
    await confirm(any_ledger, make_confirmed("one"), event, queue_id=queued.id)
    assert any_ledger.snapshots.version() != before
    assert list(any_ledger.snapshots.confirmed()) == [make_confirmed("one")]
    assert await take(any_ledger, everything=True) == []
    assert await kinds_of(any_ledger, queued.identity) == ["flagged", "confirmed"]


async def test_confirming_without_queue_id_closes_the_entry_too(any_ledger):
    await any_ledger.flags.flag(*make_flag("one"))
    await confirm(any_ledger, make_confirmed("one"), make_event(EventKind.CONFIRMED))
    assert await take(any_ledger, everything=True) == []


async def test_confirming_again_renews_without_another_event(any_ledger):
    event = make_event(EventKind.CONFIRMED, identity=identity_of("one"))
    await confirm(any_ledger, make_confirmed("one"), event)
    renewed = make_confirmed("one", START + 50, expires_at=START + 900, risk="suspicious")
    await confirm(any_ledger, renewed, replace(event, id=make_event().id))
    (entry,) = any_ledger.snapshots.confirmed()
    assert (entry.risk, entry.expires_at, entry.confirmed_at) == ("suspicious", START + 900, START)
    assert await kinds_of(any_ledger, identity_of("one")) == ["confirmed"]


async def test_renewing_without_event_leaves_the_queue_alone(any_ledger):
    await confirm(
        any_ledger, make_confirmed("one"), make_event(EventKind.CONFIRMED, identity=identity_of("one"))
    )
    await any_ledger.flags.flag(*make_flag("one"))
    await confirm(any_ledger, make_confirmed("one", expires_at=START + 900), None)
    (queued,) = await take(any_ledger)
    await confirm(any_ledger, make_confirmed("one"), None, queue_id=queued.id)
    assert await take(any_ledger, everything=True) == []
    assert await kinds_of(any_ledger, identity_of("one")) == ["confirmed", "flagged"]


async def test_withdrawn_subjects_leave_the_set_and_may_come_back(any_ledger):
    await confirm(
        any_ledger, make_confirmed("one"), make_event(EventKind.CONFIRMED, identity=identity_of("one"))
    )
    assert len(any_ledger.snapshots.confirmed()) == 1
    withdrawn = make_event(EventKind.WITHDRAWN, START + 5, identity=identity_of("one"))
    await any_ledger.confirmed.withdraw(identity_of("one"), withdrawn)
    assert list(any_ledger.snapshots.confirmed()) == []
    await any_ledger.confirmed.withdraw(identity_of("one"), replace(withdrawn, id=make_event().id))
    again = make_event(EventKind.CONFIRMED, START + 9, identity=identity_of("one"))
    await confirm(any_ledger, make_confirmed("one", START + 9), again)
    (entry,) = any_ledger.snapshots.confirmed()
    assert entry.confirmed_at == START + 9
    assert await kinds_of(any_ledger, identity_of("one")) == ["confirmed", "withdrawn", "confirmed"]


async def test_confirmed_subjects_are_due_at_their_expiry(any_ledger):
    findings = [
        (make_confirmed(name, expires_at=expires), make_event(EventKind.CONFIRMED), None)
        for name, expires in (("late", START + 500), ("soon", START + 100), ("never", None))
    ]
    await any_ledger.confirmed.add_many(findings)
    due = await any_ledger.confirmed.due(START + 100, limit=9)
    assert [entry.host for entry in due] == ["soon.example"]
    assert len(await any_ledger.confirmed.due(START, limit=9, everything=True)) == 3
    await any_ledger.confirmed.extend([identity_of("soon")], START + 800)
    assert await any_ledger.confirmed.due(START + 499, limit=9) == []
    assert {entry.expires_at for entry in any_ledger.snapshots.confirmed()} == {
        START + 500,
        START + 800,
        None,
    }


@pytest.mark.parametrize(
    ("first", "second", "asked"),
    [
        (SubjectClass.PAGE, SubjectClass.SUBRESOURCE, SubjectClass.PAGE),
        (SubjectClass.SUBRESOURCE, SubjectClass.PAGE, SubjectClass.PAGE),
        (SubjectClass.PAGE, None, SubjectClass.PAGE),
        (None, SubjectClass.SUBRESOURCE, SubjectClass.SUBRESOURCE),
    ],
)
async def test_what_is_in_force_is_asked_about_in_its_strictest_class(any_ledger, first, second, asked):
    for cls in (first, second):
        await confirm(any_ledger, make_confirmed("one", cls=cls), None)
    (entry,) = any_ledger.snapshots.confirmed()
    assert entry.cls is asked


async def test_a_late_verdict_has_its_event_and_leaves_what_is_known_as_it_is(any_ledger):
    await confirm(any_ledger, make_confirmed("one"), None)
    await any_ledger.flags.flag(*make_flag("one"))
    event = make_event(EventKind.LATE_VERDICT, identity=identity_of("one"))
    other = make_event(EventKind.LATE_VERDICT, identity=identity_of("two"))
    late = make_confirmed("one", START + 50, expires_at=START + 900, risk="suspicious")
    await any_ledger.confirmed.add_late([(late, event), (make_confirmed("two"), other)])
    await any_ledger.confirmed.add_late([(late, None)])
    found = {entry.identity: entry for entry in any_ledger.snapshots.confirmed()}
    assert found == {identity_of(name): make_confirmed(name) for name in ("one", "two")}
    assert await kinds_of(any_ledger, identity_of("one")) == ["flagged", "late_verdict"]
    assert await kinds_of(any_ledger, identity_of("two")) == ["late_verdict"]
    assert await take(any_ledger, everything=True) == []
