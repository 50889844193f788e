"""Ledgers as earlier versions of the program made them."""

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from secondlook.ledger.engine import migration
from secondlook.ledger.engine.database import Place, bare_engine, create_file
from secondlook.ledger.engine.tables import metadata


def upgrade(place: Place, revision: str) -> list[sa.Table]:
    """Bring a new ledger to a schema, as the program of that time did; its tables."""
    if place.path is not None:
        create_file(place.path)
    engine = bare_engine(place)
    config = Config()
    config.set_main_option("script_location", str(migration._SCRIPTS))
    config.attributes["engine"] = engine
    command.upgrade(config, revision)
    found = sa.MetaData()
    found.reflect(engine, only=lambda name, _: name in metadata.tables)
    engine.dispose()
    return [_plain(table) for table in found.sorted_tables]


def _plain(table: sa.Table) -> sa.Table:
    """Leave out of a table that was read what the database fills in by itself, and engines' names of types."""
    known = metadata.tables[table.name]
    columns = [
        sa.Column(each.name, known.c[each.name].type) for each in table.columns if each.name in known.c
    ]
    made = sa.Table(table.name, sa.MetaData(), *columns)
    if "seq" in made.c:
        made.c.seq.autoincrement = True
    return made
