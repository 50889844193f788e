"""Where a ledger is: addresses are read, or refused with a reason, and hide their passwords."""

import os
import sqlite3
from types import SimpleNamespace

import pytest
from psycopg.conninfo import conninfo_to_dict

from secondlook.ground.errors import ConfigError
from secondlook.ledger.engine.database import explain, find_place, make_engine


@pytest.mark.parametrize("address", ["mysql://x/y", "postgres://h:notaport/db", "sqlite://"])
def test_addresses_that_are_none_are_refused(address):
    with pytest.raises(ConfigError, match="ledger"):
        find_place(address)


@pytest.mark.parametrize(
    ("address", "hosts", "ports"),
    [
        ("postgresql://u:s@one:5432,two:5433/d?target_session_attrs=read-write", "one,two", "5432,5433"),
        ("postgresql://u:s@one,[::1]:5433/d", "one,::1", ",5433"),
    ],
)
def test_a_database_and_its_standby_are_named_as_its_own_programs_have_it(address, hosts, ports):
    url = find_place(address).url
    assert (url.username, url.password, url.host, url.database) == ("u", "s", None, "d")
    assert (url.query["host"], url.query["port"]) == (hosts, ports)
    assert ("target_session_attrs" in url.query) is ("target_session_attrs" in address)
    # the driver is given the same by our engine and by the listener
    for given in (make_engine(find_place(address)).dialect.create_connect_args(url)[1], read(url)):
        assert (given["host"], given["port"], given["dbname"]) == (hosts, ports, "d")


def read(url):
    return conninfo_to_dict(url.set(drivername="postgresql").render_as_string(hide_password=False))


@pytest.mark.parametrize("address", ["postgresql://u:s3cret@h:x/d", "postgresql://u:s3cret@h:x,i/d"])
def test_a_password_of_an_address_that_cannot_be_read_is_not_shown(address):
    with pytest.raises(ConfigError, match="cannot read the address") as refused:
        find_place(address)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("code", "left", "why"),
    [
        (sqlite3.SQLITE_FULL, 9, "the disk is full"),
        (sqlite3.SQLITE_IOERR_SHMSIZE, 0, "the disk is full"),
        (sqlite3.SQLITE_IOERR_SHMSIZE, 9, "disk I/O error"),
    ],
)
def test_a_full_disk_is_shown_as_one(tmp_path, monkeypatch, code, left, why):
    """At a start SQLite finds no room for the file that readers share, and calls that another error."""
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=left))
    place = find_place(tmp_path / "ledger")
    assert str(explain(error, place)) == f"ledger {place}: {why}"


def test_passwords_are_not_shown():
    place = find_place("postgresql://user:secret@db.example/ledger")
    assert "secret" not in str(place)
