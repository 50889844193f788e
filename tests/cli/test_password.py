"""The hash of a password, as the configuration wants it."""

import io
import json
import sys

import pytest
from argon2 import PasswordHasher

from secondlook.cli.operation import password


@pytest.mark.parametrize("as_json", [False, True])
def test_what_is_printed_verifies_the_password_once_the_configuration_has_read_it(
    monkeypatch, capsys, as_json
):
    monkeypatch.setattr(sys, "stdin", io.StringIO("open sesame\nno part of it\n"))
    password.password(as_json=as_json)
    printed = capsys.readouterr().out.rstrip("\n")
    made = json.loads(printed)["hash"] if as_json else printed
    assert made.count("$$") == made.count("$") / 2 > 0, "one sign would begin a variable"
    assert PasswordHasher().verify(made.replace("$$", "$"), "open sesame")


def test_no_password_has_no_hash(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    with pytest.raises(SystemExit):
        password.password(as_json=False)
    assert capsys.readouterr().out == ""
