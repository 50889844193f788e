"""Keys that proxies share: made once, by whoever comes first."""

import pytest

from ledgerkit.samples import make_event, make_flag
from secondlook.core.event import EventKind

pytestmark = pytest.mark.anyio


async def test_the_first_brings_the_key_and_all_others_take_it(place, open_ledger):
    one, other = open_ledger(place), open_ledger(place)
    assert one.shared_keys.get("site", b"one's own") == b"one's own"
    assert other.shared_keys.get("site", b"another") == b"one's own"
    assert one.shared_keys.get("site", b"changed") == b"one's own"
    assert other.shared_keys.get("something else", b"another") == b"another"


async def test_each_event_says_which_proxy_it_is_of(place, open_ledger, tmp_path):
    north, south = open_ledger(place, proxy="north"), open_ledger(place, proxy="south")
    north.recorder.note(make_event(EventKind.BLOCKED))
    await south.flags.flag(*make_flag("one"))
    south.flags.journal.append(_record("two"))  # of a moment in which the ledger could not be written
    south.flags.replay()
    found = {event.kind: event.proxy for event in north.events.page().events}
    assert found == {EventKind.BLOCKED: "north", EventKind.FLAGGED: "south"}
    assert [event.proxy for event in north.events.page().events].count("south") == 2


def _record(name):
    from secondlook.ledger.queue.journal_record import flag_record

    return flag_record(*make_flag(name))
