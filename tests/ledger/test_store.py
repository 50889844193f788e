"""The store: errors are in words, and a change of this process is seen at once."""

import asyncio
import threading
import time

import pytest

from ledgerkit.made import make_database
from ledgerkit.samples import RULE
from secondlook.ground.errors import LedgerError
from secondlook.ledger.engine.change import bump
from secondlook.ledger.ledger import Ledger, LedgerOptions

pytestmark = pytest.mark.anyio


def test_an_error_of_the_engine_while_reading_is_named_as_such(tmp_path):
    ledger = Ledger.open(tmp_path / "ledger.sqlite3", LedgerOptions(background=False))
    with pytest.raises(LedgerError, match="no such table"):
        ledger.store.read(lambda connection: connection.exec_driver_sql("SELECT * FROM nowhere"))
    ledger.close()


@pytest.mark.parametrize("topic", ["rules", "pauses", "confirmed"])
async def test_a_change_of_this_process_is_seen_at_once(ledger, topic):
    before = ledger.store.changes.mark(topic).number
    ledger.store.change_now(lambda connection: bump(connection, topic))
    assert ledger.store.changes.mark(topic).number == before + 1
    await ledger.store.change(lambda connection: bump(connection, topic))
    assert ledger.store.changes.mark(topic).number == before + 2


def test_a_database_that_has_to_be_writable_is_read_too(postgres, open_ledger):
    place = make_database(postgres) + "&target_session_attrs=read-write"
    ledger = open_ledger(place, background=False)
    ledger.rules.add(RULE)
    assert [rule.id for rule in ledger.snapshots.rules()] == [RULE.id]
    with pytest.raises(LedgerError, match="read-only"):
        ledger.store.read(lambda connection: bump(connection, "rules"))


async def test_what_comes_first_after_the_database_restarted_is_done(postgres, open_ledger):
    place = make_database(postgres)
    ledger = open_ledger(place, background=False)
    ledger.rules.add(RULE)
    postgres.hang_up(place)
    ledger.rules.remove(RULE.id)
    assert ledger.snapshots.rules() == ()


async def test_what_deadlocks_with_another_proxy_is_done_all_the_same(postgres, open_ledger):
    place = make_database(postgres)
    meeting = threading.Barrier(2)

    def work(first: str, second: str):
        ways = iter([True])

        def both(connection):
            bump(connection, first)
            if next(ways, False):  # only the first time: they meet with one topic each
                meeting.wait(30.0)
            return bump(connection, second)

        return both

    proxies = [open_ledger(place), open_ledger(place)]
    topics = [("rules", "pauses"), ("pauses", "rules")]
    done = await asyncio.gather(
        *(one.store.commit(work(*order)) for one, order in zip(proxies, topics, strict=True))
    )
    assert sorted(done) == [1, 2]
    assert [one.trouble for one in proxies] == [None, None]


def test_a_clock_is_held_against_that_of_the_database(ledger, place, clock):
    clock.at = time.time() + 86_400
    ahead_s = ledger.store.clock_ahead_s()
    if "postgresql" in place:
        assert ahead_s == pytest.approx(86_400, abs=60)
    else:
        assert ahead_s is None


def test_a_database_that_is_only_read_is_found(postgres, open_ledger):
    place = make_database(postgres)
    ledger = open_ledger(place)
    assert ledger.upkeep.check() == []
    name = place.partition("?")[0].rpartition("/")[2]
    ledger.store.commit_now(
        lambda connection: connection.exec_driver_sql(
            f"ALTER DATABASE {name} SET default_transaction_read_only = on"
        )
    )
    with pytest.raises(LedgerError, match="read-only transaction"):
        ledger.upkeep.check()
