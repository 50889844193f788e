"""The store: errors are in words, and a change of this process is seen at once."""

import pytest

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
    before = ledger.store.changes.counters()[topic]
    ledger.store.change_now(lambda connection: bump(connection, topic))
    assert ledger.store.changes.counters()[topic] == before + 1
    await ledger.store.change(lambda connection: bump(connection, topic))
    assert ledger.store.changes.counters()[topic] == before + 2
