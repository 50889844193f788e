"""Events are written a moment later, with what is filled in afterwards; over each engine and the fake."""

from dataclasses import replace

import pytest

from ledgerkit.contract import settle
from ledgerkit.samples import START, identity_of, make_event, make_flag
from secondlook.core.event import EventKind

pytestmark = pytest.mark.anyio


async def test_details_are_filled_in_afterwards(any_ledger):
    event, entry = make_flag("one")
    await any_ledger.flags.flag(replace(event, detail="pending", extra={"steps": [1]}), entry)
    any_ledger.recorder.amend(event.id, detail="feed X", extra={"family": "y"})
    late = make_event(EventKind.CHECK, START + 1, identity=identity_of("late"), detail="pending")
    any_ledger.recorder.record(late)
    any_ledger.recorder.amend(late.id, detail="filled in at once")
    settle(any_ledger)
    assert [visit.detail for visit in await any_ledger.history.visits(identity_of("late"))] == [
        "filled in at once"
    ]
    (visit,) = await any_ledger.history.visits(entry.identity)
    assert visit.detail == "feed X"
    assert visit.extra == {"steps": [1], "family": "y"}


async def test_an_event_without_an_id_gets_one(any_ledger):
    any_ledger.recorder.record(replace(make_event(EventKind.CHECK, identity=identity_of("one")), id=""))
    settle(any_ledger)
    (visit,) = await any_ledger.history.visits(identity_of("one"))
    assert len(visit.id) == 26


def test_a_noted_event_is_there_when_the_call_returns(ledger):
    event = make_event(EventKind.OVERRIDDEN)
    ledger.recorder.note(event)
    found = ledger.events.find(event.id)
    assert found is not None
    assert found.kind is EventKind.OVERRIDDEN
