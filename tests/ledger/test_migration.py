"""Upgrades from every earlier schema keep all rows and end where a new ledger begins; a newer one is refused (5 s)."""

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from ledgerkit.old_schema import upgrade
from ledgerkit.rows import all_rows, put_rows
from secondlook.ground.errors import LedgerError
from secondlook.ledger.engine import migration
from secondlook.ledger.engine.database import Place, bare_engine, find_place
from secondlook.ledger.engine.migration import HEAD, known_revisions, look, migrate
from secondlook.ledger.engine.tables import metadata


def differences(place: Place) -> list[object]:
    """What the schema has otherwise than the tables of this program say."""
    engine = bare_engine(place)
    with engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), metadata)
    engine.dispose()
    return [
        each
        for each in found
        if not (each[0] in ("remove_table", "remove_index", "remove_column") and _of_one_engine(each))
    ]


def _of_one_engine(difference) -> bool:
    named = difference[-1]
    return named.name.startswith(("words", "events_tx", "tx"))


def test_the_upgrades_follow_each_other_to_the_newest():
    scripts = ScriptDirectory(str(migration._SCRIPTS))
    assert scripts.get_heads() == [HEAD]
    assert {each.revision for each in scripts.walk_revisions()} == known_revisions()


@pytest.mark.parametrize("revision", sorted(known_revisions()))
def test_an_upgrade_keeps_every_row_and_ends_where_a_new_ledger_begins(empty_place, revision):
    found = find_place(empty_place)
    put_rows(found, upgrade(found, revision), range(1, 4))
    before = all_rows(found)
    assert len(before) >= 10
    migrate(found)
    after = all_rows(found)
    for name, rows in before.items():  # of a column that was added nothing is known
        width = len(rows[0])
        assert [row[:width] for row in after[name]] == rows, name
        assert {value for row in after[name] for value in row[width:]} <= {None}, name
    assert after.keys() == metadata.tables.keys()
    assert differences(found) == []


def test_a_ledger_of_a_newer_program_is_refused_and_left_alone(place):
    found = find_place(place)
    migrate(found)
    engine = bare_engine(found)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    before = all_rows(found)
    told = rf"written by a newer Second Look \(schema 9999, this program knows {HEAD}\); upgrade the program"
    for opening in (migrate, look):
        with pytest.raises(LedgerError, match=told):
            opening(found)
    assert all_rows(found) == before


def test_a_look_at_an_older_ledger_leaves_it_for_the_programs_that_run(empty_place):
    found = find_place(empty_place)
    upgrade(found, "0005")
    look(found)
    engine = bare_engine(found)
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() == "0005"
    engine.dispose()


def test_opening_a_ledger_of_this_schema_imports_no_alembic(place, monkeypatch):
    found = find_place(place)
    migrate(found)
    monkeypatch.setattr(migration, "_upgrade", lambda _: pytest.fail("nothing was to do"))
    migrate(found)
