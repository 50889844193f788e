"""Change numbers: one more for each change of a topic, in the transaction of the change."""

import pytest

from secondlook.ground.errors import LedgerError
from secondlook.ledger.engine.change import bump
from secondlook.ledger.engine.tables import TOPICS


@pytest.mark.parametrize("topic", TOPICS)
def test_each_change_takes_the_next_number_of_its_topic_alone(ledger, topic):
    before = ledger.store.changes.counters()
    numbers = [ledger.store.commit_now(lambda connection: bump(connection, topic)) for _ in range(3)]
    ledger.store.changes.stale()
    assert numbers == [before[topic] + step for step in (1, 2, 3)]
    assert ledger.store.changes.counters() == before | {topic: numbers[-1]}


def test_a_change_that_fails_takes_no_number(ledger):
    def work(connection):
        bump(connection, "rules")
        raise LedgerError("the change itself failed")

    before = ledger.store.changes.counters()
    with pytest.raises(LedgerError):
        ledger.store.commit_now(work)
    ledger.store.changes.stale()
    assert ledger.store.changes.counters() == before
