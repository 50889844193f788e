"""Where a ledger is: addresses are read, or refused with a reason, and hide their passwords."""

import pytest

from secondlook.ground.errors import ConfigError
from secondlook.ledger.engine.database import find_place


@pytest.mark.parametrize("address", ["mysql://x/y", "postgres://h:notaport/db", "sqlite://"])
def test_addresses_that_are_none_are_refused(address):
    with pytest.raises(ConfigError, match="ledger"):
        find_place(address)


def test_passwords_are_not_shown():
    place = find_place("postgresql://user:secret@db.example/ledger")
    assert "secret" not in str(place)
