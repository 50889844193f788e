"""Rules follow their files: put in force, refused whole with the last good ones kept, and taken back."""

import asyncio
import json

import pytest

from secondlook.scan import rule_keeper
from secondlook.scan.compiling import RuleSource
from secondlook.scan.rule_keeper import RuleChange, RuleKeeper, ask_for_look, refused
from secondlook.scan.rule_set import RulesInForce, own_rules

GOOD = 'rule good { strings: $a = "planted" condition: $a }'
NOW = 1_900_000_000.0


class Place:
    """A state folder, a folder of rules, and who looks after them."""

    def __init__(self, tmp_path):
        self.state, self.rules = tmp_path / "state", tmp_path / "rules"
        self.rules.mkdir()
        self.told = []
        self.given = [RuleSource("rules", self.rules)]
        self.in_force = RulesInForce(self.state)
        self.restart()

    def restart(self):
        self.keeper = RuleKeeper(self.state, lambda: self.given, lambda: NOW, self.told.append)

    def write(self, name, text):
        (self.rules / name).write_text(text)

    def look(self):
        return asyncio.run(self.keeper.look())


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture
def compiled(monkeypatch):
    """Count what is compiled, which goes on as ever."""
    asked = []
    compile_in_child = rule_keeper.compile_in_child

    async def counting(sources, target):
        asked.append(target)
        return await compile_in_child(sources, target)

    monkeypatch.setattr(rule_keeper, "compile_in_child", counting)
    return asked


def test_without_rules_our_own_are_in_force(place):
    assert place.look() is None
    assert place.in_force.current is None
    assert (own_rules().path, own_rules().count) == (None, 1)


def test_a_folder_of_rules_comes_into_force_and_follows_its_files(place, compiled):
    place.write("a.yar", GOOD)
    place.write("b.txt", "no rules")
    change = place.look()
    first = place.in_force.current
    assert (change.count, first.count, first.version, first.compiled_at) == (2, 2, change.version, NOW)
    assert first.path.exists()
    assert place.look() is None
    place.write("c.yara", GOOD.replace("good", "better"))
    place.look()
    assert place.in_force.current.count == 3
    assert place.in_force.current.version != first.version
    assert len(compiled) == 2
    assert place.told[0] == change


def test_what_the_last_service_compiled_is_not_compiled_again(place, compiled):
    place.write("a.yar", GOOD)
    place.look()
    place.restart()
    assert place.look().count == 2
    assert len(compiled) == 1


def test_wrong_rules_are_refused_whole_and_the_last_good_ones_stay(place, compiled):
    place.write("a.yar", GOOD)
    place.look()
    good = place.in_force.current
    place.write("b.yar", "rule b { condition: nothing }")
    change = place.look()
    assert change.error.startswith("rules/b.yar:1:")
    assert place.in_force.current == good
    assert refused(place.state) == change.error
    assert place.look() is None  # nor is it tried again before it changes
    assert len(compiled) == 2
    place.write("b.yar", "rule b { condition: false }")
    place.look()
    assert refused(place.state) is None
    assert place.in_force.current.count == 3


def test_who_changed_the_files_in_another_process_has_them_looked_at_at_once(place, monkeypatch):
    monkeypatch.setattr(rule_keeper, "LOOK_EVERY_S", 3600.0)
    ask_for_look(place.state)  # nobody has looked yet: nothing to do, and nothing made
    assert not place.state.exists()

    async def told(count):
        async with asyncio.timeout(60):
            while len(place.told) < count:
                await asyncio.sleep(0.02)

    async def change():
        running = asyncio.ensure_future(place.keeper.run())
        try:
            await told(1)
            for count, name in enumerate(("b.yar", "c.yar"), 2):
                place.write(name, GOOD.replace("good", name[0]))
                ask_for_look(place.state)
                await told(count)
        finally:
            running.cancel()

    place.write("a.yar", GOOD)
    asyncio.run(change())
    assert [change.count for change in place.told] == [2, 3, 4]


def test_a_file_that_is_missing_is_told(place):
    place.given = [RuleSource("/no/such.yar", place.rules / "no.yar")]
    assert place.look().error.startswith("/no/such.yar: cannot be read")


def test_rules_that_are_taken_out_of_the_configuration_end(place):
    place.write("a.yar", GOOD)
    place.look()
    place.given = []
    assert place.look() == RuleChange()
    assert place.in_force.current is None


def test_only_the_last_compiled_sets_stay(place, monkeypatch):
    monkeypatch.setattr(rule_keeper, "_KEPT", 2)
    for number in range(4):
        place.write("a.yar", GOOD + f"\nrule r{number} {{ condition: false }}")
        place.look()
    left = {path.name for path in (place.state / "scan").glob("*.yarc")}
    assert len(left) == 2
    assert place.in_force.current.path.name in left


def test_rules_of_another_engine_are_not_used(place):
    place.write("a.yar", GOOD)
    place.look()
    file = place.state / "scan" / "rules.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"engine": "0"}))
    assert place.in_force.current is None


def test_too_many_files(place, monkeypatch):
    monkeypatch.setattr(rule_keeper, "MOST_FILES", 1)
    place.write("a.yar", GOOD)
    assert place.look().error is None
    place.write("b.yar", GOOD)
    assert place.look().error == "rules: more than 1 files of rules"
