"""A row for each table, whatever its columns, and all rows of a ledger."""

from typing import Any

import sqlalchemy as sa

from secondlook.ledger.engine.database import Place, bare_engine

TEXT = "ä😀 'text'\n"


def sample_row(table: sa.Table, number: int) -> dict[str, Any]:
    """Give a row whose every column has a value that fits its type, other ones for another number."""
    return {column.name: _value(column, number) for column in table.columns}


def _value(column: sa.Column[Any], number: int) -> object:
    match column.type:
        case sa.LargeBinary():
            return number.to_bytes(3) + b"\0\xff"
        case sa.Boolean():
            return number % 2 == 0
        case sa.Double():
            return 1_700_000_000.125 + number
        case sa.BigInteger():
            return number if column.autoincrement is True else (1 << 40) + number
        case sa.Integer():
            return number
        case sa.Text():
            return f"{TEXT}{number}"
        case other:
            raise AssertionError(f"{column}: {other!r}")


def all_rows(place: Place) -> dict[str, list[tuple[Any, ...]]]:
    """Read every table there is but Alembic's, in an order of its own."""
    engine = bare_engine(place)
    try:
        with engine.connect() as connection:
            metadata = sa.MetaData()
            metadata.reflect(connection, only=lambda name, _: not name.startswith(("words", "alembic")))
            return {
                table.name: sorted(map(tuple, connection.execute(sa.select(_ours(table)))), key=repr)
                for table in metadata.sorted_tables
            }
    finally:
        engine.dispose()


def _ours(table: sa.Table) -> Any:
    """Leave out what only one engine has."""
    return sa.select(*(column for column in table.columns if column.name != "tx")).subquery()


def put_rows(place: Place, tables: list[sa.Table], numbers: range) -> None:
    """Put sample rows into tables."""
    engine = bare_engine(place)
    try:
        with engine.begin() as connection:
            for table in tables if numbers else ():
                connection.execute(sa.insert(table), [sample_row(table, number) for number in numbers])
    finally:
        engine.dispose()
