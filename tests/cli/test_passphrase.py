"""Where the passphrase of a backup comes from."""

import io
import sys

import pytest

from secondlook.cli.backup.passphrase import read_passphrase


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def typed(monkeypatch, *answers: str) -> list[str]:
    asked: list[str] = []
    left = list(answers)
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", lambda prompt: (asked.append(prompt), left.pop(0))[1])
    return asked


def test_the_first_line_of_a_file_is_it(tmp_path):
    (tmp_path / "p").write_text("  pässwort mit Leerzeichen \r\nsecond\n")
    assert read_passphrase(tmp_path / "p", twice=True) == "  pässwort mit Leerzeichen "


def test_a_pipe_gives_it(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("secret\nrest\n"))
    assert read_passphrase(None, twice=True) == "secret"


def test_who_makes_one_up_types_it_twice(monkeypatch, capsys):
    assert len(typed(monkeypatch, "one", "one")) == 0
    assert read_passphrase(None, twice=True) == "one"
    typed(monkeypatch, "one", "two")
    with pytest.raises(SystemExit):
        read_passphrase(None, twice=True)
    assert "the two passphrases differ" in capsys.readouterr().err
    asked = typed(monkeypatch, "one")
    assert read_passphrase(None, twice=False) == "one"
    assert asked == ["passphrase: "]


@pytest.mark.parametrize("content", [b"", b"\n", b"\nlater\n"])
def test_an_empty_one_is_refused_and_its_place_named(tmp_path, capsys, content):
    (tmp_path / "p").write_bytes(content)
    with pytest.raises(SystemExit) as end:
        read_passphrase(tmp_path / "p", twice=False)
    assert end.value.code == 1
    assert f"got an empty line in {tmp_path}/p" in capsys.readouterr().err


def test_a_file_that_cannot_be_read_is_named(tmp_path, capsys):
    for name, content in (("none", None), ("latin", b"\xe4\n")):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(SystemExit):
            read_passphrase(tmp_path / name, twice=False)
        assert f"cannot read the passphrase: {tmp_path / name}" in capsys.readouterr().err
