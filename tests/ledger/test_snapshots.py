"""What one process changes, another soon has in force; and start-up of many at once."""

import time
from dataclasses import replace

import pytest

from ledgerkit.contract import confirm
from ledgerkit.made import make_database
from ledgerkit.samples import RULE, START, identity_of, make_confirmed, make_event, make_flag
from secondlook.core.event import EventKind
from secondlook.ground.errors import LedgerError
from secondlook.ledger.queue.confirmed import TOMBSTONE_S

pytestmark = pytest.mark.anyio


PATIENCE_S = 60.0  # of a test on a busy machine; who measures how soon it is does it elsewhere


def soon(condition) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "not in force"
        time.sleep(0.02)


async def test_a_rule_of_another_process_x(place, open_ledger):
    here, there = open_ledger(place), open_ledger(place)
    assert list(here.snapshots.rules()) == []
    version = here.snapshots.version()
    soon(lambda: here.store.changes.version() == version)
    there.rules.add(RULE)
    soon(lambda: here.snapshots.version() != version)
    assert [rule.id for rule in here.snapshots.rules()] == ["r1"]
    there.rules.remove("r1")
    soon(lambda: not here.snapshots.rules())


async def test_pauses_and_confirmed_subjects_travel_too(place, open_ledger):
    here, there = open_ledger(place), open_ledger(place)
    assert list(here.snapshots.confirmed()) == []
    there.pauses.add(3, client="10.0.0.1")
    soon(lambda: len(here.snapshots.pauses()) == 1)
    for number in range(5):
        await confirm(there, make_confirmed(number), make_event(EventKind.CONFIRMED))
    soon(lambda: len(here.snapshots.confirmed()) == 5)
    await there.confirmed.withdraw(identity_of(3), make_event(EventKind.WITHDRAWN))
    await there.confirmed.extend([identity_of(4)], START + 9999)
    soon(lambda: len(here.snapshots.confirmed()) == 4)
    assert {entry.expires_at for entry in here.snapshots.confirmed()} == {START + 300, START + 9999}


async def test_who_slept_while_others_went_on_learns_what_was_withdrawn(place, open_ledger, clock):
    """A withdrawn subject leaves a trace for a day; a laptop may sleep for longer, and its clock with it."""
    asleep, awake = open_ledger(place), open_ledger(place)
    for name in ("good", "bad"):
        await confirm(awake, make_confirmed(name), make_event(EventKind.CONFIRMED))
    soon(lambda: len(asleep.snapshots.confirmed()) == 2)
    await awake.confirmed.withdraw(identity_of("good"), make_event(EventKind.WITHDRAWN, at=clock.now()))
    clock.at += 2 * TOMBSTONE_S
    awake.upkeep.sweep(thorough=False)
    await confirm(awake, make_confirmed("other"), make_event(EventKind.CONFIRMED))
    wanted = {identity_of("bad"), identity_of("other")}
    soon(lambda: identity_of("other") in {entry.identity for entry in asleep.snapshots.confirmed()})
    assert {entry.identity for entry in asleep.snapshots.confirmed()} == wanted


def made_after_all(ledger, rule) -> bool:
    """Make a rule; whoever writes first finds that the connection ended."""
    try:
        ledger.rules.add(rule)
    except LedgerError:
        return False
    return True


async def test_after_a_failover_that_lost_a_change_what_the_database_has_is_in_force(
    postgres, open_ledger, clock
):
    """The standby did not have the last change yet: the next one has the same number."""
    url, standby = make_database(postgres), make_database(postgres)
    here, other = open_ledger(url), open_ledger(url)
    other.rules.add(replace(RULE, id="lost"))
    await confirm(other, make_confirmed("lost"), make_event(EventKind.CONFIRMED))
    assert [rule.id for rule in here.snapshots.rules()] == ["lost"]
    assert len(here.snapshots.confirmed()) == 1
    version = here.snapshots.version()
    postgres.fail_over(url, standby)
    soon(lambda: made_after_all(other, replace(RULE, id="new")))
    await confirm(other, make_confirmed("new"), make_event(EventKind.CONFIRMED))
    soon(lambda: [rule.id for rule in here.snapshots.rules()] == ["new"])
    assert [entry.identity for entry in here.snapshots.confirmed()] == [identity_of("new")]
    assert here.snapshots.version() != version


async def test_traffic_alone_wakes_nobody(place, open_ledger):
    here, there = open_ledger(place), open_ledger(place)
    version = here.snapshots.version()
    snapshot = here.snapshots.rules()
    await there.flags.flag(*make_flag("one"))
    assert here.snapshots.version() == version
    assert here.snapshots.rules() is snapshot


# -- opening -----------------------------------------------------------------------------------------
