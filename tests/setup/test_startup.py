import plistlib

from secondlook.setup import startup
from secondlook.setup.journal import Journal


def test_the_unit_is_one_that_systemd_accepts(tmp_path):
    path = tmp_path / startup.UNIT
    path.write_text(startup.unit_text(["/bin/true", "run", "-c", "/home/a user/100%/proxy.yaml"]))
    text = path.read_text()
    assert 'ExecStart=/bin/true run -c "/home/a user/100%%/proxy.yaml"' in text
    assert "Type=notify" in text


def test_whatever_a_word_holds_systemd_reads_it_so():
    told = startup.command_line(["/bin/a b", "50%", "$HOME", 'say "x"', "back\\slash", "semi;colon", "plain"])
    assert told == r""""/bin/a b" 50%% $$HOME "say \"x\"" "back\\slash" "semi;colon" plain"""


def test_the_property_list_holds_any_path_as_text(monkeypatch):
    monkeypatch.setattr(startup.sys, "platform", "darwin")
    told = startup.instructions(["/bin/true", "-c", "/Users/a & b/<proxy>.yaml"])
    words = plistlib.loads(told[told.index("<?xml") :].encode())["ProgramArguments"]
    assert words == ["/bin/true", "-c", "/Users/a & b/<proxy>.yaml"]


def test_what_stood_there_before_comes_back(tmp_path):
    journal = Journal(tmp_path / "state")
    unit = tmp_path / ".config/systemd/user" / startup.UNIT
    unit.parent.mkdir(parents=True)
    unit.write_text("[Unit]\nDescription=mine\n")
    startup.switch_on(["/bin/true"], journal, home=tmp_path)
    assert "Second Look" in unit.read_text()
    journal.undo({startup.KIND: startup.switch_off}, frozenset({startup.KIND}))
    assert unit.read_text() == "[Unit]\nDescription=mine\n"
    assert journal.changes() == []
