"""Rules follow their files: put in force, refused whole with the last good ones kept, and taken back."""

import asyncio
import json
import shutil
import sys

import pytest

from secondlook.scan import rule_keeper
from secondlook.scan.compiling import RuleSource
from secondlook.scan.rule_keeper import RuleChange, RuleKeeper, ask_for_look, refused, version_of
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


def test_who_goes_back_to_files_of_before_has_their_rules_without_compiling_them_again(place, compiled):
    """That is what a rollback does; the next service knows them too."""
    one, two = GOOD, GOOD + "\nrule another { condition: false }"
    place.write("a.yar", one)
    first = place.look()
    place.write("a.yar", two)
    second = place.look()
    place.write("a.yar", one)
    assert place.look() == first
    assert place.in_force.current.version == first.version
    place.restart()
    place.write("a.yar", two)
    assert (place.look(), second.count) == (second, 3)
    assert place.in_force.current.count == 3
    assert len(compiled) == 2


def test_the_sets_that_were_in_force_last_are_known(place, compiled, monkeypatch):
    monkeypatch.setattr(rule_keeper, "_KEPT", 2)
    texts = [GOOD + f"\nrule r{number} {{ condition: false }}" for number in range(3)]
    for number in (0, 1, 0, 2, 0, 1):
        place.write("a.yar", texts[number])
        place.look()
    assert len(compiled) == 4  # the second one made room for the third


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


def in_the_way(place, _):
    """Let something lie where the compiled rules are to be written."""
    path = (
        place.state / "scan" / f"rules-{version_of([RuleSource('rules/a.yar', place.rules / 'a.yar')])}.yarc"
    )
    path.mkdir(parents=True)
    return path.rmdir


def child(program):
    def fail(_, patch):
        patch.setattr(sys, "executable", program)
        return patch.undo

    return fail


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (in_the_way, "compiling the rules failed: Is a directory"),
        (child("/no/such/program"), "compiling the rules cannot begin: No such file or directory"),
        (
            child(shutil.which("false")),
            "compiling the rules broke off (status 1): too little memory or time?",
        ),
    ],
)
def test_what_failed_for_another_reason_than_the_rules_is_tried_again(place, compiled, fault, told):
    place.write("a.yar", GOOD)
    with pytest.MonkeyPatch.context() as patch:
        mend = fault(place, patch)
        assert place.look().error == told
        assert [place.look() for _ in range(10)] == [None] * 10  # it is told once
        assert refused(place.state) == told
        assert len(compiled) == 4  # after one look, two, and four
        mend()
        for _ in range(20):
            place.look()
    assert place.in_force.current.count == 2
    assert refused(place.state) is None
    assert len(compiled) == 5
    assert [change.error for change in place.told] == [told, None]


def test_between_two_tries_there_is_a_bounded_number_of_looks(place, compiled, monkeypatch):
    monkeypatch.setattr(rule_keeper, "_MOST_PASSED_OVER", 3)
    monkeypatch.setattr(sys, "executable", "/no/such/program")
    place.write("a.yar", GOOD)
    tries = []
    for _ in range(18):
        place.look()
        tries.append(len(compiled))
    assert [tries.index(count) for count in sorted(set(tries))] == [0, 2, 5, 9, 13, 17]


@pytest.mark.parametrize("most", [1, rule_keeper.MOST_FILES])
def test_the_same_good_rules_as_before_are_not_refused_any_more(place, compiled, monkeypatch, most):
    monkeypatch.setattr(rule_keeper, "MOST_FILES", most)
    place.write("a.yar", GOOD)
    good = place.look()
    place.write("b.yar", "rule b { condition: nothing }")
    assert place.look().error == refused(place.state)
    (place.rules / "b.yar").unlink()
    assert place.look() == good
    assert refused(place.state) is None
    assert place.look() is None
    assert place.told[-1] == good
    assert len(compiled) == (1 if most == 1 else 2)


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
