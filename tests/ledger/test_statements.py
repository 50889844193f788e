"""Prepared inserts: the same on each engine, and as the statement that they were made of."""

import pytest
import sqlalchemy as sa

from secondlook.ledger.engine.database import find_place, make_engine
from secondlook.ledger.engine.statements import Prepared, raw, upsert

TABLE = sa.Table(
    "things",
    sa.MetaData(),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("count", sa.Integer),
    sa.Column("kind", sa.Text),
)


@pytest.fixture
def engine(empty_place):
    engine = make_engine(find_place(empty_place))
    with engine.begin() as connection:
        TABLE.create(connection)
    yield engine
    engine.dispose()


def counted(insert):
    """Add up what is there already."""
    return insert.values(kind="constant").on_conflict_do_update(
        index_elements=["name"], set_={"count": TABLE.c["count"] + insert.excluded["count"]}
    )


def rows(connection):
    return [tuple(row) for row in connection.execute(sa.select(TABLE).order_by(TABLE.c.name))]


def test_every_row_is_written_with_what_is_the_same_in_all(engine):
    prepared = Prepared(TABLE, ["name", "count"], counted)
    with engine.begin() as connection:
        prepared.run(connection, [{"name": "a", "count": 1}, {"count": 2, "name": "b"}])
        prepared.run(connection, [{"name": "a", "count": 5}])
        prepared.run(connection, [])
        assert rows(connection) == [("a", 6, "constant"), ("b", 2, "constant")]


def test_a_statement_is_made_once(engine):
    made = []

    def finish(insert):
        made.append(insert)
        return counted(insert)

    prepared = Prepared(TABLE, ["name", "count"], finish)
    with engine.begin() as connection:
        for name in "abc":
            prepared.run(connection, [{"name": name, "count": 1}])
        assert len(rows(connection)) == 3
    assert len(made) == 1


def test_an_upsert_is_one_of_the_engine_in_use(engine):
    with engine.begin() as connection:
        for _ in range(2):
            connection.execute(upsert(connection, TABLE).values(name="a", count=1).on_conflict_do_nothing())
        assert rows(connection) == [("a", 1, None)]


def test_the_drivers_own_connection_is_in_the_same_transaction(engine):
    if engine.dialect.name != "sqlite":
        pytest.skip("used with SQLite alone")
    with engine.begin() as connection:
        raw(connection).execute("INSERT INTO things VALUES ('a', 1, NULL)")
        assert rows(connection) == [("a", 1, None)]
        connection.rollback()
    with engine.begin() as connection:
        assert rows(connection) == []
