"""Which rules are in force, as a process without the service sees it."""

import json

from secondlook.scan.rule_set import RulesInForce, engine_version, name_of, own_rules


def test_rules_are_named_by_their_texts_and_the_engine():
    assert name_of([b"a", b"b"]) != name_of([b"ab"])
    assert own_rules().version == own_rules().version


def test_a_file_that_cannot_be_read_is_no_rules(tmp_path):
    folder = tmp_path / "scan"
    folder.mkdir()
    in_force = RulesInForce(tmp_path)
    assert in_force.current is None
    (folder / "rules.json").write_text("nonsense")
    assert in_force.current is None


def test_a_name_leads_nowhere_else(tmp_path):
    folder = tmp_path / "scan"
    folder.mkdir()
    told = {"engine": engine_version(), "file": "../../x", "version": "v", "count": 1, "compiled_at": 1.0}
    (folder / "rules.json").write_text(json.dumps(told))
    assert RulesInForce(tmp_path).current.path == folder / "x"


def test_without_the_engine_none_that_it_compiled_are_in_force(tmp_path, request):
    folder = tmp_path / "scan"
    folder.mkdir()
    told = {"engine": engine_version(), "file": "x", "version": "v", "count": 1, "compiled_at": 1.0}
    (folder / "rules.json").write_text(json.dumps(told))
    assert RulesInForce(tmp_path).current is not None
    request.getfixturevalue("no_yara")
    assert (RulesInForce(tmp_path).current, engine_version()) == (None, "")
