"""Statements of the hot path, compiled once: building an upsert anew costs ten times its execution."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

type Insert = sqlite.Insert | postgresql.Insert
type Rows = Sequence[dict[str, Any]]


def upsert(connection: sa.Connection, table: sa.Table) -> Insert:
    """Start an `INSERT … ON CONFLICT`, which both engines know but SQLAlchemy has no common name for."""
    return _insert(connection.dialect.name, table)


def _insert(dialect: str, table: sa.Table) -> Insert:
    # only the engine in use is imported: PostgreSQL's modules are a tenth of what a command would import
    started: Insert = import_module(f"sqlalchemy.dialects.{dialect}").insert(table)
    return started


class Prepared:
    """An insert into `table` that `finish` completes, kept as text for each engine."""

    def __init__(
        self, table: sa.Table, columns: Sequence[str], finish: Callable[[Insert], sa.Executable]
    ) -> None:
        self._table = table
        self._columns = list(columns)
        self._finish = finish
        self._texts: dict[str, tuple[str, list[str], dict[str, Any]]] = {}

    def run(self, connection: sa.Connection, rows: Rows) -> None:
        """Execute for every row (each a value for every column)."""
        if not rows:
            return
        text, names, constants = self._text(connection)
        if connection.dialect.name == "sqlite":
            raw(connection).executemany(
                text, [[row[name] if name in row else constants[name] for name in names] for row in rows]
            )
        else:
            connection.exec_driver_sql(text, [constants | row for row in rows])

    def _text(self, connection: sa.Connection) -> tuple[str, list[str], dict[str, Any]]:
        dialect = connection.dialect
        found = self._texts.get(dialect.name)
        if found is None:
            statement: Any = self._finish(_insert(dialect.name, self._table))
            compiled = statement.compile(dialect=dialect, column_keys=self._columns)
            constants = {name: value for name, value in compiled.params.items() if name not in self._columns}
            found = (str(compiled), list(compiled.positiontup or ()), constants)
            self._texts[dialect.name] = found
        return found


def raw(connection: sa.Connection) -> Any:
    """Return the driver's own connection (sqlite3); its errors are the driver's."""
    return connection.connection.driver_connection
