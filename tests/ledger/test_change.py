"""Change numbers: one more for each change of a topic, in the transaction of the change."""

import time

import psycopg
import pytest

from ledgerkit.made import make_database
from ledgerkit.waiting import wait_until
from secondlook.ground.errors import LedgerError
from secondlook.ledger.engine import change
from secondlook.ledger.engine.change import bump
from secondlook.ledger.engine.database import ALIVE
from secondlook.ledger.engine.patience import PatientConnection

TOPICS = ("rules", "confirmed", "pauses", "quarantine")


def numbers_of(ledger):
    return {topic: ledger.store.changes.mark(topic).number for topic in TOPICS}


@pytest.mark.parametrize("topic", TOPICS)
def test_each_change_takes_the_next_number_of_its_topic_alone(ledger, topic):
    before = numbers_of(ledger)
    numbers = [ledger.store.commit_now(lambda connection: bump(connection, topic)) for _ in range(3)]
    ledger.store.changes.stale()
    assert numbers == [before[topic] + step for step in (1, 2, 3)]
    assert numbers_of(ledger) == before | {topic: numbers[-1]}


def test_a_change_that_fails_takes_no_number(ledger):
    def work(connection):
        bump(connection, "rules")
        raise LedgerError("the change itself failed")

    before = numbers_of(ledger)
    with pytest.raises(LedgerError):
        ledger.store.commit_now(work)
    ledger.store.changes.stale()
    assert numbers_of(ledger) == before


def test_a_listener_that_hears_nothing_delays_a_change_by_less_than_a_second(
    postgres, open_ledger, monkeypatch
):
    url = make_database(postgres)
    here, elsewhere = open_ledger(url), open_ledger(url)
    changes = here.store.changes
    wait_until(lambda: changes._listening)
    with monkeypatch.context() as patch:
        patch.setattr(psycopg.Connection, "notifies", deaf)
        terminate_listeners(url)
        wait_until(lambda: not changes._listening)
        wait_until(lambda: changes._listening)
        before = changes.mark("rules").number
        elsewhere.store.commit_now(lambda connection: bump(connection, "rules"))
        assert change._BLIND_S < 1.0
        wait_until(lambda: changes.mark("rules").number == before + 1)


def deaf(_connection, *, timeout: float, stop_after: int):
    """Hear nothing, as over a connection that a firewall has dropped."""
    time.sleep(timeout)
    yield from ()


def terminate_listeners(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'secondlook listener' AND datname = current_database()"
        )


def test_a_fault_inside_does_not_end_the_listening(postgres, open_ledger, monkeypatch):
    url = make_database(postgres)
    here = open_ledger(url)
    changes = here.store.changes
    wait_until(lambda: changes._listening)

    def breaks(*_args, **_named):
        raise OSError("no more file descriptors")

    with monkeypatch.context() as patch:
        patch.setattr(psycopg.Connection, "notifies", breaks)
        wait_until(lambda: not changes._listening)
    wait_until(lambda: changes._listening)


def test_the_listener_notices_that_nobody_is_there_as_the_other_connections_do(
    postgres, open_ledger, monkeypatch
):
    seen: list[dict[str, object]] = []
    connect = PatientConnection.connect

    def watched(*args, **named):
        seen.append(named)
        return connect(*args, **named)

    monkeypatch.setattr(PatientConnection, "connect", watched)
    ledger = open_ledger(make_database(postgres))
    wait_until(lambda: ledger.store.changes._listening)
    (listener,) = [named for named in seen if named.get("application_name") == "secondlook listener"]
    assert listener.items() >= ALIVE.items()
