"""A database that is slow is waited for; one that hangs is given up, whoever waits for it."""

import psycopg
import pytest

from ledgerkit.made import make_database
from secondlook.ledger.engine import patience
from secondlook.ledger.engine.patience import PatientConnection

SLOW = "SELECT pg_sleep(0.3), 7"


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(patience, "SILENT_S", 0.05)
    monkeypatch.setattr(patience, "CONNECT_S", 1)


def test_a_statement_that_takes_long_is_waited_for(postgres):
    with PatientConnection.connect(postgres.url("postgres"), autocommit=True) as connection:
        assert connection.execute(SLOW).fetchone()[1] == 7


def test_also_where_no_other_connection_is_let_in(postgres):
    url = postgres.database()
    with PatientConnection.connect(url, autocommit=True) as connection:
        with psycopg.connect(postgres.url("postgres"), autocommit=True) as operator:
            operator.execute(f"ALTER DATABASE {postgres.name_of(url)} ALLOW_CONNECTIONS false")
        assert connection.execute(SLOW).fetchone()[1] == 7


def test_what_is_wrong_with_a_statement_is_told_as_ever(postgres):
    with PatientConnection.connect(postgres.url("postgres")) as connection:
        with pytest.raises(psycopg.errors.SyntaxError):
            connection.execute("SELEC")
        connection.rollback()
        assert connection.execute("SELECT 7").fetchone() == (7,)


def test_one_that_hangs_is_given_up_and_nothing_waits_for_it_any_more(postgres):
    with PatientConnection.connect(postgres.url("postgres")) as connection, postgres.hanging():
        with pytest.raises(psycopg.OperationalError, match="does not answer any more"):
            connection.execute("SELECT 7")
        assert connection.closed
        with pytest.raises(psycopg.OperationalError, match="closed"):
            connection.rollback()


def test_a_ledger_has_no_other_connections(postgres, open_ledger):
    ledger = open_ledger(make_database(postgres))
    kinds = ledger.store.read(type_of), ledger.store.commit_now(type_of)
    assert kinds == (PatientConnection, PatientConnection)


def type_of(connection):
    return type(connection.connection.dbapi_connection)
