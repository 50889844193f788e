"""Change numbers: what processes keep in memory is read again when the number of its topic has moved."""

import sqlalchemy as sa

from secondlook.ledger.engine.tables import changes


def bump(connection: sa.Connection, topic: str) -> int:
    """Take the next change number of a topic."""
    number: int = connection.execute(
        sa.update(changes)
        .where(changes.c.topic == topic)
        .values(counter=changes.c.counter + 1)
        .returning(changes.c.counter)
    ).scalar_one()
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_notify("secondlook", topic)))
    return number
