"""Pauses: each change is seen and has its event."""

import pytest

from ledgerkit.samples import START

pytestmark = pytest.mark.anyio


def test_each_change_of_a_pause_changes_the_version(any_ledger, clock):
    versions = [any_ledger.snapshots.version()]
    pause = any_ledger.pauses.add(10)
    versions.append(any_ledger.snapshots.version())
    assert list(any_ledger.snapshots.pauses()) == [pause]
    assert pause.until == clock.now() + 600
    any_ledger.pauses.add(5, client="10.0.0.1")
    clock.at += 60
    assert any_ledger.pauses.end() == 1
    versions.append(any_ledger.snapshots.version())
    assert sorted(one.until - START for one in any_ledger.snapshots.pauses()) == [60, 300]
    assert any_ledger.pauses.end(everybody=True) == 1
    assert len(set(versions)) == len(versions)


async def test_pausing_tells_the_log(place, open_ledger, clock):
    ledger = open_ledger(place)
    ledger.pauses.add(5, client="10.0.0.1")
    clock.at += 1
    ledger.pauses.end(client="10.0.0.1")
    assert ledger.pauses.end(client="10.0.0.1") == 0
    assert [event.detail for event in ledger.events.export()] == [
        "protection off for 10.0.0.1 for 5 minutes",
        "protection on again",
    ]
