"""Rules of the operator: each change is seen, and hits are counted."""

from dataclasses import replace

import pytest

from ledgerkit.samples import RULE, make_event
from secondlook.core.event import EventKind
from secondlook.core.rules.rule import Scope

pytestmark = pytest.mark.anyio


async def test_each_change_of_a_rule_changes_the_version(any_ledger):
    versions = [any_ledger.snapshots.version()]
    rule = any_ledger.rules.add(replace(RULE, id=""))
    versions.append(any_ledger.snapshots.version())
    assert list(any_ledger.snapshots.rules()) == [rule]
    assert rule.id
    await any_ledger.rules.add_async(replace(rule, id="r2", scope=Scope.SHA256, subject="00" * 32))
    assert {one.id for one in any_ledger.snapshots.rules()} == {rule.id, "r2"}
    assert any_ledger.rules.remove(rule.id)
    assert not any_ledger.rules.remove(rule.id)
    versions.append(any_ledger.snapshots.version())
    assert [one.id for one in any_ledger.snapshots.rules()] == ["r2"]
    assert len(set(versions)) == len(versions)


async def test_hits_are_counted_in_events_and_beside_them(place, open_ledger):
    ledger = open_ledger(place)
    ledger.rules.add(RULE)
    version = ledger.snapshots.version()
    ledger.recorder.record(make_event(EventKind.BLOCKED, rule="r1", stage="rules"))
    ledger.counts.count_hit("r1")
    ledger.counts.count_hit("gone")
    assert [rule.hits for rule in ledger.rules.all()] == [2]
    assert ledger.snapshots.version() == version
    ledger.rules.add(replace(RULE, reason="new", hits=0))
    assert [(rule.hits, rule.reason) for rule in ledger.rules.all()] == [(2, "new")]
