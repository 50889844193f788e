import plistlib

from secondlook.setup import startup
from secondlook.setup.journal import Journal


def test_the_unit_is_one_that_systemd_accepts(tmp_path):
    path = tmp_path / startup.UNIT
    path.write_text(startup.unit_text(["/bin/true", "run", "-c", "/home/a user/100%/proxy.yaml"]))
    text = path.read_text()
    assert 'ExecStart=/bin/true run -c "/home/a user/100%%/proxy.yaml"' in text
    assert "Type=notify" in text
    assert "KillMode=mixed" in text, "only the supervisor is told: it ends the workers before the service"


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


def test_another_installation_that_took_the_unit_over_keeps_it(tmp_path):
    journals = [Journal(tmp_path / name) for name in ("one", "other")]
    for number, journal in enumerate(journals):
        startup.switch_on(["/bin/true", str(number)], journal, home=tmp_path)
    unit = tmp_path / ".config/systemd/user" / startup.UNIT
    unit.write_text(unit.read_text() + "# a line of its user\n")
    (first,) = journals[0].undo({startup.KIND: startup.switch_off}, frozenset({startup.KIND}))
    assert (first.done, "left alone" in first.text) == (True, True)
    assert "/bin/true 1\n" in unit.read_text()
    journals[1].undo({startup.KIND: startup.switch_off}, frozenset({startup.KIND}))
    assert "/bin/true 0\n" in unit.read_text()  # what it found there
