"""What the parts of a ledger promise the query process is tested over SQLite, PostgreSQL and the fake: helpers."""

import sqlalchemy as sa

from ledgerkit.samples import START
from secondlook.ledger.engine.codec import row_history
from secondlook.ledger.engine.tables import history
from secondlook.ledger.ledger import EventFilter


def settle(any_ledger) -> None:
    """Let what is late be written."""
    if hasattr(any_ledger, "settle"):
        any_ledger.settle()
    else:
        while any_ledger.store.writer.waiting:
            any_ledger.store.commit_now(lambda _: None)
        any_ledger.store.commit_now(lambda _: None)


async def kinds_of(any_ledger, identity: bytes) -> list[str]:
    settle(any_ledger)
    if hasattr(any_ledger, "log"):
        found = [event for event in any_ledger.log if event.identity == identity]
    else:
        page = await any_ledger.run(
            any_ledger.events.page, EventFilter(identity=identity), newest_first=False
        )
        found = page.events
    return [str(event.kind) for event in found]


async def take(any_ledger, **options):
    return await any_ledger.queue.take_due(START + 1000, **({"limit": 100, "lease_s": 30} | options))


async def confirm(any_ledger, entry, event, *, queue_id: str | None = None) -> None:
    """Put one subject into the confirmed set."""
    await any_ledger.confirmed.add_many([(entry, event, queue_id)])


def remembered(ledger):
    """What the history holds on the disk, oldest first; what is in memory is written before."""
    if (written := ledger.history.flush()) is not None:
        written.result()
    query = sa.select(history).order_by(history.c.time, history.c.identity)
    return ledger.store.read(
        lambda connection: [row_history(row) for row in connection.execute(query).mappings()]
    )
